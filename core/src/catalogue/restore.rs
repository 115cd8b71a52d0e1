//! Starting where an earlier run ended: the catalogue's queues get the log's messages.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::{
    Catalogue, CatalogueEvents, Stored, StoredBinding, StoredExchange, StoredPolicy, StoredQueue,
};
use crate::control::Destination;
use crate::log::{
    Codecs, InSession, Log, LogEvents, Note, Position, Recovered, RecoveredQueue, Settled, Sizes,
    Special,
};
use crate::queue::{AsRecovered, Declaration, Mark, Queue};
use crate::routing::{BindingKey, ExchangeKind, Target};
use crate::vhost::Vhost;
use crate::{Broker, DEFAULT_VHOST, Instant, Limits, QueueId};

/// What a broker started with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Durable queues.
    pub queues: u64,
    /// Messages in them, and in the queues of sessions.
    pub messages: u64,
    /// MQTT sessions.
    pub sessions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Messages of queues that are no more: the broker ended between the end of the queue and the
    /// record of it.
    pub orphans: u64,
    /// Exchanges and bindings that this version cannot make, such as those of an unknown type.
    pub passed_over: u64,
}

/// Retained messages that are read at a time.
const READ_MAX: usize = 1024;

fn restored_policies(broker: &Broker, policies: Vec<StoredPolicy>, restored: &mut Restored) {
    for StoredPolicy { vhost, kind, policy } in policies {
        broker.add_vhost(&vhost);
        restored.passed_over += u64::from(broker.apply_policy(&vhost, kind, policy).is_err());
    }
}

/// What is known of recovered messages beside their queues.
pub(super) struct Known {
    special: Vec<Special>,
    sizes: Vec<Sizes>,
    is_clean: bool,
    pub(super) codecs: Codecs,
}

impl Known {
    /// Priority and expiry.
    fn special_of(&self, position: Position) -> (u8, Option<Instant>) {
        let at = self.special.binary_search_by_key(&position, |special| special.position);
        at.map_or((0, None), |at| (self.special[at].priority, self.special[at].expires_at))
    }

    /// How long before this run something was published; 0 when that is not known.
    const fn age_ms(&self, published_at: u64) -> u64 {
        if published_at == 0 { 0 } else { self.codecs.started_at().saturating_sub(published_at) }
    }

    /// A Unix time in milliseconds; what is past is now.
    pub(super) const fn instant(&self, unix_ms: u64) -> Instant {
        Instant::from_millis(unix_ms.saturating_sub(self.codecs.started_at()))
    }
}

