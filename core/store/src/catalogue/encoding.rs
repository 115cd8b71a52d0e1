//! Keys and values of the catalogue as bytes.
//!
//! Texts are a varint of their length and their octets, so that the key of what has a name is a
//! prefix of the keys of what belongs to it. Values of arguments are a byte for the type and the
//! value; nesting is bounded, although nobody but this file writes them.

use trivium_core::catalogue::{StoredBinding, StoredExchange, StoredQueue};
use trivium_core::control::Destination;
use trivium_core::{QueueId, Table, Value};

use crate::fields::{Fields, put_number};

/// Tables and arrays within each other: more than any adapter lets pass.
const DEPTH_MAX: usize = 128;

/// A key in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        put_text(&mut self.0, text.as_bytes());
        self
    }

    /// What follows without a length of its own.
    pub(super) fn rest(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

pub(super) fn put_text(into: &mut Vec<u8>, text: &[u8]) {
    put_number(into, text.len() as u64);
    into.extend_from_slice(text);
}

pub(super) fn text(fields: &mut Fields<'_>) -> Option<String> {
    let bytes = fields.number()?;
    std::str::from_utf8(fields.bytes(bytes)?).ok().map(str::to_owned)
}

pub(super) fn binding_key(binding: &StoredBinding) -> Key {
    let (kind, name) = match &binding.destination {
        Destination::Queue(name) => ("q", name),
        Destination::Exchange(name) => ("e", name),
    };
    let key = Key::new().text(&binding.vhost).text(kind).text(name);
    let mut key = key.text(&binding.source).text(&binding.key);
    put_table(&mut key.0, &binding.arguments);
    key
}

pub(super) fn binding_from(key: &[u8]) -> Option<StoredBinding> {
    let mut fields = Fields(key);
    let vhost = text(&mut fields)?;
    let (kind, name) = (text(&mut fields)?, text(&mut fields)?);
    let destination = match kind.as_str() {
        "q" => Destination::Queue(name),
        "e" => Destination::Exchange(name),
        _ => return None,
    };
    let (source, key) = (text(&mut fields)?, text(&mut fields)?);
    let arguments = table(&mut fields, 0)?;
    Some(StoredBinding { vhost, source, destination, key, arguments })
}

pub(super) fn exchange_value(exchange: &StoredExchange) -> Vec<u8> {
    let mut value = Vec::new();
    put_text(&mut value, exchange.kind.as_bytes());
    value.push(u8::from(exchange.auto_delete) | u8::from(exchange.internal) << 1);
    put_table(&mut value, &exchange.arguments);
    value
}

pub(super) fn exchange_from(key: &[u8], value: &[u8]) -> Option<StoredExchange> {
    let (mut key, mut fields) = (Fields(key), Fields(value));
    let (vhost, name) = (text(&mut key)?, text(&mut key)?);
    let kind = text(&mut fields)?;
    let flags = fields.bytes(1)?[0];
    let arguments = table(&mut fields, 0)?;
    let (auto_delete, internal) = (flags & 1 != 0, flags & 2 != 0);
    Some(StoredExchange { vhost, name, kind, auto_delete, internal, arguments })
}

pub(super) fn queue_value(queue: &StoredQueue) -> Vec<u8> {
    let mut value = Vec::new();
    put_number(&mut value, queue.id.0);
    value.push(u8::from(queue.auto_delete));
    put_table(&mut value, &queue.arguments);
    value
}

pub(super) fn queue_from(key: &[u8], value: &[u8]) -> Option<StoredQueue> {
    let (mut key, mut fields) = (Fields(key), Fields(value));
    let (vhost, name) = (text(&mut key)?, text(&mut key)?);
    let id = QueueId(fields.number()?);
    let auto_delete = fields.bytes(1)?[0] & 1 != 0;
    let arguments = table(&mut fields, 0)?;
    Some(StoredQueue { vhost, name, id, auto_delete, arguments })
}

pub(super) fn put_table(into: &mut Vec<u8>, table: &Table) {
    put_number(into, table.0.len() as u64);
    for (name, value) in &table.0 {
        put_text(into, name.as_bytes());
        put_value(into, value);
    }
}

fn put_value(into: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Void => into.push(0),
        Value::Bool(truth) => into.extend_from_slice(&[1, u8::from(*truth)]),
        Value::Int(number, octets) => {
            into.extend_from_slice(&[2, *octets]);
            into.extend_from_slice(&number.to_le_bytes());
        }
        Value::Uint(number, octets) => {
            into.extend_from_slice(&[3, *octets]);
            into.extend_from_slice(&number.to_le_bytes());
        }
        Value::Float(number) => {
            into.push(4);
            into.extend_from_slice(&number.to_le_bytes());
        }
        Value::Double(number) => {
            into.push(5);
            into.extend_from_slice(&number.to_le_bytes());
        }
        Value::Decimal(scale, number) => {
            into.extend_from_slice(&[6, *scale]);
            into.extend_from_slice(&number.to_le_bytes());
        }
        Value::Text(text) => {
            into.push(7);
            put_text(into, text);
        }
        Value::Bytes(bytes) => {
            into.push(8);
            put_text(into, bytes);
        }
        Value::Timestamp(seconds) => {
            into.push(9);
            into.extend_from_slice(&seconds.to_le_bytes());
        }
        Value::Array(values) => {
            into.push(10);
            put_number(into, values.len() as u64);
            for value in values {
                put_value(into, value);
            }
        }
        Value::Table(table) => {
            into.push(11);
            put_table(into, table);
        }
    }
}

pub(super) fn table(fields: &mut Fields<'_>, depth: usize) -> Option<Table> {
    let mut entries = Vec::new();
    for _ in 0..fields.number()? {
        entries.push((text(fields)?, value(fields, depth)?));
    }
    Some(Table(entries))
}

fn octets<const N: usize>(fields: &mut Fields<'_>) -> Option<[u8; N]> {
    fields.bytes(N as u64)?.try_into().ok()
}

fn value(fields: &mut Fields<'_>, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    let [kind] = octets(fields)?;
    Some(match kind {
        0 => Value::Void,
        1 => Value::Bool(octets::<1>(fields)? != [0]),
        2 => {
            let [width] = octets(fields)?;
            Value::Int(i64::from_le_bytes(octets(fields)?), width)
        }
        3 => {
            let [width] = octets(fields)?;
            Value::Uint(u64::from_le_bytes(octets(fields)?), width)
        }
        4 => Value::Float(f32::from_le_bytes(octets(fields)?)),
        5 => Value::Double(f64::from_le_bytes(octets(fields)?)),
        6 => {
            let [scale] = octets(fields)?;
            Value::Decimal(scale, i32::from_le_bytes(octets(fields)?))
        }
        7 | 8 => {
            let bytes = fields.number()?;
            let bytes = fields.bytes(bytes)?.to_vec();
            if kind == 7 { Value::Text(bytes) } else { Value::Bytes(bytes) }
        }
        9 => Value::Timestamp(u64::from_le_bytes(octets(fields)?)),
        10 => {
            let mut values = Vec::new();
            for _ in 0..fields.number()? {
                values.push(value(fields, depth + 1)?);
            }
            Value::Array(values)
        }
        11 => Value::Table(table(fields, depth + 1)?),
        _ => return None,
    })
}
