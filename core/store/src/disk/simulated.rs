//! A disk in memory that can lie: it loses what was not synced, tears writes at sectors, fails
//! after so many operations, and runs full.
//!
//! A crash keeps every synced byte. Of what was written later to a file, each sector is kept or
//! lost on its own; of later changes to the directory, a prefix is kept, as journals do.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Writes, syncs and changes of names that still work; then everything fails.
    pub operations_left: Option<u64>,
    /// Bytes that files may have together.
    pub space_bytes: Option<u64>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Contents>,
    /// Names that survive a crash.
    synced_names: BTreeMap<String, usize>,
    /// Changes since, in order.
    changes: Vec<Change>,
    names: BTreeMap<String, usize>,
    faults: Faults,
    operations: u64,
    syncs: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Add(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct Contents {
    synced: Vec<u8>,
    now: Vec<u8>,
}

impl SimulatedDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, this goes wrong.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Writes, syncs and changes of names so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Syncs of files so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes that files have together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// Changes one byte of a file, durably, as a bad sector would. False when there is none there.
    #[must_use]
    pub fn corrupt(&self, name: &str, offset: usize) -> bool {
        let mut state = self.state();
        let Some(file) = state.names.get(name).copied() else { return false };
        let Contents { synced, now } = &mut state.files[file];
        let (Some(synced), Some(now)) = (synced.get_mut(offset), now.get_mut(offset)) else {
            return false;
        };
        *synced ^= 0x55;
        *now ^= 0x55;
        true
    }

    /// The disk as the next start finds it after the power failed. `keeps` is asked, for every
    /// sector and every change of names that was not synced, whether it made it.
    #[must_use]
    pub fn crash(&self, mut keeps: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut names = state.synced_names.clone();
        for change in &state.changes {
            if !keeps() {
                break;
            }
            change.apply(&mut names);
        }
        let files = state.files.iter().map(|contents| contents.crash(&mut keeps)).collect();
        let after = State { files, synced_names: names.clone(), names, ..State::default() };
        Self { state: Arc::new(Mutex::new(after)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Add(name, file) => {
                names.insert(name.clone(), *file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Contents {
    fn crash(&self, keeps: &mut impl FnMut() -> bool) -> Self {
        let grown = self.now.len() != self.synced.len() && keeps();
        let len = if grown { self.now.len() } else { self.synced.len() };
        let mut after = self.synced.clone();
        after.resize(len, 0);
        for (at, sector) in after.chunks_mut(SECTOR_BYTES).enumerate() {
            let start = at * SECTOR_BYTES;
            let end = (start + sector.len()).min(self.now.len());
            let Some(now) = self.now.get(start..end) else { break };
            let kept = &mut sector[..now.len()];
            if *kept != *now && keeps() {
                kept.copy_from_slice(now);
            }
        }
        Self { synced: after.clone(), now: after }
    }
}

impl State {
    fn used_bytes(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].now.len() as u64).sum()
    }

    /// Counts an operation. One that fails may still have happened, as with a real disk.
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        match &mut self.faults.operations_left {
            Some(0) => Err(io::Error::other("simulated failure of the disk")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        let outcome = self.operate();
        change.apply(&mut self.names);
        self.changes.push(change);
        outcome
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if state.faults.space_bytes.is_some_and(|space| state.used_bytes() + bytes > space) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = usize::try_from(bytes).map_err(io::Error::other)?;
        let file = state.files.len();
        state.files.push(Contents { synced: vec![0; len], now: vec![0; len] });
        state.change(Change::Add(name.to_owned(), file))?;
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        let file = state.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        drop(state);
        Ok(Arc::new(SimulatedFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.state().change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().change(Change::Remove(name.to_owned()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operate()?;
        state.synced_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    file: usize,
}

impl DiskFile for SimulatedFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].now.len() as u64)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.operate();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let now = &mut state.files[self.file].now;
        let end = start + bytes.len();
        if now.len() < end {
            now.resize(end, 0);
        }
        now[start..end].copy_from_slice(bytes);
        outcome
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let now = &state.files[self.file].now;
        let start = usize::try_from(offset).map_err(io::Error::other)?.min(now.len());
        let count = into.len().min(now.len() - start);
        into[..count].copy_from_slice(&now[start..start + count]);
        Ok(count)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.operate();
        let len = usize::try_from(bytes).map_err(io::Error::other)?;
        state.files[self.file].now.truncate(len);
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.operate()?;
        state.syncs += 1;
        let contents = &mut state.files[self.file];
        contents.synced.clone_from(&contents.now);
        Ok(())
    }
}
