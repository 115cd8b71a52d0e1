//! `limits.memory`: how much the broker may take, absolutely or as a share of what there is.

use super::Invalid;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Bytes.
    Bytes(u64),
    /// Percent of the machine's memory, or of the control group's when that is less.
    Percent(u8),
}

/// The least with which anything works.
const BYTES_MIN: u64 = 32 * 1024 * 1024;

/// What `limits.memory` must be.
const RULE: &str =
    "must be a share such as \"60%\", or at least \"32MiB\" (units: KiB, MiB, GiB, KB, MB, GB)";

const UNITS: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("", 1),
];

impl MemoryLimit {
    /// Reads what was written.
    pub(super) fn check(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid::new("limits.memory", format_args!("{text:?}"), RULE);
        Self::parse(text).ok_or_else(invalid)
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim().parse().ok()?;
            return (1..=100).contains(&percent).then_some(Self::Percent(percent));
        }
        let (number, unit) =
            UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
        let bytes = number.trim().parse::<u64>().ok()?.checked_mul(*unit)?;
        (bytes >= BYTES_MIN).then_some(Self::Bytes(bytes))
    }

    /// In bytes, where there are `total`.
    pub(crate) fn of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (total / 100 * u64::from(percent)).max(BYTES_MIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_bytes_or_a_share() {
        for (text, limit) in [
            ("60%", Some(MemoryLimit::Percent(60))),
            ("100 %", Some(MemoryLimit::Percent(100))),
            ("64MiB", Some(MemoryLimit::Bytes(64 << 20))),
            ("2 GB", Some(MemoryLimit::Bytes(2_000_000_000))),
            ("67108864", Some(MemoryLimit::Bytes(64 << 20))),
            ("0%", None),
            ("101%", None),
            ("0.6", None),
            ("31MiB", None),
            ("64 mib", None),
            ("99999999999GiB", None),
            ("", None),
        ] {
            assert_eq!(MemoryLimit::parse(text), limit, "{text:?}");
        }
        assert_eq!(MemoryLimit::Percent(60).of(10_000_000_000), 6_000_000_000);
        assert_eq!(MemoryLimit::Bytes(64 << 20).of(1), 64 << 20);
    }
}
