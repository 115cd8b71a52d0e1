//! What work on queues leaves to be done once no lock is held.

use std::sync::Arc;

use super::{Death, Queue};
use crate::counters::Counters;
use crate::log::{Attempted, Log, Note, Position, Settled};
use crate::memory::Memory;
use crate::session::SessionShared;
use crate::{Instant, Limits, Outbox, QueueId};

/// Collected under queue locks, carried out by [`Effects::finish`] after the last one is released
/// (performance rule 3).
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Outboxes that got something.
    touched: Vec<Arc<Outbox>>,
    /// Messages that left durable queues.
    settled: Vec<Settled>,
    /// Logged messages that went back.
    attempted: Vec<Attempted>,
    /// What MQTT sessions must not forget.
    notes: Vec<Note>,
    /// Somebody waits until the log has the notes.
    pub(crate) notes_are_urgent: bool,
    /// Where the log has them; 0 for nowhere.
    pub(crate) noted_at: u64,
    /// Messages to be read back.
    reads: Vec<(QueueId, Vec<Position>)>,
    /// Messages of the second log that left queues.
    spilled: Vec<Settled>,
    /// The second log got messages.
    pub(crate) has_spilled: bool,
    /// Sessions at their shared limit that got room again.
    room: Vec<Arc<SessionShared>>,
    /// Messages to be dead-lettered.
    pub(crate) deaths: Vec<Death>,
    /// Queues that the broker shall look after, and when.
    pub(crate) wakes: Vec<(Arc<Queue>, Instant)>,
    /// Queues that nobody used for as long as they say.
    pub(crate) lapsed: Vec<Arc<Queue>>,
    /// Queues past their bound, which ends them.
    pub(crate) overflown: Vec<Arc<Queue>>,
    /// Sessions that have not answered a delivery for so many milliseconds.
    pub(crate) late: Vec<(Arc<SessionShared>, u64)>,
    /// How long a session may take to answer, in milliseconds, where a queue does not say.
    pub(crate) consumer_timeout_ms: Option<u64>,
    /// See [`crate::Limits::away_messages_max`].
    pub(crate) away_messages_max: u64,
    /// The time.
    pub(crate) now: Instant,
    /// What happened.
    pub(crate) counters: Counters,
}

impl Effects {
    /// None yet.
    pub(crate) fn new(now: Instant, limits: &Limits) -> Self {
        let mut effects = Self::default();
        effects.begin(now, limits);
        effects
    }

    /// Of work that begins `now` under these limits.
    pub(crate) const fn begin(&mut self, now: Instant, limits: &Limits) {
        self.now = now;
        self.consumer_timeout_ms = limits.consumer_timeout_ms;
        self.away_messages_max = limits.away_messages_max;
    }

    /// Notes that `outbox` got something.
    pub(crate) fn touch(&mut self, outbox: &Arc<Outbox>) {
        if !self.touched.iter().rev().take(8).any(|known| Arc::ptr_eq(known, outbox)) {
            self.touched.push(outbox.clone());
        }
    }

    /// Notes that messages left a queue.
    pub(crate) fn settle(&mut self, queue: QueueId, first: Position, count: u64) {
        let settled = if first.is_spilled() { &mut self.spilled } else { &mut self.settled };
        if let Some(run) = settled.last_mut()
            && run.queue == queue
            && run.first.plus(run.count) == first
        {
            run.count += count;
            return;
        }
        settled.push(Settled { queue, first, count });
    }

    /// Notes that a logged message went back, and how often it was delivered. The second log does
    /// not outlive the queue, which knows.
    pub(crate) fn requeue(&mut self, queue: QueueId, position: Position, attempts: u16) {
        if !position.is_spilled() {
            self.attempted.push(Attempted { queue, position, attempts });
        }
    }

    /// Notes something that an MQTT session must not forget.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// What left queues and was not told to the log yet.
    pub(crate) fn take_settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    /// Notes that messages must be read.
    pub(crate) fn read(&mut self, queue: QueueId, positions: Vec<Position>) {
        if !positions.is_empty() {
            self.reads.push((queue, positions));
        }
    }

    /// Notes that a session that had reached its shared limit has room again.
    pub(crate) fn room(&mut self, session: &Arc<SessionShared>) {
        if !self.room.last().is_some_and(|known| Arc::ptr_eq(known, session)) {
            self.room.push(session.clone());
        }
    }

    /// Whether a session waits for [`Effects::serve_room`].
    pub(crate) fn has_room(&self) -> bool {
        !self.room.is_empty()
    }

    /// Dispatches the queues of sessions that have room again. No lock is held here.
    pub(crate) fn serve_room(&mut self) {
        while let Some(session) = self.room.pop() {
            for queue in session.queues_in_turn() {
                if let Some(mut state) = queue.lock() {
                    state.dispatch(&queue, self);
                }
            }
        }
    }

    /// Tells the logs. No lock is held here.
    pub(crate) fn log(&mut self, log: &dyn Log, memory: &Memory) {
        if !self.settled.is_empty() {
            log.release(&self.settled);
            self.settled.clear();
        }
        if !self.attempted.is_empty() {
            log.requeue(&self.attempted);
            self.attempted.clear();
        }
        self.noted_at = 0;
        if !self.notes.is_empty() {
            // Behind what was settled: a packet identifier may have changed its message.
            self.noted_at = log.note(&self.notes, self.notes_are_urgent).get();
            self.notes.clear();
        }
        self.notes_are_urgent = false;
        if !self.spilled.is_empty() {
            memory.release(&mut self.spilled);
        }
        if std::mem::take(&mut self.has_spilled)
            && let Some(spill) = memory.spill()
        {
            spill.end_batch();
        }
        for (queue, mut positions) in self.reads.drain(..) {
            let spilled: Vec<Position> =
                positions.extract_if(.., |position| position.is_spilled()).collect();
            if !positions.is_empty() {
                log.read(queue, positions);
            }
            if !spilled.is_empty() {
                memory.read(queue, &spilled);
            }
        }
    }

    /// Wakes every driver that has something to fetch, once.
    pub(crate) fn wake(&mut self) {
        for outbox in self.touched.drain(..) {
            outbox.wake();
        }
    }
}

/// A panic between touching and waking must not leave a connection asleep.
impl Drop for Effects {
    fn drop(&mut self) {
        self.wake();
    }
}
