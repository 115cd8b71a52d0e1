//! Moves what was counted to the recorder, and writes it for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{counter, gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use trivium_core::{Broker, Counts, DeathCount, Deaths, Protocol};

use super::counters::ProtocolCounters;
use super::process::Process;
use super::{Counters, metric_names as names};
use crate::descriptors;

/// One gateway's metrics. Each gateway of a process has its own recorder; none is global.
pub(crate) struct Telemetry {
    recorder: PrometheusRecorder,
    broker: Arc<Broker>,
    counters: Arc<Counters>,
    /// Bytes of memory at which publishers are blocked.
    memory_limit: u64,
}

impl Telemetry {
    /// Metrics of this broker and these counters, in a process that may take `memory_limit` bytes.
    pub(crate) fn new(broker: Arc<Broker>, counters: Arc<Counters>, memory_limit: u64) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, names::describe);
        Self { recorder, broker, counters, memory_limit }
    }

    /// Publishes what was counted. Once a second, and before each scrape.
    pub(crate) fn publish(&self) {
        with_local_recorder(&self.recorder, || {
            for protocol in Protocol::ALL {
                self.publish_gateway(protocol);
            }
            self.publish_core();
            self.publish_node();
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
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        let own = [
            (names::CONNECTIONS_ACCEPTED, read(&counters.connections_total)),
            (names::REQUESTS, read(&counters.requests)),
            (names::REQUESTS_REFUSED, read(&counters.requests_refused)),
            (names::RECEIVED_BYTES, read(&counters.received_bytes)),
            (names::SENT_BYTES, read(&counters.sent_bytes)),
        ];
        for (metric, total) in own {
            counter!(metric, "protocol" => protocol.name()).absolute(total);
        }
        let (refused, accepted) = (read(&counters.logins_refused), read(&counters.logins_accepted));
        let rabbitmqs = [
            (names::LOGINS, refused + accepted),
            (names::LOGINS_SUCCEEDED, accepted),
            (names::LOGINS_FAILED, refused),
        ];
        for (metric, total) in rabbitmqs {
            counter!(metric, "protocol" => rabbitmqs_name(protocol)).absolute(total);
        }
        gauge!(names::CONNECTIONS_OPEN, "protocol" => protocol.name())
            .set(as_float(read(&counters.connections_open)));
    }

    fn publish_core(&self) {
        let totals = self.broker.totals();
        for protocol in Protocol::ALL {
            publish_counts(protocol, &totals.counts[protocol.index()]);
            gauge!(names::SESSIONS_OPEN, "protocol" => protocol.name())
                .set(as_float(totals.sessions[protocol.index()]));
        }
        let gauges = [
            (names::CHANNELS, totals.sessions[Protocol::Amqp.index()]),
            (names::QUEUES, totals.queues),
            (names::EXCHANGES, totals.exchanges),
            (names::CONSUMERS, totals.consumers),
            (names::MESSAGES, totals.ready + totals.unsettled),
            (names::MESSAGES_READY, totals.ready),
            (names::MESSAGES_UNACKED, totals.unsettled),
            (names::RETAINED, totals.retained),
        ];
        for (metric, value) in gauges {
            gauge!(metric).set(as_float(value));
        }
        publish_deaths(&totals.deaths);
        for loss in totals.losses {
            counter!(
                names::CONVERSION_LOSS,
                "from" => loss.from.name(),
                "to" => loss.to.name(),
                "field" => loss.field.name()
            )
            .absolute(loss.count);
        }
    }

    /// What is not by protocol: connections in all, the process, who we are.
    fn publish_node(&self) {
        let sum = |of: fn(&ProtocolCounters) -> &AtomicU64| {
            let each = |protocol| of(self.counters.of(protocol)).load(Ordering::Relaxed);
            Protocol::ALL.into_iter().map(each).sum::<u64>()
        };
        let (open, opened) = (sum(|c| &c.connections_open), sum(|c| &c.connections_total));
        gauge!(names::CONNECTIONS).set(as_float(open));
        counter!(names::CONNECTIONS_OPENED).absolute(opened);
        counter!(names::CONNECTIONS_CLOSED).absolute(opened.saturating_sub(open));
        let counters = &self.counters;
        counter!(names::CONNECTIONS_SHED)
            .absolute(counters.connections_shed.load(Ordering::Relaxed));
        counter!(names::CONNECTION_PANICS).absolute(counters.panics.load(Ordering::Relaxed));
        let (alarms, memory) = (self.broker.alarms(), self.broker.memory_use());
        gauge!(names::ALARM_MEMORY).set(f64::from(u8::from(alarms.memory)));
        gauge!(names::ALARM_DISK).set(f64::from(u8::from(alarms.disk)));
        gauge!(names::MEMORY_LIMIT).set(as_float(self.memory_limit));
        gauge!(names::QUEUED_BYTES).set(as_float(memory.queued_bytes));
        counter!(names::PAGED_OUT).absolute(memory.paged_out);
        let process = Process::read();
        gauge!(names::RESIDENT_BYTES).set(as_float(process.resident_bytes));
        gauge!(names::OPEN_FDS).set(as_float(process.open_descriptors));
        gauge!(names::MAX_FDS).set(as_float(descriptors::limit()));
        gauge!(names::IDENTITY, "rabbitmq_node" => "trivium@localhost", "rabbitmq_cluster" => "trivium")
            .set(1.0);
        gauge!(
            names::BUILD,
            "rabbitmq_version" => trivium_amqp::Config::default().version,
            "trivium_version" => env!("CARGO_PKG_VERSION")
        )
        .set(1.0);
    }
}

fn publish_counts(protocol: Protocol, counts: &Counts) {
    let name = rabbitmqs_name(protocol);
    let unroutable = counts.unroutable_dropped + counts.unroutable_returned;
    let published = [
        (names::RECEIVED, counts.published),
        (names::RECEIVED_CONFIRM, counts.published_confirm),
        (names::CONFIRMED, counts.confirmed),
        (names::ROUTED, counts.published.saturating_sub(unroutable)),
        (names::UNROUTABLE_DROPPED, counts.unroutable_dropped),
        (names::UNROUTABLE_RETURNED, counts.unroutable_returned),
    ];
    for (metric, total) in published {
        counter!(metric, "protocol" => name).absolute(total);
    }
    let gotten = counts.gotten + counts.gotten_no_ack;
    let delivered = [
        (names::DELIVERED, counts.delivered + counts.delivered_no_ack + gotten),
        (names::DELIVERED_ACK, counts.delivered),
        (names::DELIVERED_NO_ACK, counts.delivered_no_ack),
        (names::GOTTEN_ACK, counts.gotten),
        (names::GOTTEN_NO_ACK, counts.gotten_no_ack),
        (names::GET_EMPTY, counts.get_empty),
        (names::REDELIVERED, counts.redelivered),
        (names::ACKNOWLEDGED, counts.acknowledged),
    ];
    for (metric, total) in delivered {
        counter!(metric, "protocol" => name, "queue_type" => "rabbit_classic_queue")
            .absolute(total);
    }
    let own = [
        (names::MESSAGE_BYTES, counts.published_bytes),
        (names::REJECTED, counts.rejected),
        (names::REQUEUED, counts.requeued),
        (names::DROPPED, counts.dropped),
        (names::OVERFLOWN, counts.overflown),
    ];
    for (metric, total) in own {
        counter!(metric, "protocol" => protocol.name()).absolute(total);
    }
}

fn publish_deaths(deaths: &Deaths) {
    for DeathCount { quorum, dead_lettered, reason, count } in deaths.iter() {
        let metric = match reason {
            "rejected" => names::DEAD_REJECTED,
            "expired" => names::DEAD_EXPIRED,
            "maxlen" => names::DEAD_MAXLEN,
            // Classic queues have no such limit.
            _ if !quorum => continue,
            _ => names::DEAD_DELIVERY_LIMIT,
        };
        let queue_type = if quorum { "rabbit_quorum_queue" } else { "rabbit_classic_queue" };
        let strategy = if dead_lettered { "at_most_once" } else { "disabled" };
        counter!(metric, "queue_type" => queue_type, "dead_letter_strategy" => strategy)
            .absolute(count);
    }
}

/// A protocol as RabbitMQ's metrics label it; versions of MQTT and STOMP are not told apart.
const fn rabbitmqs_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Amqp => "amqp091",
        Protocol::Mqtt => "mqtt",
        Protocol::Stomp => "stomp",
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// Prometheus knows only floats; past 2^53 a gauge is a little off.
#[expect(clippy::cast_precision_loss, reason = "a gauge of 2^53 items may be one off")]
const fn as_float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use trivium_core::{
        Body, Draft, Field, Instant, Limits, Lost, Message, Properties, PropertyCodec, PublisherId,
        Worker,
    };

    use super::*;

    /// Losses have no series before there is one.
    fn lose_a_header(broker: &Broker) {
        #[derive(Debug)]
        struct Nothing;
        impl PropertyCodec for Nothing {
            fn protocol(&self) -> Protocol {
                Protocol::Amqp
            }
            fn decode(&self, _: &[u8]) -> Properties {
                Properties::default()
            }
        }
        let draft = Draft {
            exchange: "",
            routing_key: "",
            codec: &Nothing,
            properties: &[],
            body: Body::Borrowed(&[]),
            persistent: false,
            mandatory: false,
            expires_at: None,
            priority: 0,
            retain: false,
        };
        let message = Message::new(draft, PublisherId(1), &mut Vec::new());
        let (mut worker, mut lost) = (Worker::default(), Lost::NONE);
        lost.note(Field::Header);
        broker.batch(&mut worker, Instant::START).note_lost(&message, Protocol::Mqtt, lost);
    }

    #[test]
    fn every_metric_of_the_catalogue_is_scraped_with_its_meaning() {
        let broker = Broker::ephemeral(Limits::default(), 1);
        let counters = Arc::new(Counters::default());
        counters.of(Protocol::Mqtt).received_bytes.store(7, Ordering::Relaxed);
        lose_a_header(&broker);
        let text = Telemetry::new(broker, counters, 1).render();
        for (name, kind, help) in names::CATALOG {
            assert!(text.contains(&format!("# TYPE {name} {kind}")), "{name} in {text}");
            assert!(text.contains(&format!("# HELP {name} {help}")), "{name} in {text}");
        }
        assert!(text.contains("trivium_received_bytes_total{protocol=\"mqtt\"} 7"), "{text}");
    }
}
