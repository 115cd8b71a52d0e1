//! A client past its CONNACK: every packet and every event meets it here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use trivium_core::control::{Answer, Request, Response, Resumed, RetainedRest};
use trivium_core::{
    Batch, Confirm, Delivery, Event, Instant, Message, Refusal, SessionHandle, Transmit,
};

use super::End;
use super::incoming::{Incoming, reason_room};
use super::opening::Entered;
use super::outgoing::Outgoing;
use super::proving::Proving;
use super::subscribing::{Audience, Served, Subscribing};
use crate::fault::Fault;
use crate::packet::acknowledgement::Acknowledgement;
use crate::packet::auth::Auth;
use crate::packet::connect::Connect;
use crate::packet::disconnect::{self, Disconnect};
use crate::packet::publish::Publish;
use crate::packet::subscribe::{Subscribe, Unsubscribe};
use crate::packet::{Header, kind};
use crate::version::Version;
use crate::will::Will;
use crate::{Config, ReasonCode};

/// What an [`Opening`](super::opening::Opening) leaves behind.
pub(super) struct Parts {
    pub(super) entered: Entered,
    pub(super) subscribing: Subscribing,
    pub(super) resumed: Box<Resumed>,
    pub(super) keep_alive_s: u16,
}

/// A client that may publish and subscribe.
#[derive(Debug)]
pub(super) struct Open {
    version: Version,
    entered: Entered,
    /// One and a half keep-alives [MQTT-3.1.2-22]; zero for none.
    silence_max: Duration,
    heard_at: Instant,
    /// Seconds, as CONNECT asked.
    session_expiry: u32,
    session_expiry_max: u32,
    filters_per_packet_max: usize,
    will: Option<Will>,
    proving: Proving,
    /// How large a packet with a Reason String may be; `None` when none is wanted.
    reason_room: Option<usize>,
    incoming: Incoming,
    outgoing: Outgoing,
    subscribing: Subscribing,
    /// What the broker shall be asked; not a result, which would be moved for every packet.
    request: Option<Request>,
    /// Deliveries that came between a SUBSCRIBE and its SUBACK, at most `unsettled_max`.
    held: Vec<Delivery>,
    /// Whose retained messages are being fetched.
    fetching: Option<Audience>,
    /// Retained messages to be fetched after those.
    unfetched: VecDeque<(Audience, Box<RetainedRest>)>,
    /// It publishes again once nothing is short any more.
    awaits_calm: bool,
    /// The session's queue is gone. The next event says why if another connection took over.
    is_cancelled: bool,
}

impl Open {
    pub(super) fn new(connect: Connect, parts: Parts, config: &Arc<Config>, now: Instant) -> Self {
        let Parts { entered, subscribing, resumed, keep_alive_s } = parts;
        Self {
            version: connect.version,
            silence_max: Duration::from_millis(u64::from(keep_alive_s) * 1500),
            heard_at: now,
            session_expiry: connect.settings.session_expiry,
            session_expiry_max: config.session_expiry_max_s,
            filters_per_packet_max: config.filters_per_packet_max,
            incoming: Incoming::new(&connect, entered.link.user(), &resumed.received, config),
            outgoing: Outgoing::new(&connect, &resumed.labels, config),
            subscribing,
            proving: Proving::new(connect.authentication.is_some()),
            reason_room: reason_room(&connect),
            will: connect.will,
            request: None,
            held: Vec::new(),
            fetching: None,
            unfetched: VecDeque::new(),
            awaits_calm: false,
            is_cancelled: false,
            entered,
        }
    }

    pub(super) const fn version(&self) -> Version {
        self.version
    }

    pub(super) fn handle(&self) -> SessionHandle {
        self.entered.session.handle()
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.subscribing.is_waiting()
            || self.fetching.is_some()
            || self.proving.is_waiting()
            || self.awaits_calm
    }

