//! Commit: one batch, answered once its messages are as safe as their queues promise.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Answer, Reply};
use crate::session::SessionShared;
use crate::{Broker, Instant, Response, Transaction, Worker};

/// `tx.commit`, STOMP's COMMIT.
pub(super) fn commit(
    session: &Arc<SessionShared>,
    transaction: Transaction,
    now: Instant,
) -> Reply {
    let broker = &session.connection.broker;
    let mut worker = Worker::default();
    match broker.batch(&mut worker, now).commit(session, transaction) {
        Err(refusal) => Reply::Ready(Err(refusal)),
        Ok(position) if position <= broker.log.durable() => Reply::Ready(Ok(Response::Done)),
        Ok(position) => Reply::Pending(Box::pin(Safe { broker: broker.clone(), position })),
    }
}

/// Until the log is durable up to a position.
struct Safe {
    broker: Arc<Broker>,
    position: u64,
}

impl Future for Safe {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        if self.position > self.broker.log.durable() {
            self.broker.wake_when_durable(self.position, context.waker());
            // What became durable before the waker was listed is known now.
            if self.position > self.broker.log.durable() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(Response::Done))
    }
}
