//! What a full queue refuses (`x-overflow: reject-publish`). Room is reserved before a publish is
//! logged, so that what is refused was never written.

use std::sync::Arc;

use super::death::{Death, Reason};
use super::state::State;
use super::{Effects, Overflow, Queue};
use crate::Message;

/// Whether a publish may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It has its room until [`State::unreserve`].
    Reserved,
    /// There is none.
    Full,
}

impl State {
    /// Asks for room for one publish. What consumers could have at once needs none: the batch that
    /// fills a queue also empties it.
    pub(crate) fn reserve(
        &mut self,
        queue: &Arc<Queue>,
        message: &Message,
        effects: &mut Effects,
    ) -> Room {
        let bytes = u64::from(message.body_bytes());
        let (count, sum) =
            (self.ready.len() + self.reserved, self.ready.bytes() + self.reserved_bytes);
        let args = &self.args;
        let is_full = args.can_refuse()
            && (args.max_length.is_some_and(|max| count >= max.saturating_add(self.demand()))
                || (args.max_length_bytes.is_some_and(|max| sum + bytes > max)
                    && count >= self.demand()));
        if !is_full {
            self.reserved += 1;
            self.reserved_bytes += bytes;
            return Room::Reserved;
        }
        if args.overflow == Overflow::RejectPublishDlx && args.dead_letter_exchange.is_some() {
            effects.counters.note_death(args.tells_deliveries(), true, Reason::MaxLength);
            effects.deaths.push(Death {
                queue: queue.clone(),
                args: args.clone(),
                message: message.clone(),
                position: None,
                reason: Reason::MaxLength,
            });
        }
        Room::Full
    }

    /// A publish that had room is being pushed.
    pub(crate) fn unreserve(&mut self, message: &Message) {
        self.reserved = self.reserved.saturating_sub(1);
        let bytes = u64::from(message.body_bytes());
        self.reserved_bytes = self.reserved_bytes.saturating_sub(bytes);
    }

    /// Messages that the consumers could have now.
    fn demand(&self) -> u64 {
        let takers = self.order.iter().filter_map(|place| self.takers[*place as usize].as_ref());
        takers.map(super::Taker::credit).sum()
    }
}
