//! PINGREQ, DISCONNECT and errors (MQTT 5, sections 3.12 to 3.14 and 4.13; 3.1.1, sections 3.12 to
//! 3.14 and 4.8).

use super::*;

/// [MQTT5-3.12.4-1] [MQTT311-3.12.4-1]
#[test]
fn a_ping_is_answered() {
    in_both(|stage| {
        let mut client = stage.open("a");
        assert_eq!(stage.say(&mut client, PING), PONG);
        assert_eq!(stage.say(&mut client, &[PING, PING].concat()), [PONG, PONG].concat());
    });
}

/// [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT5-3.14.2-2] [MQTT311-3.14.4-2]
#[test]
fn behind_a_disconnect_there_is_nothing() {
    in_both(|stage| {
        let mut witness = stage.listener("w", &[("t", 0)]);
        let mut client = stage.open("a");
        let sent = [b"\xE0\0", &stage.publish(0, "t", 0, b"x")[..], PING].concat();
        assert_eq!(Hex(&stage.say(&mut client, &sent)), Hex(b""), "and no answer to it");
        assert!(client.is_closed());
        assert_eq!(Hex(&stage.hear(&mut witness)), Hex(b""));
    });
    in_5(|stage| {
        // The server's own is the last it says, and has no session expiry.
        let mut client = stage.listener("a", &[("t", 0)]);
        let mut publisher = stage.open("p");
        let mut heard = client.send(b"\xC1\0");
        publisher.send(&stage.publish(0, "t", 0, b"x"));
        heard.extend(stage.hear(&mut client));
        assert_eq!(Hex(&heard), Hex(b"\xE0\x02\x81\0"));
        assert!(client.is_closed());
        assert_eq!(Hex(&stage.open("b").shutdown()), Hex(b"\xE0\x02\x8B\0"));
    });
}

/// [MQTT5-3.14.2-1]
#[test]
fn only_codes_of_disconnect_are_taken_and_given() {
    in_5(|stage| {
        for code in [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x97, 0x99] {
            let mut client = stage.open("a");
            assert_eq!(Hex(&stage.say(&mut client, &[0xE0, 1, code])), Hex(b""));
            assert!(client.is_closed());
        }
        for code in [0x01, 0x02, 0x10, 0x87, 0x8B, 0x8E, 0xA2, 0xFF] {
            stage.breaks(&[0xE0, 1, code], 0x82);
        }
    });
}

/// [MQTT5-4.13.1-1] [MQTT311-4.8.0-1]
#[test]
fn what_breaks_the_rules_ends_the_connection() {
    in_both(|stage| {
        stage.breaks(b"\xC0\x01\0", 0x81);
        stage.breaks(b"\x40\x01\0", 0x81);
        stage.breaks(b"\x40\0", 0x81);
        stage.breaks(b"\x82\0", 0x81);
        // What only servers send.
        stage.breaks(b"\x20\x02\0\0", 0x82);
        stage.breaks(b"\x90\x03\0\x01\0", 0x82);
        stage.breaks(b"\xB0\x02\0\x01", 0x82);
        stage.breaks(b"\xD0\0", 0x82);
        if stage.is_5() {
            stage.breaks(b"\xE0\x07\0\x05\x11\0\0\0\x01", 0x82);
            // A property that the packet does not carry, one twice, an unknown one.
            stage.breaks(&publish(V5, 0, "t", 0, b"\x11\0\0\0\x01", b""), 0x81);
            stage.breaks(&publish(V5, 0, "t", 0, b"\x01\0\x01\0", b""), 0x82);
            stage.breaks(&publish(V5, 0, "t", 0, b"\x01\x02", b""), 0x82);
            stage.breaks(&publish(V5, 0, "t", 0, b"\x7E\0", b""), 0x81);
            for property in
                [&b"\x21\0\0"[..], b"\x27\0\0\0\0", b"\x19\x02", b"\x21\0\x01\x21\0\x01"]
            {
                stage.refuses(&stage.connect(2, 0, property, &field(b"a")), 0x82, None);
            }
            stage.refuses(&stage.connect(2, 0, b"\x23\0\x01", &field(b"a")), 0x81, None);
        } else {
            stage.breaks(b"\xE0\x01\0", 0);
            stage.breaks(b"\xF0\0", 0);
            stage.breaks(b"\x40\x03\0\x01\0", 0);
        }
    });
}

/// [MQTT311-7.0.0-2]
#[test]
fn nothing_beyond_the_specification_is_asked_of_a_client() {
    in_both(|stage| {
        let mut client = stage.listener("a", &[("t", 0)]);
        let sent = stage.publish(0, "t", 0, b"x");
        assert_eq!(Hex(&stage.say(&mut client, &sent)), Hex(&sent));
        assert_eq!(stage.say(&mut client, b"\xE0\0"), b"");
        assert!(client.is_closed());
    });
}
