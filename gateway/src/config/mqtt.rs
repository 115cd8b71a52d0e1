//! `[mqtt]`: how long sessions of MQTT clients are kept and how much of them, which vhost a listener
//! leads to, and `$SYS`.

use serde::{Deserialize, Serialize};

use super::{Door, Invalid};

/// `[mqtt]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Seconds that a session may outlive its connection; 4,294,967,295 for ever.
    pub session_expiry_max_s: u32,
    /// Messages kept for one client that is away.
    pub away_messages_max: u32,
    /// `listener=vhost`, for clients whose user name names none.
    pub vhosts: Vec<String>,
    /// Seconds between two looks at what `$SYS/broker/#` tells; 0 for no such topics.
    pub sys_interval_s: u32,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            session_expiry_max_s: trivium_mqtt::Config::default().session_expiry_max_s,
            away_messages_max: 100_000,
            vhosts: Vec::new(),
            sys_interval_s: 10,
        }
    }
}

/// The listeners that MQTT clients come in by.
const DOORS: [Door; 3] = [Door::Mqtt, Door::Http, Door::WebMqtt];

impl Mqtt {
    pub(super) fn check(self, vhosts: &[String]) -> Result<Self, Invalid> {
        for entry in &self.vhosts {
            let invalid = |rule: &str| Invalid::new("mqtt.vhosts", format_args!("{entry:?}"), rule);
            let (listener, vhost) =
                entry.split_once('=').ok_or_else(|| invalid("must read listener=vhost"))?;
            if !DOORS.iter().any(|door| door.name() == listener) {
                return Err(invalid("must name the listener mqtt, http or web_mqtt"));
            }
            if !vhosts.iter().any(|known| known == vhost) {
                return Err(invalid("must name / or a vhost listed in [[vhosts]]"));
            }
        }
        Ok(self)
    }

    /// The vhost that `door` leads to, if it is not the default one.
    pub fn vhost_of(&self, door: Door) -> Option<String> {
        let mut entries = self.vhosts.iter().filter_map(|entry| entry.split_once('='));
        entries.find(|(name, _)| *name == door.name()).map(|(_, vhost)| vhost.to_owned())
    }
}
