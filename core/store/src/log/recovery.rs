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
use super::segment::{FileName, Generation, SegmentHeader};
use super::sizes::{SizesFound, sizes};
use super::table::{Segment, Segments};
use super::{OpenError, scan};
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
    /// Damaged places that were passed over, and messages lost with them, once a queue.
    pub(crate) damaged: Vec<(String, u64)>,
    pub(crate) lost: u64,
    /// Messages that have a priority or expire.
    pub(crate) special: Vec<Special>,
    /// How large messages are, and since when they are there.
    pub(crate) sizes: SizesFound,
    codecs: Option<Codecs>,
    /// Positions that were read.
    present: RoaringTreemap,
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

/// Reads the log in `disk`. With `accept_loss` damaged places are passed over.
pub(crate) fn recover(
    disk: &dyn Disk,
    codecs: Codecs,
    accept_loss: bool,
) -> Result<Found, OpenError> {
    let (mut fresh, mut old) = (BTreeMap::new(), BTreeMap::new());
    let mut found = Found { codecs: Some(codecs), ..Found::default() };
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
    for (number, name) in &old {
        found.read(disk, name, *number, (Generation::Old, false), accept_loss)?;
    }
    let last = fresh.keys().next_back().copied();
    for (number, name) in &fresh {
        found.live.sets = super::live::TargetSets::default();
        let role = (Generation::Fresh, Some(*number) == last);
        found.read(disk, name, *number, role, accept_loss)?;
    }
    found.live.sets = super::live::TargetSets::default();
    if !found.damaged.is_empty() {
        found.lost = found.live.keep_only(&found.present);
    }
    found.special.sort_by_key(|special| special.position);
    found.special.dedup_by_key(|special| special.position);
    found.live.count(&mut found.segments);
    Ok(found)
}

impl Found {
    fn read(
        &mut self,
        disk: &dyn Disk,
        name: &str,
        number: u64,
        (generation, is_last): (Generation, bool),
        accept_loss: bool,
    ) -> Result<(), OpenError> {
        self.number = self.number.max(number);
        let failed = |error| OpenError::io("read", name, &error);
        let file = disk.open(name).map_err(failed)?;
        let bytes = read_all(&*file).map_err(failed)?;
        let header = SegmentHeader::parse(&bytes)
            .filter(|header| header.id.number == number && header.generation == generation);
        let Some(header) = header else {
            return self.damage(name, 0, accept_loss);
        };
        self.epoch = self.epoch.max(header.id.epoch);
        self.live.last = self.live.last.max(header.first - 1);
        self.is_clean = false;
        let file_bytes = bytes.len() as u64;
        let place = (header.first, file_bytes, file_bytes);
        let mut segment = Segment::new(header.id, name.to_owned(), file.clone(), place);
        let source = Source { name: name.to_owned(), file, header, bytes, is_last };
        let end = self.records(&source, &mut segment, accept_loss)?;
        segment.end = end as u64;
        if is_last {
            segment.file_bytes = source.finish(end)?;
        }
        match generation {
            Generation::Old => self.segments.add_old(segment),
            Generation::Fresh => self.segments.fresh.push_back(segment),
        }
        Ok(())
    }

    /// Applies the records of a segment. Returns where they end.
    fn records(
        &mut self,
        source: &Source,
        segment: &mut Segment,
        accept_loss: bool,
    ) -> Result<usize, OpenError> {
        let (bytes, id) = (&source.bytes[..], source.header.id);
        let mut at = super::segment::SEGMENT_HEADER_BYTES;
        loop {
            let mut end = at;
            let mut is_sealed = false;
            for found in scan::records_from(bytes, id, at) {
                let Ok((offset, record)) = found else { break };
                if self.apply(&record, offset, segment).is_none() {
                    self.damage(&source.name, offset as u64, accept_loss)?;
                }
                end = offset + record::padded_bytes(record.body.len());
                is_sealed = record.kind == Kind::Seal;
            }
            let is_torn = source.is_last && !scan::was_durable(bytes, id, end);
            if is_sealed || is_torn {
                // A seal is not counted: the end of a segment is where it is, or will be.
                return Ok(if is_sealed { end - SEAL_BYTES } else { end });
            }
            self.damage(&source.name, end as u64, accept_loss)?;
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

    fn apply(&mut self, record: &Record<'_>, offset: usize, segment: &mut Segment) -> Option<()> {
        if record.count > 0 {
            let last = record.position.checked_add(u64::from(record.count))?.checked_sub(1)?;
            self.present.insert_range(record.position..=last);
            segment.note(record.position, record.count, offset as u64);
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

    fn note_special(&mut self, record: &Record<'_>) -> Option<()> {
        let Some(codecs) = self.codecs else { return Some(()) };
        match record.kind {
            Kind::Publish => {
                let publish = Publish::parse(record)?;
                let mut bodies = 0;
                for (position, bytes) in publish.messages() {
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
                for part in parts(record.body)? {
                    self.note_special(&part)?;
                }
            }
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

    fn damage(&mut self, name: &str, offset: u64, accept_loss: bool) -> Result<(), OpenError> {
        if !accept_loss {
            return Err(OpenError::Damaged { file: name.to_owned(), offset });
        }
        self.damaged.push((name.to_owned(), offset));
        Ok(())
    }
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
            into.resize(next - from - record::HEADER_BYTES, 0);
        });
        record::seal(&mut filler, self.header.id);
        self.file.write_at(from as u64, &filler).map_err(failed)?;
        self.file.sync().map_err(failed)
    }
}
