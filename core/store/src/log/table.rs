//! Which segments there are, where positions are in them, and how much in them is live.

use std::collections::VecDeque;
use std::sync::Arc;

use super::segment::SegmentId;
use crate::disk::DiskFile;

/// One landmark for so many bytes of a segment: a search reads no more than this and a record. Of
/// queues that take turns in the log every message is searched for.
const LANDMARK_BYTES: u64 = 4 * 1024;

/// One file of the log.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// The first position that may be in it.
    pub(crate) first: u64,
    /// The last position in it, or below `first` when it has none.
    pub(crate) last: u64,
    /// Where its last record ends.
    pub(crate) end: u64,
    /// Bytes that the file takes.
    pub(crate) file_bytes: u64,
    /// Positions of some records with messages, and where those are.
    landmarks: Vec<(u64, u64)>,
    /// Messages in it that queues hold, counted once a queue.
    pub(crate) live: u64,
    /// Messages written to it, counted once a queue.
    pub(crate) published: u64,
}

impl Segment {
    pub(crate) fn new(
        id: SegmentId,
        name: String,
        file: Arc<dyn DiskFile>,
        (first, end, file_bytes): (u64, u64, u64),
    ) -> Self {
        Self {
            id,
            name,
            file,
            first,
            last: first - 1,
            end,
            file_bytes,
            landmarks: Vec::new(),
            live: 0,
            published: 0,
        }
    }

    /// Notes a record with messages.
    pub(crate) fn note(&mut self, first: u64, count: u32, offset: u64) {
        self.last = first + u64::from(count) - 1;
        let landmark = self.landmarks.last();
        if landmark.is_none_or(|(_, known)| known + LANDMARK_BYTES <= offset) {
            self.landmarks.push((first, offset));
        }
    }

    /// Where to begin to search for a position.
    pub(crate) fn landmark(&self, position: u64) -> Option<u64> {
        let behind = self.landmarks.partition_point(|(first, _)| *first <= position);
        Some(self.landmarks.get(behind.checked_sub(1)?)?.1)
    }

    /// About how many bytes of it are live.
    pub(crate) fn live_bytes(&self) -> u64 {
        let share =
            u128::from(self.end) * u128::from(self.live) / u128::from(self.published.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Less than a third of it is live: what is may move.
    pub(crate) const fn is_sparse(&self) -> bool {
        self.live * 3 < self.published
    }
}

/// Where to search for a position.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) id: SegmentId,
    pub(crate) name: String,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Where its last record ends.
    pub(crate) end: u64,
    /// The last position in it.
    pub(crate) last: u64,
    /// A record that begins here has it, or one behind. `None` when nothing here can.
    pub(crate) offset: Option<u64>,
}

/// The segments of a log: the fresh ones in the order of the log, and those of survivors, whose
/// stretches of positions are disjoint. What is in both counts for the survivors.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// The last one is the one that is written.
    pub(crate) fresh: VecDeque<Segment>,
    /// Ascending by position.
    pub(crate) old: Vec<Segment>,
}

impl Segments {
    fn old_at(&self, position: u64) -> Option<usize> {
        let behind = self.old.partition_point(|segment| segment.first <= position);
        behind.checked_sub(1).filter(|at| self.old[*at].last >= position)
    }

    fn fresh_at(&self, position: u64) -> Option<usize> {
        self.fresh.partition_point(|segment| segment.first <= position).checked_sub(1)
    }

    /// The segment that has `position`, if it is live.
    pub(crate) fn of(&self, position: u64) -> Option<&Segment> {
        match self.old_at(position) {
            Some(at) => Some(&self.old[at]),
            None => self.fresh.get(self.fresh_at(position)?),
        }
    }

    /// Where to search for `position`, if it is live.
    pub(crate) fn place(&self, position: u64) -> Option<Place> {
        self.of(position).map(|segment| Place {
            id: segment.id,
            name: segment.name.clone(),
            file: segment.file.clone(),
            end: segment.end,
            last: segment.last,
            offset: segment.landmark(position),
        })
    }

    /// As [`Segments::of`], and the last position up to which the answer is the same.
    pub(crate) fn of_mut(&mut self, position: u64) -> (Option<&mut Segment>, u64) {
        if let Some(at) = self.old_at(position) {
            let segment = &mut self.old[at];
            let last = segment.last;
            return (Some(segment), last);
        }
        let next_old = self.old.iter().map(|segment| segment.first).find(|first| *first > position);
        let fresh = self.fresh_at(position);
        let next_fresh = self.fresh.get(fresh.map_or(0, |at| at + 1)).map(|segment| segment.first);
        let next = next_old.unwrap_or(u64::MAX).min(next_fresh.unwrap_or(u64::MAX));
        (fresh.and_then(|at| self.fresh.get_mut(at)), next - 1)
    }

    /// Adds a segment of survivors.
    pub(crate) fn add_old(&mut self, segment: Segment) {
        let at = self.old.partition_point(|known| known.first < segment.first);
        self.old.insert(at, segment);
    }

    /// Forgets a segment.
    pub(crate) fn remove(&mut self, id: SegmentId) {
        self.fresh.retain(|segment| segment.id != id);
        self.old.retain(|segment| segment.id != id);
    }
}
