//! The log on disk: segments of records, one thread that commits them in groups, a few that read.
//!
//! Reading order: `record` and `body` (the bytes; `FORMAT.md` has every one), `segment` (the
//! files), `table` (where positions are), `live` (what queues hold: the state that records change,
//! when they are written and when they are read back), `open` (where appends go), `commit` (from
//! there to the disk), `reclaim` and `survivors` (giving space back), `scan` and `recovery` (starting), `read`.
//!
//! # Invariants
//!
//! - **S-1** nothing is said to be durable before the sync that covers it returned. `tests/crash`.
//! - **S-2** what was durable and not settled is there after any crash; what was settled and
//!   durable is not. `tests/crash`.
//! - **S-3** a transaction is there whole or not at all. `tests/crash`.
//! - **S-4** a segment goes only when nothing in it is live and a durable checkpoint begun later
//!   has its settlements. `tests/crash`, with segments of a few kilobytes.
//! - **S-5** a failed write or sync is never tried again.

mod body;
mod commit;
mod live;
mod open;
mod read;
mod reclaim;
mod record;
mod recovery;
mod scan;
mod segment;
mod shared;
mod sizes;
mod survivors;
mod table;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use trivium_core::QueueId;
use trivium_core::log::{
    Attempted, Codecs, Log, LogEvents, Note, Position, Publish, Recovered, Settled,
};

pub use commit::Step;

use crate::disk::Disk;
use commit::Committer;
use open::OpenBatch;
use read::{Reader, Requests};
use reclaim::Reclaim;
use shared::Shared;
use survivors::Mover;

/// When something counts as safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// After the sync that covers it: survives a power cut.
    Group,
    /// After the write: survives the process, not the machine. Synced in the background.
    Os,
}

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// When something counts as safe.
    pub sync_mode: SyncMode,
    /// Bytes of a segment; files are taken in this size. At least 4 KiB.
    pub segment_bytes: u64,
    /// How long records that nobody waits for stay unsynced at most.
    pub sync_interval: Duration,
    /// Bytes that may wait to be written before publishers are held off. Half a segment or less, so
    /// that what waits when the disk runs full fits into the reserve.
    pub backlog_bytes_max: usize,
    /// Nothing is read by the next start: files are wiped by this one, and given back as soon as
    /// nothing in them is live.
    pub is_scratch: bool,
    /// Threads that read messages back.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_mode: SyncMode::Group,
            segment_bytes: 64 * 1024 * 1024,
            sync_interval: Duration::from_millis(200),
            backlog_bytes_max: 32 * 1024 * 1024,
            is_scratch: false,
            readers: 2,
        }
    }
}

/// The log cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    fn new(what: &str, file: &str, error: &io::Error) -> Self {
        Self(format!("cannot {what} {file}: {error}"))
    }

    pub(crate) fn of_catalogue(error: &redb::Error) -> Self {
        Self(format!("the catalogue cannot be used: {error}"))
    }

    pub(crate) fn foreign(file: &str) -> Self {
        Self(format!("{file} holds what this version cannot read"))
    }

    fn damaged(file: &str, offset: u64) -> Self {
        Self(format!("{file} is damaged at offset {offset}"))
    }

    fn ours(what: &str) -> Self {
        Self(format!("the log was about to write {what}: a defect of the broker"))
    }

    fn before() -> Self {
        Self("the log failed before".to_owned())
    }
}

/// The log cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The operating system said no.
    #[error("cannot {what} {file}: {why}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        file: String,
        /// As the system says it.
        why: String,
    },
    /// What was durable once is not readable.
    #[error(
        "{file} is damaged at offset {offset}; messages may be lost with it; {copy} is a copy of it"
    )]
    Damaged {
        /// The file, in the log's directory.
        file: String,
        /// Where in it.
        offset: u64,
        /// The copy that was made of it, in the same directory.
        copy: String,
    },
    /// A segment was written by another version of the broker.
    #[error("{file} has format {format} of the log; this version knows format 1")]
    Format {
        /// The file, in the log's directory.
        file: String,
        /// Its format.
        format: u8,
    },
    /// There is no space for the first segment.
    #[error("{0}")]
    Failed(Failure),
}

impl OpenError {
    fn io(what: &'static str, file: &str, error: &io::Error) -> Self {
        Self::Io { what, file: file.to_owned(), why: error.to_string() }
    }
}

/// What opening found.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// What queues held.
    pub recovered: Recovered,
    /// Damaged places that were passed over, by file and offset.
    pub damaged: Vec<(String, u64)>,
    /// Messages lost there at most: as many as what is around the damage tells, some of which may have
    /// been settled.
    pub lost: u64,
}

