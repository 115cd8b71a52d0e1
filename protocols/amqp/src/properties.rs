//! The property list of a content header (section 4.2.6.1 and class `basic`): its walk, which
//! validates what publishers send, and [`PROPERTY_CODEC`], which reads it for the other protocols.
//!
//! What a message keeps is the list as received, flags first. `translate.rs` goes the other way,
//! from the properties of MQTT and STOMP messages to a list.

use std::cell::Cell;

use trivium_core::{Properties, PropertyCodec, Protocol, ReplyTo, Table, Value};

use crate::channel::copies;
use crate::cursor::Cursor;
use crate::marker;
use crate::table::{self, TableError};

/// Properties of class `basic`.
pub(crate) const COUNT: usize = 14;

/// A property, numbered as in the list; its flag is bit `15 - number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Property {
    ContentType = 0,
    ContentEncoding = 1,
    Headers = 2,
    DeliveryMode = 3,
    Priority = 4,
    CorrelationId = 5,
    ReplyTo = 6,
    Expiration = 7,
    MessageId = 8,
    Timestamp = 9,
    Kind = 10,
    UserId = 11,
    AppId = 12,
    ClusterId = 13,
}

impl Property {
    /// Its bit in the flags.
    pub(crate) const fn flag(self) -> u16 {
        1 << (15 - self as usize)
    }
}

/// Delivery mode of a message that asks to survive a restart.
pub(crate) const PERSISTENT: u8 = 2;

/// Why a property list is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PropertiesError {
    #[error("property list ends early or has trailing octets")]
    Truncated,
    #[error("Malformed UTF-8 in shortstr")]
    Utf8,
    #[error("reserved property flags")]
    ReservedFlags,
    #[error("{0}")]
    Table(#[from] TableError),
}

/// Walks `wire`, flags first, and checks its strings; `visit` gets each property's number and
/// value, without its length. The two lowest flags are reserved: bit 0 would announce more flags,
/// and class `basic` has none. Returns the flags.
#[inline]
fn walk<'a>(
    wire: &'a [u8],
    mut visit: impl FnMut(usize, &'a [u8]),
) -> Result<u16, PropertiesError> {
    let mut cursor = Cursor(wire);
    let flags = cursor.short().ok_or(PropertiesError::Truncated)?;
    if flags & 0b11 != 0 {
        return Err(PropertiesError::ReservedFlags);
    }
    let mut left = flags;
    while left != 0 {
        let number = left.leading_zeros() as usize;
        left &= !(0x8000 >> number);
        let (read, is_text) = match number {
            2 => (cursor.long_string(), false),
            3 | 4 => (cursor.take(1), false),
            9 => (cursor.take(8), false),
            _ => (cursor.short_string(), true),
        };
        let value = read.ok_or(PropertiesError::Truncated)?;
        if is_text && std::str::from_utf8(value).is_err() {
            return Err(PropertiesError::Utf8);
        }
        visit(number, value);
    }
    if cursor.is_empty() { Ok(flags) } else { Err(PropertiesError::Truncated) }
}

/// All that publishing needs to know of a list that was found valid, its headers included. Small,
/// since one is made for each publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    flags: u16,
    pub(crate) is_persistent: bool,
    /// 0 when there is none.
    pub(crate) priority: u8,
    /// The expiration in milliseconds, where it is a valid one.
    pub(crate) expiry_ms: Option<u64>,
    /// There is a header [`marker::RETAIN`].
    pub(crate) has_retain: bool,
    /// Answers shall come by direct reply-to: `reply-to` is [`DIRECT_REPLY_TO`].
    pub(crate) asks_for_direct_replies: bool,
    /// A header names further routing keys.
    pub(crate) has_copies: bool,
}

impl Checked {
    /// Checks the list of a publisher.
    pub(crate) fn check(wire: &[u8]) -> Result<Self, PropertiesError> {
        let (mut is_persistent, mut asks_for_direct_replies) = (false, false);
        let (mut headers, mut priority, mut expiry_ms) = (None, 0, None);
        let flags = walk(wire, |number, value| match number {
            2 => headers = Some(value),
            3 => is_persistent = value == [PERSISTENT],
            4 => priority = value.first().copied().unwrap_or(0),
            7 => expiry_ms = std::str::from_utf8(value).ok().and_then(|t| expiration_ms(t).ok()),
            6 => asks_for_direct_replies = value == DIRECT_REPLY_TO.as_bytes(),
            _ => {}
        })?;
        let has_retain = Cell::new(false);
        let is_special = |name: &str| {
            has_retain.set(has_retain.get() || name == marker::RETAIN);
            copies::is_header(name)
        };
        let has_copies = match headers {
            Some(headers) => table::check_for(headers, is_special)?,
            None => false,
        };
        let has_retain = has_retain.get();
        Ok(Self {
            flags,
            is_persistent,
            priority,
            expiry_ms,
            has_retain,
            asks_for_direct_replies,
            has_copies,
        })
    }

