//! The last value of an address, for those who subscribe later.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

use crate::address::{Pattern, Segment};
use crate::log::Position;
use crate::routing::History;
use crate::{Instant, Message, QueueId};

/// Entries looked at before the lock is given to others: a snapshot of many must not hold up who
/// publishes.
const SLICE_ENTRIES: usize = 256;

/// Retained messages of one vhost by their key in `amq.topic`.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    entries: BTreeMap<Box<str>, Entry>,
    /// Of the latest change.
    change: u64,
    /// Entries with a message.
    count: usize,
    /// The hidden queue that the log knows them by; `None` when they are not kept on disk.
    queue: Option<QueueId>,
}

#[derive(Debug)]
struct Entry {
    /// `None` once it is cleared and the log does not know that yet.
    message: Option<Message>,
    /// Which change set it.
    change: u64,
    /// What the log has of this address: which change, and where.
    logged: Option<(u64, Position)>,
}

/// What the log must hear of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Nothing: a later change is there already.
    Nothing,
    /// The new value, and that the one at this position left.
    Value(Option<Position>),
    /// That the one at this position left.
    Cleared(Option<Position>),
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
    /// Returns the number of the change, if the log must hear of it.
    pub(crate) fn set(&mut self, message: &Message) -> Option<u64> {
        self.change += 1;
        let (key, change) = (message.routing_key(), self.change);
        let value = (!message.body().is_empty()).then(|| message.clone());
        let had = self.entries.get(key).is_some_and(|entry| entry.message.is_some());
        self.count += usize::from(value.is_some());
        self.count -= usize::from(had);
        match self.entries.get_mut(key) {
            None if value.is_some() => {
                self.entries.insert(key.into(), Entry { message: value, change, logged: None });
            }
            None => return None,
            Some(_) if value.is_none() && self.queue.is_none() => drop(self.entries.remove(key)),
            Some(entry) => (entry.message, entry.change) = (value, change),
        }
        self.queue.map(|_| change)
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// The hidden queue that the log knows them by.
    pub(crate) const fn queue(&self) -> Option<QueueId> {
        self.queue
    }

    /// Keeps them in the log, under that id.
    pub(crate) const fn keep_as(&mut self, queue: QueueId) {
        self.queue = Some(queue);
    }

    /// What the log must hear of `change`, which set `message`. Who asks tells the log before it
    /// lets go of the lock, and then [`Retained::told`].
    pub(crate) fn telling(&self, message: &Message, change: u64) -> Telling {
        let Some(entry) = self.entries.get(message.routing_key()) else { return Telling::Nothing };
        if entry.logged.is_some_and(|(logged, _)| logged > change) {
            return Telling::Nothing;
        }
        let before = entry.logged.map(|(_, position)| position);
        if message.body().is_empty() { Telling::Cleared(before) } else { Telling::Value(before) }
    }

    /// The log has heard of `change`, and has the value at `position`.
    pub(crate) fn told(&mut self, message: &Message, change: u64, position: Option<Position>) {
        let key = message.routing_key();
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.logged = position.map(|position| (change, position));
        if entry.message.is_none() && entry.change == change {
            self.entries.remove(key);
        }
    }

    /// Puts back what the log has at `position`. Returns what it is to forget: what has expired,
    /// and what came before another value.
    pub(crate) fn restore(
        &mut self,
        message: &Message,
        position: Position,
        now: Instant,
    ) -> Option<Position> {
        let key = message.routing_key();
        let is_expired = message.expires_at().is_some_and(|at| at <= now);
        let known = self.entries.get(key).map(|entry| entry.logged.map(|(_, at)| at));
        match known {
            _ if is_expired => return Some(position),
            Some(None) => return Some(position),
            Some(Some(at)) if at > position => return Some(position),
            _ => {}
        }
        self.change += 1;
        self.count += usize::from(known.is_none());
        let (change, logged) = (self.change, Some((self.change, position)));
        let entry = Entry { message: Some(message.clone()), change, logged };
        self.entries.insert(key.into(), entry);
        known.flatten()
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
                && entry
                    .message
                    .as_ref()
                    .is_some_and(|message| message.expires_at().is_none_or(|at| at > now))
        };
        if let Some(key) = pattern.as_key() {
            let entry = self.entries.get(&*key).filter(|entry| is_wanted(entry));
            let messages = entry.and_then(|entry| entry.message.clone()).into_iter().collect();
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
            .filter_map(|(_, entry)| entry.message.clone())
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
/// passes an exchange that remembers. Returns the change of `retained` that the log must hear of.
#[cold]
pub(crate) fn keep(
    message: &Message,
    retained: Option<MutexGuard<'_, Retained>>,
    histories: &[Arc<History>],
) -> Option<u64> {
    let change = retained.and_then(|mut retained| retained.set(message));
    for history in histories {
        history.keep(message);
    }
    change
}
