//! What queues hold: the state that every record changes, the same way when it is written and when
//! it is read back.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use roaring::RoaringTreemap;
use trivium_core::QueueId;
use trivium_core::log::{InSession, Note, Position, RecoveredMark, RecoveredQueue};

use super::body::{self, CheckpointPart, Publish, ReadTargets};
use super::record::{Kind, Record};
use super::table::Segments;

/// Sets of queues that are known by number at a time: publishes name one of the last so many.
pub(crate) const TARGET_SETS_MAX: usize = 16;

/// What one queue holds.
#[derive(Debug, Default)]
struct Holdings {
    positions: RoaringTreemap,
    /// Of messages that went back.
    attempts: BTreeMap<u64, u16>,
    /// What is under way to an MQTT client.
    marks: BTreeMap<u64, Mark>,
    /// Packet identifiers that came to an MQTT session, with the positions they came at.
    received: BTreeMap<u16, u64>,
}

/// See [`RecoveredMark`].
#[derive(Clone, Copy, Debug)]
struct Mark {
    label: u16,
    qos: u8,
    released: bool,
}

impl Mark {
    const fn of(mark: &RecoveredMark) -> Self {
        Self { label: mark.label, qos: mark.qos, released: mark.released }
    }
}

impl Holdings {
    fn is_empty(&self) -> bool {
        self.positions.is_empty() && self.received.is_empty()
    }

    /// Forgets what a session knew at `floor`.
    fn forget_session(&mut self, floor: u64) {
        self.marks.retain(|position, _| *position > floor);
        self.received.retain(|_, position| *position > floor);
    }
}

/// The sets of queues that publishes name by number, the newest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetSets(VecDeque<(u64, Arc<[QueueId]>)>);

impl TargetSets {
    pub(crate) fn add(&mut self, number: u64, queues: Arc<[QueueId]>) {
        if self.0.len() == TARGET_SETS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((number, queues));
    }

    pub(crate) fn queues(&self, number: u64) -> Option<&Arc<[QueueId]>> {
        self.0.iter().rev().find(|(known, _)| *known == number).map(|(_, queues)| queues)
    }

    /// The number of a set that lists `queues`.
    pub(crate) fn number(&self, queues: &[QueueId]) -> Option<u64> {
        self.0.iter().rev().find(|(_, known)| **known == *queues).map(|(number, _)| *number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &[QueueId])> {
        self.0.iter().map(|(number, queues)| (*number, &**queues))
    }

    /// The queues of a publish.
    pub(crate) fn resolve(&self, targets: ReadTargets) -> Option<Arc<[QueueId]>> {
        match targets {
            ReadTargets::Listed(queues) => Some(queues.into()),
            ReadTargets::Set(number) => self.queues(number).cloned(),
        }
    }
}

/// A checkpoint that was begun and not yet read to its end.
#[derive(Debug)]
struct Unfinished {
    floor: u64,
    /// Queues that no part spoke of so far.
    silent: HashSet<QueueId>,
    /// Those of which no part said what the session knows.
    silent_sessions: HashSet<QueueId>,
}

/// The state of the log: what is live in which queue.
#[derive(Debug, Default)]
pub(crate) struct Live {
    queues: HashMap<QueueId, Holdings>,
    pub(crate) sets: TargetSets,
    /// The last position given out.
    pub(crate) last: u64,
    /// Messages published, counted once a queue, until somebody takes the number.
    pub(crate) routed: u64,
    unfinished: Option<Unfinished>,
}

impl Live {
    /// Takes a record. Counts in `segments` follow. `None` for a body that no writer makes.
    pub(crate) fn apply(&mut self, record: &Record<'_>, segments: &mut Segments) -> Option<()> {
        match record.kind {
            Kind::Publish => self.publish(record, segments)?,
            Kind::Targets => {
                let (number, queues) = body::target_set(record.body)?;
                self.sets.add(number, queues.into());
            }
            Kind::Settle => {
                for run in body::settled(record.body)? {
                    self.settle(run.queue, run.first.get(), run.end(), segments);
                }
            }
            Kind::Requeue => {
                for entry in body::attempted(record.body)? {
                    let position = entry.position.get();
                    if let Some(holdings) = self.queues.get_mut(&entry.queue)
                        && holdings.positions.contains(position)
                    {
                        holdings.attempts.insert(position, entry.attempts);
                    }
                }
            }
            Kind::Session => {
                for note in body::notes(record.body)? {
                    self.note(note, record.position);
                }
            }
            Kind::Transaction => {
                for part in body::parts(record.body)? {
                    self.apply(&part, segments)?;
                }
            }
            Kind::Checkpoint => {
                self.checkpoint(record.position, CheckpointPart::parse(record.body)?)?;
            }
            Kind::Commit | Kind::Seal | Kind::Closed | Kind::Filler => {}
        }
        self.last = self.last.max(record.position);
        Some(())
    }

