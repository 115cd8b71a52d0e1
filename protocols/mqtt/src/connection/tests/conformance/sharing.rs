//! Shared subscriptions (MQTT 5, section 4.8.2).

use super::*;

/// [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]
#[test]
fn a_group_has_a_name_and_a_filter() {
    in_5(|stage| {
        let mut client = stage.open("a");
        for (filter, is_valid) in [
            ("$share/g/t", true),
            ("$share/g/#", true),
            ("$share/g//", true),
            ("$share//t", false),
            ("$share/g", false),
            ("$share/g/", false),
            ("$share/+/t", false),
            ("$share/g#/t", false),
            ("$share/g/t#", false),
        ] {
            let heard = stage.say(&mut client, &stage.subscribe(1, &[(filter, 1)]));
            let code = if is_valid { 1 } else { 0x8F };
            assert_eq!(Hex(&heard), Hex(&stage.suback(1, &[code])), "{filter}");
        }
    });
}

/// [MQTT5-4.8.2-3]
#[test]
fn members_get_what_they_were_granted() {
    in_5(|stage| {
        let mut publisher = stage.open("p");
        for qos in 0..3_u8 {
            let mut member = stage.open("m");
            let heard = stage.say(&mut member, &stage.subscribe(1, &[("$share/g/t", qos)]));
            // The highest that is granted to a group.
            let granted = qos.min(1);
            assert_eq!(Hex(&heard), Hex(&stage.suback(1, &[granted])));
            for published in 0..3_u8 {
                stage.say(&mut publisher, &stage.publish(published << 1, "t", 9, b"x"));
                stage.say(&mut publisher, b"\x62\x02\0\x09");
                let expected = stage.publish(granted.min(published) << 1, "t", 1, b"x");
                assert_eq!(Hex(&stage.hear(&mut member)), Hex(&expected));
                stage.say(&mut member, b"\x40\x02\0\x01");
            }
        }
    });
}

/// [MQTT5-4.8.2-6]
#[test]
fn what_a_member_rejects_goes_to_no_other() {
    in_5(|stage| {
        let mut one = stage.open_with("one", b"\x21\0\x01");
        stage.say(&mut one, &stage.subscribe(1, &[("$share/g/t", 1)]));
        stage.say(&mut stage.open("p"), &stage.publish(2, "t", 9, b"x"));
        assert_eq!(Hex(&stage.hear(&mut one)), Hex(&stage.publish(2, "t", 1, b"x")));
        let mut two = stage.open("two");
        stage.say(&mut two, &stage.subscribe(1, &[("$share/g/t", 1)]));
        assert_eq!(stage.say(&mut one, b"\x40\x03\0\x01\x80"), b"");
        one.disconnect();
        assert_eq!(Hex(&stage.hear(&mut two)), Hex(b""));
    });
}
