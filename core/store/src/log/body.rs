//! The bodies of records: what each kind carries, written and read back.
//!
//! Readers return `None` for bytes that no writer makes; the checksum was right, so that is a
//! defect or another format, never a torn write.

use trivium_core::log::{Attempted, Codecs, InSession, Note, Position, RecoveredMark, Settled};
use trivium_core::{Message, QueueId};

use super::record::{FLAG_RECEIVED, FLAG_TARGET_SET, FLAG_TIME, Kind, Record};
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
    /// When, in milliseconds since 1970; 0 if it does not say.
    pub(crate) published_at: u64,
    /// An MQTT session, and packet identifiers of QoS 2 that it publishes these messages under.
    pub(crate) received: Option<(QueueId, Vec<u16>)>,
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
        let published_at = if record.flags & FLAG_TIME == 0 { 0 } else { fields.number()? };
        let received =
            if record.flags & FLAG_RECEIVED == 0 { None } else { Some(received(&mut fields)?) };
        let (first, count) = (record.position, record.count);
        first.checked_add(u64::from(count)).filter(|_| first > 0)?;
        // Each message takes a byte at least.
        if u64::from(count) > fields.0.len() as u64 {
            return None;
        }
        Some(Self { targets, first, count, published_at, received, messages: fields })
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

/// What an MQTT session publishes at QoS 2.
pub(crate) fn put_received(
    into: &mut Vec<u8>,
    session: QueueId,
    packet_ids: impl ExactSizeIterator<Item = u16>,
) {
    put_number(into, session.0);
    put_number(into, packet_ids.len() as u64);
    packet_ids.for_each(|packet_id| put_number(into, u64::from(packet_id)));
}

fn received(fields: &mut Fields<'_>) -> Option<(QueueId, Vec<u16>)> {
    let session = QueueId(fields.number()?);
    let mut packet_ids = Vec::new();
    for _ in 0..fields.number()? {
        packet_ids.push(u16::try_from(fields.number()?).ok()?);
    }
    Some((session, packet_ids))
}

/// How far a message under way to an MQTT client is: 1 sent at QoS 1, 2 sent at QoS 2, 3 its client
/// has it.
fn sent_state(qos: u8, released: bool) -> u8 {
    if released { 3 } else { qos.clamp(1, 2) }
}

pub(crate) fn put_notes(into: &mut Vec<u8>, notes: &[Note]) {
    for note in notes {
        put_number(into, note.session.0);
        match note.what {
            InSession::Sent { position, label, qos, released } => {
                into.push(sent_state(qos, released));
                put_number(into, position.get());
                put_number(into, u64::from(label));
            }
            InSession::Received(packet_id) => {
                into.push(4);
                put_number(into, u64::from(packet_id));
            }
            InSession::Released(packet_id) => {
                into.push(5);
                put_number(into, u64::from(packet_id));
            }
            InSession::Ended => into.push(6),
        }
    }
}

pub(crate) fn notes(body: &[u8]) -> Option<Vec<Note>> {
    let mut fields = Fields(body);
    let mut notes = Vec::new();
    while !fields.is_empty() {
        let session = QueueId(fields.number()?);
        let what = match fields.bytes(1)?[0] {
            state @ 1..=3 => InSession::Sent {
                position: Position(fields.number()?.try_into().ok()?),
                label: u16::try_from(fields.number()?).ok()?,
                qos: state.min(2),
                released: state == 3,
            },
            4 => InSession::Received(u16::try_from(fields.number()?).ok()?),
            5 => InSession::Released(u16::try_from(fields.number()?).ok()?),
            6 => InSession::Ended,
            _ => return None,
        };
        notes.push(Note { session, what });
    }
    Some(notes)
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
    /// What an MQTT session knows, by the id of its queue: this and nothing else is under way to its
    /// client, and these packet identifiers came to it, at these positions.
    Session { queue: QueueId, marks: Vec<RecoveredMark>, received: Vec<(u16, u64)> },
    /// Everything since the begin belongs to one whole checkpoint.
    End,
}

impl CheckpointPart {
    pub(crate) fn put(&self, into: &mut Vec<u8>) {
        match self {
            Self::Begin => into.push(1),
            Self::End => into.push(3),
            Self::Session { queue, marks, received } => {
                into.push(4);
                put_number(into, queue.0);
                put_number(into, marks.len() as u64);
                for mark in marks {
                    put_number(into, mark.position.get());
                    let state = sent_state(mark.qos, mark.released);
                    put_number(into, u64::from(mark.label) << 2 | u64::from(state));
                }
                for (packet_id, position) in received {
                    put_number(into, u64::from(*packet_id));
                    put_number(into, *position);
                }
            }
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
            4 => {
                let queue = QueueId(fields.number()?);
                let (mut marks, mut received) = (Vec::new(), Vec::new());
                for _ in 0..fields.number()? {
                    let position = Position(fields.number()?.try_into().ok()?);
                    let state = fields.number()?;
                    let (label, state) = (u16::try_from(state >> 2).ok()?, (state & 3) as u8);
                    let (qos, released) = (state.min(2), state == 3);
                    marks.push(RecoveredMark { position, label, qos, released });
                }
                while !fields.is_empty() {
                    let packet_id = u16::try_from(fields.number()?).ok()?;
                    received.push((packet_id, fields.number()?));
                }
                Some(Self::Session { queue, marks, received })
            }
            _ => None,
        }
    }
}
