//! SUBSCRIBE and SUBACK (MQTT 5 and 3.1.1, sections 3.8 and 3.9).

use super::*;

/// [MQTT5-3.8.3-2] [MQTT311-3.8.3-3]
#[test]
fn there_is_at_least_one_filter() {
    in_both(|stage| {
        stage.breaks(&stage.subscribe(1, &[]), 0x82);
        let none = block(stage.version, b"");
        stage.breaks(&packet(0x82, &[b"\0\x01", &none, b"\0\x01a"]), 0x81);
    });
}

/// [MQTT5-3.8.3-4] [MQTT5-3.8.3-5] [MQTT311-3.8.3-4]
#[test]
fn reserved_options_break_the_rules() {
    in_both(|stage| {
        let reserved: &[u8] =
            if stage.is_5() { &[0x40, 0x80, 0xC0, 3] } else { &[3, 4, 8, 0x10, 0x20, 0x40, 0x80] };
        for options in reserved {
            stage.breaks(&stage.subscribe(1, &[("t", *options)]), 0x81);
            stage.breaks(&stage.subscribe(1, &[("a", 0), ("t", *options)]), 0x81);
        }
        if stage.is_5() {
            stage.breaks(&stage.subscribe(1, &[("t", 0x30)]), 0x82);
            stage.breaks(&stage.subscribe(1, &[("$share/g/t", 5)]), 0x82);
            stage.breaks(&subscribe(V5, 1, &[("t", 0)], b"\x0B\0"), 0x82);
        }
    });
}

/// [MQTT5-3.8.4-6] [MQTT5-3.8.4-7] [MQTT5-3.9.3-1] [MQTT5-3.9.3-2] [MQTT311-3.8.4-5]
/// [MQTT311-3.9.3-1] [MQTT311-3.9.3-2]
#[test]
fn every_filter_has_its_code_in_its_place() {
    in_both(|stage| {
        let filters =
            [("a", 2), ("#/b", 0), ("c", 0), ("$share//d", 1), ("e", 1), ("$queue/none", 1)];
        let codes: &[u8] =
            if stage.is_5() { &[2, 0x8F, 0, 0x8F, 1, 0x83] } else { &[2, 0x80, 0, 0x80, 1, 0x80] };
        let heard = stage.say(&mut stage.open("x"), &stage.subscribe(7, &filters));
        assert_eq!(Hex(&heard), Hex(&stage.suback(7, codes)));
    });
}

/// [MQTT5-3.8.4-5] [MQTT311-3.8.4-4]
#[test]
fn many_filters_are_as_many_packets() {
    in_both(|stage| {
        stage.say(&mut stage.open("p"), &stage.publish(1, "t", 0, b"x"));
        let filters = [("t", 0), ("u", 1), ("t", 1), ("t", 0)];
        let mut one = stage.open("one");
        let one_heard = stage.say(&mut one, &stage.subscribe(1, &filters));
        let mut many = stage.open("many");
        let (mut codes, mut others) = (Vec::new(), Vec::new());
        for filter in filters {
            let heard = stage.say(&mut many, &stage.subscribe(1, &[filter]));
            let length = stage.suback(1, &[0]).len();
            codes.push(heard[length - 1]);
            others.extend_from_slice(&heard[length..]);
        }
        let expected = [stage.suback(1, &codes), others].concat();
        assert_eq!(Hex(&one_heard), Hex(&expected));
        stage.say(&mut stage.open("p"), &stage.publish(2, "t", 1, b"y"));
        assert_eq!(Hex(&stage.hear(&mut one)), Hex(&stage.publish(0, "t", 0, b"y")));
        assert_eq!(Hex(&stage.hear(&mut many)), Hex(&stage.publish(0, "t", 0, b"y")));
    });
}

/// [MQTT5-3.8.4-3] [MQTT5-3.8.4-4] [MQTT311-3.8.4-3]
#[test]
fn a_subscription_is_replaced_by_one_to_the_same_filter() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        stage.say(&mut publisher, &stage.publish(1, "t", 0, b"kept"));
        let kept = stage.publish(1, "t", 0, b"kept");
        let mut client = stage.open("a");
        for qos in [0, 1, 2, 0, 0, 1] {
            let heard = stage.say(&mut client, &stage.subscribe(1, &[("t", qos)]));
            assert_eq!(Hex(&heard), Hex(&[&stage.suback(1, &[qos])[..], &kept].concat()));
            stage.say(&mut publisher, &stage.publish(4, "t", 9, b"x"));
            stage.say(&mut publisher, b"\x62\x02\0\x09");
            let heard = stage.hear(&mut client);
            assert_eq!(Hex(&heard), Hex(&stage.publish(qos << 1, "t", 1, b"x")), "one copy");
            match qos {
                1 => drop(stage.say(&mut client, b"\x40\x02\0\x01")),
                2 => drop(stage.say(&mut client, b"\x50\x02\0\x01\x70\x02\0\x01")),
                _ => {}
            }
        }
        // What was under way is not lost, what is published meanwhile neither.
        stage.say(&mut publisher, &stage.publish(2, "t", 9, b"1"));
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&stage.publish(2, "t", 1, b"1")));
        let mut sent = client.send(&stage.subscribe(2, &[("t", 2)]));
        publisher.send(&stage.publish(2, "t", 8, b"2"));
        sent.extend(stage.hear(&mut client));
        let expected = [&stage.suback(2, &[2])[..], &kept, &stage.publish(2, "t", 2, b"2")];
        assert_eq!(Hex(&sent), Hex(&expected.concat()));
    });
}

