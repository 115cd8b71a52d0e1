//! What the log tells the broker, on the log's own threads.

use std::sync::PoisonError;
use std::task::Waker;

use super::Broker;
use crate::alarm::LOG;
use crate::log::{LogEvents, Position};
use crate::{Message, QueueId};

impl Broker {
    /// Wakes `waker` once the log is durable up to `position`. The caller looks again afterwards.
    pub(crate) fn wake_when_durable(&self, position: u64, waker: &Waker) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if !commits.iter().any(|(known, other)| *known == position && other.will_wake(waker)) {
            commits.push((position, waker.clone()));
        }
    }

    fn wake_commits(&self, durable: u64) {
        let due: Vec<_> = {
            let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
            commits.extract_if(.., |(position, _)| *position <= durable).collect()
        };
        for (_, waker) in due {
            waker.wake();
        }
    }
}

impl LogEvents for Broker {
    fn durable(&self, through: u64) {
        let waiting = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        let (mut effects, mut events) = (self.effects(), Vec::new());
        for session in waiting {
            session.confirms().is_listed = false;
            self.confirm(&session, &mut events, &mut effects);
        }
        self.finish(&mut effects);
        self.wake_commits(through);
    }

    fn read_done(&self, queue: QueueId, messages: Vec<(Position, Message)>) {
        let id = queue;
        let Some(queue) = self.queue(id) else {
            self.restore_retained(id, &messages);
            return;
        };
        let mut effects = self.effects();
        let Some(mut state) = queue.lock() else { return };
        let getters = state.read_done(messages);
        state.dispatch(&queue, &mut effects);
        drop(state);
        self.finish(&mut effects);
        for getter in getters {
            getter.wake();
        }
    }

    fn caught_up(&self) {
        self.pause.end();
    }

    fn full(&self, is_full: bool) {
        self.set_alarm(LOG, is_full);
    }

    /// A single node's log is never fenced.
    fn fenced(&self) {}
}
