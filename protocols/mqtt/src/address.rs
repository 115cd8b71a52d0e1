//! Topic names and filters: which are valid, and where in the broker they lead.

use trivium_core::address::Coding;
use trivium_core::control::Source;

use crate::ReasonCode;
use crate::fault::Fault;
use crate::guard::checked_text;

/// The exchange of topics.
pub(crate) const TOPIC_EXCHANGE: &str = "amq.topic";

/// Topics that are a queue's name, through the default exchange: what a Response Topic says when
/// the reply goes to a queue of another protocol.
const QUEUE_PREFIX: &str = "$queue/";

/// What shared subscriptions begin with (MQTT 5, section 4.8.2).
const SHARE_PREFIX: &str = "$share/";

/// The longest routing key; a topic's dots are coded in three octets each.
const KEY_BYTES_MAX: usize = 65_535;

/// A valid Topic Name (MQTT 5, section 4.7): not empty, no wildcards. NUL and UTF-8 are the
/// reader's.
pub(crate) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && memchr::memchr2(b'+', b'#', topic.as_bytes()).is_none()
}

/// A valid Topic Filter: `+` a whole level, `#` a whole last level [MQTT-4.7.1-1, -2].
pub(crate) fn is_filter(filter: &str) -> bool {
    if filter.is_empty() {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let is_last = levels.peek().is_none();
        let is_valid = match level {
            "+" => true,
            "#" => is_last,
            _ => memchr::memchr2(b'+', b'#', level.as_bytes()).is_none(),
        };
        if !is_valid {
            return false;
        }
    }
    true
}

/// Whether a filter asks for a shared subscription.
pub(crate) fn is_shared(filter: &str) -> bool {
    filter.starts_with(SHARE_PREFIX)
}

/// Where the messages of a filter come from; `None` for one that is not valid.
pub(crate) fn source_of_filter(filter: &str, coding: Coding) -> Option<Source> {
    if let Some(rest) = filter.strip_prefix(SHARE_PREFIX) {
        // A group has a name without wildcards, and a filter behind it [MQTT-4.8.2-1, -2].
        let (group, filter) = rest.split_once('/')?;
        let is_valid = is_topic(group) && is_filter(filter) && !filter.starts_with('$');
        let (group, pattern) = (group.to_owned(), coding.pattern_of_filter(filter));
        return is_valid.then_some(Source::Shared { group, pattern });
    }
    if let Some(name) = filter.strip_prefix(QUEUE_PREFIX) {
        let mut decoded = String::with_capacity(name.len());
        decode_queue_name(name, &mut decoded);
        // One spelling a queue: unsubscribing one would else end the other.
        let mut topic = Vec::with_capacity(filter.len());
        encode_queue_topic(&decoded, &mut topic);
        let is_valid = is_topic(name) && topic == filter.as_bytes();
        return is_valid.then_some(Source::Queue(decoded));
    }
    is_filter(filter).then(|| Source::Filter(coding.pattern_of_filter(filter)))
}

/// Where a topic leads. Kept from one PUBLISH to the next: most clients repeat their topic, and
/// then it is neither checked nor translated again.
#[derive(Debug, Default)]
pub(crate) struct Target {
    coding: Coding,
    topic: Vec<u8>,
    key: String,
    is_queue: bool,
    refusal: Option<&'static str>,
}

impl Target {
    pub(crate) fn coded(coding: Coding) -> Self {
        Self { coding, ..Self::default() }
    }

    /// The same topic in another coding.
    pub(crate) fn recoded(&self, coding: Coding) -> Result<Self, Fault> {
        let mut target = Self::coded(coding);
        target.point_at(&self.topic)?;
        Ok(target)
    }

    /// Points at `topic`, which is unchecked.
    pub(crate) fn point_at(&mut self, topic: &[u8]) -> Result<(), Fault> {
        if self.topic == topic && !topic.is_empty() {
            return Ok(());
        }
        self.topic.clear();
        let text = checked_text(topic)?;
        if !is_topic(text) {
            return Err(Fault::new(
                ReasonCode::TOPIC_NAME_INVALID,
                "a topic with wildcards, or empty",
            ));
        }
        self.key.clear();
        let queue = text.strip_prefix(QUEUE_PREFIX);
        match queue {
            Some(name) => decode_queue_name(name, &mut self.key),
            None => self.coding.words_of_topic(text, &mut self.key),
        }
        self.is_queue = queue.is_some();
        self.refusal = refusal(text, &self.key);
        self.topic.extend_from_slice(topic);
        Ok(())
    }

