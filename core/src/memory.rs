//! What messages in queues take of memory, what they may take, and where they go beyond that.
//!
//! Queues say what they hold (`queue::paging`), in steps and not for each message. Whoever watches
//! the process says how much of it is too much ([`crate::Broker::set_memory`]). Beyond it messages
//! that no log has go to a second log, which knows nothing of a restart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::QueueId;
use crate::log::{Log, LogEvents, Position, Settled};
use crate::queue::Reach;

/// Bytes of messages up to which windows are as long as they may be; beyond three times as many
/// they are as short as they can.
const WINDOWS_BYTES: u64 = 32 * 1024 * 1024;

/// Bytes of bodies in one window.
const WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// The least that a window shrinks to, so that reading it is worth the while.
const WINDOW_MESSAGES_MIN: usize = 128;
const WINDOW_BYTES_MIN: u64 = 128 * 1024;

/// Shares of a window that are told apart.
const SHARES: u64 = 32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Messages in one window; `None` when all stay in memory, because no log can be read.
    window_max: Option<usize>,
    /// Bytes that ready messages take.
    taken: AtomicU64,
    /// Bytes from which on queues page out; [`u64::MAX`] for never.
    allowed: AtomicU64,
    /// Messages that were paged out since the start.
    paged_out: AtomicU64,
    spill: OnceLock<Spill>,
}

struct Spill {
    log: Arc<dyn Log>,
    /// The log knows it weakly.
    _events: Arc<dyn LogEvents>,
}

impl std::fmt::Debug for Spill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spill").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Memory {
    /// Without bounds yet.
    pub(crate) fn new(window_max: Option<usize>) -> Self {
        Self {
            window_max,
            taken: AtomicU64::new(0),
            allowed: AtomicU64::new(u64::MAX),
            paged_out: AtomicU64::new(0),
            spill: OnceLock::new(),
        }
    }

    /// From now on `log` takes what memory is too short for, and tells `events`. Once.
    pub(crate) fn spill_to(&self, log: Arc<dyn Log>, events: Arc<dyn LogEvents>) {
        log.attach(Arc::downgrade(&events));
        let is_first = self.spill.set(Spill { log, _events: events }).is_ok();
        debug_assert!(is_first, "there is one second log");
    }

    /// The second log.
    pub(crate) fn spill(&self) -> Option<&dyn Log> {
        self.spill.get().map(|spill| &*spill.log)
    }

    /// Bytes that ready messages take.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Messages that were paged out since the start.
    pub(crate) fn paged_out(&self) -> u64 {
        self.paged_out.load(Ordering::Relaxed)
    }

    /// Ready messages may take so many bytes.
    pub(crate) fn allow(&self, bytes: u64) {
        self.allowed.store(bytes, Ordering::Relaxed);
    }

    /// Whether messages take more than they may.
    pub(crate) fn is_over(&self) -> bool {
        self.taken() > self.allowed.load(Ordering::Relaxed)
    }

    /// Whether messages take more than they may, and the second log takes them.
    pub(crate) fn must_page(&self) -> bool {
        self.is_over() && self.spill().is_some_and(|log| !log.is_stalled() && !log.is_full())
    }

    /// Whether messages take more than they may while the second log does not keep up: it soon will.
    pub(crate) fn is_stalled(&self) -> bool {
        self.is_over() && self.spill().is_some_and(|log| log.is_stalled() && !log.is_full())
    }

    /// What one queue takes has changed.
    pub(crate) fn change(&self, before: u64, now: u64) {
        if now >= before {
            self.taken.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.taken.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// So many messages were paged out.
    pub(crate) fn count_paged_out(&self, count: u64) {
        self.paged_out.fetch_add(count, Ordering::Relaxed);
    }

    /// How far the window of one queue reaches: less the more all hold together. `None` when all
    /// messages stay in memory.
    pub(crate) fn reach(&self) -> Option<Reach> {
        let most = self.window_max?;
        let free = WINDOWS_BYTES.min(self.allowed.load(Ordering::Relaxed) / 4).max(1);
        let beyond = self.taken().saturating_sub(free).min(2 * free);
        let share = SHARES - beyond * SHARES / (2 * free);
        let messages = most as u64 * share / SHARES;
        let least = most.min(WINDOW_MESSAGES_MIN);
        Some(Reach {
            messages: usize::try_from(messages).unwrap_or(most).max(least),
            bytes: (WINDOW_BYTES * share / SHARES).max(WINDOW_BYTES_MIN),
        })
    }

    /// Messages of the second log left their queues.
    pub(crate) fn release(&self, settled: &mut Vec<Settled>) {
        for run in &mut *settled {
            run.first = run.first.in_spill();
        }
        if let Some(log) = self.spill() {
            log.release(settled);
        }
        settled.clear();
    }

    /// Asks the second log for messages.
    pub(crate) fn read(&self, queue: QueueId, positions: &[Position]) {
        if let Some(log) = self.spill() {
            log.read(queue, positions.iter().map(|position| position.in_spill()).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_as_memory_fills() {
        let memory = Memory::new(Some(4096));
        let full = Reach { messages: 4096, bytes: WINDOW_BYTES };
        assert_eq!(memory.reach(), Some(full));
        memory.change(0, WINDOWS_BYTES);
        assert_eq!(memory.reach(), Some(full));
        memory.change(0, WINDOWS_BYTES);
        assert_eq!(memory.reach().map(|reach| reach.messages), Some(2048));
        memory.change(0, 100 * WINDOWS_BYTES);
        let least = Reach { messages: WINDOW_MESSAGES_MIN, bytes: WINDOW_BYTES_MIN };
        assert_eq!(memory.reach(), Some(least));
        memory.change(102 * WINDOWS_BYTES, 0);
        assert_eq!(memory.reach(), Some(full));
        assert_eq!(Memory::new(None).reach(), None, "there is nowhere else to be");
    }
}
