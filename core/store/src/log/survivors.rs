//! Messages that outlive their segments move, on a thread of their own: the committer only says which
//! are live, and puts the new segment in the place of the old ones.
//!
//! What a queue settles meanwhile is copied, too; the counts of the segments tell that it is not
//! live.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use roaring::RoaringTreemap;
use trivium_core::QueueId;

use super::Failure;
use super::body::{Publish, Targets, parts, put_target_set, target_set};
use super::commit::SEAL_BYTES;
use super::live::TargetSets;
use super::open::LISTED_MAX;
use super::record::{self, FLAG_TIME, HEADER_BYTES, Kind, Record, taken_bytes};
use super::segment::{Generation, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentId, old_name};
use super::table::Segment;
use crate::disk::Disk;
use crate::fields::put_number;

/// Read at once.
const PORTION_BYTES: usize = 1024 * 1024;

/// What is to be copied.
#[derive(Debug)]
pub(crate) struct Move {
    /// Of the new segment.
    pub(crate) id: SegmentId,
    /// Ascending by position.
    pub(crate) sources: Vec<Segment>,
    /// Positions that are live.
    pub(crate) live: RoaringTreemap,
    /// The last position given out.
    pub(crate) last: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Moved {
    /// A segment that has all that was live. How much of it still is has to be counted.
    To(Box<Segment>),
    /// Nothing was live.
    Nothing,
    /// There is no space: everything stays where it is.
    NoSpace,
}

impl Move {
    /// Reads what is live, writes it to a segment of its own, and makes that durable.
    pub(crate) fn run(self, disk: &dyn Disk) -> Result<Moved, Failure> {
        let live_bytes = self.sources.iter().map(Segment::live_bytes).sum();
        let mut survivors = Survivors::new(self.id, live_bytes);
        for source in &self.sources {
            survivors.take(source, &self.live)?;
        }
        let Some(first) = survivors.first() else { return Ok(Moved::Nothing) };
        let published = self.sources.iter().map(|source| source.live).sum();
        let segment = survivors.write(disk, first, self.last)?;
        Ok(segment.map_or(Moved::NoSpace, |mut segment| {
            segment.published = published;
            Moved::To(Box::new(segment))
        }))
    }
}

/// The thread that moves survivors, one lot at a time.
#[derive(Debug, Default)]
pub(crate) struct Mover {
    /// Guards what is to be done and what is done; never held during IO.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    to_do: Option<Move>,
    done: Option<Result<Moved, Failure>>,
    has_ended: bool,
}

impl Mover {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is under way: this is.
    pub(crate) fn begin(&self, work: Move) {
        self.state().to_do = Some(work);
        self.changed.notify_one();
    }

    /// What came of it, once.
    pub(crate) fn take_done(&self) -> Option<Result<Moved, Failure>> {
        self.state().done.take()
    }

    /// No more is begun.
    pub(crate) fn end(&self) {
        self.state().has_ended = true;
        self.changed.notify_all();
    }

    /// Works until [`Mover::end`]; calls `tell` after each lot.
    pub(crate) fn run(&self, disk: &dyn Disk, tell: impl Fn()) {
        loop {
            let work = {
                let mut state = self.state();
                loop {
                    if state.has_ended {
                        return;
                    }
                    if let Some(work) = state.to_do.take() {
                        break work;
                    }
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            };
            let done = work.run(disk);
            self.state().done = Some(done);
            tell();
        }
    }
}

/// A segment of survivors in the making.
struct Survivors {
    id: SegmentId,
    bytes: Vec<u8>,
    sets: TargetSets,
    next_set: u64,
    /// First position, count and offset of each record of messages.
    records: Vec<(u64, u32, u64)>,
}

impl Survivors {
    fn new(id: SegmentId, live_bytes: u64) -> Self {
        let mut bytes = Vec::with_capacity(usize::try_from(live_bytes).unwrap_or(0));
        bytes.resize(SEGMENT_HEADER_BYTES, 0);
        Self { id, bytes, sets: TargetSets::default(), next_set: 1, records: Vec::new() }
    }

    fn first(&self) -> Option<u64> {
        self.records.first().map(|(first, ..)| *first)
    }

