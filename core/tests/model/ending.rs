//! A queue with every way out (TTL, expiration, max-length, priorities, rejects, a delivery limit)
//! and where its dead go: whatever happens, each message ends exactly once, accepted by somebody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use trivium_core::control::{Consume, DeclareQueue, Got, Origin};
use trivium_core::log::StepLog;
use trivium_core::{
    Answer, Body, Broker, Confirm, Connection, ConsumerId, DeliveryId, Draft, Event, Instant,
    Limits, Message, Outbox, Outcome, Principal, Protocol, Reply, Request, Response, Session,
    Table, Ticket, Value, Worker,
};

use crate::subject::NoProperties;

const CLIENTS: usize = 2;
const WORK: usize = 0;
const DEAD: usize = 1;
const NAMES: [&str; 2] = ["work", "dead"];
const TTL_MS: u64 = 50;
const LENGTH_MAX: u64 = 6;

/// One step of a run.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Publish { client: usize, count: usize, persistent: bool, priority: u8, expiry_ms: Option<u64> },
    Consume { client: usize, queue: usize, prefetch: u32 },
    Cancel { consumer: usize },
    Settle { delivery: usize, outcome: Outcome },
    Get { client: usize, queue: usize },
    Release { client: usize },
    Pass { millis: u64 },
    Sync,
    AnswerReads,
    PageOut,
    CloseSession { client: usize },
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let (client, queue) = (0..CLIENTS, 0..NAMES.len());
    let expiry = proptest::option::of(0..80u64);
    prop_oneof![
        8 => (client.clone(), 1..6usize, any::<bool>(), 0..4u8, expiry).prop_map(
            |(client, count, persistent, priority, expiry_ms)| Publish {
                client, count, persistent, priority, expiry_ms }),
        3 => (client.clone(), queue.clone(), 1..4u32)
            .prop_map(|(client, queue, prefetch)| Consume { client, queue, prefetch }),
        1 => (0..8usize).prop_map(|consumer| Cancel { consumer }),
        6 => (0..32usize, prop_oneof![
                Just(Outcome::Accepted), Just(Outcome::Requeued), Just(Outcome::Rejected)])
            .prop_map(|(delivery, outcome)| Settle { delivery, outcome }),
        2 => (client.clone(), queue).prop_map(|(client, queue)| Get { client, queue }),
        4 => client.clone().prop_map(|client| Release { client }),
        4 => (0..40u64).prop_map(|millis| Pass { millis }),
        2 => Just(Sync),
        4 => Just(AnswerReads),
        2 => Just(PageOut),
        1 => client.prop_map(|client| CloseSession { client }),
    ]
}

struct Client {
    /// Dropped before its connection.
    session: Session,
    _connection: Connection,
    outbox: Arc<Outbox>,
    held: usize,
    /// What was published under which ticket and not confirmed.
    tickets: BTreeMap<Ticket, u64>,
}

struct Consumer {
    client: usize,
    queue: usize,
    id: ConsumerId,
    /// The last first delivery of each priority.
    last: BTreeMap<u8, u64>,
}

struct Outstanding {
    client: usize,
    queue: usize,
    delivery: DeliveryId,
    id: u64,
}

/// What is known of a message that is not accepted.
struct Known {
    priority: u8,
    expires_at: u64,
    rejected: bool,
}

pub(crate) struct Ending {
    broker: Arc<Broker>,
    log: Arc<StepLog>,
    spill: Arc<StepLog>,
    worker: Worker,
    now: u64,
    clients: Vec<Client>,
    consumers: Vec<Consumer>,
    outstanding: Vec<Outstanding>,
    known: BTreeMap<u64, Known>,
    /// Delivered once without `redelivered`.
    first: BTreeSet<(usize, u64)>,
    next_id: u64,
    refuses: bool,
}

