//! What the client is subscribed to, and what it has not settled yet.

use stomp_parser::headers::AckType;
use trivium_core::{ConnectionId, ConsumerId, DeliveryId};

use crate::header::{self, Side, push_decimal};
use crate::unsettled::Unsettled;
use crate::version::Version;

/// One subscription (S-47 to S-58).
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The consumer behind it.
    pub(crate) consumer: ConsumerId,
    /// The client's name for it; only 1.0 may have none.
    pub(crate) id: Option<String>,
    /// As SUBSCRIBE named it.
    pub(crate) destination: String,
    /// The queue that it reads from.
    pub(crate) queue: String,
    /// How its messages are settled.
    pub(crate) mode: AckType,
    /// Made for it, and with a life of its own: UNSUBSCRIBE with `durable:true` deletes it.
    pub(crate) has_durable_queue: bool,
    /// Its messages say which protocol they were published in (SUBSCRIBE's `x-trivium-origin`).
    pub(crate) shows_origin: bool,
    /// The part of MESSAGE that never changes, up to the number of the message.
    head: Vec<u8>,
    /// The same of its `ack` header; empty where there is none (S-76).
    ack_head: Vec<u8>,
    /// Messages sent so far.
    sent: u64,
    /// What was sent and not settled. The core bounds it.
    unsettled: Unsettled,
}

/// What a subscription is made of.
#[derive(Debug)]
pub(crate) struct Terms {
    /// See [`Subscription`].
    pub(crate) id: Option<String>,
    /// See [`Subscription`].
    pub(crate) destination: String,
    /// See [`Subscription`].
    pub(crate) mode: AckType,
    /// See [`Subscription`].
    pub(crate) has_durable_queue: bool,
    /// See [`Subscription`].
    pub(crate) shows_origin: bool,
}

impl Subscription {
    /// A subscription that has sent nothing yet.
    pub(crate) fn new(
        terms: Terms,
        queue: String,
        consumer: ConsumerId,
        connection: ConnectionId,
        version: Version,
    ) -> Self {
        let mut head = b"MESSAGE\n".to_vec();
        if let Some(id) = &terms.id {
            head.extend_from_slice(b"subscription:");
            header::escape(version, Side::Value, id.as_bytes(), &mut head);
            head.push(b'\n');
        }
        let number_head = format!("{}-{}-", connection.0, consumer.0);
        head.extend_from_slice(b"message-id:");
        head.extend_from_slice(number_head.as_bytes());
        let has_ack = version == Version::V1_2 && terms.mode != AckType::Auto;
        let ack_head = if has_ack { format!("\nack:{number_head}") } else { String::new() };
        let Terms { id, destination, mode, has_durable_queue, shows_origin } = terms;
        Self {
            consumer,
            id,
            destination,
            queue,
            mode,
            has_durable_queue,
            shows_origin,
            head,
            ack_head: ack_head.into_bytes(),
            sent: 0,
            unsettled: Unsettled::default(),
        }
    }

    /// Numbers a delivery and begins its MESSAGE, up to and with the end of a header line.
    pub(crate) fn begin_message(&mut self, delivery: DeliveryId, out: &mut Vec<u8>) {
        self.sent += 1;
        if self.mode != AckType::Auto {
            self.unsettled.push(self.sent, delivery);
        }
        out.extend_from_slice(&self.head);
        push_decimal(out, self.sent);
        if !self.ack_head.is_empty() {
            out.extend_from_slice(&self.ack_head);
            push_decimal(out, self.sent);
        }
        out.push(b'\n');
    }

    /// Whether message `number` was sent and waits to be settled.
    pub(crate) fn is_unsettled(&self, number: u64) -> bool {
        self.unsettled.contains(number)
    }

    /// Whether message `number` was sent.
    pub(crate) fn has_sent(&self, number: u64) -> bool {
        (1..=self.sent).contains(&number)
    }

    /// Settles message `number`, and in `client` mode all before it (S-57, S-63). 1.0 does not say
    /// whether it means one message; the brokers that speak it agree that it does not.
    pub(crate) fn settle(&mut self, number: u64, mut settle: impl FnMut(DeliveryId)) {
        if self.mode != AckType::Client {
            self.unsettled.remove(number).into_iter().for_each(settle);
            return;
        }
        while let Some(delivery) = self.unsettled.pop_through(number) {
            settle(delivery);
        }
    }

    /// Everything that is not settled, oldest first.
    pub(crate) fn into_unsettled(self) -> impl Iterator<Item = DeliveryId> {
        self.unsettled.into_deliveries()
    }
}

/// The subscriptions of a connection, by consumer.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// Sorted by consumer.
    list: Vec<Subscription>,
    /// Where the last message went: the next one goes there too, mostly.
    last: usize,
    /// The highest consumer there ever was.
    highest: Option<ConsumerId>,
}

impl Subscriptions {
    /// Adds one.
    pub(crate) fn insert(&mut self, subscription: Subscription) {
        self.highest = self.highest.max(Some(subscription.consumer));
        let at = self.list.partition_point(|other| other.consumer < subscription.consumer);
        self.list.insert(at, subscription);
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, consumer: ConsumerId) -> Option<Subscription> {
        let at = self.list.binary_search_by_key(&consumer, |other| other.consumer).ok()?;
        Some(self.list.remove(at))
    }

    /// Whether anything that was delivered is not settled.
    pub(crate) fn hold_deliveries(&self) -> bool {
        self.list.iter().any(|subscription| !subscription.unsettled.is_empty())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The one behind a consumer.
    pub(crate) fn of_consumer(&mut self, consumer: ConsumerId) -> Option<&mut Subscription> {
        if self.list.get(self.last).is_none_or(|last| last.consumer != consumer) {
            self.last = self.list.binary_search_by_key(&consumer, |other| other.consumer).ok()?;
        }
        self.list.get_mut(self.last)
    }

    /// Whether there was such a consumer once.
    pub(crate) fn has_known(&self, consumer: ConsumerId) -> bool {
        self.highest >= Some(consumer)
    }

    /// The one that the client calls `id`, or, without an id, that it made for `destination`
    /// without one.
    pub(crate) fn find(&self, id: Option<&str>, destination: &str) -> Option<&Subscription> {
        self.list.iter().find(|other| match (id, other.id.as_deref()) {
            (None, None) => other.destination == destination,
            (wanted, there) => wanted == there,
        })
    }
}

/// Which message an acknowledgement is about: its consumer and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageName {
    /// Whose message.
    pub(crate) consumer: ConsumerId,
    /// Its number among that consumer's.
    pub(crate) number: u64,
}

impl MessageName {
    /// Reads a `message-id` or `ack` that this connection wrote.
    pub(crate) fn parse(text: &str, connection: ConnectionId) -> Option<Self> {
        let mut parts = text.split('-');
        let its_connection: u64 = parts.next()?.parse().ok()?;
        let consumer = ConsumerId(parts.next()?.parse().ok()?);
        let number = parts.next()?.parse().ok()?;
        let is_ours = its_connection == connection.0 && parts.next().is_none();
        is_ours.then_some(Self { consumer, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_are_this_connections_or_nothing() {
        let connection = ConnectionId(7);
        let name = MessageName { consumer: ConsumerId(2), number: 3 };
        assert_eq!(MessageName::parse("7-2-3", connection), Some(name));
        for text in ["", "7-2", "8-2-3", "7-2-3-4", "7-2-x", "7--3", "7-2-99999999999999999999"] {
            assert_eq!(MessageName::parse(text, connection), None, "{text}");
        }
    }
}
