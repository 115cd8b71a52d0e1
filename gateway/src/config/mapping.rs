//! `[mapping]`: where the broker departs from RabbitMQ so that nothing is lost between protocols.

use serde::{Deserialize, Serialize};
use trivium_core::address::Coding;

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

/// `[mapping]`, which has no wrong values.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// How MQTT topics become routing keys.
    pub address: Dialect,
    /// At which QoS MQTT clients read what does not say whether it is to survive.
    pub qos: Dialect,
}

impl Mapping {
    pub(crate) const fn coding(self) -> Coding {
        match self.address {
            Dialect::Trivium => Coding::Shift,
            Dialect::Rabbitmq => Coding::Plain,
        }
    }

    pub(crate) const fn unset_is_qos_0(self) -> bool {
        matches!(self.qos, Dialect::Rabbitmq)
    }
}
