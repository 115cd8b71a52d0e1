//! Ties the rooms of the core together.
//!
//! `aftermath` is what queues leave to be done once their locks are released, `dead_letter` the
//! part of it that publishes; `own` is what the broker tells of itself; `policies` keeps queues to what operators say; `paging`
//! moves to disk what memory is too short for; `events` is what the log says.

mod aftermath;
mod dead_letter;
mod events;
mod own;
mod paging;
mod policies;
mod restoring;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::task::Waker;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::alarm::AlarmBell;
use crate::batch::Scratch;
use crate::catalogue::{Catalogue, Change, Planned};
use crate::counters::{Counts, Deaths, SharedCounters};
use crate::hash::NameMap;
use crate::log::{EphemeralLog, Log, LogEvents, Publish, StepLog};
use crate::loss::{Loss, SharedLosses};
use crate::memory::Memory;
use crate::pause::Pause;
use crate::queue::{Death, Effects, Garbage, Queue};
use crate::session::{Due, LateMessage, SessionShared};
use crate::vhost::Vhost;
use crate::{
    Batch, Connection, ConnectionId, Event, Instant, Limits, Message, Outbox, Principal, Protocol,
    QueueId, Refusal,
};
use aftermath::Timetable;
pub(crate) use own::is_own;
pub use own::{ClientTotals, OwnTopics};
pub use paging::MemoryUse;
use paging::Victims;

/// The vhost that is always there.
pub const DEFAULT_VHOST: &str = "/";

/// The broker: vhosts, their queues, and the log under them. All calls take `&self`.
#[derive(Debug)]
pub struct Broker {
    pub(crate) myself: Weak<Self>,
    pub(crate) log: Arc<dyn Log>,
    /// Where what is durable beside messages is kept; `None` for nowhere.
    pub(crate) catalogue: Option<Arc<dyn Catalogue>>,
    /// Guards what was proposed to it and is done once it is committed.
    pub(crate) planned: Mutex<Planned>,
    pub(crate) limits: Limits,
    pub(crate) hasher: ahash::RandomState,
    /// Guards what generated names are drawn from.
    names: Mutex<ChaCha8Rng>,
    /// Guards the vhosts by name.
    vhosts: RwLock<NameMap<Arc<str>, Arc<Vhost>>>,
    /// Guards the queues by id, for what the log has to say of them.
    queues: RwLock<NameMap<QueueId, Weak<Queue>>>,
    next_id: AtomicU64,
    pub(crate) counters: SharedCounters,
    pub(crate) gauges: Gauges,
    pub(crate) losses: SharedLosses,
    pub(crate) bell: AlarmBell,
    /// What messages take of memory.
    pub(crate) memory: Arc<Memory>,
    /// Publishers that wait for a log.
    pub(crate) pause: Pause,
    /// Guards the queues that are to page out. A leaf.
    victims: Mutex<Victims>,
    /// Guards the sessions whose publishes wait for the log. Never locked under another lock.
    waiting: Mutex<Vec<Arc<SessionShared>>>,
    /// Guards who waits for the log to be durable up to a position. A leaf.
    commits: Mutex<Vec<(u64, Waker)>>,
    /// Guards what is left of purged and deleted queues, until a tick drops it.
    garbage: Mutex<Vec<Garbage>>,
    /// The time of the latest batch or tick, in milliseconds.
    now_ms: AtomicU64,
    /// The Unix time of [`Instant::START`], in milliseconds.
    epoch_ms: AtomicU64,
    /// Guards when which queue is looked after. A leaf.
    timetable: Mutex<Timetable>,
    /// Guards dead letters beyond the slice of what caused them. A leaf.
    deaths: Mutex<VecDeque<Death>>,
    /// Guards queues that changed policies have not reached. A leaf.
    unruled: Mutex<VecDeque<Weak<Queue>>>,
    /// Who knows what there is to tell of the broker itself.
    own_topics: OnceLock<Arc<dyn OwnTopics>>,
    /// Guards whose retained messages are read after a start, by their id in the log, and how many
    /// reads are under way. Before the retained messages in the order of locks.
    pub(crate) restoring: Mutex<HashMap<QueueId, (Arc<Vhost>, usize)>>,
}

