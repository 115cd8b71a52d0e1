//! What the suites share: a gateway inside the test's own process.

use trivium::config::{Config, RawConfig, RawListeners};
use trivium::{Gateway, Running};

/// A configuration with every listener on a free port of loopback, and guest as the only user.
#[must_use]
pub fn configuration() -> RawConfig {
    RawConfig { listeners: RawListeners::any_loopback_port(), ..RawConfig::default() }
}

/// Starts a gateway as [`configuration`] has it.
pub async fn start() -> Running {
    start_with(configuration()).await
}

/// Starts a gateway.
///
/// # Panics
///
/// When the configuration is invalid or a port cannot be opened.
pub async fn start_with(raw: RawConfig) -> Running {
    let config = Config::try_from(raw).expect("the configuration is valid");
    Gateway::start(config).await.expect("free ports are found")
}
