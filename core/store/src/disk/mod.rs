//! What the log asks of a disk, so that it runs on real files, in memory, and on a disk that lies.
//!
//! Names are flat: one [`Disk`] is one directory. Nothing here is atomic but [`Disk::rename`], and
//! nothing is durable before the sync that covers it: [`DiskFile::sync`] for what a file holds,
//! [`Disk::sync_directory`] for which names there are.

mod real;
mod simulated;

use std::io;
use std::sync::Arc;

pub use real::{DirectoryLock, RealDisk};
pub use simulated::{Faults, SimulatedDisk};

/// One directory of files.
pub trait Disk: std::fmt::Debug + Send + Sync {
    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file that was not there, with `bytes` of zeros whose space is taken now.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] when there is no space; no file is left then.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what has that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Its space comes back once nobody has it open.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every name created, changed or removed before durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One file. Reads and writes at offsets, from any thread.
pub trait DiskFile: std::fmt::Debug + Send + Sync {
    /// Bytes in it.
    fn bytes(&self) -> io::Result<u64>;

    /// Writes all of `bytes`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `into`, or as much of it as the file has behind `offset`. Returns how much.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Cuts the file.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Makes everything written before durable, with what is needed to read it (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}

/// All of a file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(file.bytes()?).map_err(io::Error::other)?;
    let mut contents = vec![0; bytes];
    let read = file.read_at(0, &mut contents)?;
    contents.truncate(read);
    Ok(contents)
}
