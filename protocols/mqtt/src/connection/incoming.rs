//! What a client publishes, and when it hears that it is safe.
//!
//! PUBACK and PUBREC wait in one queue, in the order of their publishes (M-1). Of QoS 2 the
//! message is published at its first PUBLISH; its identifier is kept until PUBREL, and a PUBLISH
//! under a kept identifier is only acknowledged again (MQTT 5, section 4.3.3, method A's dual).

use std::collections::VecDeque;

use trivium_core::{Batch, Body, Confirm, Draft, Refusal, Session, Ticket, Transmit};

use super::End;
use crate::address::Target;
use crate::fault::Fault;
use crate::packet::acknowledgement::{Acknowledgement, write_with_reason};
use crate::packet::connect::Connect;
use crate::packet::kind;
use crate::packet::publish::Publish;
use crate::packet_ids::PacketIds;
use crate::properties::{PROPERTY_CODEC, write_wire_head};
use crate::version::Version;
use crate::{Config, ReasonCode};

/// The publishing half of a client.
#[derive(Debug)]
pub(super) struct Incoming {
    version: Version,
    /// Who is logged in: nobody publishes as somebody else.
    user: Box<str>,
    target: Target,
    /// Topics by alias - 1; empty where none is set.
    aliases: Vec<Vec<u8>>,
    topic_alias_max: u16,
    /// Publishes of QoS 1 and 2 that the client may have unacknowledged.
    receive_maximum: usize,
    /// Acknowledgements that wait for the broker, in the order of their publishes.
    receipts: VecDeque<Receipt>,
    /// Why, for those of `receipts` that report a failure, in their order.
    reasons: VecDeque<Box<str>>,
    /// Reason Strings are welcome, in packets of so many bytes.
    reason_room: Option<usize>,
    /// Those of QoS 1 in `receipts`.
    qos_1_count: usize,
    /// QoS 2 identifiers from PUBLISH to PUBREL.
    qos_2_ids: PacketIds,
    /// The session outlives its connection, and so do `qos_2_ids`.
    is_kept: bool,
    last_ticket: Ticket,
    /// Everything up to here is confirmed or refused.
    confirmed: Ticket,
    /// Properties of the message at hand.
    wire: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Receipt {
    /// Due once this ticket is confirmed.
    ticket: Ticket,
    packet_id: u16,
    /// PUBACK, PUBREC or PUBCOMP.
    kind: u8,
    code: ReasonCode,
}

impl Incoming {
    /// `received` are the identifiers of QoS 2 publishes that a resumed session holds.
    pub(super) fn new(connect: &Connect, user: &str, received: &[u16], config: &Config) -> Self {
        let mut incoming = Self::of_version(connect.version, user, config);
        incoming.is_kept = connect.settings.session_expiry > 0;
        incoming.reason_room = reason_room(connect);
        for packet_id in received {
            incoming.qos_2_ids.insert(*packet_id);
        }
        incoming
    }

    fn of_version(version: Version, user: &str, config: &Config) -> Self {
        // 3.1.1 cannot be told a limit; it has no more identifiers than this.
        let receive_maximum = if version.is_5() { config.receive_maximum } else { u16::MAX };
        Self {
            version,
            user: user.into(),
            target: Target::coded(config.coding),
            aliases: Vec::new(),
            topic_alias_max: config.topic_alias_max,
            receive_maximum: usize::from(receive_maximum.max(1)),
            receipts: VecDeque::new(),
            reasons: VecDeque::new(),
            reason_room: None,
            qos_1_count: 0,
            qos_2_ids: PacketIds::default(),
            is_kept: false,
            last_ticket: Ticket::default(),
            confirmed: Ticket::default(),
            wire: Vec::new(),
        }
    }

