//! Records as bytes: what every one begins with, and how a run of them is read back.
//!
//! Every byte is in `FORMAT.md`. A reader trusts nothing: lengths are checked before they are
//! used, and the checksum covers the segment, so that what an earlier use of the file left behind
//! is not a record.

use super::segment::SegmentId;

/// Bytes before a record's body.
pub(crate) const HEADER_BYTES: usize = 24;

/// Records begin at multiples of this.
const ALIGNMENT: usize = 8;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Messages that went to the same queues.
    Publish = 1,
    /// A set of queues that publishes name by a number.
    Targets = 2,
    /// Messages left queues.
    Settle = 3,
    /// Messages went back to their queues, with their attempts.
    Requeue = 4,
    /// What MQTT sessions must not forget.
    Session = 5,
    /// Publishes and settlements that count together or not at all.
    Transaction = 6,
    /// A part of a checkpoint.
    Checkpoint = 7,
    /// Begins each write: how far the log was durable before it.
    Commit = 8,
    /// The segment ends here.
    Seal = 9,
    /// The log was closed in order.
    Closed = 10,
    /// Where a damaged record was, whose loss somebody accepted.
    Filler = 11,
}

impl Kind {
    const fn parse(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Publish,
            2 => Self::Targets,
            3 => Self::Settle,
            4 => Self::Requeue,
            5 => Self::Session,
            6 => Self::Transaction,
            7 => Self::Checkpoint,
            8 => Self::Commit,
            9 => Self::Seal,
            10 => Self::Closed,
            11 => Self::Filler,
            _ => return None,
        })
    }
}

/// A publish names its queues by the number of a [`Kind::Targets`] record.
pub(crate) const FLAG_TARGET_SET: u8 = 1;

/// A publish says which packet identifiers of an MQTT session it came under.
pub(crate) const FLAG_RECEIVED: u8 = 2;

/// A publish says when it was.
pub(crate) const FLAG_TIME: u8 = 4;

/// One record, borrowed from the bytes of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    /// Of the first message in it; for records without messages, of the last message before it, or
    /// one of their own, which no message has.
    pub(crate) position: u64,
    /// Messages in it.
    pub(crate) count: u32,
    pub(crate) body: &'a [u8],
}

/// Bytes that a record with such a body takes, padding included.
pub(crate) const fn padded_bytes(body_bytes: usize) -> usize {
    (HEADER_BYTES + body_bytes).next_multiple_of(ALIGNMENT)
}

/// Appends a record whose body `write` appends, without its checksum: [`seal`] writes it once the
/// segment is known. A body ends at 4 GiB (the log's limits keep far below).
pub(crate) fn append(
    into: &mut Vec<u8>,
    kind: Kind,
    flags: u8,
    (position, count): (u64, u32),
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = into.len();
    into.resize(start + HEADER_BYTES, 0);
    write(into);
    let body_bytes = into.len() - start - HEADER_BYTES;
    let len = u32::try_from(body_bytes).expect("records end at 4 GiB");
    let header = &mut into[start..start + HEADER_BYTES];
    header[0..4].copy_from_slice(&len.to_le_bytes());
    header[8..16].copy_from_slice(&position.to_le_bytes());
    header[16] = kind as u8;
    header[17] = flags;
    header[20..24].copy_from_slice(&count.to_le_bytes());
    into.resize(start + padded_bytes(body_bytes), 0);
}

/// Writes the checksum of the record at the start of `bytes`, for its place in `segment`.
pub(crate) fn seal(bytes: &mut [u8], segment: SegmentId) {
    let len = u32_at(bytes, 0) as usize;
    let crc = checksum(segment, bytes, len);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(segment: SegmentId, bytes: &[u8], body_bytes: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(segment.checksum());
    hasher.update(&bytes[0..4]);
    hasher.update(&bytes[8..HEADER_BYTES + body_bytes]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// The record at the start of `bytes`, and how many bytes it takes. `None` when there is none that
/// was written whole, for this segment.
pub(crate) fn parse(bytes: &[u8], segment: SegmentId) -> Option<(Record<'_>, usize)> {
    let (record, taken) = parse_unchecked(bytes)?;
    let crc = checksum(segment, bytes, record.body.len());
    (crc == u32_at(bytes, 4)).then_some((record, taken))
}

/// [`parse`] without the checksum, for bytes that this process wrote.
pub(crate) fn parse_unchecked(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    let len = u32_at(bytes, 0) as usize;
    let kind = Kind::parse(bytes[16])?;
    let reserved = (bytes[18], bytes[19]);
    let end = HEADER_BYTES.checked_add(len)?;
    if reserved != (0, 0) || padded_bytes(len) > bytes.len() {
        return None;
    }
    let body = bytes.get(HEADER_BYTES..end)?;
    let (flags, position, count) = (bytes[17], u64_at(bytes, 8), u32_at(bytes, 20));
    Some((Record { kind, flags, position, count, body }, padded_bytes(len)))
}

/// How many bytes the record at the start of `bytes` takes, by its length alone; at least a
/// header is there.
pub(crate) fn taken_bytes(header: &[u8]) -> usize {
    padded_bytes(u32_at(header, 0) as usize)
}
