//! The properties of a message as STOMP headers.
//!
//! The wire form of a message published by STOMP is the block of its header lines that travel on,
//! escaped as 1.2 escapes them, without those that belong to the frame. STOMP clients get the block
//! as it is; for the others [`PROPERTY_CODEC`] reads it. [`encode`] writes such a block for
//! messages that other protocols published.

use std::fmt::Display;
use std::str::FromStr;

use trivium_core::{Field, Lost, Properties, PropertyCodec, Protocol, ReplyTo, Value};

use crate::destination::{self, Destination};
use crate::header;
use crate::name::{self, Name};
use crate::version::Version;

/// Reads the properties of messages that STOMP clients published.
pub static PROPERTY_CODEC: &dyn PropertyCodec = &Codec;

#[derive(Debug)]
struct Codec;

impl PropertyCodec for Codec {
    fn protocol(&self) -> Protocol {
        Protocol::Stomp
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        let mut properties = Properties::default();
        for (name, value) in header::lines(wire) {
            if !set_property(&mut properties, Name::of(&name), &value) {
                let name = name::without_prefix(&name).to_owned();
                properties.headers.0.push((name, Value::text(value.as_bytes())));
            }
        }
        properties
    }
}

/// Takes a header that is a property; false when it is the publisher's own, as is a number that
/// is not written as we would write it: the way back must give the same text. Of repeated ones the
/// first counts (S-15), the others stay headers.
fn set_property(properties: &mut Properties, name: Name, value: &str) -> bool {
    fn set<T>(slot: &mut Option<T>, value: T) -> bool {
        let is_first = slot.is_none();
        slot.get_or_insert(value);
        is_first
    }
    fn set_number<T: FromStr + Display>(slot: &mut Option<T>, value: &str) -> bool {
        let number = value.parse().ok().filter(|number: &T| number.to_string() == value);
        number.is_some_and(|number| set(slot, number))
    }
    match name {
        Name::ContentType => set(&mut properties.content_type, value.to_owned()),
        Name::ContentEncoding => set(&mut properties.content_encoding, value.to_owned()),
        Name::CorrelationId => set(&mut properties.correlation, value.as_bytes().to_vec()),
        Name::ReplyTo => set(&mut properties.reply_to, reply_to(value)),
        Name::Expiration => set_number(&mut properties.expiry_ms, value),
        Name::Persistent => set_number(&mut properties.durable, value),
        Name::Priority => set_number(&mut properties.priority, value),
        Name::AmqpMessageId => set(&mut properties.message_id, value.to_owned()),
        Name::Type => set(&mut properties.kind, value.to_owned()),
        Name::AppId => set(&mut properties.app_id, value.to_owned()),
        Name::UserId => set(&mut properties.user_id, value.to_owned()),
        Name::Timestamp => set_number(&mut properties.timestamp, value),
        Name::Destination
        | Name::Frame
        | Name::Receipt
        | Name::Transaction
        | Name::MessageId
        | Name::Reserved
        | Name::Other => false,
    }
}

/// Where an answer goes. What is no destination is a queue's name to AMQP clients, as in RabbitMQ;
/// so is an exchange, which no other protocol can be told.
fn reply_to(value: &str) -> ReplyTo {
    match Destination::parse(value, "SEND") {
        Ok(Destination::Topic(key)) => ReplyTo::Topic(key.into_owned()),
        Ok(Destination::Queue(name) | Destination::ExistingQueue(name)) => {
            ReplyTo::Queue(name.into_owned())
        }
        Ok(Destination::ReplyQueue(name)) => ReplyTo::Queue(name.to_owned()),
        Ok(Destination::Exchange(..)) | Err(_) => ReplyTo::Queue(value.to_owned()),
    }
}

