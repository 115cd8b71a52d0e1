//! What the committer, the readers and the core's threads share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use trivium_core::log::{Codecs, LogEvents};

use super::open::OpenBatch;
use super::table::Segments;

#[derive(Debug)]
pub(crate) struct Shared {
    /// Guards the batch that appends go to. A leaf; never held during IO.
    open: Mutex<OpenBatch>,
    /// Something was appended, or the log is to stop.
    pub(crate) appended: Condvar,
    /// The open batch is long: publishers are held off. Changed under its lock.
    pub(crate) is_stalled: AtomicBool,
    backlog_bytes_max: usize,
    /// Guards the table of segments. A leaf; never held during IO.
    segments: RwLock<Segments>,
    /// The last position that is as safe as the sync mode promises.
    durable: AtomicU64,
    /// Guards the last position that can be read.
    written: Mutex<u64>,
    /// More can be read.
    readable: Condvar,
    /// There is no space for more messages.
    pub(crate) is_full: AtomicBool,
    /// The disk failed, or the log is closed: nothing more is written.
    pub(crate) has_ended: AtomicBool,
    events: Mutex<Option<WeakEvents>>,
}

/// Who hears of it.
struct WeakEvents(Weak<dyn LogEvents>);

impl std::fmt::Debug for WeakEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakEvents")
    }
}

impl Shared {
    pub(crate) fn new(
        segments: Segments,
        last: u64,
        codecs: Codecs,
        backlog_bytes_max: usize,
    ) -> Self {
        Self {
            open: Mutex::new(OpenBatch::new(last, codecs)),
            appended: Condvar::new(),
            is_stalled: AtomicBool::new(false),
            backlog_bytes_max,
            segments: RwLock::new(segments),
            durable: AtomicU64::new(last),
            written: Mutex::new(last),
            readable: Condvar::new(),
            is_full: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            events: Mutex::new(None),
        }
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, OpenBatch> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was appended to `open`, or it was taken. True when publishers need be held off no
    /// more: [`Shared::tell_caught_up`] says so once no lock is held.
    pub(crate) fn note_length(&self, open: &OpenBatch) -> bool {
        let is_long = open.len() > self.backlog_bytes_max;
        let was_long = self.is_stalled.load(Ordering::Relaxed);
        if is_long == was_long {
            return false;
        }
        self.is_stalled.store(is_long, Ordering::Release);
        if is_long {
            self.appended.notify_one();
        }
        was_long
    }

    pub(crate) fn tell_caught_up(&self) {
        if let Some(events) = self.listener() {
            events.caught_up();
        }
    }

    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, Segments> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn segments_mut(&self) -> RwLockWriteGuard<'_, Segments> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, u64> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn attach(&self, events: Weak<dyn LogEvents>) {
        let mut known = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(WeakEvents(events));
    }

    pub(crate) fn listener(&self) -> Option<Arc<dyn LogEvents>> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.as_ref().and_then(|events| events.0.upgrade())
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Everything up to `written` can be read, and up to `durable` is safe.
    pub(crate) fn advance(&self, written: u64, durable: u64) {
        self.advance_written(written);
        if self.durable.swap(durable, Ordering::AcqRel) != durable
            && let Some(events) = self.listener()
        {
            events.durable(durable);
        }
    }

    pub(crate) fn advance_written(&self, through: u64) {
        let mut written = self.written();
        if *written != through {
            *written = through;
            self.readable.notify_all();
        }
    }

    /// Waits until `position` can be read. False when it never will be.
    pub(crate) fn wait_readable(&self, position: u64) -> bool {
        let mut written = self.written();
        while *written < position {
            if self.has_ended.load(Ordering::Acquire) {
                return false;
            }
            // Whoever appended it may not have woken the committer yet.
            self.appended.notify_one();
            let waited = self.readable.wait_timeout(written, std::time::Duration::from_millis(50));
            written = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Nothing more will be written: whoever waits need not.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.appended.notify_all();
        self.readable.notify_all();
    }
}
