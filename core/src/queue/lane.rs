//! Ready messages of one priority, oldest first: returned messages, a window in memory, and behind
//! it a backlog of which only positions are kept.
//!
//! Arrival numbers order everything. Returned messages stand where they stood; they never go back
//! into the backlog. The window's arrivals all precede the backlog's. What is taken out of the
//! middle leaves a hole, because closing it would cost time in proportion to the queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// A stretch of the backlog.
#[derive(Debug)]
enum Stretch {
    /// Adjacent in arrival and in position, delivered equally often; `bytes` of bodies together.
    Logged { arrival: Arrival, position: Position, count: u64, bytes: u64, attempts: u16 },
    /// A message that no log has.
    Resident(Entry),
}

/// The ready messages of one priority.
#[derive(Debug, Default)]
pub(super) struct Lane {
    priority: u8,
    returned: BTreeMap<Arrival, Entry>,
    /// The first entry is no hole.
    window: VecDeque<Entry>,
    backlog: VecDeque<Stretch>,
    /// Holes included.
    backlog_count: u64,
    /// Holes in window and backlog.
    holes: u64,
    /// Those of them within a logged stretch of the backlog.
    gone: BTreeSet<Arrival>,
    /// Bytes of the bodies of all that is ready.
    bytes: u64,
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

impl Lane {
    pub(super) fn new(priority: u8) -> Self {
        Self { priority, ..Self::default() }
    }

    /// Messages ready.
    pub(super) fn len(&self) -> u64 {
        self.returned.len() as u64 + self.window.len() as u64 + self.backlog_count - self.holes
    }

    /// Bytes of their bodies.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
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
        self.bytes += u64::from(entry.bytes);
        if self.backlog.is_empty() && !(page && entry.position.is_some()) {
            return self.window.push_back(entry);
        }
        self.backlog_count += 1;
        let Some(position) = entry.position.filter(|_| page) else {
            return self.backlog.push_back(Stretch::Resident(entry));
        };
        let entry_bytes = u64::from(entry.bytes);
        let entry_attempts = entry.attempts;
        if let Some(Stretch::Logged { arrival, position: first, count, bytes, attempts }) =
            self.backlog.back_mut()
            && *arrival + *count == entry.arrival
            && first.plus(*count) == position
            && *attempts == entry_attempts
        {
            *count += 1;
            *bytes += entry_bytes;
            return;
        }
        let arrival = entry.arrival;
        let (count, bytes, attempts) = (1, entry_bytes, entry_attempts);
        self.backlog.push_back(Stretch::Logged { arrival, position, count, bytes, attempts });
    }

