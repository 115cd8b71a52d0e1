//! The last value of an address, and who asks for it.

use std::task::{Context, Poll, Waker};

use trivium_core::address::Pattern;
use trivium_core::control::{Binding, Consume, Destination, Origin, Source, Subscription};
use trivium_core::{
    Answer, Broker, Protocol, Refusal, Reply, Request, Response, Table, Value, Variant,
};

use crate::peer::{Peer, Publish, to_queue};

/// A binding that asks for what is retained.
fn snapshot(source: &str, destination: Destination, key: &str, value: &str) -> Request {
    let (source, key) = (source.into(), key.into());
    let arguments = Table(vec![("x-retained".into(), Value::text(value))]);
    Request::Bind(Binding { source, destination, key, arguments })
}

/// The answer, and how often others had their turn before.
fn ask(
    broker: &Broker,
    peer: &Peer,
    request: Request,
    mut meanwhile: impl FnMut(),
) -> (Answer, u32) {
    let session = Some(peer.session.handle());
    let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
    let mut pending = match broker.request(&origin, request) {
        Reply::Ready(answer) => return (answer, 0),
        Reply::Pending(pending) => pending,
    };
    for turns in 0.. {
        match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => return (answer, turns),
            Poll::Pending => meanwhile(),
        }
    }
    unreachable!("a snapshot ends")
}

fn retain(peer: &mut Peer, key: &str, body: &str) {
    let publish = Publish { exchange: "amq.topic", key, body, retain: true, ..Publish::default() };
    peer.try_publish(&publish).unwrap();
}

fn reader(broker: &std::sync::Arc<Broker>) -> Peer {
    let mut reader = Peer::new(broker);
    reader.queue("q").unwrap();
    reader.consume(Consume { queue: "q".into(), no_ack: true, ..Consume::default() });
    reader
}

#[test]
fn a_binding_gets_what_is_retained_then_what_is_live() {
    let (broker, _) = Broker::stepped();
    let (mut publisher, reader) = (Peer::new(&broker), reader(&broker));
    for (key, body) in [("a.b", "1"), ("a.c", "2"), ("b", "3"), ("$a.c", "4"), ("a.d", "5")] {
        retain(&mut publisher, key, body);
    }
    retain(&mut publisher, "a.d", "");
    publisher.publish("amq.topic", "a.e", "not retained");
    let request = snapshot("amq.topic", to_queue("q"), "a.*", "snapshot");
    let (answer, _) = ask(&broker, &reader, request, || {});
    assert!(matches!(answer, Ok(Response::Done)), "{answer:?}");
    retain(&mut publisher, "a.b", "live");
    assert_eq!(reader.bodies(), ["1", "2", "live"]);
}

#[test]
fn a_large_snapshot_leaves_others_their_turn_and_misses_nothing() {
    let (broker, _) = Broker::stepped();
    let (mut publisher, reader) = (Peer::new(&broker), reader(&broker));
    for number in 0..1000 {
        retain(&mut publisher, &format!("k.{number:04}"), "old");
    }
    let request = snapshot("amq.topic", to_queue("q"), "#", "snapshot");
    let mut turn = 0;
    let (answer, turns) = ask(&broker, &reader, request, || {
        turn += 1;
        // Behind the slice and before it.
        retain(&mut publisher, &format!("k.{turn:04}"), "new");
        retain(&mut publisher, &format!("k.{:04}", 999 - turn), "new");
    });
    assert!(answer.is_ok());
    assert!(turns >= 4, "{turns} turns");
    let mut last = std::collections::BTreeMap::new();
    for delivery in reader.deliveries() {
        let key = delivery.message.routing_key().to_owned();
        last.insert(key, crate::peer::body(&delivery));
    }
    assert_eq!(last.len(), 1000);
    let new = last.iter().filter(|(_, body)| *body == "new").count();
    assert_eq!(new, 2 * usize::try_from(turns).unwrap(), "the last value comes last");
}

