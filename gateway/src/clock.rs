//! One clock for the process: coarse time, and a wheel that wakes connections.
//!
//! Nobody reads a clock per message (a batch does, once) and nobody owns a timer. A single task advances [`Clock`]
//! every [`SLOT`]; a connection with a deadline puts itself into the slot of that deadline and is
//! woken when it has passed. A deadline that moves later (each read moves a keep-alive) costs
//! nothing: the connection is woken at the old one, sees that there is time, and arms again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use trivium_core::Instant;

/// How often time moves. Every deadline is kept this late at most, plus the scheduler's delay.
pub(crate) const SLOT: Duration = Duration::from_millis(100);

const SLOT_MS: u64 = 100;

/// Coarse time, and who waits for it.
#[derive(Debug)]
pub(crate) struct Clock {
    started: std::time::Instant,
    now_ms: AtomicU64,
    /// Guards who is woken when; held for one push, or to detach the slots that are due.
    wheel: Mutex<BTreeMap<u64, Vec<Weak<Timer>>>>,
}

/// A connection's place in the wheel. Dropping it is all it takes to leave.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    /// Who is woken; the connection's task registers itself once.
    pub(crate) waker: AtomicWaker,
    /// The earliest slot this timer stands in, above [`Clock::now`]'s; 0 for none.
    armed: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            started: std::time::Instant::now(),
            now_ms: AtomicU64::new(0),
            wheel: Mutex::default(),
        }
    }
}

impl Clock {
    /// The time of the last [`Clock::advance`].
    pub(crate) fn now(&self) -> Instant {
        Instant::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    /// The time itself. Read once a batch: messages expire by it, and ten of their milliseconds
    /// may matter to somebody.
    pub(crate) fn read(&self) -> Instant {
        Instant::from_millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Moves time to now and wakes whoever waited for it.
    pub(crate) fn advance(&self) {
        self.advance_to(self.read());
    }

    fn advance_to(&self, now: Instant) {
        self.now_ms.store(now.as_millis(), Ordering::Relaxed);
        let due = {
            let mut wheel = self.wheel.lock().unwrap_or_else(PoisonError::into_inner);
            let later = wheel.split_off(&(now.as_millis() / SLOT_MS + 1));
            std::mem::replace(&mut *wheel, later)
        };
        for timer in due.into_values().flatten().filter_map(|timer| timer.upgrade()) {
            timer.armed.store(0, Ordering::Relaxed);
            timer.waker.wake();
        }
    }

    /// Wakes `timer` once `at` has passed, or in the next slot if it already has; earlier wishes
    /// of the same timer stand.
    pub(crate) fn arm(&self, timer: &Arc<Timer>, at: Instant) {
        let next = self.now().as_millis() / SLOT_MS + 1;
        let slot = at.as_millis().div_ceil(SLOT_MS).max(next);
        let armed = timer.armed.load(Ordering::Relaxed);
        if armed != 0 && armed <= slot {
            return;
        }
        timer.armed.store(slot, Ordering::Relaxed);
        let mut wheel = self.wheel.lock().unwrap_or_else(PoisonError::into_inner);
        wheel.entry(slot).or_default().push(Arc::downgrade(timer));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn timer() -> (Arc<Timer>, Arc<Count>) {
        let (timer, count) = (Arc::<Timer>::default(), Arc::<Count>::default());
        timer.waker.register(&count.clone().into());
        (timer, count)
    }

    #[test]
    fn a_timer_wakes_once_its_deadline_has_passed_and_not_before() {
        let clock = Clock::default();
        let (timer, count) = timer();
        clock.arm(&timer, Instant::from_millis(250));
        for (now, woken) in [(100, 0), (200, 0), (299, 0), (300, 1), (900, 1)] {
            clock.advance_to(Instant::from_millis(now));
            assert_eq!(count.0.load(Ordering::Relaxed), woken, "at {now}");
        }
    }

    #[test]
    fn the_earliest_wish_counts_and_a_past_one_comes_next() {
        let clock = Clock::default();
        let (timer, count) = timer();
        clock.arm(&timer, Instant::from_millis(5000));
        clock.arm(&timer, Instant::from_millis(200));
        clock.arm(&timer, Instant::from_millis(9000));
        clock.advance_to(Instant::from_millis(200));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);

        let (late, late_count) = self::timer();
        clock.arm(&late, Instant::from_millis(50));
        clock.advance_to(Instant::from_millis(300));
        assert_eq!(late_count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_dropped_timer_is_forgotten() {
        let clock = Clock::default();
        let (timer, count) = timer();
        clock.arm(&timer, Instant::from_millis(100));
        drop(timer);
        clock.advance_to(Instant::from_millis(1000));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert!(clock.wheel.lock().unwrap().is_empty());
    }
}
