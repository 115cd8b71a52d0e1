//! `[log]`: what is told to stderr, and how.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::Invalid;

/// `[log]` as written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawLog {
    /// A level, or a filter such as `info,trivium=debug`.
    pub filter: String,
    /// `text` or `json`.
    pub format: String,
}

impl Default for RawLog {
    fn default() -> Self {
        Self { filter: "info".into(), format: "text".into() }
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// `[log]`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter that `EnvFilter` understands.
    pub filter: String,
    /// How a line is written.
    pub format: Format,
}

impl TryFrom<RawLog> for Log {
    type Error = Invalid;

    fn try_from(raw: RawLog) -> Result<Self, Invalid> {
        let format = match raw.format.as_str() {
            "text" => Format::Text,
            "json" => Format::Json,
            other => {
                let value = format_args!("{other:?}");
                return Err(Invalid::new("log.format", value, "must be text or json"));
            }
        };
        if let Err(error) = EnvFilter::builder().parse(&raw.filter) {
            let rule = format!("must be error, warn, info, debug, trace or a filter ({error})");
            return Err(Invalid::new("log.filter", format_args!("{:?}", raw.filter), rule));
        }
        Ok(Self { filter: raw.filter, format })
    }
}
