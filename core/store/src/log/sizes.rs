//! How large recovered messages are and since when they are there, in bounded memory.

use trivium_core::log::{Position, Sizes};

/// Entries from which on neighbours are merged whatever they hold.
const ENTRIES_MAX: usize = 256 * 1024;

/// Messages whose times differ by no more than this count as of one time, in milliseconds.
const SAME_TIME_MS: u64 = 1000;

/// Collects sizes record by record.
#[derive(Debug, Default)]
pub(crate) struct SizesFound {
    entries: Vec<Sizes>,
}

impl SizesFound {
    /// Notes one record's messages.
    pub(crate) fn note(&mut self, next: Sizes) {
        if let Some(last) = self.entries.last_mut()
            && last.first.plus(last.count) == next.first
            && next.published_at.abs_diff(last.published_at) <= SAME_TIME_MS
            && is_alike(last, &next)
        {
            last.count += next.count;
            last.bytes += next.bytes;
            return;
        }
        if self.entries.len() >= ENTRIES_MAX {
            self.halve();
        }
        self.entries.push(next);
    }

    /// Merges entries two by two: what is known of them becomes an average.
    fn halve(&mut self) {
        self.entries.sort_by_key(|entry| entry.first);
        let merged = self.entries.chunks(2).map(|pair| match pair {
            [first, second] => {
                let end = second.first.get() + second.count;
                let count = first.count + second.count;
                let span = end.saturating_sub(first.first.get()).max(count);
                // Positions between the two are not known, or not there: they count as alike.
                let bytes = (first.bytes + second.bytes).saturating_mul(span) / count.max(1);
                Sizes { count: span, bytes, ..*first }
            }
            rest => rest[0],
        });
        self.entries = merged.collect();
    }

    /// All of them, ascending by position.
    pub(crate) fn into_vec(mut self) -> Vec<Sizes> {
        self.entries.sort_by_key(|entry| entry.first);
        self.entries
    }
}

/// Whether their messages are about as large: within an eighth of each other.
fn is_alike(a: &Sizes, b: &Sizes) -> bool {
    let (a, b) = (a.bytes / a.count.max(1), b.bytes / b.count.max(1));
    a.abs_diff(b) <= a / 8
}

/// An entry for `count` messages from `first` on.
pub(crate) fn sizes(first: u64, count: u64, bytes: u64, published_at: u64) -> Option<Sizes> {
    Some(Sizes { first: Position(first.try_into().ok()?), count, bytes, published_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_are_alike_are_one_entry_and_memory_is_bounded() {
        let mut found = SizesFound::default();
        for (first, bytes, at) in [(1, 100, 5), (2, 110, 900), (3, 500, 900), (4, 500, 2000)] {
            found.note(sizes(first, 1, bytes, at).unwrap());
        }
        let entries: Vec<_> = found
            .into_vec()
            .iter()
            .map(|entry| (entry.first.get(), entry.count, entry.bytes, entry.published_at))
            .collect();
        assert_eq!(entries, [(1, 2, 210, 5), (3, 1, 500, 900), (4, 1, 500, 2000)]);
        let mut found = SizesFound::default();
        let count = 3 * ENTRIES_MAX as u64;
        for first in 1..=count {
            found.note(sizes(first, 1, if first % 2 == 0 { 10 } else { 1000 }, 0).unwrap());
        }
        let entries = found.into_vec();
        assert!(entries.len() <= ENTRIES_MAX);
        let (counted, bytes) = entries
            .iter()
            .fold((0, 0), |(count, bytes), entry| (count + entry.count, bytes + entry.bytes));
        assert_eq!(counted, count);
        assert_eq!(bytes, count / 2 * 1010);
    }
}
