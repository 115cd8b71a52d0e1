//! One generic driver for every protocol over every transport: one connection, one task, one
//! hand-written `poll` over (socket readable, outbox woken, timer, drain).
//!
//! ```text
//!  a turn:  write what is left -> read <= 64 KiB -> adapter takes frames -> end of batch
//!           -> control requests, inline -> outbox events and packets -> timeouts -> one write
//! ```
//!
//! # What keeps it bounded
//!
//! - **D-1** a turn reads at most [`READS_PER_TURN`] times and yields when the core says that the
//!   batch is spent; then the rest of the buffer waits for the next turn.
//! - **D-2** with more than [`UNWRITTEN_BYTES_MAX`] unwritten the driver neither reads nor fetches
//!   from the outbox nor passes timeouts on: a peer that we do not listen to is not silent.
//! - **D-3** bytes that the adapter leaves are at most its `input_bytes_max`; past it the
//!   connection ends.
//! - **D-4** the outbox is told of bytes only once they are written.
//! - **D-6** a publisher that fills the log faster than it writes is not read from until it has
//!   caught up; everything else goes on.
//! - **D-5** an idle connection owns no buffer: reads fill the thread's buffer, and an adapter
//!   writes to a buffer that the thread lends it for the turn ([`Scratch`]).
//!
//! The rules of the seam are those of [`trivium_core::Adapter`]. They are kept in `input` (bytes
//! and requests) and `ending` (goodbye, linger); this file has the turn and the way out.

mod ending;
mod input;
mod scratch;
#[cfg(test)]
mod tests;
mod transport;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio_util::sync::WaitForCancellationFutureOwned;
use trivium_core::{Adapter, Instant, Outbox, Principal, Protocol};

use crate::clock::Timer;
use crate::control::PendingAnswer;
use crate::shared::Shared;
use ending::Ending;
pub(crate) use ending::Reason;
use scratch::Scratch;
pub(crate) use transport::{Goodbye, Output, Stream, Transport};

/// Reads of 64 KiB before a busy connection lets others run.
const READS_PER_TURN: usize = 4;

/// Unwritten bytes past which a connection is neither read nor served (D-2).
const UNWRITTEN_BYTES_MAX: usize = 256 * 1024;

/// How a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A TCP stream to the protocol's own port.
    Tcp,
    /// A WebSocket of the HTTP port.
    WebSocket,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Their address; one of IPv4 as such, also when it came through an IPv6 socket.
    pub(crate) peer: SocketAddr,
    /// How they came in.
    pub(crate) carrier: Carrier,
    /// What they speak.
    pub(crate) protocol: Protocol,
}

impl Carrier {
    /// As logs write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::WebSocket => "websocket",
        }
    }
}

impl Caller {
    /// A caller whose `peer` is as the socket says it.
    pub(crate) fn new(peer: SocketAddr, carrier: Carrier, protocol: Protocol) -> Self {
        Self { peer: SocketAddr::new(peer.ip().to_canonical(), peer.port()), carrier, protocol }
    }

    /// Whether they call from this machine (`127.0.0.0/8`, `::1`, `::ffff:127.0.0.0/104`).
    pub(crate) fn is_loopback(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback()
    }
}

/// What a part of a turn came to; the strongest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    /// Nothing more before somebody wakes us.
    Blocked,
    /// There may be more to read.
    More,
    /// There is more, but others come first.
    Spent,
}

