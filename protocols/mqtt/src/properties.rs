//! What an MQTT message says about itself: the form in which it is kept, and its translation to
//! and from the other protocols (`mapping.md`, "Properties").
//!
//! # Wire form
//!
//! One octet, then MQTT 5's properties without those that belong to a connection (topic alias,
//! subscription identifiers) and without their length:
//!
//! ```text
//!  bits 1-0  QoS of the PUBLISH
//!  bit  2    published by MQTT 5
//! ```
//!
//! A message of 3.1.1 is the octet alone. MQTT 5 to MQTT 5 copies the block.

use trivium_core::address::{topic_of_words, words_of_topic};
use trivium_core::properties::{
    Form, HEADER_TYPES, TypeNote, TypesOfText, own_name, travelling_name, write_value,
};
use trivium_core::{Field, Lost, Properties, PropertyCodec, Protocol, ReplyTo};

use crate::address::{encode_queue_topic, queue_of_topic};
use crate::guard::{Property, Reader, id, property};
use crate::version::Version;

const QOS_BITS: u8 = 3;
const IS_5_BIT: u8 = 4;

/// User properties that carry what MQTT has no property for.
const CONTENT_ENCODING: &str = "content-encoding";
const PRIORITY: &str = "priority";
const MESSAGE_ID: &str = "amqp-message-id";
const KIND: &str = "amqp-type";
const APP_ID: &str = "amqp-app-id";
pub(crate) const USER_ID: &str = "amqp-user-id";
const CLUSTER_ID: &str = "amqp-cluster-id";
const TIMESTAMP: &str = "amqp-timestamp";

/// The address of a message whose topic is not that one; written by the broker, never read.
const ADDRESS: &str = "x-mqtt-topic";

/// The longest string or binary on the wire.
const FIELD_BYTES_MAX: usize = 65_535;

/// Appends the octet that a wire form begins with.
pub(crate) fn write_wire_head(qos: u8, version: Version, out: &mut Vec<u8>) {
    out.push((qos & QOS_BITS) | if version.is_5() { IS_5_BIT } else { 0 });
}

/// The QoS and the property block of a wire form.
pub(crate) fn split_wire(wire: &[u8]) -> (u8, &[u8]) {
    match wire.split_first() {
        Some((&head, block)) => (head & QOS_BITS, block),
        None => (0, wire),
    }
}

/// Reads the properties of messages that MQTT clients published.
#[derive(Clone, Copy, Debug, Default)]
pub struct Codec;

/// The one [`Codec`].
pub static PROPERTY_CODEC: Codec = Codec;

impl PropertyCodec for Codec {
    fn protocol(&self) -> Protocol {
        Protocol::Mqtt
    }

    fn qos(&self, wire: &[u8]) -> Option<u8> {
        Some(split_wire(wire).0)
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        let (qos, block) = split_wire(wire);
        let mut properties =
            Properties { qos: Some(qos), durable: Some(qos > 0), ..Properties::default() };
        let mut types = header_types(block).and_then(TypesOfText::read).unwrap_or_default();
        for (id, value) in fields(block) {
            decode_one(id, value, &mut types, &mut properties);
        }
        properties
    }
}

/// The properties of a block. The adapter checked it; a record damaged on disk ends early.
fn fields(block: &[u8]) -> impl Iterator<Item = (u8, Property<'_>)> {
    let mut reader = Reader::new(block);
    std::iter::from_fn(move || if reader.is_empty() { None } else { property(&mut reader).ok() })
}

/// What the block says of its user properties' types.
fn header_types(block: &[u8]) -> Option<&str> {
    memchr::memmem::find(block, HEADER_TYPES.as_bytes())?;
    fields(block).find_map(|(id, value)| match (id, value) {
        (id::USER_PROPERTY, Property::Pair(HEADER_TYPES, note)) => Some(note),
        _ => None,
    })
}