/// [MQTT5-3.8.4-8] [MQTT311-3.8.4-6] [MQTT5-4.5.0-1] [MQTT311-4.5.0-1]
#[test]
fn deliveries_have_the_smaller_of_both_qualities() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        for granted in 0..3_u8 {
            for published in 0..3_u8 {
                let mut client = stage.listener("a", &[("t", granted)]);
                stage.say(&mut publisher, &stage.publish(published << 1, "t", 9, b"x"));
                stage.say(&mut publisher, b"\x62\x02\0\x09");
                let expected = stage.publish(granted.min(published) << 1, "t", 1, b"x");
                assert_eq!(Hex(&stage.hear(&mut client)), Hex(&expected));
            }
        }
    });
}

/// [MQTT5-3.3.4-2] [MQTT5-3.3.4-3] [MQTT5-3.3.4-4] [MQTT5-3.3.4-5] [MQTT311-3.3.5-1]
#[test]
fn overlapping_filters_give_one_copy_at_the_highest_quality() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        let mut client = stage.open("a");
        for (filter, qos, id) in [("a/#", 0, 1), ("a/+", 2, 200), ("#", 1, 0), ("b", 2, 4)] {
            let property: &[u8] = match id {
                200 => b"\x0B\xC8\x01",
                0 => b"",
                id => &[0x0B, id],
            };
            let sent = subscribe(stage.version, 1, &[(filter, qos)], property);
            stage.say(&mut client, &sent);
        }
        stage.say(&mut publisher, &stage.publish(4, "a/b", 9, b"x"));
        let mut expected = vec![publish(stage.version, 4, "a/b", 1, b"\x0B\x01\x0B\xC8\x01", b"x")];
        expected.push(publish(stage.version, 4, "a/b", 1, b"\x0B\xC8\x01\x0B\x01", b"x"));
        let heard = stage.hear(&mut client);
        assert!(expected.contains(&heard), "{:?}", Hex(&heard));
        stage.say(&mut publisher, &stage.publish(2, "c", 8, b"x"));
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&stage.publish(2, "c", 2, b"x")));
        // At QoS 0, too, and with one of them told straight.
        let mut client = stage.open("b");
        for (filter, property) in [("a/#", &b"\x0B\x07"[..]), ("a/b", b"")] {
            stage.say(&mut client, &subscribe(stage.version, 1, &[(filter, 0)], property));
        }
        stage.say(&mut publisher, &stage.publish(0, "a/b", 0, b"x"));
        let expected = publish(stage.version, 0, "a/b", 0, b"\x0B\x07", b"x");
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&expected));
    });
}

/// [MQTT5-3.8.3-3]
#[test]
fn no_local_spares_the_client_its_own() {
    in_5(|stage| {
        for qos in [0, 1] {
            let mut client = stage.listener("a", &[("t", 4 | qos)]);
            let mut other = stage.listener("b", &[("t", 4 | qos)]);
            let heard = stage.say(&mut client, &stage.publish(0, "t", 0, b"x"));
            assert_eq!(Hex(&heard), Hex(b""));
            assert_eq!(Hex(&stage.hear(&mut other)), Hex(&stage.publish(0, "t", 0, b"x")));
        }
        // Over another connection it is the same client.
        let (mut one, _, _) = stage.keep("k");
        stage.say(&mut one, &stage.subscribe(1, &[("t", 5)]));
        stage.say(&mut one, &stage.publish(3, "t", 2, b"own"));
        one.disconnect();
        let (mut two, _, heard) = stage.keep("k");
        assert_eq!(Hex(&heard), Hex(b""));
        let heard = stage.say(&mut two, &stage.subscribe(1, &[("t", 4)]));
        assert_eq!(Hex(&heard), Hex(&stage.suback(1, &[0])), "nor what it retained");
    });
}
