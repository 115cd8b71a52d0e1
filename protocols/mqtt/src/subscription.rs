//! The filters of one session: which of them a delivery answers, and what that makes of it.

use std::collections::BTreeMap;

use trivium_core::ConsumerId;
use trivium_core::control::Source;

use crate::address::encode_queue_topic;

/// One granted filter.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) source: Source,
    /// Granted.
    pub(crate) qos: u8,
    /// Subscription Identifier.
    pub(crate) id: Option<u32>,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    /// Served by [`crate::ENCODER`] and not through the session's queue.
    pub(crate) is_fire_and_forget: bool,
}

impl Filter {
    /// What each delivery of a subscription with a consumer of its own answers.
    fn matched(&self) -> Option<Matched> {
        let queue_topic = match &self.source {
            Source::Filter(_) => return None,
            Source::Queue(name) => {
                let mut topic = Vec::new();
                encode_queue_topic(name, &mut topic);
                Some(String::from_utf8_lossy(&topic).into())
            }
            Source::Shared { .. } => None,
        };
        Some(Matched {
            qos: self.qos,
            retain_as_published: self.retain_as_published,
            ids: self.id.into_iter().collect(),
            queue_topic,
        })
    }
}

/// What the filters that match a delivery say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    /// The highest one granted [MQTT-3.3.4-2].
    pub(crate) qos: u8,
    pub(crate) retain_as_published: bool,
    /// Of all matching subscriptions that have one [MQTT-3.3.4-4].
    pub(crate) ids: Vec<u32>,
    /// The topic of deliveries from a queue, which are not sent under their own.
    pub(crate) queue_topic: Option<Box<str>>,
}

impl Matched {
    /// A fire-and-forget subscription, whose packets say nothing of it.
    pub(crate) const NONE: Self =
        Self { qos: 0, retain_as_published: false, ids: Vec::new(), queue_topic: None };
}

/// All filters of a session, by their text [MQTT-3.10.4-1].
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    filters: BTreeMap<String, Filter>,
    /// Subscriptions with a consumer of their own, and what their deliveries answer.
    consumers: BTreeMap<ConsumerId, (String, Matched)>,
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

    /// Adds a filter, or replaces the one with the same text [MQTT-3.8.4-3]. `consumer` is where
    /// its deliveries come from.
    pub(crate) fn insert(&mut self, text: String, filter: Filter, consumer: Option<ConsumerId>) {
        self.consumers.retain(|_, (known, _)| *known != text);
        if let (Some(consumer), Some(matched)) = (consumer, filter.matched()) {
            self.consumers.insert(consumer, (text.clone(), matched));
        }
        self.filters.insert(text, filter);
        self.last.is_known = false;
    }

    /// The subscription to `filter`.
    pub(crate) fn get(&self, filter: &str) -> Option<&Filter> {
        self.filters.get(filter)
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.filters.remove(filter);
        self.consumers.retain(|_, (known, _)| known != filter);
        self.last.is_known = false;
    }

    /// What a delivery from a consumer of one subscription answers; `None` for the session's
    /// queue.
    pub(crate) fn of_consumer(&self, consumer: ConsumerId) -> Option<&Matched> {
        self.consumers.get(&consumer).map(|(_, matched)| matched)
    }

    /// What matches a delivery from the session's queue; `is_own` for what this client
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
            let Source::Filter(pattern) = &filter.source else { continue };
            if filter.is_fire_and_forget || (filter.no_local && is_own) || !pattern.matches(key) {
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
