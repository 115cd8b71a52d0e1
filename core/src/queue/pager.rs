//! Where messages go that no log has when memory is short.

use crate::log::{Log, Position, Publish};
use crate::{Message, QueueId};

/// Messages stored in one go.
pub(super) const PAGED_AT_ONCE: usize = 1024;

/// Stores messages of one queue in the second log, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Pager<'a> {
    log: &'a dyn Log,
    queue: QueueId,
    bytes_left: usize,
    /// Messages stored.
    pub(super) count: u64,
}

impl<'a> Pager<'a> {
    /// Stores about `bytes`.
    pub(super) fn new(log: &'a dyn Log, queue: QueueId, bytes: usize) -> Self {
        Self { log, queue, bytes_left: bytes, count: 0 }
    }

    /// Whether more is to be stored.
    pub(super) const fn goes_on(&self) -> bool {
        self.bytes_left > 0
    }

    /// Bytes that are still to be stored.
    pub(super) const fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    /// Stores `messages`, at least one. Returns the position of the first; the others follow it.
    pub(super) fn store(&mut self, messages: &[&Message]) -> Position {
        let queues = [self.queue];
        let bytes: usize = messages.iter().map(|message| message.cost_bytes()).sum();
        let publishes: Vec<Publish<'_>> = messages
            .iter()
            .map(|message| Publish { message, queues: &queues, received: None })
            .collect();
        self.bytes_left = self.bytes_left.saturating_sub(bytes.max(1));
        self.count += messages.len() as u64;
        self.log.append(&publishes).spilled()
    }
}
