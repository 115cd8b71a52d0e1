//! Queues and consumers.

use trivium_core::control::{Consume, DeclareQueue};
use trivium_core::{Broker, Event, Limits, Outcome, Refusal, Request, Response};

use crate::peer::{Peer, body};

fn consume(queue: &str) -> Consume {
    Consume { queue: queue.into(), ..Consume::default() }
}

#[test]
fn consumers_share_one_by_one() {
    let (broker, _) = Broker::stepped();
    let mut publisher = Peer::new(&broker);
    publisher.queue("q").unwrap();
    let (mut one, mut two) = (Peer::new(&broker), Peer::new(&broker));
    one.consume(consume("q"));
    two.consume(consume("q"));
    for index in 0..6 {
        publisher.publish("", "q", &index.to_string());
    }
    assert_eq!(one.bodies(), ["0", "2", "4"]);
    assert_eq!(two.bodies(), ["1", "3", "5"]);
}

#[test]
fn a_backlog_is_shared_evenly() {
    let (broker, _) = Broker::stepped();
    let mut publisher = Peer::new(&broker);
    publisher.queue("q").unwrap();
    for index in 0..1000 {
        publisher.publish("", "q", &index.to_string());
    }
    let (mut one, mut two) = (Peer::new(&broker), Peer::new(&broker));
    one.consume(Consume { prefetch: 1, ..consume("q") });
    two.consume(Consume { prefetch: 1, ..consume("q") });
    let mut counts = [0, 0];
    loop {
        let mut moved = false;
        for (peer, count) in [&mut one, &mut two].into_iter().zip(&mut counts) {
            for delivery in peer.deliveries() {
                moved = true;
                *count += 1;
                peer.batch(|batch, session| {
                    batch.settle(session, delivery.delivery, Outcome::Accepted);
                });
            }
        }
        if !moved {
            break;
        }
    }
    assert_eq!(counts.iter().sum::<i32>(), 1000);
    assert!((counts[0] - counts[1]).abs() <= 100, "within 10 %: {counts:?}");
}

#[test]
fn the_higher_priority_is_served_first_while_it_can_take() {
    let (broker, _) = Broker::stepped();
    let mut publisher = Peer::new(&broker);
    publisher.queue("q").unwrap();
    let (mut low, mut high) = (Peer::new(&broker), Peer::new(&broker));
    low.consume(consume("q"));
    high.consume(Consume { prefetch: 2, priority: 5, ..consume("q") });
    for index in 0..4 {
        publisher.publish("", "q", &index.to_string());
    }
    assert_eq!(high.bodies(), ["0", "1"]);
    assert_eq!(low.bodies(), ["2", "3"]);
}

#[test]
fn what_is_put_back_stands_where_it_stood() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    peer.consume(Consume { prefetch: 2, ..consume("q") });
    for index in 0..4 {
        peer.publish("", "q", &index.to_string());
    }
    let first = peer.deliveries();
    peer.batch(|batch, session| {
        // The later one first: order is the queue's, not that of the answers.
        for delivery in first.iter().rev() {
            batch.settle(session, delivery.delivery, Outcome::Requeued);
        }
    });
    let again = peer.deliveries();
    let seen: Vec<_> = again.iter().map(|d| (body(d), d.redelivered)).collect();
    assert_eq!(seen, [("0".to_owned(), true), ("1".to_owned(), true)]);
    peer.batch(|batch, session| {
        for delivery in &again {
            batch.settle(session, delivery.delivery, Outcome::Rejected);
        }
    });
    let rest: Vec<_> = peer.deliveries().iter().map(|d| (body(d), d.redelivered)).collect();
    assert_eq!(rest, [("2".to_owned(), false), ("3".to_owned(), false)]);
}

#[test]
fn a_shared_limit_holds_over_all_consumers_of_a_session() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    for queue in ["a", "b"] {
        peer.queue(queue).unwrap();
        peer.consume(consume(queue));
    }
    peer.batch(|batch, session| batch.limit_session(session, 2));
    for index in 0..4 {
        peer.publish("", if index % 2 == 0 { "a" } else { "b" }, &index.to_string());
    }
    let first = peer.deliveries();
    assert_eq!(first.len(), 2);
    // Settling in one queue makes room for the other.
    peer.batch(|batch, session| {
        for delivery in &first {
            batch.settle(session, delivery.delivery, Outcome::Accepted);
        }
    });
    assert_eq!(peer.bodies().len(), 2);
}

