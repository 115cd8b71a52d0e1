//! The reader of format 1: files that a broker wrote once, kept for ever.
//!
//! `fixtures/format-1/` holds the log's files after three runs, the last of which ended in order, and
//! `contents`, what is in the queues: queue, position, attempts, bytes of the body and its CRC-32, one
//! message a line. Between
//! them the files have records of every kind, queues named by number, a checkpoint, and survivors that
//! moved. A reader that no longer finds what is written there breaks with what users have on their disks:
//! the fixture never changes. `TRIVIUM_WRITE_FIXTURE=yes` wrote it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use trivium_store::DiskLog;
use trivium_store::disk::{Disk, SimulatedDisk};

use crate::damage::kind_of;
use crate::model::{Contents, contents};
use crate::run::{Run, Seen, codecs, on, read_all, small_segments};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

/// All that are written; 5 is reserved, 11 stands where damage was.
const KINDS: [u8; 9] = [1, 2, 3, 4, 6, 7, 8, 9, 10];

#[test]
fn what_format_1_wrote_is_read() {
    if std::env::var_os("TRIVIUM_WRITE_FIXTURE").is_some() {
        write_fixture();
    }
    let disk = SimulatedDisk::new();
    let mut kinds = BTreeSet::new();
    for entry in fixture().join("log").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = disk.create(name, bytes.len() as u64).unwrap();
        file.write_at(0, &bytes).unwrap();
        kinds.extend(crate::damage::kinds(&bytes));
    }
    disk.sync_directory().unwrap();
    assert_eq!(kinds, KINDS.into(), "records of every kind are in it");
    let (log, opened) = DiskLog::open(&on(&disk), small_segments(), codecs(), false).unwrap();
    assert!(opened.recovered.is_clean, "the last run ended in order");
    let expected = std::fs::read_to_string(fixture().join("contents")).unwrap();
    assert_eq!(written(&log, &contents(&opened.recovered)), expected);
}

/// One line a message.
fn written(log: &DiskLog, contents: &Contents) -> String {
    let bodies = read_all(log, contents);
    let mut text = String::new();
    for ((queue, position), attempts) in &contents.messages {
        let body = &bodies[&(*queue, *position)];
        let (bytes, crc) = (body.len(), crc32fast::hash(body));
        writeln!(text, "{} {position} {attempts} {bytes} {crc:08x}", queue.0).unwrap();
    }
    text
}

/// The first runs that leave records of every kind, and survivors that moved.
fn write_fixture() {
    let files = (0..).find_map(files_of).unwrap();
    std::fs::create_dir_all(fixture().join("log")).unwrap();
    for (name, bytes) in files {
        std::fs::write(fixture().join(name), bytes).unwrap();
    }
}

fn files_of(seed: u64) -> Option<Vec<(String, Vec<u8>)>> {
    let mut run = Run::new(seed);
    run.generations(3, &mut Seen::default());
    let disk = run.disk();
    let (log, opened) = DiskLog::open(&on(disk), small_segments(), codecs(), false).unwrap();
    let lines = written(&log, &contents(&opened.recovered));
    log.close();
    log.step(true).unwrap();
    drop(log);
    let (mut files, mut kinds) =
        (vec![("contents".to_owned(), lines.into_bytes())], BTreeSet::new());
    let names = disk.list().unwrap();
    for name in names.iter().filter(|name| kind_of(name) != "spare") {
        let file = disk.open(name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.bytes().unwrap()).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        kinds.extend(crate::damage::kinds(&bytes));
        files.push((format!("log/{name}"), bytes));
    }
    let has_survivors = names.iter().any(|name| kind_of(name) == "old");
    (has_survivors && kinds == KINDS.into()).then_some(files)
}
