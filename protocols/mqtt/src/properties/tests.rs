use trivium_core::{Table, Value};

use super::*;

fn block(properties: &Properties) -> Vec<u8> {
    let mut wire = Vec::new();
    write_wire_head(properties.qos.unwrap_or_default(), Version::V5, &mut wire);
    // What is lost has a test of its own.
    write_block(properties, &mut wire).fields().for_each(drop);
    wire
}

#[test]
fn what_mqtt_can_say_survives_the_way_out_and_back() {
    let properties = Properties {
        content_type: Some("text/plain".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        correlation: Some(b"\0\xFF".to_vec()),
        reply_to: Some(ReplyTo::Topic("a.b".to_owned())),
        expiry_ms: Some(5000),
        durable: Some(true),
        priority: Some(9),
        message_id: Some("m".to_owned()),
        kind: Some("t".to_owned()),
        app_id: Some("app".to_owned()),
        user_id: Some("guest".to_owned()),
        cluster_id: Some("c".to_owned()),
        timestamp: Some(1_700_000_000),
        payload_format: Some(1),
        qos: Some(1),
        headers: Table(vec![
            ("b".to_owned(), Value::text("2")),
            ("a".to_owned(), Value::text("1")),
            ("b".to_owned(), Value::text("3")),
        ]),
    };
    assert_eq!(PROPERTY_CODEC.decode(&block(&properties)), properties);
    let queue = Properties {
        reply_to: Some(ReplyTo::Queue("amq.gen-a/b%".to_owned())),
        qos: Some(0),
        durable: Some(false),
        ..Properties::default()
    };
    assert_eq!(PROPERTY_CODEC.decode(&block(&queue)), queue);
}

#[test]
fn an_expiry_is_rounded_up_and_what_cannot_be_said_is_left_out() {
    let properties = Properties {
        expiry_ms: Some(1),
        payload_format: Some(7),
        headers: Table(vec![
            ("long".to_owned(), Value::text("x".repeat(65_536))),
            ("nu\0l".to_owned(), Value::text("")),
            ("n".to_owned(), Value::Int(-3, 4)),
        ]),
        ..Properties::default()
    };
    let types = b"\x26\0\x0Ex-header-types\0\x03n=I";
    let expected = [&b"\x04\x02\0\0\0\x01\x26\0\x01n\0\x02-3"[..], types].concat();
    assert_eq!(block(&properties), expected);
}

#[test]
fn types_and_names_that_mean_something_come_back() {
    let properties = Properties {
        kind: Some("t".to_owned()),
        qos: Some(0),
        durable: Some(false),
        headers: Table(vec![
            ("nul".to_owned(), Value::text("\0")),
            ("binary".to_owned(), Value::Bytes(vec![0xFF])),
            ("table".to_owned(), Value::Table(Table(vec![("v".into(), Value::Void)]))),
            ("priority".to_owned(), Value::Int(3, 4)),
            ("amqp-user-id".to_owned(), Value::text("admin")),
            ("amqp-type".to_owned(), Value::text("said twice")),
            ("content-encoding".to_owned(), Value::text("mine")),
            ("amqp-header-priority".to_owned(), Value::text("high")),
            ("amqp-header-priority".to_owned(), Value::text("4")),
            ("x-header-types".to_owned(), Value::text("h=I")),
        ]),
        ..Properties::default()
    };
    let wire = block(&properties);
    assert_eq!(PROPERTY_CODEC.decode(&wire), properties);
    let has = |text: &str| memchr::memmem::find(&wire, text.as_bytes()).is_some();
    assert!(has("\0\x18amqp-header-amqp-user-id\0\x05admin"), "nobody becomes admin so");
    assert!(has("amqp-header-priority=I"));
}

#[test]
fn names_that_do_not_parse_or_repeat_stay_headers() {
    let wire = b"\x04\x26\0\x08priority\0\x02+3\x26\0\x08priority\0\x013\x26\0\x08priority\0\x014";
    let decoded = PROPERTY_CODEC.decode(wire);
    assert_eq!(decoded.priority, Some(3));
    assert_eq!(
        decoded.headers.0,
        [("priority".to_owned(), Value::text("+3")), ("priority".to_owned(), Value::text("4")),]
    );
}

#[test]
fn damaged_records_do_not_panic() {
    for wire in [&b""[..], b"\x04\x26\0", b"\xFF\xFF", b"\x05\x08\0\x09a"] {
        drop(PROPERTY_CODEC.decode(wire));
    }
    assert_eq!(PROPERTY_CODEC.decode(b"\x01").qos, Some(1));
}

#[test]
fn what_mqtt_cannot_say_is_named() {
    let lost = |properties: Properties| {
        write_block(&properties, &mut Vec::new()).fields().collect::<Vec<_>>()
    };
    let header = |name: &str, value| {
        let headers = Table(vec![(name.to_owned(), value)]);
        lost(Properties { headers, ..Properties::default() })
    };
    assert_eq!(header("h", Value::text("\0")), [Field::Header], "coded");
    assert_eq!(header("h\0", Value::text("")), [Field::Header]);
    assert_eq!(header("h", Value::Table(Table::default())), []);
    let content_type = Some("a\0b".to_owned());
    assert_eq!(lost(Properties { content_type, ..Properties::default() }), [Field::ContentType]);
    let reply_to = Some(ReplyTo::Topic(String::new()));
    assert_eq!(lost(Properties { reply_to, ..Properties::default() }), [Field::ReplyTo]);
    assert_eq!(lost(Properties::default()), []);
}
