//! SUBSCRIBE to SUBACK, UNSUBSCRIBE to UNSUBACK.
//!
//! A filter granted QoS 0 whose packets depend on nothing per client is fire-and-forget: the core
//! encodes once for all such subscribers. Every other one is served through the session's queue.
//! `$queue/<name>` and `$share/<group>/<filter>` have a consumer of their own each, and are granted
//! QoS 1 at most.

use std::collections::BTreeSet;

use trivium_core::address::Coding;
use trivium_core::control::{
    Answer, Granted, Request, Response, RetainedRest, Source, Subscription,
};
use trivium_core::{ConsumerId, Delivery, Message, Refusal, Transmit};

use super::End;
use super::incoming::reason_room;
use crate::Config;
use crate::ReasonCode;
use crate::address::source_of_filter;
use crate::encoder::{ENCODER, variant};
use crate::fault::Fault;
use crate::packet::connect::Connect;
use crate::packet::reply::{write_suback, write_unsuback};
use crate::packet::subscribe::{Requested, RetainHandling, Subscribe, Unsubscribe};
use crate::subscription::{Filter, Matched, Subscriptions};
use crate::version::Version;

/// The highest QoS that is granted to what others take from, too: a message of theirs that is under
/// way when the connection is lost goes to another.
const SHARED_QOS_MAX: u8 = 1;

/// A client's subscriptions, and the request about them that is under way.
#[derive(Debug)]
pub(super) struct Subscribing {
    version: Version,
    /// The client's Maximum Packet Size, if it set one.
    packet_bytes_max: Option<u32>,
    /// How large a packet with a Reason String may be; `None` when none is wanted.
    reason_room: Option<usize>,
    subscriptions_max: usize,
    coding: Coding,
    subscriptions: Subscriptions,
    pending: Option<Pending>,
}

