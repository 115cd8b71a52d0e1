//! What ends with whom.

use trivium_core::control::{Consume, DeclareQueue};
use trivium_core::{Broker, Principal, Protocol, Refusal, Request};

use crate::peer::{Peer, body};

fn declare(peer: &Peer, name: &str, exclusive: bool, auto_delete: bool) {
    let name = name.into();
    let declare = DeclareQueue { name, exclusive, auto_delete, ..DeclareQueue::default() };
    peer.ask(Request::DeclareQueue(declare)).unwrap();
}

fn exists(peer: &Peer, name: &str) -> bool {
    let passive = DeclareQueue { name: name.into(), passive: true, ..DeclareQueue::default() };
    peer.ask(Request::DeclareQueue(passive)).is_ok()
}

#[test]
fn an_exclusive_queue_is_its_connections_and_ends_with_it() {
    let (broker, _) = Broker::stepped();
    let (owner, mut other) = (Peer::new(&broker), Peer::new(&broker));
    declare(&owner, "mine", true, false);
    let consume = Consume { queue: "mine".into(), ..Consume::default() };
    let refused = other.ask(Request::Consume(consume)).unwrap_err();
    assert!(matches!(refused, Refusal::Locked { .. }));
    // Publishing to it is allowed.
    other.publish("", "mine", "hello");
    assert!(exists(&owner, "mine"));
    drop(owner);
    declare(&other, "mine", false, false);
    assert!(exists(&other, "mine"), "the name is free again");
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let (broker, _) = Broker::stepped();
    let (mut one, mut two) = (Peer::new(&broker), Peer::new(&broker));
    declare(&one, "q", false, true);
    assert!(exists(&one, "q"), "it never had a consumer");
    let consume = || Consume { queue: "q".into(), ..Consume::default() };
    let consumer = one.consume(consume());
    two.consume(consume());
    one.ask(Request::Cancel { consumer }).unwrap();
    assert!(exists(&one, "q"));
    drop(two);
    assert!(!exists(&one, "q"));
}

#[test]
fn what_a_lost_session_had_goes_to_others_first_and_redelivered() {
    let (broker, _) = Broker::stepped();
    let (mut lost, mut other) = (Peer::new(&broker), Peer::new(&broker));
    other.queue("q").unwrap();
    let consume = || Consume { queue: "q".into(), prefetch: 2, ..Consume::default() };
    lost.consume(consume());
    for text in ["one", "two", "three"] {
        other.publish("", "q", text);
    }
    assert_eq!(lost.bodies(), ["one", "two"]);
    drop(lost);
    other.consume(Consume { prefetch: 0, ..consume() });
    let seen: Vec<_> = other.deliveries().iter().map(|d| (body(d), d.redelivered)).collect();
    let expected = [("one", true), ("two", true), ("three", false)];
    assert_eq!(seen, expected.map(|(text, redelivered)| (text.to_owned(), redelivered)));
}

#[test]
fn totals_return_to_nothing() {
    let (broker, _) = Broker::stepped();
    let before = broker.totals();
    let mut peer = Peer::new(&broker);
    declare(&peer, "q", true, false);
    peer.consume(Consume { queue: "q".into(), ..Consume::default() });
    peer.publish("", "q", "unsettled");
    let during = broker.totals();
    assert_eq!((during.connections, during.sessions, during.queues), (1, [1, 0, 0], 1));
    assert_eq!((during.consumers, during.unsettled), (1, 1));
    drop(peer);
    while broker.tick(trivium_core::Instant::START, 100) {}
    let after = broker.totals();
    assert_eq!((after.connections, after.sessions, after.queues), (0, [0; 3], 0));
    assert_eq!((after.consumers, after.unsettled, after.ready), (0, 0, 0));
    assert_eq!(after.exchanges, before.exchanges);
}

#[test]
fn a_vhost_is_entered_by_those_who_may() {
    let (broker, _) = Broker::stepped();
    broker.add_vhost("other");
    let limited =
        Principal { vhosts: Some(["/".to_owned()].into()), ..Principal::unrestricted("u") };
    let enter = |vhost: &str| {
        let entered = broker.connect(&limited, vhost, Protocol::Amqp, broker.outbox());
        entered.map(drop).map_err(|refusal| refusal.to_string())
    };
    assert_eq!(enter("/"), Ok(()));
    assert_eq!(enter("other"), Err("access to vhost 'other' refused for user 'u'".into()));
    assert_eq!(enter("nope"), Err("vhost nope not found".into()));
}

#[test]
fn vhosts_do_not_see_each_other() {
    let (broker, _) = Broker::stepped();
    broker.add_vhost("other");
    let peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    let guest = Principal::unrestricted("guest");
    let outbox = broker.outbox();
    let connection = broker.connect(&guest, "other", Protocol::Amqp, outbox).unwrap();
    assert_eq!((connection.vhost(), connection.user()), ("other", "guest"));
    let session = Some(connection.session(0).handle());
    let origin =
        trivium_core::control::Origin { session, principal: Some(guest), protocol: Protocol::Amqp };
    let request = Request::PurgeQueue { name: "q".into() };
    let trivium_core::Reply::Ready(answer) = broker.request(&origin, request) else {
        panic!("nothing is paged here")
    };
    assert_eq!(answer.unwrap_err().to_string(), "no queue 'q' in vhost 'other'");
}

#[test]
fn a_queue_for_each_request_leaves_nothing_behind() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    let mut last = None;
    for index in 0..3 {
        let name = format!("reply{index}");
        declare(&peer, &name, true, true);
        let consumer = peer.consume(Consume { queue: name.clone(), ..Consume::default() });
        peer.publish("", &name, &index.to_string());
        let delivery = peer.deliveries().remove(0);
        // The answer to a delivery of the queue before, which is gone, touches nothing here.
        if let Some(last) = last.replace(delivery.delivery) {
            peer.batch(|batch, session| {
                batch.settle(session, last, trivium_core::Outcome::Requeued);
            });
            assert!(peer.deliveries().is_empty());
        }
        peer.ask(Request::Cancel { consumer }).unwrap();
        assert!(!exists(&peer, &name));
    }
    assert_eq!(broker.totals().unsettled, 0);
    while broker.tick(trivium_core::Instant::START, 100) {}
}
