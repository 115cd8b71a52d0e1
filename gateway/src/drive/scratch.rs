//! What a thread lends to the connection it is serving, so that an idle connection owns nothing:
//! the broker's worker, a read buffer, an output buffer.

use std::cell::Cell;

use trivium_core::Worker;

use super::transport::Output;

/// Bytes asked of one read.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// A buffer that one large flush made larger than this goes back to the allocator.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// One thread's tools. Empty between two turns but for capacity and the worker's cache.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The gateway whose routes the worker has cached; a process may run several (tests do).
    gateway: u64,
    /// Route cache and scratch of the core.
    pub(crate) worker: Worker,
    /// What a read fills when nothing was left of the last one.
    pub(crate) read: Vec<u8>,
    /// What an adapter writes to.
    pub(crate) out: Output,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    /// Takes the thread's tools for one turn. A turn that panics loses them, which is right.
    pub(crate) fn take(gateway: u64) -> Box<Self> {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        if scratch.gateway != gateway {
            scratch.gateway = gateway;
            scratch.worker = Worker::default();
        }
        scratch
    }

    /// Gives them back.
    pub(crate) fn give_back(mut self: Box<Self>) {
        self.out.clear();
        self.read.clear();
        for buffer in [&mut self.out.transmit.bytes, &mut self.read] {
            if buffer.capacity() > KEPT_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
        SCRATCH.set(Some(self));
    }
}
