//! From SIGTERM or Ctrl-C to the end of the process.
//!
//! The first signal begins the drain; connections end themselves ([`crate::Running::shutdown`]),
//! and are cut after `limits.shutdown_timeout_ms`. A second signal stops at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::Running;

/// SIGTERM and SIGINT of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on these signals come here instead of ending the process.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Runs until the first signal, drains, and returns when all is done or a second signal came.
pub(crate) async fn run(running: Running, mut signals: Signals) {
    let signal = signals.next().await;
    running.begin_shutdown();
    info!(signal, "shutting down");
    tokio::select! {
        has_ended = running.shutdown() => info!(drained = has_ended, "stopped"),
        signal = signals.next() => warn!(signal, "stopped at once by a second signal"),
    }
}
