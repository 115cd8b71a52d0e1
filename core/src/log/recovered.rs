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
}

impl RecoveredQueue {
    /// How many messages it has.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.runs.iter().map(|(_, count)| count).sum()
    }
}
