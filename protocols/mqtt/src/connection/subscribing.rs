//! SUBSCRIBE to SUBACK, UNSUBSCRIBE to UNSUBACK.
//!
//! A filter granted QoS 0 whose packets depend on nothing per client is fire-and-forget: the core
//! encodes once for all such subscribers. Every other one is served through the session's queue.
//! QoS 2 is granted as 1.

use std::collections::BTreeSet;

use trivium_core::address::Pattern;
use trivium_core::control::{Answer, Request, Response, Subscription};
use trivium_core::{Batch, ConsumerId, Lost, Message, Protocol, Refusal, Transmit};

use super::End;
use crate::ReasonCode;
use crate::address::{is_filter, is_queue, is_shared};
use crate::encoder::{ENCODER, Envelope, variant};
use crate::fault::Fault;
use crate::packet::connect::Connect;
use crate::packet::reply::{write_suback, write_unsuback};
use crate::packet::subscribe::{Requested, RetainHandling, Subscribe, Unsubscribe};
use crate::subscription::{Filter, Matched, Subscriptions};
use crate::version::Version;

/// The highest QoS that is granted.
const GRANTED_QOS_MAX: u8 = 1;

/// A client's subscriptions, and the request about them that is under way.
#[derive(Debug)]
pub(super) struct Subscribing {
    version: Version,
    /// The client's Maximum Packet Size, if it set one.
    packet_bytes_max: Option<u32>,
    subscriptions_max: usize,
    subscriptions: Subscriptions,
    pending: Option<Pending>,
}

#[derive(Debug)]
enum Pending {
    Subscribe {
        packet_id: u16,
        /// One a filter asked for.
        codes: Vec<ReasonCode>,
        /// Those the broker was asked for.
        asked: Vec<Asked>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
        codes: Vec<ReasonCode>,
    },
}

#[derive(Debug)]
struct Asked {
    /// Its place in the SUBSCRIBE.
    index: usize,
    text: String,
    filter: Filter,
    wants_retained: bool,
}

