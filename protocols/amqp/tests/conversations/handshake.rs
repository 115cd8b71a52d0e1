//! From the header to `open-ok`, and the ways out before it.

use crate::dialog::{Dialog, HEADER, both, connection_close, frame, on, raw, start_ok};
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, connection};
use amq_protocol::types::{AMQPValue, ShortString};
use trivium_amqp::Config;
use trivium_core::testing::World;
use trivium_core::{Adapter, Protocol};

fn start(frames: &[AMQPFrame]) -> &connection::Start {
    match frames {
        [AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Start(start)))] => {
            start
        }
        other => panic!("no start: {other:?}"),
    }
}

const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

#[test]
fn the_server_introduces_itself() {
    both(|world, chunk_len| {
        for (header, version) in
            [(HEADER, (0, 9)), (b"AMQP\x01\x01\0\x09", (0, 9)), (b"AMQP\x01\x01\x08\0", (8, 0))]
        {
            let mut dialog = Dialog::new(world, chunk_len);
            let octets = dialog.client.send(header);
            let place =
                |name: &str| octets.windows(name.len()).position(|at| at == name.as_bytes());
            let places = CAPABILITIES.map(|name| place(name).unwrap());
            assert!(places.is_sorted(), "in RabbitMQ's order: {places:?}");
            let frames = crate::dialog::frames(&octets);
            let start = start(&frames);
            assert_eq!((start.version_major, start.version_minor), version);
            assert_eq!(start.locales.to_string(), "en_US");
            assert_eq!(start.mechanisms.to_string(), "PLAIN AMQPLAIN");
            let properties = start.server_properties.inner();
            let names: Vec<_> = properties.keys().map(ShortString::as_str).collect();
            assert_eq!(
                names,
                [
                    "capabilities",
                    "cluster_name",
                    "copyright",
                    "information",
                    "platform",
                    "product",
                    "version"
                ]
            );
            assert_eq!(properties["product"], AMQPValue::LongString("RabbitMQ".into()));
            let AMQPValue::FieldTable(capabilities) = &properties["capabilities"] else { panic!() };
            assert_eq!(capabilities.inner().len(), 9);
        }
    });
}

#[test]
fn any_other_header_is_answered_with_ours() {
    let headers: [&[u8]; 5] = [
        b"AMQP\0\x01\0\0",
        b"AMQP\0\0\x0A\0",
        b"AMQP\x03\x01\0\0",
        b"GET / HT",
        b"\x16\x03\x01\x02\0\x01\0\x01",
    ];
    both(|world, chunk_len| {
        for header in headers {
            let mut dialog = Dialog::new(world, chunk_len);
            assert_eq!(dialog.client.send(header), HEADER, "{header:?}");
            assert!(dialog.client.is_closed());
        }
    });
}

#[test]
fn both_mechanisms_lead_in() {
    let amqplain = b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest";
    both(|world, chunk_len| {
        for (mechanism, response) in [("PLAIN", &b"\0guest\0guest"[..]), ("AMQPLAIN", amqplain)] {
            let mut dialog = Dialog::new(world, chunk_len);
            dialog.send(HEADER);
            let tune = method!(Connection connection::Tune { channel_max: 2047, frame_max: 131_072, heartbeat: 60 });
            dialog.ask_for(0, start_ok(mechanism, response), tune);
            let sent = [
                frame(
                    0,
                    method!(Connection connection::TuneOk { channel_max: 2047, frame_max: 4096 }),
                ),
                frame(0, method!(Connection connection::Open { virtual_host: "/".into() })),
            ];
            let opened = on(0, method!(Connection connection::OpenOk {}));
            assert_eq!(dialog.send(&sent.concat()), [opened]);
            let description = dialog.client.adapter().unwrap().describe();
            assert!(description.is_open);
            assert_eq!(description.user.as_deref(), Some("guest"));
            assert_eq!(description.client.as_deref(), Some("test"));
            assert_eq!(dialog.client.adapter().unwrap().input_bytes_max(), 4104);
            let close = connection_close(200, "bye", (0, 0));
            dialog.ask_for(0, close, method!(Connection connection::CloseOk {}));
            assert!(dialog.client.is_closed());
        }
    });
}

