//! The bound of one subscription's own queue. Past it the queue ends, and its consumer is told: its
//! client does not read, or does not acknowledge, as fast as others publish.
//!
//! Such a queue counts whole messages, ready and unsettled. Others count bodies, as `x-max-length-bytes`
//! means them.

use super::state::State;
use crate::{Message, Refusal};

impl State {
    /// What a message is charged with here.
    pub(super) fn bytes_of(&self, message: &Message) -> u32 {
        if self.held_bytes_max == u64::MAX {
            return message.body_bytes();
        }
        u32::try_from(message.cost_bytes()).unwrap_or(u32::MAX)
    }

    /// What an unsettled message is charged with; those of other queues are not.
    pub(super) fn held_bytes_of(&self, message: Option<&Message>) -> u64 {
        if self.held_bytes_max == u64::MAX {
            return 0;
        }
        message.map_or(0, |message| self.bytes_of(message).into())
    }

    /// Whether it is past its bound.
    pub(super) fn holds_too_much(&self) -> bool {
        self.ready.bytes() + self.unsettled_bytes > self.held_bytes_max
    }

    /// Why it ends, if it does.
    pub(crate) fn overflow(&self) -> Option<Refusal> {
        (self.holds_too_much() && !self.deleted).then_some(Refusal::LimitReached {
            what: "bytes in a subscription's own queue",
            limit: self.held_bytes_max,
        })
    }
}
