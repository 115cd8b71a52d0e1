//! Messages that expire, and queues that nobody uses.

use trivium_core::control::Consume;
use trivium_core::{Broker, Instant, Outcome, Refusal, Value};

use crate::peer::{Peer, Publish, body};

const fn millis(value: i64) -> Value {
    Value::Int(value, 4)
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn expiring(body: &str, expiry_ms: u64) -> Publish<'_> {
    Publish { key: "q", body, expiry_ms: Some(expiry_ms), ..Publish::default() }
}

#[test]
fn the_sooner_of_queue_and_message_counts() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[("x-message-ttl", millis(100))]).unwrap();
    peer.publish("", "q", "queue");
    peer.try_publish(&expiring("sooner", 50)).unwrap();
    peer.try_publish(&expiring("later", 200)).unwrap();
    for (now, ready) in [(49, 3), (50, 2), (99, 2), (100, 0)] {
        broker.tick(at(now), 1000);
        assert_eq!(peer.ready("q"), ready, "at {now}");
    }
}

#[test]
fn an_expired_message_behind_a_live_one_leaves_too() {
    for persistent in [false, true] {
        let (broker, log) = Broker::stepped();
        let mut peer = Peer::new(&broker);
        peer.queue_with("q", &[]).unwrap();
        for (body, expiry_ms) in [("0", None), ("1", Some(10)), ("2", None), ("3", Some(10))] {
            let publish = Publish { key: "q", body, persistent, expiry_ms, ..Publish::default() };
            peer.try_publish(&publish).unwrap();
        }
        broker.tick(at(11), 1000);
        assert_eq!(peer.ready("q"), 2);
        if persistent {
            assert_eq!(log.live(), 2, "what expired is settled without being read");
        }
        peer.consume(Consume { queue: "q".into(), ..Consume::default() });
        log.step();
        assert_eq!(peer.bodies(), ["0", "2"]);
    }
}

#[test]
fn expired_messages_are_not_delivered_before_the_tick_either() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[]).unwrap();
    peer.try_publish(&expiring("dead", 10)).unwrap();
    peer.publish("", "q", "live");
    peer.now = at(11);
    peer.consume(Consume { queue: "q".into(), ..Consume::default() });
    assert_eq!(peer.bodies(), ["live"]);
    peer.try_publish(&expiring("dead", 10)).unwrap();
    assert_eq!(peer.bodies(), ["dead"], "it was alive");
}

#[test]
fn expiry_survives_a_return() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[("x-message-ttl", millis(100))]).unwrap();
    peer.consume(Consume { queue: "q".into(), prefetch: 1, ..Consume::default() });
    peer.publish("", "q", "0");
    let first = peer.deliveries().remove(0);
    broker.tick(at(99), 1000);
    peer.now = at(99);
    peer.batch(|batch, session| batch.settle(session, first.delivery, Outcome::Requeued));
    let again = peer.deliveries().remove(0);
    assert_eq!((body(&again), again.redelivered), ("0".to_owned(), true));
    peer.now = at(101);
    peer.batch(|batch, session| batch.settle(session, again.delivery, Outcome::Requeued));
    assert!(peer.bodies().is_empty(), "unsettled it did not expire, put back it does");
    assert_eq!(peer.ready("q"), 0);
}

#[test]
fn a_ttl_of_0_is_for_those_who_are_ready() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[("x-message-ttl", millis(0))]).unwrap();
    peer.publish("", "q", "nobody");
    assert_eq!(peer.ready("q"), 0);
    peer.consume(Consume { queue: "q".into(), prefetch: 1, ..Consume::default() });
    peer.publish("", "q", "taken");
    peer.publish("", "q", "too much");
    assert_eq!(peer.bodies(), ["taken"]);
    assert_eq!(peer.ready("q"), 0);
}

#[test]
fn a_queue_ends_when_nobody_uses_it() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    let expires = [("x-expires", millis(100))];
    for name in ["idle", "declared", "got", "consumed"] {
        peer.queue_with(name, &expires).unwrap();
    }
    let consumer = peer.consume(Consume { queue: "consumed".into(), ..Consume::default() });
    broker.tick(at(60), 1000);
    peer.queue_with("declared", &expires).unwrap();
    assert!(peer.get("got").is_none());
    broker.tick(at(100), 1000);
    let is_there = |name: &str| {
        let asked = trivium_core::control::DeclareQueue {
            name: name.into(),
            passive: true,
            ..Default::default()
        };
        match peer.ask(trivium_core::Request::DeclareQueue(asked)) {
            Ok(_) => true,
            Err(Refusal::NotFound { .. }) => false,
            Err(other) => panic!("unexpected {other}"),
        }
    };
    assert!(!is_there("idle"));
    assert!(is_there("declared") && is_there("got") && is_there("consumed"));
    broker.tick(at(160), 1000);
    assert!(!is_there("declared") && !is_there("got") && is_there("consumed"));
    peer.ask(trivium_core::Request::Cancel { consumer }).unwrap();
    broker.tick(at(259), 1000);
    assert!(is_there("consumed"));
    broker.tick(at(260), 1000);
    assert!(!is_there("consumed"));
}

#[test]
fn a_tick_does_what_its_budget_allows() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[("x-message-ttl", millis(10))]).unwrap();
    for _ in 0..3000 {
        peer.publish("", "q", "x");
    }
    let mut ticks = 0;
    while broker.tick(at(10), 100) {
        ticks += 1;
    }
    assert!(ticks >= 3, "{ticks}");
    assert_eq!(peer.ready("q"), 0);
}

#[test]
fn who_does_not_answer_in_time_is_ended() {
    let limits = trivium_core::Limits { consumer_timeout_ms: Some(60_000), ..Default::default() };
    let broker = Broker::ephemeral(limits, 1);
    let mut peer = Peer::new(&broker);
    peer.queue_with("own", &[("x-consumer-timeout", millis(10_000))]).unwrap();
    peer.queue_with("default", &[]).unwrap();
    let consume = |queue: &str| Consume { queue: queue.into(), ..Consume::default() };
    let (mut quick, mut slow) = (Peer::new(&broker), Peer::new(&broker));
    quick.consume(consume("own"));
    peer.publish("", "own", "0");
    let first = quick.deliveries().remove(0);
    quick.batch(|batch, session| batch.settle(session, first.delivery, Outcome::Accepted));
    slow.consume(consume("default"));
    peer.publish("", "default", "1");
    assert_eq!(slow.bodies(), ["1"]);
    broker.tick(at(59_000), 1000);
    assert!(quick.fetch().0.is_empty() && slow.fetch().0.is_empty());
    broker.tick(at(61_000), 1000);
    let events = slow.fetch().0;
    let [trivium_core::Event::SessionEnded { because, .. }] = &events[..] else {
        panic!("unexpected {events:?}")
    };
    let text = "delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms. This \
                timeout value can be configured, see consumers doc guide to learn more";
    assert_eq!(because.to_string(), text);
    peer.now = at(61_000);
    quick.now = peer.now;
    peer.publish("", "own", "2");
    assert_eq!(quick.bodies(), ["2"]);
    broker.tick(at(72_000), 1000);
    assert!(matches!(quick.fetch().0[..], [trivium_core::Event::SessionEnded { .. }]));
}
