//! Exchanges and bindings.

use trivium_core::control::{Binding, Consume, DeclareExchange, Destination};
use trivium_core::{Broker, Confirm, Event, Refusal, Request, Table, Ticket, Value};

use crate::peer::{Peer, Publish, to_queue};

/// A peer with `count` queues that it consumes from without acknowledgement.
fn consumer(count: usize) -> Peer {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    for index in 0..count {
        peer.queue(&format!("q{index}")).unwrap();
        let queue = format!("q{index}");
        peer.consume(Consume { queue, no_ack: true, ..Consume::default() });
    }
    peer
}

#[test]
fn each_exchange_type_chooses_its_queues() {
    let mut peer = consumer(2);
    for (exchange, key, other) in
        [("amq.direct", "a", "b"), ("amq.topic", "a.*", "b.#"), ("amq.fanout", "x", "y")]
    {
        peer.bind(exchange, to_queue("q0"), key).unwrap();
        peer.bind(exchange, to_queue("q1"), other).unwrap();
    }
    peer.publish("amq.direct", "a", "direct");
    peer.publish("amq.topic", "a.x", "topic one");
    peer.publish("amq.topic", "b", "topic many");
    peer.publish("amq.fanout", "", "both");
    peer.publish("", "q1", "by name");
    assert_eq!(peer.bodies(), ["direct", "topic one", "topic many", "both", "both", "by name"]);
}

#[test]
fn a_queue_gets_one_copy_whatever_the_number_of_paths() {
    let mut peer = consumer(1);
    peer.exchange("first", "fanout");
    peer.exchange("second", "fanout");
    for key in ["#", "a.#", "*.b"] {
        peer.bind("amq.topic", to_queue("q0"), key).unwrap();
    }
    peer.bind("amq.topic", Destination::Exchange("first".into()), "a.b").unwrap();
    peer.bind("first", Destination::Exchange("second".into()), "").unwrap();
    peer.bind("second", Destination::Exchange("first".into()), "").unwrap();
    peer.bind("second", to_queue("q0"), "").unwrap();
    peer.publish("amq.topic", "a.b", "once");
    assert_eq!(peer.bodies(), ["once"]);
}

#[test]
fn unbinding_one_of_two_bindings_keeps_the_other() {
    let mut peer = consumer(1);
    for arguments in [&[][..], &[("x", "1")]] {
        peer.bind_with("amq.direct", to_queue("q0"), "a", arguments).unwrap();
    }
    let unbind = |peer: &Peer| {
        let binding = Binding {
            source: "amq.direct".into(),
            destination: to_queue("q0"),
            key: "a".into(),
            arguments: Table::default(),
        };
        peer.ask(Request::Unbind(binding)).unwrap();
    };
    unbind(&peer);
    unbind(&peer);
    peer.publish("amq.direct", "a", "still bound");
    assert_eq!(peer.bodies(), ["still bound"]);
}

#[test]
fn headers_are_matched_by_all_or_any() {
    let mut peer = consumer(2);
    let all = [("x-match", "all"), ("colour", "red"), ("x-ignored", "yes")];
    peer.bind_with("amq.headers", to_queue("q0"), "", &all).unwrap();
    let any = [("x-match", "any"), ("colour", "blue"), ("size", "big")];
    peer.bind_with("amq.match", to_queue("q1"), "", &any).unwrap();
    for (exchange, header, body) in [
        ("amq.headers", "colour=red", "all holds"),
        ("amq.headers", "colour=blue", "all does not"),
        ("amq.match", "size=big", "any holds"),
        ("amq.match", "size=small", "any does not"),
    ] {
        peer.try_publish(&Publish { exchange, header, body, ..Publish::default() }).unwrap();
    }
    assert_eq!(peer.bodies(), ["all holds", "any holds"]);
    let wrong = peer.bind_with("amq.headers", to_queue("q0"), "", &[("x-match", "some")]);
    assert!(wrong.unwrap_err().to_string().starts_with("Invalid x-match field value"));
}

#[test]
fn a_mandatory_message_that_nobody_takes_comes_back_before_its_confirm() {
    let mut peer = consumer(0);
    let publish = Publish {
        key: "nobody",
        body: "lost",
        mandatory: true,
        confirm: Confirm::Wanted,
        ..Publish::default()
    };
    let published = peer.try_publish(&publish).unwrap();
    assert!(!published.routed);
    let events = peer.fetch().0;
    let [Event::Returned { message, .. }, Event::Confirmed { through, .. }] = &events[..] else {
        panic!("unexpected {events:?}")
    };
    assert_eq!((message.body(), *through), (&b"lost"[..], Ticket(1)));
}

