//! Ready messages of one priority, oldest first: returned messages, a window in memory, and behind
//! it a backlog of which only positions are kept.
//!
//! Arrival numbers order everything. Returned messages stand where they stood; they never go back
//! into the backlog. The window's arrivals all precede the backlog's. What is taken out of the
//! middle leaves a hole, because closing it would cost time in proportion to the queue.

use std::collections::{BTreeMap, VecDeque};

use super::backlog::Backlog;
use super::pager::{PAGED_AT_ONCE, Pager};
use crate::Message;
use crate::log::Position;

/// A message's place in the order of one queue.
pub(super) type Arrival = u64;

/// One ready message.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) arrival: Arrival,
    /// Where the log has it; `None` for transient messages.
    pub(super) position: Option<Position>,
    /// `None` while only the log has it.
    pub(super) message: Option<Message>,
    /// Bytes of its body; for a message that only the log has, what is known of them.
    pub(super) bytes: u32,
    /// How often it was delivered before.
    pub(super) attempts: u16,
    pub(super) priority: u8,
    /// It is here because it was retained when the subscription was made.
    pub(super) retained: bool,
}

const _: () = assert!(size_of::<Entry>() <= 32, "a window holds thousands of entries");

/// Bytes that a message in memory takes beside its body: its entry, its head, its key and
/// properties. An estimate: what is measured is the process as a whole.
const MESSAGE_BYTES: u64 = 192;

/// The ready messages of one priority.
#[derive(Debug, Default)]
pub(super) struct Lane {
    priority: u8,
    returned: BTreeMap<Arrival, Entry>,
    /// How many of them are in memory and in no log.
    returned_residents: usize,
    /// The first entry is no hole.
    window: VecDeque<Entry>,
    backlog: Backlog,
    /// Holes in the window.
    holes: u64,
    /// Bytes of the bodies of what is returned or in the window.
    bytes: u64,
    /// Reads under way, by position.
    reading: BTreeMap<Position, Arrival>,
}

/// How far a window reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) messages: usize,
    /// Of bodies; one message goes beyond.
    pub(crate) bytes: u64,
}

impl Reach {
    /// As far as there is something.
    pub(super) const ALL: Self = Self { messages: usize::MAX, bytes: u64::MAX };
}

/// What stands at the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// Nothing is ready.
    Empty,
    /// A message, in memory, of that many bytes.
    Resident { bytes: usize },
    /// A message that must be read first.
    Paged,
}

impl Lane {
    pub(super) fn new(priority: u8) -> Self {
        Self { priority, ..Self::default() }
    }

    /// Messages ready.
    pub(super) fn len(&self) -> u64 {
        self.near_count() + self.backlog.len()
    }

    /// Messages returned or in the window.
    fn near_count(&self) -> u64 {
        self.returned.len() as u64 + self.window.len() as u64 - self.holes
    }

