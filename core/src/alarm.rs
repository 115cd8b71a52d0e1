//! Resource alarms: while one is on, the broker takes no publishes.
//!
//! Whoever watches memory and disk calls [`Broker::set_alarms`]. An adapter asks
//! [`Batch::alarms`] before a publish: a client that holds nothing unsettled is not read from until
//! [`Request::AwaitCalm`] is answered, since it can do without; of one that does, the publishes are
//! refused and the acknowledgements behind them are read, since those are what frees memory.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

#[cfg(doc)]
use crate::Request;
use crate::{Batch, Broker, Event, Outbox, Refusal, SessionHandle};

/// Reasons for an alarm: memory, a disk that is nearly full, a log without space.
const MEMORY: u8 = 1;
const DISK: u8 = 2;
pub(crate) const LOG: u8 = 4;

/// What is short. `Display` is RabbitMQ's reason, such as `low on disk & memory`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    /// Memory is at its last limit.
    pub memory: bool,
    /// The disk is nearly full.
    pub disk: bool,
}

impl Alarms {
    /// Whether anything is short.
    #[must_use]
    pub const fn any(self) -> bool {
        self.memory || self.disk
    }

    const fn of_bits(bits: u8) -> Self {
        Self { memory: bits & MEMORY != 0, disk: bits & (DISK | LOG) != 0 }
    }
}

impl std::fmt::Display for Alarms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.memory, self.disk) {
            (true, true) => "low on disk & memory",
            (true, false) => "low on memory",
            (false, true) => "low on disk",
            (false, false) => "nothing is short",
        })
    }
}

/// The alarms of a broker, and who waits for their end.
#[derive(Debug, Default)]
pub(crate) struct AlarmBell {
    bits: AtomicU8,
    /// Why nothing can be kept any more.
    failure: OnceLock<&'static str>,
    /// Guards who waits. A leaf.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    wakers: Vec<Waker>,
    outboxes: Vec<Arc<Outbox>>,
}

impl AlarmBell {
    pub(crate) fn alarms(&self) -> Alarms {
        Alarms::of_bits(self.bits.load(Ordering::Acquire))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes `waker` when no alarm is on any more. False when none is now.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        let mut waiting = self.waiting();
        if !self.alarms().any() {
            return false;
        }
        if !waiting.wakers.iter().any(|known| known.will_wake(waker)) {
            waiting.wakers.push(waker.clone());
        }
        true
    }
}

impl Broker {
    /// Says what is short now. The end of the last alarm reaches everybody who waits for it.
    pub fn set_alarms(&self, alarms: Alarms) {
        self.set_alarm(MEMORY, alarms.memory);
        self.set_alarm(DISK, alarms.disk);
    }

    /// Says that memory is short, or is no more.
    pub fn set_memory_alarm(&self, is_short: bool) {
        self.set_alarm(MEMORY, is_short);
    }

    /// Says that the disk is nearly full, or is no more. Of a log without space the broker hears from
    /// the log.
    pub fn set_disk_alarm(&self, is_short: bool) {
        self.set_alarm(DISK, is_short);
    }

    /// One reason for an alarm comes or goes; different threads watch them.
    pub(crate) fn set_alarm(&self, bit: u8, is_on: bool) {
        let freed = {
            let mut waiting = self.bell.waiting();
            let bits = self.bell.bits.load(Ordering::Acquire);
            let bits = if is_on { bits | bit } else { bits & !bit };
            self.bell.bits.store(bits, Ordering::Release);
            let alarms = Alarms::of_bits(bits);
            if alarms.any() { Waiting::default() } else { std::mem::take(&mut *waiting) }
        };
        for outbox in freed.outboxes {
            outbox.push_event(Event::Calm);
            outbox.wake();
        }
        for waker in freed.wakers {
            waker.wake();
        }
    }

    /// What is short now.
    pub fn alarms(&self) -> Alarms {
        self.bell.alarms()
    }

    /// Says that nothing can be kept any more: publishes are refused for good, for this reason, and
    /// connections are to end. The first one counts.
    pub fn fail(&self, because: &'static str) {
        // A second reason tells nobody more.
        self.bell.failure.set(because).ok();
        self.set_alarms(Alarms { disk: true, ..self.alarms() });
    }
}

impl Batch<'_> {
    /// What is short. As of the beginning of the batch: publishes are refused by it.
    #[must_use]
    pub const fn alarms(&self) -> Alarms {
        self.alarms
    }

    /// Has the session's connection told of the end of the alarms ([`Event::Calm`]), once.
    pub fn watch_alarms(&self, session: &SessionHandle) {
        let outbox = session.0.outbox();
        let mut waiting = self.broker.bell.waiting();
        if waiting.outboxes.iter().any(|known| Arc::ptr_eq(known, outbox)) {
            return;
        }
        if self.broker.alarms().any() {
            waiting.outboxes.push(outbox.clone());
        } else {
            drop(waiting);
            // Over since the batch began.
            outbox.push_event(Event::Calm);
            outbox.wake();
        }
    }

    /// What a publish hears during an alarm.
    pub(crate) fn check_alarms(&self) -> Result<(), Refusal> {
        if self.alarms.any() {
            return Err(Refusal::Blocked { reason: self.alarm_reason() });
        }
        Ok(())
    }

    /// What an alarm is called: what is short, or why nothing is kept any more.
    pub fn alarm_reason(&self) -> String {
        self.broker.bell.failure.get().map_or_else(|| self.alarms.to_string(), ToString::to_string)
    }

    /// Why connections are told to end: a failure, or that the broker is shut down.
    #[must_use]
    pub fn farewell(&self) -> &'static str {
        self.broker.bell.failure.get().copied().unwrap_or("shutdown")
    }
}
