//! The catalogue of the tests: slow on purpose. Nothing is committed before somebody calls
//! [`StepCatalogue::step`].

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use super::{Catalogue, CatalogueEvents, Change, Stored, StoredSession};
use crate::PolicyKind;
use crate::control::{Destination, Source};

/// Keeps what is committed in memory, and commits on command.
#[derive(Default)]
pub struct StepCatalogue {
    events: Mutex<Option<Weak<dyn CatalogueEvents>>>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    proposed: Vec<Change>,
    number: u64,
    committed: u64,
    commits: u64,
    waiting: Vec<Waker>,
    stored: Stored,
}

impl std::fmt::Debug for StepCatalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepCatalogue").field("contents", &*self.contents()).finish_non_exhaustive()
    }
}

impl StepCatalogue {
    /// One that has what an earlier one had committed.
    #[must_use]
    pub fn with(stored: Stored) -> Self {
        let catalogue = Self::default();
        catalogue.contents().stored = stored;
        catalogue
    }

    /// Commits everything proposed, as one group.
    pub fn step(&self) {
        let (through, waiting) = {
            let mut contents = self.contents();
            let proposed = std::mem::take(&mut contents.proposed);
            contents.commits += u64::from(!proposed.is_empty());
            for change in proposed {
                contents.stored.apply(change);
            }
            contents.committed = contents.number;
            (contents.committed, std::mem::take(&mut contents.waiting))
        };
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let events = events.as_ref().and_then(Weak::upgrade);
        if let Some(events) = events {
            events.committed(through);
        }
        waiting.into_iter().for_each(Waker::wake);
    }

    /// What is committed: where a broker goes on after a crash.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let mut stored = self.contents().stored.clone();
        // As a catalogue that counts its runs.
        stored.next_id = (stored.next_id >> 32).saturating_add(1) << 32;
        stored
    }

    /// How many commits there were.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.contents().commits
    }

    /// Whether something waits to be committed.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.contents().proposed.is_empty()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Catalogue for StepCatalogue {
    fn attach(&self, events: Weak<dyn CatalogueEvents>) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = Some(events);
    }

    fn propose(&self, changes: Vec<Change>) -> u64 {
        let mut contents = self.contents();
        contents.proposed.extend(changes);
        contents.number += 1;
        contents.number
    }

    fn poll_committed(&self, number: u64, waker: &Waker) -> Poll<()> {
        let mut contents = self.contents();
        if contents.committed >= number {
            return Poll::Ready(());
        }
        contents.waiting.push(waker.clone());
        Poll::Pending
    }
}

impl Stored {
    fn apply_to_sessions(&mut self, change: Change) {
        match change {
            Change::PutVhost(vhost, retained) => self.vhosts.push((vhost, retained)),
            Change::PutPolicy(put) => {
                self.forget_policy(&put.vhost, put.kind, &put.policy.name);
                self.policies.push(put);
            }
            Change::RemovePolicy { vhost, kind, name } => self.forget_policy(&vhost, kind, &name),
            Change::PutSession(put) => {
                let is_it = |known: &StoredSession| {
                    (&known.vhost, &known.client_id) == (&put.vhost, &put.client_id)
                };
                self.sessions.retain(|known| !is_it(known));
                self.sessions.push(put);
            }
            Change::RemoveSession { vhost, client_id } => {
                self.sessions
                    .retain(|known| (&known.vhost, &known.client_id) != (&vhost, &client_id));
                self.subscriptions
                    .retain(|known| (&known.vhost, &known.client_id) != (&vhost, &client_id));
            }
            Change::PutSubscription(put) => {
                self.forget_subscription(&put.vhost, &put.client_id, &put.source);
                self.subscriptions.push(put);
            }
            Change::RemoveSubscription { vhost, client_id, source } => {
                self.forget_subscription(&vhost, &client_id, &source);
            }
            _ => {}
        }
    }

    fn forget_policy(&mut self, vhost: &str, kind: PolicyKind, name: &str) {
        self.policies.retain(|known| {
            (&*known.vhost, known.kind, &*known.policy.name) != (vhost, kind, name)
        });
    }

    fn forget_subscription(&mut self, vhost: &str, client_id: &str, source: &Source) {
        self.subscriptions.retain(|known| {
            (&*known.vhost, &*known.client_id, &known.source) != (vhost, client_id, source)
        });
    }

    /// Takes one change, as every catalogue does.
    fn apply(&mut self, change: Change) {
        match change {
            Change::PutExchange(put) => {
                self.exchanges
                    .retain(|known| (&known.vhost, &known.name) != (&put.vhost, &put.name));
                self.exchanges.push(put);
            }
            Change::PutQueue(put) => {
                self.queues.retain(|known| (&known.vhost, &known.name) != (&put.vhost, &put.name));
                self.queues.push(put);
            }
            Change::PutBinding(put) => {
                self.bindings.retain(|known| *known != put);
                self.bindings.push(put);
            }
            Change::RemoveExchange { vhost, name } => {
                self.exchanges.retain(|known| (&known.vhost, &known.name) != (&vhost, &name));
                let end = Destination::Exchange(name.clone());
                self.bindings.retain(|known| {
                    known.vhost != vhost || (known.source != name && known.destination != end)
                });
            }
            Change::RemoveQueue { vhost, name } => {
                self.queues.retain(|known| (&known.vhost, &known.name) != (&vhost, &name));
                let end = Destination::Queue(name);
                self.bindings.retain(|known| known.vhost != vhost || known.destination != end);
            }
            Change::RemoveBinding(gone) => self.bindings.retain(|known| *known != gone),
            change => self.apply_to_sessions(change),
        }
    }
}
