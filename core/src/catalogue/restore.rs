//! Starting where an earlier run ended: the catalogue's queues get the log's messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Catalogue, CatalogueEvents, Stored, StoredBinding, StoredExchange, StoredQueue};
use crate::control::Destination;
use crate::log::{Log, LogEvents, Recovered, RecoveredQueue, Settled};
use crate::queue::{Declaration, Queue};
use crate::routing::{BindingKey, ExchangeKind, Target};
use crate::{Broker, DEFAULT_VHOST, Limits};

/// What a broker started with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Durable queues.
    pub queues: u64,
    /// Messages in them.
    pub messages: u64,
    /// Messages of queues that are no more: the broker ended between the end of the queue and the
    /// record of it.
    pub orphans: u64,
    /// Exchanges and bindings that this version cannot make, such as those of an unknown type.
    pub passed_over: u64,
}

impl Broker {
    /// A broker that goes on where an earlier one ended: `stored` is what the catalogue had then,
    /// `recovered` what the log. `seed` as in [`Broker::new`].
    #[must_use]
    pub fn restore(
        (log, recovered): (Arc<dyn Log>, Recovered),
        (catalogue, stored): (Arc<dyn Catalogue>, Stored),
        limits: Limits,
        seed: u64,
    ) -> (Arc<Self>, Restored) {
        let broker = Self::build(log, Some(catalogue), stored.next_id.max(1), limits, seed);
        broker.add_vhost(DEFAULT_VHOST);
        let mut restored = Restored::default();
        for exchange in stored.exchanges {
            restored.passed_over += u64::from(broker.restore_exchange(exchange).is_none());
        }
        let is_clean = recovered.is_clean;
        let messages = recovered.queues.into_iter().map(|queue| (queue.queue, queue));
        let mut messages: BTreeMap<_, RecoveredQueue> = messages.collect();
        for stored in stored.queues {
            let of_queue = messages.remove(&stored.id);
            let queue = broker.restore_queue(stored);
            restored.queues += 1;
            if let (Some(queue), Some(of_queue)) = (queue, of_queue) {
                restored.messages += of_queue.messages();
                broker.refill(&queue, &of_queue, &recovered.special, is_clean);
            }
        }
        for binding in stored.bindings {
            restored.passed_over += u64::from(broker.restore_binding(binding).is_none());
        }
        for orphan in messages.values() {
            restored.orphans += orphan.messages();
            let runs = orphan.runs.iter();
            let settled = runs.map(|(first, count)| Settled {
                queue: orphan.queue,
                first: *first,
                count: *count,
            });
            broker.log.release(&settled.collect::<Vec<_>>());
        }
        let events: Arc<dyn LogEvents> = broker.clone();
        broker.log.attach(Arc::downgrade(&events));
        if let Some(catalogue) = &broker.catalogue {
            let events: Arc<dyn CatalogueEvents> = broker.clone();
            catalogue.attach(Arc::downgrade(&events));
        }
        (broker, restored)
    }

    fn restore_exchange(&self, exchange: StoredExchange) -> Option<()> {
        self.add_vhost(&exchange.vhost);
        let kind = ExchangeKind::parse(&exchange.kind)?;
        let StoredExchange { name, auto_delete, internal, arguments, .. } = exchange;
        self.vhost(&exchange.vhost)?.restore_routing(|routing| {
            routing.add_exchange(&name, kind, true, auto_delete, internal, arguments);
        });
        Some(())
    }

    fn restore_queue(&self, stored: StoredQueue) -> Option<Arc<Queue>> {
        self.add_vhost(&stored.vhost);
        let vhost = self.vhost(&stored.vhost)?;
        let queue = Queue::new(Declaration {
            id: stored.id,
            name: stored.name.into(),
            vhost: vhost.name.clone(),
            durable: true,
            owner: None,
            auto_delete: stored.auto_delete,
            is_session: false,
            arguments: stored.arguments,
            window_max: self.window_max(),
        });
        vhost.restore_routing(|routing| routing.queues.insert(queue.name.clone(), queue.clone()));
        self.register(&queue);
        Some(queue)
    }

    fn restore_binding(&self, binding: StoredBinding) -> Option<()> {
        self.vhost(&binding.vhost)?.restore_routing(|routing| {
            let target = match &binding.destination {
                Destination::Queue(name) => Target::Queue(routing.queues.get(&**name)?.clone()),
                Destination::Exchange(name) => {
                    Target::Exchange(routing.exchanges.get(&**name)?.name.clone())
                }
            };
            let key = BindingKey::new(&binding.key, binding.arguments);
            routing.bind(&binding.source, &target, key).ok().map(drop)
        })
    }

    /// Puts what the log has of a queue behind its window.
    fn refill(
        &self,
        queue: &Arc<Queue>,
        recovered: &RecoveredQueue,
        special: &[crate::log::Special],
        is_clean: bool,
    ) {
        let mut effects = self.effects();
        let Some(mut state) = queue.lock() else { return };
        let mut attempts = recovered.attempts.iter().peekable();
        for (first, count) in &recovered.runs {
            for offset in 0..*count {
                let position = first.plus(offset);
                let known = attempts.next_if(|(at, _)| *at == position).map_or(0, |(_, n)| *n);
                // After a crash any message may have been delivered.
                let known = if is_clean { known } else { known.max(1) };
                let at = special.binary_search_by_key(&position, |special| special.position);
                let (priority, expires_at) =
                    at.map_or((0, None), |at| (special[at].priority, special[at].expires_at));
                state.restore(position, known, priority, expires_at);
            }
        }
        state.dispatch(queue, &mut effects);
        drop(state);
        self.finish(&mut effects);
    }
}
