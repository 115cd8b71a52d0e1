//! A client of the core without a protocol.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use trivium_core::control::{
    Binding, Consume, DeclareExchange, DeclareQueue, Destination, Got, Origin,
};
use trivium_core::{
    Answer, Batch, Body, Broker, Confirm, Connection, ConsumerId, Delivery, Draft, Encoder, Event,
    Field, Instant, Lost, Message, Outbox, Principal, Properties, PropertyCodec, Protocol,
    Published, Refusal, Reply, Request, Response, Session, Table, Value, Variant, Worker,
};

/// Properties that are one header: `name=value`.
#[derive(Debug)]
pub(crate) struct OneHeader;

impl PropertyCodec for OneHeader {
    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        let text = String::from_utf8_lossy(wire);
        let header = text.split_once('=').map(|(name, value)| (name.into(), Value::text(value)));
        Properties { headers: Table(header.into_iter().collect()), ..Properties::default() }
    }
}

/// Packets that are variant, body and a full stop.
#[derive(Debug)]
pub(crate) struct Plain;

impl Encoder for Plain {
    fn encode(&self, variant: Variant, message: &Message, out: &mut Vec<u8>) -> Lost {
        out.extend_from_slice(variant.0.to_string().as_bytes());
        out.extend_from_slice(message.body());
        out.push(b'.');
        let mut lost = Lost::NONE;
        lost.unless(message.properties().is_bare(), Field::Header);
        lost
    }
}

pub(crate) struct Peer {
    pub(crate) session: Session,
    _connection: Connection,
    pub(crate) outbox: Arc<Outbox>,
    broker: Arc<Broker>,
    worker: Worker,
    /// The time of its batches.
    pub(crate) now: Instant,
}

/// What a peer publishes; the rest is as in [`Peer::publish`].
pub(crate) struct Publish<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) key: &'a str,
    pub(crate) header: &'a str,
    pub(crate) body: &'a str,
    pub(crate) mandatory: bool,
    pub(crate) retain: bool,
    pub(crate) confirm: Confirm,
    pub(crate) persistent: bool,
    pub(crate) expiry_ms: Option<u64>,
    pub(crate) priority: u8,
}

impl Default for Publish<'_> {
    fn default() -> Self {
        Self {
            exchange: "",
            key: "",
            header: "",
            body: "",
            mandatory: false,
            retain: false,
            confirm: Confirm::Unwanted,
            persistent: false,
            expiry_ms: None,
            priority: 0,
        }
    }
}

impl Peer {
    pub(crate) fn new(broker: &Arc<Broker>) -> Self {
        let outbox = broker.outbox();
        let guest = Principal::unrestricted("guest");
        let connection = broker.connect(&guest, "/", Protocol::Amqp, outbox.clone()).unwrap();
        let session = connection.session(1);
        Self {
            session,
            _connection: connection,
            outbox,
            broker: broker.clone(),
            worker: Worker::default(),
            now: Instant::START,
        }
    }

    pub(crate) fn ask(&self, request: Request) -> Answer {
        let session = Some(self.session.handle());
        let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
        match self.broker.request(&origin, request) {
            Reply::Ready(answer) => answer,
            Reply::Pending(_) => panic!("nothing is paged here"),
        }
    }

    /// As [`Peer::ask`], where others may have their turn first.
    pub(crate) fn ask_patiently(&self, request: Request) -> Answer {
        let session = Some(self.session.handle());
        let origin = Origin { session, principal: None, protocol: Protocol::Mqtt };
        let mut pending = match self.broker.request(&origin, request) {
            Reply::Ready(answer) => return answer,
            Reply::Pending(pending) => pending,
        };
        loop {
            let polled = pending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(answer) = polled {
                return answer;
            }
        }
    }

    pub(crate) fn exchange(&self, name: &str, kind: &str) {
        let declare =
            DeclareExchange { name: name.into(), kind: kind.into(), ..Default::default() };
        self.ask(Request::DeclareExchange(declare)).unwrap();
    }

    pub(crate) fn queue(&self, name: &str) -> Answer {
        self.ask(Request::DeclareQueue(DeclareQueue { name: name.into(), ..Default::default() }))
    }

