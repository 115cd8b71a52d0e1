//! A message: address, properties in the publisher's wire form, body. Made once, shared by every
//! queue and every delivery.
//!
//! One allocation holds everything but bodies above [`LARGE_BODY_BYTES`], which stand beside it:
//! a 16-byte message must not cost three allocations, and a megabyte must not be copied twice.

mod stored;

use std::sync::OnceLock;

use triomphe::ThinArc;

use crate::{Instant, Properties, PropertyCodec, PublisherId};

pub use stored::Codecs;

/// Bodies above this many bytes keep their own allocation (performance rule 2).
pub const LARGE_BODY_BYTES: usize = 16 * 1024;

/// Bytes in an exchange's name (a short string of AMQP).
pub(crate) const EXCHANGE_BYTES_MAX: usize = u8::MAX as usize;

/// Bytes in a routing key (an MQTT topic's length).
pub(crate) const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// Bytes of properties: an AMQP header frame of the largest size a client may negotiate.
pub(crate) const PROPERTIES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A protocol that a client speaks. The number is what a stored record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// AMQP 0-9-1.
    Amqp = 1,
    /// MQTT 3.1.1 and 5.
    Mqtt = 2,
    /// STOMP 1.0 to 1.2.
    Stomp = 3,
}

impl Protocol {
    /// Every protocol, in the order of [`Protocol::index`].
    pub const ALL: [Self; 3] = [Self::Amqp, Self::Mqtt, Self::Stomp];

    /// A place in arrays of one entry a protocol.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// As metrics and logs write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Stomp => "stomp",
        }
    }
}

/// A body on its way into the broker.
#[derive(Debug)]
pub enum Body<'a> {
    /// Still in the read buffer; copied once.
    Borrowed(&'a [u8]),
    /// Collected by the adapter from several reads; taken over when large.
    Owned(Vec<u8>),
}

impl Body<'_> {
    /// The octets.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// What a publisher asks to have published. Everything in it was validated by the adapter.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Name of the exchange; empty for the default exchange. At most 255 bytes.
    pub exchange: &'a str,
    /// Routing key in words (`a.b.c`). At most 65,535 bytes.
    pub routing_key: &'a str,
    /// Reads `properties` for clients of other protocols.
    pub codec: &'static dyn PropertyCodec,
    /// The properties in the publisher's wire form. What that is belongs to the adapter; it gets
    /// the same octets back from [`Message::wire`].
    pub properties: &'a [u8],
    /// The octets that the message is about.
    pub body: Body<'a>,
    /// Asks to survive a restart in durable queues.
    pub persistent: bool,
    /// Come back ([`crate::Event::Returned`]) when no queue takes it.
    pub mandatory: bool,
    /// When it is to be delivered no more, if ever: what the client said, added to
    /// [`crate::Batch::now`].
    pub expires_at: Option<Instant>,
    /// 0 to 255; counts in queues that know priorities, up to their highest.
    pub priority: u8,
    /// Become the last value of its address (`amq.topic` only); an empty body clears it.
    pub retain: bool,
}

struct Head {
    codec: &'static dyn PropertyCodec,
    publisher: PublisherId,
    exchange_len: u8,
    key_len: u16,
    properties_len: u32,
    persistent: bool,
    retain: bool,
    priority: u8,
    /// [`Instant::NEVER`] for a message that does not expire.
    expires_at: Instant,
    large_body: Option<Box<[u8]>>,
    translated: OnceLock<Box<Properties>>,
}

/// A published message. Cloning shares it.
#[derive(Clone)]
pub struct Message(ThinArc<Head, u8>);

