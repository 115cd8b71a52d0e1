//! What there is to talk to: queues and exchanges that all clients of a round share, each with
//! one declaration, so that declaring it again is no error.

use trivium_core::{ApplyTo, Policy, Table, Value};

use crate::random::Random;

/// Queues by name: the bits of their declaration (2 is durable) and arguments, in the words of
/// the golden traces.
pub(super) const QUEUES: [(&str, &str, &str); 14] = [
    ("plain", "00", ""),
    ("kept", "02", ""),
    (
        "short-lived",
        "02",
        r#"u8["x-message-ttl"] "I" u32:500 u8["x-dead-letter-exchange"] "S" u32[] u8["x-dead-letter-routing-key"] "S" u32["kept"]"#,
    ),
    (
        "last-three",
        "02",
        r#"u8["x-max-length"] "I" u32:3 u8["x-dead-letter-exchange"] "S" u32["fan"]"#,
    ),
    (
        "first-two",
        "02",
        r#"u8["x-max-length"] "I" u32:2 u8["x-overflow"] "S" u32["reject-publish"]"#,
    ),
    (
        "one-only",
        "00",
        r#"u8["x-max-length"] "I" u32:1 u8["x-overflow"] "S" u32["reject-publish-dlx"] u8["x-dead-letter-exchange"] "S" u32[] u8["x-dead-letter-routing-key"] "S" u32["urgent"]"#,
    ),
    ("urgent", "02", r#"u8["x-max-priority"] "B" 05"#),
    ("single", "02", r#"u8["x-single-active-consumer"] "t" 01"#),
    (
        "quorum",
        "02",
        r#"u8["x-queue-type"] "S" u32["quorum"] u8["x-delivery-limit"] "I" u32:2 u8["x-dead-letter-exchange"] "S" u32["words"]"#,
    ),
    (
        "quorum-single",
        "02",
        r#"u8["x-queue-type"] "S" u32["quorum"] u8["x-single-active-consumer"] "t" 01"#,
    ),
    ("passing", "00", r#"u8["x-expires"] "I" u32:5000"#),
    ("patient", "02", r#"u8["x-consumer-timeout"] "I" u32:60000"#),
    (
        "light",
        "02",
        r#"u8["x-max-length-bytes"] "I" u32:200 u8["x-dead-letter-exchange"] "S" u32["cycle"]"#,
    ),
    (
        "dies-here",
        "00",
        r#"u8["x-message-ttl"] "I" u32:0 u8["x-dead-letter-exchange"] "S" u32[] u8["x-dead-letter-routing-key"] "S" u32["dies-here"]"#,
    ),
];

/// Exchanges by name: type, bits and arguments.
pub(super) const EXCHANGES: [(&str, &str, &str, &str); 9] = [
    ("one", "direct", "02", r#"u8["alternate-exchange"] "S" u32["fan"]"#),
    ("fan", "fanout", "02", ""),
    ("words", "topic", "02", ""),
    ("fields", "headers", "00", ""),
    ("hash", "x-consistent-hash", "02", ""),
    ("dice", "x-random", "00", ""),
    ("recent", "x-recent-history", "00", r#"u8["x-recent-history-length"] "I" u32:3"#),
    ("cycle", "direct", "02", r#"u8["alternate-exchange"] "S" u32["one"]"#),
    ("amq.topic", "topic", "02", ""),
];

/// Words of keys and topics.
const WORDS: [&str; 4] = ["a", "b", "c", "kept"];

pub(super) fn queue(random: &mut Random) -> &'static str {
    random.pick(&QUEUES).0
}

/// A key that a message is published with.
pub(super) fn key(random: &mut Random) -> String {
    let words: Vec<_> = (0..random.between(1, 4)).map(|_| *random.pick(&WORDS)).collect();
    words.join(".")
}

/// A pattern of the topic exchange.
pub(super) fn pattern(random: &mut Random) -> String {
    let words: Vec<_> =
        (0..random.between(1, 4)).map(|_| *random.pick(&["a", "b", "c", "*", "#"])).collect();
    words.join(".")
}

/// A policy that changes what queues do while they work.
pub(crate) fn policy(random: &mut Random) -> Policy {
    let number = |random: &mut Random, max| Value::Uint(random.below(max) as u64, 8);
    let definition = match random.below(6) {
        0 => ("max-length", number(random, 5)),
        1 => ("message-ttl", number(random, 2000)),
        2 => ("dead-letter-exchange", Value::text("fan")),
        3 => ("max-length-bytes", number(random, 500)),
        4 => ("consumer-timeout", Value::Int(60_000, 8)),
        _ => ("delivery-limit", number(random, 3)),
    };
    Policy {
        name: if random.chance(50) { "one".into() } else { "other".into() },
        pattern: (*random.pick(&["", "^k", "r", "quorum"])).to_owned(),
        priority: *random.pick(&[0, 1, 2]),
        apply_to: ApplyTo::Queues,
        definition: Table(vec![(definition.0.to_owned(), definition.1)]),
    }
}