    /// Bytes of their bodies.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes + self.backlog.bytes()
    }

    /// About how many bytes its messages take in memory, those that are being read included.
    pub(super) fn resident_bytes(&self) -> u64 {
        let count = self.near_count() + self.backlog.residents();
        self.bytes + self.backlog.resident_bytes() + count * MESSAGE_BYTES
    }

    /// Whether nothing is held, garbage whose counts no longer hold included.
    pub(super) fn is_empty(&self) -> bool {
        self.returned.is_empty() && self.window.is_empty() && self.backlog.is_empty()
    }

    /// Messages in the window.
    pub(super) fn window_len(&self) -> usize {
        self.window.len()
    }

    /// Appends a new message behind all others. With `page` a logged one may be left to the log.
    pub(super) fn push(&mut self, entry: Entry, page: bool) {
        if self.backlog.is_empty() && !(page && entry.position.is_some()) {
            self.bytes += u64::from(entry.bytes);
            return self.window.push_back(entry);
        }
        self.backlog.push_back(entry);
    }

    /// Puts a delivered message back to where it stood.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.bytes += u64::from(entry.bytes);
        self.returned_residents += usize::from(entry.is_unlogged());
        let before = self.returned.insert(entry.arrival, entry);
        debug_assert!(before.is_none(), "C-1: a message is in one state");
    }

    /// What would be delivered next.
    pub(super) fn front(&self) -> Front {
        match self.front_entry() {
            None if self.backlog.is_empty() => Front::Empty,
            None | Some(Entry { message: None, .. }) => Front::Paged,
            Some(Entry { message: Some(message), .. }) => {
                Front::Resident { bytes: message.cost_bytes() }
            }
        }
    }

    fn returned_first(&self) -> bool {
        match (self.returned.first_key_value(), self.window.front()) {
            (Some((returned, _)), Some(entry)) => *returned < entry.arrival,
            (Some((returned, _)), None) => {
                self.backlog.first_arrival().is_none_or(|arrival| *returned < arrival)
            }
            (None, _) => false,
        }
    }

    fn front_entry(&self) -> Option<&Entry> {
        if self.returned_first() {
            self.returned.first_key_value().map(|(_, entry)| entry)
        } else {
            self.window.front()
        }
    }

    /// Takes the message at the head if it is in memory.
    pub(super) fn pop(&mut self) -> Option<(Entry, Message)> {
        let mut entry = if self.returned_first() {
            let first = self.returned.first_entry()?;
            first.get().message.as_ref()?;
            self.returned_residents -= usize::from(first.get().is_unlogged());
            first.remove()
        } else {
            self.window.front()?.message.as_ref()?;
            let entry = self.window.pop_front()?;
            self.trim();
            entry
        };
        self.bytes -= u64::from(entry.bytes);
        let message = entry.message.take()?;
        Some((entry, message))
    }

    /// The arrival of what stands at the head, unless that must be read first.
    pub(super) fn first_arrival(&self) -> Option<Arrival> {
        self.front_entry().map(|entry| entry.arrival)
    }

    /// Takes what stands at the head, in memory or not.
    pub(super) fn take_first(&mut self) -> Option<Entry> {
        let entry = if self.returned_first() {
            let entry = self.returned.pop_first().map(|(_, entry)| entry)?;
            self.returned_residents -= usize::from(entry.is_unlogged());
            entry
        } else if self.window.is_empty() {
            return self.backlog.pop_front(self.priority);
        } else {
            let entry = self.window.pop_front()?;
            self.trim();
            entry
        };
        self.left(&entry);
        Some(entry)
    }

    /// Takes the message of that arrival from wherever it stands.
    pub(super) fn remove(&mut self, arrival: Arrival) -> Option<Entry> {
        let entry = match self.returned.remove(&arrival) {
            Some(entry) => {
                self.returned_residents -= usize::from(entry.is_unlogged());
                entry
            }
            None => match self.window.binary_search_by_key(&arrival, |entry| entry.arrival) {
                Ok(at) => self.take_from_window(at)?,
                Err(_) => return self.backlog.remove(arrival, self.priority),
            },
        };
        self.left(&entry);
        Some(entry)
    }

    /// An entry that was returned or in the window is not ready any more.
    fn left(&mut self, entry: &Entry) {
        self.bytes -= u64::from(entry.bytes);
        if let (None, Some(position)) = (&entry.message, entry.position) {
            self.reading.remove(&position);
        }
    }

    fn take_from_window(&mut self, at: usize) -> Option<Entry> {
        if self.window[at].is_hole() {
            return None;
        }
        let hole = Entry::hole(self.window[at].arrival);
        let entry = std::mem::replace(&mut self.window[at], hole);
        self.holes += 1;
        self.trim();
        Some(entry)
    }

    /// Removes the holes at the head of the window.
    fn trim(&mut self) {
        while self.holes > 0 && self.window.pop_front_if(|entry| entry.is_hole()).is_some() {
            self.holes -= 1;
        }
    }

    /// Fills the window from the backlog up to `reach`, and names what must be read for the window
    /// and for the returned messages at the head.
    pub(super) fn refill(&mut self, reach: Reach) -> Vec<Position> {
        let mut wanted = Vec::new();
        while self.window.len() < reach.messages
            && (self.bytes < reach.bytes || self.window.is_empty())
            && let Some(entry) = self.backlog.pop_front(self.priority)
        {
            if let (None, Some(position)) = (&entry.message, entry.position) {
                self.reading.insert(position, entry.arrival);
                wanted.push(position);
            }
            self.bytes += u64::from(entry.bytes);
            self.window.push_back(entry);
        }
        let paged_first = self.returned_first()
            && self.returned.first_key_value().is_some_and(|(_, entry)| entry.message.is_none());
        let reach = if paged_first { reach.messages.max(1) } else { 0 };
        for (arrival, entry) in self.returned.iter().take(reach) {
            if let (None, Some(position)) = (&entry.message, entry.position)
                && self.reading.insert(position, *arrival).is_none()
            {
                wanted.push(position);
            }
        }
        wanted
    }

    /// A read is done. False when nobody here waits for it any more.
    pub(super) fn read_done(&mut self, position: Position, message: &Message) -> bool {
        let Some(arrival) = self.reading.remove(&position) else { return false };
        let entry = if let Some(entry) = self.returned.get_mut(&arrival) {
            entry
        } else {
            let Ok(at) = self.window.binary_search_by_key(&arrival, |entry| entry.arrival) else {
                return false;
            };
            &mut self.window[at]
        };
        // What was a share of a stretch is known now.
        self.bytes -= u64::from(entry.bytes);
        entry.bytes = message.body_bytes();
        self.bytes += u64::from(entry.bytes);
        entry.message = Some(message.clone());
        true
    }

    /// Leaves to the log what it has: nobody here takes messages any more.
    pub(super) fn evict(&mut self) {
        let logged = |entry: &Entry| entry.position.is_some();
        if let Some(from) = self.window.iter().position(logged) {
            self.stow(from, None);
        }
        for entry in self.returned.values_mut().filter(|entry| logged(entry)) {
            entry.message = None;
        }
    }

    /// Moves the window from an index on into the backlog, where a log has what `pager` stores.
    fn stow(&mut self, from: usize, pager: Option<&mut Pager<'_>>) {
        let mut tail = self.window.split_off(from);
        if let Some(pager) = pager {
            store(tail.iter_mut().collect(), pager);
        }
        while let Some(entry) = tail.pop_back() {
            if entry.is_hole() {
                self.holes -= 1;
                continue;
            }
            self.left(&entry);
            self.backlog.push_front(entry);
        }
        self.shrink();
    }

    /// Gives up the memory that the window does not need any more.
    pub(super) fn shrink(&mut self) {
        const KEPT: usize = 4096;
        if self.window.capacity() > KEPT && self.window.len() < self.window.capacity() / 4 {
            self.window.shrink_to(KEPT.max(self.window.len() * 2));
        }
    }

    /// Stores messages that no log has, those that would be delivered last first, as long as
    /// `pager` goes on; `kept` stay at the head of the window. What a log has leaves memory.
    pub(super) fn page_out(&mut self, kept: usize, pager: &mut Pager<'_>) {
        self.backlog.page_out(pager);
        while self.window.len() > kept && pager.goes_on() {
            let (mut from, mut bytes) = (self.window.len(), 0);
            let least = kept.max(from.saturating_sub(PAGED_AT_ONCE));
            while from > least && bytes < pager.bytes_left() {
                from -= 1;
                bytes += self.window[from].message.as_ref().map_or(0, Message::cost_bytes);
            }
            self.stow(from, Some(pager));
        }
        while kept == 0 && self.returned_residents > 0 && pager.goes_on() {
            let residents = self.returned.values_mut().rev().filter(|entry| entry.is_unlogged());
            let entries: Vec<&mut Entry> = residents.take(PAGED_AT_ONCE).collect();
            self.returned_residents -= entries.len();
            store(entries, pager);
        }
    }

    /// The positions of everything ready, in runs.
    pub(super) fn positions(&self) -> Vec<(Position, u64)> {
        let single = |entry: &Entry| entry.position.map(|position| (position, 1));
        let mut runs: Vec<(Position, u64)> =
            self.returned.values().chain(&self.window).filter_map(single).collect();
        self.backlog.positions(&mut runs);
        runs.dedup_by(|next, run| {
            let follows = run.0.plus(run.1) == next.0;
            if follows {
                run.1 += next.1;
            }
            follows
        });
        runs
    }

    /// Drops up to `count` messages, in no order. Returns how many.
    pub(super) fn drop_some(&mut self, count: usize) -> usize {
        let before = self.returned.len() + self.window.len();
        self.window.truncate(self.window.len().saturating_sub(count));
        for _ in 0..count.min(self.returned.len()) {
            self.returned.pop_last();
        }
        let dropped = before - (self.returned.len() + self.window.len());
        dropped + self.backlog.drop_some(count)
    }

    /// C-1, C-3: every arrival once, the window before the backlog, both ascending, and reads only
    /// for what is here and not in memory.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        let window: Vec<Arrival> = self.window.iter().map(|entry| entry.arrival).collect();
        let backlog = self.backlog.check();
        assert!(
            !self.window.front().is_some_and(Entry::is_hole),
            "the window begins with a message"
        );
        let holes = self.window.iter().filter(|entry| entry.is_hole()).count();
        assert_eq!(holes as u64, self.holes, "holes are counted");
        let entries = self.returned.values().chain(&self.window);
        let bytes = entries.map(|entry| u64::from(entry.bytes)).sum::<u64>();
        assert_eq!(bytes, self.bytes, "bytes are counted");
        let residents = self.returned.values().filter(|entry| entry.is_unlogged()).count();
        assert_eq!(residents, self.returned_residents, "what is in memory is counted");
        let in_order: Vec<Arrival> = window.iter().chain(&backlog).copied().collect();
        assert!(in_order.is_sorted_by(|a, b| a < b), "C-3: arrivals ascend: {in_order:?}");
        assert!(
            self.returned.keys().all(|arrival| window.binary_search(arrival).is_err()),
            "C-1: a returned message is nowhere else"
        );
        for arrival in self.reading.values() {
            let in_window = self.window.iter().find(|entry| entry.arrival == *arrival);
            let entry = self.returned.get(arrival).or(in_window);
            assert!(entry.is_some_and(|entry| entry.message.is_none()), "reads what is missing");
        }
    }
}

/// Stores those of `entries` that only memory has, in ascending order of arrivals or the reverse.
fn store(mut entries: Vec<&mut Entry>, pager: &mut Pager<'_>) {
    entries.retain(|entry| entry.is_unlogged());
    let messages: Vec<&Message> =
        entries.iter().filter_map(|entry| entry.message.as_ref()).collect();
    if messages.is_empty() {
        return;
    }
    let mut next = pager.store(&messages);
    for entry in entries {
        entry.position = Some(next);
        entry.message = None;
        next = next.plus(1);
    }
}

impl Entry {
    /// Where a message stood that was taken out.
    pub(super) const fn hole(arrival: Arrival) -> Self {
        Self {
            arrival,
            position: None,
            message: None,
            bytes: 0,
            attempts: 0,
            priority: 0,
            retained: false,
        }
    }

    /// Neither memory nor the log has it.
    pub(super) const fn is_hole(&self) -> bool {
        self.message.is_none() && self.position.is_none()
    }

    /// Only memory has it.
    const fn is_unlogged(&self) -> bool {
        self.message.is_some() && self.position.is_none()
    }
}