/// Appends the header lines of a message that another protocol published, escaped as 1.2 does.
/// Returns what STOMP cannot say.
pub(crate) fn encode(properties: &Properties, out: &mut Vec<u8>) -> Lost {
    let mut lost = Lost::NONE;
    lost.unless(properties.payload_format.is_none(), Field::PayloadFormat);
    let mut text = Vec::new();
    write_text(out, "content-type", properties.content_type.as_deref());
    write_text(out, "content-encoding", properties.content_encoding.as_deref());
    if let Some(correlation) = &properties.correlation {
        write_octets(out, "correlation-id", correlation);
    }
    if let Some(reply_to) = &properties.reply_to {
        match reply_to {
            ReplyTo::Queue(name) => destination::write_reply_queue(name, &mut text),
            ReplyTo::Topic(key) => {
                let exchange = destination::TOPIC_EXCHANGE.as_bytes();
                destination::write(exchange, key.as_bytes(), &mut text);
            }
        }
        write_octets(out, "reply-to", &text);
    }
    write_number(out, "expiration", properties.expiry_ms);
    if properties.durable == Some(true) {
        out.extend_from_slice(b"persistent:true\n");
    }
    write_number(out, "priority", properties.priority.map(u64::from));
    write_text(out, "amqp-message-id", properties.message_id.as_deref());
    write_text(out, "type", properties.kind.as_deref());
    write_text(out, "app-id", properties.app_id.as_deref());
    write_text(out, "user-id", properties.user_id.as_deref());
    write_number(out, "timestamp", properties.timestamp);
    for (name, value) in &properties.headers.0 {
        text.clear();
        if !write_value(value, &mut text) {
            lost.note(Field::Header);
            continue;
        }
        if name::is_reserved(name) {
            write_octets(out, &format!("{}{name}", name::PREFIX), &text);
        } else {
            write_octets(out, name, &text);
        }
    }
    lost
}

fn write_text(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        header::write(Version::V1_2, name.as_bytes(), value.as_bytes(), out);
    }
}

fn write_number(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        header::push_decimal(out, value);
        out.push(b'\n');
    }
}

/// Headers are UTF-8 (S-4); octets that are not become replacement characters.
fn write_octets(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let value = String::from_utf8_lossy(value);
    header::write(Version::V1_2, name.as_bytes(), value.as_bytes(), out);
}

/// Appends a value as text; false when it has no plain text (tables and arrays, as in RabbitMQ).
fn write_value(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Void => return true,
        Value::Text(text) | Value::Bytes(text) => out.extend_from_slice(text),
        Value::Timestamp(seconds) => header::push_decimal(out, *seconds),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Int(number, _) => push_display(out, number),
        Value::Uint(number, _) => header::push_decimal(out, *number),
        Value::Float(number) => push_display(out, number),
        Value::Double(number) => push_display(out, number),
        Value::Decimal(scale, number) => push_scaled(out, *scale, *number),
        Value::Array(_) | Value::Table(_) => return false,
    }
    true
}

