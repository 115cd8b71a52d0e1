//! What a client may write and what comes of it: nobody gets further by it than its own protocol
//! and permissions take it.

use trivium_core::Protocol;
use trivium_core::testing::World;

use crate::message::{Field, Message};
use crate::mqtt::MqttPeer;
use crate::octets::push_sized;
use crate::peer::{Peer, connect};

/// One client of each protocol, which hear everything.
struct Clients<'w> {
    of: Vec<(Protocol, Box<dyn Peer + 'w>)>,
}

impl<'w> Clients<'w> {
    fn connect(world: &'w World) -> Self {
        let of = |protocol: Protocol| (protocol, connect(world, protocol, protocol.name()));
        Self { of: Protocol::ALL.map(of).into_iter().collect() }
    }

    /// One publishes; what everybody reads.
    fn publish(&mut self, from: Protocol, message: &Message) -> Vec<(Protocol, Vec<Message>)> {
        let publisher = self.of.iter_mut().find(|(protocol, _)| *protocol == from);
        publisher.expect("one of each").1.publish(message);
        let read = |(protocol, peer): &mut (Protocol, Box<dyn Peer + 'w>)| {
            (*protocol, peer.receive().expect("nothing is refused"))
        };
        self.of.iter_mut().map(read).collect()
    }
}

fn address(protocol: Protocol, words: &[&str]) -> String {
    match protocol {
        Protocol::Amqp => words.join("."),
        Protocol::Mqtt => words.join("/"),
        Protocol::Stomp => format!("/topic/{}", words.join(".")),
    }
}

fn message(from: Protocol, words: &[&str], fields: Vec<Field>) -> Message {
    Message { address: address(from, words), fields, body: b"body".to_vec() }
}

/// `x-mqtt-user-properties` with one pair.
fn array_of(name: &str, value: &str) -> Vec<u8> {
    let mut pair = Vec::new();
    for text in [name, value] {
        pair.push(b'S');
        push_sized(text.as_bytes(), 4, &mut pair);
    }
    let mut array = vec![b'A'];
    push_sized(&pair, 4, &mut array);
    array
}

