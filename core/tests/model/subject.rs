//! The real broker and the naive one, side by side, and what must be the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use trivium_core::control::{
    Binding, Consume, DeclareExchange, DeclareQueue, Destination, Got, Origin,
};
use trivium_core::log::StepLog;
use trivium_core::{
    Answer, Body, Broker, Confirm, Connection, ConsumerId, Delivery, DeliveryId, Draft, Event,
    Instant, Limits, Outbox, Outcome, Principal, Properties, PropertyCodec, Protocol, Reply,
    Request, Response, Session, Table, Ticket, Worker,
};

use crate::Operation;
use crate::naive::{Item, NaiveQueue};

pub(crate) const CLIENTS: usize = 3;
pub(crate) const QUEUES: usize = 3;

/// An outbox holds three messages of the test's size before queues stop granting to it.
const OUTBOX_MESSAGES: usize = 3;

#[derive(Debug)]
pub(crate) struct NoProperties;

impl PropertyCodec for NoProperties {
    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn decode(&self, _: &[u8]) -> Properties {
        Properties::default()
    }
}

struct Client {
    /// Dropped before its connection.
    session: Session,
    _connection: Connection,
    outbox: Arc<Outbox>,
    /// Fetched and not yet released.
    held: usize,
    /// Tickets in the order of publishing, and whether each had to be logged.
    unconfirmed: Vec<(Ticket, bool)>,
    /// Which of them the log has made durable.
    durable: Ticket,
}

/// A consumer, where it is and what it may have.
struct Consumer {
    client: usize,
    queue: usize,
    id: ConsumerId,
    no_ack: bool,
    prefetch: u32,
}

/// A delivery that waits for its answer.
struct Outstanding {
    client: usize,
    queue: usize,
    /// Counts the lives of the queue: deliveries of a deleted queue may still be answered.
    life: u64,
    consumer: Option<ConsumerId>,
    delivery: DeliveryId,
    arrival: u64,
    item: Item,
}

pub(crate) struct Subject {
    broker: Arc<Broker>,
    log: Arc<StepLog>,
    spill: Arc<StepLog>,
    worker: Worker,
    clients: Vec<Client>,
    queues: Vec<NaiveQueue>,
    lives: Vec<u64>,
    consumers: Vec<Consumer>,
    outstanding: Vec<Outstanding>,
    next_id: u64,
    /// Logged messages by id, with how many queues hold them.
    logged: BTreeMap<u64, usize>,
}

const fn is_durable(queue: usize) -> bool {
    queue != 2
}

fn name(queue: usize) -> String {
    format!("q{queue}")
}

impl Subject {
    pub(crate) fn new() -> Self {
        let log = Arc::new(StepLog::default());
        let limits = Limits {
            window_messages_max: 4,
            outbox_bytes_max: OUTBOX_MESSAGES * 200,
            ..Limits::default()
        };
        let broker = Broker::new(log.clone(), limits, 7);
        let spill = Arc::new(StepLog::default());
        broker.spill_to(spill.clone());
        let clients = (0..CLIENTS).map(|_| open(&broker)).collect();
        let mut subject = Self {
            broker,
            log,
            spill,
            worker: Worker::default(),
            clients,
            queues: Vec::new(),
            lives: vec![0; QUEUES],
            consumers: Vec::new(),
            outstanding: Vec::new(),
            next_id: 0,
            logged: BTreeMap::new(),
        };
        let exchange =
            DeclareExchange { name: "all".into(), kind: "fanout".into(), ..Default::default() };
        subject.ask(0, Request::DeclareExchange(exchange)).unwrap();
        for queue in 0..QUEUES {
            subject.queues.push(NaiveQueue::default());
            subject.declare(queue);
        }
        subject
    }

    fn declare(&self, queue: usize) {
        let durable = is_durable(queue);
        let declare = DeclareQueue { name: name(queue), durable, ..Default::default() };
        self.ask(0, Request::DeclareQueue(declare)).unwrap();
        let binding = Binding {
            source: "all".into(),
            destination: Destination::Queue(name(queue)),
            key: String::new(),
            arguments: Table::default(),
        };
        self.ask(0, Request::Bind(binding)).unwrap();
    }

