//! SUBSCRIBE, UNSUBSCRIBE and retained messages.

use super::*;

#[test]
fn subscriptions_are_granted_one_by_one() {
    run(&[
        case(
            "[MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6] [MQTT-3.9.3-1] [MQTT-3.9.3-2]",
            V5,
            vec![subscribe(
                V5,
                7,
                &[("a", 0), ("a#", 0), ("b", 1), ("$share/g/a", 1), ("c", 2), ("$queue/q", 1)],
                b"",
            )],
            vec![suback(V5, 7, &[0, 0x8F, 1, 1, 2, 0x83])],
            false,
        ),
        case(
            "3.1.1 [MQTT-3.9.3-2] knows one failure",
            V4,
            vec![subscribe(
                V4,
                7,
                &[("a", 0), ("a#", 0), ("b", 1), ("$share/g/a", 1), ("c", 2)],
                b"",
            )],
            vec![suback(V4, 7, &[0, 0x80, 1, 1, 2])],
            false,
        ),
        case(
            "nothing granted",
            V5,
            vec![subscribe(V5, 7, &[("#/a", 0)], b"")],
            vec![suback(V5, 7, &[0x8F])],
            false,
        ),
        case(
            "[MQTT-3.8.3-2] no filter",
            V5,
            vec![packet(0x82, &[b"\0\x01\0"])],
            vec![b"\xE0\x02\x82\0".to_vec()],
            true,
        ),
    ]);
}

#[test]
fn unsubscribing_is_answered_filter_by_filter() {
    run(&[
        case(
            "[MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.11.3-1] [MQTT-3.11.3-2]",
            V5,
            vec![
                subscribe(V5, 7, &[("a", 0), ("b", 1)], b""),
                unsubscribe(V5, 8, &["x", "b", "a", "a#"]),
            ],
            vec![suback(V5, 7, &[0, 1]), b"\xB0\x07\0\x08\0\x11\0\0\x8F".to_vec()],
            false,
        ),
        case(
            "[MQTT-3.8.4-5] [MQTT-3.10.4-6] as if each came alone",
            V5,
            vec![
                publish(V5, 1, "a", 0, b"", b"x"),
                subscribe(V5, 7, &[("a", 0x10), ("a", 0x10)], b""),
                unsubscribe(V5, 8, &["a", "a"]),
            ],
            vec![
                suback(V5, 7, &[0, 0]),
                publish(V5, 1, "a", 0, b"", b"x"),
                b"\xB0\x05\0\x08\0\0\x11".to_vec(),
            ],
            false,
        ),
        case(
            "3.1.1 [MQTT-3.10.4-5] of nothing",
            V4,
            vec![unsubscribe(V4, 8, &["x"])],
            vec![b"\xB0\x02\0\x08".to_vec()],
            false,
        ),
    ]);
}

#[test]
fn an_unsubscribed_filter_gets_nothing_more() {
    for (version, qos) in [(V4, 0), (V4, 1), (V5, 0), (V5, 1)] {
        let world = World::new();
        let mut publisher = client(&world, version, "p");
        let mut client = client(&world, version, "a");
        client.send(&subscribe(version, 1, &[("t", qos)], b""));
        publisher.send(&publish(version, 0, "t", 0, b"", b"1"));
        assert_eq!(client.read(), publish(version, 0, "t", 0, b"", b"1"));
        client.send(&unsubscribe(version, 2, &["t"]));
        publisher.send(&publish(version, 0, "t", 0, b"", b"2"));
        assert_eq!(client.read(), b"", "[MQTT-3.10.4-2]");
    }
}

#[test]
fn wildcards_match_as_section_4_7_says() {
    let matches = |filter: &str, topic: &str| {
        [0, 1].map(|qos| {
            let world = World::new();
            let mut client = client(&world, V5, "a");
            client.send(&subscribe(V5, 1, &[(filter, qos)], b""));
            !client.send(&publish(V5, 0, topic, 0, b"", b"x")).is_empty()
        })
    };
    for (filter, topic) in [
        ("#", "a"),
        ("#", "a/b"),
        ("a/#", "a"),
        ("a/#", "a/b/c"),
        ("+", "a"),
        ("a/+", "a/"),
        ("+/+", "/a"),
        ("/+", "/a"),
        ("+/b/#", "a/b"),
        ("a.b", "a.b"),
        ("+", "a.b"),
        ("é/+", "é/x"),
        ("a/*", "a/*"),
    ] {
        assert_eq!(matches(filter, topic), [true, true], "[MQTT-4.7.1-2] {filter} {topic}");
    }
    for (filter, topic) in [
        ("+", "/a"),
        ("+", "a/b"),
        ("a/+", "a"),
        ("a/#", "ab"),
        ("a", "A"),
        ("a.b", "a/b"),
        ("a/+/c", "a/c"),
        ("a/*", "a/b"),
        ("#", "$x/a"),
        ("+/a", "$x/a"),
        ("#", "$x"),
        ("$x/#", "$x/a"),
    ] {
        assert_eq!(matches(filter, topic), [false, false], "[MQTT-4.7.2-1] {filter} {topic}");
    }
}

