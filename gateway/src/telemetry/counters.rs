//! What the gateway counts, in plain integers: once a read, a flush or a request, never once a
//! message.

use std::sync::atomic::AtomicU64;

use trivium_core::Protocol;

/// Everything counted outside the core.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    protocols: [ProtocolCounters; 3],
    /// Connections refused because `connections_max` were open.
    pub(crate) connections_shed: AtomicU64,
    /// Connections whose task panicked; each is a bug.
    pub(crate) panics: AtomicU64,
}

/// What clients of one protocol did.
#[derive(Debug, Default)]
pub(crate) struct ProtocolCounters {
    /// Past their handshake, now.
    pub(crate) connections_open: AtomicU64,
    /// Past their handshake, ever.
    pub(crate) connections_total: AtomicU64,
    /// Bytes read.
    pub(crate) received_bytes: AtomicU64,
    /// Bytes written.
    pub(crate) sent_bytes: AtomicU64,
    /// Control requests answered.
    pub(crate) requests: AtomicU64,
    /// Control requests refused, logins apart.
    pub(crate) requests_refused: AtomicU64,
    /// Logins accepted.
    pub(crate) logins_accepted: AtomicU64,
    /// Logins refused.
    pub(crate) logins_refused: AtomicU64,
}

impl Counters {
    /// Those of `protocol`.
    pub(crate) const fn of(&self, protocol: Protocol) -> &ProtocolCounters {
        &self.protocols[protocol.index()]
    }
}
