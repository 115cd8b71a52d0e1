//! Staged work of one read: locks, log and wakes are paid once a batch, not once a message.
//!
//! While the adapter parses it stages publishes and settlements here. [`Batch::end`] then takes the
//! steps of a publish: (1) routes were resolved when staged; (2) queues that may refuse are asked for
//! room, then the log is appended to once, with no queue lock held; (3) each queue is locked once: settle, push, dispatch; (4) fire-and-forget
//! subscribers get one encoding per variant; (5) what nobody took comes back, then confirms; (6)
//! every driver that has something to fetch is woken once. Staged order is kept.

mod append;
mod commit;
mod exactly_once;
mod fan_out;
mod kept;
mod publish;

use std::sync::Arc;

use crate::alarm::Alarms;
use crate::hash::IdMap;
use crate::log::Position;
use crate::queue::{Effects, Marking, Queue, Room, Settlement};
use crate::routing::{Route, RouteCache};
use crate::session::{Confirms, SessionShared};
use crate::{
    Broker, ConsumerId, DeliveryId, Event, Instant, Lost, Message, Outbox, Protocol, QueueId,
    Refusal, Session, Ticket, Worker,
};
use exactly_once::{Noted, Once};
use kept::KeptValue;

/// Whether a publisher wants to hear that its message is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Take a ticket and confirm it.
    Wanted,
    /// No ticket.
    Unwanted,
}

/// How a consumer answered one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done with it: the message leaves the queue.
    Accepted,
    /// Not now: back to where it stood, with one attempt counted.
    Requeued,
    /// Never: to the dead-letter exchange if there is one, else gone.
    Rejected,
}

/// What became of a publish when it was staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its ticket when a confirm is wanted; else the latest one handed out.
    pub ticket: Ticket,
    /// Whether anything matched its address.
    pub routed: bool,
}

/// One staged publish.
#[derive(Debug)]
struct Staged {
    message: Message,
    route: u32,
    session: u32,
    /// `None` without a confirm.
    ticket: Option<Ticket>,
    mandatory: bool,
    /// Where the log has it; 0 for nowhere.
    position: u64,
    /// Queues and subscribers that took it.
    taken: u32,
    /// Whether a queue declined it.
    refused: Refused,
    /// How many did.
    refused_count: u32,
}

impl Staged {
    fn logged_at(&self) -> Option<Position> {
        std::num::NonZeroU64::new(self.position).map(Position)
    }
}

/// What stands against a staged publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    No,
    /// The queue of that work was full.
    Full(u32),
    /// A queue broke on it.
    Broken,
    /// An alarm is on.
    Blocked,
}

/// A route that staged publishes share, and where its queues stand in the work.
#[derive(Debug)]
struct StagedRoute {
    route: Arc<Route>,
    work: Vec<u32>,
}

/// What one queue has to do.
#[derive(Debug)]
struct Work {
    queue: Arc<Queue>,
    pushes: Vec<Push>,
    settlements: Vec<Settlement>,
    marks: Vec<Marking>,
    /// Each of `pushes` has its room.
    has_reserved: bool,
}

/// A staged publish on its way into a queue.
#[derive(Clone, Copy, Debug)]
struct Push {
    staged: u32,
    /// Only subscriptions at QoS 0 lead there.
    at_qos_0: bool,
}

/// What a worker keeps between batches: allocations, and the routes it resolved.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    cache: Option<RouteCache>,
    staged: Vec<Staged>,
    routes: Vec<StagedRoute>,
    sessions: Vec<Arc<SessionShared>>,
    /// Those of `staged` that are of QoS 2.
    once: Vec<Once>,
    /// Tickets without a publish.
    noted: Vec<Noted>,
    /// Those of `staged` that set or clear a last value of which the log must hear.
    kept: Vec<KeptValue>,
    /// Where it has heard of them.
    kept_at: u64,
    work: Vec<Work>,
    work_of: IdMap<QueueId, u32>,
    /// Works whose queue declined a publish, and that publish.
    refusals: Vec<(u32, u32)>,
    /// Emptied work, kept for its allocations.
    spare: Vec<(Vec<Push>, Vec<Settlement>)>,
    /// Work whose queue is dispatched last.
    deferred: Vec<u32>,
    copy: Vec<u8>,
    packets: Vec<u8>,
    events: Vec<Event>,
    effects: Effects,
}

/// Allocations kept for the next batch: enough for the queues a read usually touches.
const SPARE_MAX: usize = 64;

