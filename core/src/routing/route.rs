//! A resolved route: all queues and subscribers that one exchange and key lead to.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::history::History;
use super::target::{Subscriber, Target};
use super::{Exchange, OWN_EXCHANGE, Routing, TOPIC_EXCHANGE};
use crate::queue::Queue;
use crate::{Draft, Properties, PropertyCodec, QueueId, Refusal};

/// Where messages of one exchange and key go. Cached by workers as long as the vhost's routing
/// version stands.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// Each once.
    pub(crate) queues: Vec<Arc<Queue>>,
    /// Queues of MQTT sessions that only subscriptions at QoS 0 lead to; none of them in `queues`.
    pub(crate) queues_at_qos_0: Vec<Arc<Queue>>,
    /// Those of `queues` whose messages are logged.
    pub(crate) logged: Vec<QueueId>,
    /// Fire-and-forget subscribers, those of one variant together, so that each variant is
    /// encoded once.
    pub(crate) subscribers: Vec<Arc<Subscriber>>,
    /// What keeps the message for who binds later.
    pub(crate) histories: Vec<Arc<History>>,
    /// The vhost's routing version it was resolved at.
    pub(crate) version: u64,
    /// It depends on the message's headers: it serves one message only.
    pub(crate) is_for_one: bool,
}

/// `$SYS` is the broker's own, `$share` names subscriptions: nobody publishes there.
fn check_reserved(key: &str) -> Result<(), Refusal> {
    if key.starts_with('$') && matches!(key.split('.').next(), Some("$SYS" | "$share")) {
        return Err(Refusal::access(format!("publishing to the reserved topic of key '{key}'")));
    }
    Ok(())
}

/// What of a message decides where it goes. Properties are decoded once an exchange asks.
#[derive(Debug)]
pub(crate) struct Addressed<'a> {
    exchange: &'a str,
    key: &'a str,
    /// Further routing keys (AMQP's CC and BCC).
    more_keys: &'a [&'a str],
    codec: &'static dyn PropertyCodec,
    wire: &'a [u8],
    decoded: OnceCell<Properties>,
    /// An exchange chose by more than exchange and key.
    is_unique: Cell<bool>,
}

impl<'a> Addressed<'a> {
    pub(crate) fn of(draft: &Draft<'a>, more_keys: &'a [&'a str]) -> Self {
        Self {
            exchange: draft.exchange,
            key: draft.routing_key,
            more_keys,
            codec: draft.codec,
            wire: draft.properties,
            decoded: OnceCell::new(),
            is_unique: Cell::new(!more_keys.is_empty()),
        }
    }

    /// The key the publisher gave.
    pub(super) const fn key(&self) -> &'a str {
        self.key
    }

    /// All its routing keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(self.key).chain(self.more_keys.iter().copied())
    }

    pub(super) fn properties(&self) -> &Properties {
        self.note_unique();
        self.decoded.get_or_init(|| self.codec.decode(self.wire))
    }

    /// The route serves this message only.
    pub(super) fn note_unique(&self) {
        self.is_unique.set(true);
    }
}

impl Routing {
    /// The exchange of that name, if clients may publish to it.
    pub(crate) fn publishable(&self, name: &str) -> Result<&Exchange, Refusal> {
        let exchange = self.exchange(name)?;
        if exchange.internal {
            let vhost = &self.vhost;
            return Err(Refusal::access(format!(
                "cannot publish to internal exchange '{name}' in vhost '{vhost}'"
            )));
        }
        Ok(exchange)
    }
}