/// One connection, from its first byte to its last. Resolves to why it ended.
pub(crate) struct Drive<T> {
    shared: Arc<Shared>,
    transport: T,
    /// `None` once its conversation is over: dropping it ends what it owns at the broker, and
    /// that comes before its last bytes are written.
    adapter: Option<Box<dyn Adapter>>,
    caller: Caller,
    outbox: Arc<Outbox>,
    timer: Arc<Timer>,
    /// Polled once, to be woken at the drain: each poll takes a lock that all connections share.
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Woken at the drain. A connection keeps the task it was first polled in.
    is_watching: bool,
    /// Something was read, and nothing written since.
    owes_acknowledgement: bool,
    /// Who is logged in.
    principal: Option<Principal>,
    /// The request under way.
    pending: Option<PendingAnswer>,
    /// What the adapter left of the last read; usually the beginning of a frame.
    input: Vec<u8>,
    /// `input` may hold whole frames: the adapter stopped for a reason of ours.
    is_input_complete: bool,
    /// What the socket did not take.
    output: Output,
    /// It published what a log gets that does not keep up: it is not read from, nor is its silence
    /// held against it.
    is_paused: bool,
    /// The transport has not yet taken everything it was given.
    is_flushing: bool,
    /// Bytes fetched from the outbox and not yet written.
    unreleased: usize,
    /// At least one byte has arrived; probes of load balancers say nothing.
    has_spoken: bool,
    /// Past its handshake, counted and logged as such.
    is_open: bool,
    /// The goodbye is said; at this time the connection is cut.
    cut_at: Option<Instant>,
    ending: Option<Ending>,
}