/// Staged work. Dropping it without [`Batch::end`] drops what was staged.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(crate) broker: &'a Broker,
    scratch: &'a mut Scratch,
    now: Instant,
    deliveries: usize,
    /// As of the beginning of the batch: an alarm stops no publish that is half parsed.
    pub(crate) alarms: Alarms,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(broker: &'a Broker, worker: &'a mut Worker, now: Instant) -> Self {
        let scratch = &mut worker.scratch;
        // A panic may have left something staged.
        scratch.clear();
        scratch.effects.begin(now, &broker.limits);
        Self { broker, scratch, now, deliveries: 0, alarms: broker.alarms() }
    }

    /// The time of this batch.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The connection's budget for this turn is spent: the adapter stops taking input, and the
    /// driver comes back after others had their turn.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        self.deliveries >= self.broker.limits.deliveries_per_turn_max
    }

    /// Whether a publish is staged.
    pub(crate) fn publishes(&self) -> bool {
        !self.scratch.staged.is_empty()
    }

    /// Whether a publish is staged that the log gets.
    pub(crate) fn publishes_to_log(&self) -> bool {
        let Scratch { staged, routes, .. } = &*self.scratch;
        staged.iter().any(|staged| append::is_logged(staged, routes))
    }

    /// Stages the answer to one delivery. An answer given before does nothing the second time.
    pub fn settle(&mut self, session: &mut Session, delivery: DeliveryId, outcome: Outcome) {
        if !delivery.is_unsettled() {
            return;
        }
        let Some(queue) = session.queue(delivery.queue) else { return };
        let work = self.scratch.work(queue);
        self.scratch.work[work as usize].settlements.push(Settlement::new(delivery, outcome));
    }

    /// Grants a consumer its credit, once its consume-ok, SUBACK or RECEIPT is written. Harmless
    /// when repeated, and for a consumer that is gone.
    pub fn start(&mut self, session: &mut Session, consumer: ConsumerId) {
        let place = session.shared.contents().consumers.get(&consumer).copied();
        let Some(place) = place else { return };
        let shared = session.shared.clone();
        let Some(queue) = session.queue(place.queue).cloned() else { return };
        if let Some(mut state) = queue.lock()
            && let Some(consumer) = state.consumer_mut(place.place, &shared)
        {
            consumer.started = true;
        }
        self.scratch.work(&queue);
    }

    /// Limits the unsettled deliveries of all consumers of the session together; 0 for no limit.
    /// Running consumers obey at once.
    pub fn limit_session(&mut self, session: &mut Session, unsettled_max: u32) {
        session.shared.limit(unsettled_max);
        let queues = session.shared.contents().queues();
        for queue in queues {
            self.scratch.work(&queue);
        }
    }

    /// Milliseconds from 1970 to `at`, for protocols that say when and not how long.
    #[must_use]
    pub fn unix_ms(&self, at: Instant) -> u64 {
        self.broker.unix_ms(at)
    }

    /// Notes what `message` lost when it was written for a client that speaks `to`.
    pub fn note_lost(&self, message: &Message, to: Protocol, lost: Lost) {
        if !lost.is_nothing() {
            self.broker.losses.add(message.protocol(), to, lost, 1);
        }
    }

    /// The core's limits.
    #[must_use]
    pub const fn limits(&self) -> &crate::Limits {
        &self.broker.limits
    }

    /// Does what was staged.
    pub fn end(mut self) {
        self.group_by_queue();
        self.ask_for_room();
        let scratch = &mut *self.scratch;
        append::append(&*self.broker.log, scratch);
        scratch.note_received();
        scratch.settle_refused();
        scratch.work_on_queues();
        self.finish();
    }

    /// What remains once queues have their messages.
    fn finish(mut self) {
        let broker = self.broker;
        self.scratch.dispatch_deferred();
        self.fan_out();
        self.return_unroutable();
        let scratch = &mut *self.scratch;
        broker.follow_up(&mut scratch.effects);
        scratch.effects.log(&*broker.log, &broker.memory);
        scratch.place_received();
        scratch.place_kept();
        broker.log.end_batch();
        if scratch.noted.is_empty() {
            self.confirm();
        } else {
            self.confirm_all();
        }
        let scratch = &mut *self.scratch;
        broker.counters.add(&mut scratch.effects.counters);
        scratch.effects.wake();
        scratch.clear();
    }

    fn group_by_queue(&mut self) {
        let scratch = &mut *self.scratch;
        for at in 0..scratch.routes.len() {
            let route = scratch.routes[at].route.clone();
            let queues = route.queues.iter().chain(&route.queues_at_qos_0);
            let work = queues.map(|queue| scratch.work(queue)).collect();
            scratch.routes[at].work = work;
        }
        for (at, staged) in (0u32..).zip(&scratch.staged) {
            let StagedRoute { route, work } = &scratch.routes[staged.route as usize];
            for (place, work) in work.iter().enumerate() {
                let at_qos_0 = place >= route.queues.len();
                scratch.work[*work as usize].pushes.push(Push { staged: at, at_qos_0 });
            }
        }
    }

    /// Asks the queues that may refuse for room, before anything is logged.
    fn ask_for_room(&mut self) {
        let Scratch { work, staged, refusals, effects, .. } = &mut *self.scratch;
        for (at, work) in (0u32..).zip(work) {
            if work.pushes.is_empty() || !work.queue.can_refuse() {
                continue;
            }
            let Some(mut state) = work.queue.lock() else { continue };
            for settlement in work.settlements.drain(..) {
                state.settle(settlement, effects);
            }
            work.has_reserved = true;
            work.pushes.retain(|push| {
                let staged = &mut staged[push.staged as usize];
                let has_room =
                    state.reserve(&work.queue, &staged.message, effects) == Room::Reserved;
                if !has_room {
                    staged.refused = Refused::Full(at);
                    staged.refused_count += 1;
                    refusals.push((at, push.staged));
                }
                has_room
            });
        }
    }

    fn return_unroutable(&mut self) {
        let scratch = &mut *self.scratch;
        let is_unroutable = |staged: &&Staged| staged.taken == 0 && staged.refused == Refused::No;
        for staged in scratch.staged.iter().filter(is_unroutable) {
            let session = &scratch.sessions[staged.session as usize];
            let counts = scratch.effects.counters.of(session.protocol());
            if !staged.mandatory {
                counts.unroutable_dropped += 1;
                continue;
            }
            counts.unroutable_returned += 1;
            let message = staged.message.clone();
            let cost = Outbox::delivery_cost(message.cost_bytes());
            scratch.events.push(Event::Returned { session: session.id(), message });
            session.outbox().push(&mut scratch.events, cost);
            scratch.effects.touch(session.outbox());
        }
    }

    fn confirm(&mut self) {
        let scratch = &mut *self.scratch;
        let mut staged = scratch.staged.iter().filter(|staged| staged.ticket.is_some()).peekable();
        while let Some(first) = staged.peek() {
            let at = first.session;
            let session = &scratch.sessions[at as usize];
            {
                let mut confirms = session.confirms();
                while let Some(staged) = staged.next_if(|staged| staged.session == at) {
                    decide(&mut confirms, staged, &scratch.work, self.alarms);
                }
            }
            self.broker.confirm(session, &mut scratch.events, &mut scratch.effects);
        }
    }

    /// [`Batch::confirm`] where some tickets are of no publish: each session's in their order.
    #[cold]
    fn confirm_all(&mut self) {
        let scratch = &mut *self.scratch;
        let staged = scratch.staged.iter().filter_map(|staged| {
            staged.ticket.map(|ticket| (staged.session, ticket, Some(staged), 0))
        });
        let noted = scratch.noted.iter().map(|noted| {
            let position = noted.position.unwrap_or(scratch.effects.noted_at);
            (noted.session, noted.ticket, None, position)
        });
        let mut tickets: Vec<_> = staged.chain(noted).collect();
        tickets.sort_by_key(|(session, ticket, ..)| (*session, *ticket));
        for of_one in tickets.chunk_by(|a, b| a.0 == b.0) {
            let session = &scratch.sessions[of_one[0].0 as usize];
            {
                let mut confirms = session.confirms();
                for (_, ticket, staged, position) in of_one {
                    match staged {
                        Some(staged) => decide(&mut confirms, staged, &scratch.work, self.alarms),
                        None => confirms.note(*ticket, *position),
                    }
                }
            }
            self.broker.confirm(session, &mut scratch.events, &mut scratch.effects);
        }
    }
}

