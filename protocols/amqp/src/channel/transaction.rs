//! Class `tx`: publishes and settlements that wait for `tx.commit`.
//!
//! Publishes are routed, and tags looked up, when the client says them: what is wrong is answered
//! there and then, as RabbitMQ answers it. `tx.rollback` makes tags outstanding again.

use amq_protocol::protocol::{AMQPClass, tx};
use trivium_core::{
    Answer, Batch, DeliveryId, Draft, Limits, Refusal, Request, Session, Transaction, Transmit,
};

use super::Channel;
use super::answers::{Asked, Then};
use super::methods::{Next, ask};
use super::unsettled::{UnknownTag, Unsettled};
use crate::hot::settle::Settle;
use crate::method::MethodId;
use crate::reply_code::{Fault, ReplyCode};

/// What waits for the commit.
#[derive(Debug, Default)]
pub(super) struct Held {
    transaction: Transaction,
    /// Deliveries settled in it, for a rollback.
    taken: Vec<(u64, DeliveryId)>,
}

impl Held {
    /// Whether deliveries wait for the commit.
    pub(super) const fn has_settled(&self) -> bool {
        !self.taken.is_empty()
    }

    pub(super) fn publish(
        &mut self,
        session: &Session,
        draft: Draft<'_>,
        more_keys: &[&str],
        batch: &mut Batch<'_>,
    ) -> Result<(), Refusal> {
        batch.hold(session, &mut self.transaction, draft, more_keys).map(drop)
    }

    /// Takes tags out of what is outstanding. The outer error is a tag that was not.
    pub(super) fn settle(
        &mut self,
        unsettled: &mut Unsettled,
        settle: Settle,
        limits: &Limits,
    ) -> Result<Result<(), Refusal>, UnknownTag> {
        let first = self.taken.len();
        if settle.multiple {
            self.taken.extend(unsettled.take_through(settle.tag)?);
        } else {
            self.taken.push((settle.tag, unsettled.take(settle.tag)?));
        }
        let mut taken = self.taken[first..].iter();
        Ok(taken.try_for_each(|(_, delivery)| {
            self.transaction.settle(*delivery, settle.outcome, limits)
        }))
    }
}

impl Channel {
    pub(super) fn on_tx(
        &mut self,
        id: MethodId,
        method: &tx::AMQPMethod,
        batch: &Batch<'_>,
        out: &mut Transmit,
    ) -> Result<Next, Fault> {
        if matches!(method, tx::AMQPMethod::Select(_)) {
            if self.confirmed.is_some() {
                return Err(refused(id, "cannot switch from confirm to tx mode"));
            }
            self.held.get_or_insert_default();
            self.reply(out, &class(tx::AMQPMethod::SelectOk(tx::SelectOk {})));
            return Ok(Next::Continue);
        }
        let Some(held) = &mut self.held else {
            return Err(refused(id, "channel is not transactional"));
        };
        let Held { transaction, taken } = std::mem::take(&mut **held);
        match method {
            tx::AMQPMethod::Commit(_) => {
                let request = Request::Commit { transaction, now: batch.now() };
                Ok(ask(request, Asked { method: id, nowait: false, then: Then::Committed }))
            }
            tx::AMQPMethod::Rollback(_) => {
                self.unsettled.put_back(taken);
                self.reply(out, &class(tx::AMQPMethod::RollbackOk(tx::RollbackOk {})));
                Ok(Next::Continue)
            }
            _ => Err(crate::method::unimplemented(id)),
        }
    }
}

/// Of a transaction that was refused nothing happened; RabbitMQ has one text for it.
pub(super) fn committed(answer: Answer) -> Answer {
    answer.map_err(|refusal| match refusal {
        Refusal::Internal => refusal,
        _ => Refusal::precondition("partial tx completion"),
    })
}

pub(super) fn commit_ok() -> AMQPClass {
    class(tx::AMQPMethod::CommitOk(tx::CommitOk {}))
}

const fn class(method: tx::AMQPMethod) -> AMQPClass {
    AMQPClass::Tx(method)
}

fn refused(method: MethodId, text: &str) -> Fault {
    Fault::new(ReplyCode::PRECONDITION_FAILED, method, text)
}
