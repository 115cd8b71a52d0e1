//! The way in: bytes from the socket, requests to the control stack, and the answers.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tracing::info;
use trivium_core::control::Origin;
use trivium_core::{Answer, Response};

use super::scratch::{READ_BYTES, Scratch};
use super::{Drive, Progress, Reason, Transport};
use crate::control::Ask;

/// Bytes asked of the first read behind a frame that is not complete; it grows with the frame.
const FIRST_READ_BYTES: usize = 16 * 1024;

/// Requests answered in one turn before others come first.
const REQUESTS_PER_TURN: usize = 64;

/// What became of an adapter's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// There were none.
    Nothing,
    /// All are answered.
    Answered,
    /// One is under way.
    Waiting,
}

impl From<Asked> for Progress {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Nothing | Asked::Waiting => Self::Blocked,
            Asked::Answered => Self::More,
        }
    }
}

impl<T: Transport> Drive<T> {
    /// Continues the request under way, or reads once and hands over what is complete.
    pub(super) fn take_input(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Progress {
        if self.is_paused(cx) {
            return Progress::Blocked;
        }
        if let Some(mut pending) = self.pending.take() {
            match pending.as_mut().poll(cx) {
                Poll::Ready(answer) => self.answer(answer, cx, scratch),
                Poll::Pending => self.pending = Some(pending),
            }
            if self.ask(cx, scratch) == Asked::Waiting {
                return Progress::Blocked;
            }
        }
        // What is left of the last read is mostly half a small frame: it goes to the front of the
        // thread's buffer, so that every read may be a full one.
        let is_borrowed = self.input.len() <= FIRST_READ_BYTES;
        let mut buffer = std::mem::take(&mut self.input);
        if is_borrowed {
            scratch.read.clear();
            scratch.read.append(&mut buffer);
            buffer = std::mem::take(&mut scratch.read);
        }
        let mut progress = self.read(cx, &mut buffer, scratch);
        if self.is_paused(cx) {
            progress = Progress::Blocked;
        }
        if is_borrowed {
            // Exactly as long as what is left: most often half a small frame, or nothing.
            self.input = buffer.as_slice().to_vec();
            buffer.clear();
            scratch.read = buffer;
        } else if !buffer.is_empty() {
            self.input = buffer;
        }
        progress
    }

    /// Whether it is not read from for a moment, because it publishes faster than the log writes.
    fn is_paused(&mut self, cx: &Context<'_>) -> bool {
        self.is_paused = self.is_paused && self.shared.broker.pause(cx.waker());
        self.is_paused
    }

    /// Reads once, unless the adapter has yet to take what it was given, and lets it take.
    fn read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Progress {
        if !self.is_input_complete {
            let is_small = buffer.len() <= FIRST_READ_BYTES;
            let wanted = if is_small { READ_BYTES - buffer.len() } else { FIRST_READ_BYTES };
            buffer.reserve(wanted.max(buffer.len().min(READ_BYTES)));
            match self.transport.poll_read(cx, buffer) {
                Poll::Pending => return Progress::Blocked,
                Poll::Ready(Ok(0)) => {
                    self.end(Reason::PeerClosed, scratch);
                    return Progress::Blocked;
                }
                Poll::Ready(Ok(count)) => {
                    self.has_spoken = true;
                    self.owes_acknowledgement = true;
                    let counters = self.shared.counters.of(self.caller.protocol);
                    counters.received_bytes.fetch_add(count as u64, Ordering::Relaxed);
                }
                Poll::Ready(Err(error)) => {
                    self.end(Reason::Unreadable(error.to_string()), scratch);
                    return Progress::Blocked;
                }
            }
        }
        let (taken, progress) = self.hand_over(cx, buffer, scratch);
        buffer.drain(..taken);
        self.is_input_complete &= !buffer.is_empty();
        let left_max =
            self.adapter.as_ref().map_or(usize::MAX, |adapter| adapter.input_bytes_max());
        if !self.is_input_complete && buffer.len() > left_max {
            self.end(Reason::FrameTooLarge, scratch);
        }
        progress
    }

    /// Lets the adapter take frames until it wants more bytes, and asks what it asks meanwhile.
    /// Returns the bytes taken.
    fn hand_over(
        &mut self,
        cx: &mut Context<'_>,
        input: &[u8],
        scratch: &mut Scratch,
    ) -> (usize, Progress) {
        let mut taken = 0;
        for _ in 0..REQUESTS_PER_TURN {
            self.is_input_complete = false;
            let Some(adapter) = &mut self.adapter else { return (taken, Progress::Blocked) };
            let now = self.shared.clock.now();
            let mut batch = self.shared.broker.batch(&mut scratch.worker, now);
            taken += adapter.handle_bytes(&input[taken..], &mut batch);
            let is_spent = batch.is_spent();
            self.is_paused |= batch.must_pause();
            batch.end();
            debug_assert!(taken <= input.len(), "an adapter takes what it is given");
            match self.ask(cx, scratch) {
                Asked::Nothing => {
                    self.is_input_complete = is_spent;
                    let progress = if is_spent { Progress::Spent } else { Progress::More };
                    return (taken, progress);
                }
                Asked::Answered if taken == input.len() => return (taken, Progress::More),
                Asked::Answered => {}
                Asked::Waiting => {
                    self.is_input_complete = true;
                    return (taken, Progress::Blocked);
                }
            }
        }
        self.is_input_complete = true;
        (taken, Progress::Spent)
    }

    /// Takes the adapter's requests to the control stack; what is ready is answered inline.
    pub(super) fn ask(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Asked {
        let mut asked = Asked::Nothing;
        if self.pending.is_some() {
            return Asked::Waiting;
        }
        while let Some((session, request)) =
            self.adapter.as_mut().and_then(|adapter| adapter.poll_request())
        {
            let mut pending = self.shared.control.ask(Ask {
                origin: Origin {
                    session,
                    principal: self.principal.clone(),
                    protocol: self.caller.protocol,
                },
                request,
                caller: self.caller,
                outbox: self.outbox.clone(),
            });
            match pending.as_mut().poll(cx) {
                Poll::Ready(answer) => self.answer(answer, cx, scratch),
                Poll::Pending => {
                    self.pending = Some(pending);
                    return Asked::Waiting;
                }
            }
            asked = Asked::Answered;
        }
        asked
    }

    fn answer(&mut self, answer: Answer, cx: &Context<'_>, scratch: &mut Scratch) {
        // `cancel-ok` follows the last delivery.
        self.take_events(cx, scratch);
        if let Ok(Response::LoggedIn(principal) | Response::Proven { principal, .. }) = &answer {
            self.principal = Some(principal.clone());
        }
        let Some(adapter) = &mut self.adapter else { return };
        let mut batch = self.shared.broker.batch(&mut scratch.worker, self.shared.clock.read());
        adapter.handle_response(answer, &mut batch);
        batch.end();
        if !self.is_open {
            self.notice_opening();
        }
    }

    /// Past its handshake, a connection is counted and logged.
    fn notice_opening(&mut self) {
        let Some(description) = self.adapter.as_ref().map(|adapter| adapter.describe()) else {
            return;
        };
        if !description.is_open {
            return;
        }
        self.is_open = true;
        let counters = self.shared.counters.of(self.caller.protocol);
        counters.connections_open.fetch_add(1, Ordering::Relaxed);
        counters.connections_total.fetch_add(1, Ordering::Relaxed);
        info!(
            peer = %self.caller.peer,
            protocol = self.caller.protocol.name(),
            carrier = self.caller.carrier.name(),
            version = description.version,
            user = description.user,
            client = description.client,
            "connected"
        );
    }
}