fn decode_one(
    id: u8,
    value: Property<'_>,
    types: &mut TypesOfText<'_>,
    properties: &mut Properties,
) {
    match (id, value) {
        (id::PAYLOAD_FORMAT, Property::Number(format)) => {
            properties.payload_format = u8::try_from(format).ok();
        }
        (id::MESSAGE_EXPIRY, Property::Number(seconds)) => {
            properties.expiry_ms = Some(u64::from(seconds) * 1000);
        }
        (id::CONTENT_TYPE, Property::Text(text)) => properties.content_type = Some(text.to_owned()),
        (id::RESPONSE_TOPIC, Property::Text(topic)) => {
            properties.reply_to = Some(queue_of_topic(topic).map_or_else(
                || {
                    let mut key = String::with_capacity(topic.len());
                    words_of_topic(topic, &mut key);
                    ReplyTo::Topic(key)
                },
                ReplyTo::Queue,
            ));
        }
        (id::CORRELATION_DATA, Property::Binary(octets)) => {
            properties.correlation = Some(octets.to_vec());
        }
        (id::USER_PROPERTY, Property::Pair(name, value))
            if !decode_named(name, value, properties)
                && (name != HEADER_TYPES || !is_taken(name, value)) =>
        {
            let own = own_name(name, |bare| is_taken(bare, value)).to_owned();
            properties.headers.0.push((own, types.restore(name, value)));
        }
        _ => {}
    }
}

/// Whether a user property of this name and value is no header of the publisher's own.
fn is_taken(name: &str, value: &str) -> bool {
    match name {
        CONTENT_ENCODING | MESSAGE_ID | KIND | APP_ID | USER_ID | CLUSTER_ID | ADDRESS => true,
        PRIORITY => number::<u8>(value).is_some(),
        TIMESTAMP => number::<u64>(value).is_some(),
        HEADER_TYPES => TypesOfText::read(value).is_some(),
        _ => false,
    }
}

/// Whether the field of that name is set, so that a user property of the name is a header again.
/// Nobody's name but the publisher's own may stand under [`USER_ID`], however often.
fn is_set(name: &str, properties: &Properties) -> bool {
    match name {
        CONTENT_ENCODING => properties.content_encoding.is_some(),
        MESSAGE_ID => properties.message_id.is_some(),
        KIND => properties.kind.is_some(),
        APP_ID => properties.app_id.is_some(),
        CLUSTER_ID => properties.cluster_id.is_some(),
        PRIORITY => properties.priority.is_some(),
        TIMESTAMP => properties.timestamp.is_some(),
        _ => false,
    }
}

/// Only what is written as we would write it: the way back gives the same text.
fn number<T: std::str::FromStr + std::fmt::Display>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

/// Whether the user property stands for a field of its own: its first use, if it parses.
fn decode_named(name: &str, value: &str, properties: &mut Properties) -> bool {
    let field = match name {
        CONTENT_ENCODING => &mut properties.content_encoding,
        MESSAGE_ID => &mut properties.message_id,
        KIND => &mut properties.kind,
        APP_ID => &mut properties.app_id,
        USER_ID => &mut properties.user_id,
        CLUSTER_ID => &mut properties.cluster_id,
        PRIORITY => return set_parsed(&mut properties.priority, value),
        TIMESTAMP => return set_parsed(&mut properties.timestamp, value),
        _ => return false,
    };
    if field.is_some() {
        return false;
    }
    *field = Some(value.to_owned());
    true
}

fn set_parsed<T: std::str::FromStr + std::fmt::Display>(field: &mut Option<T>, text: &str) -> bool {
    if field.is_some() {
        return false;
    }
    *field = number(text);
    field.is_some()
}

