//! The log of the tests: slow on purpose. Nothing is durable and no read is answered before
//! somebody calls [`StepLog::step`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{
    Attempted, InSession, Log, LogEvents, Note, Position, Publish, Recovered, RecoveredMark,
    RecoveredQueue, Settled, Sizes, Special,
};
use crate::{Message, QueueId};

/// Keeps everything in memory and makes it durable on command.
#[derive(Default)]
pub struct StepLog {
    events: Mutex<Option<Weak<dyn LogEvents>>>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    now: Kept,
    /// As it was when it was synced last: what a crash leaves.
    synced: Kept,
    reads: Vec<(QueueId, Vec<Position>)>,
    attempted: Vec<Attempted>,
    is_stalled: bool,
    is_full: bool,
}

/// What a log has at one time.
#[derive(Clone, Debug, Default)]
struct Kept {
    last: u64,
    /// Messages by position, with the queues that still hold them.
    messages: BTreeMap<u64, (Message, Vec<QueueId>)>,
    attempts: BTreeMap<(QueueId, u64), u16>,
    marks: BTreeMap<(QueueId, u64), (u16, u8, bool)>,
    received: BTreeSet<(QueueId, u16)>,
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
            contents.synced = contents.now.clone();
            contents.synced.last
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
                        let (message, _) = contents.now.messages.get(&position.get())?;
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

    /// From now on the log does not keep up, or does.
    pub fn stall(&self, is_stalled: bool) {
        self.contents().is_stalled = is_stalled;
        if let Some(events) = self.listener().filter(|_| !is_stalled) {
            events.caught_up();
        }
    }

    /// From now on there is no space, or is.
    pub fn fill(&self, is_full: bool) {
        self.contents().is_full = is_full;
        if let Some(events) = self.listener() {
            events.full(is_full);
        }
    }

    /// Messages that a queue still holds.
    #[must_use]
    pub fn live(&self) -> usize {
        self.contents().now.messages.len()
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

    /// What a broker that crashes now finds: a log that goes on where this one was synced last, and
    /// what it has.
    #[must_use]
    pub fn crash(&self) -> (Arc<Self>, Recovered) {
        let kept = self.contents().synced.clone();
        let recovered = kept.recovered();
        let log = Self::default();
        *log.contents() = Contents { now: kept.clone(), synced: kept, ..Contents::default() };
        (Arc::new(log), recovered)
    }
}

impl Kept {
    fn next(&mut self) -> Position {
        self.last += 1;
        Position(std::num::NonZeroU64::MIN).plus(self.last - 1)
    }

    fn store(&mut self, publishes: &[Publish<'_>]) -> Position {
        let first = Position(std::num::NonZeroU64::MIN).plus(self.last);
        for publish in publishes {
            let position = self.next();
            let entry = (publish.message.clone(), publish.queues.to_vec());
            self.messages.insert(position.get(), entry);
            self.received.extend(publish.received);
        }
        first
    }

    fn release(&mut self, settled: &[Settled]) {
        for run in settled {
            for position in run.first.get()..run.first.get() + run.count {
                let entry = self.messages.get_mut(&position);
                let (_, queues) = entry.expect("a released message is live");
                let at = queues.iter().position(|queue| *queue == run.queue);
                queues.swap_remove(at.expect("a queue releases what it holds"));
                if queues.is_empty() {
                    self.messages.remove(&position);
                }
                self.attempts.remove(&(run.queue, position));
                self.marks.remove(&(run.queue, position));
            }
        }
    }

    fn note(&mut self, note: &Note) {
        let session = note.session;
        match note.what {
            InSession::Sent { position, label, qos, released } => {
                self.marks.insert((session, position.get()), (label, qos, released));
            }
            InSession::Received(packet_id) => drop(self.received.insert((session, packet_id))),
            InSession::Released(packet_id) => drop(self.received.remove(&(session, packet_id))),
            InSession::Ended => {
                self.received.retain(|(known, _)| *known != session);
                self.marks.retain(|(known, _), _| *known != session);
            }
        }
    }

    fn recovered(&self) -> Recovered {
        let at = |position: u64| Position(position.try_into().expect("positions begin at 1"));
        let mut queues = BTreeMap::new();
        let mut special = Vec::new();
        let mut sizes = Vec::new();
        for (position, (message, holders)) in &self.messages {
            for queue in holders {
                queue_of(&mut queues, *queue).runs.push((at(*position), 1));
            }
            let (priority, expires_at) = (message.priority(), message.expires_at());
            if priority > 0 || expires_at.is_some() {
                special.push(Special { position: at(*position), priority, expires_at });
            }
            let (first, bytes) = (at(*position), message.body_bytes().into());
            sizes.push(Sizes { first, count: 1, bytes, published_at: 0 });
        }
        for ((queue, position), attempts) in &self.attempts {
            queue_of(&mut queues, *queue).attempts.push((at(*position), *attempts));
        }
        for ((queue, position), (label, qos, released)) in &self.marks {
            let (position, label, qos, released) = (at(*position), *label, *qos, *released);
            queue_of(&mut queues, *queue).marks.push(RecoveredMark {
                position,
                label,
                qos,
                released,
            });
        }
        for (queue, packet_id) in &self.received {
            queue_of(&mut queues, *queue).received.push(*packet_id);
        }
        let queues = queues.into_values().collect();
        Recovered { queues, special, sizes, is_clean: false }
    }
}

fn queue_of(queues: &mut BTreeMap<QueueId, RecoveredQueue>, queue: QueueId) -> &mut RecoveredQueue {
    queues.entry(queue).or_insert_with(|| RecoveredQueue::empty(queue))
}

impl Log for StepLog {
    fn attach(&self, events: Weak<dyn LogEvents>) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
    }

    fn can_read(&self) -> bool {
        true
    }

    fn append(&self, publishes: &[Publish<'_>]) -> Position {
        self.contents().now.store(publishes)
    }

    fn append_atomic(&self, publishes: &[Publish<'_>], settled: &[Settled]) -> Position {
        let mut contents = self.contents();
        contents.now.release(settled);
        if publishes.is_empty() { contents.now.next() } else { contents.now.store(publishes) }
    }

    fn note(&self, notes: &[Note], _: bool) -> Position {
        let mut contents = self.contents();
        for note in notes {
            contents.now.note(note);
        }
        contents.now.next()
    }

    /// # Panics
    ///
    /// When a message is released more often than it was routed: that is a defect of the core.
    fn release(&self, settled: &[Settled]) {
        self.contents().now.release(settled);
    }

    fn requeue(&self, attempted: &[Attempted]) {
        let mut contents = self.contents();
        contents.attempted.extend_from_slice(attempted);
        let known = attempted.iter().map(|one| ((one.queue, one.position.get()), one.attempts));
        contents.now.attempts.extend(known);
    }

    fn durable(&self) -> u64 {
        self.contents().synced.last
    }

    fn backlog_bytes(&self) -> usize {
        let contents = self.contents();
        let open = contents.now.messages.range(contents.synced.last + 1..);
        open.map(|(_, (message, _))| message.cost_bytes()).sum()
    }

    fn is_stalled(&self) -> bool {
        self.contents().is_stalled
    }

    fn is_full(&self) -> bool {
        self.contents().is_full
    }

    fn read(&self, queue: QueueId, positions: Vec<Position>) {
        self.contents().reads.push((queue, positions));
    }

    fn end_batch(&self) {}
}
