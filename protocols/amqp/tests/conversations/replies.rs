//! Direct reply-to: requesters without a queue of their own.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic};

use crate::dialog::{
    Dialog, bodies, both, channel_close, content, delivered, deliveries, frame, on, publish,
};

const NAME: &str = "amq.rabbitmq.reply-to";

fn request(channel: u16, queue: &str, body: &[u8]) -> Vec<u8> {
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_correlation_id("c".into())
        .with_reply_to(NAME.into())
        .with_message_id("m".into());
    publish(channel, "", queue, properties, body)
}

/// The one request that is delivered: its properties.
fn requested(frames: &[AMQPFrame]) -> BasicProperties {
    let [(_, properties, _)] = <[_; 1]>::try_from(deliveries(frames)).unwrap();
    properties
}

/// Where its answers go.
fn address(properties: &BasicProperties) -> String {
    properties.reply_to().as_ref().unwrap().as_str().to_owned()
}

fn passive(queue: &str) -> AMQPClass {
    method!(Queue queue::Declare { queue: queue.into(), passive: true })
}

fn alive(queue: &str) -> AMQPClass {
    method!(Queue queue::DeclareOk { queue: queue.into(), message_count: 0, consumer_count: 1 })
}

fn gone(queue: &str) -> AMQPClass {
    let text = format!("NOT_FOUND - no queue '{queue}' in vhost '/'");
    channel_close(404, &text, (50, 10))
}

fn mandatory(queue: &str) -> Vec<u8> {
    let publish = method!(Basic basic::Publish { routing_key: queue.into(), mandatory: true });
    [frame(1, publish), content(1, BasicProperties::default(), b"late")].concat()
}

/// Whether a mandatory message came back: its queue is gone.
fn is_returned(frames: &[AMQPFrame]) -> bool {
    let is_return = |frame: &AMQPFrame| {
        matches!(frame, AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Return(_))))
    };
    frames.first().is_some_and(is_return)
}

#[test]
fn an_unmodified_responder_answers_a_requester_without_a_queue() {
    both(|world, chunk_len| {
        let mut responder = Dialog::open(world, chunk_len);
        let mut requester = Dialog::open(world, chunk_len);
        responder.declare_queue("rpc");
        assert_eq!(responder.consume("rpc", "server", true), []);
        assert_eq!(requester.consume(NAME, "answers", true), []);

        assert_eq!(requester.send(&request(1, "rpc", b"question")), []);
        let question = responder.read();
        let properties = requested(&question);
        let to = address(&properties);
        assert_eq!(to.strip_prefix("amq.rabbitmq.reply-to.").unwrap().len(), 22);
        let expected = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_correlation_id("c".into())
            .with_reply_to(to.as_str().into())
            .with_message_id("m".into());
        assert_eq!(properties, expected);

        // Responders may ask first whether anybody still listens, and be anyone.
        responder.ask_for(1, passive(&to), alive(&to));
        responder.ask_for(
            1,
            method!(Queue queue::Declare { queue: to.as_str().into() }),
            alive(&to),
        );
        requester.ask_for(1, passive(&to), alive(&to));
        assert_eq!(responder.publish(&to, b"answer"), []);
        let [(deliver, _, body)] = <[_; 1]>::try_from(deliveries(&requester.read())).unwrap();
        assert_eq!((deliver.consumer_tag.as_str(), deliver.delivery_tag), ("answers", 1));
        assert_eq!((deliver.exchange.as_str(), deliver.routing_key.as_str()), ("", to.as_str()));
        assert!(!deliver.redelivered);
        assert_eq!(body, b"answer");

        // A second request, its body in several frames, goes out under the same address.
        let long = vec![b'q'; 10_000];
        assert_eq!(requester.send(&request(1, "rpc", &long)), []);
        assert_eq!(address(&requested(&responder.read())), to);
    });
}

#[test]
fn other_reply_addresses_stay_as_they_are() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        dialog.consume(NAME, "answers", true);
        dialog.consume("q", "all", true);
        for name in ["q", "amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-tp", ""] {
            let properties = BasicProperties::default().with_reply_to(name.into());
            let got = dialog.send(&publish(1, "", "q", properties.clone(), b"x"));
            assert_eq!(requested(&got), properties);
        }
    });
}

#[test]
fn each_channel_has_its_own_address() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.open_channel(2);
        dialog.declare_queue("q");
        let consume = |nowait| method!(Basic basic::Consume { queue: NAME.into(), consumer_tag: "r".into(), no_ack: true, nowait: nowait });
        dialog.ask_for(
            2,
            consume(false),
            method!(Basic basic::ConsumeOk { consumer_tag: "r".into() }),
        );
        assert_eq!(dialog.ask(1, consume(true)), []);
        dialog.consume("q", "all", true);
        let first = address(&requested(&dialog.send(&request(1, "q", b"1"))));
        let second = address(&requested(&dialog.send(&request(2, "q", b"2"))));
        assert_ne!(first, second);
        let got = dialog.publish(&second, b"to two");
        assert!(matches!(got[0], AMQPFrame::Method(2, _)));
        assert_eq!(bodies(&got), [delivered(1, "to two")]);
    });
}

