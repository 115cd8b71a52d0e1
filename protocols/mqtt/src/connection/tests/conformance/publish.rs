//! PUBLISH: its header, its properties, topic aliases (MQTT 5 and 3.1.1, section 3.3).

use super::*;

/// [MQTT5-3.3.1-4] [MQTT311-3.3.1-4]
#[test]
fn there_is_no_qos_3() {
    in_both(|stage| {
        stage.breaks(&stage.publish(6, "t", 1, b"x"), 0x81);
        stage.breaks(&stage.publish(14, "t", 1, b"x"), 0x81);
    });
}

/// [MQTT5-3.3.1-3] [MQTT5-4.3.2-2] [MQTT5-4.3.3-2] [MQTT311-3.3.1-3] [MQTT311-4.3.2-1]
/// [MQTT311-4.3.3-1]
#[test]
fn a_first_delivery_is_no_duplicate_whatever_the_publisher_says() {
    in_both(|stage| {
        let mut listener = stage.listener("l", &[("t", 2)]);
        let mut publisher = stage.open("p");
        for (flags, id) in [(0xA, 1), (0xC, 2)] {
            stage.say(&mut publisher, &stage.publish(flags, "t", 9, b"x"));
            let expected = stage.publish(flags & 6, "t", id, b"x");
            assert_eq!(Hex(&stage.hear(&mut listener)), Hex(&expected));
        }
    });
}

/// [MQTT5-3.3.2-1] [MQTT5-3.3.2-2] [MQTT5-4.7.0-1] [MQTT5-4.7.3-1] [MQTT311-3.3.2-1]
/// [MQTT311-3.3.2-2] [MQTT311-4.7.1-1] [MQTT311-4.7.3-1]
#[test]
fn topics_of_messages_have_no_wildcards_and_are_not_empty() {
    in_both(|stage| {
        for topic in ["+", "#", "a/+", "a/#", "a+", "a#b"] {
            for flags in [0, 2, 4] {
                stage.breaks(&stage.publish(flags, topic, 1, b"x"), 0x90);
            }
        }
        stage.breaks(&stage.publish(0, "", 0, b"x"), if stage.is_5() { 0x82 } else { 0x90 });
        stage.breaks(b"\x30\x01\0", 0x81);
        stage.breaks(b"\x30\x03\0\x05a", 0x81);
    });
}

/// [MQTT5-3.3.2-4] [MQTT5-3.3.2-15] [MQTT5-3.3.2-16] [MQTT5-3.3.2-17] [MQTT5-3.3.2-18]
/// [MQTT5-3.3.2-20]
#[test]
fn properties_reach_subscribers_unaltered_and_in_order() {
    in_5(|stage| {
        let mut direct = stage.listener("direct", &[("t", 0)]);
        let mut queued = stage.listener("queued", &[("t", 1)]);
        let mut publisher = stage.open("p");
        let pairs: Vec<u8> = [("b", "1"), ("a", "2"), ("b", "1"), ("", ""), ("é", "\u{10FFFF}")]
            .iter()
            .flat_map(|(key, value)| {
                [b"\x26", &field(key.as_bytes())[..], &field(value.as_bytes())].concat()
            })
            .collect();
        let properties =
            [b"\x01\x01\x03\0\x0Atext/plain\x08\0\x05r/s.t\x09\0\x03\0\xFF\x01", &pairs[..]]
                .concat();
        for (format, payload) in [(1, &b"text"[..]), (0, b"\xFF\xFE")] {
            let mut properties = properties.clone();
            properties[1] = format;
            for flags in [0, 2] {
                let sent = publish(V5, flags, "t", 1, &properties, payload);
                stage.say(&mut publisher, &sent);
                let at_qos_0 = publish(V5, 0, "t", 0, &properties, payload);
                assert_eq!(Hex(&stage.hear(&mut direct)), Hex(&at_qos_0));
                assert_eq!(Hex(&stage.hear(&mut queued)), Hex(&sent));
            }
            stage.say(&mut queued, b"\x40\x02\0\x01");
        }
        // Kept for a client that is away, and retained, too.
        let (mut away, _, _) = stage.keep("away");
        stage.say(&mut away, &stage.subscribe(1, &[("t", 1)]));
        away.disconnect();
        let sent = publish(V5, 3, "t", 1, &properties, b"x");
        stage.say(&mut publisher, &sent);
        let kept = publish(V5, 2, "t", 1, &properties, b"x");
        assert_eq!(Hex(&stage.keep("away").2), Hex(&kept));
        let mut late = stage.open("late");
        let heard = stage.say(&mut late, &stage.subscribe(1, &[("t", 1)]));
        assert_eq!(Hex(&heard), Hex(&[stage.suback(1, &[1]), sent].concat()));
    });
}

