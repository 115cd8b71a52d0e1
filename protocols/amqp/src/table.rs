//! Field tables (section 4.2.5.5, with RabbitMQ's reading of the tags): one bounded walk that
//! validates, decodes, and guards the recursive decoder of `amq-protocol`.
//!
//! Tables are the one part of the protocol that nests, and they arrive before authentication, so
//! nothing here recurses over a peer's octets, and [`DEPTH_MAX`] and [`ENTRIES_MAX`] bound what a
//! table may cost once decoded.

use std::borrow::Cow;

use trivium_core::{Table, Value};

use crate::cursor::Cursor;

/// Tables and arrays inside each other. RabbitMQ's own headers nest three deep; a debug build of
/// `amq-protocol` overflows a 2 MiB stack at about 200.
pub(crate) const DEPTH_MAX: usize = 32;

/// Entries of a table, those of nested ones included: each may cost a hundred bytes once decoded.
pub(crate) const ENTRIES_MAX: usize = 4096;

/// Why a table is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TableError {
    #[error("field table ends early or has trailing octets")]
    Truncated,
    #[error("unknown field type {0}")]
    UnknownTag(u8),
    #[error("Malformed UTF-8 in shortstr")]
    Name,
    #[error("field table nested deeper than 32 levels")]
    TooDeep,
    #[error("field table with more than 4096 entries")]
    TooMany,
}

/// What a walk meets. `name` is empty inside arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    Value { name: &'a str, tag: u8, octets: &'a [u8] },
    Enter { name: &'a str, is_table: bool },
    Leave,
}

/// A walk over the inside of a table (its length already taken off).
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where each open container ends, and whether it is a table.
    open: [(usize, bool); DEPTH_MAX],
    depth: usize,
    entries: usize,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut open = [(0, false); DEPTH_MAX];
        open[0] = (bytes.len(), true);
        Self { bytes, at: 0, open, depth: 1, entries: 0 }
    }

    /// `None` after the outermost table was left.
    fn step(&mut self) -> Result<Option<Step<'a>>, TableError> {
        let Some(innermost) = self.depth.checked_sub(1) else { return Ok(None) };
        let (end, is_table) = self.open[innermost];
        if self.at == end {
            self.depth = innermost;
            return Ok(Some(Step::Leave));
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(TableError::TooMany);
        }
        let rest = self.bytes.get(self.at..end).ok_or(TableError::Truncated)?;
        let mut cursor = Cursor(rest);
        let name = if is_table {
            let name = cursor.short_string().ok_or(TableError::Truncated)?;
            std::str::from_utf8(name).map_err(|_| TableError::Name)?
        } else {
            ""
        };
        let tag = cursor.octet().ok_or(TableError::Truncated)?;
        if matches!(tag, b'F' | b'A') {
            let len = cursor.long().ok_or(TableError::Truncated)? as usize;
            if len > cursor.0.len() {
                return Err(TableError::Truncated);
            }
            if self.depth == DEPTH_MAX {
                return Err(TableError::TooDeep);
            }
            self.at = end - cursor.0.len();
            self.open[self.depth] = (self.at + len, tag == b'F');
            self.depth += 1;
            return Ok(Some(Step::Enter { name, is_table: tag == b'F' }));
        }
        let octets = match tag {
            b'S' | b'x' => cursor.long_string(),
            _ => cursor.take(fixed_size(tag).ok_or(TableError::UnknownTag(tag))?),
        };
        let octets = octets.ok_or(TableError::Truncated)?;
        self.at = end - cursor.0.len();
        Ok(Some(Step::Value { name, tag, octets }))
    }
}

/// Octets of a value whose tag says all about its size.
const fn fixed_size(tag: u8) -> Option<usize> {
    Some(match tag {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        _ => return None,
    })
}

/// Checks the inside of a table, without decoding it.
pub(crate) fn check(bytes: &[u8]) -> Result<(), TableError> {
    check_for(bytes, |_| false).map(drop)
}

/// As [`check`]; says whether one of the outermost names is such.
pub(crate) fn check_for(bytes: &[u8], is_such: impl Fn(&str) -> bool) -> Result<bool, TableError> {
    let mut walk = Walk::new(bytes);
    let mut found = false;
    loop {
        let is_outermost = walk.depth == 1;
        match walk.step()? {
            None => return Ok(found),
            Some(Step::Value { name, .. } | Step::Enter { name, .. }) => {
                found |= is_outermost && is_such(name);
            }
            Some(Step::Leave) => {}
        }
    }
}

