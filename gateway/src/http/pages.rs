//! The plain answers of the HTTP door.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};

use super::App;

const HOME: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Trivium</title>
<h1>Trivium</h1>
<p>A message broker that AMQP 0-9-1, MQTT and STOMP clients share. It is running.</p>
<ul>
<li>WebSocket: <code>/ws</code> (subprotocols v12.stomp, v11.stomp, v10.stomp, mqtt, mqttv3.1, amqp),
<code>/stomp</code>, <code>/mqtt</code></li>
<li><a href=\"/metrics\">/metrics</a> for Prometheus</li>
<li><a href=\"/health/live\">/health/live</a>, <a href=\"/health/ready\">/health/ready</a></li>
</ul>
</html>
";

/// `/`
pub(super) async fn home() -> Html<&'static str> {
    Html(HOME)
}

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
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.telemetry.render())
}