#[test]
fn what_has_no_retained_messages_says_so() {
    let (broker, _) = Broker::stepped();
    let reader = reader(&broker);
    reader.exchange("other", "topic");
    for (source, destination, value) in [
        ("other", to_queue("q"), "snapshot"),
        ("amq.topic", Destination::Exchange("other".into()), "snapshot"),
        ("amq.topic", to_queue("q"), "all"),
    ] {
        let (answer, _) = ask(&broker, &reader, snapshot(source, destination, "#", value), || {});
        assert!(matches!(answer, Err(Refusal::Precondition { .. })), "{answer:?}");
    }
    let request = snapshot("amq.topic", to_queue("none"), "#", "snapshot");
    let (answer, _) = ask(&broker, &reader, request, || {});
    assert!(matches!(answer, Err(Refusal::NotFound { .. })), "{answer:?}");
}

#[test]
fn nobody_publishes_to_the_brokers_own_topics() {
    let (broker, _) = Broker::stepped();
    let (mut publisher, reader) = (Peer::new(&broker), reader(&broker));
    reader.bind("amq.topic", to_queue("q"), "#").unwrap();
    for (exchange, key) in [
        ("amq.topic", "$SYS"),
        ("amq.topic", "$SYS.load"),
        ("amq.topic", "$share.g.t"),
        ("", "amq.topic.reply-to.$SYS.load"),
    ] {
        let publish = Publish { exchange, key, retain: true, body: "x", ..Publish::default() };
        let refused = publisher.try_publish(&publish);
        assert!(matches!(refused, Err(Refusal::AccessRefused { .. })), "{key}: {refused:?}");
    }
    assert_eq!(broker.totals().retained, 0);
    assert_eq!(reader.bodies(), [""; 0]);
    publisher.publish("amq.topic", "$SYSTEM.x", "1");
    publisher.publish("amq.direct", "$SYS", "2");
    assert_eq!(reader.bodies(), ["1"]);
}

#[test]
fn a_large_subscription_leaves_others_their_turn_and_repeats_nothing_that_comes_live() {
    let (broker, _) = Broker::stepped();
    let (mut publisher, reader) = (Peer::new(&broker), Peer::new(&broker));
    for number in 0..1000 {
        retain(&mut publisher, &format!("k.{number:04}"), "old");
    }
    let request = Request::OpenSession {
        client_id: "c".into(),
        clean_start: true,
        expiry_s: 0,
        unsettled_max: 10,
        will: None,
    };
    reader.ask(request).unwrap();
    let pattern = Pattern::from_filter("k/#");
    let subscription = Subscription {
        name: "k/#".into(),
        id: None,
        retain_as_published: false,
        source: Source::Filter(pattern),
        qos: 0,
        fire_and_forget: Some((&crate::peer::Plain as _, Variant(4))),
        no_local: false,
        retained: true,
    };
    let Ok(Response::Subscribed(mut granted)) = reader.ask(Request::Subscribe(vec![subscription]))
    else {
        panic!("subscribed")
    };
    let granted = granted.pop().unwrap().unwrap();
    assert!(granted.retained.is_empty(), "what may be many comes in slices");
    let (mut rest, mut retained, mut live) = (granted.rest, 0, 0);
    while let Some(slice) = rest {
        // Behind the slices and before them.
        for number in [live, 999 - live] {
            retain(&mut publisher, &format!("k.{number:04}"), "new");
        }
        live += 1;
        let (answer, turns) = ask(&broker, &reader, Request::Retained(slice), || {});
        assert_eq!(turns, 1, "others have theirs first");
        let Ok(Response::Retained { messages, rest: next }) = answer else { panic!("{answer:?}") };
        assert!(messages.len() <= 256);
        assert!(messages.iter().all(|message| message.body() == b"old"), "new ones come live");
        retained += messages.len();
        rest = next;
    }
    assert!(live >= 4);
    assert_eq!(reader.fetch().1.matches("new").count(), 2 * live);
    let spared = retained + live..=retained + 2 * live;
    assert!(spared.contains(&1000), "{retained} retained, {live} times two changed");
}