impl Ending {
    pub(crate) fn new(refuses: bool, quorum: bool) -> Self {
        let log = Arc::new(StepLog::default());
        let limits =
            Limits { window_messages_max: 3, outbox_bytes_max: 3 * 200, ..Limits::default() };
        let broker = Broker::new(log.clone(), limits, 7);
        let spill = Arc::new(StepLog::default());
        broker.spill_to(spill.clone());
        let clients = (0..CLIENTS).map(|_| open(&broker)).collect();
        let (outstanding, consumers) = (Vec::new(), Vec::new());
        let ending = Self {
            broker,
            log,
            spill,
            worker: Worker::default(),
            now: 0,
            clients,
            consumers,
            outstanding,
            known: BTreeMap::new(),
            first: BTreeSet::new(),
            next_id: 0,
            refuses,
        };
        let int = |value: u64| Value::Uint(value, 4);
        let mut arguments = vec![
            ("x-message-ttl".to_owned(), int(TTL_MS)),
            ("x-max-length".to_owned(), int(LENGTH_MAX)),
            ("x-dead-letter-exchange".to_owned(), Value::text("")),
            ("x-dead-letter-routing-key".to_owned(), Value::text(NAMES[DEAD])),
        ];
        if refuses {
            arguments.push(("x-overflow".to_owned(), Value::text("reject-publish")));
        }
        if quorum {
            arguments.push(("x-queue-type".to_owned(), Value::text("quorum")));
            arguments.push(("x-delivery-limit".to_owned(), int(2)));
        } else {
            arguments.push(("x-max-priority".to_owned(), int(2)));
        }
        ending.declare(WORK, arguments);
        ending.declare(DEAD, Vec::new());
        ending
    }

    fn declare(&self, queue: usize, arguments: Vec<(String, Value)>) {
        let declare = DeclareQueue {
            name: NAMES[queue].into(),
            durable: true,
            arguments: Table(arguments),
            ..Default::default()
        };
        self.ask(0, Request::DeclareQueue(declare)).unwrap();
    }

    fn ask(&self, client: usize, request: Request) -> Answer {
        let session = Some(self.clients[client].session.handle());
        let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
        let mut future = match self.broker.request(&origin, request) {
            Reply::Ready(answer) => return answer,
            Reply::Pending(future) => future,
        };
        for _ in 0..20 {
            if let Poll::Ready(answer) =
                future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
            {
                return answer;
            }
            self.log.answer_reads();
            self.spill.answer_reads();
        }
        panic!("a message that is read is got");
    }

    fn time(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match *step {
            Step::Publish { client, count, persistent, priority, expiry_ms } => {
                self.publish(client, count, persistent, priority, expiry_ms);
            }
            Step::Consume { client, queue, prefetch } => self.consume(client, queue, prefetch),
            Step::Cancel { consumer } if !self.consumers.is_empty() => {
                let consumer = self.consumers.remove(consumer % self.consumers.len());
                let cancel = Request::Cancel { consumer: consumer.id };
                self.ask(consumer.client, cancel).unwrap();
            }
            Step::Settle { delivery, outcome } if !self.outstanding.is_empty() => {
                let at = delivery % self.outstanding.len();
                let settled = self.outstanding.remove(at);
                self.settle(&settled, outcome);
            }
            Step::Get { client, queue } => {
                let get = Request::Get { queue: NAMES[queue].into(), no_ack: false };
                match self.ask(client, get).unwrap() {
                    // What reading for it let others have came first.
                    Response::Got(got) => self.observe_got(client, queue, got),
                    other => panic!("unexpected {other:?}"),
                }
            }
            Step::Release { client } => self.release(client),
            Step::Pass { millis } => {
                self.now += millis;
                while self.broker.tick(self.time(), 3) {}
            }
            Step::Sync => self.log.sync(),
            Step::AnswerReads => {
                self.log.answer_reads();
                self.spill.answer_reads();
            }
            Step::PageOut => self.broker.page_everything_out(),
            Step::CloseSession { client } => {
                self.consumers.retain(|consumer| consumer.client != client);
                self.outstanding.retain(|known| known.client != client);
                self.clients[client] = open(&self.broker);
            }
            Step::Cancel { .. } | Step::Settle { .. } => {}
        }
        self.observe();
    }

