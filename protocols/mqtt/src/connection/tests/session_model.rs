//! Random lives of sessions against a model: clients connect, clean or not, subscribe and
//! unsubscribe, lose their connection at any octet either way, come back, are taken over, expire.
//!
//! What must hold whatever happens: what was published for a session at QoS 1 arrives at least once,
//! at QoS 2 exactly once, at QoS 0 at most once; first arrivals of one topic and QoS keep the order
//! in which they were published; DUP is set on what was sent before, and on nothing else; and
//! Session Present is what the model says.

use std::collections::{BTreeMap, BTreeSet};

use super::fuzz::Sequence;
use super::*;

const TOPICS: [&str; 3] = ["a", "a/b", "c"];
/// With the topics that each matches.
const FILTERS: [(&str, [bool; 3]); 4] = [
    ("#", [true; 3]),
    ("a/#", [true, true, false]),
    ("+", [true, false, true]),
    ("c", [false, false, true]),
];

/// How long a session of MQTT 5 is kept, in milliseconds; one of 3.1.1 outlives the play.
const KEPT_MS: u64 = 60_000;

/// What the model knows of one published message.
#[derive(Clone, Copy, Debug)]
struct Published {
    topic: usize,
    qos: u8,
}

/// What a session is owed.
#[derive(Clone, Copy, Debug)]
struct Owed {
    qos: u8,
    /// The subscription has not changed since: it must come, and at that QoS.
    is_sure: bool,
    count: u32,
}

#[derive(Debug, Default)]
struct Session {
    /// It outlives its connection.
    is_kept: bool,
    subscribed: Option<(usize, u8)>,
    owed: BTreeMap<u32, Owed>,
    /// QoS 2 messages between PUBLISH and PUBREL, by packet identifier.
    held: BTreeMap<u16, u32>,
    /// The latest first arrival, by topic and QoS.
    latest: BTreeMap<(usize, u8), u32>,
}

struct Subscriber<'w> {
    name: String,
    version: Version,
    client: Option<Client<'w, Connection>>,
    session: Option<Session>,
    /// Acknowledgements that the client has yet to send.
    todo: Vec<Vec<u8>>,
    /// Numbers from here on were published after it connected.
    connected_at: u32,
    /// Seen over this connection.
    seen: BTreeSet<u32>,
}

struct Play<'w> {
    world: &'w World,
    seed: u64,
    sequence: Sequence,
    published: Vec<Published>,
    subscribers: Vec<Subscriber<'w>>,
    publisher: Publisher<'w>,
    arrivals: usize,
    repeats: usize,
}

/// A client that publishes, and repeats what was not acknowledged.
struct Publisher<'w> {
    client: Option<Client<'w, Connection>>,
    /// Under way by packet identifier, oldest first: the packet, and whether PUBREC came.
    under_way: Vec<(u8, Vec<u8>, bool)>,
    /// Identifiers whose message the broker has.
    taken: BTreeSet<u8>,
    next_id: u8,
}

/// The packets that are whole, as first octet and body.
fn packets(mut read: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while let [first, length, rest @ ..] = read {
        assert!(*length < 128, "packets are short here");
        let Some((body, behind)) = rest.split_at_checked(usize::from(*length)) else { break };
        packets.push((*first, body.to_vec()));
        read = behind;
    }
    packets
}

fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    packet(first, &[&id.to_be_bytes()])
}

