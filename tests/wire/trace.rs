//! The file format: lines into steps.

use std::path::Path;
use std::time::Duration;

use trivium_core::{Alarms, Protocol};

use crate::pattern::Pattern;
use crate::{assembler, text};

/// One conversation.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Its path below the folder of traces.
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Where the file says so.
    pub(crate) line: usize,
    /// To whom; the name is empty for the only client. `None` when the world moves.
    pub(crate) client: Option<Who>,
    pub(crate) what: What,
}

/// A client of a trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The client sends this in one write.
    Sends(Pattern),
    /// The client reads this and nothing else.
    Reads(Pattern),
    Moves(Move),
}

/// How the world moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// `! durable`: everything logged is safe now.
    Durable,
    /// `! tick 5s`, `! tick 1500ms`: time passes, for everybody. Such a trace does not run over TCP.
    Tick(Duration),
    /// `! wait 2s`: the same, and over TCP it is waited for.
    Wait(Duration),
    /// `! disconnect`: this client's socket breaks.
    Disconnect,
    /// `! closed`: the broker has closed this client's socket.
    Closed,
    /// `! shutdown`: the gateway is told to go down; everybody hears goodbye.
    Shutdown,
    /// `! alarm memory disk`: this is short now; `! calm`: nothing is.
    Alarm(Alarms),
}

impl Trace {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let mut names = path.iter().rev().map(|part| part.to_string_lossy());
        let (file, folder) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        let name = format!("{folder}/{file}");
        let mut steps = Vec::new();
        append(path, &folder, "", &mut steps).map_err(|error| format!("{name}:{error}"))?;
        Ok(Self { name, steps })
    }

    /// Time passes in it that nobody waits for over TCP.
    pub(crate) fn has_ticks(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.what, What::Moves(Move::Tick(_))))
    }
}

/// Appends the lines of a file; `client` stands for its nameless one.
fn append(path: &Path, folder: &str, client: &str, steps: &mut Vec<Step>) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{error}"))?;
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fail = |error: String| format!("{}: {error}", number + 1);
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, kind) = head.split_at(head.len() - 1);
        let client = if name.is_empty() { client } else { name };
        if kind == "=" {
            let part = path.with_file_name(format!("{rest}.part"));
            append(&part, folder, client, steps).map_err(fail)?;
            continue;
        }
        let (client, what) = parse(kind, rest, folder, client).map_err(fail)?;
        let last = steps.last_mut().filter(|last| last.client == client);
        match (last.map(|last| &mut last.what), what) {
            (Some(What::Sends(sent)), What::Sends(more)) => sent.0.extend(more.0),
            (Some(What::Reads(read)), What::Reads(more)) => read.0.extend(more.0),
            (_, what) => steps.push(Step { line: number + 1, client, what }),
        }
    }
    Ok(())
}

fn parse(
    kind: &str,
    rest: &str,
    folder: &str,
    client: &str,
) -> Result<(Option<Who>, What), String> {
    if kind == "!" {
        let moved = parse_move(rest)?;
        if matches!(
            moved,
            Move::Durable | Move::Tick(_) | Move::Wait(_) | Move::Shutdown | Move::Alarm(_)
        ) {
            return Ok((None, What::Moves(moved)));
        }
        let who = Who { name: client.to_owned(), protocol: protocol(folder, client)? };
        return Ok((Some(who), What::Moves(moved)));
    }
    let protocol = protocol(folder, client)?;
    let parse = match protocol {
        Protocol::Stomp => text::parse,
        Protocol::Amqp | Protocol::Mqtt => assembler::parse,
    };
    let what = match kind {
        ">" => What::Sends(parse(rest)?),
        "<" => What::Reads(parse(rest)?),
        _ => return Err(format!("unknown line '{kind}'")),
    };
    Ok((Some(Who { name: client.to_owned(), protocol }), what))
}

fn protocol(folder: &str, client: &str) -> Result<Protocol, String> {
    let name = if folder == "cross" { client } else { folder };
    let known = Protocol::ALL.into_iter().find(|protocol| name.starts_with(protocol.name()));
    known.ok_or_else(|| format!("what does '{name}' speak?"))
}

fn parse_move(text: &str) -> Result<Move, String> {
    Ok(match text.split_once(' ') {
        None if text == "durable" => Move::Durable,
        None if text == "disconnect" => Move::Disconnect,
        None if text == "closed" => Move::Closed,
        None if text == "shutdown" => Move::Shutdown,
        None if text == "calm" => Move::Alarm(Alarms::default()),
        Some(("alarm", what)) => {
            let is_short = |name| what.split(' ').any(|word| word == name);
            Move::Alarm(Alarms { memory: is_short("memory"), disk: is_short("disk") })
        }
        Some((how @ ("tick" | "wait"), span)) => {
            let (number, unit) = match span.strip_suffix("ms") {
                Some(number) => (number, 1),
                None => (span.trim_end_matches('s'), 1000),
            };
            let number: u64 = number.parse().map_err(|_| format!("{how} {span}: how long?"))?;
            let span = Duration::from_millis(number * unit);
            if how == "tick" { Move::Tick(span) } else { Move::Wait(span) }
        }
        _ => return Err(format!("the world does not know how to '{text}'")),
    })
}
