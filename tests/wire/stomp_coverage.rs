//! That the traces of STOMP leave nothing out: each rule of the index of its specifications, each
//! frame in each version, each ERROR in each version that has it. What no trace can show stands with
//! its reason in `stomp/untraced.txt`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use trivium_core::Protocol;

use crate::pattern::{Pattern, Token};
use crate::trace::{Trace, What, Who};

/// The last rule of the index: `S-1` to `S-84`.
const RULES: u32 = 84;

const VERSIONS: [&str; 3] = ["1.0", "1.1", "1.2"];

/// What a client of each version may send, and a server.
const CLIENTS: &[(&str, &[&str])] = &[
    ("CONNECT", &VERSIONS),
    ("STOMP", &VERSIONS),
    ("SEND", &VERSIONS),
    ("SUBSCRIBE", &VERSIONS),
    ("UNSUBSCRIBE", &VERSIONS),
    ("BEGIN", &VERSIONS),
    ("COMMIT", &VERSIONS),
    ("ABORT", &VERSIONS),
    ("ACK", &VERSIONS),
    ("NACK", &["1.1", "1.2"]),
    ("DISCONNECT", &VERSIONS),
];
const SERVERS: &[&str] = &["CONNECTED", "MESSAGE", "RECEIPT", "ERROR"];

/// Every ERROR past CONNECTED: its message, how its body begins, and in which versions there is it.
const ERRORS: &[(&str, &str, &[&str])] = &[
    ("Bad command", "Could not interpret command", &VERSIONS),
    ("Illegal command", "Already connected", &VERSIONS),
    ("Missing destination", "\"SEND\" must", &VERSIONS),
    ("Missing destination", "\"SUBSCRIBE\" must", &VERSIONS),
    ("Unknown destination", "'/foo/a' is not", &VERSIONS),
    ("Invalid destination", "'/a/b' is not a valid topic", &VERSIONS),
    ("Invalid destination", "'/' is not a valid queue", &VERSIONS),
    ("Invalid destination", "'//k' is not a valid exchange", &VERSIONS),
    ("Invalid destination", "'/a/b' is not a valid amqqueue", &VERSIONS),
    ("Invalid destination", "'/temp-queue/a' is not a valid destination for 'SEND'", &VERSIONS),
    ("Invalid destination", "'/temp-queue/a' is not a valid destination for 'SUBS", &VERSIONS),
    ("Invalid destination", "'/queue/xxx", &VERSIONS),
    ("Invalid header", "'message-id' is not allowed on 'SEND'", &VERSIONS),
    ("Invalid header", "\"ACK\" must include a valid", &VERSIONS),
    ("Invalid header", "\"NACK\" must include a valid", &["1.1", "1.2"]),
    ("Invalid header", "\"SUBSCRIBE\" must include a valid \"x-message-ttl\"", &VERSIONS),
    ("Invalid header", "\"SUBSCRIBE\" must include a valid \"prefetch-count\"", &VERSIONS),
    ("Invalid header", "\"SUBSCRIBE\" must include a valid \"x-retained\"", &VERSIONS),
    ("Missing Header", "Header 'id' is required for durable", &["1.0"]),
    ("Missing header", "\"SUBSCRIBE\" must include the \"id\"", &["1.1", "1.2"]),
    ("Missing header", "\"ACK\" must include the \"message-id\"", &["1.0", "1.1"]),
    ("Missing header", "\"ACK\" must include the \"id\"", &["1.2"]),
    ("Missing header", "\"NACK\" must include the \"message-id\"", &["1.1"]),
    ("Missing header", "\"NACK\" must include the \"id\"", &["1.2"]),
    ("Duplicated subscription identifier", "A subscription identified by", &VERSIONS),
    ("No subscription found", "UNSUBSCRIBE must refer", &VERSIONS),
    ("Missing destination or id", "UNSUBSCRIBE must include", &VERSIONS),
    ("Invalid id", "SUBSCRIBE 'id' may not", &VERSIONS),
    ("Invalid id", "UNSUBSCRIBE 'id' may not", &VERSIONS),
    ("Invalid id", "The queue of a durable subscription", &VERSIONS),
    ("Processing error", "Processing error", &VERSIONS),
    ("Missing transaction", "\"BEGIN\" must", &VERSIONS),
    ("Missing transaction", "\"COMMIT\" must", &VERSIONS),
    ("Missing transaction", "\"ABORT\" must", &VERSIONS),
    ("Bad transaction", "Invalid transaction identifier", &VERSIONS),
    ("Bad transaction", "Duplicate transaction identifier", &VERSIONS),
    ("Server cancelled subscription", "The server has canceled", &VERSIONS),
    ("not_found", "NOT_FOUND - no exchange", &VERSIONS),
    ("not_found", "NOT_FOUND - no queue", &VERSIONS),
    ("access_refused", "ACCESS_REFUSED - queue name", &VERSIONS),
    ("precondition_failed", "PRECONDITION_FAILED - unknown delivery tag", &VERSIONS),
    ("precondition_failed", "PRECONDITION_FAILED - inequivalent arg", &VERSIONS),
    ("precondition_failed", "PRECONDITION_FAILED - invalid arg", &VERSIONS),
    ("precondition_failed", "PRECONDITION_FAILED - user_id", &VERSIONS),
    ("resource_locked", "RESOURCE_LOCKED - cannot obtain", &VERSIONS),
    ("resource_error", "RESOURCE_ERROR - queue 'full'", &VERSIONS),
    ("resource_error", "RESOURCE_ERROR - open transactions", &VERSIONS),
    ("connection_forced", "CONNECTION_FORCED - broker forced", &VERSIONS),
    ("Invalid frame", "header line without a name and a colon", &VERSIONS),
    ("Invalid frame", "undefined escape", &["1.1", "1.2"]),
    ("Invalid frame", "headers are not UTF-8", &VERSIONS),
    ("Invalid frame", "NUL octet in the headers", &VERSIONS),
    ("Invalid frame", "content-length is not a number", &VERSIONS),
    ("Invalid frame", "no NUL octet behind the body", &VERSIONS),
    ("Invalid frame", "body of more than", &VERSIONS),
    ("Invalid frame", "more than 128 headers", &VERSIONS),
    ("Invalid frame", "no command", &VERSIONS),
];

