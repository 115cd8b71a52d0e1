//! Decoders against malformed packets, and against `mqttbytes` as an independent writer and
//! reader.

use bytes::BytesMut;
use mqttbytes::{QoS, v4, v5};
use proptest::prelude::*;

use super::acknowledgement::Acknowledgement;
use super::connect::Connect;
use super::disconnect::Disconnect;
use super::publish::Publish;
use super::subscribe::{RetainHandling, Subscribe, Unsubscribe};
use super::*;

const LIMIT: usize = 1 << 20;

/// The code with which a whole packet is refused; `None` when it is taken.
fn refused(packet: &[u8], version: Version) -> Option<u8> {
    decode(packet, version).err().map(|fault| fault.code.0)
}

fn decode(packet: &[u8], version: Version) -> Result<(), Fault> {
    let header = Header::read(packet, LIMIT)?.expect("the header is whole");
    assert_eq!(header.packet_bytes(), packet.len(), "the packet is whole");
    header.check(version)?;
    let body = header.body(packet);
    match header.kind() {
        kind::CONNECT => Connect::decode(body).map(drop).map_err(|rejected| rejected.fault),
        kind::PUBLISH => Publish::decode(header.first(), body, version).map(drop),
        kind @ kind::PUBACK..=kind::PUBCOMP => {
            Acknowledgement::decode(kind, body, version).map(drop)
        }
        kind::SUBSCRIBE => Subscribe::decode(header, packet, version, 10).map(drop),
        kind::UNSUBSCRIBE => Unsubscribe::decode(header, packet, version, 10).map(drop),
        kind::DISCONNECT => Disconnect::decode(body, version).map(drop),
        kind::AUTH => auth::Auth::decode(body).map(drop),
        _ => Ok(()),
    }
}

#[test]
fn malformed_packets_of_both_versions() {
    let cases: &[(&str, &[u8], u8)] = &[
        ("packet type 0", b"\x00\x00", 0x81),
        ("[MQTT-2.1.3-1] PUBACK with flags", b"\x41\x02\0\x01", 0x81),
        ("[MQTT-3.6.1-1] PUBREL without its flags", b"\x60\x02\0\x01", 0x81),
        ("[MQTT-3.8.1-1] SUBSCRIBE without its flags", b"\x80\x00", 0x81),
        ("[MQTT-3.10.1-1] UNSUBSCRIBE without its flags", b"\xA0\x00", 0x81),
        ("[MQTT-3.14.1-1] DISCONNECT with flags", b"\xE1\x00", 0x81),
        ("[MQTT-3.3.1-4] QoS 3", b"\x36\x05\0\x01a\0\x01", 0x81),
        ("[MQTT-3.3.1-2] DUP at QoS 0", b"\x38\x03\0\x01a", 0x81),
        ("PUBLISH without a topic", b"\x30\x00", 0x81),
        ("PUBLISH whose topic is cut", b"\x30\x03\0\x05a", 0x81),
        ("[MQTT-2.2.1-3] PUBLISH with packet identifier 0", b"\x32\x05\0\x01a\0\0", 0x81),
        ("PUBLISH at QoS 1 without identifier", b"\x32\x03\0\x01a", 0x81),
        ("PUBACK with identifier 0", b"\x40\x02\0\0", 0x81),
        ("PUBACK of one octet", b"\x40\x01\0", 0x81),
        ("SUBSCRIBE with identifier 0", b"\x82\x06\0\0\0\x01a\0", 0x81),
    ];
    for (rule, packet, expected) in cases {
        for version in [Version::V311, Version::V5] {
            let header = Header::read(packet, LIMIT);
            let code = match header {
                Err(fault) => Some(fault.code.0),
                Ok(_) => refused(packet, version),
            };
            assert_eq!(code, Some(*expected), "{rule} in {}", version.name());
        }
    }
}

