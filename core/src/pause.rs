//! Publishers that wait for a log to catch up.
//!
//! The log goes on without them, so that a pause ends by itself: it is no alarm, nobody is told,
//! and it stops nothing but the reading from one socket. Deliveries to that client go on.

use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use crate::{Batch, Broker};

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// A leaf.
    waiting: Mutex<Vec<Waker>>,
}

impl Pause {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody looks again.
    pub(crate) fn end(&self) {
        let waiting = std::mem::take(&mut *self.waiting());
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Broker {
    fn is_stalled(&self) -> bool {
        self.log.is_stalled() || self.memory.is_stalled()
    }

    /// Wakes `waker` once the logs may have caught up. False when they have.
    pub fn pause(&self, waker: &Waker) -> bool {
        if !self.is_stalled() {
            return false;
        }
        {
            let mut waiting = self.pause.waiting();
            if !waiting.iter().any(|known| known.will_wake(waker)) {
                waiting.push(waker.clone());
            }
        }
        // A log that caught up before it was noted has woken nobody.
        self.is_stalled()
    }
}

impl Batch<'_> {
    /// Whether the client should be read from no more until [`Broker::pause`] says so: it publishes
    /// what a log gets that does not keep up, be it the durable one, or the one that messages go to
    /// when memory is short. To be asked before [`Batch::end`].
    #[must_use]
    pub fn must_pause(&self) -> bool {
        if !self.broker.is_stalled() {
            return false;
        }
        self.publishes() && (self.broker.memory.is_stalled() || self.publishes_to_log())
    }
}
