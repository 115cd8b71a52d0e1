//! What the broker tells one connection, in the order in which its client must learn it.

use crate::{ConsumerId, DeliveryId, Message, Refusal, SessionId, Ticket};

/// One thing that a connection's client must learn.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message for a consumer.
    Delivery(Delivery),
    /// The client of a resumed MQTT session has this message already: only PUBREL is owed.
    Released {
        /// Whose delivery.
        session: SessionId,
        /// To settle it.
        delivery: DeliveryId,
        /// Its packet identifier.
        label: u16,
    },
    /// Every publish of the session up to and with `through`, but those refused, is as safe as
    /// its queues promise (C-2).
    Confirmed {
        /// Whose publishes.
        session: SessionId,
        /// As [`crate::Batch::publish`] returned it.
        through: Ticket,
    },
    /// This publish was declined by a queue. Publishes before it are confirmed by an
    /// [`Event::Confirmed`] that precedes this event.
    Refused {
        /// Whose publish.
        session: SessionId,
        /// As [`crate::Batch::publish`] returned it.
        ticket: Ticket,
        /// Why not.
        because: Box<Refusal>,
    },
    /// A mandatory message that no queue took. Precedes its confirm.
    Returned {
        /// Whose publish.
        session: SessionId,
        /// What came back.
        message: Message,
    },
    /// The queue under a consumer is gone; nothing more is delivered to it.
    Cancelled {
        /// Whose consumer.
        session: SessionId,
        /// Which one.
        consumer: ConsumerId,
        /// Why, when it is the consumer's own doing: it was too slow for its private queue.
        because: Option<Box<Refusal>>,
    },
    /// The last alarm is over: the broker takes publishes again. Told to who asked
    /// ([`crate::Batch::watch_alarms`]).
    Calm,
    /// The broker ends this session: it has not answered a delivery in time.
    SessionEnded {
        /// Which one.
        session: SessionId,
        /// What the client is told.
        because: Box<Refusal>,
    },
    /// Another connection took over this client's session; nothing is left to end.
    TakenOver,
    /// The broker ends this connection (an operator's wish).
    Closed {
        /// What the client is told.
        because: Box<Refusal>,
    },
}

/// A message on its way to one consumer.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Whose consumer.
    pub session: SessionId,
    /// Which one.
    pub consumer: ConsumerId,
    /// To settle it; meaningless for consumers without acknowledgement.
    pub delivery: DeliveryId,
    /// What is delivered.
    pub message: Message,
    /// It was delivered before, to this or another consumer.
    pub redelivered: bool,
    /// How often it was put back before, in queues that tell it (`x-delivery-count`).
    pub delivery_count: Option<u16>,
    /// It was the retained message of its address when the subscription was made.
    pub retained: bool,
    /// The packet identifier under which an MQTT client was sent it over an earlier connection of
    /// its session; 0 for none.
    pub label: u16,
    /// At which QoS it was sent under [`Delivery::label`].
    pub label_qos: u8,
}
