//! Publishing, consuming, getting and settling.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic};
use amq_protocol::types::{AMQPValue, FieldTable};
use trivium_core::testing::World;

use crate::dialog::{
    Dialog, bodies, both, channel_close, connection_close, content, delivered, deliveries, frame,
    octets, on, publish, raw, redelivered,
};

fn ack(tag: u64, multiple: bool) -> AMQPClass {
    method!(Basic basic::Ack { delivery_tag: tag, multiple: multiple })
}

#[test]
fn a_message_travels_with_all_it_has() {
    let mut headers = FieldTable::default();
    headers.insert("zebra".into(), AMQPValue::LongLongInt(-1));
    headers.insert("apple".into(), AMQPValue::LongString("red".into()));
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_correlation_id("c".into())
        .with_cluster_id("old".into());
    let body = [0, 0xFF, b'x', 0];
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        let declare =
            method!(Exchange exchange::Declare { exchange: "logs".into(), kind: "topic".into() });
        dialog.ask_for(1, declare, method!(Exchange exchange::DeclareOk {}));
        dialog.declare_queue("q");
        let bind = method!(Queue queue::Bind { queue: "q".into(), exchange: "logs".into(), routing_key: "a.#".into() });
        dialog.ask_for(1, bind, method!(Queue queue::BindOk {}));
        assert_eq!(dialog.consume("q", "me", true), []);
        let seen = dialog.send(&publish(1, "logs", "a.b", properties.clone(), &body));
        let deliver = basic::Deliver {
            consumer_tag: "me".into(),
            delivery_tag: 1,
            redelivered: false,
            exchange: "logs".into(),
            routing_key: "a.b".into(),
        };
        assert_eq!(deliveries(&seen), [(deliver, properties.clone(), body.to_vec())]);
        let nothing = dialog.send(&publish(1, "logs", "b", BasicProperties::default(), b""));
        assert_eq!(nothing, []);
        let empty = dialog.send(&publish(1, "logs", "a", BasicProperties::default(), b""));
        assert_eq!(bodies(&empty), [delivered(2, "")]);
    });
}

#[test]
fn property_octets_are_delivered_as_they_came() {
    // Repeats, unsorted names and a `L` field, which amq-protocol would write differently.
    let list = b"\x20\0\0\0\0\x15\x01zL\0\0\0\0\0\0\0\x07\x01aV\x01zt\x01\x01bV";
    let header = [b"\0\x3C\0\0\0\0\0\0\0\0\0\x01".as_slice(), list].concat();
    let sent = [
        frame(1, method!(Basic basic::Publish { routing_key: "q".into() })),
        raw(2, 1, &header),
        raw(3, 1, b"x"),
    ];
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        dialog.consume("q", "c", true);
        let seen = dialog.client.send(&sent.concat());
        let tail = [raw(2, 1, &header), raw(3, 1, b"x")].concat();
        assert!(seen.ends_with(&tail), "{seen:?}");
    });
}

#[test]
fn tags_are_settled_once() {
    let cases = [
        (ack(42, false), (60, 80), 42),
        (ack(0, false), (60, 80), 0),
        (ack(1, false), (60, 80), 1),
        (ack(4, true), (60, 80), 4),
        (method!(Basic basic::Nack { delivery_tag: 9, requeue: true }), (60, 120), 9),
        (method!(Basic basic::Reject { delivery_tag: 9 }), (60, 90), 9),
    ];
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        for (answer, ids, tag) in &cases {
            dialog.consume("q", "c", false);
            for body in [b"1", b"2", b"3"] {
                dialog.publish("q", body);
            }
            assert_eq!(dialog.ask(1, ack(1, false)), []);
            let text = format!("PRECONDITION_FAILED - unknown delivery tag {tag}");
            dialog.ask_for(1, answer.clone(), channel_close(406, &text, *ids));
            dialog.ask(1, method!(Channel channel::CloseOk {}));
            dialog.open_channel(1);
            let purge = method!(Queue queue::Purge { queue: "q".into() });
            dialog.ask_for(1, purge, method!(Queue queue::PurgeOk { message_count: 2 }));
        }
    });
}

#[test]
fn answers_decide_what_becomes_of_a_message() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        dialog.consume("q", "c", false);
        let mut seen = Vec::new();
        for body in [b"1", b"2", b"3", b"4"] {
            seen.extend(dialog.publish("q", body));
        }
        let first = ["1", "2", "3", "4"];
        let first: Vec<_> = (1..).zip(first).map(|(tag, body)| delivered(tag, body)).collect();
        assert_eq!(bodies(&seen), first);
        assert_eq!(dialog.ask(1, method!(Basic basic::Reject { delivery_tag: 4 })), []);
        let again = dialog.ask(1, method!(Basic basic::Reject { delivery_tag: 1, requeue: true }));
        assert_eq!(bodies(&again), [redelivered(5, "1")]);
        let nack = method!(Basic basic::Nack { delivery_tag: 3, multiple: true, requeue: true });
        assert_eq!(bodies(&dialog.ask(1, nack)), [redelivered(6, "2"), redelivered(7, "3")]);
        let recovered = dialog.ask(1, method!(Basic basic::Recover { requeue: true }));
        let (ok, seen) = recovered.split_first().unwrap();
        assert_eq!(*ok, on(1, method!(Basic basic::RecoverOk {})));
        assert_eq!(bodies(seen), [redelivered(8, "1"), redelivered(9, "2"), redelivered(10, "3")]);
        assert_eq!(dialog.ask(1, ack(0, true)), []);
        assert_eq!(dialog.ask(1, ack(0, true)), []);
        let recover = method!(Basic basic::RecoverAsync { requeue: true });
        assert_eq!(dialog.ask(1, recover), []);
    });
}

