//! Log lines to stderr, one a line, as text or as JSON.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Format, Log};

/// Starts logging for the process. Harmless when somebody else has started it.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::builder().parse_lossy(&log.filter);
    let builder = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_target(false)
        .with_ansi(stderr().is_terminal())
        .with_env_filter(filter);
    let started = match log.format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    drop(started);
}
