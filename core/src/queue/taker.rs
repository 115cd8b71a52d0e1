//! Who takes messages from a queue: consumers, and sessions that took single messages.

use std::sync::Arc;

use crate::control::Consume;
use crate::session::SessionShared;
use crate::{ConsumerId, Event, Protocol};

/// Somebody who has taken or may take messages.
#[derive(Debug)]
pub(crate) struct Taker {
    /// The session; all its deliveries are its own to settle.
    pub(crate) session: Arc<SessionShared>,
    /// How that session numbers this queue, for delivery ids.
    pub(crate) queue_index: u32,
    /// Its consumer; `None` for a session that only gets single messages.
    pub(crate) consumer: Option<Consumer>,
    /// Deliveries that wait for their settlement.
    pub(crate) unsettled: u32,
}

/// A consumer as its queue knows it.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    /// Delivered is settled.
    pub(crate) no_ack: bool,
    /// Unsettled deliveries at once; never 0.
    pub(crate) prefetch: u32,
    pub(crate) priority: i64,
    pub(crate) exclusive: bool,
    /// Has its credit: its consume-ok is written.
    pub(crate) started: bool,
    /// Detached; only its unsettled deliveries remain.
    pub(crate) detached: bool,
    /// Its outbox is full; it is served again when that was drained.
    pub(crate) waits_for_room: bool,
    /// Deliveries of the dispatch under way, handed to the outbox at its end.
    pub(super) pending: Vec<Event>,
    pub(super) pending_bytes: usize,
}

impl Consumer {
    /// A consumer as asked for, with no credit yet. No prefetch means `unsettled_max`.
    pub(crate) fn new(id: ConsumerId, consume: &Consume, unsettled_max: u32) -> Self {
        let prefetch = if consume.prefetch == 0 { unsettled_max } else { consume.prefetch };
        Self {
            id,
            no_ack: consume.no_ack,
            prefetch: prefetch.min(unsettled_max),
            priority: consume.priority,
            exclusive: consume.exclusive,
            started: false,
            detached: false,
            waits_for_room: false,
            pending: Vec::new(),
            pending_bytes: 0,
        }
    }

    const fn is_open(&self) -> bool {
        self.started && !self.detached && !self.waits_for_room
    }
}

impl Taker {
    /// Whether it takes another message now.
    pub(super) fn can_take(&self) -> bool {
        self.consumer.as_ref().is_some_and(|consumer| {
            consumer.is_open()
                && (consumer.no_ack
                    || (self.unsettled < consumer.prefetch && self.session.has_credit()))
        })
    }

    /// Whether it takes another message that needs no acknowledgement now.
    pub(super) fn is_open(&self) -> bool {
        self.consumer.as_ref().is_some_and(Consumer::is_open)
    }

    /// How many messages it takes now, but for what its session's other consumers take.
    pub(super) fn credit(&self) -> u64 {
        match &self.consumer {
            Some(consumer) if self.can_take() && consumer.no_ack => u32::MAX.into(),
            Some(consumer) if self.can_take() => (consumer.prefetch - self.unsettled).into(),
            _ => 0,
        }
    }

    /// The consumer that it is, unless it was detached.
    pub(crate) fn attached(&self) -> Option<ConsumerId> {
        self.consumer.as_ref().filter(|consumer| !consumer.detached).map(|consumer| consumer.id)
    }

    /// What its client speaks.
    pub(super) fn protocol(&self) -> Protocol {
        self.session.protocol()
    }
}
