//! `[amqp]`: what AMQP clients are told of the broker. Some decide by it what to do.

use serde::{Deserialize, Serialize};

use super::Invalid;

/// `[amqp]`: server properties of `connection.start`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// Whose dialect is spoken.
    pub product: String,
    /// Which release's, as `x.y.z`.
    pub version: String,
    /// What it really is; empty for Trivium and its version.
    pub platform: String,
    /// The name of this broker or of the cluster it belongs to.
    pub cluster_name: String,
}

impl Default for Amqp {
    fn default() -> Self {
        let trivium_amqp::Config { product, version, cluster_name, .. } =
            trivium_amqp::Config::default();
        Self { product, version, platform: String::new(), cluster_name }
    }
}

/// Bytes of one server property: all of them fit the smallest frame.
const TEXT_BYTES_MAX: usize = 1024;

impl Amqp {
    pub(super) fn check(mut self) -> Result<Self, Invalid> {
        if self.platform.is_empty() {
            self.platform = trivium_amqp::Config::default().platform;
        }
        let parts: Vec<_> = self.version.split('.').collect();
        if parts.len() != 3 || parts.iter().any(|part| part.parse::<u32>().is_err()) {
            let rule = "must be three numbers, as 3.13.7: clients read it";
            return Err(Invalid::new("amqp.version", format_args!("{:?}", self.version), rule));
        }
        for (key, text) in [
            ("amqp.product", &self.product),
            ("amqp.platform", &self.platform),
            ("amqp.cluster_name", &self.cluster_name),
        ] {
            if text.is_empty() || text.len() > TEXT_BYTES_MAX {
                let rule = "must be 1 to 1024 bytes long";
                return Err(Invalid::new(key, format_args!("{text:?}"), rule));
            }
        }
        Ok(self)
    }
}
