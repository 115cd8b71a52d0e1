//! Consumers: consume, cancel, get (AMQP 0-9-1, class basic).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Answer, Consume, Got, Reply};
use crate::queue::{Consumer, Queue, Taker};
use crate::session::{ConsumerPlace, SessionShared};
use crate::{ConsumerId, DeliveryId, Protocol, Refusal, Response};

/// `basic.consume`
pub(super) fn consume(
    session: &Arc<SessionShared>,
    consume: &Consume,
) -> Result<Response, Refusal> {
    let routing = session.connection.vhost.routing();
    let queue = super::queue::usable(session, &routing, &consume.queue)?;
    attach(session, &queue, consume).map(Response::Consuming)
}

/// Attaches a consumer, with no credit.
pub(super) fn attach(
    session: &Arc<SessionShared>,
    queue: &Arc<Queue>,
    consume: &Consume,
) -> Result<ConsumerId, Refusal> {
    let mut contents = session.contents();
    let mut state = queue.lock().ok_or(Refusal::Internal)?;
    if state.deleted {
        return Err(Refusal::no_queue(&queue.name, &queue.vhost));
    }
    if state.is_quorum() && session.protocol() == Protocol::Amqp && session.has_limit() {
        let (name, vhost) = (&queue.name, &queue.vhost);
        let reason = format!("queue '{name}' in vhost '{vhost}' does not support global qos");
        return Err(Refusal::NotImplemented { reason });
    }
    let is_excluded = state.consumer_count() > 0 || state.has_single_active_consumer();
    if state.has_exclusive_consumer() || (consume.exclusive && is_excluded) {
        let (name, vhost) = (&queue.name, &queue.vhost);
        return Err(Refusal::access(format!("queue '{name}' in vhost '{vhost}' in exclusive use")));
    }
    let unsettled_max = session.connection.broker.limits.unsettled_per_session_max;
    let id = contents.new_consumer();
    let index = contents.index_of(queue);
    let place = state.attach(Taker {
        session: session.clone(),
        queue_index: index,
        consumer: Some(Consumer::new(id, consume, unsettled_max)),
        unsettled: 0,
    });
    contents.consumers.insert(id, ConsumerPlace { queue: index, place });
    Ok(id)
}

/// `basic.cancel`: no delivery to the consumer enters its outbox after this.
pub(super) fn cancel(session: &Arc<SessionShared>, consumer: ConsumerId) -> Response {
    let connection = &session.connection;
    let found = {
        let mut contents = session.contents();
        let place = contents.consumers.remove(&consumer);
        place.and_then(|place| Some((place, contents.queue(place.queue)?)))
    };
    let Some((place, queue)) = found else { return Response::Done };
    let mut effects = connection.broker.effects();
    let mut stays = true;
    if let Some(mut state) = queue.lock() {
        stays = state.detach(place.place, session);
        state.dispatch(&queue, &mut effects);
    }
    if !stays {
        session.contents().forget(place.queue);
    }
    connection.broker.end_if_unused(&connection.vhost, &queue, &mut effects);
    if queue.owner.is_some() && queue.lock().is_none_or(|state| state.deleted) {
        connection.disown(&queue);
    }
    connection.broker.finish(&mut effects);
    Response::Done
}

/// `basic.get`: at once when the message is in memory, else once the log has read it.
pub(super) fn get(session: &Arc<SessionShared>, name: &str, no_ack: bool) -> Reply {
    let routing = session.connection.vhost.routing();
    let queue = match super::queue::usable(session, &routing, name) {
        Ok(queue) => queue,
        Err(refusal) => return Reply::Ready(Err(refusal)),
    };
    drop(routing);
    let get = Get { session: session.clone(), queue, no_ack };
    match get.take(&Context::from_waker(std::task::Waker::noop())) {
        Poll::Ready(answer) => Reply::Ready(answer),
        Poll::Pending => Reply::Pending(Box::pin(get)),
    }
}

/// A single message on its way.
struct Get {
    session: Arc<SessionShared>,
    queue: Arc<Queue>,
    no_ack: bool,
}

impl Get {
    fn take(&self, context: &Context<'_>) -> Poll<Answer> {
        let mut effects = self.session.connection.broker.effects();
        // Held up to the end: a message taken for a session that is over would never come back.
        let mut contents = self.session.contents();
        if contents.ended {
            return Poll::Ready(Err(Refusal::Internal));
        }
        let index = (!self.no_ack).then(|| contents.index_of(&self.queue));
        let Some(mut state) = self.queue.lock() else {
            return Poll::Ready(Err(Refusal::Internal));
        };
        if state.is_quorum() && state.has_single_active_consumer() {
            let (name, vhost) = (self.queue.name.to_string(), self.queue.vhost.to_string());
            return Poll::Ready(Err(Refusal::SingleActive { name, vhost }));
        }
        let taken = state.get(&self.queue, &self.session, index, context.waker(), &mut effects);
        drop(state);
        drop(contents);
        self.session.connection.broker.finish(&mut effects);
        taken.map(|taken| {
            Ok(Response::Got(taken.map(|taken| {
                let (slot, generation) = taken.delivery;
                Got {
                    delivery: DeliveryId { queue: index.unwrap_or(0), slot, generation },
                    message: taken.message,
                    redelivered: taken.redelivered,
                    delivery_count: taken.delivery_count,
                    remaining: taken.remaining,
                }
            })))
        })
    }
}

impl Future for Get {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        self.take(context)
    }
}
