//! The MQTT half of a session: its client identifier, its subscriptions, its queue. A value that
//! moves from one connection to the next, and waits in [`Clients`] between them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use super::{LateMessage, SessionShared};
use crate::control::{Source, Subscription};
use crate::hash::NameMap;
use crate::queue::Queue;
use crate::routing::Subscriber;
use crate::{ConsumerId, Instant, QueueId};

/// A session that never expires (MQTT 5, section 3.1.2.11.2).
pub(crate) const NEVER_EXPIRES: u32 = u32::MAX;

/// An MQTT client's session (MQTT 5, section 4.1).
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: Arc<str>,
    /// Seconds that it outlives its connection; 0 for not at all.
    pub(crate) expiry_s: u32,
    pub(crate) subscriptions: HashMap<Source, Kept>,
    /// Made with the first subscription that needs it. Without a consumer while the client is away.
    pub(crate) queue: Option<(Arc<Queue>, Option<ConsumerId>)>,
    /// The id of `queue`, for its fire-and-forget subscribers.
    pub(crate) queue_id: Arc<OnceLock<QueueId>>,
    /// Packet identifiers of QoS 2 publishes from PUBLISH to PUBREL.
    pub(crate) received: BTreeSet<u16>,
    /// What is published then, or when the session ends (Will Delay).
    pub(crate) late: Option<(Instant, Box<LateMessage>)>,
}

/// A subscription, as its client asked for it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) asked: Subscription,
    pub(crate) served: Subscribed,
}

/// How one subscription is served.
#[derive(Clone, Debug)]
pub(crate) enum Subscribed {
    /// Encoded straight into the outbox; not while the client is away.
    FireAndForget(Option<Arc<Subscriber>>),
    /// Through the session's queue.
    Queued,
    /// Through the session's queue, at QoS 0.
    QueuedAtQos0,
    /// A consumer of its own, of a queue that somebody declared; none while the client is away.
    Consumer(Option<ConsumerId>),
    /// A consumer of its own, of a group's queue; none while the client is away.
    Member(Option<ConsumerId>),
}

impl Subscribed {
    /// The consumer that it alone has.
    pub(crate) const fn consumer(&self) -> Option<ConsumerId> {
        match self {
            Self::Consumer(consumer) | Self::Member(consumer) => *consumer,
            Self::FireAndForget(_) | Self::Queued | Self::QueuedAtQos0 => None,
        }
    }
}

impl Client {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            expiry_s: 0,
            subscriptions: HashMap::new(),
            queue: None,
            queue_id: Arc::default(),
            received: BTreeSet::new(),
            late: None,
        }
    }

    /// When something happens to it if it goes `now` and does not come back; `None` for never.
    fn due(&self, expires: Option<Instant>) -> Option<Instant> {
        let late = self.late.as_ref().map(|(due, _)| *due);
        match (late, expires) {
            (Some(late), Some(expires)) => Some(late.min(expires)),
            (late, expires) => late.or(expires),
        }
    }
}

/// Who has a client identifier.
#[derive(Debug)]
pub(crate) enum Holder {
    /// A connection.
    Here(Arc<SessionShared>),
    /// Nobody: the session waits.
    Away {
        client: Box<Client>,
        /// `None` for never.
        expires: Option<Instant>,
    },
}

/// The MQTT sessions of a vhost, by client identifier.
#[derive(Debug)]
pub(crate) struct Clients {
    by_name: NameMap<Arc<str>, Holder>,
    /// When something happens to those that are away.
    due: BTreeSet<(Instant, Arc<str>)>,
}

/// What is to be done about a client that is away.
#[derive(Debug)]
pub(crate) enum Due {
    /// Its session ends.
    Ends(Box<Client>),
    /// Its will is published.
    Publishes(Box<LateMessage>),
}

impl Clients {
    pub(crate) fn new(hasher: ahash::RandomState) -> Self {
        Self { by_name: NameMap::with_hasher(hasher), due: BTreeSet::new() }
    }

    /// Takes out who has that identifier.
    pub(crate) fn take(&mut self, name: &str) -> Option<Holder> {
        let (name, holder) = self.by_name.remove_entry(name)?;
        if let Holder::Away { client, expires } = &holder
            && let Some(due) = client.due(*expires)
        {
            self.due.remove(&(due, name));
        }
        Some(holder)
    }

    /// A connection has it.
    pub(crate) fn hold(&mut self, name: Arc<str>, session: Arc<SessionShared>) {
        self.by_name.insert(name, Holder::Here(session));
    }

    /// Forgets that `session` has it. False when another has it by now.
    pub(crate) fn let_go(&mut self, name: &str, session: &Arc<SessionShared>) -> bool {
        let is_its = matches!(
            self.by_name.get(name), Some(Holder::Here(known)) if Arc::ptr_eq(known, session)
        );
        if is_its {
            self.by_name.remove(name);
        }
        is_its
    }

    /// Keeps the session of a client that is away until `expires`.
    pub(crate) fn keep(&mut self, client: Box<Client>, expires: Option<Instant>) {
        let name = client.name.clone();
        self.due.extend(client.due(expires).map(|due| (due, name.clone())));
        self.by_name.insert(name, Holder::Away { client, expires });
    }

    /// The next thing that is due `now`.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Due> {
        let (due, name) = self.due.first()?.clone();
        if due > now {
            return None;
        }
        let Some(Holder::Away { mut client, expires }) = self.take(&name) else {
            self.due.remove(&(due, name));
            return None;
        };
        if expires.is_some_and(|expires| expires <= now) {
            return Some(Due::Ends(client));
        }
        let late = client.late.take();
        self.keep(client, expires);
        late.map(|(_, late)| Due::Publishes(late))
    }
}
