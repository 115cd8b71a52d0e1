//! PUBLISH towards a client: for one delivery, and once for many fire-and-forget subscribers.

use std::ops::Range;
use std::time::Duration;

use trivium_core::address::{Coding, topic_of_words};
use trivium_core::{Encoder, Field, Instant, Lost, Message, OWN_EXCHANGE, Protocol, Variant};

use crate::address::encode_queue_topic;
use crate::guard::{Property, Reader, id, property};
use crate::packet::{variable, variable_bytes, write_variable};
use crate::properties::{split_wire, write_block, write_pair};
use crate::version::Version;

/// The largest Remaining Length.
const BODY_BYTES_MAX: usize = 268_435_455;

/// How a PUBLISH names its topic (MQTT 5, section 3.3.2.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Alias {
    /// As it is.
    #[default]
    None,
    /// As it is, and with this number from now on.
    Set(u16),
    /// With this number.
    Use(u16),
}

/// What a PUBLISH says besides its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) version: Version,
    /// It was sent before, over an earlier connection [MQTT-3.3.1-1].
    pub(crate) dup: bool,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Written at QoS 1 and 2.
    pub(crate) packet_id: u16,
    /// Written for MQTT 5.
    pub(crate) subscription_ids: &'a [u32],
    /// The `$queue/<name>` topic of a delivery from a queue; the message's own address goes into
    /// the user property [`ORIGINAL_TOPIC`].
    pub(crate) queue_topic: Option<&'a str>,
    /// How the topic is named; for MQTT 5.
    pub(crate) alias: Alias,
    /// The time; `None` for what was published this moment.
    pub(crate) now: Option<Instant>,
    pub(crate) coding: Coding,
}

/// The user property of deliveries from a queue that says what the message was published to.
const ORIGINAL_TOPIC: &str = "x-mqtt-topic";

impl Envelope<'_> {
    /// Appends the PUBLISH of `message`; false, and nothing, when MQTT cannot say it. What the
    /// message lost is added to `lost`.
    ///
    pub(crate) fn write(&self, message: &Message, out: &mut Vec<u8>, lost: &mut Lost) -> bool {
        let start = out.len();
        let dup = if self.dup { 8 } else { 0 };
        out.push(0x30 | dup | self.qos << 1 | u8::from(self.retain));
        // Right unless the topic is longer than its key or properties are translated.
        let estimate = message.routing_key_bytes().len()
            + message.body().len()
            + message.wire(Protocol::Mqtt).map_or(0, <[u8]>::len)
            + 4;
        let reserved = variable_bytes(estimate);
        out.resize(out.len() + reserved, 0);
        let body_start = out.len();
        let is_written = match self.queue_topic {
            Some(topic) => write_text(topic.as_bytes(), out),
            None if matches!(self.alias, Alias::Use(_)) => write_text(b"", out),
            None => write_topic(message, self.coding, out),
        };
        if !is_written {
            lost.note(Field::Address);
            out.truncate(start);
            return false;
        }
        if self.qos > 0 {
            out.extend_from_slice(&self.packet_id.to_be_bytes());
        }
        if self.version.is_5() {
            self.write_properties(message, out, lost);
        } else if !is_bare(message) {
            lost.note(Field::Properties);
        }
        let body = message.body();
        let remaining = out.len() - body_start + body.len();
        if remaining > BODY_BYTES_MAX {
            out.truncate(start);
            return false;
        }
        out.reserve(body.len() + 3);
        write_length(remaining, start + 1..body_start, out);
        out.extend_from_slice(body);
        true
    }

    fn write_properties(&self, message: &Message, out: &mut Vec<u8>, lost: &mut Lost) {
        // Most blocks are shorter than 128 octets.
        let length_at = out.len();
        out.push(0);
        let start = out.len();
        match message.wire(Protocol::Mqtt) {
            Some(wire) => out.extend_from_slice(split_wire(wire).1),
            None => *lost = write_block(message.properties(), out),
        }
        if let (Some(at), Some(now)) = (message.expires_at(), self.now) {
            write_what_is_left(at.since(now), &mut out[start..]);
        }
        if self.queue_topic.is_some() {
            write_original_topic(message, start, out);
        }
        if let Alias::Set(alias) | Alias::Use(alias) = self.alias {
            out.push(id::TOPIC_ALIAS);
            out.extend_from_slice(&alias.to_be_bytes());
        }
        for &subscription in self.subscription_ids {
            out.push(id::SUBSCRIPTION_ID);
            write_variable(subscription as usize, out);
        }
        write_length(out.len() - start, length_at..start, out);
    }
}

