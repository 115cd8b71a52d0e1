//! When messages expire, beside the messages: a queue that has never held one that does pays for
//! none of this, and entries stay small.
//!
//! What is ready stands in runs of adjacent arrivals that expire at once, as one read of a
//! publisher makes them; what is unsettled waits under its place, because expiry survives a return.

use std::collections::{BTreeMap, BTreeSet};

use super::lane::Arrival;
use crate::Instant;
use crate::hash::IdMap;

/// Adjacent arrivals up to the one it is kept under.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: Arrival,
    at: Instant,
    priority: u8,
}

/// The expiring messages of one queue.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// By their last arrival, so that taking the first of a run changes no key.
    runs: BTreeMap<Arrival, Run>,
    /// The same by time.
    due: BTreeSet<(Instant, Arrival)>,
    /// The run that new messages may join, with its last arrival.
    open: Option<(Arrival, Run)>,
    /// Of unsettled deliveries, by their place.
    held: IdMap<u32, Instant>,
}

impl Expiry {
    /// A message arrived behind all others.
    pub(super) fn push(&mut self, arrival: Arrival, at: Instant, priority: u8) {
        if let Some((last, run)) = &mut self.open {
            if *last + 1 == arrival && run.at == at && run.priority == priority {
                *last = arrival;
                return;
            }
            self.close();
        }
        self.open = Some((arrival, Run { first: arrival, at, priority }));
    }

    /// A message is ready again.
    pub(super) fn put_back(&mut self, arrival: Arrival, at: Instant, priority: u8) {
        self.insert(arrival, Run { first: arrival, at, priority });
    }

    fn insert(&mut self, last: Arrival, run: Run) {
        self.runs.insert(last, run);
        self.due.insert((run.at, last));
    }

    fn close(&mut self) {
        if let Some((last, run)) = self.open.take() {
            self.insert(last, run);
        }
    }

    /// When the message of that arrival expires, if it does.
    pub(super) fn of(&self, arrival: Arrival) -> Option<Instant> {
        let (_, run) = match &self.open {
            Some((last, run)) if run.first <= arrival && arrival <= *last => (last, run),
            _ => self.runs.range(arrival..).next()?,
        };
        (run.first <= arrival).then_some(run.at)
    }

    /// The message of that arrival is not ready any more. Returns when it expires, if it does.
    pub(super) fn take(&mut self, arrival: Arrival) -> Option<Instant> {
        if let Some((last, run)) = &mut self.open
            && run.first <= arrival
            && arrival <= *last
        {
            let at = run.at;
            if run.first == arrival {
                run.first += 1;
                if run.first > *last {
                    self.open = None;
                }
                return Some(at);
            }
            self.close();
        }
        let (&last, run) = self.runs.range_mut(arrival..).next()?;
        let Run { first, at, priority } = *run;
        if arrival < first {
            return None;
        }
        if first == arrival && arrival < last {
            run.first += 1;
            return Some(at);
        }
        if first < arrival && arrival < last {
            run.first = arrival + 1;
        } else {
            self.runs.remove(&last);
            self.due.remove(&(at, last));
        }
        if first < arrival {
            self.insert(arrival - 1, Run { first, at, priority });
        }
        Some(at)
    }

    /// When the next ready message expires.
    pub(super) fn next(&self) -> Option<Instant> {
        let closed = self.due.first().map(|(at, _)| *at);
        let open = self.open.as_ref().map(|(_, run)| run.at);
        closed.into_iter().chain(open).min()
    }

    /// A ready message that has expired at `now`, with its priority. The caller takes it.
    pub(super) fn first_due(&mut self, now: Instant) -> Option<(Arrival, u8)> {
        if self.open.as_ref().is_some_and(|(_, run)| run.at <= now) {
            self.close();
        }
        let (at, last) = self.due.first()?;
        if *at > now {
            return None;
        }
        self.runs.get(last).map(|run| (run.first, run.priority))
    }

    /// Keeps the expiry of a delivery.
    pub(super) fn hold(&mut self, slot: u32, at: Instant) {
        self.held.insert(slot, at);
    }

    /// The expiry of a delivery that is settled.
    pub(super) fn release(&mut self, slot: u32) -> Option<Instant> {
        self.held.remove(&slot)
    }

    /// Forgets what is ready.
    pub(super) fn clear_ready(&mut self) {
        let held = std::mem::take(&mut self.held);
        *self = Self { held, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_a_run_is_found_once_in_any_order() {
        let at = Instant::from_millis;
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 3, 0, 2, 4]] {
            let mut expiry = Expiry::default();
            for arrival in 0..5 {
                expiry.push(arrival, at(7), 0);
            }
            expiry.push(9, at(3), 2);
            assert_eq!(expiry.next(), Some(at(3)));
            assert_eq!(expiry.first_due(at(2)), None);
            assert_eq!(expiry.first_due(at(3)), Some((9, 2)));
            for arrival in order {
                assert_eq!(expiry.of(arrival), Some(at(7)));
                assert_eq!(expiry.take(arrival), Some(at(7)));
                assert_eq!(expiry.take(arrival), None);
                assert_eq!(expiry.of(arrival), None);
            }
            expiry.put_back(3, at(7), 0);
            assert_eq!(expiry.take(9), Some(at(3)));
            assert_eq!(expiry.first_due(at(8)), Some((3, 0)));
            assert_eq!(expiry.take(3), Some(at(7)));
            assert_eq!(expiry.next(), None);
        }
    }
}