#[test]
fn what_is_refused_says_why_and_takes_no_ticket() {
    let mut peer = consumer(0);
    let internal = DeclareExchange {
        name: "internal".into(),
        kind: "fanout".into(),
        internal: true,
        ..DeclareExchange::default()
    };
    peer.ask(Request::DeclareExchange(internal)).unwrap();
    for (exchange, text) in [
        ("nope", "no exchange 'nope' in vhost '/'"),
        ("internal", "cannot publish to internal exchange 'internal' in vhost '/'"),
    ] {
        let publish = Publish { exchange, confirm: Confirm::Wanted, ..Publish::default() };
        assert_eq!(peer.try_publish(&publish).unwrap_err().to_string(), text);
    }
    let key = "k".repeat(65_536);
    let refused = peer.try_publish(&Publish { key: &key, ..Publish::default() }).unwrap_err();
    assert_eq!(refused, Refusal::LimitReached { what: "routing key bytes", limit: 65_535 });
    assert_eq!(peer.session.last_ticket(), Ticket(0));
}

#[test]
fn exchanges_are_declared_and_deleted_by_the_rules() {
    let peer = consumer(0);
    let declare = |name: &str, kind: &str| {
        let (name, kind) = (name.into(), kind.into());
        let declare = DeclareExchange { name, kind, ..DeclareExchange::default() };
        peer.ask(Request::DeclareExchange(declare)).map(drop)
    };
    let refusal = |name, kind| declare(name, kind).unwrap_err().to_string();
    declare("x", "direct").unwrap();
    declare("x", "direct").unwrap();
    assert_eq!(
        refusal("x", "topic"),
        "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'topic' but current is \
         'direct'"
    );
    assert_eq!(refusal("y", "nosuch"), "unknown exchange type 'nosuch'");
    assert_eq!(
        refusal("amq.x", "direct"),
        "exchange name 'amq.x' contains reserved prefix 'amq.*'"
    );
    assert_eq!(refusal("", "direct"), "operation not permitted on the default exchange");
    let delete = |name: &str, if_unused| {
        peer.ask(Request::DeleteExchange { name: name.into(), if_unused }).map(drop)
    };
    peer.queue("q").unwrap();
    peer.bind("x", to_queue("q"), "").unwrap();
    assert_eq!(delete("x", true).unwrap_err().to_string(), "exchange 'x' in vhost '/' in use");
    delete("x", false).unwrap();
    delete("x", false).unwrap();
    assert!(matches!(delete("amq.direct", false), Err(Refusal::AccessRefused { .. })));
    let bound = peer.bind("x", to_queue("q"), "");
    assert_eq!(bound.unwrap_err().to_string(), "no exchange 'x' in vhost '/'");
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let peer = consumer(1);
    for (name, destination) in
        [("inner", to_queue("q0")), ("outer", Destination::Exchange("inner".into()))]
    {
        let declare = DeclareExchange {
            name: name.into(),
            kind: "fanout".into(),
            auto_delete: true,
            ..DeclareExchange::default()
        };
        peer.ask(Request::DeclareExchange(declare)).unwrap();
        peer.bind(name, destination, "").unwrap();
    }
    let name = "q0".into();
    peer.ask(Request::DeleteQueue { name, if_unused: false, if_empty: false }).unwrap();
    for name in ["inner", "outer"] {
        let passive =
            DeclareExchange { name: name.into(), passive: true, ..DeclareExchange::default() };
        assert!(peer.ask(Request::DeclareExchange(passive)).is_err(), "{name} is gone");
    }
}

#[test]
fn a_pattern_of_many_wildcards_is_refused() {
    let peer = consumer(1);
    let refused = peer.bind("amq.topic", to_queue("q0"), "#.a.#.b.#").unwrap_err().to_string();
    assert!(refused.contains("uses 3 '#' wildcards"), "{refused}");
}

fn declare(peer: &Peer, name: &str, kind: &str, arguments: &[(&str, &str)]) {
    let arguments = arguments.iter().map(|(name, value)| ((*name).into(), Value::text(*value)));
    let declare = DeclareExchange {
        name: name.into(),
        kind: kind.into(),
        arguments: Table(arguments.collect()),
        ..DeclareExchange::default()
    };
    peer.ask(Request::DeclareExchange(declare)).unwrap();
}

/// How many of `count` messages each of three queues got from `exchange`.
fn shares(peer: &mut Peer, exchange: &str, count: usize) -> [usize; 3] {
    let mut shares = [0; 3];
    for number in 0..count {
        peer.publish(exchange, &format!("key {number}"), "x");
        let delivered = peer.deliveries();
        let [delivery] = &delivered[..] else { panic!("{} copies", delivered.len()) };
        shares[delivery.consumer.0 as usize - 1] += 1;
    }
    shares
}