#[test]
fn a_spoofed_topic_leads_nowhere() {
    for from in Protocol::ALL {
        let world = World::new();
        let spoof = ["x-mqtt-topic", "amqp-header-x-mqtt-topic"]
            .map(|name| Field::header(name, b'S', "secret/topic"));
        let sent = message(from, &["a", "b"], spoof.to_vec());
        for (to, read) in Clients::connect(&world).publish(from, &sent) {
            let [message] = &read[..] else { panic!("{from:?} to {to:?}: {read:?}") };
            assert_eq!(message.address, address(to, &["a", "b"]), "{from:?} to {to:?}");
            // The name by which the broker would say it is the broker's alone, but for the bytes
            // of one's own protocol and for STOMP, which needs no such header.
            let says = message.fields.iter().any(|field| field.name == "x-mqtt-topic");
            assert_eq!(says, from == to || to == Protocol::Stomp, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn nobody_else_is_believed_to_have_published() {
    const NAMES: [&str; 3] = ["user_id", "user-id", "amqp-user-id"];
    let text = |name: &str| Field::header(name, b'S', "admin");
    let cases = [
        (Protocol::Amqp, text("user-id")),
        (Protocol::Amqp, text("amqp-user-id")),
        (Protocol::Amqp, text("amqp-header-user-id")),
        (Protocol::Amqp, text("amqp-header-amqp-user-id")),
        (
            Protocol::Amqp,
            Field::header("x-mqtt-user-properties", b'A', array_of("amqp-user-id", "admin")),
        ),
        (
            Protocol::Amqp,
            Field::header("x-mqtt-user-properties", b'A', array_of(&"u".repeat(300), "admin")),
        ),
        (Protocol::Mqtt, text("user-id")),
        (Protocol::Mqtt, text("user_id")),
        (Protocol::Mqtt, text("amqp-header-amqp-user-id")),
        (Protocol::Stomp, text("amqp-user-id")),
        (Protocol::Stomp, text("amqp-header-user-id")),
        (Protocol::Stomp, text("amqp-header-amqp-user-id")),
    ];
    for (from, field) in cases {
        let world = World::new();
        let sent = message(from, &["a"], vec![field.clone()]);
        for (to, read) in Clients::connect(&world).publish(from, &sent) {
            let [message] = &read[..] else { panic!("{field:?} to {to:?}: {read:?}") };
            let means_user = match to {
                Protocol::Amqp => NAMES[0],
                Protocol::Stomp => NAMES[1],
                Protocol::Mqtt => NAMES[2],
            };
            let is_property = |field: &&Field| {
                field.name == means_user
                    && (to != Protocol::Amqp || field.place == crate::message::Place::Property)
            };
            let says = message.fields.iter().find(is_property);
            // To its own protocol goes what it wrote, and nobody's adapter reads it as a user.
            assert!(says.is_none() || from == to, "{field:?} to {to:?}: {says:?}");
        }
    }
    for (from, claim) in [
        (Protocol::Amqp, Field::property("user_id", b'S', "admin")),
        (Protocol::Mqtt, Field::header("amqp-user-id", b'S', "admin")),
        (Protocol::Stomp, Field::header("user-id", b'S', "admin")),
    ] {
        let world = World::new();
        let mut clients = Clients::connect(&world);
        let publisher = clients.of.iter_mut().find(|(protocol, _)| *protocol == from);
        let (_, publisher) = publisher.expect("one of each");
        publisher.publish(&message(from, &["a"], vec![claim]));
        assert!(publisher.receive().is_err(), "{from:?}");
    }
}

#[test]
fn an_echo_of_what_is_retained_retains_nothing() {
    for from in Protocol::ALL {
        let world = World::new();
        let mut clients = Clients::connect(&world);
        let retain = match from {
            Protocol::Amqp => Field::header("x-mqtt-retain", b't', [1]),
            Protocol::Mqtt => Field::property("RETAIN", b'B', [1]),
            Protocol::Stomp => Field::header("x-mqtt-retain", b'S', "true"),
        };
        let others = [
            Field::header("x-header-types", b'S', "x-mqtt-retain=t,amqp-header-x-mqtt-retain=t"),
            Field::header("amqp-header-x-mqtt-retain", b'S', "true"),
        ];
        let mut fields = vec![retain];
        fields.extend(others.clone());
        let read = clients.publish(from, &message(from, &["t"], fields));
        assert_eq!(world.broker().totals().retained, 1, "{from:?}");
        // Everybody echoes to an address of its own, and so do those who read the echoes.
        let mut echoes = read;
        for round in 0..3 {
            let mut next = Vec::new();
            for (to, read) in echoes {
                let [message, ..] = &read[..] else { panic!("{to:?} read nothing") };
                let address = address(to, &["echo", to.name(), &round.to_string()]);
                next.append(&mut clients.publish(to, &Message { address, ..message.clone() }));
            }
            echoes = next;
        }
        assert_eq!(world.broker().totals().retained, 1, "{from:?}: an echo was retained");
    }
}

#[test]
fn the_brokers_own_topics_are_nobodys() {
    for from in Protocol::ALL {
        for first in ["$SYS", "$share"] {
            let world = World::new();
            let mut clients = Clients::connect(&world);
            let sent = message(from, &[first, "x"], vec![Field::property("QoS", b'B', [0])]);
            let refused = clients.of.iter_mut().find(|(protocol, _)| *protocol == from);
            let (_, refused) = refused.expect("one of each");
            refused.publish(&Message {
                fields: if from == Protocol::Mqtt { sent.fields.clone() } else { Vec::new() },
                ..sent.clone()
            });
            assert!(refused.receive().is_err(), "{from:?} to {first}");
            for (to, peer) in clients.of.iter_mut().filter(|(protocol, _)| *protocol != from) {
                let read = peer.receive().expect("a reader is refused nothing");
                assert_eq!(read.len(), 0, "a `#` of {to:?} is not flooded");
            }
        }
    }
}

#[test]
fn a_listener_may_map_as_rabbitmq_does() {
    let world = World::new();
    let config = trivium_mqtt::Config {
        coding: trivium_core::address::Coding::Plain,
        unset_is_qos_0: true,
        ..trivium_mqtt::Config::default()
    };
    let mut plain = MqttPeer::connect_to(&world, "plain", config);
    let mut amqp = connect(&world, Protocol::Amqp, "amqp");
    let qos = |qos| vec![Field::property("QoS", b'B', [qos])];
    let sent = message(Protocol::Mqtt, &["dev", "192.168.1.1", "%2E"], qos(1));
    plain.publish(&sent);
    let read = plain.receive().expect("nothing is refused");
    let [back] = &read[..] else { panic!("{read:?}") };
    assert_eq!((&*back.address, &back.fields), ("dev/192/168/1/1/%2E", &qos(1)));
    let read = amqp.receive().expect("nothing is refused");
    let [there] = &read[..] else { panic!("{read:?}") };
    assert_eq!(there.address, "dev.192.168.1.1.%2E");
    for (mode, expected) in [(None, 0), (Some(2), 2)] {
        let mode = mode.map(|mode| Field::property("delivery_mode", b'B', [mode]));
        amqp.publish(&message(Protocol::Amqp, &["a"], mode.clone().into_iter().collect()));
        amqp.receive().expect("nothing is refused");
        let read = plain.receive().expect("nothing is refused");
        let [message] = &read[..] else { panic!("{read:?}") };
        assert_eq!(message.fields[0], qos(expected)[0], "{mode:?}");
    }
}
