//! What a binding leads to.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::encoder::{Encoder, Variant};
use crate::queue::Queue;
use crate::{ConnectionId, Outbox, PublisherId, QueueId};

/// A fire-and-forget subscriber of a topic exchange.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) id: u64,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) encoder: &'static dyn Encoder,
    pub(crate) variant: Variant,
    pub(crate) connection: ConnectionId,
    /// Whose publishes are its own.
    pub(crate) publisher: PublisherId,
    /// The queue of the same MQTT session, once there is one.
    pub(crate) session_queue: Arc<OnceLock<QueueId>>,
    /// Not what its own client published.
    pub(crate) no_local: bool,
}

/// Where messages go next. A remote queue will be one more.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Queue(Arc<Queue>),
    /// The queue of an MQTT session, for a subscription at QoS 0.
    QueueAtQos0(Arc<Queue>),
    Exchange(Arc<str>),
    Subscriber(Arc<Subscriber>),
}

/// What makes a target the same as another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TargetId {
    Queue(QueueId),
    QueueAtQos0(QueueId),
    Exchange(Arc<str>),
    Subscriber(u64),
}

impl Target {
    pub(crate) fn id(&self) -> TargetId {
        match self {
            Self::Queue(queue) => TargetId::Queue(queue.id),
            Self::QueueAtQos0(queue) => TargetId::QueueAtQos0(queue.id),
            Self::Exchange(name) => TargetId::Exchange(name.clone()),
            Self::Subscriber(subscriber) => TargetId::Subscriber(subscriber.id),
        }
    }
}

/// The targets of one key or pattern, each with how many bindings lead to it.
#[derive(Debug, Default)]
pub(crate) struct Targets(BTreeMap<TargetId, (Target, u32)>);

impl Targets {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, target: &Target) {
        self.0.entry(target.id()).or_insert_with(|| (target.clone(), 0)).1 += 1;
    }

    pub(crate) fn remove(&mut self, target: &TargetId) {
        if let Some((_, count)) = self.0.get_mut(target) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(target);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.values().map(|(target, _)| target)
    }
}