/// Puts what is left, rounded up, in place of the expiry that was published [MQTT-3.3.2-6].
fn write_what_is_left(left: Duration, block: &mut [u8]) {
    let seconds = u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX);
    if let Some(place) = expiry_place(block) {
        block[place].copy_from_slice(&seconds.to_be_bytes());
    }
}

/// Where the value of the message expiry interval is.
fn expiry_place(block: &[u8]) -> Option<Range<usize>> {
    let mut reader = Reader::new(block);
    while !reader.is_empty() {
        let (id, _) = property(&mut reader).ok()?;
        if id == id::MESSAGE_EXPIRY {
            let end = block.len() - reader.rest().len();
            return Some(end - size_of::<u32>()..end);
        }
    }
    None
}

/// Whether a client of 3.1.1, which has no properties, misses nothing.
fn is_bare(message: &Message) -> bool {
    match message.wire(Protocol::Mqtt) {
        Some(wire) => split_wire(wire).1.is_empty(),
        None => message.properties().is_bare(),
    }
}

/// Writes a length into the octets kept free for it, or makes them fit.
fn write_length(length: usize, place: Range<usize>, out: &mut Vec<u8>) {
    if length < 128 && place.len() == 1 {
        out[place.start] = length.to_le_bytes()[0];
        return;
    }
    let (octets, count) = variable(length);
    if count == place.len() {
        out[place].copy_from_slice(&octets[..count]);
    } else {
        out.splice(place, octets[..count].iter().copied());
    }
}

/// Says in the property block that starts at `start` what the message was published to. What a
/// publisher said under that name goes: it must not pass for the truth.
fn write_original_topic(message: &Message, start: usize, out: &mut Vec<u8>) {
    let mut at = start;
    while at < out.len() {
        let mut reader = Reader::new(&out[at..]);
        let Ok((_, property)) = property(&mut reader) else { break };
        let end = out.len() - reader.rest().len();
        if matches!(property, Property::Pair(ORIGINAL_TOPIC, _)) {
            out.drain(at..end);
        } else {
            at = end;
        }
    }
    let mut topic = Vec::new();
    let is_topic = if message.exchange_bytes().is_empty() {
        encode_queue_topic(message.routing_key(), &mut topic);
        true
    } else {
        topic_of_words(message.routing_key(), &mut topic)
    };
    if is_topic {
        write_pair(ORIGINAL_TOPIC, &topic, out);
    }
}

/// Appends a UTF-8 Encoded String; false when it is too long.
fn write_text(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(length) = u16::try_from(text.len()) else { return false };
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text);
    true
}

/// Appends the topic behind its length. Keys that begin with `$` do not reach MQTT: such topics are
/// the broker's own.
fn write_topic(message: &Message, coding: Coding, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    if !coding.topic_of_words(message.routing_key(), out) {
        return false;
    }
    let topic = &out[start + 2..];
    if topic.first() == Some(&b'$') && message.exchange_bytes() != OWN_EXCHANGE.as_bytes() {
        return false;
    }
    let Ok(length) = u16::try_from(topic.len()) else { return false };
    out[start..start + 2].copy_from_slice(&length.to_be_bytes());
    true
}

/// Writes fire-and-forget packets: QoS 0, no identifiers, retain as the subscription says.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishEncoder;

/// The one [`PublishEncoder`].
pub static ENCODER: PublishEncoder = PublishEncoder;

const VARIANT_5: u32 = 1;
const VARIANT_RETAIN_AS_PUBLISHED: u32 = 2;
const VARIANT_PLAIN: u32 = 4;

/// The variant of a fire-and-forget subscription.
pub(crate) const fn variant(
    version: Version,
    retain_as_published: bool,
    coding: Coding,
) -> Variant {
    let mut bits = 0;
    if version.is_5() {
        bits |= VARIANT_5;
    }
    if retain_as_published {
        bits |= VARIANT_RETAIN_AS_PUBLISHED;
    }
    if matches!(coding, Coding::Plain) {
        bits |= VARIANT_PLAIN;
    }
    Variant(bits)
}

impl Encoder for PublishEncoder {
    fn encode(&self, variant: Variant, message: &Message, out: &mut Vec<u8>) -> Lost {
        let mut lost = Lost::NONE;
        let keeps_retain = variant.0 & VARIANT_RETAIN_AS_PUBLISHED != 0;
        Envelope {
            version: if variant.0 & VARIANT_5 != 0 { Version::V5 } else { Version::V311 },
            dup: false,
            qos: 0,
            retain: keeps_retain && message.is_retain(),
            packet_id: 0,
            subscription_ids: &[],
            queue_topic: None,
            alias: Alias::None,
            now: None,
            coding: if variant.0 & VARIANT_PLAIN != 0 { Coding::Plain } else { Coding::Shift },
        }
        .write(message, out, &mut lost);
        lost
    }
}

#[cfg(test)]
mod tests;
