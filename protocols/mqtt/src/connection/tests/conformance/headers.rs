//! Fixed headers, packet identifiers, property lengths (MQTT 5 and 3.1.1, section 2).

use super::*;

/// [MQTT5-2.1.3-1] [MQTT5-3.6.1-1] [MQTT5-3.8.1-1] [MQTT5-3.10.1-1] [MQTT5-3.14.1-1]
/// [MQTT5-3.15.1-1] [MQTT311-2.2.2-1] [MQTT311-2.2.2-2] [MQTT311-3.6.1-1] [MQTT311-3.8.1-1]
/// [MQTT311-3.10.1-1] [MQTT311-3.14.1-1]
#[test]
fn reserved_flags_have_one_value_each() {
    in_both(|stage| {
        let none = block(stage.version, b"");
        let mut bodies: Vec<(u8, u8, Vec<u8>)> = vec![
            (4, 0, b"\0\x01".to_vec()),
            (5, 0, b"\0\x01".to_vec()),
            (6, 2, b"\0\x01".to_vec()),
            (7, 0, b"\0\x01".to_vec()),
            (8, 2, [b"\0\x01", &none[..], b"\0\x01a\0"].concat()),
            (10, 2, [b"\0\x01", &none[..], b"\0\x01a"].concat()),
            (12, 0, Vec::new()),
            (14, 0, Vec::new()),
        ];
        if stage.is_5() {
            bodies.push((15, 0, b"\x19\0".to_vec()));
        }
        for (kind, right, body) in bodies {
            for flags in (0..16).filter(|flags| *flags != right) {
                stage.breaks(&packet(kind << 4 | flags, &[&body]), 0x81);
            }
        }
        for flags in 1..16 {
            let mut sent = stage.connect(2, 0, b"", &field(b"a"));
            sent[0] |= flags;
            assert_eq!(stage.first(&sent), (Vec::new(), true));
        }
        stage.breaks(b"\0\0", 0x81);
    });
}

/// [MQTT5-2.1.3-1] [MQTT5-2.2.2-1] [MQTT311-2.2.2-1]
#[test]
fn the_server_writes_reserved_flags_and_empty_properties_as_they_are_to_be() {
    in_both(|stage| {
        let mut client = stage.open("a");
        let sent = [
            stage.subscribe(1, &[("t", 2)]),
            stage.publish(2, "x", 2, b""),
            stage.publish(4, "x", 3, b""),
            b"\x62\x02\0\x03".to_vec(),
            stage.unsubscribe(4, &["y"]),
            PING.to_vec(),
        ];
        let (puback, pubrec): (&[u8], &[u8]) = if stage.is_5() {
            (b"\x40\x03\0\x02\x10", b"\x50\x03\0\x03\x10")
        } else {
            (b"\x40\x02\0\x02", b"\x50\x02\0\x03")
        };
        let expected = [
            &stage.suback(1, &[2])[..],
            puback,
            pubrec,
            b"\x70\x02\0\x03",
            &stage.unsuback(4, &[0x11]),
            PONG,
        ];
        for (sent, expected) in sent.iter().zip(expected) {
            assert_eq!(Hex(&stage.say(&mut client, sent)), Hex(expected));
        }
        stage.say(&mut stage.open("p"), &stage.publish(4, "t", 9, b"x"));
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(&stage.publish(4, "t", 1, b"x")));
        assert_eq!(Hex(&stage.say(&mut client, b"\x50\x02\0\x01")), Hex(b"\x62\x02\0\x01"));
        if stage.is_5() {
            let heard = stage.say(&mut client, b"\xC1\0");
            assert_eq!(Hex(&heard), Hex(b"\xE0\x02\x81\0"));
        }
    });
}

/// [MQTT5-2.2.1-3] [MQTT311-2.3.1-1]
#[test]
fn packet_identifiers_are_not_zero() {
    in_both(|stage| {
        stage.breaks(&stage.publish(2, "t", 0, b""), 0x81);
        stage.breaks(&stage.publish(4, "t", 0, b""), 0x81);
        stage.breaks(&stage.subscribe(0, &[("t", 0)]), 0x81);
        stage.breaks(&stage.unsubscribe(0, &["t"]), 0x81);
        for kind in [0x40, 0x50, 0x62, 0x70] {
            stage.breaks(&[kind, 2, 0, 0], 0x81);
        }
    });
}

/// [MQTT5-2.2.1-2] [MQTT5-4.3.1-1] [MQTT5-3.3.1-2] [MQTT311-2.3.1-5] [MQTT311-4.3.1-1]
/// [MQTT311-3.3.1-2]
#[test]
fn qos_0_has_no_identifier_and_is_no_duplicate() {
    in_both(|stage| {
        // Straight into the socket, and through a session's queue.
        let mut direct = stage.listener("direct", &[("t", 0)]);
        let mut queued = stage.listener("queued", &[("t", 1)]);
        let sent = stage.publish(0, "t", 0, b"x");
        stage.say(&mut stage.open("p"), &sent);
        assert_eq!(Hex(&stage.hear(&mut direct)), Hex(&sent));
        assert_eq!(Hex(&stage.hear(&mut queued)), Hex(&sent));
        stage.breaks(&stage.publish(8, "t", 0, b"x"), 0x81);
    });
}

