//! `[storage]`: how the data directory is kept.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trivium_store::{Options, SyncMode};

use super::{HEADERS_BYTES_MAX, Invalid, Limits};

/// `[storage]` as written. The reasons for the values stand in the reference configuration.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawStorage {
    /// `group` or `os`.
    pub sync: String,
    /// How long what nobody waits for stays unsynced, in milliseconds.
    pub sync_interval_ms: u32,
    /// Bytes of one file of the log.
    pub segment_bytes: u32,
    /// Free bytes of the file system below which publishers are held off; 0 for none.
    pub free_bytes_min: u64,
}

impl Default for RawStorage {
    fn default() -> Self {
        Self {
            sync: "group".to_owned(),
            sync_interval_ms: 200,
            segment_bytes: 64 * 1024 * 1024,
            free_bytes_min: 50_000_000,
        }
    }
}

/// How the data directory is kept, checked.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// Of the log.
    pub log: Options,
    /// Free bytes of the file system below which publishers are held off.
    pub free_bytes_min: u64,
}

/// Where messages are kept.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In memory only, because nothing was said or `ephemeral` was.
    Ephemeral,
    /// In this directory.
    Directory(PathBuf, Keeping),
}

/// What waits to be written: half a segment, so that it fits the reserve of a full disk, and no more
/// than a disk writes in a fraction of a second.
const BACKLOG_BYTES_MAX: u32 = 32 * 1024 * 1024;

impl Keeping {
    /// Holds `limits` to what a segment takes: whatever is appended at once fits half of one, so that
    /// the reserve of a full disk takes what was under way when it ran full, and the acknowledgements
    /// that free it are never stuck behind it.
    pub(super) fn bound(self, limits: &mut Limits) -> Result<(), Invalid> {
        let half = usize::try_from(self.log.segment_bytes / 2).unwrap_or(usize::MAX);
        if limits.message_bytes_max + HEADERS_BYTES_MAX > half {
            let least = 2 * (limits.message_bytes_max + HEADERS_BYTES_MAX);
            let rule = format!("must be at least {least}, for two of limits.message_bytes_max");
            return Err(Invalid::new("storage.segment_bytes", self.log.segment_bytes, rule));
        }
        let core = &mut limits.core;
        core.transaction_bytes_max = core.transaction_bytes_max.min(half);
        Ok(())
    }
}

impl TryFrom<RawStorage> for Keeping {
    type Error = Invalid;

    fn try_from(raw: RawStorage) -> Result<Self, Invalid> {
        let sync_mode = match raw.sync.as_str() {
            "group" => SyncMode::Group,
            "os" => SyncMode::Os,
            other => {
                let value = format_args!("{other:?}");
                return Err(Invalid::new("storage.sync", value, "must be group or os"));
            }
        };
        let within = |key: &str, value: u32, range: std::ops::RangeInclusive<u32>, rule: &str| {
            let invalid = || Invalid::new(format!("storage.{key}"), value, rule);
            if range.contains(&value) { Ok(value) } else { Err(invalid()) }
        };
        let (interval, segment) = (raw.sync_interval_ms, raw.segment_bytes);
        let interval_rule = "must be 1 to 60000 milliseconds";
        let segment_rule = "must be 65536 to 1073741824 bytes (64 KiB to 1 GiB)";
        let interval = within("sync_interval_ms", interval, 1..=60_000, interval_rule)?;
        let segment = within("segment_bytes", segment, 65_536..=1 << 30, segment_rule)?;
        let log = Options {
            sync_mode,
            segment_bytes: segment.into(),
            sync_interval: Duration::from_millis(interval.into()),
            backlog_bytes_max: BACKLOG_BYTES_MAX.min(segment / 2) as usize,
            ..Options::default()
        };
        Ok(Self { log, free_bytes_min: raw.free_bytes_min })
    }
}