    fn ask(&self, client: usize, request: Request) -> Answer {
        let session = Some(self.clients[client].session.handle());
        let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
        let mut future = match self.broker.request(&origin, request) {
            Reply::Ready(answer) => return answer,
            Reply::Pending(future) => future,
        };
        for _ in 0..10 {
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

    pub(crate) fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Publish { client, queue, count, persistent, confirm } => {
                self.publish(client, queue, count, persistent, confirm);
            }
            Operation::Consume { client, queue, prefetch, no_ack } => {
                self.consume(client, queue, prefetch, no_ack);
            }
            Operation::Cancel { consumer } if !self.consumers.is_empty() => {
                let consumer = self.consumers.remove(consumer % self.consumers.len());
                let cancel = Request::Cancel { consumer: consumer.id };
                self.ask(consumer.client, cancel).unwrap();
            }
            Operation::Settle { delivery, outcome } if !self.outstanding.is_empty() => {
                let at = delivery % self.outstanding.len();
                let settled = self.outstanding.remove(at);
                self.settle(vec![settled], outcome);
            }
            Operation::SettleAll { client, outcome } => {
                let all = std::mem::take(&mut self.outstanding);
                let (its, others) = all.into_iter().partition(|known| known.client == client);
                self.outstanding = others;
                self.settle(its, outcome);
            }
            Operation::Get { client, queue, no_ack } => self.get(client, queue, no_ack),
            Operation::Release { client } => self.release(client),
            Operation::Limit { client, unsettled_max } => {
                let mut batch = self.broker.batch(&mut self.worker, Instant::START);
                batch.limit_session(&mut self.clients[client].session, unsettled_max);
                batch.end();
            }
            Operation::Sync => self.sync(),
            Operation::AnswerReads => {
                self.log.answer_reads();
                self.spill.answer_reads();
            }
            Operation::PageOut => self.broker.page_everything_out(),
            Operation::Purge { queue } => self.purge(queue),
            Operation::CloseSession { client } => self.close_session(client),
            Operation::DeleteQueue { queue } => self.delete_queue(queue),
            Operation::Cancel { .. } | Operation::Settle { .. } => {}
        }
        self.observe();
    }

    fn publish(
        &mut self,
        client: usize,
        queue: Option<usize>,
        count: usize,
        persistent: bool,
        confirm: bool,
    ) {
        let mut batch = self.broker.batch(&mut self.worker, Instant::START);
        let from = &mut self.clients[client];
        for _ in 0..count {
            let id = self.next_id;
            self.next_id += 1;
            let key = queue.map(name).unwrap_or_default();
            let draft = Draft {
                exchange: if queue.is_some() { "" } else { "all" },
                routing_key: &key,
                codec: &NoProperties,
                properties: &[],
                body: Body::Borrowed(&id.to_be_bytes()),
                persistent,
                mandatory: false,
                expires_at: None,
                priority: 0,
                retain: false,
            };
            let wanted = if confirm { Confirm::Wanted } else { Confirm::Unwanted };
            let published = batch.publish(&mut from.session, draft, wanted).unwrap();
            assert!(published.routed);
            let targets = queue.map_or(0..QUEUES, |queue| queue..queue + 1);
            let mut copies = 0;
            for target in targets {
                let logged = persistent && is_durable(target);
                copies += usize::from(logged);
                self.queues[target].push(id, logged);
            }
            if copies > 0 {
                self.logged.insert(id, copies);
            }
            if confirm {
                from.unconfirmed.push((published.ticket, copies > 0));
            }
        }
        batch.end();
    }

