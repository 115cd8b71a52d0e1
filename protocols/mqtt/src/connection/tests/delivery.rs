//! Deliveries: QoS, options, identifiers, flow control.

use trivium_core::{
    Body, Confirm, Draft, Principal, Properties, PropertyCodec, ReplyTo, Table, Value, Worker,
};

use super::*;

/// Subscribes `client` and expects the codes.
fn subscribed(
    client: &mut Client<'_, Connection>,
    version: Version,
    filters: &[(&str, u8)],
    properties: &[u8],
    codes: &[u8],
) {
    let read = client.send(&subscribe(version, 1, filters, properties));
    assert_eq!(Hex(&read), Hex(&suback(version, 1, codes)));
}

#[test]
fn the_qos_is_the_lesser_of_published_and_granted() {
    for version in [V4, V5] {
        for (granted, published, delivered) in
            [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1), (2, 2, 2), (1, 2, 1), (2, 1, 1), (2, 0, 0)]
        {
            let world = World::new();
            let mut publisher = client(&world, version, "p");
            let mut client = client(&world, version, "a");
            subscribed(&mut client, version, &[("t", granted)], b"", &[granted]);
            publisher.send(&publish(version, published << 1, "t", 9, b"", b"x"));
            let expected = publish(version, delivered << 1, "t", 1, b"", b"x");
            assert_eq!(Hex(&client.read()), Hex(&expected), "[MQTT-3.8.4-8] {granted} {published}");
        }
    }
}

#[test]
fn dup_of_the_publisher_is_not_passed_on() {
    let world = World::new();
    let mut client = client(&world, V5, "a");
    subscribed(&mut client, V5, &[("t", 1)], b"", &[1]);
    let read = client.send(&publish(V5, 0xA, "t", 9, b"", b"x"));
    let expected = [publish(V5, 2, "t", 1, b"", b"x"), b"\x40\x02\0\x09".to_vec()].concat();
    assert_eq!(read, expected, "[MQTT-3.3.1-3]");
}

#[test]
fn a_client_gets_no_more_than_its_receive_maximum() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let mut client = client_with(&world, V5, "a", b"\x21\0\x02");
    subscribed(&mut client, V5, &[("t", 1)], b"", &[1]);
    for body in [b"1", b"2", b"3"] {
        publisher.send(&publish(V5, 2, "t", 9, b"", body));
    }
    let expected = [publish(V5, 2, "t", 1, b"", b"1"), publish(V5, 2, "t", 2, b"", b"2")];
    assert_eq!(client.read(), expected.concat(), "[MQTT-3.3.4-9] [MQTT-4.9.0-2]");
    assert_eq!(client.send(b"\xC0\0"), b"\xD0\0", "[MQTT-3.3.4-10]");
    let next = client.send(b"\x40\x02\0\x02");
    assert_eq!(next, publish(V5, 2, "t", 2, b"", b"3"), "[MQTT-2.2.1-4] the free identifier");
    assert_eq!(client.send(b"\x40\x04\0\x01\x97\0"), b"", "[MQTT-4.4.0-2] rejected, not again");
    assert_eq!(client.send(b"\x40\x02\0\x01"), b"", "acknowledged twice is acknowledged once");
}

#[test]
fn what_is_larger_than_the_client_takes_is_dropped_and_done_with() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let mut client = client_with(&world, V5, "a", b"\x21\0\x01\x27\0\0\0\x14");
    subscribed(&mut client, V5, &[("t", 1), ("u", 0)], b"", &[1, 0]);
    for flags in [2, 0] {
        publisher.send(&publish(V5, flags, "t", 9, b"", &[b'x'; 20]));
        publisher.send(&publish(V5, 0, "u", 9, b"", &[b'x'; 20]));
    }
    assert_eq!(client.read(), b"", "[MQTT-3.1.2-24]");
    publisher.send(&publish(V5, 2, "t", 9, b"", b"x"));
    assert_eq!(client.read(), publish(V5, 2, "t", 1, b"", b"x"), "[MQTT-3.1.2-25]");
    client.send(b"\x40\x02\0\x01");
    publisher.send(&publish(V5, 0, "u", 9, b"", b"x"));
    assert_eq!(client.read(), publish(V5, 0, "u", 9, b"", b"x"));
}