/// The inside of a table that [`check`] accepts, without its entries of that name.
pub(crate) fn without(bytes: &[u8], unwanted: &str) -> Vec<u8> {
    let mut walk = Walk::new(bytes);
    let mut kept = Vec::with_capacity(bytes.len());
    let (mut start, mut is_kept) = (0, true);
    loop {
        if walk.depth == 1 {
            // Between two entries, or at the end.
            if is_kept {
                kept.extend_from_slice(&bytes[start..walk.at]);
            }
            start = walk.at;
        }
        let is_outermost = walk.depth == 1;
        match walk.step() {
            Ok(Some(Step::Value { name, .. } | Step::Enter { name, .. })) if is_outermost => {
                is_kept = name != unwanted;
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return kept,
        }
    }
}

/// Decodes the inside of a table that [`check`] accepts; of any other, what precedes the fault.
pub(crate) fn decode(bytes: &[u8]) -> Table {
    /// A container that is being filled, with its own name in the one around it.
    enum Filling {
        Table(String, Vec<(String, Value)>),
        Array(String, Vec<Value>),
    }

    impl Filling {
        fn add(&mut self, name: String, value: Value) {
            match self {
                Self::Table(_, entries) => entries.push((name, value)),
                Self::Array(_, values) => values.push(value),
            }
        }
    }

    let mut outermost = Vec::new();
    let mut open: Vec<Filling> = Vec::new();
    let mut walk = Walk::new(bytes);
    while let Ok(Some(step)) = walk.step() {
        let (name, value) = match step {
            Step::Enter { name, is_table: true } => {
                open.push(Filling::Table(name.to_owned(), Vec::new()));
                continue;
            }
            Step::Enter { name, is_table: false } => {
                open.push(Filling::Array(name.to_owned(), Vec::new()));
                continue;
            }
            Step::Value { name, tag, octets } => (name.to_owned(), decode_value(tag, octets)),
            Step::Leave => match open.pop() {
                None => break,
                Some(Filling::Table(name, entries)) => (name, Value::Table(Table(entries))),
                Some(Filling::Array(name, values)) => (name, Value::Array(values)),
            },
        };
        match open.last_mut() {
            Some(container) => container.add(name, value),
            None => outermost.push((name, value)),
        }
    }
    Table(outermost)
}

fn decode_value(tag: u8, octets: &[u8]) -> Value {
    let mut cursor = Cursor(octets);
    let value = match tag {
        b't' => cursor.octet().map(|octet| Value::Bool(octet != 0)),
        b'b' => cursor.octet().map(|octet| Value::Int(i64::from(octet.cast_signed()), 1)),
        b'B' => cursor.octet().map(|octet| Value::Uint(u64::from(octet), 1)),
        b's' => cursor.short().map(|short| Value::Int(i64::from(short.cast_signed()), 2)),
        b'u' => cursor.short().map(|short| Value::Uint(u64::from(short), 2)),
        b'I' => cursor.long().map(|long| Value::Int(i64::from(long.cast_signed()), 4)),
        b'i' => cursor.long().map(|long| Value::Uint(u64::from(long), 4)),
        b'l' | b'L' => cursor.long_long().map(|long| Value::Int(long.cast_signed(), 8)),
        b'f' => cursor.long().map(|bits| Value::Float(f32::from_bits(bits))),
        b'd' => cursor.long_long().map(|bits| Value::Double(f64::from_bits(bits))),
        b'D' => cursor
            .octet()
            .and_then(|scale| Some(Value::Decimal(scale, cursor.long()?.cast_signed()))),
        b'S' => Some(Value::Text(octets.to_vec())),
        b'x' => Some(Value::Bytes(octets.to_vec())),
        b'T' => cursor.long_long().map(Value::Timestamp),
        _ => None,
    };
    value.unwrap_or(Value::Void)
}

/// Appends `entries` as a table, its length in front. Of a repeated name the first value stands,
/// since a table must not repeat one; names above 255 octets cannot be written and are left out.
pub(crate) fn encode<'a>(
    entries: impl IntoIterator<Item = (Cow<'a, str>, &'a Value)>,
    out: &mut Vec<u8>,
) {
    encode_table(entries, 1, out);
}

