//! A full disk: nothing more is taken in, settlements are, and draining frees it.

use trivium_core::QueueId;
use trivium_core::log::{Log, Position, Publish, Settled};
use trivium_store::DiskLog;
use trivium_store::disk::{Faults, SimulatedDisk};

use crate::model::contents;
use crate::run::{codecs, message, on, small_segments};

#[test]
fn a_full_disk_refuses_messages_until_it_is_drained() {
    let disk = SimulatedDisk::new();
    disk.set_faults(Faults { operations_left: None, space_bytes: Some(10 * 4096) });
    let (log, _) = DiskLog::open(&on(&disk), small_segments(), codecs(), false).unwrap();
    let body = message(&[7; 200]);
    let queues = [QueueId(1)];
    let mut kept = Vec::new();
    while !log.is_full() {
        kept.push(log.append(&[Publish { message: &body, queues: &queues, received: None }]).get());
        log.step(false).unwrap();
        assert!(kept.len() < 1000, "the disk runs full");
    }
    assert!(disk.used_bytes() <= 10 * 4096);

    // Nothing is lost, over a crash, too.
    let after = disk.crash(|| false);
    after.set_faults(Faults { operations_left: None, space_bytes: Some(10 * 4096) });
    let (log, opened) = DiskLog::open(&on(&after), small_segments(), codecs(), false).unwrap();
    let found: Vec<u64> = contents(&opened.recovered).messages.keys().map(|(_, at)| *at).collect();
    assert_eq!(found, kept);

    // Draining frees it.
    for position in kept {
        let first = Position(position.try_into().unwrap());
        log.release(&[Settled { queue: QueueId(1), first, count: 1 }]);
        log.step(true).unwrap();
    }
    for _ in 0..50 {
        log.step(true).unwrap();
    }
    assert!(!log.is_full());
    log.append(&[Publish { message: &body, queues: &queues, received: None }]);
    assert!(after.used_bytes() <= 4 * 4096, "{} bytes are left", after.used_bytes());
}
