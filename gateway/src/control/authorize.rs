//! Nobody asks for anything but a login before they are logged in. An adapter that let something
//! through would be stopped here.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};
use trivium_core::{Answer, Refusal, Request, Response};

use super::Ask;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct AuthorizeLayer;

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize(inner)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Authorize<S>(S);

impl<S> Service<Ask> for Authorize<S>
where
    S: Service<Ask, Response = Response, Error = Refusal>,
{
    type Response = Response;
    type Error = Refusal;
    type Future = Either<Ready<Answer>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let is_known = match &ask.request {
            Request::Login(_) => true,
            // Whom an adapter brings in must be who has logged in.
            Request::Open { principal, .. } => ask.origin.principal.as_ref() == Some(principal),
            _ => ask.origin.principal.is_some(),
        };
        if is_known {
            Either::Right(self.0.call(ask))
        } else {
            Either::Left(ready(Err(Refusal::access("not logged in"))))
        }
    }
}
