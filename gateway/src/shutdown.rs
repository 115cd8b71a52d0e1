//! From SIGTERM or Ctrl-C to the end of the process.
//!
//! The first signal begins the drain; connections end themselves ([`crate::Running::shutdown`]),
//! and are cut after `limits.shutdown_timeout_ms`. A second signal stops at once.

use std::io;
use std::time::Duration;

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

/// From a fault to the end of the process: time for clients to hear of it, and for whoever asks for
/// the health of the broker to be told why.
const FAULT_SHOWN: Duration = Duration::from_secs(3);

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to.
    Asked,
    /// It could not go on.
    Fault,
}

/// Runs until the first signal, drains, and returns when all is done or a second signal came. After a
/// fault it returns by itself.
pub(crate) async fn run(running: Running, mut signals: Signals) -> End {
    let signal = tokio::select! {
        signal = signals.next() => signal,
        () = running.fault() => {
            tokio::time::sleep(FAULT_SHOWN).await;
            return End::Fault;
        }
    };
    running.begin_shutdown();
    info!(signal, "shutting down");
    tokio::select! {
        has_ended = running.shutdown() => info!(drained = has_ended, "stopped"),
        signal = signals.next() => warn!(signal, "stopped at once by a second signal"),
    }
    End::Asked
}
