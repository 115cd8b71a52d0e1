//! One debug line for each request: who asked for what, and what came of it. Refused logins have
//! a line of their own at `info` (`login`).

use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Either};
use tower::{Layer, Service};
use tracing::{Level, debug, enabled};
use trivium_core::{Answer, Refusal, Response};

use super::{Ask, name_of};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuditLayer;

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit(inner)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Audit<S>(S);

impl<S> Service<Ask> for Audit<S>
where
    S: Service<Ask, Response = Response, Error = Refusal>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Refusal;
    type Future = Either<S::Future, BoxFuture<'static, Answer>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        if !enabled!(Level::DEBUG) {
            return Either::Left(self.0.call(ask));
        }
        let (request, peer) = (name_of(&ask.request), ask.caller.peer);
        let user = ask.origin.principal.as_ref().map(|principal| principal.user.clone());
        let answer = self.0.call(ask);
        Either::Right(Box::pin(async move {
            let answer = answer.await;
            let user = user.as_deref();
            match &answer {
                Ok(_) => debug!(%peer, user, request, "request done"),
                Err(because) => debug!(%peer, user, request, %because, "request refused"),
            }
            answer
        }))
    }
}