#[test]
fn retained_messages_are_sent_on_subscribe() {
    for (version, qos) in [(V4, 0), (V4, 1), (V5, 0), (V5, 1)] {
        let world = World::new();
        let mut publisher = client(&world, version, "p");
        let mut early = client(&world, version, "e");
        early.send(&subscribe(version, 1, &[("r/#", qos)], b""));
        publisher.send(&publish(version, 1, "r/a", 0, b"", b"old"));
        publisher.send(&publish(version, 1, "r/a", 0, b"", b"new"));
        assert_eq!(
            early.read(),
            [
                publish(version, 0, "r/a", 0, b"", b"old"),
                publish(version, 0, "r/a", 0, b"", b"new")
            ]
            .concat(),
            "[MQTT-3.3.1-12] the flag is for new subscriptions"
        );
        let mut late = client(&world, version, "l");
        let expected = [suback(version, 1, &[qos]), publish(version, 1, "r/a", 0, b"", b"new")];
        let read = late.send(&subscribe(version, 1, &[("r/+", qos)], b""));
        assert_eq!(Hex(&read), Hex(&expected.concat()), "[MQTT-3.3.1-5] [MQTT-3.3.1-9]");
        publisher.send(&publish(version, 1, "r/a", 0, b"", b""));
        assert_eq!(late.read(), publish(version, 0, "r/a", 0, b"", b""), "[MQTT-3.3.1-6]");
        let read = late.send(&subscribe(version, 2, &[("#", qos)], b""));
        assert_eq!(read, suback(version, 2, &[qos]), "[MQTT-3.3.1-7]");
    }
}

#[test]
fn retain_handling_and_retain_as_published() {
    for qos in [0, 1] {
        let world = World::new();
        let mut client = client(&world, V5, "a");
        client.send(&publish(V5, 1, "r", 0, b"", b"x"));
        let retained = publish(V5, 1, "r", 0, b"", b"x");
        let ask = |options: u8| subscribe(V5, 1, &[("r", options | qos)], b"");
        let answer = |retained: &[u8]| [&suback(V5, 1, &[qos]), retained].concat();
        assert_eq!(client.send(&ask(0x20)), answer(b""), "[MQTT-3.3.1-11]");
        client.send(&unsubscribe(V5, 2, &["r"]));
        assert_eq!(client.send(&ask(0x10)), answer(&retained), "[MQTT-3.3.1-10] new");
        assert_eq!(client.send(&ask(0x10)), answer(b""), "[MQTT-3.3.1-10] not new");
        assert_eq!(client.send(&ask(0x08)), answer(&retained), "[MQTT-3.8.4-4]");
        let live = client.send(&publish(V5, 1, "r", 0, b"", b"y"));
        assert_eq!(live, publish(V5, 1, "r", 0, b"", b"y"), "[MQTT-3.3.1-13] [MQTT-3.8.4-3]");
        let live = client.send(&publish(V5, 0, "r", 0, b"", b"z"));
        assert_eq!(live, publish(V5, 0, "r", 0, b"", b"z"), "[MQTT-3.3.1-13]");
    }
}

#[test]
fn limits_of_subscriptions() {
    let world = World::new();
    let config = Config { subscriptions_max: 2, filters_per_packet_max: 3, ..Config::default() };
    let mut client = world.client(Protocol::Mqtt, adapter(config), usize::MAX);
    client.send(&connect(V5, "a", 0, b""));
    let read = client.send(&subscribe(V5, 1, &[("a", 0), ("b", 0), ("c", 0)], b""));
    assert_eq!(read, suback(V5, 1, &[0, 0, 0x97]));
    let read = client.send(&subscribe(V5, 2, &[("a", 1)], b""));
    assert_eq!(read, suback(V5, 2, &[1]), "a filter may be replaced");
    let read = client.send(&subscribe(V5, 3, &[("a", 0), ("b", 0), ("c", 0), ("d", 0)], b""));
    assert_eq!(read, b"\xE0\x02\x97\0");
}

#[test]
fn many_retained_messages_come_once_each_however_they_are_subscribed_to() {
    const COUNT: usize = 1000;
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    for number in 0..COUNT {
        let flags = if number % 2 == 0 { 1 } else { 3 };
        let topic = format!("many/{number:04}");
        publisher.send(&publish(V5, flags, &topic, 9, b"", b"x"));
    }
    // Fire-and-forget, through the queue at QoS 0, and at QoS 1.
    for (qos, id) in [(0, &b""[..]), (0, b"\x0B\x05"), (1, b"")] {
        let mut reader = client(&world, V5, "reader");
        let read = reader.send(&subscribe(V5, 1, &[("many/#", qos), ("none/#", qos)], id));
        assert!(read.starts_with(&suback(V5, 1, &[qos, qos])), "[MQTT-3.3.1-9] SUBACK first");
        let mut stream = bytes::BytesMut::from(&read[..]);
        let mut seen = std::collections::BTreeMap::new();
        while !stream.is_empty() {
            let packet = mqttbytes::v5::read(&mut stream, 1 << 20).unwrap();
            let mqttbytes::v5::Packet::Publish(publish) = packet else { continue };
            assert!(publish.retain);
            let before = seen.insert(publish.topic, publish.qos as u8);
            assert_eq!(before, None, "once");
        }
        assert_eq!(seen.len(), COUNT);
        let at_qos_1 = seen.values().filter(|qos| **qos == 1).count();
        assert_eq!(at_qos_1, if qos == 1 { COUNT / 2 } else { 0 });
        assert_eq!(reader.send(b"\xC0\0"), b"\xD0\0", "and it listens again");
    }
}