    /// Whether the list has any of `properties`.
    pub(crate) fn has_any<const N: usize>(self, properties: [Property; N]) -> bool {
        properties.iter().any(|property| self.flags & property.flag() != 0)
    }
}

/// A property list, split but not copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PropertyList<'a> {
    flags: u16,
    /// Each property's value without its length; meaningful where the flag is set.
    values: [&'a [u8]; COUNT],
}

impl<'a> PropertyList<'a> {
    /// Splits `wire`, flags first.
    pub(crate) fn split(wire: &'a [u8]) -> Result<Self, PropertiesError> {
        let mut values = [&[][..]; COUNT];
        let flags = walk(wire, |number, value| values[number] = value)?;
        Ok(Self { flags, values })
    }

    pub(crate) const fn value(&self, property: Property) -> Option<&'a [u8]> {
        if self.flags & property.flag() == 0 {
            return None;
        }
        Some(self.values[property as usize])
    }

    pub(crate) fn text(&self, property: Property) -> Option<&'a str> {
        self.value(property).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn octet(&self, property: Property) -> Option<u8> {
        self.value(property).and_then(|value| value.first()).copied()
    }

    /// The list without its headers: the largest list that fits the smallest frame.
    pub(crate) const fn without_headers(mut self) -> Self {
        self.flags &= !Property::Headers.flag();
        self
    }

    /// The list without its expiration.
    const fn without_expiration(mut self) -> Self {
        self.flags &= !Property::Expiration.flag();
        self
    }

    /// The list with this inside of a table for its headers.
    pub(crate) const fn with_headers(mut self, octets: &'a [u8]) -> Self {
        self.flags |= Property::Headers.flag();
        self.values[Property::Headers as usize] = octets;
        self
    }

    /// The list with this `reply-to`, of at most 255 octets.
    pub(crate) const fn with_reply_to(mut self, name: &'a str) -> Self {
        self.flags |= Property::ReplyTo.flag();
        self.values[Property::ReplyTo as usize] = name.as_bytes();
        self
    }

    /// What the header [`marker::RETAIN`] says, when it is a truth value; and then appends the list
    /// without it: it is of one publish only, and who sends the message on does not retain it.
    pub(crate) fn take_retain(&self, out: &mut Vec<u8>) -> Option<bool> {
        let headers = self.value(Property::Headers)?;
        let Some(&Value::Bool(retain)) = table::decode(headers).get(marker::RETAIN) else {
            return None;
        };
        let others = table::without(headers, marker::RETAIN);
        if others.is_empty() {
            self.without_headers().write(out);
        } else {
            self.with_headers(&others).write(out);
        }
        Some(retain)
    }

    /// Appends the list, flags first.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.flags.to_be_bytes());
        for (number, value) in self.values.iter().enumerate() {
            if self.flags & (0x8000 >> number) == 0 {
                continue;
            }
            match number {
                2 => {
                    let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
                    out.extend_from_slice(&len.to_be_bytes());
                }
                3 | 4 | 9 => {}
                _ => out.push(u8::try_from(value.len()).unwrap_or(u8::MAX)),
            }
            out.extend_from_slice(value);
        }
    }
}

/// The longest `expiration` in milliseconds: ten years, as in RabbitMQ.
const EXPIRATION_MS_MAX: u64 = 315_360_000_000;

/// Reads `expiration`, a decimal number of milliseconds. The error is RabbitMQ's wording.
pub(crate) fn expiration_ms(text: &str) -> Result<u64, String> {
    let invalid = |detail: &str| format!("invalid expiration '{text}': {detail}");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, leftover) = digits.split_at(end);
    if digits.is_empty() {
        return Err(invalid("no_integer"));
    }
    if !leftover.is_empty() {
        return Err(invalid(&format!("{{leftover_string,\"{leftover}\"}}")));
    }
    let digits = digits.trim_start_matches('0');
    match digits.parse::<u64>() {
        _ if digits.is_empty() => Ok(0),
        _ if negative => Err(invalid(&format!("{{value_negative,-{digits}}}"))),
        Ok(value) if value <= EXPIRATION_MS_MAX => Ok(value),
        _ => Err(invalid(&format!("{{value_too_large,{digits}}}"))),
    }
}