    pub(super) fn on_publish(
        &mut self,
        publish: &Publish<'_>,
        session: &mut Session,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        self.point_at(publish)?;
        if publish.qos == 2 && self.qos_2_ids.contains(publish.packet_id) {
            if self.is_kept {
                // The first may be of an earlier connection, and not safe yet.
                self.last_ticket = batch.repeat_once(session, publish.packet_id)?;
            }
            return self.acknowledge(publish, ReasonCode::SUCCESS, out);
        }
        if publish.qos > 0 && self.unacknowledged_count() >= self.receive_maximum {
            return Err(receive_maximum_exceeded());
        }
        if let Some(refusal) = self.refusal(publish) {
            return self.on_declined(publish, refusal, out);
        }
        self.wire.clear();
        write_wire_head(publish.qos, self.version, &mut self.wire);
        publish.properties.write(&mut self.wire);
        let draft = Draft {
            exchange: self.target.exchange(),
            routing_key: self.target.key(),
            codec: &PROPERTY_CODEC,
            properties: &self.wire,
            body: Body::Borrowed(publish.payload),
            persistent: publish.qos > 0,
            mandatory: false,
            expires_at: publish.properties.expires_at(batch.now()),
            priority: publish.properties.priority,
            retain: publish.retain && !self.target.exchange().is_empty(),
        };
        if publish.qos == 0 {
            return match batch.publish(session, draft, Confirm::Unwanted) {
                Ok(_) => Ok(()),
                Err(refusal) => self.on_declined(publish, refusal, out),
            };
        }
        let staged = if publish.qos == 2 && self.is_kept {
            batch.publish_once(session, draft, publish.packet_id)
        } else {
            batch.publish(session, draft, Confirm::Wanted)
        };
        match staged {
            Ok(published) => {
                self.last_ticket = published.ticket;
                let code = if published.routed {
                    ReasonCode::SUCCESS
                } else {
                    ReasonCode::NO_MATCHING_SUBSCRIBERS
                };
                self.push_receipt(publish, code);
                Ok(())
            }
            Err(refusal) => self.on_declined(publish, refusal, out),
        }
    }

    /// Resolves the topic or its alias (MQTT 5, section 3.3.2.3.4).
    fn point_at(&mut self, publish: &Publish<'_>) -> Result<(), Fault> {
        let Some(alias) = publish.topic_alias() else {
            if self.version.is_5() && publish.topic.is_empty() {
                return Err(Fault::protocol("neither a topic nor an alias"));
            }
            return self.target.point_at(publish.topic);
        };
        if alias > self.topic_alias_max {
            return Err(Fault::new(ReasonCode::TOPIC_ALIAS_INVALID, "topic alias too large"));
        }
        let index = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            return match self.aliases.get(index) {
                Some(topic) if !topic.is_empty() => self.target.point_at(topic),
                _ => Err(Fault::protocol("an unknown topic alias")),
            };
        }
        self.target.point_at(publish.topic)?;
        if self.aliases.len() <= index {
            self.aliases.resize_with(index + 1, Vec::new);
        }
        if self.aliases[index] != publish.topic {
            self.aliases[index] = publish.topic.to_vec();
        }
        Ok(())
    }

    /// What we refuse before the broker is asked.
    fn refusal(&self, publish: &Publish<'_>) -> Option<Refusal> {
        if let Some(reason) = self.target.refusal() {
            return Some(Refusal::access(reason));
        }
        let claim = publish.properties.user_id?;
        (claim != &*self.user).then(|| {
            Refusal::access(format!(
                "user_id property set to '{claim}' but authenticated user was '{}'",
                self.user
            ))
        })
    }

    fn unacknowledged_count(&self) -> usize {
        self.qos_1_count + self.qos_2_ids.count()
    }

    /// A publish was refused: MQTT 5 says so in its acknowledgement, which QoS 0 and 3.1.1 do not
    /// have; they are disconnected, but for a queue that happened to be full.
    fn on_declined(
        &mut self,
        publish: &Publish<'_>,
        refusal: Refusal,
        out: &mut Transmit,
    ) -> Result<(), End> {
        if matches!(refusal, Refusal::TakenOver) {
            return Err(refusal.into());
        }
        if publish.qos > 0 && self.version.is_5() {
            return self.acknowledge_refused(publish, &refusal, out);
        }
        match refusal {
            Refusal::QueueFull { .. } | Refusal::Blocked { .. } if publish.qos == 0 => Ok(()),
            refusal => Err(refusal.into()),
        }
    }

    /// Acknowledges what was refused, with the reason.
    fn acknowledge_refused(
        &mut self,
        publish: &Publish<'_>,
        refusal: &Refusal,
        out: &mut Transmit,
    ) -> Result<(), End> {
        if self.reason_room.is_some() {
            self.reasons.push_back(refusal.to_string().into());
        }
        self.acknowledge(publish, ReasonCode::of_answer(refusal), out)
    }

