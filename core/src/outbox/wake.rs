//! The wake protocol: a driver is woken once per batch, and never misses one.
//!
//! Producers append under the outbox's lock and then call [`WakeFlag::raise`]; only the first
//! since the last [`WakeFlag::lower`] has to wake. The driver registers its waker, lowers the
//! flag, and then fetches: what was appended before the fetch is seen by it, what is appended
//! after raises the flag again. The model check of `tests/wake_protocol` runs this very file
//! under loom.

use super::sync::{AtomicBool, Ordering};

/// Whether a wake is under way.
#[derive(Debug, Default)]
pub(crate) struct WakeFlag(AtomicBool);

impl WakeFlag {
    /// True for the one producer that must wake the driver.
    pub(crate) fn raise(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// The driver is about to fetch.
    pub(crate) fn lower(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}
