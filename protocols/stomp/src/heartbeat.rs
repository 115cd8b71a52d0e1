//! Heart-beats both ways (S-37 to S-42).

use std::time::Duration;

use stomp_parser::headers::HeartBeatIntervals;
use trivium_core::Instant;

use crate::config::Config;

/// When a sign of life is due, from us and from the client.
#[derive(Debug, Default)]
pub(crate) struct HeartBeat {
    send_every: Option<Duration>,
    receive_every: Option<Duration>,
    sent: Instant,
    received: Instant,
}

impl HeartBeat {
    /// Agrees with what the client offers and wishes, and says what CONNECTED answers: each side
    /// as the client would have it, but no faster than the configured minimum.
    pub(crate) fn negotiate(
        config: &Config,
        client: &HeartBeatIntervals,
        now: Instant,
    ) -> (Self, HeartBeatIntervals) {
        let at_least = |wanted: u32, min: u32| if wanted == 0 { 0 } else { wanted.max(min) };
        let supplied = at_least(client.expected, config.heart_beat_send_ms_min);
        let expected = at_least(client.supplied, config.heart_beat_receive_ms_min);
        let every = |ms: u32| (ms > 0).then(|| Duration::from_millis(ms.into()));
        let beat = Self {
            send_every: every(supplied),
            receive_every: every(expected),
            sent: now,
            received: now,
        };
        (beat, HeartBeatIntervals::new(supplied, expected))
    }

    /// Something was written.
    pub(crate) fn note_sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Something arrived, in the middle of a frame too (S-41).
    pub(crate) fn note_received(&mut self, now: Instant) {
        self.received = now;
    }

    /// When we must have written something. A quarter early: timers are coarse, and the network
    /// takes its time.
    pub(crate) fn send_due(&self) -> Option<Instant> {
        self.send_every.map(|every| self.sent.after(every * 3 / 4))
    }

    /// When silence means that the client is gone: after two intervals (S-42).
    pub(crate) fn receive_due(&self) -> Option<Instant> {
        self.receive_every.map(|every| self.received.after(every * 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_gets_what_it_asks_for_and_we_can_do() {
        for (offered, answered) in [
            ((0, 0), (0, 0)),
            ((10_000, 4000), (4000, 10_000)),
            ((1, 0), (0, 1000)),
            ((0, 1), (1000, 0)),
        ] {
            let client = HeartBeatIntervals::new(offered.0, offered.1);
            let config = Config::default();
            let (beat, answer) = HeartBeat::negotiate(&config, &client, Instant::START);
            assert_eq!((answer.supplied, answer.expected), answered, "S-39: {offered:?}");
            let millis = |due: Option<Instant>| due.map_or(0, Instant::as_millis);
            assert_eq!(millis(beat.send_due()), u64::from(answered.0) * 3 / 4);
            assert_eq!(millis(beat.receive_due()), u64::from(answered.1) * 2);
        }
    }
}
