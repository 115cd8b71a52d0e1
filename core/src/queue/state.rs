//! The transitions of a queue. Every one is a method of [`State`], under the queue's lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::care::Dead;
use super::death::Reason;
use super::garbage::Garbage;
use super::lane::{Arrival, Entry};
use super::mark::Mark;
use super::paging::Charge;
use super::ready::Ready;
use super::taker::{Consumer, Taker};
use super::unsettled::{Slab, Unsettled};
use super::{EffectiveArgs, Effects};
use crate::log::Position;
use crate::memory::Memory;
use crate::session::SessionShared;
use crate::{DeliveryId, Instant, Message, Outcome, Protocol, QueueId};

/// What changes in a queue.
#[derive(Debug)]
pub(crate) struct State {
    pub(super) id: QueueId,
    /// What its arguments and policies come to.
    pub(super) args: Arc<EffectiveArgs>,
    pub(super) ready: Ready,
    /// Of a session's queue: what goes out at QoS 0, which must not wait for the acknowledgements
    /// that `ready` waits for (MQTT 5, section 4.9).
    pub(super) express: VecDeque<Entry>,
    /// Bytes of their bodies.
    pub(super) express_bytes: u64,
    pub(super) unsettled: Slab,
    /// What the client of a session's queue knows of what was delivered to it.
    pub(super) marks: BTreeMap<Arrival, Mark>,
    /// Consumers and getters by place; a place is free once nothing of it is unsettled.
    pub(super) takers: Vec<Option<Taker>>,
    /// Places of attached consumers, those of the highest priority first.
    pub(super) order: Vec<u32>,
    /// Who alone gets messages (`x-single-active-consumer`): until it is detached and has settled
    /// what it took.
    pub(super) active: Option<u32>,
    /// Where in `order` the next message goes.
    pub(super) cursor: usize,
    /// How many messages in a row the consumer at `cursor` got.
    pub(super) run: u32,
    /// Places that got something in the dispatch under way.
    pub(super) served: Vec<u32>,
    /// Who waits for a single message to be read.
    pub(super) getters: Vec<Waker>,
    pub(super) next_arrival: u64,
    /// Time or a limit may have something to say; asked after the next dispatch.
    pub(super) needs_care: bool,
    /// Messages that left without being accepted, until the next dispatch is done.
    pub(super) dead: Vec<Dead>,
    /// Those that must be read before they can be dead-lettered.
    pub(super) dying: BTreeMap<Position, Reason>,
    /// Since when nobody uses it; [`Instant::NEVER`] while somebody does.
    pub(super) unused_since: Instant,
    /// Publishes that have room and are not pushed yet.
    pub(super) reserved: u64,
    /// Bytes of their bodies.
    pub(super) reserved_bytes: u64,
    /// When to look for deliveries that nobody answered; [`Instant::NEVER`] for not at all.
    pub(super) answers_due_at: Instant,
    /// When the broker looks after it next; [`Instant::NEVER`] for not at all.
    pub(crate) wakes_at: Instant,
    /// What its messages take of memory.
    pub(super) charge: Charge,
    /// See [`super::Declaration::held_bytes_max`]; `u64::MAX` for none.
    pub(super) held_bytes_max: u64,
    /// Bytes of what is unsettled, where [`State::held_bytes_max`] asks for them.
    pub(super) unsettled_bytes: u64,
    /// It is no more: pushes count as not routed, settlements do nothing.
    pub(crate) deleted: bool,
    /// A consumer was attached once (auto-delete).
    pub(crate) had_consumer: bool,
}

/// A message that the log has from an earlier run, as far as that is known without reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsRecovered {
    pub(crate) position: Position,
    pub(crate) attempts: u16,
    pub(crate) priority: u8,
    pub(crate) expires_at: Option<Instant>,
    /// Bytes of its body.
    pub(crate) bytes: u64,
    /// How long before this run it was published.
    pub(crate) age_ms: u64,
    pub(crate) mark: Option<Mark>,
}

/// One settlement on its way into a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) outcome: Outcome,
}

impl Settlement {
    pub(crate) const fn new(delivery: DeliveryId, outcome: Outcome) -> Self {
        Self { slot: delivery.slot, generation: delivery.generation, outcome }
    }
}

/// A message taken with `get`.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) delivery: (u32, u32),
    pub(crate) message: Message,
    pub(crate) redelivered: bool,
    pub(crate) delivery_count: Option<u16>,
    pub(crate) remaining: u64,
}

