//! Files of the operating system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation};

use super::{Disk, DiskFile};

/// A directory of the operating system.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    /// Open for `fsync` of the directory itself.
    directory: File,
    /// Otherwise nothing in it is meant to survive the process.
    syncs: bool,
}

impl RealDisk {
    /// Opens a directory, which is made when it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            std::fs::create_dir_all(path)?;
            // The name of a new directory is durable once its parent is synced.
            let absolute = std::path::absolute(path)?;
            if let Some(parent) = absolute.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { path: path.to_owned(), directory: File::open(path)?, syncs: true })
    }

    /// As [`RealDisk::open`], for what is not meant to survive the process: a sync does nothing.
    pub fn open_unsynced(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Ok(Self { path: path.to_owned(), directory: File::open(path)?, syncs: false })
    }

    /// Bytes of its file system that this process may still take.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::fstatvfs(&self.directory)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path_of(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        if bytes > 0
            && let Err(error) = allocate(&file, bytes, self.syncs)
        {
            std::fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(Arc::new(RealFile { file, syncs: self.syncs }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path_of(name))?;
        Ok(Arc::new(RealFile { file, syncs: self.syncs }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path_of(from), self.path_of(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path_of(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        if self.syncs { self.directory.sync_all() } else { Ok(()) }
    }
}

/// Takes the space now, so that a write within it cannot meet a full disk.
fn allocate(file: &File, bytes: u64, syncs: bool) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // A file system without allocation: its space is taken by writing.
        Err(rustix::io::Errno::OPNOTSUPP) => {
            static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
            let mut offset = 0;
            while offset < bytes {
                let part = usize::try_from(bytes - offset).unwrap_or(ZEROS.len()).min(ZEROS.len());
                file.write_all_at(&ZEROS[..part], offset)?;
                offset += part as u64;
            }
        }
        done => done?,
    }
    if syncs { file.sync_all() } else { Ok(()) }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    syncs: bool,
}

impl DiskFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.file.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    /// Left out of a build that exists to fail the proof of it (`tests/process/proof`), and of no
    /// other.
    fn sync(&self) -> io::Result<()> {
        if cfg!(trivium_without_sync) || !self.syncs { Ok(()) } else { self.file.sync_data() }
    }
}

/// Keeps a second process out of a data directory for as long as this one lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `directory`, by the file `lock` in it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when another process has it.
    pub fn take(directory: &Path) -> io::Result<Self> {
        let path = directory.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { _file: file })
    }
}
