//! Declarations, deletions and bindings: what is durable of them is proposed to the catalogue and
//! done once it is committed, so that nobody publishes to a queue that a crash would take away.
//!
//! A change first claims the names that it is about; then it is looked at without being done, and
//! either has nothing to do with the catalogue and is done at once, or is proposed, and done on the
//! thread that committed it. A deletion with a condition (`if-unused`, `if-empty`) is done first:
//! its condition must hold when the queue goes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use super::{
    Answer, Binding, DeclareExchange, DeclareQueue, Destination, Reply, binding, committed,
    exchange, queue,
};
use crate::catalogue::{Change, Name, Slot};
use crate::session::SessionShared;
use crate::{QueueId, Refusal};

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    DeclareExchange(DeclareExchange),
    DeleteExchange {
        name: String,
        if_unused: bool,
    },
    /// With the name and the id that the queue gets if it is new.
    DeclareQueue {
        declare: DeclareQueue,
        name: String,
        id: QueueId,
    },
    DeleteQueue {
        name: String,
        if_unused: bool,
        if_empty: bool,
    },
    Bind(Binding),
    Unbind(Binding),
}

impl Wish {
    pub(super) fn declare_queue(session: &SessionShared, declare: DeclareQueue) -> Self {
        let broker = &session.connection.broker;
        let name = if declare.name.is_empty() && !declare.passive {
            let prefix = declare.name_prefix;
            broker.new_name(if prefix.is_empty() { "amq.gen-" } else { prefix })
        } else {
            declare.name.clone()
        };
        Self::DeclareQueue { declare, name, id: QueueId(broker.new_id()) }
    }

    /// The names that it is about, with `true` for those that nobody else may change meanwhile.
    fn names(&self) -> Vec<(Name, bool)> {
        let exchange = |name: &str| Name::Exchange(name.into());
        let queue = |name: &str| Name::Queue(name.into());
        match self {
            Self::DeclareExchange(DeclareExchange { passive: true, .. })
            | Self::DeclareQueue { declare: DeclareQueue { passive: true, .. }, .. } => Vec::new(),
            Self::DeclareExchange(declare) => vec![(exchange(&declare.name), true)],
            Self::DeleteExchange { name, .. } => vec![(exchange(name), true)],
            Self::DeclareQueue { name, .. } | Self::DeleteQueue { name, .. } => {
                vec![(queue(name), true)]
            }
            Self::Bind(binding) | Self::Unbind(binding) => {
                let source = exchange(&binding.source);
                let destination = match &binding.destination {
                    Destination::Queue(name) => queue(name),
                    Destination::Exchange(name) => exchange(name),
                };
                if source == destination {
                    vec![(source, false)]
                } else {
                    vec![(source, false), (destination, false)]
                }
            }
        }
    }

    /// What the catalogue has to agree to first; `None` when it is done, or refused, at once.
    fn durable_change(&self, session: &SessionShared) -> Option<Change> {
        let vhost = &session.connection.vhost;
        let routing = vhost.routing();
        match self {
            Self::DeclareExchange(declare) => exchange::durable_change(&routing, declare, vhost),
            Self::DeleteExchange { name, if_unused } => {
                let is_durable =
                    routing.exchanges.get(&**name).is_some_and(|exchange| exchange.durable);
                let is_planned = is_durable && !if_unused && !name.starts_with("amq.");
                let (vhost, name) = (vhost.name.to_string(), name.clone());
                is_planned.then_some(Change::RemoveExchange { vhost, name })
            }
            Self::DeclareQueue { declare, name, id } => {
                queue::durable_change(&routing, declare, name, *id, vhost)
            }
            Self::DeleteQueue { name, if_unused, if_empty } => {
                let queue = queue::usable(session, &routing, name).ok()?;
                let is_planned = queue.is_logged() && !if_unused && !if_empty;
                let (vhost, name) = (vhost.name.to_string(), name.clone());
                is_planned.then_some(Change::RemoveQueue { vhost, name })
            }
            Self::Bind(binding) => binding::durable_bind(session, &routing, binding),
            Self::Unbind(binding) => binding::durable_unbind(session, &routing, binding),
        }
    }