    fn consume(&mut self, client: usize, queue: usize, prefetch: u32, no_ack: bool) {
        let consume = Consume { queue: name(queue), prefetch, no_ack, ..Default::default() };
        let answer = self.ask(client, Request::Consume(consume)).unwrap();
        let Response::Consuming(id) = answer else { panic!("unexpected {answer:?}") };
        self.consumers.push(Consumer { client, queue, id, no_ack, prefetch });
        let early = self.fetch(client);
        assert!(early.is_empty(), "nothing is delivered before it is started: {early:?}");
        let mut batch = self.broker.batch(&mut self.worker, Instant::START);
        batch.start(&mut self.clients[client].session, id);
        batch.end();
    }

    fn settle(&mut self, settled: Vec<Outstanding>, outcome: Outcome) {
        let mut batch = self.broker.batch(&mut self.worker, Instant::START);
        for known in settled {
            let session = &mut self.clients[known.client].session;
            batch.settle(session, known.delivery, outcome);
            // The second answer does nothing.
            batch.settle(session, known.delivery, Outcome::Requeued);
            if self.lives[known.queue] != known.life {
                continue;
            }
            if outcome == Outcome::Requeued {
                self.queues[known.queue].put_back(known.arrival, known.item);
            } else {
                gone(&mut self.logged, known.item);
            }
        }
        batch.end();
    }

    fn get(&mut self, client: usize, queue: usize, no_ack: bool) {
        let answer = self.ask(client, Request::Get { queue: name(queue), no_ack }).unwrap();
        // Reading for it may have served consumers first.
        self.observe_but(match &answer {
            Response::Got(Some(got)) => Some((client, queue, no_ack, got)),
            Response::Got(None) => None,
            other => panic!("unexpected {other:?}"),
        });
        if matches!(answer, Response::Got(None)) {
            assert!(self.queues[queue].ready.is_empty(), "get finds what is ready");
        }
    }

    fn release(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if client.outbox.release(std::mem::take(&mut client.held)) {
            self.broker.resume(&client.outbox);
        }
    }

    fn sync(&mut self) {
        for client in &mut self.clients {
            client.durable = client.session.last_ticket();
        }
        self.log.sync();
    }

    fn purge(&mut self, queue: usize) {
        let answer = self.ask(0, Request::PurgeQueue { name: name(queue) }).unwrap();
        let Response::Count(count) = answer else { panic!("unexpected {answer:?}") };
        let purged = std::mem::take(&mut self.queues[queue].ready);
        assert_eq!(count, purged.len() as u64);
        for item in purged.into_values() {
            gone(&mut self.logged, item);
        }
        while self.broker.tick(Instant::START, 3) {}
    }

    fn close_session(&mut self, client: usize) {
        self.consumers.retain(|consumer| consumer.client != client);
        let all = std::mem::take(&mut self.outstanding);
        for known in all {
            if known.client != client {
                self.outstanding.push(known);
            } else if self.lives[known.queue] == known.life {
                self.queues[known.queue].put_back(known.arrival, known.item);
            }
        }
        // What the model put back is delivered to others while the old session ends.
        self.clients[client] = open(&self.broker);
    }

    fn delete_queue(&mut self, queue: usize) {
        let request = Request::DeleteQueue { name: name(queue), if_unused: false, if_empty: false };
        let answer = self.ask(0, request).unwrap();
        let Response::Count(count) = answer else { panic!("unexpected {answer:?}") };
        let ready = std::mem::take(&mut self.queues[queue].ready);
        assert_eq!(count, ready.len() as u64);
        for item in ready.into_values() {
            gone(&mut self.logged, item);
        }
        for known in &self.outstanding {
            if known.queue == queue && known.life == self.lives[queue] {
                gone(&mut self.logged, known.item);
            }
        }
        let cancelled: BTreeSet<(usize, ConsumerId)> = self
            .consumers
            .iter()
            .filter(|consumer| consumer.queue == queue)
            .map(|consumer| (consumer.client, consumer.id))
            .collect();
        self.consumers.retain(|consumer| consumer.queue != queue);
        self.lives[queue] += 1;
        let mut told = BTreeSet::new();
        let mut delivered: Vec<Vec<(usize, Delivery)>> = (0..QUEUES).map(|_| Vec::new()).collect();
        for client in 0..CLIENTS {
            for event in self.fetch(client) {
                match event {
                    Event::Cancelled { consumer, .. } => assert!(told.insert((client, consumer))),
                    // What was unsettled in it made room under a limit that all queues share.
                    Event::Delivery(delivery) => {
                        let from = self.queue_of(client, delivery.consumer);
                        delivered[from].push((client, delivery));
                    }
                    other => panic!("a deleted queue cancels and makes room: {other:?}"),
                }
            }
        }
        assert_eq!(told, cancelled, "every consumer of a deleted queue is told");
        for (from, delivered) in delivered.into_iter().enumerate() {
            self.check_delivered(from, delivered, None);
        }
        self.declare(queue);
    }

