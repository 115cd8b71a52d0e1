//! Sessions (MQTT 5 and 3.1.1, sections 3.1.2.4, 4.1 and 4.4).

use super::*;

/// [MQTT5-3.1.2-4] [MQTT5-3.1.4-4] [MQTT5-3.2.2-2] [MQTT311-3.1.2-6] [MQTT311-3.1.4-3]
/// [MQTT311-3.2.2-1]
#[test]
fn a_clean_start_discards_what_was_there() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        let (mut kept, _, _) = stage.keep("a");
        stage.say(&mut kept, &stage.subscribe(1, &[("t", 2)]));
        stage.say(&mut kept, &stage.publish(4, "x", 7, b""));
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b"1"));
        stage.hear(&mut kept);
        kept.disconnect();
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b"2"));
        let mut clean = stage.open("a");
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b"3"));
        assert_eq!(Hex(&stage.hear(&mut clean)), Hex(b""));
        if stage.is_5() {
            let heard = stage.say(&mut clean, b"\x62\x02\0\x07");
            assert_eq!(Hex(&heard), Hex(b"\x70\x03\0\x07\x92"), "its QoS 2 state is gone");
        }
        stage.say(&mut clean, &stage.subscribe(1, &[("t", 1)]));
        clean.disconnect();
        // What a clean session left ends with its connection.
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b"4"));
        let (mut kept, was_there, heard) = stage.keep("a");
        assert!(!was_there);
        assert_eq!(Hex(&heard), Hex(b""));
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b"5"));
        assert_eq!(Hex(&stage.hear(&mut kept)), Hex(b""));
    });
}

/// [MQTT5-3.1.2-5] [MQTT5-3.1.2-6] [MQTT5-3.1.2-23] [MQTT5-3.1.3-2] [MQTT5-3.2.2-3]
/// [MQTT5-4.5.0-1] [MQTT311-3.1.2-4] [MQTT311-3.1.2-5] [MQTT311-3.1.3-2] [MQTT311-3.2.2-2]
/// [MQTT311-3.2.2-3] [MQTT311-4.1.0-1] [MQTT311-4.5.0-1]
#[test]
fn a_session_waits_for_its_client() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        let (mut one, was_there, _) = stage.keep("a");
        assert!(!was_there, "a new one is made");
        stage.say(&mut one, &stage.subscribe(1, &[("q1", 1), ("q2", 2), ("q0", 0)]));
        one.disconnect();
        for (flags, topic) in [(2, "q1"), (4, "q2"), (0, "q0"), (2, "none")] {
            stage.say(&mut publisher, &stage.publish(flags, topic, flags, b"x"));
        }
        let (_other, was_there, heard) = stage.keep("b");
        assert!(!was_there, "that of another identifier is another");
        assert_eq!(Hex(&heard), Hex(b""));
        let (mut two, was_there, heard) = stage.keep("a");
        assert!(was_there);
        let expected = [stage.publish(2, "q1", 1, b"x"), stage.publish(4, "q2", 2, b"x")].concat();
        assert_eq!(Hex(&heard), Hex(&expected));
        stage.say(&mut publisher, &stage.publish(0, "q0", 0, b"y"));
        assert_eq!(Hex(&stage.hear(&mut two)), Hex(&stage.publish(0, "q0", 0, b"y")));
    });
}

/// [MQTT5-4.1.0-1] [MQTT311-4.1.0-2]
#[test]
fn a_session_lasts_as_long_as_its_connection() {
    in_both(|stage| {
        let mut client = stage.listener("a", &[("t", 1)]);
        stage.world.pass(100_000_000);
        stage.say(&mut stage.open("p"), &stage.publish(2, "t", 1, b"x"));
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&stage.publish(2, "t", 1, b"x")));
    });
}

/// [MQTT5-4.1.0-2] [MQTT5-3.1.2-23]
#[test]
fn a_session_expires() {
    in_5(|stage| {
        stage.keep("a").0.disconnect();
        stage.world.pass(59_999);
        let (mut client, was_there, _) = stage.keep("a");
        assert!(was_there);
        stage.say(&mut client, &stage.subscribe(1, &[("t", 1)]));
        client.disconnect();
        stage.world.pass(60_000);
        let heard = stage.say(&mut stage.open("p"), &stage.publish(2, "t", 1, b"x"));
        assert_eq!(Hex(&heard), Hex(b"\x40\x03\0\x01\x10"), "nobody is subscribed");
        assert!(!stage.keep("a").1);
        // A goodbye may change when.
        stage.say(&mut stage.keep("b").0, b"\xE0\x07\0\x05\x11\0\0\0\x01");
        stage.world.pass(1_000);
        assert!(!stage.keep("b").1);
        stage.say(&mut stage.open("c"), b"\xE0\0");
        assert!(!stage.keep("c").1);
    });
}

