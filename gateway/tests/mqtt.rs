//! MQTT through the real gateway: WebSocket frames, versions, vhosts, `$SYS`, SCRAM.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use trivium::config::{Config, RawConfig, RawListeners};
use trivium::{Gateway, Running};

/// How long anything may take; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(30);

async fn start(toml: &str) -> Running {
    let mut raw = RawConfig::parse(toml, Path::new("t.toml")).unwrap();
    raw.listeners = RawListeners::any_loopback_port();
    Gateway::start(Config::try_from(raw).unwrap()).await.unwrap()
}

fn address(running: &Running, name: &str) -> SocketAddr {
    running.address(name).unwrap()
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A packet of less than 128 octets.
fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let length = u8::try_from(body.len()).unwrap();
    assert!(length < 128);
    [&[first, length][..], &body].concat()
}

/// CONNECT of 3.1.1 with these credentials.
fn connect(id: &str, user: &str, password: &str) -> Vec<u8> {
    let fields = [id, user, password].map(|text| field(text.as_bytes())).concat();
    packet(0x10, &[b"\0\x04MQTT\x04\xC2\0\0", &fields])
}

/// The next packet of less than 128 octets.
async fn read(socket: &mut TcpStream) -> Vec<u8> {
    let mut packet = vec![0; 2];
    timeout(PATIENCE, socket.read_exact(&mut packet)).await.unwrap().unwrap();
    let mut body = vec![0; usize::from(packet[1])];
    timeout(PATIENCE, socket.read_exact(&mut body)).await.unwrap().unwrap();
    packet.append(&mut body);
    packet
}

async fn dial(running: &Running, sent: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address(running, "mqtt")).await.unwrap();
    socket.write_all(sent).await.unwrap();
    socket
}

type WebSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket that offers `mqtt`; returns what was chosen, too.
async fn browse(address: SocketAddr, path: &str) -> (WebSocket, Option<String>) {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "mqtt".parse().unwrap());
    let (socket, response) = connect_async(request).await.unwrap();
    let chosen = response.headers().get("sec-websocket-protocol");
    (socket, chosen.map(|name| name.to_str().unwrap().to_owned()))
}

/// So many octets from binary frames, however they are cut.
async fn gather(socket: &mut WebSocket, count: usize) -> Vec<u8> {
    let mut octets = Vec::new();
    while octets.len() < count {
        let message = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert!(message.is_binary(), "{message:?}");
        octets.extend_from_slice(&message.into_data());
    }
    octets
}

/// [MQTT5-4.2.0-1] [MQTT5-6.0.0-1] [MQTT5-6.0.0-2] [MQTT5-6.0.0-4] [MQTT311-6.0.0-1]
/// [MQTT311-6.0.0-2] [MQTT311-6.0.0-4] [MQTT311-7.1.1-1]
#[tokio::test(flavor = "multi_thread")]
async fn packets_are_split_and_joined_by_websocket_frames() {
    let running = start("").await;
    let publish = b"\x30\x04\0\x01tx";
    for (door, path) in [("http", "/mqtt"), ("http", "/ws"), ("web_mqtt", "/ws")] {
        let (mut socket, chosen) = browse(address(&running, door), path).await;
        assert_eq!(chosen.as_deref(), Some("mqtt"));
        // One octet a frame, an empty frame between.
        for octet in connect("split", "guest", "guest") {
            socket.send(Message::binary(vec![octet])).await.unwrap();
        }
        socket.send(Message::binary(Vec::new())).await.unwrap();
        assert_eq!(gather(&mut socket, 4).await, b"\x20\x02\0\0");
        // Several packets in one frame, the last of them in part.
        let joined = [&b"\xC0\0\x82\x06\0\x01\0\x01t\0"[..], publish, &publish[..3]].concat();
        socket.send(Message::binary(joined)).await.unwrap();
        socket.send(Message::binary(publish[3..].to_vec())).await.unwrap();
        let expected = [&b"\xD0\0\x90\x03\0\x01\0"[..], publish, publish].concat();
        assert_eq!(gather(&mut socket, expected.len()).await, expected);
        // Text ends it, even such as would be a packet.
        socket.send(Message::text("\u{30}\u{0}")).await.unwrap();
        match timeout(PATIENCE, socket.next()).await.unwrap() {
            Some(Ok(Message::Close(frame))) => assert_eq!(u16::from(frame.unwrap().code), 1003),
            other => panic!("{other:?}"),
        }
    }
    // And plain TCP.
    let mut device = dial(&running, &connect("tcp", "guest", "guest")).await;
    assert_eq!(read(&mut device).await, b"\x20\x02\0\0");
    running.shutdown().await;
}

