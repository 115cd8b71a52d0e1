//! Moves what was counted to the recorder, and writes it for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use trivium_core::{Broker, Protocol};

use super::{Counters, metric_names as names};

/// One gateway's metrics. Each gateway of a process has its own recorder; none is global.
pub(crate) struct Telemetry {
    recorder: PrometheusRecorder,
    broker: Arc<Broker>,
    counters: Arc<Counters>,
}

impl Telemetry {
    /// Metrics of this broker and these counters.
    pub(crate) fn new(broker: Arc<Broker>, counters: Arc<Counters>) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, names::describe);
        Self { recorder, broker, counters }
    }

    /// Publishes what was counted. Once a second, and before each scrape.
    pub(crate) fn publish(&self) {
        with_local_recorder(&self.recorder, || {
            for protocol in Protocol::ALL {
                self.publish_gateway(protocol);
            }
            self.publish_core();
        });
        self.recorder.handle().run_upkeep();
    }

    /// The metrics in Prometheus' text format, as of now.
    pub(crate) fn render(&self) -> String {
        self.publish();
        self.recorder.handle().render()
    }

    fn publish_gateway(&self, protocol: Protocol) {
        let counters = self.counters.of(protocol);
        let name = protocol.name();
        let totals = [
            (names::CONNECTIONS_TOTAL, &counters.connections_total),
            (names::LOGINS_REFUSED, &counters.logins_refused),
            (names::REQUESTS, &counters.requests),
            (names::REQUESTS_REFUSED, &counters.requests_refused),
            (names::RECEIVED_BYTES, &counters.received_bytes),
            (names::SENT_BYTES, &counters.sent_bytes),
        ];
        for (metric, total) in totals {
            counter!(metric, "protocol" => name).absolute(total.load(Ordering::Relaxed));
        }
        gauge!(names::CONNECTIONS_OPEN, "protocol" => name).set(float(&counters.connections_open));
    }

    fn publish_core(&self) {
        let totals = self.broker.totals();
        for protocol in Protocol::ALL {
            let counts = &totals.counts[protocol.index()];
            let totals = [
                (names::MESSAGES_PUBLISHED, counts.published),
                (names::PUBLISHED_BYTES, counts.published_bytes),
                (names::MESSAGES_CONFIRMED, counts.confirmed),
                (names::UNROUTABLE_DROPPED, counts.unroutable_dropped),
                (names::UNROUTABLE_RETURNED, counts.unroutable_returned),
                (names::MESSAGES_DELIVERED, counts.delivered),
                (names::DELIVERED_NO_ACK, counts.delivered_no_ack),
                (names::MESSAGES_GOTTEN, counts.gotten),
                (names::MESSAGES_REDELIVERED, counts.redelivered),
                (names::MESSAGES_ACKNOWLEDGED, counts.acknowledged),
                (names::MESSAGES_REJECTED, counts.rejected),
                (names::MESSAGES_REQUEUED, counts.requeued),
                (names::MESSAGES_DROPPED, counts.dropped),
            ];
            for (metric, total) in totals {
                counter!(metric, "protocol" => protocol.name()).absolute(total);
            }
        }
        let gauges = [
            (names::SESSIONS_OPEN, totals.sessions),
            (names::QUEUES, totals.queues),
            (names::EXCHANGES, totals.exchanges),
            (names::CONSUMERS, totals.consumers),
            (names::MESSAGES_READY, totals.ready),
            (names::MESSAGES_UNSETTLED, totals.unsettled),
            (names::MESSAGES_RETAINED, totals.retained),
        ];
        for (metric, value) in gauges {
            gauge!(metric).set(as_float(value));
        }
        let counters = &self.counters;
        counter!(names::CONNECTIONS_SHED)
            .absolute(counters.connections_shed.load(Ordering::Relaxed));
        counter!(names::CONNECTION_PANICS).absolute(counters.panics.load(Ordering::Relaxed));
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

fn float(value: &AtomicU64) -> f64 {
    as_float(value.load(Ordering::Relaxed))
}

/// Prometheus knows only floats; past 2^53 a gauge is a little off.
#[expect(clippy::cast_precision_loss, reason = "a gauge of 2^53 items may be one off")]
const fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use trivium_core::Limits;

    use super::*;

    #[test]
    fn every_metric_of_the_catalogue_is_scraped_with_its_meaning() {
        let broker = Broker::ephemeral(Limits::default(), 1);
        let counters = Arc::new(Counters::default());
        counters.of(Protocol::Mqtt).received_bytes.store(7, Ordering::Relaxed);
        let text = Telemetry::new(broker, counters).render();
        for (name, kind, help) in names::CATALOG {
            assert!(text.contains(&format!("# TYPE {name} {kind}")), "{name} in {text}");
            assert!(text.contains(&format!("# HELP {name} {help}")), "{name} in {text}");
        }
        assert!(text.contains("trivium_received_bytes_total{protocol=\"mqtt\"} 7"), "{text}");
    }
}
