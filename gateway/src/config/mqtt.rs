//! `[mqtt]`: how long sessions of MQTT clients are kept, and how much of them.

use serde::{Deserialize, Serialize};

/// `[mqtt]`, which has no wrong values.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Seconds that a session may outlive its connection; 4,294,967,295 for ever.
    pub session_expiry_max_s: u32,
    /// Messages kept for one client that is away.
    pub away_messages_max: u32,
}

impl Default for Mqtt {
    fn default() -> Self {
        let session_expiry_max_s = trivium_mqtt::Config::default().session_expiry_max_s;
        Self { session_expiry_max_s, away_messages_max: 100_000 }
    }
}
