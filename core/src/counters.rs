//! What happened, in plain integers: counted per batch, added to the totals once a batch.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Protocol;

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

/// One [`Counts`] a protocol.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counts: [Counts; 3],
    changed: bool,
}

impl Counters {
    /// What clients of `protocol` caused, to be added to.
    pub(crate) const fn of(&mut self, protocol: Protocol) -> &mut Counts {
        self.changed = true;
        &mut self.counts[protocol.index()]
    }
}

/// The totals of a broker.
#[derive(Debug, Default)]
pub(crate) struct SharedCounters([SharedCounts; 3]);

impl SharedCounters {
    /// Adds what one batch counted and resets it.
    pub(crate) fn add(&self, counters: &mut Counters) {
        if !std::mem::take(&mut counters.changed) {
            return;
        }
        for (shared, counts) in self.0.iter().zip(&mut counters.counts) {
            shared.add(&std::mem::take(counts));
        }
    }

    /// The totals, in the order of [`Protocol::index`].
    pub(crate) fn read(&self) -> [Counts; 3] {
        std::array::from_fn(|index| self.0[index].read())
    }
}
