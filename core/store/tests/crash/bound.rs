//! What the disk takes while a slow queue pins old segments and another one moves many messages.
//!
//! `TRIVIUM_BOUND_MESSAGES=10000000 cargo test --release -p trivium-store --test crash bound -- --nocapture`
//! is the long run: on a real disk, with segments as they are by default.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use trivium_core::QueueId;
use trivium_core::log::{Log, Position, Publish, Settled};
use trivium_store::disk::{Disk, RealDisk, SimulatedDisk};
use trivium_store::{DiskLog, Options};

use crate::run::{codecs, message, on};

const SLOW: QueueId = QueueId(1);
const FAST: QueueId = QueueId(2);

/// Of so many messages one goes to the slow queue, where it stays.
const SLOW_EVERY: u64 = 100;

/// Messages that the fast queue has at a time.
const FAST_DEPTH: usize = 1000;

/// Messages in one step of the log.
const BATCH: u64 = 500;

#[test]
fn a_slow_queue_does_not_keep_the_disk_that_another_one_frees() {
    let messages = crate::number("TRIVIUM_BOUND_MESSAGES", 0);
    if messages == 0 {
        let options = Options { segment_bytes: 128 * 1024, ..Options::default() };
        let disk = SimulatedDisk::new();
        check(&on(&disk), options, 100_000, &[b'x'; 64]);
        return;
    }
    let folder = std::env::temp_dir().join(format!("trivium-bound-{}", std::process::id()));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&folder).unwrap());
    check(&disk, Options::default(), messages, &[b'x'; 128]);
    std::fs::remove_dir_all(folder).unwrap();
}

fn check(disk: &Arc<dyn Disk>, options: Options, messages: u64, body: &[u8]) {
    let (log, _) = DiskLog::open(disk, options, codecs(), false).unwrap();
    let message = message(body);
    // A message takes this, and a part of its record's header.
    let message_bytes = message.stored_bytes() as u64 + 8;
    let (mut slow, mut fast) = (0u64, VecDeque::new());
    let (mut highest, mut worst) = (0, 0.0f64);
    for step in 0..messages / BATCH {
        let queues: Vec<_> = (0..BATCH)
            .map(|at| [if (step * BATCH + at).is_multiple_of(SLOW_EVERY) { SLOW } else { FAST }])
            .collect();
        let publishes: Vec<_> = queues
            .iter()
            .map(|queues| Publish { message: &message, queues, received: None })
            .collect();
        let first = log.append(&publishes).get();
        for (position, queue) in (first..).zip(&queues) {
            if queue[0] == SLOW { slow += 1 } else { fast.push_back(position) }
        }
        let settled: Vec<_> = fast
            .drain(..fast.len().saturating_sub(FAST_DEPTH))
            .map(|position| Settled { queue: FAST, first: at(position), count: 1 })
            .collect();
        log.release(&settled);
        log.step(step % 16 == 0).unwrap();
        let live = (slow + fast.len() as u64) * message_bytes;
        let used = used_bytes(disk);
        let bound = 3 * live + 4 * options.segment_bytes;
        assert!(used < bound, "after {first} messages {used} bytes are taken, {live} are live");
        highest = highest.max(used);
        worst = worst.max(ratio(used, bound));
    }
    let live = (slow + fast.len() as u64) * message_bytes;
    let used = used_bytes(disk);
    let said = format!(
        "{messages} messages, {slow} stay: {live} bytes live, {used} taken at the end, {highest} at \
         most, {:.0} % of the bound at most\n",
        worst * 100.0
    );
    std::io::stdout().write_all(said.as_bytes()).unwrap();
}

fn at(position: u64) -> Position {
    Position(position.try_into().unwrap())
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with two digits")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn used_bytes(disk: &Arc<dyn Disk>) -> u64 {
    // A file may go between the list and the look.
    let bytes = |name: &String| disk.open(name).and_then(|file| file.bytes()).unwrap_or(0);
    disk.list().unwrap().iter().map(bytes).sum()
}
