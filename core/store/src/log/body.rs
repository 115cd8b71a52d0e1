//! The bodies of records: what each kind carries, written and read back.
//!
//! Readers return `None` for bytes that no writer makes; the checksum was right, so that is a
//! defect or another format, never a torn write.

use trivium_core::log::{Attempted, Codecs, Position, Settled};
use trivium_core::{Message, QueueId};

use super::record::{FLAG_TARGET_SET, Kind, Record};
use crate::fields::{Fields, put_number};

/// The queues of a publish.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Targets<'a> {
    /// Their ids.
    Listed(&'a [QueueId]),
    /// The number of a set that a [`Kind::Targets`] record before it lists.
    Set(u64),
}

impl Targets<'_> {
    pub(crate) const fn flags(self) -> u8 {
        match self {
            Self::Listed(_) => 0,
            Self::Set(_) => FLAG_TARGET_SET,
        }
    }

    pub(crate) fn put(self, into: &mut Vec<u8>) {
        match self {
            Self::Set(set) => put_number(into, set),
            Self::Listed(queues) => put_queues(into, queues),
        }
    }
}

pub(crate) fn put_queues(into: &mut Vec<u8>, queues: &[QueueId]) {
    put_number(into, queues.len() as u64);
    for queue in queues {
        put_number(into, queue.0);
    }
}

fn queues(fields: &mut Fields<'_>) -> Option<Vec<QueueId>> {
    let count = fields.number()?;
    // Each takes a byte at least: a count beyond that is foreign, and allocates nothing.
    if count > fields.0.len() as u64 {
        return None;
    }
    (0..count).map(|_| fields.number().map(QueueId)).collect()
}

/// The queues of a publish, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadTargets {
    Listed(Vec<QueueId>),
    Set(u64),
}

/// A publish, as read: who it went to, and the messages one by one.
#[derive(Clone, Debug)]
pub(crate) struct Publish<'a> {
    pub(crate) targets: ReadTargets,
    pub(crate) first: u64,
    pub(crate) count: u32,
    messages: Fields<'a>,
}

impl<'a> Publish<'a> {
    pub(crate) fn parse(record: &Record<'a>) -> Option<Self> {
        let mut fields = Fields(record.body);
        let targets = if record.flags & FLAG_TARGET_SET == 0 {
            ReadTargets::Listed(queues(&mut fields)?)
        } else {
            ReadTargets::Set(fields.number()?)
        };
        let (first, count) = (record.position, record.count);
        first.checked_add(u64::from(count)).filter(|_| first > 0)?;
        Some(Self { targets, first, count, messages: fields })
    }

    /// Each message with its position. Ends early where the bytes do.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        let mut fields = self.messages;
        (self.first..self.first + u64::from(self.count)).map_while(move |position| {
            let bytes = fields.number()?;
            Some((position, fields.bytes(bytes)?))
        })
    }
}

/// Appends one message to the body of a publish.
pub(crate) fn put_message(into: &mut Vec<u8>, message: &Message, codecs: Codecs) {
    put_number(into, message.stored_bytes() as u64);
    message.store(into, codecs);
}

/// The body of a settlement: by queue, runs of positions, each by its distance from the last.
pub(crate) fn put_settled(into: &mut Vec<u8>, settled: &[Settled]) {
    for group in settled.chunk_by(|a, b| a.queue == b.queue && a.end() <= b.first.get()) {
        put_number(into, group[0].queue.0);
        put_number(into, group.len() as u64);
        let mut end = 0;
        for run in group {
            put_number(into, run.first.get() - end);
            put_number(into, run.count);
            end = run.end();
        }
    }
}

/// The runs of a settlement.
pub(crate) fn settled(body: &[u8]) -> Option<Vec<Settled>> {
    let mut fields = Fields(body);
    let mut runs = Vec::new();
    while !fields.is_empty() {
        let queue = QueueId(fields.number()?);
        let mut end = 0u64;
        for _ in 0..fields.number()? {
            let first = end.checked_add(fields.number()?)?;
            let count = fields.number()?;
            end = first.checked_add(count)?;
            let first = Position(first.try_into().ok()?);
            runs.push(Settled { queue, first, count });
        }
    }
    Some(runs)
}

pub(crate) fn put_attempted(into: &mut Vec<u8>, attempted: &[Attempted]) {
    for entry in attempted {
        put_number(into, entry.queue.0);
        put_number(into, entry.position.get());
        put_number(into, u64::from(entry.attempts));
    }
}