    /// Whether a publish waits for the end of an alarm. Of a client that holds deliveries it is
    /// refused instead: their acknowledgements are behind it.
    #[cold]
    pub(super) fn waits_for_calm(&mut self) -> bool {
        self.awaits_calm = !self.outgoing.holds_deliveries();
        self.awaits_calm
    }

    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// When silence has lasted too long; not while we do not read.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.is_cancelled {
            return Some(Instant::START);
        }
        let counts = !self.silence_max.is_zero() && !self.is_waiting();
        counts.then(|| self.heard_at.after(self.silence_max))
    }

    /// What its deadline means.
    pub(super) const fn fault_at_deadline(&self) -> Fault {
        if self.is_cancelled {
            return Fault::new(
                ReasonCode::ADMINISTRATIVE_ACTION,
                "the session's queue was deleted",
            );
        }
        Fault::new(ReasonCode::KEEP_ALIVE_TIMEOUT, "keep-alive timeout")
    }

    pub(super) fn publish_will(&mut self, batch: &mut Batch<'_>) {
        if let Some(will) = self.will.take() {
            will.publish(&mut self.entered.session, batch);
        }
    }

    /// Says goodbye, and why if the client wants to know and can take so much.
    pub(super) fn write_disconnect(&self, code: ReasonCode, reason: &str, out: &mut Transmit) {
        let start = out.bytes.len();
        disconnect::write(code, self.reason_room.map(|_| reason), &mut out.bytes);
        if self.reason_room.is_some_and(|room| out.bytes.len() - start > room) {
            out.bytes.truncate(start);
            disconnect::write(code, None, &mut out.bytes);
        }
        out.end_frame();
    }

    /// Every packet but the first.
    pub(super) fn on_packet(
        &mut self,
        header: Header,
        packet: &[u8],
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        header.check(self.version)?;
        let body = header.body(packet);
        match header.kind() {
            kind::PUBLISH => {
                let publish = Publish::decode(header.first(), body, self.version)?;
                self.incoming.on_publish(&publish, &mut self.entered.session, batch, out)?;
            }
            kind @ kind::PUBACK..=kind::PUBCOMP => {
                let acknowledgement = Acknowledgement::decode(kind, body, self.version)?;
                self.on_acknowledgement(kind, acknowledgement, batch, out)?;
            }
            kind::SUBSCRIBE => {
                let filters_max = self.filters_per_packet_max;
                let subscribe = Subscribe::decode(header, packet, self.version, filters_max)?;
                self.request = self.subscribing.on_subscribe(subscribe, out)?;
            }
            kind::UNSUBSCRIBE => {
                let filters_max = self.filters_per_packet_max;
                let unsubscribe = Unsubscribe::decode(header, packet, self.version, filters_max)?;
                self.request = self.subscribing.on_unsubscribe(unsubscribe, out)?;
            }
            kind::PINGREQ => {
                if !body.is_empty() {
                    return Err(Fault::malformed("PINGREQ with a body").into());
                }
                out.bytes.extend_from_slice(&[0xD0, 0]);
                out.end_frame();
            }
            kind::DISCONNECT => return Err(self.on_disconnect(body)),
            kind::AUTH if self.version.is_5() => {
                self.request = Some(self.proving.on_auth(Auth::decode(body)?)?);
            }
            kind::AUTH => return Err(Fault::malformed("packet type 15").into()),
            kind::CONNECT => return Err(Fault::protocol("a second CONNECT").into()),
            _ => return Err(Fault::protocol("a packet that only servers send").into()),
        }
        Ok(())
    }

    /// What the broker shall be asked.
    pub(super) fn take_request(&mut self) -> Option<(Option<SessionHandle>, Request)> {
        let request = self.request.take()?;
        Some((Some(self.handle()), request))
    }

    fn on_acknowledgement(
        &mut self,
        kind: u8,
        acknowledgement: Acknowledgement,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        let session = &mut self.entered.session;
        match kind {
            kind::PUBACK => self.outgoing.on_puback(acknowledgement, session, batch),
            kind::PUBREC => self.outgoing.on_pubrec(acknowledgement, session, batch, out),
            kind::PUBREL => self.incoming.on_pubrel(acknowledgement, session, batch, out)?,
            _ => self.outgoing.on_pubcomp(acknowledgement, session, batch),
        }
        Ok(())
    }

    /// The will is dropped on a normal goodbye only [MQTT-3.14.4-3].
    fn on_disconnect(&mut self, body: &[u8]) -> End {
        let disconnect = match Disconnect::decode(body, self.version) {
            Ok(disconnect) => disconnect,
            Err(fault) => return fault.into(),
        };
        if self.session_expiry == 0 && disconnect.session_expiry.is_some_and(|expiry| expiry > 0) {
            return Fault::protocol("session expiry set by DISCONNECT after none in CONNECT")
                .into();
        }
        if let Some(seconds) = disconnect.session_expiry {
            let seconds = seconds.min(self.session_expiry_max);
            self.entered.session.expire_after(seconds);
        }
        if disconnect.code == ReasonCode::SUCCESS {
            self.will = None;
        }
        End::Goodbye(disconnect.code)
    }

    pub(super) fn on_event(
        &mut self,
        event: Event,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        match event {
            Event::Delivery(delivery) if self.subscribing.is_subscribing() => {
                self.held.push(delivery);
            }
            Event::Delivery(delivery) => self.on_delivery(&delivery, batch, out),
            Event::Released { delivery, label, .. } => {
                let session = &mut self.entered.session;
                self.outgoing.on_released(delivery, label, session, batch, out);
            }
            Event::Confirmed { through, .. } => {
                self.incoming.on_confirmed(through, out);
                self.outgoing.on_confirmed(through, out);
            }
            Event::Refused { ticket, because, .. } => {
                if let Some(packet_id) = self.incoming.on_refused(ticket, because, out)? {
                    let session = &mut self.entered.session;
                    batch.release_once(session, packet_id, Confirm::Unwanted);
                }
                self.outgoing.on_confirmed(ticket, out);
            }
            Event::Cancelled { .. } => self.is_cancelled = true,
            Event::TakenOver => return Err(Refusal::TakenOver.into()),
            Event::SessionEnded { because, .. } | Event::Closed { because } => {
                return Err(End::Refused(because));
            }
            // Nothing is published as mandatory, and the end of an alarm answers a request.
            Event::Returned { .. } | Event::Calm => {}
        }
        Ok(())
    }

    fn on_delivery(&mut self, delivery: &Delivery, batch: &mut Batch<'_>, out: &mut Transmit) {
        let is_own = delivery.message.publisher() == self.entered.session.publisher();
        let matched = self.subscribing.matching(delivery, is_own);
        self.outgoing.on_delivery(delivery, matched, &mut self.entered.session, batch, out);
    }

    /// The broker answered a SUBSCRIBE or an UNSUBSCRIBE, or nothing is short any more.
    pub(super) fn on_answer(
        &mut self,
        answer: Answer,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        self.heard_at = batch.now();
        if std::mem::take(&mut self.awaits_calm) {
            return Ok(());
        }
        if self.proving.is_waiting() {
            return self.proving.on_answer(answer, self.entered.link.user(), out);
        }
        if let Some(audience) = self.fetching.take() {
            return self.on_more_retained(audience, answer, batch, out);
        }
        let served = self.subscribing.on_answer(answer, out)?;
        for delivery in std::mem::take(&mut self.held) {
            self.on_delivery(&delivery, batch, out);
        }
        for Served { consumer, audience, retained, rest } in served {
            self.send_retained(audience, &retained, batch, out);
            self.unfetched.extend(rest.map(|rest| (audience, rest)));
            if let Some(consumer) = consumer {
                batch.start(&mut self.entered.session, consumer);
            }
        }
        self.fetch_retained();
        Ok(())
    }

    /// Another slice of the retained messages of a new subscription.
    fn on_more_retained(
        &mut self,
        audience: Audience,
        answer: Answer,
        batch: &Batch<'_>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        let Response::Retained { messages, rest } = answer? else {
            return Err(Refusal::Internal.into());
        };
        self.send_retained(audience, &messages, batch, out);
        if let Some(rest) = rest {
            self.unfetched.push_front((audience, rest));
        }
        self.fetch_retained();
        Ok(())
    }

    /// Asks for the next slice of retained messages, if there is one.
    fn fetch_retained(&mut self) {
        if let Some((audience, rest)) = self.unfetched.pop_front() {
            self.fetching = Some(audience);
            self.request = Some(Request::Retained(rest));
        }
    }

    fn send_retained(
        &mut self,
        audience: Audience,
        messages: &[Message],
        batch: &Batch<'_>,
        out: &mut Transmit,
    ) {
        for message in messages {
            let is_own = message.publisher() == self.entered.session.publisher();
            let matched = self.subscribing.matching_retained(message, audience, is_own);
            if let Some(matched) = matched {
                self.outgoing.on_retained(message, matched, batch, out);
            }
        }
    }
}
