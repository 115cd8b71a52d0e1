//! Who gets what: round robin over the consumers that can take, those of the highest priority
//! first, in runs under a backlog and one by one when the queue is nearly empty.

use std::sync::Arc;

use super::death::Reason;
use super::lane::Arrival;
use super::mark::Mark;
use super::ready::{Front, Reach};
use super::state::State;
use super::{Effects, Queue};
use crate::{Delivery, DeliveryId, Event, Message, Outbox, Protocol};

/// Ready messages from which on consumers are served in runs: below, fairness counts more than
/// the cost of changing over.
const BACKLOG: u64 = 64;

/// The longest run one consumer gets while another waits.
const RUN_MAX: u32 = 16;

/// A delivery on its way to a taker.
struct Handed {
    slot: u32,
    generation: u32,
    message: Message,
    redelivered: bool,
    delivery_count: Option<u16>,
    retained: bool,
    mark: Mark,
}

impl State {
    /// Hands ready messages to consumers until either runs out.
    pub(crate) fn dispatch(&mut self, queue: &Arc<Queue>, effects: &mut Effects) {
        if !self.order.is_empty() {
            loop {
                self.deliver(effects);
                if !self.flush(queue, effects) {
                    break;
                }
            }
            self.read_ahead(effects);
        }
        if self.needs_care {
            self.care(queue, effects);
        }
        self.weigh(effects);
        #[cfg(any(test, debug_assertions))]
        self.check();
    }

    fn deliver(&mut self, effects: &mut Effects) {
        loop {
            if self.express_is_next() {
                self.hand_over_express(effects);
                continue;
            }
            let bytes = match self.ready.front() {
                Front::Resident { bytes } => bytes,
                Front::Empty => return,
                Front::Paged => {
                    if !self.has_taker_with_credit() {
                        return;
                    }
                    let wanted = self.ready.refill(self.charge.reach().unwrap_or(Reach::ALL));
                    effects.read(self.id, wanted);
                    if self.ready.front() == Front::Paged {
                        return;
                    }
                    continue;
                }
            };
            if let Some(expired) = self.ready.take_expired_first(effects.now) {
                self.die(expired.position, expired.message, Reason::Expired);
                continue;
            }
            let run_max = if self.ready.len() > BACKLOG { RUN_MAX } else { 1 };
            let Some(place) = self.choose(self.run >= run_max) else { return };
            self.hand_over(place, bytes, effects);
        }
    }

    pub(super) fn has_taker_with_credit(&self) -> bool {
        if self.args.single_active_consumer {
            return self.active().is_some_and(super::Taker::can_take);
        }
        self.order
            .iter()
            .any(|place| self.takers[*place as usize].as_ref().is_some_and(super::Taker::can_take))
    }

    /// The only consumer that gets messages, of a queue that has such a one.
    fn active(&self) -> Option<&super::Taker> {
        let place = self.active.or_else(|| self.order.first().copied())?;
        self.takers[place as usize].as_ref()
    }

    /// The next consumer that can take. `next` asks for a change if another can.
    fn choose(&mut self, next: bool) -> Option<u32> {
        if self.args.single_active_consumer {
            self.active = self.active.or_else(|| self.order.first().copied());
            return self.active.filter(|_| self.has_taker_with_credit());
        }
        let count = self.order.len();
        if self.cursor >= count {
            self.cursor = 0;
        }
        let start = if next { self.cursor + 1 } else { self.cursor };
        let mut best: Option<(usize, i64)> = None;
        for step in 0..count {
            let at = (start + step) % count;
            let Some(taker) = self.takers[self.order[at] as usize].as_ref() else { continue };
            let Some(consumer) = taker.consumer.as_ref().filter(|_| taker.can_take()) else {
                continue;
            };
            if best.is_none_or(|(_, priority)| consumer.priority > priority) {
                best = Some((at, consumer.priority));
            }
            if self.is_uniform(consumer.priority) {
                break;
            }
        }
        let (at, _) = best?;
        self.run = if at != self.cursor || next { 1 } else { self.run + 1 };
        self.cursor = at;
        Some(self.order[at])
    }

    /// Whether no consumer has a higher priority: `order` is sorted by it.
    fn is_uniform(&self, priority: i64) -> bool {
        let first = self.order.first().and_then(|place| self.takers[*place as usize].as_ref());
        first.and_then(|taker| taker.consumer.as_ref()).is_none_or(|c| c.priority <= priority)
    }

