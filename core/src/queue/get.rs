//! Single messages, taken by sessions that ask for them.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Effects;
use super::death::Reason;
use super::ready::{Front, Reach};
use super::state::{State, Taken};
use super::taker::Taker;
use crate::DeliveryId;
use crate::session::SessionShared;

impl State {
    /// Takes the message at the head for a session; `None` when none is ready. With
    /// `queue_index` the delivery waits for its settlement. Pending while the message is read.
    pub(crate) fn get(
        &mut self,
        queue: &Arc<super::Queue>,
        session: &Arc<SessionShared>,
        queue_index: Option<u32>,
        waker: &Waker,
        effects: &mut Effects,
    ) -> Poll<Option<Taken>> {
        self.use_at(effects.now);
        self.refresh(queue, effects);
        if self.ready.front() == Front::Paged {
            effects.read(self.id, self.ready.refill(Reach { messages: 1, bytes: u64::MAX }));
        }
        if self.ready.front() == Front::Paged {
            self.getters.push(waker.clone());
            return Poll::Pending;
        }
        // Beyond a slice some may be left.
        while let Some(expired) = self.ready.take_expired_first(effects.now.after_millis(1)) {
            self.die(expired.position, expired.message, Reason::Expired);
        }
        let Some((entry, message, expires_at)) = self.ready.pop() else {
            effects.counters.of(session.protocol()).get_empty += 1;
            return Poll::Ready(None);
        };
        let redelivered = entry.attempts > 0;
        let delivery = if let Some(queue_index) = queue_index {
            let place = self.getter(session, queue_index);
            self.keep(&entry, &message, expires_at, place, effects)
        } else {
            if let Some(position) = entry.position {
                effects.settle(self.id, position, 1);
            }
            (DeliveryId::SETTLED, 0)
        };
        let counts = effects.counters.of(session.protocol());
        if queue_index.is_some() {
            counts.gotten += 1;
        } else {
            counts.gotten_no_ack += 1;
        }
        counts.redelivered += u64::from(redelivered);
        let remaining = self.ready.len();
        Poll::Ready(Some(Taken {
            delivery,
            message,
            redelivered,
            delivery_count: self.args.tells_deliveries().then_some(entry.attempts),
            remaining,
        }))
    }

    /// The place of a session that takes single messages.
    fn getter(&mut self, session: &Arc<SessionShared>, queue_index: u32) -> u32 {
        let known = self.takers.iter().position(|taker| {
            taker.as_ref().is_some_and(|taker| {
                taker.consumer.is_none() && Arc::ptr_eq(&taker.session, session)
            })
        });
        match known.and_then(|place| u32::try_from(place).ok()) {
            Some(place) => place,
            None => self.add_taker(Taker {
                session: session.clone(),
                queue_index,
                consumer: None,
                unsettled: 0,
            }),
        }
    }
}
