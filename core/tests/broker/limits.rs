//! Queues with bounds, priorities, and the one consumer at a time.

use trivium_core::control::Consume;
use trivium_core::{
    ApplyTo, Broker, Confirm, Event, Instant, Outcome, Policy, PolicyKind, Refusal, Request, Table,
    Value,
};

use crate::peer::{Peer, Publish, to_queue};

const fn int(value: i64) -> Value {
    Value::Int(value, 4)
}

#[test]
fn the_oldest_make_room() {
    let (broker, log) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[("x-max-length", int(2))]).unwrap();
    peer.queue_with("b", &[("x-max-length-bytes", int(3))]).unwrap();
    for persistent in [false, true] {
        for body in ["0", "1", "2", "3", "4"] {
            for key in ["q", "b"] {
                let publish = Publish { key, body, persistent, ..Publish::default() };
                peer.try_publish(&publish).unwrap();
            }
        }
        assert_eq!((peer.ready("q"), peer.ready("b")), (2, 3));
    }
    assert_eq!(log.live(), 5, "what was dropped is settled");
    peer.consume(Consume { queue: "q".into(), ..Consume::default() });
    log.step();
    assert_eq!(peer.bodies(), ["3", "4"]);
}

#[test]
fn what_is_put_back_counts_again() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[("x-max-length", int(2))]).unwrap();
    peer.consume(Consume { queue: "q".into(), prefetch: 1, ..Consume::default() });
    for body in ["0", "1", "2"] {
        peer.publish("", "q", body);
    }
    let first = peer.deliveries().remove(0);
    assert_eq!(peer.ready("q"), 2);
    peer.batch(|batch, session| batch.settle(session, first.delivery, Outcome::Requeued));
    assert_eq!(peer.bodies(), ["0"], "a consumer was ready for it");
    assert_eq!(peer.ready("q"), 2);
}

/// What became of publishes: `true` for confirmed through, `false` for refused.
fn fates(peer: &Peer) -> Vec<(u64, bool)> {
    let events = peer.fetch().0.into_iter();
    let fate = |event| match event {
        Event::Confirmed { through, .. } => (through.0, true),
        Event::Refused { ticket, because, .. } => {
            assert!(matches!(*because, Refusal::QueueFull { .. }), "{because}");
            (ticket.0, false)
        }
        other => panic!("unexpected {other:?}"),
    };
    events.map(fate).collect()
}

#[test]
fn a_full_queue_refuses_and_the_others_take() {
    let (broker, log) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.exchange("all", "fanout");
    let reject = ("x-overflow", Value::text("reject-publish"));
    peer.queue_with("small", &[("x-max-length", int(2)), reject]).unwrap();
    peer.queue_with("large", &[]).unwrap();
    peer.bind("all", to_queue("small"), "").unwrap();
    let publish = |peer: &mut Peer, exchange, body| {
        let confirm = Confirm::Wanted;
        let (key, persistent, mandatory) = ("small", true, true);
        let publish =
            Publish { exchange, key, body, mandatory, confirm, persistent, ..Publish::default() };
        peer.try_publish(&publish).unwrap();
    };
    for body in ["0", "1", "2"] {
        publish(&mut peer, "", body);
    }
    assert_eq!(log.live(), 2, "what is refused was never logged");
    log.step();
    assert_eq!(fates(&peer), [(2, true), (3, false)]);
    peer.bind("all", to_queue("large"), "").unwrap();
    publish(&mut peer, "all", "3");
    assert_eq!(fates(&peer), [(4, false)]);
    assert_eq!((peer.ready("small"), peer.ready("large"), log.live()), (2, 1, 3));
}

#[test]
fn a_batch_is_refused_no_more_than_one_by_one() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    let reject = ("x-overflow", Value::text("reject-publish"));
    peer.queue_with("q", &[("x-max-length", int(2)), reject]).unwrap();
    peer.consume(Consume { queue: "q".into(), prefetch: 3, ..Consume::default() });
    let publish = Publish { key: "q", body: "x", confirm: Confirm::Wanted, ..Publish::default() };
    peer.batch(|batch, session| {
        for _ in 0..7 {
            batch.publish(session, crate::peer::draft(&publish), Confirm::Wanted).unwrap();
        }
    });
    let events = peer.fetch().0;
    let count = |is: fn(&Event) -> bool| events.iter().filter(|event| is(event)).count();
    assert_eq!(count(|event| matches!(event, Event::Delivery(_))), 3);
    assert_eq!(count(|event| matches!(event, Event::Refused { .. })), 2);
    assert_eq!(peer.ready("q"), 2);
}

