//! Fire-and-forget subscribers: each message is encoded once per variant, outside all locks, and
//! a run of messages with one route goes to each subscriber with one copy.

use super::Batch;
use crate::loss::SharedLosses;
use crate::{Lost, Protocol};

impl Batch<'_> {
    pub(super) fn fan_out(&mut self) {
        let scratch = &mut *self.scratch;
        let mut start = 0;
        while start < scratch.staged.len() {
            let route = scratch.staged[start].route;
            let run = scratch.staged[start..].iter().take_while(|staged| staged.route == route);
            let end = start + run.count();
            let staged = &mut scratch.staged[start..end];
            start = end;
            let subscribers = &scratch.routes[route as usize].route.subscribers;
            let mut encoded = None;
            let mut lost = LostOfVariant::default();
            for subscriber in subscribers {
                // A route and its staged publishes are those of one connection.
                let publisher = staged[0].message.publisher();
                if subscriber.no_local && subscriber.publisher == publisher {
                    continue;
                }
                if encoded != Some(subscriber.variant) {
                    encoded = Some(subscriber.variant);
                    lost.count(&self.broker.losses);
                    scratch.packets.clear();
                    for staged in &*staged {
                        let (message, packets) = (&staged.message, &mut scratch.packets);
                        let of_one =
                            subscriber.encoder.encode(subscriber.variant, message, packets);
                        lost.note(message.protocol(), of_one);
                    }
                }
                let counts = scratch.effects.counters.of(Protocol::Mqtt);
                if subscriber.outbox.push_packets(&scratch.packets) {
                    counts.delivered_no_ack += staged.len() as u64;
                    lost.readers += 1;
                } else {
                    counts.dropped += staged.len() as u64;
                }
                for staged in &mut *staged {
                    staged.taken += 1;
                }
                scratch.effects.touch(&subscriber.outbox);
            }
            lost.count(&self.broker.losses);
        }
        scratch.packets.clear();
        if scratch.packets.capacity() > PACKETS_KEPT {
            scratch.packets = Vec::new();
        }
    }
}

/// What the messages of a run lost in one variant, and how many subscribers read them so.
#[derive(Default)]
struct LostOfVariant {
    /// Messages that lost something; mostly none.
    messages: Vec<(Protocol, Lost)>,
    readers: u64,
}

impl LostOfVariant {
    fn note(&mut self, from: Protocol, lost: Lost) {
        if !lost.is_nothing() {
            self.messages.push((from, lost));
        }
    }

    /// Counts them, and begins the next variant. Who skipped the messages or had no room for them
    /// lost no field of them.
    fn count(&mut self, losses: &SharedLosses) {
        let readers = std::mem::take(&mut self.readers);
        for (from, lost) in self.messages.drain(..) {
            losses.add(from, Protocol::Mqtt, lost, readers);
        }
    }
}

/// Bytes of encoded packets that a worker keeps room for: one full read.
const PACKETS_KEPT: usize = 256 * 1024;
