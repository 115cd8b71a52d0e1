//! A layer that asks one question of a request before it is carried out. Each rule is a pure
//! function in a file of its own; this is what puts it into the stack.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};
use trivium_core::{Answer, Refusal, Response};

use super::Ask;

/// Whether a request may go on, and if not, what its client is told.
pub(super) type Rule = fn(&Ask) -> Result<(), Refusal>;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckLayer(pub(super) Rule);

impl<S> Layer<S> for CheckLayer {
    type Service = Check<S>;

    fn layer(&self, inner: S) -> Check<S> {
        Check { rule: self.0, inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Check<S> {
    rule: Rule,
    inner: S,
}

impl<S> Service<Ask> for Check<S>
where
    S: Service<Ask, Response = Response, Error = Refusal>,
{
    type Response = Response;
    type Error = Refusal;
    type Future = Either<Ready<Answer>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        match (self.rule)(&ask) {
            Ok(()) => Either::Right(self.inner.call(ask)),
            Err(refusal) => Either::Left(ready(Err(refusal))),
        }
    }
}