/// [MQTT5-3.1.4-3] [MQTT311-3.1.4-2]
#[test]
fn a_second_connection_of_a_client_ends_the_first() {
    in_both(|stage| {
        let goodbye: &[u8] = if stage.is_5() { b"\xE0\x02\x8E\0" } else { b"" };
        let mut one = stage.open("a");
        let two = stage.open("a");
        assert_eq!(Hex(&stage.hear(&mut one)), Hex(goodbye));
        assert!(one.is_closed());
        let (mut three, _, _) = stage.keep("a");
        drop(two);
        assert_eq!(stage.say(&mut three, PING), PONG, "the end of the old is not its");
        let (_four, was_there, _) = stage.keep("a");
        assert!(was_there);
        assert_eq!(Hex(&stage.hear(&mut three)), Hex(goodbye));
    });
}

/// [MQTT5-4.4.0-1] [MQTT5-3.3.1-1] [MQTT5-4.3.2-3] [MQTT5-4.3.3-3] [MQTT5-4.3.3-5]
/// [MQTT5-4.3.3-6] [MQTT5-4.6.0-1] [MQTT311-4.4.0-1] [MQTT311-3.3.1-1] [MQTT311-2.3.1-4]
/// [MQTT311-4.3.2-1] [MQTT311-4.3.3-1] [MQTT311-4.6.0-1]
#[test]
fn what_was_not_acknowledged_is_sent_again_and_only_then() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        let (mut one, _, _) = stage.keep("a");
        stage.say(&mut one, &stage.subscribe(1, &[("t", 2)]));
        for (number, flags) in [(1, 2), (2, 4), (3, 2), (4, 4), (5, 4)] {
            stage.say(&mut publisher, &stage.publish(flags, "t", number, &[number]));
        }
        stage.hear(&mut one);
        stage.world.pass(600_000);
        assert_eq!(Hex(&stage.hear(&mut one)), Hex(b""), "not while the connection stands");
        // 1 is acknowledged; 4 is received; 5 is done with; 2 and 3 are not answered.
        stage.say(&mut one, b"\x40\x02\0\x01");
        stage.say(&mut one, b"\x50\x02\0\x04");
        stage.say(&mut one, b"\x50\x02\0\x05\x70\x02\0\x05");
        one.disconnect();
        let (mut two, _, heard) = stage.keep("a");
        let expected = [
            &stage.publish(0xC, "t", 2, &[2])[..],
            &stage.publish(0xA, "t", 3, &[3]),
            b"\x62\x02\0\x04",
        ];
        assert_eq!(Hex(&heard), Hex(&expected.concat()));
        // And again, until it is answered.
        two.disconnect();
        let (mut three, _, heard) = stage.keep("a");
        assert_eq!(Hex(&heard), Hex(&expected.concat()));
        stage.say(&mut three, b"\x50\x02\0\x02\x40\x02\0\x03\x70\x02\0\x04\x70\x02\0\x02");
        three.disconnect();
        assert_eq!(Hex(&stage.keep("a").2), Hex(b""));
    });
}

/// [MQTT5-4.4.0-2]
#[test]
fn what_a_client_rejects_is_not_sent_again() {
    in_5(|stage| {
        let mut publisher = stage.open("p");
        let (mut one, _, _) = stage.keep("a");
        stage.say(&mut one, &stage.subscribe(1, &[("t", 2)]));
        for (number, flags) in [(1, 2), (2, 4)] {
            stage.say(&mut publisher, &stage.publish(flags, "t", number, &[number]));
        }
        stage.hear(&mut one);
        let heard = stage.say(&mut one, b"\x40\x03\0\x01\x97\x50\x03\0\x02\x80");
        assert_eq!(Hex(&heard), Hex(b""), "no PUBREL for what was rejected");
        stage.say(&mut publisher, &stage.publish(2, "t", 3, b"x"));
        let heard = stage.hear(&mut one);
        assert_eq!(heard.len(), stage.publish(2, "t", 1, b"x").len(), "its place is free");
        let id = heard[heard.len() - 3];
        stage.say(&mut one, &[0x40, 2, 0, id]);
        one.disconnect();
        assert_eq!(Hex(&stage.keep("a").2), Hex(b""));
    });
}

/// [MQTT5-4.3.3-7] [MQTT5-3.3.2-5]
#[test]
fn what_was_sent_does_not_expire_any_more() {
    in_5(|stage| {
        let mut publisher = stage.open("p");
        let (mut one, _, _) = stage.keep("a");
        stage.say(&mut one, &stage.subscribe(1, &[("t", 2)]));
        let expiring = |flags| publish(V5, flags, "t", 1, b"\x02\0\0\0\x05", b"x");
        stage.say(&mut publisher, &expiring(4));
        assert_eq!(Hex(&stage.hear(&mut one)), Hex(&expiring(4)));
        one.disconnect();
        stage.say(&mut publisher, &publish(V5, 4, "t", 2, b"\x02\0\0\0\x05", b"never sent"));
        stage.world.pass(10_000);
        let (mut two, _, heard) = stage.keep("a");
        let again = publish(V5, 0xC, "t", 1, b"\x02\0\0\0\0", b"x");
        assert_eq!(Hex(&heard), Hex(&again));
        assert_eq!(stage.say(&mut two, b"\x50\x02\0\x01"), b"\x62\x02\0\x01");
    });
}
