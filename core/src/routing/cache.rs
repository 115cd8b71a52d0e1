//! The routes one worker resolved lately, checked against the vhost's routing version. An entry
//! is about 117 bytes with its keys, so the cache belongs to a thread, never to a connection.

use std::sync::Arc;

use super::Route;

#[derive(Debug)]
struct Entry {
    vhost: u32,
    exchange: Box<str>,
    key: Box<str>,
    route: Arc<Route>,
}

/// The default exchange has an empty name, and comparing with an empty box costs 100 ns: its
/// address is nobody's memory.
fn is_same(known: &str, exchange: &str) -> bool {
    known.len() == exchange.len() && (exchange.is_empty() || known == exchange)
}

/// Where in the cache a route stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(usize);

/// Routes by vhost, exchange and key. Each has one place that its hash gives; a newcomer takes
/// the place of whoever is there.
#[derive(Debug)]
pub(crate) struct RouteCache {
    entries: Vec<Option<Entry>>,
    hasher: ahash::RandomState,
}

impl RouteCache {
    /// A cache of at most `routes_max` routes, at least one.
    pub(crate) fn new(hasher: &ahash::RandomState, routes_max: usize) -> Self {
        let mut entries = Vec::new();
        entries.resize_with(routes_max.next_power_of_two(), || None);
        Self { entries, hasher: hasher.clone() }
    }

    /// Where the route of `exchange` and `key` stands or would stand, and whether it stands there
    /// as resolved at `version`.
    pub(crate) fn find(
        &self,
        vhost: u32,
        exchange: &str,
        key: &str,
        version: u64,
    ) -> (Place, bool) {
        let hash = self.hasher.hash_one((vhost, exchange, key));
        let mask = self.entries.len() - 1;
        let place = usize::try_from(hash & mask as u64).unwrap_or(0);
        let is_there = self.entries[place].as_ref().is_some_and(|entry| {
            entry.route.version == version
                && *entry.key == *key
                && is_same(&entry.exchange, exchange)
                && entry.vhost == vhost
        });
        (Place(place), is_there)
    }

    /// The route at `place`.
    pub(crate) fn at(&self, place: Place) -> Option<&Arc<Route>> {
        self.entries[place.0].as_ref().map(|entry| &entry.route)
    }

    /// Puts a route at the place that [`RouteCache::find`] named.
    pub(crate) fn keep(
        &mut self,
        place: Place,
        vhost: u32,
        exchange: &str,
        key: &str,
        route: Arc<Route>,
    ) {
        let entry = Entry { vhost, exchange: exchange.into(), key: key.into(), route };
        self.entries[place.0] = Some(entry);
    }
}
