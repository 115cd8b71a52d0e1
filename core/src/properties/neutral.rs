//! The wire form of properties that no client wrote: what the broker has changed itself, such as
//! the history of a dead letter, keeps its types whatever protocol the message came from.
//!
//! A list of fields, each a tag, a length of four octets and the content; header values likewise.

use super::{Properties, PropertyCodec, ReplyTo, Table, Value};
use crate::Protocol;

/// Values within values. Adapters let fewer pass; what is deeper on a damaged disk is left out.
const DEPTH_MAX: usize = 64;

/// The codec of a message that a client of `protocol` published and the broker has changed.
pub fn neutral_codec(protocol: Protocol) -> &'static dyn PropertyCodec {
    match protocol {
        Protocol::Amqp => &Neutral(Protocol::Amqp),
        Protocol::Mqtt => &Neutral(Protocol::Mqtt),
        Protocol::Stomp => &Neutral(Protocol::Stomp),
    }
}

#[derive(Debug)]
struct Neutral(Protocol);

impl PropertyCodec for Neutral {
    fn protocol(&self) -> Protocol {
        self.0
    }

    fn wire_protocol(&self) -> Option<Protocol> {
        None
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        let mut properties = Properties::default();
        let mut rest = wire;
        while let Some((tag, content)) = field(&mut rest) {
            decode_one(tag, content, &mut properties);
        }
        properties
    }
}

/// Appends the neutral form of `properties`.
pub(crate) fn encode(properties: &Properties, out: &mut Vec<u8>) {
    let mut put = |tag: u8, content: Option<&[u8]>| {
        if let Some(content) = content {
            put(tag, content, out);
        }
    };
    put(1, properties.content_type.as_deref().map(str::as_bytes));
    put(2, properties.content_encoding.as_deref().map(str::as_bytes));
    put(3, properties.correlation.as_deref());
    match &properties.reply_to {
        Some(ReplyTo::Queue(name)) => put(4, Some(name.as_bytes())),
        Some(ReplyTo::Topic(key)) => put(5, Some(key.as_bytes())),
        None => {}
    }
    put(6, properties.expiry_ms.map(u64::to_be_bytes).as_ref().map(|octets| &octets[..]));
    put(7, properties.durable.map(|durable| [u8::from(durable)]).as_ref().map(|octet| &octet[..]));
    put(8, properties.priority.map(|octet| [octet]).as_ref().map(|octet| &octet[..]));
    put(9, properties.message_id.as_deref().map(str::as_bytes));
    put(10, properties.kind.as_deref().map(str::as_bytes));
    put(11, properties.app_id.as_deref().map(str::as_bytes));
    put(12, properties.user_id.as_deref().map(str::as_bytes));
    put(13, properties.timestamp.map(u64::to_be_bytes).as_ref().map(|octets| &octets[..]));
    put(14, properties.payload_format.map(|octet| [octet]).as_ref().map(|octet| &octet[..]));
    put(15, properties.qos.map(|octet| [octet]).as_ref().map(|octet| &octet[..]));
    put(17, properties.cluster_id.as_deref().map(str::as_bytes));
    if !properties.headers.0.is_empty() {
        let mut headers = Vec::new();
        encode_table(&properties.headers, &mut headers, 0);
        put(16, Some(&headers));
    }
}

fn put(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    let Ok(len) = u32::try_from(content.len()) else { return };
    out.push(tag);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(content);
}

/// The next field; `None` at the end, and where it is damaged.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, after) = rest.split_first()?;
    let (len, after) = after.split_first_chunk()?;
    let (content, after) = after.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *rest = after;
    Some((*tag, content))
}

fn number(content: &[u8]) -> Option<u64> {
    content.try_into().ok().map(u64::from_be_bytes)
}

fn decode_one(tag: u8, content: &[u8], properties: &mut Properties) {
    let text = || Some(String::from_utf8_lossy(content).into_owned());
    let octet = content.first().copied();
    match tag {
        1 => properties.content_type = text(),
        2 => properties.content_encoding = text(),
        3 => properties.correlation = Some(content.to_vec()),
        4 => properties.reply_to = text().map(ReplyTo::Queue),
        5 => properties.reply_to = text().map(ReplyTo::Topic),
        6 => properties.expiry_ms = number(content),
        7 => properties.durable = octet.map(|octet| octet != 0),
        8 => properties.priority = octet,
        9 => properties.message_id = text(),
        10 => properties.kind = text(),
        11 => properties.app_id = text(),
        12 => properties.user_id = text(),
        13 => properties.timestamp = number(content),
        14 => properties.payload_format = octet,
        15 => properties.qos = octet,
        17 => properties.cluster_id = text(),
        16 => properties.headers = decode_table(content, 0),
        _ => {}
    }
}

fn encode_table(table: &Table, out: &mut Vec<u8>, depth: usize) {
    for (name, value) in &table.0 {
        put(b'n', name.as_bytes(), out);
        encode_value(value, out, depth);
    }
}

