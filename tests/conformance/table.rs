//! The document.

use std::fmt::Write;

use crate::proofs::Proofs;
use crate::statements::{Edition, Statement};

const PREFACE: &str = "\
# Conformance of the MQTT adapter

Which numbered statements of MQTT 5 and 3.1.1 are proven by which test, made from the sources by
`cargo test -p trivium-tests --test conformance`; do not edit. A test names a statement in its doc
comment and fails when it is broken; it runs with what clients send whole and cut into single octets.

*Observable* are the statements that bind the server and show at a socket (`yes`) and those that
bind the client and whose breach the server has to answer (`reaction`). The others are obligations of
clients, or of servers that lack a feature this one has.
";

/// Why an observable statement is not proven, and for others what there is to say.
const REASONS: &[(&str, &str, &str)] = &[
    ("MQTT5", "3.2.2-9", "QoS 2 is supported: no Maximum QoS is sent"),
    ("MQTT5", "3.2.2-10", "QoS 2 is supported"),
    ("MQTT5", "3.2.2-11", "no Maximum QoS is sent that a client could exceed"),
    ("MQTT5", "3.2.2-12", "QoS 2 is supported"),
    ("MQTT5", "3.2.2-13", "retained messages are supported"),
    ("MQTT5", "3.2.2-14", "Retain Available is never 0"),
    ("MQTT5", "4.8.2-4", "a group is granted QoS 1 at most: nothing is under way at QoS 2"),
    ("MQTT5", "4.8.2-5", "a group is granted QoS 1 at most: nothing is under way at QoS 2"),
    ("MQTT311", "3.8.3-2", "wildcards are supported"),
    ("MQTT311", "7.0.0-1", "the server connects to no other"),
];

/// See [`REASONS`].
pub(crate) fn reason(tag: &str, id: &str) -> Option<&'static str> {
    REASONS.iter().find(|(edition, known, _)| *edition == tag && *known == id).map(|row| row.2)
}

/// The whole document.
pub(crate) fn render(editions: &[Edition], proofs: &Proofs) -> String {
    let mut document = PREFACE.to_owned();
    let mut line = |text: String| writeln!(document, "{text}").expect("a string");
    line("\n| | observable | proven | |\n|---|---|---|---|".into());
    for edition in editions {
        let observable = edition.statements.iter().filter(|statement| statement.is_observable());
        let (mut all, mut proven) = (0, 0);
        for statement in observable {
            all += 1;
            proven += usize::from(proofs.contains_key(&edition.name_of(&statement.id)));
        }
        let tenths = proven * 1000 / all;
        line(format!(
            "| {} | {all} | {proven} | {}.{} % |",
            edition.title,
            tenths / 10,
            tenths % 10
        ));
    }
    for edition in editions {
        line(format!("\n## {}\n\n| statement | about | binds | seen | proven by |", edition.title));
        line("|---|---|---|---|---|".into());
        for statement in &edition.statements {
            line(row(edition, statement, proofs));
        }
    }
    document
}

fn row(edition: &Edition, statement: &Statement, proofs: &Proofs) -> String {
    let Statement { id, title, obliged, outside } = statement;
    let proof = match proofs.get(&edition.name_of(id)) {
        Some(places) => {
            places.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ")
        }
        None => match reason(edition.tag, id) {
            Some(reason) => format!("- ({reason})"),
            None if obliged == "client" => "- (the client's)".into(),
            None => "-".into(),
        },
    };
    format!("| {id} | {title} | {obliged} | {outside} | {proof} |")
}
