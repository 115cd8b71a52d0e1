//! Memory that is short: messages go to a second log, and come back as if they had not.

use std::sync::Arc;
use std::task::{Wake, Waker};

use trivium_core::control::Consume;
use trivium_core::log::StepLog;
use trivium_core::{Broker, Instant, Outcome, Value};

use crate::peer::{Peer, Publish};

const KIB: u64 = 1024;

fn with_spill() -> (Arc<Broker>, Arc<StepLog>, Arc<StepLog>) {
    let (broker, log) = Broker::stepped();
    let spill = Arc::new(StepLog::default());
    broker.spill_to(spill.clone());
    (broker, log, spill)
}

/// 1 KiB that begins with a number.
fn text(number: u32) -> String {
    format!("{number:01024}")
}

fn number(body: &str) -> u32 {
    body.parse().unwrap()
}

#[test]
fn a_backlog_beyond_its_bytes_is_paged_out_and_comes_back_in_order() {
    let (broker, log, spill) = with_spill();
    let mut peer = Peer::new(&broker);
    peer.queue("q").unwrap();
    broker.set_memory(0, 256 * KIB);
    for number in 0..3000 {
        peer.publish("", "q", &text(number));
        let taken = broker.memory_use().queued_bytes;
        assert!(taken <= 320 * KIB, "{taken} bytes at {number}");
    }
    assert!(broker.memory_use().paged_out > 2500, "{:?}", broker.memory_use());
    assert_eq!((peer.ready("q"), log.live()), (3000, 0), "nothing of it is to survive");
    peer.consume(Consume { queue: "q".into(), no_ack: true, ..Consume::default() });
    let mut numbers = Vec::new();
    while numbers.len() < 3000 {
        spill.step();
        let bodies = peer.bodies();
        assert!(!bodies.is_empty() || spill.live() > 0, "{} are lost", 3000 - numbers.len());
        numbers.extend(bodies.iter().map(|body| number(body)));
        let taken = broker.memory_use().queued_bytes;
        assert!(taken <= 320 * KIB, "{taken} bytes while it drains");
    }
    assert!(numbers.iter().copied().eq(0..3000), "order holds");
    assert_eq!(spill.live(), 0, "what was delivered is released");
    assert_eq!(broker.memory_use().queued_bytes, 0);
}

#[test]
fn a_queue_to_which_nothing_happens_is_told_to_page_out() {
    let (broker, _, spill) = with_spill();
    let mut peer = Peer::new(&broker);
    for name in ["small", "large"] {
        peer.queue(name).unwrap();
    }
    for number in 0..200 {
        peer.publish("", "large", &text(number));
    }
    (0..50).for_each(|number| peer.publish("", "small", &text(number)));
    assert_eq!(broker.memory_use().paged_out, 0, "memory has no limit yet");
    // The process takes much that is no message: these may have an eighth of 800 KiB.
    broker.set_memory(1200 * KIB, 800 * KIB);
    broker.tick(Instant::from_millis(100), 1000);
    let left = broker.memory_use();
    assert!(left.queued_bytes <= 100 * KIB, "{left:?}");
    assert_eq!(left.paged_out, 200, "the largest goes first");
    broker.set_memory(100 * KIB, 800 * KIB);
    broker.tick(Instant::from_millis(200), 1000);
    assert_eq!(broker.memory_use().paged_out, 200, "there is room again");
    assert_eq!(spill.live(), 200);
    broker.set_memory(1200 * KIB, 800 * KIB);
    (0..400).for_each(|number| peer.publish("", "large", &text(number)));
    let left = broker.memory_use();
    assert!(left.queued_bytes <= 164 * KIB, "{left:?}");
}

