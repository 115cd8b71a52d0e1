//! What travels from SEND to MESSAGE, read by stomp-parser as an independent reader.

use stomp_parser::headers::HeaderValue;
use stomp_parser::server::ServerFrame;

use trivium_core::{
    Body, Confirm, Draft, Principal, Properties, PropertyCodec, ReplyTo, Table, Value, Worker,
};

use super::*;

const SUBSCRIBE: &str = "SUBSCRIBE\nid:0\ndestination:/queue/q\n\n\0";

fn arrives(rule: &str, send: &'static str, headers: &str, body: &str) {
    let length = body.len();
    let text = format!(
        "MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/queue/q\nredelivered:false\n\
         {headers}content-length:{length}\n\n{body}\0"
    );
    converse(rule, &Config::default(), &[Send('a', SUBSCRIBE), Send('a', send), reads('a', &text)]);
}

#[test]
fn headers_of_send_travel() {
    arrives(
        "S-45, S-10: a body with NUL",
        "SEND\ndestination:/queue/q\ncontent-type:text/plain\ncontent-length:3\n\na\0b\0",
        "content-type:text/plain\n",
        "a\0b",
    );
    arrives(
        "S-45: order and repeats",
        "SEND\nb:1\ndestination:/queue/q\na:2\nb:3\n\n\0",
        "b:1\na:2\nb:3\n",
        "",
    );
    arrives(
        "S-19: escapes stay",
        "SEND\ndestination:/queue/q\na\\cb:c\\nd\\r\\\\\n\n\0",
        "a\\cb:c\\nd\\r\\\\\n",
        "",
    );
    arrives(
        "S-19: raw colons are escaped",
        "SEND\ndestination:/queue/q\na:b:c\n\n\0",
        "a:b\\cc\n",
        "",
    );
    arrives("S-2: CR LF", "SEND\r\ndestination:/queue/q\r\na:b\r\n\r\nx\r\n\0", "a:b\n", "x\r\n");
    arrives("S-4: UTF-8", "SEND\ndestination:/queue/q\nä:ö\n\nü\0", "ä:ö\n", "ü");
    arrives(
        "the frame's own stay here",
        "SEND\ndestination:/queue/q\nreceipt-id:5\ntransaction-id:1\n\n\0",
        "transaction-id:1\n",
        "",
    );
    arrives(
        "MESSAGE's own are renamed",
        "SEND\ndestination:/queue/q\nsubscription:5\nack:x\nredelivered:true\n\n\0",
        "amqp-header-subscription:5\namqp-header-ack:x\namqp-header-redelivered:true\n",
        "",
    );
    arrives(
        "persistent",
        "SEND\ndestination:/queue/q\npersistent:true\npriority:3\n\n\0",
        "persistent:true\npriority:3\n",
        "",
    );
}

#[test]
fn versions_convert() {
    check(&[
        (
            "S-16, S-19: 1.2 to 1.1 and 1.0",
            &[
                Send(
                    'B',
                    "CONNECT\naccept-version:1.1\n\n\0SUBSCRIBE\nid:a\\cb\ndestination:/topic/t\n\n\0",
                ),
                reads(
                    'B',
                    "CONNECTED\nversion:1.1\nheart-beat:0,0\nsession:session-$\nserver:Trivium/0.1.0\n\n\0",
                ),
                Send('C', "CONNECT\n\n\0SUBSCRIBE\ndestination:/topic/t\n\n\0"),
                reads(
                    'C',
                    "CONNECTED\nversion:1.0\nheart-beat:0,0\nsession:session-$\nserver:Trivium/0.1.0\n\n\0",
                ),
                Send('a', "SEND\ndestination:/topic/t\nx\\cy:1\\n2\\r3\\c4\\\\5\n\nhi\0"),
                reads(
                    'B',
                    "MESSAGE\nsubscription:a\\cb\nmessage-id:$-1-1\ndestination:/topic/t\nredelivered:false\n\
                        x\\cy:1\\n2\r3\\c4\\\\5\ncontent-length:2\n\nhi\0",
                ),
                reads(
                    'C',
                    "MESSAGE\nmessage-id:$-1-1\ndestination:/topic/t\nredelivered:false\n\
                        x%3Ay:1%0A2%0D3:4\\5\ncontent-length:2\n\nhi\0",
                ),
            ],
        ),
        (
            "S-16: 1.0 has no escapes, and its values are trimmed",
            &[
                Send('b', "SUBSCRIBE\nid:0\ndestination:/topic/t\n\n\0"),
                Send('A', "CONNECT\n\n\0SEND\ndestination: /topic/t\nx: a\\nb:c\n\nhi\0"),
                reads(
                    'b',
                    "MESSAGE\nsubscription:0\nmessage-id:$-1-1\ndestination:/topic/t\nredelivered:false\n\
                        x:a\\\\nb\\cc\ncontent-length:2\n\nhi\0",
                ),
            ],
        ),
    ]);
}

