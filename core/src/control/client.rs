//! The life of MQTT sessions: open, take over, leave, come back, end.
//!
//! A session is a value ([`Client`]) that moves: to the connection that opens it, to the list of
//! those that are away, and on to the next connection. Who holds the lock of that list moves it, so
//! a takeover is one step, and whoever lost it finds nothing (`Refusal::TakenOver`).

use std::sync::Arc;

use super::{Resumed, Source};
use crate::catalogue::{Change, StoredWill};
use crate::log::{InSession, Note};
use crate::queue::Effects;
use crate::routing::TargetId;
use crate::session::{Client, Holder, Kept, LateMessage, NEVER_EXPIRES, SessionShared, Subscribed};
use crate::vhost::Vhost;
use crate::{Broker, ConsumerId, Event, PublisherId, QueueId, Response};

/// Opens the session of a client; another connection that has it loses it [MQTT-3.1.4-3].
pub(super) fn open(
    session: &Arc<SessionShared>,
    client_id: &str,
    clean_start: bool,
    expiry_s: u32,
    will: Option<Box<StoredWill>>,
) -> Response {
    let (broker, vhost) = (&session.connection.broker, &session.connection.vhost);
    let name: Arc<str> =
        if client_id.is_empty() { broker.new_name("auto-").into() } else { client_id.into() };
    session.publishes_as(PublisherId::of_client(broker.hasher.hash_one(&*name)));
    let mut effects = session.connection.broker.effects();
    let mut late = None;
    let mut clients = vhost.clients();
    let before = match clients.take(&name) {
        None => None,
        Some(Holder::Here(other)) => take_over(&other, clean_start, &mut effects),
        Some(Holder::Away { client, .. }) => Some(client),
    };
    let mut kept = None;
    if let Some(client) = before {
        if client.goes_on(clean_start) {
            kept = Some(client);
        } else {
            late = broker.end_away(vhost, *client, &mut effects);
        }
    }
    let is_resumed = kept.is_some();
    let mut client = kept.unwrap_or_else(|| Box::new(Client::new(name.clone())));
    client.expiry_s = expiry_s;
    // Back before its will was due [MQTT-3.1.3-9].
    client.late = None;
    if broker.catalogue.is_some() {
        vhost.propose(client.opened(broker, &vhost.name, will));
    }
    let queue = client.queue.as_ref().map(|(queue, _)| queue.clone());
    let mut resumed = Resumed {
        subscriptions: client.subscriptions.values().map(|kept| kept.asked.clone()).collect(),
        received: client.received.packet_ids(),
        ..Resumed::default()
    };
    session.contents().client = Some(client);
    clients.hold(name.clone(), session.clone());
    if let Some(queue) = queue {
        resumed.labels = queue.lock().map(|state| state.labels()).unwrap_or_default();
        resumed.consumer = super::subscribe::attach_queue(session, &queue).ok();
    }
    drop(clients);
    broker.finish(&mut effects);
    broker.publish_late(vhost, late, broker.now());
    let resumed = is_resumed.then(|| Box::new(resumed));
    Response::SessionOpened { client_id: name.to_string(), resumed }
}

/// Takes the session from the connection that has it, which ends.
fn take_over(
    other: &Arc<SessionShared>,
    clean_start: bool,
    effects: &mut Effects,
) -> Option<Box<Client>> {
    let mut client = {
        let mut contents = other.contents();
        let client = contents.client.take()?;
        contents.was_resumed = client.goes_on(clean_start);
        client
    };
    let broker = &other.connection.broker;
    broker.suspend(other, &mut client, effects);
    other.outbox().push_event(Event::TakenOver);
    effects.touch(other.outbox());
    Some(client)
}

impl Client {
    /// What the catalogue must know now that a connection has the session. One that ends with the
    /// connection would not survive a crash: it is not kept from now on.
    fn opened(
        &mut self,
        broker: &Broker,
        vhost: &str,
        will: Option<Box<StoredWill>>,
    ) -> Option<Change> {
        if self.expiry_s > 0 {
            self.queue_id.get_or_init(|| QueueId(broker.new_id()));
            return self.keep(vhost, None, will.map(|will| *will));
        }
        self.removed(vhost)
    }

