//! Configuration: what was written, and what it means.
//!
//! ```text
//! defaults < file < environment < flags   -->  RawConfig  --check-->  Config
//! ```
//!
//! [`RawConfig`] is what can be written, in TOML; [`Config`] is what a gateway can run with.
//! Between them stands one check, whose complaint is a single line that names the key, the value
//! and the rule. A key that nobody knows is an error, because a misspelt limit is no limit.
//!
//! One file a section: `storage`, `listeners`, `limits` (with `memory`), `http`, `amqp`, `mqtt`, `stomp`, `mapping`, `log`, `users` (with
//! `vhosts` and the default user), `policies`. `environment` sets any key from a variable; `print` writes the commented
//! reference configuration with the values in force.

mod amqp;
mod environment;
mod http;
mod limits;
mod listeners;
mod log;
mod mapping;
mod memory;
mod mqtt;
mod policies;
mod print;
mod stomp;
mod storage;
#[cfg(test)]
mod tests;
mod users;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use amqp::Amqp;
pub use environment::unknown_variables;
pub use http::{HttpRules, RawHttp};
pub use limits::{HEADERS_BYTES_MAX, Limits, RawLimits};
pub use listeners::{Bind, Door, Listeners, RawListeners};
pub use log::{Format, Log, RawLog};
pub use mapping::{Dialect, Mapping, RawMapping};
pub use memory::MemoryLimit;
pub use mqtt::Mqtt;
pub use policies::{PlacedPolicy, RawPolicy, RawValue};
pub use stomp::Stomp;
pub use storage::{Keeping, RawStorage, Storage};
pub use users::{RawUser, RawVhost, User, Users};

/// A configuration as written: file, environment and flags laid over the defaults.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawConfig {
    /// Directory for what must survive a restart; empty for the command line's default, and for
    /// none in a program that embeds the gateway.
    pub data: String,
    /// Keep everything in memory only.
    pub ephemeral: bool,
    /// A user who may log in from everywhere; empty for guest from loopback.
    pub default_user: String,
    /// That user's password.
    pub default_pass: String,
    /// `[storage]`.
    pub storage: RawStorage,
    /// `[listeners]`.
    pub listeners: RawListeners,
    /// `[limits]`.
    pub limits: RawLimits,
    /// `[http]`.
    pub http: RawHttp,
    /// `[amqp]`.
    pub amqp: Amqp,
    /// `[mqtt]`.
    pub mqtt: Mqtt,
    /// `[stomp]`.
    pub stomp: Stomp,
    /// `[mapping]`.
    pub mapping: RawMapping,
    /// `[log]`.
    pub log: RawLog,
    /// `[[users]]`.
    pub users: Vec<RawUser>,
    /// `[[vhosts]]`.
    pub vhosts: Vec<RawVhost>,
    /// `[[policies]]`.
    pub policies: Vec<RawPolicy>,
    /// `[[operator_policies]]`.
    pub operator_policies: Vec<RawPolicy>,
}

/// A configuration that a gateway can run with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which doors are open, and where.
    pub listeners: Listeners,
    /// Bounds.
    pub limits: Limits,
    /// Who may speak to the HTTP door.
    pub http: HttpRules,
    /// What AMQP clients are told of the broker.
    pub amqp: Amqp,
    /// Sessions of MQTT clients, and what they are told of the broker.
    pub mqtt: Mqtt,
    /// Habits of STOMP connections.
    pub stomp: Stomp,
    /// How messages travel between the protocols.
    pub mapping: Mapping,
    /// What is logged, and how.
    pub log: Log,
    /// Who may log in.
    pub users: Users,
    /// Every vhost, `/` first.
    pub vhosts: Vec<String>,
    /// Policies and operator policies.
    pub policies: Vec<PlacedPolicy>,
    /// Where messages are kept.
    pub storage: Storage,
    /// Start without what cannot be read in the data directory. A flag of one start, no setting.
    pub accept_loss: bool,
}

/// Why there is no configuration. `Display` is the one line an operator reads.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The operating system's explanation.
        reason: String,
    },
    /// The file is not TOML, has an unknown key, or a value of the wrong type.
    #[error("{}, line {line}: {text}: {rule}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// That line, key and value included.
        text: String,
        /// What is expected there.
        rule: String,
    },
    /// A value that no broker could run with.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// A value that no broker could run with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {rule}")]
pub struct Invalid {
    key: String,
    value: String,
    rule: String,
}

impl Invalid {
    /// `key`'s `value` breaks `rule`.
    pub fn new(key: impl Into<String>, value: impl Display, rule: impl Into<String>) -> Self {
        // One line, whatever was written.
        let value = value.to_string().replace('\n', "\\n");
        Self { key: key.into(), value, rule: rule.into() }
    }
}

impl RawConfig {
    /// Reads a TOML file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Self::parse(&text, path)
    }

    /// Reads TOML; `path` is for the complaint.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start).min(text.len());
            let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
            ConfigError::Syntax {
                path: path.to_owned(),
                line: text[..start].matches('\n').count() + 1,
                text: text[line_start..].lines().next().unwrap_or_default().trim().to_owned(),
                rule: error.message().replace('\n', " "),
            }
        })
    }

    /// Lays environment variables over it: `TRIVIUM_<SECTION>_<KEY>`, and `TRIVIUM_LOG` for
    /// `log.filter`.
    pub fn with_environment(
        self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        environment::overlay(&self, variable).map_err(ConfigError::Invalid)
    }

    /// The commented reference configuration, with the values of `self`. Passwords other than
    /// guest's are masked.
    pub fn print(&self) -> String {
        print::print(self)
    }
}

impl TryFrom<RawConfig> for Config {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        if raw.ephemeral && !raw.data.is_empty() {
            let rule = "excludes ephemeral = true";
            return Err(Invalid::new("data", format_args!("{:?}", raw.data), rule).into());
        }
        let keeping = Keeping::try_from(raw.storage)?;
        let mut limits = Limits::try_from(raw.limits)?;
        keeping.bound(&mut limits)?;
        let storage = match raw.data {
            data if data.is_empty() => Storage::Ephemeral,
            data => Storage::Directory(data.into(), keeping),
        };
        let vhosts = users::check_vhosts(raw.vhosts)?;
        let policies = policies::check(raw.policies, raw.operator_policies, &vhosts)?;
        let users = Users::check(raw.default_user, raw.default_pass, raw.users, &vhosts)?;
        Ok(Self {
            listeners: raw.listeners.try_into()?,
            limits,
            http: raw.http.try_into()?,
            amqp: raw.amqp.check()?,
            mqtt: raw.mqtt.check(&vhosts)?,
            stomp: raw.stomp,
            mapping: raw.mapping.try_into()?,
            log: raw.log.try_into()?,
            users,
            vhosts,
            policies,
            storage,
            accept_loss: false,
        })
    }
}