impl Subscriber<'_> {
    /// Takes what it read.
    fn take(&mut self, read: &[u8], published: &[Published], seed: u64) -> (usize, usize) {
        let (mut arrivals, mut repeats) = (0, 0);
        for (first, body) in packets(read) {
            match first >> 4 {
                3 => {
                    let is_new = self.on_publish(first, &body, published, seed);
                    arrivals += usize::from(is_new);
                    repeats += usize::from(first & 8 != 0);
                }
                6 => {
                    let id = u16::from_be_bytes([body[0], body[1]]);
                    let session = self.session.as_mut().unwrap();
                    session.held.remove(&id);
                    self.todo.push(acknowledgement(0x70, id));
                }
                _ => {}
            }
        }
        (arrivals, repeats)
    }

    /// Whether it is the first arrival.
    fn on_publish(&mut self, first: u8, body: &[u8], published: &[Published], seed: u64) -> bool {
        let number = u32::from_be_bytes(body[body.len() - 4..].try_into().unwrap());
        let (qos, dup) = (first >> 1 & 3, first & 8 != 0);
        let at = format!("seed {seed}: {} reads {number} at QoS {qos}, DUP {dup}", self.name);
        let Published { topic, qos: qos_published } = published[number as usize];
        let name = field(TOPICS[topic].as_bytes());
        assert!(body.starts_with(&name), "{at}: under its topic");
        assert!(!dup || number < self.connected_at, "{at}: never sent before");
        assert!(!dup || qos > 0, "{at}: QoS 0 is not repeated");
        let is_first_here = self.seen.insert(number);
        let session = self.session.as_mut().unwrap();
        let owed = session.owed.get_mut(&number).unwrap_or_else(|| panic!("{at}: not owed"));
        assert!(!owed.is_sure || owed.qos == qos, "{at}: owed at QoS {}", owed.qos);
        let id = (qos > 0).then(|| u16::from_be_bytes([body[name.len()], body[name.len() + 1]]));
        if let (2, Some(id)) = (qos, id) {
            self.todo.push(acknowledgement(0x50, id));
            if let Some(before) = session.held.insert(id, number) {
                assert_eq!(before, number, "{at}: under an identifier that is in use");
                assert!(dup && is_first_here, "{at}: a repeat over another connection");
                return false;
            }
        } else if let Some(id) = id {
            self.todo.push(acknowledgement(0x40, id));
        }
        owed.count += 1;
        if owed.count > 1 {
            assert!(qos < 2, "{at}: twice");
            // The publisher repeated it, or the broker did, and then says so.
            assert!(dup || qos_published == 1, "{at}: twice");
            return false;
        }
        let latest = session.latest.entry((topic, qos)).or_insert(number);
        assert!(*latest <= number, "{at}: behind {latest}");
        *latest = number;
        true
    }
}