#[test]
fn malformed_packets_of_mqtt_5() {
    let cases: &[(&str, &[u8], u8)] = &[
        ("[MQTT-1.5.5-1] long length", b"\x30\x84\0\0\x01a\0", 0x81),
        ("properties run into the payload", b"\x30\x09\0\x01a\x01\x02\0\0\0\x09", 0x81),
        ("[MQTT-3.3.4-6] subscription identifier", b"\x30\x06\0\x01a\x02\x0B\x01", 0x82),
        ("properties longer than the packet", b"\x30\x04\0\x01a\x05", 0x81),
        ("[MQTT-3.4.2-1] PUBACK with 0x01", b"\x40\x03\0\x01\x01", 0x81),
        ("PUBACK with 0x92", b"\x40\x03\0\x01\x92", 0x81),
        ("PUBREL with 0x10", b"\x62\x03\0\x01\x10", 0x81),
        ("PUBACK with bytes after it", b"\x40\x05\0\x01\0\0\0", 0x81),
        ("[MQTT-3.8.3-2] no filter", b"\x82\x03\0\x01\0", 0x82),
        ("[MQTT-4.7.3-1] empty filter", b"\x82\x06\0\x01\0\0\0\0", 0x82),
        ("[MQTT-3.8.3-5] reserved option bits", b"\x82\x07\0\x01\0\0\x01a\x40", 0x81),
        ("QoS 3 in options", b"\x82\x07\0\x01\0\0\x01a\x03", 0x81),
        ("retain handling 3", b"\x82\x07\0\x01\0\0\x01a\x30", 0x82),
        ("[MQTT-3.8.3-4] no local, shared", b"\x82\x10\0\x01\0\0\x0A$share/g/a\x04", 0x82),
        ("[MQTT-3.8.3-1] filter not UTF-8", b"\x82\x07\0\x01\0\0\x01\xFF\0", 0x81),
        ("filter without options", b"\x82\x06\0\x01\0\0\x01a", 0x81),
        ("[MQTT-3.10.3-2] nothing to unsubscribe", b"\xA2\x03\0\x01\0", 0x82),
        ("[MQTT-3.10.3-1] filter not UTF-8", b"\xA2\x06\0\x01\0\0\x01\xFF", 0x81),
        ("DISCONNECT with 0x8E", b"\xE0\x01\x8E", 0x82),
        ("DISCONNECT with bytes after it", b"\xE0\x03\0\0\0", 0x81),
        ("AUTH with 0x01", b"\xF0\x02\x01\0", 0x81),
    ];
    for (rule, packet, expected) in cases {
        assert_eq!(refused(packet, Version::V5), Some(*expected), "{rule}");
    }
}

#[test]
fn malformed_packets_of_mqtt_3_1_1() {
    let cases: &[(&str, &[u8])] = &[
        ("PUBACK with a reason", b"\x40\x03\0\x01\0"),
        ("[MQTT-3-8.3-4] reserved option bits", b"\x82\x06\0\x01\0\x01a\x04"),
        ("[MQTT-3.8.3-3] no filter", b"\x82\x02\0\x01"),
        ("[MQTT-3.10.3-2] nothing to unsubscribe", b"\xA2\x02\0\x01"),
        ("filter cut", b"\xA2\x06\0\x01\0\x05ab"),
        ("DISCONNECT with a body", b"\xE0\x01\0"),
    ];
    for (rule, packet) in cases {
        assert!(refused(packet, Version::V311).is_some(), "{rule}");
    }
}

#[test]
fn short_forms_of_mqtt_5_are_read() {
    for (packet, code, expiry) in [
        (&b"\xE0\x00"[..], 0x00, None),
        (b"\xE0\x01\x04", 0x04, None),
        (b"\xE0\x02\x00\x00", 0x00, None),
        (b"\xE0\x07\x00\x05\x11\0\0\0\x09", 0x00, Some(9)),
    ] {
        let disconnect = Disconnect::decode(&packet[2..], Version::V5).unwrap();
        assert_eq!((disconnect.code.0, disconnect.session_expiry), (code, expiry));
    }
    for (body, code) in [(&b"\0\x07"[..], 0), (b"\0\x07\x10", 0x10), (b"\0\x07\x97\0", 0x97)] {
        let puback = Acknowledgement::decode(kind::PUBACK, body, Version::V5).unwrap();
        assert_eq!((puback.packet_id, puback.code.0), (7, code));
    }
}

#[test]
fn a_fixed_header_waits_for_its_octets_and_not_for_the_packet() {
    assert_eq!(Header::read(b"", LIMIT), Ok(None));
    assert_eq!(Header::read(b"\x30", LIMIT), Ok(None));
    assert_eq!(Header::read(b"\x30\x80", LIMIT), Ok(None));
    assert_eq!(Header::read(b"\x30\xFF\xFF\xFF", LIMIT), Ok(None));
    let header = Header::read(b"\x30\x80\x01", LIMIT).unwrap().unwrap();
    assert_eq!((header.header_bytes(), header.packet_bytes()), (3, 131));
    let code = |input: &[u8], limit| Header::read(input, limit).unwrap_err().code.0;
    assert_eq!(code(b"\x30\xFF\xFF\xFF\xFF", LIMIT), 0x81, "five octets of length");
    assert_eq!(code(b"\x30\x80\x01", 130), 0x95, "[MQTT-3.2.2-15]");
    assert_eq!(code(b"\x36", LIMIT), 0x81, "flags are checked before anything is waited for");
}

