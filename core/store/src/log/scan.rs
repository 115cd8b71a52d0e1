//! Reading a segment from its beginning, and what to make of a place where no record is.

use super::body;
use super::record::{self, HEADER_BYTES, Kind, Record};
use super::segment::SegmentId;

/// The records of a segment from an offset on, each with its own, up to and with the one that seals
/// it. Where no record is the offset comes as an error, and the walk ends.
pub(crate) fn records_from(
    bytes: &[u8],
    segment: SegmentId,
    from: usize,
) -> impl Iterator<Item = Result<(usize, Record<'_>), u64>> {
    let mut at = Some(from);
    std::iter::from_fn(move || {
        let offset = at.take()?;
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let Some((record, taken)) = record::parse(rest, segment) else {
            return Some(Err(offset as u64));
        };
        at = (record.kind != Kind::Seal).then_some(offset + taken);
        Some(Ok((offset, record)))
    })
}

/// The offset of the first record behind `from` that was written whole.
pub(crate) fn next_whole(bytes: &[u8], segment: SegmentId, from: usize) -> Option<usize> {
    places(bytes, from + HEADER_BYTES).find(|at| record::parse(&bytes[*at..], segment).is_some())
}

/// Whether a record behind `from` says that the log was durable beyond `from`: then what is missing
/// there was safe once, and is no torn write.
pub(crate) fn was_durable(bytes: &[u8], segment: SegmentId, from: usize) -> bool {
    // Only commit records are looked for: they are short, so that every offset is cheap to try.
    let claims = |at: usize| {
        let rest = bytes.get(at..)?.get(..super::open::COMMIT_BYTES)?;
        let (record, _) = record::parse(rest, segment)?;
        body::commit(record.body).filter(|_| record.kind == Kind::Commit)
    };
    places(bytes, from + 8)
        .filter_map(claims)
        .any(|durable| durable > (segment.number, from as u64))
}

/// Every place from `first` on where a record may begin. Most of a segment that is not full is zeros,
/// in which none does: they are passed over in blocks, which a start feels.
fn places(bytes: &[u8], first: usize) -> impl Iterator<Item = usize> {
    static ZEROS: [u8; 4096] = [0; 4096];
    let mut at = first;
    std::iter::from_fn(move || {
        // A header that begins in the last bytes of a block may go on behind it.
        while bytes.get(at..at + ZEROS.len()).is_some_and(|block| *block == ZEROS) {
            at += ZEROS.len() - HEADER_BYTES;
        }
        let place = at;
        at += 8;
        (place < bytes.len()).then_some(place)
    })
}
