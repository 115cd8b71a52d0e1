//! A message that is published after its publisher's connection is gone (Will Delay).

use std::sync::Arc;
use std::time::Duration;

use super::SessionShared;
use crate::catalogue::StoredWill;
use crate::{Body, Draft, Instant, PropertyCodec};

/// A [`Draft`] that waits.
#[derive(Debug)]
pub(crate) struct LateMessage {
    /// `None` when that was before a restart.
    pub(crate) publisher: Option<Arc<SessionShared>>,
    exchange: Box<str>,
    routing_key: Box<str>,
    codec: &'static dyn PropertyCodec,
    properties: Box<[u8]>,
    body: Box<[u8]>,
    persistent: bool,
    /// How long it lives once it is published.
    lifetime: Option<Duration>,
    priority: u8,
    retain: bool,
}

impl LateMessage {
    pub(crate) fn new(publisher: &Arc<SessionShared>, draft: &Draft<'_>, now: Instant) -> Self {
        Self {
            publisher: Some(publisher.clone()),
            exchange: draft.exchange.into(),
            routing_key: draft.routing_key.into(),
            codec: draft.codec,
            properties: draft.properties.into(),
            body: draft.body.as_slice().into(),
            persistent: draft.persistent,
            lifetime: draft.expires_at.map(|at| at.since(now)),
            priority: draft.priority,
            retain: draft.retain,
        }
    }

    /// What a catalogue has; `codec` is MQTT's.
    pub(crate) fn restored(stored: StoredWill, codec: &'static dyn PropertyCodec) -> Self {
        Self {
            publisher: None,
            exchange: stored.exchange.into(),
            routing_key: stored.routing_key.into(),
            codec,
            properties: stored.properties.into(),
            body: stored.body.into(),
            persistent: stored.persistent,
            lifetime: stored.lifetime_ms.map(Duration::from_millis),
            priority: stored.priority,
            retain: stored.retain,
        }
    }

    /// As a catalogue keeps it, to be published at `due_at` (milliseconds since 1970).
    pub(crate) fn stored(&self, due_at: u64) -> StoredWill {
        StoredWill {
            due_at: Some(due_at),
            delay_s: 0,
            exchange: self.exchange.to_string(),
            routing_key: self.routing_key.to_string(),
            properties: self.properties.to_vec(),
            body: self.body.to_vec(),
            persistent: self.persistent,
            lifetime_ms: self
                .lifetime
                .map(|lifetime| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX)),
            priority: self.priority,
            retain: self.retain,
        }
    }

    pub(crate) fn draft(&self, now: Instant) -> Draft<'_> {
        Draft {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            codec: self.codec,
            properties: &self.properties,
            body: Body::Borrowed(&self.body),
            persistent: self.persistent,
            mandatory: false,
            expires_at: self.lifetime.map(|lifetime| now.after(lifetime)),
            priority: self.priority,
            retain: self.retain,
        }
    }
}