impl State {
    pub(super) fn new(
        id: QueueId,
        memory: Arc<Memory>,
        held_bytes_max: Option<u64>,
        args: Arc<EffectiveArgs>,
    ) -> Self {
        Self {
            id,
            args,
            ready: Ready::default(),
            express: VecDeque::new(),
            express_bytes: 0,
            unsettled: Slab::default(),
            marks: BTreeMap::new(),
            takers: Vec::new(),
            order: Vec::new(),
            active: None,
            cursor: 0,
            run: 0,
            served: Vec::new(),
            getters: Vec::new(),
            next_arrival: 0,
            needs_care: false,
            dead: Vec::new(),
            dying: BTreeMap::new(),
            unused_since: Instant::NEVER,
            answers_due_at: Instant::NEVER,
            reserved: 0,
            reserved_bytes: 0,
            wakes_at: Instant::NEVER,
            charge: Charge::new(memory),
            held_bytes_max: held_bytes_max.unwrap_or(u64::MAX),
            unsettled_bytes: 0,
            deleted: false,
            had_consumer: false,
        }
    }

    /// Messages ready.
    pub(crate) fn ready_count(&self) -> u64 {
        self.ready.len() + self.express.len() as u64
    }

    /// Deliveries unsettled.
    pub(crate) fn unsettled_count(&self) -> usize {
        self.unsettled.len()
    }

    /// Consumers attached.
    pub(crate) fn consumer_count(&self) -> usize {
        self.order.len()
    }

    /// Appends a message. False when the queue is deleted. The caller dispatches afterwards.
    pub(crate) fn push(
        &mut self,
        queue: &Arc<super::Queue>,
        message: &Message,
        position: Option<Position>,
        retained: bool,
        effects: &mut Effects,
    ) -> bool {
        if self.deleted {
            return false;
        }
        if queue.is_session
            && self.order.is_empty()
            && self.ready.len() >= effects.away_messages_max
        {
            // Its client is away and has enough to come back to.
            effects.counters.of(Protocol::Mqtt).dropped += 1;
            if let Some(position) = position {
                effects.settle(self.id, position, 1);
            }
            return true;
        }
        let mut page = false;
        if let Some(reach) = self.charge.reach().filter(|_| position.is_some()) {
            if self.ready.window_len() >= reach.messages {
                // Nothing that a consumer could have at once goes through the log.
                self.dispatch(queue, effects);
            }
            page = self.order.is_empty() || self.ready.window_len() >= reach.messages;
        }
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        let expires_at = self.expiry_of(message, effects.now);
        self.needs_care |= expires_at != Instant::NEVER || self.args.is_bounded();
        let entry = Entry {
            arrival,
            position,
            message: Some(message.clone()),
            bytes: self.bytes_of(message),
            attempts: 0,
            priority: message.priority().min(self.args.max_priority),
            retained,
        };
        self.ready.push(entry, expires_at, page);
        self.needs_care |= self.holds_too_much();
        true
    }

    /// Appends a message that the log has from an earlier run. The caller dispatches afterwards.
    pub(crate) fn restore(&mut self, known: AsRecovered) {
        let AsRecovered { position, attempts, priority, bytes, .. } = known;
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        if let Some(mark) = known.mark {
            self.marks.insert(arrival, mark);
        }
        let of_message = known.expires_at.unwrap_or(Instant::NEVER);
        // Its time went on while nobody was there.
        let left = |millis: u64| Instant::from_millis(millis.saturating_sub(known.age_ms));
        let of_queue = self.args.message_ttl_ms.map_or(Instant::NEVER, left);
        // What was sent does not expire any more [MQTT-4.3.3-7].
        let was_sent = known.mark.is_some();
        let expires_at = if was_sent { Instant::NEVER } else { of_message.min(of_queue) };
        self.needs_care |= expires_at != Instant::NEVER || self.args.is_bounded();
        let entry = Entry {
            position: Some(position),
            attempts,
            priority: priority.min(self.args.max_priority),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            ..Entry::hole(arrival)
        };
        self.ready.push(entry, expires_at, true);
    }

    /// Settles one delivery. Stale ones do nothing. The caller dispatches afterwards.
    pub(crate) fn settle(&mut self, settlement: Settlement, effects: &mut Effects) {
        let Some(entry) = self.unsettled.remove(settlement.slot, settlement.generation) else {
            return;
        };
        let Some(taker) = self.takers.get_mut(entry.taker as usize).and_then(Option::as_mut) else {
            debug_assert!(false, "an unsettled delivery has a taker");
            return;
        };
        taker.unsettled -= 1;
        if taker.consumer.is_some() && taker.session.settled(1) {
            effects.room(&taker.session);
        }
        let counts = effects.counters.of(taker.protocol());
        match settlement.outcome {
            Outcome::Accepted => counts.acknowledged += 1,
            Outcome::Rejected => counts.rejected += 1,
            Outcome::Requeued => counts.requeued += 1,
        }
        self.unsettled_bytes -= self.held_bytes_of(entry.message.as_ref());
        let place = entry.taker;
        self.forget_mark(entry.arrival);
        match settlement.outcome {
            Outcome::Requeued => self.put_back(settlement.slot, entry, true, effects),
            Outcome::Rejected => {
                self.ready.release_expiry(settlement.slot);
                self.die(entry.position, entry.message, Reason::Rejected);
            }
            Outcome::Accepted => {
                self.ready.release_expiry(settlement.slot);
                if let Some(position) = entry.position {
                    effects.settle(self.id, position, 1);
                }
            }
        }
        self.forget_idle(place);
    }

