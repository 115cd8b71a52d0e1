//! Stretches of the backlog of which only positions are kept, and how many of them are packed.
//!
//! A queue that has its publisher to itself needs one run. Where a publisher goes round a thousand
//! queues every message is a run of its own; packed they take 3 to 8 bytes each.

use super::lane::{Arrival, Entry};
use crate::log::Position;

/// Messages adjacent in arrival and in position, delivered equally often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) arrival: Arrival,
    pub(super) position: Position,
    pub(super) count: u64,
    /// Bytes of their bodies together.
    pub(super) bytes: u64,
    pub(super) attempts: u16,
    pub(super) retained: bool,
}

impl Run {
    /// A message that the log has at `position`.
    pub(super) fn of(entry: &Entry, position: Position) -> Self {
        Self {
            arrival: entry.arrival,
            position,
            count: 1,
            bytes: entry.bytes.into(),
            attempts: entry.attempts,
            retained: entry.retained,
        }
    }

    /// Whether `next` goes on where this ends.
    pub(super) fn is_before(&self, next: &Self) -> bool {
        self.arrival + self.count == next.arrival
            && self.position.plus(self.count) == next.position
            && (self.attempts, self.retained) == (next.attempts, next.retained)
    }

    /// What is known of the message of that arrival, if it is one of these.
    pub(super) fn entry(&self, wanted: Arrival, priority: u8) -> Option<Entry> {
        let offset = wanted.checked_sub(self.arrival).filter(|offset| *offset < self.count)?;
        Some(Entry {
            position: Some(self.position.plus(offset)),
            bytes: u32::try_from(self.bytes / self.count).unwrap_or(u32::MAX),
            attempts: self.attempts,
            priority,
            retained: self.retained,
            ..Entry::hole(wanted)
        })
    }

    /// Takes the first message; it is not the only one.
    pub(super) fn take_first(&mut self, priority: u8) -> Option<Entry> {
        let entry = self.entry(self.arrival, priority)?;
        self.arrival += 1;
        self.position = self.position.plus(1);
        self.count -= 1;
        self.bytes -= u64::from(entry.bytes);
        Some(entry)
    }
}

/// Runs, ascending, in as few bytes as they need: for each its flags, and then as varints its
/// position's distance from where it was expected, and what the flags name.
#[derive(Debug)]
pub(super) struct Pack {
    /// Of the first message.
    pub(super) arrival: Arrival,
    bytes: Box<[u8]>,
}

/// Arrivals between the run before and this one are not in it.
const GAP: u8 = 1;
/// There is more than one message.
const MANY: u8 = 2;
/// Attempts, and whether they were retained.
const KNOWN: u8 = 4;
/// The bodies are not as large as those of the run before.
const SIZE: u8 = 8;

impl Pack {
    /// Packs at least one run.
    pub(super) fn of(runs: &[Run]) -> Self {
        let arrival = runs.first().map_or(0, |run| run.arrival);
        let mut packed = Vec::with_capacity(runs.len() * 8);
        let (mut next, mut position, mut size) = (arrival, 0u64, 0u64);
        for run in runs {
            let is_known = run.attempts > 0 || run.retained;
            let flags = [
                (run.arrival != next, GAP),
                (run.count > 1, MANY),
                (is_known, KNOWN),
                (run.bytes != size, SIZE),
            ];
            packed.push(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum());
            put(&mut packed, zigzag(run.position.get().wrapping_sub(position)));
            if run.arrival != next {
                put(&mut packed, run.arrival - next);
            }
            if run.count > 1 {
                put(&mut packed, run.count);
            }
            if is_known {
                put(&mut packed, u64::from(run.attempts) << 1 | u64::from(run.retained));
            }
            if run.bytes != size {
                put(&mut packed, run.bytes);
            }
            next = run.arrival + run.count;
            position = run.position.plus(run.count).get();
            size = run.bytes;
        }
        Self { arrival, bytes: packed.into() }
    }

    /// The runs again.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut bytes = &*self.bytes;
        let mut runs = Vec::new();
        let (mut next, mut position, mut size) = (self.arrival, 0u64, 0u64);
        while let Some((&flags, rest)) = bytes.split_first() {
            bytes = rest;
            let at = position.wrapping_add(unzigzag(take(&mut bytes)));
            let has = |flag| flags & flag != 0;
            let arrival = if has(GAP) { next + take(&mut bytes) } else { next };
            let count = if has(MANY) { take(&mut bytes) } else { 1 };
            let known = if has(KNOWN) { take(&mut bytes) } else { 0 };
            size = if has(SIZE) { take(&mut bytes) } else { size };
            let first = std::num::NonZeroU64::new(at).expect("a position was packed");
            let attempts = u16::try_from(known >> 1).unwrap_or(u16::MAX);
            let retained = known & 1 != 0;
            let position_of = Position(first);
            runs.push(Run {
                arrival,
                position: position_of,
                count,
                bytes: size,
                attempts,
                retained,
            });
            next = arrival + count;
            position = position_of.plus(count).get();
        }
        runs
    }
}

const fn zigzag(distance: u64) -> u64 {
    let sign = (distance.cast_signed() >> 63).cast_unsigned();
    distance << 1 ^ sign
}

const fn unzigzag(packed: u64) -> u64 {
    packed >> 1 ^ (packed & 1).wrapping_neg()
}

fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    into.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((&byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arrival: Arrival, position: u64, count: u64) -> Run {
        let position = Position(position.try_into().unwrap());
        Run { arrival, position, count, bytes: 128 * count, attempts: 0, retained: false }
    }

    #[test]
    fn what_is_packed_comes_back() {
        let far = Position((1 << 63 | 5).try_into().unwrap());
        let runs = [
            run(7, 1_000_000, 1),
            run(8, 1_001_000, 1),
            run(9, 1_002_000, 300),
            Run { attempts: 3, ..run(400, 2_000_000, 1) },
            Run { retained: true, position: far, ..run(401, 1, 2) },
            run(403, 2_000_001, 1),
            Run { bytes: 0, ..run(404, u64::MAX >> 1, 1) },
        ];
        assert_eq!(Pack::of(&runs).runs(), runs);
    }

    #[test]
    fn one_message_of_many_interleaved_queues_takes_a_few_bytes() {
        let runs: Vec<Run> = (0..64).map(|at| run(at, 1 + at * 1000, 1)).collect();
        let pack = Pack::of(&runs);
        assert_eq!(pack.runs(), runs);
        assert!(pack.bytes.len() <= 4 * 64, "{} bytes for 64 runs", pack.bytes.len());
    }
}
