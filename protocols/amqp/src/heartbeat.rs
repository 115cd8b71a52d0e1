//! Heartbeats (section 4.2.7): something goes out at least every half interval, and a peer that
//! was silent for two intervals is gone. Any traffic counts.

use std::time::Duration;

use trivium_core::Instant;

/// Both directions of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    /// As the client tuned it; zero is off.
    interval: Duration,
    sent: Instant,
    heard: Instant,
}

impl Heartbeat {
    /// Off, until [`Heartbeat::tune`].
    pub(crate) const fn new(now: Instant) -> Self {
        Self { interval: Duration::ZERO, sent: now, heard: now }
    }

    pub(crate) const fn tune(&mut self, seconds: u16) {
        self.interval = Duration::from_secs(seconds as u64);
    }

    pub(crate) const fn interval(&self) -> Duration {
        self.interval
    }

    pub(crate) const fn note_sent(&mut self, now: Instant) {
        self.sent = now;
    }

    pub(crate) const fn note_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    fn send_at(&self) -> Instant {
        self.sent.after(self.interval / 2)
    }

    fn silent_at(&self) -> Instant {
        self.heard.after(self.interval * 2)
    }

    /// When there is something to do next. While `reading` is false the peer may be silent: it is
    /// us who do not listen.
    pub(crate) fn deadline(&self, reading: bool) -> Option<Instant> {
        if self.interval.is_zero() {
            return None;
        }
        Some(if reading { self.send_at().min(self.silent_at()) } else { self.send_at() })
    }

    pub(crate) fn must_send(&self, now: Instant) -> bool {
        !self.interval.is_zero() && now >= self.send_at()
    }

    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        !self.interval.is_zero() && now >= self.silent_at()
    }
}
