//! SUBSCRIBE, UNSUBSCRIBE, destinations, temporary queues.

use trivium_core::log::StepLog;
use trivium_core::{Broker, Limits};

use super::*;

#[test]
fn subscribing() {
    check(&[
        (
            "S-73 to S-75, S-78: the receipt precedes the first message",
            &[
                Send('b', "SEND\ndestination:/queue/q\n\nhi\0"),
                Send('a', "SUBSCRIBE\nid:0\ndestination:/queue/q\nreceipt:1\n\n\0"),
                reads(
                    'a',
                    "RECEIPT\nreceipt-id:1\n\n\0\
                        MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/queue/q\n\
                        redelivered:false\ncontent-length:2\n\nhi\0",
                ),
            ],
        ),
        (
            "a bare name is a queue, which is shared",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:q\n\n\0"),
                Send('b', "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0"),
                Send('a', "SEND\ndestination:q\n\n1\0SEND\ndestination:/amq/queue/q\n\n2\0"),
                message('a', "subscription:0\nmessage-id:$-1-1\ndestination:/queue/q", "1"),
                message('b', "subscription:0\nmessage-id:$-1-1\ndestination:/queue/q", "2"),
            ],
        ),
        (
            "who asks gets the last value of each address first; retaining needs amq.topic",
            &[
                Send('b', "SEND\ndestination:/topic/a.b\nx-mqtt-retain:true\n\n1\0"),
                Send('b', "SEND\ndestination:/topic/a.c\nx-mqtt-retain:false\n\n2\0"),
                Send('b', "BEGIN\ntransaction:t\n\n\0"),
                Send(
                    'b',
                    "SEND\ndestination:/exchange/amq.topic/a.d\ntransaction:t\nx-mqtt-retain:true\n\n3\0",
                ),
                Send('b', "COMMIT\ntransaction:t\n\n\0"),
                Send('a', "SUBSCRIBE\nid:0\ndestination:/topic/a.*\nx-retained:snapshot\n\n\0"),
                reads(
                    'a',
                    "MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/topic/a.b\n\
                        redelivered:false\ncontent-length:1\n\n1\0\
                     MESSAGE\nsubscription:0\nmessage-id:$-1-2\ndestination:/topic/a.d\n\
                        redelivered:false\ncontent-length:1\n\n3\0",
                ),
                Send('b', "SEND\ndestination:/topic/a.b\nx-mqtt-retain:True\n\n4\0"),
                reads(
                    'a',
                    "MESSAGE\nsubscription:0\nmessage-id:$-1-3\ndestination:/topic/a.b\n\
                        redelivered:false\nx-mqtt-retain:True\ncontent-length:1\n\n4\0",
                ),
            ],
        ),
        (
            "how long and until when: `expires` is 0 for ever, and `expiration` wins",
            &[
                Pass(500),
                Send('b', "SEND\ndestination:/queue/q\nexpiration:60000\nexpires:7\n\n1\0"),
                Send('b', "SEND\ndestination:/queue/q\nexpires:60600\n\n2\0"),
                Send('b', "SEND\ndestination:/queue/q\nexpires:0\n\n3\0"),
                Send('b', "SEND\ndestination:/queue/q\nexpires:never\n\n4\0"),
                Send('b', "SEND\ndestination:/queue/q\nexpires:100\n\ntoo late\0"),
                Pass(200),
                Send('a', "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0"),
                reads(
                    'a',
                    "MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/queue/q\n\
                        redelivered:false\nexpires:60500\nexpiration:60000\ncontent-length:1\n\n1\0\
                     MESSAGE\nsubscription:0\nmessage-id:$-1-2\ndestination:/queue/q\n\
                        redelivered:false\nexpires:60600\nexpiration:60100\ncontent-length:1\n\n2\0\
                     MESSAGE\nsubscription:0\nmessage-id:$-1-3\ndestination:/queue/q\n\
                        redelivered:false\ncontent-length:1\n\n3\0\
                     MESSAGE\nsubscription:0\nmessage-id:$-1-4\ndestination:/queue/q\n\
                        redelivered:false\nexpires:never\ncontent-length:1\n\n4\0",
                ),
            ],
        ),
        (
            "a topic is everybody's",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/topic/a.*\n\n\0"),
                Send('b', "SUBSCRIBE\nid:0\ndestination:/topic/#\n\n\0"),
                Send('a', "SEND\ndestination:/topic/a.b\n\n1\0"),
                message('a', "subscription:0\nmessage-id:$-1-1\ndestination:/topic/a.b", "1"),
                message('b', "subscription:0\nmessage-id:$-1-1\ndestination:/topic/a.b", "1"),
            ],
        ),
        (
            "who asks is told where a message comes from, before what the publisher claims",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/topic/t\nx-trivium-origin:true\n\n\0"),
                Send('a', "SEND\ndestination:/topic/t\nx-trivium-protocol:MQTT\n\n1\0"),
                reads(
                    'a',
                    "MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/topic/t\n\
                        redelivered:false\nx-trivium-protocol:stomp\nx-trivium-protocol:MQTT\n\
                        content-length:1\n\n1\0",
                ),
            ],
        ),
        (
            "S-74: an exchange, with coded names",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/exchange/amq.direct/a%2Fb\n\n\0"),
                Send('a', "SEND\ndestination:/exchange/amq.direct/a%2Fb\n\n1\0"),
                message(
                    'a',
                    "subscription:0\nmessage-id:$-1-1\ndestination:/exchange/amq.direct/a%2Fb",
                    "1",
                ),
            ],
        ),
        (
            "S-53, S-54: unsubscribed",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/topic/t\n\n\0"),
                Send('a', "UNSUBSCRIBE\nid:0\nreceipt:u\n\n\0SEND\ndestination:/topic/t\n\n1\0"),
                receipt('a', "u"),
            ],
        ),
        (
            "S-52: in 1.0 by destination, without an id",
            &[
                Send('A', "CONNECT\n\n\0SUBSCRIBE\ndestination:/topic/t\n\n\0"),
                reads(
                    'A',
                    "CONNECTED\nversion:1.0\nheart-beat:0,0\nsession:session-$\nserver:Trivium/0.1.0\n\n\0",
                ),
                Send('A', "SEND\ndestination:/topic/t\n\n1\0"),
                message('A', "message-id:$-1-1\ndestination:/topic/t", "1"),
                Send(
                    'A',
                    "UNSUBSCRIBE\ndestination:/topic/t\nreceipt:u\n\n\0SEND\ndestination:/topic/t\n\n1\0",
                ),
                receipt('A', "u"),
            ],
        ),
        (
            "a private queue ends with its subscription, whatever is unsettled",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/topic/t\nack:client\n\n\0"),
                Send('a', "SEND\ndestination:/topic/t\n\n1\0"),
                message(
                    'a',
                    "subscription:0\nmessage-id:$-1-1\nack:$-1-1\ndestination:/topic/t",
                    "1",
                ),
                Send('a', "UNSUBSCRIBE\nid:0\nreceipt:u\n\n\0ACK\nid:$-1-1\nreceipt:a\n\n\0"),
                reads('a', "RECEIPT\nreceipt-id:u\n\n\0RECEIPT\nreceipt-id:a\n\n\0"),
            ],
        ),
        (
            "a durable subscription is found again",
            &[
                Send(
                    'a',
                    "SUBSCRIBE\nid:0\ndestination:/topic/t\ndurable:true\nauto-delete:false\n\n\0",
                ),
                Send('a', "DISCONNECT\n\n\0"),
                Send('b', "SEND\ndestination:/topic/t\n\n1\0"),
                Send(
                    'c',
                    "SUBSCRIBE\nid:0\ndestination:/topic/t\ndurable:true\nauto-delete:false\n\n\0",
                ),
                message('c', "subscription:0\nmessage-id:$-1-1\ndestination:/topic/t", "1"),
                Send('c', "UNSUBSCRIBE\nid:0\ndurable:true\nreceipt:u\n\n\0"),
                receipt('c', "u"),
                Send('b', "SEND\ndestination:/topic/t\n\n2\0"),
                Send(
                    'c',
                    "SUBSCRIBE\nid:0\ndestination:/topic/t\ndurable:true\nauto-delete:false\n\n\0",
                ),
                reads('c', ""),
            ],
        ),
        (
            "prefetch-count",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:q\nack:client\nprefetch-count:1\n\n\0"),
                Send('a', "SEND\ndestination:q\n\n1\0SEND\ndestination:q\n\n2\0"),
                message(
                    'a',
                    "subscription:0\nmessage-id:$-1-1\nack:$-1-1\ndestination:/queue/q",
                    "1",
                ),
                Send('a', "ACK\nid:$-1-1\n\n\0"),
                message(
                    'a',
                    "subscription:0\nmessage-id:$-1-2\nack:$-1-2\ndestination:/queue/q",
                    "2",
                ),
            ],
        ),
    ]);
}

