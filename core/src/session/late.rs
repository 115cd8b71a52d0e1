//! A message that is published after its publisher's connection is gone (Will Delay).

use std::sync::Arc;
use std::time::Duration;

use super::SessionShared;
use crate::{Body, Draft, Instant, PropertyCodec};

/// A [`Draft`] that waits.
#[derive(Debug)]
pub(crate) struct LateMessage {
    pub(crate) publisher: Arc<SessionShared>,
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
            publisher: publisher.clone(),
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
