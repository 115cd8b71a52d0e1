//! UNSUBSCRIBE and UNSUBACK (MQTT 5 and 3.1.1, sections 3.10 and 3.11).

use super::*;

/// [MQTT5-3.10.3-2] [MQTT311-3.10.3-2]
#[test]
fn there_is_at_least_one_filter() {
    in_both(|stage| stage.breaks(&stage.unsubscribe(1, &[]), 0x82));
}

/// [MQTT5-3.10.4-1] [MQTT5-3.10.4-2] [MQTT5-3.11.3-1] [MQTT5-3.11.3-2] [MQTT5-3.10.4-6]
/// [MQTT311-3.10.4-1] [MQTT311-3.10.4-2] [MQTT311-3.10.4-5] [MQTT311-3.10.4-6]
#[test]
fn only_the_very_filter_is_removed() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        let filters = [("a/+", 0), ("a/#", 1), ("A/b", 0), ("a/b", 2)];
        let mut client = stage.listener("x", &filters);
        let mut is_told = |client: &mut Guest<'_>| {
            stage.say(&mut publisher, &stage.publish(0, "a/b", 0, b"x"));
            !stage.hear(client).is_empty()
        };
        // None of these is one of them.
        let others = ["a/b/", "/a/b", "a", "+/b", "#"];
        let heard = stage.say(&mut client, &stage.unsubscribe(1, &others));
        assert_eq!(Hex(&heard), Hex(&stage.unsuback(1, &[0x11; 5])));
        assert!(is_told(&mut client));
        let heard = stage.say(&mut client, &stage.unsubscribe(2, &["a/b", "no", "a/+", "a/b"]));
        assert_eq!(Hex(&heard), Hex(&stage.unsuback(2, &[0, 0x11, 0, 0x11])));
        assert!(is_told(&mut client), "a/# is left");
        let heard = stage.say(&mut client, &stage.unsubscribe(3, &["a/#"]));
        assert_eq!(Hex(&heard), Hex(&stage.unsuback(3, &[0])));
        assert!(!is_told(&mut client));
        let heard = stage.say(&mut client, &stage.unsubscribe(4, &["a/#", "A/b"]));
        assert_eq!(Hex(&heard), Hex(&stage.unsuback(4, &[0x11, 0])));
    });
}

/// [MQTT5-3.10.4-3] [MQTT311-3.10.4-3]
#[test]
fn what_was_begun_is_finished() {
    in_both(|stage| {
        let mut publisher = stage.open("p");
        let (mut client, _, _) = stage.keep("x");
        stage.say(&mut client, &stage.subscribe(1, &[("t", 2)]));
        stage.say(&mut publisher, &stage.publish(2, "t", 1, b"1"));
        stage.say(&mut publisher, &stage.publish(4, "t", 2, b"2"));
        let heard = stage.hear(&mut client);
        let expected = [stage.publish(2, "t", 1, b"1"), stage.publish(4, "t", 2, b"2")].concat();
        assert_eq!(Hex(&heard), Hex(&expected));
        let heard = stage.say(&mut client, &stage.unsubscribe(1, &["t"]));
        assert_eq!(Hex(&heard), Hex(&stage.unsuback(1, &[0])));
        // Over another connection, too.
        client.disconnect();
        let (mut client, _, heard) = stage.keep("x");
        let again = [stage.publish(0xA, "t", 1, b"1"), stage.publish(0xC, "t", 2, b"2")].concat();
        assert_eq!(Hex(&heard), Hex(&again));
        assert_eq!(stage.say(&mut client, b"\x40\x02\0\x01"), b"");
        assert_eq!(stage.say(&mut client, b"\x50\x02\0\x02"), b"\x62\x02\0\x02");
        assert_eq!(stage.say(&mut client, b"\x70\x02\0\x02"), b"");
        client.disconnect();
        assert_eq!(Hex(&stage.keep("x").2), Hex(b""));
    });
}
