//! Dead letters: messages that nobody accepted, published anew to the exchange that their queue
//! names, with their history in `x-death` (RabbitMQ's `rabbit_dead_letter`).
//!
//! A worklist, never recursion: a dead letter may push another message out of a full queue, and so
//! on. What exceeds a slice waits for the tick. For a persistent one that goes to a durable queue,
//! its publish and the settlement of where it died are one atomic append; otherwise it is pushed
//! first and settled then, so that a crash repeats it rather than loses it.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::Broker;
use crate::log::{Position, Publish, Settled};
use crate::properties::encode_neutral;
use crate::queue::{Death, Effects, Reason, Room};
use crate::routing::{Addressed, Route};
use crate::{
    Body, Draft, Message, Properties, PropertyCodec, Protocol, Table, Value, neutral_codec,
};

/// Dead letters published in one go.
const SLICE: usize = 1024;

impl Broker {
    /// Publishes the dead of `effects`, and those that this causes.
    pub(super) fn dead_letter(&self, effects: &mut Effects) {
        let mut list = VecDeque::from(std::mem::take(&mut effects.deaths));
        let mut waiting = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.is_empty() {
            // Behind those that wait: order holds.
            waiting.append(&mut list);
            return;
        }
        drop(waiting);
        for _ in 0..SLICE {
            let Some(death) = list.pop_front() else { return };
            self.publish_dead(&death, effects);
            list.extend(effects.deaths.drain(..));
        }
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner).append(&mut list);
    }

    /// Publishes up to `budget` dead letters that waited. Returns what is left of it.
    pub(super) fn dead_letter_waiting(&self, effects: &mut Effects, budget: usize) -> usize {
        for left in (0..budget).rev() {
            let next = self.deaths.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(death) = next else { return left + 1 };
            self.publish_dead(&death, effects);
            let mut waiting = self.deaths.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.extend(effects.deaths.drain(..));
        }
        0
    }

    fn publish_dead(&self, death: &Death, effects: &mut Effects) {
        let source = death.queue.id;
        let mut settled = death.position.map(|first| Settled { queue: source, first, count: 1 });
        if let Some((message, route)) = self.address_dead(death, effects) {
            let logged = message.is_persistent() && !route.logged.is_empty();
            let mut position = None;
            if logged {
                let (message, queues, received) = (&message, &*route.logged, None);
                let publish = Publish { message, queues, received };
                // What the second log has is settled there, afterwards.
                let with = settled.take_if(|settled| !settled.first.is_spilled());
                position = Some(self.log.append_atomic(&[publish], with.as_slice()));
            }
            self.push_dead(&message, &route, position, effects);
        }
        if let Some(Settled { queue, first, count }) = settled {
            effects.settle(queue, first, count);
        }
    }

    fn push_dead(
        &self,
        message: &Message,
        route: &Route,
        position: Option<Position>,
        effects: &mut Effects,
    ) {
        let at_qos_0 = route.queues_at_qos_0.iter().map(|queue| (queue, true));
        for (queue, at_qos_0) in route.queues.iter().map(|queue| (queue, false)).chain(at_qos_0) {
            let position = position.filter(|_| queue.is_logged());
            let mut taken = false;
            if let Some(mut state) = queue.lock() {
                taken = if queue.is_session && (at_qos_0 || message.qos() == 0) {
                    state.push_express(message, false, effects)
                } else {
                    state.reserve(queue, message, effects) == Room::Reserved && {
                        state.unreserve(message);
                        state.push(queue, message, position, false, effects)
                    }
                };
                state.dispatch(queue, effects);
            }
            let is_kept = taken && (!queue.is_session || message.qos() > 0);
            if let Some(position) = position.filter(|_| !is_kept) {
                effects.settle(queue.id, position, 1);
            }
        }
        let mut packets = Vec::new();
        for subscriber in &route.subscribers {
            packets.clear();
            let lost = subscriber.encoder.encode(subscriber.variant, message, &mut packets);
            if !lost.is_nothing() {
                self.losses.add(message.protocol(), Protocol::Mqtt, lost, 1);
            }
            let counts = effects.counters.of(Protocol::Mqtt);
            if subscriber.outbox.push_packets(&packets) {
                counts.delivered_no_ack += 1;
            } else {
                counts.dropped += 1;
            }
            effects.touch(&subscriber.outbox);
        }
    }

    /// The dead letter, and where it goes; `None` when there is no such exchange.
    fn address_dead(&self, death: &Death, effects: &Effects) -> Option<(Message, Route)> {
        let vhost = self.vhost(&death.queue.vhost)?;
        let exchange = death.args.dead_letter_exchange.as_deref()?;
        let keys = keys(&death.message);
        let key = death.args.dead_letter_routing_key.as_deref();
        let to: Vec<&str> =
            key.map_or_else(|| keys.iter().map(String::as_str).collect(), |k| vec![k]);
        let (codec, wire, history) = rewritten(death, &keys, self.unix_seconds(effects.now));
        let draft = Draft {
            exchange,
            routing_key: to[0],
            codec,
            properties: &wire,
            body: Body::Borrowed(death.message.body()),
            persistent: death.message.is_persistent(),
            mandatory: false,
            expires_at: None,
            priority: death.message.priority(),
            retain: false,
        };
        let mut route =
            Route::resolve(&vhost.routing(), &Addressed::of(&draft, &to[1..]), 0).ok()?;
        if death.reason != Reason::Rejected {
            route.retain_queues(|queue| !is_cycle(&queue.name, &history));
        }
        let message = Message::new(draft, death.message.publisher(), &mut Vec::new());
        Some((message, route))
    }
}