    pub(crate) const fn exchange(&self) -> &'static str {
        if self.is_queue { "" } else { TOPIC_EXCHANGE }
    }

    /// Routing key, in words.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Why no client may publish here.
    pub(crate) const fn refusal(&self) -> Option<&'static str> {
        self.refusal
    }
}

fn refusal(topic: &str, key: &str) -> Option<&'static str> {
    let first = topic.split('/').next();
    if matches!(first, Some("$SYS" | "$share")) {
        return Some("publishing to a reserved topic");
    }
    if key.is_empty() {
        return Some("publishing to a queue without a name");
    }
    (key.len() > KEY_BYTES_MAX).then_some("publishing to a topic whose dots make it too long")
}

/// Appends the `$queue/<name>` topic of a queue: `/`, `+`, `#`, `%` and NUL are percent-coded.
pub(crate) fn encode_queue_topic(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(QUEUE_PREFIX.as_bytes());
    encode_level(name, out);
}

/// What a client's responses may be addressed to (MQTT 5, section 4.10.1): topics that begin so.
pub(crate) fn response_information(client_id: &str) -> String {
    let mut topic = b"response/".to_vec();
    encode_level(client_id, &mut topic);
    topic.push(b'/');
    String::from_utf8(topic).unwrap_or_default()
}

/// Appends a name as one level of a topic.
fn encode_level(name: &str, out: &mut Vec<u8>) {
    for &octet in name.as_bytes() {
        match octet {
            b'/' => out.extend_from_slice(b"%2F"),
            b'+' => out.extend_from_slice(b"%2B"),
            b'#' => out.extend_from_slice(b"%23"),
            b'%' => out.extend_from_slice(b"%25"),
            0 => out.extend_from_slice(b"%00"),
            _ => out.push(octet),
        }
    }
}

/// The queue of a `$queue/<name>` topic; `None` for other topics.
pub(crate) fn queue_of_topic(topic: &str) -> Option<String> {
    let name = topic.strip_prefix(QUEUE_PREFIX)?;
    let mut decoded = String::with_capacity(name.len());
    decode_queue_name(name, &mut decoded);
    Some(decoded)
}

/// A `%` that starts none of our codes is itself.
fn decode_queue_name(name: &str, out: &mut String) {
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let plain = match rest.get(at..at + 3) {
            Some("%2F") => Some('/'),
            Some("%2B") => Some('+'),
            Some("%23") => Some('#'),
            Some("%25") => Some('%'),
            Some("%00") => Some('\0'),
            _ => None,
        };
        out.push(plain.unwrap_or('%'));
        rest = &rest[at + if plain.is_some() { 3 } else { 1 }..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_follow_section_4_7_1() {
        for filter in ["a", "/", "a/b", "#", "+", "a/#", "+/a/+", "/#", "//", "$SYS/#", "é/+"] {
            assert!(is_filter(filter), "{filter}");
        }
        for filter in ["", "a#", "a/#/b", "#/", "a+", "+a/b", "++", "a/b+/c", "##"] {
            assert!(!is_filter(filter), "{filter}");
        }
    }

    #[test]
    fn some_topics_are_refused() {
        let refused = |topic: &str| {
            let mut target = Target::default();
            target.point_at(topic.as_bytes()).unwrap();
            target.refusal().is_some()
        };
        for topic in ["$SYS/a", "$SYS", "$share/g/a", "$queue/", &".".repeat(65_535)] {
            assert!(refused(topic));
        }
        for topic in ["a", "$SYSTEM", "$queue/q", &"a".repeat(65_535), "/"] {
            assert!(!refused(topic));
        }
    }

    #[test]
    fn queue_names_survive_the_way_through_a_topic() {
        for name in ["a", "a/b", "50%", "%2F", "a+b#c", "%", "%2", "é%", "amq.gen-x", "\0"] {
            let mut topic = Vec::new();
            encode_queue_topic(name, &mut topic);
            let topic = String::from_utf8(topic).unwrap();
            assert!(is_topic(&topic), "{topic}");
            assert_eq!(queue_of_topic(&topic).as_deref(), Some(name));
        }
        assert_eq!(queue_of_topic("$queue/100%x").as_deref(), Some("100%x"));
        assert_eq!(queue_of_topic("a/b"), None);
    }
}