    /// Acknowledges what has no ticket of its own, behind all that came before it.
    fn acknowledge(
        &mut self,
        publish: &Publish<'_>,
        code: ReasonCode,
        out: &mut Transmit,
    ) -> Result<(), End> {
        // Repeats of a QoS 2 publish do not count as unacknowledged: bound them too.
        if self.receipts.len() >= 2 * self.receive_maximum {
            return Err(receive_maximum_exceeded());
        }
        self.push_receipt(publish, code);
        self.release_if_alone(out);
        Ok(())
    }

    /// What waits for nothing is written at once, unless something before it waits.
    fn release_if_alone(&mut self, out: &mut Transmit) {
        if self.receipts.len() == 1 && self.last_ticket <= self.confirmed {
            self.release_through(self.confirmed, out);
        }
    }

    fn push_receipt(&mut self, publish: &Publish<'_>, code: ReasonCode) {
        if publish.qos == 1 {
            self.qos_1_count += 1;
        } else if !code.is_error() {
            self.qos_2_ids.insert(publish.packet_id);
        }
        let kind = if publish.qos == 1 { kind::PUBACK } else { kind::PUBREC };
        let (ticket, packet_id) = (self.last_ticket, publish.packet_id);
        self.receipts.push_back(Receipt { ticket, packet_id, kind, code });
    }

    /// Every publish through this ticket is safe.
    pub(super) fn on_confirmed(&mut self, through: Ticket, out: &mut Transmit) {
        self.release_through(through, out);
    }

    /// A queue declined this one; those before it are confirmed. Returns its packet identifier if
    /// it was of QoS 2: it is free again.
    pub(super) fn on_refused(
        &mut self,
        ticket: Ticket,
        because: Box<Refusal>,
        out: &mut Transmit,
    ) -> Result<Option<u16>, End> {
        if !self.version.is_5() {
            return Err(End::Refused(because));
        }
        let mut freed = None;
        let index = self.receipts.partition_point(|receipt| receipt.ticket < ticket);
        let failed = |receipt: &&Receipt| receipt.code.is_error() && receipt.kind != kind::PUBCOMP;
        let before = self.receipts.iter().take(index).filter(failed).count();
        if let Some(receipt) = self.receipts.get_mut(index)
            && receipt.ticket == ticket
        {
            receipt.code = ReasonCode::of_answer(&because);
            if self.reason_room.is_some() {
                self.reasons.insert(before, because.to_string().into());
            }
            if receipt.kind == kind::PUBREC {
                self.qos_2_ids.remove(receipt.packet_id);
                freed = Some(receipt.packet_id);
            }
        }
        self.release_through(ticket, out);
        Ok(freed)
    }

    fn release_through(&mut self, through: Ticket, out: &mut Transmit) {
        self.confirmed = self.confirmed.max(through);
        while let Some(&Receipt { ticket, packet_id, kind, code }) = self.receipts.front()
            && ticket <= through
        {
            self.receipts.pop_front();
            self.qos_1_count -= usize::from(kind == kind::PUBACK);
            let acknowledgement = Acknowledgement { packet_id, code };
            if code.is_error() && kind != kind::PUBCOMP {
                self.write_refused(acknowledgement, kind, out);
            } else {
                acknowledgement.write(kind, self.version, &mut out.bytes);
            }
            out.end_frame();
        }
    }

    /// Writes the acknowledgement of the oldest publish that was refused.
    fn write_refused(&mut self, acknowledgement: Acknowledgement, kind: u8, out: &mut Transmit) {
        let start = out.bytes.len();
        if let Some(room) = self.reason_room
            && let Some(reason) = self.reasons.pop_front()
        {
            write_with_reason(acknowledgement, kind, &reason, &mut out.bytes);
            if out.bytes.len() - start <= room {
                return;
            }
            out.bytes.truncate(start);
        }
        acknowledgement.write(kind, self.version, &mut out.bytes);
    }

