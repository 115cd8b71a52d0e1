//! Strings and integers (MQTT 5, section 1.5; 3.1.1, section 1.5).

use super::*;

/// What is no UTF-8: a stray octet, surrogates, an overlong form, half a character.
const ILL_FORMED: [&[u8]; 6] =
    [b"\xFF", b"\xED\xA0\x80", b"\xED\xBF\xBF", b"\xC0\xAF", b"a\xC3", b"\xF4\x90\x80\x80"];

/// Every place of a string in what follows CONNECT, with `text` in it.
fn packets_with(stage: &Stage, text: &[u8]) -> Vec<Vec<u8>> {
    let text = field(text);
    let none = block(stage.version, b"");
    let mut packets = vec![
        packet(0x30, &[&text, &none, b"x"]),
        packet(0x82, &[b"\0\x01", &none, &text, b"\0"]),
        packet(0x82, &[b"\0\x01", &none, b"\0\x01a\0", &text, b"\0"]),
        packet(0xA2, &[b"\0\x01", &none, &text]),
        packet(0xA2, &[b"\0\x01", &none, b"\0\x01a", &text]),
    ];
    if stage.is_5() {
        let with = |property: &[u8]| block(V5, &[property, &text].concat());
        let pair = block(V5, &[b"\x26", &field(b"k")[..], &text].concat());
        let key = block(V5, &[b"\x26", &text[..], &field(b"v")].concat());
        for properties in [with(b"\x03"), with(b"\x08"), pair.clone(), key.clone()] {
            packets.push(packet(0x30, &[b"\0\x01t", &properties, b"x"]));
        }
        for properties in [with(b"\x1F"), pair.clone(), key] {
            packets.push(packet(0x40, &[b"\0\x01\0", &properties]));
            packets.push(packet(0xE0, &[b"\0", &properties]));
        }
        packets.push(packet(0x82, &[b"\0\x01", &pair, b"\0\x01a\0"]));
        packets.push(packet(0xA2, &[b"\0\x01", &pair, b"\0\x01a"]));
        packets.push(packet(0xF0, &[b"\x19", &with(b"\x15")]));
    }
    packets
}

/// Every place of a string in CONNECT, with `text` in it.
fn connects_with(stage: &Stage, text: &[u8]) -> Vec<Vec<u8>> {
    let (text, id, none) = (field(text), field(b"id"), block(stage.version, b""));
    let mut connects = vec![
        stage.connect(2, 0, b"", &text),
        stage.connect(6, 0, b"", &[&id[..], &none, &text, &field(b"will")].concat()),
        stage.connect(0x82, 0, b"", &[&id[..], &text].concat()),
    ];
    if stage.is_5() {
        let pair = [b"\x26", &field(b"k")[..], &text].concat();
        connects.push(stage.connect(2, 0, &[b"\x15", &text[..]].concat(), &id));
        connects.push(stage.connect(2, 0, &pair, &id));
        for property in [&pair[..], &[b"\x03", &text[..]].concat(), &[b"\x08", &text[..]].concat()]
        {
            let will = [&id[..], &block(V5, property), &field(b"w"), &field(b"will")].concat();
            connects.push(stage.connect(6, 0, b"", &will));
        }
    }
    connects
}

/// [MQTT5-1.5.4-1] [MQTT5-1.5.7-1] [MQTT5-3.1.3-4] [MQTT5-3.1.3-11] [MQTT5-3.1.3-12]
/// [MQTT5-3.3.2-1] [MQTT5-3.3.2-13] [MQTT5-3.3.2-19] [MQTT5-3.8.3-1] [MQTT5-3.10.3-1]
/// [MQTT311-1.5.3-1] [MQTT311-3.1.3-4] [MQTT311-3.1.3-10] [MQTT311-3.1.3-11] [MQTT311-3.3.2-1]
/// [MQTT311-3.8.3-1] [MQTT311-3.10.3-1]
#[test]
fn every_string_is_utf_8() {
    in_both(|stage| {
        for text in ILL_FORMED {
            for packet in packets_with(stage, text) {
                stage.breaks(&packet, 0x81);
            }
            for connect in connects_with(stage, text) {
                stage.refuses(&connect, 0x81, None);
            }
        }
    });
}

