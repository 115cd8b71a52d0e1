//! Giving space back: checkpoints, segments in which nothing is live, and survivors that move.
//!
//! A fresh segment goes only when nothing in it is live *and* a durable checkpoint was begun in a
//! later one: its settlements of messages elsewhere are in that checkpoint. Nothing is given up on
//! the word of a record that is not synced: everything is synced first.

use trivium_core::QueueId;

use super::Failure;
use super::body::CheckpointPart;
use super::commit::Committer;
use super::record::{self, Kind};
use super::segment::{SegmentId, spare_name};
use super::survivors::{Move, Moved};
use super::table::{Segment, Segments};

/// Runs of positions in one part of a checkpoint.
const PART_RUNS_MAX: usize = 16 * 1024;

/// Parts of a checkpoint that are written in one step, in bytes of runs at their longest: appends
/// wait no longer than that takes.
const STEP_RUNS_MAX: usize = 128 * 1024;

/// Preallocated files that are kept: the reserve, and the next segment.
const SPARES_MAX: usize = 2;

/// Segments that are merged at once, and about how many bytes of survivors: they are in memory on
/// their way.
const MERGED_MAX: usize = 8;
const MERGED_BYTES_MAX: u64 = 16 * 1024 * 1024;

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
    /// Segments whose survivors are being copied.
    moving: Vec<SegmentId>,
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
        movable.retain(|segment| !self.moving.contains(&segment.id));
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
        if let Some(run) = runs.next().filter(|_| self.moving.is_empty()) {
            let mut bytes = 0;
            let fits = |segment: &&&Segment| {
                let is_first = bytes == 0;
                bytes += segment.live_bytes().max(1);
                is_first || bytes <= MERGED_BYTES_MAX
            };
            let victims = run.iter().take(MERGED_MAX).take_while(fits);
            return Plan::Move(victims.map(|segment| segment.id).collect());
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
        if !self.reclaim.moving.is_empty()
            && let Some(moved) = self.mover.as_ref().and_then(|mover| mover.take_done())
        {
            self.reclaim.must_look = true;
            return self.end_move(moved?);
        }
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
                if !self.begin_move(victims)? {
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

    /// Has what is live in `victims` copied into one segment of survivors, which will take their
    /// place. Readers find it where it is until then, and the log goes on.
    fn begin_move(&mut self, victims: Vec<SegmentId>) -> Result<bool, Failure> {
        let id = SegmentId { number: self.next_number, epoch: self.epoch };
        self.next_number += 1;
        let sources = self.found(&victims);
        let ranges: Vec<_> = sources.iter().map(|source| (source.first, source.last)).collect();
        let work = Move { id, sources, live: self.live.among(&ranges), last: self.live.last };
        self.reclaim.moving = victims;
        if let Some(mover) = &self.mover {
            mover.begin(work);
            return Ok(true);
        }
        let moved = work.run(&*self.disk)?;
        self.end_move(moved)
    }

    fn found(&self, ids: &[SegmentId]) -> Vec<Segment> {
        let segments = self.segments();
        let all = segments.fresh.iter().chain(&segments.old);
        let mut found: Vec<_> = all.filter(|segment| ids.contains(&segment.id)).cloned().collect();
        found.sort_by_key(|segment| segment.first);
        found
    }

    /// The survivors are where they are to be. False when there was no space for them.
    fn end_move(&mut self, moved: Moved) -> Result<bool, Failure> {
        let victims = std::mem::take(&mut self.reclaim.moving);
        let segment = match moved {
            Moved::NoSpace => return Ok(false),
            Moved::Nothing => None,
            Moved::To(segment) => Some(*segment),
        };
        if let Some(mut segment) = segment {
            // What left since then is not live here either.
            segment.live = self.found(&victims).iter().map(|source| source.live).sum();
            self.shared.segments_mut().add_old(segment);
        }
        self.drop_segments(&victims).map(|()| true)
    }
}