/// The keys it was published with: the routing key, and those in `CC`.
fn keys(message: &Message) -> Vec<String> {
    let copies = match message.properties().headers.get("CC") {
        Some(Value::Array(copies)) => copies.as_slice(),
        _ => &[],
    };
    let copies = copies.iter().filter_map(Value::as_str).map(str::to_owned);
    std::iter::once(message.routing_key().to_owned()).chain(copies).collect()
}

fn deaths(headers: &Table) -> &[Value] {
    match headers.get("x-death") {
        Some(Value::Array(deaths)) => deaths,
        _ => &[],
    }
}

fn says(death: &Value, name: &str, text: &str) -> bool {
    match death {
        Value::Table(table) => table.get(name).and_then(Value::as_str) == Some(text),
        _ => false,
    }
}

/// Whether going to `queue` closes a circle in which nobody ever rejected the message: it would
/// turn for ever.
fn is_cycle(queue: &str, deaths: &[Value]) -> bool {
    let last = deaths.iter().position(|death| says(death, "queue", queue));
    last.is_some_and(|last| !deaths[..=last].iter().any(|death| says(death, "reason", "rejected")))
}

/// The properties of the dead letter, their codec, and its history. What its publisher wrote stays
/// in the publisher's form where that can say all of it: another reading would take headers for
/// something else that only look like it.
fn rewritten(
    death: &Death,
    keys: &[String],
    time: u64,
) -> (&'static dyn PropertyCodec, Vec<u8>, Vec<Value>) {
    let message = &death.message;
    let expiration = message.properties().expiry_ms;
    let mut history = Vec::new();
    let mut edit = |headers: &mut Table| {
        note(headers, expiration, death, keys, time);
        history = deaths(headers).to_vec();
    };
    let (codec, before) = message.coded();
    let mut wire = Vec::new();
    if codec.rewrite(before, &mut edit, &mut wire) {
        return (codec, wire, history);
    }
    let mut properties = Properties { expiry_ms: None, ..message.properties().clone() };
    edit(&mut properties.headers);
    encode_neutral(&properties, &mut wire);
    (neutral_codec(message.protocol()), wire, history)
}

/// Writes this death into the headers.
fn note(headers: &mut Table, expiration: Option<u64>, death: &Death, keys: &[String], time: u64) {
    let (queue, reason) = (&*death.queue.name, death.reason.name());
    let exchange = death.message.exchange();
    let mut history = deaths(headers).to_vec();
    let known = history
        .iter()
        .position(|entry| says(entry, "queue", queue) && says(entry, "reason", reason));
    let entry = if let Some(at) = known {
        let mut entry = history.remove(at);
        if let Value::Table(table) = &mut entry {
            let count = table.get("count").and_then(Value::as_integer).unwrap_or(0);
            table.set("count", Value::Int(count.saturating_add(1), 8));
        }
        entry
    } else {
        first_entry(death, keys, expiration, time)
    };
    history.insert(0, entry);
    headers.set("x-death", Value::Array(history));
    for (name, value) in [("exchange", exchange), ("queue", queue), ("reason", reason)] {
        let first = format!("x-first-death-{name}");
        if headers.get(&first).is_none() {
            headers.set(&first, Value::text(value));
        }
        headers.set(&format!("x-last-death-{name}"), Value::text(value));
    }
}

/// The entry of a queue and reason that the history does not know.
fn first_entry(death: &Death, keys: &[String], expiration: Option<u64>, time: u64) -> Value {
    let keys = keys.iter().map(|key| Value::text(key.as_str())).collect();
    let mut entry = vec![
        ("count".to_owned(), Value::Int(1, 8)),
        ("reason".to_owned(), Value::text(death.reason.name())),
        ("queue".to_owned(), Value::text(&*death.queue.name)),
        ("time".to_owned(), Value::Timestamp(time)),
        ("exchange".to_owned(), Value::text(death.message.exchange())),
        ("routing-keys".to_owned(), Value::Array(keys)),
    ];
    let expiration = expiration.map(|millis| Value::text(millis.to_string()));
    entry.extend(expiration.map(|text| ("original-expiration".to_owned(), text)));
    Value::Table(Table(entry))
}
