//! The MQTT half of a session: its client identifier, its subscriptions, its queue.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ConsumerId;
use crate::address::Pattern;
use crate::queue::Queue;
use crate::routing::Subscriber;

/// An MQTT client's session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: Arc<str>,
    /// Deliveries that may be unsettled at once.
    pub(crate) unsettled_max: u16,
    pub(crate) subscriptions: HashMap<Pattern, Subscribed>,
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
}
