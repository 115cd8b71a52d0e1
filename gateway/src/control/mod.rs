//! The control stack: what every request passes, whichever protocol it came with.
//!
//! ```text
//!  driver -> count -> audit -> authorize -> limits -> Broker::request
//!                                                  '> Login, Open: answered here
//! ```
//!
//! One layer, one file, written once for three protocols and later for the HTTP API. Messages
//! never come this way: they are not requests with responses.
//!
//! Ready answers are polled inline by the driver, without a task hop; there is no buffer and no
//! concurrency limit in the stack, so it is always ready.

mod audit;
mod authorize;
mod check;
mod count;
mod limits;
mod login;
mod scram;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use tower::util::{BoxCloneSyncService, ServiceExt};
use tower::{Service, ServiceBuilder};
use trivium_core::control::Origin;
use trivium_core::{Answer, Broker, Outbox, Principal, Refusal, Reply, Request, Response};

use crate::config::Users;
use crate::drive::Caller;
use crate::telemetry::Counters;
use check::CheckLayer;
use login::{Login, SCRAM};

/// A request, and everything a layer may want to know about who asks.
#[derive(Debug)]
pub(crate) struct Ask {
    /// As the core wants to know it.
    pub(crate) origin: Origin,
    /// What is asked.
    pub(crate) request: Request,
    /// The connection's other end.
    pub(crate) caller: Caller,
    /// Where the connection's events go, for [`Request::Open`].
    pub(crate) outbox: Arc<Outbox>,
}

/// An answer that is there, or will be.
pub(crate) type PendingAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The whole stack. Cloning shares it.
#[derive(Debug)]
pub(crate) struct Control(BoxCloneSyncService<Ask, Response, Refusal>);

impl Control {
    /// The stack over `broker`, for `users`.
    pub(crate) fn new(broker: Arc<Broker>, users: Users, counters: Arc<Counters>) -> Self {
        let answering = Answering { broker, login: Arc::new(Login::new(users)) };
        let stack = ServiceBuilder::new()
            .layer(count::CountLayer::new(counters))
            .layer(audit::AuditLayer)
            .layer(CheckLayer(authorize::is_known))
            .layer(CheckLayer(limits::names_fit))
            .service(answering);
        Self(BoxCloneSyncService::new(stack))
    }

    /// Takes one request through the stack.
    pub(crate) fn ask(&self, ask: Ask) -> PendingAnswer {
        Box::pin(self.0.clone().oneshot(ask))
    }
}

/// The innermost service: the core, and before it what only the gateway can answer.
#[derive(Clone, Debug)]
struct Answering {
    broker: Arc<Broker>,
    login: Arc<Login>,
}

impl Answering {
    fn open(&self, ask: &Ask, principal: &Principal, vhost: Option<&str>) -> Answer {
        let vhost = vhost.or(principal.vhost.as_deref()).unwrap_or("/");
        self.broker
            .connect(principal, vhost, ask.origin.protocol, ask.outbox.clone())
            .map(Response::Opened)
            .inspect_err(|because| login::log_refusal(&ask.caller, Some(&principal.user), because))
    }
}

impl Service<Ask> for Answering {
    type Response = Response;
    type Error = Refusal;
    type Future = Either<Ready<Answer>, Pin<Box<dyn Future<Output = Answer> + Send>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let has_vhost = |name: &str| self.broker.has_vhost(name);
        match &ask.request {
            Request::Login(credentials) if credentials.mechanism == SCRAM => {
                Either::Left(ready(self.login.challenge(credentials, &ask.caller, has_vhost)))
            }
            Request::Login(credentials) => {
                let login = self.login.identify(credentials, &ask.caller, has_vhost);
                Either::Left(ready(login.map(Response::LoggedIn)))
            }
            Request::LoginStep { state, data } => {
                Either::Left(ready(self.login.prove(state, data, &ask.caller)))
            }
            Request::Open { principal, vhost, or_default } => {
                let is_known = |name: &&str| !or_default || self.broker.has_vhost(name);
                let vhost = vhost.as_deref().filter(is_known);
                Either::Left(ready(self.open(&ask, principal, vhost)))
            }
            _ => match self.broker.request(&ask.origin, ask.request) {
                Reply::Ready(answer) => Either::Left(ready(answer)),
                Reply::Pending(answer) => Either::Right(answer),
            },
        }
    }
}

/// What an audit line and a metric call a request; a closed set.
pub(crate) const fn name_of(request: &Request) -> &'static str {
    match request {
        Request::Login(_) => "login",
        Request::LoginStep { .. } => "login_step",
        Request::Open { .. } => "open",
        Request::DeclareExchange(_) => "declare_exchange",
        Request::DeleteExchange { .. } => "delete_exchange",
        Request::Bind(_) => "bind",
        Request::Unbind(_) => "unbind",
        Request::DeclareQueue(_) => "declare_queue",
        Request::DeleteQueue { .. } => "delete_queue",
        Request::PurgeQueue { .. } => "purge_queue",
        Request::Consume(_) => "consume",
        Request::Cancel { .. } => "cancel",
        Request::Get { .. } => "get",
        Request::Commit { .. } => "commit",
        Request::AwaitCalm => "await_calm",
        Request::OpenSession { .. } => "open_session",
        Request::Subscribe(_) => "subscribe",
        Request::Retained(_) => "retained",
        Request::Unsubscribe(_) => "unsubscribe",
        Request::SetPolicy { .. } => "set_policy",
        Request::ClearPolicy { .. } => "clear_policy",
        Request::ListPolicies { .. } => "list_policies",
    }
}
