//! What happens to a connection between `accept(2)` and its protocol, in one readable stack.
//!
//! A *connection* is the request here and `()` is the response: a service call lasts as long as
//! the connection does. That is why a concurrency limit is a limit on open connections, and why
//! there is **no** `tower::timeout` in this stack: it would cut off a healthy client. The
//! handshake deadline belongs to the adapter, which alone knows when the handshake is over
//! ([`trivium_core::Adapter::poll_timeout`]).
//!
//! Messages never pass through tower. They are neither requests nor responses: a delivery is not
//! asked for, one acknowledgement settles many, and order matters across all of them.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tracing::{Instrument, debug_span, error};

use crate::telemetry::Counters;

/// A connection nobody has identified yet.
#[derive(Debug)]
pub(crate) struct Accepted<Io> {
    /// The socket, the WebSocket over it, or a test's in-memory pipe.
    pub(crate) io: Io,
    /// Who is calling.
    pub(crate) peer: SocketAddr,
}

/// The stack of one kind of connection.
pub(crate) type Accept<Io> = BoxCloneSyncService<Accepted<Io>, (), BoxError>;

/// Wraps `serve`, which runs one connection to its end, in everything every listener needs.
/// `slots` has a permit for each connection that may be open, over all listeners.
///
/// Outermost first: refuse at once when full (rather than let the kernel's backlog hide it),
/// count, name it in a span, keep its panic to itself, then serve.
pub(crate) fn stack<S, Io>(serve: S, slots: Arc<Semaphore>, counters: Arc<Counters>) -> Accept<Io>
where
    S: Service<Accepted<Io>, Response = ()> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    Io: Send + 'static,
{
    let stack = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::with_semaphore(slots))
        .layer(IsolateLayer { counters })
        .service(serve);
    BoxCloneSyncService::new(stack.map_err(Into::into))
}

/// One connection, one span and one panic. The span is of level `debug`: at `info` it costs
/// nothing, and the lines about a connection name its peer themselves.
#[derive(Clone, Debug)]
struct IsolateLayer {
    counters: Arc<Counters>,
}

impl<S> Layer<S> for IsolateLayer {
    type Service = Isolate<S>;

    fn layer(&self, inner: S) -> Isolate<S> {
        Isolate { inner, counters: self.counters.clone() }
    }
}

#[derive(Clone, Debug)]
struct Isolate<S> {
    inner: S,
    counters: Arc<Counters>,
}

/// A connection's task panicked.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("internal error")]
pub(crate) struct Panicked;

impl<S, Io> Service<Accepted<Io>> for Isolate<S>
where
    S: Service<Accepted<Io>, Response = ()>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, accepted: Accepted<Io>) -> Self::Future {
        let peer = accepted.peer;
        let span = debug_span!("connection", %peer);
        let counters = self.counters.clone();
        let connection = AssertUnwindSafe(self.inner.call(accepted)).catch_unwind();
        let isolated = connection.map(move |ended| {
            ended.map_or_else(
                |_| {
                    counters.panics.fetch_add(1, Ordering::Relaxed);
                    error!(%peer, "a connection's task panicked; the others go on");
                    Err(Panicked.into())
                },
                |result| result.map_err(Into::into),
            )
        });
        Box::pin(isolated.instrument(span))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tower::load_shed::error::Overloaded;
    use tower::service_fn;

    use super::*;

    fn accepted<Io>(io: Io) -> Accepted<Io> {
        Accepted { io, peer: SocketAddr::from(([127, 0, 0, 1], 1)) }
    }

    #[tokio::test]
    async fn one_connection_too_many_is_refused_and_a_freed_slot_is_used() {
        let serve = service_fn(|accepted: Accepted<oneshot::Receiver<()>>| async move {
            accepted.io.await.map_err(BoxError::from)
        });
        let counters = Arc::<Counters>::default();
        let stack = stack(serve, Arc::new(Semaphore::new(1)), counters.clone());

        let (close_first, first) = oneshot::channel();
        let open = tokio::spawn(stack.clone().oneshot(accepted(first)));
        tokio::task::yield_now().await;

        let (_close_second, second) = oneshot::channel();
        let refused = stack.clone().oneshot(accepted(second)).await.unwrap_err();
        assert!(refused.is::<Overloaded>(), "{refused}");

        close_first.send(()).unwrap();
        open.await.unwrap().unwrap();
        let (close_third, third) = oneshot::channel();
        close_third.send(()).unwrap();
        stack.oneshot(accepted(third)).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_stays_with_its_connection_and_frees_its_slot() {
        let serve = service_fn(|accepted: Accepted<bool>| async move {
            assert!(!accepted.io, "a test's panic");
            Ok::<(), BoxError>(())
        });
        let counters = Arc::<Counters>::default();
        let stack = stack(serve, Arc::new(Semaphore::new(1)), counters.clone());
        let error = stack.clone().oneshot(accepted(true)).await.unwrap_err();
        assert!(error.is::<Panicked>());
        stack.oneshot(accepted(false)).await.unwrap();
        assert_eq!(counters.panics.load(Ordering::Relaxed), 1);
    }
}
