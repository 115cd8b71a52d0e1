//! Wills (MQTT 5 and 3.1.1, section 3.1.2.5).

use super::*;

/// CONNECT with a will on `w`, and a session of a minute in MQTT 5.
fn with_will(stage: &Stage, flags: u8, properties: &[u8]) -> Vec<u8> {
    let payload =
        [&field(b"leaving")[..], &block(stage.version, properties), &field(b"w"), &field(b"bye")];
    stage.connect(flags | 4, 0, b"\x11\0\0\0\x3C", &payload.concat())
}

fn leaving<'s>(stage: &'s Stage, flags: u8, properties: &[u8]) -> Guest<'s> {
    let mut client = stage.dial();
    let heard = stage.say(&mut client, &with_will(stage, flags, properties));
    assert_eq!((heard[0], heard[3]), (0x20, 0));
    client
}

/// [MQTT5-3.1.2-7] [MQTT5-3.1.2-8] [MQTT5-3.1.2-10] [MQTT311-3.1.2-8] [MQTT311-3.1.2-10]
#[test]
fn a_will_is_published_once_when_its_client_is_lost() {
    in_both(|stage| {
        let mut witness = stage.listener("witness", &[("w", 0)]);
        let mut client = leaving(stage, 2, b"");
        assert_eq!(stage.hear(&mut witness), b"", "not before");
        client.disconnect();
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&stage.publish(0, "w", 0, b"bye")));
        // It is gone from the session.
        stage.keep("leaving").0.disconnect();
        stage.world.pass(120_000);
        assert_eq!(stage.hear(&mut witness), b"");
        // Whatever ends the connection but a goodbye.
        let mut client = leaving(stage, 2, b"");
        stage.say(&mut client, b"\xC1\0");
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&stage.publish(0, "w", 0, b"bye")));
    });
}

/// [MQTT5-3.1.2-8] [MQTT5-3.1.2-10] [MQTT5-3.14.4-3] [MQTT311-3.1.2-10] [MQTT311-3.14.4-3]
#[test]
fn a_goodbye_takes_the_will_back() {
    in_both(|stage| {
        let mut witness = stage.listener("witness", &[("w", 0)]);
        stage.say(&mut leaving(stage, 2, b""), b"\xE0\0");
        stage.world.pass(120_000);
        assert_eq!(stage.hear(&mut witness), b"");
    });
    in_5(|stage| {
        let mut witness = stage.listener("witness", &[("w", 0)]);
        let will = stage.publish(0, "w", 0, b"bye");
        stage.say(&mut leaving(stage, 2, b""), b"\xE0\x02\0\0");
        assert_eq!(stage.hear(&mut witness), b"");
        for code in [0x04, 0x80, 0x83] {
            stage.say(&mut leaving(stage, 2, b""), &[0xE0, 1, code]);
            assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will), "{code}");
        }
    });
}

/// [MQTT311-3.1.2-12]
#[test]
fn who_has_no_will_leaves_none() {
    in_both(|stage| {
        let mut witness = stage.listener("witness", &[("#", 0)]);
        stage.open("a").disconnect();
        stage.say(&mut stage.open("b"), b"\xC1\0");
        assert_eq!(stage.hear(&mut witness), b"");
    });
}

/// [MQTT5-3.1.2-14] [MQTT5-3.1.2-15] [MQTT311-3.1.2-16] [MQTT311-3.1.2-17]
#[test]
fn a_will_is_retained_if_it_says_so() {
    in_both(|stage| {
        for (flags, retained) in [(2, &b""[..]), (0x22, &stage.publish(1, "w", 0, b"bye"))] {
            let mut witness = stage.listener("witness", &[("w", 0)]);
            leaving(stage, flags, b"").disconnect();
            let live = stage.publish(0, "w", 0, b"bye");
            assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&live));
            let mut late = stage.open("late");
            let heard = stage.say(&mut late, &stage.subscribe(1, &[("w", 0)]));
            assert_eq!(Hex(&heard), Hex(&[&stage.suback(1, &[0])[..], retained].concat()));
        }
    });
}

/// [MQTT5-3.1.2-12] [MQTT311-3.1.2-14]
#[test]
fn a_will_has_its_quality_of_service() {
    in_both(|stage| {
        for qos in 0..3 {
            let mut witness = stage.listener("witness", &[("w", 2)]);
            leaving(stage, 2 | qos << 3, b"").disconnect();
            let will = stage.publish(qos << 1, "w", 1, b"bye");
            assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will));
        }
    });
}

/// [MQTT5-3.1.2-8] [MQTT5-3.1.3-9]
#[test]
fn a_will_waits_for_its_delay_and_not_longer_than_the_session() {
    in_5(|stage| {
        let mut witness = stage.listener("witness", &[("w", 0)]);
        let will = stage.publish(0, "w", 0, b"bye");
        let delay = |seconds: u8| [0x18, 0, 0, 0, seconds];
        leaving(stage, 2, &delay(10)).disconnect();
        stage.world.pass(9_999);
        assert_eq!(stage.hear(&mut witness), b"");
        stage.world.pass(1);
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will));
        leaving(stage, 2, &delay(10)).disconnect();
        stage.world.pass(9_999);
        stage.say(&mut stage.keep("leaving").0, b"\xE0\0");
        stage.world.pass(60_000);
        assert_eq!(stage.hear(&mut witness), b"", "it was back in time");
        leaving(stage, 2, &delay(200)).disconnect();
        stage.world.pass(59_999);
        assert_eq!(stage.hear(&mut witness), b"");
        stage.world.pass(1);
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will), "the session ends first");
        leaving(stage, 2, &delay(200)).disconnect();
        let _clean = stage.open("leaving");
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will), "a clean start ends it, too");
    });
}

/// [MQTT5-3.1.3-10] [MQTT5-3.3.2-6]
#[test]
fn a_will_keeps_its_properties() {
    in_5(|stage| {
        let properties = b"\x01\x01\x03\0\x01c\x08\0\x01r\x09\0\x01\xFF\x26\0\x01b\0\x011\x26\0\x01a\0\x012\x26\0\x01b\0\x013";
        let mut witness = stage.listener("witness", &[("w", 0)]);
        leaving(stage, 2, properties).disconnect();
        let will = publish(V5, 0, "w", 0, properties, b"bye");
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will));
        // Its expiry counts from when it is published.
        let late = b"\x18\0\0\0\x0A\x02\0\0\0\x20";
        leaving(stage, 0x22, late).disconnect();
        stage.world.pass(10_000);
        let will = publish(V5, 0, "w", 0, b"\x02\0\0\0\x20", b"bye");
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(&will));
        stage.world.pass(5_000);
        let mut late = stage.open("late");
        let heard = stage.say(&mut late, &stage.subscribe(1, &[("w", 0)]));
        let will = publish(V5, 1, "w", 0, b"\x02\0\0\0\x1B", b"bye");
        assert_eq!(Hex(&heard), Hex(&[stage.suback(1, &[0]), will].concat()));
    });
}
