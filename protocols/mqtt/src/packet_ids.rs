//! A set of packet identifiers in at most 8 KiB, of which it holds what it needs.

/// Packet identifiers, as a bitmap that grows to the highest one.
#[derive(Debug, Default)]
pub(crate) struct PacketIds {
    words: Vec<u64>,
    count: usize,
}

impl PacketIds {
    const fn place(id: u16) -> (usize, u64) {
        (id as usize / 64, 1 << (id % 64))
    }

    pub(crate) const fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn contains(&self, id: u16) -> bool {
        let (word, bit) = Self::place(id);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// False when it was there.
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        if self.contains(id) {
            return false;
        }
        let (word, bit) = Self::place(id);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
        self.count += 1;
        true
    }

    /// False when it was not there.
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        if !self.contains(id) {
            return false;
        }
        let (word, bit) = Self::place(id);
        self.words[word] &= !bit;
        self.count -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut ids = PacketIds::default();
        assert!(!ids.contains(65_535));
        for id in [1, 63, 64, 65_535] {
            assert!(ids.insert(id));
            assert!(!ids.insert(id));
        }
        assert_eq!(ids.count(), 4);
        assert!(ids.remove(64));
        assert!(!ids.remove(64));
        assert!(ids.contains(65_535));
        assert!(!ids.contains(2));
        assert_eq!(ids.count(), 3);
    }
}
