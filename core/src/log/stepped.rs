//! The log of the tests: slow on purpose. Nothing is durable and no read is answered before
//! somebody calls [`StepLog::step`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Attempted, Log, LogEvents, Position, Publish, Settled};
use crate::{Message, QueueId};

/// Keeps everything in memory and makes it durable on command.
#[derive(Default)]
pub struct StepLog {
    events: Mutex<Option<Weak<dyn LogEvents>>>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    last: u64,
    durable: u64,
    /// Messages by position, with how many queues still hold them.
    messages: BTreeMap<u64, (Message, usize)>,
    reads: Vec<(QueueId, Vec<Position>)>,
    attempted: Vec<Attempted>,
}

impl std::fmt::Debug for StepLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepLog").field("contents", &*self.contents()).finish_non_exhaustive()
    }
}

impl StepLog {
    /// Makes everything appended durable, then answers the reads asked for so far.
    pub fn step(&self) {
        self.sync();
        self.answer_reads();
    }

    /// Makes everything appended durable.
    pub fn sync(&self) {
        let through = {
            let mut contents = self.contents();
            contents.durable = contents.last;
            contents.durable
        };
        if let Some(events) = self.listener() {
            events.durable(through);
        }
    }

    /// Answers the reads asked for so far.
    pub fn answer_reads(&self) {
        let reads: Vec<_> = {
            let mut contents = self.contents();
            let reads = std::mem::take(&mut contents.reads);
            reads
                .into_iter()
                .map(|(queue, positions)| {
                    let found = positions.into_iter().filter_map(|position| {
                        let (message, _) = contents.messages.get(&position.get())?;
                        Some((position, message.clone()))
                    });
                    (queue, found.collect::<Vec<_>>())
                })
                .collect()
        };
        if let Some(events) = self.listener() {
            for (queue, messages) in reads {
                events.read_done(queue, messages);
            }
        }
    }

    /// Messages that a queue still holds.
    #[must_use]
    pub fn live(&self) -> usize {
        self.contents().messages.len()
    }

    /// What went back so far, in order.
    #[must_use]
    pub fn attempted(&self) -> Vec<Attempted> {
        self.contents().attempted.clone()
    }

    fn listener(&self) -> Option<Arc<dyn LogEvents>> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.as_ref().and_then(Weak::upgrade)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, publishes: &[Publish<'_>]) -> Position {
        let mut contents = self.contents();
        let first = Position(std::num::NonZeroU64::MIN).plus(contents.last);
        for publish in publishes {
            contents.last += 1;
            let position = contents.last;
            let entry = (publish.message.clone(), publish.queues.len());
            contents.messages.insert(position, entry);
        }
        first
    }
}

impl Log for StepLog {
    fn attach(&self, events: Weak<dyn LogEvents>) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
    }

    fn can_read(&self) -> bool {
        true
    }

    fn append(&self, publishes: &[Publish<'_>]) -> Position {
        self.store(publishes)
    }

    fn append_atomic(&self, publishes: &[Publish<'_>], settled: &[Settled]) -> Option<Position> {
        self.release(settled);
        (!publishes.is_empty()).then(|| self.store(publishes))
    }

    /// # Panics
    ///
    /// When a message is released more often than it was routed: that is a defect of the core.
    fn release(&self, settled: &[Settled]) {
        let mut contents = self.contents();
        for run in settled {
            for position in run.first.get()..run.first.get() + run.count {
                let entry = contents.messages.get_mut(&position);
                let (_, queues) = entry.expect("a released message is live");
                *queues -= 1;
                if *queues == 0 {
                    contents.messages.remove(&position);
                }
            }
        }
    }

    fn requeue(&self, attempted: &[Attempted]) {
        self.contents().attempted.extend_from_slice(attempted);
    }

    fn durable(&self) -> u64 {
        self.contents().durable
    }

    fn backlog_bytes(&self) -> usize {
        let contents = self.contents();
        let open = contents.messages.range(contents.durable + 1..);
        open.map(|(_, (message, _))| message.cost_bytes()).sum()
    }

    fn read(&self, queue: QueueId, positions: Vec<Position>) {
        self.contents().reads.push((queue, positions));
    }

    fn end_batch(&self) {}
}
