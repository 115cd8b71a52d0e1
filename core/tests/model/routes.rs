//! Random topologies of exchanges of every type against a naive matcher, which asks each binding on
//! the way by itself: bindings of queues and of exchanges, in circles, too, that come and go;
//! alternate exchanges; messages with further keys (CC and BCC) and headers.
//!
//! An exchange that gives each message to one of its bindings may choose any; the matcher lists
//! what can come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use proptest::prelude::*;
use trivium_core::control::{Binding, DeclareExchange, DeclareQueue, Destination, Origin};
use trivium_core::{
    Answer, Body, Broker, Confirm, Connection, Draft, Instant, Limits, Principal, Properties,
    PropertyCodec, Protocol, Reply, Request, Response, Session, Table, Value, Worker,
};

/// The queues, whose names are keys, too.
const QUEUES: [&str; 4] = ["a", "b", "c", "a.b"];

const KEYS: [&str; 7] = ["a", "b", "c", "a.b", "b.a.c", "a..b", ""];

const PATTERNS: [&str; 10] = ["#", "*", "a", "a.*", "*.b", "a.#", "#.b", "#.a.#", "*.*.*", ""];

/// How many messages an `x-recent-history` exchange keeps.
const RECENT: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Direct,
    Fanout,
    Topic,
    Headers,
    Hash,
    Random,
    Recent,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Direct,
        Self::Fanout,
        Self::Topic,
        Self::Headers,
        Self::Hash,
        Self::Random,
        Self::Recent,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::Hash => "x-consistent-hash",
            Self::Random => "x-random",
            Self::Recent => "x-recent-history",
        }
    }
}

/// An exchange; its name is its number.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    kind: Kind,
    alternate: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Queue(usize),
    Exchange(usize),
}

/// A binding. Which of its keys and criteria count its source's kind says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bound {
    source: usize,
    target: Target,
    key: usize,
    /// Index into [`MATCHES`].
    how: usize,
    /// Which of [`CRITERIA`].
    criteria: [bool; CRITERIA.len()],
}

const MATCHES: [Option<&str>; 5] =
    [None, Some("all"), Some("any"), Some("all-with-x"), Some("any-with-x")];

/// Name and value; none asks only whether there is such a header.
const CRITERIA: [(&str, Option<i64>); 4] =
    [("h", Some(1)), ("g", Some(2)), ("x-h", Some(1)), ("i", None)];

/// What a message may say.
const HEADERS: [(&str, i64); 5] = [("h", 1), ("h", 2), ("g", 2), ("x-h", 1), ("i", 0)];

#[derive(Clone, Debug)]
struct Published {
    /// Above all exchanges: the default exchange.
    exchange: usize,
    key: usize,
    more_keys: Vec<usize>,
    headers: [bool; HEADERS.len()],
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Bind(usize),
    Unbind(usize),
    Publish(usize),
}

/// Everything that there is to a run.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    exchanges: Vec<Exchange>,
    bindings: Vec<Bound>,
    messages: Vec<Published>,
    pub(crate) steps: Vec<Step>,
}

pub(crate) fn topology() -> impl Strategy<Value = Topology> {
    let exchange = (0..Kind::ALL.len(), proptest::option::weighted(0.3, 0..5usize))
        .prop_map(|(kind, alternate)| Exchange { kind: Kind::ALL[kind], alternate });
    let target = prop_oneof![
        2 => (0..QUEUES.len()).prop_map(Target::Queue),
        1 => (0..5usize).prop_map(Target::Exchange),
    ];
    let bound = (0..5usize, target, 0..70usize, 0..MATCHES.len(), any::<[bool; 4]>()).prop_map(
        |(source, target, key, how, criteria)| Bound { source, target, key, how, criteria },
    );
    let more = proptest::collection::vec(0..KEYS.len(), 0..3);
    let message = (0..6usize, 0..KEYS.len(), more, any::<[bool; 5]>()).prop_map(
        |(exchange, key, more_keys, headers)| Published { exchange, key, more_keys, headers },
    );
    let step = prop_oneof![
        3 => any::<usize>().prop_map(Step::Bind),
        1 => any::<usize>().prop_map(Step::Unbind),
        4 => any::<usize>().prop_map(Step::Publish),
    ];
    (
        proptest::collection::vec(exchange, 1..5),
        proptest::collection::vec(bound, 1..14),
        proptest::collection::vec(message, 1..8),
        proptest::collection::vec(step, 1..50),
    )
        .prop_map(|(exchanges, mut bindings, messages, steps)| {
            let count = exchanges.len();
            for bound in &mut bindings {
                bound.source %= count;
                bound.key %= match exchanges[bound.source].kind {
                    Kind::Topic => PATTERNS.len(),
                    Kind::Hash => 3,
                    _ => KEYS.len(),
                };
                if let Target::Exchange(number) = &mut bound.target {
                    *number %= count;
                }
            }
            Topology { exchanges, bindings, messages, steps }
        })
}