    fn hand_over(&mut self, place: u32, bytes: usize, effects: &mut Effects) {
        let Some(taker) = self.takers[place as usize].as_ref() else { return };
        let protocol = taker.protocol();
        let no_ack = taker.consumer.as_ref().is_none_or(|consumer| consumer.no_ack);
        if !no_ack && !taker.session.reserve() {
            // Another queue of the session was faster: somebody else is chosen.
            return;
        }
        let Some((entry, message, expires_at)) = self.ready.pop() else { return };
        let redelivered = entry.attempts > 0;
        let (slot, generation) = if no_ack {
            if let Some(position) = entry.position {
                effects.settle(self.id, position, 1);
            }
            effects.counters.of(protocol).delivered_no_ack += 1;
            (DeliveryId::SETTLED, 0)
        } else {
            effects.counters.of(protocol).delivered += 1;
            self.keep(&entry, &message, expires_at, place, effects)
        };
        effects.counters.of(protocol).redelivered += u64::from(redelivered);
        let delivery_count = self.args.tells_deliveries().then_some(entry.attempts);
        let (retained, mark) = (entry.retained, self.mark_of(entry.arrival));
        let handed =
            Handed { slot, generation, message, redelivered, delivery_count, retained, mark };
        self.hand(place, handed, bytes);
    }

    /// What the client of a resumed session knows of a message.
    fn mark_of(&self, arrival: Arrival) -> Mark {
        if self.marks.is_empty() {
            return Mark::default();
        }
        self.marks.get(&arrival).copied().unwrap_or_default()
    }

    /// Whether the oldest message that needs no acknowledgement goes next: in its turn, or at once
    /// when what is older waits for acknowledgements or for the log.
    fn express_is_next(&self) -> bool {
        let Some(entry) = self.express.front() else { return false };
        let first = self.order.first().and_then(|place| self.takers[*place as usize].as_ref());
        if !first.is_some_and(super::Taker::is_open) {
            return false;
        }
        match self.ready.front() {
            Front::Empty | Front::Paged => true,
            Front::Resident { .. } => {
                self.ready.first_arrival().is_none_or(|older| entry.arrival < older)
                    || !self.has_taker_with_credit()
            }
        }
    }

    fn hand_over_express(&mut self, effects: &mut Effects) {
        let Some(&place) = self.order.first() else { return };
        let Some(entry) = self.express.pop_front() else { return };
        self.express_bytes -= u64::from(entry.bytes);
        let Some(message) = entry.message else { return };
        if message.expires_at().is_some_and(|at| at < effects.now) {
            return;
        }
        effects.counters.of(Protocol::Mqtt).delivered_no_ack += 1;
        let bytes = message.cost_bytes();
        let (slot, retained) = (DeliveryId::SETTLED, entry.retained);
        let (generation, redelivered, delivery_count) = (0, false, None);
        let mark = Mark::default();
        let handed =
            Handed { slot, generation, message, redelivered, delivery_count, retained, mark };
        self.hand(place, handed, bytes);
    }

    /// Puts a delivery among those that the taker's outbox gets at the end of the dispatch.
    fn hand(&mut self, place: u32, handed: Handed, bytes: usize) {
        let Handed { slot, generation, message, redelivered, delivery_count, retained, mark } =
            handed;
        let Some(taker) = self.takers[place as usize].as_mut() else { return };
        let queue = taker.queue_index;
        let session = taker.session.id();
        let Some(consumer) = taker.consumer.as_mut() else { return };
        if consumer.pending.is_empty() {
            self.served.push(place);
        }
        let delivery = DeliveryId { queue, slot, generation };
        consumer.pending.push(if mark.released {
            Event::Released { session, delivery, label: mark.label }
        } else {
            Event::Delivery(Delivery {
                session,
                consumer: consumer.id,
                delivery,
                message,
                redelivered,
                delivery_count,
                retained,
                label: mark.label,
                label_qos: mark.qos,
            })
        });
        consumer.pending_bytes += Outbox::delivery_cost(bytes);
        // Its outbox is asked once a message, without its lock; a full one is waited for in flush.
        if !taker.session.outbox().has_room(consumer.pending_bytes) {
            consumer.waits_for_room = true;
        }
    }

    /// Moves what was delivered into the outboxes, one lock each. True when a consumer that was
    /// to wait for room turned out to have it.
    fn flush(&mut self, queue: &Arc<Queue>, effects: &mut Effects) -> bool {
        let mut again = false;
        for place in self.served.drain(..) {
            let Some(taker) = self.takers[place as usize].as_mut() else { continue };
            let outbox = taker.session.outbox().clone();
            let Some(consumer) = taker.consumer.as_mut() else { continue };
            outbox.push(&mut consumer.pending, std::mem::take(&mut consumer.pending_bytes));
            effects.touch(&outbox);
            if consumer.waits_for_room && !outbox.wait_for_room(queue) {
                consumer.waits_for_room = false;
                again = true;
            }
        }
        again
    }

    /// Reads the window on before it runs dry.
    fn read_ahead(&mut self, effects: &mut Effects) {
        if let Some(reach) = self.charge.reach()
            && self.ready.window_len() <= reach.messages / 2
            && self.has_taker_with_credit()
        {
            let wanted = self.ready.refill(reach);
            effects.read(self.id, wanted);
        }
    }

    /// The outboxes of its consumers may have room again. The caller dispatches afterwards.
    pub(crate) fn room(&mut self) {
        for taker in self.takers.iter_mut().flatten() {
            if let Some(consumer) = taker.consumer.as_mut() {
                consumer.waits_for_room = false;
            }
        }
    }
}