#[test]
fn a_hash_spreads_by_weight_and_moves_little() {
    let mut peer = consumer(3);
    declare(&peer, "hash", "x-consistent-hash", &[]);
    for (queue, weight) in [("q0", "1"), ("q1", "1"), ("q2", "2")] {
        peer.bind("hash", to_queue(queue), weight).unwrap();
    }
    let before = shares(&mut peer, "hash", 2000);
    for (share, wanted) in before.iter().zip([500, 500, 1000]) {
        assert!(share.abs_diff(wanted) < 120, "{before:?}");
    }
    assert_eq!(shares(&mut peer, "hash", 2000), before, "the same keys go the same way");
    let binding = Binding {
        source: "hash".into(),
        destination: to_queue("q1"),
        key: "1".into(),
        arguments: Table::default(),
    };
    peer.ask(Request::Unbind(binding)).unwrap();
    let after = shares(&mut peer, "hash", 2000);
    assert_eq!(after[1], 0);
    assert_eq!(after[0] + after[2], 2000);
    assert!(after[0] >= before[0] && after[2] >= before[2], "nothing else moved: {after:?}");
}

#[test]
fn a_hash_may_be_that_of_a_header() {
    let mut peer = consumer(3);
    declare(&peer, "hash", "x-consistent-hash", &[("hash-header", "device")]);
    for queue in ["q0", "q1", "q2"] {
        peer.bind("hash", to_queue(queue), "5").unwrap();
    }
    let mut ways = std::collections::BTreeSet::new();
    for device in 0..20 {
        let header = format!("device={device}");
        let way = |peer: &mut Peer, key| {
            let publish = Publish { exchange: "hash", key, header: &header, ..Publish::default() };
            peer.try_publish(&publish).unwrap();
            peer.deliveries()[0].consumer
        };
        let one = way(&mut peer, "a");
        assert_eq!(one, way(&mut peer, "b"), "the key does not count");
        ways.insert(one);
    }
    assert_eq!(ways.len(), 3, "every queue has some devices");
}

#[test]
fn a_random_exchange_gives_each_message_to_one_queue() {
    let mut peer = consumer(3);
    declare(&peer, "random", "x-random", &[]);
    for queue in ["q0", "q1", "q2"] {
        peer.bind("random", to_queue(queue), "any").unwrap();
    }
    let shares = shares(&mut peer, "random", 900);
    assert!(shares.iter().all(|share| share.abs_diff(300) < 90), "{shares:?}");
}

#[test]
fn recent_history_comes_with_the_binding_and_is_bounded() {
    let mut peer = consumer(1);
    declare(&peer, "recent", "x-recent-history", &[]);
    for number in 0..30 {
        peer.publish("recent", "", &number.to_string());
    }
    assert_eq!(peer.bodies(), [""; 0]);
    peer.bind("recent", to_queue("q0"), "").unwrap();
    let wanted: Vec<_> = (10..30).map(|number| number.to_string()).collect();
    assert_eq!(peer.bodies(), wanted);
    peer.publish("recent", "", "live");
    assert_eq!(peer.bodies(), ["live"]);
}

#[test]
fn alternates_take_over_wherever_a_message_finds_no_way() {
    let mut peer = consumer(2);
    declare(&peer, "inner", "direct", &[("alternate-exchange", "lost")]);
    declare(&peer, "outer", "fanout", &[("alternate-exchange", "unused")]);
    declare(&peer, "lost", "fanout", &[]);
    declare(&peer, "unused", "fanout", &[]);
    peer.bind("outer", Destination::Exchange("inner".into()), "").unwrap();
    peer.bind("inner", to_queue("q0"), "known").unwrap();
    peer.bind("lost", to_queue("q1"), "").unwrap();
    peer.bind("unused", to_queue("q1"), "").unwrap();
    peer.publish("outer", "known", "found");
    peer.publish("outer", "other", "lost");
    let delivered: Vec<_> =
        peer.deliveries().iter().map(|d| (d.consumer.0, crate::peer::body(d))).collect();
    assert_eq!(delivered, [(1, "found".to_owned()), (2, "lost".to_owned())]);
}

#[test]
fn further_keys_find_further_queues_once() {
    let mut peer = consumer(3);
    peer.bind("amq.topic", to_queue("q0"), "a.#").unwrap();
    peer.bind("amq.topic", to_queue("q1"), "b").unwrap();
    peer.publish("amq.topic", "a.x", "cached without copies");
    assert_eq!(peer.bodies().len(), 1);
    for (exchange, key, more) in [
        ("amq.topic", "a.x", ["b", "a.y"]),
        ("", "q0", ["q1", "q0"]),
        ("amq.topic", "no", ["b", "a"]),
    ] {
        let publish = Publish { exchange, key, body: "copy", ..Publish::default() };
        peer.batch(|batch, session| {
            let draft = crate::peer::draft(&publish);
            batch.publish_also(session, draft, &more, Confirm::Unwanted).unwrap()
        });
        let delivered = peer.deliveries();
        assert_eq!(delivered.len(), 2, "{exchange} {key}");
        assert!(delivered.iter().all(|delivery| delivery.message.routing_key() == key));
    }
    peer.publish("amq.topic", "a.x", "cached without copies");
    assert_eq!(peer.bodies().len(), 1);
}