impl Route {
    /// Whether anybody gets the message.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.queues_at_qos_0.is_empty() && self.subscribers.is_empty()
    }

    /// Keeps the queues that `keep` says.
    pub(crate) fn retain_queues(&mut self, keep: impl Fn(&Queue) -> bool) {
        self.queues.retain(|queue| keep(queue));
        self.note_logged();
    }

    fn note_logged(&mut self) {
        self.logged = self.queues.iter().filter(|q| q.is_logged()).map(|q| q.id).collect();
    }

    /// Deliveries that one message causes.
    pub(crate) fn fan_out(&self) -> usize {
        self.queues.len() + self.queues_at_qos_0.len() + self.subscribers.len()
    }

    /// Resolves where `message` goes. A queue gets one copy whatever the number of paths; cycles
    /// between exchanges are walked once. An exchange that finds nothing hands on to its alternate
    /// exchange, which may hand on to its own.
    pub(crate) fn resolve(
        routing: &Routing,
        message: &Addressed<'_>,
        version: u64,
    ) -> Result<Self, Refusal> {
        let mut route = Self { version, ..Self::default() };
        if message.exchange.is_empty() {
            route.queues.extend(message.keys().filter_map(|key| routing.queues.get(key).cloned()));
            route.finish(message);
            return Ok(route);
        }
        let first = routing.publishable(message.exchange)?;
        if message.exchange == TOPIC_EXCHANGE {
            message.keys().try_for_each(check_reserved)?;
        }
        route.walk(routing, first, message);
        route.finish(message);
        Ok(route)
    }

    /// Resolves where what the broker tells of itself goes.
    pub(crate) fn resolve_own(routing: &Routing, message: &Addressed<'_>) -> Self {
        let mut route = Self::default();
        if let Some(own) = routing.exchanges.get(message.exchange) {
            route.walk(routing, own, message);
            route.finish(message);
        }
        route
    }

    fn walk(&mut self, routing: &Routing, first: &Exchange, message: &Addressed<'_>) {
        let mut visited = BTreeSet::from([first.name.clone()]);
        let mut pending: Vec<&Exchange> = vec![first];
        let mut visit = |name: &str, pending: &mut Vec<_>| {
            if let Some(next) = routing.exchanges.get(name)
                && visited.insert(next.name.clone())
            {
                pending.push(next);
            }
        };
        while let Some(exchange) = pending.pop() {
            let mut found = false;
            exchange.route(message, |target| {
                found = true;
                match target {
                    Target::Exchange(name) => visit(name, &mut pending),
                    target => self.add(target),
                }
            });
            if !found && let Some(alternate) = exchange.hands_on_to() {
                visit(alternate, &mut pending);
            }
            self.histories.extend(exchange.history().cloned());
        }
    }

    fn add(&mut self, target: &Target) {
        match target {
            Target::Queue(queue) => self.queues.push(queue.clone()),
            Target::QueueAtQos0(queue) => self.queues_at_qos_0.push(queue.clone()),
            Target::Subscriber(subscriber) => self.subscribers.push(subscriber.clone()),
            Target::Exchange(_) => {}
        }
    }

    fn finish(&mut self, message: &Addressed<'_>) {
        self.is_for_one = message.is_unique.get();
        self.queues.sort_unstable_by_key(|queue| queue.id);
        self.queues.dedup_by_key(|queue| queue.id);
        self.queues_at_qos_0.sort_unstable_by_key(|queue| queue.id);
        self.queues_at_qos_0.dedup_by_key(|queue| queue.id);
        let is_there = |queue: &Arc<Queue>| {
            self.queues.binary_search_by_key(&queue.id, |known| known.id).is_ok()
        };
        self.queues_at_qos_0.retain(|queue| !is_there(queue));
        if message.key.starts_with('$') && message.exchange != OWN_EXCHANGE {
            // Such keys do not reach MQTT [MQTT-4.7.2-1].
            self.queues.retain(|queue| !queue.is_session);
            self.queues_at_qos_0.clear();
            self.subscribers.clear();
        }
        // A client with overlapping subscriptions of both kinds gets one copy, through its queue,
        // which carries the higher QoS [MQTT-3.3.5-1].
        let queues = self.queues.iter().chain(&self.queues_at_qos_0);
        let sessions: BTreeSet<_> =
            queues.filter(|queue| queue.is_session).map(|queue| queue.id).collect();
        let has_copy = |id: &QueueId| sessions.contains(id);
        self.subscribers.retain(|subscriber| !subscriber.session_queue.get().is_some_and(has_copy));
        // One copy for a client whose fire-and-forget subscriptions overlap.
        let order = |subscriber: &Arc<Subscriber>| {
            (subscriber.variant, subscriber.no_local, subscriber.connection)
        };
        self.subscribers.sort_unstable_by_key(order);
        self.subscribers.dedup_by_key(|subscriber| (subscriber.variant, subscriber.connection));
        self.note_logged();
    }
}
