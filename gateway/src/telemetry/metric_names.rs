//! Every metric this broker exports: one line here, or it does not exist.
//!
//! A metric that means what one of RabbitMQ's means has RabbitMQ's name, so that its dashboards and
//! alerts work; the others are `trivium_<noun>_<unit>` with `_total` on counters. Units are base
//! units (seconds, bytes). Labels are closed sets: `protocol` (`amqp091` under RabbitMQ's names, `amqp` under
//! ours, `mqtt`, `stomp`), `queue_type`, `dead_letter_strategy`, `from`, `to`, `field`. Never a queue name, a client id or an
//! address, because those grow without bound; the management API answers questions about one queue.
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
    gauge   CONNECTIONS           = "rabbitmq_connections", Count, "Connections currently open.";
    counter CONNECTIONS_OPENED    = "rabbitmq_connections_opened_total", Count, "Connections opened.";
    counter CONNECTIONS_CLOSED    = "rabbitmq_connections_closed_total", Count, "Connections closed or terminated.";
    gauge   CHANNELS              = "rabbitmq_channels", Count, "AMQP channels currently open.";
    gauge   QUEUES                = "rabbitmq_queues", Count, "Queues available.";
    gauge   CONSUMERS             = "rabbitmq_consumers", Count, "Consumers currently attached to queues.";
    gauge   MESSAGES              = "rabbitmq_queue_messages", Count, "Messages ready or not yet acknowledged, in all queues.";
    gauge   MESSAGES_READY        = "rabbitmq_queue_messages_ready", Count, "Messages ready to be delivered to consumers.";
    gauge   MESSAGES_UNACKED      = "rabbitmq_queue_messages_unacked", Count, "Messages delivered to consumers but not yet acknowledged.";
    counter RECEIVED              = "rabbitmq_global_messages_received_total", Count, "Messages received from publishers.";
    counter RECEIVED_CONFIRM      = "rabbitmq_global_messages_received_confirm_total", Count, "Messages received from publishers expecting confirmations.";
    counter CONFIRMED             = "rabbitmq_global_messages_confirmed_total", Count, "Messages confirmed to publishers.";
    counter ROUTED                = "rabbitmq_global_messages_routed_total", Count, "Messages routed to queues or subscribers.";
    counter UNROUTABLE_DROPPED    = "rabbitmq_global_messages_unroutable_dropped_total", Count, "Messages published as non-mandatory and dropped as unroutable.";
    counter UNROUTABLE_RETURNED   = "rabbitmq_global_messages_unroutable_returned_total", Count, "Messages published as mandatory and returned to the publisher as unroutable.";
    counter DELIVERED             = "rabbitmq_global_messages_delivered_total", Count, "Messages delivered to consumers.";
    counter DELIVERED_ACK         = "rabbitmq_global_messages_delivered_consume_manual_ack_total", Count, "Messages delivered to consumers with manual acknowledgement.";
    counter DELIVERED_NO_ACK      = "rabbitmq_global_messages_delivered_consume_auto_ack_total", Count, "Messages delivered to consumers with automatic acknowledgement, MQTT subscribers at QoS 0 included.";
    counter GOTTEN_ACK            = "rabbitmq_global_messages_delivered_get_manual_ack_total", Count, "Messages taken with basic.get and manual acknowledgement.";
    counter GOTTEN_NO_ACK         = "rabbitmq_global_messages_delivered_get_auto_ack_total", Count, "Messages taken with basic.get and automatic acknowledgement.";
    counter GET_EMPTY             = "rabbitmq_global_messages_get_empty_total", Count, "Times basic.get fetched no message.";
    counter REDELIVERED           = "rabbitmq_global_messages_redelivered_total", Count, "Messages redelivered to consumers.";
    counter ACKNOWLEDGED          = "rabbitmq_global_messages_acknowledged_total", Count, "Messages acknowledged by consumers.";
    counter DEAD_REJECTED         = "rabbitmq_global_messages_dead_lettered_rejected_total", Count, "Messages dead-lettered, or dropped where no exchange is named for that, because a consumer rejected them.";
    counter DEAD_EXPIRED          = "rabbitmq_global_messages_dead_lettered_expired_total", Count, "Messages dead-lettered, or dropped where no exchange is named for that, because their time was over.";
    counter DEAD_MAXLEN           = "rabbitmq_global_messages_dead_lettered_maxlen_total", Count, "Messages dead-lettered, or dropped where no exchange is named for that, because their queue was full.";
    counter DEAD_DELIVERY_LIMIT   = "rabbitmq_global_messages_dead_lettered_delivery_limit_total", Count, "Messages dead-lettered, or dropped where no exchange is named for that, because they were put back too often.";
    counter LOGINS                = "rabbitmq_auth_attempts_total", Count, "Authentication attempts.";
    counter LOGINS_SUCCEEDED      = "rabbitmq_auth_attempts_succeeded_total", Count, "Successful authentication attempts.";
    counter LOGINS_FAILED         = "rabbitmq_auth_attempts_failed_total", Count, "Failed authentication attempts.";
    gauge   RESIDENT_BYTES        = "rabbitmq_process_resident_memory_bytes", Bytes, "Memory used in bytes.";
    gauge   MEMORY_LIMIT          = "rabbitmq_resident_memory_limit_bytes", Bytes, "Memory high watermark in bytes.";
    gauge   ALARM_MEMORY          = "rabbitmq_alarms_memory_used_watermark", Count, "1 while memory is at its limit and publishers are blocked.";
    gauge   ALARM_DISK            = "rabbitmq_alarms_free_disk_space_watermark", Count, "1 while the disk has no space and publishers are blocked.";
    gauge   QUEUED_BYTES          = "trivium_queues_memory_bytes", Bytes, "Memory that messages in queues take, estimated.";
    counter PAGED_OUT             = "trivium_messages_paged_out_total", Count, "Messages moved to disk because memory was short.";
    gauge   OPEN_FDS              = "rabbitmq_process_open_fds", Count, "Open file descriptors.";
    gauge   MAX_FDS               = "rabbitmq_process_max_fds", Count, "Open file descriptors limit.";
    gauge   IDENTITY              = "rabbitmq_identity_info", Count, "Node and cluster identity; always 1.";
    gauge   BUILD                 = "rabbitmq_build_info", Count, "The version of RabbitMQ whose dialect is spoken, and Trivium's own; always 1.";
    gauge   CONNECTIONS_OPEN      = "trivium_connections_open", Count, "Connections past their handshake, by protocol.";
    counter CONNECTIONS_ACCEPTED  = "trivium_connections_opened_total", Count, "Connections that got past their handshake, by protocol.";
    counter CONNECTIONS_SHED      = "trivium_connections_shed_total", Count, "Connections refused because as many as the configuration allows were open.";
    counter CONNECTION_PANICS     = "trivium_connection_panics_total", Count, "Connections ended by a panic; each is a bug.";
    gauge   SESSIONS_OPEN         = "trivium_sessions_open", Count, "AMQP channels, MQTT clients and STOMP connections, by protocol.";
    gauge   EXCHANGES             = "trivium_exchanges", Count, "Exchanges.";
    gauge   RETAINED              = "trivium_retained_messages", Count, "Retained messages.";
    counter REQUESTS              = "trivium_requests_total", Count, "Control requests answered, by protocol.";
    counter REQUESTS_REFUSED      = "trivium_requests_refused_total", Count, "Control requests refused, by protocol.";
    counter RECEIVED_BYTES        = "trivium_received_bytes_total", Bytes, "Bytes read from clients, by protocol.";
    counter SENT_BYTES            = "trivium_sent_bytes_total", Bytes, "Bytes written to clients, by protocol.";
    counter MESSAGE_BYTES         = "trivium_messages_received_bytes_total", Bytes, "Bytes of the bodies of messages received from publishers, by protocol.";
    counter REJECTED              = "trivium_messages_rejected_total", Count, "Deliveries rejected for good, by protocol.";
    counter REQUEUED              = "trivium_messages_requeued_total", Count, "Deliveries put back into their queue, by protocol.";
    counter DROPPED               = "trivium_messages_dropped_total", Count, "QoS 0 messages dropped because the subscriber does not keep up, by protocol.";
    counter OVERFLOWN             = "trivium_subscriptions_overflown_total", Count, "Subscriptions ended because their own queue held more than the configuration allows, by protocol.";
    counter CONVERSION_LOSS       = "trivium_conversion_loss_total", Count, "Deliveries that lost a field on their way into another protocol, by publisher's and receiver's protocol and field.";
}

#[cfg(test)]
mod tests {
    use super::CATALOG;

    #[test]
    fn names_say_what_they_are() {
        for (name, kind, help) in CATALOG {
            assert!(name.starts_with("trivium_") || name.starts_with("rabbitmq_"), "{name}");
            assert_eq!(*kind == "counter", name.ends_with("_total"), "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
        let mut names: Vec<_> = CATALOG.iter().map(|(name, ..)| name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), CATALOG.len(), "a name appears once");
    }
}