fn rejected(body: &[u8]) -> (u8, Option<Version>) {
    let rejected = Connect::decode(body).unwrap_err();
    (rejected.fault.code.0, rejected.answer)
}

/// The rule, the body in parts, the code and the form of the answer.
type Malformed<'a> = (&'a str, &'a [&'a [u8]], u8, Option<Version>);

#[test]
fn malformed_connects() {
    const V4: &[u8] = b"\0\x04MQTT\x04";
    const V5: &[u8] = b"\0\x04MQTT\x05";
    let cases: &[Malformed<'_>] = &[
        ("[MQTT-3.1.2-1] name", &[b"\0\x04MQTX\x04\x02\0\0\0\x01a"], 0x84, None),
        ("[MQTT-3.1.2-2] level 3", &[b"\0\x04MQTT\x03\x02\0\0\0\x01a"], 0x84, Some(Version::V311)),
        ("[MQTT-3.1.2-2] level 6", &[b"\0\x04MQTT\x06\x02\0\0\0\0\x01a"], 0x84, Some(Version::V5)),
        ("[MQTT-3.1.2-3] reserved flag", &[V4, b"\x03\0\0\0\x01a"], 0x81, None),
        ("[MQTT-3.1.2-3] reserved flag", &[V5, b"\x03\0\0\0\0\x01a"], 0x81, Some(Version::V5)),
        ("[MQTT-3.1.2-11] will QoS", &[V5, b"\x08\0\0\0\0\x01a"], 0x81, Some(Version::V5)),
        ("[MQTT-3.1.2-12] will QoS 3", &[V5, b"\x1C\0\0\0\0\x01a"], 0x81, Some(Version::V5)),
        ("[MQTT-3.1.2-13] will retain", &[V5, b"\x20\0\0\0\0\x01a"], 0x81, Some(Version::V5)),
        ("[MQTT-3.1.2-22] password alone", &[V4, b"\x42\0\0\0\x01a\0\x01p"], 0x81, None),
        ("[MQTT-3.1.2-16] bytes after", &[V4, b"\x02\0\0\0\x01ab"], 0x81, None),
        ("[MQTT-3.1.2-17] no user", &[V5, b"\x82\0\0\0\0\x01a"], 0x81, Some(Version::V5)),
        ("[MQTT-3.1.3-4] id not UTF-8", &[V5, b"\x02\0\0\0\0\x01\xFF"], 0x81, Some(Version::V5)),
        ("[MQTT-3.1.3-8] empty id", &[V4, b"\0\0\0\0\0"], 0x85, Some(Version::V311)),
        ("empty id of 3.1", &[b"\0\x06MQIsdp\x03\x02\0\0\0\0"], 0x85, Some(Version::V31)),
        ("will wildcard", &[V5, b"\x06\0\0\0\0\x01a\0\0\x01#\0\0"], 0x90, Some(Version::V5)),
        ("will to $SYS", &[V5, b"\x06\0\0\0\0\x01a\0\0\x06$SYS/a\0\0"], 0x90, Some(Version::V5)),
        ("authentication", &[V5, b"\x02\0\0\x04\x15\0\x01x\0\0"], 0x8C, Some(Version::V5)),
        ("data alone", &[V5, b"\x02\0\0\x04\x16\0\x01x\0\0"], 0x82, Some(Version::V5)),
    ];
    for (rule, body, code, answer) in cases {
        assert_eq!(rejected(&body.concat()), (*code, *answer), "{rule}");
    }
}

#[test]
fn a_connect_with_everything_is_read() {
    let body = [
        &b"\0\x04MQTT\x05\xF6\0\x3C"[..],
        b"\x13\x11\0\0\0\x09\x21\0\x05\x27\0\0\x10\0\x26\0\x01k\0\0",
        b"\0\x02id",
        b"\x0C\x18\0\0\0\x05\x26\0\x01a\0\x01b",
        b"\0\x03w/t\0\x02\0\xFF\0\x01u\0\x02\xFF\0",
    ]
    .concat();
    let connect = Connect::decode(&body).unwrap();
    assert_eq!(connect.version, Version::V5);
    assert!(connect.clean_start);
    assert_eq!(connect.keep_alive_s, 60);
    assert_eq!(connect.settings.session_expiry, 9);
    assert_eq!(connect.settings.receive_maximum, 5);
    assert_eq!(connect.settings.packet_bytes_max, Some(4096));
    assert_eq!(connect.client_id, "id");
    assert_eq!(connect.user.as_deref(), Some("u"));
    assert_eq!(connect.password, b"\xFF\0");
    let will = connect.will.unwrap();
    assert_eq!((will.qos, will.retain), (2, true));
    assert_eq!(will.target.key(), "w.t");
    assert_eq!(will.payload, b"\0\xFF");
    assert_eq!(will.wire, b"\x06\x26\0\x01a\0\x01b", "the will delay is the connection's");
}

