//! Reading messages back by position. Readers run on threads of their own, beside the committer.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use trivium_core::log::{Codecs, Position};
use trivium_core::{Message, QueueId};

use super::Failure;
use super::body::{Publish, parts};
use super::record::{self, HEADER_BYTES, Kind, Record};
use super::shared::Shared;
use super::table::Place;

/// Read at once while walking from a landmark: little at first, because often one message is
/// wanted here and the next one far away.
const WALK_BYTES: usize = 64 * 1024;
const FIRST_WALK_BYTES: usize = 8 * 1024;

/// Positions that are passed over rather than to search anew.
const NEAR: u64 = 64;

/// What waits to be read, and whether no more is to be.
type Waiting = (VecDeque<(QueueId, Vec<Position>)>, bool);

/// Reads that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Guards the requests, and whether more may come.
    queue: Mutex<Waiting>,
    added: Condvar,
}

impl Requests {
    fn queue(&self) -> MutexGuard<'_, Waiting> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, queue: QueueId, positions: Vec<Position>) {
        self.queue().0.push_back((queue, positions));
        self.added.notify_one();
    }

    /// The next one, if there is one now.
    pub(crate) fn take(&self) -> Option<(QueueId, Vec<Position>)> {
        self.queue().0.pop_front()
    }

    /// The next one; `None` once there will be no more.
    pub(crate) fn wait(&self) -> Option<(QueueId, Vec<Position>)> {
        let mut queue = self.queue();
        loop {
            if queue.1 {
                return None;
            }
            if let Some(request) = queue.0.pop_front() {
                return Some(request);
            }
            queue = self.added.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// No more requests are answered.
    pub(crate) fn end(&self) {
        self.queue().1 = true;
        self.added.notify_all();
    }
}

/// Reads positions.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) shared: Arc<Shared>,
    pub(crate) codecs: Codecs,
}

impl Reader {
    /// Answers one request. A message that is not live any more is left out.
    pub(crate) fn answer(&self, queue: QueueId, positions: &[Position]) -> Result<(), Failure> {
        let Some(highest) = positions.iter().max() else { return Ok(()) };
        if !self.shared.wait_readable(highest.get()) {
            return Ok(());
        }
        let mut wanted: BTreeSet<u64> = positions.iter().map(|position| position.get()).collect();
        let mut messages = Vec::with_capacity(wanted.len());
        while let Some(position) = wanted.first().copied() {
            let place = self.shared.segments().place(position);
            let found = match &place {
                Some(place) => self.read(place, &mut wanted, &mut messages),
                None => Ok(()),
            };
            if let Err(failure) = found {
                // It may be given up meanwhile, because what was in it moved or is gone.
                let now = self.shared.segments().of(position).map(|segment| segment.id);
                if now == place.map(|place| place.id) {
                    return Err(failure);
                }
                if now.is_some() {
                    continue;
                }
            }
            wanted.remove(&position);
        }
        if let Some(events) = self.shared.listener() {
            events.read_done(queue, messages);
        }
        Ok(())
    }

    /// Reads what is wanted, from the first on, as far as one walk from `segment` goes: to the next
    /// one that is far away.
    fn read(
        &self,
        segment: &Place,
        wanted: &mut BTreeSet<u64>,
        messages: &mut Vec<(Position, Message)>,
    ) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::new("read", &segment.name, &error);
        let Some(mut offset) = segment.offset else { return Ok(()) };
        let mut near = u64::MAX;
        let mut bytes = Vec::new();
        let mut at = 0;
        let mut walk_bytes = FIRST_WALK_BYTES;
        let is_here = |first: &u64| *first <= segment.last;
        while let Some(first) = wanted.first().copied().filter(is_here) {
            if first > near {
                return Ok(());
            }
            if bytes.len() < at + HEADER_BYTES
                || bytes.len() < at + record::taken_bytes(&bytes[at..])
            {
                offset += at as u64;
                let needed = bytes.get(at..at + HEADER_BYTES).map_or(0, record::taken_bytes);
                let left =
                    usize::try_from(segment.end.saturating_sub(offset)).unwrap_or(usize::MAX);
                if left < HEADER_BYTES || needed > left {
                    return Ok(());
                }
                bytes.resize(needed.max(walk_bytes).min(left), 0);
                walk_bytes = (2 * walk_bytes).min(WALK_BYTES);
                segment.file.read_at(offset, &mut bytes).map_err(failed)?;
                at = 0;
                if bytes.len() < record::taken_bytes(&bytes) {
                    continue;
                }
            }
            let size = record::taken_bytes(&bytes[at..]);
            let count = u32::from_le_bytes(std::array::from_fn(|index| bytes[at + 20 + index]));
            let from = u64::from_le_bytes(std::array::from_fn(|index| bytes[at + 8 + index]));
            let covers = count > 0 && from + u64::from(count) > first;
            if covers {
                let damaged = || Failure::damaged(&segment.name, offset + at as u64);
                let (record, _) = record::parse(&bytes[at..], segment.id).ok_or_else(damaged)?;
                if record.position > first {
                    // Not in this segment: what was asked for is gone.
                    wanted.remove(&first);
                    continue;
                }
                self.extract(&record, wanted, messages).ok_or_else(damaged)?;
                wanted.remove(&first);
                near = from + u64::from(count) + NEAR;
            }
            at += size;
        }
        Ok(())
    }

    fn extract(
        &self,
        record: &Record<'_>,
        wanted: &mut BTreeSet<u64>,
        messages: &mut Vec<(Position, Message)>,
    ) -> Option<()> {
        if record.kind == Kind::Transaction {
            for part in parts(record.body)?.iter().filter(|part| part.kind == Kind::Publish) {
                self.extract(part, wanted, messages)?;
            }
            return Some(());
        }
        for (position, bytes) in Publish::parse(record)?.messages() {
            if wanted.remove(&position) {
                let message = Message::restore(bytes, self.codecs)?;
                messages.push((Position(position.try_into().ok()?), message));
            }
        }
        Some(())
    }
}
