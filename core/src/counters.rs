//! What happened, in plain integers: counted per batch, added to the totals once a batch.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Protocol;
use crate::queue::Reason;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Messages and what became of them, since the start, for clients of one protocol.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[doc = $doc])+ pub $name: u64,)+ }

        /// [`Counts`] that all threads add to.
        #[derive(Debug, Default)]
        struct SharedCounts { $($name: AtomicU64,)+ }

        impl SharedCounts {
            fn add(&self, counts: &Counts) {
                $(if counts.$name != 0 {
                    self.$name.fetch_add(counts.$name, Ordering::Relaxed);
                })+
            }

            fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Messages published.
    published,
    /// Bytes of their bodies.
    published_bytes,
    /// Of `published`, those whose publisher wants to hear that they are safe.
    published_confirm,
    /// Publishes that were confirmed.
    confirmed,
    /// Publishes that no queue and no subscriber took, and that were dropped.
    unroutable_dropped,
    /// Mandatory publishes that were returned.
    unroutable_returned,
    /// Messages delivered to consumers that acknowledge.
    delivered,
    /// Messages delivered to consumers that do not, fire-and-forget subscribers included.
    delivered_no_ack,
    /// Messages taken one by one and to be acknowledged.
    gotten,
    /// Messages taken one by one that need no acknowledgement.
    gotten_no_ack,
    /// Looks for a message that found none.
    get_empty,
    /// Deliveries of messages delivered before.
    redelivered,
    /// Deliveries accepted.
    acknowledged,
    /// Deliveries rejected for good.
    rejected,
    /// Deliveries put back.
    requeued,
    /// Fire-and-forget messages dropped because the subscriber does not keep up.
    dropped,
    /// Subscriptions ended because their own queue held too much.
    overflown,
}

/// Why messages left queues without being accepted: by kind of queue, whether there was a
/// dead-letter exchange, and reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaths([[[u64; Reason::ALL.len()]; 2]; 2]);

/// One of [`Deaths`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeathCount {
    /// Whether the queues were declared as quorum queues.
    pub quorum: bool,
    /// Whether they had a dead-letter exchange: else the messages were dropped.
    pub dead_lettered: bool,
    /// As `x-death` names it.
    pub reason: &'static str,
    /// Messages.
    pub count: u64,
}

impl Deaths {
    /// All of them, also those that never happened.
    pub fn iter(&self) -> impl Iterator<Item = DeathCount> {
        let kinds = [(false, false), (false, true), (true, false), (true, true)];
        kinds.into_iter().flat_map(|(quorum, dead_lettered)| {
            let counts = self.0[usize::from(quorum)][usize::from(dead_lettered)];
            Reason::ALL.into_iter().zip(counts).map(move |(reason, count)| DeathCount {
                quorum,
                dead_lettered,
                reason: reason.name(),
                count,
            })
        })
    }
}

/// [`Deaths`] that all threads add to.
#[derive(Debug, Default)]
struct SharedDeaths([[[AtomicU64; Reason::ALL.len()]; 2]; 2]);

/// One [`Counts`] a protocol, and the dead.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counts: [Counts; 3],
    deaths: Deaths,
    changed: bool,
    has_deaths: bool,
}

impl Counters {
    /// What clients of `protocol` caused, to be added to.
    pub(crate) const fn of(&mut self, protocol: Protocol) -> &mut Counts {
        self.changed = true;
        &mut self.counts[protocol.index()]
    }

    /// A message left such a queue without being accepted.
    pub(crate) fn note_death(&mut self, quorum: bool, dead_lettered: bool, reason: Reason) {
        self.has_deaths = true;
        self.deaths.0[usize::from(quorum)][usize::from(dead_lettered)][reason as usize] += 1;
    }
}

/// The totals of a broker.
#[derive(Debug, Default)]
pub(crate) struct SharedCounters {
    counts: [SharedCounts; 3],
    deaths: SharedDeaths,
}

impl SharedCounters {
    /// Adds what one batch counted and resets it.
    pub(crate) fn add(&self, counters: &mut Counters) {
        if std::mem::take(&mut counters.has_deaths) {
            let added = std::mem::take(&mut counters.deaths);
            let shared = self.deaths.0.iter().flatten().flatten();
            for (shared, count) in shared.zip(added.0.iter().flatten().flatten()) {
                shared.fetch_add(*count, Ordering::Relaxed);
            }
        }
        if !std::mem::take(&mut counters.changed) {
            return;
        }
        for (shared, counts) in self.counts.iter().zip(&mut counters.counts) {
            shared.add(&std::mem::take(counts));
        }
    }

    /// The totals, in the order of [`Protocol::index`].
    pub(crate) fn read(&self) -> [Counts; 3] {
        std::array::from_fn(|index| self.counts[index].read())
    }

    /// The dead.
    pub(crate) fn read_deaths(&self) -> Deaths {
        Deaths(self.deaths.0.each_ref().map(|by_exchange| {
            by_exchange
                .each_ref()
                .map(|by_reason| by_reason.each_ref().map(|count| count.load(Ordering::Relaxed)))
        }))
    }
}
