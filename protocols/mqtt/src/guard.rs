//! The reader that every packet's octets pass, and the walker over MQTT 5's properties. Nothing
//! here allocates or recurses, and nothing reads past the slice it was given.

use std::ops::Range;

use crate::ReasonCode;
use crate::fault::Fault;

/// Properties of one packet: a client that needs more is not describing a message.
const PROPERTIES_MAX: usize = 4096;

/// Octets not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

const TRUNCATED: Fault = Fault::malformed("packet ends inside a field");

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Malformed unless everything was read.
    pub(crate) const fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::malformed("bytes after the packet")) }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn octet(&mut self) -> Result<u8, Fault> {
        let (&first, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn two(&mut self) -> Result<u16, Fault> {
        let (taken, rest) = self.rest.split_first_chunk::<2>().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*taken))
    }

    pub(crate) fn four(&mut self) -> Result<u32, Fault> {
        let (taken, rest) = self.rest.split_first_chunk::<4>().ok_or(TRUNCATED)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*taken))
    }

    /// A Variable Byte Integer in its shortest form [MQTT-1.5.5-1].
    pub(crate) fn variable(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let octet = self.octet()?;
            value |= u32::from(octet & 0x7F) << shift;
            if octet & 0x80 == 0 {
                if octet == 0 && shift > 0 {
                    return Err(Fault::malformed("variable byte integer not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(Fault::malformed("variable byte integer of more than four octets"))
    }

    /// Binary Data: a length in two octets, then as many.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Fault> {
        let count = self.two()?;
        self.bytes(usize::from(count))
    }

    /// A UTF-8 Encoded String [MQTT-1.5.4-1, -2].
    pub(crate) fn text(&mut self) -> Result<&'a str, Fault> {
        checked_text(self.binary()?)
    }

    /// A Packet Identifier, which is never 0 [MQTT-2.2.1-3].
    pub(crate) fn packet_id(&mut self) -> Result<u16, Fault> {
        match self.two()? {
            0 => Err(Fault::malformed("packet identifier 0")),
            id => Ok(id),
        }
    }

    /// The property block: its length, then as many octets.
    pub(crate) fn property_block(&mut self) -> Result<&'a [u8], Fault> {
        let count = self.variable()?;
        self.bytes(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

/// UTF-8 without U+0000.
pub(crate) fn checked_text(bytes: &[u8]) -> Result<&str, Fault> {
    if memchr::memchr(0, bytes).is_some() {
        return Err(Fault::malformed("U+0000 in a string"));
    }
    std::str::from_utf8(bytes).map_err(|_| Fault::malformed("a string that is not UTF-8"))
}

/// Property identifiers (MQTT 5, section 2.2.2.2) that we name.
pub(crate) mod id {
    pub(crate) const PAYLOAD_FORMAT: u8 = 1;
    pub(crate) const MESSAGE_EXPIRY: u8 = 2;
    pub(crate) const CONTENT_TYPE: u8 = 3;
    pub(crate) const RESPONSE_TOPIC: u8 = 8;
    pub(crate) const CORRELATION_DATA: u8 = 9;
    pub(crate) const SUBSCRIPTION_ID: u8 = 11;
    pub(crate) const SESSION_EXPIRY: u8 = 17;
    pub(crate) const AUTHENTICATION_METHOD: u8 = 21;
    pub(crate) const AUTHENTICATION_DATA: u8 = 22;
    pub(crate) const REQUEST_PROBLEM: u8 = 23;
    pub(crate) const WILL_DELAY: u8 = 24;
    pub(crate) const REQUEST_RESPONSE: u8 = 25;
    pub(crate) const SERVER_REFERENCE: u8 = 28;
    pub(crate) const REASON_STRING: u8 = 31;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 33;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 34;
    pub(crate) const TOPIC_ALIAS: u8 = 35;
    pub(crate) const USER_PROPERTY: u8 = 38;
    pub(crate) const PACKET_BYTES_MAX: u8 = 39;
}

/// Property identifiers that a packet may carry, one bit each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed(u64);

impl Allowed {
    const fn of(ids: &[u8]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < ids.len() {
            bits |= 1 << ids[index];
            index += 1;
        }
        Self(bits)
    }

    const fn has(self, id: u8) -> bool {
        id < 64 && self.0 >> id & 1 == 1
    }

    pub(crate) const CONNECT: Self = Self::of(&[
        id::SESSION_EXPIRY,
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
        id::REQUEST_PROBLEM,
        id::REQUEST_RESPONSE,
        id::RECEIVE_MAXIMUM,
        id::TOPIC_ALIAS_MAXIMUM,
        id::USER_PROPERTY,
        id::PACKET_BYTES_MAX,
    ]);
    pub(crate) const WILL: Self = Self::of(&[
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
        id::WILL_DELAY,
        id::USER_PROPERTY,
    ]);
    /// From a client; a Subscription Identifier is let through so that it can be told apart as a
    /// Protocol Error [MQTT-3.3.4-6].
    pub(crate) const PUBLISH: Self = Self::of(&[
        id::PAYLOAD_FORMAT,
        id::MESSAGE_EXPIRY,
        id::CONTENT_TYPE,
        id::RESPONSE_TOPIC,
        id::CORRELATION_DATA,
        id::SUBSCRIPTION_ID,
        id::TOPIC_ALIAS,
        id::USER_PROPERTY,
    ]);
    /// PUBACK, PUBREC, PUBREL and PUBCOMP.
    pub(crate) const ACKNOWLEDGEMENT: Self = Self::of(&[id::REASON_STRING, id::USER_PROPERTY]);
    pub(crate) const SUBSCRIBE: Self = Self::of(&[id::SUBSCRIPTION_ID, id::USER_PROPERTY]);
    pub(crate) const UNSUBSCRIBE: Self = Self::of(&[id::USER_PROPERTY]);
    pub(crate) const DISCONNECT: Self =
        Self::of(&[id::SESSION_EXPIRY, id::SERVER_REFERENCE, id::REASON_STRING, id::USER_PROPERTY]);
    pub(crate) const AUTH: Self = Self::of(&[
        id::AUTHENTICATION_METHOD,
        id::AUTHENTICATION_DATA,
        id::REASON_STRING,
        id::USER_PROPERTY,
    ]);
}

/// One property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property<'a> {
    /// Byte, Two Byte, Four Byte or Variable Byte Integer.
    Number(u32),
    /// UTF-8 Encoded String.
    Text(&'a str),
    /// Binary Data.
    Binary(&'a [u8]),
    /// UTF-8 String Pair.
    Pair(&'a str, &'a str),
}

/// Reads the property that starts at `reader`.
pub(crate) fn property<'a>(reader: &mut Reader<'a>) -> Result<(u8, Property<'a>), Fault> {
    let id = reader.octet()?;
    let value = match id {
        1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Property::Number(reader.octet()?.into()),
        19 | 33 | 34 | 35 => Property::Number(reader.two()?.into()),
        2 | 17 | 24 | 39 => Property::Number(reader.four()?),
        11 => Property::Number(reader.variable()?),
        3 | 8 | 18 | 21 | 26 | 28 | 31 => Property::Text(reader.text()?),
        9 | 22 => Property::Binary(reader.binary()?),
        38 => Property::Pair(reader.text()?, reader.text()?),
        _ => return Err(Fault::malformed("unknown property")),
    };
    Ok((id, value))
}

/// Checks every property of `block` against `allowed`, repeats and ranges, and shows it to
/// `visit` with its place in the block.
pub(crate) fn walk<'a>(
    block: &'a [u8],
    allowed: Allowed,
    mut visit: impl FnMut(u8, Property<'a>, Range<usize>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = Reader::new(block);
    let mut seen = 0_u64;
    let mut count = 0;
    while !reader.is_empty() {
        count += 1;
        if count > PROPERTIES_MAX {
            return Err(Fault::new(ReasonCode::QUOTA_EXCEEDED, "too many properties"));
        }
        let start = block.len() - reader.rest().len();
        let (id, value) = property(&mut reader)?;
        if !allowed.has(id) {
            return Err(Fault::malformed("a property that this packet does not carry"));
        }
        if id != id::USER_PROPERTY && seen >> id & 1 == 1 {
            return Err(Fault::protocol("a property that must not repeat"));
        }
        seen |= 1 << id;
        check_range(id, value)?;
        visit(id, value, start..block.len() - reader.rest().len())?;
    }
    Ok(())
}

fn check_range(id: u8, value: Property<'_>) -> Result<(), Fault> {
    match (id, value) {
        (
            id::PAYLOAD_FORMAT | id::REQUEST_PROBLEM | id::REQUEST_RESPONSE,
            Property::Number(2..),
        ) => Err(Fault::protocol("a flag that is neither 0 nor 1")),
        (id::SUBSCRIPTION_ID | id::RECEIVE_MAXIMUM | id::PACKET_BYTES_MAX, Property::Number(0)) => {
            Err(Fault::protocol("a property that must not be 0"))
        }
        (id::TOPIC_ALIAS, Property::Number(0)) => {
            Err(Fault::new(ReasonCode::TOPIC_ALIAS_INVALID, "topic alias 0"))
        }
        (id::RESPONSE_TOPIC, Property::Text(topic)) if !crate::address::is_topic(topic) => {
            Err(Fault::protocol("a response topic with wildcards, or empty"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