impl Broker {
    /// A broker that goes on where an earlier one ended: `stored` is what the catalogue had then,
    /// `recovered` what the log. `codecs` are those of the log, `seed` as in [`Broker::new`].
    #[must_use]
    pub fn restore(
        (log, recovered): (Arc<dyn Log>, Recovered),
        (catalogue, stored): (Arc<dyn Catalogue>, Stored),
        limits: Limits,
        (codecs, seed): (Codecs, u64),
    ) -> (Arc<Self>, Restored) {
        let mut restored = Restored::default();
        let broker = Self::build(log, Some(catalogue), stored.next_id.max(1), limits, seed);
        for (vhost, retained) in &stored.vhosts {
            broker.add_vhost_with(vhost, Some(*retained));
        }
        broker.add_vhost(DEFAULT_VHOST);
        restored_policies(&broker, stored.policies, &mut restored);
        broker.set_epoch(codecs.started_at());
        for exchange in stored.exchanges {
            restored.passed_over += u64::from(broker.restore_exchange(exchange).is_none());
        }
        let Recovered { queues, special, sizes, is_clean } = recovered;
        let known = Known { special, sizes, is_clean, codecs };
        let messages = queues.into_iter().map(|queue| (queue.queue, queue));
        let mut messages: BTreeMap<_, RecoveredQueue> = messages.collect();
        for stored in stored.queues {
            let of_queue = messages.remove(&stored.id);
            let queue = broker.restore_queue(stored);
            restored.queues += 1;
            if let (Some(queue), Some(of_queue)) = (queue, of_queue) {
                restored.messages += of_queue.messages();
                broker.refill(&queue, &of_queue, &known);
            }
        }
        for binding in stored.bindings {
            restored.passed_over += u64::from(broker.restore_binding(binding).is_none());
        }
        let of_sessions = (stored.sessions, stored.subscriptions);
        broker.restore_sessions(of_sessions, &mut messages, &known, &mut restored);
        let mut reads = Vec::new();
        for (vhost, retained) in &stored.vhosts {
            if let (Some(vhost), Some(kept)) = (broker.vhost(vhost), messages.remove(retained)) {
                restored.retained += kept.messages();
                reads.extend(broker.read_retained(vhost, &kept));
            }
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
            if !orphan.received.is_empty() {
                broker.log.note(&[Note { session: orphan.queue, what: InSession::Ended }], false);
            }
        }
        let events: Arc<dyn LogEvents> = broker.clone();
        broker.log.attach(Arc::downgrade(&events));
        if let Some(catalogue) = &broker.catalogue {
            let events: Arc<dyn CatalogueEvents> = broker.clone();
            catalogue.attach(Arc::downgrade(&events));
        }
        for (queue, positions) in reads {
            broker.log.read(queue, positions);
        }
        (broker, restored)
    }

    /// The reads that bring back the retained messages of a vhost.
    fn read_retained(
        &self,
        vhost: Arc<Vhost>,
        kept: &RecoveredQueue,
    ) -> Vec<(QueueId, Vec<Position>)> {
        let runs = kept.runs.iter();
        let positions: Vec<Position> =
            runs.flat_map(|(first, count)| (0..*count).map(|at| first.plus(at))).collect();
        let reads: Vec<_> =
            positions.chunks(READ_MAX).map(|chunk| (kept.queue, chunk.to_vec())).collect();
        let mut restoring = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
        restoring.insert(kept.queue, (vhost, reads.len()));
        reads
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
            memory: self.memory.clone(),
            held_bytes_max: None,
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
    pub(super) fn refill(&self, queue: &Arc<Queue>, recovered: &RecoveredQueue, known: &Known) {
        let mut effects = self.effects();
        let Some(mut state) = queue.lock() else { return };
        let mut attempts = recovered.attempts.iter().peekable();
        let mut marks = recovered.marks.iter().peekable();
        let mut rest = &known.sizes[..];
        for (first, count) in &recovered.runs {
            // A queue of few messages among many skips what is of others.
            let is_before = |sizes: &Sizes| sizes.first.plus(sizes.count) <= *first;
            rest = &rest[rest.partition_point(is_before)..];
            let mut sizes = rest.iter().peekable();
            for offset in 0..*count {
                let position = first.plus(offset);
                let told = attempts.next_if(|(at, _)| *at == position).map_or(0, |(_, n)| *n);
                // After a crash any message may have been delivered.
                let delivered = if known.is_clean { told } else { told.max(1) };
                let (priority, expires_at) = known.special_of(position);
                while sizes.next_if(|sizes| sizes.first.plus(sizes.count) <= position).is_some() {}
                let sizes = sizes.peek().filter(|sizes| sizes.first <= position);
                let mark = marks.next_if(|mark| mark.position == position);
                state.restore(AsRecovered {
                    position,
                    attempts: delivered,
                    priority,
                    expires_at,
                    bytes: sizes.map_or(0, |sizes| sizes.bytes / sizes.count.max(1)),
                    age_ms: sizes.map_or(0, |sizes| known.age_ms(sizes.published_at)),
                    mark: mark.map(|mark| Mark {
                        label: mark.label,
                        qos: mark.qos,
                        released: mark.released,
                    }),
                });
            }
        }
        state.dispatch(queue, &mut effects);
        drop(state);
        self.finish(&mut effects);
    }
}
