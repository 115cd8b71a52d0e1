//! Starting: from the files of the last run to the state of the log.
//!
//! Survivors are read first, then the fresh segments in order; every record is applied as it was
//! when it was written. Checkpoints in between say what earlier, missing segments would have.

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringTreemap;
use trivium_core::Message;
use trivium_core::log::{Codecs, Position, Special};

use super::body::{Publish, parts};
use super::commit::SEAL_BYTES;
use super::live::Live;
use super::record::{self, Kind, Record};
use super::segment::{self, FileName, Generation, SegmentHeader};
use super::sizes::{SizesFound, sizes};
use super::table::{Segment, Segments};
use super::{OpenError, Progress, scan};
use crate::disk::{Disk, DiskFile, read_all};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) live: Live,
    pub(crate) segments: Segments,
    pub(crate) spares: Vec<(String, u64)>,
    /// Segments with a lower number are covered by a whole checkpoint.
    pub(crate) covered: u64,
    /// The highest number and epoch in use.
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) is_clean: bool,
    /// Damaged places that were passed over.
    pub(crate) damaged: Vec<(String, u64)>,
    /// Positions lost with them, as far as what is around them tells. Some may have been settled.
    pub(crate) missing: RoaringTreemap,
    /// Messages that have a priority or expire.
    pub(crate) special: Vec<Special>,
    /// How large messages are, and since when they are there.
    pub(crate) sizes: SizesFound,
    codecs: Option<Codecs>,
    accept_loss: bool,
    /// Positions that were read.
    present: RoaringTreemap,
    /// The last position that the fresh segments read so far account for.
    reached: u64,
    /// Where the checkpoint that is being read was begun.
    checkpoint_begun_in: Option<u64>,
}

/// A segment's file on its way in.
struct Source {
    name: String,
    file: Arc<dyn DiskFile>,
    header: SegmentHeader,
    bytes: Vec<u8>,
    is_last: bool,
}

/// Reads the log in `disk`. With `accept_loss` damaged places are passed over. `watch` hears of every
/// file that was read.
pub(crate) fn recover(
    disk: &dyn Disk,
    codecs: Codecs,
    accept_loss: bool,
    watch: &mut dyn FnMut(Progress),
) -> Result<Found, OpenError> {
    let (mut fresh, mut old) = (BTreeMap::new(), BTreeMap::new());
    let mut found = Found { codecs: Some(codecs), accept_loss, ..Found::default() };
    let names =
        disk.list().map_err(|error| OpenError::io("list", "the log's directory", &error))?;
    for name in names {
        match FileName::parse(&name) {
            Some(FileName::Fresh(number)) => drop(fresh.insert(number, name)),
            Some(FileName::Old(number)) => drop(old.insert(number, name)),
            Some(FileName::Spare(number)) => {
                found.number = found.number.max(number);
                let failed = |error| OpenError::io("open", &name, &error);
                let file_bytes = disk.open(&name).and_then(|file| file.bytes()).map_err(failed)?;
                found.spares.push((name, file_bytes));
            }
            Some(FileName::Unfinished) => {
                disk.remove(&name).map_err(|error| OpenError::io("remove", &name, &error))?;
            }
            None => {}
        }
    }
    let mut progress = Progress { files: fresh.len() + old.len(), ..Progress::default() };
    let mut read = |file_bytes| {
        progress.files_read += 1;
        progress.bytes += file_bytes;
        watch(progress);
    };
    for (number, name) in &old {
        read(found.read(disk, name, *number, (Generation::Old, false))?);
    }
    let last = fresh.keys().next_back().copied();
    for (number, name) in &fresh {
        found.live.sets = super::live::TargetSets::default();
        let role = (Generation::Fresh, Some(*number) == last);
        read(found.read(disk, name, *number, role)?);
    }
    found.live.sets = super::live::TargetSets::default();
    // What a checkpoint says is live has been read, unless it was lost now or at an earlier start.
    found.missing |= found.live.keep_only(&found.present);
    found.special.sort_by_key(|special| special.position);
    found.special.dedup_by_key(|special| special.position);
    found.live.count(&mut found.segments);
    Ok(found)
}

