//! MQTT sessions: subscriptions of both kinds, retained messages, takeover.

use trivium_core::address::Pattern;
use trivium_core::control::{Source, Subscription};
use trivium_core::{Broker, Event, Limits, Request, Response, Variant};

use crate::peer::{Peer, Plain, Publish};

fn open(peer: &Peer, client_id: &str) -> String {
    let request = Request::OpenSession {
        client_id: client_id.into(),
        clean_start: true,
        expiry_s: 0,
        unsettled_max: 10,
        will: None,
    };
    match peer.ask(request) {
        Ok(Response::SessionOpened { client_id, resumed: None }) => client_id,
        other => panic!("unexpected {other:?}"),
    }
}

/// Fire-and-forget for a variant, else through the session's queue.
fn subscription(filter: &str, variant: Option<u32>) -> Subscription {
    Subscription {
        name: filter.into(),
        id: None,
        retain_as_published: false,
        source: Source::Filter(Pattern::from_filter(filter)),
        qos: u8::from(variant.is_none()),
        fire_and_forget: variant.map(|variant| (&Plain as _, Variant(variant))),
        no_local: false,
        retained: false,
    }
}

fn subscribe(peer: &mut Peer, subscription: Subscription) -> Vec<String> {
    match peer.ask(Request::Subscribe(vec![subscription])) {
        Ok(Response::Subscribed(mut answers)) => {
            let granted = answers.pop().unwrap().unwrap();
            if let Some(consumer) = granted.consumer {
                peer.batch(|batch, session| batch.start(session, consumer));
            }
            let (mut retained, mut rest) = (granted.retained, granted.rest);
            while let Some(slice) = rest {
                match peer.ask_patiently(Request::Retained(slice)) {
                    Ok(Response::Retained { mut messages, rest: next }) => {
                        retained.append(&mut messages);
                        rest = next;
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
            let body = |message: &trivium_core::Message| message.body().to_vec();
            let bodies = retained.iter().map(body);
            bodies.map(|body| String::from_utf8(body).unwrap()).collect()
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn a_fire_and_forget_subscription_gets_packets_and_the_other_kind_deliveries() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    open(&peer, "c");
    subscribe(&mut peer, subscription("a/+", Some(4)));
    subscribe(&mut peer, subscription("b/#", None));
    peer.publish("amq.topic", "a.x", "packet");
    peer.publish("amq.topic", "b", "delivery");
    peer.publish("amq.topic", "c", "nothing");
    let (events, packets) = peer.fetch();
    assert_eq!(packets, "4packet.");
    let [Event::Delivery(delivery)] = &events[..] else { panic!("unexpected {events:?}") };
    assert_eq!(delivery.message.body(), b"delivery");
}

#[test]
fn overlapping_subscriptions_of_a_client_give_one_copy() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    open(&peer, "c");
    subscribe(&mut peer, subscription("a/#", Some(4)));
    subscribe(&mut peer, subscription("a/+", Some(4)));
    peer.publish("amq.topic", "a.x", "1");
    assert_eq!(peer.fetch().1, "41.", "both fire and forget");
    subscribe(&mut peer, subscription("a/x", None));
    peer.publish("amq.topic", "a.x", "2");
    let (events, packets) = peer.fetch();
    assert_eq!((events.len(), packets.as_str()), (1, ""), "through the queue, for its QoS");
}

#[test]
fn a_run_is_encoded_per_variant_and_kept_in_order() {
    let (broker, _) = Broker::stepped();
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::new(&broker)).collect();
    for (index, peer) in peers.iter_mut().enumerate() {
        open(peer, &format!("c{index}"));
        subscribe(peer, subscription("t", Some(if index == 2 { 5 } else { 4 })));
    }
    peers[0].batch(|batch, session| {
        for body in ["a", "b"] {
            let publish = Publish { exchange: "amq.topic", key: "t", body, ..Publish::default() };
            let draft = crate::peer::draft(&publish);
            batch.publish(session, draft, trivium_core::Confirm::Unwanted).unwrap();
        }
    });
    let packets: Vec<String> = peers.iter().map(|peer| peer.fetch().1).collect();
    assert_eq!(packets, ["4a.4b.", "4a.4b.", "5a.5b."]);
}

#[test]
fn no_local_spares_the_publisher() {
    let (broker, _) = Broker::stepped();
    let (mut one, mut two) = (Peer::new(&broker), Peer::new(&broker));
    for (peer, name) in [(&mut one, "one"), (&mut two, "two")] {
        open(peer, name);
        subscribe(peer, Subscription { no_local: true, ..subscription("t", Some(4)) });
    }
    one.publish("amq.topic", "t", "x");
    assert_eq!((one.fetch().1.as_str(), two.fetch().1.as_str()), ("", "4x."));
}

#[test]
fn keys_that_begin_with_a_dollar_do_not_reach_mqtt() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    open(&peer, "c");
    subscribe(&mut peer, subscription("#", Some(4)));
    subscribe(&mut peer, subscription("+/x", None));
    peer.publish("amq.topic", "$own.x", "hidden");
    assert_eq!((peer.fetch().0.len(), peer.fetch().1.len()), (0, 0));
}

#[test]
fn retained_messages_wait_for_subscribers() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    open(&peer, "c");
    let retain = |peer: &mut Peer, key, body| {
        let publish =
            Publish { exchange: "amq.topic", key, body, retain: true, ..Publish::default() };
        peer.try_publish(&publish).unwrap();
    };
    for (key, body) in [("a.x", "old"), ("a.x", "new"), ("a.y", "other"), ("ab", "no")] {
        retain(&mut peer, key, body);
    }
    let wanted = |filter, variant| Subscription { retained: true, ..subscription(filter, variant) };
    assert_eq!(subscribe(&mut peer, wanted("a/+", Some(4))), ["new", "other"]);
    assert_eq!(subscribe(&mut peer, wanted("a/x", None)), [""; 0]);
    let delivered = peer.deliveries();
    assert_eq!(delivered.len(), 1);
    assert!(delivered[0].retained);
    retain(&mut peer, "a.x", "");
    assert_eq!(subscribe(&mut peer, wanted("+/x", Some(4))), [""; 0], "cleared");
}

#[test]
fn unsubscribing_ends_it_and_says_whether_there_was_one() {
    let (broker, _) = Broker::stepped();
    let mut peer = Peer::new(&broker);
    open(&peer, "c");
    for (filter, variant) in [("a", Some(4)), ("b", None)] {
        subscribe(&mut peer, subscription(filter, variant));
    }
    let sources = ["a", "b", "c"].map(|filter| Source::Filter(Pattern::from_filter(filter)));
    let answer = peer.ask(Request::Unsubscribe(sources.to_vec()));
    let Ok(Response::Unsubscribed(known)) = answer else { panic!("unexpected {answer:?}") };
    assert_eq!(known, [true, true, false]);
    peer.publish("amq.topic", "a", "x");
    peer.publish("amq.topic", "b", "x");
    assert_eq!((peer.fetch().0.len(), peer.fetch().1.len()), (0, 0));
}

#[test]
fn a_second_connection_takes_the_session_over() {
    let (broker, _) = Broker::stepped();
    let (mut old, new) = (Peer::new(&broker), Peer::new(&broker));
    assert_eq!(open(&old, "c"), "c");
    subscribe(&mut old, subscription("t", Some(4)));
    subscribe(&mut old, subscription("q", None));
    open(&new, "c");
    assert!(matches!(old.fetch().0[..], [Event::TakenOver]));
    let mut publisher = Peer::new(&broker);
    publisher.publish("amq.topic", "t", "x");
    assert_eq!(old.fetch().1, "", "its subscriptions are gone");
    drop(old);
    let third = Peer::new(&broker);
    open(&third, "c");
    assert!(matches!(new.fetch().0[..], [Event::TakenOver]), "the end of the old is not its");
    assert_ne!(open(&publisher, ""), open(&Peer::new(&broker), ""), "made names differ");
}

#[test]
fn packets_beyond_the_bound_are_dropped_and_counted() {
    let limits = Limits { fire_and_forget_bytes_max: 100, ..Limits::default() };
    let broker = Broker::ephemeral(limits, 1);
    let mut peer = Peer::new(&broker);
    open(&peer, "c");
    subscribe(&mut peer, subscription("t", Some(4)));
    for _ in 0..100 {
        peer.publish("amq.topic", "t", "12345678");
    }
    let kept = peer.fetch().1.len();
    assert!((100..120).contains(&kept), "{kept}");
    let dropped = broker.totals().counts[trivium_core::Protocol::Mqtt.index()].dropped;
    assert_eq!(dropped, 100 - kept as u64 / 10);
}

#[test]
fn what_is_lost_on_the_way_is_counted_for_each_receiver() {
    let (broker, _) = Broker::stepped();
    let mut peers: Vec<Peer> = (0..2).map(|_| Peer::new(&broker)).collect();
    for (index, peer) in peers.iter_mut().enumerate() {
        open(peer, &format!("c{index}"));
        subscribe(peer, subscription("t", Some(4)));
    }
    for header in ["a=b", ""] {
        let publish = Publish { exchange: "amq.topic", key: "t", header, ..Publish::default() };
        peers[0].try_publish(&publish).unwrap();
    }
    subscribe(&mut peers[0], Subscription { no_local: true, ..subscription("u", Some(4)) });
    subscribe(&mut peers[1], subscription("u", Some(4)));
    let publish = Publish { exchange: "amq.topic", key: "u", header: "a=b", ..Publish::default() };
    peers[0].try_publish(&publish).unwrap();
    let losses = broker.totals().losses;
    let [loss] = &losses[..] else { panic!("unexpected {losses:?}") };
    assert_eq!((loss.field.name(), loss.count), ("header", 3), "not for who published it");
}

#[test]
fn a_client_that_is_away_is_kept_so_many_messages_and_misses_the_newest() {
    let limits = Limits { away_messages_max: 3, ..Limits::default() };
    let broker = Broker::ephemeral(limits, 1);
    let open = |peer: &Peer| {
        peer.ask(Request::OpenSession {
            client_id: "c".into(),
            clean_start: false,
            expiry_s: 60,
            unsettled_max: 10,
            will: None,
        })
    };
    let mut away = Peer::new(&broker);
    open(&away).unwrap();
    subscribe(&mut away, subscription("t", None));
    drop(away);
    let mut publisher = Peer::new(&broker);
    for body in ["1", "2", "3", "4", "5"] {
        publisher.publish("amq.topic", "t", body);
    }
    let mut back = Peer::new(&broker);
    let Ok(Response::SessionOpened { resumed: Some(resumed), .. }) = open(&back) else {
        panic!("resumed")
    };
    let consumer = resumed.consumer.unwrap();
    back.batch(|batch, session| batch.start(session, consumer));
    assert_eq!(back.bodies(), ["1", "2", "3"]);
    publisher.publish("amq.topic", "t", "6");
    assert_eq!(back.bodies(), ["6"], "nothing is dropped of who is there");
}