/// Appends the MQTT 5 property block of a message that another protocol published. What MQTT
/// cannot say is left out, and returned.
pub(crate) fn write_block(properties: &Properties, out: &mut Vec<u8>) -> Lost {
    let mut lost = Lost::NONE;
    if let Some(format @ 0..=1) = properties.payload_format {
        out.extend_from_slice(&[id::PAYLOAD_FORMAT, format]);
    }
    if let Some(millis) = properties.expiry_ms {
        let seconds = u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX);
        out.push(id::MESSAGE_EXPIRY);
        out.extend_from_slice(&seconds.to_be_bytes());
    }
    if let Some(content_type) = &properties.content_type {
        let is_written = write_text(id::CONTENT_TYPE, content_type.as_bytes(), out);
        lost.unless(is_written, Field::ContentType);
    }
    if let Some(reply_to) = &properties.reply_to {
        lost.unless(write_reply_to(reply_to, out), Field::ReplyTo);
    }
    if let Some(correlation) = &properties.correlation {
        let fits = correlation.len() <= FIELD_BYTES_MAX;
        if fits {
            out.push(id::CORRELATION_DATA);
            write_field(correlation, out);
        }
        lost.unless(fits, Field::Correlation);
    }
    lost.unless(write_named(properties, out), Field::Property);
    write_headers(properties, &mut lost, out);
    lost
}

/// The publisher's own headers, and behind them what their types were.
fn write_headers(properties: &Properties, lost: &mut Lost, out: &mut Vec<u8>) {
    let mut note = TypeNote::of(&properties.headers);
    let (mut text, mut tags) = (String::new(), String::new());
    for (name, value) in &properties.headers.0 {
        text.clear();
        tags.clear();
        let Some(form) = write_value(value, &mut text, &mut tags) else {
            lost.note(Field::Header);
            continue;
        };
        lost.unless(form != Form::Coded, Field::Header);
        let is_taken = |bare: &str| is_taken(bare, &text) && !is_set(bare, properties);
        let travelling = travelling_name(name, is_taken);
        if !write_pair(&travelling, text.as_bytes(), out) {
            lost.note(Field::Header);
        } else if let Some(note) = &mut note {
            note.add(name, &travelling, &tags);
        }
    }
    if let Some(note) = note.map(TypeNote::into_text).filter(|note| !note.is_empty()) {
        lost.unless(write_pair(HEADER_TYPES, note.as_bytes(), out), Field::Header);
    }
}

fn write_reply_to(reply_to: &ReplyTo, out: &mut Vec<u8>) -> bool {
    let mut topic = Vec::new();
    let is_topic = match reply_to {
        ReplyTo::Queue(name) => {
            encode_queue_topic(name, &mut topic);
            true
        }
        ReplyTo::Topic(key) => topic_of_words(key, &mut topic),
    };
    is_topic
        && memchr::memchr2(b'+', b'#', &topic).is_none()
        && write_text(id::RESPONSE_TOPIC, &topic, out)
}

/// False when one of them has no form in MQTT.
fn write_named(properties: &Properties, out: &mut Vec<u8>) -> bool {
    let mut are_written = true;
    let texts = [
        (CONTENT_ENCODING, &properties.content_encoding),
        (MESSAGE_ID, &properties.message_id),
        (KIND, &properties.kind),
        (APP_ID, &properties.app_id),
        (USER_ID, &properties.user_id),
        (CLUSTER_ID, &properties.cluster_id),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            are_written &= write_pair(name, text.as_bytes(), out);
        }
    }
    if let Some(priority) = properties.priority {
        write_pair(PRIORITY, priority.to_string().as_bytes(), out);
    }
    if let Some(timestamp) = properties.timestamp {
        write_pair(TIMESTAMP, timestamp.to_string().as_bytes(), out);
    }
    are_written
}

/// Whether `bytes` may stand in a UTF-8 Encoded String.
fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= FIELD_BYTES_MAX && crate::guard::checked_text(bytes).is_ok()
}

fn write_text(id: u8, text: &[u8], out: &mut Vec<u8>) -> bool {
    let is_text = is_text(text);
    if is_text {
        out.push(id);
        write_field(text, out);
    }
    is_text
}

pub(crate) fn write_pair(name: &str, value: &[u8], out: &mut Vec<u8>) -> bool {
    let is_text = is_text(name.as_bytes()) && is_text(value);
    if is_text {
        out.push(id::USER_PROPERTY);
        write_field(name.as_bytes(), out);
        write_field(value, out);
    }
    is_text
}

/// Appends a field of at most [`FIELD_BYTES_MAX`] octets behind its length.
pub(crate) fn write_field(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

#[cfg(test)]
mod tests;
