//! The consumers of one channel: the core's ids and the client's tags.

use trivium_core::{ConnectionId, ConsumerId, SessionId};

/// One consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) id: ConsumerId,
    /// At most 255 octets.
    pub(crate) tag: Box<str>,
    /// Delivered is settled.
    pub(crate) no_ack: bool,
}

/// In the order of their ids, which the core gives out ascending.
#[derive(Debug, Default)]
pub(crate) struct Consumers(Vec<Consumer>);

impl Consumers {
    pub(crate) fn insert(&mut self, consumer: Consumer) {
        let index = self.0.partition_point(|other| other.id < consumer.id);
        self.0.insert(index, consumer);
    }

    pub(crate) fn by_id(&self, id: ConsumerId) -> Option<&Consumer> {
        match self.0.as_slice() {
            [only] if only.id == id => Some(only),
            all => all.binary_search_by_key(&id, |consumer| consumer.id).ok().map(|at| &all[at]),
        }
    }

    pub(crate) fn by_tag(&self, tag: &str) -> Option<&Consumer> {
        self.0.iter().find(|consumer| &*consumer.tag == tag)
    }

    pub(crate) fn remove(&mut self, id: ConsumerId) -> Option<Consumer> {
        let at = self.0.binary_search_by_key(&id, |consumer| consumer.id).ok()?;
        Some(self.0.remove(at))
    }
}

/// A tag for a consumer that named none: `amq.ctag-` and 22 characters, as RabbitMQ's look. Where
/// those are random, these are the consumer's place: connection, channel and its use, and `count`.
pub(crate) fn made_tag(connection: ConnectionId, session: SessionId, count: u32) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const CHARACTERS: u32 = 22;
    let number = u128::from(connection.0) << 64
        | u128::from(session.label) << 48
        | u128::from(session.epoch) << 32
        | u128::from(count);
    let mut tag = String::from("amq.ctag-");
    for place in (0..CHARACTERS).rev() {
        let digit = (number >> (place * 6)) & 0x3F;
        tag.push(char::from(DIGITS[usize::try_from(digit).unwrap_or(0)]));
    }
    tag
}