    /// Takes what is live in a segment, a portion at a time.
    fn take(&mut self, source: &Segment, live: &RoaringTreemap) -> Result<(), Failure> {
        let mut sets = TargetSets::default();
        let (mut at, mut bytes, mut needed) = (SEGMENT_HEADER_BYTES as u64, Vec::new(), 0);
        while at < source.end {
            let left = usize::try_from(source.end - at).unwrap_or(usize::MAX);
            bytes.resize(needed.max(PORTION_BYTES).min(left), 0);
            let failed = |error| Failure::new("read", &source.name, &error);
            source.file.read_at(at, &mut bytes).map_err(failed)?;
            let mut used = 0;
            loop {
                let rest = &bytes[used..];
                needed = if rest.len() < HEADER_BYTES { HEADER_BYTES } else { taken_bytes(rest) };
                if rest.len() < needed {
                    break;
                }
                let damaged = || Failure::damaged(&source.name, at + used as u64);
                let (record, size) = record::parse(rest, source.id).ok_or_else(damaged)?;
                self.take_record(&record, &mut sets, live).ok_or_else(damaged)?;
                used += size;
            }
            if used == 0 && bytes.len() == left {
                return Err(Failure::damaged(&source.name, at));
            }
            at += used as u64;
        }
        Ok(())
    }

    fn take_record(
        &mut self,
        record: &Record<'_>,
        sets: &mut TargetSets,
        live: &RoaringTreemap,
    ) -> Option<()> {
        match record.kind {
            Kind::Targets => {
                let (number, queues) = target_set(record.body)?;
                sets.add(number, queues.into());
                Some(())
            }
            Kind::Publish => self.publish(record, sets, live),
            Kind::Transaction => {
                let parts = parts(record.body)?;
                let publishes = parts.iter().filter(|part| part.kind == Kind::Publish);
                publishes.map(|part| self.publish(part, sets, live)).collect()
            }
            _ => Some(()),
        }
    }

    fn publish(
        &mut self,
        record: &Record<'_>,
        sets: &TargetSets,
        live: &RoaringTreemap,
    ) -> Option<()> {
        let publish = Publish::parse(record)?;
        let queues = sets.resolve(publish.targets.clone())?;
        let messages = publish.messages().filter(|(position, _)| live.contains(*position));
        let messages: Vec<_> = messages.collect();
        for run in messages.chunk_by(|a, b| a.0 + 1 == b.0) {
            let targets = self.targets(&queues);
            let count = u32::try_from(run.len()).ok()?;
            let offset = self.bytes.len();
            let at = (run[0].0, count);
            let flags = targets.flags() | if publish.published_at > 0 { FLAG_TIME } else { 0 };
            record::append(&mut self.bytes, Kind::Publish, flags, at, |into| {
                targets.put(into);
                if publish.published_at > 0 {
                    put_number(into, publish.published_at);
                }
                for (_, message) in run {
                    put_number(into, message.len() as u64);
                    into.extend_from_slice(message);
                }
            });
            record::seal(&mut self.bytes[offset..], self.id);
            self.records.push((run[0].0, count, offset as u64));
        }
        Some(())
    }

    /// `None` when there is no space.
    fn write(mut self, disk: &dyn Disk, first: u64, last: u64) -> Result<Option<Segment>, Failure> {
        let id = self.id;
        let name = old_name(id.number);
        let unfinished = format!("{name}.new");
        record::append(&mut self.bytes, Kind::Seal, 0, (last, 0), |_| {});
        let seal_at = self.bytes.len() - SEAL_BYTES;
        record::seal(&mut self.bytes[seal_at..], id);
        let header = SegmentHeader { id, generation: Generation::Old, first };
        self.bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
        let file_bytes = self.bytes.len() as u64;
        let failed = |error: std::io::Error| Failure::new("write", &name, &error);
        let file = match disk.create(&unfinished, file_bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(None),
            file => file.map_err(failed)?,
        };
        file.write_at(0, &self.bytes).map_err(failed)?;
        file.sync().map_err(failed)?;
        disk.rename(&unfinished, &name).map_err(failed)?;
        disk.sync_directory().map_err(failed)?;
        let mut segment = Segment::new(id, name, file, (first, file_bytes, file_bytes));
        for (first, count, offset) in self.records {
            segment.note(first, count, offset);
        }
        Ok(Some(segment))
    }

    fn targets<'a>(&mut self, queues: &'a Arc<[QueueId]>) -> Targets<'a> {
        if queues.len() <= LISTED_MAX {
            return Targets::Listed(queues);
        }
        if let Some(number) = self.sets.number(queues) {
            return Targets::Set(number);
        }
        let number = self.next_set;
        self.next_set += 1;
        self.sets.add(number, queues.clone());
        let offset = self.bytes.len();
        record::append(&mut self.bytes, Kind::Targets, 0, (0, 0), |into| {
            put_target_set(into, number, queues);
        });
        record::seal(&mut self.bytes[offset..], self.id);
        Targets::Set(number)
    }
}
