//! What an operator may set about AMQP connections. An argument of [`crate::Connection::new`],
//! shared by all connections of a listener.

use std::time::Duration;

/// Settings of AMQP connections, with RabbitMQ 3.13's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Largest frame offered in `connection.tune`, in bytes, head and end included. At least
    /// 8192. A connection buffers one frame of this size for reading.
    pub frame_bytes_max: u32,
    /// Channels that one connection may have open at once; 0 for no limit but the protocol's.
    pub channel_max: u16,
    /// Heartbeat interval offered in `connection.tune`; whole seconds up to 65,535, zero to offer
    /// none. The client's answer is what counts.
    pub heartbeat: Duration,
    /// Largest body of one message, in bytes; a longer one closes its channel with 406.
    pub message_bytes_max: u64,
    /// From the first byte to `connection.open-ok`; then an unfinished client is dropped silently.
    pub handshake_timeout: Duration,
    /// How long a client has for `connection.close-ok` before its socket is closed.
    pub close_timeout: Duration,
    /// `product` of the server properties. `RabbitMQ`, since client suites decide by it what to
    /// expect.
    pub product: String,
    /// `version` of the server properties: the RabbitMQ release whose dialect is spoken, as
    /// `x.y.z`.
    pub version: String,
    /// `platform` of the server properties: what this really is.
    pub platform: String,
    /// `cluster_name` of the server properties.
    pub cluster_name: String,
    /// `copyright` of the server properties.
    pub copyright: String,
    /// `information` of the server properties.
    pub information: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            frame_bytes_max: 131_072,
            channel_max: 2047,
            heartbeat: Duration::from_mins(1),
            message_bytes_max: 16 * 1024 * 1024,
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            product: "RabbitMQ".into(),
            version: "3.13.7".into(),
            platform: concat!("Trivium ", env!("CARGO_PKG_VERSION")).into(),
            cluster_name: "trivium".into(),
            copyright: "Copyright (c) the Trivium authors".into(),
            information: "Licensed under the Apache License 2.0".into(),
        }
    }
}

impl Config {
    /// The smallest frame size that a client may tune down to (section 4.2.3; RabbitMQ up to 4.0).
    pub(crate) const FRAME_BYTES_MIN: u32 = 4096;

    /// Before `tune-ok` nobody has agreed to more; what a client says until then fits.
    pub(crate) const HANDSHAKE_FRAME_BYTES_MAX: usize = 8192;

    /// The offered heartbeat, in the seconds of the wire.
    pub(crate) fn heartbeat_secs(&self) -> u16 {
        u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX)
    }
}
