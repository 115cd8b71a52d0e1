//! Bindings of queues to `amq.topic` that ask for what is retained: `x-retained: snapshot`.
//!
//! The queue gets the retained messages that match, then live ones. (1) What is retained is pushed
//! in slices, and others have their turn in between; (2) the binding is made; (3) what changed
//! between is pushed: it came too late for (1) and perhaps too early for (2). A message that
//! changes while (2) happens may come twice; none is missed, and none comes behind a newer one of
//! its address.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::{Answer, Binding, Destination, planned};
use crate::address::Pattern;
use crate::queue::Queue;
use crate::retained::Changes;
use crate::routing::TOPIC_EXCHANGE;
use crate::session::SessionShared;
use crate::{Refusal, Response, Value};

/// The argument that asks.
const ARGUMENT: &str = "x-retained";

/// Its only value.
const SNAPSHOT: &str = "snapshot";

/// Whether the binding asks for what is retained.
pub(super) fn is_wanted(binding: &Binding) -> Result<bool, Refusal> {
    let Some(value) = binding.arguments.get(ARGUMENT) else { return Ok(false) };
    if value.as_str() != Some(SNAPSHOT) {
        return Err(invalid(&format!("'{SNAPSHOT}' is its only value, got {}", shown(value))));
    }
    if binding.source != TOPIC_EXCHANGE || matches!(binding.destination, Destination::Exchange(_)) {
        return Err(invalid("only a queue can be bound so, and to 'amq.topic'"));
    }
    Ok(true)
}

fn invalid(reason: &str) -> Refusal {
    Refusal::precondition(format!("invalid arg '{ARGUMENT}' of a binding: {reason}"))
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| "another type".to_owned(), |text| format!("'{text}'"))
}

/// Binds, with the snapshot around it.
pub(super) async fn bind(session: Arc<SessionShared>, binding: Binding) -> Answer {
    let Destination::Queue(name) = &binding.destination else { return Err(Refusal::Internal) };
    let queue = super::queue::usable(&session, &session.connection.vhost.routing(), name)?;
    let pattern = Pattern::from_key(&binding.key);
    let before = session.connection.vhost.retained().change();
    push(&session, &queue, &pattern, Changes { after: 0, through: before }).await;
    planned::bind(&session, binding).await?;
    let through = session.connection.vhost.retained().change();
    push(&session, &queue, &pattern, Changes { after: before, through }).await;
    Ok(Response::Done)
}

async fn push(session: &SessionShared, queue: &Arc<Queue>, pattern: &Pattern, changes: Changes) {
    let mut start: Option<Box<str>> = None;
    loop {
        let slice = session.connection.vhost.retained().slice(
            pattern,
            start.as_deref(),
            changes,
            session.connection.broker.now(),
        );
        session.connection.broker.push(queue, &slice.messages);
        start = slice.next;
        if start.is_none() {
            return;
        }
        others_turn().await;
    }
}

/// Lets whatever else runs on this thread run once.
pub(super) async fn others_turn() {
    let mut had_it = false;
    let turn = std::future::poll_fn(|context| {
        if std::mem::replace(&mut had_it, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    pin!(turn).await;
}
