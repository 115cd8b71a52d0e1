//! How much memory there is, how much is used, and what is done about it.
//!
//! Looked at ten times a second: what the process takes that is its own, so that neither the page
//! cache nor the program's text counts. From two thirds of the limit on queues page out; at the
//! limit publishers are blocked until a tenth of it is free again.

use std::fs;
use std::path::Path;

use tracing::{info, warn};
use trivium_core::Broker;

use crate::config::MemoryLimit;

/// Watches the memory of this process.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    limit: u64,
    page_from: u64,
    is_short: bool,
    is_paging: bool,
    /// Messages paged out at the last look.
    paged_out: u64,
    /// Bytes that the allocator keeps for reuse and would not give back: no reason to block anybody.
    /// At most a third of the limit.
    slack: u64,
    /// Bytes used at the last look, and looks since it was more while nothing is left to page out.
    last_used: u64,
    quiet: u32,
}

/// Looks after which memory that nothing in the queues explains counts as the allocator's.
const QUIET_LOOKS: u32 = 5;

impl MemoryWatch {
    /// Says what the limit comes to on this machine.
    pub(crate) fn new(limit: MemoryLimit, can_page: bool) -> Self {
        let total = total_bytes(Path::new("/"));
        let bytes = limit.of(total.unwrap_or(UNKNOWN_BYTES));
        let (page_from, is_short, is_paging, paged_out) = (bytes / 3 * 2, false, false, 0);
        let (slack, last_used, quiet) = (0, 0, 0);
        let limit = bytes;
        let watch =
            Self { limit, page_from, is_short, is_paging, paged_out, slack, last_used, quiet };
        if can_page {
            info!(limit_bytes = bytes, page_from_bytes = page_from, "memory is limited");
        } else {
            info!(
                limit_bytes = bytes,
                "memory is limited; without a data directory nothing is paged out"
            );
        }
        watch
    }

    /// The limit in bytes.
    pub(crate) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Looks, and tells the broker.
    pub(crate) fn look(&mut self, broker: &Broker) {
        if let Some(used) = used_bytes() {
            self.note(used, broker);
        }
    }

    /// What of `used` counts. An allocator may keep what was freed for as long as nothing is
    /// allocated, and while publishers are blocked nothing is.
    fn without_slack(&mut self, used: u64, queued: u64) -> u64 {
        let is_explained = queued > self.page_from / 8 * 2;
        let is_quiet = self.is_short && !is_explained && used <= self.last_used;
        self.quiet = if is_quiet { self.quiet + 1 } else { 0 };
        self.last_used = used;
        let beyond = used.saturating_sub(self.page_from);
        self.slack = self.slack.min(beyond);
        if self.quiet >= QUIET_LOOKS {
            self.slack = beyond.min(self.limit / 3);
        }
        used - self.slack
    }

    fn note(&mut self, used: u64, broker: &Broker) {
        let used = self.without_slack(used, broker.memory_use().queued_bytes);
        broker.set_memory(used, self.page_from);
        let calm_below = self.limit / 10 * 9;
        let is_short = used >= if self.is_short { calm_below } else { self.limit };
        if is_short != self.is_short {
            self.is_short = is_short;
            broker.set_memory_alarm(is_short);
            let limit_bytes = self.limit;
            if is_short {
                warn!(used_bytes = used, limit_bytes, "memory is short: publishers are blocked");
            } else {
                info!(used_bytes = used, limit_bytes, "memory is free again: publishers go on");
            }
        }
        let paged_out = broker.memory_use().paged_out;
        if paged_out > self.paged_out && !self.is_paging {
            self.is_paging = true;
            info!(used_bytes = used, "memory fills: queues move messages to disk");
        } else if used < self.page_from / 2 {
            // Once a spell: how often it comes and goes is no news.
            self.is_paging = false;
        }
        self.paged_out = paged_out;
    }
}

