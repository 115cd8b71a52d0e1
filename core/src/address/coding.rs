//! The shift coding between levels and words.
//!
//! Plain text looks the same on both sides, as in RabbitMQ (`a/b` is `a.b`). What one side cannot
//! say raw is percent-coded there, and text that already reads like such a code gets one more
//! `25`, so that the mapping is one to one in both directions and needs no escape of `%` itself
//! (`50%` stays `50%`). Only upper-case hex counts.

use super::Pattern;

/// How the levels of an MQTT client become words and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// One to one, whatever stands in them.
    #[default]
    Shift,
    /// As in RabbitMQ: `/` and `.` change places, and nothing else. Topics with dots come back with
    /// slashes, but consumers bound to `dev.192.168.1.1.#` get what is published to
    /// `dev/192.168.1.1/x`.
    Plain,
}

impl Coding {
    /// As [`words_of_topic`].
    pub fn words_of_topic(self, topic: &str, out: &mut String) {
        match self {
            Self::Shift => words_of_topic(topic, out),
            Self::Plain => out.extend(topic.chars().map(|c| if c == '/' { '.' } else { c })),
        }
    }

    /// As [`topic_of_words`]; of keys in plain words no topic can hold `+`, `#` and NUL.
    pub fn topic_of_words(self, key: &str, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Shift => topic_of_words(key, out),
            Self::Plain => {
                let fits = !key.is_empty() && key.len() <= super::TOPIC_BYTES_MAX;
                let is_topic = fits && !key.contains(['+', '#', '\0']);
                if is_topic {
                    out.extend(key.bytes().map(|octet| if octet == b'.' { b'/' } else { octet }));
                }
                is_topic
            }
        }
    }

    /// What a valid filter asks for.
    #[must_use]
    pub fn pattern_of_filter(self, filter: &str) -> Pattern {
        match self {
            Self::Shift => Pattern::from_filter(filter),
            Self::Plain => Pattern::from_plain_filter(filter),
        }
    }
}

/// Codes for octets that a level cannot hold raw, and a word can.
const WORD_ONLY: [(u8, &[u8; 2]); 4] = [(b'/', b"2F"), (b'+', b"2B"), (b'#', b"23"), (0, b"00")];

/// Code for the octet that a word cannot hold raw, and a level can.
const LEVEL_ONLY: [(u8, &[u8; 2]); 1] = [(b'.', b"2E")];

/// One direction of the coding.
struct Direction {
    /// What separates segments on this side, and on the other.
    separators: (u8, u8),
    /// Octets that the other side cannot hold raw: they are coded, their codes get one more `25`.
    coded: &'static [(u8, &'static [u8; 2])],
    /// Octets that this side cannot hold raw: their codes are decoded or lose one `25`.
    decoded: &'static [(u8, &'static [u8; 2])],
}

const TO_WORDS: Direction =
    Direction { separators: (b'/', b'.'), coded: &LEVEL_ONLY, decoded: &WORD_ONLY };
const TO_LEVELS: Direction =
    Direction { separators: (b'.', b'/'), coded: &WORD_ONLY, decoded: &LEVEL_ONLY };

/// Appends the routing key (words) of an MQTT topic or of one of its levels to `out`.
pub fn words_of_topic(topic: &str, out: &mut String) {
    if !topic.bytes().any(|octet| octet == b'.' || octet == b'%') {
        // The common case: nothing but the separator differs.
        let mut rest = topic;
        while let Some(at) = rest.find('/') {
            out.push_str(&rest[..at]);
            out.push('.');
            rest = &rest[at + 1..];
        }
        return out.push_str(rest);
    }
    let mut bytes = std::mem::take(out).into_bytes();
    transcode(topic.as_bytes(), &TO_WORDS, &mut bytes);
    // ASCII was replaced by ASCII, so it still is UTF-8.
    *out = String::from_utf8(bytes).unwrap_or_default();
}

/// Appends the MQTT topic (levels) of a routing key (words) to `out`. False when no MQTT topic
/// can be it (empty, or above 65,535 bytes), and then `out` is as before.
pub fn topic_of_words(key: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let key = key.as_bytes();
    if key.iter().any(|octet| matches!(octet, b'%' | b'/' | b'+' | b'#' | 0)) {
        transcode(key, &TO_LEVELS, out);
    } else {
        out.extend(key.iter().map(|&octet| if octet == b'.' { b'/' } else { octet }));
    }
    let fits = !key.is_empty() && out.len() - start <= super::TOPIC_BYTES_MAX;
    if !fits {
        out.truncate(start);
    }
    fits
}