    /// Puts a delivered message back to where it stood.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.bytes += u64::from(entry.bytes);
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
            self.returned.pop_first().map(|(_, entry)| entry)
        } else if self.window.is_empty() {
            self.pop_backlog()
        } else {
            let entry = self.window.pop_front();
            self.trim();
            entry
        }?;
        self.left(&entry);
        Some(entry)
    }

    /// Takes the message of that arrival from wherever it stands.
    pub(super) fn remove(&mut self, arrival: Arrival) -> Option<Entry> {
        let entry = match self.returned.remove(&arrival) {
            Some(entry) => entry,
            None => match self.window.binary_search_by_key(&arrival, |entry| entry.arrival) {
                Ok(at) => self.take_from_window(at)?,
                Err(_) => self.take_from_backlog(arrival)?,
            },
        };
        self.left(&entry);
        Some(entry)
    }

    /// An entry is not ready any more.
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

    fn take_from_backlog(&mut self, wanted: Arrival) -> Option<Entry> {
        let behind = self.backlog.partition_point(|stretch| stretch.arrival() <= wanted);
        match self.backlog.get_mut(behind.checked_sub(1)?)? {
            Stretch::Resident(entry) => {
                if entry.arrival != wanted || entry.is_hole() {
                    return None;
                }
                self.holes += 1;
                Some(std::mem::replace(entry, Entry::hole(wanted)))
            }
            Stretch::Logged { arrival, position, count, bytes, attempts } => {
                let offset = wanted - *arrival;
                if offset >= *count || !self.gone.insert(wanted) {
                    return None;
                }
                self.holes += 1;
                let share = *bytes / *count;
                *bytes -= share;
                let attempts = *attempts;
                let entry = Entry::paged(wanted, self.priority, position.plus(offset), share);
                Some(Entry { attempts, ..entry })
            }
        }
    }

    /// Removes the holes at the head of the window.
    fn trim(&mut self) {
        while self.holes > 0 && self.window.pop_front_if(|entry| entry.is_hole()).is_some() {
            self.holes -= 1;
        }
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

    /// The first entry of the backlog that is no hole.
    fn pop_backlog(&mut self) -> Option<Entry> {
        loop {
            let entry = self.pop_stretch()?;
            if self.holes == 0 {
                return Some(entry);
            }
            if !entry.is_hole() && !self.gone.remove(&entry.arrival) {
                return Some(entry);
            }
            self.holes -= 1;
            self.bytes -= u64::from(entry.bytes);
        }
    }

    fn pop_stretch(&mut self) -> Option<Entry> {
        let front = self.backlog.front_mut()?;
        self.backlog_count -= 1;
        if let Stretch::Logged { arrival, position, count, bytes, attempts } = front
            && *count > 1
        {
            let share = *bytes / *count;
            let paged = Entry::paged(*arrival, self.priority, *position, share);
            let entry = Entry { attempts: *attempts, ..paged };
            *arrival += 1;
            *position = position.plus(1);
            *count -= 1;
            *bytes -= u64::from(entry.bytes);
            return Some(entry);
        }
        match self.backlog.pop_front()? {
            Stretch::Resident(entry) => Some(entry),
            Stretch::Logged { arrival, position, bytes, attempts, .. } => {
                let paged = Entry::paged(arrival, self.priority, position, bytes);
                Some(Entry { attempts, ..paged })
            }
        }
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
        while let Some(entry) = self.window.pop_back() {
            if entry.is_hole() {
                self.holes -= 1;
                continue;
            }
            self.backlog_count += 1;
            let Some(position) = entry.position else {
                self.backlog.push_front(Stretch::Resident(entry));
                continue;
            };
            self.reading.remove(&position);
            let entry_bytes = u64::from(entry.bytes);
            if let Some(Stretch::Logged { arrival, position: first, count, bytes, attempts }) =
                self.backlog.front_mut()
                && entry.arrival + 1 == *arrival
                && position.plus(1) == *first
                && entry.attempts == *attempts
            {
                *arrival = entry.arrival;
                *first = position;
                *count += 1;
                *bytes += entry_bytes;
                continue;
            }
            let Entry { arrival, attempts, .. } = entry;
            let (count, bytes) = (1, entry_bytes);
            self.backlog.push_front(Stretch::Logged { arrival, position, count, bytes, attempts });
        }
        for entry in self.returned.values_mut().filter(|entry| entry.position.is_some()) {
            entry.message = None;
        }
    }

    /// The positions of everything ready, in runs.
    pub(super) fn positions(&self) -> Vec<(Position, u64)> {
        let single = |entry: &Entry| entry.position.map(|position| (position, 1));
        let mut runs: Vec<(Position, u64)> =
            self.returned.values().chain(&self.window).filter_map(single).collect();
        for stretch in &self.backlog {
            match stretch {
                Stretch::Resident(entry) => runs.extend(single(entry)),
                Stretch::Logged { arrival, position, count, .. } => {
                    let mut start = 0;
                    for gone in self.gone.range(*arrival..*arrival + *count) {
                        let offset = gone - arrival;
                        runs.extend(
                            (offset > start).then(|| (position.plus(start), offset - start)),
                        );
                        start = offset + 1;
                    }
                    runs.extend((*count > start).then(|| (position.plus(start), count - start)));
                }
            }
        }
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
        assert!(
            !self.window.front().is_some_and(Entry::is_hole),
            "the window begins with a message"
        );
        let resident_holes = self.backlog.iter().filter(|stretch| match stretch {
            Stretch::Resident(entry) => entry.is_hole(),
            Stretch::Logged { .. } => false,
        });
        let holes = self.window.iter().filter(|entry| entry.is_hole()).count()
            + resident_holes.count()
            + self.gone.len();
        assert_eq!(holes as u64, self.holes, "holes are counted");
        let entries = self.returned.values().chain(&self.window);
        let bytes = entries.map(|entry| u64::from(entry.bytes)).sum::<u64>()
            + self.backlog.iter().map(Stretch::bytes).sum::<u64>();
        assert_eq!(bytes, self.bytes, "bytes are counted");
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

    #[cfg(any(test, debug_assertions))]
    fn bytes(&self) -> u64 {
        match self {
            Self::Logged { bytes, .. } => *bytes,
            Self::Resident(entry) => entry.bytes.into(),
        }
    }
}

impl Entry {
    /// A message that only the log has, with its share of what is known of a stretch.
    fn paged(arrival: Arrival, priority: u8, position: Position, share: u64) -> Self {
        let bytes = u32::try_from(share).unwrap_or(u32::MAX);
        Self { arrival, priority, position: Some(position), bytes, ..Self::hole(arrival) }
    }

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
    const fn is_hole(&self) -> bool {
        self.message.is_none() && self.position.is_none()
    }
}
