//! Publishes and settlements that take effect together, or not at all (AMQP's `tx`, STOMP's
//! transactions).
//!
//! What a client publishes is routed when it does, so that it learns at once of an exchange that is
//! not there; queues hear of it at the commit ([`crate::Request::Commit`]). Atomic in refusal (C-4)
//! and after a crash (one `append_atomic`), not isolated: others may see one queue's part first.

use std::sync::Arc;

use crate::routing::Route;
use crate::{DeliveryId, Message, Outcome, Refusal};

/// What waits for its commit. Dropping it is a rollback.
#[derive(Debug, Default)]
pub struct Transaction {
    pub(crate) publishes: Vec<Held>,
    pub(crate) settlements: Vec<(DeliveryId, Outcome)>,
    bytes: usize,
}

/// A publish that waits for its commit.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) message: Message,
    pub(crate) route: Arc<Route>,
    pub(crate) mandatory: bool,
}

impl Transaction {
    /// Whether nothing waits.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.publishes.is_empty() && self.settlements.is_empty()
    }

    /// Adds the answer to one delivery.
    ///
    /// # Errors
    ///
    /// When the transaction holds [`crate::Limits::transaction_bytes_max`] already.
    pub fn settle(
        &mut self,
        delivery: DeliveryId,
        outcome: Outcome,
        limits: &crate::Limits,
    ) -> Result<(), Refusal> {
        self.charge(size_of::<(DeliveryId, Outcome)>(), limits.transaction_bytes_max)?;
        self.settlements.push((delivery, outcome));
        Ok(())
    }

    pub(crate) fn hold(&mut self, held: Held, bytes_max: usize) -> Result<(), Refusal> {
        self.charge(size_of::<Held>() + held.message.cost_bytes(), bytes_max)?;
        self.publishes.push(held);
        Ok(())
    }

    fn charge(&mut self, bytes: usize, bytes_max: usize) -> Result<(), Refusal> {
        let charged = self.bytes.saturating_add(bytes);
        if charged > bytes_max {
            let limit = bytes_max as u64;
            return Err(Refusal::LimitReached { what: "transaction bytes", limit });
        }
        self.bytes = charged;
        Ok(())
    }
}