/// Notes what a staged publish waits for, or why it was declined.
fn decide(confirms: &mut Confirms, staged: &Staged, work: &[Work], alarms: Alarms) {
    let ticket = staged.ticket.unwrap_or_default();
    match staged.refused {
        Refused::No => confirms.wait(ticket, staged.position),
        Refused::Broken => confirms.refuse(ticket, Refusal::Internal),
        Refused::Blocked => {
            confirms.refuse(ticket, Refusal::Blocked { reason: alarms.to_string() });
        }
        Refused::Full(at) => {
            let queue = &work[at as usize].queue;
            let (name, vhost) = (queue.name.to_string(), queue.vhost.to_string());
            confirms.refuse(ticket, Refusal::QueueFull { name, vhost });
        }
    }
}

/// Settles, pushes and dispatches under one lock of the queue. False when it was left to the
/// caller to dispatch, after [`Effects::serve_room`].
fn work_on(work: &Work, staged: &mut [Staged], effects: &mut Effects) -> bool {
    let Some(mut state) = work.queue.lock() else {
        for push in &work.pushes {
            staged[push.staged as usize].refused = Refused::Broken;
        }
        return true;
    };
    let had_room = effects.has_room();
    for marking in &work.marks {
        state.mark(*marking, effects);
    }
    for settlement in &work.settlements {
        state.settle(*settlement, effects);
    }
    let is_logged = work.queue.is_logged();
    let is_session = work.queue.is_session;
    for push in &work.pushes {
        let staged = &mut staged[push.staged as usize];
        if is_session && (push.at_qos_0 || staged.message.qos() == 0) {
            staged.taken += u32::from(state.push_express(&staged.message, false, effects));
            if let Some(position) = staged.logged_at().filter(|_| is_logged && !push.at_qos_0) {
                // It asks to survive, but not from this client's queue.
                effects.settle(work.queue.id, position, 1);
            }
            continue;
        }
        let position = staged.logged_at().filter(|_| is_logged);
        if work.has_reserved {
            state.unreserve(&staged.message);
        }
        if state.push(&work.queue, &staged.message, position, false, effects) {
            staged.taken += 1;
        } else if let Some(position) = position {
            // Found deleted: not routed, and nobody else will release it.
            effects.settle(work.queue.id, position, 1);
        }
    }
    // A session that has room again is served from all its queues in turn before this one goes on.
    let is_deferred = effects.has_room() && !had_room;
    if !is_deferred {
        state.dispatch(&work.queue, effects);
    }
    !is_deferred
}