/// [MQTT5-3.3.2-14] [MQTT5-3.3.2-13]
#[test]
fn a_response_topic_is_a_topic() {
    in_5(|stage| {
        for topic in ["r/+", "#", ""] {
            let property = [b"\x08", &field(topic.as_bytes())[..]].concat();
            stage.breaks(&publish(V5, 0, "t", 0, &property, b"x"), 0x82);
        }
    });
}

/// [MQTT5-3.3.2-5] [MQTT5-3.3.2-6]
#[test]
fn expiry_counts_down_while_a_message_waits_and_ends_it() {
    in_5(|stage| {
        let (mut away, _, _) = stage.keep("away");
        stage.say(&mut away, &stage.subscribe(1, &[("t", 1)]));
        away.disconnect();
        let mut publisher = stage.open("p");
        let expiring =
            |flags, seconds: u8, body| publish(V5, flags, "t", 1, &[2, 0, 0, 0, seconds], body);
        stage.say(&mut publisher, &expiring(3, 5, b"short"));
        stage.say(&mut publisher, &expiring(2, 30, b"long"));
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b"for ever"));
        let mut late = stage.open("late");
        stage.world.pass(4_000);
        let heard = stage.say(&mut late, &stage.subscribe(1, &[("t", 0)]));
        let mut retained = expiring(1, 1, b"short");
        assert_eq!(Hex(&heard), Hex(&[stage.suback(1, &[0]), retained.clone()].concat()));
        stage.world.pass(6_000);
        let heard = stage.say(&mut late, &stage.subscribe(1, &[("t", 0)]));
        assert_eq!(Hex(&heard), Hex(&stage.suback(1, &[0])), "not retained any more");
        let mut expected = expiring(2, 20, b"long");
        expected.extend(stage.publish(2, "t", 2, b"for ever"));
        assert_eq!(Hex(&stage.keep("away").2), Hex(&expected));
        // What does not wait keeps it.
        let mut listener = stage.listener("l", &[("t", 0)]);
        stage.hear(&mut listener);
        stage.say(&mut publisher, &expiring(0, 5, b"now"));
        retained = expiring(0, 5, b"now");
        assert_eq!(Hex(&stage.hear(&mut listener)), Hex(&retained));
    });
}