/// Every ERROR before CONNECTED.
const EARLY_ERRORS: &[(&str, &str)] = &[
    ("Illegal command", "You must log in using CONNECT first"),
    ("Version mismatch", "Supported versions are"),
    ("Bad CONNECT", "Access refused for user"),
    ("Bad CONNECT", "Virtual host"),
    ("Processing error", "Processing error"),
];

/// What one client of a trace sends and reads.
#[derive(Default)]
struct Talk {
    sent: String,
    read: String,
}

impl Talk {
    /// What CONNECTED says; none before it.
    fn version(&self) -> Option<&'static str> {
        let head = self.read.strip_prefix("CONNECTED\n")?.split("\n\n").next()?;
        VERSIONS.into_iter().find(|version| head.contains(&format!("version:{version}")))
    }

    fn sends(&self, command: &str) -> bool {
        self.sent.split('\0').any(|frame| frame.trim_start().starts_with(&format!("{command}\n")))
    }

    fn reads(&self, command: &str) -> bool {
        self.read.split('\0').any(|frame| frame.trim_start().starts_with(&format!("{command}\n")))
    }

    fn reads_error(&self, message: &str, body: &str) -> bool {
        self.read.split('\0').any(|frame| {
            let Some((head, text)) = frame.trim_start().split_once("\n\n") else { return false };
            head.starts_with(&format!("ERROR\nmessage:{message}\n")) && text.starts_with(body)
        })
    }
}

fn talks(trace: &Trace) -> Vec<Talk> {
    let mut talks: BTreeMap<&Who, Talk> = BTreeMap::new();
    for step in &trace.steps {
        let Some(who) = step.client.as_ref().filter(|who| who.protocol == Protocol::Stomp) else {
            continue;
        };
        let talk = talks.entry(who).or_default();
        match &step.what {
            What::Sends(pattern) => talk.sent.push_str(&text_of(pattern)),
            What::Reads(pattern) => talk.read.push_str(&text_of(pattern)),
            What::Moves(_) => {}
        }
    }
    talks.into_values().collect()
}

/// Its octets; holes are nothing.
fn text_of(pattern: &Pattern) -> String {
    let octets = pattern.0.iter().filter_map(|token| match token {
        Token::Octet(octet) => Some(*octet),
        _ => None,
    });
    String::from_utf8_lossy(&octets.collect::<Vec<_>>()).into_owned()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/stomp")
}

