//! The retained messages that a new MQTT subscription matches, in slices: who subscribes to all of
//! them holds up nobody, and who reads slowly is given no more than it reads.
//!
//! What changes after the subscription was made comes live and is no part of any slice.

use std::sync::Arc;

use super::{Answer, Response};
use crate::address::Pattern;
use crate::broker::is_own;
use crate::queue::Queue;
use crate::retained::Changes;
use crate::session::SessionShared;
use crate::{Broker, Message, Refusal};

/// What is left of the retained messages of one subscription.
#[derive(Debug)]
pub struct RetainedRest {
    pattern: Pattern,
    /// As granted.
    qos: u8,
    /// Where those go that need an acknowledgement.
    queue: Option<Arc<Queue>>,
    changes: Changes,
    /// Where the next slice begins.
    start: Option<Box<str>>,
}

/// The first of them, for a subscription that was made just now. Only what takes a constant time is
/// looked at: without wildcards there is one message at most.
pub(super) fn first(
    session: &SessionShared,
    pattern: &Pattern,
    qos: u8,
    queue: Option<&Arc<Queue>>,
) -> (Vec<Message>, Option<Box<RetainedRest>>) {
    if is_own(pattern) {
        let messages = session.connection.broker.own_matching(pattern);
        return (hand_out(session, messages, qos, queue), None);
    }
    let changes = {
        let retained = session.connection.vhost.retained();
        if retained.len() == 0 {
            return (Vec::new(), None);
        }
        Changes { after: 0, through: retained.change() }
    };
    let (pattern, queue) = (pattern.clone(), queue.cloned());
    let mut rest = RetainedRest { pattern, qos, queue, changes, start: None };
    if rest.pattern.as_key().is_some() {
        return (rest.take_slice(session), None);
    }
    (Vec::new(), Some(Box::new(rest)))
}

/// The next slice, after a turn for others.
pub(super) async fn next(session: Arc<SessionShared>, mut rest: Box<RetainedRest>) -> Answer {
    super::snapshot::others_turn().await;
    if session.contents().client.is_none() {
        return Err(Refusal::TakenOver);
    }
    let messages = rest.take_slice(&session);
    let rest = rest.start.is_some().then_some(rest);
    Ok(Response::Retained { messages, rest })
}

impl RetainedRest {
    /// Pushes what needs an acknowledgement of the next slice, and returns what does not.
    fn take_slice(&mut self, session: &SessionShared) -> Vec<Message> {
        let connection = &session.connection;
        let slice = connection.vhost.retained().slice(
            &self.pattern,
            self.start.as_deref(),
            self.changes,
            connection.broker.now(),
        );
        self.start = slice.next;
        hand_out(session, slice.messages, self.qos, self.queue.as_ref())
    }
}

/// Pushes what needs an acknowledgement, and returns what does not.
fn hand_out(
    session: &SessionShared,
    messages: Vec<Message>,
    qos: u8,
    queue: Option<&Arc<Queue>>,
) -> Vec<Message> {
    let Some(queue) = queue else { return messages };
    let (direct, queued): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| qos.min(message.qos()) == 0);
    session.connection.broker.push_retained(queue, &queued);
    direct
}

impl Broker {
    /// Puts retained messages into the queue of a session that subscribes to them.
    fn push_retained(&self, queue: &Arc<Queue>, messages: &[Message]) {
        let mut effects = self.effects();
        if let Some(mut state) = queue.lock() {
            for message in messages {
                state.push(queue, message, None, true, &mut effects);
            }
            state.dispatch(queue, &mut effects);
        }
        self.finish(&mut effects);
    }
}
