//! What stands behind the window of a lane: positions in a log, in runs, and messages that no log
//! has. What is taken out of the middle leaves a hole.

use std::collections::{BTreeMap, VecDeque};

use super::lane::{Arrival, Entry};
use super::pager::{PAGED_AT_ONCE, Pager};
use super::run::{Pack, Run};
use crate::Message;
use crate::log::Position;

/// Runs that are packed together: unpacking them costs less than reading the first of them.
const PACKED: usize = 64;

#[derive(Debug)]
enum Stretch {
    Run(Run),
    Pack(Pack),
    /// A message that no log has.
    Resident(Entry),
}

const _: () = assert!(size_of::<Stretch>() <= 40, "a backlog may have many stretches");

/// See the module. Arrivals ascend.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    stretches: VecDeque<Stretch>,
    /// Holes included.
    count: u64,
    /// Bytes of bodies, those of `gone` included.
    bytes: u64,
    /// Messages that no log has, and bytes of their bodies.
    residents: u64,
    resident_bytes: u64,
    /// Of messages that no log had.
    holes: u64,
    /// Holes within runs, with what was known of their bytes.
    gone: BTreeMap<Arrival, u32>,
    gone_bytes: u64,
    /// So many stretches at the end are runs, not packed yet.
    loose: usize,
}

impl Backlog {
    /// Whether nothing is held, holes included.
    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Messages.
    pub(super) fn len(&self) -> u64 {
        self.count - self.holes - self.gone.len() as u64
    }

