//! CONNECT and CONNACK (MQTT 5 and 3.1.1, sections 3.1 and 3.2).

use super::*;

/// [MQTT5-3.1.0-1] [MQTT311-3.1.0-1]
#[test]
fn the_first_packet_is_connect() {
    in_both(|stage| {
        let firsts = [
            stage.publish(0, "t", 0, b"x"),
            stage.subscribe(1, &[("t", 0)]),
            PING.to_vec(),
            b"\xE0\0".to_vec(),
            b"\x40\x02\0\x01".to_vec(),
            b"\x20\x02\0\0".to_vec(),
            b"\xF0\0".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ];
        let mut witness = stage.listener("witness", &[("#", 0)]);
        for sent in firsts {
            assert_eq!(stage.first(&sent), (Vec::new(), true), "{:?}", Hex(&sent));
        }
        assert_eq!(stage.hear(&mut witness), b"");
    });
}

/// [MQTT5-3.1.0-2] [MQTT5-3.2.0-2] [MQTT311-3.1.0-2]
#[test]
fn a_second_connect_breaks_the_rules() {
    in_both(|stage| {
        stage.breaks(&stage.connect(2, 0, b"", &field(b"breaker")), 0x82);
        stage.breaks(&stage.connect(2, 0, b"", &field(b"other")), 0x82);
    });
}

/// [MQTT5-3.1.2-1] [MQTT5-3.1.2-2] [MQTT5-3.14.0-1] [MQTT311-3.1.2-1] [MQTT311-3.1.2-2]
#[test]
fn names_and_levels_that_are_not_spoken_are_refused() {
    in_both(|stage| {
        let body = |name: &str, level| {
            packet(0x10, &[&field(name.as_bytes()), &[level, 2, 0, 0], b"\0\0\x01a"])
        };
        for name in ["MQTX", "", "mqtt", "MQTT5", "MQisdp"] {
            for level in [4, 5] {
                let (heard, is_closed) = stage.first(&body(name, level));
                assert_eq!((Hex(&heard), is_closed), (Hex(b""), true), "{name}");
            }
        }
        for level in [0, 1, 2, 3] {
            let (heard, is_closed) = stage.first(&body("MQTT", level));
            assert_eq!((Hex(&heard), is_closed), (Hex(b"\x20\x02\0\x01"), true), "{level}");
        }
        for level in [6, 255] {
            let (heard, is_closed) = stage.first(&body("MQTT", level));
            assert_eq!((Hex(&heard), is_closed), (Hex(b"\x20\x03\0\x84\0"), true), "{level}");
        }
    });
}

/// [MQTT5-3.1.2-3] [MQTT311-3.1.2-3]
#[test]
fn the_reserved_flag_is_zero() {
    in_both(|stage| stage.refuses(&stage.connect(3, 0, b"", &field(b"a")), 0x81, None));
}

/// [MQTT5-3.1.2-9] [MQTT5-3.1.2-11] [MQTT5-3.1.2-12] [MQTT5-3.1.2-13] [MQTT311-3.1.2-9]
/// [MQTT311-3.1.2-11] [MQTT311-3.1.2-13] [MQTT311-3.1.2-14] [MQTT311-3.1.2-15]
#[test]
fn will_flags_and_will_fields_go_together() {
    in_both(|stage| {
        let id = field(b"a");
        let none = block(stage.version, b"");
        let will = [&id[..], &none, &field(b"w"), &field(b"will")].concat();
        for qos in 0..3 {
            for retain in [0, 0x20] {
                let sent = stage.connect(6 | retain | qos << 3, 0, b"", &will);
                assert_eq!(stage.first(&sent), (stage.accepted().to_vec(), false));
            }
        }
        stage.refuses(&stage.connect(6 | 3 << 3, 0, b"", &will), 0x81, None);
        for flags in [8, 16, 24, 0x20] {
            stage.refuses(&stage.connect(2 | flags, 0, b"", &id), 0x81, None);
        }
        // The flag without the fields, some of them, the fields without the flag.
        for payload in [&id[..], &[&id[..], &none, &field(b"w")].concat()] {
            stage.refuses(&stage.connect(6, 0, b"", payload), 0x81, None);
        }
        stage.refuses(&stage.connect(2, 0, b"", &will), 0x81, None);
    });
}

