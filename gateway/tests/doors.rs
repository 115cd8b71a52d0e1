//! The real gateway in this process, spoken to from outside: who gets in, what is said on the way
//! out, and bytes of three protocols over TCP and in messages of a browser.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use trivium::config::{Config, RawConfig, RawListeners};
use trivium::{Gateway, Running};

type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const PATIENCE: Duration = Duration::from_secs(5);

async fn start(toml: &str) -> Running {
    let mut raw = RawConfig::parse(toml, Path::new("t.toml")).unwrap();
    raw.listeners = RawListeners::any_loopback_port();
    Gateway::start(Config::try_from(raw).unwrap()).await.unwrap()
}

fn address(running: &Running, name: &str) -> SocketAddr {
    running.address(name).unwrap()
}

/// Upgrades at `path`, with these headers.
async fn upgrade(
    running: &Running,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocket, Option<String>), http::StatusCode> {
    upgrade_at(address(running, "http"), path, headers).await
}

async fn upgrade_at(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocket, Option<String>), http::StatusCode> {
    let url = format!("ws://{address}{path}");
    let mut request = url.into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match connect_async(request).await {
        Ok((socket, response)) => {
            let chosen = response.headers().get("sec-websocket-protocol");
            Ok((socket, chosen.map(|name| name.to_str().unwrap().to_owned())))
        }
        Err(Error::Http(response)) => Err(response.status()),
        Err(error) => panic!("{error}"),
    }
}

async fn get(running: &Running, path: &str, host: &str) -> String {
    get_from(running.address("http"), path, host).await
}

