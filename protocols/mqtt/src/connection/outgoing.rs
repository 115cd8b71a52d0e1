//! What a client receives through queues, and its PUBACK, PUBREC and PUBCOMP.
//!
//! A delivery keeps its packet identifier until it is settled: at PUBACK, PUBCOMP, or a PUBREC that
//! rejects it. Of a session that outlives its connection the core learns the identifier and how far
//! QoS 2 is, so that a later connection goes on under the same one [MQTT-4.4.0-1].

use std::collections::VecDeque;

use trivium_core::address::Coding;
use trivium_core::{
    Batch, Confirm, Delivery, DeliveryId, Lost, Message, Outcome, Protocol, Session, Ticket,
    Transmit,
};

use super::aliases::Aliases;
use super::slots::{Sent, Slots};
use crate::encoder::{Alias, Envelope};
use crate::packet::acknowledgement::Acknowledgement;
use crate::packet::connect::Connect;
use crate::packet::kind;
use crate::subscription::Matched;
use crate::version::Version;
use crate::{Config, ReasonCode};

/// The receiving half of a client.
#[derive(Debug)]
pub(super) struct Outgoing {
    version: Version,
    /// The client's Maximum Packet Size.
    packet_bytes_max: usize,
    coding: Coding,
    /// The session outlives its connection.
    is_kept: bool,
    /// See [`Config::unset_is_qos_0`].
    unset_is_qos_0: bool,
    aliases: Aliases,
    slots: Slots,
    /// Packets that must not leave before the log has what they say, at most two a slot.
    waiting: VecDeque<(Ticket, Later)>,
}

/// A packet that waits.
#[derive(Debug)]
enum Later {
    /// A PUBLISH of QoS 2: sent again after a crash under another packet identifier it would be
    /// another message to its client.
    Publish(Box<[u8]>),
    /// The PUBREL for this packet identifier.
    Release(u16),
}

impl Outgoing {
    /// `labels` are the identifiers of deliveries that will be repeated.
    pub(super) fn new(connect: &Connect, labels: &[u16], config: &Config) -> Self {
        let unsettled_max = config.unsettled_max.min(connect.settings.receive_maximum).max(1);
        Self {
            version: connect.version,
            packet_bytes_max: connect
                .settings
                .packet_bytes_max
                .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            coding: config.coding,
            is_kept: connect.settings.session_expiry > 0,
            unset_is_qos_0: config.unset_is_qos_0,
            aliases: Aliases::new(connect.settings.topic_alias_max.min(config.topic_alias_max)),
            slots: Slots::new(unsettled_max, labels),
            waiting: VecDeque::new(),
        }
    }

    /// Whether the client has yet to acknowledge something.
    pub(super) const fn holds_deliveries(&self) -> bool {
        self.slots.are_taken()
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
        let is_repeated = delivery.label != 0;
        let unwanted = Matched::default();
        // What was sent once is finished, whatever became of its subscription.
        let Some(matched) = matched.or(if is_repeated { Some(&unwanted) } else { None }) else {
            return batch.settle(session, delivery.delivery, Outcome::Accepted);
        };
        // A queue hands out what the client settles, whatever QoS it was published at.
        let is_queue = matched.queue_topic.is_some();
        let mut qos =
            if is_queue { matched.qos } else { self.qos_of(&delivery.message, matched.qos) };
        if is_repeated {
            // The same packet again [MQTT-4.4.0-1].
            qos = delivery.label_qos;
        }
        let packet_id = if qos == 0 {
            0
        } else {
            let sent = Sent { delivery: delivery.delivery, qos, is_released: false };
            let Some(packet_id) = self.slots.take(delivery.label, sent) else {
                // More than OpenSession asked for.
                return batch.settle(session, delivery.delivery, Outcome::Requeued);
            };
            packet_id
        };
        let envelope = Envelope {
            version: self.version,
            dup: is_repeated,
            qos,
            retain: delivery.retained
                || (matched.retain_as_published && delivery.message.is_retain()),
            packet_id,
            subscription_ids: &matched.ids,
            queue_topic: matched.queue_topic.as_deref(),
            alias: Alias::None,
            now: Some(batch.now()),
            coding: self.coding,
        };
        let mut lost = Lost::NONE;
        let start = out.bytes.len();
        let is_sent = self.write(envelope, &delivery.message, out, &mut lost);
        batch.note_lost(&delivery.message, Protocol::Mqtt, lost);
        if !is_sent || qos == 0 {
            self.slots.give_back(packet_id);
            batch.settle(session, delivery.delivery, Outcome::Accepted);
        } else if self.is_kept && !is_queue {
            let confirm = if qos == 2 { Confirm::Wanted } else { Confirm::Unwanted };
            let ticket = batch.mark(session, delivery.delivery, (packet_id, qos, false), confirm);
            if let Some(ticket) = ticket {
                let packet = out.take_frame(start);
                self.waiting.push_back((ticket, Later::Publish(packet)));
            }
        }
    }

    /// The log has what everything up to this ticket says.
    pub(super) fn on_confirmed(&mut self, through: Ticket, out: &mut Transmit) {
        while let Some((_, later)) = self.waiting.pop_front_if(|(ticket, _)| *ticket <= through) {
            match later {
                Later::Publish(packet) => {
                    out.bytes.extend_from_slice(&packet);
                    out.end_frame();
                }
                Later::Release(packet_id) => {
                    self.write_pubrel(packet_id, ReasonCode::SUCCESS, out);
                }
            }
        }
    }