impl Message {
    /// Copies `draft`, whose lengths were checked, out of the read buffer. `scratch` is the
    /// worker's, reused.
    ///
    /// # Panics
    ///
    /// When a part of the draft is longer than [`crate::Batch::publish`] lets pass.
    #[must_use]
    pub fn new(draft: Draft<'_>, publisher: PublisherId, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        scratch.extend_from_slice(draft.exchange.as_bytes());
        scratch.extend_from_slice(draft.routing_key.as_bytes());
        scratch.extend_from_slice(draft.properties);
        let large_body = if draft.body.as_slice().len() > LARGE_BODY_BYTES {
            Some(match draft.body {
                Body::Owned(bytes) => bytes.into_boxed_slice(),
                Body::Borrowed(bytes) => bytes.into(),
            })
        } else {
            scratch.extend_from_slice(draft.body.as_slice());
            None
        };
        let head = Head {
            codec: draft.codec,
            publisher,
            exchange_len: u8::try_from(draft.exchange.len()).expect("exchange names end at 255"),
            key_len: u16::try_from(draft.routing_key.len()).expect("keys end at 65,535 bytes"),
            properties_len: u32::try_from(draft.properties.len()).expect("properties end at 4 GiB"),
            persistent: draft.persistent,
            retain: draft.retain,
            priority: draft.priority,
            expires_at: draft.expires_at.unwrap_or(Instant::NEVER),
            large_body,
            translated: OnceLock::new(),
        };
        Self(ThinArc::from_header_and_slice(head, scratch))
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    fn key_start(&self) -> usize {
        usize::from(self.head().exchange_len)
    }

    fn properties_start(&self) -> usize {
        self.key_start() + usize::from(self.head().key_len)
    }

    fn body_start(&self) -> usize {
        self.properties_start() + self.head().properties_len as usize
    }

    /// The exchange it was published to; empty for the default exchange.
    #[must_use]
    pub fn exchange(&self) -> &str {
        text(self.exchange_bytes())
    }

    /// The publisher's routing key, in words.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        text(self.routing_key_bytes())
    }

    /// [`Message::exchange`] as octets: encoders need no proof that it is UTF-8.
    #[must_use]
    pub fn exchange_bytes(&self) -> &[u8] {
        &self.0.slice[..self.key_start()]
    }

    /// [`Message::routing_key`] as octets.
    #[must_use]
    pub fn routing_key_bytes(&self) -> &[u8] {
        &self.0.slice[self.key_start()..self.properties_start()]
    }

    /// The properties as the publisher's adapter wrote them, if it speaks `protocol`.
    #[must_use]
    pub fn wire(&self, protocol: Protocol) -> Option<&[u8]> {
        (self.head().codec.wire_protocol() == Some(protocol))
            .then(|| &self.0.slice[self.properties_start()..self.body_start()])
    }

    /// The properties in no protocol's form; decoded at the first call and kept.
    #[must_use]
    pub fn properties(&self) -> &Properties {
        self.head().translated.get_or_init(|| {
            let wire = &self.0.slice[self.properties_start()..self.body_start()];
            Box::new(self.head().codec.decode(wire))
        })
    }

    /// The codec that wrote the properties, and their octets.
    pub(crate) fn coded(&self) -> (&'static dyn PropertyCodec, &[u8]) {
        (self.head().codec, &self.0.slice[self.properties_start()..self.body_start()])
    }

    /// The octets that the message is about.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.head().large_body {
            Some(body) => body,
            None => &self.0.slice[self.body_start()..],
        }
    }

    /// What its publisher speaks.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.head().codec.protocol()
    }

    /// Who published it.
    #[must_use]
    pub fn publisher(&self) -> PublisherId {
        self.head().publisher
    }

    /// The MQTT QoS it was published at. Other protocols may carry the one it had in MQTT; else
    /// they say at most whether it should survive, and what says nothing goes out at the granted
    /// QoS.
    #[must_use]
    pub fn qos(&self) -> u8 {
        let wire = &self.0.slice[self.properties_start()..self.body_start()];
        self.head().codec.qos(wire).unwrap_or_else(|| {
            let properties = self.properties();
            let unsaid = if properties.durable == Some(false) { 0 } else { 2 };
            properties.qos.unwrap_or(unsaid)
        })
    }

    /// Whether it asked to survive a restart.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.head().persistent
    }

    /// Whether its publisher set it as the last value of its address.
    #[must_use]
    pub fn is_retain(&self) -> bool {
        self.head().retain
    }

    /// When it is to be delivered no more.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        Some(self.head().expires_at).filter(|at| *at != Instant::NEVER)
    }

    /// 0 to 255; what its publisher did not say is 0.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.head().priority
    }

    /// Bytes of its body: bodies end at 512 MiB.
    pub(crate) fn body_bytes(&self) -> u32 {
        u32::try_from(self.body().len()).unwrap_or(u32::MAX)
    }

    /// Bytes it is charged with in memory budgets.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        let large = self.head().large_body.as_ref().map_or(0, |body| body.len());
        size_of::<Head>() + self.0.slice.len() + large
    }
}

/// `Message::new` copied it from a `&str`.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("protocol", &self.protocol())
            .field("body_bytes", &self.body().len())
            .finish_non_exhaustive()
    }
}