#[test]
fn temporary_queues() {
    check(&[(
        "a request and its answer",
        &[
            Send('b', "SUBSCRIBE\nid:work\ndestination:/queue/rpc\n\n\0"),
            Send('a', "SEND\ndestination:/queue/rpc\nreply-to:/temp-queue/mine\n\n1\0"),
            Send('a', "SEND\ndestination:/queue/rpc\nreply-to:/temp-queue/mine\n\n2\0"),
            reads('a', ""),
        ],
    )]);
    let world = World::new();
    let mut server = connect(&world, &Config::default(), usize::MAX);
    let mut asker = connect(&world, &Config::default(), 1);
    server.send(b"CONNECT\naccept-version:1.2\n\n\0SUBSCRIBE\nid:0\ndestination:/queue/rpc\n\n\0");
    asker.send(b"CONNECT\naccept-version:1.2\n\n\0");
    asker.send(b"SEND\ndestination:/queue/rpc\nreply-to:/temp-queue/mine\nreceipt:1\n\n?\0");
    let request = String::from_utf8(server.read()).unwrap();
    let reply_to = request.lines().find_map(|line| line.strip_prefix("reply-to:")).unwrap();
    assert!(reply_to.starts_with("/reply-queue/amq.gen-"), "{request}");
    server.send(format!("SEND\ndestination:{reply_to}\n\n!\0").as_bytes());
    world.step();
    let answer = String::from_utf8(asker.read()).unwrap();
    assert!(answer.contains("MESSAGE\nsubscription:/temp-queue/mine\nmessage-id:"), "{answer}");
    assert!(answer.ends_with("\n\n!\0"), "{answer}");
}