#[test]
fn a_full_outbox_leaves_messages_in_the_queue() {
    let limits = Limits { outbox_bytes_max: 2_000, ..Limits::default() };
    let broker = Broker::ephemeral(limits, 1);
    let (mut publisher, mut slow) = (Peer::new(&broker), Peer::new(&broker));
    publisher.queue("q").unwrap();
    slow.consume(Consume { no_ack: true, ..consume("q") });
    for index in 0..100 {
        publisher.publish("", "q", &index.to_string());
    }
    assert!(slow.outbox.pending_bytes() <= 2_400, "{}", slow.outbox.pending_bytes());
    assert!(broker.totals().ready > 80);
    let mut read = Vec::new();
    while read.len() < 100 {
        let before = read.len();
        read.extend(slow.bodies());
        assert!(read.len() > before, "a drained outbox is filled again");
    }
    assert_eq!(read, (0..100).map(|index| index.to_string()).collect::<Vec<_>>());
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let (broker, _) = Broker::stepped();
    let (mut one, two) = (Peer::new(&broker), Peer::new(&broker));
    one.queue("q").unwrap();
    let consumer = one.consume(Consume { exclusive: true, ..consume("q") });
    let refused = two.ask(Request::Consume(consume("q"))).unwrap_err();
    assert_eq!(refused.to_string(), "queue 'q' in vhost '/' in exclusive use");
    one.ask(Request::Cancel { consumer }).unwrap();
    assert!(two.ask(Request::Consume(consume("q"))).is_ok());
}

#[test]
fn redeclaring_differently_is_refused_with_both_values() {
    let (broker, _) = Broker::stepped();
    let peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    let durable = DeclareQueue { name: "q".into(), durable: true, ..DeclareQueue::default() };
    assert_eq!(
        peer.ask(Request::DeclareQueue(durable)).unwrap_err().to_string(),
        "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is \
         'false'"
    );
    let reserved = peer.queue("amq.mine").unwrap_err();
    assert_eq!(reserved.to_string(), "queue name 'amq.mine' contains reserved prefix 'amq.*'");
    let passive = DeclareQueue { name: "nope".into(), passive: true, ..DeclareQueue::default() };
    assert_eq!(
        peer.ask(Request::DeclareQueue(passive)).unwrap_err().to_string(),
        "no queue 'nope' in vhost '/'"
    );
}

#[test]
fn generated_names_look_like_rabbitmqs_and_differ() {
    let (broker, _) = Broker::stepped();
    let peer = Peer::new(&broker);
    let names: Vec<String> = (0..2)
        .map(|_| match peer.queue("") {
            Ok(Response::Queue { name, .. }) => name,
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert!(names[0].starts_with("amq.gen-"), "{names:?}");
    assert_eq!(names[0].len(), "amq.gen-".len() + 22);
    assert_ne!(names[0], names[1]);
}

#[test]
fn deletion_obeys_its_conditions_and_cancels_consumers() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    peer.publish("", "q", "one");
    let delete = |peer: &Peer, if_unused, if_empty| {
        peer.ask(Request::DeleteQueue { name: "q".into(), if_unused, if_empty })
    };
    let refused = delete(&peer, false, true).unwrap_err();
    assert_eq!(refused.to_string(), "queue 'q' in vhost '/' not empty");
    let consumer = peer.consume(Consume { prefetch: 1, ..consume("q") });
    peer.publish("", "q", "two");
    let refused = delete(&peer, true, false).unwrap_err();
    assert_eq!(refused.to_string(), "queue 'q' in vhost '/' in use");
    assert!(matches!(delete(&peer, false, false), Ok(Response::Count(1))));
    let events = peer.fetch().0;
    let [Event::Delivery(delivery), Event::Cancelled { consumer: gone, .. }] = &events[..] else {
        panic!("unexpected {events:?}")
    };
    assert_eq!(*gone, consumer);
    // The answer to a delivery of a deleted queue does nothing.
    peer.batch(|batch, session| batch.settle(session, delivery.delivery, Outcome::Requeued));
    assert!(matches!(delete(&peer, false, false), Ok(Response::Count(0))));
    let gone = peer.ask(Request::Consume(consume("q"))).unwrap_err();
    assert!(matches!(gone, Refusal::NotFound { .. }));
}

#[test]
fn get_takes_what_is_at_the_front() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    for text in ["one", "two"] {
        peer.publish("", "q", text);
    }
    let get = |peer: &Peer, no_ack| match peer.ask(Request::Get { queue: "q".into(), no_ack }) {
        Ok(Response::Got(got)) => got,
        other => panic!("unexpected {other:?}"),
    };
    let first = get(&peer, false).unwrap();
    assert_eq!((first.message.body(), first.redelivered, first.remaining), (&b"one"[..], false, 1));
    peer.batch(|batch, session| batch.settle(session, first.delivery, Outcome::Requeued));
    assert!(get(&peer, true).unwrap().redelivered);
    assert_eq!(get(&peer, true).unwrap().message.body(), b"two");
    assert!(get(&peer, true).is_none());
}
