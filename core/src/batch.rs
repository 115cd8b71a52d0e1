//! Staged work of one read.

use crate::{ConsumerId, DeliveryId, Draft, Instant, Refusal, Session, Ticket};

/// Whether a publisher wants to hear that its message is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// Take a ticket and confirm it.
    Wanted,
    /// No ticket.
    Unwanted,
}

/// How a consumer answered one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done with it: the message leaves the queue.
    Accepted,
    /// Not now: back to where it stood, with one attempt counted.
    Requeued,
    /// Never: to the dead-letter exchange if there is one, else gone.
    Rejected,
}

/// What became of a publish when it was staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its ticket when a confirm is wanted; else the latest one handed out.
    pub ticket: Ticket,
    /// Whether anything matched its address.
    pub routed: bool,
}

/// Staged work.
#[derive(Debug)]
pub struct Batch<'a> {
    x: &'a (),
}

impl Batch<'_> {
    /// Does what was staged: append, push, dispatch, confirm, wake.
    pub fn end(self) {
        todo!()
    }
}

impl Batch<'_> {
    /// The time of this batch.
    pub fn now(&self) -> Instant {
        todo!()
    }
    /// The connection's budget for this turn is spent: stop taking input; the driver comes back.
    pub fn is_spent(&self) -> bool {
        todo!()
    }
    /// Stages a publish.
    pub fn publish(
        &mut self,
        _session: &mut Session,
        _draft: Draft<'_>,
        _confirm: Confirm,
    ) -> Result<Published, Refusal> {
        todo!()
    }
    /// Stages a settlement.
    pub fn settle(&mut self, _session: &mut Session, _delivery: DeliveryId, _outcome: Outcome) {
        todo!()
    }
    /// Grants a consumer its credit, after its consume-ok, SUBACK or RECEIPT is written. Harmless when repeated.
    pub fn start(&mut self, _session: &mut Session, _consumer: ConsumerId) {
        todo!()
    }
    /// Limits the unsettled deliveries of all consumers of the session together; 0 for no limit.
    pub fn limit_session(&mut self, _session: &mut Session, _unsettled_max: u32) {
        todo!()
    }
}