impl<'w> Play<'w> {
    fn new(world: &'w World, seed: u64) -> Self {
        let subscriber = |(name, version): (&str, Version)| Subscriber {
            name: name.to_owned(),
            version,
            client: None,
            session: None,
            todo: Vec::new(),
            connected_at: 0,
            seen: BTreeSet::new(),
        };
        let names = [("s3", V4), ("s5", V5), ("t5", V5)];
        Self {
            world,
            seed,
            sequence: Sequence(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            published: Vec::new(),
            subscribers: names.map(subscriber).into(),
            publisher: Publisher {
                client: None,
                under_way: Vec::new(),
                taken: BTreeSet::new(),
                next_id: 0,
            },
            arrivals: 0,
            repeats: 0,
        }
    }

    fn take(&mut self, at: usize, read: &[u8]) {
        let (arrivals, repeats) = self.subscribers[at].take(read, &self.published, self.seed);
        self.arrivals += arrivals;
        self.repeats += repeats;
    }

    /// One subscriber says something and reads everything.
    fn say(&mut self, at: usize, sent: &[u8]) {
        let Some(client) = &mut self.subscribers[at].client else { return };
        let mut read = client.send(sent);
        self.world.step();
        read.extend(client.read());
        self.take(at, &read);
    }

    /// Connects, with whatever connection it has still there: that is a takeover.
    fn connect(&mut self, at: usize) {
        let (is_clean, is_kept) = (self.sequence.next(5) == 0, self.sequence.next(5) > 0);
        let window = u8::try_from(1 + self.sequence.next(4)).unwrap();
        let now = u32::try_from(self.published.len()).unwrap();
        let subscriber = &mut self.subscribers[at];
        // In 3.1.1 both are one flag.
        let is_clean = if subscriber.version.is_5() { is_clean } else { !is_kept };
        let expiry = if is_kept { b"\x11\0\0\0\x3C" } else { b"\x11\0\0\0\0" };
        let properties = [&b"\x21\0"[..], &[window], expiry].concat();
        let (level, flags) =
            (if subscriber.version.is_5() { 5 } else { 4 }, u8::from(is_clean) * 2);
        let sent = packet(
            0x10,
            &[
                b"\0\x04MQTT",
                &[level, flags, 0, 0],
                &block(subscriber.version, &properties),
                &field(subscriber.name.as_bytes()),
            ],
        );
        // Who is taken over without having had a kept session leaves nothing.
        let is_there = subscriber.session.as_ref().is_some_and(|session| session.is_kept);
        let old = subscriber.client.take();
        let mut client = dial(self.world);
        let read = client.send(&sent);
        drop(old);
        let is_present = is_there && !is_clean;
        assert_eq!((read[0], read[2], read[3]), (0x20, u8::from(is_present), 0), "present");
        if !is_present {
            subscriber.session = Some(Session::default());
        }
        subscriber.session.as_mut().unwrap().is_kept = is_kept;
        subscriber.client = Some(client);
        subscriber.todo.clear();
        subscriber.seen.clear();
        subscriber.connected_at = now;
        let connack = 2 + usize::from(read[1]);
        self.take(at, &read[connack..]);
    }

    /// Loses the connection: what the client sends is cut somewhere, and so is what it reads.
    fn lose(&mut self, at: usize) {
        let Some(mut client) = self.subscribers[at].client.take() else { return };
        let todo = std::mem::take(&mut self.subscribers[at].todo).concat();
        let cut = self.sequence.next(todo.len() + 1);
        let mut read = client.send(&todo[..cut]);
        read.extend(client.read());
        let cut = self.sequence.next(read.len() + 1);
        self.take(at, &read[..cut]);
        client.disconnect();
        let subscriber = &mut self.subscribers[at];
        subscriber.todo.clear();
        if !subscriber.session.as_ref().is_some_and(|session| session.is_kept) {
            subscriber.session = None;
        }
    }

    /// Subscribes to another filter, or to none.
    fn change(&mut self, at: usize) {
        if self.subscribers[at].client.is_none() {
            return;
        }
        let (filter, qos) = (self.sequence.next(FILTERS.len()), self.sequence.next(3));
        let version = self.subscribers[at].version;
        let before = self.subscribers[at].session.as_mut().unwrap().subscribed.take();
        if let Some((filter, _)) = before {
            self.say(at, &unsubscribe(version, 1, &[FILTERS[filter].0]));
        }
        let session = self.subscribers[at].session.as_mut().unwrap();
        for owed in session.owed.values_mut() {
            owed.is_sure = false;
        }
        if before.is_none() || self.sequence.next(3) > 0 {
            let qos = u8::try_from(qos).unwrap();
            let session = self.subscribers[at].session.as_mut().unwrap();
            session.subscribed = Some((filter, qos));
            self.say(at, &subscribe(version, 2, &[(FILTERS[filter].0, qos)], b""));
        }
    }

    /// Sends some of the acknowledgements that are due, in any order.
    fn acknowledge(&mut self, at: usize) {
        let count = self.sequence.next(4);
        for _ in 0..count {
            let todo = &mut self.subscribers[at].todo;
            if todo.is_empty() || self.subscribers[at].client.is_none() {
                return;
            }
            let place = self.sequence.next(self.subscribers[at].todo.len());
            let sent = self.subscribers[at].todo.remove(place);
            self.say(at, &sent);
        }
    }

    /// The broker has a message now that it had not before.
    fn note_published(&mut self, number: u32) {
        let Published { topic, qos } = self.published[number as usize];
        for subscriber in &mut self.subscribers {
            let is_here = subscriber.client.is_some();
            let Some(session) = &mut subscriber.session else { continue };
            let Some((filter, granted)) = session.subscribed else { continue };
            let qos = qos.min(granted);
            if FILTERS[filter].1[topic] && (is_here || qos > 0) {
                let owed = Owed { qos, is_sure: qos > 0, count: 0 };
                session.owed.entry(number).or_insert(owed);
            }
        }
    }

    /// Publishes, over a connection that may break inside the packet or before its answer is read.
    fn publish(&mut self) {
        let number = u32::try_from(self.published.len()).unwrap();
        let (topic, qos) = (self.sequence.next(TOPICS.len()), self.sequence.next(3));
        let qos = u8::try_from(qos).unwrap();
        self.published.push(Published { topic, qos });
        self.connect_publisher();
        let id = self.free_id();
        let flags = qos << 1;
        let sent = publish(V5, flags, TOPICS[topic], id, b"", &number.to_be_bytes());
        if qos > 0 {
            self.publisher.under_way.push((id, sent.clone(), false));
        }
        let is_cut = self.sequence.next(6) == 0;
        let cut = if is_cut { self.sequence.next(sent.len() + 1) } else { sent.len() };
        if cut == sent.len() {
            // Before it is sent: subscribers hear of it at once.
            self.note_published(number);
            self.publisher.taken.insert(id);
        }
        self.tell_broker(&sent[..cut], is_cut);
    }

    fn free_id(&mut self) -> u8 {
        loop {
            self.publisher.next_id = self.publisher.next_id % 200 + 1;
            let id = self.publisher.next_id;
            if self.publisher.under_way.iter().all(|(known, ..)| *known != id) {
                self.publisher.taken.remove(&id);
                return id;
            }
        }
    }

    /// Sends as the publisher, and takes the answers, or loses them with the connection.
    fn tell_broker(&mut self, sent: &[u8], is_lost: bool) {
        let Some(client) = &mut self.publisher.client else { return };
        let mut read = client.send(sent);
        self.world.step();
        read.extend(client.read());
        if is_lost {
            let cut = self.sequence.next(read.len() + 1);
            read.truncate(cut);
        }
        let mut answers = Vec::new();
        for (first, body) in packets(&read) {
            let id = body[1];
            match first >> 4 {
                4 | 7 => self.publisher.under_way.retain(|(known, ..)| *known != id),
                5 => {
                    for (known, packet, is_received) in &mut self.publisher.under_way {
                        if *known == id {
                            *is_received = true;
                            *packet = acknowledgement(0x62, id.into());
                        }
                    }
                    answers.push(acknowledgement(0x62, id.into()));
                }
                _ => {}
            }
        }
        if is_lost {
            if let Some(mut client) = self.publisher.client.take() {
                client.disconnect();
            }
        } else if !answers.is_empty() {
            self.tell_broker(&answers.concat(), false);
        }
    }

    /// Comes back, and repeats what was not acknowledged, in its order.
    fn connect_publisher(&mut self) {
        if self.publisher.client.is_some() {
            return;
        }
        let mut client = dial(self.world);
        let sent = packet(
            0x10,
            &[b"\0\x04MQTT\x05\0\0\0", &block(V5, b"\x11\xFF\xFF\xFF\xFE"), b"\0\x01p"],
        );
        let read = client.send(&sent);
        assert_eq!((read[0], read[3]), (0x20, 0));
        self.publisher.client = Some(client);
        for (id, mut sent, is_received) in self.publisher.under_way.clone() {
            if !is_received {
                sent[0] |= 8;
                // A repeat of QoS 1 may be another message to the broker.
                if self.publisher.taken.insert(id) || sent[0] & 6 == 2 {
                    let number = u32::from_be_bytes(sent[sent.len() - 4..].try_into().unwrap());
                    self.note_published(number);
                }
            }
            self.tell_broker(&sent, false);
        }
    }

    fn pass(&mut self) {
        if self.sequence.next(4) > 0 {
            return self.world.pass(1_000);
        }
        // Sessions of MQTT 5 that are away end.
        self.world.pass(KEPT_MS + 1_000);
        for subscriber in &mut self.subscribers {
            if subscriber.client.is_none() && subscriber.version.is_5() {
                subscriber.session = None;
            }
        }
    }

    /// Everybody comes back, and reads and acknowledges until nothing is left.
    fn finish(&mut self) {
        self.connect_publisher();
        for at in 0..self.subscribers.len() {
            if self.subscribers[at].client.is_none() {
                if self.subscribers[at].session.is_none() {
                    continue;
                }
                self.resume(at);
            }
            loop {
                self.say(at, b"");
                let todo = std::mem::take(&mut self.subscribers[at].todo).concat();
                if todo.is_empty() {
                    break;
                }
                self.say(at, &todo);
            }
            let (seed, subscriber) = (self.seed, &self.subscribers[at]);
            for (number, owed) in &subscriber.session.as_ref().unwrap().owed {
                let name = &subscriber.name;
                assert!(!owed.is_sure || owed.count > 0, "seed {seed}: {name} misses {number}");
            }
        }
    }

    /// Connects without a clean start, with a session that stays.
    fn resume(&mut self, at: usize) {
        let subscriber = &mut self.subscribers[at];
        let level = if subscriber.version.is_5() { 5 } else { 4 };
        let sent = packet(
            0x10,
            &[
                b"\0\x04MQTT",
                &[level, 0, 0, 0],
                &block(subscriber.version, b"\x11\0\0\0\x3C"),
                &field(subscriber.name.as_bytes()),
            ],
        );
        let mut client = dial(self.world);
        let read = client.send(&sent);
        assert_eq!((read[0], read[2], read[3]), (0x20, 1, 0), "present");
        subscriber.client = Some(client);
        subscriber.seen.clear();
        subscriber.connected_at = u32::try_from(self.published.len()).unwrap();
        let connack = 2 + usize::from(read[1]);
        self.take(at, &read[connack..]);
    }
}

/// First arrivals and repeats of one play.
fn play(seed: u64) -> (usize, usize) {
    let world = World::new();
    let mut play = Play::new(&world, seed);
    for _ in 0..150 {
        let at = play.sequence.next(play.subscribers.len());
        match play.sequence.next(12) {
            0 => play.connect(at),
            1 | 2 => play.lose(at),
            3 => play.change(at),
            4 | 5 => play.acknowledge(at),
            6 => play.pass(),
            7 => play.say(at, b""),
            _ => play.publish(),
        }
        if play.subscribers[at].client.is_none() && play.sequence.next(2) == 0 {
            play.connect(at);
        }
    }
    play.finish();
    (play.arrivals, play.repeats)
}

#[test]
fn sessions_keep_their_promises_whatever_happens_to_their_connections() {
    let plays = std::env::var("TRIVIUM_PLAYS").ok().and_then(|text| text.parse().ok());
    let (mut arrivals, mut repeats) = (0, 0);
    for seed in 1..=plays.unwrap_or(300) {
        let (more, again) = play(seed);
        arrivals += more;
        repeats += again;
    }
    assert!(arrivals > 3000, "the plays are worth watching: {arrivals}");
    assert!(repeats > 100, "something was repeated: {repeats}");
}
