//! `$queue/<name>` and `$share/<group>/<filter>`: subscriptions with a consumer of their own.

use trivium_core::control::{Consume, DeclareQueue, Origin};
use trivium_core::{
    Answer, Body, Confirm, ConsumerId, Delivery, Draft, Event, Outbox, Outcome, Principal, Reply,
    Session, Worker,
};

use super::*;

/// A client of the core beside the MQTT clients, which speaks no protocol.
struct Peer<'w> {
    world: &'w World,
    session: Session,
    _link: trivium_core::Connection,
    outbox: Arc<Outbox>,
    worker: Worker,
}

impl<'w> Peer<'w> {
    fn new(world: &'w World) -> Self {
        let (broker, outbox) = (world.broker(), world.broker().outbox());
        let guest = Principal::unrestricted("guest");
        let link = broker.connect(&guest, "/", Protocol::Amqp, outbox.clone()).unwrap();
        Self { world, session: link.session(1), _link: link, outbox, worker: Worker::default() }
    }

    fn ask(&self, request: Request) -> Answer {
        let session = Some(self.session.handle());
        let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
        match self.world.broker().request(&origin, request) {
            Reply::Ready(answer) => answer,
            Reply::Pending(_) => panic!("nothing is paged here"),
        }
    }

    fn declare(&self, name: &str, exclusive: bool) {
        let name = name.into();
        let declare = DeclareQueue { name, exclusive, ..DeclareQueue::default() };
        self.ask(Request::DeclareQueue(declare)).unwrap();
    }

