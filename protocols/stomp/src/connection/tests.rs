//! Conversations with the real broker, on the log that makes nothing durable until it is told to.
//! Each is held with its octets whole and again one by one; both must agree (ST-1).

#![expect(clippy::too_many_lines, reason = "a table of conversations is data")]

mod acknowledgements;
mod errors;
mod fuzz;
mod headers;
mod subscriptions;
mod transactions;
mod versions;

use trivium_core::testing::{Client, World};
use trivium_core::{Adapter, Protocol};

use super::*;

/// One step of a conversation of clients `a`, `b`, ...
#[derive(Clone, Debug)]
enum Step {
    /// The client sends.
    Send(char, &'static str),
    /// All that the client has to read since it was last looked at.
    Read(char, String),
    /// The log syncs.
    Durable,
    /// Memory is short, or is no more.
    Alarm(bool),
    /// So many milliseconds pass, and everybody looks at what that means.
    Pass(u64),
    /// The client's socket breaks.
    Break(char),
    /// The broker has closed the client's connection.
    Closed(char),
}

use Step::{Alarm, Break, Closed, Durable, Pass, Send};

/// All that the client has to read since it was last looked at.
fn reads(name: char, text: &str) -> Step {
    Step::Read(name, text.to_owned())
}

/// A RECEIPT is all that the client has to read.
fn receipt(name: char, receipt: &str) -> Step {
    Step::Read(name, format!("RECEIPT\nreceipt-id:{receipt}\n\n\0"))
}

/// A MESSAGE of `text/plain` without further headers is all that the client has to read; `head` is
/// what stands before `redelivered`.
fn message(name: char, head: &str, body: &str) -> Step {
    let length = body.len();
    let text = format!("MESSAGE\n{head}\nredelivered:false\ncontent-length:{length}\n\n{body}\0");
    Step::Read(name, text)
}

/// An ERROR is all that the client has to read; `headers` are those besides the usual ones.
fn error(name: char, message: &str, headers: &str, body: &str) -> Step {
    let length = body.len();
    let text = format!(
        "ERROR\nmessage:{message}\ncontent-type:text/plain\nversion:1.0,1.1,1.2\n{headers}\
         content-length:{length}\n\n{body}\0"
    );
    Step::Read(name, text)
}

struct Talker<'w> {
    name: char,
    client: Client<'w, Connection>,
    /// The number that the broker gave its connection, which conversations write as `$`.
    number: Option<String>,
    unread: String,
}

/// Holds the conversation; the clients are connected as their names first appear, in upper case
/// with nothing sent, in lower case past CONNECTED of 1.2.
fn converse(rule: &str, config: &Config, steps: &[Step]) {
    for chunk_len in [usize::MAX, 1] {
        let world = World::new();
        let mut talkers: Vec<Talker<'_>> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            take_step(&world, &mut talkers, config, chunk_len, step, &|| {
                format!("{rule}, step {index} (pieces of {chunk_len})")
            });
        }
    }
}

fn take_step<'w>(
    world: &'w World,
    talkers: &mut Vec<Talker<'w>>,
    config: &Config,
    chunk_len: usize,
    step: &Step,
    place: &dyn Fn() -> String,
) {
    match *step {
        Durable => world.step(),
        Alarm(memory) => world.broker().set_alarms(trivium_core::Alarms { memory, disk: false }),
        Pass(millis) => {
            world.pass(millis);
            for talker in talkers {
                talker.look();
            }
        }
        Send(name, text) => {
            find(world, talkers, config, chunk_len, name).send(text);
        }
        Step::Read(name, ref text) => {
            let talker = find(world, talkers, config, chunk_len, name);
            talker.look();
            let read = std::mem::take(&mut talker.unread);
            assert_eq!(&read, text, "{}", place());
        }
        Break(name) => find(world, talkers, config, chunk_len, name).client.disconnect(),
        Closed(name) => {
            let talker = find(world, talkers, config, chunk_len, name);
            assert!(talker.client.is_closed(), "{}", place());
        }
    }
}

fn find<'t, 'w>(
    world: &'w World,
    talkers: &'t mut Vec<Talker<'w>>,
    config: &Config,
    chunk_len: usize,
    name: char,
) -> &'t mut Talker<'w> {
    if let Some(at) = talkers.iter().position(|talker| talker.name == name) {
        return &mut talkers[at];
    }
    let client = connect(world, config, chunk_len);
    talkers.push(Talker { name, client, number: None, unread: String::new() });
    let talker = talkers.last_mut().unwrap();
    if name.is_lowercase() {
        talker.send("CONNECT\naccept-version:1.2\nhost:/\n\n\0");
        assert!(std::mem::take(&mut talker.unread).starts_with("CONNECTED\nversion:1.2\n"));
    }
    talker
}

fn connect<'w>(world: &'w World, config: &Config, chunk_len: usize) -> Client<'w, Connection> {
    let adapter = Connection::new(Arc::new(config.clone()), world.now());
    world.client(Protocol::Stomp, adapter, chunk_len)
}

impl Talker<'_> {
    fn send(&mut self, text: &str) {
        let text = text.replace('$', self.number.as_deref().unwrap_or("$"));
        let read = self.client.send(text.as_bytes());
        self.note(&read);
    }

    fn look(&mut self) {
        let read = self.client.read();
        self.note(&read);
    }

    fn note(&mut self, read: &[u8]) {
        let mut read = String::from_utf8_lossy(read).into_owned();
        if let Some((_, rest)) = read.split_once("\nsession:session-") {
            self.number = rest.lines().next().map(str::to_owned);
        }
        if let Some(number) = &self.number {
            for before in ["\nsession:session-", "\nmessage-id:", "\nack:"] {
                let end = if before.ends_with('-') { "\n" } else { "-" };
                read = read.replace(&format!("{before}{number}{end}"), &format!("{before}${end}"));
            }
        }
        self.unread.push_str(&read);
    }
}

/// Conversations with the default configuration.
fn check(cases: &[(&str, &[Step])]) {
    for (rule, steps) in cases {
        converse(rule, &Config::default(), steps);
    }
}