    /// What the catalogue must know of a session that is over.
    fn removed(&mut self, vhost: &str) -> Option<Change> {
        self.stored.take()?;
        let (vhost, client_id) = (vhost.to_owned(), self.name.to_string());
        Some(Change::RemoveSession { vhost, client_id })
    }

    /// Whether a connection that asks for it goes on with it.
    const fn goes_on(&self, clean_start: bool) -> bool {
        self.expiry_s > 0 && !clean_start
    }
}

impl Broker {
    /// The connection of an MQTT session is gone: the session ends, or waits for its client.
    pub(crate) fn leave_client(&self, session: &Arc<SessionShared>, effects: &mut Effects) {
        let vhost = &session.connection.vhost;
        let mut clients = vhost.clients();
        let Some(mut client) = session.contents().client.take() else { return };
        clients.let_go(&client.name, session);
        self.suspend(session, &mut client, effects);
        if client.expiry_s == 0 {
            let late = self.end_away(vhost, *client, effects);
            drop(clients);
            return self.publish_late(vhost, late, self.now());
        }
        let seconds = std::time::Duration::from_secs(client.expiry_s.into());
        let expires = (client.expiry_s != NEVER_EXPIRES).then(|| self.now().after(seconds));
        if client.stored.is_some() {
            let will = client.late.as_ref().map(|(due, late)| late.stored(self.unix_ms(*due)));
            let expires_at = expires.map(|at| self.unix_ms(at));
            vhost.propose_quietly(client.keep(&vhost.name, expires_at, will));
        }
        clients.keep(client, expires);
    }

    /// Ends what belongs to the connection: fire-and-forget subscriptions, consumers of queues and
    /// groups, whose messages go to others. What its own queue had under way goes back into it.
    fn suspend(&self, session: &Arc<SessionShared>, client: &mut Client, effects: &mut Effects) {
        let mut subscribers = Vec::new();
        let mut consumers = Vec::new();
        for Kept { served, .. } in client.subscriptions.values_mut() {
            match served {
                Subscribed::FireAndForget(subscriber) => subscribers.extend(subscriber.take()),
                Subscribed::Consumer(consumer) | Subscribed::Member(consumer) => {
                    consumers.extend(consumer.take());
                }
                Subscribed::Queued | Subscribed::QueuedAtQos0 => {}
            }
        }
        let vhost = &session.connection.vhost;
        if !subscribers.is_empty() {
            vhost.change_routing(|routing| {
                for subscriber in subscribers {
                    routing.forget_target(&TargetId::Subscriber(subscriber.id));
                }
            });
        }
        for consumer in consumers {
            self.return_consumer(session, consumer, effects);
        }
        if let Some((queue, consumer)) = &mut client.queue {
            if let Some(consumer) = consumer.take() {
                session.contents().consumers.remove(&consumer);
            }
            if let Some(mut state) = queue.lock() {
                state.suspend(session, effects);
            }
        }
    }

    /// Ends a session that no connection has: its groups, its queue, its subscriptions. Returns
    /// what is to be published then.
    pub(crate) fn end_away(
        &self,
        vhost: &Vhost,
        mut client: Client,
        effects: &mut Effects,
    ) -> Option<Box<LateMessage>> {
        if let Some(gone) = client.removed(&vhost.name) {
            vhost.propose_quietly(Some(gone));
        }
        if let Some(session) = client.queue_id.get().filter(|_| self.catalogue.is_some()) {
            effects.note(Note { session: *session, what: InSession::Ended });
        }
        for source in client.subscriptions.keys() {
            if let Source::Shared { group, pattern } = source {
                self.leave(vhost, group, pattern, effects);
            }
        }
        if let Some((queue, _)) = client.queue {
            self.delete_queue(vhost, &queue, effects);
        }
        client.late.map(|(_, late)| late)
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
            state.end_session(session, effects);
            state.dispatch(&queue, effects);
        }
        self.end_if_unused(&session.connection.vhost, &queue, effects);
    }
}
