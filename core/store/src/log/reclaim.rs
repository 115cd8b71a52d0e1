//! Giving space back: checkpoints, segments in which nothing is live, and survivors that move.
//!
//! A fresh segment goes only when nothing in it is live *and* a durable checkpoint was begun in a
//! later one: its settlements of messages elsewhere are in that checkpoint. Nothing is given up on
//! the word of a record that is not synced: everything is synced first.

use std::sync::Arc;

use trivium_core::QueueId;

use super::body::{CheckpointPart, Publish, Targets, parts, put_target_set, target_set};
use super::commit::{Committer, SEAL_BYTES};
use super::live::TargetSets;
use super::record::{self, FLAG_TIME, Kind, Record};
use super::segment::{
    Generation, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentId, old_name, spare_name,
};
use super::table::{Segment, Segments};
use super::{Failure, scan};
use crate::disk::read_all;
use crate::fields::put_number;

/// Runs of positions in one part of a checkpoint.
const PART_RUNS_MAX: usize = 16 * 1024;

/// Parts of a checkpoint that are written in one step, in bytes of runs at their longest: appends
/// wait no longer than that takes.
const STEP_RUNS_MAX: usize = 128 * 1024;

/// Preallocated files that are kept: the reserve, and the next segment.
const SPARES_MAX: usize = 2;

/// Segments that are merged at once: their survivors fit into one.
const MERGED_MAX: usize = 8;

/// Progress of reclaiming.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Segments with a lower number are covered by a durable checkpoint.
    covered: u64,
    under_way: Option<UnderWay>,
    /// A checkpoint is written and not synced; it was begun in this segment.
    finished: Option<u64>,
    /// Bytes that the last checkpoint took.
    last_bytes: u64,
    /// Something may have changed.
    must_look: bool,
}

#[derive(Debug)]
struct UnderWay {
    begun_in: u64,
    queues: Vec<QueueId>,
    /// From where on the last queue is still to be written.
    low: u64,
    bytes: u64,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Checkpoint,
    Drop(Vec<SegmentId>),
    Move(Vec<SegmentId>),
}

impl Reclaim {
    pub(crate) fn new(covered: u64) -> Self {
        Self { covered, must_look: true, ..Self::default() }
    }

    /// Everything written is durable.
    pub(crate) fn synced(&mut self) {
        if let Some(begun_in) = self.finished.take() {
            self.covered = self.covered.max(begun_in);
            self.must_look = true;
        }
    }

    /// Something may be there to reclaim.
    pub(crate) fn look(&mut self) {
        self.must_look = true;
    }

    fn plan(&self, segments: &Segments, queues: usize, is_full: bool) -> Plan {
        let sealed = segments.fresh.iter().rev().skip(1).rev();
        let (covered, uncovered): (Vec<_>, Vec<_>) =
            sealed.partition(|segment| segment.id.number < self.covered);
        let mut movable: Vec<&Segment> = covered.into_iter().chain(&segments.old).collect();
        let dead = movable.iter().filter(|segment| segment.live == 0);
        let dead: Vec<_> = dead.map(|segment| segment.id).collect();
        if !dead.is_empty() {
            return Plan::Drop(dead);
        }
        movable.sort_by_key(|segment| segment.first);
        let small = |segment: &Segment| {
            segments.old.iter().any(|old| old.id == segment.id)
                && segment.end < segments.fresh.back().map_or(0, |active| active.file_bytes / 8)
        };
        let runs =
            movable.chunk_by(|a, b| (a.is_sparse() || small(a)) && (b.is_sparse() || small(b)));
        let mut runs = runs.filter(|run| run.iter().any(|segment| segment.is_sparse()));
        if let Some(run) = runs.next() {
            let victims = run.iter().take(MERGED_MAX).map(|segment| segment.id).collect();
            return Plan::Move(victims);
        }
        // What a checkpoint would take at worst: two bytes a message, and something a queue. What the
        // last one took is dead weight itself: less than twice that is not worth the next.
        let live: u64 =
            segments.fresh.iter().chain(&segments.old).map(|segment| segment.live).sum();
        let cost = 32 * queues as u64 + 2 * live + 2 * self.last_bytes;
        let gain: u64 = uncovered
            .iter()
            .filter(|segment| segment.is_sparse() || segment.live == 0)
            .map(|segment| segment.file_bytes)
            .sum();
        let is_idle = self.under_way.is_none() && self.finished.is_none();
        if is_idle && gain > if is_full { self.last_bytes } else { cost } {
            return Plan::Checkpoint;
        }
        Plan::Nothing
    }
}