    /// A durable queue with arguments.
    pub(crate) fn queue_with(&self, name: &str, arguments: &[(&str, Value)]) -> Answer {
        let table = arguments.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        self.ask(Request::DeclareQueue(DeclareQueue {
            name: name.into(),
            durable: true,
            arguments: Table(table.collect()),
            ..Default::default()
        }))
    }

    /// How many messages are ready in a queue.
    pub(crate) fn ready(&self, name: &str) -> u64 {
        let passive = DeclareQueue { name: name.into(), passive: true, ..Default::default() };
        match self.ask(Request::DeclareQueue(passive)) {
            Ok(Response::Queue { messages, .. }) => messages,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Takes one message, settled at once.
    pub(crate) fn get(&self, name: &str) -> Option<Got> {
        match self.ask(Request::Get { queue: name.into(), no_ack: true }) {
            Ok(Response::Got(got)) => got,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// The bodies of everything ready in a queue, which is empty then.
    pub(crate) fn drain(&self, name: &str) -> Vec<String> {
        let text = |got: Got| String::from_utf8(got.message.body().to_vec()).unwrap();
        std::iter::from_fn(|| self.get(name).map(text)).collect()
    }

    pub(crate) fn bind(&self, source: &str, destination: Destination, key: &str) -> Answer {
        self.bind_with(source, destination, key, &[])
    }

    pub(crate) fn bind_with(
        &self,
        source: &str,
        destination: Destination,
        key: &str,
        arguments: &[(&str, &str)],
    ) -> Answer {
        let arguments =
            arguments.iter().map(|(name, value)| ((*name).into(), Value::text(*value))).collect();
        let (source, key) = (source.into(), key.into());
        self.ask(Request::Bind(Binding { source, destination, key, arguments: Table(arguments) }))
    }

    pub(crate) fn batch<T>(&mut self, act: impl FnOnce(&mut Batch<'_>, &mut Session) -> T) -> T {
        let mut batch = self.broker.batch(&mut self.worker, self.now);
        let result = act(&mut batch, &mut self.session);
        batch.end();
        result
    }

    pub(crate) fn try_publish(&mut self, publish: &Publish<'_>) -> Result<Published, Refusal> {
        self.batch(|batch, session| {
            let mut draft = draft(publish);
            draft.expires_at = publish.expiry_ms.map(|millis| batch.now().after_millis(millis));
            batch.publish(session, draft, publish.confirm)
        })
    }

    /// Publishes transient text.
    pub(crate) fn publish(&mut self, exchange: &str, key: &str, body: &str) {
        self.try_publish(&Publish { exchange, key, body, ..Publish::default() }).unwrap();
    }

    pub(crate) fn consume(&mut self, consume: Consume) -> ConsumerId {
        match self.ask(Request::Consume(consume)) {
            Ok(Response::Consuming(consumer)) => {
                self.batch(|batch, session| batch.start(session, consumer));
                consumer
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    pub(crate) fn fetch(&self) -> (Vec<Event>, String) {
        let (mut events, mut packets) = (Vec::new(), Vec::new());
        let bytes = self.outbox.fetch(Waker::noop(), &mut events, &mut packets);
        if self.outbox.release(bytes) {
            self.broker.resume(&self.outbox);
        }
        (events, String::from_utf8(packets).unwrap())
    }

    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        let events = self.fetch().0.into_iter();
        let delivery = |event| match event {
            Event::Delivery(delivery) => delivery,
            other => panic!("unexpected {other:?}"),
        };
        events.map(delivery).collect()
    }

    /// The bodies delivered since the last look.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.deliveries().iter().map(body).collect()
    }
}

pub(crate) fn draft<'a>(publish: &Publish<'a>) -> Draft<'a> {
    Draft {
        exchange: publish.exchange,
        routing_key: publish.key,
        codec: &OneHeader,
        properties: publish.header.as_bytes(),
        body: Body::Borrowed(publish.body.as_bytes()),
        persistent: publish.persistent,
        mandatory: publish.mandatory,
        expires_at: None,
        priority: publish.priority,
        retain: publish.retain,
    }
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body().to_vec()).unwrap()
}

pub(crate) fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}
