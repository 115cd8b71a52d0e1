//! CONNECT and what answers it.

use super::*;

/// What was sent first, what is read, and whether it ends there.
type First = (&'static str, Vec<u8>, Vec<u8>, bool);

fn run_first(cases: Vec<First>) {
    for (rule, sent, expected, closed) in cases {
        for chunk_len in [usize::MAX, 1] {
            let world = World::new();
            let mut client = world.client(Protocol::Mqtt, adapter(Config::default()), chunk_len);
            let read = client.send(&sent);
            assert_eq!(Hex(&read), Hex(&expected), "{rule} (chunks of {chunk_len})");
            assert_eq!(client.is_closed(), closed, "{rule} (chunks of {chunk_len})");
        }
    }
}

/// A CONNECT with this after its header.
fn connect_of(body: &[u8]) -> Vec<u8> {
    packet(0x10, &[body])
}

fn refused_4(rule: &'static str, sent: Vec<u8>, code: u8) -> First {
    (rule, sent, vec![0x20, 2, 0, code], true)
}

fn refused_5(rule: &'static str, sent: Vec<u8>, code: u8) -> First {
    (rule, sent, vec![0x20, 3, 0, code, 0], true)
}

fn accepted(rule: &'static str, sent: Vec<u8>, answer: &[u8]) -> First {
    (rule, sent, answer.to_vec(), false)
}

fn silent(rule: &'static str, sent: Vec<u8>) -> First {
    (rule, sent, Vec::new(), true)
}

#[test]
fn clients_of_all_versions_are_accepted() {
    run_first(vec![
        accepted("3.1", connect_of(b"\0\x06MQIsdp\x03\x02\0\0\0\x01a"), ACCEPTED_4),
        accepted("3.1.1", connect(V4, "a", 0, b""), ACCEPTED_4),
        accepted("[MQTT-3.1.4-5] [MQTT-2.2.2-1]", connect(V5, "a", 0, b""), ACCEPTED_5),
        accepted(
            "3.1.1 user and password",
            connect_of(b"\0\x04MQTT\x04\xC2\0\0\0\x01a\0\x05guest\0\x05guest"),
            ACCEPTED_4,
        ),
        accepted(
            "[MQTT-3.1.2-19] a password without user name",
            connect_of(b"\0\x04MQTT\x05\x42\0\0\0\0\x01a\0\x01x"),
            ACCEPTED_5,
        ),
        accepted(
            "[MQTT-3.2.2-21] a session expiry above the limit is told",
            connect(V5, "a", 0, b"\x11\xFF\xFF\xFF\xFF"),
            &packet(0x20, &[b"\0\0\x10\x11\0\x09\x3A\x80", &ACCEPTED_5[5..]]),
        ),
    ]);
}

#[test]
fn who_is_not_accepted_is_told_in_mqtt_5() {
    let wrong_password = b"\0\x04MQTT\x05\xC2\0\0\0\0\x01a\0\x05guest\0\x01x";
    run_first(vec![
        refused_5(
            "[MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] a wrong password",
            connect_of(wrong_password),
            0x86,
        ),
        refused_5(
            "[MQTT-3.1.4-6] nothing behind a refused CONNECT is processed",
            [connect_of(wrong_password), b"\xC0\0".to_vec()].concat(),
            0x86,
        ),
        refused_5("[MQTT-3.1.2-2] level 6", connect_of(b"\0\x04MQTT\x06\x02\0\0\0\0\x01a"), 0x84),
        refused_5(
            "[MQTT-3.1.2-3] reserved flag",
            connect_of(b"\0\x04MQTT\x05\x03\0\0\0\0\x01a"),
            0x81,
        ),
        refused_5("[MQTT-4.12.0-1] method", connect(V5, "a", 0, b"\x15\0\x01x"), 0x8C),
        refused_5(
            "[MQTT-1.5.5-1] a long length",
            [&b"\x10\x8E\0"[..], b"\0\x04MQTT\x05\x02\0\0\0\0\x01a"].concat(),
            0x81,
        ),
        silent(
            "[MQTT-3.1.2-24] a Maximum Packet Size below the CONNACK",
            connect(V5, "a", 0, b"\x27\0\0\0\x05"),
        ),
    ]);
}

#[test]
fn who_is_not_accepted_by_3_1_1_and_who_is_not_answered() {
    run_first(vec![
        refused_4(
            "3.1.1 [MQTT-3.2.2-4] a wrong password that is not UTF-8",
            connect_of(b"\0\x04MQTT\x04\xC2\0\0\0\x01a\0\x05guest\0\x01\xFF"),
            4,
        ),
        refused_4("3.1.1 [MQTT-3.1.2-2] level 1", connect_of(b"\0\x04MQTT\x01\x02\0\0\0\x01a"), 1),
        refused_4(
            "3.1.1 [MQTT-3.1.3-8] empty id, kept session",
            connect_of(b"\0\x04MQTT\x04\0\0\0\0\0"),
            2,
        ),
        silent("3.1.1 [MQTT-3.1.2-3] reserved flag", connect_of(b"\0\x04MQTT\x04\x03\0\0\0\x01a")),
        silent("[MQTT-3.1.2-1] another name", connect_of(b"\0\x04MQTX\x05\x02\0\0\0\0\x01a")),
        silent("[MQTT-3.1.0-1] PINGREQ first", b"\xC0\0".to_vec()),
        silent("[MQTT-3.1.0-1] another protocol", b"GET / HTTP/1.1".to_vec()),
        silent("a CONNECT above its limit", vec![0x10, 0xFF, 0xFF, 0x7F]),
    ]);
}

#[test]
fn an_empty_client_identifier_is_assigned() {
    let world = World::new();
    let mut client = dial(&world);
    let read = client.send(&connect(V5, "", 0, b""));
    let name = client.adapter().unwrap().describe().client.unwrap();
    assert!(!name.is_empty(), "[MQTT-3.1.3-6]");
    let property = [&[0x12][..], &field(name.as_bytes())].concat();
    let found = read.windows(property.len()).any(|window| window == property);
    assert!(found, "[MQTT-3.1.3-7] [MQTT-3.2.2-16]");
    assert_eq!(dial(&world).send(&connect(V4, "", 0, b"")), ACCEPTED_4);
}

#[test]
fn who_and_what_is_described() {
    let world = World::new();
    let mut client = dial(&world);
    assert!(!client.adapter().unwrap().describe().is_open);
    client.send(&connect(V5, "me", 0, b""));
    let description = client.adapter().unwrap().describe();
    assert!(description.is_open);
    assert_eq!(description.user.as_deref(), Some("guest"));
    assert_eq!(description.client.as_deref(), Some("me"));
    assert_eq!(description.version, "MQTT 5");
    assert_eq!(error_of(&client), None);
}