impl Found {
    /// Reads one file, and returns how many bytes it has.
    fn read(
        &mut self,
        disk: &dyn Disk,
        name: &str,
        number: u64,
        (generation, is_last): (Generation, bool),
    ) -> Result<u64, OpenError> {
        self.number = self.number.max(number);
        let failed = |error| OpenError::io("read", name, &error);
        let file = disk.open(name).map_err(failed)?;
        let bytes = read_all(&*file).map_err(failed)?;
        let file_bytes = bytes.len() as u64;
        if let Some(format) = segment::other_format(&bytes) {
            return Err(OpenError::Format { file: name.to_owned(), format });
        }
        let header = SegmentHeader::parse(&bytes)
            .filter(|header| header.id.number == number && header.generation == generation);
        let Some(header) = header else {
            self.damage(disk, name, (0, &bytes))?;
            // Nothing in it can be read: the copy is all that is kept.
            let failed = |error| OpenError::io("remove", name, &error);
            disk.remove(name).and_then(|()| disk.sync_directory()).map_err(failed)?;
            return Ok(file_bytes);
        };
        self.epoch = self.epoch.max(header.id.epoch);
        if generation == Generation::Fresh {
            self.reach(header.first, header.first - 1);
        }
        self.live.last = self.live.last.max(header.first - 1);
        self.is_clean = false;
        let place = (header.first, file_bytes, file_bytes);
        let mut segment = Segment::new(header.id, name.to_owned(), file.clone(), place);
        let source = Source { name: name.to_owned(), file, header, bytes, is_last };
        let end = self.records(disk, &source, &mut segment)?;
        segment.end = end as u64;
        if is_last {
            segment.file_bytes = source.finish(end)?;
        }
        match generation {
            Generation::Old => self.segments.add_old(segment),
            Generation::Fresh => self.segments.fresh.push_back(segment),
        }
        Ok(file_bytes)
    }

    /// Applies the records of a segment. Returns where they end.
    fn records(
        &mut self,
        disk: &dyn Disk,
        source: &Source,
        segment: &mut Segment,
    ) -> Result<usize, OpenError> {
        let (bytes, id) = (&source.bytes[..], source.header.id);
        let mut at = segment::SEGMENT_HEADER_BYTES;
        loop {
            let mut end = at;
            let mut is_sealed = false;
            for found in scan::records_from(bytes, id, at) {
                let Ok((offset, record)) = found else { break };
                end = offset + record::padded_bytes(record.body.len());
                is_sealed = record.kind == Kind::Seal;
                if self.apply(source, &record, offset, segment).is_none() {
                    is_sealed = false;
                    self.damage(disk, &source.name, (offset, bytes))?;
                    self.forget(&record);
                    source.fill(offset, end)?;
                }
            }
            let is_torn = source.is_last && !scan::was_durable(bytes, id, end);
            if is_sealed || is_torn {
                // A seal is not counted: the end of a segment is where it is, or will be.
                return Ok(if is_sealed { end - SEAL_BYTES } else { end });
            }
            self.damage(disk, &source.name, (end, bytes))?;
            let Some(next) = scan::next_whole(bytes, id, end) else {
                if !source.is_last {
                    segment.file_bytes = source.finish(end)?;
                }
                return Ok(end);
            };
            source.fill(end, next)?;
            at = next;
        }
    }

    fn apply(
        &mut self,
        source: &Source,
        record: &Record<'_>,
        offset: usize,
        segment: &mut Segment,
    ) -> Option<()> {
        if record.count > 0 {
            let last = record.position.checked_add(u64::from(record.count))?.checked_sub(1)?;
            if source.header.generation == Generation::Fresh {
                self.reach(record.position, last);
            }
            self.present.insert_range(record.position..=last);
            segment.note(record.position, record.count, offset as u64);
        } else if source.header.generation == Generation::Fresh {
            match record.kind {
                // A position of its own, which no message has.
                Kind::Session => self.reach(record.position, record.position),
                // Everything up to here was durable before it.
                Kind::Commit => self.reach(record.position.checked_add(1)?, record.position),
                _ => {}
            }
        }
        self.note_checkpoint(record, segment.id.number);
        self.note_special(record)?;
        self.is_clean = match record.kind {
            Kind::Closed => true,
            Kind::Seal => self.is_clean,
            _ => false,
        };
        self.live.apply(record, &mut Segments::default())?;
        segment.published += std::mem::take(&mut self.live.routed);
        Some(())
    }

    /// The next position that is accounted for, and the last one with it: behind damage, those between
    /// the former and this are missing.
    fn reach(&mut self, position: u64, last: u64) {
        if !self.damaged.is_empty() {
            self.missing.insert_range(self.reached + 1..position.max(self.reached + 1));
        }
        self.reached = self.reached.max(last);
    }

    /// The messages of a record that means nothing are not there.
    fn forget(&mut self, record: &Record<'_>) {
        if record.count > 0 {
            let end = record.position.saturating_add(record.count.into());
            self.present.remove_range(record.position..end);
            self.missing.insert_range(record.position..end);
        }
    }

