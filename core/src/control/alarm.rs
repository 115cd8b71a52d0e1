//! Waiting for the end of the alarms.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Answer, Reply};
use crate::session::SessionShared;
use crate::{Broker, Response};

/// [`super::Request::AwaitCalm`]
pub(super) fn calm(session: &SessionShared) -> Reply {
    let broker = &session.connection.broker;
    if broker.alarms().any() {
        Reply::Pending(Box::pin(Calm(broker.clone())))
    } else {
        Reply::Ready(Ok(Response::Done))
    }
}

struct Calm(Arc<Broker>);

impl Future for Calm {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        if self.0.bell.wait(context.waker()) {
            Poll::Pending
        } else {
            Poll::Ready(Ok(Response::Done))
        }
    }
}