#[test]
fn what_is_out_of_place_closes_the_channel() {
    both(|world, chunk_len| {
        let refused = |text: &str, method| {
            on(1, channel_close(406, &format!("PRECONDITION_FAILED - {text}"), (60, method)))
        };
        let consume = |tag: &str, no_ack| method!(Basic basic::Consume { queue: NAME.into(), consumer_tag: tag.into(), no_ack: no_ack });

        let mut dialog = Dialog::open(world, chunk_len);
        let text = "reply consumer cannot acknowledge";
        assert_eq!(dialog.ask(1, consume("r", false)), [refused(text, 20)]);

        let mut dialog = Dialog::open(world, chunk_len);
        dialog.consume(NAME, "r", true);
        let text = "reply consumer already set";
        assert_eq!(dialog.ask(1, consume("s", true)), [refused(text, 20)]);

        let text = "fast reply consumer does not exist";
        for body in [&b"x"[..], b"", &[0; 5000]] {
            let mut dialog = Dialog::open(world, chunk_len);
            assert_eq!(dialog.send(&request(1, "q", body)), [refused(text, 40)]);
        }

        // A consumer on another channel is no help.
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.open_channel(2);
        dialog.ask(2, consume("r", true));
        assert_eq!(dialog.send(&request(1, "q", b"x")), [refused(text, 40)]);
    });
}

#[test]
fn it_ends_with_its_consumer() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.open_channel(2);
        dialog.declare_queue("q");
        let all = method!(Basic basic::Consume { queue: "q".into(), consumer_tag: "all".into(), no_ack: true });
        dialog.ask_for(2, all, method!(Basic basic::ConsumeOk { consumer_tag: "all".into() }));
        let cancel = || method!(Basic basic::Cancel { consumer_tag: "r".into() });
        let mut seen = Vec::new();
        for _ in 0..2 {
            dialog.consume(NAME, "r", true);
            let to = address(&requested(&dialog.send(&request(1, "q", b"x"))));
            assert_eq!(deliveries(&dialog.send(&mandatory(&to))).len(), 1);
            dialog.ask_for(
                1,
                cancel(),
                method!(Basic basic::CancelOk { consumer_tag: "r".into() }),
            );
            assert!(is_returned(&dialog.send(&mandatory(&to))));
            assert!(!seen.contains(&to));
            seen.push(to);
        }
        let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
        let close = on(1, channel_close(406, text, (60, 40)));
        assert_eq!(dialog.send(&request(1, "q", b"x")), [close]);
    });
}

#[test]
fn it_ends_with_its_channel_and_with_its_connection() {
    both(|world, chunk_len| {
        let mut responder = Dialog::open(world, chunk_len);
        responder.declare_queue("rpc");
        responder.consume("rpc", "server", true);
        let mut requester = Dialog::open(world, chunk_len);
        let mut ask = |requester: &mut Dialog<'_>| {
            requester.consume(NAME, "r", true);
            assert_eq!(requester.send(&request(1, "rpc", b"x")), []);
            address(&requested(&responder.read()))
        };
        let first = ask(&mut requester);
        requester.ask_for(
            1,
            method!(Channel channel::Close {}),
            method!(Channel channel::CloseOk {}),
        );
        requester.open_channel(1);
        let second = ask(&mut requester);
        assert_ne!(first, second);
        assert!(is_returned(&responder.send(&mandatory(&first))));
        assert!(!is_returned(&responder.send(&mandatory(&second))));
        assert_eq!(deliveries(&requester.read()).len(), 1);
        requester.client.disconnect();
        assert!(is_returned(&responder.send(&mandatory(&second))));
        responder.ask_for(1, passive(&second), gone(&second));
    });
}

#[test]
fn a_requester_whose_queue_is_deleted_is_told() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.declare_queue("q");
        dialog.consume("q", "all", true);
        dialog.consume(NAME, "r", true);
        let to = address(&requested(&dialog.send(&request(1, "q", b"x"))));
        let told = dialog.ask(1, method!(Queue queue::Delete { queue: to.as_str().into() }));
        let cancel = method!(Basic basic::Cancel { consumer_tag: "r".into(), nowait: true });
        assert!(told.contains(&on(1, cancel)), "{told:?}");
        assert_eq!(dialog.consume(NAME, "r", true), []);
        assert_ne!(address(&requested(&dialog.send(&request(1, "q", b"x")))), to);
    });
}

#[test]
fn declaring_the_name_finds_out_that_it_is_known() {
    both(|world, chunk_len| {
        let mut dialog = Dialog::open(world, chunk_len);
        dialog.ask_for(1, passive(NAME), alive(NAME));
        dialog.ask_for(1, method!(Queue queue::Declare { queue: NAME.into() }), alive(NAME));
        let silent = method!(Queue queue::Declare { queue: NAME.into(), nowait: true });
        assert_eq!(dialog.ask(1, silent), []);
        let nobody = "amq.rabbitmq.reply-to.nobody";
        dialog.ask_for(1, passive(nobody), gone(nobody));
    });
}