    fn note_special(&mut self, record: &Record<'_>) -> Option<()> {
        let Some(codecs) = self.codecs else { return Some(()) };
        match record.kind {
            Kind::Publish => {
                let publish = Publish::parse(record)?;
                if publish.messages().count() != publish.count as usize {
                    return None;
                }
                let mut bodies = 0;
                for (position, bytes) in publish.messages() {
                    if self.accept_loss {
                        // What is kept now must be readable later.
                        Message::restore(bytes, codecs)?;
                    }
                    let (priority, expires_at) = Message::peek(bytes, codecs)?;
                    bodies += Message::peek_body_bytes(bytes)?;
                    if priority > 0 || expires_at.is_some() {
                        let position = Position(position.try_into().ok()?);
                        self.special.push(Special { position, priority, expires_at });
                    }
                }
                if publish.count > 0 {
                    let (count, at) = (u64::from(publish.count), publish.published_at);
                    self.sizes.note(sizes(publish.first, count, bodies, at)?);
                }
            }
            Kind::Transaction => {
                let parts = parts(record.body)?;
                let mut end = record.position;
                for part in parts.iter().filter(|part| part.count > 0) {
                    if part.position != end {
                        return None;
                    }
                    end = end.checked_add(part.count.into())?;
                    self.note_special(part)?;
                }
                if end - record.position != u64::from(record.count) {
                    return None;
                }
            }
            _ if record.count > 0 => return None,
            _ => {}
        }
        Some(())
    }

    fn note_checkpoint(&mut self, record: &Record<'_>, number: u64) {
        use super::body::CheckpointPart;
        if record.kind != Kind::Checkpoint {
            return;
        }
        match CheckpointPart::parse(record.body) {
            Some(CheckpointPart::Begin) => self.checkpoint_begun_in = Some(number),
            Some(CheckpointPart::End) => {
                self.covered = self.checkpoint_begun_in.take().unwrap_or(self.covered);
            }
            _ => {}
        }
    }

    /// Keeps a copy of a file that is damaged at `offset` as it was found, and passes over the damage
    /// if that is accepted. A file that is damaged in several places is copied at the first.
    fn damage(
        &mut self,
        disk: &dyn Disk,
        name: &str,
        (offset, bytes): (usize, &[u8]),
    ) -> Result<(), OpenError> {
        let offset = offset as u64;
        let copy = segment::damaged_name(name, offset);
        if self.damaged.last().is_none_or(|(known, _)| known != name) {
            let failed = |error| OpenError::io("keep a copy of the damaged file as", &copy, &error);
            keep_copy(disk, &copy, bytes).map_err(failed)?;
        }
        if !self.accept_loss {
            return Err(OpenError::Damaged { file: name.to_owned(), offset, copy });
        }
        self.damaged.push((name.to_owned(), offset));
        Ok(())
    }
}

/// Keeps `bytes` under a name that does not count, unless an earlier start did.
fn keep_copy(disk: &dyn Disk, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    if disk.open(name).is_ok() {
        return Ok(());
    }
    let unfinished = format!("{name}.new");
    let file = disk.create(&unfinished, bytes.len() as u64)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&unfinished, name)?;
    disk.sync_directory()
}

impl Source {
    /// Cuts the last segment behind its last whole record and seals it: this run begins another.
    /// Returns the bytes that the file has then.
    fn finish(&self, end: usize) -> Result<u64, OpenError> {
        let failed = |error: std::io::Error| OpenError::io("write", &self.name, &error);
        let mut seal = Vec::new();
        record::append(&mut seal, Kind::Seal, 0, (0, 0), |_| {});
        record::seal(&mut seal, self.header.id);
        self.file.truncate(end as u64).map_err(failed)?;
        self.file.sync().map_err(failed)?;
        self.file.write_at(end as u64, &seal).map_err(failed)?;
        self.file.sync().map_err(failed)?;
        Ok((end + seal.len()) as u64)
    }

    /// Puts a record of nothing where a damaged one was, so that the loss is accepted once.
    fn fill(&self, from: usize, next: usize) -> Result<(), OpenError> {
        let failed = |error: std::io::Error| OpenError::io("write", &self.name, &error);
        let mut filler = Vec::new();
        record::append(&mut filler, Kind::Filler, 0, (0, 0), |into| {
            into.resize(into.len() + next - from - record::HEADER_BYTES, 0);
        });
        record::seal(&mut filler, self.header.id);
        self.file.write_at(from as u64, &filler).map_err(failed)?;
        self.file.sync().map_err(failed)
    }
}