    /// The client knows that we have it: its identifier is free [MQTT-4.3.3-11]. A session that is
    /// kept must have forgotten it first, even after a crash: the next message under it is new.
    pub(super) fn on_pubrel(
        &mut self,
        pubrel: Acknowledgement,
        session: &mut Session,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        let packet_id = pubrel.packet_id;
        if !self.qos_2_ids.remove(packet_id) {
            let code = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
            self.write_pubcomp(packet_id, code, out);
            return Ok(());
        }
        let ticket = if self.is_kept {
            batch.release_once(session, packet_id, Confirm::Wanted)
        } else {
            None
        };
        let Some(ticket) = ticket else {
            self.write_pubcomp(packet_id, ReasonCode::SUCCESS, out);
            return Ok(());
        };
        // Who does not read what it is answered must not make this grow.
        if self.receipts.len() >= 4 * self.receive_maximum {
            return Err(receive_maximum_exceeded());
        }
        self.last_ticket = ticket;
        let (kind, code) = (kind::PUBCOMP, ReasonCode::SUCCESS);
        self.receipts.push_back(Receipt { ticket, packet_id, kind, code });
        Ok(())
    }

    fn write_pubcomp(&self, packet_id: u16, code: ReasonCode, out: &mut Transmit) {
        Acknowledgement { packet_id, code }.write(kind::PUBCOMP, self.version, &mut out.bytes);
        out.end_frame();
    }
}

/// How large a packet with a Reason String may be; `None` for a client that wants none, or cannot
/// have any.
pub(super) fn reason_room(connect: &Connect) -> Option<usize> {
    let limit = connect.settings.packet_bytes_max.unwrap_or(u32::MAX);
    (connect.version.is_5() && connect.settings.wants_problems).then_some(limit as usize)
}

fn receive_maximum_exceeded() -> End {
    Fault::new(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED, "too many unacknowledged publishes").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client whose publishes took tickets 1, 2, 2, 3: the second of ticket 2 was declined
    /// before it was staged. Their identifiers are 1 to 4, the last one of QoS 2.
    fn waiting(version: Version) -> Incoming {
        let mut incoming = Incoming::of_version(version, "guest", &Config::default());
        for (ticket, packet_id, first) in [(1, 1, 0x32), (2, 2, 0x32), (2, 3, 0x32), (3, 4, 0x34)] {
            incoming.last_ticket = Ticket(ticket);
            let body = [0, 1, b't', 0, packet_id, 0];
            let publish = Publish::decode(first, &body, version).unwrap();
            let code =
                if packet_id == 3 { ReasonCode::NOT_AUTHORIZED } else { ReasonCode::SUCCESS };
            incoming.push_receipt(&publish, code);
        }
        incoming
    }

    fn full() -> Refusal {
        Refusal::QueueFull { name: "q".into(), vhost: "/".into() }
    }

    #[test]
    fn receipts_leave_in_order_and_not_before_their_ticket() {
        let mut incoming = waiting(Version::V5);
        let mut out = Transmit::default();
        incoming.on_confirmed(Ticket(0), &mut out);
        assert_eq!(out.bytes, b"");
        incoming.on_confirmed(Ticket(2), &mut out);
        assert_eq!(out.bytes, b"\x40\x02\0\x01\x40\x02\0\x02\x40\x03\0\x03\x87");
        assert_eq!(incoming.unacknowledged_count(), 1);
        out.bytes.clear();
        incoming.on_confirmed(Ticket(3), &mut out);
        assert_eq!(out.bytes, b"\x50\x02\0\x04");
        assert_eq!(incoming.unacknowledged_count(), 1, "until PUBREL");
    }

    #[test]
    fn a_publish_that_a_queue_declines_is_told_in_mqtt_5() {
        let mut incoming = waiting(Version::V5);
        let mut out = Transmit::default();
        incoming.on_confirmed(Ticket(1), &mut out);
        incoming.on_refused(Ticket(2), Box::new(full()), &mut out).unwrap();
        incoming.on_refused(Ticket(3), Box::new(full()), &mut out).unwrap();
        let expected = b"\x40\x02\0\x01\x40\x03\0\x02\x97\x40\x03\0\x03\x87\x50\x03\0\x04\x97";
        assert_eq!(out.bytes, expected);
        assert_eq!(incoming.unacknowledged_count(), 0, "[MQTT-4.3.3-9]");
    }

    #[test]
    fn a_publish_that_a_queue_declines_ends_a_3_1_1_connection() {
        let mut incoming = waiting(Version::V311);
        let mut out = Transmit::default();
        let end = incoming.on_refused(Ticket(2), Box::new(full()), &mut out);
        assert!(matches!(end, Err(End::Refused(_))));
    }
}