fn transcode(input: &[u8], direction: &Direction, out: &mut Vec<u8>) {
    let mut rest = input;
    while let [octet, tail @ ..] = rest {
        rest = tail;
        if *octet == direction.separators.0 {
            out.push(direction.separators.1);
        } else if let Some((_, code)) = direction.coded.iter().find(|(raw, _)| raw == octet) {
            out.push(b'%');
            out.extend_from_slice(*code);
        } else if *octet == b'%' {
            rest = transcode_code(tail, direction, out);
        } else {
            out.push(*octet);
        }
    }
}

/// What follows a `%`: `25` any number of times, then a code of either side, or just text.
fn transcode_code<'a>(tail: &'a [u8], direction: &Direction, out: &mut Vec<u8>) -> &'a [u8] {
    let shifts = tail.chunks_exact(2).take_while(|pair| *pair == b"25").count();
    let Some((code, rest)) = tail[2 * shifts..].split_first_chunk::<2>() else {
        out.push(b'%');
        return tail;
    };
    if direction.coded.iter().any(|(_, coded)| *coded == code) {
        out.extend_from_slice(b"%25");
        return tail;
    }
    let Some((raw, _)) = direction.decoded.iter().find(|(_, decoded)| *decoded == code) else {
        out.push(b'%');
        return tail;
    };
    if shifts == 0 {
        out.push(*raw);
        return rest;
    }
    out.push(b'%');
    &tail[2..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(topic: &str) -> String {
        let mut out = String::new();
        words_of_topic(topic, &mut out);
        out
    }

    fn levels(key: &str) -> Option<String> {
        let mut out = b"kept".to_vec();
        topic_of_words(key, &mut out).then(|| String::from_utf8(out.split_off(4)).unwrap())
    }

    #[test]
    fn examples_of_the_mapping() {
        for (topic, key) in [
            ("a/b", "a.b"),
            ("192.168/x", "192%2E168.x"),
            ("%2E", "%252E"),
            ("%25252E", "%2525252E"),
            ("a%2Fb", "a/b"),
            ("a%252Fb", "a%2Fb"),
            ("%2B/%23/%00", "+.#.\0"),
            ("50%", "50%"),
            ("a%20b/%2e", "a%20b.%2e"),
            ("/", "."),
            ("a*b/*", "a*b.*"),
            ("%25", "%25"),
            ("%252", "%252"),
        ] {
            assert_eq!(words(topic), key, "words of {topic}");
            assert_eq!(levels(key).as_deref(), Some(topic), "levels of {key}");
        }
    }

    #[test]
    fn plain_words_are_rabbitmqs() {
        let mut key = String::new();
        Coding::Plain.words_of_topic("dev/192.168.1.1/%2E", &mut key);
        assert_eq!(key, "dev.192.168.1.1.%2E");
        assert!(Pattern::from_key("dev.192.168.1.1.#").matches(&key));
        assert!(Coding::Plain.pattern_of_filter("dev/192.168.1.1/+").matches(&key));
        assert!(Coding::Plain.pattern_of_filter("dev/#").matches(&key));
        assert!(!Coding::Plain.pattern_of_filter("dev/+/+").matches(&key));
        let mut topic = Vec::new();
        assert!(Coding::Plain.topic_of_words(&key, &mut topic));
        assert_eq!(topic, b"dev/192/168/1/1/%2E");
        for key in ["", "a.+", "a#", "\0"] {
            assert!(!Coding::Plain.topic_of_words(key, &mut topic), "{key}");
        }
    }

    #[test]
    fn what_no_topic_can_be() {
        assert_eq!(levels(""), None);
        assert_eq!(levels(&"+".repeat(30_000)), None);
        let mut out = b"kept".to_vec();
        assert!(!topic_of_words("", &mut out));
        assert_eq!(out, b"kept");
    }

    proptest! {
        #[test]
        fn topics_survive_words(topic in "([a/.%]|%25|%2E|%2F|%2B|%23|%00|25|2E|2F|é){1,12}") {
            prop_assert_eq!(levels(&words(&topic)), Some(topic));
        }

        #[test]
        fn keys_survive_levels(key in "([a/.%+#*\u{0}]|%25|%2E|%2F|%2B|%23|%00|25|2E|2F|é){1,12}") {
            let topic = levels(&key).unwrap();
            prop_assert!(!topic.contains(['+', '#', '\0']));
            prop_assert_eq!(words(&topic), key);
        }

        #[test]
        fn segments_stay_segments(topic in "[a/.%2EF]{1,12}") {
            prop_assert_eq!(words(&topic).split('.').count(), topic.split('/').count());
        }
    }
}
