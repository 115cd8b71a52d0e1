//! The committer: takes the open batch, writes it, syncs it, and says so. One thread runs
//! [`Committer::step`] again and again; crash tests call it themselves.
//!
//! A segment and the directory are synced before the next segment gets its first byte, so one sync
//! of the segment that is written covers all that was written before it. A write or a sync that
//! failed is never tried again: what the disk holds is unknown then, and the log has failed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::body;
use super::live::Live;
use super::open::{COMMIT_BYTES, Taken};
use super::reclaim::Reclaim;
use super::record::{self, Kind};
use super::segment::{
    Generation, SEGMENT_HEADER_BYTES, SegmentHeader, SegmentId, begin, fresh_name, spare_name,
};
use super::shared::Shared;
use super::survivors::Mover;
use super::table::{Segment, Segments};
use super::{Failure, Options, SyncMode};
use crate::disk::{Disk, DiskFile};

/// Bytes kept free at the end of a segment for the record that ends it.
pub(crate) const SEAL_BYTES: usize = record::padded_bytes(0);

/// A batch's buffer is kept for the next one up to this size.
const BUFFER_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// How often the first segment of a run is halved to fit onto a full disk.
const FIRST_HALVINGS_MAX: u32 = 8;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There was nothing to do.
    Idle,
    /// Something was written or reclaimed: there may be more.
    Worked,
    /// There is no space for what waits. Try again in a while.
    WaitsForSpace,
}

/// A file under a name that does not count.
type Spare = (String, Arc<dyn DiskFile>);

/// The segment that is written.
#[derive(Debug)]
struct Active {
    id: SegmentId,
    file: Arc<dyn DiskFile>,
    end: u64,
    capacity: u64,
    is_sealed: bool,
}

/// Everything that one thread does to the log.
#[derive(Debug)]
pub(crate) struct Committer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) shared: Arc<Shared>,
    pub(crate) live: Live,
    pub(crate) reclaim: Reclaim,
    /// Moves survivors beside the committer; without it, it does so itself.
    pub(crate) mover: Option<Arc<Mover>>,
    active: Option<Active>,
    /// Preallocated files; one is the reserve of a full disk.
    pub(crate) spares: Vec<String>,
    pub(crate) next_number: u64,
    pub(crate) epoch: u64,
    /// Up to where the log is durable: a segment's number and an offset in it.
    durable_end: (u64, u64),
    /// The last position that is written.
    written: u64,
    is_unsynced: bool,
    /// What did not fit when the disk ran full.
    held: Taken,
    buffer: Vec<u8>,
    has_failed: bool,
}

