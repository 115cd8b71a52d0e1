//! Channels, exchanges and queues: what is asked, what is answered.

use crate::dialog::{
    Dialog, both, channel_close, connection_close, content, frame, on, publish, raw,
};
use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, BasicProperties, queue};

#[test]
fn a_channel_closes_and_its_number_is_free() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        for _ in 0..2 {
            let close = channel_close(200, "done", (0, 0));
            dialog.ask_for(1, close, method!(Channel channel::CloseOk {}));
            dialog.open_channel(1);
        }
        let flow = method!(Channel channel::Flow { active: true });
        dialog.ask_for(1, flow, method!(Channel channel::FlowOk { active: true }));
    });
}

#[test]
fn soft_faults_close_the_channel_and_what_is_behind_is_discarded() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.open_channel(2);
        let sent = [
            publish(1, "nope", "k", BasicProperties::default(), b"lost"),
            publish(1, "", "k", BasicProperties::default(), b"discarded"),
            frame(1, method!(Queue queue::Declare { queue: "discarded".into() })),
            content(1, BasicProperties::default(), b"stray"),
            frame(1, channel_close(200, "crossing", (0, 0))),
        ];
        let text = "NOT_FOUND - no exchange 'nope' in vhost '/'";
        let answer = dialog.send(&sent.concat());
        let close = on(1, channel_close(404, text, (60, 40)));
        assert_eq!(answer, [close, on(1, method!(Channel channel::CloseOk {}))]);
        let qos = method!(Basic basic::Qos { prefetch_count: 1 });
        dialog.ask_for(2, qos, method!(Basic basic::QosOk {}));
        assert_eq!(dialog.ask(1, method!(Channel channel::CloseOk {})), []);
        dialog.open_channel(1);
        let declare = method!(Queue queue::Declare { queue: "discarded".into(), passive: true });
        let text = "NOT_FOUND - no queue 'discarded' in vhost '/'";
        dialog.ask_for(1, declare, channel_close(404, text, (50, 10)));
    });
}

#[test]
fn channels_are_counted_whatever_their_numbers() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::new(world, chunk_len);
        dialog.log_in();
        dialog.ask(0, method!(Connection connection::TuneOk { channel_max: 2, frame_max: 8192 }));
        dialog.ask(0, method!(Connection connection::Open { virtual_host: "/".into() }));
        dialog.open_channel(7);
        dialog.open_channel(65_535);
        let text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated \
                    channel_max (2)";
        let answer = dialog.ask(1, method!(Channel channel::Open {}));
        assert_eq!(answer, [on(0, connection_close(530, text, (0, 0)))]);
    });
}

fn declared(frames: &[AMQPFrame]) -> String {
    match frames {
        [AMQPFrame::Method(1, AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)))] => {
            ok.queue.as_str().to_owned()
        }
        other => panic!("not declared: {other:?}"),
    }
}

#[test]
fn an_empty_name_means_the_queue_declared_last() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.open_channel(2);
        let text = "NOT_FOUND - no previously declared queue";
        dialog.ask_for(2, method!(Queue queue::Purge {}), channel_close(404, text, (50, 30)));

        let name = declared(&dialog.ask(1, method!(Queue queue::Declare { exclusive: true })));
        assert!(name.starts_with("amq.gen-"), "{name}");
        let exchange =
            method!(Exchange exchange::Declare { exchange: "x".into(), kind: "direct".into() });
        dialog.ask_for(1, exchange, method!(Exchange exchange::DeclareOk {}));
        let bind = method!(Queue queue::Bind { exchange: "x".into() });
        dialog.ask_for(1, bind, method!(Queue queue::BindOk {}));
        dialog.send(&publish(1, "x", &name, BasicProperties::default(), b"by its name"));
        let purged = method!(Queue queue::PurgeOk { message_count: 1 });
        dialog.ask_for(1, method!(Queue queue::Purge {}), purged);
        let unbind = method!(Queue queue::Unbind { exchange: "x".into() });
        dialog.ask_for(1, unbind, method!(Queue queue::UnbindOk {}));
        dialog.ask_for(1, method!(Queue queue::Delete {}), method!(Queue queue::DeleteOk {}));
    });
}

#[test]
fn line_ends_are_removed_from_names() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        let declare = method!(Queue queue::Declare { queue: "a\r\nb\n".into() });
        assert_eq!(declared(&dialog.ask(1, declare)), "ab");
    });
}

#[test]
fn no_wait_means_no_answer() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        let silent = [
            method!(Exchange exchange::Declare { exchange: "x".into(), kind: "fanout".into(), nowait: true }),
            method!(Exchange exchange::Declare { exchange: "y".into(), kind: "fanout".into(), nowait: true }),
            method!(Exchange exchange::Bind { source: "x".into(), destination: "y".into(), nowait: true }),
            method!(Queue queue::Declare { queue: "q".into(), nowait: true }),
            method!(Queue queue::Bind { queue: "q".into(), exchange: "y".into(), nowait: true }),
            method!(Confirm confirm::Select { nowait: true }),
            method!(Basic basic::Consume { queue: "q".into(), consumer_tag: "c".into(), nowait: true }),
            method!(Basic basic::Cancel { consumer_tag: "c".into(), nowait: true }),
            method!(Exchange exchange::Unbind { source: "x".into(), destination: "y".into(), nowait: true }),
            method!(Queue queue::Purge { queue: "q".into(), nowait: true }),
            method!(Queue queue::Delete { queue: "q".into(), nowait: true }),
            method!(Exchange exchange::Delete { exchange: "x".into(), nowait: true }),
        ];
        for method in silent {
            assert_eq!(dialog.ask(1, method.clone()), [], "{method:?}");
        }
        let gone = method!(Queue queue::Declare { queue: "q".into(), passive: true, nowait: true });
        let text = "NOT_FOUND - no queue 'q' in vhost '/'";
        dialog.ask_for(1, gone, channel_close(404, text, (50, 10)));
    });
}

#[test]
fn leftovers_of_older_protocols_are_answered() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        let request = method!(Access access::Request { realm: "/data".into() });
        let answer = dialog.client.send(&frame(1, request));
        assert_eq!(answer, raw(1, 1, &[0, 30, 0, 11, 0, 1]));
        let update = method!(Connection connection::UpdateSecret { reason: "expired".into() });
        dialog.ask_for(0, update, method!(Connection connection::UpdateSecretOk {}));
    });
}