/// The lines of `untraced.txt`: what, and why no trace shows it.
fn untraced() -> BTreeMap<String, String> {
    let text = fs::read_to_string(folder().join("untraced.txt")).expect("it is there");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no reason: {line}")))
        .map(|(what, why)| (what.to_owned(), why.to_owned()))
        .collect()
}

/// The rules that a comment names: `S-7`, and all of `S-37 to S-42`.
fn rules_in(comment: &str) -> BTreeSet<u32> {
    let mut rules = BTreeSet::new();
    let mut last = None;
    let mut is_range = false;
    for word in comment.split([' ', ',', ':', '.', ';', '(', ')', '\n', '#']) {
        match word.strip_prefix("S-").and_then(|number| number.parse::<u32>().ok()) {
            Some(number) => {
                let first = if is_range { last.unwrap_or(number) } else { number };
                rules.extend(first..=number);
                (last, is_range) = (Some(number), false);
            }
            None if word.is_empty() => {}
            None => is_range = word == "to" && last.is_some(),
        }
    }
    rules
}

/// Fails with what is neither in a trace nor in the list, and with what is in both.
fn check(needed: &BTreeSet<String>, shown: &BTreeSet<String>, is_mine: impl Fn(&str) -> bool) {
    let untraced = untraced();
    let missing: Vec<_> = needed
        .iter()
        .filter(|what| !shown.contains(*what) && !untraced.contains_key(*what))
        .collect();
    assert!(missing.is_empty(), "no trace shows: {missing:#?}");
    let stale: Vec<_> = untraced
        .keys()
        .filter(|what| is_mine(what) && (shown.contains(*what) || !needed.contains(*what)))
        .collect();
    assert!(stale.is_empty(), "a trace shows what is said to be in none: {stale:#?}");
}

#[test]
fn every_rule_of_stomp_has_a_trace() {
    let mut shown = BTreeSet::new();
    for entry in folder().read_dir().expect("a folder of traces is readable") {
        let path = entry.expect("a folder of traces is readable").path();
        if path.extension().is_some_and(|extension| extension == "trace") {
            let text = fs::read_to_string(path).expect("a trace is text");
            let comments: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
            shown.extend(rules_in(&comments.join("\n")));
        }
    }
    let name = |number: u32| format!("S-{number}");
    let needed = (1..=RULES).map(name).collect();
    check(&needed, &shown.into_iter().map(name).collect(), |what| what.starts_with("S-"));
}

#[test]
fn every_frame_of_stomp_has_a_trace_in_every_version() {
    let (mut needed, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let all: Vec<_> = crate::traces().iter().flat_map(talks).collect();
    for version in VERSIONS {
        let mut note = |command: &str, is_shown: &dyn Fn(&Talk) -> bool| {
            let what = format!("frame {command} {version}");
            if all.iter().any(|talk| talk.version() == Some(version) && is_shown(talk)) {
                shown.insert(what.clone());
            }
            needed.insert(what);
        };
        for (command, versions) in CLIENTS {
            if versions.contains(&version) {
                note(command, &|talk| talk.sends(command));
            }
        }
        for command in SERVERS {
            note(command, &|talk| talk.reads(command));
        }
    }
    check(&needed, &shown, |what| what.starts_with("frame "));
}

#[test]
fn every_error_of_stomp_has_a_trace_in_every_version() {
    let (mut needed, mut shown) = (BTreeSet::new(), BTreeSet::new());
    let all: Vec<_> = crate::traces().iter().flat_map(talks).collect();
    let early = EARLY_ERRORS.iter().map(|(message, body)| (message, body, [None].to_vec()));
    let late = ERRORS.iter().map(|(message, body, versions)| {
        (message, body, versions.iter().map(|version| Some(*version)).collect())
    });
    for (message, body, versions) in early.chain(late) {
        for version in versions {
            let what = format!("error {message} / {body} {}", version.unwrap_or("early"));
            let is_shown =
                |talk: &&Talk| talk.version() == version && talk.reads_error(message, body);
            if all.iter().any(|talk| is_shown(&talk)) {
                shown.insert(what.clone());
            }
            needed.insert(what);
        }
    }
    check(&needed, &shown, |what| what.starts_with("error "));
}

#[test]
fn comments_name_rules() {
    let named = |comment: &str| rules_in(comment).into_iter().collect::<Vec<_>>();
    assert_eq!(named("# S-1, S-3 to S-5: and S-7."), [1, 3, 4, 5, 7]);
    assert_eq!(named("# 0x S-2 to somewhere S-9"), [2, 9]);
}