/// [MQTT5-2.2.1-5] [MQTT5-2.2.1-6] [MQTT5-3.8.4-1] [MQTT5-3.8.4-2] [MQTT5-3.10.4-4]
/// [MQTT5-3.10.4-5] [MQTT5-3.3.4-1] [MQTT5-4.3.2-4] [MQTT5-4.3.3-8] [MQTT5-4.3.3-11]
/// [MQTT311-2.3.1-6] [MQTT311-2.3.1-7] [MQTT311-3.8.4-1] [MQTT311-3.8.4-2] [MQTT311-3.10.4-4]
/// [MQTT311-3.10.4-5] [MQTT311-3.3.4-1] [MQTT311-4.3.2-2]
#[test]
fn answers_bear_the_identifier_of_what_they_answer() {
    in_both(|stage| {
        let mut client = stage.open("a");
        let none = block(stage.version, b"");
        for id in [[0, 1], [0x12, 0x34], [0xFF, 0xFF]] {
            let publish = |first| packet(first, &[b"\0\x01t", &id, &none, b"x"]);
            let subscribe = packet(0x82, &[&id, &none, b"\0\x01u\x01"]);
            assert_eq!(stage.say(&mut client, &subscribe), packet(0x90, &[&id, &none, b"\x01"]));
            let no_reader: &[u8] = if stage.is_5() { b"\x10" } else { b"" };
            let puback = packet(0x40, &[&id, no_reader]);
            assert_eq!(Hex(&stage.say(&mut client, &publish(0x32))), Hex(&puback));
            let pubrec = packet(0x50, &[&id, no_reader]);
            assert_eq!(Hex(&stage.say(&mut client, &publish(0x34))), Hex(&pubrec));
            let (release, pubcomp) = (packet(0x62, &[&id]), packet(0x70, &[&id]));
            assert_eq!(Hex(&stage.say(&mut client, &release)), Hex(&pubcomp));
            let at_qos_0 = stage.publish(0, "t", 0, b"x");
            assert_eq!(Hex(&stage.say(&mut client, &at_qos_0)), Hex(b""), "none at QoS 0");
            let unsubscribe = packet(0xA2, &[&id, &none, b"\0\x01u"]);
            let codes: &[u8] = if stage.is_5() { b"\0" } else { b"" };
            let unsuback = packet(0xB0, &[&id, &none, codes]);
            assert_eq!(Hex(&stage.say(&mut client, &unsubscribe)), Hex(&unsuback));
        }
    });
}

/// [MQTT5-2.2.1-4] [MQTT5-4.3.2-1] [MQTT5-4.3.3-1] [MQTT311-2.3.1-4] [MQTT311-4.3.2-1]
/// [MQTT311-4.3.3-1]
#[test]
fn identifiers_of_deliveries_are_not_in_use() {
    in_both(|stage| {
        let mut listener = stage.listener("l", &[("t", 2)]);
        let mut publisher = stage.open("p");
        let mut under_way = std::collections::BTreeSet::new();
        for round in 0_u8..30 {
            let flags = if round % 3 == 0 { 4 } else { 2 };
            stage.say(&mut publisher, &stage.publish(flags, "t", round + 1, &[round]));
            let heard = stage.hear(&mut listener);
            let start = heard.len() - if stage.is_5() { 4 } else { 3 };
            let id = [heard[start], heard[start + 1]];
            assert_eq!(Hex(&heard), Hex(&stage.publish(flags, "t", id[1], &[round])));
            assert_ne!(id, [0, 0]);
            assert!(under_way.insert((id, flags)), "{id:?} is in use");
            assert_eq!(under_way.iter().filter(|(known, _)| *known == id).count(), 1);
            // Every other round one of them is done with, none of them the oldest.
            let middle = under_way.iter().nth(under_way.len() / 2).copied();
            if let Some((id, flags)) = middle.filter(|_| round % 2 == 0) {
                under_way.remove(&(id, flags));
                if flags == 2 {
                    stage.say(&mut listener, &packet(0x40, &[&id]));
                } else {
                    stage.say(&mut listener, &packet(0x50, &[&id]));
                    // Until PUBCOMP it is in use.
                    stage.say(&mut publisher, &stage.publish(2, "t", 99, &[0xFF]));
                    let heard = stage.hear(&mut listener);
                    assert_ne!([heard[start], heard[start + 1]], id);
                    stage.say(&mut listener, &packet(0x40, &[&heard[start..start + 2]]));
                    stage.say(&mut listener, &packet(0x70, &[&id]));
                }
            }
        }
    });
}