pub(crate) fn attempted(body: &[u8]) -> Option<Vec<Attempted>> {
    let mut fields = Fields(body);
    let mut entries = Vec::new();
    while !fields.is_empty() {
        let queue = QueueId(fields.number()?);
        let position = Position(fields.number()?.try_into().ok()?);
        let attempts = u16::try_from(fields.number()?).ok()?;
        entries.push(Attempted { queue, position, attempts });
    }
    Some(entries)
}

/// A set of queues and its number.
pub(crate) fn put_target_set(into: &mut Vec<u8>, set: u64, queues: &[QueueId]) {
    put_number(into, set);
    put_queues(into, queues);
}

pub(crate) fn target_set(body: &[u8]) -> Option<(u64, Vec<QueueId>)> {
    let mut fields = Fields(body);
    Some((fields.number()?, queues(&mut fields)?))
}

/// A record within a transaction: kind, flags, position, count and body, without a checksum of its
/// own.
pub(crate) fn put_part(
    into: &mut Vec<u8>,
    (kind, flags): (Kind, u8),
    (position, count): (u64, u32),
    body: &[u8],
) {
    into.push(kind as u8);
    into.push(flags);
    put_number(into, position);
    put_number(into, u64::from(count));
    put_number(into, body.len() as u64);
    into.extend_from_slice(body);
}

/// The records within a transaction.
pub(crate) fn parts(body: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut fields = Fields(body);
    let mut parts = Vec::new();
    while !fields.is_empty() {
        let kind = match fields.bytes(1)?[0] {
            1 => Kind::Publish,
            3 => Kind::Settle,
            _ => return None,
        };
        let flags = fields.bytes(1)?[0];
        let position = fields.number()?;
        let count = u32::try_from(fields.number()?).ok()?;
        let bytes = fields.number()?;
        let body = fields.bytes(bytes)?;
        parts.push(Record { kind, flags, position, count, body });
    }
    Some(parts)
}

/// How far the log was durable before a write: a segment and an offset in it.
pub(crate) fn put_commit(into: &mut Vec<u8>, segment: u64, offset: u64) {
    into.extend_from_slice(&segment.to_le_bytes());
    into.extend_from_slice(&offset.to_le_bytes());
}

pub(crate) fn commit(body: &[u8]) -> Option<(u64, u64)> {
    let (segment, offset) = body.split_at_checked(8)?;
    Some((
        u64::from_le_bytes(segment.try_into().ok()?),
        u64::from_le_bytes(offset.try_into().ok()?),
    ))
}

/// One part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointPart {
    /// Queues that are not in a later part have nothing at or below the record's position.
    Begin,
    /// What of one queue is live between two positions, both included: this and nothing else.
    Queue { queue: QueueId, low: u64, high: u64, live: Vec<(u64, u64)>, attempts: Vec<(u64, u16)> },
    /// Everything since the begin belongs to one whole checkpoint.
    End,
}

impl CheckpointPart {
    pub(crate) fn put(&self, into: &mut Vec<u8>) {
        match self {
            Self::Begin => into.push(1),
            Self::End => into.push(3),
            Self::Queue { queue, low, high, live, attempts } => {
                into.push(2);
                put_number(into, queue.0);
                put_number(into, *low);
                put_number(into, *high);
                put_number(into, live.len() as u64);
                let mut end = 0;
                for (first, count) in live {
                    put_number(into, first - end);
                    put_number(into, *count);
                    end = first + count;
                }
                for (position, attempts) in attempts {
                    put_number(into, *position);
                    put_number(into, u64::from(*attempts));
                }
            }
        }
    }

    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        match fields.bytes(1)?[0] {
            1 if fields.is_empty() => Some(Self::Begin),
            3 if fields.is_empty() => Some(Self::End),
            2 => {
                let queue = QueueId(fields.number()?);
                let (low, high) = (fields.number()?, fields.number()?);
                let (mut live, mut end) = (Vec::new(), 0u64);
                for _ in 0..fields.number()? {
                    let first = end.checked_add(fields.number()?)?;
                    let count = fields.number()?;
                    end = first.checked_add(count)?;
                    if first < low || end.checked_sub(1)? > high {
                        return None;
                    }
                    live.push((first, count));
                }
                let mut attempts = Vec::new();
                while !fields.is_empty() {
                    let position = fields.number()?;
                    attempts.push((position, u16::try_from(fields.number()?).ok()?));
                }
                Some(Self::Queue { queue, low, high, live, attempts })
            }
            _ => None,
        }
    }
}
