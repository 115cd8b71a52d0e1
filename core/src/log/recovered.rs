//! What a log still has when the broker starts.

use super::Position;
use crate::{Instant, QueueId};

/// The messages that queues held when the broker ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Every queue that held something.
    pub queues: Vec<RecoveredQueue>,
    /// The messages that have a priority or expire, ascending by position; some of them may be in
    /// no queue any more.
    pub special: Vec<Special>,
    /// Sizes and ages, ascending by position; neighbours that differ little are one entry.
    pub sizes: Vec<Sizes>,
    /// The broker was stopped in order: what was delivered and not settled is known exactly.
    /// Otherwise any message may have been delivered before.
    pub is_clean: bool,
}

impl Recovered {
    /// Messages in all queues together.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.queues.iter().map(RecoveredQueue::messages).sum()
    }
}

/// What a queue must know of a message before it reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Special {
    /// The message.
    pub position: Position,
    /// As [`crate::Message::priority`].
    pub priority: u8,
    /// As [`crate::Message::expires_at`].
    pub expires_at: Option<Instant>,
}

/// The messages of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// The queue.
    pub queue: QueueId,
    /// Runs of consecutive positions, ascending.
    pub runs: Vec<(Position, u64)>,
    /// How often messages were delivered, where that is known, ascending by position.
    pub attempts: Vec<(Position, u16)>,
    /// Of the queue of an MQTT session: what was under way to its client, ascending by position.
    pub marks: Vec<RecoveredMark>,
    /// Packet identifiers of QoS 2 publishes that its client has not released.
    pub received: Vec<u16>,
}

/// A message that was under way to an MQTT client: [`super::InSession::Sent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredMark {
    /// The message.
    pub position: Position,
    /// The packet identifier.
    pub label: u16,
    /// At which it was sent.
    pub qos: u8,
    /// Only PUBREL and PUBCOMP are left.
    pub released: bool,
}

/// How large neighbouring messages are and since when they are there, as far as that is known
/// without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The first of them.
    pub first: Position,
    /// So many consecutive positions.
    pub count: u64,
    /// Bytes of their bodies together.
    pub bytes: u64,
    /// When they were published, in milliseconds since 1970; 0 where the log does not say.
    pub published_at: u64,
}

impl RecoveredQueue {
    /// Nothing, yet.
    #[must_use]
    pub fn empty(queue: QueueId) -> Self {
        let (runs, attempts, marks, received) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { queue, runs, attempts, marks, received }
    }

    /// How many messages it has.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.runs.iter().map(|(_, count)| count).sum()
    }
}
