//! PUBLISH from a client, and its acknowledgements.

use trivium_core::control::{Binding, DeclareQueue, Destination, Origin, Reply};
use trivium_core::{Principal, Response};

use super::*;

/// A durable queue bound to everything on `amq.topic`, so that a confirm waits for the log.
fn bind_durable_queue(world: &World) {
    let principal = Principal::unrestricted("guest");
    let outbox = world.broker().outbox();
    let link = world.broker().connect(&principal, "/", Protocol::Amqp, outbox).unwrap();
    let session = link.session(1);
    let origin = Origin {
        session: Some(session.handle()),
        principal: Some(principal),
        protocol: Protocol::Amqp,
    };
    let queue = DeclareQueue { name: "q".into(), durable: true, ..DeclareQueue::default() };
    let binding = Binding {
        source: "amq.topic".into(),
        destination: Destination::Queue("q".into()),
        key: "#".into(),
        arguments: trivium_core::Table::default(),
    };
    for request in [Request::DeclareQueue(queue), Request::Bind(binding)] {
        let reply = world.broker().request(&origin, request);
        let Reply::Ready(Ok(Response::Queue { .. } | Response::Done)) = reply else {
            panic!("{reply:?}")
        };
    }
}

#[test]
fn a_publish_is_acknowledged_once_it_is_safe_and_in_order() {
    for (version, ack) in [
        (V4, &b"\x40\x02\0\x07\x50\x02\0\x08\x40\x02\0\x09"[..]),
        (V5, b"\x40\x02\0\x07\x50\x02\0\x08\x40\x02\0\x09"),
    ] {
        let world = World::new();
        bind_durable_queue(&world);
        let mut client = client(&world, version, "a");
        let sent = [
            publish(version, 2, "t", 7, b"", b"1"),
            publish(version, 4, "t", 8, b"", b"2"),
            publish(version, 2, "t", 9, b"", b"3"),
            publish(version, 0, "t", 0, b"", b"4"),
        ];
        assert_eq!(client.send(&sent.concat()), b"", "[MQTT-4.3.2-4] ownership first");
        world.step();
        assert_eq!(Hex(&client.read()), Hex(ack), "[MQTT-3.3.4-1] [MQTT-4.6.0-2] [MQTT-2.2.1-5]");
    }
}

#[test]
fn mqtt_5_hears_that_nobody_subscribes() {
    run(&[
        case(
            "0x10",
            V5,
            vec![publish(V5, 2, "t", 7, b"", b"")],
            vec![b"\x40\x03\0\x07\x10".to_vec()],
            false,
        ),
        case(
            "0x10",
            V5,
            vec![publish(V5, 4, "t", 7, b"", b"")],
            vec![b"\x50\x03\0\x07\x10".to_vec()],
            false,
        ),
        case(
            "3.1.1",
            V4,
            vec![publish(V4, 2, "t", 7, b"", b"")],
            vec![b"\x40\x02\0\x07".to_vec()],
            false,
        ),
    ]);
}

#[test]
fn publishes_that_break_a_rule() {
    let gone = |code: u8| vec![vec![0xE0, 2, code, 0]];
    let one = |version, flags, topic, properties: &[u8]| {
        vec![publish(version, flags, topic, 7, properties, b"x")]
    };
    run(&[
        case("[MQTT-3.3.2-2] wildcard", V5, one(V5, 0, "a/#", b""), gone(0x90), true),
        case("3.1.1 [MQTT-3.3.2-2] wildcard", V4, one(V4, 0, "a/+", b""), vec![], true),
        case("[MQTT-4.7.3-1] empty topic", V5, one(V5, 0, "", b""), gone(0x82), true),
        case("3.1.1 [MQTT-4.7.3-1] empty topic", V4, one(V4, 0, "", b""), vec![], true),
        case("[MQTT-4.7.3-2] NUL in a topic", V5, one(V5, 0, "a\0", b""), gone(0x81), true),
        case("[MQTT-3.3.4-6] subscription id", V5, one(V5, 0, "a", b"\x0B\x01"), gone(0x82), true),
        case("[MQTT-3.3.2-9] alias 17", V5, one(V5, 0, "a", b"\x23\0\x11"), gone(0x94), true),
        case("[MQTT-3.3.2-8] alias 0", V5, one(V5, 0, "a", b"\x23\0\0"), gone(0x94), true),
        case("[MQTT-3.3.2-7] unknown alias", V5, one(V5, 0, "", b"\x23\0\x01"), gone(0x82), true),
        case(
            "$SYS at QoS 1",
            V5,
            one(V5, 2, "$SYS/a", b""),
            vec![b"\x40\x03\0\x07\x87".to_vec()],
            false,
        ),
        case("$SYS at QoS 0", V5, one(V5, 0, "$SYS/a", b""), gone(0x87), true),
        case("$share in 3.1.1", V4, one(V4, 2, "$share/g/a", b""), vec![], true),
        case(
            "somebody else's name",
            V5,
            one(V5, 2, "a", b"\x26\0\x0Camqp-user-id\0\x04root"),
            vec![b"\x40\x03\0\x07\x87".to_vec()],
            false,
        ),
    ]);
}

