//! What a queue takes of memory, and what it gives up when there is too little.

use std::sync::Arc;

use super::Effects;
use super::pager::Pager;
use super::ready::Reach;
use super::state::State;
use crate::memory::Memory;

/// Changes of less are not told to the other queues: one that is empty most of the time tells
/// nothing.
const GRAIN_BYTES: u64 = 16 * 1024;

/// Bytes that a queue pages out in one go under its lock.
pub(crate) const PAGED_BYTES: usize = 1024 * 1024;

/// About how many bytes an unsettled delivery whose message is in memory takes.
const UNSETTLED_BYTES: u64 = 256;

/// What a queue has said that it takes.
#[derive(Debug)]
pub(super) struct Charge {
    memory: Arc<Memory>,
    bytes: u64,
    reach: Option<Reach>,
}

impl Charge {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        let reach = memory.reach();
        Self { memory, bytes: 0, reach }
    }

    /// How far the window reaches; `None` when all messages stay in memory.
    pub(super) const fn reach(&self) -> Option<Reach> {
        self.reach
    }

    fn set(&mut self, bytes: u64) {
        self.memory.change(self.bytes, bytes);
        self.bytes = bytes;
        self.reach = self.memory.reach();
    }

    /// Nothing is left.
    pub(super) fn clear(&mut self) {
        self.set(0);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.clear();
    }
}

impl State {
    /// Says what ready messages take by now, if that has changed, and pages out when it is too much.
    pub(super) fn weigh(&mut self, effects: &mut Effects) {
        let bytes = self.ready.resident_bytes();
        let change = bytes.abs_diff(self.charge.bytes);
        if change >= GRAIN_BYTES || (bytes == 0 && change > 0) {
            self.weigh_anew(bytes, effects);
        }
    }

    #[cold]
    fn weigh_anew(&mut self, bytes: u64, effects: &mut Effects) {
        if self.deleted {
            return;
        }
        if bytes < self.charge.bytes / 2 {
            self.ready.shrink();
        }
        self.charge.set(bytes);
        if self.charge.memory.must_page() {
            self.page_out(PAGED_BYTES, effects);
        }
    }

    /// About how many bytes its messages take in memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.ready.resident_bytes() + self.unsettled.residents() as u64 * UNSETTLED_BYTES
    }

    /// Moves about `bytes` of messages to the second log, those that are delivered last first; what
    /// consumers get next stays. Returns how many messages that were.
    pub(crate) fn page_out(&mut self, bytes: usize, effects: &mut Effects) -> u64 {
        let memory = self.charge.memory.clone();
        let Some(log) = memory.spill() else { return 0 };
        let reach = self.charge.reach().filter(|_| self.has_taker_with_credit());
        let mut pager = Pager::new(log, self.id, bytes);
        self.ready.page_out(reach.map_or(0, |reach| reach.messages), &mut pager);
        // What a subscription's own queue holds unsettled is bounded, and counted by its messages.
        if self.held_bytes_max == u64::MAX {
            self.unsettled.page_out(&mut pager);
        }
        memory.count_paged_out(pager.count);
        effects.has_spilled |= pager.count > 0;
        self.charge.set(self.ready.resident_bytes());
        pager.count
    }
}
