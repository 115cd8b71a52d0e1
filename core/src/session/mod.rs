//! Connections and sessions: what an adapter holds of the broker.
//!
//! A [`Connection`] is one authenticated client in one vhost; it owns exclusive queues. A
//! [`Session`] (an AMQP channel, an MQTT client, a STOMP connection) publishes, consumes and
//! settles. Both end when they are dropped: unsettled deliveries go back to their queues,
//! exclusive queues are deleted.

mod client;
mod confirms;
mod late;
mod received;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::queue::Queue;
use crate::vhost::Vhost;
use crate::{Broker, ConnectionId, ConsumerId, Outbox, Protocol, PublisherId, SessionId, Ticket};

pub(crate) use client::{Client, Clients, Due, Holder, Kept, NEVER_EXPIRES, Row, Subscribed};
pub(crate) use confirms::Confirms;
pub(crate) use late::LateMessage;
pub(crate) use received::{Received, Safety};

/// One authenticated client in a vhost. Owned by the adapter; dropping it ends what it owns.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<ConnectionShared>,
}

/// What sessions know of their connection.
#[derive(Debug)]
pub(crate) struct ConnectionShared {
    pub(crate) id: ConnectionId,
    pub(crate) broker: Arc<Broker>,
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) user: Arc<str>,
    pub(crate) protocol: Protocol,
    pub(crate) outbox: Arc<Outbox>,
    /// Guards the queues that end with the connection. A leaf.
    exclusive: Mutex<Vec<Arc<Queue>>>,
    next_epoch: AtomicU16,
}

impl Connection {
    pub(crate) fn new(
        id: ConnectionId,
        broker: Arc<Broker>,
        vhost: Arc<Vhost>,
        user: Arc<str>,
        protocol: Protocol,
        outbox: Arc<Outbox>,
    ) -> Self {
        broker.gauges.connections.fetch_add(1, Ordering::Relaxed);
        let exclusive = Mutex::default();
        let next_epoch = AtomicU16::new(0);
        let shared =
            ConnectionShared { id, broker, vhost, user, protocol, outbox, exclusive, next_epoch };
        Self { shared: Arc::new(shared) }
    }

    /// Its id; no other connection ever has it.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.shared.id
    }

    /// The vhost it entered.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.shared.vhost.name
    }

    /// Who is logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.shared.user
    }

    /// Opens a session under the adapter's label (the AMQP channel number; 0 elsewhere).
    #[must_use]
    pub fn session(&self, label: u16) -> Session {
        let epoch = self.shared.next_epoch.fetch_add(1, Ordering::Relaxed);
        self.shared.broker.gauges.sessions[self.shared.protocol.index()]
            .fetch_add(1, Ordering::Relaxed);
        Session {
            shared: Arc::new(SessionShared::new(SessionId { label, epoch }, self.shared.clone())),
            queues: Vec::new(),
            last_ticket: Ticket(0),
        }
    }
}

impl ConnectionShared {
    /// Notes that `queue` ends with the connection, if it does.
    pub(crate) fn own(&self, queue: &Arc<Queue>) {
        if queue.owner == Some(self.id) {
            self.exclusive().push(queue.clone());
        }
    }

    /// Forgets an exclusive queue that ended before.
    pub(crate) fn disown(&self, queue: &Arc<Queue>) {
        self.exclusive().retain(|known| !Arc::ptr_eq(known, queue));
    }