/// In front of a topic's key in `reply_to`; the default exchange resolves such names.
pub(crate) const TOPIC_REPLY_PREFIX: &str = "amq.topic.reply-to.";

/// The `reply-to` that asks for direct replies, and the queue to consume them from. A message that
/// says so carries the queue's real name, which begins like this.
pub(crate) const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Reads the property lists of messages that AMQP clients published.
pub static PROPERTY_CODEC: &dyn PropertyCodec = &AmqpProperties;

/// [`PROPERTY_CODEC`].
#[derive(Debug)]
struct AmqpProperties;

impl PropertyCodec for AmqpProperties {
    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        PropertyList::split(wire).map(|list| decode(&list)).unwrap_or_default()
    }

    fn rewrite(&self, wire: &[u8], edit: &mut dyn FnMut(&mut Table), out: &mut Vec<u8>) -> bool {
        let Ok(list) = PropertyList::split(wire) else { return false };
        let mut headers = list.value(Property::Headers).map(table::decode).unwrap_or_default();
        edit(&mut headers);
        let mut octets = Vec::new();
        table::encode(
            headers.0.iter().map(|(name, value)| (name.as_str().into(), value)),
            &mut octets,
        );
        // Behind the length that the list writes itself.
        let inside = octets.get(4..).unwrap_or_default();
        list.without_expiration().with_headers(inside).write(out);
        true
    }
}

fn decode(list: &PropertyList<'_>) -> Properties {
    let mut headers = list.value(Property::Headers).map(table::decode).unwrap_or_default();
    let mut text = |property| {
        let long =
            || marker::of_long(property).and_then(|name| marker::take_text(&mut headers, name));
        list.text(property).map(str::to_owned).or_else(long)
    };
    let (content_type, content_encoding) =
        (text(Property::ContentType), text(Property::ContentEncoding));
    let (message_id, kind) = (text(Property::MessageId), text(Property::Kind));
    let (app_id, user_id) = (text(Property::AppId), text(Property::UserId));
    let cluster_id = text(Property::ClusterId);
    Properties {
        content_type,
        content_encoding,
        correlation: decode_correlation(list, &mut headers),
        reply_to: decode_reply_to(list, &mut headers),
        expiry_ms: list.text(Property::Expiration).and_then(|text| expiration_ms(text).ok()),
        durable: list.octet(Property::DeliveryMode).map(|mode| mode == PERSISTENT),
        priority: list.octet(Property::Priority),
        message_id,
        kind,
        app_id,
        user_id,
        cluster_id,
        timestamp: list.value(Property::Timestamp).and_then(|octets| Cursor(octets).long_long()),
        payload_format: marker::take_octet(&mut headers, marker::PAYLOAD_FORMAT, 1),
        qos: marker::take_octet(&mut headers, marker::PUBLISH_QOS, 2),
        headers: marker::restore_headers(headers),
    }
}

fn decode_correlation(list: &PropertyList<'_>, headers: &mut Table) -> Option<Vec<u8>> {
    if let Some(id) = list.value(Property::CorrelationId) {
        return Some(id.to_vec());
    }
    marker::take(headers, marker::CORRELATION, |value| match value {
        Value::Text(octets) | Value::Bytes(octets) => Some(octets.clone()),
        _ => None,
    })
}

