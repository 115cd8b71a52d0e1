//! The properties of a message as STOMP headers.
//!
//! The wire form of a message published by STOMP is the block of its header lines that travel on,
//! escaped as 1.2 escapes them, without those that belong to the frame. STOMP clients get the block
//! as it is; for the others [`PROPERTY_CODEC`] reads it. [`encode`] writes such a block for
//! messages that other protocols published.

use std::fmt::Display;
use std::str::FromStr;

use trivium_core::properties::{
    Form, HEADER_TYPES, TypeNote, TypesOfText, octets_of_text, own_name, text_of_octets,
    travelling_name, write_value,
};
use trivium_core::{Field, Lost, Properties, PropertyCodec, Protocol, ReplyTo};

use crate::config::HEADER_LINE_BYTES_MAX;
use crate::destination::{self, Destination};
use crate::header;
use crate::name::{self, Name, PAYLOAD_FORMAT, PUBLISH_QOS};
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
        let note = header_types(wire);
        let mut types = note.as_deref().and_then(TypesOfText::read).unwrap_or_default();
        for (name, value) in header::lines(wire) {
            if set_property(&mut properties, Name::of(&name), &value) {
                continue;
            }
            if name == HEADER_TYPES && is_taken(&name, &value) {
                continue;
            }
            let own = name::decode(own_name(&name, |bare| is_taken(bare, &value))).into_owned();
            properties.headers.0.push((own, types.restore(&name, &value)));
        }
        properties
    }
}

/// What the block says of its headers' types.
fn header_types(wire: &[u8]) -> Option<String> {
    memchr::memmem::find(wire, HEADER_TYPES.as_bytes())?;
    let mut lines = header::lines(wire).filter(|(name, _)| name == HEADER_TYPES);
    lines.next().map(|(_, note)| note.into_owned())
}

/// Whether a header of this name and value is no header of the publisher's own: towards STOMP such
/// a one travels under another name. What does not read like the property of its name is one.
fn is_taken(name: &str, value: &str) -> bool {
    match Name::of(name) {
        Name::Other => false,
        Name::Expiration | Name::Timestamp | Name::Expires => number::<u64>(value).is_some(),
        Name::Persistent | Name::Retain => number::<bool>(value).is_some(),
        Name::Priority => number::<u8>(value).is_some(),
        Name::PublishQos => qos(value).is_some(),
        Name::PayloadFormat => payload_format(value).is_some(),
        Name::HeaderTypes => TypesOfText::read(value).is_some(),
        Name::Destination
        | Name::Frame
        | Name::Receipt
        | Name::Transaction
        | Name::MessageId
        | Name::Reserved
        | Name::ContentType
        | Name::ContentEncoding
        | Name::CorrelationId
        | Name::ReplyTo
        | Name::AmqpMessageId
        | Name::AmqpClusterId
        | Name::Type
        | Name::AppId
        | Name::UserId => true,
    }
}

/// Only what is written as we would write it: the way back must give the same text.
pub(crate) fn number<T: FromStr + Display>(value: &str) -> Option<T> {
    value.parse().ok().filter(|number: &T| number.to_string() == value)
}

fn qos(value: &str) -> Option<u8> {
    number(value).filter(|qos| *qos <= 2)
}

fn payload_format(value: &str) -> Option<u8> {
    number(value).filter(|format| *format <= 1)
}

