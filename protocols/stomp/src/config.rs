//! Everything about STOMP that an operator may set.

use std::time::Duration;

/// The longest header line towards a client, before escapes: the largest string of MQTT under an
/// AMQP header's name. What is longer is left out, and counted.
pub(crate) const HEADER_LINE_BYTES_MAX: usize = 68 * 1024;

/// Limits and habits of STOMP connections. Sizes are octets as they are on the wire.
#[derive(Clone, Debug)]
pub struct Config {
    /// Largest body of one frame (S-21).
    pub message_bytes_max: usize,
    /// Longest command or header line. A destination has to fit, and so has what we write
    /// (68 KiB): a client may send back all that it received.
    pub header_line_bytes_max: usize,
    /// Command and headers of one frame together.
    pub head_bytes_max: usize,
    /// Headers in one frame.
    pub headers_max: usize,
    /// From the first byte accepted to CONNECTED sent.
    pub connect_timeout: Duration,
    /// Shortest interval at which we promise heart-beats (S-37). Clients that want them more
    /// often get this one; the driver's timers are coarse, so it is no use below half a second.
    pub heart_beat_send_ms_min: u32,
    /// Shortest interval at which we expect heart-beats. A client that offers more gets this one.
    pub heart_beat_receive_ms_min: u32,
    /// Subscriptions open at once on a connection, those of `/temp-queue/` included.
    pub subscriptions_max: usize,
    /// Transactions open at once on a connection.
    pub transactions_max: usize,
    /// Frames in one transaction.
    pub transaction_frames_max: usize,
    /// Octets of all SENDs in open transactions of a connection. One largest message must fit.
    pub transaction_bytes_max: usize,
    /// Octets of receipt names that wait for their SENDs to be safe.
    pub receipt_bytes_max: usize,
    /// Queue names remembered as declared by this connection. Past it they are forgotten, and
    /// declared again at their next use, which is harmless.
    pub declared_queues_max: usize,
    /// A `host` that names no vhost is an error, as in RabbitMQ. Off, a host name or an address
    /// means the default vhost, because clients send the name they dialled.
    pub strict_host: bool,
    /// An ERROR that is about one frame alone does not end the connection, as in RabbitMQ. Off, every
    /// ERROR does, as the specification says (S-82).
    pub keep_open_after_error: bool,
    /// What CONNECTED says in `server` (S-33): `name/version`. No control characters.
    pub server: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            message_bytes_max: 16 * 1024 * 1024,
            header_line_bytes_max: HEADER_LINE_BYTES_MAX,
            head_bytes_max: 128 * 1024,
            headers_max: 128,
            connect_timeout: Duration::from_secs(10),
            heart_beat_send_ms_min: 1000,
            heart_beat_receive_ms_min: 1000,
            subscriptions_max: 4096,
            transactions_max: 16,
            transaction_frames_max: 1024,
            transaction_bytes_max: 32 * 1024 * 1024,
            receipt_bytes_max: 16 * 1024 * 1024,
            declared_queues_max: 1024,
            strict_host: false,
            keep_open_after_error: false,
            server: concat!("Trivium/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}