#[test]
fn what_is_paged_out_keeps_its_priority_expires_and_is_dead_lettered() {
    let (broker, _, spill) = with_spill();
    let mut peer = Peer::new(&broker);
    peer.queue("dead").unwrap();
    let arguments = [
        ("x-max-priority", Value::Int(3, 4)),
        ("x-dead-letter-exchange", Value::text("")),
        ("x-dead-letter-routing-key", Value::text("dead")),
        ("x-max-length", Value::Int(4, 4)),
    ];
    peer.queue_with("q", &arguments).unwrap();
    for (body, priority, expiry_ms) in [
        ("oldest", 0, None),
        ("low", 0, None),
        ("brief", 1, Some(1000)),
        ("high", 3, None),
        ("middle", 1, None),
    ] {
        let publish = Publish { key: "q", body, priority, expiry_ms, ..Publish::default() };
        peer.try_publish(&publish).unwrap();
        broker.page_everything_out();
    }
    assert_eq!(spill.live(), 4 + 1, "the one that had to make room is read before it moves");
    spill.step();
    while broker.tick(Instant::from_millis(500), 1000) {}
    assert_eq!(peer.drain("dead"), ["high"], "the head of what is delivered next makes room");
    broker.page_everything_out();
    while broker.tick(Instant::from_millis(1500), 1000) {}
    spill.step();
    assert_eq!(peer.drain("dead"), ["brief"]);
    peer.consume(Consume { queue: "q".into(), no_ack: true, ..Consume::default() });
    spill.step();
    assert_eq!(peer.bodies(), ["middle", "oldest", "low"]);
    assert_eq!(spill.live(), 0);
}

#[test]
fn a_delivery_that_is_paged_out_goes_back_to_where_it_stood() {
    let (broker, log, spill) = with_spill();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[]).unwrap();
    peer.consume(Consume { queue: "q".into(), prefetch: 2, ..Consume::default() });
    for (body, persistent) in [("0", false), ("1", true), ("2", false)] {
        peer.try_publish(&Publish { key: "q", body, persistent, ..Publish::default() }).unwrap();
    }
    let deliveries = peer.deliveries();
    assert_eq!(deliveries.len(), 2);
    broker.page_everything_out();
    assert_eq!((spill.live(), log.live()), (2, 1));
    peer.batch(|batch, session| {
        for delivery in &deliveries {
            batch.settle(session, delivery.delivery, Outcome::Requeued);
        }
    });
    spill.step();
    log.step();
    let again = peer.deliveries();
    assert!(again.iter().all(|delivery| delivery.redelivered));
    assert_eq!(again.iter().map(crate::peer::body).collect::<Vec<_>>(), ["0", "1"]);
    peer.batch(|batch, session| {
        for delivery in &again {
            batch.settle(session, delivery.delivery, Outcome::Accepted);
        }
    });
    spill.step();
    assert_eq!(peer.bodies(), ["2"]);
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn only_who_publishes_to_a_log_that_does_not_keep_up_is_held_off() {
    let (broker, log, _) = with_spill();
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &[]).unwrap();
    let must_pause = |peer: &mut Peer, persistent| {
        peer.batch(|batch, session| {
            let publish = Publish { key: "q", persistent, ..Publish::default() };
            batch.publish(session, crate::peer::draft(&publish), publish.confirm).unwrap();
            batch.must_pause()
        })
    };
    assert!(!must_pause(&mut peer, true));
    log.stall(true);
    assert!(must_pause(&mut peer, true));
    assert!(!must_pause(&mut peer, false), "a transient message does not go there");
    peer.queue("other").unwrap();
    peer.consume(Consume { queue: "other".into(), ..Consume::default() });
    peer.publish("", "other", "");
    let got = peer.deliveries().remove(0);
    assert!(!peer.batch(|batch, session| {
        batch.settle(session, got.delivery, Outcome::Accepted);
        batch.must_pause()
    }));
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    assert!(broker.pause(&waker));
    log.stall(false);
    assert!(woken.0.load(std::sync::atomic::Ordering::Relaxed));
    assert!(!broker.pause(&waker));
}

#[test]
fn a_log_without_space_is_an_alarm_at_once() {
    let (broker, log, _) = with_spill();
    log.fill(true);
    assert!(broker.alarms().disk);
    broker.set_memory_alarm(true);
    log.fill(false);
    assert!(!broker.alarms().disk && broker.alarms().memory, "one does not end the other");
}
