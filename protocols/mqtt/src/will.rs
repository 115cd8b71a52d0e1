//! What is published for a client that leaves without a goodbye (MQTT 5, section 3.1.2.5).

use std::time::Duration;

use trivium_core::catalogue::StoredWill;
use trivium_core::{Batch, Body, Confirm, Draft, PropertyCodec, Session};

use crate::address::Target;
use crate::properties::PROPERTY_CODEC;

/// A will, ready to be published.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) target: Target,
    /// As [`crate::properties`] defines it.
    pub(crate) wire: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Seconds between the end of the connection and the will (Will Delay Interval).
    pub(crate) delay_s: u32,
    /// What its user property `amqp-user-id` claims.
    pub(crate) user_id: Option<String>,
}

impl Will {
    /// As the broker keeps it, should it end while the client is connected.
    pub(crate) fn stored(&self, target: &Target) -> StoredWill {
        let said = PROPERTY_CODEC.decode(&self.wire);
        StoredWill {
            due_at: None,
            delay_s: self.delay_s,
            exchange: target.exchange().to_owned(),
            routing_key: target.key().to_owned(),
            properties: self.wire.clone(),
            body: self.payload.clone(),
            persistent: self.qos > 0,
            lifetime_ms: said.expiry_ms,
            priority: said.priority.unwrap_or(0),
            retain: self.retain,
        }
    }

    /// Publishes it, once its delay is over if the session lives as long. Nobody is left who could
    /// be told that it was refused.
    pub(crate) fn publish(self, session: &mut Session, batch: &mut Batch<'_>) {
        let said = PROPERTY_CODEC.decode(&self.wire);
        let draft = Draft {
            exchange: self.target.exchange(),
            routing_key: self.target.key(),
            codec: &PROPERTY_CODEC,
            properties: &self.wire,
            body: Body::Owned(self.payload),
            persistent: self.qos > 0,
            mandatory: false,
            expires_at: said.expiry_ms.map(|millis| batch.now().after_millis(millis)),
            priority: said.priority.unwrap_or(0),
            retain: self.retain,
        };
        if self.delay_s > 0 {
            let due = batch.now().after(Duration::from_secs(self.delay_s.into()));
            drop(batch.publish_later(session, draft, due));
        } else {
            drop(batch.publish(session, draft, Confirm::Unwanted));
        }
    }
}
