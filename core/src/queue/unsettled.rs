//! Deliveries that wait for their settlement: a slab, so that settling one is O(1) in any order
//! and a consumer that never answers pins nothing but its own entries.

use super::lane::Arrival;
use super::pager::{PAGED_AT_ONCE, Pager};
use crate::log::Position;
use crate::{Instant, Message};

/// One unsettled delivery: at most 32 bytes (architecture, section 3), because a million of them
/// may wait on one channel.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) arrival: Arrival,
    pub(super) position: Option<Position>,
    /// `None` when the log has it.
    pub(super) message: Option<Message>,
    /// The place of its taker among the queue's takers.
    pub(super) taker: u32,
    pub(super) attempts: u16,
    pub(super) priority: u8,
    pub(super) retained: bool,
}

const _: () = assert!(size_of::<Unsettled>() <= 32, "an unsettled entry is at most 32 bytes");

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// When it was delivered, in [`Slab::TICK_MS`].
    since: u32,
    entry: Option<Unsettled>,
}

/// The unsettled deliveries of one queue.
#[derive(Debug, Default)]
pub(super) struct Slab {
    slots: Vec<Slot>,
    free: Vec<u32>,
    count: usize,
    /// How many have their message in memory because no log has it.
    residents: usize,
}

impl Slab {
    /// How finely it is known when something was delivered, in milliseconds.
    const TICK_MS: u64 = 256;

    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Keeps `entry`; returns its place and which use of that place it is.
    pub(super) fn insert(&mut self, entry: Unsettled, now: Instant) -> (u32, u32) {
        self.count += 1;
        self.residents += usize::from(entry.message.is_some());
        let since = u32::try_from(now.as_millis() / Self::TICK_MS).unwrap_or(u32::MAX);
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.entry = Some(entry);
            slot.since = since;
            return (index, slot.generation);
        }
        let index = u32::try_from(self.slots.len()).expect("unsettled deliveries are capped");
        self.slots.push(Slot { generation: 0, since, entry: Some(entry) });
        (index, 0)
    }

    /// An entry, unless that use of the place is over.
    pub(super) fn entry(&self, index: u32, generation: u32) -> Option<&Unsettled> {
        let slot = self.slots.get(index as usize)?;
        slot.entry.as_ref().filter(|_| slot.generation == generation)
    }

    /// Takes an entry out; `None` when that use of the place is over.
    pub(super) fn remove(&mut self, index: u32, generation: u32) -> Option<Unsettled> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.generation != generation {
            return None;
        }
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        self.count -= 1;
        self.residents -= usize::from(entry.message.is_some());
        if self.count == 0 {
            self.shrink();
        }
        Some(entry)
    }

    /// Takes out everything that `taker` has not settled, each with its place.
    pub(super) fn remove_of(&mut self, taker: u32) -> Vec<(u32, Unsettled)> {
        let is_its = |slot: &Slot| slot.entry.as_ref().is_some_and(|entry| entry.taker == taker);
        let found: Vec<(u32, u32)> = (0u32..)
            .zip(&self.slots)
            .filter(|(_, slot)| is_its(slot))
            .map(|(index, slot)| (index, slot.generation))
            .collect();
        let remove = |(index, generation)| Some((index, self.remove(index, generation)?));
        found.into_iter().filter_map(remove).collect()
    }

    /// Stores messages that no log has, as long as `pager` goes on: what is delivered again is read
    /// again.
    pub(super) fn page_out(&mut self, pager: &mut Pager<'_>) {
        let is_resident =
            |slot: &&mut Slot| slot.entry.as_ref().is_some_and(|entry| entry.message.is_some());
        while self.residents > 0 && pager.goes_on() {
            let slots = self.slots.iter_mut().filter(is_resident).take(PAGED_AT_ONCE);
            let entries = slots.filter_map(|slot| slot.entry.as_mut());
            let entries: Vec<&mut Unsettled> = entries.collect();
            self.residents -= entries.len();
            let messages: Vec<&Message> =
                entries.iter().filter_map(|entry| entry.message.as_ref()).collect();
            let mut next = pager.store(&messages);
            for entry in entries {
                entry.position = Some(next);
                entry.message = None;
                next = next.plus(1);
            }
        }
    }

    /// How many have their message in memory because no log has it.
    pub(super) const fn residents(&self) -> usize {
        self.residents
    }

    /// Takes out everything.
    pub(super) fn remove_all(&mut self) -> Vec<Unsettled> {
        self.count = 0;
        self.residents = 0;
        self.free.clear();
        std::mem::take(&mut self.slots).into_iter().filter_map(|slot| slot.entry).collect()
    }

    /// Everything that waits, with the time of its delivery, a tick late at most.
    pub(super) fn by_time(&self) -> impl Iterator<Item = (Instant, &Unsettled)> {
        self.slots.iter().filter_map(|slot| {
            let since = Instant::from_millis((u64::from(slot.since) + 1) * Self::TICK_MS);
            slot.entry.as_ref().map(|entry| (since, entry))
        })
    }

    /// Everything that waits.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Unsettled> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    /// An empty slab that once was large gives its memory back but for the generations' sake: a
    /// place may only be reused under a generation it never had, so they go on from the highest.
    fn shrink(&mut self) {
        const KEPT: usize = 1024;
        if self.slots.len() <= KEPT {
            return;
        }
        let next = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(0).wrapping_add(1);
        self.slots.truncate(KEPT);
        self.slots.shrink_to_fit();
        for slot in &mut self.slots {
            slot.generation = next;
        }
        self.free = (0..u32::try_from(KEPT).unwrap_or(0)).rev().collect();
    }
}
