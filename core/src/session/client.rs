//! The MQTT half of a session: its client identifier, its subscriptions, its queue. A value that
//! moves from one connection to the next, and waits in [`Clients`] between them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use super::{LateMessage, Received, SessionShared};
use crate::catalogue::{Change, StoredSession, StoredSubscription, StoredWill};
use crate::control::{Source, Subscription};
use crate::hash::NameMap;
use crate::queue::Queue;
use crate::routing::Subscriber;
use crate::{ClientTotals, ConsumerId, Instant, QueueId};

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
    /// The id of `queue`, for its fire-and-forget subscribers. Known from the beginning of a
    /// session that the catalogue keeps.
    pub(crate) queue_id: Arc<OnceLock<QueueId>>,
    /// QoS 2 publishes from PUBLISH to PUBREL.
    pub(crate) received: Arc<Received>,
    /// What the catalogue has of it; `None` when it is not kept there.
    pub(crate) stored: Option<Row>,
    /// What is published then, or when the session ends (Will Delay).
    pub(crate) late: Option<(Instant, Box<LateMessage>)>,
}

/// What the catalogue has of a session, as far as it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) expiry_s: u32,
    pub(crate) expires_at: Option<u64>,
    pub(crate) has_will: bool,
}

/// A subscription, as its client asked for it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) asked: Subscription,
    pub(crate) served: Subscribed,
}

impl Kept {
    /// As a restart finds it: nothing of it is served.
    pub(crate) fn restored(stored: StoredSubscription) -> Self {
        let served = match &stored.source {
            Source::Filter(_) if stored.qos > 0 => Subscribed::Queued,
            Source::Filter(_) => Subscribed::FireAndForget(None),
            Source::Queue(_) => Subscribed::Consumer(None),
            Source::Shared { .. } => Subscribed::Member(None),
        };
        let asked = Subscription {
            name: stored.name,
            id: stored.id,
            retain_as_published: stored.retain_as_published,
            source: stored.source,
            qos: stored.qos,
            fire_and_forget: None,
            no_local: stored.no_local,
            retained: false,
        };
        Self { asked, served }
    }
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
            received: Arc::default(),
            stored: None,
            late: None,
        }
    }

    /// Notes for the catalogue that the session is there, with these seconds of life and this will,
    /// until `expires_at`; nothing when the catalogue has it so.
    pub(crate) fn keep(
        &mut self,
        vhost: &str,
        expires_at: Option<u64>,
        will: Option<StoredWill>,
    ) -> Option<Change> {
        let id = *self.queue_id.get()?;
        let row = Row { expiry_s: self.expiry_s, expires_at, has_will: will.is_some() };
        let is_same = self.stored == Some(row) && !row.has_will;
        self.stored = Some(row);
        let (vhost, client_id) = (vhost.to_owned(), self.name.to_string());
        let expiry_s = self.expiry_s;
        let session = StoredSession { vhost, client_id, id, expiry_s, expires_at, will };
        (!is_same).then_some(Change::PutSession(session))
    }

    /// Notes for the catalogue that a subscription is there; `None` when the catalogue does not keep
    /// the session, or knows it so already.
    pub(crate) fn subscribed(
        &self,
        vhost: &str,
        wanted: &Subscription,
        before: Option<&Subscription>,
        group: Option<QueueId>,
    ) -> Option<Change> {
        let is_same = |before: &Subscription| {
            let told =
                |one: &Subscription| (one.id, one.qos, one.retain_as_published, one.no_local);
            told(before) == told(wanted) && before.name == wanted.name
        };
        if self.stored.is_none() || before.is_some_and(is_same) {
            return None;
        }
        Some(Change::PutSubscription(StoredSubscription {
            vhost: vhost.to_owned(),
            client_id: self.name.to_string(),
            source: wanted.source.clone(),
            name: wanted.name.clone(),
            id: wanted.id,
            qos: wanted.qos,
            retain_as_published: wanted.retain_as_published,
            no_local: wanted.no_local,
            group,
        }))
    }

    /// The same when a subscription is gone.
    pub(crate) fn unsubscribed(&self, vhost: &str, source: &Source) -> Option<Change> {
        self.stored?;
        let (vhost, client_id) = (vhost.to_owned(), self.name.to_string());
        Some(Change::RemoveSubscription { vhost, client_id, source: source.clone() })
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
    /// Its will is published. The catalogue is told what is left.
    Publishes(Box<LateMessage>, Option<Box<Change>>),
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

    /// Adds what there is.
    pub(crate) fn add_to(&self, totals: &mut ClientTotals) {
        for holder in self.by_name.values() {
            let subscriptions = match holder {
                Holder::Here(session) => {
                    let contents = session.contents();
                    contents.client.as_ref().map_or(0, |client| client.subscriptions.len())
                }
                Holder::Away { client, .. } => {
                    totals.away += 1;
                    client.subscriptions.len()
                }
            };
            totals.subscriptions += subscriptions as u64;
        }
    }

    /// The next thing that is due `now`.
    pub(crate) fn next_due(&mut self, now: Instant, vhost: &str) -> Option<Due> {
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
        let row = client.stored;
        let change = row.and_then(|row| client.keep(vhost, row.expires_at, None));
        self.keep(client, expires);
        late.map(|(_, late)| Due::Publishes(late, change.map(Box::new)))
    }
}
