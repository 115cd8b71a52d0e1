//! What is read back after a start: retained messages.

use std::sync::PoisonError;

use super::Broker;
use crate::log::{Position, Settled};
use crate::{Message, QueueId};

impl Broker {
    /// Whether everything that an earlier run left is back in its place: retained messages are read
    /// after the start. Nobody is served before.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        self.restoring.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A read of retained messages is done.
    pub(super) fn restore_retained(&self, queue: QueueId, messages: &[(Position, Message)]) {
        let gone: Vec<_> = {
            // Held up to the end: who finds the list empty finds all of them in their place.
            let mut restoring = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((vhost, reads)) = restoring.get_mut(&queue) else { return };
            let gone = {
                let mut retained = vhost.retained();
                let gone = messages.iter().filter_map(|(position, message)| {
                    let first = retained.restore(message, *position, self.now())?;
                    Some(Settled { queue, first, count: 1 })
                });
                gone.collect()
            };
            *reads -= 1;
            if *reads == 0 {
                restoring.remove(&queue);
            }
            gone
        };
        if !gone.is_empty() {
            self.log.release(&gone);
        }
    }
}
