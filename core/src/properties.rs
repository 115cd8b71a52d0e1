//! What a message says about itself, in no protocol's form.
//!
//! A message carries its properties in its publisher's wire form. Only when a client of another
//! protocol receives it are they decoded into [`Properties`], once, by the [`PropertyCodec`] that
//! the publisher's adapter left with the message.

mod json;
mod neutral;
mod reserved;
mod text;

use std::fmt::Debug;

use crate::Protocol;

pub(crate) use neutral::encode as encode_neutral;
pub use neutral::neutral_codec;
pub use reserved::{HEADER_PREFIX, own_name, travelling_name};
pub use text::{
    Form, HEADER_TYPES, TypeNote, TypesOfText, octets_of_text, text_of_octets, write_value,
};

/// A field value, the union of what the three protocols can say (AMQP 0-9-1, section 4.2.5.5 with
/// RabbitMQ's reading of the tags).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Present, without a value.
    Void,
    /// A truth value.
    Bool(bool),
    /// A signed integer, with the octets it had on the wire (1, 2, 4 or 8).
    Int(i64, u8),
    /// An unsigned integer, with the octets it had on the wire (1, 2, 4 or 8).
    Uint(u64, u8),
    /// A 32-bit float.
    Float(f32),
    /// A 64-bit float.
    Double(f64),
    /// `value / 10^scale`.
    Decimal(u8, i32),
    /// Text, which nobody promised is UTF-8.
    Text(Vec<u8>),
    /// Octets.
    Bytes(Vec<u8>),
    /// Seconds since 1970.
    Timestamp(u64),
    /// Values in order.
    Array(Vec<Self>),
    /// Named values in order; repeats are kept.
    Table(Table),
}

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(text.into())
    }

    /// The text, when this is text and UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The integer, whatever its width; `None` for other types and above `i64::MAX`.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Int(value, _) => Some(*value),
            Self::Uint(value, _) => i64::try_from(*value).ok(),
            _ => None,
        }
    }
}

/// Named values in the order in which they were sent; repeats are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(pub Vec<(String, Value)>);

impl Table {
    /// Sets the value of that name, in its place if there is one.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Where an answer to a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyTo {
    /// A queue's name, through the default exchange.
    Queue(String),
    /// A key of `amq.topic`, in words.
    Topic(String),
}

/// All that a message says about itself besides its address and body. `None` is "not set", which
/// is not the same as a default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// MIME encoding of the body.
    pub content_encoding: Option<String>,
    /// What a request and its answer share. Octets in MQTT 5, text in AMQP and STOMP.
    pub correlation: Option<Vec<u8>>,
    /// Where the answer goes.
    pub reply_to: Option<ReplyTo>,
    /// Milliseconds from publishing to expiry.
    pub expiry_ms: Option<u64>,
    /// Set when the publisher said so: `true` asks for the message to survive a restart (AMQP
    /// `delivery_mode` 2, STOMP `persistent:true`, MQTT QoS >= 1).
    pub durable: Option<bool>,
    /// 0 to 255; higher first where a queue knows priorities.
    pub priority: Option<u8>,
    /// The publisher's name for this message.
    pub message_id: Option<String>,
    /// The publisher's name for this kind of message.
    pub kind: Option<String>,
    /// The publishing application.
    pub app_id: Option<String>,
    /// The publishing user; validated against the login.
    pub user_id: Option<String>,
    /// AMQP's reserved property `cluster-id`.
    pub cluster_id: Option<String>,
    /// Seconds since 1970, as the publisher wrote it.
    pub timestamp: Option<u64>,
    /// MQTT's Payload Format Indicator.
    pub payload_format: Option<u8>,
    /// The QoS at which MQTT published it.
    pub qos: Option<u8>,
    /// The publisher's own headers: typed, ordered, with repeats.
    pub headers: Table,
}

impl Properties {
    /// Whether it says nothing that a receiver could miss: durability and QoS are the broker's.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        let said = Self { durable: None, qos: None, ..self.clone() };
        said == Self::default()
    }
}

/// Reads the properties of messages that one protocol published.
pub trait PropertyCodec: Debug + Sync {
    /// Whose wire form this codec reads.
    fn protocol(&self) -> Protocol;

    /// Whose clients may get the wire form as it is; `None` for a form that is no protocol's.
    fn wire_protocol(&self) -> Option<Protocol> {
        Some(self.protocol())
    }

    /// Decodes `wire`, which this codec's adapter put into a [`crate::Draft`] and has validated.
    /// Must not panic on any input: records come back from disk.
    fn decode(&self, wire: &[u8]) -> Properties;

    /// Appends `wire` with its headers as `edit` leaves them and without an expiration: what `edit`
    /// does not touch stays as its publisher wrote it. False, and nothing appended, where the wire
    /// form does not have headers of every type.
    fn rewrite(&self, _wire: &[u8], _edit: &mut dyn FnMut(&mut Table), _out: &mut Vec<u8>) -> bool {
        false
    }

    /// [`Properties::qos`], where it can be had without decoding: queues of MQTT sessions ask it
    /// of every message.
    fn qos(&self, wire: &[u8]) -> Option<u8> {
        let _ = wire;
        None
    }
}
