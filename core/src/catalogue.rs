//! What is durable beside messages: exchanges, queues and the bindings between them.
//!
//! What a client asks for is proposed first, and done once it is committed: nobody publishes to a
//! queue that a crash would take away (`control::planned`). What the broker does by itself, such as
//! ending a queue that nobody uses, is done at once: routing writes it down while its lock is held,
//! so that the catalogue has changes in their order, and answers wait until it is committed. The
//! catalogue never holds a position, and the log no name: ids join them, and are never used twice.

mod claims;
mod planned;
mod restore;
mod restore_sessions;
mod stepped;

use std::sync::Weak;
use std::task::{Poll, Waker};

use crate::control::{Destination, Source};
use crate::policy::{Policy, PolicyKind};
use crate::{QueueId, Table};

pub(crate) use claims::{Claims, Name};
pub(crate) use planned::{Planned, Slot};
pub use restore::Restored;
pub use stepped::StepCatalogue;

/// A durable exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredExchange {
    /// The vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, ...
    pub kind: String,
    /// Goes with its last binding.
    pub auto_delete: bool,
    /// Closed to clients' publishes.
    pub internal: bool,
    /// As declared.
    pub arguments: Table,
}

/// A durable queue.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredQueue {
    /// The vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// As the log knows it.
    pub id: QueueId,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// As declared.
    pub arguments: Table,
}

/// A binding between two that are durable.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredBinding {
    /// The vhost.
    pub vhost: String,
    /// Name of the exchange that messages come from.
    pub source: String,
    /// What they go to.
    pub destination: Destination,
    /// As declared.
    pub key: String,
    /// As declared.
    pub arguments: Table,
}

/// A policy that was set while the broker ran.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPolicy {
    /// The vhost.
    pub vhost: String,
    /// Which kind.
    pub kind: PolicyKind,
    /// What it says.
    pub policy: Policy,
}

/// An MQTT session that outlives its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// The vhost.
    pub vhost: String,
    /// The client identifier.
    pub client_id: String,
    /// As the log knows it: the id of its queue, if it gets one.
    pub id: QueueId,
    /// Seconds that it outlives its connection; `u32::MAX` for ever.
    pub expiry_s: u32,
    /// When it ends, in milliseconds since 1970; `None` while its client is there, and for never.
    pub expires_at: Option<u64>,
    /// What is published when its client goes without a goodbye, or has gone.
    pub will: Option<StoredWill>,
}

/// A will (MQTT 5, section 3.1.2.5), its properties in MQTT's wire form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    /// When it is published, in milliseconds since 1970; `None` while the client is there.
    pub due_at: Option<u64>,
    /// Seconds between the end of the connection and the will.
    pub delay_s: u32,
    /// As [`crate::Draft::exchange`].
    pub exchange: String,
    /// As [`crate::Draft::routing_key`].
    pub routing_key: String,
    /// As [`crate::Draft::properties`], of MQTT's codec.
    pub properties: Vec<u8>,
    /// As [`crate::Draft::body`].
    pub body: Vec<u8>,
    /// As [`crate::Draft::persistent`].
    pub persistent: bool,
    /// Milliseconds that it lives once it is published; `None` for ever.
    pub lifetime_ms: Option<u64>,
    /// As [`crate::Draft::priority`].
    pub priority: u8,
    /// As [`crate::Draft::retain`].
    pub retain: bool,
}

/// A subscription of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// The vhost.
    pub vhost: String,
    /// The client identifier of the session.
    pub client_id: String,
    /// What is subscribed to: a session has one subscription to each source.
    pub source: Source,
    /// What the client calls it.
    pub name: String,
    /// Subscription Identifier.
    pub id: Option<u32>,
    /// The highest QoS that deliveries may have.
    pub qos: u8,
    /// Keep the retain flag as published.
    pub retain_as_published: bool,
    /// Not what its connection published itself.
    pub no_local: bool,
    /// The queue of the group, if the subscription is shared and the queue is durable.
    pub group: Option<QueueId>,
}

