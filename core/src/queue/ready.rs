//! What is ready in a queue, oldest first: returned messages, a window in memory, and behind it
//! a backlog of which only positions are kept.
//!
//! Arrival numbers order everything. Returned messages stand where they stood; they never go back
//! into the backlog. The window's arrivals all precede the backlog's.

use std::collections::{BTreeMap, VecDeque};

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
    /// How often it was delivered before.
    pub(super) attempts: u16,
    /// It is here because it was retained when the subscription was made.
    pub(super) retained: bool,
}

/// A stretch of the backlog.
#[derive(Debug)]
enum Stretch {
    /// Adjacent in arrival and in position.
    Logged { arrival: Arrival, position: Position, count: u64 },
    /// A message that no log has.
    Resident(Entry),
}

/// The ready messages of one queue.
#[derive(Debug, Default)]
pub(super) struct Ready {
    returned: BTreeMap<Arrival, Entry>,
    window: VecDeque<Entry>,
    backlog: VecDeque<Stretch>,
    backlog_count: u64,
    /// Reads under way, by position.
    reading: BTreeMap<Position, Arrival>,
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

impl Ready {
    /// Messages ready.
    pub(super) fn len(&self) -> u64 {
        self.returned.len() as u64 + self.window.len() as u64 + self.backlog_count
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
            return self.window.push_back(entry);
        }
        self.backlog_count += 1;
        let Some(position) = entry.position.filter(|_| page) else {
            return self.backlog.push_back(Stretch::Resident(entry));
        };
        if let Some(Stretch::Logged { arrival, position: first, count }) = self.backlog.back_mut()
            && *arrival + *count == entry.arrival
            && first.plus(*count) == position
        {
            *count += 1;
            return;
        }
        let arrival = entry.arrival;
        self.backlog.push_back(Stretch::Logged { arrival, position, count: 1 });
    }

    /// Puts a delivered message back to where it stood.
    pub(super) fn put_back(&mut self, entry: Entry) {
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

    /// The place in the order of what would be delivered next, if it is not in the backlog.
    pub(super) fn front_arrival(&self) -> Option<Arrival> {
        self.front_entry().map(|entry| entry.arrival)
    }

    fn returned_first(&self) -> bool {
        match (self.returned.first_key_value(), self.window.front()) {
            (Some((returned, _)), Some(entry)) => *returned < entry.arrival,
            (Some((returned, _)), None) => {
                self.backlog.front().is_none_or(|stretch| *returned < stretch.arrival())
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
            first.remove()
        } else {
            self.window.front()?.message.as_ref()?;
            self.window.pop_front()?
        };
        let message = entry.message.take()?;
        Some((entry, message))
    }

    /// Fills the window from the backlog up to `window_max`, and names what must be read for the
    /// window and for the returned messages at the head.
    pub(super) fn refill(&mut self, window_max: usize) -> Vec<Position> {
        let mut wanted = Vec::new();
        while self.window.len() < window_max
            && let Some(entry) = self.pop_backlog()
        {
            if let (None, Some(position)) = (&entry.message, entry.position) {
                self.reading.insert(position, entry.arrival);
                wanted.push(position);
            }
            self.window.push_back(entry);
        }
        let paged_first = self.returned_first()
            && self.returned.first_key_value().is_some_and(|(_, entry)| entry.message.is_none());
        let reach = if paged_first { window_max.max(1) } else { 0 };
        for (arrival, entry) in self.returned.iter().take(reach) {
            if let (None, Some(position)) = (&entry.message, entry.position)
                && self.reading.insert(position, *arrival).is_none()
            {
                wanted.push(position);
            }
        }
        wanted
    }

    fn pop_backlog(&mut self) -> Option<Entry> {
        let front = self.backlog.front_mut()?;
        self.backlog_count -= 1;
        if let Stretch::Logged { arrival, position, count } = front
            && *count > 1
        {
            let entry = Entry::paged(*arrival, *position);
            *arrival += 1;
            *position = position.plus(1);
            *count -= 1;
            return Some(entry);
        }
        match self.backlog.pop_front()? {
            Stretch::Resident(entry) => Some(entry),
            Stretch::Logged { arrival, position, .. } => Some(Entry::paged(arrival, position)),
        }
    }

    /// A read is done. False when nobody here waits for it any more.
    pub(super) fn read_done(&mut self, position: Position, message: Message) -> bool {
        let Some(arrival) = self.reading.remove(&position) else { return false };
        if let Some(entry) = self.returned.get_mut(&arrival) {
            entry.message = Some(message);
            return true;
        }
        let Ok(at) = self.window.binary_search_by_key(&arrival, |entry| entry.arrival) else {
            return false;
        };
        self.window[at].message = Some(message);
        true
    }

    /// Leaves to the log what it has: nobody here takes messages any more.
    pub(super) fn evict(&mut self) {
        while let Some(entry) = self.window.pop_back() {
            self.backlog_count += 1;
            let Some(position) = entry.position else {
                self.backlog.push_front(Stretch::Resident(entry));
                continue;
            };
            self.reading.remove(&position);
            if let Some(Stretch::Logged { arrival, position: first, count }) =
                self.backlog.front_mut()
                && entry.arrival + 1 == *arrival
                && position.plus(1) == *first
            {
                *arrival = entry.arrival;
                *first = position;
                *count += 1;
                continue;
            }
            let arrival = entry.arrival;
            self.backlog.push_front(Stretch::Logged { arrival, position, count: 1 });
        }
        for entry in self.returned.values_mut().filter(|entry| entry.position.is_some()) {
            entry.message = None;
        }
    }

    /// The positions of everything ready, in runs.
    pub(super) fn positions(&self) -> Vec<(Position, u64)> {
        let single = |entry: &Entry| entry.position.map(|position| (position, 1));
        let mut runs: Vec<(Position, u64)> = self
            .returned
            .values()
            .chain(&self.window)
            .filter_map(single)
            .chain(self.backlog.iter().filter_map(|stretch| match stretch {
                Stretch::Logged { position, count, .. } => Some((*position, *count)),
                Stretch::Resident(entry) => single(entry),
            }))
            .collect();
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
        let before = self.returned.len() + self.window.len() + self.backlog.len();
        self.backlog.truncate(self.backlog.len().saturating_sub(count));
        self.window.truncate(self.window.len().saturating_sub(count));
        for _ in 0..count.min(self.returned.len()) {
            self.returned.pop_last();
        }
        before - (self.returned.len() + self.window.len() + self.backlog.len())
    }

    /// C-1, C-3: every arrival once, the window before the backlog, both ascending, and reads only
    /// for what is here and not in memory.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) {
        let window: Vec<Arrival> = self.window.iter().map(|entry| entry.arrival).collect();
        let mut backlog = Vec::new();
        let mut count = 0;
        for stretch in &self.backlog {
            backlog.push(stretch.arrival());
            count += match stretch {
                Stretch::Logged { count, .. } => *count,
                Stretch::Resident(_) => 1,
            };
        }
        assert_eq!(count, self.backlog_count, "the backlog counts its messages");
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

impl Stretch {
    fn arrival(&self) -> Arrival {
        match self {
            Self::Logged { arrival, .. } => *arrival,
            Self::Resident(entry) => entry.arrival,
        }
    }
}

impl Entry {
    fn paged(arrival: Arrival, position: Position) -> Self {
        Self { arrival, position: Some(position), message: None, attempts: 0, retained: false }
    }
}
