//! Every metric this broker exports: one line here, or it does not exist.
//!
//! Names are `trivium_<noun>_<unit>` with `_total` on counters; units are base units (seconds,
//! bytes). Labels are closed sets: `protocol`. Never a queue name, a client id or an address,
//! because those grow without bound; the management API answers questions about one queue.
//!
//! The adapters and the core do not depend on `metrics`. They count into plain structs; the
//! gateway publishes the totals once a second, so a message costs an add and not a look-up.

use metrics::{Unit, describe_counter, describe_gauge};

macro_rules! catalog {
    ($($kind:ident $ident:ident = $name:literal, $unit:ident, $help:literal;)+) => {
        $(#[doc = $help] pub const $ident: &str = $name;)+

        /// Tells the exporter what each metric means. Call once, under the recorder.
        pub fn describe() {
            $(catalog!(@ $kind $ident $unit $help);)+
        }

        /// `(name, kind, help)` of every metric, for the generated reference and its tests.
        pub const CATALOG: &[(&str, &str, &str)] = &[$(($name, stringify!($kind), $help)),+];
    };
    (@ counter $ident:ident $unit:ident $help:literal) => { describe_counter!($ident, Unit::$unit, $help) };
    (@ gauge $ident:ident $unit:ident $help:literal) => { describe_gauge!($ident, Unit::$unit, $help) };
}

catalog! {
    gauge   CONNECTIONS_OPEN      = "trivium_connections_open", Count, "Connections past their handshake, by protocol.";
    counter CONNECTIONS_TOTAL     = "trivium_connections_total", Count, "Connections that got past their handshake, by protocol.";
    counter CONNECTIONS_SHED      = "trivium_connections_shed_total", Count, "Connections refused because as many as allowed were open.";
    counter CONNECTION_PANICS     = "trivium_connection_panics_total", Count, "Connections ended by a panic; each is a bug.";
    counter LOGINS_REFUSED        = "trivium_logins_refused_total", Count, "Logins refused, by protocol.";
    counter REQUESTS              = "trivium_requests_total", Count, "Control requests answered, by protocol.";
    counter REQUESTS_REFUSED      = "trivium_requests_refused_total", Count, "Control requests refused, by protocol.";
    counter RECEIVED_BYTES        = "trivium_received_bytes_total", Bytes, "Bytes read from clients, by protocol.";
    counter SENT_BYTES            = "trivium_sent_bytes_total", Bytes, "Bytes written to clients, by protocol.";
    counter MESSAGES_PUBLISHED    = "trivium_messages_published_total", Count, "Messages taken from publishers, by protocol.";
    counter PUBLISHED_BYTES       = "trivium_messages_published_bytes_total", Bytes, "Bytes of the bodies of messages taken from publishers, by protocol.";
    counter MESSAGES_CONFIRMED    = "trivium_messages_confirmed_total", Count, "Publishes confirmed, by protocol.";
    counter UNROUTABLE_DROPPED    = "trivium_messages_unroutable_dropped_total", Count, "Messages that nothing was subscribed to, by protocol.";
    counter UNROUTABLE_RETURNED   = "trivium_messages_unroutable_returned_total", Count, "Mandatory messages returned to their publisher, by protocol.";
    counter MESSAGES_DELIVERED    = "trivium_messages_delivered_total", Count, "Messages delivered to consumers that acknowledge, by protocol.";
    counter DELIVERED_NO_ACK      = "trivium_messages_delivered_no_ack_total", Count, "Messages delivered to consumers and subscribers that do not acknowledge, by protocol.";
    counter MESSAGES_GOTTEN       = "trivium_messages_gotten_total", Count, "Messages taken one by one (basic.get), by protocol.";
    counter MESSAGES_REDELIVERED  = "trivium_messages_redelivered_total", Count, "Deliveries of messages delivered before, by protocol.";
    counter MESSAGES_ACKNOWLEDGED = "trivium_messages_acknowledged_total", Count, "Deliveries accepted, by protocol.";
    counter MESSAGES_REJECTED     = "trivium_messages_rejected_total", Count, "Deliveries rejected for good, by protocol.";
    counter MESSAGES_REQUEUED     = "trivium_messages_requeued_total", Count, "Deliveries put back into their queue, by protocol.";
    counter MESSAGES_DROPPED      = "trivium_messages_dropped_total", Count, "QoS 0 messages dropped because the subscriber does not keep up, by protocol.";
    gauge   SESSIONS_OPEN         = "trivium_sessions_open", Count, "AMQP channels, MQTT clients and STOMP connections.";
    gauge   QUEUES                = "trivium_queues", Count, "Queues.";
    gauge   EXCHANGES             = "trivium_exchanges", Count, "Exchanges.";
    gauge   CONSUMERS             = "trivium_consumers", Count, "Consumers attached to queues.";
    gauge   MESSAGES_READY        = "trivium_messages_ready", Count, "Messages ready in queues.";
    gauge   MESSAGES_UNSETTLED    = "trivium_messages_unsettled", Count, "Deliveries that wait for their acknowledgement.";
    gauge   MESSAGES_RETAINED     = "trivium_messages_retained", Count, "Retained messages.";
}

#[cfg(test)]
mod tests {
    use super::CATALOG;

    #[test]
    fn names_say_what_they_are() {
        for (name, kind, help) in CATALOG {
            assert!(name.starts_with("trivium_"), "{name}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
        let mut names: Vec<_> = CATALOG.iter().map(|(name, ..)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CATALOG.len(), "a name appears once");
    }
}
