//! Which numbered statements of MQTT 5 and 3.1.1 are proven by which test: `protocols/mqtt/CONFORMANCE.md`.
//!
//! A test names what it proves in its doc comment, as `[MQTT5-3.1.2-4]` or `[MQTT311-3.1.2-6]`;
//! [`proofs`] reads the sources for that. The statements are those of the OASIS specifications
//! (Copyright OASIS Open 2014, 2019; quoted as their notices permit): `obliged` is who is bound,
//! `outside` whether a client can observe it (`yes`), observe what happens when the client breaks it
//! (`reaction`), only under a configuration or a rare condition (`partly`), or not at all (`no`).

mod proofs;
mod statements;
mod table;

use std::path::Path;

use statements::{Edition, Statement};

/// Set to `1`, this variable writes the table instead of comparing it.
const WRITE: &str = "TRIVIUM_WRITE_CONFORMANCE";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn the_table_says_what_is_proven() {
    let path = root().join("protocols/mqtt/CONFORMANCE.md");
    let measured = table::render(&Edition::both(), &proofs::find(root()));
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        return std::fs::write(&path, measured).expect("CONFORMANCE.md can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == measured,
        "protocols/mqtt/CONFORMANCE.md is stale. Write it anew and read the difference before you \
         commit:\n{WRITE}=1 cargo test -p trivium-tests --test conformance"
    );
}

#[test]
fn nineteen_of_twenty_observable_statements_are_proven_and_the_rest_has_a_reason() {
    let proofs = proofs::find(root());
    for edition in Edition::both() {
        let observable: Vec<&Statement> =
            edition.statements.iter().filter(|statement| statement.is_observable()).collect();
        let is_proven = |id: &str| proofs.contains_key(&edition.name_of(id));
        let (proven, open): (Vec<&Statement>, Vec<&Statement>) =
            observable.iter().copied().partition(|statement| is_proven(&statement.id));
        assert!(
            proven.len() * 100 >= observable.len() * 95,
            "{}: {} of {} are proven; open: {:?}",
            edition.title,
            proven.len(),
            observable.len(),
            open.iter().map(|statement| &statement.id).collect::<Vec<_>>()
        );
        for statement in open {
            let reason = table::reason(edition.tag, &statement.id);
            assert!(reason.is_some(), "{} {} is not proven: why?", edition.title, statement.id);
        }
    }
}

#[test]
fn every_proof_names_a_statement() {
    let editions = Edition::both();
    let known: std::collections::BTreeSet<String> = editions
        .iter()
        .flat_map(|edition| edition.statements.iter().map(|s| edition.name_of(&s.id)))
        .collect();
    for (name, places) in proofs::find(root()) {
        assert!(known.contains(&name), "{places:?} proves {name}, which there is not");
    }
}
