//! Fire-and-forget subscriptions: the core calls the adapter's encoder once for a message and a
//! variant, and copies the bytes into every outbox that wants them.

use crate::{Lost, Message};

/// All that the packet of a subscription depends on besides the message (protocol version, flags).
/// Its bits belong to the encoder; equal variants mean equal bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant(pub u32);

/// Writes a message as one packet of its protocol.
pub trait Encoder: std::fmt::Debug + Sync {
    /// Appends the packet for `message` to `out`, or nothing when this protocol cannot say it.
    /// Returns what the message lost. Called outside all locks.
    fn encode(&self, variant: Variant, message: &Message, out: &mut Vec<u8>) -> Lost;
}
