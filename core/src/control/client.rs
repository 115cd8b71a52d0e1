//! MQTT sessions: open, take over, subscribe, unsubscribe.

use std::collections::HashMap;
use std::sync::Arc;

use super::share::name_that_fits;
use super::{Consume, Granted, Source, Subscription};
use crate::address::Pattern;
use crate::queue::{Declaration, Effects, Queue};
use crate::routing::{BindingKey, Routing, Subscriber, TOPIC_EXCHANGE, Target, TargetId};
use crate::session::{Client, SessionShared, Subscribed};
use crate::{Broker, ConsumerId, Event, Message, QueueId, Refusal, Response};

/// Opens the session of a client; another connection that has it loses it [MQTT-3.1.4-3].
pub(super) fn open(session: &Arc<SessionShared>, client_id: &str, unsettled_max: u16) -> Response {
    let connection = &session.connection;
    let client_id: Arc<str> = if client_id.is_empty() {
        connection.broker.new_name("auto-").into()
    } else {
        client_id.into()
    };
    session.limit(u32::from(unsettled_max));
    session.contents().client =
        Some(Client { name: client_id.clone(), subscriptions: HashMap::new(), queue: None });
    let before = connection.vhost.clients().insert(client_id.clone(), session.clone());
    if let Some(before) = before {
        let mut effects = connection.broker.effects();
        connection.broker.end_client(&before, &mut effects);
        before.outbox().push_event(Event::TakenOver);
        effects.touch(before.outbox());
        connection.broker.finish(&mut effects);
    }
    Response::SessionOpened { client_id: client_id.to_string(), present: false }
}

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
            Source::Queue(name) => subscribe_consumer(session, &wanted.source, || {
                let consume = Consume { queue: name.clone(), ..Consume::default() };
                match super::consumer::consume(session, &consume)? {
                    Response::Consuming(consumer) => Ok(Subscribed::Consumer(consumer)),
                    _ => Err(Refusal::Internal),
                }
            }),
            Source::Shared { group, pattern } => {
                subscribe_consumer(session, &wanted.source, || {
                    super::share::join(session, group, pattern).map(Subscribed::Member)
                })
            }
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
            no_local: wanted.no_local,
        });
        (Subscribed::FireAndForget(subscriber.clone()), Target::Subscriber(subscriber), None)
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
        if let Some(before) = client.subscriptions.insert(wanted.source.clone(), served) {
            client.unbind(routing, &before, &key);
        }
        routing.bind(TOPIC_EXCHANGE, &target, key)
    })?;
    let vhost = &connection.vhost;
    let now = connection.broker.now();
    let retained = if wanted.retained { vhost.retained_matching(pattern, now) } else { Vec::new() };
    Ok(match queue {
        Some((queue, consumer)) => {
            push_retained(&connection.broker, &queue, &retained, wanted.qos);
            Granted { consumer: Some(consumer), retained: Vec::new() }
        }
        None => Granted { consumer: None, retained },
    })
}

/// Subscribes to a source that has a consumer of its own, which stays when it is asked for again.
fn subscribe_consumer(
    session: &Arc<SessionShared>,
    source: &Source,
    attach: impl FnOnce() -> Result<Subscribed, Refusal>,
) -> Result<Granted, Refusal> {
    let granted = |consumer| Granted { consumer: Some(consumer), retained: Vec::new() };
    {
        let contents = session.contents();
        let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
        let known = client.subscriptions.get(source).and_then(Subscribed::consumer);
        // One whose queue was deleted is attached anew.
        if let Some(known) = known.filter(|known| contents.consumers.contains_key(known)) {
            return Ok(granted(known));
        }
    }
    unsubscribe_one(session, source)?;
    let served = attach()?;
    let consumer = served.consumer().ok_or(Refusal::Internal)?;
    {
        let mut contents = session.contents();
        if let Some(client) = contents.client.as_mut() {
            client.subscriptions.insert(source.clone(), served);
            return Ok(granted(consumer));
        }
    }
    let mut effects = session.connection.broker.effects();
    end_subscription(session, source, &served, &mut effects);
    session.connection.broker.finish(&mut effects);
    Err(Refusal::TakenOver)
}

