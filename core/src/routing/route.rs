//! A resolved route: all queues and subscribers that one exchange and key lead to.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::target::{Subscriber, Target};
use super::{Exchange, Routing, TOPIC_EXCHANGE};
use crate::queue::Queue;
use crate::{Draft, PropertyCodec, QueueId, Refusal, Table};

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
    /// The vhost's routing version it was resolved at.
    pub(crate) version: u64,
    /// It depends on the message's headers: it serves one message only.
    pub(crate) is_for_one: bool,
}

/// A key of the default exchange that begins so is a reply address: the rest is a key of
/// `amq.topic`, so that responders who know only queues can answer MQTT clients.
const TOPIC_REPLY_PREFIX: &str = "amq.topic.reply-to.";

/// The headers of the message to be routed, decoded once a headers exchange asks.
#[derive(Debug)]
pub(crate) struct Headers<'a> {
    codec: &'static dyn PropertyCodec,
    properties: &'a [u8],
    decoded: OnceCell<Table>,
}

impl<'a> Headers<'a> {
    pub(crate) const fn of(draft: &Draft<'a>) -> Self {
        Self { codec: draft.codec, properties: draft.properties, decoded: OnceCell::new() }
    }

    pub(super) fn get(&self) -> &Table {
        self.decoded.get_or_init(|| self.codec.decode(self.properties).headers)
    }

    fn were_asked(&self) -> bool {
        self.decoded.get().is_some()
    }
}

impl Route {
    /// Whether anybody gets the message.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.queues_at_qos_0.is_empty() && self.subscribers.is_empty()
    }

    /// Deliveries that one message causes.
    pub(crate) fn fan_out(&self) -> usize {
        self.queues.len() + self.queues_at_qos_0.len() + self.subscribers.len()
    }

    /// Resolves `exchange` and `key`. A queue gets one copy whatever the number of paths; cycles
    /// between exchanges are walked once.
    pub(crate) fn resolve(
        routing: &Routing,
        exchange: &str,
        key: &str,
        headers: &Headers<'_>,
        version: u64,
    ) -> Result<Self, Refusal> {
        let mut route = Self { version, ..Self::default() };
        if exchange.is_empty() {
            if let Some(key) = key.strip_prefix(TOPIC_REPLY_PREFIX) {
                return Self::resolve(routing, TOPIC_EXCHANGE, key, headers, version);
            }
            route.queues.extend(routing.queues.get(key).cloned());
            route.finish(key);
            return Ok(route);
        }
        let source = routing.exchange(exchange)?;
        if source.internal {
            let vhost = &routing.vhost;
            return Err(Refusal::access(format!(
                "cannot publish to internal exchange '{exchange}' in vhost '{vhost}'"
            )));
        }
        let mut visited = BTreeSet::from([source.name.clone()]);
        let mut pending: Vec<&Exchange> = vec![source];
        while let Some(exchange) = pending.pop() {
            exchange.route(key, headers, |target| match target {
                Target::Queue(queue) => route.queues.push(queue.clone()),
                Target::QueueAtQos0(queue) => route.queues_at_qos_0.push(queue.clone()),
                Target::Subscriber(subscriber) => route.subscribers.push(subscriber.clone()),
                Target::Exchange(name) => {
                    if let Some(next) = routing.exchanges.get(name)
                        && visited.insert(name.clone())
                    {
                        pending.push(next);
                    }
                }
            });
        }
        route.finish(key);
        route.is_for_one = headers.were_asked();
        Ok(route)
    }

    fn finish(&mut self, key: &str) {
        self.queues.sort_unstable_by_key(|queue| queue.id);
        self.queues.dedup_by_key(|queue| queue.id);
        self.queues_at_qos_0.sort_unstable_by_key(|queue| queue.id);
        self.queues_at_qos_0.dedup_by_key(|queue| queue.id);
        let is_there = |queue: &Arc<Queue>| {
            self.queues.binary_search_by_key(&queue.id, |known| known.id).is_ok()
        };
        self.queues_at_qos_0.retain(|queue| !is_there(queue));
        if key.starts_with('$') {
            // Such keys do not reach MQTT [MQTT-4.7.2-1].
            self.queues.retain(|queue| !queue.is_session);
            self.queues_at_qos_0.clear();
            self.subscribers.clear();
        }
        // A client with overlapping subscriptions of both kinds gets one copy, through its queue,
        // which carries the higher QoS [MQTT-3.3.5-1].
        let sessions: BTreeSet<_> = self
            .queues
            .iter()
            .chain(&self.queues_at_qos_0)
            .filter(|queue| queue.is_session)
            .filter_map(|queue| queue.owner)
            .collect();
        self.subscribers.retain(|subscriber| !sessions.contains(&subscriber.connection));
        // One copy for a client whose fire-and-forget subscriptions overlap.
        let order = |subscriber: &Arc<Subscriber>| {
            (subscriber.variant, subscriber.no_local, subscriber.connection)
        };
        self.subscribers.sort_unstable_by_key(order);
        self.subscribers.dedup_by_key(|subscriber| (subscriber.variant, subscriber.connection));
        self.logged = self.queues.iter().filter(|q| q.is_logged()).map(|q| q.id).collect();
    }
}
