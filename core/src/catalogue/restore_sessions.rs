//! MQTT sessions as an earlier run left them: away, with what waits for their clients.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::restore::Known;
use super::{Restored, StoredSession, StoredSubscription};
use crate::broker::is_own;
use crate::control::{Source, new_session_queue, new_share_queue, share_name};
use crate::log::RecoveredQueue;
use crate::queue::Queue;
use crate::routing::{BindingKey, TOPIC_EXCHANGE, Target};
use crate::session::{Client, Kept, LateMessage, NEVER_EXPIRES, Received, Row};
use crate::vhost::Vhost;
use crate::{Broker, Instant, Protocol, QueueId};

/// What is left to be given to queues, by their ids.
type Messages = BTreeMap<QueueId, RecoveredQueue>;

impl Broker {
    /// Puts back every session.
    pub(super) fn restore_sessions(
        &self,
        (sessions, subscriptions): (Vec<StoredSession>, Vec<StoredSubscription>),
        messages: &mut Messages,
        known: &Known,
        restored: &mut Restored,
    ) {
        let mut by_session = HashMap::<(String, String), Vec<StoredSubscription>>::new();
        for subscription in subscriptions {
            let session = (subscription.vhost.clone(), subscription.client_id.clone());
            by_session.entry(session).or_default().push(subscription);
        }
        for session in sessions {
            self.add_vhost(&session.vhost);
            let Some(vhost) = self.vhost(&session.vhost) else { continue };
            let key = (session.vhost.clone(), session.client_id.clone());
            let subscriptions = by_session.remove(&key).unwrap_or_default();
            restored.sessions += 1;
            self.restore_session(&vhost, session, subscriptions, messages, known, restored);
        }
    }

    fn restore_session(
        &self,
        vhost: &Arc<Vhost>,
        stored: StoredSession,
        subscriptions: Vec<StoredSubscription>,
        messages: &mut Messages,
        known: &Known,
        restored: &mut Restored,
    ) {
        let mut client = Box::new(Client::new(stored.client_id.as_str().into()));
        client.expiry_s = stored.expiry_s;
        client.queue_id.get_or_init(|| stored.id);
        let of_queue = messages.remove(&stored.id);
        if let Some(of_queue) = &of_queue {
            client.received = Arc::new(Received::restored(&of_queue.received));
        }
        let is_queued =
            |one: &StoredSubscription| one.qos > 0 && matches!(one.source, Source::Filter(_));
        let has_messages = of_queue.as_ref().is_some_and(|of_queue| !of_queue.runs.is_empty());
        if has_messages || subscriptions.iter().any(is_queued) {
            let queue = self.restore_session_queue(vhost, &stored, &subscriptions);
            if let Some(of_queue) = of_queue {
                restored.messages += of_queue.messages();
                self.refill(&queue, &of_queue, known);
            }
            client.queue = Some((queue, None));
        }
        for subscription in subscriptions {
            if let Source::Shared { .. } = subscription.source {
                self.rejoin(vhost, &subscription, messages, known, restored);
            }
            let kept = Kept::restored(subscription);
            client.subscriptions.insert(kept.asked.source.clone(), kept);
        }
        self.keep_restored(vhost, client, stored, known);
    }

    /// The session waits for its client. Whose client was connected when the broker ended goes on
    /// to live as long as if it had gone now.
    fn keep_restored(
        &self,
        vhost: &Vhost,
        mut client: Box<Client>,
        stored: StoredSession,
        known: &Known,
    ) {
        let (expires_at, has_will) = (stored.expires_at, stored.will.is_some());
        client.stored = Some(Row { expiry_s: stored.expiry_s, expires_at, has_will });
        if let Some(will) = stored.will {
            let delay_ms = u64::from(will.delay_s) * 1000;
            let at = |unix_ms| known.instant(unix_ms);
            let due = will.due_at.map_or_else(|| Instant::from_millis(delay_ms), at);
            let late = LateMessage::restored(will, known.codecs.codec(Protocol::Mqtt));
            client.late = Some((due, Box::new(late)));
        }
        let expires = match expires_at {
            Some(at) => Some(known.instant(at)),
            None if client.expiry_s == NEVER_EXPIRES => None,
            None => Some(Instant::from_millis(u64::from(client.expiry_s) * 1000)),
        };
        let expires_at = expires.map(|at| self.unix_ms(at));
        let will = client.late.as_ref().map(|(due, late)| late.stored(self.unix_ms(*due)));
        if stored.expires_at != expires_at {
            vhost.propose_quietly(client.keep(&vhost.name, expires_at, will));
        }
        vhost.clients().keep(client, expires);
    }

    fn restore_session_queue(
        &self,
        vhost: &Vhost,
        stored: &StoredSession,
        subscriptions: &[StoredSubscription],
    ) -> Arc<Queue> {
        let queue = new_session_queue(self, vhost, &stored.client_id, stored.id, true);
        vhost.restore_routing(|routing| {
            routing.queues.insert(queue.name.clone(), queue.clone());
            for subscription in subscriptions.iter().filter(|one| one.qos > 0) {
                // What the broker tells of itself is bound again when the client is back.
                if let Source::Filter(pattern) = &subscription.source
                    && !is_own(pattern)
                {
                    let key = BindingKey::of_filter(pattern.clone());
                    let bound = routing.bind(TOPIC_EXCHANGE, &Target::Queue(queue.clone()), key);
                    debug_assert!(bound.is_ok(), "every vhost has {TOPIC_EXCHANGE}");
                }
            }
        });
        self.register(&queue);
        queue
    }

    /// A member of a group is a member again; the first one brings the group's queue.
    fn rejoin(
        &self,
        vhost: &Vhost,
        subscription: &StoredSubscription,
        messages: &mut Messages,
        known: &Known,
        restored: &mut Restored,
    ) {
        let Source::Shared { group, pattern } = &subscription.source else { return };
        let name = share_name(group, pattern);
        let id = subscription.group.unwrap_or_else(|| QueueId(self.new_id()));
        let is_kept = subscription.group.is_some();
        let make = || new_share_queue(self, vhost, &name, id, is_kept);
        let joined = vhost.restore_routing(|routing| routing.join(&name, group, pattern, make));
        let Ok((queue, true)) = joined else { return };
        self.register(&queue);
        if let Some(of_queue) = messages.remove(&queue.id) {
            restored.messages += of_queue.messages();
            self.refill(&queue, &of_queue, known);
        }
    }
}