    fn publish(&mut self, record: &Record<'_>, segments: &mut Segments) -> Option<()> {
        let publish = Publish::parse(record)?;
        let last = (publish.first + u64::from(publish.count)).checked_sub(1)?;
        if publish.count == 0 {
            return Some(());
        }
        let queues = self.sets.resolve(publish.targets.clone())?;
        let mut added = 0;
        for queue in &*queues {
            let holdings = self.queues.entry(*queue).or_default();
            added += holdings.positions.insert_range(publish.first..=last);
        }
        if let Some((session, packet_ids)) = publish.received {
            let holdings = self.queues.entry(session).or_default();
            holdings.received.extend(packet_ids.into_iter().map(|id| (id, publish.first)));
        }
        self.routed += added;
        if let (Some(segment), _) = segments.of_mut(publish.first) {
            segment.live += added;
            segment.published += added;
        }
        self.last = self.last.max(last);
        Some(())
    }

    fn note(&mut self, note: Note, at: u64) {
        match note.what {
            InSession::Sent { position, label, qos, released } => {
                if let Some(holdings) = self.queues.get_mut(&note.session)
                    && holdings.positions.contains(position.get())
                {
                    let mark = Mark { label, qos, released };
                    holdings.marks.insert(position.get(), mark);
                }
            }
            InSession::Received(packet_id) => {
                let holdings = self.queues.entry(note.session).or_default();
                holdings.received.insert(packet_id, at);
            }
            InSession::Released(packet_id) => {
                if let Some(holdings) = self.queues.get_mut(&note.session) {
                    holdings.received.remove(&packet_id);
                    self.forget_empty(note.session);
                }
            }
            InSession::Ended => {
                if let Some(holdings) = self.queues.get_mut(&note.session) {
                    holdings.received.clear();
                    holdings.marks.clear();
                    self.forget_empty(note.session);
                }
            }
        }
    }

    fn forget_empty(&mut self, queue: QueueId) {
        if self.queues.get(&queue).is_some_and(Holdings::is_empty) {
            self.queues.remove(&queue);
        }
    }

    /// Removes the positions from `first` up to but without `end`.
    fn settle(&mut self, queue: QueueId, mut first: u64, end: u64, segments: &mut Segments) {
        let Some(holdings) = self.queues.get_mut(&queue) else { return };
        if !holdings.attempts.is_empty() {
            holdings.attempts.retain(|position, _| !(first..end).contains(position));
        }
        if !holdings.marks.is_empty() {
            holdings.marks.retain(|position, _| !(first..end).contains(position));
        }
        while first < end {
            let (segment, last) = segments.of_mut(first);
            let last = last.min(end - 1);
            let removed = holdings.positions.remove_range(first..=last);
            if let Some(segment) = segment {
                segment.live -= removed;
            }
            let Some(next) = last.checked_add(1) else { break };
            first = next;
        }
        self.forget_empty(queue);
    }

    /// Only when read back: the state that a checkpoint writes is the state there is.
    fn checkpoint(&mut self, floor: u64, part: CheckpointPart) -> Option<()> {
        match part {
            CheckpointPart::Begin => {
                let silent: HashSet<_> = self.queues.keys().copied().collect();
                let silent_sessions = silent.clone();
                self.unfinished = Some(Unfinished { floor, silent, silent_sessions });
            }
            // Nothing beyond the last position given out can be live.
            CheckpointPart::Queue { high, .. } if high > floor => return None,
            CheckpointPart::Queue { queue, low, high, live, attempts } => {
                if let Some(unfinished) = &mut self.unfinished {
                    unfinished.silent.remove(&queue);
                }
                let holdings = self.queues.entry(queue).or_default();
                holdings.positions.remove_range(low..=high);
                holdings.attempts.retain(|position, _| !(low..=high).contains(position));
                for (first, count) in live {
                    holdings.positions.insert_range(first..first + count);
                }
                holdings.attempts.extend(attempts);
            }
            CheckpointPart::Session { queue, marks, received } => {
                if let Some(unfinished) = &mut self.unfinished {
                    unfinished.silent_sessions.remove(&queue);
                }
                let holdings = self.queues.entry(queue).or_default();
                holdings.forget_session(u64::MAX);
                let marks = marks.iter().map(|mark| (mark.position.get(), Mark::of(mark)));
                holdings.marks.extend(marks);
                holdings.received.extend(received);
            }
            CheckpointPart::End => {
                let Some(unfinished) = self.unfinished.take() else { return Some(()) };
                let Unfinished { floor, silent, silent_sessions } = unfinished;
                for queue in silent_sessions {
                    if let Some(holdings) = self.queues.get_mut(&queue) {
                        holdings.forget_session(floor);
                    }
                }
                for queue in silent {
                    if let Some(holdings) = self.queues.get_mut(&queue) {
                        holdings.positions.remove_range(..=floor);
                        holdings.attempts.retain(|position, _| *position > floor);
                    }
                }
                self.queues.retain(|_, holdings| !holdings.is_empty());
            }
        }
        Some(())
    }