fn whole(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    write(&mut buffer);
    buffer.to_vec()
}

fn header_of(packet: &[u8]) -> Header {
    Header::read(packet, LIMIT).unwrap().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn variable_byte_integers_are_read_back(value in 0_usize..268_435_456) {
        let mut out = Vec::new();
        write_variable(value, &mut out);
        prop_assert_eq!(out.len(), variable_bytes(value));
        let mut reader = crate::guard::Reader::new(&out);
        prop_assert_eq!(reader.variable().map(|value| value as usize), Ok(value));
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn what_mqttbytes_publishes_is_read(
        topic in "[a-zé/.]{1,12}",
        payload in proptest::collection::vec(any::<u8>(), 0..300),
        qos in 0_u8..3,
        packet_id in 1_u16..,
        retain: bool,
        alias in proptest::option::of(1_u16..),
        users in proptest::collection::vec(("[a-z]{0,4}", "[a-zü]{0,4}"), 0..4),
    ) {
        let qos_of = mqttbytes::qos(qos).unwrap();
        let old = {
            let mut publish = v4::Publish::new(topic.clone(), qos_of, payload.clone());
            (publish.pkid, publish.retain) = (packet_id, retain);
            whole(|buffer| { publish.write(buffer).unwrap(); })
        };
        let new = {
            let mut publish = v5::Publish::new(topic.clone(), qos_of, payload.clone());
            (publish.pkid, publish.retain) = (packet_id, retain);
            publish.properties = Some(v5::PublishProperties {
                payload_format_indicator: Some(1),
                message_expiry_interval: Some(7),
                topic_alias: alias,
                response_topic: Some("r".to_owned()),
                correlation_data: Some(vec![0, 1].into()),
                user_properties: users,
                subscription_identifiers: Vec::new(),
                content_type: None,
            });
            whole(|buffer| { publish.write(buffer).unwrap(); })
        };
        for (packet, version, alias) in [(old, Version::V311, None), (new, Version::V5, alias)] {
            let header = header_of(&packet);
            let publish = Publish::decode(header.first(), header.body(&packet), version).unwrap();
            prop_assert_eq!(publish.topic, topic.as_bytes());
            prop_assert_eq!(publish.payload, &payload[..]);
            prop_assert_eq!(publish.packet_id, if qos == 0 { 0 } else { packet_id });
            prop_assert_eq!((publish.qos, publish.retain), (qos, retain));
            prop_assert_eq!(publish.topic_alias(), alias);
        }
    }

    #[test]
    fn what_mqttbytes_subscribes_is_read(
        filters in proptest::collection::vec(("[a-z+#/]{1,8}", 0_u8..3, any::<bool>()), 1..5),
        packet_id in 1_u16..,
        id in proptest::option::of(1_usize..268_435_456),
    ) {
        let packet = {
            let filters = filters.iter().map(|(path, qos, flag)| v5::SubscribeFilter {
                path: path.clone(),
                qos: mqttbytes::qos(*qos).unwrap(),
                nolocal: *flag,
                preserve_retain: !flag,
                retain_forward_rule: v5::RetainForwardRule::Never,
            });
            let mut subscribe = v5::Subscribe::new_many(filters);
            subscribe.pkid = packet_id;
            subscribe.properties =
                Some(v5::SubscribeProperties { id, user_properties: vec![("a".into(), "b".into())] });
            whole(|buffer| { subscribe.write(buffer).unwrap(); })
        };
        let subscribe = Subscribe::decode(header_of(&packet), &packet, Version::V5, 10).unwrap();
        prop_assert_eq!(subscribe.packet_id, packet_id);
        prop_assert_eq!(subscribe.id.map(|id| id as usize), id);
        prop_assert_eq!(subscribe.filters.len(), filters.len());
        for (read, (filter, qos, flag)) in subscribe.filters.iter().zip(&filters) {
            prop_assert_eq!((&read.filter, read.qos), (filter, *qos));
            prop_assert_eq!((read.no_local, read.retain_as_published), (*flag, !flag));
            prop_assert_eq!(read.retain_handling, RetainHandling::Never);
        }
    }

    #[test]
    fn unsubscribes_of_both_versions_are_read(
        topics in proptest::collection::vec("[a-z+#/]{1,8}", 1..5),
        packet_id in 1_u16..,
    ) {
        let old = v4::Unsubscribe { pkid: packet_id, topics: topics.clone() };
        let old = whole(|buffer| { old.write(buffer).unwrap(); });
        let new = v5::Unsubscribe { pkid: packet_id, filters: topics.clone(), properties: None };
        let new = whole(|buffer| { new.write(buffer).unwrap(); });
        for (packet, version) in [(old, Version::V311), (new, Version::V5)] {
            let read = Unsubscribe::decode(header_of(&packet), &packet, version, 10).unwrap();
            prop_assert_eq!((read.packet_id, &read.filters), (packet_id, &topics));
        }
    }

    #[test]
    fn mqttbytes_reads_our_acknowledgements(packet_id in 1_u16.., is_error: bool) {
        let code = ReasonCode(if is_error { 0x97 } else { 0 });
        let mut out = Vec::new();
        Acknowledgement { packet_id, code }.write(kind::PUBACK, Version::V5, &mut out);
        let read = v5::read(&mut BytesMut::from(&out[..]), LIMIT);
        let Ok(v5::Packet::PubAck(puback)) = read else { panic!("{read:?}") };
        prop_assert_eq!(puback.pkid, packet_id);
        prop_assert_eq!(puback.reason == v5::PubAckReason::QuotaExceeded, is_error);
    }

    #[test]
    fn no_octets_make_a_decoder_panic(
        first in prop_oneof![Just(0x10), Just(0x82), Just(0xA2), Just(0xE0), Just(0xF0), 0x30_u8..0x70],
        body in proptest::collection::vec(prop_oneof![0_u8..6, any::<u8>()], 0..64),
    ) {
        let mut packet = vec![first];
        write_variable(body.len(), &mut packet);
        packet.extend_from_slice(&body);
        for version in [Version::V31, Version::V311, Version::V5] {
            if Header::read(&packet, LIMIT).is_ok() {
                decode(&packet, version).ok();
            }
        }
    }
}

#[test]
fn mqttbytes_reads_our_replies() {
    let mut out = Vec::new();
    let codes = [ReasonCode(0), ReasonCode(1), ReasonCode(0x9E), ReasonCode(0x8F)];
    reply::write_suback(9, &codes, None, Version::V5, &mut out);
    reply::write_unsuback(9, &[ReasonCode(0), ReasonCode(0x11)], None, Version::V5, &mut out);
    reply::write_refused(ReasonCode::NOT_AUTHORIZED, None, Version::V5, &mut out);
    disconnect::write(ReasonCode::SESSION_TAKEN_OVER, None, &mut out);
    let mut stream = BytesMut::from(&out[..]);
    let mut next = || v5::read(&mut stream, LIMIT).unwrap();
    let v5::Packet::SubAck(suback) = next() else { panic!() };
    assert_eq!(
        suback.return_codes.iter().map(|code| *code as u8).collect::<Vec<_>>(),
        [0, 1, 0x9E, 0x8F]
    );
    let v5::Packet::UnsubAck(unsuback) = next() else { panic!() };
    assert_eq!(
        unsuback.reasons,
        [v5::UnsubAckReason::Success, v5::UnsubAckReason::NoSubscriptionExisted]
    );
    let v5::Packet::ConnAck(connack) = next() else { panic!() };
    assert_eq!(connack.code, v5::ConnectReturnCode::NotAuthorized);
    let v5::Packet::Disconnect(disconnect) = next() else { panic!() };
    assert_eq!(disconnect.reason_code, v5::DisconnectReasonCode::SessionTakenOver);

    let mut out = Vec::new();
    reply::write_suback(9, &codes, None, Version::V311, &mut out);
    reply::write_unsuback(9, &[ReasonCode(0x11)], None, Version::V311, &mut out);
    reply::write_refused(ReasonCode::NOT_AUTHORIZED, None, Version::V311, &mut out);
    assert_eq!(out, b"\x90\x06\0\x09\0\x01\x80\x80\xB0\x02\0\x09\x20\x02\0\x05");
    assert_eq!(QoS::AtLeastOnce as u8, 1);
}
