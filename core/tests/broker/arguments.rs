//! Queue arguments: what is refused, and in which words; what is equal.

use trivium_core::control::DeclareQueue;
use trivium_core::{Broker, Refusal, Request, Table, Value};

use crate::peer::Peer;

fn text(text: &str) -> Value {
    Value::text(text)
}

const fn int(value: i64) -> Value {
    Value::Int(value, 4)
}

fn reason(answer: Result<trivium_core::Response, Refusal>) -> String {
    match answer {
        Err(Refusal::Precondition { reason }) => reason,
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn what_is_invalid_is_refused_in_rabbitmqs_words() {
    let (broker, _) = Broker::stepped();
    let peer = Peer::new(&broker);
    let long = "\"expected integer, got longstr\"";
    let cases = [
        ("x-expires", int(0), "{value_zero,0}"),
        ("x-expires", int(-1), "{value_negative,-1}"),
        ("x-expires", Value::Int(315_360_000_001, 8), "{value_too_large,315360000001}"),
        ("x-expires", text("1"), long),
        ("x-message-ttl", int(-1), "{value_negative,-1}"),
        ("x-message-ttl", text("a"), long),
        ("x-max-length", int(-1), "{value_negative,-1}"),
        ("x-max-length-bytes", text("a"), long),
        ("x-max-priority", int(256), "{max_value_exceeded,256}"),
        ("x-overflow", text("bogus"), "invalid_overflow"),
        ("x-overflow", int(1), "{unacceptable_type,signedint}"),
        ("x-dead-letter-routing-key", text("k"), "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-routing-key", int(1), "{unacceptable_type,signedint}"),
        ("x-single-active-consumer", text("yes"), "{unacceptable_type,longstr}"),
        ("x-queue-type", text("bogus"), "\"unsupported queue type 'bogus'\""),
        ("x-queue-type", text("stream"), "\"unsupported queue type 'stream'\""),
        ("x-queue-type", int(1), "{unacceptable_type,signedint}"),
        ("x-queue-mode", text("bogus"), "\"unsupported queue mode 'bogus'\""),
        ("x-queue-version", int(3), "\"unsupported queue version '3'\""),
    ];
    for (argument, value, detail) in cases {
        let expected = format!("invalid arg '{argument}' for queue 'qa' in vhost '/': {detail}");
        assert_eq!(reason(peer.queue_with("qa", &[(argument, value)])), expected);
    }
    assert_eq!(
        reason(peer.queue_with("qa", &[("x-dead-letter-exchange", int(1))])),
        "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'qa' in vhost '/'"
    );
    for argument in ["x-max-age", "x-delivery-limit"] {
        assert_eq!(
            reason(peer.queue_with("qa", &[(argument, int(1))])),
            format!(
                "invalid arg '{argument}' for queue 'qa' in vhost '/' of queue type \
                 rabbit_classic_queue"
            )
        );
    }
}

#[test]
fn a_quorum_queue_must_be_able_to_last() {
    let (broker, _) = Broker::stepped();
    let peer = Peer::new(&broker);
    let arguments = Table(vec![("x-queue-type".into(), text("quorum"))]);
    let declare = |name: &str, durable, auto_delete, exclusive| {
        peer.ask(Request::DeclareQueue(DeclareQueue {
            name: name.into(),
            durable,
            auto_delete,
            exclusive,
            arguments: arguments.clone(),
            ..Default::default()
        }))
    };
    let property = |name| format!("invalid property '{name}' for queue 'q' in vhost '/'");
    assert_eq!(reason(declare("q", false, false, false)), property("non-durable"));
    assert_eq!(reason(declare("q", true, true, false)), property("auto-delete"));
    assert_eq!(reason(declare("q", true, false, true)), property("exclusive-owner"));
    assert_eq!(
        reason(declare("", true, false, false)),
        "Cannot declare a server-named queue for type rabbit_quorum_queue"
    );
    declare("q", true, false, false).unwrap();
    for (if_unused, if_empty, flag) in [(true, false, "if-unused"), (false, true, "if-empty")] {
        let refused = peer.ask(Request::DeleteQueue { name: "q".into(), if_unused, if_empty });
        let Err(Refusal::NotImplemented { reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.ends_with(&format!("{flag} flag set are not supported by quorum queues")));
    }
}

#[test]
fn known_arguments_are_compared_and_others_are_not() {
    let (broker, _) = Broker::stepped();
    let peer = Peer::new(&broker);
    let ttl = |value| ("x-message-ttl", value);
    peer.queue_with("q", &[ttl(int(1000)), ("x-mine", int(1))]).unwrap();
    peer.queue_with("q", &[ttl(Value::Int(1000, 8)), ("x-queue-type", text("classic"))]).unwrap();
    let inequivalent = "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received";
    assert_eq!(
        reason(peer.queue_with("q", &[ttl(int(2000))])),
        format!("{inequivalent} '2000' but current is '1000'")
    );
    assert_eq!(
        reason(peer.queue_with("q", &[])),
        format!("{inequivalent} none but current is the value '1000' of type 'signedint'")
    );
}
