//! What is ready in a queue: one lane a priority, made when the first message of that priority
//! arrives, and when messages expire, once one does.
//!
//! The lanes share one window: what fills it is what will be delivered next.

use super::expiry::Expiry;
use super::lane::{Arrival, Entry, Lane};
use super::pager::Pager;
use crate::log::Position;
use crate::{Instant, Message};

pub(super) use super::lane::Front;
pub(crate) use super::lane::Reach;

/// The ready messages of one queue.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Priority 0, which is all of them in most queues.
    base: Lane,
    /// Priorities 1, 2, ...
    higher: Vec<Lane>,
    expiry: Option<Box<Expiry>>,
}

impl Ready {
    /// Messages ready.
    pub(super) fn len(&self) -> u64 {
        self.base.len() + self.higher.iter().map(Lane::len).sum::<u64>()
    }

    /// Bytes of their bodies. What only the log has counts with what is known of it.
    pub(super) fn bytes(&self) -> u64 {
        self.base.bytes() + self.higher.iter().map(Lane::bytes).sum::<u64>()
    }

    /// About how many bytes they take in memory.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.base.resident_bytes() + self.higher.iter().map(Lane::resident_bytes).sum::<u64>()
    }

    /// Whether nothing is held, garbage whose counts no longer hold included.
    pub(super) fn is_empty(&self) -> bool {
        self.base.is_empty() && self.higher.iter().all(Lane::is_empty)
    }

    /// Messages in the window.
    pub(super) fn window_len(&self) -> usize {
        self.base.window_len() + self.higher.iter().map(Lane::window_len).sum::<usize>()
    }

    fn lane(&mut self, priority: u8) -> &mut Lane {
        let Some(index) = usize::from(priority).checked_sub(1) else { return &mut self.base };
        while self.higher.len() <= index {
            let next = u8::try_from(self.higher.len() + 1).unwrap_or(u8::MAX);
            self.higher.push(Lane::new(next));
        }
        &mut self.higher[index]
    }

    /// The lane that is served next.
    fn top(&self) -> &Lane {
        self.higher.iter().rev().find(|lane| !lane.is_empty()).unwrap_or(&self.base)
    }

    fn top_mut(&mut self) -> &mut Lane {
        self.higher.iter_mut().rev().find(|lane| !lane.is_empty()).unwrap_or(&mut self.base)
    }

    /// Appends a new message behind all others of its priority. With `page` a logged one may be
    /// left to the log.
    pub(super) fn push(&mut self, entry: Entry, expires_at: Instant, page: bool) {
        if expires_at != Instant::NEVER {
            let expiry = self.expiry.get_or_insert_default();
            expiry.push(entry.arrival, expires_at, entry.priority);
        }
        self.lane(entry.priority).push(entry, page);
    }

    /// Puts a delivered message, of the place `slot` among the unsettled, back to where it stood.
    /// Returns whether it expires.
    pub(super) fn put_back(&mut self, entry: Entry, slot: u32) -> bool {
        let mut expires = false;
        if let Some(expiry) = &mut self.expiry
            && let Some(at) = expiry.release(slot)
        {
            expiry.put_back(entry.arrival, at, entry.priority);
            expires = true;
        }
        self.lane(entry.priority).put_back(entry);
        expires
    }

    /// What would be delivered next.
    pub(super) fn front(&self) -> Front {
        self.top().front()
    }

    /// The arrival of what would be delivered next, unless that must be read first.
    pub(super) fn first_arrival(&self) -> Option<Arrival> {
        self.top().first_arrival()
    }

    /// Takes the message at the head if it is in memory; says when it expires.
    pub(super) fn pop(&mut self) -> Option<(Entry, Message, Option<Instant>)> {
        let (entry, message) = self.top_mut().pop()?;
        let expires_at = self.forget_expiry(&entry);
        Some((entry, message, expires_at))
    }

    fn forget_expiry(&mut self, entry: &Entry) -> Option<Instant> {
        self.expiry.as_mut().and_then(|expiry| expiry.take(entry.arrival))
    }

    /// Keeps the expiry of a message that was delivered, until it is settled or put back.
    pub(super) fn hold_expiry(&mut self, slot: u32, at: Option<Instant>) {
        if let (Some(expiry), Some(at)) = (&mut self.expiry, at) {
            expiry.hold(slot, at);
        }
    }

    /// A delivery is settled for good.
    pub(super) fn release_expiry(&mut self, slot: u32) {
        if let Some(expiry) = &mut self.expiry {
            expiry.release(slot);
        }
    }

    /// Takes the message at the head, in memory or not.
    pub(super) fn take_first(&mut self) -> Option<Entry> {
        let entry = loop {
            match self.top_mut().take_first() {
                Some(entry) => break entry,
                None if self.is_empty() => return None,
                // Only holes were left in that lane.
                None => {}
            }
        };
        self.forget_expiry(&entry);
        Some(entry)
    }

    /// Takes the message at the head if it is in memory and expired before `now`. In the very
    /// moment a ready consumer still gets it, which is what a TTL of 0 is for.
    pub(super) fn take_expired_first(&mut self, now: Instant) -> Option<Entry> {
        let arrival = self.first_arrival()?;
        self.expiry.as_ref()?.of(arrival).filter(|at| *at < now)?;
        self.take_first()
    }

    /// Takes some message that has expired at `now`, wherever it stands.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Entry> {
        let expiry = self.expiry.as_mut()?;
        let (arrival, priority) = expiry.first_due(now)?;
        expiry.take(arrival);
        let entry = self.lane(priority).remove(arrival);
        debug_assert!(entry.is_some(), "C-1: what expires is ready");
        entry
    }

    /// When the next message expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.expiry.as_ref().and_then(|expiry| expiry.next())
    }

    /// Fills the window from the backlog up to `reach`, and names what must be read for the window
    /// and for the returned messages at the head.
    pub(super) fn refill(&mut self, mut reach: Reach) -> Vec<Position> {
        if self.higher.is_empty() {
            return self.base.refill(reach);
        }
        let mut wanted = Vec::new();
        let lanes = self.higher.iter_mut().rev().chain(std::iter::once(&mut self.base));
        for lane in lanes.filter(|lane| !lane.is_empty()) {
            if reach.messages == 0 {
                break;
            }
            wanted.append(&mut lane.refill(reach));
            reach.messages = reach.messages.saturating_sub(lane.window_len());
        }
        wanted
    }

    /// Stores messages that no log has, those that would be delivered last first; of the lane that
    /// is served next `kept` stay.
    pub(super) fn page_out(&mut self, kept: usize, pager: &mut Pager<'_>) {
        let top = self.higher.iter().rposition(|lane| !lane.is_empty()).map_or(0, |at| at + 1);
        let lanes = std::iter::once(&mut self.base).chain(&mut self.higher);
        for (at, lane) in lanes.enumerate() {
            lane.page_out(if at == top { kept } else { 0 }, pager);
        }
    }

    /// Gives up memory that what is ready does not need any more.
    pub(super) fn shrink(&mut self) {
        self.base.shrink();
        self.higher.iter_mut().for_each(Lane::shrink);
    }

    /// A read is done. False when nobody here waits for it any more.
    pub(super) fn read_done(&mut self, position: Position, message: &Message) -> bool {
        let lanes = self.higher.iter_mut().chain(std::iter::once(&mut self.base));
        lanes.into_iter().any(|lane| lane.read_done(position, message))
    }

    /// Leaves to the log what it has: nobody here takes messages any more.
    pub(super) fn evict(&mut self) {
        self.base.evict();
        self.higher.iter_mut().for_each(Lane::evict);
    }

    /// The positions of everything ready, in runs.
    pub(super) fn positions(&self) -> Vec<(Position, u64)> {
        let mut runs = self.base.positions();
        self.higher.iter().for_each(|lane| runs.append(&mut lane.positions()));
        runs
    }

    /// Takes everything out but what is known of unsettled deliveries.
    pub(super) fn take_all(&mut self) -> Self {
        if let Some(expiry) = &mut self.expiry {
            expiry.clear_ready();
        }
        let (base, higher) = (std::mem::take(&mut self.base), std::mem::take(&mut self.higher));
        Self { base, higher, expiry: None }
    }

    /// Drops up to `count` messages, in no order. Returns how many.
    pub(super) fn drop_some(&mut self, count: usize) -> usize {
        let mut dropped = self.base.drop_some(count);
        for lane in &mut self.higher {
            dropped += lane.drop_some(count - dropped.min(count));
        }
        dropped
    }

    /// See [`Lane::check`].
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        self.base.check();
        self.higher.iter().for_each(Lane::check);
    }
}