fn push_display(out: &mut Vec<u8>, value: &impl Display) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// `number / 10^scale`, without rounding.
fn push_scaled(out: &mut Vec<u8>, scale: u8, number: i32) {
    let digits = number.unsigned_abs().to_string();
    let scale = usize::from(scale);
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(whole.as_bytes());
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trivium_core::Table;

    use super::*;

    fn all() -> Properties {
        Properties {
            content_type: Some("text/plain; a=\"b:c\"".into()),
            content_encoding: Some("gzip".into()),
            correlation: Some(b"c\\1\r\n".to_vec()),
            reply_to: Some(ReplyTo::Topic("r/x.y".into())),
            expiry_ms: Some(60_000),
            durable: Some(true),
            priority: Some(9),
            message_id: Some("m".into()),
            kind: Some("k".into()),
            app_id: Some("a".into()),
            user_id: Some("guest".into()),
            timestamp: Some(1_700_000_000),
            headers: Table(vec![
                ("b".into(), Value::text("2")),
                ("a".into(), Value::text("1")),
                ("b".into(), Value::text("repeated")),
                ("ack".into(), Value::text("mine")),
                ("priority".into(), Value::text("high")),
                ("amqp-header-ack".into(), Value::text("nested")),
                ("receipt".into(), Value::text("none")),
            ]),
            ..Properties::default()
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut block = Vec::new();
        assert_eq!(encode(&all(), &mut block), Lost::NONE);
        assert_eq!(PROPERTY_CODEC.decode(&block), all());
        let text = String::from_utf8(block).unwrap();
        assert!(text.contains("reply-to:/topic/r%2Fx.y\n"), "{text}");
        assert!(text.contains("amqp-header-ack:mine\n"), "{text}");
        assert!(text.contains("amqp-header-amqp-header-ack:nested\n"), "{text}");
        assert!(text.contains("amqp-header-receipt:none\n"), "a receipt is never asked for");
    }

    #[test]
    fn what_stomp_cannot_say_is_named() {
        let headers = Table(vec![("t".into(), Value::Array(vec![]))]);
        let properties = Properties { headers, payload_format: Some(1), ..Properties::default() };
        let lost: Vec<_> = encode(&properties, &mut Vec::new()).fields().collect();
        assert_eq!(lost, [Field::PayloadFormat, Field::Header]);
    }

    #[test]
    fn values_as_text() {
        for (value, text) in [
            (Value::Void, Some("")),
            (Value::Bool(true), Some("true")),
            (Value::Int(-5, 4), Some("-5")),
            (Value::Uint(5, 8), Some("5")),
            (Value::Double(1.5), Some("1.5")),
            (Value::Decimal(2, 314), Some("3.14")),
            (Value::Decimal(3, -5), Some("-0.005")),
            (Value::Decimal(0, 7), Some("7")),
            (Value::Timestamp(9), Some("9")),
            (Value::Array(vec![]), None),
        ] {
            let mut out = Vec::new();
            let is_written = write_value(&value, &mut out);
            let written = is_written.then(|| String::from_utf8(out).unwrap());
            assert_eq!(written.as_deref(), text, "{value:?}");
        }
    }

    #[test]
    fn numbers_that_do_not_parse_stay_headers() {
        let read = PROPERTY_CODEC
            .decode(b"priority:high\ntimestamp:-1\npersistent:maybe\nexpiration:007\n");
        assert_eq!((read.priority, read.timestamp, read.durable), (None, None, None));
        assert_eq!((read.expiry_ms, read.headers.0.len()), (None, 4));
    }

    #[test]
    fn of_repeated_properties_the_first_counts_and_the_others_stay() {
        let read = PROPERTY_CODEC.decode(b"type:a\ntype:b\n");
        assert_eq!(read.kind.as_deref(), Some("a"));
        assert_eq!(read.headers.0, [("type".to_owned(), Value::text("b"))]);
    }

    #[test]
    fn replies() {
        for (text, meaning) in [
            ("/queue/a%2Fb", ReplyTo::Queue("a/b".into())),
            ("/reply-queue/a/b", ReplyTo::Queue("a/b".into())),
            ("plain", ReplyTo::Queue("plain".into())),
            ("/topic/a.b", ReplyTo::Topic("a.b".into())),
            ("/exchange/x/k", ReplyTo::Queue("/exchange/x/k".into())),
            ("amqp://host/q", ReplyTo::Queue("amqp://host/q".into())),
        ] {
            assert_eq!(reply_to(text), meaning, "{text}");
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics(wire in prop::collection::vec(any::<u8>(), 0..300)) {
            PROPERTY_CODEC.decode(&wire);
        }

        #[test]
        fn own_headers_read_back(
            headers in prop::collection::vec(("[^\0]+", "[^\0]*"), 0..6),
        ) {
            let headers = Table(
                headers.into_iter().map(|(name, text)| (name, Value::text(text))).collect(),
            );
            let properties = Properties { headers, ..Properties::default() };
            let mut block = Vec::new();
            assert_eq!(encode(&properties, &mut block), Lost::NONE);
            prop_assert_eq!(PROPERTY_CODEC.decode(&block), properties);
        }
    }
}
