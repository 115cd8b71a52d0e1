//! Packets on the wire: the fixed header here, one file below for each family.

pub(crate) mod acknowledgement;
pub(crate) mod auth;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod publish;
pub(crate) mod reply;
pub(crate) mod subscribe;

use crate::ReasonCode;
use crate::fault::Fault;
use crate::guard::{checked_text, id};
use crate::properties::write_field;
use crate::version::Version;

/// The most octets of a fixed header.
pub(crate) const HEADER_BYTES_MAX: usize = 5;

/// Packet types (MQTT 5, section 2.1.2).
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const DISCONNECT: u8 = 14;
    pub(crate) const AUTH: u8 = 15;
}

/// A fixed header whose flags were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    first: u8,
    /// Where the body starts.
    start: usize,
    body_bytes: usize,
    is_shortest: bool,
}

impl Header {
    /// The header at the start of `input`, or `None` while some of it is missing.
    pub(crate) fn read(input: &[u8], packet_bytes_max: usize) -> Result<Option<Self>, Fault> {
        let Some((&first, lengths)) = input.split_first() else { return Ok(None) };
        check_flags(first)?;
        let mut body_bytes = 0_usize;
        for (index, &octet) in lengths.iter().take(HEADER_BYTES_MAX - 1).enumerate() {
            body_bytes |= usize::from(octet & 0x7F) << (7 * index);
            if octet & 0x80 != 0 {
                continue;
            }
            let header =
                Self { first, start: index + 2, body_bytes, is_shortest: index == 0 || octet != 0 };
            if header.packet_bytes() > packet_bytes_max {
                return Err(Fault::new(ReasonCode::PACKET_TOO_LARGE, "packet too large"));
            }
            return Ok(Some(header));
        }
        if lengths.len() >= HEADER_BYTES_MAX - 1 {
            return Err(Fault::malformed("remaining length of more than four octets"));
        }
        Ok(None)
    }

    pub(crate) const fn kind(self) -> u8 {
        self.first >> 4
    }

    /// The first octet: type and flags.
    pub(crate) const fn first(self) -> u8 {
        self.first
    }

    pub(crate) const fn header_bytes(self) -> usize {
        self.start
    }

    /// The whole packet's length.
    pub(crate) const fn packet_bytes(self) -> usize {
        self.start + self.body_bytes
    }

    /// What follows the header in `packet`, which is whole.
    pub(crate) fn body(self, packet: &[u8]) -> &[u8] {
        packet.get(self.start..).unwrap_or_default()
    }

    /// MQTT 5 forbids lengths that are not in their shortest form [MQTT-1.5.5-1].
    pub(crate) const fn check(self, version: Version) -> Result<(), Fault> {
        if version.is_5() && !self.is_shortest {
            return Err(Fault::malformed("remaining length not in its shortest form"));
        }
        Ok(())
    }
}

/// The reserved flags of a type have one value each [MQTT-2.1.3-1]; PUBLISH uses them.
const fn check_flags(first: u8) -> Result<(), Fault> {
    let (kind, flags) = (first >> 4, first & 0x0F);
    let is_right = match kind {
        0 => return Err(Fault::malformed("packet type 0")),
        kind::PUBLISH => return publish::check_flags(flags),
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => flags == 2,
        _ => flags == 0,
    };
    if is_right { Ok(()) } else { Err(Fault::malformed("reserved flags of the fixed header")) }
}

/// Octets of a Variable Byte Integer.
pub(crate) const fn variable_bytes(value: usize) -> usize {
    match value {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

/// A Variable Byte Integer of at most 268,435,455, and how many of the octets it takes.
pub(crate) fn variable(value: usize) -> ([u8; 4], usize) {
    let mut octets = [0; 4];
    let count = variable_bytes(value);
    for (index, octet) in octets.iter_mut().take(count).enumerate() {
        let [low, ..] = (value >> (7 * index)).to_le_bytes();
        *octet = low & 0x7F | if index + 1 < count { 0x80 } else { 0 };
    }
    (octets, count)
}

/// Appends a Variable Byte Integer of at most 268,435,455.
pub(crate) fn write_variable(value: usize, out: &mut Vec<u8>) {
    let (octets, count) = variable(value);
    out.extend_from_slice(&octets[..count]);
}

/// Bytes of a Reason String: a sentence for a person.
const REASON_BYTES_MAX: usize = 512;

/// The text as a Reason String may be: short, and without what no string may hold.
pub(crate) fn reason_text(text: &str) -> Option<&str> {
    let text = &text[..text.floor_char_boundary(REASON_BYTES_MAX)];
    (!text.is_empty() && checked_text(text.as_bytes()).is_ok()).then_some(text)
}

/// A property block's content that says why (MQTT 5, section 3.4.2.2.2), or nothing.
pub(crate) fn reason_string(reason: Option<&str>) -> Vec<u8> {
    let mut block = Vec::new();
    if let Some(reason) = reason.and_then(reason_text) {
        block.push(id::REASON_STRING);
        write_field(reason.as_bytes(), &mut block);
    }
    block
}

#[cfg(test)]
mod tests;