/// One durable change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An exchange is there.
    PutExchange(StoredExchange),
    /// A queue is there.
    PutQueue(StoredQueue),
    /// A binding is there.
    PutBinding(StoredBinding),
    /// An exchange is gone, and with it every binding from it and to it.
    RemoveExchange {
        /// The vhost.
        vhost: String,
        /// Its name.
        name: String,
    },
    /// A queue is gone, and with it every binding to it.
    RemoveQueue {
        /// The vhost.
        vhost: String,
        /// Its name.
        name: String,
    },
    /// A binding is gone.
    RemoveBinding(StoredBinding),
    /// A vhost is there; its retained messages have that id in the log.
    PutVhost(String, QueueId),
    /// A policy is there.
    PutPolicy(StoredPolicy),
    /// A policy is gone.
    RemovePolicy {
        /// The vhost.
        vhost: String,
        /// Which kind.
        kind: PolicyKind,
        /// Its name.
        name: String,
    },
    /// A session is there, or what is known of it changed.
    PutSession(StoredSession),
    /// A session is over, and with it its subscriptions.
    RemoveSession {
        /// The vhost.
        vhost: String,
        /// The client identifier.
        client_id: String,
    },
    /// A session is subscribed to something, or otherwise than before.
    PutSubscription(StoredSubscription),
    /// A session is no longer subscribed to something.
    RemoveSubscription {
        /// The vhost.
        vhost: String,
        /// The client identifier.
        client_id: String,
        /// What it was subscribed to.
        source: Source,
    },
}

impl Change {
    /// What takes it back: something that was to be there and is not.
    pub(crate) fn undone(self) -> Option<Self> {
        match self {
            Self::PutExchange(StoredExchange { vhost, name, .. }) => {
                Some(Self::RemoveExchange { vhost, name })
            }
            Self::PutQueue(StoredQueue { vhost, name, .. }) => {
                Some(Self::RemoveQueue { vhost, name })
            }
            Self::PutBinding(binding) => Some(Self::RemoveBinding(binding)),
            // Only what is planned is taken back.
            Self::RemoveExchange { .. }
            | Self::RemoveQueue { .. }
            | Self::RemoveBinding(_)
            | Self::PutVhost(..)
            | Self::PutPolicy(_)
            | Self::RemovePolicy { .. }
            | Self::PutSession(_)
            | Self::RemoveSession { .. }
            | Self::PutSubscription(_)
            | Self::RemoveSubscription { .. } => None,
        }
    }
}

/// Keeps what is durable beside messages.
pub trait Catalogue: std::fmt::Debug + Send + Sync {
    /// Who hears of commits.
    fn attach(&self, events: Weak<dyn CatalogueEvents>);

    /// Takes changes that belong together, behind all that were proposed before. Returns the number
    /// that [`Catalogue::poll_committed`] knows them by, ascending from 1. Does not wait: it is
    /// called under the lock of routing.
    fn propose(&self, changes: Vec<Change>) -> u64;

    /// Whether everything up to and with `number` is committed; `waker` is woken when it is.
    fn poll_committed(&self, number: u64, waker: &Waker) -> Poll<()>;
}

/// What the catalogue tells the core, from a thread of its own, while nobody holds a lock.
pub trait CatalogueEvents: Send + Sync {
    /// Everything up to and with this proposal is committed.
    fn committed(&self, through: u64);
}

/// What a catalogue has when the broker starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Every exchange.
    pub exchanges: Vec<StoredExchange>,
    /// Every queue.
    pub queues: Vec<StoredQueue>,
    /// Every binding.
    pub bindings: Vec<StoredBinding>,
    /// Every vhost, with the id of its retained messages.
    pub vhosts: Vec<(String, QueueId)>,
    /// Every policy.
    pub policies: Vec<StoredPolicy>,
    /// Every session.
    pub sessions: Vec<StoredSession>,
    /// Every subscription of a session.
    pub subscriptions: Vec<StoredSubscription>,
    /// Ids from here on were never used for a queue.
    pub next_id: u64,
}