#[test]
fn an_independent_reader_agrees() {
    let world = World::new();
    let mut client = connect(&world, &Config::default(), usize::MAX);
    let connected = client.send(b"CONNECT\naccept-version:1.2\nheart-beat:5000,6000\n\n\0");
    let Ok(ServerFrame::Connected(frame)) = ServerFrame::try_from(connected) else {
        panic!("CONNECTED")
    };
    let beats = frame.heartbeat().unwrap().value();
    assert_eq!((beats.supplied, beats.expected), (6000, 5000));

    let answered = client
        .send(b"SUBSCRIBE\nid:s\\c1\ndestination:/queue/q%2Fr\nack:client\nreceipt:r 1\n\n\0");
    let Ok(ServerFrame::Receipt(frame)) = ServerFrame::try_from(answered) else {
        panic!("RECEIPT")
    };
    assert_eq!(frame.receipt_id().value(), "r 1");

    let sent = b"SEND\ndestination:/queue/q%2Fr\ncontent-type:a/b\nk\\cl:v\\n\ncontent-length:4\n\nx\0y\n\0";
    let message = client.send(sent);
    let Ok(ServerFrame::Message(frame)) = ServerFrame::try_from(message) else { panic!("MESSAGE") };
    assert_eq!(frame.subscription().value(), "s\\c1");
    assert_eq!(frame.destination().value(), "/queue/q%2Fr");
    assert_eq!(frame.content_type().unwrap().value(), "a/b");
    assert_eq!(*frame.content_length().unwrap().value(), 4);
    assert_eq!(frame.body(), Some(&b"x\0y\n"[..]));
    let header = |name: &str| {
        let header = frame.custom.iter().find(|header| header.header_name() == name);
        header.map(|header| header.value().to_string())
    };
    assert_eq!(header("k\\cl").as_deref(), Some("v\\n"));
    assert_eq!(header("ack").as_deref(), Some(frame.message_id().value()));

    let failed = client.send(b"FOO\nreceipt:9\n\n\0");
    let Ok(ServerFrame::Error(frame)) = ServerFrame::try_from(failed) else { panic!("ERROR") };
    assert_eq!(frame.message().unwrap().value(), "Bad command");
    assert_eq!(frame.body(), Some(&b"Could not interpret command \"FOO\"\n"[..]));
}

/// A stranger's properties, whatever its wire form is.
#[derive(Debug)]
struct Foreign;

impl PropertyCodec for Foreign {
    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn decode(&self, _: &[u8]) -> Properties {
        Properties {
            content_type: Some("a:b".into()),
            correlation: Some(b"c".to_vec()),
            reply_to: Some(ReplyTo::Queue("amq.gen-1".into())),
            durable: Some(true),
            priority: Some(4),
            message_id: Some("m".into()),
            headers: Table(vec![
                ("n".into(), Value::Int(-1, 4)),
                ("destination".into(), Value::text("mine")),
                ("t".into(), Value::Table(Table::default())),
            ]),
            ..Properties::default()
        }
    }
}

#[test]
fn messages_of_other_protocols_arrive_as_headers() {
    let world = World::new();
    let mut client = connect(&world, &Config::default(), usize::MAX);
    client.send(b"CONNECT\naccept-version:1.2\n\n\0");
    client.send(b"SUBSCRIBE\nid:0\ndestination:/exchange/amq.direct/a%2Fb\n\n\0");
    let principal = Principal::unrestricted("guest");
    let outbox = world.broker().outbox();
    let publisher = world.broker().connect(&principal, "/", Protocol::Amqp, outbox).unwrap();
    let (mut session, mut worker) = (publisher.session(1), Worker::default());
    let mut batch = world.broker().batch(&mut worker, world.now());
    let draft = Draft {
        exchange: "amq.direct",
        routing_key: "a/b",
        codec: &Foreign,
        properties: b"wire",
        body: Body::Borrowed(b"\xFF\0"),
        persistent: true,
        mandatory: false,
        expires_at: None,
        priority: 0,
        retain: false,
    };
    assert!(batch.publish(&mut session, draft, Confirm::Unwanted).unwrap().routed);
    batch.end();
    let read = client.read();
    let Ok(ServerFrame::Message(frame)) = ServerFrame::try_from(read.clone()) else {
        panic!("MESSAGE")
    };
    assert_eq!(frame.body(), Some(&b"\xFF\0"[..]));
    let read = String::from_utf8_lossy(&read).into_owned();
    let block = "\ndestination:/exchange/amq.direct/a%2Fb\nredelivered:false\ncontent-type:a\\cb\n\
                 correlation-id:c\nreply-to:/reply-queue/amq.gen-1\npersistent:true\npriority:4\n\
                 amqp-message-id:m\nn:-1\namqp-header-destination:mine\nt:{}\n\
                 x-header-types:n=I,t=F\ncontent-length:2\n\n";
    assert!(read.contains(block), "{read}");
}