    fn grant(&self, session: &Arc<SessionShared>) -> Answer {
        match self {
            Self::DeclareExchange(declare) => exchange::declare(session, declare),
            Self::DeleteExchange { name, if_unused } => exchange::delete(session, name, *if_unused),
            Self::DeclareQueue { declare, name, id } => queue::declare(session, declare, name, *id),
            Self::DeleteQueue { name, if_unused, if_empty } => {
                queue::delete(session, name, *if_unused, *if_empty)
            }
            Self::Bind(binding) => binding::bind_now(session, binding.clone()),
            Self::Unbind(binding) => binding::unbind(session, binding.clone()),
        }
    }
}

/// Does what is asked for, now or once it is committed.
pub(super) fn change(session: &Arc<SessionShared>, wish: Wish) -> Reply {
    if session.connection.broker.catalogue.is_none() {
        return Reply::Ready(wish.grant(session));
    }
    let names = wish.names();
    let mut change =
        Changing { session: session.clone(), wish, names, turn: None, state: State::New };
    match change.step(&Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(reply)) => reply,
        Poll::Ready(Err(answer)) => Reply::Ready(answer),
        Poll::Pending => Reply::Pending(Box::pin(change)),
    }
}

/// A change on its way.
pub(super) struct Changing {
    session: Arc<SessionShared>,
    wish: Wish,
    names: Vec<(Name, bool)>,
    /// Its place among those that wait for names.
    turn: Option<u64>,
    state: State,
}

enum State {
    /// Has no names yet.
    New,
    /// Is proposed; the answer will be here.
    Proposed(Slot),
    /// Is done; what it has seen is not committed yet.
    Done(Pin<Box<dyn Future<Output = Answer> + Send>>),
}

impl Changing {
    /// Goes on as far as it can now. `Ok` for an answer that may still wait for a commit.
    fn step(&mut self, context: &Context<'_>) -> Poll<Result<Reply, Answer>> {
        if let State::Proposed(slot) = &self.state {
            return slot.poll(context).map(Err);
        }
        let vhost = &self.session.connection.vhost;
        if !vhost.claims().claim(&self.names, &mut self.turn, context.waker()) {
            return Poll::Pending;
        }
        let Some(change) = self.wish.durable_change(&self.session) else {
            let answer = self.wish.grant(&self.session);
            vhost.release(&self.names);
            return Poll::Ready(Ok(committed(&self.session.connection.vhost, answer)));
        };
        let slot = Slot::default();
        let (session, wish, names) = (self.session.clone(), self.wish.clone(), self.names.clone());
        let (expected, to_fill) = (change.clone(), slot.clone());
        let deed = move || {
            let vhost = &session.connection.vhost;
            let answer = vhost.expecting(expected, || wish.grant(&session));
            vhost.release(&names);
            to_fill.fill(answer);
        };
        if let Err(refusal) = self.session.connection.broker.plan(vec![change], Box::new(deed)) {
            vhost.release(&self.names);
            return Poll::Ready(Err(Err(refusal)));
        }
        let answer = slot.poll(context).map(Err);
        self.state = State::Proposed(slot);
        answer
    }
}

impl Future for Changing {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        loop {
            if let State::Done(answer) = &mut self.state {
                return answer.as_mut().poll(context);
            }
            match ready!(self.step(context)) {
                Err(answer) | Ok(Reply::Ready(answer)) => return Poll::Ready(answer),
                Ok(Reply::Pending(answer)) => self.state = State::Done(answer),
            }
        }
    }
}

/// Who goes while it waits for names gives up its turn. What is proposed is done all the same.
impl Drop for Changing {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.session.connection.vhost.forget_turn(turn);
        }
    }
}

/// The binding half of a snapshot.
pub(super) async fn bind(session: &Arc<SessionShared>, binding: Binding) -> Result<(), Refusal> {
    let answer = match change(session, Wish::Bind(binding)) {
        Reply::Ready(answer) => answer,
        Reply::Pending(answer) => answer.await,
    };
    answer.map(drop)
}
