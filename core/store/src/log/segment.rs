//! Segments: the files of the log, their names and their first bytes.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};

/// Bytes before a segment's first record.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;

/// The first bytes of every segment; the last of them is the format's version.
const MAGIC: [u8; 8] = *b"TRIVLOG\x01";

/// Which segment, and in which run of the broker it was begun: together never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SegmentId {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
}

impl SegmentId {
    /// What every checksum in the segment starts from.
    pub(crate) fn checksum(self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&self.epoch.to_le_bytes());
        hasher.finalize()
    }
}

/// What a segment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Records in the order in which they were appended.
    Fresh,
    /// Messages that outlived the segments they were appended to.
    Old,
}

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: SegmentId,
    pub(crate) generation: Generation,
    /// The first position that may be in it: every earlier one was given out before.
    pub(crate) first: u64,
}

/// The format's version of a segment that another version of the broker wrote.
pub(crate) fn other_format(bytes: &[u8]) -> Option<u8> {
    let header = bytes.first_chunk::<SEGMENT_HEADER_BYTES>()?;
    let (name, format) = (&header[..7], header[7]);
    let crc = u32::from_le_bytes(std::array::from_fn(|index| header[60 + index]));
    let is_whole = crc == crc32fast::hash(&header[..60]);
    (is_whole && name == &MAGIC[..7] && format != MAGIC[7]).then_some(format)
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.id.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.to_le_bytes());
        bytes[32] = u8::from(self.generation == Generation::Old);
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when these are not the first bytes of a whole segment header of this format.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<SEGMENT_HEADER_BYTES>()?;
        let number =
            |at: usize| u64::from_le_bytes(std::array::from_fn(|index| header[at + index]));
        let crc = u32::from_le_bytes(std::array::from_fn(|index| header[60 + index]));
        if header[0..8] != MAGIC || crc != crc32fast::hash(&header[..60]) {
            return None;
        }
        let generation = match header[32] {
            0 => Generation::Fresh,
            1 => Generation::Old,
            _ => return None,
        };
        let id = SegmentId { number: number(8), epoch: number(16) };
        Some(Self { id, generation, first: number(24) })
    }
}

/// What a file of the log's directory is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    /// A segment of the log, by number.
    Fresh(u64),
    /// A segment of survivors, by number.
    Old(u64),
    /// A preallocated file without content that counts.
    Spare(u64),
    /// Under way when the process ended: without content that counts.
    Unfinished,
}

impl FileName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (stem, kind) = name.split_once('.')?;
        if kind.rsplit('.').next() == Some("new") {
            return Some(Self::Unfinished);
        }
        let number = u64::from_str_radix(stem, 16).ok().filter(|_| stem.len() == 16)?;
        Some(match kind {
            "segment" => Self::Fresh(number),
            "old" => Self::Old(number),
            "spare" => Self::Spare(number),
            _ => return None,
        })
    }
}

pub(crate) fn fresh_name(number: u64) -> String {
    format!("{number:016x}.segment")
}

pub(crate) fn old_name(number: u64) -> String {
    format!("{number:016x}.old")
}

pub(crate) fn spare_name(number: u64) -> String {
    format!("{number:016x}.spare")
}

/// What the copy of a damaged file is called: a name that does not count.
pub(crate) fn damaged_name(name: &str, offset: u64) -> String {
    format!("{name}.damaged-at-{offset}")
}

/// Writes the header into `name`, and gives the file the name under which it counts: whoever finds
/// that name finds the header, too.
pub(crate) fn begin(
    disk: &dyn Disk,
    file: &Arc<dyn DiskFile>,
    name: &str,
    header: SegmentHeader,
) -> io::Result<()> {
    file.write_at(0, &header.encode())?;
    file.sync()?;
    disk.rename(name, &fresh_name(header.id.number))?;
    disk.sync_directory()
}
