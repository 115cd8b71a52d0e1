//! What is wrong, what is answered, and how much closes.

use amq_protocol::protocol::BasicProperties;
use trivium_amqp::Config;
use trivium_core::testing::World;

use crate::dialog::{Dialog, both, channel_close, connection_close, frame, on, publish, raw};

/// One fault of the connection: octets, code, text, class and method.
type Fault = (Vec<u8>, u16, &'static str, (u16, u16));

#[allow(clippy::too_many_lines, reason = "it is a table")]
fn connection_faults() -> Vec<Fault> {
    let method = |channel, method| frame(channel, method);
    let publish = |rest: Vec<u8>| {
        [frame(1, method!(Basic basic::Publish { routing_key: "q".into() })), rest].concat()
    };
    let header = |size: u64| [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat();
    let no_header = "UNEXPECTED_FRAME - expected content header for class 60, got non content \
                     header frame instead";
    vec![
        (
            method(1, method!(Channel channel::Open {})),
            504,
            "CHANNEL_ERROR - second 'channel.open' seen",
            (20, 10),
        ),
        (
            method(2, method!(Queue queue::Purge {})),
            504,
            "CHANNEL_ERROR - expected 'channel.open'",
            (50, 30),
        ),
        (
            method(2, channel_close(200, "", (0, 0))),
            504,
            "CHANNEL_ERROR - expected 'channel.open'",
            (20, 40),
        ),
        (
            method(0, method!(Queue queue::Purge {})),
            504,
            "CHANNEL_ERROR - unexpected method in connection state running",
            (50, 30),
        ),
        (
            method(0, method!(Connection connection::Open {})),
            504,
            "CHANNEL_ERROR - unexpected method in connection state running",
            (10, 40),
        ),
        (
            method(1, method!(Connection connection::CloseOk {})),
            503,
            "COMMAND_INVALID - unimplemented method",
            (10, 51),
        ),
        (
            method(1, method!(Channel channel::CloseOk {})),
            503,
            "COMMAND_INVALID - unimplemented method",
            (20, 41),
        ),
        (
            method(1, method!(Basic basic::GetEmpty {})),
            503,
            "COMMAND_INVALID - unimplemented method",
            (60, 72),
        ),
        (raw(1, 1, &[0, 99, 0, 1]), 503, "COMMAND_INVALID - unimplemented method", (99, 1)),
        (
            raw(1, 1, &[0, 50, 0, 10, 0, 0, 5, 97]),
            501,
            "FRAME_ERROR - cannot decode <<0,0,5,97>>",
            (50, 10),
        ),
        (raw(1, 1, &[0, 85, 0, 10, 0, 0]), 501, "FRAME_ERROR - cannot decode <<0,0>>", (85, 10)),
        (
            raw(1, 1, &[0, 50, 0, 30, 0, 0, 1, 0xFF, 0]),
            501,
            "FRAME_ERROR - Malformed UTF-8 in shortstr",
            (0, 0),
        ),
        (
            raw(1, 1, &[0, 60, 0, 40, 0, 0, 1, 0xFF, 0, 0]),
            501,
            "FRAME_ERROR - Malformed UTF-8 in shortstr",
            (0, 0),
        ),
        (
            raw(1, 1, b"\0\x32\0\x0A\0\0\x01q\0\0\0\0\x04\x01aU\0"),
            502,
            "SYNTAX_ERROR - unknown field type 85",
            (50, 10),
        ),
        (
            raw(9, 0, b"abc"),
            501,
            "FRAME_ERROR - type 9, all octets = <<\"abc\">>: unknown_frame",
            (0, 0),
        ),
        (
            raw(8, 0, b"a"),
            501,
            "FRAME_ERROR - type 8, all octets = <<\"a\">>: unknown_frame",
            (0, 0),
        ),
        (raw(8, 1, b""), 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>", (0, 0)),
        (
            b"\x08\0\0\0\0\0\0\0more".to_vec(),
            501,
            "FRAME_ERROR - type 8, all octets = <<>>: {invalid_frame_end_marker,0}",
            (0, 0),
        ),
        (
            b"\x03\0\x01\0\x02\0\x01more".to_vec(),
            501,
            "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,131073,131064}",
            (0, 0),
        ),
        (
            raw(2, 1, &header(0)),
            505,
            "UNEXPECTED_FRAME - expected method frame, got non method frame instead",
            (0, 0),
        ),
        (publish(raw(3, 1, b"x")), 505, no_header, (60, 40)),
        (
            publish(raw(2, 1, &[0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            505,
            no_header,
            (60, 40),
        ),
        (
            publish(raw(2, 1, &[0, 50, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            505,
            "UNEXPECTED_FRAME - expected content header for class 60, got one for class 50 instead",
            (60, 40),
        ),
        (
            publish([raw(2, 1, &header(3)), frame(1, method!(Basic basic::Qos {}))].concat()),
            505,
            "UNEXPECTED_FRAME - expected content body, got non content body frame instead",
            (60, 40),
        ),
        (
            publish([raw(2, 1, &header(3)), raw(3, 1, b"four")].concat()),
            501,
            "FRAME_ERROR - content body frame exceeds remaining content size",
            (60, 40),
        ),
        (
            publish(raw(2, 1, &header(536_870_913))),
            501,
            "FRAME_ERROR - content body size 536870913 exceeds maximum allowed size 536870912",
            (60, 40),
        ),
        (
            publish(raw(2, 1, b"\0\x3C\0\0\0\0\0\0\0\0\0\0\x80\0\x05a")),
            502,
            "SYNTAX_ERROR - property list ends early or has trailing octets",
            (60, 40),
        ),
        (
            frame(1, method!(Basic basic::Publish { immediate: true })),
            540,
            "NOT_IMPLEMENTED - immediate=true",
            (60, 40),
        ),
        (
            raw(1, 1, &[0, 60, 0, 10, 0, 0, 0, 10, 0, 1, 0]),
            540,
            "NOT_IMPLEMENTED - prefetch_size!=0 (10)",
            (60, 10),
        ),
        (
            method(1, method!(Channel channel::Flow { active: false })),
            540,
            "NOT_IMPLEMENTED - active=false",
            (20, 20),
        ),
        (
            method(1, method!(Basic basic::Recover { requeue: false })),
            540,
            "NOT_IMPLEMENTED - requeue=false",
            (60, 110),
        ),
    ]
}

#[test]
fn hard_faults_close_the_connection() {
    for (bytes, code, text, ids) in connection_faults() {
        both(|world, chunk_len| {
            let mut dialog = Dialog::open(world, chunk_len);
            let close = on(0, connection_close(code, text, ids));
            assert_eq!(dialog.send(&bytes), [close], "{text}");
            assert!(!dialog.client.is_closed());
            // Everything else is discarded.
            assert_eq!(dialog.ask(1, method!(Basic basic::Qos {})), []);
            world.pass(5_000);
            assert_eq!(dialog.read(), []);
            assert!(dialog.client.is_closed());
        });
    }
}

#[test]
fn close_ok_is_heard_while_frames_can_be_told_apart() {
    for (bytes, _, text, _) in connection_faults() {
        let is_deaf = text.contains("invalid_frame_end_marker") || text.contains("frame_too_large");
        both(|world, chunk_len| {
            let mut dialog = Dialog::open(world, chunk_len);
            dialog.send(&bytes);
            assert_eq!(dialog.ask(0, method!(Connection connection::CloseOk {})), []);
            assert_eq!(dialog.client.is_closed(), !is_deaf, "{text}");
        });
    }
}

#[test]
fn deep_and_wide_tables_are_refused() {
    let mut deep = Vec::new();
    for _ in 0..10_000 {
        let len = u32::try_from(deep.len()).unwrap().to_be_bytes();
        deep = [b"\x01kF".as_slice(), &len, &deep].concat();
    }
    let wide = b"\0V".repeat(4097);
    let cases = [(deep, "nested deeper than 32 levels"), (wide, "with more than 4096 entries")];
    for (table, text) in cases {
        let len = u32::try_from(table.len()).unwrap().to_be_bytes();
        let declare = [b"\0\x32\0\x0A\0\0\x01q\0".as_slice(), &len, &table].concat();
        let properties = [b"\0\x3C\0\0\0\0\0\0\0\0\0\0\x20\0".as_slice(), &len, &table].concat();
        let published =
            [frame(1, method!(Basic basic::Publish {})), raw(2, 1, &properties)].concat();
        let text = format!("SYNTAX_ERROR - field table {text}");
        for (bytes, ids) in [(raw(1, 1, &declare), (50, 10)), (published, (60, 40))] {
            let world = World::new();
            let mut dialog = Dialog::open(&world, usize::MAX);
            assert_eq!(dialog.send(&bytes), [on(0, connection_close(502, &text, ids))]);
        }
    }
}

#[test]
fn soft_faults_of_publishing_are_worded_as_rabbitmq_words_them() {
    let expires = |text: &str| BasicProperties::default().with_expiration(text.into());
    let cases = [
        (expires("a"), "invalid expiration 'a': no_integer"),
        (expires("1.5"), "invalid expiration '1.5': {leftover_string,\".5\"}"),
        (expires("-1"), "invalid expiration '-1': {value_negative,-1}"),
        (
            BasicProperties::default().with_user_id("bob".into()),
            "user_id property set to 'bob' but authenticated user was 'guest'",
        ),
    ];
    both(|world, chunk_len| {
        for (properties, text) in &cases {
            let mut dialog = Dialog::open(world, chunk_len);
            let text = format!("PRECONDITION_FAILED - {text}");
            let close = on(1, channel_close(406, &text, (60, 40)));
            let sent = publish(1, "", "q", properties.clone(), b"x");
            assert_eq!(dialog.send(&sent), [close]);
        }
        let config = Config { message_bytes_max: 3, ..Config::default() };
        let mut dialog = Dialog::with(world, chunk_len, config);
        dialog.log_in();
        dialog.ask(0, method!(Connection connection::TuneOk { channel_max: 1, frame_max: 8192 }));
        dialog.ask(0, method!(Connection connection::Open { virtual_host: "/".into() }));
        dialog.open_channel(1);
        assert_eq!(dialog.publish("q", b"yes"), []);
        let text = "PRECONDITION_FAILED - message size 4 is larger than configured max size 3";
        assert_eq!(dialog.publish("q", b"four"), [on(1, channel_close(406, text, (60, 40)))]);
    });
}
