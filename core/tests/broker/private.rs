//! Queues that one subscription has to itself, and that end when it is too slow for them.

use std::sync::Arc;

use trivium_core::control::{Consume, DeclareQueue};
use trivium_core::log::StepLog;
use trivium_core::{Broker, Event, Limits, Outcome, Protocol, Refusal, Request};

use crate::peer::{Peer, to_queue};

/// What a message of ten octets counts for here, at least.
const MESSAGE_BYTES_MIN: usize = 10;

/// Outboxes take one message, private queues what fits.
fn broker(private_queue_bytes_max: usize) -> Arc<Broker> {
    let limits = Limits { outbox_bytes_max: 1, private_queue_bytes_max, ..Limits::default() };
    Broker::new(Arc::new(StepLog::default()), limits, 0)
}

fn subscribe(peer: &mut Peer, no_ack: bool) {
    let declare = DeclareQueue {
        name: "own".into(),
        exclusive: true,
        auto_delete: true,
        is_private: true,
        ..DeclareQueue::default()
    };
    peer.ask(Request::DeclareQueue(declare)).unwrap();
    peer.bind("amq.topic", to_queue("own"), "#").unwrap();
    peer.consume(Consume { queue: "own".into(), no_ack, ..Consume::default() });
}

/// How many of `count` publishes a subscriber got before it was told why there are no more.
fn flood(publisher: &mut Peer, subscriber: &Peer, count: usize) -> (usize, Option<Refusal>) {
    for _ in 0..count {
        publisher.publish("amq.topic", "k", "0123456789");
    }
    let (mut delivered, mut because) = (0, None);
    for event in subscriber.fetch().0 {
        match event {
            Event::Delivery(_) => delivered += 1,
            Event::Cancelled { because: told, .. } => because = told.map(|told| *told),
            other => panic!("unexpected {other:?}"),
        }
    }
    (delivered, because)
}

#[test]
fn who_reads_too_slowly_is_told_and_nobody_else() {
    const MAX: usize = 10_000;
    let broker = broker(MAX);
    let (mut slow, fast, mut publisher) =
        (Peer::new(&broker), Peer::new(&broker), Peer::new(&broker));
    subscribe(&mut slow, true);
    fast.queue("shared").unwrap();
    fast.bind("amq.topic", to_queue("shared"), "#").unwrap();
    let (delivered, because) = flood(&mut publisher, &slow, MAX / MESSAGE_BYTES_MIN);
    assert_eq!(delivered, 1, "what its outbox took");
    let because = because.expect("a reason");
    assert_eq!(because.to_string(), "bytes in a subscription's own queue limit (10000) is reached");
    assert_eq!(fast.drain("shared").len(), MAX / MESSAGE_BYTES_MIN, "a shared queue has no bound");
    let passive = DeclareQueue { name: "own".into(), passive: true, ..DeclareQueue::default() };
    let gone = slow.ask(Request::DeclareQueue(passive)).unwrap_err();
    assert!(matches!(gone, Refusal::NotFound { .. }), "{gone}");
    assert_eq!(broker.totals().counts[Protocol::Amqp.index()].overflown, 1);
    // And it may subscribe again.
    subscribe(&mut slow, true);
    assert_eq!(flood(&mut publisher, &slow, 1).0, 1);
}

#[test]
fn who_keeps_up_never_reaches_the_bound() {
    let broker = broker(2000);
    let (mut subscriber, mut publisher) = (Peer::new(&broker), Peer::new(&broker));
    subscribe(&mut subscriber, true);
    for _ in 0..1000 {
        assert!(matches!(flood(&mut publisher, &subscriber, 1), (1, None)));
    }
}

#[test]
fn what_is_delivered_and_not_acknowledged_counts() {
    const MAX: usize = 10_000;
    let broker = broker(MAX);
    let (mut subscriber, mut publisher) = (Peer::new(&broker), Peer::new(&broker));
    subscribe(&mut subscriber, false);
    // Acknowledged at once, it goes on for ever.
    for _ in 0..MAX / MESSAGE_BYTES_MIN {
        publisher.publish("amq.topic", "k", "0123456789");
        let delivery = subscriber.deliveries().remove(0);
        subscriber.batch(|batch, session| {
            batch.settle(session, delivery.delivery, Outcome::Requeued);
        });
        let delivery = subscriber.deliveries().remove(0);
        subscriber.batch(|batch, session| {
            batch.settle(session, delivery.delivery, Outcome::Accepted);
        });
    }
    // Never acknowledged, it ends, however fast the client reads.
    let mut delivered = 0;
    for _ in 0..MAX / MESSAGE_BYTES_MIN {
        let (count, because) = flood(&mut publisher, &subscriber, 1);
        delivered += count;
        if because.is_some() {
            assert!(delivered * MESSAGE_BYTES_MIN < MAX);
            return;
        }
    }
    panic!("{delivered} deliveries wait for their acknowledgement");
}