async fn get_from(address: Option<SocketAddr>, path: &str, host: &str) -> String {
    let mut socket = TcpStream::connect(address.expect("it is open")).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

async fn next(socket: &mut WebSocket) -> Message {
    timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap()
}

/// The close code that comes next.
async fn close_code(socket: &mut WebSocket) -> u16 {
    loop {
        if let Message::Close(Some(frame)) = next(socket).await {
            return frame.code.into();
        }
    }
}

async fn read(socket: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, socket.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

const CONNECT: &str =
    "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n\0";
const MQTT_CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01x";

#[tokio::test(flavor = "multi_thread")]
async fn a_device_reaches_a_browser() {
    let running = start("").await;
    let offered = [("sec-websocket-protocol", "v10.stomp, v12.stomp, v11.stomp")];
    let (mut browser, chosen) = upgrade(&running, "/ws", &offered).await.unwrap();
    assert_eq!(chosen.as_deref(), Some("v12.stomp"));
    browser.send(Message::text(CONNECT)).await.unwrap();
    assert!(next(&mut browser).await.into_text().unwrap().starts_with("CONNECTED\n"));
    let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/a.b\nreceipt:r\n\n\0";
    browser.send(Message::text(subscribe)).await.unwrap();
    assert!(next(&mut browser).await.into_text().unwrap().starts_with("RECEIPT\n"));

    let mut device = TcpStream::connect(address(&running, "mqtt")).await.unwrap();
    device.write_all(MQTT_CONNECT).await.unwrap();
    assert_eq!(read(&mut device, 4).await, b"\x20\x02\0\0");
    // One message that is text, and one that is not: one WebSocket message each, of its kind.
    device.write_all(b"\x30\x07\0\x03a/bhi\x30\x07\0\x03a/b\xff\0").await.unwrap();
    let text = next(&mut browser).await;
    assert!(text.is_text());
    assert!(text.into_text().unwrap().ends_with("\n\nhi\0"));
    let binary = next(&mut browser).await;
    assert!(binary.is_binary());
    assert!(binary.into_data().ends_with(b"\n\n\xff\0\0"));

    let metrics = get(&running, "/metrics", "localhost").await;
    let received = "rabbitmq_global_messages_received_total{protocol=\"mqtt\"} 2";
    assert!(metrics.contains(received), "{metrics}");
    assert!(metrics.contains("trivium_connections_open{protocol=\"stomp\"} 1"), "{metrics}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_may_load_nothing_from_elsewhere_and_prometheus_has_a_door_of_its_own() {
    let running = start("").await;
    for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript")] {
        let page = get(&running, path, "localhost").await;
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        assert!(page.contains(&format!("content-type: {kind}")), "{path}: {page}");
        assert!(page.contains("content-security-policy: default-src 'none'"), "{path}: {page}");
        assert!(page.contains("x-content-type-options: nosniff"), "{path}: {page}");
    }
    let scraped = get_from(running.address("prometheus"), "/metrics", "localhost").await;
    assert!(scraped.contains("rabbitmq_connections 0"), "{scraped}");
    let nothing_else = get_from(running.address("prometheus"), "/", "localhost").await;
    assert!(nothing_else.starts_with("HTTP/1.1 404"), "{nothing_else}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmqs_websocket_ports_speak_one_protocol_and_are_guarded() {
    let running = start("[stomp]\nstrict_host = true\nkeep_open_after_error = true").await;
    let (stomp, mqtt) = (address(&running, "web_stomp"), address(&running, "web_mqtt"));
    let offered = |name| [("sec-websocket-protocol", name)];
    let (mut browser, _) = upgrade_at(stomp, "/ws", &offered("v12.stomp")).await.unwrap();
    browser.send(Message::text(CONNECT)).await.unwrap();
    assert!(next(&mut browser).await.into_text().unwrap().starts_with("CONNECTED\n"));
    browser.send(Message::text("FOO\n\n\0")).await.unwrap();
    assert!(next(&mut browser).await.into_text().unwrap().starts_with("ERROR\n"));
    browser.send(Message::text("BEGIN\ntransaction:t\nreceipt:r\n\n\0")).await.unwrap();
    assert!(next(&mut browser).await.into_text().unwrap().starts_with("RECEIPT\n"));

    let (mut lost, _) = upgrade_at(stomp, "/ws", &offered("v12.stomp")).await.unwrap();
    lost.send(Message::text(CONNECT.replace("host:/", "host:localhost"))).await.unwrap();
    let strict = next(&mut lost).await.into_text().unwrap();
    assert!(strict.contains("Virtual host 'localhost' access denied"), "{strict}");

    let (mut device, _) = upgrade_at(mqtt, "/ws", &offered("mqtt")).await.unwrap();
    device.send(Message::binary(MQTT_CONNECT)).await.unwrap();
    // Nobody is guest over WebSocket without saying so.
    assert_eq!(next(&mut device).await.into_data()[..], *b"\x20\x02\0\x04");
    let foreign = [("origin", "https://evil.example"), ("sec-websocket-protocol", "mqtt")];
    let forbidden = upgrade_at(mqtt, "/ws", &foreign).await.map(|_| ());
    assert_eq!(forbidden, Err(http::StatusCode::FORBIDDEN));
    for (door, wrong) in [(stomp, "mqtt"), (mqtt, "v12.stomp")] {
        let refused = upgrade_at(door, "/ws", &offered(wrong)).await.map(|_| ());
        assert_eq!(refused, Err(http::StatusCode::BAD_REQUEST), "{wrong}");
    }
    for path in ["/", "/metrics", "/stomp"] {
        let answer = get_from(Some(stomp), path, "localhost").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_listener_maps_topics_as_it_is_told() {
    let running = start("[mapping]\naddress = \"rabbitmq\"\nlisteners = [\"web_mqtt\"]").await;
    let mut reader = TcpStream::connect(address(&running, "stomp")).await.unwrap();
    let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/#\nreceipt:r\n\n\0";
    reader.write_all(format!("{CONNECT}{subscribe}").as_bytes()).await.unwrap();
    let mut text = String::new();
    while !text.contains("receipt-id:r") {
        text.push_str(&String::from_utf8(read(&mut reader, 1).await).unwrap());
    }
    // CONNECT as guest, then QoS 0 to `a.b/c`.
    let packets =
        b"\x10\x1b\0\x04MQTT\x04\xc2\0\0\0\x01x\0\x05guest\0\x05guest\x30\x08\0\x05a.b/ch";
    let offered = [("sec-websocket-protocol", "mqtt")];
    for (door, path) in [("web_mqtt", "/ws"), ("http", "/mqtt")] {
        let (mut device, _) = upgrade_at(address(&running, door), path, &offered).await.unwrap();
        device.send(Message::binary(&packets[..])).await.unwrap();
        assert_eq!(next(&mut device).await.into_data()[..], *b"\x20\x02\0\0");
    }
    let mut device = TcpStream::connect(address(&running, "mqtt")).await.unwrap();
    device.write_all(packets).await.unwrap();
    let mut text = String::new();
    while text.matches("\n\nh\0").count() < 3 {
        text.push_str(&String::from_utf8(read(&mut reader, 1).await).unwrap());
    }
    assert_eq!(text.matches("destination:/topic/a.b.c\n").count(), 1, "{text}");
    assert_eq!(text.matches("destination:/topic/a%2Eb.c\n").count(), 2, "{text}");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visited_page_does_not_reach_the_broker() {
    let running = start("[http]\nhosts = [\"dev.test\"]\norigins = [\"https://app.test\"]").await;
    let forbidden = Err(http::StatusCode::FORBIDDEN);
    let status = async |headers: &[(&'static str, &str)]| {
        upgrade(&running, "/ws", headers).await.map(|(_, chosen)| chosen)
    };
    assert_eq!(status(&[("origin", "https://evil.example")]).await, forbidden);
    let rebinding = [("host", "evil.example"), ("origin", "http://evil.example")];
    assert_eq!(status(&rebinding).await, forbidden);
    assert_eq!(status(&[("origin", "https://app.test")]).await, Ok(None));
    assert_eq!(status(&[("host", "dev.test"), ("origin", "http://dev.test")]).await, Ok(None));
    assert_eq!(status(&[("origin", "http://localhost:3000")]).await, Ok(None));
    assert!(get(&running, "/metrics", "evil.example").await.starts_with("HTTP/1.1 403"));
    assert!(get(&running, "/", "localhost").await.contains("<h1>Trivium</h1>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_subprotocols_choose_the_protocol() {
    let running = start("").await;
    let offer = |name: &'static str| [("sec-websocket-protocol", name)];
    let chosen = async |path, headers: &[(&'static str, &str)]| {
        upgrade(&running, path, headers).await.map(|(_, chosen)| chosen)
    };
    assert_eq!(chosen("/ws", &offer("foo")).await, Err(http::StatusCode::BAD_REQUEST));
    assert_eq!(chosen("/stomp", &offer("mqtt")).await, Err(http::StatusCode::BAD_REQUEST));
    assert_eq!(chosen("/mqtt", &offer("mqttv3.1")).await, Ok(Some("mqttv3.1".to_owned())));
    assert_eq!(chosen("/ws", &offer("amqp")).await, Ok(Some("amqp".to_owned())));
    assert_eq!(chosen("/stomp", &[]).await, Ok(None));

    // Nothing offered: by the first bytes, however they are cut.
    let (mut amqp, _) = upgrade(&running, "/ws", &[]).await.unwrap();
    amqp.send(Message::binary(b"AM".to_vec())).await.unwrap();
    amqp.send(Message::binary(b"QP\0\0\x09\x01".to_vec())).await.unwrap();
    let start = next(&mut amqp).await;
    assert!(start.is_binary());
    assert_eq!(start.into_data()[0], 1, "connection.start is a method frame");

    let (mut unknown, _) = upgrade(&running, "/ws", &[]).await.unwrap();
    unknown.send(Message::text("GET / HTTP/1.1")).await.unwrap();
    assert_eq!(close_code(&mut unknown).await, 1002);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_with_the_code_that_says_why() {
    let running = start("[limits]\nmessage_bytes_max = 1024").await;
    let (mut text, _) = upgrade(&running, "/mqtt", &[]).await.unwrap();
    text.send(Message::text("hello")).await.unwrap();
    assert_eq!(close_code(&mut text).await, 1003);

    let (mut large, _) = upgrade(&running, "/stomp", &[]).await.unwrap();
    large.send(Message::binary(vec![b'x'; 100_000])).await.unwrap();
    assert_eq!(close_code(&mut large).await, 1009);

    // Over WebSocket nobody logs in without credentials, not even from loopback.
    let (mut nobody, _) = upgrade(&running, "/mqtt", &[]).await.unwrap();
    nobody.send(Message::binary(MQTT_CONNECT.to_vec())).await.unwrap();
    let refused = next(&mut nobody).await.into_data();
    assert_eq!(refused[..2], b"\x20\x02"[..]);
    assert_ne!(refused[3], 0);

    let (mut pinging, _) = upgrade(&running, "/stomp", &[]).await.unwrap();
    pinging.send(Message::Ping(b"p".to_vec().into())).await.unwrap();
    assert_eq!(next(&mut pinging).await, Message::Pong(b"p".to_vec().into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_says_each_protocols_goodbye() {
    let running = start("").await;
    assert!(get(&running, "/health/live", "localhost").await.starts_with("HTTP/1.1 200"));
    assert!(get(&running, "/health/ready", "localhost").await.starts_with("HTTP/1.1 200"));
    let (mut browser, _) = upgrade(&running, "/stomp", &[]).await.unwrap();
    browser.send(Message::text(CONNECT)).await.unwrap();
    next(&mut browser).await;
    let mut device = TcpStream::connect(address(&running, "mqtt")).await.unwrap();
    // MQTT 5: CONNECT, answered by a CONNACK of unknown length.
    device.write_all(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01x").await.unwrap();
    assert_eq!(read(&mut device, 1).await, b"\x20");

    let amqp = address(&running, "amqp");
    running.begin_shutdown();
    assert!(next(&mut browser).await.into_text().unwrap().starts_with("ERROR\n"));
    assert_eq!(close_code(&mut browser).await, 1001);
    let mut rest = Vec::new();
    timeout(PATIENCE, device.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.windows(3).any(|part| part[0] == 0xe0 && part[2] == 0x8b), "{rest:x?}");
    assert!(get(&running, "/health/ready", "localhost").await.starts_with("HTTP/1.1 503"));
    assert!(TcpStream::connect(amqp).await.is_err(), "no new connections");
    drop((browser, device));
    assert!(running.shutdown().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_at_once() {
    let running = start("[limits]\nconnections_max = 1").await;
    let mut first = TcpStream::connect(address(&running, "mqtt")).await.unwrap();
    first.write_all(MQTT_CONNECT).await.unwrap();
    assert_eq!(read(&mut first, 4).await, b"\x20\x02\0\0");
    let mut second = TcpStream::connect(address(&running, "amqp")).await.unwrap();
    let mut rest = Vec::new();
    let ended = timeout(PATIENCE, second.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty() && ended.is_ok_and(|count| count == 0));
    drop(first);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut third = TcpStream::connect(address(&running, "mqtt")).await.unwrap();
    third.write_all(MQTT_CONNECT).await.unwrap();
    assert_eq!(read(&mut third, 4).await, b"\x20\x02\0\0");
}

/// Reads all there is to the end of the connection, a little at a time, and beats meanwhile.
async fn read_slowly(socket: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        let mut piece = vec![0; 64 * 1024];
        let count = timeout(PATIENCE, socket.read(&mut piece)).await.unwrap().unwrap();
        if count == 0 {
            return read;
        }
        read.extend_from_slice(&piece[..count]);
        // Our side may be closed by now.
        socket.write_all(b"\n").await.ok();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_behind_a_flood_reads_an_error_when_awake() {
    const MESSAGES: usize = 20_000;
    let running =
        start("[limits]\noutbox_bytes_max = 100000\nprivate_queue_bytes_max = 200000").await;
    let mut slow = TcpStream::connect(address(&running, "stomp")).await.unwrap();
    let mut fast = TcpStream::connect(address(&running, "stomp")).await.unwrap();
    for socket in [&mut slow, &mut fast] {
        let subscribe = "SUBSCRIBE\nid:0\ndestination:/topic/t\nreceipt:r\n\n\0";
        socket.write_all(format!("{CONNECT}{subscribe}").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"receipt-id:r\n\n\0") {
            read.push(self::read(socket, 1).await[0]);
        }
    }
    let (mut reader, mut publisher) = fast.into_split();
    let received = tokio::spawn(async move {
        let (mut count, mut piece) = (0, vec![0; 64 * 1024]);
        while count < MESSAGES {
            let read = timeout(PATIENCE, reader.read(&mut piece)).await.unwrap().unwrap();
            assert!(read > 0, "it goes on for who reads");
            count += piece[..read].split(|octet| *octet == 0).count() - 1;
        }
    });
    let send = format!("SEND\ndestination:/topic/t\n\n{}\0", "x".repeat(1000));
    // A pace at which who reads has no trouble.
    for _ in 0..MESSAGES / 50 {
        publisher.write_all(send.repeat(50).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    received.await.unwrap();
    let metrics = get(&running, "/metrics", "localhost").await;
    let overflown = "trivium_subscriptions_overflown_total{protocol=\"stomp\"} 1";
    assert!(metrics.contains(overflown), "{metrics}");
    assert!(metrics.contains("rabbitmq_queue_messages 0"), "nothing is kept for it");
    let read = read_slowly(&mut slow).await;
    let last = read.rsplit(|octet| *octet == 0).nth(1).expect("a frame");
    let last = String::from_utf8_lossy(last);
    assert!(last.starts_with("ERROR\nmessage:Server cancelled subscription\n"), "{last}");
    assert!(last.contains("limit (200000) is reached"), "{last}");
    running.shutdown().await;
}
