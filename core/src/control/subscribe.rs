//! Subscriptions of MQTT sessions: to filters, to queues, to groups.

use std::sync::{Arc, OnceLock};

use super::share::name_that_fits;
use super::{Consume, Granted, Source, Subscription};
use crate::address::Pattern;
use crate::broker::is_own;
use crate::queue::{Declaration, Effects, Queue};
use crate::routing::{
    BindingKey, ExchangeKind, OWN_EXCHANGE, Routing, Subscriber, TOPIC_EXCHANGE, Target, TargetId,
};
use crate::session::{Client, Kept, SessionShared, Subscribed};
use crate::vhost::Vhost;
use crate::{Broker, ConsumerId, QueueId, Refusal, Response, Table};

/// Subscribes, one after the other: one with the same source is replaced without a gap
/// [MQTT-3.8.4-3].
pub(super) fn subscribe(
    session: &Arc<SessionShared>,
    subscriptions: Vec<Subscription>,
) -> Result<Response, Refusal> {
    let mut granted = Vec::with_capacity(subscriptions.len());
    for wanted in subscriptions {
        let result = match &wanted.source {
            Source::Filter(pattern) => subscribe_filter(session, pattern, &wanted),
            Source::Queue(name) => subscribe_consumer(session, &wanted, || {
                let consumer = consume(session, name)?;
                Ok((Subscribed::Consumer(Some(consumer)), None))
            }),
            Source::Shared { group, pattern } => subscribe_consumer(session, &wanted, || {
                let (consumer, queue) = super::share::join(session, group, pattern)?;
                Ok((Subscribed::Member(Some(consumer)), queue))
            }),
        };
        if let Err(Refusal::TakenOver) = result {
            return Err(Refusal::TakenOver);
        }
        granted.push(result);
    }
    Ok(Response::Subscribed(granted))
}

/// Subscribes to a filter, through the session's queue or straight into the outbox.
fn subscribe_filter(
    session: &Arc<SessionShared>,
    pattern: &Pattern,
    wanted: &Subscription,
) -> Result<Granted, Refusal> {
    let connection = &session.connection;
    let key = BindingKey::of_filter(pattern.clone());
    let (served, target, queue) = if let Some((encoder, variant)) = wanted.fire_and_forget {
        let subscriber = Arc::new(Subscriber {
            id: connection.broker.new_id(),
            outbox: connection.outbox.clone(),
            encoder,
            variant,
            connection: connection.id,
            publisher: session.publisher(),
            session_queue: queue_id(session)?,
            no_local: wanted.no_local,
        });
        let served = Subscribed::FireAndForget(Some(subscriber.clone()));
        (served, Target::Subscriber(subscriber), None)
    } else {
        let (queue, consumer) = session_queue(session)?;
        let (served, target) = if wanted.qos == 0 {
            (Subscribed::QueuedAtQos0, Target::QueueAtQos0(queue.clone()))
        } else {
            (Subscribed::Queued, Target::Queue(queue.clone()))
        };
        (served, target, Some((queue, consumer)))
    };
    connection.vhost.change_routing(|routing| {
        let mut contents = session.contents();
        let client = contents.client.as_mut().ok_or(Refusal::TakenOver)?;
        let kept = Kept { asked: wanted.clone(), served };
        let before = client.subscriptions.insert(wanted.source.clone(), kept);
        let asked = before.as_ref().map(|before| &before.asked);
        if let Some(change) = client.subscribed(&connection.vhost.name, wanted, asked, None) {
            routing.record(|_| change);
        }
        if let Some(before) = before {
            client.unbind(routing, &before.served, pattern, &key);
        }
        let exchange = exchange_of(pattern);
        if exchange == OWN_EXCHANGE && !routing.exchanges.contains_key(exchange) {
            let (durable, auto_delete, internal) = (false, true, true);
            let kind = ExchangeKind::Topic;
            routing.add_exchange(exchange, kind, durable, auto_delete, internal, Table::default());
        }
        routing.bind(exchange, &target, key)
    })?;
    let (queue, consumer) = queue.unzip();
    let (retained, rest) = if wanted.retained {
        super::retained::first(session, pattern, wanted.qos, queue.as_ref())
    } else {
        (Vec::new(), None)
    };
    Ok(Granted { consumer, retained, rest })
}

