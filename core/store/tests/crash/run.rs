//! One seed: a few runs of the log on one disk, with a crash between any two.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use trivium_core::log::{
    Attempted, Codecs, InSession, Log, LogEvents, Note, Position, Publish, Settled,
};
use trivium_core::testing::OpaqueCodec;
use trivium_core::{Body, Draft, Message, Protocol, PublisherId, QueueId};
use trivium_store::disk::{Disk, Faults, SimulatedDisk};
use trivium_store::{DiskLog, Options, Step};

use crate::model::{Appended, Contents, contents};

/// What a test came across, so that it can say that it tested something.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) crashes: u64,
    pub(crate) lost_records: u64,
    pub(crate) old_segments: u64,
    pub(crate) transactions: u64,
    pub(crate) failed_opens: u64,
    pub(crate) read: u64,
}

/// Keeps what reads found.
#[derive(Default)]
pub(crate) struct Listener {
    pub(crate) read: Mutex<BTreeMap<(QueueId, u64), Vec<u8>>>,
}

impl LogEvents for Listener {
    fn durable(&self, _: u64) {}

    fn read_done(&self, queue: QueueId, messages: Vec<(Position, Message)>) {
        let mut read = self.read.lock().unwrap();
        for (position, message) in messages {
            read.insert((queue, position.get()), message.body().to_vec());
        }
    }

    fn caught_up(&self) {}

    fn full(&self, _: bool) {}

    fn fenced(&self) {}
}

pub(crate) fn codecs() -> Codecs {
    const AMQP: OpaqueCodec = OpaqueCodec(Protocol::Amqp);
    const MQTT: OpaqueCodec = OpaqueCodec(Protocol::Mqtt);
    const STOMP: OpaqueCodec = OpaqueCodec(Protocol::Stomp);
    Codecs::new([&AMQP, &MQTT, &STOMP], 0)
}

pub(crate) fn message(body: &[u8]) -> Message {
    const CODEC: OpaqueCodec = OpaqueCodec(Protocol::Amqp);
    let draft = Draft {
        expires_at: None,
        priority: 0,
        exchange: "",
        routing_key: "q",
        codec: &CODEC,
        properties: &[],
        body: Body::Borrowed(body),
        persistent: true,
        mandatory: false,
        retain: false,
    };
    Message::new(draft, PublisherId(1), &mut Vec::new())
}