impl Subscribing {
    pub(super) fn new(connect: &Connect, subscriptions_max: usize) -> Self {
        Self {
            version: connect.version,
            packet_bytes_max: connect.settings.packet_bytes_max,
            subscriptions_max,
            subscriptions: Subscriptions::default(),
            pending: None,
        }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether a SUBACK is owed: what the new filters match must not precede it.
    pub(super) const fn is_subscribing(&self) -> bool {
        matches!(self.pending, Some(Pending::Subscribe { .. }))
    }

    pub(super) fn matching(&mut self, key: &str, is_own: bool) -> Option<&Matched> {
        self.subscriptions.matching(key, is_own)
    }

    pub(super) fn on_subscribe(
        &mut self,
        subscribe: Subscribe,
        out: &mut Transmit,
    ) -> Result<Option<Request>, End> {
        let Subscribe { packet_id, id, filters } = subscribe;
        let mut codes = Vec::with_capacity(filters.len());
        let mut asked = Vec::with_capacity(filters.len());
        // As if each filter had come in a packet of its own [MQTT-3.8.4-5].
        let mut added = BTreeSet::new();
        for (index, requested) in filters.into_iter().enumerate() {
            let is_new = !self.subscriptions.contains(&requested.filter)
                && !added.contains(&requested.filter);
            let count = self.subscriptions.len() + added.len();
            let code = if is_new && count >= self.subscriptions_max {
                Err(ReasonCode::QUOTA_EXCEEDED)
            } else {
                grant(&requested)
            };
            if let Ok(qos) = code {
                added.extend(is_new.then(|| requested.filter.clone()));
                asked.push(self.asked(index, requested, qos, id, is_new));
            }
            codes.push(code.map_or_else(|code| code, ReasonCode));
        }
        if asked.is_empty() {
            self.write_suback(packet_id, &codes, out)?;
            return Ok(None);
        }
        let subscriptions = asked.iter().map(|asked| self.subscription(asked)).collect();
        self.pending = Some(Pending::Subscribe { packet_id, codes, asked });
        Ok(Some(Request::Subscribe(subscriptions)))
    }

    fn asked(
        &self,
        index: usize,
        requested: Requested,
        qos: u8,
        id: Option<u32>,
        is_new: bool,
    ) -> Asked {
        Asked {
            index,
            filter: Filter {
                pattern: Pattern::from_filter(&requested.filter),
                qos,
                id,
                no_local: requested.no_local,
                retain_as_published: requested.retain_as_published,
                is_fire_and_forget: qos == 0 && id.is_none() && self.packet_bytes_max.is_none(),
            },
            text: requested.filter,
            wants_retained: match requested.retain_handling {
                RetainHandling::Always => true,
                RetainHandling::WhenNew => is_new,
                RetainHandling::Never => false,
            },
        }
    }

    fn subscription(&self, asked: &Asked) -> Subscription {
        let filter = &asked.filter;
        Subscription {
            pattern: filter.pattern.clone(),
            fire_and_forget: filter
                .is_fire_and_forget
                .then(|| (&ENCODER as _, variant(self.version, filter.retain_as_published))),
            no_local: filter.no_local,
            retained: asked.wants_retained,
        }
    }

    pub(super) fn on_unsubscribe(
        &mut self,
        unsubscribe: Unsubscribe,
        out: &mut Transmit,
    ) -> Result<Option<Request>, End> {
        let Unsubscribe { packet_id, filters } = unsubscribe;
        // As if each filter had come in a packet of its own [MQTT-3.10.4-6].
        let mut removed = BTreeSet::new();
        let mut codes = Vec::with_capacity(filters.len());
        for filter in &filters {
            codes.push(if !is_filter(filter) {
                ReasonCode::TOPIC_FILTER_INVALID
            } else if self.subscriptions.contains(filter) && removed.insert(filter) {
                ReasonCode::SUCCESS
            } else {
                ReasonCode::NO_SUBSCRIPTION_EXISTED
            });
        }
        let patterns: Vec<_> =
            removed.into_iter().map(|filter| Pattern::from_filter(filter)).collect();
        if patterns.is_empty() {
            self.write_unsuback(packet_id, &codes, out)?;
            return Ok(None);
        }
        self.pending = Some(Pending::Unsubscribe { packet_id, filters, codes });
        Ok(Some(Request::Unsubscribe(patterns)))
    }

    /// The broker answered. Returns the consumer to be started, its SUBACK being written.
    pub(super) fn on_answer(
        &mut self,
        answer: Answer,
        batch: &Batch<'_>,
        out: &mut Transmit,
    ) -> Result<Option<ConsumerId>, End> {
        match (self.pending.take(), answer) {
            (_, Err(Refusal::TakenOver)) => Err(Refusal::TakenOver.into()),
            (
                Some(Pending::Subscribe { packet_id, codes, asked }),
                Ok(Response::Subscribed { consumer, retained }),
            ) => {
                self.write_suback(packet_id, &codes, out)?;
                self.on_subscribed(asked, &retained, batch, out);
                Ok(consumer)
            }
            (Some(Pending::Subscribe { packet_id, mut codes, asked }), Err(refusal)) => {
                for asked in asked {
                    codes[asked.index] = ReasonCode::of_answer(&refusal);
                }
                self.write_suback(packet_id, &codes, out)?;
                Ok(None)
            }
            (
                Some(Pending::Unsubscribe { packet_id, filters, codes }),
                Ok(Response::Unsubscribed(_)),
            ) => {
                for filter in &filters {
                    self.subscriptions.remove(filter);
                }
                self.write_unsuback(packet_id, &codes, out)?;
                Ok(None)
            }
            (Some(Pending::Unsubscribe { packet_id, mut codes, .. }), Err(refusal)) => {
                codes.fill(ReasonCode::of_answer(&refusal));
                self.write_unsuback(packet_id, &codes, out)?;
                Ok(None)
            }
            _ => Err(Refusal::Internal.into()),
        }
    }

    /// `retained` has one list for each fire-and-forget filter that wanted them.
    fn on_subscribed(
        &mut self,
        asked: Vec<Asked>,
        retained: &[Vec<Message>],
        batch: &Batch<'_>,
        out: &mut Transmit,
    ) {
        let mut retained = retained.iter();
        for asked in asked {
            if asked.filter.is_fire_and_forget && asked.wants_retained {
                for message in retained.next().into_iter().flatten() {
                    self.write_retained(message, batch, out);
                }
            }
            self.subscriptions.insert(asked.text, asked.filter);
        }
    }

    fn write_retained(&self, message: &Message, batch: &Batch<'_>, out: &mut Transmit) {
        let envelope = Envelope {
            version: self.version,
            qos: 0,
            retain: true,
            packet_id: 0,
            subscription_ids: &[],
        };
        let mut lost = Lost::NONE;
        if envelope.write(message, &mut out.bytes, &mut lost) {
            out.end_frame();
        }
        batch.note_lost(message, Protocol::Mqtt, lost);
    }

    fn write_suback(
        &self,
        packet_id: u16,
        codes: &[ReasonCode],
        out: &mut Transmit,
    ) -> Result<(), End> {
        let start = out.bytes.len();
        write_suback(packet_id, codes, self.version, &mut out.bytes);
        self.end_reply(start, out)
    }

    fn write_unsuback(
        &self,
        packet_id: u16,
        codes: &[ReasonCode],
        out: &mut Transmit,
    ) -> Result<(), End> {
        let start = out.bytes.len();
        write_unsuback(packet_id, codes, self.version, &mut out.bytes);
        self.end_reply(start, out)
    }

    /// A client that asks for more codes than it can take a packet of is told so [MQTT-3.1.2-24].
    fn end_reply(&self, start: usize, out: &mut Transmit) -> Result<(), End> {
        if self.packet_bytes_max.is_some_and(|limit| out.bytes.len() - start > limit as usize) {
            out.bytes.truncate(start);
            let reason = "an acknowledgement above the client's Maximum Packet Size";
            return Err(Fault::new(ReasonCode::PACKET_TOO_LARGE, reason).into());
        }
        out.end_frame();
        Ok(())
    }
}

/// The QoS granted, or why not.
fn grant(requested: &Requested) -> Result<u8, ReasonCode> {
    if !is_filter(&requested.filter) {
        return Err(ReasonCode::TOPIC_FILTER_INVALID);
    }
    if is_shared(&requested.filter) {
        return Err(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
    }
    if is_queue(&requested.filter) {
        return Err(ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR);
    }
    Ok(requested.qos.min(GRANTED_QOS_MAX))
}
