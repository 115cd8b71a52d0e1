//! Fire-and-forget subscribers: each message is encoded once per variant, outside all locks, and
//! a run of messages with one route goes to each subscriber with one copy.

use std::sync::Arc;

use super::Batch;
use crate::Protocol;
use crate::routing::Subscriber;

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
            for subscriber in subscribers {
                // A route and its staged publishes are those of one connection.
                let publisher = staged[0].message.publisher();
                if subscriber.no_local && subscriber.connection == publisher {
                    continue;
                }
                if encoded != Some(subscriber.variant) {
                    encoded = Some(subscriber.variant);
                    scratch.packets.clear();
                    let of_variant = |other: &&Arc<Subscriber>| other.variant == subscriber.variant;
                    for staged in &*staged {
                        let (message, packets) = (&staged.message, &mut scratch.packets);
                        let lost = subscriber.encoder.encode(subscriber.variant, message, packets);
                        if !lost.is_nothing() {
                            let count = subscribers.iter().filter(of_variant).count() as u64;
                            let (from, to) = (message.protocol(), Protocol::Mqtt);
                            self.broker.losses.add(from, to, lost, count);
                        }
                    }
                }
                let counts = scratch.effects.counters.of(Protocol::Mqtt);
                if subscriber.outbox.push_packets(&scratch.packets) {
                    counts.delivered_no_ack += staged.len() as u64;
                } else {
                    counts.dropped += staged.len() as u64;
                }
                for staged in &mut *staged {
                    staged.taken += 1;
                }
                scratch.effects.touch(&subscriber.outbox);
            }
        }
        scratch.packets.clear();
        if scratch.packets.capacity() > PACKETS_KEPT {
            scratch.packets = Vec::new();
        }
    }
}

/// Bytes of encoded packets that a worker keeps room for: one full read.
const PACKETS_KEPT: usize = 256 * 1024;
