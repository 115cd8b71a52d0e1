//! The last value of an address, for those who subscribe later.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::address::{Pattern, Segment};
use crate::{Instant, Message};

/// Retained messages of one vhost by their key in `amq.topic`.
#[derive(Debug, Default)]
pub(crate) struct Retained(BTreeMap<Box<str>, Message>);

impl Retained {
    /// Sets the last value of its key; an empty body clears it [MQTT-3.3.1-6].
    pub(crate) fn set(&mut self, message: &Message) {
        let key = message.routing_key();
        if message.body().is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.into(), message.clone());
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What matches `pattern` and has not expired, by key. Keys that begin with `$` match no filter that an MQTT
    /// client may subscribe to.
    pub(crate) fn matching(&self, pattern: &Pattern, now: Instant) -> Vec<Message> {
        let lives = |message: &&Message| message.expires_at().is_none_or(|at| at > now);
        if let Some(key) = pattern.as_key() {
            return self.0.get(&*key).filter(lives).cloned().into_iter().collect();
        }
        let prefix = literal_prefix(pattern);
        self.0
            .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix))
            .filter(|(key, _)| pattern.matches(key) && !key.starts_with('$'))
            .map(|(_, message)| message)
            .filter(lives)
            .cloned()
            .collect()
    }
}

/// What every key that matches begins with.
fn literal_prefix(pattern: &Pattern) -> String {
    let literals = pattern.segments().iter().map_while(|segment| match segment {
        Segment::Literal(word) => Some(&**word),
        Segment::One | Segment::Many => None,
    });
    let words: Vec<&str> = literals.collect();
    words.join(".")
}
