//! What becomes of messages that nobody accepted.

use std::sync::Arc;

use super::{EffectiveArgs, Queue};
use crate::Message;
use crate::log::Position;

/// Why a message left its queue without being accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A consumer rejected it for good.
    Rejected,
    /// Its time was over.
    Expired,
    /// Its queue had no room.
    MaxLength,
    /// It was put back too often.
    DeliveryLimit,
}

impl Reason {
    /// All, in the order in which they are counted.
    pub(crate) const ALL: [Self; 4] =
        [Self::Rejected, Self::Expired, Self::MaxLength, Self::DeliveryLimit];

    /// As `x-death` says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message that left a queue which has a dead-letter exchange.
#[derive(Debug)]
pub(crate) struct Death {
    pub(crate) queue: Arc<Queue>,
    /// Those of the queue when it died.
    pub(crate) args: Arc<EffectiveArgs>,
    pub(crate) message: Message,
    /// Where the log has it; settled once it is where it goes.
    pub(crate) position: Option<Position>,
    pub(crate) reason: Reason,
}