/// Headers as `name=value` lines.
#[derive(Debug)]
struct Lines;

impl PropertyCodec for Lines {
    fn protocol(&self) -> Protocol {
        Protocol::Amqp
    }

    fn decode(&self, wire: &[u8]) -> Properties {
        let text = String::from_utf8_lossy(wire);
        let header = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), Value::Int(value.parse().ok()?, 4)))
        };
        let headers = Table(text.lines().filter_map(header).collect());
        Properties { headers, ..Properties::default() }
    }
}

/// What can become of a message: which queues get it, which histories keep it.
type Fate = (BTreeSet<usize>, BTreeSet<usize>);

/// Where a naive walk is.
#[derive(Clone, Default)]
struct Walk {
    visited: BTreeSet<usize>,
    pending: Vec<usize>,
    queues: BTreeSet<usize>,
    histories: BTreeSet<usize>,
}

impl Walk {
    fn visit(&mut self, exchange: usize) {
        if self.visited.insert(exchange) {
            self.pending.push(exchange);
        }
    }

    fn enter(&mut self, target: Target) {
        match target {
            Target::Queue(queue) => drop(self.queues.insert(queue)),
            Target::Exchange(exchange) => self.visit(exchange),
        }
    }
}

pub(crate) struct Routes {
    topology: Topology,
    bound: BTreeSet<Bound>,
    /// The last bodies that each exchange kept, if it keeps any.
    kept: BTreeMap<usize, Vec<u64>>,
    /// Exchanges of which nobody knows what they kept, because another one chose.
    unknown: BTreeSet<usize>,
    broker: Arc<Broker>,
    session: Session,
    _connection: Connection,
    worker: Worker,
    next_body: u64,
}

impl Routes {
    pub(crate) fn new(topology: Topology) -> Self {
        let broker = Broker::ephemeral(Limits::default(), 3);
        let guest = Principal::unrestricted("guest");
        let connection = broker.connect(&guest, "/", Protocol::Amqp, broker.outbox()).unwrap();
        let session = connection.session(1);
        let routes = Self {
            topology,
            bound: BTreeSet::new(),
            kept: BTreeMap::new(),
            unknown: BTreeSet::new(),
            broker,
            session,
            _connection: connection,
            worker: Worker::default(),
            next_body: 0,
        };
        for queue in QUEUES {
            routes.declare_queue(queue);
        }
        for (number, exchange) in routes.topology.exchanges.iter().enumerate() {
            let mut arguments = Vec::new();
            if let Some(alternate) = exchange.alternate {
                // Some are missing.
                let name = Value::text(alternate.to_string());
                arguments.push(("alternate-exchange".to_owned(), name));
            }
            if exchange.kind == Kind::Recent {
                let length = Value::Uint(RECENT as u64, 4);
                arguments.push(("x-recent-history-length".to_owned(), length));
            }
            routes.ask(Request::DeclareExchange(DeclareExchange {
                name: number.to_string(),
                kind: exchange.kind.name().into(),
                arguments: Table(arguments),
                ..Default::default()
            }));
        }
        routes
    }

    fn ask(&self, request: Request) -> Response {
        let session = Some(self.session.handle());
        let origin = Origin { session, principal: None, protocol: Protocol::Amqp };
        let answer: Answer = match self.broker.request(&origin, request) {
            Reply::Ready(answer) => answer,
            Reply::Pending(_) => panic!("nothing is paged here"),
        };
        answer.unwrap()
    }

