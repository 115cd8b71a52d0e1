//! Messages that nobody accepted.

use trivium_core::control::Consume;
use trivium_core::{Broker, Instant, Outcome, Table, Value};

use crate::peer::{Peer, Publish, to_queue};

const fn int(value: i64) -> Value {
    Value::Int(value, 4)
}

fn dead_to(key: &str) -> [(&'static str, Value); 2] {
    [("x-dead-letter-exchange", Value::text("")), ("x-dead-letter-routing-key", Value::text(key))]
}

fn consume(queue: &str) -> Consume {
    Consume { queue: queue.into(), ..Consume::default() }
}

fn deaths(headers: &Table) -> Vec<Table> {
    let Some(Value::Array(deaths)) = headers.get("x-death") else { panic!("no x-death") };
    let table = |death: &Value| match death {
        Value::Table(table) => table.clone(),
        other => panic!("unexpected {other:?}"),
    };
    deaths.iter().map(table).collect()
}

fn summary(headers: &Table) -> Vec<(String, String, i64)> {
    let text = |death: &Table, name| death.get(name).unwrap().as_str().unwrap().to_owned();
    let count = |death: &Table| death.get("count").unwrap().as_integer().unwrap();
    let line = |death: &Table| (text(death, "queue"), text(death, "reason"), count(death));
    deaths(headers).iter().map(line).collect()
}

#[test]
fn the_history_is_told_as_rabbitmq_tells_it() {
    let (broker, _) = Broker::stepped();
    broker.set_epoch(1_700_000_000_000);
    let mut peer = Peer::new(&broker);
    peer.exchange("dlx", "fanout");
    peer.queue_with("q", &[("x-dead-letter-exchange", Value::text("dlx"))]).unwrap();
    peer.queue_with("d", &[]).unwrap();
    peer.bind("dlx", to_queue("d"), "").unwrap();
    let publish =
        Publish { key: "q", body: "b", header: "h=v", expiry_ms: Some(5000), ..Publish::default() };
    peer.try_publish(&publish).unwrap();
    broker.tick(Instant::from_millis(5000), 1000);
    let got = peer.get("d").unwrap();
    assert_eq!(got.message.body(), b"b");
    assert_eq!((got.message.exchange(), got.message.routing_key()), ("dlx", "q"));
    assert_eq!(got.message.expires_at(), None, "expiration is removed");
    let headers = &got.message.properties().headers;
    assert_eq!(headers.get("h"), Some(&Value::text("v")));
    let death = deaths(headers).remove(0);
    let expected = [
        ("count", Value::Int(1, 8)),
        ("reason", Value::text("expired")),
        ("queue", Value::text("q")),
        ("time", Value::Timestamp(1_700_000_005)),
        ("exchange", Value::text("")),
        ("routing-keys", Value::Array(vec![Value::text("q")])),
    ];
    let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(death, Table(expected));
    for (name, value) in [("exchange", ""), ("queue", "q"), ("reason", "expired")] {
        for which in ["first", "last"] {
            let header = headers.get(&format!("x-{which}-death-{name}"));
            assert_eq!(header, Some(&Value::text(value)));
        }
    }
}

#[test]
fn rejected_dropped_and_refused_messages_are_dead_letters() {
    for persistent in [false, true] {
        let (broker, log) = Broker::stepped();
        let mut peer = Peer::new(&broker);
        let [exchange, key] = dead_to("d");
        let bounded = ("x-max-length", int(1));
        let refuse = ("x-overflow", Value::text("reject-publish-dlx"));
        peer.queue_with("rejects", &[exchange.clone(), key.clone()]).unwrap();
        peer.queue_with("drops", &[exchange.clone(), key.clone(), bounded.clone()]).unwrap();
        peer.queue_with("refuses", &[exchange, key, bounded, refuse]).unwrap();
        peer.queue_with("d", &[]).unwrap();
        peer.consume(consume("rejects"));
        for (key, body) in
            [("rejects", "0"), ("drops", "1"), ("drops", "2"), ("refuses", "3"), ("refuses", "4")]
        {
            let publish = Publish { key, body, persistent, ..Publish::default() };
            peer.try_publish(&publish).unwrap();
        }
        let rejected = peer.deliveries().remove(0);
        peer.batch(|batch, session| batch.settle(session, rejected.delivery, Outcome::Rejected));
        log.step();
        peer.consume(consume("d"));
        log.step();
        let dead = peer.deliveries();
        let mut seen: Vec<_> = dead
            .iter()
            .map(|dead| {
                let (queue, reason, _) = summary(&dead.message.properties().headers).remove(0);
                (crate::peer::body(dead), queue, reason)
            })
            .collect();
        // What must be read first comes later.
        seen.sort_unstable();
        let expected =
            [("0", "rejects", "rejected"), ("1", "drops", "maxlen"), ("4", "refuses", "maxlen")];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(seen, expected);
        if persistent {
            assert_eq!(log.live(), 5, "each is logged once, where it is");
        }
    }
}

#[test]
fn what_only_the_log_has_is_read_before_it_is_dead_lettered() {
    let log = std::sync::Arc::new(trivium_core::log::StepLog::default());
    let limits = trivium_core::Limits { window_messages_max: 2, ..Default::default() };
    let broker = Broker::new(log.clone(), limits, 0);
    let mut peer = Peer::new(&broker);
    peer.queue_with("q", &dead_to("d")).unwrap();
    peer.queue_with("d", &[]).unwrap();
    for body in ["0", "1", "2", "3", "4"] {
        let (persistent, expiry_ms) = (true, Some(10));
        let publish = Publish { key: "q", body, persistent, expiry_ms, ..Publish::default() };
        peer.try_publish(&publish).unwrap();
    }
    broker.tick(Instant::from_millis(10), 1000);
    assert_eq!((peer.ready("q"), peer.ready("d"), log.live()), (0, 0, 5));
    log.step();
    assert_eq!((peer.ready("d"), log.live()), (5, 5));
    peer.consume(consume("d"));
    // Two at a time are read: the window is small.
    (0..3).for_each(|_| log.step());
    assert_eq!(peer.bodies(), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_repeated_death_counts_and_moves_to_the_front() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    peer.queue_with("work", &dead_to("retry")).unwrap();
    let mut retry = dead_to("work").to_vec();
    retry.push(("x-message-ttl", int(10)));
    peer.queue_with("retry", &retry).unwrap();
    peer.consume(consume("work"));
    peer.publish("", "work", "job");
    for round in 1..4 {
        let job = peer.deliveries().remove(0);
        peer.batch(|batch, session| batch.settle(session, job.delivery, Outcome::Rejected));
        assert!(peer.bodies().is_empty());
        broker.tick(Instant::from_millis(round * 10), 1000);
        peer.now = Instant::from_millis(round * 10);
    }
    let job = peer.deliveries().remove(0);
    let headers = &job.message.properties().headers;
    let expected = [("retry", "expired", 3), ("work", "rejected", 3)];
    let expected = expected.map(|(queue, reason, count)| (queue.into(), reason.into(), count));
    assert_eq!(summary(headers), expected);
    assert_eq!(headers.get("x-first-death-queue"), Some(&Value::text("work")));
    assert_eq!(headers.get("x-last-death-queue"), Some(&Value::text("retry")));
}

#[test]
fn a_circle_without_a_reject_is_cut() {
    let (broker, log) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    for (queue, next) in [("a", "b"), ("b", "a")] {
        let mut arguments = dead_to(next).to_vec();
        arguments.push(("x-message-ttl", int(10)));
        peer.queue_with(queue, &arguments).unwrap();
    }
    peer.try_publish(&Publish { key: "a", persistent: true, ..Publish::default() }).unwrap();
    for (now, a, b) in [(10, 0, 1), (20, 0, 0), (30, 0, 0)] {
        broker.tick(Instant::from_millis(now), 1000);
        log.step();
        assert_eq!((peer.ready("a"), peer.ready("b")), (a, b), "at {now}");
    }
    assert_eq!(log.live(), 0);
}

#[test]
fn a_quorum_queue_counts_returns_and_ends_them() {
    let (broker, log) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    let mut arguments = dead_to("d").to_vec();
    arguments.push(("x-queue-type", Value::text("quorum")));
    arguments.push(("x-delivery-limit", int(2)));
    peer.queue_with("q", &arguments).unwrap();
    peer.queue_with("d", &[]).unwrap();
    peer.consume(consume("q"));
    peer.try_publish(&Publish { key: "q", persistent: true, ..Publish::default() }).unwrap();
    for round in 0..3 {
        let delivery = peer.deliveries().remove(0);
        assert_eq!(delivery.delivery_count, Some(round));
        peer.batch(|batch, session| batch.settle(session, delivery.delivery, Outcome::Requeued));
        log.step();
    }
    assert!(peer.bodies().is_empty());
    peer.consume(consume("d"));
    log.step();
    let dead = peer.deliveries().remove(0);
    let (queue, reason, _) = summary(&dead.message.properties().headers).remove(0);
    assert_eq!((queue.as_str(), reason.as_str()), ("q", "delivery_limit"));
}

#[test]
fn three_thousand_at_once_are_published_in_slices() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    let mut arguments = dead_to("d").to_vec();
    arguments.push(("x-message-ttl", int(10)));
    peer.queue_with("q", &arguments).unwrap();
    peer.queue_with("d", &[]).unwrap();
    for index in 0..3000 {
        peer.publish("", "q", &index.to_string());
    }
    while broker.tick(Instant::from_millis(10), 500) {}
    let expected: Vec<_> = (0..3000).map(|index| index.to_string()).collect();
    assert_eq!(peer.drain("d"), expected);
}
