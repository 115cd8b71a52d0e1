//! What is left of a purged or deleted queue.

use super::ready::Ready;
use super::unsettled::Unsettled;

/// What a purged or deleted queue held, to be dropped in slices off the hot threads.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    pub(super) ready: Ready,
    pub(super) unsettled: Vec<Unsettled>,
}

impl Garbage {
    /// Whether there is nothing left to drop.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.unsettled.is_empty()
    }

    /// Drops about `count` of what is left. Returns how many.
    pub(crate) fn drop_some(&mut self, count: usize) -> usize {
        let before = self.unsettled.len();
        self.unsettled.truncate(before.saturating_sub(count));
        before - self.unsettled.len() + self.ready.drop_some(count)
    }
}