/// How far a start has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files to be read.
    pub files: usize,
    /// Those that were.
    pub files_read: usize,
    /// Bytes in them.
    pub bytes: u64,
}

/// Called once, from a thread of the log, when the disk failed.
type OnFailure = Box<dyn FnOnce(Failure) + Send>;

/// The log on disk.
pub struct DiskLog {
    shared: Arc<Shared>,
    requests: Arc<Requests>,
    reader: Arc<Reader>,
    /// Guards the committer while no thread has it.
    committer: Mutex<Option<Committer>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    mover: Arc<Mover>,
}

impl std::fmt::Debug for DiskLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskLog").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl DiskLog {
    /// Opens the log in `disk`. Nothing is written on its own before [`DiskLog::start`]; tests call
    /// [`DiskLog::step`] instead.
    ///
    /// # Errors
    ///
    /// When the disk fails, or when what was durable is damaged and `accept_loss` does not say that
    /// it may be passed over.
    pub fn open(
        disk: &Arc<dyn Disk>,
        options: Options,
        codecs: Codecs,
        accept_loss: bool,
    ) -> Result<(Arc<Self>, Opened), OpenError> {
        Self::open_watched(disk, options, codecs, accept_loss, &mut |_| {})
    }

    /// As [`DiskLog::open`]; `watch` hears how far it is, file by file.
    ///
    /// # Errors
    ///
    /// As [`DiskLog::open`].
    pub fn open_watched(
        disk: &Arc<dyn Disk>,
        options: Options,
        codecs: Codecs,
        accept_loss: bool,
        watch: &mut dyn FnMut(Progress),
    ) -> Result<(Arc<Self>, Opened), OpenError> {
        if options.is_scratch {
            wipe(&**disk)?;
        }
        let found = recovery::recover(&**disk, codecs, accept_loss, watch)?;
        let recovered = Recovered {
            queues: found.live.recovered(),
            special: found.special,
            sizes: found.sizes.into_vec(),
            is_clean: found.is_clean,
        };
        let opened = Opened { recovered, damaged: found.damaged, lost: found.missing.len() };
        let backlog_bytes_max = options.backlog_bytes_max;
        let shared =
            Arc::new(Shared::new(found.segments, found.live.last, codecs, backlog_bytes_max));
        let numbers = (found.number + 1, found.epoch + 1);
        // No checkpoint covers what nobody will read.
        let reclaim = Reclaim::new(if options.is_scratch { u64::MAX } else { found.covered });
        let mut committer =
            Committer::new(disk.clone(), options, shared.clone(), (found.live, reclaim), numbers);
        for (name, bytes) in found.spares {
            if bytes == options.segment_bytes && committer.spares.len() < 2 {
                committer.spares.push(name);
            } else {
                disk.remove(&name).map_err(|error| OpenError::io("remove", &name, &error))?;
            }
        }
        committer.start().map_err(OpenError::Failed)?;
        let reader = Arc::new(Reader { shared: shared.clone(), codecs });
        let log = Self {
            shared,
            requests: Arc::default(),
            reader,
            committer: Mutex::new(Some(committer)),
            threads: Mutex::default(),
            mover: Arc::default(),
        };
        Ok((Arc::new(log), opened))
    }

    /// Starts the threads. `on_failure` hears once of a disk that failed: nothing becomes durable
    /// any more, and the process should end.
    ///
    /// # Panics
    ///
    /// When the threads were started before, or cannot be.
    pub fn start(&self, on_failure: impl FnOnce(Failure) + Send + 'static) {
        let mut committer = self.committer().take().expect("the log is started once");
        committer.mover = Some(self.mover.clone());
        let on_failure: Arc<Mutex<Option<OnFailure>>> =
            Arc::new(Mutex::new(Some(Box::new(on_failure))));
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let (readers, requests) = (committer.options.readers, self.requests.clone());
        for index in 0..readers {
            let (requests, reader) = (requests.clone(), self.reader.clone());
            let on_failure = on_failure.clone();
            threads.push(spawn(&format!("log-read-{index}"), move || {
                while let Some((queue, positions)) = requests.wait() {
                    if let Err(failure) = reader.answer(queue, &positions) {
                        return fail(&reader.shared, &on_failure, failure);
                    }
                }
            }));
        }
        let (shared, mover, disk) =
            (self.shared.clone(), self.mover.clone(), committer.disk.clone());
        threads.push(spawn("log-move", move || {
            mover.run(&*disk, || shared.appended.notify_one());
        }));
        let shared = self.shared.clone();
        threads.push(spawn("log-commit", move || {
            if let Err(failure) = run(committer) {
                fail(&shared, &on_failure, failure);
            }
        }));
    }

    /// For tests, instead of [`DiskLog::start`]: writes what was appended, and syncs it if somebody
    /// waits for that or `flush` asks.
    ///
    /// # Errors
    ///
    /// When the disk failed.
    ///
    /// # Panics
    ///
    /// When the threads were started.
    pub fn step(&self, flush: bool) -> Result<Step, Failure> {
        let mut committer = self.committer();
        committer.as_mut().expect("the threads are not started").step(flush)
    }

    /// For tests: answers the reads asked for so far, all of which can be answered now.
    ///
    /// # Errors
    ///
    /// When the disk failed, or something in it is damaged.
    pub fn answer_reads(&self) -> Result<(), Failure> {
        while let Some((queue, positions)) = self.requests.take() {
            self.reader.answer(queue, &positions)?;
        }
        Ok(())
    }

    /// Says that the log ends in order, makes everything durable and ends the threads. What is
    /// appended afterwards is lost.
    pub fn close(&self) {
        self.shared.open().close();
        self.shared.end();
        self.requests.end();
        self.mover.end();
        let threads = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *threads)
        };
        for thread in threads {
            // One that panicked has said so.
            drop(thread.join());
        }
    }

    fn committer(&self) -> MutexGuard<'_, Option<Committer>> {
        self.committer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends to the open batch. Nobody is made to wait here; who can be held off asks
    /// [`Log::is_stalled`], since settlements must go on.
    fn put<T>(&self, append: impl FnOnce(&mut OpenBatch) -> T) -> T {
        let mut open = self.shared.open();
        let done = append(&mut open);
        self.shared.note_length(&open);
        done
    }
}

