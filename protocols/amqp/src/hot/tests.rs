//! The hot codec against `amq-protocol`'s: what one writes the other reads, octet by octet.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic};
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use proptest::prelude::*;
use trivium_core::{Body, Draft, Lost, Message, Outcome, PublisherId, Transmit};

use super::deliver::{self, Target};
use super::publish;
use super::settle::{self, Settle};
use crate::PROPERTY_CODEC;
use crate::method::MethodId;
use crate::properties::{Checked, PropertyList};

fn octets(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

fn method(channel: u16, method: basic::AMQPMethod) -> Vec<u8> {
    octets(&AMQPFrame::Method(channel, AMQPClass::Basic(method)))
}

/// Content as `amq-protocol` writes it, the body in pieces of `piece_max`.
fn content(channel: u16, properties: &BasicProperties, body: &[u8], piece_max: usize) -> Vec<u8> {
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: body.len() as u64,
        properties: properties.clone(),
    };
    let mut out = octets(&AMQPFrame::Header(channel, header));
    for piece in body.chunks(piece_max) {
        out.extend(octets(&AMQPFrame::Body(channel, piece.to_vec())));
    }
    out
}

/// The property list as it stands in a content header.
fn wire(properties: &BasicProperties) -> Vec<u8> {
    let frame = content(0, properties, b"", 1);
    frame[19..frame.len() - 1].to_vec()
}

fn message(exchange: &str, key: &str, properties: &BasicProperties, body: &[u8]) -> Message {
    let draft = Draft {
        exchange,
        routing_key: key,
        codec: PROPERTY_CODEC,
        properties: &wire(properties),
        body: Body::Borrowed(body),
        persistent: false,
        mandatory: false,
        expires_at: None,
        priority: 0,
        retain: false,
    };
    Message::new(draft, PublisherId(1), &mut Vec::new())
}

fn short() -> impl Strategy<Value = ShortString> {
    "[a-zäö.]{0,20}".prop_map(ShortString::from)
}

