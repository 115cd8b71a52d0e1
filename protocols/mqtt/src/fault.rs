//! What a client did wrong, with the code that says so.

use crate::ReasonCode;

/// A malformed packet or a breach of the protocol (MQTT 5, section 4.13). The connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code:?})")]
pub(crate) struct Fault {
    /// For CONNACK or DISCONNECT of MQTT 5; 3.1.1 only closes.
    pub(crate) code: ReasonCode,
    /// For the log.
    pub(crate) reason: &'static str,
}

impl Fault {
    /// The bytes cannot be what they claim to be.
    pub(crate) const fn malformed(reason: &'static str) -> Self {
        Self { code: ReasonCode::MALFORMED_PACKET, reason }
    }

    /// A packet that is well formed and must not be there, or not like this.
    pub(crate) const fn protocol(reason: &'static str) -> Self {
        Self { code: ReasonCode::PROTOCOL_ERROR, reason }
    }

    /// With a code of its own.
    pub(crate) const fn new(code: ReasonCode, reason: &'static str) -> Self {
        Self { code, reason }
    }
}
