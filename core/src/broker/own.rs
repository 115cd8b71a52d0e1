//! What the broker tells of itself, to MQTT clients that subscribe to `$SYS/...`.
//!
//! Those subscriptions are bindings of an exchange of their own ([`OWN_EXCHANGE`]), which is there
//! while there are any: no other filter or binding key meets these topics, and nothing is counted
//! up while nobody listens. Nothing is kept: who subscribes gets the values of the moment, as if
//! they had been retained.

use std::sync::{Arc, PoisonError};

use super::Broker;
use crate::address::{Pattern, Segment};
use crate::routing::{Addressed, OWN_EXCHANGE, Route};
use crate::vhost::Vhost;
use crate::{Body, Draft, Instant, Lost, Message, Protocol, PublisherId, neutral_codec};

/// Knows what there is to tell.
pub trait OwnTopics: std::fmt::Debug + Send + Sync {
    /// Routing keys, in words from `$SYS` on, and what stands there now. At most a few dozen; asked
    /// for when somebody subscribes, and once for each [`Broker::tell_listeners`].
    fn values(&self) -> Vec<(&'static str, String)>;
}

/// What MQTT clients have left with the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTotals {
    /// Sessions that wait for their client.
    pub away: u64,
    /// Subscriptions, those of waiting sessions included.
    pub subscriptions: u64,
}

/// Whether a filter is about the broker's own topics.
pub(crate) fn is_own(pattern: &Pattern) -> bool {
    matches!(pattern.segments().first(), Some(Segment::Literal(word)) if &**word == "$SYS")
}

impl Broker {
    /// Says who knows what there is to tell. Without one, and after the first, this does nothing.
    pub fn set_own_topics(&self, topics: Arc<dyn OwnTopics>) {
        let was_set = self.own_topics.set(topics).is_err();
        debug_assert!(!was_set, "one part of a gateway knows");
    }

    /// Tells those who listen what there is to tell now.
    pub fn tell_listeners(&self, now: Instant) {
        let listening: Vec<Arc<Vhost>> = self
            .all_vhosts()
            .into_iter()
            .filter(|vhost| vhost.routing().exchanges.contains_key(OWN_EXCHANGE))
            .collect();
        if listening.is_empty() {
            return;
        }
        let messages = self.own_messages();
        for vhost in listening {
            for message in &messages {
                self.tell(&vhost, message, now);
            }
        }
    }

    /// What a new subscriber finds.
    pub(crate) fn own_matching(&self, pattern: &Pattern) -> Vec<Message> {
        let mut messages = self.own_messages();
        messages.retain(|message| pattern.matches(message.routing_key()));
        messages
    }

    fn own_messages(&self) -> Vec<Message> {
        let Some(topics) = self.own_topics.get() else { return Vec::new() };
        let mut scratch = Vec::new();
        let message = |(key, value): (&'static str, String)| {
            Message::new(draft(key, value.as_bytes()), PublisherId::default(), &mut scratch)
        };
        topics.values().into_iter().map(message).collect()
    }

    /// Sends one message to all who subscribed to it, each as their subscription wants it.
    fn tell(&self, vhost: &Vhost, message: &Message, now: Instant) {
        let draft = draft(message.routing_key(), &[]);
        let route = Route::resolve_own(&vhost.routing(), &Addressed::of(&draft, &[]));
        let mut effects = self.effects_at(now);
        for queue in &route.queues {
            // Nobody comes back for what was true then.
            if let Some(mut state) = queue.lock().filter(|state| state.consumer_count() > 0) {
                state.push(queue, message, None, false, &mut effects);
                state.dispatch(queue, &mut effects);
            }
        }
        for queue in &route.queues_at_qos_0 {
            if let Some(mut state) = queue.lock() {
                state.push_express(message, false, &mut effects);
                state.dispatch(queue, &mut effects);
            }
        }
        let (mut encoded, mut packet) = (None, Vec::new());
        for subscriber in &route.subscribers {
            if encoded != Some(subscriber.variant) {
                encoded = Some(subscriber.variant);
                packet.clear();
                let lost = subscriber.encoder.encode(subscriber.variant, message, &mut packet);
                debug_assert!(lost == Lost::NONE, "text under a topic");
            }
            let counts = effects.counters.of(Protocol::Mqtt);
            if subscriber.outbox.push_packets(&packet) {
                counts.delivered_no_ack += 1;
            } else {
                counts.dropped += 1;
            }
            effects.touch(&subscriber.outbox);
        }
        self.finish(&mut effects);
    }

    pub(super) fn all_vhosts(&self) -> Vec<Arc<Vhost>> {
        let vhosts = self.vhosts.read().unwrap_or_else(PoisonError::into_inner);
        vhosts.values().cloned().collect()
    }

    /// Counts what MQTT clients have left here; takes a moment for each of them.
    #[must_use]
    pub fn client_totals(&self) -> ClientTotals {
        let mut totals = ClientTotals::default();
        for vhost in self.all_vhosts() {
            vhost.clients().add_to(&mut totals);
        }
        totals
    }
}

/// Live messages keep the retain flag they would have had as retained ones.
fn draft<'a>(key: &'a str, body: &'a [u8]) -> Draft<'a> {
    Draft {
        exchange: OWN_EXCHANGE,
        routing_key: key,
        codec: neutral_codec(Protocol::Mqtt),
        properties: &[],
        body: Body::Borrowed(body),
        persistent: false,
        mandatory: false,
        expires_at: None,
        priority: 0,
        retain: true,
    }
}