    fn exclusive(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.exclusive.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.outbox.close();
        let owned = std::mem::take(&mut *self.shared.exclusive());
        let mut effects = self.shared.broker.effects();
        for queue in owned {
            self.shared.broker.delete_queue(&self.shared.vhost, &queue, &mut effects);
        }
        self.shared.broker.finish(&mut effects);
        self.shared.broker.gauges.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Publishes, consumes and settles; one per AMQP channel, MQTT client, STOMP connection. Dropping
/// it detaches its consumers and puts back what it has not settled.
#[derive(Debug)]
pub struct Session {
    pub(crate) shared: Arc<SessionShared>,
    /// The queues it has read from, as its delivery ids number them: a copy of the shared list,
    /// so that a settlement needs no lock to find its queue.
    queues: Vec<Option<Arc<Queue>>>,
    pub(crate) last_ticket: Ticket,
}

/// What queues know of a session.
#[derive(Debug)]
pub(crate) struct SessionShared {
    id: SessionId,
    pub(crate) connection: Arc<ConnectionShared>,
    /// Who publishes here, as its messages name it: set once, when an MQTT session is opened.
    publisher: AtomicU64,
    /// Deliveries unsettled, over all its consumers; not what it asked for one by one, which no limit
    /// holds back.
    unsettled: AtomicU32,
    /// The most there may be (AMQP's global prefetch, MQTT's Receive Maximum); 0 for no limit.
    unsettled_max: AtomicU32,
    /// Guards consumers and queues; taken by control requests only.
    contents: Mutex<Contents>,
    /// Guards what waits for the log. A leaf.
    confirms: Mutex<Confirms>,
}

/// The consumers of a session and the queues it reads from.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The places of queues that are gone stay empty: a delivery id must never come to mean a
    /// delivery of another queue.
    queues: Vec<Option<Arc<Queue>>>,
    pub(crate) consumers: HashMap<ConsumerId, ConsumerPlace>,
    next_consumer: u32,
    /// It is over: nothing is taken for it any more.
    pub(crate) ended: bool,
    /// Which of `queues` is served first when there is room again.
    turn: usize,
    /// Its MQTT half, once opened and until another connection takes it over.
    pub(crate) client: Option<Box<Client>>,
    /// Another connection went on with it.
    pub(crate) was_resumed: bool,
}

/// Where a consumer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsumerPlace {
    /// Index into the session's queues.
    pub(crate) queue: u32,
    /// Its place among the queue's takers.
    pub(crate) place: u32,
}

/// A shared handle to a session, for control requests.
#[derive(Clone, Debug)]
pub struct SessionHandle(pub(crate) Arc<SessionShared>);

impl Session {
    /// Its id, as events name it.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.shared.id
    }

    /// Who publishes here, as messages name it.
    #[must_use]
    pub fn publisher(&self) -> PublisherId {
        self.shared.publisher()
    }

    /// A handle for requests.
    #[must_use]
    pub fn handle(&self) -> SessionHandle {
        SessionHandle(self.shared.clone())
    }

    /// The latest ticket handed out.
    #[must_use]
    pub const fn last_ticket(&self) -> Ticket {
        self.last_ticket
    }

    /// Changes how many seconds the MQTT session outlives its connection; 0 ends it with it,
    /// `u32::MAX` keeps it for ever.
    pub fn expire_after(&mut self, seconds: u32) {
        if let Some(client) = self.shared.contents().client.as_mut() {
            client.expiry_s = seconds;
        }
    }

    /// The queue that this session's delivery ids call `index`.
    pub(crate) fn queue(&mut self, index: u32) -> Option<&Arc<Queue>> {
        if self.queues.len() <= index as usize {
            self.queues.clone_from(&self.shared.contents().queues);
        }
        self.queues.get(index as usize)?.as_ref()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let connection = &self.shared.connection;
        let mut effects = connection.broker.effects();
        connection.broker.end_session(&self.shared, &mut effects);
        connection.broker.finish(&mut effects);
        connection.broker.gauges.sessions[connection.protocol.index()]
            .fetch_sub(1, Ordering::Relaxed);
    }
}

impl SessionShared {
    /// A session of nobody, to publish for a client whose connection was one of an earlier run.
    pub(crate) fn of_nobody(broker: Arc<Broker>, vhost: Arc<Vhost>) -> Arc<Self> {
        let outbox = broker.outbox();
        outbox.close();
        let connection = ConnectionShared {
            id: ConnectionId(broker.new_id()),
            broker,
            vhost,
            user: "".into(),
            protocol: Protocol::Mqtt,
            outbox,
            exclusive: Mutex::default(),
            next_epoch: AtomicU16::new(0),
        };
        Arc::new(Self::new(SessionId { label: 0, epoch: 0 }, Arc::new(connection)))
    }

