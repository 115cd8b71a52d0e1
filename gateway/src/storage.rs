//! The data directory: the broker that goes on where the last one ended, and what keeps it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{info, warn};
use trivium_core::log::{Codecs, Log, LogEvents};
use trivium_core::{Broker, Limits};
use trivium_store::disk::{DirectoryLock, Disk, RealDisk};
use trivium_store::{
    DiskCatalogue, DiskLog, Failure, OpenError, Opened, Options, Progress, SyncMode,
};

use crate::config::Keeping;
use crate::fault::Fault;

/// What `DIR/format` says of this version.
const FORMAT: &str = "trivium 1\n";

/// Why a data directory cannot be used. `Display` is the line an operator reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another process uses it.
    #[error("data directory {0}: another process uses it")]
    Taken(String),
    /// It was written by another version.
    #[error("data directory {directory}: its format is {format:?}, this version knows {FORMAT:?}")]
    Format {
        /// The directory.
        directory: String,
        /// As it says.
        format: String,
    },
    /// The operating system said no.
    #[error("data directory {0}: {1}")]
    Io(String, io::Error),
    /// The log in it cannot be opened.
    #[error("data directory {0}: {1}; --accept-loss starts without what cannot be read")]
    Damaged(String, OpenError),
    /// The log in it cannot be opened.
    #[error("data directory {0}: {1}")]
    Log(String, OpenError),
    /// The catalogue in it cannot be opened.
    #[error("data directory {0}: {1}")]
    Catalogue(String, Failure),
}

/// How a data directory is opened.
#[derive(Debug)]
pub(crate) struct Opening {
    /// How it is kept.
    pub(crate) keeping: Keeping,
    /// What cannot be read is passed over.
    pub(crate) accept_loss: bool,
    /// Who hears of a disk that failed.
    pub(crate) fault: Fault,
}

/// What keeps the messages of a broker; closed by [`Storage::close`].
#[derive(Debug)]
pub(crate) struct Storage {
    log: Arc<DiskLog>,
    /// Where messages go that memory is too short for; `None` when the disk had no space for it.
    spill: Option<(Arc<DiskLog>, PathBuf)>,
    /// Said to be full.
    was_full: AtomicBool,
    catalogue: Arc<DiskCatalogue>,
    root: RealDisk,
    free_bytes_min: u64,
    _lock: DirectoryLock,
}

impl Storage {
    /// Opens `directory`, which is made when it is not there, and the broker in it. `started_at` is
    /// the Unix time of the gateway's start, in milliseconds.
    pub(crate) fn open(
        directory: &Path,
        Opening { keeping, accept_loss, fault }: Opening,
        limits: Limits,
        (seed, started_at): (u64, u64),
    ) -> Result<(Arc<Broker>, Self), StorageError> {
        let begun = Instant::now();
        let io_error = |error| StorageError::Io(directory.display().to_string(), error);
        let root = RealDisk::open(directory).map_err(io_error)?;
        let lock = DirectoryLock::take(directory).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StorageError::Taken(directory.display().to_string()),
            _ => StorageError::Io(directory.display().to_string(), error),
        })?;
        check_format(directory, &root)?;
        info!(data = %directory.display(), "reading the data directory");
        let disk = RealDisk::open(&directory.join("log")).map_err(io_error)?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let mut watch = report_progress(begun);
        let opened =
            DiskLog::open_watched(&disk, keeping.log, codecs(started_at), accept_loss, &mut watch);
        let (log, opened) = opened.map_err(|error| refusal(directory, error))?;
        report_damage(&opened);
        let path = directory.join("catalogue.redb");
        let (catalogue, stored) = DiskCatalogue::open(&path, ending(&fault))
            .map_err(|failure| StorageError::Catalogue(directory.display().to_string(), failure))?;
        root.sync_directory().map_err(io_error)?;
        let (broker, restored) = Broker::restore(
            (log.clone(), opened.recovered),
            (catalogue.clone(), stored),
            limits,
            (codecs(started_at), seed),
        );
        log.start(ending(&fault));
        // What it said before there was somebody to hear it.
        broker.full(log.is_full());
        let spill = open_spill(&broker, directory.join("spill"), codecs(started_at), &fault)
            .map_err(|error| StorageError::Log(directory.display().to_string(), error))?;
        if restored.passed_over > 0 {
            let count = restored.passed_over;
            warn!(count, "exchanges or bindings that this version cannot make are passed over");
        }
        if restored.orphans > 0 {
            info!(messages = restored.orphans, "messages of queues that ended are dropped");
        }
        info!(
            queues = restored.queues,
            sessions = restored.sessions,
            retained = restored.retained,
            messages = restored.messages,
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "recovered"
        );
        let (free_bytes_min, was_full) = (keeping.free_bytes_min, AtomicBool::new(false));
        Ok((broker, Self { log, spill, was_full, catalogue, root, free_bytes_min, _lock: lock }))
    }

    /// Tells the broker whether the disk is nearly full. Of a log without space it knows already.
    pub(crate) fn watch(&self, broker: &Broker) {
        // A file system that does not say counts as one with space: the log knows when it has none.
        let free_bytes = self.root.free_bytes().unwrap_or(u64::MAX);
        broker.set_disk_alarm(free_bytes < self.free_bytes_min);
        let is_full = broker.alarms().disk;
        if self.was_full.swap(is_full, Ordering::Relaxed) != is_full {
            if is_full {
                warn!(
                    free_bytes,
                    free_bytes_min = self.free_bytes_min,
                    "the disk is full: publishers are held off until there is space"
                );
            } else {
                info!("the disk has space again");
            }
        }
    }

    /// Makes everything durable and notes that the broker ended in order. Blocks for a sync.
    pub(crate) fn close(&self) {
        self.catalogue.close();
        self.log.close();
        if let Some((spill, path)) = &self.spill {
            spill.close();
            if let Err(error) = std::fs::remove_dir_all(path) {
                warn!(%error, "what was paged out cannot be removed; the next start tries again");
            }
        }
    }
}