    /// Bytes of their bodies, as far as they are known.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes - self.gone_bytes
    }

    /// Messages in memory.
    pub(super) const fn residents(&self) -> u64 {
        self.residents
    }

    /// Bytes of their bodies.
    pub(super) const fn resident_bytes(&self) -> u64 {
        self.resident_bytes
    }

    /// The arrival of what stands first, hole or not.
    pub(super) fn first_arrival(&self) -> Option<Arrival> {
        self.stretches.front().map(Stretch::arrival)
    }

    /// Appends a message behind all others. What a log has is left to it.
    pub(super) fn push_back(&mut self, entry: Entry) {
        self.count += 1;
        self.bytes += u64::from(entry.bytes);
        if let Some(position) = entry.position {
            return self.append(Run::of(&entry, position));
        }
        self.residents += 1;
        self.resident_bytes += u64::from(entry.bytes);
        self.loose = 0;
        self.stretches.push_back(Stretch::Resident(entry));
    }

    fn append(&mut self, run: Run) {
        if let Some(Stretch::Run(last)) = self.stretches.back_mut()
            && last.is_before(&run)
        {
            last.count += run.count;
            last.bytes += run.bytes;
            return;
        }
        self.stretches.push_back(Stretch::Run(run));
        self.loose = (self.loose + 1).min(self.stretches.len());
        if self.loose > PACKED {
            self.pack();
        }
    }

    /// Packs the loose runs but the last one, which may grow.
    fn pack(&mut self) {
        let last = self.stretches.pop_back();
        let from = self.stretches.len() + 1 - self.loose;
        let run = |stretch| match stretch {
            Stretch::Run(run) => Some(run),
            Stretch::Pack(_) | Stretch::Resident(_) => None,
        };
        let runs: Vec<Run> = self.stretches.drain(from..).filter_map(run).collect();
        self.stretches.push_back(Stretch::Pack(Pack::of(&runs)));
        self.stretches.extend(last);
        self.loose = 1;
    }

    /// Puts a message before all others.
    pub(super) fn push_front(&mut self, entry: Entry) {
        self.count += 1;
        self.bytes += u64::from(entry.bytes);
        let Some(position) = entry.position else {
            self.residents += 1;
            self.resident_bytes += u64::from(entry.bytes);
            return self.stretches.push_front(Stretch::Resident(entry));
        };
        let mut run = Run::of(&entry, position);
        if let Some(Stretch::Run(first)) = self.stretches.front_mut()
            && run.is_before(first)
        {
            run.count += first.count;
            run.bytes += first.bytes;
            *first = run;
            return;
        }
        self.stretches.push_front(Stretch::Run(run));
    }

    /// Takes the first message.
    pub(super) fn pop_front(&mut self, priority: u8) -> Option<Entry> {
        loop {
            let entry = self.pop(priority)?;
            self.bytes -= u64::from(entry.bytes);
            if entry.is_hole() {
                self.holes -= 1;
            } else if let Some(share) = self.gone.remove(&entry.arrival) {
                self.gone_bytes -= u64::from(share);
            } else {
                return Some(entry);
            }
        }
    }

    fn pop(&mut self, priority: u8) -> Option<Entry> {
        if let Stretch::Pack(pack) = self.stretches.front()? {
            let runs = pack.runs();
            self.stretches.pop_front();
            runs.into_iter().rev().for_each(|run| self.stretches.push_front(Stretch::Run(run)));
        }
        self.count -= 1;
        if let Some(Stretch::Run(run)) = self.stretches.front_mut()
            && run.count > 1
        {
            return run.take_first(priority);
        }
        let first = self.stretches.pop_front()?;
        self.loose = self.loose.min(self.stretches.len());
        match first {
            Stretch::Run(run) => run.entry(run.arrival, priority),
            Stretch::Pack(_) => None,
            Stretch::Resident(entry) => {
                self.residents -= u64::from(!entry.is_hole());
                self.resident_bytes -= u64::from(entry.bytes);
                Some(entry)
            }
        }
    }

    /// Takes the message of that arrival.
    pub(super) fn remove(&mut self, wanted: Arrival, priority: u8) -> Option<Entry> {
        let behind = self.stretches.partition_point(|stretch| stretch.arrival() <= wanted);
        let mut entry = match self.stretches.get_mut(behind.checked_sub(1)?)? {
            Stretch::Resident(entry) => {
                if entry.arrival != wanted || entry.is_hole() {
                    return None;
                }
                let entry = std::mem::replace(entry, Entry::hole(wanted));
                self.holes += 1;
                self.bytes -= u64::from(entry.bytes);
                self.residents -= 1;
                self.resident_bytes -= u64::from(entry.bytes);
                return Some(entry);
            }
            Stretch::Run(run) => run.entry(wanted, priority)?,
            Stretch::Pack(pack) => {
                pack.runs().into_iter().find_map(|run| run.entry(wanted, priority))?
            }
        };
        if self.gone.contains_key(&wanted) {
            return None;
        }
        // Runs grow and shrink, and with them the share: together they take no more than all have.
        entry.bytes = entry.bytes.min(u32::try_from(self.bytes()).unwrap_or(u32::MAX));
        self.gone.insert(wanted, entry.bytes);
        self.gone_bytes += u64::from(entry.bytes);
        Some(entry)
    }

    /// The positions of all messages that a log has, in runs.
    pub(super) fn positions(&self, into: &mut Vec<(Position, u64)>) {
        for stretch in &self.stretches {
            match stretch {
                Stretch::Resident(_) => {}
                Stretch::Run(run) => self.positions_of(run, into),
                Stretch::Pack(pack) => {
                    pack.runs().iter().for_each(|run| self.positions_of(run, into));
                }
            }
        }
    }

    fn positions_of(&self, run: &Run, into: &mut Vec<(Position, u64)>) {
        let mut start = 0;
        for gone in self.gone.range(run.arrival..run.arrival + run.count).map(|(at, _)| at) {
            let offset = gone - run.arrival;
            into.extend((offset > start).then(|| (run.position.plus(start), offset - start)));
            start = offset + 1;
        }
        let left = run.count - start;
        into.extend((left > 0).then(|| (run.position.plus(start), left)));
    }

    /// Stores messages that no log has, the newest first, as long as `pager` goes on.
    pub(super) fn page_out(&mut self, pager: &mut Pager<'_>) {
        while self.residents > 0 && pager.goes_on() {
            self.page_some_out(pager);
        }
    }

    fn page_some_out(&mut self, pager: &mut Pager<'_>) {
        let (mut taken, mut found, mut bytes) = (Vec::new(), 0, 0);
        while (found as u64) < self.residents
            && found < PAGED_AT_ONCE
            && bytes < pager.bytes_left()
            && let Some(stretch) = self.stretches.pop_back()
        {
            if let Some(message) = stretch.message() {
                found += 1;
                bytes += message.cost_bytes();
            }
            taken.push(stretch);
        }
        let messages: Vec<&Message> = taken.iter().rev().filter_map(Stretch::message).collect();
        let mut next = pager.store(&messages);
        self.loose = 0;
        for stretch in taken.into_iter().rev() {
            match stretch {
                Stretch::Run(run) => self.append(run),
                Stretch::Resident(entry) if !entry.is_hole() => {
                    self.residents -= 1;
                    self.resident_bytes -= u64::from(entry.bytes);
                    self.append(Run::of(&entry, next));
                    next = next.plus(1);
                }
                other => {
                    self.loose = 0;
                    self.stretches.push_back(other);
                }
            }
        }
    }

    /// Drops up to `count` stretches of what will not be used any more. Returns how many.
    pub(super) fn drop_some(&mut self, count: usize) -> usize {
        let before = self.stretches.len();
        self.stretches.truncate(before.saturating_sub(count));
        before - self.stretches.len()
    }

    /// Counts hold, and arrivals ascend; returns them.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let (mut count, mut bytes, mut residents, mut resident_bytes, mut holes) = (0, 0, 0, 0, 0);
        for stretch in &self.stretches {
            let runs = match stretch {
                Stretch::Run(run) => vec![*run],
                Stretch::Pack(pack) => pack.runs(),
                Stretch::Resident(entry) => {
                    arrivals.push(entry.arrival);
                    count += 1;
                    bytes += u64::from(entry.bytes);
                    resident_bytes += u64::from(entry.bytes);
                    residents += u64::from(!entry.is_hole());
                    holes += u64::from(entry.is_hole());
                    continue;
                }
            };
            for run in runs {
                arrivals.push(run.arrival);
                count += run.count;
                bytes += run.bytes;
            }
        }
        assert_eq!((count, bytes, holes), (self.count, self.bytes, self.holes), "all is counted");
        let counted = (self.residents, self.resident_bytes);
        assert_eq!((residents, resident_bytes), counted, "what is in memory is counted");
        let gone: u64 = self.gone.values().map(|share| u64::from(*share)).sum();
        assert_eq!(gone, self.gone_bytes, "what is gone is counted");
        assert!(self.loose <= self.stretches.len(), "loose runs are some of the stretches");
        arrivals
    }
}

impl Stretch {
    fn arrival(&self) -> Arrival {
        match self {
            Self::Run(run) => run.arrival,
            Self::Pack(pack) => pack.arrival,
            Self::Resident(entry) => entry.arrival,
        }
    }

    fn message(&self) -> Option<&Message> {
        match self {
            Self::Run(_) | Self::Pack(_) => None,
            Self::Resident(entry) => entry.message.as_ref(),
        }
    }
}
