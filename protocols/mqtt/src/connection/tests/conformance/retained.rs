//! Retained messages (MQTT 5, sections 3.3.1.3 and 3.8.3.1; 3.1.1, section 3.3.1.3).

use super::*;

/// What a new subscriber hears behind its SUBACK.
fn found(stage: &Stage, filter: &str, options: u8) -> Vec<u8> {
    let mut late = stage.open("late");
    let heard = stage.say(&mut late, &stage.subscribe(1, &[(filter, options)]));
    let suback = stage.suback(1, &[options & 3]);
    assert_eq!(Hex(&heard[..suback.len()]), Hex(&suback));
    heard[suback.len()..].to_vec()
}

/// [MQTT5-3.3.1-5] [MQTT5-3.3.1-9] [MQTT311-3.3.1-5] [MQTT311-3.3.1-6] [MQTT311-3.3.1-7]
/// [MQTT311-3.3.1-8] [MQTT311-3.1.2-7]
#[test]
fn the_last_retained_message_of_a_topic_reaches_later_subscribers() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        for (flags, topic, body) in
            [(3, "a/1", b"old"), (5, "a/2", b"two"), (1, "a/1", b"new"), (1, "b/1", b"not")]
        {
            stage.say(&mut publisher, &stage.publish(flags, topic, 9, body));
        }
        stage.say(&mut publisher, b"\xE0\0");
        // Each with its own QoS, as granted at most, marked as retained.
        let (one, two) = (stage.publish(1, "a/1", 0, b"new"), stage.publish(5, "a/2", 1, b"two"));
        let heard = found(stage, "a/+", 2);
        let in_any_order = [[&one[..], &two].concat(), [&two[..], &one].concat()];
        assert!(in_any_order.contains(&heard), "{:?}", Hex(&heard));
        let at_qos_0 = stage.publish(1, "a/2", 0, b"two");
        assert_eq!(Hex(&found(stage, "a/#", 0)), Hex(&[&one[..], &at_qos_0].concat()));
        assert_eq!(Hex(&found(stage, "a/1", 1)), Hex(&one), "a QoS 0 message replaced it");
        assert_eq!(Hex(&found(stage, "c", 1)), Hex(b""));
    });
}

/// [MQTT5-3.3.1-12] [MQTT311-3.3.1-9]
#[test]
fn what_matches_an_established_subscription_is_not_marked() {
    in_both(|stage| {
        let mut direct = stage.listener("direct", &[("t", 0)]);
        let mut queued = stage.listener("queued", &[("t", 1)]);
        let mut publisher = stage.open("p");
        stage.say(&mut publisher, &stage.publish(3, "t", 1, b"x"));
        assert_eq!(Hex(&stage.hear(&mut direct)), Hex(&stage.publish(0, "t", 0, b"x")));
        assert_eq!(Hex(&stage.hear(&mut queued)), Hex(&stage.publish(2, "t", 1, b"x")));
    });
}

/// [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]
#[test]
fn retain_as_published_keeps_the_flag() {
    in_5(|stage| {
        let mut direct = stage.listener("direct", &[("t", 8)]);
        let mut queued = stage.listener("queued", &[("t", 9)]);
        let mut publisher = stage.open("p");
        for retain in [1, 0] {
            stage.say(&mut publisher, &stage.publish(2 | retain, "t", 1, b"x"));
            let direct = stage.hear(&mut direct);
            assert_eq!(Hex(&direct), Hex(&stage.publish(retain, "t", 0, b"x")));
            let heard = stage.hear(&mut queued);
            assert_eq!(Hex(&heard), Hex(&stage.publish(2 | retain, "t", 1, b"x")));
            stage.say(&mut queued, b"\x40\x02\0\x01");
        }
        // What was retained before is marked, whatever the option says.
        assert_eq!(Hex(&found(stage, "t", 0)), Hex(&stage.publish(1, "t", 0, b"x")));
    });
}

/// [MQTT5-3.3.1-6] [MQTT5-3.3.1-7] [MQTT311-3.3.1-10] [MQTT311-3.3.1-11]
#[test]
fn an_empty_retained_message_clears_the_topic_and_is_delivered() {
    in_both(|stage| {
        let mut listener = stage.listener("l", &[("t", 0)]);
        let mut publisher = stage.open("p");
        stage.say(&mut publisher, &stage.publish(1, "t", 0, b"x"));
        stage.hear(&mut listener);
        stage.say(&mut publisher, &stage.publish(1, "t", 0, b""));
        assert_eq!(Hex(&stage.hear(&mut listener)), Hex(&stage.publish(0, "t", 0, b"")));
        assert_eq!(Hex(&found(stage, "#", 0)), Hex(b""));
    });
}

/// [MQTT5-3.3.1-8] [MQTT311-3.3.1-12]
#[test]
fn a_message_without_the_flag_changes_nothing_that_is_retained() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        stage.say(&mut publisher, &stage.publish(0, "none", 0, b"x"));
        stage.say(&mut publisher, &stage.publish(1, "t", 0, b"kept"));
        stage.say(&mut publisher, &stage.publish(0, "t", 0, b"passing"));
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b""));
        assert_eq!(Hex(&found(stage, "#", 0)), Hex(&stage.publish(1, "t", 0, b"kept")));
    });
}

/// [MQTT5-3.3.1-9] [MQTT5-3.3.1-10] [MQTT5-3.3.1-11] [MQTT5-3.8.4-4]
#[test]
fn retain_handling_says_when_they_are_sent() {
    in_5(|stage| {
        stage.say(&mut stage.open("p"), &stage.publish(1, "t", 0, b"x"));
        let message = stage.publish(1, "t", 0, b"x");
        for qos in [0, 1] {
            let mut client = stage.open("a");
            for (handling, is_sent) in [(1, true), (1, false), (0, true), (0, true), (2, false)] {
                let options = handling << 4 | qos;
                let heard = stage.say(&mut client, &stage.subscribe(1, &[("t", options)]));
                let message = if is_sent { &message[..] } else { b"" };
                let expected = [&stage.suback(1, &[qos])[..], message].concat();
                assert_eq!(Hex(&heard), Hex(&expected), "{handling} at QoS {qos}");
            }
            stage.say(&mut client, &stage.unsubscribe(2, &["t"]));
            let heard = stage.say(&mut client, &stage.subscribe(1, &[("t", 0x20 | qos)]));
            assert_eq!(Hex(&heard), Hex(&stage.suback(1, &[qos])), "never");
            stage.say(&mut client, &stage.unsubscribe(2, &["t"]));
            let heard = stage.say(&mut client, &stage.subscribe(1, &[("t", 0x10 | qos)]));
            assert_eq!(Hex(&heard), Hex(&[stage.suback(1, &[qos]), message.clone()].concat()));
        }
    });
}