/// Removes all files.
fn wipe(disk: &dyn Disk) -> Result<(), OpenError> {
    let names =
        disk.list().map_err(|error| OpenError::io("list", "the log's directory", &error))?;
    for name in names {
        disk.remove(&name).map_err(|error| OpenError::io("remove", &name, &error))?;
    }
    Ok(())
}

/// How often a full disk is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.expect("a thread can be started when the broker starts")
}

fn fail(shared: &Shared, on_failure: &Mutex<Option<OnFailure>>, failure: Failure) {
    shared.end();
    let on_failure = on_failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(on_failure) = on_failure {
        on_failure(failure);
    }
}

/// The committer's thread: while one sync runs the next batch gathers, and there is no delay for
/// those who wait. What nobody waits for is written a moment later.
fn run(mut committer: Committer) -> Result<(), Failure> {
    let shared = committer.shared.clone();
    let interval = committer.options.sync_interval;
    let mut last_flush = std::time::Instant::now();
    loop {
        let has_ended = shared.has_ended.load(Ordering::Acquire);
        let flush = has_ended || last_flush.elapsed() >= interval;
        if flush {
            last_flush = std::time::Instant::now();
        }
        let step = committer.step(flush)?;
        if has_ended {
            return Ok(());
        }
        let open = shared.open();
        let pause = match step {
            Step::WaitsForSpace => RETRY_INTERVAL,
            Step::Worked => Duration::ZERO,
            Step::Idle => interval,
        };
        let is_paused = step == Step::WaitsForSpace && !shared.has_ended.load(Ordering::Acquire);
        if is_paused || (!open.wants_sync() && pause > Duration::ZERO) {
            let waited = shared.appended.wait_timeout(open, pause);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Log for DiskLog {
    fn attach(&self, events: Weak<dyn LogEvents>) {
        self.shared.attach(events);
    }

    fn can_read(&self) -> bool {
        true
    }

    fn append(&self, publishes: &[Publish<'_>]) -> Position {
        let now = unix_ms();
        self.put(|open| open.append(publishes, now))
    }

    fn append_atomic(&self, publishes: &[Publish<'_>], settled: &[Settled]) -> Position {
        let now = unix_ms();
        self.put(|open| open.append_atomic(publishes, settled, now))
    }

    fn note(&self, notes: &[Note], urgent: bool) -> Position {
        self.put(|open| open.note(notes, urgent))
    }

    fn release(&self, settled: &[Settled]) {
        self.put(|open| open.release(settled));
    }

    fn requeue(&self, attempted: &[Attempted]) {
        self.put(|open| open.requeue(attempted));
    }

    fn durable(&self) -> u64 {
        self.shared.durable()
    }

    fn backlog_bytes(&self) -> usize {
        self.shared.open().len()
    }

    fn is_stalled(&self) -> bool {
        self.shared.is_stalled.load(Ordering::Acquire)
    }

    fn is_full(&self) -> bool {
        self.shared.is_full.load(Ordering::Acquire)
    }

    fn read(&self, queue: QueueId, positions: Vec<Position>) {
        self.requests.add(queue, positions);
    }

    fn end_batch(&self) {
        if self.shared.open().wants_sync() {
            self.shared.appended.notify_one();
        }
    }
}
