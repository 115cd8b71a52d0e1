//! The document: an explanation that is written, and the tables that are measured.

use std::fmt::Write;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use trivium_core::Protocol;

use crate::message::Message;
use crate::peer::travel;
use crate::rows::{self, Row};
use crate::verdict::{Pair, Verdict, judge};

const PREFACE: &str = include_str!("preface.md");

/// The whole document.
///
/// # Panics
///
/// When something does not hold for all values of a row, naming all such rows.
pub(crate) fn render() -> String {
    let rows = rows::all();
    let (mut document, mut doubts) = (PREFACE.to_owned(), Vec::new());
    for from in Protocol::ALL {
        write_table(from, &rows, &mut document, &mut doubts);
    }
    assert!(doubts.is_empty(), "these rows must become two each:\n{}", doubts.join("\n"));
    document
}

const fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Amqp => "AMQP",
        Protocol::Mqtt => "MQTT 5",
        Protocol::Stomp => "STOMP",
    }
}

fn write_table(from: Protocol, rows: &[Row], document: &mut String, doubts: &mut Vec<String>) {
    let (mut head, mut rule) = ("| |".to_owned(), "|---|".to_owned());
    for to in Protocol::ALL {
        write!(head, " in {} | back |", name(to)).expect("a string");
        rule.push_str("---|---|");
    }
    writeln!(document, "\n### Published in {}\n\n{head}\n{rule}", name(from)).expect("a string");
    for row in rows {
        let Some(messages) = values(row, from) else { continue };
        let mut line = format!("| {} |", row.says);
        for to in Protocol::ALL {
            let verdict = verdict(row, Pair { from, to }, &messages, doubts);
            let Verdict { arrives_as, comes_back } = verdict;
            write!(line, " {arrives_as} | {comes_back} |").expect("a string");
        }
        writeln!(document, "{line}").expect("a string");
    }
}

/// The values of a row: the same ones in every run.
fn values(row: &Row, from: Protocol) -> Option<Vec<Message>> {
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let way = row.way(from)?;
    let mut draw = || way.new_tree(&mut runner).expect("nothing is rejected").current();
    Some((0..row.values).map(|_| draw()).collect())
}

/// What holds for the first value of a row, and a doubt if it does not hold for all.
fn verdict(row: &Row, pair: Pair, messages: &[Message], doubts: &mut Vec<String>) -> Verdict {
    let bare = travel(pair.from, pair.to, &rows::bare(pair.from));
    let own: Vec<_> = messages.iter().map(|message| travel(pair.from, pair.to, message)).collect();
    let judged = messages.iter().zip(&own);
    let verdicts = judged.map(|(sent, journey)| judge(row, pair, sent, journey, &bare));
    let verdicts: Vec<_> = verdicts.collect();
    if let Some(at) = verdicts.iter().position(|verdict| *verdict != verdicts[0]) {
        doubts.push(format!(
            "`{}`, {pair:?}:\n  {:?} of {:?},\n  {:?} of {:?}, which came as {:?}",
            row.says, verdicts[0], messages[0], verdicts[at], messages[at], own[at]
        ));
    }
    verdicts[0].clone()
}
