//! A client for conversations: it speaks through `amq-protocol`'s own codec, so that ours never
//! reads only what it wrote.

use std::sync::Arc;

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::{AMQPClass, BasicProperties, basic, connection};
use amq_protocol::types::{AMQPValue, FieldTable};
use trivium_amqp::{Config, Connection};
use trivium_core::Protocol;
use trivium_core::testing::{Client, World};

pub(crate) const HEADER: &[u8] = b"AMQP\0\0\x09\x01";

/// One client in conversation.
pub(crate) struct Dialog<'w> {
    pub(crate) client: Client<'w, Connection>,
}

/// Runs a conversation twice: what is sent arrives whole, and byte by byte.
pub(crate) fn both(conversation: impl Fn(&World, usize)) {
    for chunk_len in [usize::MAX, 1] {
        conversation(&World::new(), chunk_len);
    }
}

impl<'w> Dialog<'w> {
    /// A client that has said nothing.
    pub(crate) fn new(world: &'w World, chunk_len: usize) -> Self {
        Self::with(world, chunk_len, Config::default())
    }

    pub(crate) fn with(world: &'w World, chunk_len: usize, config: Config) -> Self {
        let connection = Connection::new(Arc::new(config), world.now());
        Self { client: world.client(Protocol::Amqp, connection, chunk_len) }
    }

    /// A client that is logged in and has channel 1.
    pub(crate) fn open(world: &'w World, chunk_len: usize) -> Self {
        Self::tuned(world, chunk_len, 131_072, 0)
    }

    /// The same, with the client's own limits.
    pub(crate) fn tuned(
        world: &'w World,
        chunk_len: usize,
        frame_max: u32,
        heartbeat: u16,
    ) -> Self {
        let mut dialog = Self::new(world, chunk_len);
        dialog.log_in();
        let channel_max = 2047;
        let tune_ok = method!(Connection connection::TuneOk { channel_max: channel_max, frame_max: frame_max, heartbeat: heartbeat });
        let open = method!(Connection connection::Open { virtual_host: "/".into() });
        let sent = [frame(0, tune_ok), frame(0, open)].concat();
        assert_eq!(dialog.send(&sent), [on(0, method!(Connection connection::OpenOk {}))]);
        dialog.open_channel(1);
        dialog
    }

    /// Header and credentials; leaves the client before its tune-ok.
    pub(crate) fn log_in(&mut self) {
        self.send(HEADER);
        let answer = self.ask(0, start_ok("PLAIN", b"\0guest\0guest"));
        assert!(matches!(
            answer[..],
            [AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Tune(_)))]
        ));
    }

    pub(crate) fn open_channel(&mut self, number: u16) {
        let opened = self.ask(number, method!(Channel channel::Open {}));
        assert_eq!(opened, [on(number, method!(Channel channel::OpenOk {}))]);
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Vec<AMQPFrame> {
        frames(&self.client.send(bytes))
    }

    pub(crate) fn read(&mut self) -> Vec<AMQPFrame> {
        frames(&self.client.read())
    }

    pub(crate) fn ask(&mut self, channel: u16, method: AMQPClass) -> Vec<AMQPFrame> {
        self.send(&frame(channel, method))
    }

    /// Asks for what is answered with one method.
    pub(crate) fn ask_for(&mut self, channel: u16, method: AMQPClass, answer: AMQPClass) {
        assert_eq!(self.ask(channel, method), [on(channel, answer)]);
    }

    pub(crate) fn declare_queue(&mut self, name: &str) {
        let answer = self.ask(1, method!(Queue queue::Declare { queue: name.into() }));
        let ok = method!(Queue queue::DeclareOk { queue: name.into() });
        assert_eq!(answer, [on(1, ok)]);
    }

    pub(crate) fn consume(&mut self, queue: &str, tag: &str, no_ack: bool) -> Vec<AMQPFrame> {
        let consume = method!(Basic basic::Consume { queue: queue.into(), consumer_tag: tag.into(), no_ack: no_ack });
        let mut answer = self.ask(1, consume);
        assert_eq!(
            answer.remove(0),
            on(1, method!(Basic basic::ConsumeOk { consumer_tag: tag.into() }))
        );
        answer
    }

    /// Publishes without properties to a queue by name.
    pub(crate) fn publish(&mut self, queue: &str, body: &[u8]) -> Vec<AMQPFrame> {
        self.send(&publish(1, "", queue, BasicProperties::default(), body))
    }
}

