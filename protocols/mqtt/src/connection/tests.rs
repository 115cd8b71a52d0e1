//! Conversations with the real broker. The table runs every case whole and byte by byte: framing
//! may not depend on how TCP cuts the stream. The statements that a case proves stand in its rule,
//! with the version's number in front where both versions use the same id.

mod alarms;
mod conformance;
mod crash;
mod delivery;
mod endings;
mod fuzz;
mod model;
mod opening;
mod publishing;
mod session_model;
mod sessions;
mod sources;
mod subscribing;

use std::sync::Arc;

use trivium_core::Protocol;
use trivium_core::testing::{Client, World};

use super::*;
use crate::version::Version;

const V4: Version = Version::V311;
const V5: Version = Version::V5;
const ACCEPTED_4: &[u8] = b"\x20\x02\0\0";
/// Receive Maximum 8192, Maximum Packet Size 16 MiB, Topic Alias Maximum 16.
const ACCEPTED_5: &[u8] = b"\x20\x0E\0\0\x0B\x21\x20\0\x27\x01\0\0\0\x22\0\x10";

fn packet(first: u8, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut packet = vec![first];
    crate::packet::write_variable(body.len(), &mut packet);
    packet.extend_from_slice(&body);
    packet
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A property block with its length; nothing in 3.1.1.
fn block(version: Version, properties: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    if version.is_5() {
        crate::packet::write_variable(properties.len(), &mut block);
        block.extend_from_slice(properties);
    }
    block
}

/// What a client says that wants no Reason Strings, so that answers are known to the octet.
const UNTOLD: &[u8] = b"\x17\0";

/// CONNECT with clean start, and `properties` in MQTT 5.
fn connect(version: Version, client_id: &str, keep_alive: u8, properties: &[u8]) -> Vec<u8> {
    let properties = &[UNTOLD, properties].concat();
    let level = if version.is_5() { 5 } else { 4 };
    packet(
        0x10,
        &[
            b"\0\x04MQTT",
            &[level, 2, 0, keep_alive],
            &block(version, properties),
            &field(client_id.as_bytes()),
        ],
    )
}

fn publish(
    version: Version,
    flags: u8,
    topic: &str,
    packet_id: u8,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let id: &[u8] = if flags & 6 == 0 { &[] } else { &[0, packet_id] };
    let topic = field(topic.as_bytes());
    packet(0x30 | flags, &[&topic, id, &block(version, properties), payload])
}

fn subscribe(
    version: Version,
    packet_id: u8,
    filters: &[(&str, u8)],
    properties: &[u8],
) -> Vec<u8> {
    let filters: Vec<_> = filters
        .iter()
        .map(|(filter, options)| [field(filter.as_bytes()), vec![*options]].concat())
        .collect();
    packet(0x82, &[&[0, packet_id], &block(version, properties), &filters.concat()])
}

fn unsubscribe(version: Version, packet_id: u8, filters: &[&str]) -> Vec<u8> {
    let filters: Vec<_> = filters.iter().map(|filter| field(filter.as_bytes())).collect();
    packet(0xA2, &[&[0, packet_id], &block(version, b""), &filters.concat()])
}

fn suback(version: Version, packet_id: u8, codes: &[u8]) -> Vec<u8> {
    packet(0x90, &[&[0, packet_id], &block(version, b""), codes])
}

fn adapter(config: Config) -> Connection {
    Connection::new(Arc::new(config), Instant::START)
}

/// A client whose socket was just accepted.
fn dial(world: &World) -> Client<'_, Connection> {
    let connection = Connection::new(Arc::new(Config::default()), world.now());
    world.client(Protocol::Mqtt, connection, usize::MAX)
}

/// A client that is connected.
fn client<'w>(world: &'w World, version: Version, client_id: &str) -> Client<'w, Connection> {
    client_with(world, version, client_id, b"")
}

fn client_with<'w>(
    world: &'w World,
    version: Version,
    client_id: &str,
    properties: &[u8],
) -> Client<'w, Connection> {
    let mut client = dial(world);
    let read = client.send(&connect(version, client_id, 0, properties));
    assert_eq!(read, if version.is_5() { ACCEPTED_5 } else { ACCEPTED_4 });
    client
}

fn error_of(client: &Client<'_, Connection>) -> Option<String> {
    client.adapter().and_then(|adapter| adapter.describe().error)
}

struct Case {
    rule: &'static str,
    version: Version,
    /// After a CONNECT of that version.
    sent: Vec<Vec<u8>>,
    /// After its CONNACK.
    reads: Vec<Vec<u8>>,
    closed: bool,
}

