//! Which queues and subscribers a message goes to.
//!
//! One [`Routing`] a vhost, behind its lock, changed in place and never in time proportional to
//! its size. `target` is what bindings lead to, `topic` the trie, `exchange` one exchange, `route`
//! the resolved answer that workers cache, checked against the vhost's routing version.

mod cache;
mod exchange;
mod headers;
mod history;
mod route;
mod share;
mod spread;
mod target;
mod topic;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalogue::{Change, StoredBinding};
use crate::control::Destination;
use crate::hash::NameMap;
use crate::queue::Queue;
use crate::{QueueId, Refusal, Table};

pub(crate) use cache::{Place, RouteCache};
pub(crate) use exchange::{ALTERNATE_EXCHANGE, BindingKey, Exchange, ExchangeKind};
pub(crate) use headers::check as check_headers;
pub(crate) use history::{History, check as check_history};
pub(crate) use route::{Addressed, Route};
use share::Share;
pub(crate) use spread::{check as check_hash, check_weight};
pub(crate) use target::{Subscriber, Target, TargetId};

/// The exchange that MQTT topics and STOMP `/topic` destinations live in.
pub(crate) const TOPIC_EXCHANGE: &str = "amq.topic";

/// Where the broker tells of itself: `$SYS` lives beside `amq.topic`, so that no `#` is flooded by
/// it. It is there while anybody listens.
pub const OWN_EXCHANGE: &str = "amq.trivium.sys";

/// A key of the default exchange that begins so is a reply address: the rest is a key of
/// `amq.topic`, so that responders who know only queues can answer MQTT clients.
pub(crate) const TOPIC_REPLY_PREFIX: &str = "amq.topic.reply-to.";

/// Exchanges, queues by name, and the bindings between them.
#[derive(Debug)]
pub(crate) struct Routing {
    vhost: Arc<str>,
    hasher: ahash::RandomState,
    pub(crate) exchanges: NameMap<Arc<str>, Exchange>,
    pub(crate) queues: NameMap<Arc<str>, Arc<Queue>>,
    /// Groups of shared subscriptions, by their queue's name.
    shares: NameMap<Arc<str>, Share>,
    /// Durable changes since the catalogue was told; `None` when there is no catalogue.
    pub(crate) journal: Option<Vec<Change>>,
    /// The change that the catalogue has agreed to and that is being done.
    pub(crate) expected: Option<Change>,
    /// Which exchanges a target is bound to, so that its end need not search them all.
    bound_to: NameMap<TargetId, BTreeSet<Arc<str>>>,
}

impl Routing {
    pub(crate) fn new(vhost: Arc<str>, hasher: &ahash::RandomState) -> Self {
        let mut routing = Self {
            vhost,
            hasher: hasher.clone(),
            journal: None,
            expected: None,
            exchanges: NameMap::with_hasher(hasher.clone()),
            queues: NameMap::with_hasher(hasher.clone()),
            shares: NameMap::with_hasher(hasher.clone()),
            bound_to: NameMap::with_hasher(hasher.clone()),
        };
        for (name, kind, internal) in [
            ("amq.direct", ExchangeKind::Direct, false),
            ("amq.fanout", ExchangeKind::Fanout, false),
            (TOPIC_EXCHANGE, ExchangeKind::Topic, false),
            ("amq.headers", ExchangeKind::Headers, false),
            ("amq.match", ExchangeKind::Headers, false),
            ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
        ] {
            routing.add_exchange(name, kind, true, false, internal, Table::default());
        }
        routing
    }

    /// Adds an exchange; the caller has checked that there is none of that name.
    pub(crate) fn add_exchange(
        &mut self,
        name: &str,
        kind: ExchangeKind,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Table,
    ) {
        let name: Arc<str> = name.into();
        let mut exchange = Exchange::new(name.clone(), kind, arguments, &self.hasher);
        exchange.durable = durable;
        exchange.auto_delete = auto_delete;
        exchange.internal = internal;
        if durable {
            self.record(|vhost| exchange.stored(vhost));
        }
        self.exchanges.insert(name, exchange);
    }

    /// The exchange of that name.
    pub(crate) fn exchange(&self, name: &str) -> Result<&Exchange, Refusal> {
        self.exchanges.get(name).ok_or_else(|| Refusal::no_exchange(name, &self.vhost))
    }

    /// The queue of that name.
    pub(crate) fn queue(&self, name: &str) -> Result<&Arc<Queue>, Refusal> {
        self.queues.get(name).ok_or_else(|| Refusal::no_queue(name, &self.vhost))
    }

    /// Binds `target` to `source`; binding it again the same way is no change. Returns whether it is
    /// one.
    pub(crate) fn bind(
        &mut self,
        source: &str,
        target: &Target,
        key: BindingKey,
    ) -> Result<bool, Refusal> {
        let stored = self.stored_binding(self.exchange(source)?, target, &key);
        let Some(exchange) = self.exchanges.get_mut(source) else { return Ok(false) };
        let is_new = exchange.bind(target, key);
        let name = exchange.name.clone();
        self.bound_to.entry(target.id()).or_default().insert(name);
        if let Some(stored) = stored.filter(|_| is_new) {
            self.record(|_| Change::PutBinding(stored));
        }
        Ok(is_new)
    }