#[test]
fn what_was_acknowledged_before_a_close_stays_acknowledged() {
    both(|world, chunk_len| {
        let mut watcher = Dialog::open(world, chunk_len);
        watcher.declare_queue("q");
        for last in [channel_close(200, "", (0, 0)), connection_close(200, "", (0, 0))] {
            let mut dialog = Dialog::open(world, chunk_len);
            dialog.consume("q", "c", false);
            watcher.publish("q", b"1");
            watcher.publish("q", b"2");
            assert_eq!(dialog.read().len(), 6);
            let number = u16::from(matches!(last, AMQPClass::Channel(_)));
            dialog.send(&[frame(1, ack(1, false)), frame(number, last)].concat());
            dialog.client.disconnect();
            let get = method!(Basic basic::Get { queue: "q".into(), no_ack: true });
            let got = watcher.ask(1, get.clone());
            assert_eq!(got[2], AMQPFrame::Body(1, b"2".to_vec()));
            assert_eq!(watcher.ask(1, get), [on(1, method!(Basic basic::GetEmpty {}))]);
        }
    });
}

#[test]
fn prefetch_limits_each_consumer_or_all() {
    both(|world, chunk_len| {
        for (global, first) in [(false, 4), (true, 2)] {
            let mut dialog = Dialog::open(world, chunk_len);
            dialog.declare_queue("q");
            let qos = method!(Basic basic::Qos { prefetch_count: 2, global: global });
            dialog.ask_for(1, qos, method!(Basic basic::QosOk {}));
            dialog.consume("q", "a", false);
            dialog.consume("q", "b", false);
            let seen: Vec<_> = (0..6).flat_map(|_| dialog.publish("q", b"x")).collect();
            assert_eq!(bodies(&seen).len(), first, "global {global}");
            assert_eq!(bodies(&dialog.ask(1, ack(0, true))).len(), 2);
            dialog.ask(1, ack(0, true));
        }
    });
}

#[test]
fn consumers_have_tags_of_their_own() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        let consume = method!(Basic basic::Consume { queue: "q".into() });
        let mut made = Vec::new();
        for _ in 0..2 {
            match &dialog.ask(1, consume.clone())[..] {
                [AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(ok)))] => {
                    made.push(ok.consumer_tag.as_str().to_owned());
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(made.iter().all(|tag| tag.starts_with("amq.ctag-") && tag.len() == 31));
        assert_ne!(made[0], made[1]);
        let unknown = method!(Basic basic::Cancel { consumer_tag: "nobody".into() });
        dialog.ask_for(
            1,
            unknown,
            method!(Basic basic::CancelOk { consumer_tag: "nobody".into() }),
        );
        for tag in &made {
            let cancel = method!(Basic basic::Cancel { consumer_tag: tag.as_str().into() });
            let ok = method!(Basic basic::CancelOk { consumer_tag: tag.as_str().into() });
            dialog.ask_for(1, cancel, ok);
        }
        assert_eq!(dialog.publish("q", b"nobody is there"), []);

        let mut arguments = FieldTable::default();
        arguments.insert("x-priority".into(), AMQPValue::LongString("high".into()));
        dialog.open_channel(2);
        let consume = method!(Basic basic::Consume { queue: "q".into(), arguments: arguments });
        let text = "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': \
                    \"expected integer, got longstr\"";
        dialog.ask_for(2, consume, channel_close(406, text, (60, 20)));

        dialog.consume("q", "t", true);
        let again = method!(Basic basic::Consume { queue: "q".into(), consumer_tag: "t".into() });
        let text = "NOT_ALLOWED - attempt to reuse consumer tag 't'";
        let close = on(0, connection_close(530, text, (60, 20)));
        assert_eq!(dialog.ask(1, again), [close]);
    });
}

#[test]
fn a_deleted_queue_cancels_its_consumers() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        dialog.consume("q", "t", false);
        let answer = dialog.ask(1, method!(Queue queue::Delete { queue: "q".into() }));
        let cancel = on(1, method!(Basic basic::Cancel { consumer_tag: "t".into(), nowait: true }));
        assert!(answer.contains(&cancel), "{answer:?}");
        assert!(answer.contains(&on(1, method!(Queue queue::DeleteOk {}))));
        assert_eq!(answer.len(), 2);
    });
}

