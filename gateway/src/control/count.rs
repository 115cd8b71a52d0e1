//! Counts requests and refusals by protocol, for the metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tower::{Layer, Service};
use trivium_core::{Answer, Refusal, Response};

use super::Ask;
use crate::telemetry::Counters;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct CountLayer(Arc<Counters>);

impl CountLayer {
    pub(super) const fn new(counters: Arc<Counters>) -> Self {
        Self(counters)
    }
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count { inner, counters: self.0.clone() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Count<S> {
    inner: S,
    counters: Arc<Counters>,
}

impl<S> Service<Ask> for Count<S>
where
    S: Service<Ask, Response = Response, Error = Refusal>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Refusal;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let (counters, protocol) = (self.counters.clone(), ask.origin.protocol);
        let answer = self.inner.call(ask);
        Box::pin(async move {
            let answer = answer.await;
            let counters = counters.of(protocol);
            counters.requests.fetch_add(1, Ordering::Relaxed);
            match &answer {
                Ok(Response::LoggedIn(_) | Response::Proven { .. }) => {
                    counters.logins_accepted.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(Refusal::LoginRefused { .. }) => {
                    counters.logins_refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => {
                    counters.requests_refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            answer
        })
    }
}