    fn new(id: SessionId, connection: Arc<ConnectionShared>) -> Self {
        Self {
            id,
            publisher: AtomicU64::new(connection.id.0),
            connection,
            unsettled: AtomicU32::new(0),
            unsettled_max: AtomicU32::new(0),
            contents: Mutex::default(),
            confirms: Mutex::default(),
        }
    }

    pub(crate) const fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.connection.protocol
    }

    pub(crate) fn publisher(&self) -> PublisherId {
        PublisherId(self.publisher.load(Ordering::Relaxed))
    }

    /// An MQTT client publishes here from now on.
    pub(crate) fn publishes_as(&self, publisher: PublisherId) {
        self.publisher.store(publisher.0, Ordering::Relaxed);
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.connection.outbox
    }

    /// Whether it may have more unsettled deliveries.
    pub(crate) fn has_credit(&self) -> bool {
        let max = self.unsettled_max.load(Ordering::Relaxed);
        max == 0 || self.unsettled.load(Ordering::Relaxed) < max
    }

    pub(crate) fn limit(&self, unsettled_max: u32) {
        self.unsettled_max.store(unsettled_max, Ordering::Relaxed);
    }

    /// Whether the deliveries of all its consumers together are limited.
    pub(crate) fn has_limit(&self) -> bool {
        self.unsettled_max.load(Ordering::Relaxed) > 0
    }

    /// Counts one more unsettled delivery, unless the limit is reached: queues ask at the same
    /// time, and an MQTT client must never get more than its Receive Maximum.
    pub(crate) fn reserve(&self) -> bool {
        let max = self.unsettled_max.load(Ordering::Relaxed);
        if max == 0 {
            self.unsettled.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let more = |unsettled| (unsettled < max).then_some(unsettled + 1);
        self.unsettled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Counts deliveries as settled. True when the limit was reached before: the session's other
    /// queues may have something for it.
    pub(crate) fn settled(&self, count: u32) -> bool {
        let before = self.unsettled.fetch_sub(count, Ordering::Relaxed);
        let max = self.unsettled_max.load(Ordering::Relaxed);
        max != 0 && before >= max
    }

    /// Every queue it reads from, starting with another one at each call, so that none takes all
    /// the room that is made under a shared limit.
    pub(crate) fn queues_in_turn(&self) -> Vec<Arc<Queue>> {
        let mut contents = self.contents();
        let mut queues = contents.queues();
        if !queues.is_empty() {
            contents.turn = (contents.turn + 1) % queues.len();
            queues.rotate_left(contents.turn);
        }
        queues
    }

    /// A panic elsewhere leaves the contents whole: every change is one call.
    pub(crate) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionShared {
    /// What its publishes wait for.
    pub(crate) fn confirms(&self) -> MutexGuard<'_, Confirms> {
        self.confirms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// How this session numbers `queue`.
    pub(crate) fn index_of(&mut self, queue: &Arc<Queue>) -> u32 {
        let is_it = |known: &Option<Arc<Queue>>| {
            known.as_ref().is_some_and(|known| Arc::ptr_eq(known, queue))
        };
        let known = self.queues.iter().rposition(is_it);
        let index = known.unwrap_or_else(|| {
            self.queues.push(Some(queue.clone()));
            self.queues.len() - 1
        });
        u32::try_from(index).expect("queues of a session are fewer than the broker's")
    }

    /// The queue that it numbers so.
    pub(crate) fn queue(&self, index: u32) -> Option<Arc<Queue>> {
        self.queues.get(index as usize)?.clone()
    }

    /// Every queue it reads from.
    pub(crate) fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues.iter().flatten().cloned().collect()
    }

    /// Forgets a queue that is gone, or that nothing of this session is left in: a client that
    /// makes a queue for each request must not make its session grow.
    pub(crate) fn forget(&mut self, index: u32) {
        if let Some(queue) = self.queues.get_mut(index as usize) {
            *queue = None;
        }
    }

    /// A consumer's id, never used before in this session.
    pub(crate) fn new_consumer(&mut self) -> ConsumerId {
        self.next_consumer += 1;
        ConsumerId(self.next_consumer)
    }
}
