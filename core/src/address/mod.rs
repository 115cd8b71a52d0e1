//! Addresses: keys are words split at `.`; MQTT topics are levels split at `/`; the two are a
//! bijection ([`words_of_topic`], [`topic_of_words`]).
//!
//! A [`Pattern`] is a list of typed segments, parsed once by the rules of the protocol it came in,
//! and never a string that another protocol reads again.

mod coding;
mod pattern;

pub use coding::{Coding, topic_of_words, words_of_topic};
pub use pattern::{Pattern, Segment, words};

/// Bytes in an MQTT topic (a two-byte length on the wire).
pub const TOPIC_BYTES_MAX: usize = 65_535;