/// [MQTT5-3.1.2-16] [MQTT5-3.1.2-17] [MQTT5-3.1.2-18] [MQTT5-3.1.2-19] [MQTT5-3.1.4-1]
/// [MQTT311-3.1.2-18] [MQTT311-3.1.2-19] [MQTT311-3.1.2-20] [MQTT311-3.1.2-21]
/// [MQTT311-3.1.2-22] [MQTT311-3.1.4-1]
#[test]
fn user_name_and_password_are_there_if_the_flags_say_so() {
    in_both(|stage| {
        let (id, user, password) = (field(b"a"), field(b"guest"), field(b"guest"));
        let both = [&id[..], &user, &password].concat();
        let one = [&id[..], &user].concat();
        let sent = stage.connect(0xC2, 0, b"", &both);
        assert_eq!(stage.first(&sent), (stage.accepted().to_vec(), false));
        // Present without the flag, absent with it.
        for (flags, payload) in
            [(0x02, &one), (0x02, &both), (0x82, &both), (0x82, &id), (0xC2, &one), (0xC2, &id)]
        {
            stage.refuses(&stage.connect(flags, 0, b"", payload), 0x81, None);
        }
        // A password alone is legal in 5, where it is a token; here nobody asks for one.
        let alone = stage.connect(0x42, 0, b"", &[&id[..], &password].concat());
        if stage.is_5() {
            assert_eq!(stage.first(&alone), (stage.accepted().to_vec(), false));
        } else {
            stage.refuses(&alone, 0, None);
        }
    });
}

/// [MQTT5-3.1.3-1] [MQTT5-3.1.3-3] [MQTT5-3.1.4-1] [MQTT311-3.1.3-1] [MQTT311-3.1.3-3]
/// [MQTT311-3.1.4-1]
#[test]
fn the_fields_of_the_payload_have_their_order_and_no_more() {
    in_both(|stage| {
        stage.refuses(&stage.connect(2, 0, b"", b""), 0x81, None);
        stage.refuses(&stage.connect(2, 0, b"", b"\0\x05a"), 0x81, None);
        stage.refuses(&stage.connect(2, 0, b"", b"\0\x01ab"), 0x81, None);
        // Identifier, will, user, password: each is found where it stands.
        let none = block(stage.version, b"");
        let fields = [
            &field(b"client")[..],
            &none,
            &field(b"will/topic"),
            &field(b"will"),
            &field(b"guest"),
            &field(b"guest"),
        ];
        let mut witness = stage.listener("witness", &[("#", 0)]);
        let mut client = stage.dial();
        let heard = stage.say(&mut client, &stage.connect(0xC6, 0, b"", &fields.concat()));
        assert_eq!(Hex(&heard), Hex(stage.accepted()));
        let described = client.adapter().unwrap().describe();
        assert_eq!(described.client.as_deref(), Some("client"));
        assert_eq!(described.user.as_deref(), Some("guest"));
        client.disconnect();
        let will = stage.publish(0, "will/topic", 0, b"will");
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will));
    });
}

/// [MQTT5-3.1.3-5] [MQTT311-3.1.3-5]
#[test]
fn plain_identifiers_are_allowed() {
    in_both(|stage| {
        let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for id in [&all[..1], &all[..23], &all[23..46], &all[39..]] {
            stage.open(id);
        }
    });
}

/// [MQTT5-3.1.3-6] [MQTT5-3.1.3-7] [MQTT5-3.2.2-16] [MQTT5-3.1.3-2] [MQTT311-3.1.3-6]
/// [MQTT311-3.1.3-2]
#[test]
fn an_empty_identifier_is_replaced_by_a_new_one() {
    in_both(|stage| {
        let mut names = std::collections::BTreeSet::new();
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = stage.dial();
            let heard = stage.say(&mut client, &stage.connect(2, 0, b"", &field(b"")));
            let name = client.adapter().unwrap().describe().client.unwrap();
            if stage.is_5() {
                let property = [&[0x12][..], &field(name.as_bytes())].concat();
                assert!(heard.windows(property.len()).any(|window| window == property));
            } else {
                assert_eq!(heard, ACCEPTED_4);
            }
            assert!(names.insert(name), "unique");
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(stage.say(client, PING), PONG, "nobody took another's place");
        }
        // As if it had given that name itself.
        let last = names.last().unwrap();
        let _again = stage.open(last);
        let taken: usize = clients
            .iter_mut()
            .map(|client| {
                stage.hear(client);
                usize::from(client.is_closed())
            })
            .sum();
        assert_eq!(taken, 1);
    });
}