#[test]
fn get_takes_one_and_says_what_is_left() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        dialog.publish("q", b"1");
        dialog.publish("q", b"2");
        for (tag, body, left) in [(1, b"1", 1), (2, b"2", 0)] {
            let got = dialog.ask(1, method!(Basic basic::Get { queue: "q".into() }));
            let ok = method!(Basic basic::GetOk { delivery_tag: tag, routing_key: "q".into(), message_count: left });
            assert_eq!(got[0], on(1, ok));
            assert_eq!(got[2], AMQPFrame::Body(1, body.to_vec()));
        }
        let empty = dialog.ask(1, method!(Basic basic::Get { queue: "q".into() }));
        assert_eq!(empty, [on(1, method!(Basic basic::GetEmpty {}))]);
        dialog
            .ask(1, method!(Basic basic::Nack { delivery_tag: 2, multiple: true, requeue: true }));
        let got = dialog.ask(1, method!(Basic basic::Get { queue: "q".into(), no_ack: true }));
        let ok = method!(Basic basic::GetOk { delivery_tag: 3, redelivered: true, routing_key: "q".into(), message_count: 1 });
        assert_eq!(got[0], on(1, ok));
    });
}

#[test]
fn bodies_are_split_and_joined_where_frames_end() {
    let lens = [0, 1, 4088, 4089, 3 * 4088, 70_000, 1_500_000];
    // Byte by byte a body of megabytes takes minutes in a debug build.
    for chunk_len in [usize::MAX, 1009] {
        let world = World::new();
        let mut dialog = Dialog::tuned(&world, chunk_len, 4096, 0);
        dialog.declare_queue("q");
        dialog.consume("q", "c", true);
        for len in lens {
            let body: Vec<u8> = (0..=255).cycle().take(len).collect();
            let seen = dialog.publish("q", &body);
            assert!(seen.iter().all(|frame| octets(frame).len() <= 4096));
            assert_eq!(seen.len(), 2 + len.div_ceil(4088));
            assert_eq!(deliveries(&seen)[0].2, body);
        }
    }
}

#[test]
fn headers_that_do_not_fit_a_consumers_frame_are_left_out() {
    let mut headers = FieldTable::default();
    headers.insert("large".into(), AMQPValue::LongString("x".repeat(5000).as_str().into()));
    let small = BasicProperties::default().with_content_type("t".into());
    let large = small.clone().with_headers(headers);
    both(|world, chunk_len| {
        let mut consumer = Dialog::tuned(world, chunk_len, 4096, 0);
        consumer.declare_queue("q");
        consumer.consume("q", "c", true);
        let mut publisher = Dialog::open(world, chunk_len);
        publisher.send(&publish(1, "", "q", large.clone(), b"body"));
        let seen = consumer.read();
        let (_, properties, body) = &deliveries(&seen)[0];
        assert_eq!((properties, body.as_slice()), (&small, &b"body"[..]));
    });
}

#[test]
fn contents_of_several_channels_interleave() {
    let plain = BasicProperties::default;
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.open_channel(2);
        dialog.declare_queue("q");
        dialog.consume("q", "c", true);
        let publish =
            |number| frame(number, method!(Basic basic::Publish { routing_key: "q".into() }));
        let header = |number, len| {
            octets(&match &dialog_header(number, len)[..] {
                [header] => header.clone(),
                _ => unreachable!(),
            })
        };
        let sent = [
            publish(1),
            raw(8, 0, b""),
            publish(2),
            header(2, 2),
            header(1, 4),
            raw(3, 1, b""),
            raw(3, 1, b"on"),
            raw(3, 2, b"2"),
            raw(8, 0, b""),
            raw(3, 1, b"e1"),
            raw(3, 2, b"2"),
        ];
        let seen = dialog.send(&sent.concat());
        assert_eq!(bodies(&seen), [delivered(1, "one1"), delivered(2, "22")]);
        let reserved = [publish(1), raw(2, 1, b"\0\x3C\0\0\0\0\0\0\0\0\0\0\x80\x03\x01t")];
        let seen = dialog.send(&reserved.concat());
        let expected = plain().with_content_type("t".into());
        assert_eq!(deliveries(&seen)[0].1, expected);
    });
}

/// A content header for a body of `len` octets.
fn dialog_header(channel: u16, len: usize) -> Vec<AMQPFrame> {
    let octets = content(channel, BasicProperties::default(), &vec![0; len]);
    crate::dialog::frames(&octets).into_iter().take(1).collect()
}

#[test]
fn a_lost_connection_returns_what_it_had() {
    both(|world, chunk_len| {
        let mut first = Dialog::open(world, chunk_len);
        first.declare_queue("q");
        first.consume("q", "c", false);
        assert_eq!(bodies(&first.publish("q", b"x")), [delivered(1, "x")]);
        first.client.disconnect();
        let mut second = Dialog::open(world, chunk_len);
        let seen = second.consume("q", "c", false);
        assert_eq!(bodies(&seen), [redelivered(1, "x")]);
    });
}
