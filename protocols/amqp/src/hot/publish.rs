//! `basic.publish`, the content header behind it, and the common case of both with the whole
//! body in the read buffer.

use crate::cursor::Cursor;
use crate::frame::{self, Frame};
use crate::method::{self, MethodId};
use crate::properties::Checked;
use crate::reply_code::Fault;

/// The class that content belongs to.
const BASIC: u16 = 60;

/// The fields of `basic.publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) mandatory: bool,
    pub(crate) immediate: bool,
}

impl<'a> Publish<'a> {
    /// Reads the fields behind the method's numbers.
    pub(crate) fn decode(fields: &'a [u8]) -> Result<Self, Fault> {
        let undecodable = || method::undecodable(MethodId::BASIC_PUBLISH, fields);
        let (exchange, routing_key, bits) = split(fields).ok_or_else(undecodable)?;
        let text = |octets| std::str::from_utf8(octets).map_err(|_| malformed());
        Ok(Self {
            exchange: text(exchange)?,
            routing_key: text(routing_key)?,
            mandatory: bits & 1 != 0,
            immediate: bits & 2 != 0,
        })
    }
}

fn malformed() -> Fault {
    method::malformed_text()
}

fn split(fields: &[u8]) -> Option<(&[u8], &[u8], u8)> {
    let mut cursor = Cursor(fields);
    cursor.short()?;
    let (exchange, routing_key) = (cursor.short_string()?, cursor.short_string()?);
    let bits = cursor.octet()?;
    cursor.is_empty().then_some((exchange, routing_key, bits))
}

/// The fields of a content header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentHeader<'a> {
    pub(crate) class: u16,
    pub(crate) weight: u16,
    pub(crate) body_size: u64,
    /// Flags and property list, as the message keeps them.
    pub(crate) properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    pub(crate) fn decode(payload: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor(payload);
        Some(Self {
            class: cursor.short()?,
            weight: cursor.short()?,
            body_size: cursor.long_long()?,
            properties: cursor.0,
        })
    }

    /// Whether it is what must follow `basic.publish`.
    pub(crate) const fn is_basic(&self) -> bool {
        self.class == BASIC && self.weight == 0
    }
}

/// A publish whose three frames stand in the read buffer one behind the other.
#[derive(Debug)]
pub(crate) struct WholePublish<'a> {
    pub(crate) channel: u16,
    pub(crate) publish: Publish<'a>,
    /// Flags and list.
    pub(crate) wire: &'a [u8],
    /// What the list says.
    pub(crate) properties: Checked,
    pub(crate) body: &'a [u8],
    /// Octets of all frames together.
    pub(crate) len: usize,
}

/// The publish at the start of `input`, if nothing about it is unusual. Everything else (parts
/// missing, other frames between, more than one body frame, faults) is left to the frame by frame
/// way through `content.rs`, which gives each fault its answer.
pub(crate) fn whole(input: &[u8], frame_bytes_max: usize) -> Option<WholePublish<'_>> {
    const METHOD_HEAD: [u8; 4] = [0, 60, 0, 40];
    let (method, method_len) = Frame::decode(input, frame_bytes_max).ok()??;
    if method.kind != frame::METHOD {
        return None;
    }
    let fields = method.payload.strip_prefix(&METHOD_HEAD)?;
    let (exchange, routing_key, bits) = split(fields)?;
    if bits & 2 != 0 {
        return None;
    }
    let (header, header_len) = Frame::decode(&input[method_len..], frame_bytes_max).ok()??;
    if header.kind != frame::HEADER || header.channel != method.channel {
        return None;
    }
    let content = ContentHeader::decode(header.payload)?;
    if !content.is_basic() {
        return None;
    }
    let mut len = method_len + header_len;
    let mut body = &[][..];
    if content.body_size > 0 {
        let (frame, body_len) = Frame::decode(&input[len..], frame_bytes_max).ok()??;
        let is_all = frame.payload.len() as u64 == content.body_size;
        if frame.kind != frame::BODY || frame.channel != method.channel || !is_all {
            return None;
        }
        body = frame.payload;
        len += body_len;
    }
    Some(WholePublish {
        channel: method.channel,
        publish: Publish {
            exchange: std::str::from_utf8(exchange).ok()?,
            routing_key: std::str::from_utf8(routing_key).ok()?,
            mandatory: bits & 1 != 0,
            immediate: false,
        },
        wire: content.properties,
        properties: Checked::check(content.properties).ok()?,
        body,
        len,
    })
}
