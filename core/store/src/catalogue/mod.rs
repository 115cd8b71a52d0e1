//! The catalogue on disk: exchanges, queues and bindings, in one file of redb.
//!
//! One thread writes: what was proposed while one commit was synced is the next commit, so that a
//! storm of declarations is a few hundred commits a second and not one each. It holds no position
//! of the log; queue ids join the two. Reading order: `encoding` (keys and values as bytes), then
//! this file.

mod encoding;
mod policies;
mod sessions;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use trivium_core::QueueId;
use trivium_core::catalogue::{Catalogue, CatalogueEvents, Change, Stored};

use crate::Failure;
use encoding::{Key, binding_key, exchange_from, exchange_value, queue_from, queue_value};
use policies::{policy_from, policy_key, policy_value};
use sessions::{
    session_from, session_value, subscription_from, subscription_key, subscription_value,
};

/// By vhost and name.
const EXCHANGES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("exchanges");
/// By vhost and name.
const QUEUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("queues");
/// By vhost, destination, source, key and arguments: everything that a binding is.
const BINDINGS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("bindings");
/// By vhost, source, and the key in the table of bindings: what goes with an exchange.
const SOURCES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("bindings_by_source");
/// By vhost and client identifier.
const SESSIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("sessions");
/// By vhost, client identifier, and what is subscribed to.
const SUBSCRIPTIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("subscriptions");
/// By vhost, kind and name.
const POLICIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("policies");
/// Vhosts, each with the id that its retained messages have in the log.
const VHOSTS: TableDefinition<'_, &str, u64> = TableDefinition::new("vhosts");
/// Numbers of the catalogue itself.
const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// How often the catalogue was opened: each run takes its ids from a range of its own.
const RUNS: &str = "runs";

/// Ids of one run: 2^40, more than connections and queues that one run can make.
const ID_BITS: u32 = 40;

/// The catalogue on disk.
#[derive(Debug)]
pub struct DiskCatalogue {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    /// Guards who hears of commits. A leaf.
    events: Mutex<Option<Weak<dyn CatalogueEvents>>>,
    /// Guards what was proposed and how far it is committed. A leaf.
    state: Mutex<State>,
    proposed: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    changes: Vec<Change>,
    /// The number of the last proposal.
    proposed: u64,
    committed: u64,
    waiting: Vec<(u64, Waker)>,
    has_ended: bool,
}

/// Whatever redb complains of.
fn failed(error: impl Into<redb::Error>) -> Failure {
    Failure::of_catalogue(&error.into())
}

impl DiskCatalogue {
    /// Opens the file `path`, which is made when it is not there, and starts its writer.
    /// `on_failure` hears of a commit that failed: nothing is committed any more, and the process
    /// should end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written, or holds what no catalogue wrote.
    pub fn open(
        path: &Path,
        on_failure: impl FnOnce(Failure) + Send + 'static,
    ) -> Result<(Arc<Self>, Stored), Failure> {
        let database = Database::create(path).map_err(failed)?;
        let stored = load(&database)?;
        let shared = Arc::<Shared>::default();
        let for_writer = shared.clone();
        let writer = std::thread::Builder::new().name("catalogue".to_owned()).spawn(move || {
            if let Err(failure) = write_on(&database, &for_writer) {
                on_failure(failure);
            }
        });
        let writer = writer.map_err(|error| failed(redb::Error::Io(error)))?;
        Ok((Arc::new(Self { shared, writer: Mutex::new(Some(writer)) }), stored))
    }

    /// Commits what was proposed and ends the writer.
    pub fn close(&self) {
        self.shared.state().has_ended = true;
        self.shared.proposed.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // One that panicked has said so.
            drop(writer.join());
        }
    }
}

impl Catalogue for DiskCatalogue {
    fn attach(&self, events: Weak<dyn CatalogueEvents>) {
        *self.shared.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
    }

    fn propose(&self, changes: Vec<Change>) -> u64 {
        let mut state = self.shared.state();
        state.changes.extend(changes);
        state.proposed += 1;
        self.shared.proposed.notify_one();
        state.proposed
    }