/// Where what a filter matches is published.
fn exchange_of(pattern: &Pattern) -> &'static str {
    if is_own(pattern) { OWN_EXCHANGE } else { TOPIC_EXCHANGE }
}

/// Subscribes to a source that has a consumer of its own, which stays when it is asked for again.
fn subscribe_consumer(
    session: &Arc<SessionShared>,
    wanted: &Subscription,
    attach: impl FnOnce() -> Result<(Subscribed, Option<QueueId>), Refusal>,
) -> Result<Granted, Refusal> {
    let source = &wanted.source;
    let vhost = &session.connection.vhost;
    let known = known_consumer(session, source)?;
    let (served, group, before) = if let Some(served) = known {
        (served, None, None)
    } else {
        let before = end_one(session, source)?;
        match attach() {
            Ok((served, group)) => (served, group, before.map(|before| before.asked)),
            Err(refusal) => {
                if let Some(client) = session.contents().client.as_ref() {
                    vhost.propose(client.unsubscribed(&vhost.name, source));
                }
                return Err(refusal);
            }
        }
    };
    let granted = Granted { consumer: served.consumer(), ..Granted::default() };
    {
        let mut contents = session.contents();
        if let Some(client) = contents.client.as_mut() {
            let kept = Kept { asked: wanted.clone(), served };
            let replaced = client.subscriptions.insert(source.clone(), kept);
            let before = before.or_else(|| replaced.map(|replaced| replaced.asked));
            vhost.propose(client.subscribed(&vhost.name, wanted, before.as_ref(), group));
            return Ok(granted);
        }
    }
    let mut effects = session.connection.broker.effects();
    end_subscription(session, source, &served, &mut effects);
    session.connection.broker.finish(&mut effects);
    Err(Refusal::TakenOver)
}

/// How the session is served from `source` already, a member of a group that was away attached
/// again. `None` when it is not, or when the queue was deleted.
fn known_consumer(
    session: &Arc<SessionShared>,
    source: &Source,
) -> Result<Option<Subscribed>, Refusal> {
    let served = {
        let contents = session.contents();
        let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
        let Some(kept) = client.subscriptions.get(source) else { return Ok(None) };
        let served = kept.served.clone();
        let is_attached = |consumer| contents.consumers.contains_key(&consumer);
        if served.consumer().is_some_and(is_attached) {
            return Ok(Some(served));
        }
        served
    };
    let (Subscribed::Member(None), Source::Shared { group, pattern }) = (served, source) else {
        return Ok(None);
    };
    let name = super::share::queue_name(group, pattern);
    Ok(consume(session, &name).ok().map(|consumer| Subscribed::Member(Some(consumer))))
}

fn consume(session: &Arc<SessionShared>, queue: &str) -> Result<ConsumerId, Refusal> {
    let consume = Consume { queue: queue.to_owned(), ..Consume::default() };
    match super::consumer::consume(session, &consume)? {
        Response::Consuming(consumer) => Ok(consumer),
        _ => Err(Refusal::Internal),
    }
}

fn queue_id(session: &SessionShared) -> Result<Arc<OnceLock<QueueId>>, Refusal> {
    let contents = session.contents();
    let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
    Ok(client.queue_id.clone())
}

/// The queue of an MQTT session and its consumer, made with the first subscription that needs it:
/// idle sensors that only publish cost no queue.
fn session_queue(session: &Arc<SessionShared>) -> Result<(Arc<Queue>, ConsumerId), Refusal> {
    let connection = &session.connection;
    let broker = &connection.broker;
    let queue = {
        let contents = session.contents();
        let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
        if let Some((queue, Some(consumer))) = &client.queue {
            return Ok((queue.clone(), *consumer));
        }
        let id = client.queue_id.get_or_init(|| QueueId(broker.new_id()));
        new_session_queue(broker, &connection.vhost, &client.name, *id, client.stored.is_some())
    };
    connection.vhost.change_routing(|routing| {
        let mut contents = session.contents();
        let client = contents.client.as_mut().ok_or(Refusal::TakenOver)?;
        if routing.queues.contains_key(&queue.name) {
            let (name, vhost) = (queue.name.to_string(), queue.vhost.to_string());
            return Err(Refusal::Locked { name, vhost });
        }
        routing.queues.insert(queue.name.clone(), queue.clone());
        client.queue = Some((queue.clone(), None));
        Ok(())
    })?;
    connection.broker.register(&queue);
    let consumer = attach_queue(session, &queue)?;
    Ok((queue, consumer))
}

