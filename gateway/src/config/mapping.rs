//! `[mapping]`: where the broker departs from RabbitMQ so that nothing is lost between protocols.

use serde::{Deserialize, Serialize};
use trivium_core::address::Coding;

use super::{Door, Invalid};

/// Whose way is gone.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Ours.
    #[default]
    Trivium,
    /// RabbitMQ's.
    Rabbitmq,
}

/// `[mapping]` as written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawMapping {
    /// How MQTT topics become routing keys.
    pub address: Dialect,
    /// At which QoS MQTT clients read what does not say whether it is to survive.
    pub qos: Dialect,
    /// The listeners that this is about; empty for all.
    pub listeners: Vec<String>,
}

/// `[mapping]`, checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    address: Dialect,
    qos: Dialect,
    /// By [`Door`]: it is as said here, and elsewhere ours.
    is_for: [bool; Door::ALL.len()],
}

/// Where MQTT is spoken.
const MQTT_DOORS: [Door; 3] = [Door::Mqtt, Door::Http, Door::WebMqtt];

impl Mapping {
    /// How the topics of clients at `door` become routing keys.
    pub(crate) const fn coding(self, door: Door) -> Coding {
        match (self.address, self.is_for[door as usize]) {
            (Dialect::Rabbitmq, true) => Coding::Plain,
            (Dialect::Rabbitmq, false) | (Dialect::Trivium, _) => Coding::Shift,
        }
    }

    /// Whether clients at `door` read at QoS 0 what does not say whether it is to survive.
    pub(crate) const fn unset_is_qos_0(self, door: Door) -> bool {
        matches!(self.qos, Dialect::Rabbitmq) && self.is_for[door as usize]
    }
}

impl TryFrom<RawMapping> for Mapping {
    type Error = Invalid;

    fn try_from(raw: RawMapping) -> Result<Self, Invalid> {
        let mut is_for = [raw.listeners.is_empty(); Door::ALL.len()];
        for name in &raw.listeners {
            let door = MQTT_DOORS.into_iter().find(|door| door.name() == name);
            let door = door.ok_or_else(|| {
                let rule = "must be listeners where MQTT is spoken: mqtt, http, web_mqtt";
                Invalid::new("mapping.listeners", format_args!("{name:?}"), rule)
            })?;
            is_for[door as usize] = true;
        }
        Ok(Self { address: raw.address, qos: raw.qos, is_for })
    }
}
