//! A queue: one mutex, one state machine inside it, locked once per batch.
//!
//! Reading order: `ready` (what waits), `taker` (who takes), `unsettled` (what was taken and not
//! answered), `state` (the transitions), `dispatch` (who gets what), `effects` (what is left for
//! after the lock). Whoever makes work possible dispatches it. Lock order: routing, queue, outbox;
//! never two queues at once.

mod dispatch;
mod effects;
mod ready;
mod state;
mod taker;
mod unsettled;

use std::sync::{Arc, Mutex, MutexGuard};

use crate::{ConnectionId, QueueId, Table};

pub(crate) use effects::Effects;
pub(crate) use state::{Garbage, Settlement, State};
pub(crate) use taker::{Consumer, Taker};

/// A queue's fixed properties, and its state behind a lock.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    pub(crate) durable: bool,
    /// The connection it belongs to and ends with.
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) auto_delete: bool,
    /// The queue of an MQTT session: clients cannot use it by name.
    pub(crate) is_session: bool,
    pub(crate) arguments: Table,
    /// Guards everything that changes.
    state: Mutex<State>,
}

/// What a queue is declared with.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) id: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) vhost: Arc<str>,
    pub(crate) durable: bool,
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) auto_delete: bool,
    pub(crate) is_session: bool,
    pub(crate) arguments: Table,
    /// Messages kept in memory at the head; without a log that can be read, all are.
    pub(crate) window_max: Option<usize>,
}

impl Queue {
    pub(crate) fn new(declaration: Declaration) -> Arc<Self> {
        Arc::new(Self {
            id: declaration.id,
            name: declaration.name,
            vhost: declaration.vhost,
            durable: declaration.durable,
            owner: declaration.owner,
            auto_delete: declaration.auto_delete,
            is_session: declaration.is_session,
            arguments: declaration.arguments,
            state: Mutex::new(State::new(declaration.id, declaration.window_max)),
        })
    }

    /// Locks it. `None` when a panic left it in an unknown state: it refuses everything until the
    /// broker is started again (architecture, "Panics").
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, State>> {
        self.state.lock().ok()
    }

    /// Whether messages in it are logged.
    pub(crate) const fn is_logged(&self) -> bool {
        self.durable && self.owner.is_none()
    }

    /// Whether it may be used on `connection`.
    pub(crate) fn is_open_to(&self, connection: Option<ConnectionId>) -> bool {
        self.owner.is_none() || self.owner == connection
    }
}