/// How many there are now.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) connections: AtomicI64,
    /// In the order of [`Protocol::index`].
    pub(crate) sessions: [AtomicI64; 3],
}

/// One per thread of the gateway: route cache and scratch.
#[derive(Debug, Default)]
pub struct Worker {
    pub(crate) scratch: Scratch,
}

/// Numbers for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What happened since the start, in the order of [`Protocol::index`].
    pub counts: [Counts; 3],
    /// Messages that left queues without being accepted.
    pub deaths: Deaths,
    /// Connections past their handshake.
    pub connections: u64,
    /// Sessions (AMQP channels, MQTT clients, STOMP connections) open, in the order of
    /// [`Protocol::index`].
    pub sessions: [u64; 3],
    /// Queues.
    pub queues: u64,
    /// Exchanges.
    pub exchanges: u64,
    /// Consumers attached to queues.
    pub consumers: u64,
    /// Messages ready in queues.
    pub ready: u64,
    /// Deliveries that wait for their settlement.
    pub unsettled: u64,
    /// Retained messages.
    pub retained: u64,
    /// What messages lost on their way into another protocol.
    pub losses: Vec<Loss>,
}

impl Broker {
    /// A broker over `log`, with the vhost `/`. `seed` serves generated names and hashes: a server
    /// draws it at random, a test repeats it.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, limits: Limits, seed: u64) -> Arc<Self> {
        let broker = Self::build(log, None, 1, limits, seed);
        broker.add_vhost(DEFAULT_VHOST);
        let events: Arc<dyn LogEvents> = broker.clone();
        broker.log.attach(Arc::downgrade(&events));
        broker
    }

    /// A broker without vhosts, whose ids begin at `first_id`.
    pub(crate) fn build(
        log: Arc<dyn Log>,
        catalogue: Option<Arc<dyn Catalogue>>,
        first_id: u64,
        limits: Limits,
        seed: u64,
    ) -> Arc<Self> {
        let hasher = crate::hash::state(seed);
        let window_max = log.can_read().then_some(limits.window_messages_max);
        Arc::new_cyclic(|myself| Self {
            myself: myself.clone(),
            log,
            catalogue,
            planned: Mutex::default(),
            limits,
            names: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            vhosts: RwLock::new(NameMap::with_hasher(hasher.clone())),
            queues: RwLock::new(NameMap::with_hasher(hasher.clone())),
            hasher,
            next_id: AtomicU64::new(first_id),
            counters: SharedCounters::default(),
            gauges: Gauges::default(),
            losses: SharedLosses::default(),
            bell: AlarmBell::default(),
            memory: Arc::new(Memory::new(window_max)),
            pause: Pause::default(),
            victims: Mutex::default(),
            waiting: Mutex::default(),
            commits: Mutex::default(),
            garbage: Mutex::default(),
            now_ms: AtomicU64::new(0),
            epoch_ms: AtomicU64::new(0),
            timetable: Mutex::default(),
            deaths: Mutex::default(),
            unruled: Mutex::default(),
            own_topics: OnceLock::new(),
            restoring: Mutex::default(),
        })
    }

    /// A broker that keeps nothing on disk.
    #[must_use]
    pub fn ephemeral(limits: Limits, seed: u64) -> Arc<Self> {
        Self::new(Arc::new(EphemeralLog::default()), limits, seed)
    }

    /// A broker for tests: nothing is durable, and nothing paged is read, before the log steps.
    #[must_use]
    pub fn stepped() -> (Arc<Self>, Arc<StepLog>) {
        let log = Arc::new(StepLog::default());
        (Self::new(log.clone(), Limits::default(), 0), log)
    }

    /// Says what the Unix time was at [`Instant::START`], in milliseconds: dead letters tell it.
    pub fn set_epoch(&self, unix_ms: u64) {
        self.epoch_ms.store(unix_ms, Ordering::Relaxed);
    }

    fn unix_seconds(&self, now: Instant) -> u64 {
        self.unix_ms(now) / 1000
    }

    /// Milliseconds from 1970 to `at`.
    pub(crate) fn unix_ms(&self, at: Instant) -> u64 {
        self.epoch_ms.load(Ordering::Relaxed).saturating_add(at.as_millis())
    }

    /// Adds a vhost; harmless when it is there.
    pub fn add_vhost(&self, name: &str) {
        self.add_vhost_with(name, None);
    }

    /// Adds a vhost whose retained messages have that id in the log, or get one.
    pub(crate) fn add_vhost_with(&self, name: &str, retained: Option<QueueId>) {
        let mut vhosts = self.vhosts.write().unwrap_or_else(PoisonError::into_inner);
        if vhosts.contains_key(name) {
            return;
        }
        let index = u32::try_from(vhosts.len()).unwrap_or(u32::MAX);
        let id =
            self.catalogue.as_ref().map(|_| retained.unwrap_or_else(|| QueueId(self.new_id())));
        let vhost = Vhost::new(name, index, &self.hasher, self.catalogue.clone(), id);
        if let (None, Some(id)) = (retained, id) {
            vhost.propose(Some(Change::PutVhost(name.to_owned(), id)));
        }
        vhosts.insert(name.into(), vhost);
    }

    /// Whether there is such a vhost.
    #[must_use]
    pub fn has_vhost(&self, name: &str) -> bool {
        self.vhost(name).is_some()
    }

    pub(crate) fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// A client enters a vhost. Refused when there is none of that name or the user may not.
    pub fn connect(
        self: &Arc<Self>,
        principal: &Principal,
        vhost: &str,
        protocol: Protocol,
        outbox: Arc<Outbox>,
    ) -> Result<Connection, Refusal> {
        let Some(found) = self.vhost(vhost) else {
            return Err(Refusal::VhostNotFound { vhost: vhost.into() });
        };
        if !principal.may_enter(vhost) {
            let user = principal.user.to_string();
            return Err(Refusal::VhostRefused { vhost: vhost.into(), user });
        }
        let id = ConnectionId(self.new_id());
        Ok(Connection::new(id, self.clone(), found, principal.user.clone(), protocol, outbox))
    }

    /// An outbox of the size that this broker's limits say.
    #[must_use]
    pub fn outbox(&self) -> Arc<Outbox> {
        Outbox::new(self.limits.outbox_bytes_max, self.limits.fire_and_forget_bytes_max)
    }

    /// Begins a batch: the staged work of one read. `worker` must only be used with this broker.
    pub fn batch<'a>(&'a self, worker: &'a mut Worker, now: Instant) -> Batch<'a> {
        self.moves_to(now);
        Batch::new(self, worker, now)
    }

    /// The outbox has room again: serves the consumers that waited for it.
    pub fn resume(&self, outbox: &Arc<Outbox>) {
        let mut effects = self.effects();
        for queue in outbox.take_waiting() {
            if let Some(mut state) = queue.lock() {
                state.room();
                state.dispatch(&queue, &mut effects);
            }
        }
        self.finish(&mut effects);
    }

    /// Does what time does, at most about `budget` items of it; true when there is more to do at
    /// once.
    pub fn tick(&self, now: Instant, budget: usize) -> bool {
        self.moves_to(now);
        let mut effects = self.effects_at(now);
        let mut left = self.rule_queues(&mut effects, budget);
        left = self.dead_letter_waiting(&mut effects, left);
        self.finish(&mut effects);
        left = self.look_after_queues(now, left);
        left = self.look_after_clients(now, left);
        self.page_out(now);
        while left > 0 {
            let Some(mut garbage) = self.garbage().pop() else { return false };
            left = left.saturating_sub(garbage.drop_some(left));
            if !garbage.is_empty() {
                self.garbage().push(garbage);
            }
        }
        true
    }

    /// Ends MQTT sessions that have expired and publishes wills that are due, at most `budget` of
    /// them. Returns what is left of it.
    fn look_after_clients(&self, now: Instant, budget: usize) -> usize {
        let vhosts = self.all_vhosts();
        let mut effects = self.effects_at(now);
        let mut left = budget;
        for vhost in vhosts {
            let mut late = Vec::new();
            let mut clients = vhost.clients();
            while left > 0
                && let Some(due) = clients.next_due(now, &vhost.name)
            {
                left -= 1;
                late.extend(match due {
                    Due::Ends(client) => self.end_away(&vhost, *client, &mut effects),
                    Due::Publishes(message, change) => {
                        vhost.propose_quietly(change.map(|change| *change));
                        Some(message)
                    }
                });
            }
            drop(clients);
            self.finish(&mut effects);
            self.publish_late(&vhost, late, now);
        }
        left
    }

    /// Publishes what was left for later. No lock is held here.
    pub(crate) fn publish_late(
        &self,
        vhost: &Arc<Vhost>,
        late: impl IntoIterator<Item = Box<LateMessage>>,
        now: Instant,
    ) {
        let mut late = late.into_iter().peekable();
        if late.peek().is_none() {
            return;
        }
        let mut worker = Worker::default();
        let mut batch = self.batch(&mut worker, now);
        for message in late {
            // Nobody is left who could be told that it was refused.
            drop(batch.publish_late(vhost, &message));
        }
        batch.end();
    }

    /// Numbers for metrics. Locks each queue once.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let count = |gauge: &AtomicI64| u64::try_from(gauge.load(Ordering::Relaxed)).unwrap_or(0);
        let mut totals = Totals {
            counts: self.counters.read(),
            deaths: self.counters.read_deaths(),
            losses: self.losses.read(),
            connections: count(&self.gauges.connections),
            sessions: std::array::from_fn(|index| count(&self.gauges.sessions[index])),
            ..Totals::default()
        };
        for vhost in self.all_vhosts() {
            totals.retained += vhost.retained().len() as u64;
            let queues: Vec<Arc<Queue>> = {
                let routing = vhost.routing();
                totals.exchanges += routing.exchanges.len() as u64 + 1;
                routing.queues.values().cloned().collect()
            };
            for queue in queues {
                let Some(state) = queue.lock() else { continue };
                totals.queues += 1;
                totals.consumers += state.consumer_count() as u64;
                totals.ready += state.ready_count();
                totals.unsettled += state.unsettled_count() as u64;
            }
        }
        totals
    }

    /// A number never used before.
    pub(crate) fn new_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// `prefix` and 22 characters that nobody can guess, as RabbitMQ's generated names have.
    pub(crate) fn new_name(&self, prefix: &str) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let mut name = String::with_capacity(prefix.len() + 22);
        name.push_str(prefix);
        for _ in 0..22 {
            name.push(char::from(ALPHABET[(names.next_u32() % 64) as usize]));
        }
        name
    }

    /// Makes a new queue findable by its id, and keeps it to the policies of its vhost.
    pub(crate) fn register(&self, queue: &Arc<Queue>) {
        {
            let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
            queues.insert(queue.id, Arc::downgrade(queue));
        }
        if self.vhost(&queue.vhost).is_some_and(|vhost| !vhost.policies().is_empty()) {
            let mut effects = self.effects();
            self.rule(queue, &mut effects);
            self.finish(&mut effects);
        }
    }

    fn queue(&self, id: QueueId) -> Option<Arc<Queue>> {
        let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        queues.get(&id).and_then(Weak::upgrade)
    }

    fn garbage(&self) -> MutexGuard<'_, Vec<Garbage>> {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is left of a queue until ticks drop it.
    pub(crate) fn discard(&self, garbage: Garbage) {
        if !garbage.is_empty() {
            self.garbage().push(garbage);
        }
    }

    /// Carries out what work on queues left to be done. No lock is held here.
    pub(crate) fn finish(&self, effects: &mut Effects) {
        effects.serve_room();
        self.follow_up(effects);
        effects.log(&*self.log, &self.memory);
        self.log.end_batch();
        self.counters.add(&mut effects.counters);
        effects.wake();
    }

    /// Puts messages that were published before into a queue that is new to them.
    pub(crate) fn push(&self, queue: &Arc<Queue>, messages: &[Message]) {
        let mut effects = self.effects();
        let is_logged = |message: &&Message| queue.is_logged() && message.is_persistent();
        let ids = [queue.id];
        let publishes: Vec<_> = messages
            .iter()
            .filter(is_logged)
            .map(|message| Publish { message, queues: &ids, received: None })
            .collect();
        let mut next = (!publishes.is_empty()).then(|| self.log.append(&publishes));
        if let Some(mut state) = queue.lock() {
            for message in messages {
                let position = next.filter(|_| is_logged(&message));
                next = next.map(|next| next.plus(u64::from(position.is_some())));
                if !state.push(queue, message, position, false, &mut effects)
                    && let Some(position) = position
                {
                    effects.settle(queue.id, position, 1);
                }
            }
            state.dispatch(queue, &mut effects);
        }
        self.finish(&mut effects);
    }

    /// Ends a queue: its name, its bindings, its consumers. Returns how many messages were ready.
    pub(crate) fn delete_queue(
        &self,
        vhost: &Vhost,
        queue: &Arc<Queue>,
        effects: &mut Effects,
    ) -> u64 {
        vhost.change_routing(|routing| routing.remove_queue(&queue.name, queue.id));
        self.end_queue(queue, effects)
    }

    /// The half of [`Broker::delete_queue`] that needs no routing.
    pub(crate) fn end_queue(&self, queue: &Arc<Queue>, effects: &mut Effects) -> u64 {
        self.end_queue_because(queue, None, effects)
    }

    /// The same, with what its consumers are told.
    pub(super) fn end_queue_because(
        &self,
        queue: &Arc<Queue>,
        because: Option<&Refusal>,
        effects: &mut Effects,
    ) -> u64 {
        self.queues.write().unwrap_or_else(PoisonError::into_inner).remove(&queue.id);
        let Some(mut state) = queue.lock() else { return 0 };
        let (count, takers, garbage) = state.delete(effects);
        drop(state);
        self.discard(garbage);
        for taker in takers {
            taker.session.contents().forget(taker.queue_index);
            taker.session.connection.disown(queue);
            let Some(consumer) = taker.attached() else { continue };
            let because = because.cloned().map(Box::new);
            if because.is_some() {
                effects.counters.of(taker.session.protocol()).overflown += 1;
            }
            let event = Event::Cancelled { session: taker.session.id(), consumer, because };
            taker.session.contents().consumers.remove(&consumer);
            taker.session.outbox().push_event(event);
            effects.touch(taker.session.outbox());
        }
        count
    }

    /// Ends an auto-delete queue that has lost its last consumer.
    pub(crate) fn end_if_unused(&self, vhost: &Vhost, queue: &Arc<Queue>, effects: &mut Effects) {
        let is_unused = || {
            queue.lock().is_some_and(|state| {
                state.had_consumer && state.consumer_count() == 0 && !state.deleted
            })
        };
        if queue.auto_delete && is_unused() {
            // Looked at again under the routing lock, which a new consumer needs, too.
            let is_unused = vhost.change_routing(|routing| {
                let is_unused = is_unused();
                if is_unused {
                    routing.remove_queue(&queue.name, queue.id);
                }
                is_unused
            });
            if is_unused {
                self.end_queue(queue, effects);
            }
        }
    }

    /// Ends a session: detaches its consumers, puts back what it has not settled.
    pub(crate) fn end_session(&self, session: &Arc<SessionShared>, effects: &mut Effects) {
        let vhost = &session.connection.vhost;
        self.leave_client(session, effects);
        let queues = {
            let mut contents = session.contents();
            contents.ended = true;
            contents.consumers.clear();
            contents.queues()
        };
        for queue in queues {
            if let Some(mut state) = queue.lock() {
                state.end_session(session, effects);
                state.dispatch(&queue, effects);
            }
            self.end_if_unused(vhost, &queue, effects);
        }
    }

    /// Confirms what of this session's publishes is safe by now; what is not is confirmed when
    /// the log says so.
    pub(crate) fn confirm(
        &self,
        session: &Arc<SessionShared>,
        events: &mut Vec<Event>,
        effects: &mut Effects,
    ) {
        self.decide(session, events, effects);
        let must_list = {
            let mut confirms = session.confirms();
            confirms.is_waiting() && !std::mem::replace(&mut confirms.is_listed, true)
        };
        if must_list {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(session.clone());
            // What became durable before it was listed is known now.
            self.decide(session, events, effects);
        }
    }

    fn decide(&self, session: &Arc<SessionShared>, events: &mut Vec<Event>, effects: &mut Effects) {
        // Under the session's lock up to the push, so that two threads cannot swap two runs.
        let mut confirms = session.confirms();
        let (runs, confirmed) = confirms.decide(session.id(), self.log.durable(), events);
        if runs > 0 {
            effects.counters.of(session.protocol()).confirmed += confirmed;
            session.outbox().push(events, runs * Outbox::delivery_cost(0));
            effects.touch(session.outbox());
        }
    }
}
