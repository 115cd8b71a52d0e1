//! The version of a conversation, and how it is chosen.

use std::str::FromStr;

use stomp_parser::headers::{StompVersion, StompVersions};

/// What both sides speak after CONNECTED.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// 1.0: no escapes, no NACK, acknowledgement by `message-id`.
    #[default]
    V1_0,
    /// 1.1: escapes but for CR, heart-beats.
    V1_1,
    /// 1.2: CR LF ends lines, `ack` headers.
    V1_2,
}

/// What we speak, as ERROR and CONNECTED write it.
pub(crate) const SUPPORTED: &str = "1.0,1.1,1.2";

impl Version {
    /// The highest common version (S-29). Without `accept-version` it is 1.0 (S-28); `None` when
    /// nothing is common (S-30).
    pub(crate) fn negotiate(accept_version: Option<&str>) -> Option<Self> {
        let Some(offered) = accept_version else { return Some(Self::V1_0) };
        let offered = StompVersions::from_str(offered).ok()?;
        offered.0.iter().filter_map(Self::known).max()
    }

    fn known(offered: &StompVersion) -> Option<Self> {
        match offered {
            StompVersion::V1_0 => Some(Self::V1_0),
            StompVersion::V1_1 => Some(Self::V1_1),
            StompVersion::V1_2 => Some(Self::V1_2),
            StompVersion::Unknown(text) => Self::trimmed(text),
        }
    }

    /// `1.1, 1.2` is what some clients write.
    fn trimmed(text: &str) -> Option<Self> {
        match text.trim() {
            "1.0" => Some(Self::V1_0),
            "1.1" => Some(Self::V1_1),
            "1.2" => Some(Self::V1_2),
            _ => None,
        }
    }

    /// For the writer of CONNECTED.
    pub(crate) const fn on_wire(self) -> StompVersion {
        match self {
            Self::V1_0 => StompVersion::V1_0,
            Self::V1_1 => StompVersion::V1_1,
            Self::V1_2 => StompVersion::V1_2,
        }
    }

    /// For the log.
    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::V1_0 => "STOMP 1.0",
            Self::V1_1 => "STOMP 1.1",
            Self::V1_2 => "STOMP 1.2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_chosen() {
        for (offered, chosen) in [
            (None, Some(Version::V1_0)),
            (Some("1.0"), Some(Version::V1_0)),
            (Some("1.1,1.0"), Some(Version::V1_1)),
            (Some("1.0,1.1,1.2"), Some(Version::V1_2)),
            (Some("1.0, 1.1"), Some(Version::V1_1)),
            (Some("1.2,2.0"), Some(Version::V1_2)),
            (Some("2.0"), None),
            (Some(""), None),
        ] {
            assert_eq!(Version::negotiate(offered), chosen, "S-28 to S-30: {offered:?}");
        }
    }
}