/// The octets of a method frame.
pub(crate) fn frame(channel: u16, method: AMQPClass) -> Vec<u8> {
    octets(&AMQPFrame::Method(channel, method))
}

pub(crate) fn octets(frame: &AMQPFrame) -> Vec<u8> {
    gen_frame(frame)(WriteContext::from(Vec::new())).unwrap().into_inner().0
}

/// A frame of any kind, well formed or not.
pub(crate) fn raw(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out.push(0xCE);
    out
}

/// What a server sent, as `amq-protocol` reads it.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).expect("the server writes whole frames");
        frames.push(frame);
        bytes = rest;
    }
    frames
}

pub(crate) const fn on(channel: u16, method: AMQPClass) -> AMQPFrame {
    AMQPFrame::Method(channel, method)
}

pub(crate) fn start_ok(mechanism: &str, response: &[u8]) -> AMQPClass {
    let mut capabilities = FieldTable::default();
    for name in ["consumer_cancel_notify", "authentication_failure_close", "connection.blocked"] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut client_properties = FieldTable::default();
    client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    client_properties.insert("connection_name".into(), AMQPValue::LongString("test".into()));
    let start_ok = connection::StartOk {
        client_properties,
        mechanism: mechanism.into(),
        response: response.into(),
        locale: "en_US".into(),
    };
    AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok))
}

/// Method, header and body of a publish, the body in frames of at most 4088 octets.
pub(crate) fn publish(
    channel: u16,
    exchange: &str,
    key: &str,
    properties: BasicProperties,
    body: &[u8],
) -> Vec<u8> {
    let publish =
        method!(Basic basic::Publish { exchange: exchange.into(), routing_key: key.into() });
    [frame(channel, publish), content(channel, properties, body)].concat()
}

pub(crate) fn content(channel: u16, properties: BasicProperties, body: &[u8]) -> Vec<u8> {
    let header = amq_protocol::frame::AMQPContentHeader {
        class_id: 60,
        body_size: body.len() as u64,
        properties,
    };
    let mut out = octets(&AMQPFrame::Header(channel, header));
    for piece in body.chunks(4088) {
        out.extend(octets(&AMQPFrame::Body(channel, piece.to_vec())));
    }
    out
}

/// What a consumer sees of one delivery: method, properties, body.
pub(crate) fn deliveries(frames: &[AMQPFrame]) -> Vec<(basic::Deliver, BasicProperties, Vec<u8>)> {
    let mut deliveries: Vec<(basic::Deliver, BasicProperties, Vec<u8>)> = Vec::new();
    for frame in frames {
        match frame {
            AMQPFrame::Method(_, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver))) => {
                deliveries.push((deliver.clone(), BasicProperties::default(), Vec::new()));
            }
            AMQPFrame::Header(_, header) => {
                deliveries.last_mut().unwrap().1 = header.properties.clone();
            }
            AMQPFrame::Body(_, body) => {
                deliveries.last_mut().unwrap().2.extend_from_slice(body);
            }
            other => panic!("no delivery: {other:?}"),
        }
    }
    deliveries
}

/// Bodies of the deliveries in `frames`, as text, with their delivery tags and redelivery.
pub(crate) fn bodies(frames: &[AMQPFrame]) -> Vec<(u64, bool, String)> {
    let one = |(deliver, _, body): (basic::Deliver, _, Vec<u8>)| {
        (deliver.delivery_tag, deliver.redelivered, String::from_utf8(body).unwrap())
    };
    deliveries(frames).into_iter().map(one).collect()
}

pub(crate) fn delivered(tag: u64, body: &str) -> (u64, bool, String) {
    (tag, false, body.to_owned())
}

pub(crate) fn redelivered(tag: u64, body: &str) -> (u64, bool, String) {
    (tag, true, body.to_owned())
}

pub(crate) fn channel_close(code: u16, text: &str, ids: (u16, u16)) -> AMQPClass {
    method!(Channel channel::Close { reply_code: code, reply_text: text.into(), class_id: ids.0, method_id: ids.1 })
}

pub(crate) fn connection_close(code: u16, text: &str, ids: (u16, u16)) -> AMQPClass {
    method!(Connection connection::Close { reply_code: code, reply_text: text.into(), class_id: ids.0, method_id: ids.1 })
}
