//! What an operator may set for MQTT clients.

use std::time::Duration;

use trivium_core::address::Coding;

/// Limits and times of MQTT connections. One value is shared by all connections of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The largest packet a client may send, in bytes with its fixed header (MQTT 5, section
    /// 3.2.2.3.6). A message of 16 MiB is the broker's largest.
    pub packet_bytes_max: usize,
    /// The largest CONNECT, in bytes: who has not logged in gets little of our memory. A will of
    /// the largest payload (65,535 bytes) fits.
    pub connect_bytes_max: usize,
    /// From the accepted socket to a login that is answered.
    pub connect_timeout: Duration,
    /// QoS 1 and 2 publishes that a client may have unacknowledged (Receive Maximum, section
    /// 3.2.2.3.3), at least 1. MQTT 3.1.1 clients cannot be told and may use every identifier.
    pub receive_maximum: u16,
    /// QoS 1 deliveries towards a client without their PUBACK, at least 1; a client's smaller
    /// Receive Maximum wins. 4,096 keep a fast client on a long line busy.
    pub unsettled_max: u16,
    /// Topic aliases that a client may set (section 3.2.2.3.8), and that we set towards one that
    /// allows as many; each may hold 65,535 bytes.
    pub topic_alias_max: u16,
    /// The longest keep-alive, in seconds, for clients that can be told (MQTT 5's Server Keep
    /// Alive); it also ends "no keep-alive". `None` leaves it to the client.
    pub keep_alive_max_s: Option<u16>,
    /// Seconds that a session may outlive its connection (MQTT 5, section 3.1.2.11.2); what a
    /// client asks beyond is cut, which MQTT 5 is told. 3.1.1 cannot say, and gets this for
    /// sessions that are not clean.
    pub session_expiry_max_s: u32,
    /// Filters one client may have subscribed to.
    pub subscriptions_max: usize,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_per_packet_max: usize,
    /// A message of another protocol that does not say whether it is to survive goes out at QoS 0,
    /// as in RabbitMQ 3.13, and not at the granted QoS.
    pub unset_is_qos_0: bool,
    /// The vhost of clients whose login does not name one; `None` for the broker's default.
    pub vhost: Option<String>,
    /// How topics become routing keys.
    pub coding: Coding,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            packet_bytes_max: 16 * 1024 * 1024,
            connect_bytes_max: 128 * 1024,
            connect_timeout: Duration::from_secs(10),
            receive_maximum: 8192,
            unsettled_max: 4096,
            topic_alias_max: 16,
            keep_alive_max_s: None,
            session_expiry_max_s: 7 * 24 * 60 * 60,
            subscriptions_max: 10_000,
            filters_per_packet_max: 10_000,
            unset_is_qos_0: false,
            vhost: None,
            coding: Coding::Shift,
        }
    }
}
