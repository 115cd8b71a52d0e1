//! The log as the core sees it: appended to synchronously, durable later, read back by position.
//!
//! The core runs on the real log, in memory, or on a lying disk in tests, behind `Arc<dyn Log>`
//! and one call per batch. A **position numbers one message**; a batch of n takes n consecutive
//! positions, and nothing else names a message on disk. Callbacks ([`LogEvents`]) come from the
//! log's own threads, or from [`Log::end_batch`]; never from inside `append` or `read`, and never
//! while the caller holds a lock.

mod ephemeral;
mod recovered;
mod session;
mod stepped;

use std::sync::Weak;

use crate::{Message, QueueId};

pub use crate::message::Codecs;
pub use ephemeral::EphemeralLog;
pub use recovered::{Recovered, RecoveredMark, RecoveredQueue, Sizes, Special};
pub use session::{InSession, Note};
pub use stepped::StepLog;

/// Where a message stands in a log: 1, 2, 3, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub std::num::NonZeroU64);

impl Position {
    /// The position `count` after this one.
    #[must_use]
    pub fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// What sets positions of the second log apart, which has what memory was too short for: no log
    /// ever has so many messages.
    const SPILLED: u64 = 1 << 63;

    /// This position, in the second log.
    pub(crate) fn spilled(self) -> Self {
        Self(self.0 | Self::SPILLED)
    }

    /// Whether it is one of the second log.
    pub(crate) const fn is_spilled(self) -> bool {
        self.0.get() & Self::SPILLED != 0
    }

    /// As the second log knows it.
    pub(crate) fn in_spill(self) -> Self {
        Self(std::num::NonZeroU64::new(self.0.get() & !Self::SPILLED).unwrap_or(self.0))
    }
}

/// A message to be logged, and the durable queues it was routed to.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// The message.
    pub message: &'a Message,
    /// At least one.
    pub queues: &'a [QueueId],
    /// The MQTT session that published it at QoS 2, and under which packet identifier: the log has
    /// both or neither.
    pub received: Option<(QueueId, u16)>,
}

/// Messages that left a queue: settled, purged or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The queue.
    pub queue: QueueId,
    /// The first message.
    pub first: Position,
    /// How many consecutive positions.
    pub count: u64,
}

impl Settled {
    /// The position after the last one.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.first.get().saturating_add(self.count)
    }
}

/// A message that went back into its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The queue.
    pub queue: QueueId,
    /// The message.
    pub position: Position,
    /// How often it was delivered.
    pub attempts: u16,
}

/// A log of publishes and settlements.
pub trait Log: std::fmt::Debug + Send + Sync {
    /// Who hears of durability and reads.
    fn attach(&self, events: Weak<dyn LogEvents>);

    /// Whether a message can be read back. If not, queues keep messages in memory.
    fn can_read(&self) -> bool;

    /// Copies `publishes` (at least one) into the open batch. Returns the position of the first; the
    /// others follow it.
    fn append(&self, publishes: &[Publish<'_>]) -> Position;

    /// Publishes and settlements that take effect together after a crash, or not at all. Returns
    /// the position of the first publish; without one, a position that no message has, to wait for.
    fn append_atomic(&self, publishes: &[Publish<'_>], settled: &[Settled]) -> Position;

    /// Records what MQTT sessions must not forget. Returns a position that no message has, to wait
    /// for; with `urgent` somebody does.
    fn note(&self, notes: &[Note], urgent: bool) -> Position;

    /// Records that these messages left their queues; what they were stored in may be reused once
    /// every queue of theirs has said so.
    fn release(&self, settled: &[Settled]);

    /// Records how often messages were delivered that went back, so that one that brings down its
    /// consumers is known for it after a restart.
    fn requeue(&self, attempted: &[Attempted]);

    /// Everything up to and with this position is as safe as the sync mode promises; 0 for
    /// nothing.
    fn durable(&self) -> u64;

    /// Bytes appended and not yet durable.
    fn backlog_bytes(&self) -> usize;

    /// The log does not keep up: whoever may wait should append nothing more before
    /// [`LogEvents::caught_up`]. What is appended all the same is taken.
    fn is_stalled(&self) -> bool;

    /// There is no space for more messages. What is appended all the same is kept in memory until
    /// there is.
    fn is_full(&self) -> bool;

    /// Asks for messages of one queue; [`LogEvents::read_done`] answers.
    fn read(&self, queue: QueueId, positions: Vec<Position>);

    /// The caller has appended all of one batch and holds no lock.
    fn end_batch(&self);
}

/// What the log tells the core, in batches.
pub trait LogEvents: Send + Sync {
    /// Everything up to and with this position is durable.
    fn durable(&self, through: u64);

    /// What [`Log::read`] asked for. A message that no longer exists is left out.
    fn read_done(&self, queue: QueueId, messages: Vec<(Position, Message)>);

    /// [`Log::is_stalled`] is false again.
    fn caught_up(&self);

    /// [`Log::is_full`] has changed.
    fn full(&self, is_full: bool);

    /// Another node owns this log now: nothing that is appended becomes durable.
    fn fenced(&self);
}
