//! Whether the traces of AMQP are all there: `amqp/methods.tsv` lists every method and who sends it,
//! `amqp/errors.tsv` every reply code and text. What no trace has needs a reason there, and what one
//! has must not have one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/amqp")
}

/// The lines of all traces and their parts: who speaks, and what is said.
fn lines() -> Vec<(char, String)> {
    let mut lines = Vec::new();
    for entry in folder().read_dir().expect("the folder of traces is readable") {
        let path = entry.expect("the folder of traces is readable").path();
        if !path.extension().is_some_and(|kind| kind == "trace" || kind == "part") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a trace is readable");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
            lines.extend(head.chars().last().map(|kind| (kind, rest.to_owned())));
        }
    }
    lines
}

/// The rows of a table: two columns, and the reason.
fn rows(file: &str) -> Vec<(String, String, Option<String>)> {
    let text = fs::read_to_string(folder().join(file)).expect("the table is readable");
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let mut columns = line.split('\t').map(str::to_owned);
        let mut column = || columns.next().unwrap_or_else(|| panic!("{file}: {line}"));
        (column(), column(), columns.next())
    })
    .collect()
}

/// What is missing without a reason, and what is there in spite of one.
fn check(file: &str, has: impl Fn(&str, &str) -> bool) {
    let mut faults = Vec::new();
    for (first, second, reason) in rows(file) {
        match (has(&first, &second), reason) {
            (false, None) => faults.push(format!("no trace has {first} {second}")),
            (true, Some(reason)) => {
                faults
                    .push(format!("a trace has {first} {second}, yet there is a reason: {reason}"));
            }
            _ => {}
        }
    }
    assert!(faults.is_empty(), "{file}:\n{}", faults.join("\n"));
}

#[test]
fn every_method_has_a_trace() {
    let mut spoken = BTreeSet::new();
    for (kind, line) in lines() {
        for word in line.split([' ', '[', ']']).filter(|word| word.contains('.')) {
            spoken.insert((kind, word.to_owned()));
        }
    }
    check("methods.tsv", |method, sender| {
        let kind = if sender == "client" { '>' } else { '<' };
        spoken.contains(&(kind, method.to_owned()))
    });
}

#[test]
fn every_error_has_a_trace() {
    let mut answered = BTreeSet::new();
    for (_, line) in lines().into_iter().filter(|(kind, _)| *kind == '<') {
        for piece in line.split("u16:").skip(1) {
            let Some((code, rest)) = piece.split_once(' ') else { continue };
            let text =
                rest.strip_prefix("u8[").and_then(|rest| rest.trim_start().strip_prefix('"'));
            // A code whose text is left open counts for its first word.
            let text = text.map_or("", until_quote);
            answered.insert((code.to_owned(), text.to_owned()));
        }
    }
    check("errors.tsv", |code, wanted| {
        answered.iter().any(|(known, text)| known == code && is_like(text, wanted))
    });
}

/// Up to the quote that ends it; escapes stay as they are.
fn until_quote(text: &str) -> &str {
    let mut before = ' ';
    let end = text.find(|next| {
        let ends = next == '"' && before != '\\';
        before = next;
        ends
    });
    &text[..end.unwrap_or(text.len())]
}

/// Whether `text` is `wanted`, in which `*` stands for any run and `\*` for itself.
fn is_like(text: &str, wanted: &str) -> bool {
    const STAR: char = '\u{1}';
    let wanted = wanted.replace("\\*", &STAR.to_string());
    let mut pieces = wanted.split('*').map(|piece| piece.replace(STAR, "*"));
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(&*first) else { return false };
    let pieces: Vec<_> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(&**piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(&**last)
}