/// [MQTT5-3.3.2-12] [MQTT5-3.3.2-7]
#[test]
fn a_client_may_use_every_alias_it_was_granted() {
    in_5(|stage| {
        let mut listener = stage.listener("l", &[("#", 0)]);
        let mut publisher = stage.open("p");
        for alias in 1..=16 {
            let (topic, property) = (format!("topic/{alias}"), [0x23, 0, alias]);
            stage.say(&mut publisher, &publish(V5, 0, &topic, 0, &property, b"1"));
            stage.say(&mut publisher, &publish(V5, 0, "", 0, &property, b"2"));
            let expected =
                [stage.publish(0, &topic, 0, b"1"), stage.publish(0, &topic, 0, b"2")].concat();
            assert_eq!(Hex(&stage.hear(&mut listener)), Hex(&expected));
        }
        // It may come to mean another topic.
        stage.say(&mut publisher, &publish(V5, 0, "other", 0, &[0x23, 0, 1], b"3"));
        stage.say(&mut publisher, &publish(V5, 0, "", 0, &[0x23, 0, 1], b"4"));
        let expected = [stage.publish(0, "other", 0, b"3"), stage.publish(0, "other", 0, b"4")];
        assert_eq!(Hex(&stage.hear(&mut listener)), Hex(&expected.concat()));
        // And another connection of the client does not know it, session or not.
        let (mut kept, _, _) = stage.keep("k");
        stage.say(&mut kept, &publish(V5, 0, "t", 0, &[0x23, 0, 2], b"x"));
        kept.disconnect();
        let (mut kept, _, _) = stage.keep("k");
        let heard = stage.say(&mut kept, &publish(V5, 0, "", 0, &[0x23, 0, 2], b"x"));
        assert_eq!(Hex(&heard), Hex(b"\xE0\x02\x82\0"));
    });
}

/// [MQTT5-3.2.2-17] [MQTT5-3.2.2-18] [MQTT5-3.3.2-8] [MQTT5-3.3.2-9]
#[test]
fn aliases_beyond_what_was_granted_break_the_rules() {
    in_5(|stage| {
        for alias in [0_u16, 17, 65_535] {
            let property = [&[0x23][..], &alias.to_be_bytes()].concat();
            stage.breaks(&publish(V5, 0, "t", 0, &property, b"x"), 0x94);
        }
        stage.breaks(&publish(V5, 0, "", 0, b"\x23\0\x05", b"x"), 0x82);
        // None at all.
        let mut client = stage.dial_with(Config { topic_alias_max: 0, ..Config::default() });
        let heard = stage.say(&mut client, &stage.connect(2, 0, b"", &field(b"a")));
        assert!(!heard.windows(3).any(|part| part == b"\x22\0\x10"));
        let heard = stage.say(&mut client, &publish(V5, 0, "t", 0, b"\x23\0\x01", b"x"));
        assert_eq!(Hex(&heard), Hex(b"\xE0\x02\x94\0"));
    });
}

/// [MQTT5-3.1.2-26] [MQTT5-3.1.2-27] [MQTT5-3.3.2-8] [MQTT5-3.3.2-11] [MQTT5-3.3.2-7]
#[test]
fn the_server_sets_no_more_aliases_than_the_client_allows() {
    in_5(|stage| {
        let mut publisher = stage.open("p");
        for (limit, allowed) in [(&b""[..], 0), (b"\x22\0\0", 0), (b"\x22\0\x02", 2)] {
            let mut listener = stage.open_with("l", limit);
            stage.say(&mut listener, &stage.subscribe(1, &[("topic/#", 1)]));
            for round in 0..2 {
                for number in 1..4_u8 {
                    let topic = format!("topic/{number}");
                    stage.say(&mut publisher, &stage.publish(2, &topic, 9, b"x"));
                    let property = [0x23, 0, number];
                    let expected = match (number <= allowed, round) {
                        (false, _) => stage.publish(2, &topic, 1, b"x"),
                        (true, 0) => publish(V5, 2, &topic, 1, &property, b"x"),
                        (true, _) => publish(V5, 2, "", 1, &property, b"x"),
                    };
                    assert_eq!(Hex(&stage.hear(&mut listener)), Hex(&expected));
                    stage.say(&mut listener, b"\x40\x02\0\x01");
                }
            }
        }
        // A new connection knows none of them.
        let (mut kept, _, _) = stage.keep_with("k", b"\x22\0\x02");
        stage.say(&mut kept, &stage.subscribe(1, &[("topic/#", 1)]));
        for _ in 0..2 {
            stage.say(&mut publisher, &stage.publish(2, "topic/1", 9, b"x"));
            let first = publish(V5, 2, "topic/1", 1, b"\x23\0\x01", b"x");
            assert_eq!(Hex(&stage.hear(&mut kept)), Hex(&first));
            stage.say(&mut kept, b"\x40\x02\0\x01");
            kept.disconnect();
            kept = stage.keep_with("k", b"\x22\0\x02").0;
        }
    });
}