impl Committer {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        shared: Arc<Shared>,
        (live, reclaim): (Live, Reclaim),
        (next_number, epoch): (u64, u64),
    ) -> Self {
        Self {
            disk,
            options,
            shared,
            written: live.last,
            live,
            reclaim,
            mover: None,
            active: None,
            spares: Vec::new(),
            next_number,
            epoch,
            durable_end: (0, 0),
            is_unsynced: false,
            held: Taken::default(),
            buffer: Vec::new(),
            has_failed: false,
        }
    }

    /// Begins the first segment of this run.
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        // On a full disk a smaller one will do: what the last run left of its own was given back.
        let wanted = self.options.segment_bytes;
        for halvings in 0..FIRST_HALVINGS_MAX {
            self.options.segment_bytes = wanted >> halvings;
            let is_open = self.open_next(0);
            self.options.segment_bytes = wanted;
            if is_open? {
                return self.sync();
            }
        }
        let error = io::ErrorKind::StorageFull.into();
        Err(Failure::new("take space for a segment", "the log", &error))
    }

    /// Writes what waits, syncs it if somebody waits for that or `flush` asks, and gives back what
    /// no longer counts.
    ///
    /// # Errors
    ///
    /// When the disk failed, now or before.
    pub(crate) fn step(&mut self, flush: bool) -> Result<Step, Failure> {
        if self.has_failed {
            return Err(Failure::before());
        }
        let outcome = self.work(flush);
        if outcome.is_err() {
            self.has_failed = true;
        }
        outcome
    }

    fn work(&mut self, flush: bool) -> Result<Step, Failure> {
        self.keep_reserve()?;
        let is_held = !self.held.bytes.is_empty();
        let taken = if is_held { std::mem::take(&mut self.held) } else { self.take() };
        let has_records = is_held || taken.bytes.len() > COMMIT_BYTES;
        let wants_sync = taken.wants_sync;
        if !has_records {
            self.buffer = taken.bytes;
        } else if !self.write(taken)? {
            self.sync()?;
            let reclaimed = self.reclaim(true)?;
            return Ok(if reclaimed { Step::Worked } else { Step::WaitsForSpace });
        }
        let checkpointed = self.write_checkpoint()?;
        match self.options.sync_mode {
            SyncMode::Group if wants_sync || flush => self.sync()?,
            SyncMode::Os if flush => self.sync()?,
            SyncMode::Os => self.shared.advance(self.written, self.written),
            SyncMode::Group => self.shared.advance_written(self.written),
        }
        let reclaimed = self.reclaim(flush)?;
        let worked = has_records || checkpointed || reclaimed;
        Ok(if worked { Step::Worked } else { Step::Idle })
    }

    fn take(&mut self) -> Taken {
        let spare = std::mem::take(&mut self.buffer);
        let (taken, has_caught_up) = {
            let mut open = self.shared.open();
            let taken = open.take(spare);
            (taken, self.shared.note_length(&open))
        };
        if has_caught_up {
            self.shared.tell_caught_up();
        }
        taken
    }

    /// Writes records that begin with room for a commit record. False when the disk is full; the
    /// rest is held.
    fn write(&mut self, mut taken: Taken) -> Result<bool, Failure> {
        let (segment, offset) = self.durable_end;
        let bytes = &mut taken.bytes;
        if record::parse_unchecked(bytes).is_some_and(|(first, _)| first.kind == Kind::Commit) {
            bytes[record::HEADER_BYTES..record::HEADER_BYTES + 8]
                .copy_from_slice(&segment.to_le_bytes());
            bytes[record::HEADER_BYTES + 8..COMMIT_BYTES].copy_from_slice(&offset.to_le_bytes());
        }
        let (mut run, mut at) = (0, 0);
        while at < taken.bytes.len() {
            let size = record::taken_bytes(&taken.bytes[at..]);
            let fits = self.active.as_ref().is_some_and(|active| {
                let end = active.end + (at - run + size + SEAL_BYTES) as u64;
                !active.is_sealed && end <= active.capacity
            });
            if !fits {
                self.write_run(&taken.bytes[run..at])?;
                run = at;
                if !self.roll(size)? {
                    taken.bytes.drain(..at);
                    self.held = taken;
                    return Ok(false);
                }
            }
            self.place(&mut taken.bytes[at..at + size], (at - run) as u64)?;
            at += size;
        }
        self.write_run(&taken.bytes[run..])?;
        self.written = self.live.last;
        if taken.bytes.capacity() <= BUFFER_KEPT_BYTES {
            self.buffer = taken.bytes;
        }
        Ok(true)
    }

    /// Gives one record its checksum and its effect; it will be written `ahead` bytes behind the
    /// end.
    fn place(&mut self, bytes: &mut [u8], ahead: u64) -> Result<(), Failure> {
        let Some(active) = &self.active else { return Ok(()) };
        record::seal(bytes, active.id);
        let (record, _) =
            record::parse_unchecked(bytes).ok_or_else(|| Failure::ours("an unreadable record"))?;
        let mut segments = self.shared.segments_mut();
        if record.count > 0
            && let Some(segment) = segments.fresh.back_mut()
        {
            segment.note(record.position, record.count, active.end + ahead);
        }
        // A checkpoint says what is there already.
        if record.kind != Kind::Checkpoint {
            self.live
                .apply(&record, &mut segments)
                .ok_or_else(|| Failure::ours("a record of no meaning"))?;
        }
        Ok(())
    }

    fn write_run(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(active) = self.active.as_mut().filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        let name = fresh_name(active.id.number);
        let written = active.file.write_at(active.end, bytes);
        written.map_err(|error| Failure::new("write", &name, &error))?;
        active.end += bytes.len() as u64;
        self.is_unsynced = true;
        if let Some(segment) = self.shared.segments_mut().fresh.back_mut() {
            segment.end = active.end;
        }
        Ok(())
    }

    /// Makes everything written durable, and says so.
    pub(crate) fn sync(&mut self) -> Result<(), Failure> {
        if let Some(active) = self.active.as_ref().filter(|_| self.is_unsynced) {
            let name = fresh_name(active.id.number);
            active.file.sync().map_err(|error| Failure::new("sync", &name, &error))?;
            self.is_unsynced = false;
            self.durable_end = (active.id.number, active.end);
        }
        self.reclaim.synced();
        self.shared.advance(self.written, self.written);
        Ok(())
    }

    pub(crate) fn is_synced(&self) -> bool {
        !self.is_unsynced
    }

    /// Ends the segment that is written and begins the next, with room for a record of `bytes`.
    /// False when there is no space for it.
    fn roll(&mut self, bytes: usize) -> Result<bool, Failure> {
        if let Some(active) = self.active.as_mut().filter(|active| !active.is_sealed) {
            let mut seal = Vec::new();
            record::append(&mut seal, Kind::Seal, 0, (self.live.last, 0), |_| {});
            record::seal(&mut seal, active.id);
            active.is_sealed = true;
            self.write_run(&seal)?;
            self.written = self.live.last;
            self.sync()?;
            self.reclaim.look();
        }
        let is_open = self.open_next(bytes)?;
        self.keep_reserve()?;
        Ok(is_open)
    }

    /// Begins a segment. False when there is no space for it.
    fn open_next(&mut self, record_bytes: usize) -> Result<bool, Failure> {
        let id = SegmentId { number: self.next_number, epoch: self.epoch };
        let mut head = Vec::new();
        let (segment, offset) = self.durable_end;
        record::append(&mut head, Kind::Commit, 0, (self.live.last, 0), |into| {
            body::put_commit(into, segment, offset);
        });
        for (number, queues) in self.live.sets.iter() {
            record::append(&mut head, Kind::Targets, 0, (self.live.last, 0), |into| {
                body::put_target_set(into, number, queues);
            });
        }
        let needed = (SEGMENT_HEADER_BYTES + head.len() + record_bytes + SEAL_BYTES) as u64;
        let capacity = self.options.segment_bytes.max(needed);
        let Some((spare, file)) = self.take_spare(capacity)? else { return Ok(false) };
        self.next_number += 1;
        let first = self.live.last + 1;
        let header = SegmentHeader { id, generation: Generation::Fresh, first };
        let name = fresh_name(id.number);
        let failed = |error: io::Error| Failure::new("begin", &name, &error);
        begin(&*self.disk, &file, &spare, header).map_err(failed)?;
        let mut at = 0;
        while at < head.len() {
            let size = record::taken_bytes(&head[at..]);
            record::seal(&mut head[at..at + size], id);
            at += size;
        }
        let end = SEGMENT_HEADER_BYTES as u64;
        let segment = Segment::new(id, name.clone(), file.clone(), (first, end, capacity));
        self.shared.segments_mut().fresh.push_back(segment);
        self.active = Some(Active { id, file, end, capacity, is_sealed: false });
        self.write_run(&head)?;
        Ok(true)
    }

    /// A preallocated file of at least `bytes`, under a name that does not count.
    fn take_spare(&mut self, bytes: u64) -> Result<Option<Spare>, Failure> {
        if bytes > self.options.segment_bytes {
            return self.allocate(bytes);
        }
        if let Some(name) = self.spares.pop() {
            let file = self.disk.open(&name);
            let file = file.map_err(|error| Failure::new("open", &name, &error))?;
            return Ok(Some((name, file)));
        }
        self.allocate(bytes)
    }

    fn allocate(&mut self, bytes: u64) -> Result<Option<Spare>, Failure> {
        let name = spare_name(self.next_number);
        self.next_number += 1;
        match self.disk.create(&name, bytes) {
            Ok(file) => Ok(Some((name, file))),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(None),
            Err(error) => Err(Failure::new("create", &name, &error)),
        }
    }

    /// Keeps one spare, so that a full disk can still be drained. Without it nothing more is taken
    /// in.
    fn keep_reserve(&mut self) -> Result<(), Failure> {
        if self.spares.is_empty()
            && let Some((name, _)) = self.allocate(self.options.segment_bytes)?
        {
            self.spares.push(name);
        }
        let is_full = self.spares.is_empty();
        if self.shared.is_full.swap(is_full, Ordering::AcqRel) != is_full
            && let Some(events) = self.shared.listener()
        {
            events.full(is_full);
        }
        Ok(())
    }

    /// Writes records of the log's own.
    pub(crate) fn write_own(
        &mut self,
        records: impl FnOnce(&mut Vec<u8>, &Live),
    ) -> Result<bool, Failure> {
        let mut bytes = Vec::new();
        super::open::begin(&mut bytes, self.live.last);
        records(&mut bytes, &self.live);
        self.write(Taken { bytes, wants_sync: false })
    }

    /// Whether records wait for space.
    pub(crate) const fn holds_records(&self) -> bool {
        !self.held.bytes.is_empty()
    }

    /// The number of the segment that is written.
    pub(crate) fn active_number(&self) -> u64 {
        self.active.as_ref().map_or(0, |active| active.id.number)
    }

    /// All segments.
    pub(crate) fn segments(&self) -> std::sync::RwLockReadGuard<'_, Segments> {
        self.shared.segments()
    }
}