    /// The positions within `ranges`, both ends included, that a queue holds.
    pub(crate) fn among(&self, ranges: &[(u64, u64)]) -> RoaringTreemap {
        let mut within = RoaringTreemap::new();
        for (first, last) in ranges {
            within.insert_range(*first..=*last);
        }
        let (low, high) = (within.min().unwrap_or(u64::MAX), within.max().unwrap_or(0));
        let mut live = RoaringTreemap::new();
        for positions in self.queues.values().map(|holdings| &holdings.positions) {
            let is_near = positions.min().is_some_and(|first| first <= high)
                && positions.max().is_some_and(|last| last >= low);
            if is_near {
                live |= positions & &within;
            }
        }
        live
    }

    /// The queues that hold something.
    pub(crate) fn queue_ids(&self) -> Vec<QueueId> {
        self.queues.keys().copied().collect()
    }

    /// A part of a checkpoint: what `queue` holds from `low` on, at most `runs_max` runs of it.
    /// `None` when it holds nothing at all any more.
    pub(crate) fn part(&self, queue: QueueId, low: u64, runs_max: usize) -> Option<CheckpointPart> {
        let holdings = self.queues.get(&queue)?;
        let mut positions = holdings.positions.iter();
        positions.advance_to(low);
        let mut live: Vec<(u64, u64)> = Vec::new();
        let mut high = self.last;
        for position in positions {
            if let Some((first, count)) = live.last_mut()
                && *first + *count == position
            {
                *count += 1;
            } else if live.len() == runs_max {
                high = position - 1;
                break;
            } else {
                live.push((position, 1));
            }
        }
        let attempts = holdings.attempts.range(low..=high.max(low));
        let attempts = attempts.map(|(position, attempts)| (*position, *attempts)).collect();
        Some(CheckpointPart::Queue { queue, low, high: high.max(low), live, attempts })
    }

    /// The part of a checkpoint that says what the session whose queue is `queue` knows; `None` for
    /// nothing.
    pub(crate) fn session_part(&self, queue: QueueId) -> Option<CheckpointPart> {
        let holdings = self.queues.get(&queue)?;
        let marks: Vec<_> = holdings.marks.iter().map(recovered_mark).collect();
        let received = holdings.received.iter().map(|(packet_id, at)| (*packet_id, *at));
        let received: Vec<_> = received.collect();
        let is_something = !marks.is_empty() || !received.is_empty();
        is_something.then_some(CheckpointPart::Session { queue, marks, received })
    }

    /// Keeps only what `present` has: the rest was lost with a damaged file. Returns what that was.
    pub(crate) fn keep_only(&mut self, present: &RoaringTreemap) -> RoaringTreemap {
        let mut lost = RoaringTreemap::new();
        for holdings in self.queues.values_mut() {
            lost |= &holdings.positions - present;
            holdings.positions &= present;
            let positions = &holdings.positions;
            holdings.attempts.retain(|position, _| positions.contains(*position));
            holdings.marks.retain(|position, _| present.contains(*position));
        }
        self.queues.retain(|_, holdings| !holdings.is_empty());
        lost
    }

    /// Counts what is live in each segment.
    pub(crate) fn count(&self, segments: &mut Segments) {
        for holdings in self.queues.values() {
            for (mut first, count) in runs(&holdings.positions) {
                let end = first + count;
                while first < end {
                    let (segment, last) = segments.of_mut(first);
                    let stop = last.saturating_add(1).min(end);
                    if let Some(segment) = segment {
                        segment.live += stop - first;
                    }
                    first = stop;
                }
            }
        }
    }

    /// What the broker starts with.
    pub(crate) fn recovered(&self) -> Vec<RecoveredQueue> {
        let mut queues: Vec<_> = self
            .queues
            .iter()
            .map(|(queue, holdings)| RecoveredQueue {
                queue: *queue,
                runs: runs(&holdings.positions).map(|(first, n)| (position(first), n)).collect(),
                attempts: holdings.attempts.iter().map(|(at, n)| (position(*at), *n)).collect(),
                marks: holdings.marks.iter().map(recovered_mark).collect(),
                received: holdings.received.keys().copied().collect(),
            })
            .collect();
        queues.sort_by_key(|queue| queue.queue);
        queues
    }
}

fn position(position: u64) -> Position {
    Position(position.try_into().expect("publishes begin at position 1"))
}

fn recovered_mark((at, mark): (&u64, &Mark)) -> RecoveredMark {
    let Mark { label, qos, released } = *mark;
    RecoveredMark { position: position(*at), label, qos, released }
}

/// Runs of consecutive positions, ascending.
fn runs(positions: &RoaringTreemap) -> impl Iterator<Item = (u64, u64)> {
    let mut positions = positions.iter().peekable();
    std::iter::from_fn(move || {
        let first = positions.next()?;
        let mut count = 1;
        while positions.next_if_eq(&(first + count)).is_some() {
            count += 1;
        }
        Some((first, count))
    })
}
