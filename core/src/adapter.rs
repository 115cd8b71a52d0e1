//! The calling convention between one connection's driver and its protocol.
//!
//! An adapter is a value without a socket, a clock or a task. The driver calls one `handle_*`,
//! then drains every `poll_*`, and only then calls the next `handle_*`:
//!
//! ```text
//!  socket bytes ----> handle_bytes ----.            .--> poll_request  --> control service
//!  outbox events ---> handle_event ----+--> adapter +--> poll_transmit --> socket
//!  control answer --> handle_response -+            +--> poll_timeout  --> timer wheel
//!  timer -----------> handle_timeout --+            '--> is_closed     --> close the socket
//!  SIGTERM ---------> handle_shutdown -+
//!  socket gone -----> handle_disconnect'
//! ```
//!
//! Rules the driver keeps:
//!
//! 1. While a request is under way no bytes are handed in; events and timeouts are.
//! 2. Before a response is handed in, the outbox is drained through `handle_event`: `cancel-ok`
//!    follows the last delivery.
//! 3. Bytes that `handle_bytes` did not take are presented again, with what arrived since.
//! 4. Once `is_closed`, what `poll_transmit` gave is written and the socket is closed. The adapter
//!    is then dropped, which ends its sessions and its connection at the broker.

use crate::control::{Answer, Request};
use crate::{Batch, Event, Instant, SessionHandle};

/// One client's protocol state. See the module for the calling rules.
pub trait Adapter: std::fmt::Debug + Send {
    /// Bytes arrived. Takes every complete frame, up to one that must wait for the broker or
    /// until `batch.is_spent()`, and returns how many bytes that were.
    fn handle_bytes(&mut self, input: &[u8], batch: &mut Batch<'_>) -> usize;

    /// Something happened at the broker that this client must learn.
    fn handle_event(&mut self, event: Event, batch: &mut Batch<'_>);

    /// The answer to what `poll_request` gave.
    fn handle_response(&mut self, answer: Answer, batch: &mut Batch<'_>);

    /// `poll_timeout` has come.
    fn handle_timeout(&mut self, now: Instant, batch: &mut Batch<'_>);

    /// The gateway is going down: say this protocol's goodbye.
    fn handle_shutdown(&mut self, batch: &mut Batch<'_>);

    /// The socket is gone, or the driver gives up on the client. Nothing more is sent; the last
    /// chance to publish a will.
    fn handle_disconnect(&mut self, batch: &mut Batch<'_>);

    /// What the control service shall be asked, and for which session.
    fn poll_request(&mut self) -> Option<(Option<SessionHandle>, Request)>;

    /// Moves everything written since the last call to the end of `out`.
    fn poll_transmit(&mut self, out: &mut Transmit);

    /// When `handle_timeout` wants to be called if nothing happens before; `None` for never.
    fn poll_timeout(&self) -> Option<Instant>;

    /// The conversation is over. Write what is left, close the socket.
    fn is_closed(&self) -> bool;

    /// The most bytes of one frame that `handle_bytes` may leave untaken while it waits for the
    /// rest. The driver closes a connection that leaves more.
    fn input_bytes_max(&self) -> usize;

    /// Who this is and why it ended, for the log.
    fn describe(&self) -> Description;
}

/// Whatever a client speaks, behind a pointer.
impl Adapter for Box<dyn Adapter> {
    fn handle_bytes(&mut self, input: &[u8], batch: &mut Batch<'_>) -> usize {
        (**self).handle_bytes(input, batch)
    }

    fn handle_event(&mut self, event: Event, batch: &mut Batch<'_>) {
        (**self).handle_event(event, batch);
    }

    fn handle_response(&mut self, answer: Answer, batch: &mut Batch<'_>) {
        (**self).handle_response(answer, batch);
    }

    fn handle_timeout(&mut self, now: Instant, batch: &mut Batch<'_>) {
        (**self).handle_timeout(now, batch);
    }

    fn handle_shutdown(&mut self, batch: &mut Batch<'_>) {
        (**self).handle_shutdown(batch);
    }

    fn handle_disconnect(&mut self, batch: &mut Batch<'_>) {
        (**self).handle_disconnect(batch);
    }

    fn poll_request(&mut self) -> Option<(Option<SessionHandle>, Request)> {
        (**self).poll_request()
    }

    fn poll_transmit(&mut self, out: &mut Transmit) {
        (**self).poll_transmit(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn is_closed(&self) -> bool {
        (**self).is_closed()
    }

    fn input_bytes_max(&self) -> usize {
        (**self).input_bytes_max()
    }

    fn describe(&self) -> Description {
        (**self).describe()
    }
}

/// What the log says about a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Past its handshake: logged in, vhost entered.
    pub is_open: bool,
    /// The user, once logged in.
    pub user: Option<String>,
    /// The client's name for itself: MQTT client id, AMQP `connection_name`.
    pub client: Option<String>,
    /// Protocol version as a person writes it, such as `MQTT 5`.
    pub version: &'static str,
    /// Why it is closing, once it is and when it was not the client's wish.
    pub error: Option<String>,
}

/// Bytes for the socket, with the ends of frames marked for transports that care (WebSocket).
#[derive(Debug, Default)]
pub struct Transmit {
    /// What to write.
    pub bytes: Vec<u8>,
    /// Offsets into `bytes` at which a frame ends; empty unless `marks_frames`.
    pub frame_ends: Vec<usize>,
    /// Whether anybody wants `frame_ends`.
    pub marks_frames: bool,
}

impl Transmit {
    /// Notes that a frame ends here.
    pub fn end_frame(&mut self) {
        if self.marks_frames {
            self.frame_ends.push(self.bytes.len());
        }
    }

    /// Takes back the frame that was written from `start` on, the last one.
    pub fn take_frame(&mut self, start: usize) -> Box<[u8]> {
        if self.marks_frames {
            self.frame_ends.pop();
        }
        self.bytes.split_off(start).into()
    }

    /// Moves everything in `self` to the end of `out`: a swap when `out` is empty. `self` keeps
    /// its buffer's capacity or `out`'s, and learns whether marks are wanted.
    pub fn move_to(&mut self, out: &mut Self) {
        self.marks_frames = out.marks_frames;
        if out.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, &mut out.bytes);
            std::mem::swap(&mut self.frame_ends, &mut out.frame_ends);
            self.frame_ends.clear();
            return;
        }
        let start = out.bytes.len();
        out.frame_ends.extend(self.frame_ends.drain(..).map(|end| start + end));
        out.bytes.append(&mut self.bytes);
    }
}
