//! Upgrades to WebSocket: which protocol, and then the same driver as everybody's.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tower::{BoxError, ServiceExt};
use tracing::{debug, info};
use trivium_core::Protocol;

use super::{App, Peer};
use crate::accept::Accepted;
use crate::config::{Door, HEADERS_BYTES_MAX};
use crate::drive::{Caller, Carrier, Drive};
use crate::listen::detect::{Detected, detect};
use crate::listen::tcp::note_failure;
use crate::listen::websocket::WebSocketTransport;
use crate::shared::Shared;

/// Read and write buffer of one WebSocket; the library's 128 KiB each are for few connections.
const BUFFER_BYTES: usize = 16 * 1024;

/// Subprotocols in the order of our preference: what a client offers more than one of is STOMP,
/// whose highest version wins.
const SUBPROTOCOLS: [(&str, Protocol); 6] = [
    ("v12.stomp", Protocol::Stomp),
    ("v11.stomp", Protocol::Stomp),
    ("v10.stomp", Protocol::Stomp),
    ("mqtt", Protocol::Mqtt),
    ("mqttv3.1", Protocol::Mqtt),
    ("amqp", Protocol::Amqp),
];

/// An upgraded connection on its way through the accept stack.
#[derive(Debug)]
pub(crate) struct Upgraded {
    socket: WebSocket,
    door: Door,
    /// `None`: the first bytes tell.
    protocol: Option<Protocol>,
}

/// What is spoken on an upgraded connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The client offered this, and hears that it was chosen.
    Offered(&'static str, Protocol),
    /// The client offered nothing; the path says, or else the first bytes.
    Unoffered(Option<Protocol>),
    /// The client offered only what is not spoken here.
    Nothing,
}

/// `/ws`
pub(super) async fn any(app: State<App>, peer: Extension<Peer>, ws: WebSocketUpgrade) -> Response {
    upgrade(app.0, peer.0, ws, None)
}

/// `/stomp`
pub(super) async fn stomp(
    app: State<App>,
    peer: Extension<Peer>,
    ws: WebSocketUpgrade,
) -> Response {
    upgrade(app.0, peer.0, ws, Some(Protocol::Stomp))
}

/// `/mqtt`
pub(super) async fn mqtt(app: State<App>, peer: Extension<Peer>, ws: WebSocketUpgrade) -> Response {
    upgrade(app.0, peer.0, ws, Some(Protocol::Mqtt))
}

fn upgrade(
    app: App,
    Peer(peer): Peer,
    mut ws: WebSocketUpgrade,
    path: Option<Protocol>,
) -> Response {
    if app.shared.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    let offered: Vec<&str> =
        ws.requested_protocols().filter_map(|offer| offer.to_str().ok()).collect();
    let protocol = match choose(&offered, path) {
        Choice::Offered(name, protocol) => {
            ws.set_selected_protocol(HeaderValue::from_static(name));
            Some(protocol)
        }
        Choice::Unoffered(protocol) => protocol,
        Choice::Nothing => {
            let text = "none of the offered WebSocket subprotocols is spoken here\n";
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    let message_bytes_max = app.shared.limits.message_bytes_max + HEADERS_BYTES_MAX;
    // The drain waits for this connection as for those that have their task from us.
    let token = app.shared.tasks.token();
    ws.read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_message_size(message_bytes_max)
        .max_frame_size(message_bytes_max)
        .on_upgrade(move |socket| async move {
            let accepted = Accepted { io: Upgraded { socket, door: app.door, protocol }, peer };
            if let Err(error) = app.accept.oneshot(accepted).await {
                note_failure(&app.shared, peer, &error);
            }
            drop(token);
        })
}

/// Which protocol is spoken, given what the client offered and which one the path allows.
fn choose(offered: &[&str], path: Option<Protocol>) -> Choice {
    if offered.is_empty() {
        return Choice::Unoffered(path);
    }
    SUBPROTOCOLS
        .into_iter()
        .filter(|(_, protocol)| path.is_none_or(|path| path == *protocol))
        .find(|(name, _)| offered.contains(name))
        .map_or(Choice::Nothing, |(name, protocol)| Choice::Offered(name, protocol))
}

/// Serves one WebSocket to its end.
pub(crate) async fn serve(
    accepted: Accepted<Upgraded>,
    shared: Arc<Shared>,
) -> Result<(), BoxError> {
    let Accepted { io: Upgraded { mut socket, door, protocol }, peer } = accepted;
    let (protocol, first) = match protocol {
        Some(protocol) => (protocol, Bytes::new()),
        None => match timeout(shared.limits.handshake_timeout, first_bytes(&mut socket)).await {
            Ok(Some(detected)) => detected,
            Ok(None) | Err(_) => return refuse(socket, peer).await,
        },
    };
    let caller = Caller::new(peer, Carrier::WebSocket, protocol);
    let adapter = shared.adapters.make(door, protocol, shared.clock.now());
    let transport = WebSocketTransport::new(socket, protocol, first);
    let reason = Drive::new(shared, transport, adapter, caller).await;
    debug!(%reason, "websocket ended");
    Ok(())
}

/// Reads until the protocol is clear; `None` when it is none of ours, or the client left.
async fn first_bytes(socket: &mut WebSocket) -> Option<(Protocol, Bytes)> {
    let mut first = Vec::new();
    loop {
        let bytes = match socket.recv().await?.ok()? {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Close(_) => return None,
        };
        first.extend_from_slice(&bytes);
        match detect(&first) {
            Detected::Protocol(protocol) => return Some((protocol, first.into())),
            Detected::NeedMore => {}
            Detected::Unknown => return None,
        }
    }
}

async fn refuse(mut socket: WebSocket, peer: SocketAddr) -> Result<(), BoxError> {
    info!(%peer, reason = "no known protocol in its first bytes", "disconnected before it was open");
    let reason = "no known protocol".into();
    socket.send(Message::Close(Some(CloseFrame { code: close_code::PROTOCOL, reason }))).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subprotocol_chooses_and_the_highest_stomp_wins() {
        let (stomp, mqtt, amqp) = (Protocol::Stomp, Protocol::Mqtt, Protocol::Amqp);
        let table: [(&[&str], _, _); 13] = [
            (&["v10.stomp", "v11.stomp", "v12.stomp"], None, Choice::Offered("v12.stomp", stomp)),
            (&["v10.stomp", "v11.stomp"], None, Choice::Offered("v11.stomp", stomp)),
            (&["mqtt"], None, Choice::Offered("mqtt", mqtt)),
            (&["mqttv3.1"], None, Choice::Offered("mqttv3.1", mqtt)),
            (&["amqp"], None, Choice::Offered("amqp", amqp)),
            (&["foo", "mqtt"], None, Choice::Offered("mqtt", mqtt)),
            (&[], None, Choice::Unoffered(None)),
            (&["foo"], None, Choice::Nothing),
            (&[], Some(stomp), Choice::Unoffered(Some(stomp))),
            (&["v12.stomp"], Some(stomp), Choice::Offered("v12.stomp", stomp)),
            (&["mqtt"], Some(stomp), Choice::Nothing),
            (&["mqtt", "v12.stomp"], Some(mqtt), Choice::Offered("mqtt", mqtt)),
            (&["MQTT"], Some(mqtt), Choice::Nothing),
        ];
        for (offered, path, choice) in table {
            assert_eq!(choose(offered, path), choice, "{offered:?} at {path:?}");
        }
    }
}
