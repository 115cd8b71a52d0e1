//! RabbitMQ's own answers to the traces of AMQP and STOMP, recorded once and compared with what
//! the traces expect of us. `tests/wire/record` starts a RabbitMQ from Debian and records anew;
//! what differs stands with its reason in `rabbitmq/differences.txt`.
//!
//! A recording has what each client sent and what it read next, a line each:
//!
//! ```text
//! a> SEND\nreceipt:x\n\nhi\0
//! a< ERROR\nmessage:Missing destination\n...
//! a! closed
//! ```
//!
//! A client whose answer is not the expected one plays no further: the lines after it would answer
//! another conversation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use trivium_core::{Alarms, Protocol};

use crate::header_order;
use crate::pattern::{Names, Pattern, Verdict, show};
use crate::tcp::{Filled, Socket};
use crate::text;
use crate::trace::{Move, Trace, What, Who};

/// How long RabbitMQ may take for an answer. It closes three seconds after an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after an answer that is not the expected one more of it is waited for.
const REST: Duration = Duration::from_millis(300);

/// What RabbitMQ answers where it matters, and why ours differs.
const DIFFERENCES: &str = "differences.txt";

/// Traces that RabbitMQ has not answered yet: `tests/wire/record` records them, and their differences
/// need their reasons then.
const UNRECORDED: &str = "unrecorded.txt";

/// What a trace expects and RabbitMQ does not send, nor do.
const AN_END: &str = "an end";

/// Where RabbitMQ listens, and how it is emptied between traces.
pub(crate) struct Peer {
    amqp: SocketAddr,
    stomp: SocketAddr,
    empty: String,
    alarm: String,
}

/// One line of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    client: String,
    what: Recorded,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Recorded {
    Sent(Vec<u8>),
    Read(Vec<u8>),
    Closed,
    Disconnected,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/rabbitmq")
}

/// Traces that mean something to RabbitMQ: of its two other protocols, and without what only our
/// test world can do.
fn is_recorded(trace: &Trace) -> bool {
    let is_ours = |what: &What| matches!(what, What::Moves(Move::Shutdown));
    let speaks = |who: &Who| matches!(who.protocol, Protocol::Amqp | Protocol::Stomp);
    !trace.has_ticks()
        && trace
            .steps
            .iter()
            .all(|step| !is_ours(&step.what) && step.client.as_ref().is_none_or(speaks))
}

fn path_of(trace: &Trace) -> PathBuf {
    folder().join(trace.name.replace('/', "-")).with_extension("recording")
}

impl Peer {
    /// From `TRIVIUM_RECORD_AMQP`, `TRIVIUM_RECORD_STOMP` (addresses), `TRIVIUM_RECORD_EMPTY` (a
    /// command that empties the virtual host `/`) and `TRIVIUM_RECORD_ALARM` (one that makes short
    /// what its arguments say, and nothing else).
    pub(crate) fn from_environment() -> Option<Self> {
        let address = |name| std::env::var(name).ok()?.parse().ok();
        Some(Self {
            amqp: address("TRIVIUM_RECORD_AMQP")?,
            stomp: address("TRIVIUM_RECORD_STOMP")?,
            empty: std::env::var("TRIVIUM_RECORD_EMPTY").ok()?,
            alarm: std::env::var("TRIVIUM_RECORD_ALARM").ok()?,
        })
    }

    fn address(&self, protocol: Protocol) -> SocketAddr {
        if protocol == Protocol::Amqp { self.amqp } else { self.stomp }
    }