fn case(
    rule: &'static str,
    version: Version,
    sent: Vec<Vec<u8>>,
    reads: Vec<Vec<u8>>,
    closed: bool,
) -> Case {
    Case { rule, version, sent, reads, closed }
}

fn run(cases: &[Case]) {
    for case in cases {
        let sent = case.sent.concat();
        for chunk_len in [usize::MAX, 1] {
            let world = World::new();
            let mut client = world.client(Protocol::Mqtt, adapter(Config::default()), chunk_len);
            let accepted = if case.version.is_5() { ACCEPTED_5 } else { ACCEPTED_4 };
            let read = client.send(&[&connect(case.version, "a", 0, b"")[..], &sent].concat());
            let expected = [accepted, &case.reads.concat()].concat();
            let rule = case.rule;
            assert_eq!(Hex(&read), Hex(&expected), "{rule} (chunks of {chunk_len})");
            assert_eq!(client.is_closed(), case.closed, "{rule} (chunks of {chunk_len})");
        }
    }
}

#[derive(PartialEq)]
struct Hex<'a>(&'a [u8]);

impl std::fmt::Debug for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02X?}", self.0)
    }
}

#[test]
fn rules_of_an_open_connection() {
    let ask = || b"\xC0\0".to_vec();
    let answer = || b"\xD0\0".to_vec();
    let gone = |code: u8| vec![vec![0xE0, 2, code, 0]];
    run(&[
        case("[MQTT-3.12.4-1] PINGRESP", V4, vec![ask(), ask()], vec![answer(), answer()], false),
        case("[MQTT-3.12.4-1] PINGRESP", V5, vec![ask()], vec![answer()], false),
        case("[MQTT-3.1.0-2] CONNECT twice", V5, vec![connect(V5, "a", 0, b"")], gone(0x82), true),
        case("3.1.1 [MQTT-3.1.0-2]", V4, vec![connect(V4, "a", 0, b"")], vec![], true),
        case("[MQTT-2.1.3-1] flags", V5, vec![b"\xC1\0".to_vec()], gone(0x81), true),
        case("3.1.1 [MQTT-2.2.2-2] flags", V4, vec![b"\xC1\0".to_vec()], vec![], true),
        case("PINGREQ with a body", V5, vec![b"\xC0\x01\0".to_vec()], gone(0x81), true),
        case("a server's packet", V5, vec![b"\x20\x02\0\0".to_vec()], gone(0x82), true),
        case("[MQTT-4.12.0-7] AUTH", V5, vec![b"\xF0\0".to_vec()], gone(0x82), true),
        case("3.1.1 packet type 15", V4, vec![b"\xF0\0".to_vec()], vec![], true),
        case(
            "[MQTT-3.2.2-15] too large",
            V5,
            vec![b"\x30\xFF\xFF\xFF\x7F".to_vec()],
            gone(0x95),
            true,
        ),
        case("DISCONNECT", V4, vec![b"\xE0\0".to_vec(), ask()], vec![], true),
        case("DISCONNECT", V5, vec![b"\xE0\0".to_vec(), ask()], vec![], true),
        case("[MQTT-3.14.1-1] flags", V5, vec![b"\xE1\0".to_vec()], gone(0x81), true),
        case(
            "[MQTT-3.1.2-23] session expiry after none",
            V5,
            vec![b"\xE0\x07\0\x05\x11\0\0\0\x01".to_vec()],
            gone(0x82),
            true,
        ),
        case(
            "PUBACK of nothing",
            V5,
            vec![b"\x40\x02\0\x09".to_vec(), ask()],
            vec![answer()],
            false,
        ),
        case(
            "PUBREC of nothing",
            V5,
            vec![b"\x50\x02\0\x09".to_vec()],
            vec![b"\x62\x03\0\x09\x92".to_vec()],
            false,
        ),
        case(
            "PUBREC of nothing",
            V4,
            vec![b"\x50\x02\0\x09".to_vec()],
            vec![b"\x62\x02\0\x09".to_vec()],
            false,
        ),
        case(
            "PUBREL of nothing",
            V5,
            vec![b"\x62\x02\0\x09".to_vec()],
            vec![b"\x70\x03\0\x09\x92".to_vec()],
            false,
        ),
        case(
            "PUBREL of nothing",
            V4,
            vec![b"\x62\x02\0\x09".to_vec()],
            vec![b"\x70\x02\0\x09".to_vec()],
            false,
        ),
    ]);
}
