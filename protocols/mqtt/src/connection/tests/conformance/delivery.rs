//! Qualities of service, flow control, order (MQTT 5 and 3.1.1, sections 4.3, 4.6 and 4.9).

use super::*;

/// [MQTT5-4.3.2-5] [MQTT311-4.3.2-2]
#[test]
fn behind_its_puback_an_identifier_means_another_message() {
    in_both(|stage| {
        let mut witness = stage.listener("w", &[("t", 0)]);
        let mut publisher = stage.open("p");
        for flags in [2, 0xA, 2] {
            let heard = stage.say(&mut publisher, &stage.publish(flags, "t", 5, b"x"));
            assert_eq!(Hex(&heard), Hex(b"\x40\x02\0\x05"));
            assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&stage.publish(0, "t", 0, b"x")));
        }
    });
}

/// [MQTT5-4.3.3-10] [MQTT5-4.3.3-11] [MQTT5-4.3.3-12] [MQTT5-4.3.3-8] [MQTT5-2.2.1-5]
/// [MQTT311-4.3.3-2] [MQTT311-2.3.1-6]
#[test]
fn exactly_once_from_a_client() {
    in_both(|stage| {
        let mut witness = stage.listener("w", &[("t", 0)]);
        let (mut one, _, _) = stage.keep("p");
        let delivered = stage.publish(0, "t", 0, b"x");
        for flags in [4, 0xC, 0xC] {
            let heard = stage.say(&mut one, &stage.publish(flags, "t", 5, b"x"));
            assert_eq!(Hex(&heard), Hex(b"\x50\x02\0\x05"));
        }
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&delivered));
        one.disconnect();
        let (mut two, _, _) = stage.keep("p");
        let heard = stage.say(&mut two, &stage.publish(0xC, "t", 5, b"x"));
        assert_eq!(Hex(&heard), Hex(b"\x50\x02\0\x05"));
        assert_eq!(stage.say(&mut two, b"\x62\x02\0\x05"), b"\x70\x02\0\x05");
        two.disconnect();
        let (mut three, _, _) = stage.keep("p");
        let unknown: &[u8] = if stage.is_5() { b"\x70\x03\0\x05\x92" } else { b"\x70\x02\0\x05" };
        assert_eq!(Hex(&stage.say(&mut three, b"\x62\x02\0\x05")), Hex(unknown));
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(b""), "once");
        stage.say(&mut three, &stage.publish(4, "t", 5, b"x"));
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&delivered), "another message");
    });
}

/// [MQTT5-4.3.3-9]
#[test]
fn a_refused_message_leaves_its_identifier_free() {
    in_5(|stage| {
        let mut witness = stage.listener("w", &[("t", 0)]);
        let mut client = stage.open("p");
        let heard = stage.say(&mut client, &stage.publish(4, "$SYS/x", 5, b"x"));
        assert_eq!(Hex(&heard), Hex(b"\x50\x03\0\x05\x87"));
        let heard = stage.say(&mut client, &stage.publish(4, "t", 5, b"y"));
        assert_eq!(Hex(&heard), Hex(b"\x50\x02\0\x05"));
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&stage.publish(0, "t", 0, b"y")));
    });
}

/// [MQTT5-4.3.3-13]
#[test]
fn the_sequence_goes_on_for_a_message_that_expired() {
    in_5(|stage| {
        let mut client = stage.open("p");
        let sent = publish(V5, 4, "t", 5, b"\x02\0\0\0\x01", b"x");
        assert_eq!(Hex(&stage.say(&mut client, &sent)), Hex(b"\x50\x03\0\x05\x10"));
        stage.world.pass(5_000);
        let heard = stage.say(&mut client, &publish(V5, 0xC, "t", 5, b"\x02\0\0\0\x01", b"x"));
        assert_eq!(Hex(&heard), Hex(b"\x50\x02\0\x05"));
        assert_eq!(Hex(&stage.say(&mut client, b"\x62\x02\0\x05")), Hex(b"\x70\x02\0\x05"));
    });
}

