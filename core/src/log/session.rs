//! What the log keeps of MQTT sessions beside their messages (MQTT 5, section 4.1).

use super::Position;
use crate::QueueId;

/// Something that an MQTT session must not forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// The session, by the id of its queue.
    pub session: QueueId,
    /// What it is.
    pub what: InSession,
}

/// What happened in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InSession {
    /// The message is under way to the client under a packet identifier; forgotten once it is
    /// settled.
    Sent {
        /// The message, in the session's queue.
        position: Position,
        /// The packet identifier.
        label: u16,
        /// At which it was sent.
        qos: u8,
        /// The client has it (PUBREC); only PUBREL and PUBCOMP are left.
        released: bool,
    },
    /// A QoS 2 publish of the client arrived under this packet identifier.
    Received(u16),
    /// The client released it (PUBREL).
    Released(u16),
    /// The session is over: nothing of it counts.
    Ended,
}
