//! A resolved route: all queues and subscribers that one exchange and key lead to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::target::{Subscriber, Target};
use super::{Exchange, Routing};
use crate::queue::Queue;
use crate::{QueueId, Refusal};

/// Where messages of one exchange and key go. Cached by workers as long as the vhost's routing
/// version stands.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// Each once.
    pub(crate) queues: Vec<Arc<Queue>>,
    /// Those of `queues` whose messages are logged.
    pub(crate) logged: Vec<QueueId>,
    /// Fire-and-forget subscribers, those of one variant together, so that each variant is
    /// encoded once.
    pub(crate) subscribers: Vec<Arc<Subscriber>>,
    /// The vhost's routing version it was resolved at.
    pub(crate) version: u64,
}

impl Route {
    /// Whether anybody gets the message.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.subscribers.is_empty()
    }

    /// Deliveries that one message causes.
    pub(crate) fn fan_out(&self) -> usize {
        self.queues.len() + self.subscribers.len()
    }

    /// Resolves `exchange` and `key`. A queue gets one copy whatever the number of paths; cycles
    /// between exchanges are walked once.
    pub(crate) fn resolve(
        routing: &Routing,
        exchange: &str,
        key: &str,
        version: u64,
    ) -> Result<Self, Refusal> {
        let mut route = Self { version, ..Self::default() };
        if exchange.is_empty() {
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
            exchange.route(key, |target| match target {
                Target::Queue(queue) => route.queues.push(queue.clone()),
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
        Ok(route)
    }

    fn finish(&mut self, key: &str) {
        self.queues.sort_unstable_by_key(|queue| queue.id);
        self.queues.dedup_by_key(|queue| queue.id);
        if key.starts_with('$') {
            // Such keys do not reach MQTT [MQTT-4.7.2-1].
            self.queues.retain(|queue| !queue.is_session);
            self.subscribers.clear();
        }
        // A client with overlapping subscriptions of both kinds gets one copy, through its queue,
        // which carries the higher QoS [MQTT-3.3.5-1].
        let sessions: BTreeSet<_> = self
            .queues
            .iter()
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