/// The queue of a session. One that the catalogue keeps is logged.
pub(crate) fn new_session_queue(
    broker: &Broker,
    vhost: &Vhost,
    client_id: &str,
    id: QueueId,
    is_kept: bool,
) -> Arc<Queue> {
    Queue::new(Declaration {
        id,
        name: name_that_fits(format!("mqtt-subscription-{client_id}")).into(),
        vhost: vhost.name.clone(),
        durable: is_kept,
        owner: None,
        auto_delete: false,
        is_session: true,
        arguments: Table::default(),
        memory: broker.memory.clone(),
        held_bytes_max: None,
    })
}

/// Attaches the consumer of the session's queue, with no credit.
pub(super) fn attach_queue(
    session: &Arc<SessionShared>,
    queue: &Arc<Queue>,
) -> Result<ConsumerId, Refusal> {
    let consumer = super::consumer::attach(session, queue, &Consume::default())?;
    let mut contents = session.contents();
    let client = contents.client.as_mut().ok_or(Refusal::TakenOver)?;
    client.queue = Some((queue.clone(), Some(consumer)));
    Ok(consumer)
}

impl Client {
    /// Removes the binding of a filter that was served like this.
    fn unbind(
        &self,
        routing: &mut Routing,
        served: &Subscribed,
        pattern: &Pattern,
        key: &BindingKey,
    ) {
        let queue = self.queue.as_ref().map(|(queue, _)| queue.id);
        let target = match (served, queue) {
            (Subscribed::FireAndForget(Some(subscriber)), _) => TargetId::Subscriber(subscriber.id),
            (Subscribed::Queued, Some(queue)) => TargetId::Queue(queue),
            (Subscribed::QueuedAtQos0, Some(queue)) => TargetId::QueueAtQos0(queue),
            _ => return,
        };
        routing.unbind(exchange_of(pattern), &target, key);
    }
}

/// Unsubscribes; says of each source whether there was such a subscription.
pub(super) fn unsubscribe(
    session: &Arc<SessionShared>,
    sources: &[Source],
) -> Result<Response, Refusal> {
    let known = sources.iter().map(|source| unsubscribe_one(session, source));
    Ok(Response::Unsubscribed(known.collect::<Result<_, _>>()?))
}

fn unsubscribe_one(session: &Arc<SessionShared>, source: &Source) -> Result<bool, Refusal> {
    let vhost = &session.connection.vhost;
    let Some(_) = end_one(session, source)? else { return Ok(false) };
    if let Some(client) = session.contents().client.as_ref() {
        vhost.propose(client.unsubscribed(&vhost.name, source));
    }
    Ok(true)
}

/// Ends a subscription, but for the catalogue, which may get another in its place.
fn end_one(session: &Arc<SessionShared>, source: &Source) -> Result<Option<Kept>, Refusal> {
    let before = {
        let mut contents = session.contents();
        let client = contents.client.as_mut().ok_or(Refusal::TakenOver)?;
        client.subscriptions.remove(source)
    };
    if let Some(before) = &before {
        let mut effects = session.connection.broker.effects();
        end_subscription(session, source, &before.served, &mut effects);
        session.connection.broker.finish(&mut effects);
    }
    Ok(before)
}

/// Ends what served a subscription that is no longer in the session's list.
fn end_subscription(
    session: &Arc<SessionShared>,
    source: &Source,
    served: &Subscribed,
    effects: &mut Effects,
) {
    match source {
        Source::Filter(pattern) => {
            let key = BindingKey::of_filter(pattern.clone());
            session.connection.vhost.change_routing(|routing| {
                let contents = session.contents();
                if let Some(client) = &contents.client {
                    client.unbind(routing, served, pattern, &key);
                }
            });
        }
        Source::Queue(_) => end_consumer(session, served),
        Source::Shared { group, pattern } => {
            end_consumer(session, served);
            let connection = &session.connection;
            connection.broker.leave(&connection.vhost, group, pattern, effects);
        }
    }
}

fn end_consumer(session: &Arc<SessionShared>, served: &Subscribed) {
    if let Some(consumer) = served.consumer() {
        super::consumer::cancel(session, consumer);
    }
}
