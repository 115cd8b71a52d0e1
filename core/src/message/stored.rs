//! A message as a log keeps it: self-contained, versioned, the same on every machine.
//!
//! ```text
//! 0   version, 1
//! 1   protocol of the publisher: 1 AMQP, 2 MQTT, 3 STOMP
//! 2   flags: 1 persistent, 2 retain, 4 properties in the broker's own form
//! 3   bytes of the exchange's name
//! 4   bytes of the routing key (2)
//! 6   bytes of extensions (2), 0 in this version: a reader passes over what it does not know
//! 8   bytes of the properties (4)
//! 12  priority
//! 13  0 (3)
//! 16  when it expires, in milliseconds since 1970 (8); 0 for never
//! 24  extensions, exchange, routing key, properties in the publisher's wire form, body
//! ```
//!
//! Numbers are little-endian.

use super::{Body, Draft, Message};
use crate::{Instant, PropertyCodec, Protocol, PublisherId, neutral_codec};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const PERSISTENT: u8 = 1;
const RETAIN: u8 = 2;
const NEUTRAL: u8 = 4;

/// What makes messages of bytes, and bytes of messages: the adapters' property codecs, and when the
/// time of this run began.
#[derive(Clone, Copy)]
pub struct Codecs {
    codecs: [&'static dyn PropertyCodec; 3],
    /// Milliseconds since 1970 at [`Instant::START`]: what expires on disk outlives the run.
    started_at: u64,
}

impl Codecs {
    /// One codec for each protocol, in any order, for a run whose [`Instant::START`] was
    /// `started_at` milliseconds after 1970 began.
    ///
    /// # Panics
    ///
    /// When a protocol has none: whoever starts a broker names all three.
    #[must_use]
    pub fn new(codecs: [&'static dyn PropertyCodec; 3], started_at: u64) -> Self {
        let codecs = Protocol::ALL.map(|protocol| {
            let found = codecs.into_iter().find(|codec| codec.protocol() == protocol);
            found.expect("every protocol has a codec")
        });
        Self { codecs, started_at }
    }
}

impl Codecs {
    /// The one of a protocol.
    pub(crate) fn codec(&self, protocol: Protocol) -> &'static dyn PropertyCodec {
        self.codecs[protocol.index()]
    }

    /// Milliseconds since 1970 at [`Instant::START`].
    pub(crate) const fn started_at(&self) -> u64 {
        self.started_at
    }
}

impl std::fmt::Debug for Codecs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codecs")
    }
}