    fn fetch(&mut self, client: usize) -> Vec<Event> {
        let client = &mut self.clients[client];
        let (mut events, mut packets) = (Vec::new(), Vec::new());
        client.held += client.outbox.fetch(Waker::noop(), &mut events, &mut packets);
        assert!(packets.is_empty());
        events
    }

    fn observe(&mut self) {
        self.observe_but(None);
    }

    /// Fetches every outbox and checks what came against the model. `got` was taken beside.
    fn observe_but(&mut self, got: Option<(usize, usize, bool, &Got)>) {
        let mut delivered: Vec<Vec<(usize, Delivery)>> = (0..QUEUES).map(|_| Vec::new()).collect();
        for client in 0..CLIENTS {
            for event in self.fetch(client) {
                match event {
                    Event::Delivery(delivery) => {
                        let queue = self.queue_of(client, delivery.consumer);
                        delivered[queue].push((client, delivery));
                    }
                    Event::Confirmed { through, .. } => self.confirmed(client, through),
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
        for (queue, delivered) in delivered.into_iter().enumerate() {
            let got = got.filter(|got| got.1 == queue);
            self.check_delivered(queue, delivered, got);
        }
        self.check_counts();
    }

    fn queue_of(&self, client: usize, consumer: ConsumerId) -> usize {
        let known = self.consumers.iter().find(|c| c.client == client && c.id == consumer);
        known.expect("only attached consumers get deliveries").queue
    }

    /// What was delivered in one operation is what stood at the front, each once, and in order
    /// for each consumer.
    fn check_delivered(
        &mut self,
        queue: usize,
        delivered: Vec<(usize, Delivery)>,
        got: Option<(usize, usize, bool, &Got)>,
    ) {
        let count = delivered.len() + usize::from(got.is_some());
        let taken = self.queues[queue].take(count);
        assert_eq!(taken.len(), count, "nothing is made up");
        let by_id: BTreeMap<u64, (u64, Item)> =
            taken.into_iter().map(|(arrival, item)| (item.id, (arrival, item))).collect();
        let mut last = BTreeMap::new();
        for (client, delivery) in delivered {
            let id = id_of(delivery.message.body());
            let (arrival, item) = *by_id.get(&id).expect("the oldest are delivered first");
            assert_eq!(delivery.redelivered, item.delivered_before, "redelivered of {id}");
            let before = last.insert((client, delivery.consumer), arrival);
            assert!(before < Some(arrival), "C-3: in order to each consumer");
            let consumer = self
                .consumers
                .iter()
                .find(|c| c.client == client && c.id == delivery.consumer)
                .expect("only attached consumers get deliveries");
            if consumer.no_ack {
                gone(&mut self.logged, item);
                continue;
            }
            let consumer = Some(delivery.consumer);
            let (delivery, life) = (delivery.delivery, self.lives[queue]);
            let known = Outstanding { client, queue, life, consumer, delivery, arrival, item };
            self.outstanding.push(known);
        }
        if let Some((client, _, no_ack, got)) = got {
            let (arrival, item) =
                *by_id.get(&id_of(got.message.body())).expect("get takes what is at the front");
            assert_eq!(got.redelivered, item.delivered_before);
            if no_ack {
                return gone(&mut self.logged, item);
            }
            let (delivery, life, consumer) = (got.delivery, self.lives[queue], None);
            let known = Outstanding { client, queue, life, consumer, delivery, arrival, item };
            self.outstanding.push(known);
        }
    }

    /// C-2: confirms come in order, and for logged messages not before the log is durable.
    fn confirmed(&mut self, client: usize, through: Ticket) {
        let client = &mut self.clients[client];
        let last = client.unconfirmed.last().map(|(ticket, _)| *ticket);
        assert!(Some(through) <= last, "what was not published is not confirmed");
        let durable = client.durable;
        client.unconfirmed.retain(|(ticket, logged)| {
            let is_confirmed = *ticket <= through;
            assert!(!is_confirmed || !logged || *ticket <= durable, "a confirm waits for the log");
            !is_confirmed
        });
    }

    fn check_counts(&self) {
        for queue in 0..QUEUES {
            let passive = DeclareQueue { name: name(queue), passive: true, ..Default::default() };
            let answer = self.ask(0, Request::DeclareQueue(passive)).unwrap();
            let Response::Queue { messages, consumers, .. } = answer else {
                panic!("unexpected {answer:?}")
            };
            let attached = self.consumers.iter().filter(|c| c.queue == queue).count();
            assert_eq!(messages, self.queues[queue].ready.len() as u64, "ready in {queue}");
            assert_eq!(consumers, attached as u64, "consumers of {queue}");
        }
        assert_eq!(self.log.live(), self.logged.len(), "the log keeps what a queue holds");
        for consumer in &self.consumers {
            let its = self.outstanding.iter().filter(|known| {
                known.client == consumer.client && known.consumer == Some(consumer.id)
            });
            assert!(consumer.prefetch == 0 || its.count() <= consumer.prefetch as usize);
        }
    }

    /// Once everything is durable, read, written and settled, nothing may be left that somebody
    /// could take, and no confirm may be owed.
    pub(crate) fn settle_down(&mut self) {
        for client in 0..CLIENTS {
            self.apply(&Operation::Limit { client, unsettled_max: 0 });
        }
        for _ in 0..10_000 {
            self.apply(&Operation::Sync);
            self.apply(&Operation::AnswerReads);
            for client in 0..CLIENTS {
                self.apply(&Operation::Release { client });
                self.apply(&Operation::SettleAll { client, outcome: Outcome::Accepted });
            }
            let waits = self.consumers.iter().any(|c| !self.queues[c.queue].ready.is_empty());
            if !waits && self.outstanding.is_empty() {
                break;
            }
        }
        for consumer in &self.consumers {
            assert!(self.queues[consumer.queue].ready.is_empty(), "a consumer gets what is ready");
        }
        for client in &self.clients {
            assert!(client.unconfirmed.is_empty(), "every publish is confirmed in the end");
        }
        (0..QUEUES).for_each(|queue| self.purge(queue));
        assert_eq!(self.spill.live(), 0, "the second log keeps nothing that has ended");
    }
}

fn open(broker: &Arc<Broker>) -> Client {
    let outbox = broker.outbox();
    let principal = Principal::unrestricted("guest");
    let connection = broker.connect(&principal, "/", Protocol::Amqp, outbox.clone()).unwrap();
    Client {
        session: connection.session(1),
        _connection: connection,
        outbox,
        held: 0,
        unconfirmed: Vec::new(),
        durable: Ticket(0),
    }
}

fn id_of(body: &[u8]) -> u64 {
    u64::from_be_bytes(body.try_into().expect("eight octets"))
}

/// A queue holds this message no longer.
fn gone(logged: &mut BTreeMap<u64, usize>, item: Item) {
    if !item.logged {
        return;
    }
    let copies = logged.get_mut(&item.id).expect("a logged message is live");
    *copies -= 1;
    if *copies == 0 {
        logged.remove(&item.id);
    }
}