    fn declare_queue(&self, name: &str) {
        self.ask(Request::DeclareQueue(DeclareQueue { name: name.into(), ..Default::default() }));
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        let (bindings, messages) = (&self.topology.bindings, &self.topology.messages);
        match step {
            Step::Bind(index) => {
                let bound = bindings[index % bindings.len()].clone();
                self.ask(Request::Bind(self.binding(&bound)));
                let source = bound.source;
                let is_new = self.bound.insert(bound.clone());
                if let Target::Queue(queue) = bound.target {
                    let recent = self.drain(QUEUES[queue]);
                    let kept = self.kept.get(&source).filter(|_| is_new);
                    let expected = kept.map(Vec::as_slice).unwrap_or_default();
                    let is_known = !self.unknown.contains(&source);
                    assert!(
                        !is_known || recent == expected,
                        "{recent:?} is recent, not {expected:?}"
                    );
                }
            }
            Step::Unbind(index) => {
                let bound = bindings[index % bindings.len()].clone();
                self.ask(Request::Unbind(self.binding(&bound)));
                self.bound.remove(&bound);
            }
            Step::Publish(index) => self.publish(&messages[index % messages.len()].clone()),
        }
    }

    fn kind(&self, bound: &Bound) -> Kind {
        self.topology.exchanges[bound.source].kind
    }

    /// The key as it counts for the source.
    fn key(&self, bound: &Bound) -> String {
        match self.kind(bound) {
            Kind::Topic => PATTERNS[bound.key].to_owned(),
            Kind::Hash => (bound.key + 1).to_string(),
            _ => KEYS[bound.key].to_owned(),
        }
    }

    fn binding(&self, bound: &Bound) -> Binding {
        let mut arguments = Vec::new();
        if let Some(how) = MATCHES[bound.how] {
            arguments.push(("x-match".to_owned(), Value::text(how)));
        }
        for ((name, value), _) in CRITERIA.iter().zip(bound.criteria).filter(|(_, is_in)| *is_in) {
            // Widths do not count.
            let value = value.map_or(Value::Void, |value| Value::Int(value, 8));
            arguments.push(((*name).to_owned(), value));
        }
        Binding {
            source: bound.source.to_string(),
            destination: match bound.target {
                Target::Queue(queue) => Destination::Queue(QUEUES[queue].into()),
                Target::Exchange(exchange) => Destination::Exchange(exchange.to_string()),
            },
            key: self.key(bound),
            arguments: Table(arguments),
        }
    }

    /// Publishes twice: a consistent hash chooses the same binding both times.
    fn publish(&mut self, message: &Published) {
        let fates = self.fates(message);
        let first = self.publish_once(message);
        let second = self.publish_once(message);
        let queues: Vec<_> = fates.iter().map(|(queues, _)| queues).collect();
        assert!(queues.contains(&&first), "{message:?} went to {first:?}, not one of {queues:?}");
        assert!(queues.contains(&&second), "{message:?} went to {second:?}, not one of {queues:?}");
        let is_random = self.topology.exchanges.iter().any(|known| known.kind == Kind::Random);
        assert!(is_random || first == second, "{message:?} went to {first:?}, then to {second:?}");
        self.note_kept(&fates);
    }

    /// What is kept is known where no other exchange chose.
    fn note_kept(&mut self, fates: &BTreeSet<Fate>) {
        for exchange in 0..self.topology.exchanges.len() {
            let keeping = fates.iter().filter(|(_, kept)| kept.contains(&exchange)).count();
            if keeping == 0 {
                continue;
            }
            if keeping < fates.len() {
                self.unknown.insert(exchange);
                continue;
            }
            let kept = self.kept.entry(exchange).or_default();
            kept.extend([self.next_body - 2, self.next_body - 1]);
            kept.drain(..kept.len().saturating_sub(RECENT));
        }
    }

    /// Publishes; says which queues got it, each once.
    fn publish_once(&mut self, message: &Published) -> BTreeSet<usize> {
        let body = self.next_body;
        self.next_body += 1;
        let headers: Vec<_> =
            HEADERS.iter().zip(message.headers).filter(|(_, is_in)| *is_in).collect();
        let wire = headers.iter().fold(String::new(), |mut wire, ((name, value), _)| {
            writeln!(wire, "{name}={value}").unwrap();
            wire
        });
        let count = self.topology.exchanges.len();
        let exchange = match message.exchange {
            number if number < count => number.to_string(),
            _ => String::new(),
        };
        let more: Vec<_> = message.more_keys.iter().map(|key| KEYS[*key]).collect();
        let draft = Draft {
            exchange: &exchange,
            routing_key: KEYS[message.key],
            codec: &Lines,
            properties: wire.as_bytes(),
            body: Body::Borrowed(&body.to_be_bytes()),
            persistent: false,
            mandatory: false,
            expires_at: None,
            priority: 0,
            retain: false,
        };
        let mut batch = self.broker.batch(&mut self.worker, Instant::START);
        let published =
            batch.publish_also(&mut self.session, draft, &more, Confirm::Unwanted).unwrap();
        batch.end();
        let mut got = BTreeSet::new();
        for (number, queue) in QUEUES.iter().enumerate() {
            let bodies = self.drain(queue);
            assert!(bodies.is_empty() || bodies == [body], "one copy for a queue: {bodies:?}");
            if !bodies.is_empty() {
                got.insert(number);
            }
        }
        assert_eq!(published.routed, !got.is_empty());
        got
    }