#[test]
fn subscription_identifiers_of_all_matching_filters() {
    let world = World::new();
    let mut publisher = client(&world, V5, "p");
    let mut client = client(&world, V5, "a");
    subscribed(&mut client, V5, &[("t/#", 0)], b"\x0B\x07", &[0]);
    subscribed(&mut client, V5, &[("t/a", 1)], b"\x0B\xFF\x7F", &[1]);
    publisher.send(&publish(V5, 2, "t/a", 9, b"\x26\0\x01k\0\x01v", b"x"));
    let expected = publish(V5, 2, "t/a", 1, b"\x26\0\x01k\0\x01v\x0B\x07\x0B\xFF\x7F", b"x");
    let mut reversed = expected.clone();
    let at = reversed.len() - 6;
    reversed[at..at + 5].copy_from_slice(b"\x0B\xFF\x7F\x0B\x07");
    let read = client.read();
    assert!(
        read == expected || read == reversed,
        "[MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] {:?}",
        Hex(&read)
    );
    publisher.send(&publish(V5, 0, "t/b", 0, b"", b"y"));
    assert_eq!(client.read(), publish(V5, 0, "t/b", 0, b"\x0B\x07", b"y"));
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    for qos in [0, 1] {
        let world = World::new();
        let mut other = client(&world, V5, "o");
        let mut client = client(&world, V5, "a");
        subscribed(&mut client, V5, &[("t", 4 | qos)], b"", &[qos]);
        assert_eq!(client.send(&publish(V5, 0, "t", 0, b"", b"1")), b"", "[MQTT-3.8.3-3]");
        other.send(&publish(V5, 0, "t", 0, b"", b"2"));
        assert_eq!(client.read(), publish(V5, 0, "t", 0, b"", b"2"));
    }
}

#[test]
fn properties_pass_through_unaltered_and_3_1_1_does_without() {
    let block =
        b"\x01\x01\x03\0\x01t\x26\0\x01b\0\x012\x08\0\x01r\x09\0\x02\0\xFF\x26\0\x01a\0\x011";
    for (granted, flags) in [(0, 0), (1, 2)] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let mut old = client(&world, V4, "o");
        let mut client = client(&world, V5, "a");
        subscribed(&mut old, V4, &[("t", granted)], b"", &[granted]);
        subscribed(&mut client, V5, &[("t", granted)], b"", &[granted]);
        publisher.send(&publish(V5, flags, "t", 9, block, b"x"));
        let expected = publish(V5, flags, "t", 1, block, b"x");
        assert_eq!(
            Hex(&client.read()),
            Hex(&expected),
            "[MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] \
             [MQTT-3.3.2-20]"
        );
        assert_eq!(old.read(), publish(V4, flags, "t", 1, b"", b"x"));
    }
}

#[test]
fn messages_of_one_topic_keep_their_order() {
    for qos in [0, 1] {
        let world = World::new();
        let mut publisher = client(&world, V5, "p");
        let mut client = client(&world, V5, "a");
        subscribed(&mut client, V5, &[("t", qos)], b"", &[qos]);
        let sent: Vec<_> = (1..=100).map(|id| publish(V5, qos << 1, "t", id, b"", &[id])).collect();
        publisher.send(&sent.concat());
        assert_eq!(client.read(), sent.concat(), "[MQTT-4.6.0-5] [MQTT-4.6.0-6]");
    }
}

/// A protocol whose wire form is one octet: durable, transient or unsaid.
#[derive(Debug)]
struct Foreign;

impl PropertyCodec for Foreign {
    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        Properties {
            content_type: Some("text/plain".to_owned()),
            reply_to: Some(ReplyTo::Queue("amq.gen/1".to_owned())),
            expiry_ms: Some(1500),
            durable: [Some(true), Some(false), None][usize::from(wire[0])],
            headers: Table(vec![("n".to_owned(), Value::Int(7, 4))]),
            ..Properties::default()
        }
    }
}

#[test]
fn messages_of_other_protocols_arrive_with_what_mqtt_can_say() {
    let block = b"\x02\0\0\0\x02\x03\0\x0Atext/plain\x08\0\x12$queue/amq.gen%2F1\x26\0\x01n\0\x017\
                  \x26\0\x0Ex-header-types\0\x03n=I";
    // Durable and unsaid go out as granted, transient at QoS 0 (mapping.md).
    for (durable, granted, delivered) in [(0, 1, 1), (1, 1, 0), (2, 1, 1), (0, 0, 0), (1, 0, 0)] {
        let world = World::new();
        let outbox = world.broker().outbox();
        let principal = Principal::unrestricted("guest");
        let link = world.broker().connect(&principal, "/", Protocol::Amqp, outbox).unwrap();
        let mut session = link.session(1);
        let mut old = client(&world, V4, "o");
        let mut client = client(&world, V5, "a");
        subscribed(&mut old, V4, &[("a.b/#", granted)], b"", &[granted]);
        subscribed(&mut client, V5, &[("a.b/#", granted)], b"", &[granted]);
        let mut worker = Worker::default();
        let mut batch = world.broker().batch(&mut worker, world.now());
        let draft = Draft {
            exchange: "amq.topic",
            routing_key: "a%2Eb.c",
            codec: &Foreign,
            properties: &[durable],
            body: Body::Borrowed(b"\0\xFF"),
            persistent: false,
            mandatory: false,
            expires_at: None,
            priority: 0,
            retain: false,
        };
        batch.publish(&mut session, draft, Confirm::Unwanted).unwrap();
        batch.end();
        let expected = publish(V5, delivered << 1, "a.b/c", 1, block, b"\0\xFF");
        assert_eq!(Hex(&client.read()), Hex(&expected));
        assert_eq!(old.read(), publish(V4, delivered << 1, "a.b/c", 1, b"", b"\0\xFF"));
    }
}
