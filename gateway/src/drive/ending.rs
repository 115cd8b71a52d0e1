//! The way out: the drain's goodbye, the last bytes, and a moment for the peer to read them.

use std::fmt;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tracing::{debug, info};
use trivium_core::{Description, Instant};

use super::scratch::{READ_BYTES, Scratch};
use super::{Drive, Goodbye, READS_PER_TURN, Transport};

/// From the end of a conversation until its socket is closed at the latest: for the last bytes
/// to leave, and for the peer to read them and close. A socket that is closed with unread input is
/// reset, and a reset takes an error frame under way with it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The same for a peer whose socket did not take the last bytes at once: who reads slowly, such as a
/// browser's tab behind a flood, has all before them to read first, and must learn why it ended.
const SLOW_CLOSE_TIMEOUT: Duration = Duration::from_mins(1);

/// Why a connection ended, as its driver saw it. The log prefers the adapter's explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The protocol's own end, from either side.
    Closed,
    /// The peer closed its socket without the protocol's goodbye.
    PeerClosed,
    /// Nothing can be read any more: the socket broke, or its transport refuses what came.
    Unreadable(String),
    /// Nothing can be written any more.
    Broken(String),
    /// The peer sent a frame that is larger than its protocol's adapter takes.
    FrameTooLarge,
    /// The peer did not take leave in time when the gateway went down.
    DrainTimeout,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::PeerClosed => f.write_str("peer closed the connection without a goodbye"),
            Self::Unreadable(error) | Self::Broken(error) => {
                write!(f, "connection broken: {error}")
            }
            Self::FrameTooLarge => f.write_str("frame larger than the limit"),
            Self::DrainTimeout => f.write_str("cut at the end of the drain"),
        }
    }
}

/// A connection whose conversation is over.
#[derive(Debug)]
pub(super) struct Ending {
    reason: Reason,
    description: Description,
    /// When to stop waiting for the peer.
    cut_at: Instant,
    /// The socket did not take the last bytes at once.
    is_slow: bool,
    /// Nothing can be written any more.
    is_broken: bool,
    /// Our side is closed.
    is_closed: bool,
}

impl Ending {
    /// Whether there may be anything left to read.
    const fn may_linger(&self) -> bool {
        !matches!(self.reason, Reason::PeerClosed | Reason::Unreadable(_))
    }
}

impl<T: Transport> Drive<T> {
    /// Once the gateway goes down: says the protocol's goodbye, and cuts whoever stays.
    pub(super) fn drain(&mut self, scratch: &mut Scratch) {
        if !self.shared.is_draining() {
            return;
        }
        let now = self.shared.clock.now();
        let Some(cut_at) = self.cut_at else {
            self.cut_at = Some(now.after(self.shared.limits.shutdown_timeout));
            if let Some(adapter) = &mut self.adapter {
                let mut batch = self.shared.broker.batch(&mut scratch.worker, now);
                adapter.handle_shutdown(&mut batch);
                batch.end();
            }
            return;
        };
        if cut_at <= now {
            self.end(Reason::DrainTimeout, scratch);
        }
    }

    /// The conversation is over: ends what the connection owns at the broker, before its last
    /// bytes say so to the client.
    pub(super) fn end(&mut self, reason: Reason, scratch: &mut Scratch) {
        let is_broken = matches!(reason, Reason::Broken(_) | Reason::DrainTimeout);
        if let Some(ending) = &mut self.ending {
            ending.is_broken |= is_broken;
            return;
        }
        let now = self.shared.clock.now();
        let mut description = Description::default();
        if let Some(mut adapter) = self.adapter.take() {
            if !adapter.is_closed() {
                let mut batch = self.shared.broker.batch(&mut scratch.worker, now);
                adapter.handle_disconnect(&mut batch);
                batch.end();
            }
            description = adapter.describe();
        }
        if let Some(pending) = self.pending.take() {
            // An accepted change runs to its end.
            self.shared.tasks.spawn(pending);
        }
        self.input = Vec::new();
        let cut_at = self.cut_after(CLOSE_TIMEOUT);
        let (is_slow, is_closed) = (false, false);
        self.ending = Some(Ending { reason, description, cut_at, is_slow, is_broken, is_closed });
    }

    fn cut_after(&self, patience: Duration) -> Instant {
        let patience = self.shared.clock.now().after(patience);
        self.cut_at.map_or(patience, |cut_at| cut_at.min(patience))
    }

    /// Writes what is left, closes, and waits for the peer to do the same.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Reason> {
        if self.is_flushing || !scratch.out.is_empty() {
            self.write(cx, scratch);
        }
        let is_flushing = self.is_flushing;
        let slow_cut_at = self.cut_after(SLOW_CLOSE_TIMEOUT);
        let Some(ending) = &mut self.ending else { return Poll::Pending };
        if is_flushing && !ending.is_slow {
            ending.is_slow = true;
            ending.cut_at = slow_cut_at;
        }
        let is_late = ending.cut_at <= self.shared.clock.now();
        if ending.is_broken || is_late {
            return Poll::Ready(self.finish());
        }
        if !is_flushing && !ending.is_closed {
            let goodbye = if self.cut_at.is_some() { Goodbye::Shutdown } else { Goodbye::Normal };
            ending.is_closed = match self.transport.poll_close(cx, goodbye) {
                Poll::Pending => false,
                Poll::Ready(Ok(())) if ending.may_linger() => true,
                Poll::Ready(_) => return Poll::Ready(self.finish()),
            };
        }
        if ending.is_closed && self.poll_linger(cx, scratch).is_ready() {
            return Poll::Ready(self.finish());
        }
        self.arm(cx, self.ending.as_ref().map(|ending| ending.cut_at));
        Poll::Pending
    }

    /// Reads and forgets until the peer has closed.
    fn poll_linger(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<()> {
        for _ in 0..READS_PER_TURN {
            scratch.read.clear();
            scratch.read.reserve(READ_BYTES);
            match self.transport.poll_read(cx, &mut scratch.read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn finish(&mut self) -> Reason {
        let Some(Ending { reason, description, .. }) = self.ending.take() else {
            return Reason::Closed;
        };
        let because = match &description.error {
            Some(error) => error.clone(),
            None if self.cut_at.is_some() && reason == Reason::Closed => "shutdown".to_owned(),
            None => reason.to_string(),
        };
        let (peer, protocol) = (self.caller.peer, self.caller.protocol.name());
        if self.is_open {
            let Description { user, client, .. } = &description;
            info!(%peer, protocol, user, client, reason = because, "disconnected");
        } else if self.has_spoken {
            info!(%peer, protocol, reason = because, "disconnected before it was open");
        } else {
            debug!(%peer, protocol, reason = because, "disconnected without a word");
        }
        reason
    }
}

impl<T> Drop for Drive<T> {
    fn drop(&mut self) {
        if self.is_open {
            let counters = self.shared.counters.of(self.caller.protocol);
            counters.connections_open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