impl Message {
    /// Bytes that [`Message::store`] appends.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        HEADER_BYTES + self.body_start() + self.body().len()
    }

    /// Appends the message as a log keeps it.
    pub fn store(&self, into: &mut Vec<u8>, codecs: Codecs) {
        let head = self.head();
        let is_neutral = head.codec.wire_protocol().is_none();
        let flags = [(head.persistent, PERSISTENT), (head.retain, RETAIN), (is_neutral, NEUTRAL)];
        let flags =
            flags.into_iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, bit)| all | bit);
        into.extend_from_slice(&[VERSION, self.protocol() as u8, flags, head.exchange_len]);
        into.extend_from_slice(&head.key_len.to_le_bytes());
        into.extend_from_slice(&0u16.to_le_bytes());
        into.extend_from_slice(&head.properties_len.to_le_bytes());
        into.extend_from_slice(&[head.priority, 0, 0, 0]);
        // Never 0, which is no expiry.
        let expires_at = self
            .expires_at()
            .map_or(0, |at| codecs.started_at.saturating_add(at.as_millis()).max(1));
        into.extend_from_slice(&expires_at.to_le_bytes());
        into.extend_from_slice(&self.0.slice[..self.body_start()]);
        into.extend_from_slice(self.body());
    }

    /// Priority and expiry of the message that `bytes` hold, without looking at the rest.
    #[must_use]
    pub fn peek(bytes: &[u8], codecs: Codecs) -> Option<(u8, Option<Instant>)> {
        let header = bytes.first_chunk::<HEADER_BYTES>().filter(|header| header[0] == VERSION)?;
        let expires_at = u64::from_le_bytes(std::array::from_fn(|index| header[16 + index]));
        let expires_at = (expires_at > 0)
            .then(|| Instant::from_millis(expires_at.saturating_sub(codecs.started_at)));
        Some((header[12], expires_at))
    }

    /// Bytes of the body of the message that `bytes` hold, without looking at the rest.
    #[must_use]
    pub fn peek_body_bytes(bytes: &[u8]) -> Option<u64> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let of = |low: usize| u64::from(u16::from_le_bytes([header[low], header[low + 1]]));
        let properties = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let before = u64::from(header[3]) + of(4) + of(6) + u64::from(properties);
        (bytes.len() as u64).checked_sub(HEADER_BYTES as u64 + before)
    }

    /// The message that `bytes` hold; `None` when no [`Message::store`] of a known version wrote
    /// them. Its publisher is no connection of this run.
    #[must_use]
    pub fn restore(bytes: &[u8], codecs: Codecs) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let [version, protocol, flags, exchange_len, ..] = *header;
        let mut codec = *codecs.codecs.get(usize::from(protocol).checked_sub(1)?)?;
        if flags & NEUTRAL != 0 {
            codec = neutral_codec(codec.protocol());
        }
        if version != VERSION {
            return None;
        }
        let (priority, expires_at) = Self::peek(bytes, codecs)?;
        let key_len = u16::from_le_bytes([header[4], header[5]]);
        let extensions_len = u16::from_le_bytes([header[6], header[7]]);
        let properties_len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let (_, rest) = bytes[HEADER_BYTES..].split_at_checked(usize::from(extensions_len))?;
        let (exchange, rest) = rest.split_at_checked(usize::from(exchange_len))?;
        let (key, rest) = rest.split_at_checked(usize::from(key_len))?;
        let (properties, body) = rest.split_at_checked(usize::try_from(properties_len).ok()?)?;
        let draft = Draft {
            expires_at,
            priority,
            exchange: std::str::from_utf8(exchange).ok()?,
            routing_key: std::str::from_utf8(key).ok()?,
            codec,
            properties,
            body: Body::Borrowed(body),
            persistent: flags & PERSISTENT != 0,
            mandatory: false,
            retain: flags & RETAIN != 0,
        };
        Some(Self::new(draft, PublisherId::default(), &mut Vec::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::OpaqueCodec;

    #[test]
    fn what_the_broker_wrote_comes_back_as_such() {
        let codecs = Protocol::ALL.map(|protocol| &*Box::leak(Box::new(OpaqueCodec(protocol))));
        let codecs = Codecs::new(codecs.map(|codec| codec as &'static dyn PropertyCodec), 0);
        let properties = crate::Properties { app_id: Some("a".into()), ..Default::default() };
        let mut wire = Vec::new();
        crate::properties::encode_neutral(&properties, &mut wire);
        let draft = Draft {
            exchange: "",
            routing_key: "q",
            codec: neutral_codec(Protocol::Mqtt),
            properties: &wire,
            body: Body::Borrowed(b"b"),
            persistent: true,
            mandatory: false,
            expires_at: None,
            priority: 0,
            retain: false,
        };
        let mut stored = Vec::new();
        Message::new(draft, PublisherId(5), &mut Vec::new()).store(&mut stored, codecs);
        let restored = Message::restore(&stored, codecs).unwrap();
        assert_eq!((restored.protocol(), restored.wire(Protocol::Mqtt)), (Protocol::Mqtt, None));
        assert_eq!(*restored.properties(), properties);
    }

    #[test]
    fn what_is_stored_comes_back() {
        let parts: [&'static dyn PropertyCodec; 3] = [
            &OpaqueCodec(Protocol::Mqtt),
            &OpaqueCodec(Protocol::Amqp),
            &OpaqueCodec(Protocol::Stomp),
        ];
        let codecs = Codecs::new(parts, 1_000_000);
        let later = Codecs::new(parts, 1_000_400);
        for (body, retain) in [(vec![], false), (vec![7; 40_000], true)] {
            let draft = Draft {
                expires_at: retain.then_some(Instant::from_millis(500)),
                priority: 3,
                exchange: "orders",
                routing_key: "a.b",
                codec: &OpaqueCodec(Protocol::Stomp),
                properties: b"x:y",
                body: Body::Borrowed(&body),
                persistent: true,
                mandatory: false,
                retain,
            };
            let message = Message::new(draft, PublisherId(5), &mut Vec::new());
            let mut stored = Vec::new();
            message.store(&mut stored, codecs);
            assert_eq!(stored.len(), message.stored_bytes());
            let restored = Message::restore(&stored, later).unwrap();
            assert_eq!((restored.exchange(), restored.routing_key()), ("orders", "a.b"));
            assert_eq!(restored.wire(Protocol::Stomp), Some(&b"x:y"[..]));
            assert_eq!(restored.body(), body);
            assert!(restored.is_persistent());
            assert_eq!(restored.priority(), 3);
            let expires_at = retain.then_some(Instant::from_millis(100));
            assert_eq!(restored.expires_at(), expires_at, "the clock goes on over a restart");
            assert_eq!(restored.is_retain(), retain);
            for cut in 0..stored.len().min(30) {
                assert!(Message::restore(&stored[..cut], codecs).is_none());
            }
        }
    }
}
