//! What a subscription sent and the client has not settled, by the number that it was sent under.
//!
//! Mostly the oldest is settled next, so this is a queue; whoever settles out of order leaves holes,
//! which are closed once they are more than what is left.

use std::collections::VecDeque;

use trivium_core::DeliveryId;

/// Holes that are not worth closing.
const HOLES_MIN: usize = 64;

/// Deliveries by ascending number.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    /// `None` where one was settled before an older one; the first is none of those.
    entries: VecDeque<(u64, Option<DeliveryId>)>,
    holes: usize,
}

impl Unsettled {
    /// Adds one; its number is higher than all before.
    pub(crate) fn push(&mut self, number: u64, delivery: DeliveryId) {
        self.entries.push_back((number, Some(delivery)));
    }

    /// Nothing is unsettled.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether that number is unsettled.
    pub(crate) fn contains(&self, number: u64) -> bool {
        self.place(number).is_some_and(|at| self.entries[at].1.is_some())
    }

    fn place(&self, number: u64) -> Option<usize> {
        match self.entries.front() {
            Some((first, _)) if *first == number => Some(0),
            _ => self.entries.binary_search_by_key(&number, |(known, _)| *known).ok(),
        }
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, number: u64) -> Option<DeliveryId> {
        let at = self.place(number)?;
        let delivery = self.entries[at].1.take()?;
        self.holes += 1;
        self.close();
        Some(delivery)
    }

    /// Takes the oldest out if its number is at most `through`.
    pub(crate) fn pop_through(&mut self, through: u64) -> Option<DeliveryId> {
        let (_, delivery) = self.entries.pop_front_if(|(number, _)| *number <= through)?;
        self.close();
        delivery
    }

    /// Closes the holes at the front, and all when they are most of what there is.
    fn close(&mut self) {
        while self.entries.pop_front_if(|(_, delivery)| delivery.is_none()).is_some() {
            self.holes -= 1;
        }
        if self.holes > HOLES_MIN && self.holes > self.entries.len() / 2 {
            self.entries.retain(|(_, delivery)| delivery.is_some());
            self.holes = 0;
        }
    }

    /// All of them, oldest first.
    pub(crate) fn into_deliveries(self) -> impl Iterator<Item = DeliveryId> {
        self.entries.into_iter().filter_map(|(_, delivery)| delivery)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::OccupiedEntry;

    use proptest::prelude::*;
    use trivium_core::testing::delivery;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0_u8..8, 0_u64..600), 0..2000)) {
            let (mut map, mut ours, mut sent) = (BTreeMap::new(), Unsettled::default(), 0);
            for (kind, number) in ops {
                match kind {
                    0..=3 => {
                        sent += 1;
                        let slot = u32::try_from(sent).unwrap();
                        map.insert(sent, delivery(slot));
                        ours.push(sent, delivery(slot));
                    }
                    4 => {
                        let first = map.first_entry().filter(|entry| *entry.key() <= number);
                        prop_assert_eq!(ours.pop_through(number), first.map(OccupiedEntry::remove));
                    }
                    _ => prop_assert_eq!(ours.remove(number), map.remove(&number)),
                }
                prop_assert_eq!(ours.is_empty(), map.is_empty());
                prop_assert_eq!(ours.contains(number), map.contains_key(&number));
                prop_assert!(ours.entries.len() <= 2 * map.len() + HOLES_MIN + 1);
            }
            let (ours, map): (Vec<_>, Vec<_>) =
                (ours.into_deliveries().collect(), map.into_values().collect());
            prop_assert_eq!(ours, map);
        }
    }
}