#[test]
fn what_cannot_be_subscribed() {
    check(&[
        (
            "S-47",
            &[
                Send('a', "SUBSCRIBE\nid:0\nreceipt:1\n\n\0"),
                error(
                    'a',
                    "Missing destination",
                    "receipt-id:1\n",
                    "\"SUBSCRIBE\" must include a 'destination' header\n",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-48: missing",
            &[
                Send('a', "SUBSCRIBE\ndestination:/queue/q\n\n\0"),
                error('a', "Missing header", "", "\"SUBSCRIBE\" must include the \"id\" header\n"),
            ],
        ),
        (
            "S-48: taken",
            &[
                Send(
                    'a',
                    "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0SUBSCRIBE\nid:0\ndestination:/queue/r\n\n\0",
                ),
                error(
                    'a',
                    "Duplicated subscription identifier",
                    "",
                    "A subscription identified by 'T_0' already exists.",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-49, S-50",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/queue/q\nack:maybe\n\n\0"),
                error('a', "Processing error", "", "Processing error"),
            ],
        ),
        (
            "S-51: a queue that must exist",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/amq/queue/nope\nreceipt:1\n\n\0"),
                error(
                    'a',
                    "not_found",
                    "receipt-id:1\n",
                    "NOT_FOUND - no queue 'nope' in vhost '/'",
                ),
                Closed('a'),
            ],
        ),
        (
            "S-51: an exchange that must exist",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/exchange/nope/k\n\n\0"),
                error('a', "not_found", "", "NOT_FOUND - no exchange 'nope' in vhost '/'"),
            ],
        ),
        (
            "a queue that is another",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0"),
                Send('b', "SUBSCRIBE\nid:0\ndestination:/queue/q\nauto-delete:true\n\n\0"),
                error(
                    'b',
                    "precondition_failed",
                    "",
                    "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
                ),
            ],
        ),
        (
            "a durable subscription needs a name",
            &[
                Send('A', "CONNECT\n\n\0"),
                reads(
                    'A',
                    "CONNECTED\nversion:1.0\nheart-beat:0,0\nsession:session-$\nserver:Trivium/0.1.0\n\n\0",
                ),
                Send('A', "SUBSCRIBE\ndestination:/topic/t\ndurable:true\n\n\0"),
                error(
                    'A',
                    "Missing Header",
                    "",
                    "Header 'id' is required for durable subscriptions",
                ),
            ],
        ),
        (
            "a reserved id",
            &[
                Send('a', "SUBSCRIBE\nid:/temp-queue/a\ndestination:/queue/q\n\n\0"),
                error('a', "Invalid id", "", "SUBSCRIBE 'id' may not start with /temp-queue/\n"),
            ],
        ),
        (
            "S-53: an id that is none",
            &[
                Send('a', "UNSUBSCRIBE\nid:9\n\n\0"),
                error(
                    'a',
                    "No subscription found",
                    "",
                    "UNSUBSCRIBE must refer to an existing subscription.\nSubscription to \"id='9'\" not found.\n",
                ),
            ],
        ),
        (
            "S-53: no id",
            &[
                Send('a', "UNSUBSCRIBE\n\n\0"),
                error(
                    'a',
                    "Missing destination or id",
                    "",
                    "UNSUBSCRIBE must include a 'destination' or 'id' header",
                ),
            ],
        ),
        (
            "not a number",
            &[
                Send('a', "SUBSCRIBE\nid:0\ndestination:/queue/q\nx-message-ttl:soon\n\n\0"),
                error(
                    'a',
                    "Invalid header",
                    "",
                    "\"SUBSCRIBE\" must include a valid \"x-message-ttl\" header\n",
                ),
            ],
        ),
    ]);
}

