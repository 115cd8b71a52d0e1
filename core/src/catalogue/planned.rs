//! Changes that are proposed and not yet done, in the order of their proposals.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{CatalogueEvents, Change};
use crate::{Answer, Broker, Refusal};

/// What is done once a proposal is committed.
type Deed = Box<dyn FnOnce() + Send>;

/// Proposals and what is to be done about them.
#[derive(Default)]
pub(crate) struct Planned(VecDeque<(u64, Deed)>);

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Planned").field(&self.0.len()).finish()
    }
}

/// Where an answer will be, for whoever asked, if it is still there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot(Arc<Mutex<(Option<Answer>, Option<Waker>)>>);

impl Slot {
    pub(crate) fn fill(&self, answer: Answer) {
        let waker = {
            let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            slot.0 = Some(answer);
            slot.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Answer> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = slot.0.take() {
            return Poll::Ready(answer);
        }
        slot.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Broker {
    /// Proposes `changes`; `deed` is done once they are committed, whoever is still there then.
    pub(crate) fn plan(&self, changes: Vec<Change>, deed: Deed) -> Result<(), Refusal> {
        let catalogue = self.catalogue.as_ref().ok_or(Refusal::Internal)?;
        // Under the lock, so that deeds are done in the order of their proposals.
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let number = catalogue.propose(changes);
        planned.0.push_back((number, deed));
        Ok(())
    }
}

impl CatalogueEvents for Broker {
    fn committed(&self, through: u64) {
        loop {
            let deed = {
                let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
                planned.0.pop_front_if(|(number, _)| *number <= through)
            };
            let Some((_, deed)) = deed else { return };
            deed();
        }
    }
}
