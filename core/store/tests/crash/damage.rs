//! Damaged files: whatever stands in them, a start ends with an answer and never a panic, and what
//! `accept_loss` accepted is whole afterwards.
//!
//! Records are found and sealed as `FORMAT.md` says, by code of this test's own: half of the damage
//! is under a right checksum, so that what reads bodies meets bytes that nobody wrote.
//!
//! `TRIVIUM_DAMAGE_SEEDS=100000 cargo test --release -p trivium-store --test crash damage` runs more
//! seeds; a failure names its seed, and `TRIVIUM_DAMAGE_FIRST_SEED` begins there.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use trivium_store::disk::{Disk, SimulatedDisk};
use trivium_store::{DiskLog, OpenError};

use crate::model::contents;
use crate::run::{self, Run, codecs, on, read_all, small_segments};

const SEGMENT_HEADER_BYTES: usize = 64;
const HEADER_BYTES: usize = 24;

#[test]
fn whatever_stands_in_the_files_a_start_ends_with_an_answer() {
    let first = crate::number("TRIVIUM_DAMAGE_FIRST_SEED", 0);
    let (mut refused, mut lost) = (0, 0);
    for seed in first..first + crate::number("TRIVIUM_DAMAGE_SEEDS", 100) {
        let mut damage = Damage::new(seed);
        for _ in 0..=damage.below(3) {
            damage.apply();
        }
        let (was_refused, messages) = damage.check();
        refused += u64::from(was_refused);
        lost += messages;
    }
    if first == 0 {
        assert!(refused > 0 && lost > 0, "{refused} refused, {lost} lost: some damage was noticed");
    }
}

#[test]
fn a_segment_of_another_format_is_refused_whatever_is_accepted() {
    let mut damage = Damage::new(1);
    let name = damage.a_file().unwrap();
    let bytes = damage.files.get_mut(&name).unwrap();
    bytes[7] = 2;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let opened = DiskLog::open(&on(&damage.disk()), small_segments(), codecs(), true);
    assert_eq!(opened.err(), Some(OpenError::Format { file: name, format: 2 }));
}

/// The files of a log that ran for a while, and what is done to them.
struct Damage {
    seed: u64,
    random: ChaCha8Rng,
    files: BTreeMap<String, Vec<u8>>,
    /// Something that nobody wrote has a right checksum: what it means depends on what moves before
    /// the next start.
    is_forged: bool,
}

impl Damage {
    fn new(seed: u64) -> Self {
        let mut run = Run::new(seed);
        run.generations(2, &mut run::Seen::default());
        let disk = run.disk();
        let files = disk.list().unwrap().into_iter().map(|name| {
            let file = disk.open(&name).unwrap();
            let mut bytes = vec![0; usize::try_from(file.bytes().unwrap()).unwrap()];
            file.read_at(0, &mut bytes).unwrap();
            (name, bytes)
        });
        let random = ChaCha8Rng::seed_from_u64(!seed);
        Self { seed, files: files.collect(), random, is_forged: false }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.next_u32() as usize % bound
    }

    /// A file that counts.
    fn a_file(&mut self) -> Option<String> {
        let counts = |name: &&String| ["segment", "old"].contains(&kind_of(name));
        let names: Vec<_> = self.files.keys().filter(counts).cloned().collect();
        (!names.is_empty()).then(|| names[self.below(names.len())].clone())
    }

    fn apply(&mut self) {
        let Some(name) = self.a_file() else { return };
        let mut bytes = self.files.remove(&name).unwrap();
        match self.below(6) {
            0 if !bytes.is_empty() => {
                let at = self.below(bytes.len());
                bytes[at] ^= 1 << self.below(8);
            }
            1 => bytes.truncate(self.below(bytes.len() + 1)),
            2 if !bytes.is_empty() => {
                let from = self.below(bytes.len());
                let to = (from + self.below(1000)).min(bytes.len());
                bytes[from..to].fill(0);
            }
            _ => {
                self.is_forged = true;
                self.change_record(&mut bytes);
            }
        }
        self.files.insert(name, bytes);
    }