fn properties() -> impl Strategy<Value = BasicProperties> {
    let texts = proptest::collection::vec(proptest::option::of(short()), 4);
    let headers = proptest::collection::vec((short(), any::<i64>()), 0..5);
    let octets = (any::<Option<u8>>(), any::<Option<u8>>(), any::<Option<u64>>());
    (texts, proptest::option::of(headers), octets).prop_map(|(texts, headers, octets)| {
        let mut properties = BasicProperties::default();
        let set: [fn(BasicProperties, ShortString) -> BasicProperties; 4] = [
            BasicProperties::with_content_type,
            BasicProperties::with_correlation_id,
            BasicProperties::with_message_id,
            BasicProperties::with_cluster_id,
        ];
        for (text, set) in texts.into_iter().zip(set) {
            properties = text.into_iter().fold(properties, set);
        }
        if let Some(headers) = headers {
            let mut table = FieldTable::default();
            for (name, value) in headers {
                table.insert(name, AMQPValue::LongLongInt(value));
            }
            properties = properties.with_headers(table);
        }
        let (mode, priority, timestamp) = octets;
        properties = mode.into_iter().fold(properties, BasicProperties::with_delivery_mode);
        properties = priority.into_iter().fold(properties, BasicProperties::with_priority);
        timestamp.into_iter().fold(properties, BasicProperties::with_timestamp)
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..9000)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_publish_reads_as_it_was_written(
        channel in 1u16..,
        exchange in short(),
        routing_key in short(),
        mandatory: bool,
        properties in properties(),
        body in body(),
    ) {
        let fields = basic::Publish { exchange, routing_key, mandatory, immediate: false };
        let mut input = method(channel, basic::AMQPMethod::Publish(fields.clone()));
        input.extend(content(channel, &properties, &body, 10_000));
        let len = input.len();
        input.extend_from_slice(b"next");
        let whole = publish::whole(&input, 10_000).unwrap();
        prop_assert_eq!(whole.len, len);
        prop_assert_eq!(whole.channel, channel);
        prop_assert_eq!(whole.publish.exchange, fields.exchange.as_str());
        prop_assert_eq!(whole.publish.routing_key, fields.routing_key.as_str());
        prop_assert_eq!(whole.publish.mandatory, mandatory);
        prop_assert_eq!(whole.body, &body);
        prop_assert_eq!(whole.wire, wire(&properties));
        let is_persistent = *properties.delivery_mode() == Some(2);
        prop_assert_eq!(whole.properties.is_persistent, is_persistent);
        for cut in [len - 1, len / 2, 20, 7, 0] {
            prop_assert!(publish::whole(&input[..cut], 10_000).is_none());
        }
    }

    #[test]
    fn a_delivery_is_written_as_amq_protocol_writes_it(
        channel in 1u16..,
        tag in short(),
        delivery_tag: u64,
        redelivered: bool,
        exchange in short(),
        routing_key in short(),
        properties in properties(),
        body in body(),
    ) {
        let message = message(exchange.as_str(), routing_key.as_str(), &properties, &body);
        let target = Target { channel, frame_bytes_max: 4096, delivery_count: None };
        let content = content(channel, &properties, &body, 4088);

        let mut out = Transmit { marks_frames: true, ..Transmit::default() };
        let lost =
            deliver::deliver(&mut out, target, tag.as_str(), delivery_tag, redelivered, &message);
        prop_assert_eq!(lost, Lost::NONE);
        let deliver = basic::Deliver {
            consumer_tag: tag,
            delivery_tag,
            redelivered,
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
        };
        let mut expected = method(channel, basic::AMQPMethod::Deliver(deliver));
        expected.extend(&content);
        prop_assert_eq!(&out.bytes, &expected);
        prop_assert_eq!(out.frame_ends.len(), 2 + body.len().div_ceil(4088));
        prop_assert_eq!(out.frame_ends.last(), Some(&expected.len()));

        let mut out = Transmit::default();
        let lost = deliver::get_ok(&mut out, target, delivery_tag, redelivered, 7, &message);
        prop_assert_eq!(lost, Lost::NONE);
        let got = basic::GetOk {
            delivery_tag,
            redelivered,
            exchange: exchange.clone(),
            routing_key: routing_key.clone(),
            message_count: 7,
        };
        let mut expected = method(channel, basic::AMQPMethod::GetOk(got));
        expected.extend(&content);
        prop_assert_eq!(&out.bytes, &expected);

        let mut out = Transmit::default();
        prop_assert_eq!(deliver::unroutable(&mut out, target, &message), Lost::NONE);
        let reply_text = "NO_ROUTE".into();
        let back = basic::Return { reply_code: 312, reply_text, exchange, routing_key };
        let mut expected = method(channel, basic::AMQPMethod::Return(back));
        expected.extend(&content);
        prop_assert_eq!(&out.bytes, &expected);
    }

    #[test]
    fn acknowledgements_mean_the_same_both_ways(
        channel in 1u16..,
        tag: u64,
        multiple: bool,
        requeue: bool,
    ) {
        let read = |id, bytes: &[u8]| Settle::decode(id, &bytes[11..bytes.len() - 1]);
        let declined = if requeue { Outcome::Requeued } else { Outcome::Rejected };
        let ack = basic::AMQPMethod::Ack(basic::Ack { delivery_tag: tag, multiple });
        let ack = method(channel, ack);
        let meant = Settle { tag, multiple, outcome: Outcome::Accepted };
        prop_assert_eq!(read(MethodId::BASIC_ACK, &ack), Some(meant));
        let mut out = Transmit::default();
        settle::confirm(&mut out, channel, tag, multiple);
        prop_assert_eq!(out.bytes, ack);

        let nack = basic::Nack { delivery_tag: tag, multiple, requeue };
        let nack = method(channel, basic::AMQPMethod::Nack(nack));
        let meant = Settle { tag, multiple, outcome: declined };
        prop_assert_eq!(read(MethodId::BASIC_NACK, &nack), Some(meant));
        let refused = basic::Nack { delivery_tag: tag, multiple: false, requeue: false };
        let mut out = Transmit::default();
        settle::refuse(&mut out, channel, tag);
        prop_assert_eq!(out.bytes, method(channel, basic::AMQPMethod::Nack(refused)));

        let reject = basic::Reject { delivery_tag: tag, requeue };
        let reject = method(channel, basic::AMQPMethod::Reject(reject));
        let meant = Settle { tag, multiple: false, outcome: declined };
        prop_assert_eq!(read(MethodId::BASIC_REJECT, &reject), Some(meant));
    }

    #[test]
    fn no_octets_are_too_strange(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(publish::whole(&octets, 4096).is_none_or(|whole| whole.len <= octets.len()));
        let (checked, split) = (Checked::check(&octets), PropertyList::split(&octets));
        prop_assert!(checked.is_err() || split.is_ok());
        drop(PROPERTY_CODEC.decode(&octets));
        drop(crate::table::decode(&octets));
        drop(crate::method::Method::decode(&octets));
    }

    #[test]
    fn what_is_checked_decodes_in_amq_protocol_too(
        octets in proptest::collection::vec(prop_oneof![0u8..4, Just(b'S'), Just(b'F'), Just(b't')], 0..40),
    ) {
        let len = u32::try_from(octets.len()).unwrap().to_be_bytes();
        let table = [len.as_slice(), &octets].concat();
        let theirs = amq_protocol::types::parsing::parse_field_table(table.as_slice()).is_ok();
        prop_assert_eq!(crate::table::check(&octets).is_ok(), theirs);
    }
}