    /// Plays every trace that has no recording, or another one, and writes what RabbitMQ answers.
    pub(crate) fn record(&self, traces: &[Trace]) -> Result<(), String> {
        fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
        let is_stale = |trace: &&Trace| is_recorded(trace) && differences_of(trace).is_err();
        for trace in traces.iter().filter(is_stale) {
            run(&self.empty)?;
            let lines = self.play(trace).map_err(|error| format!("{}: {error}", trace.name))?;
            fs::write(path_of(trace), write(&lines)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn play(&self, trace: &Trace) -> Result<Vec<Line>, String> {
        let mut sockets: BTreeMap<&Who, Socket> = BTreeMap::new();
        let mut ended: BTreeSet<&Who> = BTreeSet::new();
        let (mut names, mut lines) = (Names::new(), Vec::new());
        for step in &trace.steps {
            match step.what {
                What::Moves(Move::Alarm(Alarms { memory, disk })) => {
                    let words = [(memory, " memory"), (disk, " disk")];
                    let words = words.iter().filter(|(is_short, _)| *is_short);
                    let words: String = words.map(|(_, word)| *word).collect();
                    run(&format!("{}{words}", self.alarm))?;
                }
                What::Moves(Move::Wait(span)) => std::thread::sleep(span),
                _ => {}
            }
            let Some(who) = step.client.as_ref().filter(|who| !ended.contains(who)) else {
                continue;
            };
            if !sockets.contains_key(who) {
                sockets.insert(who, Socket::connect(self.address(who.protocol))?);
            }
            let Some(socket) = sockets.get_mut(who) else { continue };
            let (recorded, goes_on) = play(socket, &step.what, who.protocol, &mut names);
            if !goes_on {
                ended.insert(who);
            }
            lines.push(Line { client: who.name.clone(), what: recorded });
        }
        Ok(lines)
    }
}

fn run(command: &str) -> Result<(), String> {
    let ran = Command::new("sh").args(["-c", command]).status();
    if ran.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err(format!("'{command}' failed"))
    }
}

/// One step; false when the conversation cannot go on.
fn play(
    socket: &mut Socket,
    what: &What,
    protocol: Protocol,
    names: &mut Names,
) -> (Recorded, bool) {
    match what {
        What::Sends(pattern) => match pattern.fill(names) {
            Ok(bytes) => {
                let is_sent = socket.send(&bytes).is_ok();
                (Recorded::Sent(bytes), is_sent)
            }
            Err(_) => (Recorded::Sent(Vec::new()), false),
        },
        What::Reads(pattern) => read(socket, pattern, protocol, names),
        What::Moves(Move::Disconnect) => (Recorded::Disconnected, socket.disconnect().is_ok()),
        What::Moves(_) => match socket.fill(PATIENCE) {
            Ok(Filled::End) if socket.read.is_empty() => (Recorded::Closed, true),
            _ => (Recorded::Read(rest_of(socket)), false),
        },
    }
}

fn read(
    socket: &mut Socket,
    pattern: &Pattern,
    protocol: Protocol,
    names: &mut Names,
) -> (Recorded, bool) {
    let is_ordered = protocol != Protocol::Stomp;
    loop {
        let mut verdict = pattern.compare(&socket.read, names);
        if !is_ordered && !matches!(verdict, Verdict::Matches(_)) {
            verdict = pattern.compare(&header_order::as_in(pattern, &socket.read), names);
        }
        match verdict {
            Verdict::Matches(length) => {
                return (Recorded::Read(socket.read.drain(..length).collect()), true);
            }
            // Half a frame may have its headers in another order yet.
            Verdict::Wrong if is_ordered || socket.read.ends_with(b"\0") => {
                return (Recorded::Read(rest_of(socket)), false);
            }
            Verdict::Wrong | Verdict::Incomplete => {}
        }
        match socket.fill(PATIENCE) {
            Ok(Filled::Some) => {}
            Ok(Filled::End) if socket.read.is_empty() => return (Recorded::Closed, false),
            _ => return (Recorded::Read(std::mem::take(&mut socket.read)), false),
        }
    }
}

fn rest_of(socket: &mut Socket) -> Vec<u8> {
    while matches!(socket.fill(REST), Ok(Filled::Some)) {}
    std::mem::take(&mut socket.read)
}

fn write(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { client, what } in lines {
        let line = match what {
            Recorded::Sent(octets) => format!("{client}> {}", shown(octets)),
            Recorded::Read(octets) => format!("{client}< {}", shown(octets)),
            Recorded::Closed => format!("{client}! closed"),
            Recorded::Disconnected => format!("{client}! disconnect"),
        };
        writeln!(text, "{}", line.trim_end()).expect("writing to a string");
    }
    text
}

/// As [`show`], and such that [`text::escape`] reads it back.
fn shown(octets: &[u8]) -> String {
    octets
        .iter()
        .map(|&octet| match octet {
            b'\\' => "\\\\".to_owned(),
            octet => show(&[octet]),
        })
        .collect()
}

fn read_back(text: &str) -> Result<Vec<Line>, String> {
    let octets = |text: &str| {
        let mut octets = text.bytes();
        let mut all = Vec::new();
        while let Some(octet) = octets.next() {
            all.push(if octet == b'\\' { text::escape(&mut octets)? } else { octet });
        }
        Ok::<_, String>(all)
    };
    text.lines()
        .map(|line| {
            let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (client, kind) = head.split_at(head.len() - 1);
            let what = match (kind, rest) {
                (">", _) => Recorded::Sent(octets(rest)?),
                ("<", _) => Recorded::Read(octets(rest)?),
                ("!", "closed") => Recorded::Closed,
                ("!", "disconnect") => Recorded::Disconnected,
                _ => return Err(format!("unknown line '{line}'")),
            };
            Ok(Line { client: client.to_owned(), what })
        })
        .collect()
}

/// Where RabbitMQ answers a trace otherwise than it expects of us: client, line and both answers.
fn differences_of(trace: &Trace) -> Result<BTreeMap<String, String>, String> {
    let path = path_of(trace);
    let recording = fs::read_to_string(&path)
        .map_err(|_| format!("{} has no recording: run tests/wire/record", trace.name))?;
    let mut lines = read_back(&recording)?.into_iter();
    let (mut names, mut differences) = (Names::new(), BTreeMap::new());
    for step in &trace.steps {
        let Some(who) = step.client.as_ref().filter(|who| !differences.contains_key(&who.name))
        else {
            continue;
        };
        let stale =
            || format!("{}:{}: not as recorded: run tests/wire/record", trace.name, step.line);
        let line = lines.next().filter(|line| line.client == who.name).ok_or_else(stale)?;
        let difference = match (&step.what, line.what) {
            (What::Sends(pattern), Recorded::Sent(octets)) => {
                if pattern.fill(&names).ok().as_ref() != Some(&octets) {
                    return Err(stale());
                }
                None
            }
            (What::Reads(pattern), Recorded::Read(octets)) => {
                let is_same = pattern.is(&octets, &mut names)
                    || (who.protocol == Protocol::Stomp
                        && pattern.is(&header_order::as_in(pattern, &octets), &mut names));
                (!is_same).then(|| (pattern.show(), show(&octets)))
            }
            (What::Reads(pattern), Recorded::Closed) => Some((pattern.show(), "an end".to_owned())),
            (What::Moves(Move::Closed), Recorded::Closed)
            | (What::Moves(Move::Disconnect), Recorded::Disconnected) => None,
            (What::Moves(Move::Closed), Recorded::Read(octets)) => {
                Some((AN_END.to_owned(), show(&octets)))
            }
            _ => return Err(stale()),
        };
        if let Some((ours, theirs)) = difference {
            let text = format!("line {}\n      Trivium {ours}\n     RabbitMQ {theirs}", step.line);
            differences.insert(who.name.clone(), text);
        }
    }
    Ok(differences)
}

/// The reasons of `differences.txt`, by trace and client: `amqp/x.trace a: why`. The client `goes_on`
/// stands for all of a trace that RabbitMQ answers the same, but does not hang up on.
fn reasons() -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder().join(DIFFERENCES)).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(place, reason)| (place.to_owned(), reason.to_owned()))
        .collect()
}