    fn publish(
        &mut self,
        client: usize,
        count: usize,
        persistent: bool,
        priority: u8,
        expiry_ms: Option<u64>,
    ) {
        let now = self.time();
        let mut batch = self.broker.batch(&mut self.worker, now);
        let from = &mut self.clients[client];
        for _ in 0..count {
            let id = self.next_id;
            self.next_id += 1;
            let draft = Draft {
                exchange: "",
                routing_key: NAMES[WORK],
                codec: &NoProperties,
                properties: &[],
                body: Body::Borrowed(&id.to_be_bytes()),
                persistent,
                mandatory: false,
                expires_at: expiry_ms.map(|millis| now.after_millis(millis)),
                priority,
                retain: false,
            };
            let published = batch.publish(&mut from.session, draft, Confirm::Wanted).unwrap();
            from.tickets.insert(published.ticket, id);
            let expires_at = self.now + expiry_ms.unwrap_or(TTL_MS).min(TTL_MS);
            let priority = priority.min(2);
            self.known.insert(id, Known { priority, expires_at, rejected: false });
        }
        batch.end();
        if self.refuses {
            // At once: a client that is closed would not learn what was refused.
            self.log.sync();
        }
    }

    fn consume(&mut self, client: usize, queue: usize, prefetch: u32) {
        let consume = Consume { queue: NAMES[queue].into(), prefetch, ..Default::default() };
        let answer = self.ask(client, Request::Consume(consume)).unwrap();
        let Response::Consuming(id) = answer else { panic!("unexpected {answer:?}") };
        self.consumers.push(Consumer { client, queue, id, last: BTreeMap::new() });
        let mut batch = self.broker.batch(&mut self.worker, Instant::from_millis(self.now));
        batch.start(&mut self.clients[client].session, id);
        batch.end();
    }

    fn settle(&mut self, settled: &Outstanding, outcome: Outcome) {
        // Nobody hears of a dead letter's own death: here it is accepted instead.
        let outcome = match outcome {
            Outcome::Rejected if settled.queue == DEAD => Outcome::Accepted,
            outcome => outcome,
        };
        let mut batch = self.broker.batch(&mut self.worker, Instant::from_millis(self.now));
        batch.settle(&mut self.clients[settled.client].session, settled.delivery, outcome);
        batch.end();
        match outcome {
            Outcome::Accepted => {
                self.known.remove(&settled.id).expect("a message is accepted once");
            }
            Outcome::Rejected => self.known.get_mut(&settled.id).unwrap().rejected = true,
            Outcome::Requeued => {}
        }
    }

    fn release(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if client.outbox.release(std::mem::take(&mut client.held)) {
            self.broker.resume(&client.outbox);
        }
    }

    fn observe_got(&mut self, client: usize, queue: usize, got: Option<Got>) {
        self.observe();
        if let Some(got) = got {
            let id = self.check(queue, &got.message, got.redelivered);
            self.outstanding.push(Outstanding { client, queue, delivery: got.delivery, id });
        }
    }

    fn observe(&mut self) {
        for client in 0..CLIENTS {
            let (mut events, mut packets) = (Vec::new(), Vec::new());
            let from = &mut self.clients[client];
            from.held += from.outbox.fetch(Waker::noop(), &mut events, &mut packets);
            for event in events {
                self.on_event(client, event);
            }
        }
        for queue in [WORK, DEAD] {
            let ready = self.ready(queue);
            // What is put back into a queue that refuses stays, whatever the bound.
            let is_bounded = queue == WORK && !self.refuses;
            assert!(!is_bounded || ready <= LENGTH_MAX, "{ready} are ready");
        }
    }