/// [MQTT5-3.3.4-6]
#[test]
fn a_client_names_no_subscription_identifier() {
    in_5(|stage| stage.breaks(&publish(V5, 0, "t", 0, b"\x0B\x01", b"x"), 0x82));
}

/// [MQTT5-3.2.2-15]
#[test]
fn a_packet_above_the_servers_maximum_ends_the_connection() {
    in_both(|stage| {
        let config = Config { packet_bytes_max: 100, ..Config::default() };
        let mut client = stage.dial_with(config);
        let heard = stage.say(&mut client, &stage.connect(2, 0, b"", &field(b"a")));
        if stage.is_5() {
            assert!(heard.windows(5).any(|part| part == b"\x27\0\0\0\x64"));
        }
        let overhead = stage.publish(0, "t", 0, b"").len();
        let fits = stage.publish(0, "t", 0, &vec![b'x'; 100 - overhead]);
        assert_eq!(fits.len(), 100);
        assert_eq!(stage.say(&mut client, &[&fits[..], PING].concat()), PONG);
        let heard = stage.say(&mut client, &stage.publish(0, "t", 0, &vec![b'x'; 101 - overhead]));
        let goodbye: &[u8] = if stage.is_5() { b"\xE0\x02\x95\0" } else { b"" };
        assert_eq!(Hex(&heard), Hex(goodbye));
        assert!(client.is_closed());
    });
}

/// [MQTT5-3.4.2-1] [MQTT5-3.5.2-1] [MQTT5-3.6.2-1] [MQTT5-3.7.2-1]
#[test]
fn acknowledgements_carry_codes_of_their_own() {
    in_5(|stage| {
        let mut client = stage.listener("a", &[("t", 2)]);
        let hear = |client: &mut Guest<'_>, sent: &[u8], expected: &[u8]| {
            assert_eq!(Hex(&stage.say(client, sent)), Hex(expected), "{:?}", Hex(sent));
        };
        hear(&mut client, &stage.publish(2, "x", 1, b""), b"\x40\x03\0\x01\x10");
        hear(&mut client, &stage.publish(2, "$SYS/x", 1, b""), b"\x40\x03\0\x01\x87");
        hear(&mut client, &stage.publish(4, "x", 1, b""), b"\x50\x03\0\x01\x10");
        hear(&mut client, &stage.publish(4, "$SYS/x", 2, b""), b"\x50\x03\0\x02\x87");
        hear(&mut client, b"\x62\x02\0\x01", b"\x70\x02\0\x01");
        hear(&mut client, b"\x62\x02\0\x01", b"\x70\x03\0\x01\x92");
        hear(&mut client, b"\x50\x02\0\x07", b"\x62\x03\0\x07\x92");
        // Codes that no client may use.
        for code in [0x01, 0x92, 0x93, 0xFF] {
            stage.breaks(&[0x40, 3, 0, 1, code], 0x81);
            stage.breaks(&[0x50, 3, 0, 1, code], 0x81);
        }
        for code in [0x01, 0x10, 0x80, 0xFF] {
            stage.breaks(&[0x62, 3, 0, 1, code], 0x81);
            stage.breaks(&[0x70, 3, 0, 1, code], 0x81);
        }
    });
}

/// [MQTT311-3.3.5-2]
#[test]
fn a_publish_that_is_not_allowed_ends_a_3_1_1_connection() {
    in_311(|stage| {
        for flags in [0, 2, 4] {
            stage.breaks(&stage.publish(flags, "$SYS/broker", 1, b"x"), 0);
        }
    });
}
