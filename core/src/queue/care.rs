//! What time and limits do to a queue, in slices: expired messages leave wherever they stand, a
//! bounded queue drops its oldest, a queue that nobody uses ends.

use std::sync::Arc;

use super::death::{Death, Reason};
use super::state::State;
use super::{Effects, Overflow, Queue};
use crate::log::Position;
use crate::{Instant, Message, Protocol};

/// Messages that leave in one go under the lock; the rest waits for the next tick.
const SLICE: usize = 1024;

/// A message that left without being accepted.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) position: Option<Position>,
    /// `None` while only the log has it.
    pub(super) message: Option<Message>,
    pub(super) reason: Reason,
}

impl State {
    /// When a message that arrives now expires: the sooner of what it and the queue say.
    pub(super) fn expiry_of(&self, message: &Message, now: Instant) -> Instant {
        let of_message = message.expires_at().unwrap_or(Instant::NEVER);
        match self.args.message_ttl_ms {
            None => of_message,
            Some(millis) => of_message.min(now.after_millis(millis)),
        }
    }

    /// A message leaves. What becomes of it is decided after the next dispatch.
    pub(super) fn die(
        &mut self,
        position: Option<Position>,
        message: Option<Message>,
        reason: Reason,
    ) {
        self.needs_care = true;
        self.dead.push(Dead { position, message, reason });
    }

    /// Takes out what has expired.
    pub(super) fn drop_expired(&mut self, now: Instant) {
        for _ in 0..SLICE {
            let Some(entry) = self.ready.take_expired(now) else { return };
            self.forget_mark(entry.arrival);
            self.die(entry.position, entry.message, Reason::Expired);
        }
    }

    /// Does what is due.
    pub(crate) fn refresh(&mut self, queue: &Arc<Queue>, effects: &mut Effects) {
        self.needs_care |= self.ready.next_expiry().is_some_and(|at| at <= effects.now);
        if self.needs_care {
            self.care(queue, effects);
        }
    }

    /// Somebody uses the queue now (`x-expires`).
    pub(crate) fn use_at(&mut self, now: Instant) {
        if self.args.expires_ms.is_some() {
            self.unused_since = now;
            self.needs_care = true;
        }
    }

    /// The broker's timetable says that there is something to do. Returns how many messages left.
    pub(crate) fn wake(&mut self, queue: &Arc<Queue>, effects: &mut Effects) -> usize {
        self.wakes_at = Instant::NEVER;
        self.needs_care = true;
        let before = self.ready.len();
        self.dispatch(queue, effects);
        usize::try_from(before.saturating_sub(self.ready.len())).unwrap_or(usize::MAX)
    }

    /// Whether nobody has used it for as long as `x-expires` says.
    pub(crate) fn is_lapsed(&self, now: Instant) -> bool {
        self.lapses_at().is_some_and(|at| at <= now) && !self.deleted
    }

    fn lapses_at(&self) -> Option<Instant> {
        let expires_ms = self.args.expires_ms.filter(|_| self.order.is_empty())?;
        Some(self.unused_since.after_millis(expires_ms))
    }

    /// Does what time and limits ask for.
    pub(super) fn care(&mut self, queue: &Arc<Queue>, effects: &mut Effects) {
        self.needs_care = false;
        if self.deleted {
            return;
        }
        self.drop_expired(effects.now);
        self.shorten();
        self.bury(queue, effects);
        if self.order.is_empty() && self.unused_since == Instant::NEVER {
            self.unused_since = effects.now;
        }
        if self.is_lapsed(effects.now) {
            effects.lapsed.push(queue.clone());
            return;
        }
        if self.holds_too_much() {
            effects.overflown.push(queue.clone());
            return;
        }
        if self.answers_due_at <= effects.now {
            self.look_for_answers(effects);
        }
        let is_too_long = self.is_too_long().then_some(effects.now);
        let answers = Some(self.answers_due_at);
        let wishes = [self.ready.next_expiry(), self.lapses_at(), is_too_long, answers];
        let next = wishes.into_iter().flatten().min().unwrap_or(Instant::NEVER);
        if next < self.wakes_at {
            self.wakes_at = next;
            effects.wakes.push((queue.clone(), next));
        }
    }

    /// The taker at `place` owes an answer, as the first here. MQTT knows no such limit.
    #[cold]
    pub(super) fn expect_answer(&mut self, place: u32, effects: &Effects) {
        let millis = self.args.consumer_timeout_ms.or(effects.consumer_timeout_ms);
        let taker = self.takers[place as usize].as_ref();
        if let Some(millis) = millis
            && taker.is_some_and(|taker| taker.protocol() != Protocol::Mqtt)
        {
            self.answers_due_at = effects.now.after_millis(millis);
            self.needs_care = true;
        }
    }

    /// Ends the sessions that owe answers for too long, and finds out when the next is due: all
    /// that is unsettled is looked at, once in the time that an answer may take.
    fn look_for_answers(&mut self, effects: &mut Effects) {
        self.answers_due_at = Instant::NEVER;
        let Some(millis) = self.args.consumer_timeout_ms.or(effects.consumer_timeout_ms) else {
            return;
        };
        let mut late: Vec<u32> = Vec::new();
        for (since, entry) in self.unsettled.by_time() {
            let taker = self.takers[entry.taker as usize].as_ref();
            if taker.is_none_or(|taker| taker.protocol() == Protocol::Mqtt) {
                continue;
            }
            let due = since.after_millis(millis);
            if due > effects.now {
                self.answers_due_at = self.answers_due_at.min(due);
            } else if !late.contains(&entry.taker) {
                late.push(entry.taker);
            }
        }
        let sessions = late.into_iter().filter_map(|place| self.takers[place as usize].as_ref());
        effects.late.extend(sessions.map(|taker| (taker.session.clone(), millis)));
    }

    fn is_too_long(&self) -> bool {
        let args = &self.args;
        if args.overflow != Overflow::DropHead {
            return false;
        }
        args.max_length.is_some_and(|max| self.ready.len() > max)
            || args.max_length_bytes.is_some_and(|max| self.ready.bytes() > max)
    }

    /// Drops the oldest until the rest is within bounds.
    fn shorten(&mut self) {
        for _ in 0..SLICE {
            if !self.is_too_long() {
                return;
            }
            let Some(entry) = self.ready.take_first() else { return };
            self.forget_mark(entry.arrival);
            self.die(entry.position, entry.message, Reason::MaxLength);
        }
    }

    /// Sends the dead on their way: to the dead-letter exchange, or to nowhere.
    fn bury(&mut self, queue: &Arc<Queue>, effects: &mut Effects) {
        let mut unread = Vec::new();
        let quorum = self.args.tells_deliveries();
        let dead_lettered = self.args.dead_letter_exchange.is_some();
        for Dead { position, message, reason } in self.dead.drain(..) {
            // What must be read first comes by again.
            if message.is_some() || !dead_lettered {
                effects.counters.note_death(quorum, dead_lettered, reason);
            }
            match (message, position) {
                (Some(message), _) if self.args.dead_letter_exchange.is_some() => {
                    let (queue, args) = (queue.clone(), self.args.clone());
                    effects.deaths.push(Death { queue, args, message, position, reason });
                }
                (None, Some(position)) if self.args.dead_letter_exchange.is_some() => {
                    self.dying.insert(position, reason);
                    unread.push(position);
                }
                (_, Some(position)) => effects.settle(self.id, position, 1),
                (_, None) => {}
            }
        }
        effects.read(self.id, unread);
        self.needs_care = false;
    }
}
