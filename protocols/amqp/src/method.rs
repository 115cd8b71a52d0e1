//! Methods off the hot path: which ones a client may send, what they look like, and the way
//! through `amq-protocol` in both directions.
//!
//! `amq-protocol`'s decoder is complete, but it recurses over nested tables without a limit and
//! its errors say nothing. So every method is walked by its layout first: what reaches the crate is
//! known to decode, and what does not gets RabbitMQ's answer.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::{AMQPClass, gen_class, parse_class};
use trivium_core::{Table, Transmit};

use crate::cursor::Cursor;
use crate::frame;
use crate::reply_code::{Fault, ReplyCode};
use crate::table;

/// Class and method number, as `close` methods name the method that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MethodId {
    pub(crate) class: u16,
    pub(crate) method: u16,
}

impl MethodId {
    /// Where no method is to blame.
    pub(crate) const NONE: Self = Self::new(0, 0);
    pub(crate) const CONNECTION_TUNE: Self = Self::new(10, 30);
    pub(crate) const CONNECTION_OPEN: Self = Self::new(10, 40);
    pub(crate) const CONNECTION_CLOSE: Self = Self::new(10, 50);
    pub(crate) const CONNECTION_CLOSE_OK: Self = Self::new(10, 51);
    pub(crate) const CHANNEL_OPEN: Self = Self::new(20, 10);
    pub(crate) const CHANNEL_CLOSE: Self = Self::new(20, 40);
    pub(crate) const CHANNEL_CLOSE_OK: Self = Self::new(20, 41);
    pub(crate) const BASIC_QOS: Self = Self::new(60, 10);
    pub(crate) const BASIC_PUBLISH: Self = Self::new(60, 40);
    pub(crate) const BASIC_ACK: Self = Self::new(60, 80);
    pub(crate) const BASIC_REJECT: Self = Self::new(60, 90);
    pub(crate) const BASIC_NACK: Self = Self::new(60, 120);

    pub(crate) const fn new(class: u16, method: u16) -> Self {
        Self { class, method }
    }

    /// The method of a payload, and its fields.
    pub(crate) fn of(payload: &[u8]) -> Option<(Self, &[u8])> {
        let mut cursor = Cursor(payload);
        let id = Self::new(cursor.short()?, cursor.short()?);
        Some((id, cursor.0))
    }

    /// The fields of what a client may send, in wire order: `b` octet of bits, `w` short, `d`
    /// long, `q` longlong, `s` shortstr, `L` longstr, `T` table. `None` for methods that only a
    /// server sends and for numbers that are no method.
    const fn layout(self) -> Option<&'static [u8]> {
        Some(match (self.class, self.method) {
            (10, 11) => b"TsLs",
            (10, 31) => b"wdw",
            (10, 40) => b"ssb",
            (10, 50) | (20, 40) => b"wsww",
            (10, 51) | (20, 41) | (90, 10 | 20 | 30) => b"",
            (10, 70) => b"Ls",
            (20, 10) => b"s",
            (20, 20) | (60, 100 | 110) | (85, 10) => b"b",
            (30, 10) | (60, 30) => b"sb",
            (40, 10) | (60, 20) => b"wssbT",
            (40, 20) | (50, 30 | 40) | (60, 70) => b"wsb",
            (40, 30 | 40) | (50, 20) => b"wsssbT",
            (50, 10) => b"wsbT",
            (50, 50) => b"wsssT",
            (60, 10) => b"dwb",
            (60, 40) => b"wssb",
            (60, 80 | 90 | 120) => b"qb",
            _ => return None,
        })
    }
}

/// A method that a client may send.
#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) id: MethodId,
    pub(crate) class: AMQPClass,
    /// Its field table, in received order, which `class` has lost.
    pub(crate) table: Table,
    /// The prefetch-size of `basic.qos`, which `class` leaves out; else 0.
    pub(crate) prefetch_bytes: u32,
}

impl Method {
    /// Decodes the payload of a method frame.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, Fault> {
        let (id, fields) =
            MethodId::of(payload).ok_or_else(|| undecodable(MethodId::NONE, payload))?;
        let layout = id.layout().ok_or_else(|| unimplemented(id))?;
        let table = walk(id, layout, fields)?;
        match parse_class(payload) {
            Ok(([], class)) => {
                let prefetch_bytes = match id {
                    MethodId::BASIC_QOS => Cursor(fields).long().unwrap_or(0),
                    _ => 0,
                };
                Ok(Self { id, class, table: table::decode(table), prefetch_bytes })
            }
            _ => Err(undecodable(id, fields)),
        }
    }
}

/// Checks `fields` against `layout`; returns the inside of their table, if there is one.
fn walk<'a>(id: MethodId, layout: &[u8], fields: &'a [u8]) -> Result<&'a [u8], Fault> {
    let mut cursor = Cursor(fields);
    let mut inside = &[][..];
    for field in layout {
        let read = match field {
            b'b' => cursor.take(1),
            b'w' => cursor.take(2),
            b'd' => cursor.take(4),
            b'q' => cursor.take(8),
            b's' => cursor.short_string(),
            _ => cursor.long_string(),
        };
        let octets = read.ok_or_else(|| undecodable(id, fields))?;
        match field {
            b's' if std::str::from_utf8(octets).is_err() => {
                return Err(malformed_text());
            }
            b'T' => {
                table::check(octets)
                    .map_err(|error| Fault::new(ReplyCode::SYNTAX_ERROR, id, error.to_string()))?;
                inside = octets;
            }
            _ => {}
        }
    }
    if cursor.is_empty() { Ok(inside) } else { Err(undecodable(id, fields)) }
}

/// A method whose fields do not fit it.
pub(crate) fn undecodable(id: MethodId, fields: &[u8]) -> Fault {
    let text = format!("cannot decode {}", frame::binary(fields.get(..64).unwrap_or(fields)));
    Fault::new(ReplyCode::FRAME_ERROR, id, text)
}

/// A method with a shortstr that is not UTF-8; RabbitMQ does not say which.
pub(crate) fn malformed_text() -> Fault {
    Fault::new(ReplyCode::FRAME_ERROR, MethodId::NONE, "Malformed UTF-8 in shortstr")
}

/// A method that no client may send here.
pub(crate) fn unimplemented(id: MethodId) -> Fault {
    Fault::new(ReplyCode::COMMAND_INVALID, id, "unimplemented method")
}

/// Appends a method frame.
pub(crate) fn write(out: &mut Transmit, channel: u16, method: &AMQPClass) {
    frame::write(out, frame::METHOD, channel, |bytes| {
        // Writing to a Vec cannot fail, and no shortstr of ours is above 255 octets.
        if let Ok(written) = gen_class(method)(WriteContext::from(Vec::new())) {
            bytes.extend_from_slice(&written.into_inner().0);
        }
    });
}