/// At most [`DEPTH_MAX`] deep.
fn encode_value(value: &Value, out: &mut Vec<u8>, depth: usize) {
    let sized = |octets: [u8; 8], size: u8| [&[size][..], &octets].concat();
    match value {
        Value::Void => put(b'V', &[], out),
        Value::Bool(value) => put(b't', &[u8::from(*value)], out),
        Value::Int(value, size) => put(b'i', &sized(value.to_be_bytes(), *size), out),
        Value::Uint(value, size) => put(b'u', &sized(value.to_be_bytes(), *size), out),
        Value::Float(value) => put(b'f', &value.to_be_bytes(), out),
        Value::Double(value) => put(b'd', &value.to_be_bytes(), out),
        Value::Decimal(scale, value) => {
            put(b'D', &[&[*scale][..], &value.to_be_bytes()].concat(), out);
        }
        Value::Text(text) => put(b'S', text, out),
        Value::Bytes(octets) => put(b'x', octets, out),
        Value::Timestamp(seconds) => put(b'T', &seconds.to_be_bytes(), out),
        Value::Array(_) | Value::Table(_) if depth >= DEPTH_MAX => put(b'V', &[], out),
        Value::Array(values) => {
            let mut content = Vec::new();
            for value in values {
                encode_value(value, &mut content, depth + 1);
            }
            put(b'A', &content, out);
        }
        Value::Table(table) => {
            let mut content = Vec::new();
            encode_table(table, &mut content, depth + 1);
            put(b'F', &content, out);
        }
    }
}

fn decode_table(content: &[u8], depth: usize) -> Table {
    let mut table = Table::default();
    let mut rest = content;
    while let Some((_, name)) = field(&mut rest) {
        let Some((tag, content)) = field(&mut rest) else { break };
        let Some(value) = decode_value(tag, content, depth) else { break };
        table.0.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    table
}

/// At most [`DEPTH_MAX`] deep.
fn decode_value(tag: u8, content: &[u8], depth: usize) -> Option<Value> {
    let sized = || {
        let (size, octets) = content.split_first()?;
        Some((*size, <[u8; 8]>::try_from(octets).ok()?))
    };
    Some(match tag {
        b't' => Value::Bool(*content.first()? != 0),
        b'i' => sized().map(|(size, octets)| Value::Int(i64::from_be_bytes(octets), size))?,
        b'u' => sized().map(|(size, octets)| Value::Uint(u64::from_be_bytes(octets), size))?,
        b'f' => Value::Float(f32::from_be_bytes(content.try_into().ok()?)),
        b'd' => Value::Double(f64::from_be_bytes(content.try_into().ok()?)),
        b'D' => {
            let (scale, value) = content.split_first()?;
            Value::Decimal(*scale, i32::from_be_bytes(value.try_into().ok()?))
        }
        b'S' => Value::Text(content.to_vec()),
        b'x' => Value::Bytes(content.to_vec()),
        b'T' => Value::Timestamp(number(content)?),
        b'A' if depth < DEPTH_MAX => {
            let (mut values, mut rest) = (Vec::new(), content);
            while let Some((tag, content)) = field(&mut rest) {
                values.push(decode_value(tag, content, depth + 1)?);
            }
            Value::Array(values)
        }
        b'F' if depth < DEPTH_MAX => Value::Table(decode_table(content, depth + 1)),
        _ => Value::Void,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_back() {
        let values = vec![
            Value::Void,
            Value::Bool(true),
            Value::Int(-5, 2),
            Value::Uint(u64::MAX, 8),
            Value::Float(1.5),
            Value::Double(-2.5),
            Value::Decimal(2, -314),
            Value::text("text"),
            Value::Bytes(vec![0, 255]),
            Value::Timestamp(1_700_000_000),
            Value::Array(vec![Value::Array(vec![]), Value::text("")]),
        ];
        let inner = Table(vec![("a".into(), Value::Array(values)), ("a".into(), Value::Void)]);
        let properties = Properties {
            content_type: Some("text/plain".into()),
            content_encoding: Some("gzip".into()),
            correlation: Some(vec![0xFF]),
            reply_to: Some(ReplyTo::Topic("a.b".into())),
            expiry_ms: Some(5),
            durable: Some(false),
            priority: Some(9),
            message_id: Some("id".into()),
            kind: Some("kind".into()),
            app_id: Some("app".into()),
            user_id: Some("guest".into()),
            cluster_id: Some("cluster".into()),
            timestamp: Some(7),
            payload_format: Some(1),
            qos: Some(2),
            headers: Table(vec![("t".into(), Value::Table(inner))]),
        };
        let mut wire = Vec::new();
        encode(&properties, &mut wire);
        let codec = neutral_codec(Protocol::Stomp);
        assert_eq!(codec.decode(&wire), properties);
        assert_eq!(codec.protocol(), Protocol::Stomp);
        for end in 0..wire.len() {
            codec.decode(&wire[..end]);
        }
    }
}
