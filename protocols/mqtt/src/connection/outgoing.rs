//! What a client receives through its session's queue, and its PUBACKs.

use trivium_core::address::Coding;
use trivium_core::{
    Batch, ConnectionId, Delivery, DeliveryId, Lost, Message, Outcome, Protocol, Session, Transmit,
};

use crate::Config;
use crate::encoder::Envelope;
use crate::packet::acknowledgement::Acknowledgement;
use crate::packet::connect::Connect;
use crate::subscription::Matched;
use crate::version::Version;

/// The receiving half of a client.
#[derive(Debug)]
pub(super) struct Outgoing {
    version: Version,
    connection: ConnectionId,
    /// The client's Maximum Packet Size.
    packet_bytes_max: usize,
    unsettled_max: usize,
    coding: Coding,
    /// See [`Config::unset_is_qos_0`].
    unset_is_qos_0: bool,
    /// Deliveries at QoS 1, by packet identifier - 1.
    unsettled: Vec<Option<DeliveryId>>,
    /// Identifiers given back, at most as many as `unsettled` has places.
    free: Vec<u16>,
}

impl Outgoing {
    pub(super) fn new(connect: &Connect, connection: ConnectionId, config: &Config) -> Self {
        Self {
            version: connect.version,
            connection,
            packet_bytes_max: connect
                .settings
                .packet_bytes_max
                .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            unsettled_max: usize::from(
                config.unsettled_max.min(connect.settings.receive_maximum).max(1),
            ),
            coding: config.coding,
            unset_is_qos_0: config.unset_is_qos_0,
            unsettled: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Who publishes here, as messages name it.
    pub(super) const fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Sends a delivery as its subscriptions ask. What none of them wants any more, and what the
    /// client cannot take [MQTT-3.1.2-25], is settled as if it had been sent.
    pub(super) fn on_delivery(
        &mut self,
        delivery: &Delivery,
        matched: Option<&Matched>,
        session: &mut Session,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) {
        let Some(matched) = matched else {
            return batch.settle(session, delivery.delivery, Outcome::Accepted);
        };
        // A queue hands out what the client settles, whatever QoS it was published at.
        let is_queue = matched.queue_topic.is_some();
        let qos = if is_queue { matched.qos } else { self.qos_of(&delivery.message, matched.qos) };
        let packet_id = if qos == 0 {
            0
        } else {
            let Some(packet_id) = self.take_id(delivery.delivery) else {
                // More than OpenSession asked for.
                return batch.settle(session, delivery.delivery, Outcome::Requeued);
            };
            packet_id
        };
        let envelope = Envelope {
            version: self.version,
            qos,
            retain: delivery.retained
                || (matched.retain_as_published && delivery.message.is_retain()),
            packet_id,
            subscription_ids: &matched.ids,
            queue_topic: matched.queue_topic.as_deref(),
            now: Some(batch.now()),
            coding: self.coding,
        };
        let mut lost = Lost::NONE;
        let is_sent = self.write(envelope, &delivery.message, out, &mut lost);
        batch.note_lost(&delivery.message, Protocol::Mqtt, lost);
        if !is_sent || qos == 0 {
            self.give_back_id(packet_id);
            batch.settle(session, delivery.delivery, Outcome::Accepted);
        }
    }

    /// At most as published, at most as granted.
    fn qos_of(&self, message: &Message, granted: u8) -> u8 {
        let qos = granted.min(message.qos());
        if qos > 0 && self.unset_is_qos_0 && says_no_qos(message) { 0 } else { qos }
    }

    fn write(
        &self,
        envelope: Envelope<'_>,
        message: &Message,
        out: &mut Transmit,
        lost: &mut Lost,
    ) -> bool {
        let start = out.bytes.len();
        let is_written = envelope.write(message, &mut out.bytes, lost);
        if out.bytes.len() - start > self.packet_bytes_max {
            out.bytes.truncate(start);
            return false;
        }
        if is_written {
            out.end_frame();
        }
        is_written
    }

    /// The client has it, or in MQTT 5 will never want it. Identifiers we do not know are left
    /// from an earlier session of the client's.
    pub(super) fn on_puback(
        &mut self,
        puback: Acknowledgement,
        session: &mut Session,
        batch: &mut Batch<'_>,
    ) {
        if let Some(delivery) = self.give_back_id(puback.packet_id) {
            let outcome =
                if puback.code.is_error() { Outcome::Rejected } else { Outcome::Accepted };
            batch.settle(session, delivery, outcome);
        }
    }

    /// An identifier that is not in use [MQTT-2.2.1-4].
    fn take_id(&mut self, delivery: DeliveryId) -> Option<u16> {
        if let Some(packet_id) = self.free.pop() {
            self.unsettled[usize::from(packet_id) - 1] = Some(delivery);
            return Some(packet_id);
        }
        if self.unsettled.len() >= self.unsettled_max {
            return None;
        }
        self.unsettled.push(Some(delivery));
        u16::try_from(self.unsettled.len()).ok()
    }

    fn give_back_id(&mut self, packet_id: u16) -> Option<DeliveryId> {
        let index = usize::from(packet_id).checked_sub(1)?;
        let delivery = self.unsettled.get_mut(index)?.take()?;
        self.free.push(packet_id);
        Some(delivery)
    }
}

/// Whether another protocol published it and did not say whether it is to survive.
fn says_no_qos(message: &Message) -> bool {
    message.wire(Protocol::Mqtt).is_none() && {
        let properties = message.properties();
        properties.durable.is_none() && properties.qos.is_none()
    }
}
