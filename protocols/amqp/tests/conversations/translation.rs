//! What clients of other protocols published, as an AMQP client sees it.

use amq_protocol::protocol::BasicProperties;
use amq_protocol::types::AMQPValue;
use trivium_core::testing::World;
use trivium_core::{
    Body, Confirm, Draft, Principal, Properties, PropertyCodec, Protocol, ReplyTo, Table, Value,
    Worker,
};

use crate::dialog::{Dialog, deliveries};

/// Stands for MQTT's codec: its wire form is one octet that says which of these it is.
#[derive(Debug)]
struct Foreign;

static FOREIGN: Foreign = Foreign;

impl PropertyCodec for Foreign {
    fn protocol(&self) -> Protocol {
        Protocol::Mqtt
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        match wire {
            b"" => Properties::default(),
            _ => Properties {
                content_type: Some("text/plain".into()),
                correlation: Some(vec![0xFF]),
                reply_to: Some(ReplyTo::Topic("answers.x".into())),
                durable: Some(true),
                payload_format: Some(1),
                headers: Table(vec![("h".into(), Value::text("v"))]),
                ..Properties::default()
            },
        }
    }
}

/// Publishes to `amq.topic` as a client of another protocol.
fn publish(world: &World, key: &str, wire: &[u8], body: &[u8]) {
    let broker = world.broker();
    let principal = Principal::unrestricted("guest");
    let connection = broker.connect(&principal, "/", Protocol::Mqtt, broker.outbox()).unwrap();
    let mut session = connection.session(0);
    let mut worker = Worker::default();
    let mut batch = broker.batch(&mut worker, world.now());
    let draft = Draft {
        exchange: "amq.topic",
        routing_key: key,
        codec: &FOREIGN,
        properties: wire,
        body: Body::Borrowed(body),
        persistent: false,
        mandatory: false,
        expires_at: None,
        priority: 0,
        retain: false,
    };
    batch.publish(&mut session, draft, Confirm::Unwanted).unwrap();
    batch.end();
}

fn listener(world: &World) -> Dialog<'_> {
    let mut dialog = Dialog::open(world, usize::MAX);
    dialog.declare_queue("q");
    let bind = method!(Queue queue::Bind { queue: "q".into(), exchange: "amq.topic".into(), routing_key: "#".into() });
    dialog.ask_for(1, bind, method!(Queue queue::BindOk {}));
    dialog.consume("q", "c", true);
    dialog
}

#[test]
fn properties_are_translated() {
    let world = World::new();
    let mut dialog = listener(&world);
    publish(&world, "a.b", b"full", b"hello");
    let seen = dialog.read();
    let (deliver, properties, body) = &deliveries(&seen)[0];
    assert_eq!((deliver.exchange.as_str(), deliver.routing_key.as_str()), ("amq.topic", "a.b"));
    assert_eq!(body, b"hello");
    let text = |text: &Option<amq_protocol::types::ShortString>| text.clone().unwrap().to_string();
    assert_eq!(text(properties.content_type()), "text/plain");
    assert_eq!(text(properties.reply_to()), "amq.topic.reply-to.answers.x");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.correlation_id(), None);
    let headers = properties.headers().clone().unwrap();
    let headers = headers.inner();
    assert_eq!(headers["x-correlation-id"], AMQPValue::ByteArray(vec![0xFF].into()));
    assert_eq!(headers["x-reply-to-topic"], AMQPValue::LongString("answers.x".into()));
    assert_eq!(headers["x-mqtt-payload-format"], AMQPValue::ShortShortUInt(1));
    assert_eq!(headers["h"], AMQPValue::LongString("v".into()));
    assert_eq!(headers.len(), 4);

    publish(&world, "a.b", b"", b"bare");
    let seen = dialog.read();
    assert_eq!(deliveries(&seen)[0].1, BasicProperties::default());
}

#[test]
fn a_long_key_arrives_as_the_words_that_fit() {
    let words = "word.".repeat(60);
    let cases = [
        (words.as_str(), &words[..254]),
        (&"w".repeat(255), &"w".repeat(255)),
        (&"w".repeat(256), ""),
    ];
    let world = World::new();
    let mut dialog = listener(&world);
    for (key, seen_key) in cases {
        publish(&world, key, b"", b"x");
        let seen = dialog.read();
        assert_eq!(deliveries(&seen)[0].0.routing_key.as_str(), seen_key);
    }
}