/// Gives the broker a second log, for what memory is too short for. Nothing in it survives a start,
/// so nothing in it is synced.
fn open_spill(
    broker: &Arc<Broker>,
    path: PathBuf,
    codecs: Codecs,
    fault: &Fault,
) -> Result<Option<(Arc<DiskLog>, PathBuf)>, OpenError> {
    let disk = RealDisk::open_unsynced(&path).map_err(|error| OpenError::Io {
        what: "open",
        file: path.display().to_string(),
        why: error.to_string(),
    })?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let options = Options {
        sync_mode: SyncMode::Os,
        segment_bytes: SPILL_SEGMENT_BYTES,
        backlog_bytes_max: SPILL_BACKLOG_BYTES_MAX,
        is_scratch: true,
        ..Options::default()
    };
    match DiskLog::open(&disk, options, codecs, false) {
        Ok((log, _)) => {
            broker.spill_to(log.clone());
            log.start(ending(fault));
            Ok(Some((log, path)))
        }
        Err(OpenError::Failed(failure)) => {
            warn!(%failure, "messages cannot be paged out: memory alone holds what is not persistent");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Taken twice at every start.
const SPILL_SEGMENT_BYTES: u64 = 16 * 1024 * 1024;

/// Bytes that wait to be written before publishers wait: they count as memory.
const SPILL_BACKLOG_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The adapters' codecs, for messages that come from the disk.
fn codecs(started_at: u64) -> Codecs {
    let (amqp, stomp) = (trivium_amqp::PROPERTY_CODEC, trivium_stomp::PROPERTY_CODEC);
    Codecs::new([amqp, &trivium_mqtt::PROPERTY_CODEC, stomp], started_at)
}

/// A directory of another version is left alone.
fn check_format(directory: &Path, root: &RealDisk) -> Result<(), StorageError> {
    let io_error = |error| StorageError::Io(directory.display().to_string(), error);
    let path = directory.join("format");
    match std::fs::read_to_string(&path) {
        Ok(format) if format == FORMAT => Ok(()),
        Ok(format) => {
            Err(StorageError::Format { directory: directory.display().to_string(), format })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = root.create("format.new", 0).or_else(|_| root.open("format.new"));
            let file = file.map_err(io_error)?;
            file.write_at(0, FORMAT.as_bytes()).map_err(io_error)?;
            file.sync().map_err(io_error)?;
            root.rename("format.new", "format").map_err(io_error)?;
            root.sync_directory().map_err(io_error)
        }
        Err(error) => Err(io_error(error)),
    }
}

/// The disk failed: what it holds is unknown, and nothing can be confirmed any more. The next start
/// finds out.
fn ending(fault: &Fault) -> impl FnOnce(Failure) + Send + 'static {
    let fault = fault.clone();
    move |failure| fault.raise(failure.to_string())
}

/// A start that takes long says every so often how far it is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

fn report_progress(begun: Instant) -> impl FnMut(Progress) {
    let mut last = begun;
    move |progress| {
        if last.elapsed() >= PROGRESS_EVERY {
            last = Instant::now();
            let Progress { files, files_read, bytes } = progress;
            let seconds = begun.elapsed().as_secs();
            info!(files_read, files, bytes, seconds, "still reading the data directory");
        }
    }
}

fn report_damage(opened: &Opened) {
    for (file, offset) in &opened.damaged {
        warn!(file, offset, "damaged; what could not be read is passed over, a copy is beside it");
    }
    if opened.lost > 0 {
        warn!(messages = opened.lost, "at most so many messages are lost with damaged files");
    }
}

fn refusal(directory: &Path, error: OpenError) -> StorageError {
    match error {
        OpenError::Damaged { .. } => {
            StorageError::Damaged(directory.join("log").display().to_string(), error)
        }
        _ => StorageError::Log(directory.display().to_string(), error),
    }
}