/// [MQTT5-4.3.3-1] [MQTT5-4.3.3-2] [MQTT5-4.3.3-4] [MQTT5-4.3.3-6] [MQTT5-2.2.1-5]
/// [MQTT311-4.3.3-1]
#[test]
fn exactly_once_towards_a_client() {
    in_both(|stage| {
        let mut client = stage.listener("a", &[("t", 2)]);
        stage.say(&mut stage.open("p"), &stage.publish(4, "t", 9, b"x"));
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&stage.publish(4, "t", 1, b"x")));
        for _ in 0..2 {
            assert_eq!(stage.say(&mut client, b"\x50\x02\0\x01"), b"\x62\x02\0\x01");
        }
        assert_eq!(stage.say(&mut client, b"\x70\x02\0\x01"), b"");
        stage.world.pass(60_000);
        assert_eq!(stage.hear(&mut client), b"");
        // An answer that does not belong to QoS 2 settles nothing.
        stage.say(&mut stage.open("p"), &stage.publish(4, "t", 9, b"y"));
        stage.hear(&mut client);
        assert_eq!(stage.say(&mut client, b"\x40\x02\0\x01\x70\x02\0\x01"), b"");
        assert_eq!(stage.say(&mut client, b"\x50\x02\0\x01"), b"\x62\x02\0\x01");
    });
}

/// [MQTT5-4.6.0-5] [MQTT5-4.6.0-6] [MQTT311-4.6.0-5] [MQTT311-4.6.0-6]
#[test]
fn deliveries_keep_the_order_of_their_publisher() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        let mut clients: Vec<_> =
            (0..3).map(|qos| stage.listener(&format!("c{qos}"), &[("#", qos)])).collect();
        let (mut away, _, _) = stage.keep("away");
        stage.say(&mut away, &stage.subscribe(1, &[("#", 2)]));
        away.disconnect();
        let mut sent = Vec::new();
        for number in 1..=60_u8 {
            let topic = if number % 2 == 0 { "even" } else { "odd" };
            sent.extend(stage.publish(2 + number / 20 % 2 * 2, topic, number, &[number]));
            if number % 7 == 0 {
                stage.say(&mut publisher, &std::mem::take(&mut sent));
            }
        }
        stage.say(&mut publisher, &sent);
        let order = |heard: &[u8]| -> Vec<u8> {
            let mut bodies = Vec::new();
            let mut rest = heard;
            while let [_, length, ..] = rest {
                let end = 2 + usize::from(*length);
                bodies.push(rest[end - 1]);
                rest = &rest[end..];
            }
            bodies
        };
        let expected: Vec<u8> = (1..=60).collect();
        for client in &mut clients {
            assert_eq!(order(&stage.hear(client)), expected);
        }
        assert_eq!(order(&stage.keep("away").2), expected);
    });
}

/// [MQTT5-3.3.4-9] [MQTT5-4.9.0-1] [MQTT5-4.9.0-2] [MQTT5-4.9.0-3] [MQTT5-3.3.4-10]
#[test]
fn no_more_is_under_way_than_the_client_allows_and_the_rest_flows() {
    in_5(|stage| {
        let mut publisher = stage.open("p");
        let mut client = stage.open_with("a", b"\x21\0\x02");
        stage.say(&mut client, &stage.subscribe(1, &[("t", 2), ("q0", 0)]));
        for number in 1..=5 {
            let flags = if number % 2 == 0 { 4 } else { 2 };
            stage.say(&mut publisher, &stage.publish(flags, "t", number, &[number]));
        }
        let expected = [stage.publish(2, "t", 1, &[1]), stage.publish(4, "t", 2, &[2])].concat();
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&expected));
        // With nothing left to spend all else goes on.
        assert_eq!(stage.say(&mut client, PING), PONG);
        let heard = stage.say(&mut client, &stage.subscribe(3, &[("x", 1)]));
        assert_eq!(Hex(&heard), Hex(&stage.suback(3, &[1])));
        stage.say(&mut publisher, &stage.publish(0, "q0", 0, b"now"));
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&stage.publish(0, "q0", 0, b"now")));
        stage.say(&mut publisher, &stage.publish(0, "t", 0, b"now"));
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&stage.publish(0, "t", 0, b"now")));
        let heard = stage.say(&mut client, &stage.publish(2, "y", 7, b""));
        assert_eq!(Hex(&heard), Hex(b"\x40\x03\0\x07\x10"));
        // PUBREC does not make room, PUBCOMP and PUBACK do.
        assert_eq!(stage.say(&mut client, b"\x50\x02\0\x02"), b"\x62\x02\0\x02");
        let heard = stage.say(&mut client, b"\x70\x02\0\x02");
        assert_eq!(Hex(&heard), Hex(&stage.publish(2, "t", 2, &[3])));
        let heard = stage.say(&mut client, b"\x40\x02\0\x01");
        assert_eq!(Hex(&heard), Hex(&stage.publish(4, "t", 1, &[4])));
        // A PUBREC that rejects does.
        let heard = stage.say(&mut client, b"\x50\x03\0\x01\x80");
        assert_eq!(Hex(&heard), Hex(&stage.publish(2, "t", 1, &[5])));
    });
}