    /// A binding as the catalogue keeps it, if it outlives a restart and somebody keeps it.
    pub(crate) fn stored_binding(
        &self,
        source: &Exchange,
        target: &Target,
        key: &BindingKey,
    ) -> Option<StoredBinding> {
        let is_durable = source.durable && key.pattern.is_none();
        let destination = self.durable_end(target).filter(|_| is_durable)?;
        Some(StoredBinding {
            vhost: self.vhost.to_string(),
            source: source.name.to_string(),
            destination,
            key: key.key.to_string(),
            arguments: key.arguments.clone(),
        })
    }

    /// The name of a target that outlives a restart; only asked for when somebody keeps it.
    fn durable_end(&self, target: &Target) -> Option<Destination> {
        self.journal.as_ref()?;
        match target {
            Target::Queue(queue) => (queue.is_logged() && !queue.is_session)
                .then(|| Destination::Queue(queue.name.to_string())),
            Target::Exchange(name) => self
                .exchanges
                .get(name)
                .filter(|exchange| exchange.durable)
                .map(|_| Destination::Exchange(name.to_string())),
            Target::QueueAtQos0(_) | Target::Subscriber(_) => None,
        }
    }

    /// Notes a durable change for the catalogue.
    pub(crate) fn record(&mut self, change: impl FnOnce(&str) -> Change) {
        if let Some(journal) = &mut self.journal {
            let change = change(&self.vhost);
            if self.expected.take_if(|expected| *expected == change).is_none() {
                journal.push(change);
            }
        }
    }

    /// Adds a queue.
    pub(crate) fn add_queue(&mut self, queue: &Arc<Queue>) {
        if queue.is_logged() && !queue.is_session {
            self.record(|vhost| Change::PutQueue(queue.stored(vhost)));
        }
        self.queues.insert(queue.name.clone(), queue.clone());
    }

    /// Unbinds; what was not bound is no error. Ends `source` when it was its last binding and it
    /// is auto-delete.
    pub(crate) fn unbind(&mut self, source: &str, target: &TargetId, key: &BindingKey) {
        let Some(exchange) = self.exchanges.get_mut(source) else { return };
        exchange.unbind(target, key);
        if !exchange.has_binding_of(target)
            && let Some(sources) = self.bound_to.get_mut(target)
        {
            sources.remove(source);
            if sources.is_empty() {
                self.bound_to.remove(target);
            }
        }
        self.end_if_unused(source);
    }

    /// Removes every binding that leads to `target`.
    pub(crate) fn forget_target(&mut self, target: &TargetId) {
        for source in self.bound_to.remove(target).unwrap_or_default() {
            if let Some(exchange) = self.exchanges.get_mut(&source) {
                exchange.unbind_all(target);
            }
            self.end_if_unused(&source);
        }
    }

    fn end_if_unused(&mut self, name: &str) {
        let is_unused = self
            .exchanges
            .get(name)
            .is_some_and(|exchange| exchange.auto_delete && exchange.bindings().next().is_none());
        if is_unused {
            self.remove_exchange(name);
        }
    }

    /// Removes an exchange, its bindings and those that lead to it. A chain of auto-delete
    /// exchanges ends one after the other, without recursion: clients choose its length.
    pub(crate) fn remove_exchange(&mut self, name: &str) {
        let mut ended = vec![Arc::<str>::from(name)];
        while let Some(name) = ended.pop() {
            let Some(exchange) = self.exchanges.remove(&name) else { continue };
            if exchange.durable {
                let name = name.to_string();
                self.record(|vhost| Change::RemoveExchange { vhost: vhost.to_owned(), name });
            }
            for (target, _) in exchange.bindings() {
                if let Some(sources) = self.bound_to.get_mut(target) {
                    sources.remove(&name);
                }
            }
            let target = TargetId::Exchange(name);
            for source in self.bound_to.remove(&target).unwrap_or_default() {
                let Some(exchange) = self.exchanges.get_mut(&source) else { continue };
                exchange.unbind_all(&target);
                if exchange.auto_delete && exchange.bindings().next().is_none() {
                    ended.push(source);
                }
            }
        }
    }

    /// Removes a queue's name and every binding that leads to it.
    pub(crate) fn remove_queue(&mut self, name: &str, id: QueueId) {
        if self.queues.get(name).is_some_and(|queue| queue.id == id)
            && let Some(queue) = self.queues.remove(name)
            && queue.is_logged()
        {
            let name = name.to_owned();
            self.record(|vhost| Change::RemoveQueue { vhost: vhost.to_owned(), name });
        }
        self.forget_target(&TargetId::Queue(id));
        self.forget_target(&TargetId::QueueAtQos0(id));
    }
}