/// Takes a header that is a property; false when it is the publisher's own. Of repeated ones the
/// first counts (S-15), the others stay headers.
fn set_property(properties: &mut Properties, name: Name, value: &str) -> bool {
    fn set<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
        let takes = slot.is_none() && value.is_some();
        *slot = slot.take().or(value);
        takes
    }
    let text = || Some(value.to_owned());
    match name {
        Name::ContentType => set(&mut properties.content_type, text()),
        Name::ContentEncoding => set(&mut properties.content_encoding, text()),
        Name::CorrelationId => set(&mut properties.correlation, Some(octets_of_text(value))),
        Name::ReplyTo => set(&mut properties.reply_to, Some(reply_to(value))),
        Name::Expiration => set(&mut properties.expiry_ms, number(value)),
        Name::Persistent => set(&mut properties.durable, number(value)),
        Name::Priority => set(&mut properties.priority, number(value)),
        Name::AmqpMessageId => set(&mut properties.message_id, text()),
        Name::AmqpClusterId => set(&mut properties.cluster_id, text()),
        Name::Type => set(&mut properties.kind, text()),
        Name::AppId => set(&mut properties.app_id, text()),
        Name::UserId => set(&mut properties.user_id, text()),
        Name::Timestamp => set(&mut properties.timestamp, number(value)),
        Name::PublishQos => set(&mut properties.qos, qos(value)),
        Name::PayloadFormat => set(&mut properties.payload_format, payload_format(value)),
        Name::Destination
        | Name::Frame
        | Name::Receipt
        | Name::Transaction
        | Name::MessageId
        | Name::Reserved
        | Name::Expires
        | Name::Retain
        | Name::HeaderTypes
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
    let mut lines = Lines { lost: Lost::NONE, out };
    lines.text("content-type", properties.content_type.as_deref(), Field::ContentType);
    lines.text("content-encoding", properties.content_encoding.as_deref(), Field::Property);
    if let Some(octets) = &properties.correlation {
        let mut text = String::new();
        text_of_octets(octets, &mut text);
        lines.text("correlation-id", Some(&text), Field::Correlation);
    }
    if let Some(reply_to) = &properties.reply_to {
        let mut text = Vec::new();
        match reply_to {
            ReplyTo::Queue(name) => destination::write_reply_queue(name, &mut text),
            ReplyTo::Topic(key) => {
                let exchange = destination::TOPIC_EXCHANGE.as_bytes();
                destination::write(exchange, key.as_bytes(), &mut text);
            }
        }
        lines.write("reply-to", &text, Field::ReplyTo);
    }
    lines.number("expiration", properties.expiry_ms);
    if let Some(durable) = properties.durable {
        lines.text("persistent", Some(&durable.to_string()), Field::Property);
    }
    lines.number("priority", properties.priority.map(u64::from));
    lines.text("amqp-message-id", properties.message_id.as_deref(), Field::Property);
    lines.text("amqp-cluster-id", properties.cluster_id.as_deref(), Field::Property);
    lines.text("type", properties.kind.as_deref(), Field::Property);
    lines.text("app-id", properties.app_id.as_deref(), Field::Property);
    lines.text("user-id", properties.user_id.as_deref(), Field::Property);
    lines.number("timestamp", properties.timestamp);
    lines.number(PAYLOAD_FORMAT, properties.payload_format.map(u64::from));
    lines.number(PUBLISH_QOS, properties.qos.map(u64::from));
    lines.headers(properties);
    lines.lost
}

/// Header lines that are being appended.
struct Lines<'a> {
    lost: Lost,
    out: &'a mut Vec<u8>,
}