    fn on_event(&mut self, client: usize, event: Event) {
        match event {
            Event::Delivery(delivery) => {
                let of = |known: &Consumer| known.client == client && known.id == delivery.consumer;
                let at = self.consumers.iter().position(of).expect("an attached consumer");
                let queue = self.consumers[at].queue;
                let id = self.check(queue, &delivery.message, delivery.redelivered);
                if queue == WORK && !delivery.redelivered {
                    let priority = self.known[&id].priority;
                    let before = self.consumers[at].last.insert(priority, id);
                    assert!(before < Some(id), "C-3: equals in order to each consumer");
                }
                let delivery = delivery.delivery;
                self.outstanding.push(Outstanding { client, queue, delivery, id });
            }
            Event::Confirmed { through, .. } => {
                let tickets = &mut self.clients[client].tickets;
                *tickets = tickets.split_off(&Ticket(through.0 + 1));
            }
            Event::Refused { ticket, .. } => {
                let id = self.clients[client].tickets.remove(&ticket).expect("refused once");
                self.known.remove(&id).expect("what is refused was not accepted");
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// What must hold for every delivery.
    fn check(&mut self, queue: usize, message: &Message, redelivered: bool) -> u64 {
        let id = u64::from_be_bytes(message.body().try_into().expect("eight octets"));
        let known = self.known.get(&id).expect("nothing is delivered after it was accepted");
        assert!(self.outstanding.iter().all(|other| other.id != id), "C-1: {id} is in one place");
        if redelivered {
            assert!(self.first.contains(&(queue, id)), "{id} was delivered before");
        } else {
            assert!(self.first.insert((queue, id)), "{id} comes again and does not say so");
        }
        if queue == WORK {
            assert!(known.expires_at >= self.now, "{id} had expired");
            assert!(!known.rejected, "{id} was rejected");
            assert!(!self.first.contains(&(DEAD, id)), "{id} was dead");
        } else {
            let Some(Value::Array(deaths)) = message.properties().headers.get("x-death") else {
                panic!("a dead letter has a history")
            };
            let [Value::Table(death)] = &deaths[..] else { panic!("it died once: {deaths:?}") };
            let reason = death.get("reason").and_then(Value::as_str).unwrap();
            assert_eq!(reason == "rejected", known.rejected, "{id} died of {reason}");
            assert!(reason != "expired" || known.expires_at <= self.now, "{id} had time left");
        }
        id
    }

    fn ready(&self, queue: usize) -> u64 {
        let name = NAMES[queue].into();
        let passive = DeclareQueue { name, passive: true, ..Default::default() };
        match self.ask(0, Request::DeclareQueue(passive)) {
            Ok(Response::Queue { messages, .. }) => messages,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Time passes, everything is read and accepted: then every message has ended.
    pub(crate) fn settle_down(&mut self) {
        self.apply(&Step::Consume { client: 0, queue: DEAD, prefetch: 3 });
        for _ in 0..2000 {
            for step in [Step::Pass { millis: TTL_MS }, Step::Sync, Step::AnswerReads] {
                self.apply(&step);
            }
            (0..CLIENTS).for_each(|client| self.apply(&Step::Release { client }));
            while !self.outstanding.is_empty() {
                self.apply(&Step::Settle { delivery: 0, outcome: Outcome::Accepted });
            }
            if self.known.is_empty() && self.ready(WORK) + self.ready(DEAD) == 0 {
                break;
            }
        }
        let lost: Vec<_> = self.known.keys().collect();
        assert!(lost.is_empty(), "nothing is lost: {lost:?}");
        assert_eq!(self.log.live(), 0, "the log keeps nothing that has ended");
        assert_eq!(self.spill.live(), 0, "nor does the second one");
    }
}

fn open(broker: &Arc<Broker>) -> Client {
    let outbox = broker.outbox();
    let principal = Principal::unrestricted("guest");
    let connection = broker.connect(&principal, "/", Protocol::Amqp, outbox.clone()).unwrap();
    let (session, tickets) = (connection.session(1), BTreeMap::new());
    Client { session, _connection: connection, outbox, held: 0, tickets }
}