    /// Sends a retained message that needs no acknowledgement.
    pub(super) fn on_retained(
        &mut self,
        message: &Message,
        matched: &Matched,
        batch: &Batch<'_>,
        out: &mut Transmit,
    ) {
        let envelope = Envelope {
            version: self.version,
            dup: false,
            qos: 0,
            retain: true,
            packet_id: 0,
            subscription_ids: &matched.ids,
            queue_topic: None,
            alias: Alias::None,
            now: Some(batch.now()),
            coding: self.coding,
        };
        let mut lost = Lost::NONE;
        self.write(envelope, message, out, &mut lost);
        batch.note_lost(message, Protocol::Mqtt, lost);
    }

    /// At most as published, at most as granted.
    fn qos_of(&self, message: &Message, granted: u8) -> u8 {
        let qos = granted.min(message.qos());
        if qos > 0 && self.unset_is_qos_0 && says_no_qos(message) { 0 } else { qos }
    }

    fn write(
        &mut self,
        mut envelope: Envelope<'_>,
        message: &Message,
        out: &mut Transmit,
        lost: &mut Lost,
    ) -> bool {
        if envelope.queue_topic.is_none() {
            envelope.alias = self.aliases.of(message.routing_key());
        }
        let start = out.bytes.len();
        let is_written = envelope.write(message, &mut out.bytes, lost);
        if out.bytes.len() - start > self.packet_bytes_max {
            out.bytes.truncate(start);
            return false;
        }
        if is_written {
            self.aliases.sent(envelope.alias, message.routing_key());
            out.end_frame();
        }
        is_written
    }

    /// The client of a resumed session has a message: only PUBREL is owed.
    pub(super) fn on_released(
        &mut self,
        delivery: DeliveryId,
        label: u16,
        session: &mut Session,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) {
        let sent = Sent { delivery, qos: 2, is_released: true };
        if self.slots.take(label, sent).is_some() {
            self.release(delivery, label, session, batch, out);
        }
    }

    /// Writes PUBREL once a later connection would know that the client has the message.
    fn release(
        &mut self,
        delivery: DeliveryId,
        label: u16,
        session: &mut Session,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) {
        let ticket = if self.is_kept {
            batch.mark(session, delivery, (label, 2, true), Confirm::Wanted)
        } else {
            None
        };
        match ticket {
            Some(ticket) => self.waiting.push_back((ticket, Later::Release(label))),
            None => self.write_pubrel(label, ReasonCode::SUCCESS, out),
        }
    }

    /// The client has it, or in MQTT 5 will never want it. Identifiers we do not know are left
    /// from an earlier session of the client's.
    pub(super) fn on_puback(
        &mut self,
        puback: Acknowledgement,
        session: &mut Session,
        batch: &mut Batch<'_>,
    ) {
        if self.slots.at(puback.packet_id).is_some_and(|sent| sent.qos == 1) {
            self.settle(puback, session, batch);
        }
    }

    /// The client has a QoS 2 message and wants to hear that we know [MQTT-4.3.3-4], or will never
    /// want it.
    pub(super) fn on_pubrec(
        &mut self,
        pubrec: Acknowledgement,
        session: &mut Session,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) {
        let Some(sent) = self.slots.at_mut(pubrec.packet_id).filter(|sent| sent.qos == 2) else {
            if !pubrec.code.is_error() {
                // Let the client forget what it holds under this id.
                let code = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
                self.write_pubrel(pubrec.packet_id, code, out);
            }
            return;
        };
        if pubrec.code.is_error() {
            return self.settle(pubrec, session, batch);
        }
        let was_released = std::mem::replace(&mut sent.is_released, true);
        let (delivery, packet_id) = (sent.delivery, pubrec.packet_id);
        let waits = |(_, later): &(Ticket, Later)| matches!(later, Later::Release(known) if *known == packet_id);
        if !was_released {
            self.release(delivery, packet_id, session, batch, out);
        } else if !self.waiting.iter().any(waits) {
            self.write_pubrel(packet_id, ReasonCode::SUCCESS, out);
        }
    }

    /// A QoS 2 message is done with.
    pub(super) fn on_pubcomp(
        &mut self,
        pubcomp: Acknowledgement,
        session: &mut Session,
        batch: &mut Batch<'_>,
    ) {
        if self.slots.at(pubcomp.packet_id).is_some_and(|sent| sent.is_released) {
            // Whatever it says: the message was taken at PUBREC.
            let code = ReasonCode::SUCCESS;
            self.settle(Acknowledgement { code, ..pubcomp }, session, batch);
        }
    }

    fn settle(
        &mut self,
        acknowledgement: Acknowledgement,
        session: &mut Session,
        batch: &mut Batch<'_>,
    ) {
        if let Some(sent) = self.slots.give_back(acknowledgement.packet_id) {
            let is_refused = acknowledgement.code.is_error();
            let outcome = if is_refused { Outcome::Rejected } else { Outcome::Accepted };
            batch.settle(session, sent.delivery, outcome);
        }
    }

    fn write_pubrel(&self, packet_id: u16, code: ReasonCode, out: &mut Transmit) {
        Acknowledgement { packet_id, code }.write(kind::PUBREL, self.version, &mut out.bytes);
        out.end_frame();
    }
}

/// Whether another protocol published it and did not say whether it is to survive.
fn says_no_qos(message: &Message) -> bool {
    message.wire(Protocol::Mqtt).is_none() && {
        let properties = message.properties();
        properties.durable.is_none() && properties.qos.is_none()
    }
}
