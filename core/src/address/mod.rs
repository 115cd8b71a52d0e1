//! Addresses.

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// This word.
    Literal(Box<str>),
    /// Any one word.
    One,
    /// Any number of words, none included.
    Many,
}

/// A binding key or topic filter as typed segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Vec<Segment>);

impl Pattern {
    /// Reads an AMQP binding key: words split at `.`, `*` one word, `#` any number.
    pub fn from_key(_key: &str) -> Self {
        todo!()
    }
    /// Reads an MQTT topic filter that the caller has validated: levels split at `/`, `+` one, `#` any number.
    pub fn from_filter(_filter: &str) -> Self {
        todo!()
    }
    /// Whether it matches a routing key in words.
    pub fn matches(&self, _key: &str) -> bool {
        todo!()
    }
}

/// Appends the routing key (words) of an MQTT topic (levels) to `out`.
pub fn words_of_topic(_topic: &str, _out: &mut String) {
    todo!()
}
/// Appends the MQTT topic (levels) of a routing key (words) to `out`; false when no MQTT topic can be it
/// (empty, or above 65,535 bytes), and then `out` is as before.
pub fn topic_of_words(_key: &str, _out: &mut Vec<u8>) -> bool {
    todo!()
}
