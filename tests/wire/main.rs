//! Golden wire traces: every file below `amqp/`, `mqtt/`, `stomp/` and `cross/` is a conversation,
//! octet for octet, as the specification has it.
//!
//! ```text
//! > CONNECT\naccept-version:1.2\n\n\0     the client sends; lines in a row are one write
//! < CONNECTED\nversion:1.2\n*\n\0         the client reads all of this; `*` is any run of octets
//! <                                       the client reads nothing
//! ! durable                               the world moves (see `trace::Move`)
//! a> ...                                  one of several clients; in `cross/` named as what it speaks
//! = opening                               the lines of `opening.part` in the same folder
//! ```
//!
//! STOMP is written as text with the escapes `\n \r \0 \\ \* \xNN` (`text.rs`), AMQP and MQTT in
//! a small assembler whose length fields fill themselves in (`assembler.rs`).
//!
//! Every trace runs three times: over the real core without a socket, on the log that makes
//! nothing durable before `! durable`, whole and byte by byte (`sans_io.rs`); and over TCP against
//! a gateway (`tcp.rs`), where time and durability are real: `! durable` is skipped, and what comes
//! before it may come together with what follows. Those of STOMP and AMQP run over WebSocket, too
//! (`websocket.rs`).
//!
//! What RabbitMQ answers to the same octets is recorded, and compared (`oracle.rs`).

mod assembler;
mod coverage;
mod header_order;
mod oracle;
mod pattern;
mod sans_io;
mod stomp_coverage;
mod tcp;
mod text;
mod trace;
mod websocket;

use std::path::Path;

use trace::Trace;

/// Every trace, in the order of their names.
fn traces() -> Vec<Trace> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire");
    let mut paths = Vec::new();
    for protocol in ["amqp", "mqtt", "stomp", "cross"] {
        for entry in folder.join(protocol).read_dir().expect("a folder of traces is readable") {
            let path = entry.expect("a folder of traces is readable").path();
            if path.extension().is_some_and(|extension| extension == "trace") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Trace::read(path).unwrap_or_else(|error| panic!("{error}"))).collect()
}

/// Runs all traces and reports every one that fails, not only the first.
fn run_all(run: impl Fn(&Trace) -> Result<(), String>) {
    let traces = traces();
    let failures: Vec<_> = traces
        .iter()
        .filter_map(|trace| run(trace).err().map(|error| format!("{}:{error}", trace.name)))
        .collect();
    let (failed, all) = (failures.len(), traces.len());
    assert!(failures.is_empty(), "{failed} of {all} traces fail:\n\n{}", failures.join("\n\n"));
}

#[test]
fn traces_without_a_socket() {
    run_all(|trace| sans_io::run(trace, usize::MAX));
}

#[test]
fn traces_without_a_socket_byte_by_byte() {
    run_all(|trace| sans_io::run(trace, 1));
}

#[test]
fn traces_over_tcp() {
    run_all(|trace| tcp::run(trace, tcp::Carrier::Tcp));
}

/// MQTT's clients say who they are as they like over TCP, and must say it over WebSocket.
#[test]
fn traces_over_websocket() {
    run_all(|trace| match trace.name.split_once('/') {
        Some(("stomp" | "amqp", _)) => tcp::run(trace, tcp::Carrier::WebSocket),
        _ => Ok(()),
    });
}

#[test]
fn traces_as_rabbitmq_answers_them() {
    let traces = traces();
    if let Some(peer) = oracle::Peer::from_environment() {
        peer.record(&traces).unwrap_or_else(|error| panic!("{error}"));
    }
    let failures = oracle::compare(&traces);
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} differences without a reason:\n\n{}",
        failures.join("\n")
    );
}
