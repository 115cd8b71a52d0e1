//! MQTT sessions: open, take over, subscribe, unsubscribe.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Consume, Subscription};
use crate::address::Pattern;
use crate::queue::{Declaration, Effects, Queue};
use crate::routing::{BindingKey, Subscriber, TOPIC_EXCHANGE, Target};
use crate::session::{Client, SessionShared, Subscribed};
use crate::{Broker, Event, Message, QueueId, Refusal, Response};

/// Opens the session of a client; another connection that has it loses it [MQTT-3.1.4-3].
pub(super) fn open(session: &Arc<SessionShared>, client_id: &str, unsettled_max: u16) -> Response {
    let connection = &session.connection;
    let client_id: Arc<str> = if client_id.is_empty() {
        connection.broker.new_name("auto-").into()
    } else {
        client_id.into()
    };
    session.contents().client = Some(Client {
        name: client_id.clone(),
        unsettled_max,
        subscriptions: HashMap::new(),
        queue: None,
    });
    let before = connection.vhost.clients().insert(client_id.clone(), session.clone());
    if let Some(before) = before {
        let mut effects = Effects::default();
        connection.broker.end_client(&before, &mut effects);
        before.outbox().push_event(Event::TakenOver);
        effects.touch(before.outbox());
        connection.broker.finish(&mut effects);
    }
    Response::SessionOpened { client_id: client_id.to_string(), present: false }
}

/// Subscribes to filters, each at once: one with the same pattern is replaced without a gap
/// [MQTT-3.8.4-3].
pub(super) fn subscribe(
    session: &Arc<SessionShared>,
    subscriptions: Vec<Subscription>,
) -> Result<Response, Refusal> {
    let vhost = &session.connection.vhost;
    let needs_queue = subscriptions.iter().any(|wanted| wanted.fire_and_forget.is_none());
    let queue = if needs_queue { Some(session_queue(session)?) } else { None };
    let mut retained = Vec::new();
    for wanted in subscriptions {
        let through_queue = wanted.fire_and_forget.is_none();
        let key = BindingKey::of_filter(wanted.pattern.clone());
        let served = serve(session, &wanted);
        let target = match (&served, &queue) {
            (Subscribed::FireAndForget(subscriber), _) => Target::Subscriber(subscriber.clone()),
            (Subscribed::Queued, Some(queue)) => Target::Queue(queue.clone()),
            (Subscribed::Queued, None) => continue,
        };
        let before = {
            let mut contents = session.contents();
            let client = contents.client.as_mut().ok_or(Refusal::TakenOver)?;
            client.subscriptions.insert(wanted.pattern.clone(), served)
        };
        vhost.change_routing(|routing| {
            if let Some(before) = before {
                unbind(session, routing, &before, &key);
            }
            routing.bind(TOPIC_EXCHANGE, &target, key)
        })?;
        let matching =
            if wanted.retained { vhost.retained().matching(&wanted.pattern) } else { Vec::new() };
        match queue.as_ref().filter(|_| through_queue) {
            Some(queue) => push_retained(&session.connection.broker, queue, &matching),
            None if wanted.retained => retained.push(matching),
            None => {}
        }
    }
    let contents = session.contents();
    let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
    let consumer = client.queue.as_ref().map(|(_, consumer)| *consumer);
    Ok(Response::Subscribed { consumer, retained })
}

fn serve(session: &Arc<SessionShared>, wanted: &Subscription) -> Subscribed {
    let connection = &session.connection;
    match wanted.fire_and_forget {
        None => Subscribed::Queued,
        Some((encoder, variant)) => Subscribed::FireAndForget(Arc::new(Subscriber {
            id: connection.broker.new_id(),
            outbox: connection.outbox.clone(),
            encoder,
            variant,
            connection: connection.id,
            no_local: wanted.no_local,
        })),
    }
}

/// The queue of an MQTT session, made with the first subscription that needs it: idle sensors
/// that only publish cost no queue.
fn session_queue(session: &Arc<SessionShared>) -> Result<Arc<Queue>, Refusal> {
    let connection = &session.connection;
    let (client_id, unsettled_max) = {
        let contents = session.contents();
        let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
        if let Some((queue, _)) = &client.queue {
            return Ok(queue.clone());
        }
        (client.name.clone(), client.unsettled_max)
    };
    let name = format!("mqtt-subscription-{client_id}");
    let queue = Queue::new(Declaration {
        id: QueueId(connection.broker.new_id()),
        name: name.into(),
        vhost: connection.vhost.name.clone(),
        durable: false,
        owner: Some(connection.id),
        auto_delete: false,
        is_session: true,
        arguments: crate::Table::default(),
        window_max: None,
    });
    let taken = connection.vhost.change_routing(|routing| {
        let known = routing.queues.insert(queue.name.clone(), queue.clone());
        match known {
            Some(known) => {
                routing.queues.insert(known.name.clone(), known);
                true
            }
            None => false,
        }
    });
    if taken {
        let (name, vhost) = (queue.name.to_string(), queue.vhost.to_string());
        return Err(Refusal::Locked { name, vhost });
    }
    connection.broker.register(&queue);
    connection.own(&queue);
    let consume = Consume { prefetch: u32::from(unsettled_max), ..Consume::default() };
    let consumer = super::consumer::attach(session, &queue, &consume)?;
    if let Some(client) = session.contents().client.as_mut() {
        client.queue = Some((queue.clone(), consumer));
    }
    Ok(queue)
}

fn push_retained(broker: &Broker, queue: &Arc<Queue>, messages: &[Message]) {
    let mut effects = Effects::default();
    if let Some(mut state) = queue.lock() {
        for message in messages {
            state.push(queue, message, None, true, &mut effects);
        }
        state.dispatch(queue, &mut effects);
    }
    broker.finish(&mut effects);
}

fn unbind(
    session: &SessionShared,
    routing: &mut crate::routing::Routing,
    served: &Subscribed,
    key: &BindingKey,
) {
    let target = match served {
        Subscribed::FireAndForget(subscriber) => Target::Subscriber(subscriber.clone()).id(),
        Subscribed::Queued => {
            let contents = session.contents();
            let queue = contents.client.as_ref().and_then(|client| client.queue.as_ref());
            let Some((queue, _)) = queue else { return };
            Target::Queue(queue.clone()).id()
        }
    };
    routing.unbind(TOPIC_EXCHANGE, &target, key);
}

/// Unsubscribes; says of each pattern whether there was one.
pub(super) fn unsubscribe(
    session: &Arc<SessionShared>,
    patterns: Vec<Pattern>,
) -> Result<Response, Refusal> {
    let mut known = Vec::new();
    for pattern in patterns {
        let before = {
            let mut contents = session.contents();
            let client = contents.client.as_mut().ok_or(Refusal::TakenOver)?;
            client.subscriptions.remove(&pattern)
        };
        known.push(before.is_some());
        let Some(before) = before else { continue };
        let key = BindingKey::of_filter(pattern);
        session.connection.vhost.change_routing(|routing| {
            unbind(session, routing, &before, &key);
        });
    }
    Ok(Response::Unsubscribed(known))
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
                        routing.forget_target(&Target::Subscriber(subscriber.clone()).id());
                    }
                }
            });
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
}