impl Committer {
    /// Does one thing that gives space back, if there is one. `look` looks even if nothing seems to
    /// have changed.
    pub(crate) fn reclaim(&mut self, look: bool) -> Result<bool, Failure> {
        if !look && !std::mem::take(&mut self.reclaim.must_look) {
            return Ok(false);
        }
        let is_full = self.shared.is_full.load(std::sync::atomic::Ordering::Acquire);
        let queues = self.live.queue_ids().len();
        let plan = self.reclaim.plan(&self.segments(), queues, is_full);
        // What is held comes first in the log.
        if plan == Plan::Nothing || (plan == Plan::Checkpoint && self.holds_records()) {
            return Ok(false);
        }
        if !self.is_synced() {
            self.sync()?;
        }
        match plan {
            Plan::Nothing => {}
            Plan::Checkpoint => self.begin_checkpoint()?,
            Plan::Drop(dead) => self.drop_segments(&dead)?,
            Plan::Move(victims) => {
                if !self.move_survivors(&victims)? {
                    return Ok(false);
                }
            }
        }
        self.reclaim.must_look = true;
        Ok(true)
    }

    fn begin_checkpoint(&mut self) -> Result<(), Failure> {
        self.write_own(|bytes, live| {
            record::append(bytes, Kind::Checkpoint, 0, (live.last, 0), |into| {
                CheckpointPart::Begin.put(into);
            });
        })?;
        // A record that went to the next segment is behind this one all the same.
        let (begun_in, queues) = (self.active_number(), self.live.queue_ids());
        self.reclaim.under_way = Some(UnderWay { begun_in, queues, low: 0, bytes: 0 });
        Ok(())
    }

    /// Writes some more of a checkpoint that is under way.
    pub(crate) fn write_checkpoint(&mut self) -> Result<bool, Failure> {
        if self.holds_records() {
            return Ok(false);
        }
        let Some(mut under_way) = self.reclaim.under_way.take() else { return Ok(false) };
        let mut is_done = false;
        self.write_own(|bytes, live| {
            let mut put = |part: &CheckpointPart| {
                let before = bytes.len();
                record::append(bytes, Kind::Checkpoint, 0, (live.last, 0), |into| part.put(into));
                under_way.bytes += (bytes.len() - before) as u64;
            };
            let mut left = STEP_RUNS_MAX;
            while left > 0 {
                let Some(queue) = under_way.queues.last().copied() else {
                    put(&CheckpointPart::End);
                    is_done = true;
                    return;
                };
                let part = live.part(queue, under_way.low, PART_RUNS_MAX);
                match &part {
                    Some(part @ CheckpointPart::Queue { live: runs, high, .. }) => {
                        put(part);
                        let is_first = under_way.low == 0;
                        if let Some(more) = live.session_part(queue).filter(|_| is_first) {
                            put(&more);
                        }
                        left = left.saturating_sub(runs.len() + 1);
                        under_way.low = high + 1;
                    }
                    _ => under_way.low = live.last + 1,
                }
                if under_way.low > live.last {
                    under_way.queues.pop();
                    under_way.low = 0;
                }
            }
        })?;
        if is_done {
            self.reclaim.finished = Some(under_way.begun_in);
            self.reclaim.last_bytes = under_way.bytes;
            self.reclaim.must_look = true;
            self.sync()?;
        } else {
            self.reclaim.under_way = Some(under_way);
        }
        Ok(true)
    }

    fn drop_segments(&mut self, dead: &[SegmentId]) -> Result<(), Failure> {
        let mut dropped = Vec::new();
        {
            let mut segments = self.shared.segments_mut();
            for id in dead {
                dropped.extend(
                    segments.fresh.iter().chain(&segments.old).find(|s| s.id == *id).cloned(),
                );
                segments.remove(*id);
            }
        }
        for segment in dropped {
            self.give_back(&segment)?;
        }
        self.disk
            .sync_directory()
            .map_err(|error| Failure::new("sync", "the log's directory", &error))
    }

    /// Keeps the file of a segment as a spare, or removes it.
    fn give_back(&mut self, segment: &Segment) -> Result<(), Failure> {
        let failed = |error| Failure::new("remove", &segment.name, &error);
        let is_whole = segment.file_bytes == self.options.segment_bytes
            && segment.file.bytes().map_err(failed)? == segment.file_bytes;
        if !is_whole || self.spares.len() >= SPARES_MAX {
            return self.disk.remove(&segment.name).map_err(failed);
        }
        let name = spare_name(self.next_number);
        self.next_number += 1;
        self.disk.rename(&segment.name, &name).map_err(failed)?;
        self.spares.push(name);
        Ok(())
    }

