//! The log of `--ephemeral`: nothing survives the process, so everything is as safe as it will
//! ever be at the end of its batch. Messages stay in their queues.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Attempted, Log, LogEvents, Note, Position, Publish, Settled};
use crate::QueueId;

/// Numbers messages, keeps none.
#[derive(Debug, Default)]
pub struct EphemeralLog {
    last: AtomicU64,
}

impl EphemeralLog {
    fn take(&self, count: usize) -> Position {
        let before = self.last.fetch_add(count as u64, Ordering::AcqRel);
        Position(std::num::NonZeroU64::MIN).plus(before)
    }
}

impl Log for EphemeralLog {
    fn attach(&self, _: Weak<dyn LogEvents>) {}

    fn can_read(&self) -> bool {
        false
    }

    fn append(&self, publishes: &[Publish<'_>]) -> Position {
        self.take(publishes.len())
    }

    fn append_atomic(&self, publishes: &[Publish<'_>], _: &[Settled]) -> Position {
        self.take(publishes.len().max(1))
    }

    fn note(&self, _: &[Note], _: bool) -> Position {
        self.take(1)
    }

    fn release(&self, _: &[Settled]) {}

    fn requeue(&self, _: &[Attempted]) {}

    fn durable(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    fn backlog_bytes(&self) -> usize {
        0
    }

    fn is_stalled(&self) -> bool {
        false
    }

    fn is_full(&self) -> bool {
        false
    }

    /// Never asked, because [`Log::can_read`] says no.
    fn read(&self, _: QueueId, _: Vec<Position>) {}

    fn end_batch(&self) {}
}