#[derive(Debug)]
enum Pending {
    Subscribe {
        packet_id: u16,
        /// One a filter asked for.
        codes: Vec<ReasonCode>,
        /// Why the first that failed did.
        reason: Option<String>,
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

/// How a filter is served, once it is granted.
#[derive(Debug)]
pub(super) struct Served {
    /// To be started.
    pub(super) consumer: Option<ConsumerId>,
    pub(super) audience: Audience,
    /// Retained messages that the adapter sends.
    pub(super) retained: Vec<Message>,
    /// More of them.
    pub(super) rest: Option<Box<RetainedRest>>,
}

/// The subscription that a retained message is sent for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience {
    no_local: bool,
    /// Its packets depend on what else the client is subscribed to.
    is_queued: bool,
}

impl Subscribing {
    pub(super) fn new(connect: &Connect, config: &Config) -> Self {
        Self {
            version: connect.version,
            packet_bytes_max: connect.settings.packet_bytes_max,
            reason_room: reason_room(connect),
            subscriptions_max: config.subscriptions_max,
            coding: config.coding,
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

    /// The request for the subscriptions of a resumed session, as this connection needs them.
    pub(super) fn resume(&mut self, subscriptions: Vec<Subscription>) -> Request {
        let asked: Vec<Asked> = subscriptions
            .into_iter()
            .enumerate()
            .map(|(index, kept)| {
                let requested = Requested {
                    filter: kept.name,
                    qos: kept.qos,
                    no_local: kept.no_local,
                    retain_as_published: kept.retain_as_published,
                    retain_handling: RetainHandling::Never,
                };
                self.asked(index, requested, kept.source, kept.qos, kept.id, false)
            })
            .collect();
        let subscriptions = asked.iter().map(|asked| self.subscription(asked)).collect();
        let codes = vec![ReasonCode::SUCCESS; asked.len()];
        self.pending = Some(Pending::Subscribe { packet_id: 0, codes, reason: None, asked });
        Request::Subscribe(subscriptions)
    }

    /// The broker answered that. What it refuses now, such as a queue that was deleted, is no
    /// subscription any more. Returns the consumers to be started.
    pub(super) fn on_resumed(&mut self, answers: Vec<Result<Granted, Refusal>>) -> Vec<ConsumerId> {
        let Some(Pending::Subscribe { asked, .. }) = self.pending.take() else { return Vec::new() };
        let mut consumers = Vec::new();
        for (asked, answer) in asked.into_iter().zip(answers) {
            let Ok(Granted { consumer, .. }) = answer else { continue };
            consumers.extend(consumer.filter(|consumer| !consumers.contains(consumer)));
            self.subscriptions.insert(asked.text, asked.filter, consumer);
        }
        consumers
    }

    /// What a delivery answers; `is_own` for what this client published.
    pub(super) fn matching(&mut self, delivery: &Delivery, is_own: bool) -> Option<&Matched> {
        if self.subscriptions.of_consumer(delivery.consumer).is_some() {
            return self.subscriptions.of_consumer(delivery.consumer);
        }
        self.subscriptions.matching(delivery.message.routing_key(), is_own)
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
        let mut reason = None;
        for (index, requested) in filters.into_iter().enumerate() {
            let is_new = !self.subscriptions.contains(&requested.filter)
                && !added.contains(&requested.filter);
            let count = self.subscriptions.len() + added.len();
            let grant = if is_new && count >= self.subscriptions_max {
                Err((ReasonCode::QUOTA_EXCEEDED, "too many subscriptions"))
            } else {
                grant(&requested, self.coding)
            };
            codes.push(match grant {
                Ok((source, qos)) => {
                    added.extend(is_new.then(|| requested.filter.clone()));
                    asked.push(self.asked(index, requested, source, qos, id, is_new));
                    ReasonCode(qos)
                }
                Err((code, why)) => {
                    reason.get_or_insert_with(|| why.to_owned());
                    code
                }
            });
        }
        if asked.is_empty() {
            self.write_suback(packet_id, &codes, reason.as_deref(), out)?;
            return Ok(None);
        }
        let subscriptions = asked.iter().map(|asked| self.subscription(asked)).collect();
        self.pending = Some(Pending::Subscribe { packet_id, codes, reason, asked });
        Ok(Some(Request::Subscribe(subscriptions)))
    }

    fn asked(
        &self,
        index: usize,
        requested: Requested,
        source: Source,
        qos: u8,
        id: Option<u32>,
        is_new: bool,
    ) -> Asked {
        let is_plain = matches!(source, Source::Filter(_));
        Asked {
            index,
            filter: Filter {
                is_fire_and_forget: is_plain
                    && qos == 0
                    && id.is_none()
                    && self.packet_bytes_max.is_none(),
                source,
                qos,
                id,
                no_local: requested.no_local,
                retain_as_published: requested.retain_as_published,
            },
            text: requested.filter,
            wants_retained: is_plain
                && match requested.retain_handling {
                    RetainHandling::Always => true,
                    RetainHandling::WhenNew => is_new,
                    RetainHandling::Never => false,
                },
        }
    }

    fn subscription(&self, asked: &Asked) -> Subscription {
        let filter = &asked.filter;
        Subscription {
            name: asked.text.clone(),
            id: filter.id,
            retain_as_published: filter.retain_as_published,
            source: filter.source.clone(),
            qos: filter.qos,
            fire_and_forget: filter.is_fire_and_forget.then(|| {
                (&ENCODER as _, variant(self.version, filter.retain_as_published, self.coding))
            }),
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
        let mut sources = Vec::new();
        let mut codes = Vec::with_capacity(filters.len());
        for filter in &filters {
            codes.push(match self.subscriptions.get(filter) {
                Some(known) if removed.insert(filter) => {
                    sources.push(known.source.clone());
                    ReasonCode::SUCCESS
                }
                None if source_of_filter(filter, self.coding).is_none() => {
                    ReasonCode::TOPIC_FILTER_INVALID
                }
                _ => ReasonCode::NO_SUBSCRIPTION_EXISTED,
            });
        }
        if sources.is_empty() {
            self.write_unsuback(packet_id, &codes, None, out)?;
            return Ok(None);
        }
        self.pending = Some(Pending::Unsubscribe { packet_id, filters, codes });
        Ok(Some(Request::Unsubscribe(sources)))
    }

    /// The broker answered. Returns how each filter granted is served, their SUBACK being written.
    pub(super) fn on_answer(
        &mut self,
        answer: Answer,
        out: &mut Transmit,
    ) -> Result<Vec<Served>, End> {
        match (self.pending.take(), answer) {
            (_, Err(Refusal::TakenOver)) => Err(Refusal::TakenOver.into()),
            (
                Some(Pending::Subscribe { packet_id, mut codes, mut reason, asked }),
                Ok(Response::Subscribed(answers)),
            ) => {
                let mut granted = Vec::with_capacity(answers.len());
                for (asked, answer) in asked.into_iter().zip(answers) {
                    match answer {
                        Ok(grant) => granted.push((asked, grant)),
                        Err(refusal) => {
                            codes[asked.index] = ReasonCode::of_answer(&refusal);
                            reason.get_or_insert_with(|| refusal.to_string());
                        }
                    }
                }
                self.write_suback(packet_id, &codes, reason.as_deref(), out)?;
                Ok(self.on_subscribed(granted))
            }
            (Some(Pending::Subscribe { packet_id, mut codes, asked, .. }), Err(refusal)) => {
                for asked in asked {
                    codes[asked.index] = ReasonCode::of_answer(&refusal);
                }
                self.write_suback(packet_id, &codes, Some(&refusal.to_string()), out)?;
                Ok(Vec::new())
            }
            (
                Some(Pending::Unsubscribe { packet_id, filters, codes }),
                Ok(Response::Unsubscribed(_)),
            ) => {
                for filter in &filters {
                    self.subscriptions.remove(filter);
                }
                self.write_unsuback(packet_id, &codes, None, out)?;
                Ok(Vec::new())
            }
            (Some(Pending::Unsubscribe { packet_id, mut codes, .. }), Err(refusal)) => {
                codes.fill(ReasonCode::of_answer(&refusal));
                self.write_unsuback(packet_id, &codes, Some(&refusal.to_string()), out)?;
                Ok(Vec::new())
            }
            _ => Err(Refusal::Internal.into()),
        }
    }

    fn on_subscribed(&mut self, granted: Vec<(Asked, Granted)>) -> Vec<Served> {
        let mut served = Vec::with_capacity(granted.len());
        for (asked, Granted { consumer, retained, rest }) in granted {
            let filter = &asked.filter;
            let (no_local, is_queued) = (filter.no_local, !filter.is_fire_and_forget);
            let audience = Audience { no_local, is_queued };
            served.push(Served { consumer, audience, retained, rest });
            self.subscriptions.insert(asked.text, asked.filter, consumer);
        }
        served
    }

    /// What a retained message answers that was asked for, `is_own` when this client published it;
    /// `None` for one that is not to be sent.
    pub(super) fn matching_retained(
        &mut self,
        message: &Message,
        audience: Audience,
        is_own: bool,
    ) -> Option<&Matched> {
        if audience.no_local && is_own {
            return None;
        }
        let matched =
            audience.is_queued.then(|| self.subscriptions.matching(message.routing_key(), is_own));
        // Replaced since, in the same packet: it was sent all the same [MQTT-3.8.4-5].
        Some(matched.flatten().unwrap_or(const { &Matched::NONE }))
    }

    fn write_suback(
        &self,
        packet_id: u16,
        codes: &[ReasonCode],
        reason: Option<&str>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        self.write_reply(reason, out, |reason, bytes| {
            write_suback(packet_id, codes, reason, self.version, bytes);
        })
    }

    fn write_unsuback(
        &self,
        packet_id: u16,
        codes: &[ReasonCode],
        reason: Option<&str>,
        out: &mut Transmit,
    ) -> Result<(), End> {
        self.write_reply(reason, out, |reason, bytes| {
            write_unsuback(packet_id, codes, reason, self.version, bytes);
        })
    }

    /// Writes a reply, with the reason if the client wants it and can take so much.
    fn write_reply(
        &self,
        reason: Option<&str>,
        out: &mut Transmit,
        write: impl Fn(Option<&str>, &mut Vec<u8>),
    ) -> Result<(), End> {
        let start = out.bytes.len();
        let reason = reason.filter(|_| self.reason_room.is_some());
        write(reason, &mut out.bytes);
        if reason.is_some() && self.reason_room.is_some_and(|room| out.bytes.len() - start > room) {
            out.bytes.truncate(start);
            write(None, &mut out.bytes);
        }
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

/// What the filter leads to and the QoS granted, or why not.
fn grant(
    requested: &Requested,
    coding: Coding,
) -> Result<(Source, u8), (ReasonCode, &'static str)> {
    let source = source_of_filter(&requested.filter, coding)
        .ok_or((ReasonCode::TOPIC_FILTER_INVALID, "the topic filter is not valid"))?;
    if matches!(source, Source::Queue(_)) && requested.qos == 0 {
        let reason = "whoever takes from a queue has to acknowledge: ask for QoS 1";
        return Err((ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR, reason));
    }
    let qos_max = if matches!(source, Source::Filter(_)) { 2 } else { SHARED_QOS_MAX };
    Ok((source, requested.qos.min(qos_max)))
}