/// The traces of `unrecorded.txt`, which have no recording yet.
fn unrecorded() -> BTreeSet<String> {
    let text = fs::read_to_string(folder().join(UNRECORDED)).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Compares every trace with RabbitMQ's recorded answers.
pub(crate) fn compare(traces: &[Trace]) -> Vec<String> {
    let (mut reasons, unrecorded) = (reasons(), unrecorded());
    let mut failures = Vec::new();
    for trace in traces.iter().filter(|trace| is_recorded(trace)) {
        if unrecorded.contains(&trace.name) {
            if path_of(trace).exists() {
                failures.push(format!("{} is recorded, and {UNRECORDED} names it", trace.name));
            }
            continue;
        }
        match differences_of(trace) {
            Err(error) => failures.push(error),
            Ok(differences) => {
                let goes_on = reasons.remove(&format!("{} goes_on", trace.name));
                let goes_on_after = format!("Trivium {AN_END}\n     RabbitMQ ");
                let is_said = |difference: &str| {
                    goes_on.is_some() && difference.trim_end().ends_with(goes_on_after.trim_end())
                };
                let (said, unsaid): (Vec<_>, Vec<_>) =
                    differences.into_iter().partition(|(_, difference)| is_said(difference));
                if goes_on.is_some() && said.is_empty() {
                    failures.push(format!("{}: RabbitMQ goes on nowhere", trace.name));
                }
                for (client, difference) in unsaid {
                    let place = format!("{} {client}", trace.name).trim_end().to_owned();
                    if reasons.remove(&place).is_none() {
                        failures.push(format!("{place}: no reason for {difference}"));
                    }
                }
            }
        }
    }
    let stale = reasons.into_iter().map(|(place, reason)| {
        format!("{place}: RabbitMQ answers the same, and yet there is a reason: {reason}")
    });
    failures.extend(stale);
    failures
}