impl<T: Transport> Drive<T> {
    /// `adapter` at the end of `transport`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        transport: T,
        adapter: Box<dyn Adapter>,
        caller: Caller,
    ) -> Self {
        let outbox = shared.broker.outbox();
        let drained = Box::pin(shared.drain.clone().cancelled_owned());
        Self {
            shared,
            transport,
            adapter: Some(adapter),
            caller,
            outbox,
            timer: Arc::default(),
            drained,
            is_watching: false,
            owes_acknowledgement: false,
            principal: None,
            pending: None,
            input: Vec::new(),
            is_input_complete: false,
            output: Output::default(),
            is_paused: false,
            is_flushing: false,
            unreleased: 0,
            has_spoken: false,
            is_open: false,
            cut_at: None,
            ending: None,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Poll<Reason> {
        if !self.is_watching {
            self.is_watching = true;
            let is_late = self.drained.as_mut().poll(cx).is_ready();
            debug_assert!(!is_late || self.shared.is_draining(), "the flag precedes the token");
        }
        for _ in 0..READS_PER_TURN {
            if self.ending.is_some() {
                return self.poll_end(cx, scratch);
            }
            let progress = self.serve(cx, scratch);
            if self.ending.is_some() {
                return self.poll_end(cx, scratch);
            }
            match progress {
                Progress::Blocked => {
                    self.arm(cx, self.deadline());
                    self.acknowledge();
                    return Poll::Pending;
                }
                Progress::More => {}
                Progress::Spent => break,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One pass: everything that can be done between two looks at the socket.
    fn serve(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Progress {
        if self.is_flushing {
            self.write(cx, scratch);
        }
        self.lend(scratch);
        self.drain(scratch);
        let is_listening = self.output.len() <= UNWRITTEN_BYTES_MAX;
        let mut progress = Progress::Blocked;
        if is_listening {
            progress = self.take_input(cx, scratch);
            self.take_events(cx, scratch);
            progress = progress.max(self.ask(cx, scratch).into());
            self.pass_time(scratch);
            progress = progress.max(self.ask(cx, scratch).into());
        }
        self.flush(cx, scratch);
        let is_listening_again = self.output.len() <= UNWRITTEN_BYTES_MAX;
        if !is_listening && is_listening_again { Progress::More } else { progress }
    }

    /// Lends the adapter the thread's output buffer, in exchange for its own empty one.
    fn lend(&mut self, scratch: &mut Scratch) {
        scratch.out.transmit.marks_frames = self.transport.marks_frames();
        if let Some(adapter) = &mut self.adapter {
            adapter.poll_transmit(&mut scratch.out.transmit);
        }
    }

    /// Hands over what the outbox holds: packets as they are, events through the adapter. The
    /// outbox is left with empty vectors: what one burst made large must not stay with an idle
    /// connection (D-5).
    fn take_events(&mut self, cx: &Context<'_>, scratch: &mut Scratch) {
        let Some(adapter) = &mut self.adapter else { return };
        let (mut events, mut packets) = (Vec::new(), Vec::new());
        self.unreleased += self.outbox.fetch(cx.waker(), &mut events, &mut packets);
        if !packets.is_empty() {
            let out = &mut scratch.out.transmit;
            // What the adapter wrote until now comes first.
            adapter.poll_transmit(out);
            if out.bytes.is_empty() {
                out.bytes = packets;
            } else {
                out.bytes.append(&mut packets);
            }
            out.end_frame();
        }
        if events.is_empty() {
            return;
        }
        let mut batch = self.shared.broker.batch(&mut scratch.worker, self.shared.clock.read());
        for event in events {
            adapter.handle_event(event, &mut batch);
        }
        batch.end();
    }

    fn pass_time(&mut self, scratch: &mut Scratch) {
        let now = self.shared.clock.now();
        if self.is_paused {
            return;
        }
        let Some(adapter) = &mut self.adapter else { return };
        if adapter.poll_timeout().is_some_and(|deadline| deadline <= now) {
            let mut batch = self.shared.broker.batch(&mut scratch.worker, now);
            adapter.handle_timeout(now, &mut batch);
            batch.end();
        }
    }

    /// What comes first: the adapter's deadline, or the end of the drain.
    fn deadline(&self) -> Option<Instant> {
        let timeout = self.adapter.as_ref().and_then(Adapter::poll_timeout);
        [timeout, self.cut_at].into_iter().flatten().min()
    }

    /// Asks to be woken at `deadline`. A timer that woke us once has forgotten who we are.
    fn arm(&self, cx: &Context<'_>, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.timer.waker.register(cx.waker());
            self.shared.clock.arm(&self.timer, deadline);
        }
    }

    /// Lets the peer know at once that what it sent has arrived when we have nothing to say to it:
    /// a client that writes twice without `TCP_NODELAY` holds its second write back until then,
    /// which the kernel would put off by 40 ms.
    fn acknowledge(&mut self) {
        if std::mem::take(&mut self.owes_acknowledgement) {
            self.transport.acknowledge();
        }
    }

    /// Collects what the adapter wrote, and writes it at once.
    fn flush(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) {
        if let Some(adapter) = &mut self.adapter {
            let is_lent_back = scratch.out.is_empty();
            adapter.poll_transmit(&mut scratch.out.transmit);
            if !is_lent_back {
                // It was appended, so the adapter still has the thread's buffer (D-5).
                adapter.poll_transmit(&mut trivium_core::Transmit::default());
            }
            if adapter.is_closed() {
                self.end(Reason::Closed, scratch);
            }
        }
        self.write(cx, scratch);
    }

    /// Writes what is left and what `scratch` holds; keeps what the socket does not take.
    fn write(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) {
        let is_behind = !self.output.is_empty();
        if is_behind {
            scratch.out.transmit.move_to(&mut self.output.transmit);
        }
        let out = if is_behind { &mut self.output } else { &mut scratch.out };
        if out.is_empty() && !self.is_flushing {
            return self.release();
        }
        let before = out.written;
        let poll = self.transport.poll_write(cx, out);
        let sent = (out.written - before) as u64;
        self.owes_acknowledgement &= sent == 0;
        self.shared.counters.of(self.caller.protocol).sent_bytes.fetch_add(sent, Ordering::Relaxed);
        self.is_flushing = poll.is_pending();
        match poll {
            Poll::Pending if is_behind => self.output.compact(),
            Poll::Pending => self.output = std::mem::take(&mut scratch.out),
            Poll::Ready(result) => {
                self.output = Output::default();
                scratch.out.clear();
                match result {
                    Ok(()) => self.release(),
                    Err(error) => self.end(Reason::Broken(error.to_string()), scratch),
                }
            }
        }
    }

    /// Everything fetched is written: the outbox has room again (D-4).
    fn release(&mut self) {
        let bytes = std::mem::take(&mut self.unreleased);
        if bytes > 0 && self.outbox.release(bytes) {
            self.shared.broker.resume(&self.outbox);
        }
    }
}

impl<T> fmt::Debug for Drive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Drive");
        debug.field("caller", &self.caller).field("adapter", &self.adapter);
        debug.field("ending", &self.ending).finish_non_exhaustive()
    }
}

impl<T: Transport> Future for Drive<T> {
    type Output = Reason;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reason> {
        let this = self.get_mut();
        let mut scratch = Scratch::take(this.shared.number);
        let poll = this.turn(cx, &mut scratch);
        scratch.give_back();
        poll
    }
}
