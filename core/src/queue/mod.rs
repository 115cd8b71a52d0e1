//! A queue: one mutex, one state machine inside it, locked once per batch.
//!
//! Reading order: `lane`, `backlog`, `run` and `ready` (what waits), `paging` (what of it is in memory), `expiry` (until when), `taker` (who takes),
//! `unsettled` (what was taken and not answered), `mark` (what an MQTT client knows of it), `effective` (what arguments and policies come
//! to), `state` (the transitions), `dispatch` (who gets what), `care` (what time and limits do),
//! `private` (when one subscription's own queue holds too much), `room` (what a full queue refuses), `death` (what becomes
//! of messages that nobody accepted), `effects` (what is left for after the
//! lock). Whoever makes work possible dispatches it. Lock order: routing, queue, outbox;
//! never two queues at once.

mod backlog;
mod care;
mod death;
mod dispatch;
mod effective;
mod effects;
mod expiry;
mod express;
mod garbage;
mod get;
mod lane;
mod mark;
mod pager;
mod paging;
mod private;
mod ready;
mod room;
mod run;
mod state;
mod taker;
mod unsettled;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::catalogue::StoredQueue;
use crate::memory::Memory;
use crate::{ConnectionId, QueueId, Table};

pub(crate) use death::{Death, Reason};
pub(crate) use effective::{EffectiveArgs, Overflow, QueueType};
pub(crate) use effects::Effects;
pub(crate) use garbage::Garbage;
pub(crate) use mark::{Mark, Marking};
pub(crate) use paging::PAGED_BYTES;
pub(crate) use ready::Reach;
pub(crate) use room::Room;
pub(crate) use state::{AsRecovered, Settlement, State};
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
    /// Publishes ask for room before they are logged.
    can_refuse: AtomicBool,
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
    /// What messages of all queues take.
    pub(crate) memory: Arc<Memory>,
    /// Bytes of whole messages, ready and unsettled, past which it ends; `None` for no such bound.
    pub(crate) held_bytes_max: Option<u64>,
}

impl Queue {
    pub(crate) fn new(declaration: Declaration) -> Arc<Self> {
        let args = Arc::new(EffectiveArgs::of(&declaration.arguments));
        let (memory, held_bytes_max) = (declaration.memory, declaration.held_bytes_max);
        let state = State::new(declaration.id, memory, held_bytes_max, args);
        Arc::new(Self {
            id: declaration.id,
            name: declaration.name,
            vhost: declaration.vhost,
            durable: declaration.durable,
            owner: declaration.owner,
            auto_delete: declaration.auto_delete,
            is_session: declaration.is_session,
            arguments: declaration.arguments,
            can_refuse: AtomicBool::new(state.args.can_refuse()),
            state: Mutex::new(state),
        })
    }

    /// Locks it. `None` when a panic left it in an unknown state: it refuses everything until the
    /// broker is started again (architecture, "Panics").
    pub(crate) fn lock(&self) -> Option<MutexGuard<'_, State>> {
        self.state.lock().ok()
    }

    /// Changes what its arguments and policies come to, and does what that asks for.
    pub(crate) fn set_args(self: &Arc<Self>, args: EffectiveArgs, effects: &mut Effects) {
        let Some(mut state) = self.lock() else { return };
        if *state.args == args {
            return;
        }
        self.can_refuse.store(args.can_refuse(), Ordering::Relaxed);
        if state.args.consumer_timeout_ms != args.consumer_timeout_ms {
            state.answers_due_at = effects.now;
        }
        state.args = Arc::new(args);
        state.needs_care = true;
        state.dispatch(self, effects);
    }

    /// Whether publishes must [`State::reserve`] before they are logged.
    pub(crate) fn can_refuse(&self) -> bool {
        self.can_refuse.load(Ordering::Relaxed)
    }

    /// As the catalogue keeps it.
    pub(crate) fn stored(&self, vhost: &str) -> StoredQueue {
        StoredQueue {
            vhost: vhost.to_owned(),
            name: self.name.to_string(),
            id: self.id,
            auto_delete: self.auto_delete,
            arguments: self.arguments.clone(),
        }
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