    /// Changes a record and gives it the right checksum.
    fn change_record(&mut self, bytes: &mut [u8]) {
        let records = records(bytes);
        if records.is_empty() {
            return;
        }
        let (at, len) = records[self.below(records.len())];
        let end = at + HEADER_BYTES + len;
        match self.below(8) {
            0 => bytes[at + 16] = u8::try_from(self.below(14)).unwrap(),
            1 => bytes[at + 17] ^= 1,
            2 => bytes[at + 20..at + 24].copy_from_slice(&self.random.next_u32().to_le_bytes()),
            3 => bytes[at + 8] ^= 1 << self.below(8),
            4 => {
                let len = u32::try_from(self.below(len + 1)).unwrap();
                bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
            }
            _ if len > 0 => {
                for _ in 0..=self.below(4) {
                    let byte = at + HEADER_BYTES + self.below(len.min(24));
                    bytes[byte] = u8::try_from(self.below(256)).unwrap();
                }
            }
            _ => {}
        }
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        seal(bytes, at, len);
        debug_assert!(at + HEADER_BYTES + len <= end);
    }

    /// A disk with these files.
    fn disk(&self) -> SimulatedDisk {
        let disk = SimulatedDisk::new();
        for (name, bytes) in &self.files {
            let file = disk.create(name, bytes.len() as u64).unwrap();
            file.write_at(0, bytes).unwrap();
            file.sync().unwrap();
        }
        disk.sync_directory().unwrap();
        disk
    }

    /// Starts on the damage. Returns whether that was refused, and how many messages were lost.
    fn check(self) -> (bool, u64) {
        let seed = self.seed;
        let disk = self.disk();
        let strict = DiskLog::open(&on(&disk), small_segments(), codecs(), false);
        let refused = match &strict {
            Ok(_) => false,
            Err(OpenError::Damaged { copy, .. }) => {
                assert!(disk.open(copy).is_ok(), "seed {seed}: there is a copy {copy}");
                true
            }
            Err(error) => panic!("seed {seed}: {error}"),
        };
        drop(strict);
        let opened = DiskLog::open(&on(&disk), small_segments(), codecs(), true);
        let (log, opened) = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(!refused || !opened.damaged.is_empty(), "seed {seed}: {refused}");
        let kept = contents(&opened.recovered);
        let bodies = read_all(&log, &kept);
        let is_whole = self.is_forged || kept.messages.keys().eq(bodies.keys());
        assert!(is_whole, "seed {seed}: what is kept can be read");
        log.close();
        for _ in 0..10 {
            log.step(true).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        drop(log);
        let again = DiskLog::open(&on(&disk), small_segments(), codecs(), false);
        let (_, again) = again.unwrap_or_else(|error| panic!("seed {seed}, accepted: {error}"));
        if !self.is_forged {
            assert_eq!(contents(&again.recovered), kept, "seed {seed}: accepted once");
        }
        (refused, opened.lost)
    }
}

/// What stands behind the number in a file's name.
pub(crate) fn kind_of(name: &str) -> &str {
    name.split_once('.').unwrap().1
}

/// Where the records of a segment begin, and how long their bodies are.
fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(header) = bytes.get(at..at + HEADER_BYTES) {
        let len = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        let is_sealed = bytes.get(at..at + HEADER_BYTES + len).is_some()
            && header[4..8] == checksum(bytes, at, len).to_le_bytes();
        if !is_sealed {
            break;
        }
        found.push((at, len));
        at += (HEADER_BYTES + len).next_multiple_of(8);
    }
    found
}

/// The kinds of records that are in a segment.
pub(crate) fn kinds(bytes: &[u8]) -> impl Iterator<Item = u8> {
    records(bytes).into_iter().map(|(at, _)| bytes[at + 16])
}

fn checksum(bytes: &[u8], at: usize, len: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[8..24]);
    hasher.update(&bytes[at..at + 4]);
    hasher.update(&bytes[at + 8..at + HEADER_BYTES + len]);
    hasher.finalize()
}

fn seal(bytes: &mut [u8], at: usize, len: usize) {
    let crc = checksum(bytes, at, len);
    bytes[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}
