//! The HTTP door: health, metrics, and WebSocket for all three protocols.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page: send, and see what clients of every protocol send |
//! | `/health/live` | 200 while the process runs, 503 and why once its disk failed |
//! | `/health/ready` | 200 while it takes connections, 503 while it drains or once its disk failed |
//! | `/metrics` | Prometheus' text format |
//! | `/ws` | WebSocket, protocol by `Sec-WebSocket-Protocol`, else by the first bytes |
//! | `/stomp`, `/mqtt` | WebSocket, of that protocol |
//!
//! Before everything stands `guard`: a visited web page must not reach a developer's broker.

mod assets;
mod guard;
mod pages;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::{BoxError, ServiceExt};

use crate::accept::{Accept, Accepted};
use crate::config::{Door, HttpRules};
use crate::shared::Shared;
use crate::telemetry::Telemetry;
use guard::GuardLayer;
pub(crate) use websocket::{Upgraded, serve as serve_websocket};

/// From accept, or from the last answer, to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// From the drain to the end of an answer.
const GRACE: Duration = Duration::from_secs(2);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Who called, as handlers and the guard find it in a request.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

/// What handlers share.
#[derive(Clone, Debug)]
struct App {
    shared: Arc<Shared>,
    door: Door,
    /// A WebSocket counts as a connection, too.
    accept: Accept<Upgraded>,
}

/// Every path of the door, behind the guard.
pub(crate) fn router(
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    rules: HttpRules,
    accept: Accept<Upgraded>,
) -> Router {
    assets::routes()
        .route("/health/live", get(pages::live))
        .route("/health/ready", get(pages::ready))
        .route("/metrics", get(pages::metrics).with_state(telemetry))
        .route("/ws", get(websocket::any))
        .route("/stomp", get(websocket::stomp))
        .route("/mqtt", get(websocket::mqtt))
        .layer(GuardLayer::new(rules))
        .with_state(App { shared, door: Door::Http, accept })
}

/// The door for Prometheus: `/metrics`, behind the guard.
pub(crate) fn metrics_router(telemetry: Arc<Telemetry>, rules: HttpRules) -> Router {
    Router::new()
        .route("/metrics", get(pages::metrics))
        .layer(GuardLayer::new(rules))
        .with_state(telemetry)
}

/// A door of RabbitMQ's WebSocket plugins: one protocol alone, at `/ws`, behind the guard.
pub(crate) fn websocket_router(
    door: Door,
    shared: Arc<Shared>,
    rules: HttpRules,
    accept: Accept<Upgraded>,
) -> Router {
    let handler = if door == Door::WebStomp { get(websocket::stomp) } else { get(websocket::mqtt) };
    let app = App { shared, door, accept };
    Router::new().route("/ws", handler).layer(GuardLayer::new(rules)).with_state(app)
}

/// Serves one connection of the door to its end, or until it is upgraded.
pub(crate) async fn serve(
    accepted: Accepted<TcpStream>,
    router: Router,
    shared: Arc<Shared>,
) -> Result<(), BoxError> {
    let Accepted { io, peer } = accepted;
    let has_asked = Arc::new(AtomicBool::new(false));
    let asked = has_asked.clone();
    let service = router.map_request(move |mut request: Request<_>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Peer(peer));
        request
    });
    // A health check during the drain is answered once.
    let is_late = shared.is_draining();
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(!is_late)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = &mut connection => return result.map_err(Into::into),
        () = shared.drain.cancelled() => {}
    }
    if !is_late && has_asked.load(Ordering::Relaxed) {
        // An answer under way is finished; a connection that asks nothing more is closed. One that
        // was accepted just before and has yet to ask gets its answer.
        connection.as_mut().graceful_shutdown();
    }
    match timeout(GRACE, connection).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Ok(()),
    }
}