/// [MQTT5-6.0.0-3] [MQTT311-6.0.0-3]
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_offers_something_else_is_not_opened() {
    let running = start("").await;
    for path in ["/mqtt", "/ws"] {
        let url = format!("ws://{}{path}", address(&running, "http"));
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "soap".parse().unwrap());
        assert!(connect_async(request).await.is_err(), "{path}");
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_3_1_is_spoken() {
    let running = start("").await;
    let connect = b"\x10\x13\0\x06MQIsdp\x03\x02\0\0\0\x05three";
    let mut device = dial(&running, connect).await;
    assert_eq!(read(&mut device).await, b"\x20\x02\0\0");
    device.write_all(b"\x82\x06\0\x01\0\x01t\x02\x30\x04\0\x01tx").await.unwrap();
    assert_eq!(read(&mut device).await, b"\x90\x03\0\x01\x02");
    assert_eq!(read(&mut device).await, b"\x30\x04\0\x01tx");
    device.write_all(b"\xC0\0").await.unwrap();
    assert_eq!(read(&mut device).await, b"\xD0\0");
    // It has no way to ask for a name.
    let mut nameless = dial(&running, b"\x10\x0E\0\x06MQIsdp\x03\x02\0\0\0\0").await;
    assert_eq!(read(&mut nameless).await, b"\x20\x02\0\x02");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhost_is_chosen_by_the_user_name_or_by_the_listener() {
    let toml = "[[vhosts]]\nname = \"blue\"\n[[vhosts]]\nname = \"red\"\n\
                [mqtt]\nvhosts = [\"web_mqtt=blue\"]\n";
    let running = start(toml).await;
    let listen = |user: &str, id: &str| {
        [&connect(id, user, "guest")[..], b"\x82\x06\0\x01\0\x01t\0"].concat()
    };
    let mut readers = Vec::new();
    for (user, id) in [("guest", "a"), ("blue:guest", "b"), ("red:guest", "c")] {
        let mut reader = dial(&running, &listen(user, id)).await;
        assert_eq!(read(&mut reader).await, b"\x20\x02\0\0");
        assert_eq!(read(&mut reader).await, b"\x90\x03\0\x01\0");
        readers.push(reader);
    }
    let (mut blue, _) = browse(address(&running, "web_mqtt"), "/ws").await;
    let said = [&connect("d", "guest", "guest")[..], b"\x30\x04\0\x01tb"].concat();
    blue.send(Message::binary(said)).await.unwrap();
    // The name wins over the listener.
    let (mut red, _) = browse(address(&running, "web_mqtt"), "/ws").await;
    let said = [&connect("d", "red:guest", "guest")[..], b"\x30\x04\0\x01tr"].concat();
    red.send(Message::binary(said)).await.unwrap();
    let mut plain = dial(&running, &connect("d", "guest", "guest")).await;
    plain.write_all(b"\x30\x04\0\x01t/").await.unwrap();
    for (reader, body) in readers.iter_mut().zip([b'/', b'b', b'r']) {
        let heard = read(reader).await;
        assert_eq!(heard, [b"\x30\x04\0\x01t", &[body][..]].concat());
    }
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_tells_of_itself_who_asks() {
    let running = start("[mqtt]\nsys_interval_s = 1\n").await;
    let mut all = dial(&running, &connect("all", "guest", "guest")).await;
    all.write_all(b"\x82\x06\0\x01\0\x01#\0").await.unwrap();
    assert_eq!(read(&mut all).await, b"\x20\x02\0\0");
    assert_eq!(read(&mut all).await, b"\x90\x03\0\x01\0");
    // At QoS 0 and at QoS 1.
    for (id, qos) in [("zero", 0), ("one", 1)] {
        let mut listener = dial(&running, &connect(id, "guest", "guest")).await;
        let filter = field(b"$SYS/broker/clients/#");
        listener.write_all(&packet(0x82, &[b"\0\x01", &filter, &[qos]])).await.unwrap();
        assert_eq!(read(&mut listener).await, b"\x20\x02\0\0");
        assert_eq!(read(&mut listener).await, [0x90, 3, 0, 1, qos]);
        let mut connected = 0;
        // What is there now, marked as retained, then what is there later.
        while connected < 3 {
            let heard = read(&mut listener).await;
            assert_eq!(heard[0] & 0x36, 0x30 | qos << 1, "{heard:x?}");
            if qos > 0 {
                let topic = usize::from(heard[3]) + 4;
                let id = [heard[topic], heard[topic + 1]];
                listener.write_all(&packet(0x40, &[&id])).await.unwrap();
            }
            let text = String::from_utf8_lossy(&heard).into_owned();
            if text.contains("$SYS/broker/clients/connected") {
                assert_eq!(heard[0] & 1, u8::from(connected == 0), "retained");
                assert!(text.ends_with('2') || text.ends_with('3'), "{text}");
                connected += 1;
            }
        }
    }
    // Nobody else hears of it, and nobody else says it.
    all.write_all(b"\xC0\0").await.unwrap();
    assert_eq!(read(&mut all).await, b"\xD0\0");
    all.write_all(&packet(0x30, &[&field(b"$SYS/broker/version"), b"mine"])).await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, all.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, b"");
    let mut one = dial(&running, &connect("last", "guest", "guest")).await;
    let filter = field(b"$SYS/broker/version");
    one.write_all(&packet(0x82, &[b"\0\x01", &filter, b"\0"])).await.unwrap();
    read(&mut one).await;
    read(&mut one).await;
    let text = String::from_utf8(read(&mut one).await).unwrap();
    assert!(text.contains("$SYS/broker/versiontrivium version "), "{text}");
    running.shutdown().await;
}

/// A key of SCRAM.
fn sign(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// The content of the property `id` of an AUTH or CONNACK, whose block begins at `start`.
fn property(packet: &[u8], id: u8) -> Vec<u8> {
    let mut at = 5;
    loop {
        let length = match packet[at] {
            0x15 | 0x16 => 3 + usize::from(u16::from_be_bytes([packet[at + 1], packet[at + 2]])),
            0x21 | 0x22 => 3,
            0x11 | 0x27 => 5,
            other => panic!("property {other:x}"),
        };
        if packet[at] == id {
            return packet[at + 3..at + length].to_vec();
        }
        at += length;
    }
}

/// What a client answers to a challenge, and what it must hear then.
fn prove(first: &str, password: &[u8], challenge: &str) -> (String, String) {
    let part = |name: &str| {
        challenge.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned()
    };
    let (nonce, salt) = (part("r="), BASE64.decode(part("s=")).unwrap());
    let mut salted = [0; 32];
    let iterations = part("i=").parse().unwrap();
    pbkdf2::pbkdf2_hmac::<Sha256>(password, &salt, iterations, &mut salted);
    let client_key = sign(&salted, b"Client Key");
    let without = format!("c=biws,r={nonce}");
    let signed = format!("{first},{challenge},{without}");
    let signature = sign(&Sha256::digest(&client_key), signed.as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let expected = sign(&sign(&salted, b"Server Key"), signed.as_bytes());
    let answer = format!("{without},p={}", BASE64.encode(proof));
    (answer, format!("v={}", BASE64.encode(expected)))
}

fn authentication(data: &str) -> Vec<u8> {
    [&[0x15][..], &field(b"SCRAM-SHA-256"), &[0x16], &field(data.as_bytes())].concat()
}

/// AUTH, longer than 127 octets perhaps.
fn auth(code: u8, data: &str) -> Vec<u8> {
    let block = authentication(data);
    let variable = |length: usize| {
        let low = u8::try_from(length % 128).unwrap();
        if length < 128 { vec![low] } else { vec![low | 0x80, u8::try_from(length / 128).unwrap()] }
    };
    let properties = [variable(block.len()), block].concat();
    [&[0xF0][..], &variable(1 + properties.len()), &[code], &properties].concat()
}

/// The next packet, its length read as two octets where it needs them, and written as one.
async fn read_long(socket: &mut TcpStream) -> Vec<u8> {
    let mut first = [0; 2];
    timeout(PATIENCE, socket.read_exact(&mut first)).await.unwrap().unwrap();
    let mut length = usize::from(first[1] & 0x7F);
    if first[1] & 0x80 != 0 {
        length |= usize::from(socket.read_u8().await.unwrap()) << 7;
    }
    let mut body = vec![0; length];
    timeout(PATIENCE, socket.read_exact(&mut body)).await.unwrap().unwrap();
    // One octet of length for the packet and one for its properties.
    let is_auth = first[0] == 0xF0;
    let at = if is_auth { 1 } else { 2 };
    if body.get(at).is_some_and(|octet| octet & 0x80 != 0) {
        body.remove(at);
    }
    let head: &[u8] = if is_auth { &[0xF0, 0, 0] } else { &[first[0], 0] };
    [head, &body].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn scram_proves_the_password_both_ways_without_sending_it() {
    let toml = "[[vhosts]]\nname = \"blue\"\n[[users]]\nname = \"sensor\"\npassword = \"pencil\"\n";
    let running = start(toml).await;
    for (user, password, is_right) in [
        ("sensor", "pencil", true),
        ("blue:sensor", "pencil", true),
        ("sensor", "pencils", false),
        ("nobody", "pencil", false),
    ] {
        let first = format!("n={user},r=abc");
        let block = authentication(&format!("n,,{first}"));
        let length = u8::try_from(block.len()).unwrap();
        let sent = packet(0x10, &[b"\0\x04MQTT\x05\x02\0\0", &[length], &block, b"\0\x01s"]);
        let mut device = dial(&running, &sent).await;
        let heard = read_long(&mut device).await;
        assert_eq!((heard[0], heard[3]), (0xF0, 0x18), "{heard:x?}");
        assert_eq!(property(&heard, 0x15), b"SCRAM-SHA-256");
        let challenge = String::from_utf8(property(&heard, 0x16)).unwrap();
        assert!(challenge.starts_with("r=abc") && challenge.ends_with(",i=4096"));
        let (answer, expected) = prove(&first, password.as_bytes(), &challenge);
        device.write_all(&auth(0x18, &answer)).await.unwrap();
        let heard = read_long(&mut device).await;
        assert_eq!(heard[0], 0x20);
        if !is_right {
            assert_eq!(heard[3], 0x86, "{user}");
            continue;
        }
        assert_eq!(heard[3], 0, "{user}");
        assert_eq!(property(&heard, 0x16), expected.as_bytes(), "the server knows it, too");
        // Once more, over the same connection.
        device.write_all(&auth(0x19, &format!("n,,{first}"))).await.unwrap();
        let heard = read_long(&mut device).await;
        let challenge = String::from_utf8(property(&heard, 0x16)).unwrap();
        let (answer, expected) = prove(&first, password.as_bytes(), &challenge);
        device.write_all(&auth(0x18, &answer)).await.unwrap();
        let heard = read_long(&mut device).await;
        assert_eq!((heard[0], heard[3]), (0xF0, 0));
        assert_eq!(property(&heard, 0x16), expected.as_bytes());
        device.write_all(b"\xC0\0").await.unwrap();
        assert_eq!(read(&mut device).await, b"\xD0\0");
    }
    running.shutdown().await;
}
