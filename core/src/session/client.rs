//! The MQTT half of a session: its client identifier, its subscriptions, its queue.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ConsumerId;
use crate::control::Source;
use crate::queue::Queue;
use crate::routing::Subscriber;

/// An MQTT client's session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: Arc<str>,
    pub(crate) subscriptions: HashMap<Source, Subscribed>,
    /// Made with the first subscription that needs it.
    pub(crate) queue: Option<(Arc<Queue>, ConsumerId)>,
}

/// How one subscription is served.
#[derive(Clone, Debug)]
pub(crate) enum Subscribed {
    /// Encoded straight into the outbox.
    FireAndForget(Arc<Subscriber>),
    /// Through the session's queue.
    Queued,
    /// Through the session's queue, at QoS 0.
    QueuedAtQos0,
    /// A consumer of its own, of a queue that somebody declared.
    Consumer(ConsumerId),
    /// A consumer of its own, of a group's queue.
    Member(ConsumerId),
}

impl Subscribed {
    /// The consumer that it alone has.
    pub(crate) const fn consumer(&self) -> Option<ConsumerId> {
        match self {
            Self::Consumer(consumer) | Self::Member(consumer) => Some(*consumer),
            Self::FireAndForget(_) | Self::Queued | Self::QueuedAtQos0 => None,
        }
    }
}