#[test]
fn topic_aliases_stand_for_their_topic() {
    run(&[case(
        "[MQTT-3.3.2-12] alias 1 and 16, and an alias that changes",
        V5,
        vec![
            subscribe(V5, 1, &[("#", 0)], b""),
            publish(V5, 0, "a", 0, b"\x23\0\x10", b"1"),
            publish(V5, 0, "b", 0, b"\x23\0\x01", b"2"),
            publish(V5, 0, "", 0, b"\x23\0\x10\x01\x01", b"3"),
            publish(V5, 0, "c", 0, b"\x23\0\x10", b"4"),
            publish(V5, 0, "", 0, b"\x01\x01\x23\0\x10", b"5"),
        ],
        vec![
            suback(V5, 1, &[0]),
            publish(V5, 0, "a", 0, b"", b"1"),
            publish(V5, 0, "b", 0, b"", b"2"),
            publish(V5, 0, "a", 0, b"\x01\x01", b"3"),
            publish(V5, 0, "c", 0, b"", b"4"),
            publish(V5, 0, "c", 0, b"\x01\x01", b"5"),
        ],
        false,
    )]);
}

#[test]
fn qos_2_is_published_once() {
    for version in [V4, V5] {
        let world = World::new();
        let mut subscriber = client(&world, version, "s");
        subscriber.send(&subscribe(version, 1, &[("t", 0)], b""));
        let mut client = client(&world, version, "a");
        let pubrec = b"\x50\x02\0\x07".to_vec();
        assert_eq!(client.send(&publish(version, 4, "t", 7, b"", b"1")), pubrec, "[MQTT-4.3.3-8]");
        assert_eq!(
            client.send(&publish(version, 0xC, "t", 7, b"", b"1")),
            pubrec,
            "[MQTT-4.3.3-10]"
        );
        assert_eq!(subscriber.read(), publish(version, 0, "t", 0, b"", b"1"));
        assert_eq!(client.send(b"\x62\x02\0\x07"), b"\x70\x02\0\x07", "[MQTT-4.3.3-11]");
        assert_eq!(client.send(&publish(version, 4, "t", 7, b"", b"2")), pubrec, "[MQTT-4.3.3-12]");
        assert_eq!(subscriber.read(), publish(version, 0, "t", 0, b"", b"2"));
    }
}

#[test]
fn the_receive_maximum_is_enforced() {
    let world = World::new();
    bind_durable_queue(&world);
    let config = Config { receive_maximum: 2, ..Config::default() };
    let mut client = world.client(Protocol::Mqtt, adapter(config), usize::MAX);
    client.send(&connect(V5, "a", 0, b""));
    let sent = [publish(V5, 2, "t", 1, b"", b""), publish(V5, 4, "t", 2, b"", b"")].concat();
    assert_eq!(client.send(&sent), b"");
    world.step();
    assert_eq!(client.read(), b"\x40\x02\0\x01\x50\x02\0\x02");
    let again = publish(V5, 2, "t", 3, b"", b"");
    assert_eq!(client.send(&again), b"");
    assert_eq!(client.send(&again), b"\xE0\x02\x93\0", "[MQTT-3.3.4-7] QoS 2 counts until PUBREL");
    assert!(client.is_closed());
}
