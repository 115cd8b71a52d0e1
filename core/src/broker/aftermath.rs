//! What work on queues leaves for the broker once their locks are released: dead letters, queues
//! that lapse, and when to look after a queue next.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};

use super::Broker;
use crate::queue::{Effects, Queue};
use crate::session::SessionShared;
use crate::{Event, Instant, QueueId, Refusal};

/// Which queues time has something to do with, and when: one entry a queue, none for most.
pub(super) type Timetable = BTreeMap<(Instant, QueueId), Weak<Queue>>;

/// What looking after one queue counts for in a tick's budget.
const VISIT: usize = 16;

impl Broker {
    /// The time of the latest batch or tick.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_millis(self.now_ms.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Time moves on, if it does: control requests carry none.
    pub(crate) fn moves_to(&self, now: Instant) {
        use std::sync::atomic::Ordering::Relaxed;
        if self.now_ms.load(Relaxed) < now.as_millis() {
            self.now_ms.fetch_max(now.as_millis(), Relaxed);
        }
    }

    /// Effects of work that is done now.
    pub(crate) fn effects(&self) -> Effects {
        self.effects_at(self.now())
    }

    /// Effects of work that is done at `now`.
    pub(crate) fn effects_at(&self, now: Instant) -> Effects {
        Effects::new(now, &self.limits)
    }

    /// Does what queues left to be done. No lock is held here. What this causes in other queues is
    /// done by the same loop, never by recursion.
    pub(crate) fn follow_up(&self, effects: &mut Effects) {
        if !effects.deaths.is_empty() {
            self.dead_letter(effects);
        }
        for (session, millis) in std::mem::take(&mut effects.late) {
            Self::end_late(&session, millis, effects);
        }
        for queue in std::mem::take(&mut effects.lapsed) {
            self.end_lapsed(&queue, effects);
        }
        for queue in std::mem::take(&mut effects.overflown) {
            self.end_overflown(&queue, effects);
        }
        if !effects.wakes.is_empty() {
            let mut timetable = self.timetable.lock().unwrap_or_else(PoisonError::into_inner);
            for (queue, at) in effects.wakes.drain(..) {
                timetable.insert((at, queue.id), Arc::downgrade(&queue));
            }
        }
    }

    /// Tells a session that it has not answered in time; its adapter ends it.
    fn end_late(session: &SessionShared, millis: u64, effects: &mut Effects) {
        let channel = session.id().label.max(1);
        let because = Box::new(Refusal::precondition(format!(
            "delivery acknowledgement on channel {channel} timed out. Timeout value used: {millis} \
             ms. This timeout value can be configured, see consumers doc guide to learn more"
        )));
        session.outbox().push_event(Event::SessionEnded { session: session.id(), because });
        effects.touch(session.outbox());
    }

    /// Ends a queue that nobody uses, looked at again under the routing lock, which a new consumer
    /// needs, too.
    fn end_lapsed(&self, queue: &Arc<Queue>, effects: &mut Effects) {
        let Some(vhost) = self.vhost(&queue.vhost) else { return };
        let is_lapsed = vhost.change_routing(|routing| {
            let is_lapsed = queue.lock().is_some_and(|state| state.is_lapsed(effects.now));
            if is_lapsed {
                routing.remove_queue(&queue.name, queue.id);
            }
            is_lapsed
        });
        if is_lapsed {
            self.end_queue(queue, effects);
        }
    }

    /// Ends a private queue that holds too much. Nobody but its one consumer can use it.
    fn end_overflown(&self, queue: &Arc<Queue>, effects: &mut Effects) {
        let because = queue.lock().and_then(|state| state.overflow());
        if let (Some(because), Some(vhost)) = (because, self.vhost(&queue.vhost)) {
            vhost.change_routing(|routing| routing.remove_queue(&queue.name, queue.id));
            self.end_queue_because(queue, Some(&because), effects);
        }
    }

    /// Looks after the queues whose time has come, within `budget`. Returns what is left of it.
    pub(super) fn look_after_queues(&self, now: Instant, budget: usize) -> usize {
        let mut effects = self.effects_at(now);
        let mut left = budget;
        while left > 0
            && let Some(queue) = self.next_due(now)
        {
            left = left.saturating_sub(VISIT);
            let Some(queue) = queue.upgrade() else { continue };
            let Some(mut state) = queue.lock() else { continue };
            left = left.saturating_sub(state.wake(&queue, &mut effects));
            drop(state);
            self.finish(&mut effects);
        }
        left
    }

    fn next_due(&self, now: Instant) -> Option<Weak<Queue>> {
        let mut timetable = self.timetable.lock().unwrap_or_else(PoisonError::into_inner);
        let first = timetable.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }
}