/// Assumed where the system does not say.
const UNKNOWN_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes of memory that are the process's own.
fn used_bytes() -> Option<u64> {
    own_bytes(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Resident memory that is neither a file's nor shared.
fn own_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Bytes that the machine has, or the control groups of this process allow, under `root`.
fn total_bytes(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    });
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().flat_map(|line| limits_of(root, line));
    limits.chain(machine).min()
}

/// The limits of a control group and those it is in. Version 2 is `0::/path`, version 1 a line a
/// controller, `4:memory:/path`. In a container the path may be that of the host, and the group
/// itself what is mounted at the root.
fn limits_of(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (mount, file) = if controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    let ancestors = Path::new(path.trim_start_matches('/')).ancestors();
    let limit = |group: &Path| {
        let text = fs::read_to_string(root.join(mount).join(group).join(file)).ok()?;
        text.trim().parse().ok()
    };
    ancestors.filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use trivium_core::Limits;

    use super::*;

    fn machine(name: &str, files: &[(&str, &str)]) -> Option<u64> {
        let name = format!("trivium-memory-{}-{name}", std::process::id());
        let root = std::env::temp_dir().join(name);
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let total = total_bytes(&root);
        fs::remove_dir_all(root).unwrap();
        total
    }

    #[test]
    fn the_least_of_machine_and_control_groups_counts() {
        let meminfo = ("proc/meminfo", "MemTotal:       4096 kB\nMemFree: 1 kB\n");
        assert_eq!(machine("none", &[meminfo]), Some(4096 * 1024));
        let nested = [
            meminfo,
            ("proc/self/cgroup", "0::/a.slice/b.service\n"),
            ("sys/fs/cgroup/a.slice/memory.max", "1000000\n"),
            ("sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"),
        ];
        assert_eq!(machine("two", &nested), Some(1_000_000), "the slice's limit holds below it");
        let mounted = [
            meminfo,
            ("proc/self/cgroup", "0::/system.slice/docker-1\n"),
            ("sys/fs/cgroup/memory.max", "2000000\n"),
        ];
        assert_eq!(machine("container", &mounted), Some(2_000_000));
        let first = [
            meminfo,
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/x\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "3000000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(machine("one", &first), Some(3_000_000));
    }

    #[test]
    fn what_is_shared_is_not_ours() {
        let status = "VmRSS:\t   30792 kB\nRssAnon:\t   20000 kB\nRssFile:\t   10792 kB\n";
        assert_eq!(own_bytes(status), Some(20_000 * 1024));
        assert_eq!(own_bytes(""), None);
        assert!(used_bytes().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn an_alarm_ends_when_a_tenth_is_free() {
        let broker = Broker::ephemeral(Limits::default(), 1);
        let limit = 100 << 20;
        let mut watch = MemoryWatch::new(MemoryLimit::Bytes(limit), false);
        for (used, is_short) in [
            (limit - 1, false),
            (limit, true),
            (limit / 10 * 9 + 1, true),
            (limit / 10 * 9 - 1, false),
            (limit - 1, false),
        ] {
            watch.note(used, &broker);
            assert_eq!(broker.alarms().memory, is_short, "at {used}");
        }
    }

    #[test]
    fn what_the_allocator_keeps_blocks_nobody_for_long() {
        let broker = Broker::ephemeral(Limits::default(), 1);
        let limit = 99 << 20;
        let mut watch = MemoryWatch::new(MemoryLimit::Bytes(limit), false);
        let mut short_after = |used, looks| {
            (0..looks).for_each(|_| watch.note(used, &broker));
            broker.alarms().memory
        };
        assert!(short_after(limit, 3));
        assert!(!short_after(limit, 3), "nothing in the queues explains it");
        assert!(!short_after(limit / 4 * 5, 20), "it is within a third");
        assert!(short_after(limit / 3 * 4 + 3, 20), "more than a third is never passed over");
        assert!(!short_after(limit / 2, 1));
        assert!(short_after(limit, 1), "what was given back is no slack any more");
    }
}