    /// Copies what is live in `victims` into one segment of survivors, which takes their place.
    /// False when there is no space for it.
    fn move_survivors(&mut self, victims: &[SegmentId]) -> Result<bool, Failure> {
        let sources: Vec<Segment> = {
            let segments = self.segments();
            let all = segments.fresh.iter().chain(&segments.old);
            let mut found: Vec<_> =
                all.filter(|segment| victims.contains(&segment.id)).cloned().collect();
            found.sort_by_key(|segment| segment.first);
            found
        };
        let id = SegmentId { number: self.next_number, epoch: self.epoch };
        self.next_number += 1;
        let mut survivors = Survivors::new(id);
        for source in &sources {
            let failed = |error| Failure::new("read", &source.name, &error);
            let bytes = read_all(&*source.file).map_err(failed)?;
            let damaged = |offset| Failure::damaged(&source.name, offset);
            survivors
                .take(source, &bytes, |queues, at| self.live.is_live(queues, at))
                .map_err(damaged)?;
        }
        let Some(first) = survivors.first() else {
            return self.drop_segments(victims).map(|()| true);
        };
        let Some(mut segment) = self.write_survivors(survivors, first)? else { return Ok(false) };
        {
            let mut segments = self.shared.segments_mut();
            segment.live = sources.iter().map(|source| source.live).sum();
            segment.published = segment.live;
            segments.add_old(segment);
        }
        self.drop_segments(victims).map(|()| true)
    }

    /// `None` when there is no space: the victims stay.
    fn write_survivors(
        &self,
        mut survivors: Survivors,
        first: u64,
    ) -> Result<Option<Segment>, Failure> {
        let id = survivors.id;
        let name = old_name(id.number);
        let unfinished = format!("{name}.new");
        record::append(&mut survivors.bytes, Kind::Seal, 0, (self.live.last, 0), |_| {});
        let seal_at = survivors.bytes.len() - SEAL_BYTES;
        record::seal(&mut survivors.bytes[seal_at..], id);
        let header = SegmentHeader { id, generation: Generation::Old, first };
        survivors.bytes[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.encode());
        let file_bytes = survivors.bytes.len() as u64;
        let failed = |error: std::io::Error| Failure::new("write", &name, &error);
        let file = match self.disk.create(&unfinished, file_bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(None),
            file => file.map_err(failed)?,
        };
        file.write_at(0, &survivors.bytes).map_err(failed)?;
        file.sync().map_err(failed)?;
        self.disk.rename(&unfinished, &name).map_err(failed)?;
        self.disk.sync_directory().map_err(failed)?;
        let mut segment = Segment::new(id, name, file, (first, file_bytes, file_bytes));
        for (first, count, offset) in survivors.records {
            segment.note(first, count, offset);
        }
        Ok(Some(segment))
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
    fn new(id: SegmentId) -> Self {
        let bytes = vec![0; SEGMENT_HEADER_BYTES];
        Self { id, bytes, sets: TargetSets::default(), next_set: 1, records: Vec::new() }
    }

    fn first(&self) -> Option<u64> {
        self.records.first().map(|(first, ..)| *first)
    }

    /// Takes what is live in a segment. The offset of what cannot be read is the error.
    fn take(
        &mut self,
        source: &Segment,
        bytes: &[u8],
        is_live: impl Fn(&[QueueId], u64) -> bool,
    ) -> Result<(), u64> {
        let mut sets = TargetSets::default();
        let end = usize::try_from(source.end).map_err(|_| source.end)?;
        for found in scan::records(bytes.get(..end).ok_or(source.end)?, source.id) {
            let (offset, record) = found?;
            let readable = match record.kind {
                Kind::Targets => target_set(record.body).map(|(number, queues)| {
                    sets.add(number, queues.into());
                }),
                Kind::Publish => self.publish(&record, &sets, &is_live),
                Kind::Transaction => parts(record.body).and_then(|parts| {
                    let publishes = parts.iter().filter(|part| part.kind == Kind::Publish);
                    publishes.map(|part| self.publish(part, &sets, &is_live)).collect()
                }),
                _ => Some(()),
            };
            readable.ok_or(offset as u64)?;
        }
        Ok(())
    }

    fn publish(
        &mut self,
        record: &Record<'_>,
        sets: &TargetSets,
        is_live: &impl Fn(&[QueueId], u64) -> bool,
    ) -> Option<()> {
        let publish = Publish::parse(record)?;
        let queues = sets.resolve(publish.targets.clone())?;
        let messages = publish.messages().filter(|(position, _)| is_live(&queues, *position));
        let messages: Vec<_> = messages.collect();
        for run in messages.chunk_by(|a, b| a.0 + 1 == b.0) {
            let targets = self.targets(&queues);
            let count = u32::try_from(run.len()).ok()?;
            let flags = targets.flags() | if publish.published_at > 0 { FLAG_TIME } else { 0 };
            let offset = self.bytes.len();
            let at = (run[0].0, count);
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

    fn targets<'a>(&mut self, queues: &'a Arc<[QueueId]>) -> Targets<'a> {
        if queues.len() <= super::open::LISTED_MAX {
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
