//! What `$SYS/broker/...` tells MQTT clients, under the names that mosquitto made customary.
//!
//! Messages and publishes are application messages of MQTT clients, not packets; bytes are those of
//! MQTT connections, WebSocket's framing not counted.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use trivium_core::{Broker, OwnTopics, Protocol};

use super::Counters;

/// See the module.
pub(crate) struct SysTopics {
    /// Who asks this: it owns us.
    broker: Weak<Broker>,
    counters: Arc<Counters>,
    started: Instant,
}

impl SysTopics {
    /// Of a gateway that starts now.
    pub(crate) fn new(broker: &Arc<Broker>, counters: Arc<Counters>) -> Self {
        Self { broker: Arc::downgrade(broker), counters, started: Instant::now() }
    }
}

impl fmt::Debug for SysTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SysTopics").field("started", &self.started).finish_non_exhaustive()
    }
}

impl OwnTopics for SysTopics {
    fn values(&self) -> Vec<(&'static str, String)> {
        let Some(broker) = self.broker.upgrade() else { return Vec::new() };
        let (totals, clients) = (broker.totals(), broker.client_totals());
        let counts = totals.counts[Protocol::Mqtt.index()];
        let bytes = self.counters.of(Protocol::Mqtt);
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let connected = totals.sessions[Protocol::Mqtt.index()];
        let sent = counts.delivered + counts.delivered_no_ack;
        let stored = totals.ready + totals.unsettled + totals.retained;
        let numbers = [
            ("$SYS.broker.clients.connected", connected),
            ("$SYS.broker.clients.active", connected),
            ("$SYS.broker.clients.disconnected", clients.away),
            ("$SYS.broker.clients.inactive", clients.away),
            ("$SYS.broker.clients.total", connected + clients.away),
            ("$SYS.broker.messages.received", counts.published),
            ("$SYS.broker.messages.sent", sent),
            ("$SYS.broker.messages.stored", stored),
            ("$SYS.broker.store.messages.count", stored),
            ("$SYS.broker.messages.inflight", totals.unsettled),
            ("$SYS.broker.publish.messages.received", counts.published),
            ("$SYS.broker.publish.messages.sent", sent),
            ("$SYS.broker.publish.messages.dropped", counts.dropped),
            ("$SYS.broker.publish.bytes.received", counts.published_bytes),
            ("$SYS.broker.bytes.received", read(&bytes.received_bytes)),
            ("$SYS.broker.bytes.sent", read(&bytes.sent_bytes)),
            ("$SYS.broker.retained messages.count", totals.retained),
            ("$SYS.broker.subscriptions.count", clients.subscriptions),
        ];
        let texts = [
            ("$SYS.broker.version", format!("trivium version {}", env!("CARGO_PKG_VERSION"))),
            ("$SYS.broker.uptime", format!("{} seconds", self.started.elapsed().as_secs())),
        ];
        let numbers = numbers.into_iter().map(|(key, number)| (key, number.to_string()));
        texts.into_iter().chain(numbers).collect()
    }
}