    pub(super) fn put_back(
        &mut self,
        slot: u32,
        entry: Unsettled,
        was_delivered: bool,
        effects: &mut Effects,
    ) {
        let attempts = entry.attempts.saturating_add(u16::from(was_delivered));
        if self.args.delivery_limit.is_some_and(|limit| attempts > limit) {
            self.ready.release_expiry(slot);
            self.forget_mark(entry.arrival);
            return self.die(entry.position, entry.message, Reason::DeliveryLimit);
        }
        self.needs_care |= self.args.is_bounded();
        if let Some(position) = entry.position {
            effects.requeue(self.id, position, attempts);
        }
        let entry = Entry {
            arrival: entry.arrival,
            position: entry.position,
            bytes: entry.message.as_ref().map_or(0, |message| self.bytes_of(message)),
            message: entry.message,
            attempts,
            priority: entry.priority,
            retained: entry.retained,
        };
        self.needs_care |= self.ready.put_back(entry, slot);
    }

    /// Frees a taker's place once it is detached and owes nothing.
    fn forget_idle(&mut self, place: u32) {
        let slot = &mut self.takers[place as usize];
        if slot.as_ref().is_some_and(|taker| {
            taker.unsettled == 0 && taker.consumer.as_ref().is_none_or(|known| known.detached)
        }) {
            *slot = None;
            self.active.take_if(|active| *active == place);
        }
    }

    pub(super) fn add_taker(&mut self, taker: Taker) -> u32 {
        let place = self.takers.iter().position(Option::is_none).unwrap_or(self.takers.len());
        if place == self.takers.len() {
            self.takers.push(None);
        }
        self.takers[place] = Some(taker);
        u32::try_from(place).expect("takers are fewer than sessions")
    }

    /// Attaches a consumer without credit. Returns its place.
    pub(crate) fn attach(&mut self, taker: Taker) -> u32 {
        self.had_consumer = true;
        self.unused_since = Instant::NEVER;
        let place = self.add_taker(taker);
        self.order.push(place);
        let takers = &self.takers;
        let priority = |place: &u32| {
            let taker = takers[*place as usize].as_ref();
            std::cmp::Reverse(taker.and_then(|taker| taker.consumer.as_ref()).map(|c| c.priority))
        };
        self.order.sort_by_key(priority);
        if self.args.single_active_consumer {
            // Whoever comes first.
            self.active.get_or_insert(place);
        }
        place
    }

    /// The consumer at `place`, if it is still that of `session`.
    pub(crate) fn consumer_mut(
        &mut self,
        place: u32,
        session: &Arc<SessionShared>,
    ) -> Option<&mut Consumer> {
        let taker = self.takers.get_mut(place as usize)?.as_mut()?;
        if !Arc::ptr_eq(&taker.session, session) {
            return None;
        }
        taker.consumer.as_mut()
    }

    /// Whether one consumer after the other has the queue to itself.
    pub(crate) fn has_single_active_consumer(&self) -> bool {
        self.args.single_active_consumer
    }

    /// Whether it was declared as a quorum queue.
    pub(crate) fn is_quorum(&self) -> bool {
        self.args.tells_deliveries()
    }

    /// Whether a consumer has the queue to itself.
    pub(crate) fn has_exclusive_consumer(&self) -> bool {
        let consumers = self.takers.iter().flatten().filter_map(|taker| taker.consumer.as_ref());
        consumers.into_iter().any(|consumer| consumer.exclusive && !consumer.detached)
    }

    /// Detaches a consumer: no more deliveries. What it has stays unsettled. Returns whether its
    /// session still has something to do with this queue.
    pub(crate) fn detach(&mut self, place: u32, session: &Arc<SessionShared>) -> bool {
        let Some(consumer) = self.consumer_mut(place, session) else { return false };
        consumer.detached = true;
        self.order.retain(|known| *known != place);
        self.cursor = 0;
        self.forget_idle(place);
        self.needs_care |= self.args.expires_ms.is_some();
        if self.order.is_empty() {
            self.express.clear();
            self.express_bytes = 0;
            if self.charge.reach().is_some() {
                self.ready.evict();
            }
        }
        self.takers.iter().flatten().any(|taker| Arc::ptr_eq(&taker.session, session))
    }

