//! QoS 2 publishes of an MQTT client between PUBLISH and PUBREL (MQTT 5, section 4.3.3).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Up to where the log must be durable before the client may hear of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Safety {
    /// The batch that publishes it has not ended yet.
    Unknown,
    /// Up to this position; 0 for at once.
    At(u64),
}

/// Packet identifiers that are taken. Shared by the session and the batches that publish for it,
/// which may end after another connection took the session over.
#[derive(Debug, Default)]
pub(crate) struct Received(Mutex<BTreeMap<u16, Safety>>);

impl Received {
    /// What an earlier run had; all of it is durable.
    pub(crate) fn restored(packet_ids: &[u16]) -> Self {
        Self(Mutex::new(packet_ids.iter().map(|packet_id| (*packet_id, Safety::At(0))).collect()))
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<u16, Safety>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an identifier. `Some` when it is taken already: then what is known of it.
    pub(crate) fn begin(&self, packet_id: u16) -> Option<Safety> {
        let mut taken = self.taken();
        let before = taken.get(&packet_id).copied();
        if before.is_none() {
            taken.insert(packet_id, Safety::Unknown);
        }
        before
    }

    /// The log has what was published under it.
    pub(crate) fn safe_at(&self, packet_id: u16, position: u64) {
        if let Some(safety) = self.taken().get_mut(&packet_id) {
            *safety = Safety::At(position);
        }
    }

    /// Frees an identifier. False when it was free.
    pub(crate) fn end(&self, packet_id: u16) -> bool {
        self.taken().remove(&packet_id).is_some()
    }

    /// All that are taken.
    pub(crate) fn packet_ids(&self) -> Vec<u16> {
        self.taken().keys().copied().collect()
    }
}
