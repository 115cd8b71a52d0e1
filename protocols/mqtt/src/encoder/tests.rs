//! `mqttbytes` reads what we write.

use bytes::BytesMut;
use mqttbytes::{v4, v5};
use proptest::prelude::*;
use trivium_core::{Body, Draft, Properties, PropertyCodec, PublisherId};

use super::*;
use crate::properties::{PROPERTY_CODEC, write_wire_head};

/// Another protocol's messages: the wire form is its content type.
#[derive(Debug)]
struct Foreign;

impl PropertyCodec for Foreign {
    fn protocol(&self) -> Protocol {
        Protocol::Stomp
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        let content_type = String::from_utf8_lossy(wire).into_owned();
        Properties { content_type: Some(content_type), ..Properties::default() }
    }
}

fn message(
    codec: &'static dyn PropertyCodec,
    key: &str,
    wire: &[u8],
    body: &[u8],
    retain: bool,
) -> Message {
    let draft = Draft {
        exchange: "amq.topic",
        routing_key: key,
        codec,
        properties: wire,
        body: Body::Borrowed(body),
        persistent: false,
        mandatory: false,
        expires_at: None,
        priority: 0,
        retain,
    };
    Message::new(draft, PublisherId(1), &mut Vec::new())
}

const PLAIN: Envelope<'_> = Envelope {
    version: Version::V5,
    dup: false,
    qos: 0,
    retain: false,
    packet_id: 0,
    subscription_ids: &[],
    queue_topic: None,
    alias: Alias::None,
    now: None,
    coding: Coding::Shift,
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mqttbytes_reads_every_publish(
        words in proptest::collection::vec("[a-z%/é]{0,40}", 1..5),
        body_bytes in prop_oneof![0_usize..300, 16_200..16_500_usize, Just(70_000)],
        qos in 0_u8..2,
        packet_id in 1_u16..,
        ids in proptest::collection::vec(1_u32..268_435_456, 0..4),
        is_foreign: bool,
        user in "[a-z]{0,120}",
    ) {
        let key = words.join(".");
        prop_assume!(!key.is_empty());
        let body = vec![7; body_bytes];
        let mut wire = Vec::new();
        write_wire_head(qos, Version::V5, &mut wire);
        let (codec, wire): (&'static dyn PropertyCodec, _) = if is_foreign {
            (&Foreign, user.clone().into_bytes())
        } else {
            wire.extend_from_slice(b"\x26\0\x01k\0");
            wire.push(u8::try_from(user.len()).unwrap());
            wire.extend_from_slice(user.as_bytes());
            (&PROPERTY_CODEC, wire)
        };
        let message = message(codec, &key, &wire, &body, false);
        let mut topic = Vec::new();
        prop_assert!(topic_of_words(&key, &mut topic));
        for version in [Version::V311, Version::V5] {
            let mut out = b"before".to_vec();
            let envelope = Envelope {
                version, dup: false, qos, retain: true, packet_id, subscription_ids: &ids,
                queue_topic: None,
                alias: Alias::None, now: None, coding: Coding::Shift,
            };
            prop_assert!(envelope.write(&message, &mut out, &mut Lost::default()));
            let mut stream = BytesMut::from(&out[6..]);
            let (read_topic, payload, id) = if version.is_5() {
                let v5::Packet::Publish(read) = v5::read(&mut stream, 1 << 20).unwrap() else {
                    panic!()
                };
                let read_properties = read.properties.unwrap_or_else(|| panic!());
                let numbers: Vec<_> = ids.iter().map(|&id| id as usize).collect();
                prop_assert_eq!(read_properties.subscription_identifiers, numbers);
                if is_foreign {
                    prop_assert_eq!(read_properties.content_type, Some(user.clone()));
                } else {
                    let expected = vec![("k".to_owned(), user.clone())];
                    prop_assert_eq!(read_properties.user_properties, expected);
                }
                (read.topic, read.payload, read.pkid)
            } else {
                let v4::Packet::Publish(read) = v4::read(&mut stream, 1 << 20).unwrap() else {
                    panic!()
                };
                (read.topic, read.payload, read.pkid)
            };
            prop_assert!(stream.is_empty());
            prop_assert_eq!(read_topic.as_bytes(), &topic[..]);
            prop_assert_eq!(&payload[..], &body[..]);
            prop_assert_eq!(id, if qos == 0 { 0 } else { packet_id });
        }
    }
}

#[test]
fn mqtt_5_properties_are_copied_octet_by_octet() {
    let block = b"\x26\0\x01b\0\x012\x26\0\x01a\0\x011\x01\x01";
    let wire = [b"\x05", &block[..]].concat();
    let message = message(&PROPERTY_CODEC, "a.b", &wire, b"x", false);
    let mut out = Vec::new();
    assert!(PLAIN.write(&message, &mut out, &mut Lost::default()));
    assert_eq!(out, [b"\x30\x17\0\x03a/b\x10", &block[..], b"x"].concat());
}

#[test]
fn keys_that_are_no_topic_and_dollar_keys_are_not_written() {
    for (codec, key) in
        [(&Foreign as &'static dyn PropertyCodec, ""), (&Foreign, "$SYS.a"), (&PROPERTY_CODEC, "")]
    {
        let mut out = b"before".to_vec();
        assert!(
            !PLAIN.write(&message(codec, key, b"", b"x", false), &mut out, &mut Lost::default()),
            "{key}"
        );
        assert_eq!(out, b"before");
    }
}

#[test]
fn the_variant_says_version_and_retain() {
    let message = message(&PROPERTY_CODEC, "a", b"\x04", b"x", true);
    for (version, keeps_retain, packet) in [
        (Version::V311, false, &b"\x30\x04\0\x01ax"[..]),
        (Version::V311, true, b"\x31\x04\0\x01ax"),
        (Version::V5, false, b"\x30\x05\0\x01a\0x"),
        (Version::V5, true, b"\x31\x05\0\x01a\0x"),
    ] {
        let mut out = Vec::new();
        let lost =
            ENCODER.encode(variant(version, keeps_retain, Coding::Shift), &message, &mut out);
        assert_eq!(lost, Lost::NONE);
        assert_eq!(out, packet);
    }
}

#[test]
fn an_expiry_is_what_is_left_of_it_rounded_up() {
    let native = b"\x04\x01\x01\x02\0\0\0\x0A\x26\0\x01k\0\x01v";
    for (now, left) in [(0, 10), (1, 10), (2_500, 8), (9_001, 1), (10_000, 0), (99_000, 0)] {
        let draft = Draft {
            exchange: "amq.topic",
            routing_key: "t",
            codec: &PROPERTY_CODEC,
            properties: native,
            body: Body::Borrowed(b""),
            persistent: false,
            mandatory: false,
            expires_at: Some(Instant::from_millis(10_000)),
            priority: 0,
            retain: false,
        };
        let message = Message::new(draft, PublisherId(1), &mut Vec::new());
        let mut out = Vec::new();
        let now = Some(Instant::from_millis(now));
        assert!(Envelope { now, ..PLAIN }.write(&message, &mut out, &mut Lost::default()));
        let block = [b"\x01\x01\x02\0\0\0", &[left][..], b"\x26\0\x01k\0\x01v"].concat();
        assert!(out.ends_with(&block), "{out:?}");
    }
}
