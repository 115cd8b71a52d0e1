//! The naive broker: what a queue is, in maps.

use std::collections::BTreeMap;

/// A message as the model knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: u64,
    pub(crate) delivered_before: bool,
    pub(crate) logged: bool,
}

/// One queue: ready messages in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct NaiveQueue {
    next_arrival: u64,
    pub(crate) ready: BTreeMap<u64, Item>,
}

impl NaiveQueue {
    pub(crate) fn push(&mut self, id: u64, logged: bool) {
        self.ready.insert(self.next_arrival, Item { id, delivered_before: false, logged });
        self.next_arrival += 1;
    }

    /// Takes `count` messages from the front.
    pub(crate) fn take(&mut self, count: usize) -> Vec<(u64, Item)> {
        (0..count).map_while(|_| self.ready.pop_first()).collect()
    }

    pub(crate) fn put_back(&mut self, arrival: u64, item: Item) {
        let before = self.ready.insert(arrival, Item { delivered_before: true, ..item });
        assert!(before.is_none(), "the model is consistent");
    }
}
