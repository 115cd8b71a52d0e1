//! What survives between the protocols: every pair of them, every field.
//!
//! Each row of the matrix is a kind of thing that a message can say. Values are drawn for it, a
//! client of one protocol publishes them, a client of another reads them and publishes exactly what
//! it read, as an echo service does, and the first reads the answer. The clients are small readers
//! and writers of their own (`amqp.rs`, `mqtt.rs`, `stomp.rs`) in front of the real adapters and
//! the real core, without a socket. What comes of it is the document `core/MAPPING.md`.
//!
//! ```text
//! rows -> values -> [origin] -> core -> [echo] -> core -> [origin] -> verdict -> document
//! ```

mod amqp;
mod document;
mod harmless;
mod message;
mod mqtt;
mod octets;
mod peer;
mod rows;
mod stomp;
mod verdict;

use std::path::Path;

/// Set to `1`, this variable writes the document instead of comparing it.
const WRITE: &str = "TRIVIUM_WRITE_MAPPING";

#[test]
fn the_document_says_what_survives() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/MAPPING.md");
    let measured = document::render();
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        return std::fs::write(&path, measured).expect("core/MAPPING.md can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let mut lines = written.lines().zip(measured.lines());
    let first = lines.find(|(written, measured)| written != measured);
    let (says, does) = first.unwrap_or(("its last lines", "others"));
    assert!(
        written == measured,
        "core/MAPPING.md is not what the broker does. First difference:\n\
         written:  {says}\n\
         measured: {does}\n\
         If the broker is right, write it anew and read the difference before you commit:\n\
         {WRITE}=1 cargo test -p trivium-tests --test matrix"
    );
}