    /// Ends everything of a session here: detaches, and puts back what it has not settled. The
    /// caller dispatches afterwards.
    pub(crate) fn end_session(&mut self, session: &Arc<SessionShared>, effects: &mut Effects) {
        for place in 0..u32::try_from(self.takers.len()).unwrap_or(u32::MAX) {
            let taker = self.takers[place as usize].as_ref();
            if !taker.is_some_and(|taker| Arc::ptr_eq(&taker.session, session)) {
                continue;
            }
            for (slot, entry) in self.unsettled.remove_of(place) {
                self.unsettled_bytes -= self.held_bytes_of(entry.message.as_ref());
                self.put_back(slot, entry, true, effects);
            }
            if let Some(taker) = self.takers[place as usize].as_mut() {
                let count = std::mem::take(&mut taker.unsettled);
                if taker.consumer.is_some() {
                    session.settled(count);
                }
            }
            self.detach(place, session);
            self.forget_idle(place);
        }
    }

    /// Keeps a delivery, which its session has counted, until it is settled. A body that the log
    /// has is not kept.
    pub(super) fn keep(
        &mut self,
        entry: &Entry,
        message: &Message,
        expires_at: Option<Instant>,
        place: u32,
        effects: &Effects,
    ) -> (u32, u32) {
        if let Some(taker) = self.takers[place as usize].as_mut() {
            taker.unsettled += 1;
        }
        let is_readable = self.charge.reach().is_some() && entry.position.is_some();
        let kept = Unsettled {
            arrival: entry.arrival,
            position: entry.position,
            message: (!is_readable).then(|| message.clone()),
            taker: place,
            attempts: entry.attempts,
            priority: entry.priority,
            retained: entry.retained,
        };
        self.unsettled_bytes += self.held_bytes_of(kept.message.as_ref());
        let (slot, generation) = self.unsettled.insert(kept, effects.now);
        if self.answers_due_at == Instant::NEVER {
            self.expect_answer(place, effects);
        }
        self.ready.hold_expiry(slot, expires_at);
        (slot, generation)
    }

    /// A read is done. The caller dispatches afterwards, and wakes those returned once it holds
    /// no lock.
    pub(crate) fn read_done(&mut self, messages: Vec<(Position, Message)>) -> Vec<Waker> {
        for (position, message) in messages {
            if let Some(reason) = self.dying.remove(&position) {
                self.die(Some(position), Some(message), reason);
            } else {
                self.ready.read_done(position, &message);
            }
        }
        std::mem::take(&mut self.getters)
    }

    /// Drops what is ready. Returns how many that were, and what is left to be dropped.
    pub(crate) fn purge(&mut self, effects: &mut Effects) -> (u64, Garbage) {
        let count = self.ready_count();
        self.express.clear();
        self.express_bytes = 0;
        // Nobody purges the queue of a session that goes on.
        self.marks.clear();
        for (first, count) in self.ready.positions() {
            effects.settle(self.id, first, count);
        }
        let ready = self.ready.take_all();
        (count, Garbage { ready, unsettled: Vec::new() })
    }

    /// Ends the queue. Returns what was ready, who had something to do with it, and what is left to
    /// be dropped.
    pub(crate) fn delete(&mut self, effects: &mut Effects) -> (u64, Vec<Taker>, Garbage) {
        let (count, mut garbage) = self.purge(effects);
        let unsettled = self.unsettled.remove_all();
        for position in unsettled.iter().filter_map(|entry| entry.position) {
            effects.settle(self.id, position, 1);
        }
        let dead = self.dead.drain(..).filter_map(|dead| dead.position);
        for position in dead.chain(std::mem::take(&mut self.dying).into_keys()) {
            effects.settle(self.id, position, 1);
        }
        garbage.unsettled = unsettled;
        self.deleted = true;
        self.charge.clear();
        self.order.clear();
        let takers: Vec<Taker> = self.takers.drain(..).flatten().collect();
        for taker in &takers {
            if taker.unsettled > 0 && taker.session.settled(taker.unsettled) {
                effects.room(&taker.session);
            }
        }
        (count, takers, garbage)
    }

    /// C-1 and C-3: see `ready`; and every unsettled delivery has a taker that counts it.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn check(&self) {
        self.ready.check();
        let mut owed = vec![0u32; self.takers.len()];
        for entry in self.unsettled.iter() {
            owed[entry.taker as usize] += 1;
        }
        for (taker, owed) in self.takers.iter().zip(owed) {
            let counted = taker.as_ref().map_or(0, |taker| taker.unsettled);
            assert_eq!(counted, owed, "C-1: takers count what they have not settled");
        }
    }
}
