//! Bounds on what one request may name. AMQP's names end at 255 bytes on the wire; those that
//! MQTT and STOMP clients make up end here, or no AMQP client could ever see them.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};
use trivium_core::{Answer, Refusal, Request, Response};

use super::Ask;

/// The longest name, in bytes (AMQP 0-9-1, short strings).
const NAME_BYTES_MAX: usize = 255;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct LimitLayer;

impl<S> Layer<S> for LimitLayer {
    type Service = Limit<S>;

    fn layer(&self, inner: S) -> Limit<S> {
        Limit(inner)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Limit<S>(S);

impl<S> Service<Ask> for Limit<S>
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
        let name = match &ask.request {
            Request::DeclareExchange(declare) => declare.name.as_str(),
            Request::DeclareQueue(declare) => declare.name.as_str(),
            Request::Open { vhost, .. } => vhost.as_deref().unwrap_or_default(),
            _ => "",
        };
        if name.len() <= NAME_BYTES_MAX {
            return Either::Right(self.0.call(ask));
        }
        let refusal =
            Refusal::LimitReached { what: "length of a name", limit: NAME_BYTES_MAX as u64 };
        Either::Left(ready(Err(refusal)))
    }
}