#[test]
fn a_failed_login_is_told_to_those_who_can_hear() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::new(world, chunk_len);
        dialog.send(HEADER);
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For \
                    details see the broker logfile.";
        let wrong = start_ok("PLAIN", b"\0guest\0wrong");
        dialog.ask_for(0, wrong, connection_close(403, text, (0, 0)));
        assert!(!dialog.client.is_closed());
        let error = dialog.client.adapter().unwrap().describe().error;
        assert_eq!(error.as_deref(), Some("user or password is wrong"));
        assert_eq!(dialog.ask(0, method!(Connection connection::CloseOk {})), []);
        assert!(dialog.client.is_closed());

        let deaf = connection::StartOk {
            mechanism: "PLAIN".into(),
            response: b"\0guest\0wrong".as_slice().into(),
            ..Default::default()
        };
        let deaf = AMQPClass::Connection(connection::AMQPMethod::StartOk(deaf));
        let silent = [
            deaf,
            start_ok("EXTERNAL", b""),
            start_ok("PLAIN", b"guest"),
            start_ok("AMQPLAIN", b"x"),
        ];
        for start_ok in silent {
            let mut dialog = Dialog::new(world, chunk_len);
            dialog.send(HEADER);
            assert_eq!(dialog.ask(0, start_ok), []);
            assert!(dialog.client.is_closed());
        }
    });
}

#[test]
fn what_is_tuned_must_not_exceed_the_offer() {
    let cases = [
        (2048, 131_072, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (0, 131_072, "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
        (1, 0, "frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"),
        (1, 131_073, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (1, 4095, "frame_max = 4095 is lower than the minimum allowed value (4096)"),
    ];
    both(|world, chunk_len| {
        for (channel_max, frame_max, text) in cases {
            let mut dialog = Dialog::new(world, chunk_len);
            dialog.log_in();
            let tune_ok = method!(Connection connection::TuneOk { channel_max: channel_max, frame_max: frame_max });
            let text = format!("NOT_ALLOWED - negotiated {text}");
            dialog.ask_for(0, tune_ok, connection_close(530, &text, (10, 30)));
        }
    });
}

#[test]
fn an_unknown_vhost_is_not_entered() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::new(world, chunk_len);
        dialog.log_in();
        dialog.ask(0, method!(Connection connection::TuneOk { channel_max: 1, frame_max: 8192 }));
        let open = method!(Connection connection::Open { virtual_host: "nope".into() });
        let text = "NOT_ALLOWED - vhost nope not found";
        dialog.ask_for(0, open, connection_close(530, text, (10, 40)));
    });
}

#[test]
fn anything_out_of_order_is_met_with_silence() {
    let open = || method!(Connection connection::Open { virtual_host: "/".into() });
    let wrong: [Vec<u8>; 6] = [
        frame(0, open()),
        frame(1, method!(Channel channel::Open {})),
        raw(8, 1, b""),
        raw(9, 0, b""),
        raw(1, 0, &[0, 10]),
        [&raw(1, 0, &[0; 9000])[..7], &[0; 2]].concat(),
    ];
    both(|world, chunk_len| {
        for bytes in &wrong {
            let mut dialog = Dialog::new(world, chunk_len);
            dialog.send(HEADER);
            assert_eq!(dialog.send(bytes), [], "{bytes:?}");
            assert!(dialog.client.is_closed(), "{bytes:?}");
        }
    });
}

#[test]
fn a_nested_table_before_login_harms_nobody() {
    let mut table = Vec::new();
    for _ in 0..1000 {
        let len = u32::try_from(table.len()).unwrap().to_be_bytes();
        table = [b"\x01kF".as_slice(), &len, &table].concat();
    }
    let len = u32::try_from(table.len()).unwrap().to_be_bytes();
    let start_ok = [&[0, 10, 0, 11], len.as_slice(), &table, b"\x05PLAIN\0\0\0\0\0"].concat();
    both(|world, chunk_len| {
        let mut dialog = Dialog::new(world, chunk_len);
        dialog.send(HEADER);
        assert_eq!(dialog.send(&raw(1, 0, &start_ok)), []);
        assert!(dialog.client.is_closed());
    });
}

#[test]
fn an_unfinished_handshake_ends_silently() {
    let world = World::new();
    let connection = trivium_amqp::Connection::new(Config::default().into(), world.now());
    let mut client = world.client(Protocol::Amqp, connection, 1);
    client.send(b"AMQP");
    world.pass(9_999);
    assert_eq!(client.read(), b"");
    assert!(!client.is_closed());
    world.pass(1);
    assert_eq!(client.read(), b"");
    assert!(client.is_closed());
}

#[test]
fn a_shutdown_in_the_handshake_is_silent() {
    let world = World::new();
    let mut dialog = Dialog::new(&world, 1);
    dialog.send(HEADER);
    assert_eq!(dialog.client.shutdown(), b"");
    assert!(dialog.client.is_closed());
}
