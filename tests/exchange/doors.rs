//! A page that a developer visits must not reach the developer's broker.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::http::StatusCode;

use crate::client::{Frame, Stomp, upgrade};
use crate::soon;

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_and_a_rebound_name_are_refused() {
    let running = trivium_tests::start().await;
    let answer = async |headers: &[(&'static str, &'static str)]| {
        let mut request = upgrade(&running, "/ws", "v12.stomp");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header's value"));
        }
        Stomp::open(request).await.map(drop)
    };
    let refused = Err(StatusCode::FORBIDDEN);
    assert_eq!(answer(&[("origin", "https://evil.example")]).await, refused);
    assert_eq!(answer(&[("origin", "null")]).await, refused);
    // The name of the page's own server, pointed at loopback: Host and Origin agree.
    let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(answer(&rebound).await, refused);
    assert_eq!(answer(&[("host", "evil.example")]).await, refused);
    // A page of this machine, and programs, which have no origin.
    assert_eq!(answer(&[("origin", "http://localhost:8080")]).await, Ok(()));
    assert_eq!(answer(&[]).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_without_credentials_is_nobody() {
    let running = trivium_tests::start().await;
    let request = upgrade(&running, "/ws", "v12.stomp");
    let mut stomp = Stomp::open(request).await.expect("the upgrade is taken");
    stomp.send(&Frame::new("CONNECT", &[("accept-version", "1.2"), ("host", "/")])).await;
    let answer = stomp.next().await.expect("an answer to CONNECT");
    assert_eq!(answer.command, "ERROR", "{answer:?}");

    for (connect, refusal) in [
        // 3.1.1: bad user name or password, or not authorized.
        (&b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x"[..], [4, 5]),
        (&b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01x"[..], [0x86, 0x87]),
    ] {
        let request = upgrade(&running, "/mqtt", "mqtt");
        let (mut socket, _) = connect_async(request).await.expect("the upgrade is taken");
        socket.send(Message::binary(connect.to_vec())).await.expect("the WebSocket stands");
        let answer = soon("CONNACK", socket.next()).await.expect("an answer to CONNECT");
        let answer = answer.expect("a WebSocket message").into_data();
        assert!(answer[0] == 0x20 && refusal.contains(&answer[3]), "{answer:?}");
    }
}
