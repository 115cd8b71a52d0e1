//! Staging publishes: by an adapter, and for sessions whose connection is gone.

use std::sync::Arc;

use super::kept::KeptValue;
use super::{Batch, Confirm, Published, Refused, Staged, StagedRoute, index};
use crate::message::{EXCHANGE_BYTES_MAX, KEY_BYTES_MAX, PROPERTIES_BYTES_MAX};
use crate::retained::keep;
use crate::routing::{RouteCache, TOPIC_EXCHANGE, TOPIC_REPLY_PREFIX};
use crate::session::{LateMessage, SessionShared};
use crate::vhost::Vhost;
use crate::{Draft, Instant, Message, Refusal, Session, Ticket};

impl Batch<'_> {
    /// Stages a publish. Its route is resolved now, so that a missing exchange is known at once;
    /// everything else happens at the end of the batch. One publish is never split.
    ///
    /// # Errors
    ///
    /// When the exchange does not exist, is internal, or the session may not write to it, or when
    /// a part of the draft is longer than [`Draft`] allows. Nothing was staged, no ticket taken.
    pub fn publish(
        &mut self,
        session: &mut Session,
        draft: Draft<'_>,
        confirm: Confirm,
    ) -> Result<Published, Refusal> {
        self.publish_also(session, draft, &[], confirm)
    }

    /// As [`Batch::publish`], routed by each of `more_keys`, too (AMQP's CC and BCC). A queue still
    /// gets one copy.
    ///
    /// # Errors
    ///
    /// Those of [`Batch::publish`].
    pub fn publish_also(
        &mut self,
        session: &mut Session,
        draft: Draft<'_>,
        more_keys: &[&str],
        confirm: Confirm,
    ) -> Result<Published, Refusal> {
        self.stage(&session.shared, &mut session.last_ticket, draft, more_keys, confirm)
    }

    /// Whether there is an exchange of that name which clients may publish to: what is asked before
    /// anything that a publish says about itself, for adapters that find fault with that.
    ///
    /// # Errors
    ///
    /// Those that [`Batch::publish`] has about the exchange.
    pub fn check_exchange(&self, session: &Session, name: &str) -> Result<(), Refusal> {
        if name.is_empty() {
            return Ok(());
        }
        session.shared.connection.vhost.routing().publishable(name).map(drop)
    }

    /// Publishes for a session whose connection is gone.
    pub(crate) fn publish_late(
        &mut self,
        vhost: &Arc<Vhost>,
        late: &LateMessage,
    ) -> Result<Published, Refusal> {
        let draft = late.draft(self.now);
        let publisher = match (&late.publisher, self.broker.myself.upgrade()) {
            (Some(publisher), _) => publisher.clone(),
            (None, Some(broker)) => SessionShared::of_nobody(broker, vhost.clone()),
            (None, None) => return Err(Refusal::Internal),
        };
        self.stage(&publisher, &mut Ticket::default(), draft, &[], Confirm::Unwanted)
    }

    /// Publishes once `due` has come or the MQTT session has ended, unless the client is back
    /// before; at once when the session does not outlive its connection (MQTT 5, section
    /// 3.1.3.2.2).
    ///
    /// # Errors
    ///
    /// As [`Batch::publish`], when it is published at once.
    pub fn publish_later(
        &mut self,
        session: &mut Session,
        draft: Draft<'_>,
        due: Instant,
    ) -> Result<(), Refusal> {
        {
            let mut contents = session.shared.contents();
            if let Some(client) = contents.client.as_mut().filter(|client| client.expiry_s > 0) {
                client.late =
                    Some((due, Box::new(LateMessage::new(&session.shared, &draft, self.now))));
                return Ok(());
            }
            if contents.was_resumed {
                return Ok(());
            }
        }
        self.publish(session, draft, Confirm::Unwanted).map(drop)
    }

    fn stage(
        &mut self,
        session: &Arc<SessionShared>,
        last_ticket: &mut Ticket,
        mut draft: Draft<'_>,
        more_keys: &[&str],
        confirm: Confirm,
    ) -> Result<Published, Refusal> {
        check_lengths(&draft)?;
        point_at_topic(&mut draft);
        if self.alarms.any() {
            return self.refuse(session, last_ticket, draft, confirm);
        }
        let connection = &session.connection;
        let cache = self.scratch.cache.get_or_insert_with(|| {
            RouteCache::new(&self.broker.hasher, self.broker.limits.cached_routes_max)
        });
        let retain = draft.retain && draft.exchange == TOPIC_EXCHANGE;
        // Held until it is set: who subscribes meanwhile gets it retained, if not live.
        let retained = retain.then(|| connection.vhost.retained());
        let place = connection.vhost.route(cache, &draft, more_keys)?;
        let route = cache.at(place).ok_or(Refusal::Internal)?;
        let counts = self.scratch.effects.counters.of(connection.protocol);
        counts.published += 1;
        counts.published_bytes += draft.body.as_slice().len() as u64;
        let routed = !route.is_empty();
        let ticket = (confirm == Confirm::Wanted).then(|| Ticket(last_ticket.0 + 1));
        *last_ticket = ticket.unwrap_or(*last_ticket);
        counts.published_confirm += u64::from(ticket.is_some());
        let published = Published { ticket: *last_ticket, routed };
        let is_kept = retain || !route.histories.is_empty();
        if !routed && ticket.is_none() && !draft.mandatory && !is_kept {
            counts.unroutable_dropped += 1;
            return Ok(published);
        }
        self.deliveries += 1 + route.fan_out();
        let is_last = |staged: &StagedRoute| Arc::ptr_eq(&staged.route, route);
        if !self.scratch.routes.last().is_some_and(is_last) {
            let route = route.clone();
            self.scratch.routes.push(StagedRoute { route, work: Vec::new() });
        }
        let mandatory = draft.mandatory;
        let message = Message::new(draft, session.publisher(), &mut self.scratch.copy);
        let change = if is_kept { keep(&message, retained, &route.histories) } else { None };
        let staged = index(self.scratch.staged.len());
        self.scratch.kept.extend(change.map(|change| KeptValue { staged, change }));
        let session = self.scratch.session(session);
        let route = index(self.scratch.routes.len() - 1);
        let (position, taken, refused, refused_count) = (0, 0, Refused::No, 0);
        self.scratch.staged.push(Staged {
            message,
            route,
            session,
            ticket,
            mandatory,
            position,
            taken,
            refused,
            refused_count,
        });
        Ok(published)
    }

    /// A publish during an alarm: with a confirm it is refused in its turn, else at once.
    #[cold]
    fn refuse(
        &mut self,
        session: &Arc<SessionShared>,
        last_ticket: &mut Ticket,
        draft: Draft<'_>,
        confirm: Confirm,
    ) -> Result<Published, Refusal> {
        if confirm == Confirm::Unwanted {
            return self.check_alarms().map(|()| Published { ticket: *last_ticket, routed: false });
        }
        *last_ticket = Ticket(last_ticket.0 + 1);
        let ticket = *last_ticket;
        let message = Message::new(draft, session.publisher(), &mut self.scratch.copy);
        let session = self.scratch.session(session);
        self.scratch.routes.push(StagedRoute { route: Arc::default(), work: Vec::new() });
        self.scratch.staged.push(Staged {
            message,
            route: index(self.scratch.routes.len() - 1),
            session,
            ticket: Some(ticket),
            mandatory: false,
            position: 0,
            taken: 0,
            refused: Refused::Blocked,
            refused_count: 0,
        });
        Ok(Published { ticket, routed: false })
    }
}

/// A reply to a topic's reply address is a message of that topic, under its own key.
pub(super) fn point_at_topic(draft: &mut Draft<'_>) {
    if draft.exchange.is_empty()
        && let Some(key) = draft.routing_key.strip_prefix(TOPIC_REPLY_PREFIX)
    {
        draft.exchange = TOPIC_EXCHANGE;
        draft.routing_key = key;
    }
}

/// What a message cannot hold.
pub(super) fn check_lengths(draft: &Draft<'_>) -> Result<(), Refusal> {
    let too_long = |what, limit| Err(Refusal::LimitReached { what, limit });
    if draft.routing_key.len() > KEY_BYTES_MAX {
        return too_long("routing key bytes", KEY_BYTES_MAX as u64);
    }
    if draft.exchange.len() > EXCHANGE_BYTES_MAX {
        return too_long("exchange name bytes", EXCHANGE_BYTES_MAX as u64);
    }
    if draft.properties.len() > PROPERTIES_BYTES_MAX {
        return too_long("property bytes", PROPERTIES_BYTES_MAX as u64);
    }
    Ok(())
}
