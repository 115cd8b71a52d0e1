//! What is durable beside messages: exchanges, queues and the bindings between them.
//!
//! Routing writes down every durable change while its lock is held, so that the catalogue has them
//! in their order; the answer to whoever asked waits until the change is committed, and so does the
//! answer to everybody else who asks something of the vhost meanwhile. The catalogue never holds a
//! position, and the log no name: queue ids join them, and are never used twice.

mod restore;

use std::task::{Poll, Waker};

use crate::control::Destination;
use crate::{QueueId, Table};

pub use restore::Restored;

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
}

/// Keeps what is durable beside messages.
pub trait Catalogue: std::fmt::Debug + Send + Sync {
    /// Takes changes that belong together, behind all that were proposed before. Returns the number
    /// that [`Catalogue::poll_committed`] knows them by, ascending from 1. Does not wait: it is
    /// called under the lock of routing.
    fn propose(&self, changes: Vec<Change>) -> u64;

    /// Whether everything up to and with `number` is committed; `waker` is woken when it is.
    fn poll_committed(&self, number: u64, waker: &Waker) -> Poll<()>;
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
    /// Ids from here on were never used for a queue.
    pub next_id: u64,
}
