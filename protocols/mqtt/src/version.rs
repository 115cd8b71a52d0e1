//! The version a client speaks: data that the one code path asks.

/// A protocol version that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// `MQIsdp`, level 3.
    V31,
    /// `MQTT`, level 4.
    V311,
    /// `MQTT`, level 5.
    V5,
}

impl Version {
    /// Properties, reason codes and a server's DISCONNECT exist.
    pub(crate) const fn is_5(self) -> bool {
        matches!(self, Self::V5)
    }

    /// As a person writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V31 => "MQTT 3.1",
            Self::V311 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5",
        }
    }
}
