//! Everything in the core that would otherwise grow until something breaks.

/// Bounds of the core, with units in their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of queued deliveries in one outbox before queues stop granting to it.
    pub outbox_bytes_max: usize,
    /// Bytes of fire-and-forget packets in one outbox before they are dropped, and counted. A
    /// burst of 10,000 messages of 1 KiB to a reading subscriber fits.
    pub fire_and_forget_bytes_max: usize,
    /// Unsettled deliveries of one session, whatever its prefetch says.
    pub unsettled_per_session_max: u32,
    /// Messages at the head of a durable queue that are kept in memory while it has a consumer
    /// with credit; behind them only positions in the log are kept.
    pub window_messages_max: usize,
    /// Deliveries that one turn of a connection may cause before it yields.
    pub deliveries_per_turn_max: usize,
    /// Routes a worker keeps (117 bytes each with their keys).
    pub cached_routes_max: usize,
    /// Bytes of messages that a private queue (one subscription's own, see
    /// [`crate::control::DeclareQueue::is_private`]) may hold, heads and properties included. Past it
    /// the queue ends, and its consumer is told why: who reads too slowly must not fill the memory.
    pub private_queue_bytes_max: usize,
    /// Bytes that one transaction may hold until its commit.
    pub transaction_bytes_max: usize,
    /// Milliseconds that a session of AMQP or STOMP may take to answer a delivery, where its queue
    /// does not say; `None` for as long as it likes. A consumer that hangs gives its messages back.
    pub consumer_timeout_ms: Option<u64>,
    /// Messages kept for an MQTT client that is away. What comes when so many wait is dropped, and
    /// counted: who stays away for long misses the newest, and what is kept has no holes.
    pub away_messages_max: u64,
    /// Words in one routing key or binding key.
    pub words_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outbox_bytes_max: 1024 * 1024,
            fire_and_forget_bytes_max: 16 * 1024 * 1024,
            unsettled_per_session_max: 1_000_000,
            window_messages_max: 4096,
            deliveries_per_turn_max: 8192,
            cached_routes_max: 1024,
            private_queue_bytes_max: 64 * 1024 * 1024,
            transaction_bytes_max: 64 * 1024 * 1024,
            consumer_timeout_ms: Some(1_800_000),
            away_messages_max: 100_000,
            words_max: 65_536,
        }
    }
}