    fn poll_committed(&self, number: u64, waker: &Waker) -> Poll<()> {
        let mut state = self.shared.state();
        if state.committed >= number {
            return Poll::Ready(());
        }
        state.waiting.push((number, waker.clone()));
        Poll::Pending
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer: takes what was proposed, commits it, says so.
fn write_on(database: &Database, shared: &Shared) -> Result<(), Failure> {
    loop {
        let (changes, number) = {
            let mut state = shared.state();
            while state.changes.is_empty() {
                if state.has_ended {
                    return Ok(());
                }
                state = shared.proposed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            (std::mem::take(&mut state.changes), state.proposed)
        };
        let transaction = database.begin_write().map_err(failed)?;
        for change in changes {
            apply(&transaction, change).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        let mut state = shared.state();
        state.committed = number;
        let woken: Vec<_> = state.waiting.extract_if(.., |(at, _)| *at <= number).collect();
        drop(state);
        let events = {
            let events = shared.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.as_ref().and_then(Weak::upgrade)
        };
        if let Some(events) = events {
            events.committed(number);
        }
        for (_, waker) in woken {
            waker.wake();
        }
    }
}

fn apply(transaction: &WriteTransaction, change: Change) -> Result<(), redb::Error> {
    match change {
        Change::PutVhost(vhost, retained) => {
            transaction.open_table(VHOSTS)?.insert(&*vhost, retained.0)?;
        }
        Change::PutPolicy(put) => {
            let key = policy_key(&put.vhost, put.kind, &put.policy.name);
            let value = policy_value(&put.policy);
            transaction.open_table(POLICIES)?.insert(key.bytes(), &value[..])?;
        }
        Change::RemovePolicy { vhost, kind, name } => {
            let key = policy_key(&vhost, kind, &name);
            transaction.open_table(POLICIES)?.remove(key.bytes())?;
        }
        Change::PutSession(session) => {
            let key = Key::new().text(&session.vhost).text(&session.client_id);
            transaction.open_table(SESSIONS)?.insert(key.bytes(), &session_value(&session)[..])?;
        }
        Change::RemoveSession { vhost, client_id } => {
            let key = Key::new().text(&vhost).text(&client_id);
            transaction.open_table(SESSIONS)?.remove(key.bytes())?;
            let mut subscriptions = transaction.open_table(SUBSCRIPTIONS)?;
            for key in keys_with(&subscriptions, &key)? {
                subscriptions.remove(&key[..])?;
            }
        }
        Change::PutSubscription(put) => {
            let key = subscription_key(&put.vhost, &put.client_id, &put.source);
            let value = subscription_value(&put);
            transaction.open_table(SUBSCRIPTIONS)?.insert(key.bytes(), &value[..])?;
        }
        Change::RemoveSubscription { vhost, client_id, source } => {
            let key = subscription_key(&vhost, &client_id, &source);
            transaction.open_table(SUBSCRIPTIONS)?.remove(key.bytes())?;
        }
        Change::PutExchange(exchange) => {
            let key = Key::new().text(&exchange.vhost).text(&exchange.name);
            let value = exchange_value(&exchange);
            transaction.open_table(EXCHANGES)?.insert(key.bytes(), &value[..])?;
        }
        Change::PutQueue(queue) => {
            let key = Key::new().text(&queue.vhost).text(&queue.name);
            transaction.open_table(QUEUES)?.insert(key.bytes(), &queue_value(&queue)[..])?;
        }
        Change::PutBinding(binding) => {
            let key = binding_key(&binding);
            let source = Key::new().text(&binding.vhost).text(&binding.source).rest(key.bytes());
            transaction.open_table(BINDINGS)?.insert(key.bytes(), ())?;
            transaction.open_table(SOURCES)?.insert(source.bytes(), ())?;
        }
        Change::RemoveBinding(binding) => {
            let key = binding_key(&binding);
            let source = Key::new().text(&binding.vhost).text(&binding.source).rest(key.bytes());
            transaction.open_table(BINDINGS)?.remove(key.bytes())?;
            transaction.open_table(SOURCES)?.remove(source.bytes())?;
        }
        Change::RemoveQueue { vhost, name } => {
            let key = Key::new().text(&vhost).text(&name);
            transaction.open_table(QUEUES)?.remove(key.bytes())?;
            remove_bindings_to(transaction, &Key::new().text(&vhost).text("q").text(&name))?;
        }
        Change::RemoveExchange { vhost, name } => {
            let key = Key::new().text(&vhost).text(&name);
            transaction.open_table(EXCHANGES)?.remove(key.bytes())?;
            remove_bindings_to(transaction, &Key::new().text(&vhost).text("e").text(&name))?;
            remove_bindings_from(transaction, &key)?;
        }
    }
    Ok(())
}

fn remove_bindings_to(transaction: &WriteTransaction, prefix: &Key) -> Result<(), redb::Error> {
    let (mut bindings, mut sources) =
        (transaction.open_table(BINDINGS)?, transaction.open_table(SOURCES)?);
    for key in keys_with(&bindings, prefix)? {
        bindings.remove(&key[..])?;
        if let Some(binding) = encoding::binding_from(&key) {
            let source = Key::new().text(&binding.vhost).text(&binding.source).rest(&key);
            sources.remove(source.bytes())?;
        }
    }
    Ok(())
}

fn remove_bindings_from(transaction: &WriteTransaction, prefix: &Key) -> Result<(), redb::Error> {
    let (mut bindings, mut sources) =
        (transaction.open_table(BINDINGS)?, transaction.open_table(SOURCES)?);
    for key in keys_with(&sources, prefix)? {
        sources.remove(&key[..])?;
        bindings.remove(&key[prefix.bytes().len()..])?;
    }
    Ok(())
}

fn keys_with<V: redb::Value + 'static>(
    table: &impl ReadableTable<&'static [u8], V>,
    prefix: &Key,
) -> Result<Vec<Vec<u8>>, redb::Error> {
    let mut keys = Vec::new();
    for entry in table.range(prefix.bytes()..)? {
        let key = entry?.0.value().to_vec();
        if !key.starts_with(prefix.bytes()) {
            break;
        }
        keys.push(key);
    }
    Ok(keys)
}

/// Everything there is, and a new range of ids.
fn load(database: &Database) -> Result<Stored, Failure> {
    let transaction = database.begin_write().map_err(failed)?;
    let runs = number_run(&transaction).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    let mut stored = Stored { next_id: runs << ID_BITS, ..Stored::default() };
    let foreign = || Failure::foreign("the catalogue");
    let transaction = database.begin_read().map_err(failed)?;
    let exchanges = transaction.open_table(EXCHANGES).map_err(failed)?;
    for entry in exchanges.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        stored.exchanges.push(exchange_from(key.value(), value.value()).ok_or_else(foreign)?);
    }
    let queues = transaction.open_table(QUEUES).map_err(failed)?;
    for entry in queues.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        stored.queues.push(queue_from(key.value(), value.value()).ok_or_else(foreign)?);
    }
    let bindings = transaction.open_table(BINDINGS).map_err(failed)?;
    for entry in bindings.iter().map_err(failed)? {
        let (key, ()) = entry.map(|(key, value)| (key, value.value())).map_err(failed)?;
        stored.bindings.push(encoding::binding_from(key.value()).ok_or_else(foreign)?);
    }
    load_more(&transaction, &mut stored)?;
    Ok(stored)
}

fn load_more(transaction: &redb::ReadTransaction, stored: &mut Stored) -> Result<(), Failure> {
    let foreign = || Failure::foreign("the catalogue");
    let vhosts = transaction.open_table(VHOSTS).map_err(failed)?;
    for entry in vhosts.iter().map_err(failed)? {
        let (name, id) = entry.map_err(failed)?;
        stored.vhosts.push((name.value().to_owned(), QueueId(id.value())));
    }
    let policies = transaction.open_table(POLICIES).map_err(failed)?;
    for entry in policies.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        stored.policies.push(policy_from(key.value(), value.value()).ok_or_else(foreign)?);
    }
    let sessions = transaction.open_table(SESSIONS).map_err(failed)?;
    for entry in sessions.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        stored.sessions.push(session_from(key.value(), value.value()).ok_or_else(foreign)?);
    }
    let subscriptions = transaction.open_table(SUBSCRIPTIONS).map_err(failed)?;
    for entry in subscriptions.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        let found = subscription_from(key.value(), value.value()).ok_or_else(foreign)?;
        stored.subscriptions.push(found);
    }
    Ok(())
}

/// Counts this run; makes the tables at the first.
fn number_run(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    transaction.open_table(EXCHANGES)?;
    transaction.open_table(QUEUES)?;
    transaction.open_table(BINDINGS)?;
    transaction.open_table(SOURCES)?;
    transaction.open_table(SESSIONS)?;
    transaction.open_table(SUBSCRIPTIONS)?;
    transaction.open_table(VHOSTS)?;
    transaction.open_table(POLICIES)?;
    let mut numbers = transaction.open_table(NUMBERS)?;
    let runs = numbers.get(RUNS)?.map_or(0, |runs| runs.value()) + 1;
    numbers.insert(RUNS, runs)?;
    Ok(runs)
}
