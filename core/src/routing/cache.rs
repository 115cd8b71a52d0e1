//! The routes one worker resolved lately, checked against the vhost's routing version. An entry
//! is about 117 bytes with its keys, so the cache belongs to a thread, never to a connection.
//! Long names share one place: keys come from outside, and a thousand of 64 KiB are not kept.

use std::sync::Arc;

use super::Route;

/// Bytes of an exchange's name and a key, together, that get a place of their own. AMQP cannot say
/// longer ones.
const NAMES_BYTES_MAX: usize = 512;

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

/// Routes by vhost, exchange and key. Each has one place that its hash gives, those with long names
/// the last one; a newcomer takes the place of whoever is there.
#[derive(Debug)]
pub(crate) struct RouteCache {
    entries: Vec<Option<Entry>>,
    hasher: ahash::RandomState,
}

impl RouteCache {
    /// A cache of at most `routes_max` routes, at least one.
    pub(crate) fn new(hasher: &ahash::RandomState, routes_max: usize) -> Self {
        let mut entries = Vec::new();
        entries.resize_with(routes_max.next_power_of_two() + 1, || None);
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
        let last = self.entries.len() - 1;
        let place = if exchange.len() + key.len() > NAMES_BYTES_MAX {
            last
        } else {
            let hash = self.hasher.hash_one((vhost, exchange, key));
            usize::try_from(hash & (last as u64 - 1)).unwrap_or(0)
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_long_keys_take_one_place() {
        let mut cache = RouteCache::new(&ahash::RandomState::with_seed(1), 1024);
        let key = |number: usize| format!("{number}{}", "x".repeat(NAMES_BYTES_MAX));
        for number in 0..1000 {
            let (place, is_there) = cache.find(0, "amq.topic", &key(number), 1);
            assert!(!is_there);
            let route = Arc::new(Route { version: 1, ..Route::default() });
            cache.keep(place, 0, "amq.topic", &key(number), route);
        }
        assert!(cache.find(0, "amq.topic", &key(999), 1).1);
        assert_eq!(cache.entries.iter().flatten().count(), 1);
    }
}
