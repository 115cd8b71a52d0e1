//! MQTT sessions and their subscriptions as bytes, in the terms of `encoding`.

use trivium_core::QueueId;
use trivium_core::address::{Pattern, Segment};
use trivium_core::catalogue::{StoredSession, StoredSubscription, StoredWill};
use trivium_core::control::Source;

use super::encoding::{Key, put_text, text};
use crate::fields::{Fields, put_number};

const PERSISTENT: u8 = 1;
const RETAIN: u8 = 2;

/// A number that may be absent: a byte says whether it follows.
fn put_option(into: &mut Vec<u8>, number: Option<u64>) {
    match number {
        None => into.push(0),
        Some(number) => {
            into.push(1);
            put_number(into, number);
        }
    }
}

#[expect(clippy::option_option, reason = "foreign bytes, or a number that may be absent")]
fn option(fields: &mut Fields<'_>) -> Option<Option<u64>> {
    match fields.bytes(1)?[0] {
        0 => Some(None),
        1 => fields.number().map(Some),
        _ => None,
    }
}

pub(super) fn session_value(session: &StoredSession) -> Vec<u8> {
    let mut value = Vec::new();
    put_number(&mut value, session.id.0);
    put_number(&mut value, u64::from(session.expiry_s));
    put_option(&mut value, session.expires_at);
    if let Some(will) = &session.will {
        put_will(&mut value, will);
    }
    value
}

fn put_will(value: &mut Vec<u8>, will: &StoredWill) {
    put_option(value, will.due_at);
    put_number(value, u64::from(will.delay_s));
    put_option(value, will.lifetime_ms);
    let flags = [(will.persistent, PERSISTENT), (will.retain, RETAIN)];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, bit)| all | bit);
    value.extend_from_slice(&[flags, will.priority]);
    put_text(value, will.exchange.as_bytes());
    put_text(value, will.routing_key.as_bytes());
    put_text(value, &will.properties);
    put_text(value, &will.body);
}

pub(super) fn session_from(key: &[u8], value: &[u8]) -> Option<StoredSession> {
    let (mut key, mut fields) = (Fields(key), Fields(value));
    let (vhost, client_id) = (text(&mut key)?, text(&mut key)?);
    let id = QueueId(fields.number()?);
    let expiry_s = u32::try_from(fields.number()?).ok()?;
    let expires_at = option(&mut fields)?;
    let will = if fields.is_empty() { None } else { Some(will(&mut fields)?) };
    Some(StoredSession { vhost, client_id, id, expiry_s, expires_at, will })
}

fn will(fields: &mut Fields<'_>) -> Option<StoredWill> {
    let due_at = option(fields)?;
    let delay_s = u32::try_from(fields.number()?).ok()?;
    let lifetime_ms = option(fields)?;
    let [flags, priority] = *fields.bytes(2)?.first_chunk()?;
    let (exchange, routing_key) = (text(fields)?, text(fields)?);
    let mut octets = || {
        let bytes = fields.number()?;
        fields.bytes(bytes).map(<[u8]>::to_vec)
    };
    let (properties, body) = (octets()?, octets()?);
    let (persistent, retain) = (flags & PERSISTENT != 0, flags & RETAIN != 0);
    Some(StoredWill {
        due_at,
        delay_s,
        exchange,
        routing_key,
        properties,
        body,
        persistent,
        lifetime_ms,
        priority,
        retain,
    })
}

/// By vhost, client identifier, and what is subscribed to.
pub(super) fn subscription_key(vhost: &str, client_id: &str, source: &Source) -> Key {
    let mut rest = Vec::new();
    match source {
        Source::Filter(pattern) => {
            rest.push(b'f');
            put_pattern(&mut rest, pattern);
        }
        Source::Queue(name) => {
            rest.push(b'q');
            put_text(&mut rest, name.as_bytes());
        }
        Source::Shared { group, pattern } => {
            rest.push(b's');
            put_text(&mut rest, group.as_bytes());
            put_pattern(&mut rest, pattern);
        }
    }
    Key::new().text(vhost).text(client_id).rest(&rest)
}

fn put_pattern(into: &mut Vec<u8>, pattern: &Pattern) {
    for segment in pattern.segments() {
        match segment {
            Segment::Literal(word) => {
                into.push(b'l');
                put_text(into, word.as_bytes());
            }
            Segment::One => into.push(b'+'),
            Segment::Many => into.push(b'#'),
        }
    }
}

/// A pattern is the end of its key.
fn pattern(fields: &mut Fields<'_>) -> Option<Pattern> {
    let mut segments = Vec::new();
    while !fields.is_empty() {
        segments.push(match fields.bytes(1)?[0] {
            b'l' => Segment::Literal(text(fields)?.into()),
            b'+' => Segment::One,
            b'#' => Segment::Many,
            _ => return None,
        });
    }
    Some(Pattern::of(segments))
}

pub(super) fn subscription_value(subscription: &StoredSubscription) -> Vec<u8> {
    let mut value = Vec::new();
    put_text(&mut value, subscription.name.as_bytes());
    let flags = u8::from(subscription.retain_as_published) | u8::from(subscription.no_local) << 1;
    value.extend_from_slice(&[subscription.qos, flags]);
    put_option(&mut value, subscription.id.map(u64::from));
    put_option(&mut value, subscription.group.map(|group| group.0));
    value
}

pub(super) fn subscription_from(key: &[u8], value: &[u8]) -> Option<StoredSubscription> {
    let (mut key, mut fields) = (Fields(key), Fields(value));
    let (vhost, client_id) = (text(&mut key)?, text(&mut key)?);
    let source = match key.bytes(1)?[0] {
        b'f' => Source::Filter(pattern(&mut key)?),
        b'q' => Source::Queue(text(&mut key)?),
        b's' => Source::Shared { group: text(&mut key)?, pattern: pattern(&mut key)? },
        _ => return None,
    };
    let name = text(&mut fields)?;
    let [qos, flags] = *fields.bytes(2)?.first_chunk()?;
    let id = match option(&mut fields)? {
        Some(id) => Some(u32::try_from(id).ok()?),
        None => None,
    };
    let group = option(&mut fields)?.map(QueueId);
    let (retain_as_published, no_local) = (flags & 1 != 0, flags & 2 != 0);
    Some(StoredSubscription {
        vhost,
        client_id,
        source,
        name,
        id,
        qos,
        retain_as_published,
        no_local,
        group,
    })
}
