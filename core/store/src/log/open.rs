//! The open batch: where appends are copied to until the committer takes them.

use std::sync::Arc;

use trivium_core::QueueId;
use trivium_core::log::{Attempted, Codecs, Note, Position, Publish, Settled};

use super::body::{self, Targets};
use super::live::TargetSets;
use super::record::{self, FLAG_RECEIVED, FLAG_TIME, Kind};
use crate::fields::put_number;

/// A record of messages ends at about so many bytes, so that a reader who wants one of them reads
/// little.
const PUBLISH_BYTES: usize = 64 * 1024;

/// Publishes to more queues than this name them by number.
pub(crate) const LISTED_MAX: usize = 32;

/// Bytes of the record that every write begins with.
pub(crate) const COMMIT_BYTES: usize = record::padded_bytes(16);

/// Records that wait to be written, without checksums, behind room for a commit record.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    bytes: Vec<u8>,
    /// The position of the last message.
    pub(crate) last: u64,
    sets: TargetSets,
    next_set: u64,
    /// Somebody waits until it is safe.
    wants_sync: bool,
    codecs: Codecs,
}

/// What the committer takes.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Begins with room for a commit record.
    pub(crate) bytes: Vec<u8>,
    pub(crate) wants_sync: bool,
}

impl OpenBatch {
    pub(crate) fn new(last: u64, codecs: Codecs) -> Self {
        let sets = TargetSets::default();
        let mut bytes = Vec::new();
        begin(&mut bytes, last);
        Self { bytes, last, sets, next_set: 1, wants_sync: false, codecs }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - COMMIT_BYTES
    }

    /// Whether somebody waits until it is safe.
    pub(crate) fn wants_sync(&self) -> bool {
        self.wants_sync
    }

    /// Takes what waits; goes on in `spare`, which is reused.
    pub(crate) fn take(&mut self, mut spare: Vec<u8>) -> Taken {
        begin(&mut spare, self.last);
        let bytes = std::mem::replace(&mut self.bytes, spare);
        Taken { bytes, wants_sync: std::mem::take(&mut self.wants_sync) }
    }

    /// `now` is in milliseconds since 1970.
    pub(crate) fn append(&mut self, publishes: &[Publish<'_>], now: u64) -> Position {
        self.wants_sync = true;
        let first = self.next_position();
        for group in groups(publishes) {
            let targets = self.targets(group[0].queues);
            let at = (self.last + 1, count(group));
            let codecs = self.codecs;
            record::append(&mut self.bytes, Kind::Publish, flags(targets, group), at, |into| {
                put_group(into, targets, group, (codecs, now));
            });
            self.last += group.len() as u64;
        }
        first
    }

    pub(crate) fn append_atomic(
        &mut self,
        publishes: &[Publish<'_>],
        settled: &[Settled],
        now: u64,
    ) -> Position {
        self.wants_sync = true;
        let first = self.next_position();
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        let mut last = self.last;
        for group in groups(publishes) {
            let targets = self.targets(group[0].queues);
            part.clear();
            put_group(&mut part, targets, group, (self.codecs, now));
            let at = (last + 1, count(group));
            body::put_part(&mut parts, (Kind::Publish, flags(targets, group)), at, &part);
            last += group.len() as u64;
        }
        if !settled.is_empty() {
            part.clear();
            body::put_settled(&mut part, settled);
            body::put_part(&mut parts, (Kind::Settle, 0), (last, 0), &part);
        }
        let at = (first.get(), count(publishes));
        record::append(&mut self.bytes, Kind::Transaction, 0, at, |into| {
            into.extend_from_slice(&parts);
        });
        // Without messages it has a position to itself, so that somebody can wait for it.
        self.last = last.max(first.get());
        first
    }

    pub(crate) fn note(&mut self, notes: &[Note], urgent: bool) -> Position {
        self.wants_sync |= urgent;
        let at = self.next_position();
        record::append(&mut self.bytes, Kind::Session, 0, (at.get(), 0), |into| {
            body::put_notes(into, notes);
        });
        self.last = at.get();
        at
    }

    pub(crate) fn release(&mut self, settled: &[Settled]) {
        record::append(&mut self.bytes, Kind::Settle, 0, (self.last, 0), |into| {
            body::put_settled(into, settled);
        });
    }

    pub(crate) fn requeue(&mut self, attempted: &[Attempted]) {
        record::append(&mut self.bytes, Kind::Requeue, 0, (self.last, 0), |into| {
            body::put_attempted(into, attempted);
        });
    }

    /// Notes that the log is closed in order.
    pub(crate) fn close(&mut self) {
        self.wants_sync = true;
        record::append(&mut self.bytes, Kind::Closed, 0, (self.last, 0), |_| {});
    }

    fn next_position(&self) -> Position {
        Position(std::num::NonZeroU64::MIN).plus(self.last)
    }

    /// A few queues are listed; many get a number, and a record that lists them once.
    fn targets<'a>(&mut self, queues: &'a [QueueId]) -> Targets<'a> {
        if queues.len() <= LISTED_MAX {
            return Targets::Listed(queues);
        }
        if let Some(number) = self.sets.number(queues) {
            return Targets::Set(number);
        }
        let number = self.next_set;
        self.next_set += 1;
        self.sets.add(number, Arc::from(queues));
        record::append(&mut self.bytes, Kind::Targets, 0, (self.last, 0), |into| {
            body::put_target_set(into, number, queues);
        });
        Targets::Set(number)
    }
}

/// Leaves room for the commit record, which the committer fills in.
pub(crate) fn begin(bytes: &mut Vec<u8>, last: u64) {
    bytes.clear();
    record::append(bytes, Kind::Commit, 0, (last, 0), |into| body::put_commit(into, 0, 0));
}

fn count(publishes: &[Publish<'_>]) -> u32 {
    u32::try_from(publishes.len()).expect("a batch is one read, and has fewer than 2^32 messages")
}

fn flags(targets: Targets<'_>, group: &[Publish<'_>]) -> u8 {
    let received = if group[0].received.is_some() { FLAG_RECEIVED } else { 0 };
    targets.flags() | FLAG_TIME | received
}

fn put_group(
    into: &mut Vec<u8>,
    targets: Targets<'_>,
    group: &[Publish<'_>],
    (codecs, now): (Codecs, u64),
) {
    targets.put(into);
    put_number(into, now);
    if let Some((session, _)) = group[0].received {
        let packet_ids = group.iter().map(|publish| publish.received.map_or(0, |(_, id)| id));
        body::put_received(into, session, packet_ids);
    }
    for publish in group {
        body::put_message(into, publish.message, codecs);
    }
}

/// Neighbours for the same queues, in portions of about [`PUBLISH_BYTES`].
fn groups<'a, 'b>(publishes: &'b [Publish<'a>]) -> impl Iterator<Item = &'b [Publish<'a>]> {
    let mut rest = publishes;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut bytes = 0;
        let belongs = |publish: &&Publish<'_>| {
            let fits = bytes < PUBLISH_BYTES;
            bytes += publish.message.stored_bytes();
            let session = |publish: &Publish<'_>| publish.received.map(|(session, _)| session);
            fits && publish.queues == first.queues && session(publish) == session(first)
        };
        let count = rest.iter().take_while(belongs).count();
        let (group, behind) = rest.split_at(count);
        rest = behind;
        Some(group)
    })
}
