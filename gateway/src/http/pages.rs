//! The plain answers of the HTTP door.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::App;
use crate::telemetry::Telemetry;

/// `/health/live`: the process runs, and has no reason to end.
pub(super) async fn live(State(app): State<App>) -> (StatusCode, String) {
    match app.shared.fault.why() {
        Some(why) => failed(why),
        None => (StatusCode::OK, "live\n".to_owned()),
    }
}

/// `/health/ready`: connections are taken.
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, String) {
    match app.shared.fault.why() {
        Some(why) => failed(why),
        None if app.shared.is_draining() => {
            (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned())
        }
        None => (StatusCode::OK, "ready\n".to_owned()),
    }
}

fn failed(why: &str) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, format!("failed: {why}\n"))
}

/// `/metrics`
pub(super) async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], telemetry.render())
}