#[test]
fn the_queue_under_a_subscription_goes() {
    let config = Config::default();
    converse(
        "a private queue ends with its connection, a shared one is deleted by another",
        &config,
        &[
            Send(
                'a',
                "SUBSCRIBE\nid:0\ndestination:/topic/t\ndurable:true\nauto-delete:false\n\n\0",
            ),
            Send(
                'b',
                "SUBSCRIBE\nid:1\ndestination:/amq/queue/stomp-subscription-0@%2Ftopic%2Ft\n\n\0",
            ),
            Send('a', "UNSUBSCRIBE\nid:0\ndurable:true\n\n\0"),
            reads('a', ""),
            error(
                'b',
                "Server cancelled subscription",
                "subscription:1\n",
                "The server has canceled a subscription.\nNo more messages will be delivered for \"id='1'\".\n",
            ),
            Closed('b'),
        ],
    );
}

#[test]
fn a_subscription_that_is_too_slow_is_told_why() {
    let limits = Limits { outbox_bytes_max: 1, private_queue_bytes_max: 1000, ..Limits::default() };
    for keep_open_after_error in [false, true] {
        let broker = Broker::new(Arc::new(StepLog::default()), limits, 0);
        let world = World::over(broker, Arc::default());
        let config = Config { keep_open_after_error, ..Config::default() };
        let mut slow = connect(&world, &config, usize::MAX);
        let mut publisher = connect(&world, &config, usize::MAX);
        for client in [&mut slow, &mut publisher] {
            client.send(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0");
        }
        slow.send(b"SUBSCRIBE\nid:0\ndestination:/topic/t\n\n\0");
        for _ in 0..20 {
            publisher.send(format!("SEND\ndestination:/topic/t\n\n{:100}\0", "").as_bytes());
        }
        let read = String::from_utf8(slow.read()).unwrap();
        let (messages, error) = read.split_once("ERROR\n").expect("an ERROR behind what was sent");
        assert_eq!(messages.matches("MESSAGE\n").count(), 1, "what the outbox took");
        assert!(error.starts_with("message:Server cancelled subscription\n"), "{error}");
        assert!(error.contains("\nsubscription:0\n"), "{error}");
        let reason = "It is slower than those who publish: bytes in a subscription's own queue \
                      limit (1000) is reached.\n\0";
        assert!(error.ends_with(reason), "{error}");
        assert_eq!(slow.is_closed(), !keep_open_after_error);
        if keep_open_after_error {
            slow.send(b"SUBSCRIBE\nid:0\ndestination:/topic/t\n\n\0");
            publisher.send(b"SEND\ndestination:/topic/t\n\nagain\0");
            assert!(slow.read().ends_with(b"\n\nagain\0"), "it may subscribe again");
        }
    }
}

#[test]
fn subscriptions_are_limited() {
    let config = Config { subscriptions_max: 1, ..Config::default() };
    converse(
        "S-21",
        &config,
        &[
            Send('a', "SUBSCRIBE\nid:0\ndestination:a\n\n\0SUBSCRIBE\nid:1\ndestination:b\n\n\0"),
            error('a', "resource_error", "", "RESOURCE_ERROR - subscriptions limit (1) is reached"),
            Closed('a'),
        ],
    );
}
