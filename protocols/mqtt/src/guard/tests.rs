use super::*;

fn code(block: &[u8], allowed: Allowed) -> Option<u8> {
    walk(block, allowed, |_, _, _| Ok(())).err().map(|fault| fault.code.0)
}

#[test]
fn malformed_blocks_are_refused_with_their_code() {
    let cases: &[(&str, &[u8], Allowed, u8)] = &[
        ("unknown property", b"\x7F\x00", Allowed::PUBLISH, 0x81),
        ("property of another packet", b"\x11\0\0\0\x01", Allowed::PUBLISH, 0x81),
        ("truncated number", b"\x02\0\0\0", Allowed::PUBLISH, 0x81),
        ("truncated string", b"\x03\0\x05abc", Allowed::PUBLISH, 0x81),
        ("truncated pair", b"\x26\0\x01a\0", Allowed::PUBLISH, 0x81),
        ("[MQTT-1.5.4-1] not UTF-8", b"\x03\0\x01\xFF", Allowed::PUBLISH, 0x81),
        ("[MQTT-1.5.4-1] a surrogate", b"\x03\0\x03\xED\xA0\x80", Allowed::PUBLISH, 0x81),
        ("[MQTT-1.5.4-2] U+0000", b"\x03\0\x01\0", Allowed::PUBLISH, 0x81),
        ("[MQTT-1.5.7-1] pair not UTF-8", b"\x26\0\x01a\0\x01\xFF", Allowed::PUBLISH, 0x81),
        ("repeated", b"\x01\0\x01\0", Allowed::PUBLISH, 0x82),
        ("payload format 7", b"\x01\x07", Allowed::PUBLISH, 0x82),
        ("[MQTT-3.3.2-8] alias 0", b"\x23\0\0", Allowed::PUBLISH, 0x94),
        ("[MQTT-3.3.2-14] wildcard in response topic", b"\x08\0\x01#", Allowed::PUBLISH, 0x82),
        ("empty response topic", b"\x08\0\0", Allowed::PUBLISH, 0x82),
        ("subscription identifier 0", b"\x0B\0", Allowed::SUBSCRIBE, 0x82),
        ("[MQTT-1.5.5-1] long identifier", b"\x0B\x81\0", Allowed::SUBSCRIBE, 0x81),
        ("five octets of identifier", b"\x0B\xFF\xFF\xFF\xFF\x01", Allowed::SUBSCRIBE, 0x81),
        ("receive maximum 0", b"\x21\0\0", Allowed::CONNECT, 0x82),
        ("maximum packet size 0", b"\x27\0\0\0\0", Allowed::CONNECT, 0x82),
        ("request problem information 2", b"\x17\x02", Allowed::CONNECT, 0x82),
    ];
    for (rule, block, allowed, expected) in cases {
        assert_eq!(code(block, *allowed), Some(*expected), "{rule}");
    }
}

#[test]
fn well_formed_blocks_pass() {
    let cases: &[(&[u8], Allowed)] = &[
        (b"", Allowed::PUBLISH),
        (b"\x01\x01\x02\0\0\0\x09\x03\0\x01t\x08\0\x01r\x09\0\x02\0\xFF", Allowed::PUBLISH),
        (b"\x26\0\x01a\0\x01b\x26\0\x01a\0\x01b", Allowed::PUBLISH),
        // [MQTT-1.5.4-3]: U+FEFF is a character like any other.
        (b"\x03\0\x03\xEF\xBB\xBF", Allowed::PUBLISH),
        (b"\x0B\xFF\xFF\xFF\x7F", Allowed::SUBSCRIBE),
    ];
    for (block, allowed) in cases {
        assert_eq!(code(block, *allowed), None, "{block:02X?}");
    }
}

#[test]
fn the_walker_tells_where_each_property_is() {
    let block = b"\x01\x01\x23\0\x05\x26\0\x01a\0\0";
    let mut places = Vec::new();
    walk(block, Allowed::PUBLISH, |id, _, place| {
        places.push((id, place));
        Ok(())
    })
    .unwrap();
    assert_eq!(places, [(1, 0..2), (35, 2..5), (38, 5..11)]);
}

#[test]
fn too_many_properties_are_refused() {
    let block = b"\x26\0\0\0\0".repeat(PROPERTIES_MAX + 1);
    assert_eq!(code(&block, Allowed::PUBLISH), Some(0x97));
    assert_eq!(code(&block[5..], Allowed::PUBLISH), None);
}