impl Scratch {
    fn work_on_queues(&mut self) {
        for (at, work) in (0u32..).zip(&self.work) {
            if !work_on(work, &mut self.staged, &mut self.effects) {
                self.deferred.push(at);
            }
        }
    }

    fn dispatch_deferred(&mut self) {
        self.effects.serve_room();
        for at in self.deferred.drain(..) {
            let queue = &self.work[at as usize].queue;
            if let Some(mut state) = queue.lock() {
                state.dispatch(queue, &mut self.effects);
            }
        }
    }

    /// The index of a session; one read usually speaks for one.
    fn session(&mut self, session: &Arc<SessionShared>) -> u32 {
        let known = self.sessions.iter().rposition(|known| Arc::ptr_eq(known, session));
        index(known.unwrap_or_else(|| {
            self.sessions.push(session.clone());
            self.sessions.len() - 1
        }))
    }

    /// The index of a queue's work.
    fn work(&mut self, queue: &Arc<Queue>) -> u32 {
        if let Some(last) = self.work.last()
            && last.queue.id == queue.id
        {
            return index(self.work.len() - 1);
        }
        if let Some(known) = self.work_of.get(&queue.id) {
            return *known;
        }
        let (pushes, settlements) = self.spare.pop().unwrap_or_default();
        let id = queue.id;
        let (queue, marks, has_reserved) = (queue.clone(), Vec::new(), false);
        self.work.push(Work { queue, pushes, settlements, marks, has_reserved });
        let at = index(self.work.len() - 1);
        self.work_of.insert(id, at);
        at
    }

    /// Copies that were logged for other queues only.
    fn settle_refused(&mut self) {
        for (work, push) in self.refusals.drain(..) {
            let queue = &self.work[work as usize].queue;
            let position = std::num::NonZeroU64::new(self.staged[push as usize].position);
            if let Some(position) = position.filter(|_| queue.is_logged()) {
                self.effects.settle(queue.id, Position(position), 1);
            }
        }
    }

    fn clear(&mut self) {
        self.staged.clear();
        self.routes.clear();
        self.sessions.clear();
        self.once.clear();
        self.noted.clear();
        self.kept.clear();
        self.work_of.clear();
        self.deferred.clear();
        self.refusals.clear();
        self.events.clear();
        for mut work in self.work.drain(..) {
            if self.spare.len() < SPARE_MAX {
                work.pushes.clear();
                work.settlements.clear();
                self.spare.push((work.pushes, work.settlements));
            }
        }
    }
}

/// Indexes within a batch: a batch is one read, so they are small.
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a batch stages fewer than 2^32 items")
}
