//! The last value of an address, for those who subscribe later.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

use crate::address::{Pattern, Segment};
use crate::routing::History;
use crate::{Instant, Message};

/// Entries looked at before the lock is given to others: a snapshot of many must not hold up who
/// publishes.
const SLICE_ENTRIES: usize = 256;

/// Retained messages of one vhost by their key in `amq.topic`.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    entries: BTreeMap<Box<str>, Entry>,
    /// Of the latest change.
    change: u64,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    /// Which change set it.
    change: u64,
}

/// A part of what matches a pattern.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) messages: Vec<Message>,
    /// Where the next slice begins; `None` after the last.
    pub(crate) next: Option<Box<str>>,
}

/// Which changes a snapshot is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes {
    pub(crate) after: u64,
    pub(crate) through: u64,
}

impl Retained {
    /// Sets the last value of its key; an empty body clears it [MQTT-3.3.1-6].
    pub(crate) fn set(&mut self, message: &Message) {
        self.change += 1;
        let key = message.routing_key();
        if message.body().is_empty() {
            self.entries.remove(key);
        } else {
            let entry = Entry { message: message.clone(), change: self.change };
            self.entries.insert(key.into(), entry);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The latest change.
    pub(crate) const fn change(&self) -> u64 {
        self.change
    }

    /// What matches `pattern`, by key, from `start` on, was set by one of `changes`, and has not
    /// expired. Looks at [`SLICE_ENTRIES`] entries at most. Keys that begin with `$` match no
    /// filter that an MQTT client may subscribe to, and no snapshot of others.
    pub(crate) fn slice(
        &self,
        pattern: &Pattern,
        start: Option<&str>,
        changes: Changes,
        now: Instant,
    ) -> Slice {
        let is_wanted = |entry: &Entry| {
            (changes.after + 1..=changes.through).contains(&entry.change)
                && entry.message.expires_at().is_none_or(|at| at > now)
        };
        if let Some(key) = pattern.as_key() {
            let entry = self.entries.get(&*key).filter(|entry| is_wanted(entry));
            let messages = entry.map(|entry| entry.message.clone()).into_iter().collect();
            return Slice { messages, next: None };
        }
        let prefix = literal_prefix(pattern);
        let start = start.unwrap_or(&prefix);
        let mut range = self
            .entries
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&prefix));
        let messages = range
            .by_ref()
            .take(SLICE_ENTRIES)
            .filter(|(key, entry)| {
                is_wanted(entry) && !key.starts_with('$') && pattern.matches(key)
            })
            .map(|(_, entry)| entry.message.clone())
            .collect();
        Slice { messages, next: range.next().map(|(key, _)| key.clone()) }
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

/// Keeps a message for those who come later: as the last of its address in `retained`, and where it
/// passes an exchange that remembers.
#[cold]
pub(crate) fn keep(
    message: &Message,
    retained: Option<MutexGuard<'_, Retained>>,
    histories: &[Arc<History>],
) {
    if let Some(mut retained) = retained {
        retained.set(message);
    }
    for history in histories {
        history.keep(message);
    }
}