    fn batch<T>(&mut self, act: impl FnOnce(&mut Batch<'_>, &mut Session) -> T) -> T {
        let mut batch = self.world.broker().batch(&mut self.worker, self.world.now());
        let result = act(&mut batch, &mut self.session);
        batch.end();
        result
    }

    fn publish(&mut self, exchange: &str, key: &str, body: &[u8]) {
        self.batch(|batch, session| {
            let draft = Draft {
                exchange,
                routing_key: key,
                codec: &crate::PROPERTY_CODEC,
                properties: &[4],
                body: Body::Borrowed(body),
                persistent: false,
                mandatory: false,
                expires_at: None,
                priority: 0,
                retain: false,
            };
            batch.publish(session, draft, Confirm::Unwanted).unwrap();
        });
    }

    fn consume(&mut self, queue: &str) -> ConsumerId {
        let consume = Consume { queue: queue.into(), ..Consume::default() };
        match self.ask(Request::Consume(consume)) {
            Ok(trivium_core::Response::Consuming(consumer)) => {
                self.batch(|batch, session| batch.start(session, consumer));
                consumer
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn deliveries(&self) -> Vec<Delivery> {
        let (mut events, mut packets) = (Vec::new(), Vec::new());
        let bytes = self.outbox.fetch(std::task::Waker::noop(), &mut events, &mut packets);
        assert!(!self.outbox.release(bytes));
        let delivery = |event| match event {
            Event::Delivery(delivery) => delivery,
            other => panic!("unexpected {other:?}"),
        };
        events.into_iter().map(delivery).collect()
    }

    fn bodies(&self) -> Vec<Vec<u8>> {
        self.deliveries().iter().map(|delivery| delivery.message.body().to_vec()).collect()
    }

    fn exists(&self, name: &str) -> bool {
        let passive = DeclareQueue { name: name.into(), passive: true, ..DeclareQueue::default() };
        self.ask(Request::DeclareQueue(passive)).is_ok()
    }
}

/// A delivery from a queue at QoS 1, with the topic it was published to.
fn from_queue(
    version: Version,
    queue: &str,
    packet_id: u8,
    topic: &str,
    rest: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let original = [&b"\x26\0\x0Cx-mqtt-topic"[..], &field(topic.as_bytes()), rest].concat();
    publish(version, 2, &format!("$queue/{queue}"), packet_id, &original, body)
}

#[test]
fn a_client_takes_from_any_queue_and_settles_it() {
    for version in [V4, V5] {
        let world = World::new();
        let mut peer = Peer::new(&world);
        peer.declare("a/b", false);
        peer.publish("", "a/b", b"1");
        let mut client = client(&world, version, "c");
        let id: &[u8] = if version.is_5() { b"\x0B\x07" } else { b"" };
        let read = client.send(&subscribe(version, 1, &[("$queue/a%2Fb", 2)], id));
        let first = from_queue(version, "a%2Fb", 1, "$queue/a%2Fb", id, b"1");
        assert_eq!(Hex(&read), Hex(&[suback(version, 1, &[1]), first].concat()));
        client.send(b"\x40\x02\0\x01");
        let read = client.send(&publish(version, 0, "$queue/a%2Fb", 0, b"", b"2"));
        let second = from_queue(version, "a%2Fb", 1, "$queue/a%2Fb", id, b"2");
        assert_eq!(Hex(&read), Hex(&second), "a topic that is a queue, both ways");
        client.disconnect();
        peer.consume("a/b");
        let left = peer.deliveries();
        assert_eq!(left.len(), 1, "settled is settled, and what was not goes to others");
        assert!(left[0].redelivered);
        assert_eq!(left[0].message.body(), b"2");
    }
}

#[test]
fn what_a_queue_got_through_a_topic_says_which_one() {
    let world = World::new();
    let peer = Peer::new(&world);
    peer.declare("q", false);
    let binding = trivium_core::control::Binding {
        source: "amq.topic".into(),
        destination: trivium_core::control::Destination::Queue("q".into()),
        key: "#".into(),
        arguments: trivium_core::Table::default(),
    };
    peer.ask(Request::Bind(binding)).unwrap();
    let mut client = client(&world, V5, "c");
    client.send(&subscribe(V5, 1, &[("$queue/q", 1)], b""));
    let spoofed = b"\x26\0\x0Cx-mqtt-topic\0\x05other\x26\0\x01k\0\x01v";
    let read = client.send(&publish(V5, 0, "a.b/c", 0, spoofed, b"x"));
    let expected =
        publish(V5, 2, "$queue/q", 1, b"\x26\0\x01k\0\x01v\x26\0\x0Cx-mqtt-topic\0\x05a.b/c", b"x");
    assert_eq!(Hex(&read), Hex(&expected), "and a publisher cannot say another");
}

#[test]
fn a_reason_of_0x80_or_more_rejects_in_mqtt_5() {
    let world = World::new();
    let mut peer = Peer::new(&world);
    peer.declare("q", false);
    let mut client = client(&world, V5, "c");
    client.send(&subscribe(V5, 1, &[("$queue/q", 1)], b""));
    peer.publish("", "q", b"x");
    client.read();
    client.send(b"\x40\x04\0\x01\x83\0");
    client.disconnect();
    peer.consume("q");
    assert_eq!(peer.deliveries().len(), 0, "rejected is gone without a dead-letter exchange");
}

#[test]
fn which_queues_cannot_be_subscribed_to() {
    for (version, [at_qos_0, not_found, locked, invalid]) in
        [(V4, [0x80; 4]), (V5, [0x83, 0x83, 0x87, 0x8F])]
    {
        let world = World::new();
        let peer = Peer::new(&world);
        peer.declare("q", false);
        peer.declare("mine", true);
        let mut other = client(&world, version, "other");
        other.send(&subscribe(version, 1, &[("t", 1)], b""));
        let mut client = client(&world, version, "c");
        let filters = [
            ("$queue/q", 0),
            ("$queue/none", 1),
            ("$queue/mine", 1),
            ("$queue/mqtt-subscription-other", 1),
            ("$queue/+", 1),
            ("$queue/", 1),
            ("$queue/q", 1),
        ];
        let codes = [at_qos_0, not_found, locked, locked, invalid, invalid, 1];
        let read = client.send(&subscribe(version, 1, &filters, b""));
        assert_eq!(Hex(&read), Hex(&suback(version, 1, &codes)));
    }
}

#[test]
fn unsubscribing_from_a_queue_leaves_the_rest_to_others() {
    let world = World::new();
    let mut peer = Peer::new(&world);
    peer.declare("q", false);
    let mut client = client(&world, V5, "c");
    client.send(&subscribe(V5, 1, &[("$queue/q", 1)], b""));
    peer.publish("", "q", b"1");
    assert_eq!(client.read(), from_queue(V5, "q", 1, "$queue/q", b"", b"1"));
    assert_eq!(client.send(&unsubscribe(V5, 2, &["$queue/q"])), b"\xB0\x04\0\x02\0\0");
    peer.publish("", "q", b"2");
    assert_eq!(client.read(), b"");
    client.send(b"\x40\x02\0\x01");
    peer.consume("q");
    assert_eq!(peer.bodies(), [b"2"], "and what it has it may still settle [MQTT-3.10.4-3]");
}

#[test]
fn receive_maximum_holds_over_all_consumers_and_none_starves() {
    let world = World::new();
    let mut peer = Peer::new(&world);
    peer.declare("q", false);
    peer.declare("r", false);
    let mut client = client_with(&world, V5, "c", b"\x21\0\x01");
    client.send(&subscribe(V5, 1, &[("$queue/q", 1), ("$queue/r", 1)], b""));
    for body in [b"1", b"2", b"3"] {
        peer.publish("", "q", body);
        peer.publish("", "r", body);
    }
    let mut read = client.read();
    let mut queues = Vec::new();
    for _ in 0..6 {
        let one = from_queue(V5, "q", 1, "$queue/q", b"", b"1");
        assert_eq!(read.len(), one.len(), "one at a time");
        queues.push(read[11]);
        read = client.send(b"\x40\x02\0\x01");
    }
    assert_eq!(read, b"");
    let of_q = queues.iter().take(4).filter(|queue| **queue == b'q').count();
    assert_eq!(of_q, 2, "each queue has its turn: {queues:?}");
}

#[test]
fn qos_0_does_not_wait_for_acknowledgements() {
    for id in [&b""[..], b"\x0B\x07"] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let mut client = client_with(&world, V5, "c", b"\x21\0\x01");
        client.send(&subscribe(V5, 1, &[("a", 1)], b""));
        client.send(&subscribe(V5, 1, &[("b", 0)], id));
        for (flags, topic, body) in
            [(2, "a", b"1"), (2, "a", b"2"), (0, "a", b"3"), (2, "b", b"4"), (0, "b", b"5")]
        {
            publisher.send(&publish(V5, flags, topic, 9, b"", body));
        }
        let at_once = [
            publish(V5, 2, "a", 1, b"", b"1"),
            publish(V5, 0, "a", 0, b"", b"3"),
            publish(V5, 0, "b", 0, id, b"4"),
            publish(V5, 0, "b", 0, id, b"5"),
        ];
        let mut read = client.read();
        if id.is_empty() {
            // Fire-and-forget packets and deliveries keep no order between each other.
            assert_eq!(read.len(), at_once.concat().len());
            for packet in &at_once {
                let found = read.windows(packet.len()).position(|window| window == packet);
                read.drain(found.unwrap()..found.unwrap() + packet.len());
            }
        } else {
            assert_eq!(Hex(&read), Hex(&at_once.concat()));
        }
        assert_eq!(client.send(b"\x40\x02\0\x01"), publish(V5, 2, "a", 1, b"", b"2"));
    }
}

#[test]
fn a_group_shares_what_its_filter_matches() {
    for version in [V4, V5] {
        let world = World::new();
        let mut publisher = client(&world, version, "p");
        publisher.send(&publish(version, 1, "a/1", 0, b"", b"old"));
        let mut one = client(&world, version, "one");
        let mut two = client(&world, version, "two");
        for member in [&mut one, &mut two] {
            let read = member.send(&subscribe(version, 1, &[("$share/g/a/+", 1)], b""));
            assert_eq!(read, suback(version, 1, &[1]), "no retained messages for a group");
        }
        for body in [b"1", b"2", b"3", b"4"] {
            publisher.send(&publish(version, 2, "a/x", 9, b"", body));
        }
        let (first, second) = (one.read(), two.read());
        let of = |body: &[u8], id| publish(version, 2, "a/x", id, b"", body);
        assert_eq!(first.len(), second.len(), "half each");
        let mut both = [first, second].concat();
        for body in [b"1", b"2", b"3", b"4"] {
            let is_there = |id| both.windows(of(body, id).len()).any(|w| w == of(body, id));
            assert!([1, 2].into_iter().any(is_there), "[MQTT-4.8.2-3] {body:?}");
        }
        one.disconnect();
        both = two.read();
        assert_eq!(both.len(), 2 * of(b"1", 1).len(), "[MQTT-4.8.2-6] they go to who is left");
    }
}

#[test]
fn a_group_is_a_queue_that_others_may_join_and_ends_with_its_last_member() {
    let world = World::new();
    let mut peer = Peer::new(&world);
    let mut one = client(&world, V5, "one");
    let mut two = client(&world, V5, "two");
    let name = "mqtt-share.g.a.#";
    assert!(!peer.exists(name));
    one.send(&subscribe(V5, 1, &[("$share/g/a/#", 1)], b""));
    two.send(&subscribe(V5, 1, &[("$share/g/a/#", 0)], b""));
    peer.consume(name);
    for body in [b"1", b"2", b"3"] {
        peer.publish("amq.topic", "a.b", body);
    }
    assert_eq!(one.read(), publish(V5, 0, "a/b", 0, b"", b"1"));
    assert_eq!(two.read(), publish(V5, 0, "a/b", 0, b"", b"2"));
    assert_eq!(peer.bodies(), [b"3"]);
    one.disconnect();
    assert!(peer.exists(name));
    two.send(&unsubscribe(V5, 2, &["$share/g/a/#"]));
    assert!(!peer.exists(name));
}

#[test]
fn a_group_whose_queue_was_declared_leaves_it_there() {
    let world = World::new();
    let mut peer = Peer::new(&world);
    peer.declare("mqtt-share.g.a", false);
    let mut client = client(&world, V5, "c");
    client.send(&subscribe(V5, 1, &[("$share/g/a", 1)], b""));
    client.disconnect();
    assert!(peer.exists("mqtt-share.g.a"));
    peer.publish("amq.topic", "a", b"x");
    peer.consume("mqtt-share.g.a");
    assert_eq!(peer.deliveries().len(), 0, "but nothing is bound to it any more");
}

#[test]
fn groups_need_a_name_and_a_filter() {
    let invalid = |filter| {
        case(
            "[MQTT-4.8.2-1] [MQTT-4.8.2-2]",
            V5,
            vec![subscribe(V5, 1, &[(filter, 1)], b"")],
            vec![suback(V5, 1, &[0x8F])],
            false,
        )
    };
    run(&["$share/g", "$share//a", "$share/+/a", "$share/g#/a", "$share/g/", "$share/g/a#"]
        .map(invalid));
    run(&[case(
        "[MQTT-3.8.3-4] no local",
        V5,
        vec![subscribe(V5, 1, &[("$share/g/a", 5)], b"")],
        vec![vec![0xE0, 2, 0x82, 0]],
        true,
    )]);
}

#[test]
fn a_settlement_by_another_protocol_is_the_same() {
    let world = World::new();
    let mut peer = Peer::new(&world);
    peer.declare("q", false);
    let mut client = client_with(&world, V5, "c", b"\x21\0\x01");
    client.send(&subscribe(V5, 1, &[("$queue/q", 1)], b""));
    peer.consume("q");
    for body in [b"1", b"2", b"3"] {
        peer.publish("", "q", body);
    }
    assert_eq!(client.read(), from_queue(V5, "q", 1, "$queue/q", b"", b"1"));
    let deliveries = peer.deliveries();
    assert_eq!(deliveries.len(), 2);
    peer.batch(|batch, session| {
        batch.settle(session, deliveries[0].delivery, Outcome::Accepted);
        batch.settle(session, deliveries[1].delivery, Outcome::Requeued);
    });
    assert_eq!(peer.bodies(), [b"3"], "the window of the other is full");
    drop(peer);
    let read = client.send(b"\x40\x02\0\x01");
    assert_eq!(read, from_queue(V5, "q", 1, "$queue/q", b"", b"3"));
}

#[test]
fn a_responder_that_knows_only_queues_answers_to_a_topic() {
    for qos in [0, 1] {
        let world = World::new();
        let mut peer = Peer::new(&world);
        let mut client = client(&world, V5, "c");
        client.send(&subscribe(V5, 1, &[("answers/+", qos)], b""));
        peer.publish("", "amq.topic.reply-to.answers.1", b"42");
        assert_eq!(client.read(), publish(V5, 0, "answers/1", 0, b"", b"42"));
    }
}
