//! Memory that is short: queues that do not page by themselves, because nothing happens to them,
//! are told to, those that take most first.

use std::sync::{Arc, PoisonError, Weak};

use super::Broker;
use crate::log::{Log, LogEvents, Position};
use crate::queue::{PAGED_BYTES, Queue};
use crate::{Instant, Message, QueueId};

/// Bytes that one tick pages out: a disk keeps up with that.
const TICK_BYTES: usize = 16 * 1024 * 1024;

/// Queues that take less are not worth the while.
const WORTHWHILE_BYTES: u64 = 4 * 1024;

/// Milliseconds until all queues are looked at again.
const WALK_EVERY_MS: u64 = 1000;

/// Queues that take memory, the largest last.
#[derive(Debug, Default)]
pub(super) struct Victims {
    queues: Vec<Weak<Queue>>,
    walks_at: Instant,
}

/// What messages in queues take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// About how many bytes ready messages take in memory.
    pub queued_bytes: u64,
    /// Messages that were moved to disk because memory was short, since the start.
    pub paged_out: u64,
}

impl Broker {
    /// Gives messages that no log has a second one to go to when memory is short. It needs no sync,
    /// and is empty at every start. Once.
    pub fn spill_to(self: &Arc<Self>, log: Arc<dyn Log>) {
        let events = SpillEvents(Arc::downgrade(self));
        self.memory.spill_to(log, Arc::new(events));
    }

    /// The process takes `used` bytes of memory now; what exceeds `page_from` is to be paged out.
    /// Whatever is no message in a queue counts in full; messages may have an eighth in any case.
    pub fn set_memory(&self, used: u64, page_from: u64) {
        let others = used.saturating_sub(self.memory.taken());
        self.memory.allow(page_from.saturating_sub(others).max(page_from / 8));
    }

    /// What messages in queues take.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        MemoryUse { queued_bytes: self.memory.taken(), paged_out: self.memory.paged_out() }
    }

    /// Pages out what is too much, a slice of it.
    pub(super) fn page_out(&self, now: Instant) {
        let mut left = TICK_BYTES;
        while left > 0
            && self.memory.must_page()
            && let Some(queue) = self.next_victim(now)
        {
            let mut effects = self.effects_at(now);
            let mut is_done = true;
            if let Some(mut state) = queue.lock() {
                is_done = state.page_out(PAGED_BYTES, &mut effects) == 0;
            }
            self.finish(&mut effects);
            left = left.saturating_sub(PAGED_BYTES);
            if !is_done {
                self.victims().queues.push(Arc::downgrade(&queue));
            }
        }
    }

    /// For tests: pages out all that no consumer gets next, in one go and whatever it takes.
    pub fn page_everything_out(&self) {
        let queues: Vec<Weak<Queue>> = {
            let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
            queues.values().cloned().collect()
        };
        for queue in queues.iter().filter_map(Weak::upgrade) {
            let mut effects = self.effects();
            if let Some(mut state) = queue.lock() {
                state.page_out(usize::MAX, &mut effects);
                #[cfg(any(test, debug_assertions))]
                state.check();
            }
            self.finish(&mut effects);
        }
    }

    fn victims(&self) -> std::sync::MutexGuard<'_, Victims> {
        self.victims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_victim(&self, now: Instant) -> Option<Arc<Queue>> {
        let mut victims = self.victims();
        if victims.queues.is_empty() && victims.walks_at <= now {
            victims.walks_at = now.after_millis(WALK_EVERY_MS);
            drop(victims);
            let found = self.largest_queues();
            victims = self.victims();
            victims.queues = found;
        }
        while let Some(queue) = victims.queues.pop() {
            if let Some(queue) = queue.upgrade() {
                return Some(queue);
            }
        }
        None
    }

    fn largest_queues(&self) -> Vec<Weak<Queue>> {
        let queues: Vec<Weak<Queue>> = {
            let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
            queues.values().cloned().collect()
        };
        let weigh = |queue: Weak<Queue>| {
            let bytes = queue.upgrade()?.lock()?.resident_bytes();
            (bytes >= WORTHWHILE_BYTES).then_some((bytes, queue))
        };
        let mut weighed: Vec<(u64, Weak<Queue>)> = queues.into_iter().filter_map(weigh).collect();
        weighed.sort_by_key(|(bytes, _)| *bytes);
        weighed.into_iter().map(|(_, queue)| queue).collect()
    }
}

/// What the second log tells the broker. Nobody waits for it to be durable.
#[derive(Debug)]
struct SpillEvents(Weak<Broker>);

impl LogEvents for SpillEvents {
    fn durable(&self, _: u64) {}

    fn read_done(&self, queue: QueueId, messages: Vec<(Position, Message)>) {
        if let Some(broker) = self.0.upgrade() {
            let spilled = |(position, message): (Position, Message)| (position.spilled(), message);
            broker.read_done(queue, messages.into_iter().map(spilled).collect());
        }
    }

    fn caught_up(&self) {
        if let Some(broker) = self.0.upgrade() {
            broker.pause.end();
        }
    }

    /// Paging out looks at the log itself.
    fn full(&self, _: bool) {}

    fn fenced(&self) {}
}
