//! The filters of one session: which of them a delivery answers, and what that makes of it.

use std::collections::BTreeMap;

use trivium_core::address::Pattern;

/// One granted filter.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) pattern: Pattern,
    /// Granted.
    pub(crate) qos: u8,
    /// Subscription Identifier.
    pub(crate) id: Option<u32>,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// Served by [`crate::ENCODER`] and not through the session's queue.
    pub(crate) is_fire_and_forget: bool,
}

/// What the filters that match a delivery say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    /// The highest one granted [MQTT-3.3.4-2].
    pub(crate) qos: u8,
    pub(crate) retain_as_published: bool,
    /// Of all matching subscriptions that have one [MQTT-3.3.4-4].
    pub(crate) ids: Vec<u32>,
}

/// All filters of a session, by their text [MQTT-3.10.4-1].
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    filters: BTreeMap<String, Filter>,
    last: Last,
}

/// What the last key matched: traffic repeats its keys.
#[derive(Debug, Default)]
struct Last {
    /// Whether the rest is true.
    is_known: bool,
    key: String,
    is_own: bool,
    matched: Option<Matched>,
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.filters.len()
    }

    pub(crate) fn contains(&self, filter: &str) -> bool {
        self.filters.contains_key(filter)
    }

    /// Adds a filter, or replaces the one with the same text [MQTT-3.8.4-3].
    pub(crate) fn insert(&mut self, text: String, filter: Filter) {
        self.filters.insert(text, filter);
        self.last.is_known = false;
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.filters.remove(filter);
        self.last.is_known = false;
    }

    /// What matches a delivery from the session's queue; `is_own` for what this connection
    /// published. `None` when its subscription is gone.
    pub(crate) fn matching(&mut self, key: &str, is_own: bool) -> Option<&Matched> {
        let last = &self.last;
        if !last.is_known || last.is_own != is_own || last.key != key {
            self.last.matched = self.find(key, is_own);
            self.last.key.clear();
            self.last.key.push_str(key);
            self.last.is_own = is_own;
            self.last.is_known = true;
        }
        self.last.matched.as_ref()
    }

    fn find(&self, key: &str, is_own: bool) -> Option<Matched> {
        let mut matched: Option<Matched> = None;
        for filter in self.filters.values() {
            if filter.is_fire_and_forget
                || (filter.no_local && is_own)
                || !filter.pattern.matches(key)
            {
                continue;
            }
            let matched = matched.get_or_insert_default();
            matched.qos = matched.qos.max(filter.qos);
            matched.retain_as_published |= filter.retain_as_published;
            matched.ids.extend(filter.id);
        }
        matched
    }
}