/// The queue of an MQTT session and its consumer, made with the first subscription that needs it:
/// idle sensors that only publish cost no queue.
fn session_queue(session: &Arc<SessionShared>) -> Result<(Arc<Queue>, ConsumerId), Refusal> {
    let connection = &session.connection;
    let client_id = {
        let contents = session.contents();
        let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
        if let Some((queue, consumer)) = &client.queue {
            return Ok((queue.clone(), *consumer));
        }
        client.name.clone()
    };
    let queue = Queue::new(Declaration {
        id: QueueId(connection.broker.new_id()),
        name: name_that_fits(format!("mqtt-subscription-{client_id}")).into(),
        vhost: connection.vhost.name.clone(),
        durable: false,
        owner: Some(connection.id),
        auto_delete: false,
        is_session: true,
        arguments: crate::Table::default(),
        window_max: None,
    });
    connection.vhost.change_routing(|routing| {
        if routing.queues.contains_key(&queue.name) {
            let (name, vhost) = (queue.name.to_string(), queue.vhost.to_string());
            return Err(Refusal::Locked { name, vhost });
        }
        routing.queues.insert(queue.name.clone(), queue.clone());
        Ok(())
    })?;
    connection.broker.register(&queue);
    connection.own(&queue);
    let consumer = super::consumer::attach(session, &queue, &Consume::default())?;
    if let Some(client) = session.contents().client.as_mut() {
        client.queue = Some((queue.clone(), consumer));
    }
    Ok((queue, consumer))
}

fn push_retained(broker: &Broker, queue: &Arc<Queue>, messages: &[Message], qos: u8) {
    let mut effects = broker.effects();
    if let Some(mut state) = queue.lock() {
        for message in messages {
            if qos.min(message.qos()) == 0 {
                state.push_express(message, true, &mut effects);
            } else {
                state.push(queue, message, None, true, &mut effects);
            }
        }
        state.dispatch(queue, &mut effects);
    }
    broker.finish(&mut effects);
}

impl Client {
    /// Removes the binding of a filter that was served like this.
    fn unbind(&self, routing: &mut Routing, served: &Subscribed, key: &BindingKey) {
        let queue = self.queue.as_ref().map(|(queue, _)| queue.id);
        let target = match (served, queue) {
            (Subscribed::FireAndForget(subscriber), _) => TargetId::Subscriber(subscriber.id),
            (Subscribed::Queued, Some(queue)) => TargetId::Queue(queue),
            (Subscribed::QueuedAtQos0, Some(queue)) => TargetId::QueueAtQos0(queue),
            _ => return,
        };
        routing.unbind(TOPIC_EXCHANGE, &target, key);
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
    let before = {
        let mut contents = session.contents();
        let client = contents.client.as_mut().ok_or(Refusal::TakenOver)?;
        client.subscriptions.remove(source)
    };
    let Some(before) = before else { return Ok(false) };
    let mut effects = session.connection.broker.effects();
    end_subscription(session, source, &before, &mut effects);
    session.connection.broker.finish(&mut effects);
    Ok(true)
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
                    client.unbind(routing, served, &key);
                }
            });
        }
        Source::Queue(_) => end_consumer(session, served),
        Source::Shared { group, pattern } => {
            end_consumer(session, served);
            session.connection.broker.leave(session, group, pattern, effects);
        }
    }
}

fn end_consumer(session: &Arc<SessionShared>, served: &Subscribed) {
    if let Some(consumer) = served.consumer() {
        super::consumer::cancel(session, consumer);
    }
}

impl Broker {
    /// Ends the MQTT half of a session, if it has one: its subscriptions, its queue, its name.
    pub(crate) fn end_client(&self, session: &Arc<SessionShared>, effects: &mut Effects) {
        let Some(client) = session.contents().client.take() else { return };
        let vhost = &session.connection.vhost;
        {
            let mut clients = vhost.clients();
            if clients.get(&client.name).is_some_and(|known| Arc::ptr_eq(known, session)) {
                clients.remove(&client.name);
            }
        }
        if !client.subscriptions.is_empty() {
            vhost.change_routing(|routing| {
                for served in client.subscriptions.values() {
                    if let Subscribed::FireAndForget(subscriber) = served {
                        routing.forget_target(&TargetId::Subscriber(subscriber.id));
                    }
                }
            });
        }
        for (source, served) in &client.subscriptions {
            if let Some(consumer) = served.consumer() {
                self.return_consumer(session, consumer, effects);
            }
            if let Source::Shared { group, pattern } = source {
                self.leave(session, group, pattern, effects);
            }
        }
        if let Some((queue, _)) = client.queue {
            // Detached first: the client learns that its session ended, not that a queue did.
            if let Some(mut state) = queue.lock() {
                state.end_session(session);
            }
            session.connection.disown(&queue);
            self.delete_queue(vhost, &queue, effects);
        }
    }

    /// Detaches a consumer and puts back what it has not settled, for others to have.
    fn return_consumer(
        &self,
        session: &Arc<SessionShared>,
        consumer: ConsumerId,
        effects: &mut Effects,
    ) {
        let queue = {
            let mut contents = session.contents();
            let place = contents.consumers.remove(&consumer);
            place.and_then(|place| contents.queue(place.queue))
        };
        let Some(queue) = queue else { return };
        if let Some(mut state) = queue.lock() {
            state.end_session(session);
            state.dispatch(&queue, effects);
        }
        self.end_if_unused(&session.connection.vhost, &queue, effects);
    }
}
