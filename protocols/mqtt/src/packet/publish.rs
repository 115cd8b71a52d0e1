//! PUBLISH from a client (MQTT 5, section 3.3), as slices of the read buffer.

use std::ops::Range;

use trivium_core::Instant;

use crate::fault::Fault;
use crate::guard::{Allowed, Property, Reader, id, walk};
use crate::properties::USER_ID;
use crate::version::Version;

/// A PUBLISH that was checked but for its topic, which [`crate::address::Target`] checks.
#[derive(Clone, Debug)]
pub(crate) struct Publish<'a> {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Empty when a topic alias stands for it.
    pub(crate) topic: &'a [u8],
    /// 0 at QoS 0.
    pub(crate) packet_id: u16,
    pub(crate) properties: MessageProperties<'a>,
    pub(crate) payload: &'a [u8],
}

/// The property block of a PUBLISH or a will.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageProperties<'a> {
    block: &'a [u8],
    /// The property that belongs to the connection and not to the message: topic alias, will delay.
    own: Option<(Range<usize>, u32)>,
    /// What the user property `amqp-user-id` claims.
    pub(crate) user_id: Option<&'a str>,
    /// The message expiry interval, in seconds.
    pub(crate) expiry_s: Option<u32>,
    /// What the user property `priority` says; 0 without one.
    pub(crate) priority: u8,
}

/// QoS 3 does not exist [MQTT-3.3.1-4], and what is never sent again is no duplicate
/// [MQTT-3.3.1-2].
pub(crate) const fn check_flags(flags: u8) -> Result<(), Fault> {
    match (flags >> 1) & 3 {
        0 if flags & 8 != 0 => Err(Fault::malformed("DUP at QoS 0")),
        3 => Err(Fault::malformed("QoS 3")),
        _ => Ok(()),
    }
}

impl<'a> Publish<'a> {
    /// Decodes the packet whose fixed header begins with `first`.
    pub(crate) fn decode(first: u8, body: &'a [u8], version: Version) -> Result<Self, Fault> {
        let qos = (first >> 1) & 3;
        let mut reader = Reader::new(body);
        let topic = reader.binary()?;
        let packet_id = if qos == 0 { 0 } else { reader.packet_id()? };
        let properties = if version.is_5() {
            MessageProperties::decode(reader.property_block()?, Allowed::PUBLISH, id::TOPIC_ALIAS)?
        } else {
            MessageProperties::default()
        };
        Ok(Self {
            qos,
            retain: first & 1 == 1,
            topic,
            packet_id,
            properties,
            payload: reader.rest(),
        })
    }

    /// The topic alias, never 0.
    pub(crate) fn topic_alias(&self) -> Option<u16> {
        self.properties.own().and_then(|alias| u16::try_from(alias).ok())
    }
}

impl<'a> MessageProperties<'a> {
    /// Checks `block`; the property `own` is told apart.
    pub(crate) fn decode(block: &'a [u8], allowed: Allowed, own: u8) -> Result<Self, Fault> {
        let mut properties = Self { block, ..Self::default() };
        if block.is_empty() {
            return Ok(properties);
        }
        walk(block, allowed, |id, value, place| {
            match value {
                Property::Number(number) if id == own => properties.own = Some((place, number)),
                Property::Number(_) if id == id::SUBSCRIPTION_ID => {
                    return Err(Fault::protocol("a subscription identifier from a client"));
                }
                Property::Number(seconds) if id == id::MESSAGE_EXPIRY => {
                    properties.expiry_s = Some(seconds);
                }
                Property::Pair("priority", text) => {
                    properties.priority = text.parse().unwrap_or(0);
                }
                // Nobody can be both, and a receiver may look at either.
                Property::Pair(USER_ID, user)
                    if *properties.user_id.get_or_insert(user) != user =>
                {
                    return Err(Fault::protocol("two user ids"));
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(properties)
    }

    pub(crate) fn own(&self) -> Option<u32> {
        self.own.as_ref().map(|(_, value)| *value)
    }

    /// When a message that says this and arrives now expires.
    pub(crate) fn expires_at(&self, now: Instant) -> Option<Instant> {
        self.expiry_s.map(|seconds| now.after_millis(u64::from(seconds) * 1000))
    }

    /// Appends the block without what belongs to the connection.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match &self.own {
            None => out.extend_from_slice(self.block),
            Some((place, _)) => {
                out.extend_from_slice(&self.block[..place.start]);
                out.extend_from_slice(&self.block[place.end..]);
            }
        }
    }
}
