//! Exchanges and bindings.

use trivium_core::control::{Binding, Consume, DeclareExchange, Destination};
use trivium_core::{Broker, Confirm, Event, Refusal, Request, Table, Ticket};

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