#[test]
fn the_higher_priority_is_first_and_equals_keep_their_order() {
    for persistent in [false, true] {
        let (broker, log) = Broker::stepped();
        let mut peer = Peer::new(&broker);
        peer.queue_with("q", &[("x-max-priority", int(5))]).unwrap();
        for (body, priority) in [("0", 0), ("1", 3), ("2", 9), ("3", 5), ("4", 3), ("5", 0)] {
            let publish = Publish { key: "q", body, priority, persistent, ..Publish::default() };
            peer.try_publish(&publish).unwrap();
        }
        peer.consume(Consume { queue: "q".into(), prefetch: 3, ..Consume::default() });
        log.step();
        let first = peer.deliveries();
        let bodies: Vec<_> = first.iter().map(crate::peer::body).collect();
        assert_eq!(bodies, ["2", "3", "1"], "9 counts as 5");
        peer.batch(|batch, session| {
            batch.settle(session, first[2].delivery, Outcome::Requeued);
            batch.settle(session, first[0].delivery, Outcome::Accepted);
            batch.settle(session, first[1].delivery, Outcome::Accepted);
        });
        log.step();
        assert_eq!(peer.bodies(), ["1", "4", "0"], "put back, it stands where it stood");
    }
}

#[test]
fn one_consumer_at_a_time() {
    let (broker, _) = Broker::stepped();
    let mut publisher = Peer::new(&broker);
    publisher.queue_with("q", &[("x-single-active-consumer", Value::Bool(true))]).unwrap();
    let consume = || Consume { queue: "q".into(), prefetch: 1, ..Consume::default() };
    let (mut one, mut two) = (Peer::new(&broker), Peer::new(&broker));
    let consumer = one.consume(consume());
    two.consume(Consume { priority: 5, ..consume() });
    for body in ["0", "1", "2"] {
        publisher.publish("", "q", body);
    }
    let first = one.deliveries().remove(0);
    assert!(two.bodies().is_empty(), "the first stays active, whatever the priority");
    one.ask(Request::Cancel { consumer }).unwrap();
    assert!(two.bodies().is_empty(), "not before what it took is settled");
    one.batch(|batch, session| batch.settle(session, first.delivery, Outcome::Requeued));
    assert_eq!(two.bodies(), ["0"]);
    let exclusive = Consume { exclusive: true, ..consume() };
    let refused = publisher.ask(Request::Consume(exclusive));
    assert!(matches!(refused, Err(Refusal::AccessRefused { .. })));
}

#[test]
fn policies_change_live_queues_in_slices() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("logs.a", &[]).unwrap();
    peer.queue_with("other", &[]).unwrap();
    for index in 0..3000 {
        peer.publish("", "logs.a", &index.to_string());
    }
    peer.publish("", "other", "x");
    let policy = |max| Policy {
        name: "short".into(),
        pattern: r"^logs\.".into(),
        priority: 0,
        apply_to: ApplyTo::Queues,
        definition: Table(vec![("max-length".into(), int(max))]),
    };
    let set = |max| {
        let (vhost, kind, policy) = ("/".into(), PolicyKind::Policy, Box::new(policy(max)));
        peer.ask(Request::SetPolicy { vhost, kind, policy })
    };
    set(2).unwrap();
    assert_eq!(peer.ready("logs.a"), 3000, "not before a tick");
    let mut ticks = 1;
    while broker.tick(Instant::START, 500) {
        ticks += 1;
    }
    assert!(ticks > 2, "in slices: {ticks}");
    assert_eq!((peer.ready("logs.a"), peer.ready("other")), (2, 1));
    peer.queue_with("logs.b", &[]).unwrap();
    let mut peer = peer;
    for body in ["0", "1", "2"] {
        peer.publish("", "logs.b", body);
    }
    assert_eq!(peer.ready("logs.b"), 2, "a new queue obeys at once");
    let (vhost, kind, name) = ("/".into(), PolicyKind::Policy, "short".into());
    peer.ask(Request::ClearPolicy { vhost, kind, name }).unwrap();
    while broker.tick(Instant::START, 500) {}
    peer.publish("", "logs.b", "3");
    assert_eq!(peer.ready("logs.b"), 3);
    let refused = broker.set_policy("/", PolicyKind::Policy, policy(-1)).unwrap_err().to_string();
    assert!(refused.contains("definition.max-length = -1: must be"), "{refused}");
    assert!(broker.policies("/", PolicyKind::Policy).unwrap().is_empty());
}