/// [MQTT5-3.1.3-6] [MQTT5-3.1.3-8] [MQTT311-3.1.3-7] [MQTT311-3.1.3-8] [MQTT311-3.1.3-9]
#[test]
fn an_empty_identifier_without_a_clean_session_is_rejected_by_3_1_1() {
    in_311(|stage| stage.refuses(&stage.connect(0, 0, b"", &field(b"")), 0, Some(2)));
    in_5(|stage| {
        let (heard, is_closed) = stage.first(&stage.connect(0, 0, b"", &field(b"")));
        assert_eq!((heard[0], heard[2], heard[3], is_closed), (0x20, 0, 0, false));
    });
}

/// [MQTT5-3.1.4-2] [MQTT5-3.1.4-6] [MQTT5-3.2.2-6] [MQTT5-3.2.2-7] [MQTT5-3.2.2-8]
/// [MQTT5-3.14.0-1] [MQTT5-4.13.2-1] [MQTT311-3.1.4-5] [MQTT311-3.2.2-4] [MQTT311-3.2.2-5]
/// [MQTT311-3.2.2-6]
#[test]
fn who_fails_to_log_in_is_told_and_not_heard() {
    in_both(|stage| {
        let (mut kept, _, _) = stage.keep("a");
        kept.send(b"\xE0\0");
        let wrong = [&field(b"a")[..], &field(b"guest"), &field(b"wrong")].concat();
        // There is a session to be resumed, and Session Present is 0.
        stage.refuses(&stage.connect(0xC0, 0, b"", &wrong), 0x86, Some(4));
        if !stage.is_5() {
            // No return code says "malformed".
            stage.refuses(&stage.connect(3, 0, b"", &field(b"a")), 0, None);
        }
    });
}

/// [MQTT5-3.1.4-5] [MQTT5-3.2.0-1] [MQTT5-3.2.0-2] [MQTT5-3.2.2-1] [MQTT5-3.2.2-2]
/// [MQTT5-2.2.2-1] [MQTT311-3.1.4-4] [MQTT311-3.2.0-1] [MQTT311-3.2.2-1]
#[test]
fn the_first_packet_of_the_server_is_one_connack() {
    in_both(|stage| {
        // Something waits for the client before it is there.
        let (mut kept, _, _) = stage.keep("a");
        stage.say(&mut kept, &stage.subscribe(1, &[("t", 1)]));
        kept.disconnect();
        stage.say(&mut stage.open("p"), &stage.publish(2, "t", 1, b"x"));
        let mut client = stage.dial();
        let sent = stage.connect(0, 0, b"\x11\0\0\0\x3C", &field(b"a"));
        let heard = stage.say(&mut client, &[&sent[..], PING].concat());
        let mut accepted = stage.accepted().to_vec();
        accepted[2] = 1;
        let expected = [&accepted[..], &stage.publish(2, "t", 1, b"x")].concat();
        assert!(heard.starts_with(&accepted), "{:?}", Hex(&heard));
        let rest = &heard[accepted.len()..];
        let message = &expected[accepted.len()..];
        assert!(rest == [message, PONG].concat() || rest == [PONG, message].concat());
        // A clean start says that there is nothing.
        let heard = stage.first(&stage.connect(2, 0, b"", &field(b"a"))).0;
        assert_eq!(Hex(&heard), Hex(stage.accepted()));
    });
}

/// [MQTT5-3.1.2-22] [MQTT5-3.2.2-22] [MQTT311-3.1.2-24]
#[test]
fn a_silent_client_is_dropped_after_one_and_a_half_keep_alives() {
    in_both(|stage| {
        let will = [&field(b"a")[..], &block(stage.version, b""), &field(b"w"), &field(b"x")];
        let mut witness = stage.listener("witness", &[("w", 0)]);
        let mut client = stage.dial();
        stage.say(&mut client, &stage.connect(6, 10, b"", &will.concat()));
        stage.world.pass(14_999);
        assert_eq!(stage.say(&mut client, PING), PONG);
        stage.world.pass(14_999);
        assert_eq!(stage.hear(&mut client), b"");
        assert!(!client.is_closed());
        stage.world.pass(1);
        let goodbye: &[u8] = if stage.is_5() { b"\xE0\x02\x8D\0" } else { b"" };
        assert_eq!(Hex(&stage.hear(&mut client)), Hex(goodbye));
        assert!(client.is_closed());
        let will = stage.publish(0, "w", 0, b"x");
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will), "as if the network had failed");
        let mut patient = stage.open("patient");
        stage.world.pass(86_400_000);
        assert_eq!(stage.say(&mut patient, PING), PONG, "0 is no limit");
    });
}