    fn drain(&self, queue: &str) -> Vec<u64> {
        let mut bodies = Vec::new();
        loop {
            match self.ask(Request::Get { queue: queue.into(), no_ack: true }) {
                Response::Got(None) => return bodies,
                Response::Got(Some(got)) => {
                    bodies.push(u64::from_be_bytes(got.message.body().try_into().unwrap()));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// All that can become of a message.
    fn fates(&self, message: &Published) -> BTreeSet<Fate> {
        let keys: Vec<&str> = std::iter::once(message.key)
            .chain(message.more_keys.iter().copied())
            .map(|key| KEYS[key])
            .collect();
        if message.exchange >= self.topology.exchanges.len() {
            let is_named = |queue: &usize| keys.contains(&QUEUES[*queue]);
            let queues = (0..QUEUES.len()).filter(is_named).collect();
            return BTreeSet::from([(queues, BTreeSet::new())]);
        }
        let mut start = Walk::default();
        start.visit(message.exchange);
        let (mut walks, mut fates) = (vec![start], BTreeSet::new());
        while let Some(mut walk) = walks.pop() {
            let Some(number) = walk.pending.pop() else {
                fates.insert((walk.queues, walk.histories));
                continue;
            };
            let exchange = &self.topology.exchanges[number];
            if exchange.kind == Kind::Recent {
                walk.histories.insert(number);
            }
            let targets: BTreeSet<Target> = self
                .bound
                .iter()
                .filter(|bound| bound.source == number && self.is_match(bound, &keys, message))
                .map(|bound| bound.target)
                .collect();
            match exchange.kind {
                _ if targets.is_empty() => {
                    let there = |alternate: &usize| *alternate < self.topology.exchanges.len();
                    if let Some(alternate) = exchange.alternate.filter(there) {
                        walk.visit(alternate);
                    }
                    walks.push(walk);
                }
                Kind::Hash | Kind::Random => walks.extend(targets.into_iter().map(|target| {
                    let mut walk = walk.clone();
                    walk.enter(target);
                    walk
                })),
                _ => {
                    for target in targets {
                        walk.enter(target);
                    }
                    walks.push(walk);
                }
            }
        }
        fates
    }

    fn is_match(&self, bound: &Bound, keys: &[&str], message: &Published) -> bool {
        let key = self.key(bound);
        match self.kind(bound) {
            Kind::Fanout | Kind::Recent | Kind::Hash | Kind::Random => true,
            Kind::Direct => keys.contains(&&*key),
            Kind::Topic => {
                keys.iter().any(|published| topic_matches(&words(&key), &words(published)))
            }
            Kind::Headers => headers_match(bound, message),
        }
    }
}

fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

fn topic_matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => {
            (0..=key.len()).any(|skipped| topic_matches(rest, &key[skipped..]))
        }
        (["*", rest @ ..], [_, key @ ..]) => topic_matches(rest, key),
        ([word, rest @ ..], [first, key @ ..]) => word == first && topic_matches(rest, key),
        _ => false,
    }
}

fn headers_match(bound: &Bound, message: &Published) -> bool {
    let said: Vec<_> = HEADERS.iter().zip(message.headers).filter(|(_, is_in)| *is_in).collect();
    // Of a repeated name the first counts.
    let value =
        |name: &str| said.iter().find(|((known, _), _)| *known == name).map(|((_, v), _)| *v);
    let how = MATCHES[bound.how].unwrap_or("all");
    let counts = |name: &str| how.ends_with("-with-x") || !name.starts_with("x-");
    let mut criteria = CRITERIA
        .iter()
        .zip(bound.criteria)
        .filter(|((name, _), is_in)| *is_in && counts(name))
        .map(|((name, wanted), _)| match (value(name), wanted) {
            (Some(said), Some(wanted)) => said == *wanted,
            (said, None) => said.is_some(),
            (None, _) => false,
        });
    if how.starts_with("all") { criteria.all(|holds| holds) } else { criteria.any(|holds| holds) }
}
