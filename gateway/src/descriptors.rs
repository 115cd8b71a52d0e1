//! How many sockets the operating system lets us hold.
//!
//! The soft limit of a shell is often 1,024 while the hard limit is half a million; a broker wants
//! the latter. This is the one module of the gateway with `unsafe`: two system calls on a struct
//! that lives on the stack.
#![allow(unsafe_code)]

/// Descriptors that are not clients: listeners, the runtime, the log, and some room.
pub(crate) const RESERVED: u64 = 64;

/// Raises the soft limit of open files to the hard limit, and returns what holds now; `None`
/// when the system does not say.
#[must_use]
pub(crate) fn raise() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit` to a pointer to one, which outlives it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return None;
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: the call reads one `rlimit` from a pointer to one, which outlives it.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        limit = raised;
    }
    Some(limit.rlim_cur)
}

/// The soft limit of open files now; 0 when the system does not say.
pub(crate) fn limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one `rlimit` to a pointer to one, which outlives it.
    let is_said = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    if is_said { limit.rlim_cur } else { 0 }
}

/// As many of `wanted` connections as `descriptors` allow, at least one.
#[must_use]
pub(crate) fn clamp(wanted: u32, descriptors: Option<u64>) -> u32 {
    let available = descriptors.map_or(u64::MAX, |limit| limit.saturating_sub(RESERVED).max(1));
    u32::try_from(available).map_or(wanted, |available| available.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_descriptors() {
        let table = [
            (50_000, Some(1024), 960),
            (100, Some(1024), 100),
            (100, Some(10), 1),
            (100, None, 100),
            (u32::MAX, Some(u64::MAX), u32::MAX),
        ];
        for (wanted, descriptors, connections) in table {
            assert_eq!(clamp(wanted, descriptors), connections, "{wanted} of {descriptors:?}");
        }
        assert!(raise().unwrap() >= 64);
    }
}
