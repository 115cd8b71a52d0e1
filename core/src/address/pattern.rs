//! Patterns: what a subscription or a topic binding asks for.

use super::words_of_topic;

/// One segment of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// This word.
    Literal(Box<str>),
    /// Any one word.
    One,
    /// Any number of words, none included.
    Many,
}

/// A binding key or topic filter as typed segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<[Segment]>);

/// The words of a key. The empty key has none, so that only `#` and the empty pattern match it.
pub fn words(key: &str) -> impl Iterator<Item = &str> + Clone {
    key.split('.').filter(move |_| !key.is_empty())
}

impl Pattern {
    /// Reads an AMQP binding key: words split at `.`, `*` is one word, `#` any number.
    #[must_use]
    pub fn from_key(key: &str) -> Self {
        Self(
            words(key)
                .map(|word| match word {
                    "*" => Segment::One,
                    "#" => Segment::Many,
                    _ => Segment::Literal(word.into()),
                })
                .collect(),
        )
    }

    /// Reads an MQTT topic filter that its adapter has validated: levels split at `/`, `+` is one
    /// level, `#` any number [MQTT-4.7.1-2, -3]. Literals are held as words.
    #[must_use]
    pub fn from_filter(filter: &str) -> Self {
        Self(
            filter
                .split('/')
                .map(|level| match level {
                    "+" => Segment::One,
                    "#" => Segment::Many,
                    _ => {
                        let mut word = String::with_capacity(level.len());
                        words_of_topic(level, &mut word);
                        Segment::Literal(word.into())
                    }
                })
                .collect(),
        )
    }

    /// Reads an MQTT topic filter as RabbitMQ does: a dot in a level separates words, too.
    #[must_use]
    pub fn from_plain_filter(filter: &str) -> Self {
        Self(
            filter
                .split(['/', '.'])
                .map(|word| match word {
                    "+" => Segment::One,
                    "#" => Segment::Many,
                    _ => Segment::Literal(word.into()),
                })
                .collect(),
        )
    }

    /// A pattern of these segments.
    #[must_use]
    pub fn of(segments: Vec<Segment>) -> Self {
        Self(segments.into())
    }

    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The only key that matches it, when it has no wildcard.
    #[must_use]
    pub fn as_key(&self) -> Option<String> {
        let mut key = String::new();
        for (index, segment) in self.0.iter().enumerate() {
            let Segment::Literal(word) = segment else { return None };
            if index > 0 {
                key.push('.');
            }
            key.push_str(word);
        }
        Some(key)
    }

    /// As an AMQP binding key would read, for listings. A literal `*` or `#` of MQTT reads like a
    /// wildcard here: nobody parses it back.
    #[must_use]
    pub fn to_binding_key(&self) -> String {
        let segments: Vec<&str> = self
            .0
            .iter()
            .map(|segment| match segment {
                Segment::Literal(word) => word,
                Segment::One => "*",
                Segment::Many => "#",
            })
            .collect();
        segments.join(".")
    }

    /// Whether it matches a routing key in words. Time is at most words times segments, without
    /// recursion: on a mismatch only the latest `#` takes one more word.
    #[must_use]
    pub fn matches(&self, key: &str) -> bool {
        let segments = &self.0;
        let mut rest = words(key);
        let mut at = 0;
        let mut retry = None;
        loop {
            if let Some(Segment::Many) = segments.get(at) {
                at += 1;
                retry = Some((at, rest.clone()));
                continue;
            }
            let matched = match (rest.next(), segments.get(at)) {
                (None, None) => return true,
                (None, Some(_)) => return false,
                (Some(_), Some(Segment::One)) => true,
                (Some(word), Some(Segment::Literal(literal))) => **literal == *word,
                (Some(_), Some(Segment::Many) | None) => false,
            };
            if matched {
                at += 1;
                continue;
            }
            let Some((after, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            at = *after;
            rest = from.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word; exponential, and obviously right.
    fn naive(segments: &[Segment], words: &[&str]) -> bool {
        match (segments.split_first(), words.split_first()) {
            (None, None) => true,
            (Some((Segment::Many, rest)), None) => naive(rest, words),
            (Some((Segment::Many, rest)), Some((_, tail))) => {
                naive(rest, words) || naive(segments, tail)
            }
            (Some((Segment::One, rest)), Some((_, tail))) => naive(rest, tail),
            (Some((Segment::Literal(literal), rest)), Some((word, tail))) => {
                **literal == **word && naive(rest, tail)
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    #[test]
    fn examples() {
        for (pattern, key, expected) in [
            ("a.*.c", "a.b.c", true),
            ("a.#", "a", true),
            ("#", "", true),
            ("*", "", false),
            ("", "", true),
            ("#.c", "a.b.c", true),
            ("#.b.#.d", "a.b.c.b.d", true),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
        ] {
            assert_eq!(Pattern::from_key(pattern).matches(key), expected, "{pattern} on {key}");
        }
        assert!(Pattern::from_filter("a/+/#").matches("a.b"));
        assert!(Pattern::from_filter("1.2/+").matches("1%2E2.x"));
        assert!(!Pattern::from_filter("*/x").matches("a.x"), "* is no wildcard in MQTT");
    }

    proptest! {
        #[test]
        fn matches_as_defined(pattern in "([ab*#]\\.){0,5}[ab*#]", key in "([ab]\\.){0,6}[ab]") {
            let pattern = Pattern::from_key(&pattern);
            let split: Vec<&str> = words(&key).collect();
            prop_assert_eq!(pattern.matches(&key), naive(pattern.segments(), &split));
        }

        /// Section 4.7 of MQTT, level by level; STOMP destinations are AMQP's keys.
        #[test]
        fn filters_and_keys_match_the_same(
            filter in "(([a./%]|%2E|%2F|%252E|25|2E|\\*|é){0,3}/|\\+/){0,3}(#|\\+|[a.%*]{0,3})",
            topic in "([a/.%]|%2E|%2F|%252E|25|2E|\\*|é){1,9}",
        ) {
            prop_assume!(!filter.is_empty());
            let mut levels = topic.split('/');
            let mut expected = true;
            for part in filter.split('/') {
                match (part, levels.next()) {
                    ("#", _) => {
                        levels = "".split('/');
                        levels.next();
                        break;
                    }
                    ("+", Some(_)) => {}
                    (part, Some(level)) if part == level => {}
                    _ => {
                        expected = false;
                        break;
                    }
                }
            }
            expected &= levels.next().is_none();
            let mut key = String::new();
            words_of_topic(&topic, &mut key);
            let pattern = Pattern::from_filter(&filter);
            prop_assert_eq!(pattern.matches(&key), expected, "{} on {}", filter, topic);
            let split: Vec<&str> = words(&key).collect();
            prop_assert_eq!(naive(pattern.segments(), &split), expected);
            // The same list of segments, written as a binding key: `*` and `#` of MQTT are none.
            let is_plain = |segment: &Segment| !matches!(segment, Segment::Literal(word) if matches!(&**word, "*" | "#"));
            if pattern.segments().iter().all(is_plain) && !pattern.to_binding_key().is_empty() {
                prop_assert_eq!(Pattern::from_key(&pattern.to_binding_key()), pattern);
            }
        }
    }
}
