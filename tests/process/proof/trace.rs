//! What `strace` wrote, as events in their order.
//!
//! A call that another thread's came between stands in two lines: its arguments where it begins, its
//! result where it ends. The tracer notes the end of a call before the thread goes on, so what a
//! thread causes by its result stands behind it.

use std::collections::HashMap;

/// One step of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// These bytes are in the file.
    Written { file: String, bytes: Vec<u8> },
    /// A sync of the file begins, in this thread.
    SyncBegins { thread: u32, file: String },
    /// It returned without an error.
    Synced { thread: u32 },
    /// These bytes may leave through a socket from this port of ours, to this one.
    Sent { from: u16, to: u16, bytes: Vec<u8> },
}

pub(super) fn parse(text: &str) -> Vec<Event> {
    let (mut events, mut begun) = (Vec::new(), HashMap::new());
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let (thread, call) = (thread.parse().unwrap_or(0), call.trim_start());
        if let Some(resumed) = call.strip_prefix("<... ") {
            if let Some(call) = begun.remove(&thread) {
                end(&mut events, thread, call, resumed);
            }
        } else if let Some(call) = call.strip_suffix(" <unfinished ...>") {
            begin(&mut events, thread, call);
            begun.insert(thread, call);
        } else {
            begin(&mut events, thread, call);
            end(&mut events, thread, call, call);
        }
    }
    events
}

fn begin(events: &mut Vec<Event>, thread: u32, call: &str) {
    let Some((name, arguments)) = call.split_once('(') else { return };
    match name {
        "fdatasync" | "fsync" => {
            events.push(Event::SyncBegins { thread, file: target(arguments) });
        }
        "write" | "writev" | "sendto" | "sendmsg" => {
            // TCP:[127.0.0.1:5672->127.0.0.1:40000]
            let target = target(arguments);
            let port = |end: &str| end.rsplit(':').next().and_then(|port| port.parse().ok());
            let ends = target.strip_prefix("TCP:[").and_then(|ends| ends.strip_suffix(']'));
            let Some((from, to)) = ends.and_then(|ends| ends.split_once("->")) else { return };
            if let (Some(from), Some(to)) = (port(from), port(to)) {
                events.push(Event::Sent { from, to, bytes: strings(arguments) });
            }
        }
        _ => {}
    }
}

fn end(events: &mut Vec<Event>, thread: u32, call: &str, result: &str) {
    let Some((name, arguments)) = call.split_once('(') else { return };
    let Some((_, result)) = result.rsplit_once(" = ") else { return };
    if result.starts_with('-') {
        return;
    }
    match name {
        "fdatasync" | "fsync" => events.push(Event::Synced { thread }),
        "pwrite64" | "pwritev" | "pwritev2" => {
            events.push(Event::Written { file: target(arguments), bytes: strings(arguments) });
        }
        _ => {}
    }
}

/// What the descriptor, the first argument, stands for.
fn target(arguments: &str) -> String {
    let Some((_, behind)) = arguments.split_once('<') else { return String::new() };
    if behind.starts_with("\\x") {
        let end = behind.find('>').unwrap_or(behind.len());
        return String::from_utf8_lossy(&octets(&behind[..end])).into_owned();
    }
    behind.split_once(">,").or_else(|| behind.split_once(">)")).map_or("", |(name, _)| name).into()
}

/// All strings among the arguments, one behind the other.
fn strings(arguments: &str) -> Vec<u8> {
    arguments.split('"').skip(1).step_by(2).flat_map(octets).collect()
}

/// `\x61\x62`
fn octets(text: &str) -> Vec<u8> {
    let octet = |digits: &str| u8::from_str_radix(digits.get(..2)?, 16).ok();
    text.split("\\x").skip(1).filter_map(octet).collect()
}
