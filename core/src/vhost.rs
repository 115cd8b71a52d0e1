//! A virtual host: one namespace of exchanges, queues, MQTT sessions and retained messages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;

use crate::catalogue::{Catalogue, Change, Claims, Name};
use crate::policy::Policies;
use crate::retained::Retained;
use crate::routing::{Addressed, Place, Route, RouteCache, Routing};
use crate::session::Clients;
use crate::{Draft, QueueId, Refusal};

/// One virtual host.
#[derive(Debug)]
pub(crate) struct Vhost {
    pub(crate) name: Arc<str>,
    /// A number for caches.
    pub(crate) index: u32,
    /// Guards exchanges, queues by name, and bindings. The first lock in the order: routing,
    /// queue, outbox.
    routing: RwLock<Routing>,
    catalogue: Option<Arc<dyn Catalogue>>,
    /// The number of the last change that was proposed to the catalogue.
    proposed: AtomicU64,
    /// Moves with every change of routing that a cached route could show.
    version: AtomicU64,
    /// Guards the last value of each address. Who sets one holds it while the route is resolved,
    /// so that a new subscriber gets it retained or live; before routing in the order of locks.
    retained: Mutex<Retained>,
    /// Guards what operators say of queues and exchanges. A leaf.
    policies: Mutex<Policies>,
    /// Guards the names that durable changes are under way for. A leaf.
    claims: Mutex<Claims>,
    /// Guards who holds which client identifier. The very first lock: a takeover is one step.
    clients: Mutex<Clients>,
}

impl Vhost {
    pub(crate) fn new(
        name: &str,
        index: u32,
        hasher: &ahash::RandomState,
        catalogue: Option<Arc<dyn Catalogue>>,
        retained_id: Option<QueueId>,
    ) -> Arc<Self> {
        let name: Arc<str> = name.into();
        let mut routing = Routing::new(name.clone(), hasher);
        routing.journal = catalogue.is_some().then(Vec::new);
        let mut retained = Retained::default();
        if let Some(id) = retained_id {
            retained.keep_as(id);
        }
        Arc::new(Self {
            routing: RwLock::new(routing),
            catalogue,
            proposed: AtomicU64::new(0),
            name,
            index,
            version: AtomicU64::new(1),
            retained: Mutex::new(retained),
            policies: Mutex::default(),
            claims: Mutex::default(),
            clients: Mutex::new(Clients::new(hasher.clone())),
        })
    }

    /// Routing, to look at.
    pub(crate) fn routing(&self) -> RwLockReadGuard<'_, Routing> {
        self.routing.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Routing, to change. Cached routes are rechecked afterwards.
    pub(crate) fn change_routing<T>(&self, change: impl FnOnce(&mut Routing) -> T) -> T {
        let mut routing: RwLockWriteGuard<'_, Routing> =
            self.routing.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut routing);
        if let (Some(journal), Some(catalogue)) = (&mut routing.journal, &self.catalogue)
            && !journal.is_empty()
        {
            // Under the lock, so that the catalogue has changes in their order.
            let number = catalogue.propose(std::mem::take(journal));
            self.proposed.fetch_max(number, Ordering::AcqRel);
        }
        self.version.fetch_add(1, Ordering::Release);
        result
    }

    /// Routing, to put back what the catalogue has.
    pub(crate) fn restore_routing<T>(&self, change: impl FnOnce(&mut Routing) -> T) -> T {
        let mut routing = self.routing.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut routing);
        routing.journal.iter_mut().for_each(Vec::clear);
        result
    }

    /// Tells the catalogue of a change that answers wait for.
    pub(crate) fn propose(&self, change: Option<Change>) {
        if let (Some(catalogue), Some(change)) = (&self.catalogue, change) {
            let number = catalogue.propose(vec![change]);
            self.proposed.fetch_max(number, Ordering::AcqRel);
        }
    }

    /// Tells the catalogue of a change that nobody waits for.
    pub(crate) fn propose_quietly(&self, change: Option<Change>) {
        if let (Some(catalogue), Some(change)) = (&self.catalogue, change) {
            catalogue.propose(vec![change]);
        }
    }

    /// Does what the catalogue has agreed to: `expected` is not told to it again, and taken back if
    /// it turns out that it cannot be done.
    pub(crate) fn expecting<T>(&self, expected: Change, work: impl FnOnce() -> T) -> T {
        self.restore_routing(|routing| routing.expected = Some(expected));
        let result = work();
        self.change_routing(|routing| {
            if let Some(undo) = routing.expected.take().and_then(Change::undone) {
                routing.record(|_| undo);
            }
        });
        result
    }

    /// The names that durable changes are under way for.
    pub(crate) fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of names.
    pub(crate) fn release(&self, names: &Vec<(Name, bool)>) {
        let woken = self.claims().release(names);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Gives up waiting for names.
    pub(crate) fn forget_turn(&self, turn: u64) {
        let woken = self.claims().forget(turn);
        woken.into_iter().for_each(Waker::wake);
    }

    /// The catalogue, and the last change here that was proposed to it.
    pub(crate) fn proposed(&self) -> Option<(&Arc<dyn Catalogue>, u64)> {
        let catalogue = self.catalogue.as_ref()?;
        Some((catalogue, self.proposed.load(Ordering::Acquire))).filter(|(_, number)| *number > 0)
    }

    /// Where the worker's cache has the route of a draft, resolved if it had it not. With
    /// `more_keys` it is this message's alone.
    pub(crate) fn route(
        &self,
        cache: &mut RouteCache,
        draft: &Draft<'_>,
        more_keys: &[&str],
    ) -> Result<Place, Refusal> {
        let (exchange, key) = (draft.exchange, draft.routing_key);
        let version = self.version.load(Ordering::Acquire);
        let (place, is_there) = cache.find(self.index, exchange, key, version);
        if !is_there || !more_keys.is_empty() {
            let message = Addressed::of(draft, more_keys);
            let mut route = Route::resolve(&self.routing(), &message, version)?;
            if route.is_for_one {
                // No version has this number: the next message does not find it.
                route.version = 0;
            }
            cache.keep(place, self.index, exchange, key, Arc::new(route));
        }
        Ok(place)
    }

    /// The retained messages.
    pub(crate) fn retained(&self) -> MutexGuard<'_, Retained> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policies.
    pub(crate) fn policies(&self) -> MutexGuard<'_, Policies> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The MQTT clients.
    pub(crate) fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