/// A topic may stand in both places; a queue's name wins over a topic, which stays a header.
fn decode_reply_to(list: &PropertyList<'_>, headers: &mut Table) -> Option<ReplyTo> {
    let Some(name) = list.text(Property::ReplyTo) else {
        return marker::take_text(headers, marker::REPLY_TO_TOPIC).map(ReplyTo::Topic);
    };
    let Some(key) = name.strip_prefix(TOPIC_REPLY_PREFIX) else {
        return Some(ReplyTo::Queue(name.to_owned()));
    };
    marker::take(headers, marker::REPLY_TO_TOPIC, |value| {
        (value.as_str() == Some(key)).then_some(())
    });
    Some(ReplyTo::Topic(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations_read_as_erlang_reads_them() {
        for (text, millis) in [("0", 0), ("+5", 5), ("007", 7), ("-0", 0), ("60000", 60_000)] {
            assert_eq!(expiration_ms(text), Ok(millis), "{text}");
        }
        let faults = [
            ("", "no_integer"),
            ("a", "no_integer"),
            ("+", "no_integer"),
            ("1.5", "{leftover_string,\".5\"}"),
            ("-1", "{value_negative,-1}"),
            ("315360000001", "{value_too_large,315360000001}"),
            ("99999999999999999999", "{value_too_large,99999999999999999999}"),
        ];
        for (text, detail) in faults {
            assert_eq!(expiration_ms(text), Err(format!("invalid expiration '{text}': {detail}")));
        }
    }

    #[test]
    fn broken_lists_are_refused_and_decode_to_nothing() {
        let cases: [(&[u8], PropertiesError); 6] = [
            (b"", PropertiesError::Truncated),
            (b"\x80\0", PropertiesError::Truncated),
            (b"\x80\0\x01\xFF", PropertiesError::Utf8),
            (b"\0\x01", PropertiesError::ReservedFlags),
            (b"\0\0x", PropertiesError::Truncated),
            (b"\x20\0\0\0\0\x02\x01a", PropertiesError::Table(TableError::Truncated)),
        ];
        for (wire, error) in cases {
            assert_eq!(Checked::check(wire), Err(error), "{wire:?}");
            assert_eq!(PROPERTY_CODEC.decode(wire), Properties::default());
        }
    }

    #[test]
    fn a_list_without_headers_keeps_the_rest() {
        let wire = b"\xB4\0\x01t\0\0\0\x03\x01aV\x02\x02id";
        let checked = Checked::check(wire).unwrap();
        assert!(checked.is_persistent);
        assert!(checked.has_any([Property::UserId, Property::Headers]));
        assert!(!checked.has_any([Property::UserId, Property::Expiration]));
        let mut out = Vec::new();
        PropertyList::split(wire).unwrap().without_headers().write(&mut out);
        assert_eq!(out, b"\x94\0\x01t\x02\x02id");
    }

    #[test]
    fn a_list_without_retain_keeps_the_rest() {
        let retain = b"\x0Dx-mqtt-retaint\x01";
        let list = |table: &[u8]| {
            let len = u32::try_from(table.len()).unwrap().to_be_bytes();
            let headers = if table.is_empty() { vec![] } else { [&len, table].concat() };
            let flags = if table.is_empty() { b"\x80\0" } else { b"\xA0\0" };
            [&flags[..], b"\x01t", &headers].concat()
        };
        for (before, after) in [(&b""[..], &b""[..]), (b"\x01aV", b""), (b"\x01aV", b"\x01bV")] {
            let wire = list(&[before, retain, after].concat());
            assert!(Checked::check(&wire).unwrap().has_retain);
            let mut out = Vec::new();
            assert_eq!(PropertyList::split(&wire).unwrap().take_retain(&mut out), Some(true));
            assert_eq!(out, list(&[before, after].concat()));
        }
        let nested = list(b"\x01nF\0\0\0\x10\x0Dx-mqtt-retaint\x01");
        assert!(!Checked::check(&nested).unwrap().has_retain);
        let text = list(b"\x0Dx-mqtt-retainS\0\0\0\x04true");
        let mut out = Vec::new();
        assert_eq!(PropertyList::split(&text).unwrap().take_retain(&mut out), None);
        assert_eq!(out, b"");
    }

    #[test]
    fn another_reply_to_changes_nothing_else() {
        let after = b"\x015\x02id\0\0\0\0\0\0\0\x07\x01k\x01u\x01a\x01c";
        let before = b"\x01t\x01e\0\0\0\x03\x01aV\x02\x09\x02co";
        let wire = |name: &str| {
            let reply_to = [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
            [b"\xFF\xFC".as_slice(), before, &reply_to, after].concat()
        };
        let asks = wire(DIRECT_REPLY_TO);
        assert!(Checked::check(&asks).unwrap().asks_for_direct_replies);
        let mut out = Vec::new();
        PropertyList::split(&asks).unwrap().with_reply_to("q").write(&mut out);
        assert_eq!(out, wire("q"));
        assert!(!Checked::check(&out).unwrap().asks_for_direct_replies);
    }
}
