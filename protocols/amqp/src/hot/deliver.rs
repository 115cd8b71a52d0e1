//! Content on its way to the client: `basic.deliver`, `basic.get-ok` and `basic.return`, each with
//! its header and body.

use trivium_core::{Field, Lost, Message, Protocol, Transmit};

use crate::frame::{BODY, END, HEAD_BYTES, HEADER, METHOD, OVERHEAD_BYTES};
use crate::properties::{Property, PropertyList};
use crate::translate;

/// Class, weight and body size in front of the property list.
const CONTENT_HEAD_BYTES: usize = 12;

/// The longest routing key of `basic.deliver` (a shortstr).
const KEY_BYTES_MAX: usize = 255;

/// Where content goes, and how large its frames may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) channel: u16,
    /// As negotiated, head and end included.
    pub(crate) frame_bytes_max: usize,
    /// What [`DELIVERY_COUNT`] says, for messages of queues that count.
    pub(crate) delivery_count: Option<u16>,
}

/// The header that says how often a message was put back (quorum queues).
const DELIVERY_COUNT: &[u8] = b"\x10x-delivery-countl";

/// Appends `basic.deliver` with its content. `tag` is at most 255 octets.
pub(crate) fn deliver(
    out: &mut Transmit,
    target: Target,
    tag: &str,
    delivery_tag: u64,
    redelivered: bool,
    message: &Message,
) -> Lost {
    let (exchange, key) = (message.exchange_bytes(), short_key(message.routing_key_bytes()));
    // Numbers 4, three lengths 3, delivery tag 8, redelivered 1.
    let size = 16 + tag.len() + exchange.len() + key.len();
    let body = message.body();
    out.bytes.reserve(size + body.len() + 256);
    frame_head(out, METHOD, target.channel, size);
    out.bytes.extend_from_slice(&[0, 60, 0, 60]);
    short_string(out, tag.as_bytes());
    out.bytes.extend_from_slice(&delivery_tag.to_be_bytes());
    out.bytes.push(u8::from(redelivered));
    short_string(out, exchange);
    short_string(out, key);
    out.bytes.push(END);
    out.end_frame();
    content(out, target, message)
}

/// Appends `basic.get-ok` with its content; `remaining` is what the queue still has ready.
pub(crate) fn get_ok(
    out: &mut Transmit,
    target: Target,
    delivery_tag: u64,
    redelivered: bool,
    remaining: u64,
    message: &Message,
) -> Lost {
    let (exchange, key) = (message.exchange_bytes(), short_key(message.routing_key_bytes()));
    // Numbers 4, delivery tag 8, redelivered 1, two lengths 2, message count 4.
    frame_head(out, METHOD, target.channel, 19 + exchange.len() + key.len());
    out.bytes.extend_from_slice(&[0, 60, 0, 71]);
    out.bytes.extend_from_slice(&delivery_tag.to_be_bytes());
    out.bytes.push(u8::from(redelivered));
    short_string(out, exchange);
    short_string(out, key);
    let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
    out.bytes.extend_from_slice(&remaining.to_be_bytes());
    out.bytes.push(END);
    out.end_frame();
    content(out, target, message)
}

/// Appends `basic.return` 312 with its content: no queue took a mandatory message.
pub(crate) fn unroutable(out: &mut Transmit, target: Target, message: &Message) -> Lost {
    const NO_ROUTE: &[u8] = b"\0\x3C\0\x32\x01\x38\x08NO_ROUTE";
    let (exchange, key) = (message.exchange_bytes(), short_key(message.routing_key_bytes()));
    let size = NO_ROUTE.len() + 2 + exchange.len() + key.len();
    frame_head(out, METHOD, target.channel, size);
    out.bytes.extend_from_slice(NO_ROUTE);
    short_string(out, exchange);
    short_string(out, key);
    out.bytes.push(END);
    out.end_frame();
    content(out, target, message)
}

/// Content header and body frames. A body is split where the client's frames end; an empty one has
/// no frame at all. Returns what the message lost.
fn content(out: &mut Transmit, target: Target, message: &Message) -> Lost {
    let body = message.body();
    let payload_max = target.frame_bytes_max - OVERHEAD_BYTES;
    let start = out.bytes.len();
    frame_head(out, HEADER, target.channel, 0);
    out.bytes.extend_from_slice(&[0, 60, 0, 0]);
    out.bytes.extend_from_slice(&(body.len() as u64).to_be_bytes());
    let list_start = out.bytes.len();
    let mut lost = Lost::NONE;
    if let Some(wire) = message.wire(Protocol::Amqp) {
        out.bytes.extend_from_slice(wire);
    } else {
        let is_cut = message.routing_key_bytes().len() > KEY_BYTES_MAX;
        let long_key = is_cut.then(|| message.routing_key());
        lost = translate::write(message.properties(), long_key, &mut out.bytes);
    }
    if let Some(count) = target.delivery_count {
        add_delivery_count(&mut out.bytes, list_start, count);
    }
    if CONTENT_HEAD_BYTES + out.bytes.len() - list_start > payload_max {
        lost.note(Field::Header);
        lost.unless(message.routing_key_bytes().len() <= KEY_BYTES_MAX, Field::Address);
        drop_headers(&mut out.bytes, list_start);
    }
    let size = out.bytes.len() - start - HEAD_BYTES;
    out.bytes[start + 3..start + HEAD_BYTES].copy_from_slice(&long(size));
    out.bytes.push(END);
    out.end_frame();
    for piece in body.chunks(payload_max) {
        frame_head(out, BODY, target.channel, piece.len());
        out.bytes.extend_from_slice(piece);
        out.bytes.push(END);
        out.end_frame();
    }
    lost
}

#[cold]
fn add_delivery_count(bytes: &mut Vec<u8>, list_start: usize, count: u16) {
    let list = bytes.split_off(list_start);
    let Ok(list) = PropertyList::split(&list) else { return bytes.extend_from_slice(&[0; 2]) };
    let known = list.value(Property::Headers).unwrap_or_default();
    let headers = [known, DELIVERY_COUNT, &i64::from(count).to_be_bytes()].concat();
    list.with_headers(&headers).write(bytes);
}

/// A content header cannot be split. When the client tuned its frames below the publisher's and
/// the headers do not fit, the message goes without them rather than break the connection.
fn drop_headers(bytes: &mut Vec<u8>, list_start: usize) {
    let list = bytes.split_off(list_start);
    match PropertyList::split(&list) {
        Ok(list) => list.without_headers().write(bytes),
        Err(_) => bytes.extend_from_slice(&[0; 2]),
    }
}

/// Type, channel, size: the seven octets in front of a payload.
fn frame_head(out: &mut Transmit, kind: u8, channel: u16, size: usize) {
    let [high, low] = channel.to_be_bytes();
    let [a, b, c, d] = long(size);
    out.bytes.extend_from_slice(&[kind, high, low, a, b, c, d]);
}

/// Sizes on the wire: what is longer than 4 GiB was refused when it was published.
fn long(size: usize) -> [u8; 4] {
    u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes()
}

fn short_string(out: &mut Transmit, octets: &[u8]) {
    out.bytes.push(u8::try_from(octets.len()).unwrap_or(u8::MAX));
    out.bytes.extend_from_slice(octets);
}

/// A routing key of another protocol may be longer than a shortstr: its leading words that fit.
fn short_key(key: &[u8]) -> &[u8] {
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    let end = memchr::memrchr(b'.', &key[..=KEY_BYTES_MAX]).unwrap_or(0);
    &key[..end]
}