/// [MQTT5-3.1.2-28] [MQTT5-3.1.2-29]
#[test]
fn response_and_problem_information_come_on_request_only() {
    in_5(|stage| {
        let accepted = |property: &[u8]| {
            let sent = stage.connect(2, 0, property, &field(b"a/b"));
            stage.first(&sent).0
        };
        let information = [&[0x1A][..], &field(b"response/a%2Fb/")].concat();
        let has = |heard: &[u8]| heard.windows(information.len()).any(|part| part == information);
        assert!(has(&accepted(b"\x19\x01")));
        assert_eq!(Hex(&accepted(b"\x19\0")), Hex(ACCEPTED_5));
        assert_eq!(Hex(&accepted(b"")), Hex(ACCEPTED_5));

        let refused = stage.subscribe(1, &[("a#", 0)]);
        let mut unasked = stage.open("unasked");
        assert_eq!(Hex(&stage.say(&mut unasked, &refused)), Hex(&stage.suback(1, &[0x8F])));
        let mut asking = stage.dial();
        let sent = packet(0x10, &[b"\0\x04MQTT\x05\x02\0\0\0\0\x01a"]);
        assert_eq!(Hex(&stage.say(&mut asking, &sent)), Hex(ACCEPTED_5));
        let reason = [&[0x1F][..], &field(b"the topic filter is not valid")].concat();
        let expected = packet(0x90, &[b"\0\x01", &block(V5, &reason), b"\x8F"]);
        assert_eq!(Hex(&stage.say(&mut asking, &refused)), Hex(&expected));
    });
}

/// [MQTT5-3.1.2-24] [MQTT5-3.2.2-19] [MQTT5-3.2.2-20] [MQTT5-3.9.2-1] [MQTT5-3.14.2-3]
/// [MQTT5-3.4.2-2] [MQTT5-3.5.2-2]
#[test]
fn a_reason_is_left_out_where_it_does_not_fit() {
    in_5(|stage| {
        let long = "x".repeat(200);
        for limit in [20_u8, 60] {
            let mut client = stage.dial();
            let sent = packet(
                0x10,
                &[b"\0\x04MQTT\x05\x02\0\0", &block(V5, &[0x27, 0, 0, 0, limit]), b"\0\x01a"],
            );
            assert_eq!(Hex(&stage.say(&mut client, &sent)), Hex(ACCEPTED_5));
            let fits = |heard: &[u8]| {
                let length = usize::from(heard[1]) + 2;
                assert_eq!(length, heard.len(), "one packet");
                assert!(length <= usize::from(limit), "{:?}", Hex(heard));
                length
            };
            let heard = stage.say(&mut client, &stage.subscribe(1, &[("a#", 0)]));
            assert_eq!(fits(&heard) > 10, limit == 60, "{:?}", Hex(&heard));
            let heard = stage.say(&mut client, &stage.publish(2, "$SYS/x", 2, b""));
            assert_eq!((heard[0], heard[4]), (0x40, 0x87));
            assert_eq!(fits(&heard) > 10, limit == 60, "{:?}", Hex(&heard));
            let heard = stage.say(&mut client, &stage.publish(4, "$SYS/x", 3, b""));
            assert_eq!((heard[0], heard[4]), (0x50, 0x87));
            assert_eq!(fits(&heard) > 10, limit == 60, "{:?}", Hex(&heard));
            let user = publish(
                V5,
                0,
                "t",
                0,
                &[b"\x26\0\x0Camqp-user-id", &field(long.as_bytes())[..]].concat(),
                b"",
            );
            let heard = stage.say(&mut client, &user);
            assert_eq!((heard[0], heard[2]), (0xE0, 0x87));
            fits(&heard);
            // A refused CONNECT, too.
            let will = [
                &field(b"b")[..],
                &block(V5, &[b"\x26\0\x0Camqp-user-id", &field(long.as_bytes())[..]].concat()),
                &field(b"w"),
                &field(b"x"),
            ];
            let sent = packet(
                0x10,
                &[b"\0\x04MQTT\x05\x06\0\0", &block(V5, &[0x27, 0, 0, 0, limit]), &will.concat()],
            );
            let (heard, is_closed) = stage.first(&sent);
            assert_eq!((heard[0], heard[3], is_closed), (0x20, 0x87, true));
            fits(&heard);
        }
    });
}