/// [MQTT5-1.5.4-2] [MQTT5-1.5.7-1] [MQTT5-4.7.3-2] [MQTT311-1.5.3-2] [MQTT311-4.7.3-2]
#[test]
fn no_string_holds_a_null() {
    in_both(|stage| {
        for text in [&b"\0"[..], b"a\0b"] {
            for packet in packets_with(stage, text) {
                stage.breaks(&packet, 0x81);
            }
            for connect in connects_with(stage, text) {
                stage.refuses(&connect, 0x81, None);
            }
        }
    });
}

/// [MQTT5-1.5.4-3] [MQTT311-1.5.3-3]
#[test]
fn a_byte_order_mark_is_a_character() {
    in_both(|stage| {
        let topic = "\u{FEFF}a\u{FEFF}";
        let properties: &[u8] = if stage.is_5() {
            b"\x01\x01\x03\0\x04\xEF\xBB\xBFc\x26\0\x03\xEF\xBB\xBF\0\x04\xEF\xBB\xBFv"
        } else {
            b""
        };
        let mut marked = stage.listener("\u{FEFF}", &[(topic, 0)]);
        let mut unmarked = stage.listener("x", &[("a", 0)]);
        let sent = publish(stage.version, 0, topic, 0, properties, b"\xEF\xBB\xBF");
        stage.say(&mut stage.open("p"), &sent);
        assert_eq!(Hex(&stage.hear(&mut marked)), Hex(&sent));
        assert_eq!(Hex(&stage.hear(&mut unmarked)), Hex(b""));
        let heard = stage.say(&mut marked, PING);
        assert_eq!(heard, PONG, "and not the client of the name without it");
    });
}

/// [MQTT5-1.5.5-1]
#[test]
fn lengths_are_in_their_shortest_form() {
    in_5(|stage| {
        stage.breaks(b"\xC0\x80\0", 0x81);
        stage.breaks(b"\x30\x85\x80\0\0\x01a\0x", 0x81);
        stage.breaks(b"\x30\x06\0\x01a\x80\0x", 0x81);
        stage.breaks(b"\x82\x0A\0\x01\x03\x0B\x81\0\0\x01a\0", 0x81);
        stage.breaks(b"\xC0\xFF\xFF\xFF\xFF", 0x81);
        let (heard, is_closed) = stage.first(b"\x10\x8E\0\0\x04MQTT\x05\x02\0\0\0\0\x01a");
        assert_eq!((Hex(&heard), is_closed), (Hex(b"\x20\x03\0\x81\0"), true));
    });
    in_both(|stage| {
        let mut listener = stage.listener("l", &[("t", 0)]);
        let mut publisher = stage.open("p");
        let overhead = stage.publish(0, "t", 0, b"").len() - 2;
        for remaining in [127, 128, 16_383, 16_384] {
            // As `packet` writes it, which takes the fewest octets.
            let sent = stage.publish(0, "t", 0, &vec![b'x'; remaining - overhead]);
            stage.say(&mut publisher, &sent);
            assert!(stage.hear(&mut listener) == sent, "{remaining}");
        }
        if stage.is_5() {
            for length in [127_usize, 128] {
                let value = vec![b'v'; length - 6];
                let property = [b"\x26\0\x01k", &field(&value)[..]].concat();
                assert_eq!(property.len(), length);
                let sent = publish(V5, 0, "t", 0, &property, b"x");
                stage.say(&mut publisher, &sent);
                assert!(stage.hear(&mut listener) == sent, "{length}");
            }
        }
    });
}
