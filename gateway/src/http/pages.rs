//! The plain answers of the HTTP door.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::App;
use crate::telemetry::Telemetry;

/// `/health/live`: the process runs.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// `/health/ready`: connections are taken.
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    if app.shared.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// `/metrics`
pub(super) async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], telemetry.render())
}