pub(crate) fn on(disk: &SimulatedDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

pub(crate) fn small_segments() -> Options {
    Options { segment_bytes: 4096, ..Options::default() }
}

/// Reads all messages of `contents` back.
pub(crate) fn read_all(log: &DiskLog, contents: &Contents) -> BTreeMap<(QueueId, u64), Vec<u8>> {
    let listener = Arc::new(Listener::default());
    let events: Arc<dyn LogEvents> = listener.clone();
    log.attach(Arc::downgrade(&events));
    for (queue, position) in contents.messages.keys() {
        log.read(*queue, vec![Position((*position).try_into().unwrap())]);
    }
    log.answer_reads().unwrap();
    std::mem::take(&mut listener.read.lock().unwrap())
}

/// The state of one seed.
pub(crate) struct Run {
    seed: u64,
    random: ChaCha8Rng,
    disk: SimulatedDisk,
    /// Durable for certain.
    durable: Contents,
    /// Appended since, in order.
    pending: VecDeque<Appended>,
    /// In the queues of the broker that runs.
    now: Contents,
    bodies: BTreeMap<u64, Vec<u8>>,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            random: ChaCha8Rng::seed_from_u64(seed),
            disk: SimulatedDisk::new(),
            durable: Contents::default(),
            pending: VecDeque::new(),
            now: Contents::default(),
            bodies: BTreeMap::new(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        u64::from(self.random.next_u32()) % bound
    }

    pub(crate) fn generations(&mut self, count: usize, seen: &mut Seen) {
        for _ in 0..count {
            if self.below(4) == 0 {
                // A start that is cut short must change nothing.
                let left = self.below(12);
                self.disk.set_faults(Faults { operations_left: Some(left), space_bytes: None });
                let opened = self.open();
                seen.failed_opens += u64::from(opened.is_none());
                self.crash(seen);
                if let Some((_, found)) = opened {
                    self.check(&found, seen);
                }
            }
            self.disk.set_faults(Faults::default());
            let (log, found) = self.open().expect("a start without faults");
            self.check(&found, seen);
            self.check_bodies(&log, seen);
            let left = self.below(120);
            self.disk.set_faults(Faults { operations_left: Some(left), space_bytes: None });
            self.work(&log, seen);
            let names = self.disk.list().unwrap();
            seen.old_segments += u64::from(names.iter().any(|name| name.contains(".old")));
            self.crash(seen);
        }
    }

    /// The disk as it is now.
    pub(crate) fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    fn open(&self) -> Option<(Arc<DiskLog>, Contents)> {
        let opened = DiskLog::open(&on(&self.disk), small_segments(), codecs(), false);
        match opened {
            Ok((log, opened)) => Some((log, contents(&opened.recovered))),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("simulated"), "seed {}: {error}", self.seed);
                None
            }
        }
    }

    /// What was found is what some prefix makes; the next run goes on from there.
    fn check(&mut self, found: &Contents, seen: &mut Seen) {
        let mut candidate = self.durable.clone();
        while candidate != *found {
            let Some(next) = self.pending.pop_front() else {
                panic!(
                    "seed {}: no prefix makes what was found\nfound {found:?}\ndurable {:?}\nall \
                     {candidate:?}",
                    self.seed, self.durable
                );
            };
            seen.transactions += u64::from(matches!(next, Appended::Transaction(_)));
            next.apply(&mut candidate);
        }
        seen.lost_records += u64::from(!self.pending.is_empty());
        self.pending.clear();
        self.durable.clone_from(&candidate);
        self.now = candidate;
    }

    fn check_bodies(&self, log: &Arc<DiskLog>, seen: &mut Seen) {
        let read = read_all(log, &self.now);
        for (queue, position) in self.now.messages.keys() {
            let body = read.get(&(*queue, *position));
            let expected = &self.bodies[position];
            assert_eq!(body, Some(expected), "seed {}: {queue:?} {position}", self.seed);
            seen.read += 1;
        }
    }

    fn work(&mut self, log: &DiskLog, seen: &mut Seen) {
        let steps = 20 + self.below(60);
        for _ in 0..steps {
            match self.below(11) {
                0..=3 => self.publish(log),
                4..=6 => self.settle(log),
                7 => self.requeue(log),
                8 => self.transact(log),
                9 => self.note(log),
                _ => {}
            }
            if self.below(3) == 0 {
                continue;
            }
            let flush = self.below(3) == 0;
            let had_publish = self.pending.iter().any(|appended| {
                matches!(appended, Appended::Publish { .. } | Appended::Transaction(_))
            });
            match log.step(flush) {
                Ok(Step::WaitsForSpace) => panic!("there is space"),
                Ok(_) if flush || had_publish => {
                    for appended in self.pending.drain(..) {
                        let is_transaction = matches!(appended, Appended::Transaction(_));
                        seen.transactions += u64::from(is_transaction);
                        appended.apply(&mut self.durable);
                    }
                    let last = self.now.messages.keys().map(|(_, position)| *position).max();
                    assert!(log.durable() >= last.unwrap_or(0), "S-1: seed {}", self.seed);
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn publish(&mut self, log: &DiskLog) {
        let bodies = self.new_bodies();
        let messages: Vec<_> = bodies.iter().map(|body| message(body)).collect();
        let queues: Vec<Vec<QueueId>> = bodies.iter().map(|_| self.some_queues()).collect();
        let received: Vec<Option<(QueueId, u16)>> =
            bodies.iter().map(|_| (self.below(3) == 0).then(|| self.some_packet())).collect();
        let publishes: Vec<_> = messages
            .iter()
            .zip(&queues)
            .zip(&received)
            .map(|((message, queues), received)| Publish { message, queues, received: *received })
            .collect();
        let first = log.append(&publishes).get();
        let parts = bodies.into_iter().zip(queues).zip(received);
        for (position, ((body, queues), received)) in (first..).zip(parts) {
            self.bodies.insert(position, body);
            self.append(Appended::Publish { position, queues, received });
        }
    }

    fn new_bodies(&mut self) -> Vec<Vec<u8>> {
        let count = 1 + self.below(4);
        let mut bodies = Vec::new();
        for _ in 0..count {
            let longest = if self.below(20) == 0 { 6000 } else { 300 };
            let mut body = vec![0; usize::try_from(self.below(longest)).unwrap()];
            self.random.fill_bytes(&mut body);
            bodies.push(body);
        }
        bodies
    }

    fn some_queues(&mut self) -> Vec<QueueId> {
        match self.below(8) {
            // Many enough to be named by number.
            0 => (1..=40).map(QueueId).collect(),
            1 => vec![QueueId(1), QueueId(2)],
            // One queue that is settled rarely, so that it pins segments.
            2 => vec![QueueId(99)],
            _ => vec![QueueId(1 + self.below(4))],
        }
    }

    fn some_live(&mut self) -> Option<(QueueId, u64)> {
        if self.now.messages.is_empty() {
            return None;
        }
        let at = usize::try_from(self.below(self.now.messages.len() as u64)).unwrap();
        let key = *self.now.messages.keys().nth(at)?;
        (key.0 != QueueId(99) || self.below(20) == 0).then_some(key)
    }

    fn settle(&mut self, log: &DiskLog) {
        let mut runs: Vec<Settled> = Vec::new();
        for _ in 0..=self.below(20) {
            let Some((queue, position)) = self.some_live() else { continue };
            let first = Position(position.try_into().unwrap());
            let run = Settled { queue, first, count: 1 };
            if runs.contains(&run) {
                continue;
            }
            runs.push(run);
        }
        if !runs.is_empty() {
            log.release(&runs);
            self.append(Appended::Settle(runs));
        }
    }

    fn requeue(&mut self, log: &DiskLog) {
        let Some((queue, position)) = self.some_live() else { return };
        let attempts = 1 + u16::try_from(self.below(5)).unwrap();
        let position = Position(position.try_into().unwrap());
        let attempted = Attempted { queue, position, attempts };
        log.requeue(&[attempted]);
        self.append(Appended::Requeue(attempted));
    }

    /// A session, some of which are queues that messages go to, and one of few packet identifiers.
    fn some_packet(&mut self) -> (QueueId, u16) {
        let packet_id = u16::try_from(1 + self.below(4)).unwrap();
        (QueueId(3 + self.below(4)), packet_id)
    }

    fn note(&mut self, log: &DiskLog) {
        let (session, packet_id) = self.some_packet();
        let released = self.below(2) == 0;
        let qos = if released { 2 } else { u8::try_from(1 + self.below(2)).unwrap() };
        let sent = self.some_live().map(|(session, position)| {
            let position = Position(position.try_into().unwrap());
            let what = InSession::Sent { position, label: packet_id, qos, released };
            Note { session, what }
        });
        let note = match (self.below(8), sent) {
            (0..=3, Some(sent)) => sent,
            (0..=5, _) => Note { session, what: InSession::Released(packet_id) },
            (6, _) => Note { session, what: InSession::Received(packet_id) },
            _ => Note { session, what: InSession::Ended },
        };
        log.note(&[note], self.below(2) == 0);
        self.append(Appended::Note(note));
    }

    fn transact(&mut self, log: &DiskLog) {
        let bodies = self.new_bodies();
        let messages: Vec<_> = bodies.iter().map(|body| message(body)).collect();
        let queues = self.some_queues();
        let publishes: Vec<_> = messages
            .iter()
            .map(|message| Publish { message, queues: &queues, received: None })
            .collect();
        let settled: Vec<Settled> = self
            .some_live()
            .map(|(queue, position)| Settled {
                queue,
                first: Position(position.try_into().unwrap()),
                count: 1,
            })
            .into_iter()
            .collect();
        let first = log.append_atomic(&publishes, &settled).get();
        let mut parts = Vec::new();
        for (position, body) in (first..).zip(bodies) {
            self.bodies.insert(position, body);
            parts.push(Appended::Publish { position, queues: queues.clone(), received: None });
        }
        parts.push(Appended::Settle(settled));
        self.append(Appended::Transaction(parts));
    }

    fn append(&mut self, appended: Appended) {
        appended.apply(&mut self.now);
        self.pending.push_back(appended);
    }

    fn crash(&mut self, seen: &mut Seen) {
        seen.crashes += 1;
        let kept_of_ten = self.below(11);
        let random = &mut self.random;
        self.disk = self.disk.crash(|| u64::from(random.next_u32()) % 10 < kept_of_ten);
    }
}