fn encode_table<'a>(
    entries: impl IntoIterator<Item = (Cow<'a, str>, &'a Value)>,
    depth: usize,
    out: &mut Vec<u8>,
) {
    let mut seen = std::collections::HashSet::new();
    with_length(out, |out| {
        for (name, value) in entries {
            let Ok(len) = u8::try_from(name.len()) else { continue };
            if seen.contains(&name) {
                continue;
            }
            out.push(len);
            out.extend_from_slice(name.as_bytes());
            encode_value(value, depth, out);
            seen.insert(name);
        }
    });
}

/// The depth is bounded as in [`check`]: what nests deeper is written as void.
fn encode_value(value: &Value, depth: usize, out: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => out.extend_from_slice(&[b't', u8::from(*value)]),
        Value::Int(value, width) => encode_integer(*value, *width, out),
        Value::Uint(value, width) => encode_unsigned(*value, *width, out),
        Value::Float(value) => tagged(b'f', &value.to_bits().to_be_bytes(), out),
        Value::Double(value) => tagged(b'd', &value.to_bits().to_be_bytes(), out),
        Value::Decimal(scale, value) => {
            out.extend_from_slice(&[b'D', *scale]);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Text(text) => encode_octets(b'S', text, out),
        Value::Bytes(bytes) => encode_octets(b'x', bytes, out),
        Value::Timestamp(seconds) => tagged(b'T', &seconds.to_be_bytes(), out),
        Value::Array(values) if depth < DEPTH_MAX => {
            out.push(b'A');
            with_length(out, |out| {
                for value in values {
                    encode_value(value, depth + 1, out);
                }
            });
        }
        Value::Table(Table(entries)) if depth < DEPTH_MAX => {
            out.push(b'F');
            let entries = entries.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), value));
            encode_table(entries, depth + 1, out);
        }
        Value::Void | Value::Array(_) | Value::Table(_) => out.push(b'V'),
    }
}

/// At the width it was sent with, if it fits there.
fn encode_integer(value: i64, width: u8, out: &mut Vec<u8>) {
    match (width, i8::try_from(value), i16::try_from(value), i32::try_from(value)) {
        (1, Ok(value), _, _) => tagged(b'b', &value.to_be_bytes(), out),
        (2, _, Ok(value), _) => tagged(b's', &value.to_be_bytes(), out),
        (4, _, _, Ok(value)) => tagged(b'I', &value.to_be_bytes(), out),
        _ => tagged(b'l', &value.to_be_bytes(), out),
    }
}

/// There is no unsigned 64-bit field: what `l` cannot hold is written as text.
fn encode_unsigned(value: u64, width: u8, out: &mut Vec<u8>) {
    match (width, u8::try_from(value), u16::try_from(value), u32::try_from(value)) {
        (1, Ok(value), _, _) => tagged(b'B', &[value], out),
        (2, _, Ok(value), _) => tagged(b'u', &value.to_be_bytes(), out),
        (4, _, _, Ok(value)) => tagged(b'i', &value.to_be_bytes(), out),
        _ => match i64::try_from(value) {
            Ok(value) => tagged(b'l', &value.to_be_bytes(), out),
            Err(_) => encode_octets(b'S', value.to_string().as_bytes(), out),
        },
    }
}

fn tagged(tag: u8, octets: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(octets);
}

fn encode_octets(tag: u8, octets: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    with_length(out, |out| out.extend_from_slice(octets));
}

/// A long length, then as many octets as `write` appends.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

/// The name of a value's type, as RabbitMQ's texts spell it.
pub(crate) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Void => "void",
        Value::Bool(_) => "bool",
        Value::Int(_, 1) => "byte",
        Value::Uint(_, 1) => "unsignedbyte",
        Value::Int(_, 2) => "short",
        Value::Uint(_, 2) => "unsignedshort",
        Value::Int(_, 4) => "signedint",
        Value::Uint(_, 4) => "unsignedint",
        Value::Int(..) | Value::Uint(..) => "long",
        Value::Float(_) => "float",
        Value::Double(_) => "double",
        Value::Decimal(..) => "decimal",
        Value::Text(_) => "longstr",
        Value::Bytes(_) => "binary",
        Value::Timestamp(_) => "timestamp",
        Value::Array(_) => "array",
        Value::Table(_) => "table",
    }
}

#[cfg(test)]
mod tests;