impl Lines<'_> {
    fn text(&mut self, name: &str, value: Option<&str>, field: Field) {
        if let Some(value) = value {
            self.write(name, value.as_bytes(), field);
        }
    }

    fn number(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.out.extend_from_slice(name.as_bytes());
            self.out.push(b':');
            header::push_decimal(self.out, value);
            self.out.push(b'\n');
        }
    }

    /// Appends a line if it is short enough to come back in a SEND.
    fn write(&mut self, name: &str, value: &[u8], field: Field) -> bool {
        let start = self.out.len();
        header::write(Version::V1_2, name.as_bytes(), value, self.out);
        let fits = self.out.len() - start <= HEADER_LINE_BYTES_MAX;
        if !fits {
            self.out.truncate(start);
            self.lost.note(field);
        }
        fits
    }

    /// The publisher's own headers, and behind them what their types were.
    fn headers(&mut self, properties: &Properties) {
        let mut note = TypeNote::of(&properties.headers);
        let (mut text, mut tags, mut coded) = (String::new(), String::new(), String::new());
        for (name, value) in &properties.headers.0 {
            text.clear();
            tags.clear();
            coded.clear();
            let Some(form) = write_value(value, &mut text, &mut tags) else {
                self.lost.note(Field::Header);
                continue;
            };
            let is_itself = name::encode(name, &mut coded);
            self.lost.unless(is_itself && form != Form::Coded, Field::Header);
            let travelling = travelling_name(&coded, |bare| is_taken(bare, &text));
            if self.write(&travelling, text.as_bytes(), Field::Header)
                && let Some(note) = &mut note
            {
                note.add(name, &travelling, &tags);
            }
        }
        let note = note.map(TypeNote::into_text).filter(|note| !note.is_empty());
        self.text(HEADER_TYPES, note.as_deref(), Field::Header);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trivium_core::{Table, Value};

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
            cluster_id: Some("c".into()),
            timestamp: Some(1_700_000_000),
            headers: Table(vec![
                ("b".into(), Value::text("2")),
                ("a".into(), Value::text("1")),
                ("b".into(), Value::text("repeated")),
                ("ack".into(), Value::text("mine")),
                ("priority".into(), Value::text("5")),
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
        let lost = |name: &str, value: Value| {
            let headers = Table(vec![(name.into(), value)]);
            let properties = Properties { headers, ..Properties::default() };
            let mut block = Vec::new();
            let lost = encode(&properties, &mut block);
            let is_restored = PROPERTY_CODEC.decode(&block) == properties;
            (lost.fields().collect::<Vec<_>>(), is_restored)
        };
        assert_eq!(lost("t", Value::Array(vec![Value::Void])), (vec![], true));
        assert_eq!(lost("", Value::text("v")), (vec![Field::Header], true));
        assert_eq!(lost("a\0", Value::text("v")), (vec![Field::Header], true));
        assert_eq!(lost("h", Value::text("\0")), (vec![Field::Header], true));
        assert_eq!(lost("h", Value::Text(vec![0xFF])), (vec![Field::Header], true));
        assert_eq!(lost("h", Value::Bytes(vec![0xFF])), (vec![], true));
        assert_eq!(lost("h", Value::text("x".repeat(70_000))), (vec![Field::Header], false));
    }

    #[test]
    fn types_come_back_under_the_name_that_travels() {
        let headers = Table(vec![
            ("priority".into(), Value::Int(5, 4)),
            ("n".into(), Value::text("5")),
            ("n".into(), Value::Uint(5, 1)),
            ("a,b".into(), Value::Bool(true)),
        ]);
        let properties = Properties { headers, ..Properties::default() };
        let mut block = Vec::new();
        assert_eq!(encode(&properties, &mut block), Lost::NONE);
        let text = String::from_utf8(block.clone()).unwrap();
        let note = "x-header-types:amqp-header-priority=I,n=S,n=B,a%2Cb=t\n";
        assert!(text.ends_with(note), "{text}");
        assert_eq!(PROPERTY_CODEC.decode(&block), properties);
    }

    #[test]
    fn numbers_that_do_not_parse_stay_headers() {
        let block = b"priority:high\ntimestamp:-1\npersistent:maybe\nexpiration:007\n\
                      x-mqtt-publish-qos:3\nx-mqtt-payload-format:2\nx-header-types:none\n";
        let read = PROPERTY_CODEC.decode(block);
        assert_eq!(read, Properties { headers: read.headers.clone(), ..Properties::default() });
        assert_eq!(read.headers.0.len(), 7);
        let mut again = Vec::new();
        assert_eq!(encode(&read, &mut again), Lost::NONE);
        assert_eq!(again, block, "and go back under their names");
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
            headers in prop::collection::vec(("(%|25|00|\u{0}|priority|amqp-header-|.)*", ".*"), 0..6),
        ) {
            let headers = Table(
                headers.into_iter().map(|(name, text)| (name, Value::text(text))).collect(),
            );
            let properties = Properties { headers, ..Properties::default() };
            let mut block = Vec::new();
            encode(&properties, &mut block).fields().for_each(drop);
            prop_assert_eq!(PROPERTY_CODEC.decode(&block), properties);
        }
    }
}
