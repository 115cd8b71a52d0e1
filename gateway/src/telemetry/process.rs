//! What the process uses, as the system counts it.

use std::fs;

/// A reading of `/proc/self`; zeros where there is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) resident_bytes: u64,
    pub(super) open_descriptors: u64,
}

impl Process {
    /// As of now: two small reads, once a scrape and once a second.
    pub(super) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self {
            resident_bytes: resident_bytes(&status).unwrap_or_default(),
            // One of them is the listing itself.
            open_descriptors: (descriptors as u64).saturating_sub(1),
        }
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let status = "Name:\ttrivium\nVmRSS:\t   30792 kB\nThreads:\t3\n";
        assert_eq!(resident_bytes(status), Some(30_792 * 1024));
        assert_eq!(resident_bytes("Name:\ttrivium\n"), None);
        let process = Process::read();
        assert!(process.resident_bytes > 0 && process.open_descriptors > 2, "{process:?}");
    }
}