/// [MQTT5-3.3.4-7]
#[test]
fn a_client_that_sends_more_than_the_server_allows_is_dropped() {
    in_5(|stage| {
        let dial = || {
            let mut client = stage.dial_with(Config { receive_maximum: 2, ..Config::default() });
            let heard = stage.say(&mut client, &stage.connect(2, 0, b"", &field(b"a")));
            assert!(heard.windows(3).any(|part| part == b"\x21\0\x02"));
            client
        };
        let mut client = dial();
        for number in 1..=2 {
            stage.say(&mut client, &stage.publish(4, "t", number, b"x"));
        }
        let again = stage.say(&mut client, &stage.publish(0xC, "t", 1, b"x"));
        assert_eq!(Hex(&again), Hex(b"\x50\x02\0\x01"), "no new one");
        stage.say(&mut client, b"\x62\x02\0\x01");
        let heard = stage.say(&mut client, &stage.publish(2, "t", 3, b"x"));
        assert_eq!(heard[0], 0x40);
        stage.say(&mut client, &stage.publish(4, "t", 4, b"x"));
        let heard = stage.say(&mut client, &stage.publish(4, "t", 5, b"x"));
        assert_eq!(Hex(&heard), Hex(b"\xE0\x02\x93\0"));
        assert!(client.is_closed());
    });
}

/// [MQTT5-3.1.2-24] [MQTT5-3.1.2-25]
#[test]
fn what_is_too_large_for_a_client_is_as_if_it_had_been_sent() {
    in_5(|stage| {
        let mut publisher = stage.open("p");
        let mut large = stage.listener("large", &[("t", 2)]);
        for qos in 0..3_u8 {
            // A window of one shows whether it holds a place.
            let mut small = stage.open_with("small", b"\x27\0\0\0\x18\x21\0\x01");
            stage.say(&mut small, &stage.subscribe(1, &[("t", qos)]));
            let fits = stage.publish(qos << 1, "t", 1, &vec![b'y'; if qos == 0 { 18 } else { 16 }]);
            assert_eq!(fits.len(), 24);
            let body = &fits[fits.len() - 16..];
            let too_large = stage.publish(qos << 1, "t", 1, &[b'x'; 19]);
            for sent in [&too_large, &fits, &too_large] {
                stage.say(&mut publisher, sent);
                stage.say(&mut publisher, b"\x62\x02\0\x01");
            }
            assert!(body.iter().all(|octet| *octet == b'y'));
            assert_eq!(Hex(&stage.hear(&mut small)), Hex(&fits), "QoS {qos}");
            assert_eq!(stage.hear(&mut large).len(), 2 * too_large.len() + fits.len());
            stage.say(&mut large, b"\x40\x02\0\x01\x40\x02\0\x02\x40\x02\0\x03");
            large.disconnect();
            large = stage.listener("large", &[("t", 2)]);
        }
    });
}
