//! One AMQP connection, from its first byte to its last, without a socket.
//!
//! ```text
//!              header          start-ok           logged in           tune-ok         open, opened
//!  AwaitHeader ------> AwaitStartOk ---> LoggingIn ------> AwaitTuneOk ---> AwaitOpen -------> Open
//!       |                   |                |                  |               |               |
//!       '-------------------+----------------+--- fault --------+---------------+---------------+
//!                                                  |                                            |
//!                                                  v         close-ok, or too late              |
//!                                               Closing ------------------------> Closed <------'
//!                                                                                      client's close
//! ```
//!
//! `handshake.rs` leads to `Open`, `dispatch.rs` takes its frames, `alarm.rs` makes publishes wait,
//! `closing.rs` leads out of it.

mod alarm;
mod closing;
mod dispatch;
mod handshake;

use std::sync::Arc;

use trivium_core::{
    Adapter, Answer, Batch, Description, Event, Instant, Principal, Protocol, Refusal, Request,
    Response, SessionHandle, Transmit,
};

use crate::Config;
use crate::channel::{Asked, Channels, Slot};
use crate::frame::{self, OVERHEAD_BYTES};
use crate::heartbeat::Heartbeat;
use crate::method::MethodId;
use crate::reply_code::Fault;

/// Protocol state of one client. See the module for the diagram, [`Adapter`] for the calling rules.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    state: State,
    /// The time of the last `handle_*`.
    now: Instant,
    /// When an unfinished handshake or an unanswered close ends the connection.
    deadline: Option<Instant>,
    heartbeat: Heartbeat,
    /// As negotiated, head and end included.
    frame_bytes_max: usize,
    /// As negotiated; 0 for no limit.
    channel_max: u16,
    client: Client,
    // Channels go before the connection they belong to.
    channels: Channels,
    broker: Option<trivium_core::Connection>,
    ended: Ended,
    /// It published during an alarm that is not over.
    is_blocked: bool,
    request: Option<(Option<SessionHandle>, Request)>,
    /// What the broker was asked and has not answered; no frame is taken meanwhile.
    pending: Option<Pending>,
    out: Transmit,
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AwaitHeader,
    AwaitStartOk,
    LoggingIn,
    AwaitTuneOk,
    AwaitOpen,
    Open,
    /// `connection.close` was sent; everything but its answer is discarded.
    Closing,
    /// The same, after a frame without a boundary: nothing that follows can be read.
    ClosingDeaf,
    Closed,
}

/// What a client said about itself.
#[derive(Debug, Default)]
struct Client {
    /// `connection_name`.
    name: Option<String>,
    /// Who is logged in.
    principal: Option<Principal>,
    /// Wants `basic.cancel` when a queue goes away under a consumer.
    is_told_of_cancels: bool,
    /// Wants `connection.blocked` and `connection.unblocked`.
    is_told_of_blocks: bool,
    /// Wants `connection.close` when its login fails, rather than silence.
    is_told_of_failed_login: bool,
}

impl Client {
    fn user(&self) -> &str {
        self.principal.as_ref().map_or("", |principal| &principal.user)
    }
}

/// What ended while a batch was staged. Dropping a session puts back what it has not settled, so
/// it must outlive the batch that holds its last acknowledgements: it goes with the next poll.
#[derive(Debug, Default)]
struct Ended {
    // Channels go before the connection they belong to.
    slots: Vec<Slot>,
    broker: Option<trivium_core::Connection>,
}

impl Ended {
    fn let_go(&mut self) {
        self.slots.clear();
        self.broker = None;
    }
}

/// Whose answer is awaited.
#[derive(Debug)]
enum Pending {
    Login {
        mechanism: &'static str,
    },
    Open,
    Channel(u16, Asked),
    /// The end of the alarms.
    Calm,
}

/// Octets of `connection_name` that are kept for the log.
const CLIENT_NAME_BYTES_MAX: usize = 255;

impl Connection {
    /// A connection whose client has not said anything yet.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        Self {
            state: State::AwaitHeader,
            now,
            deadline: Some(now.after(config.handshake_timeout)),
            heartbeat: Heartbeat::new(now),
            frame_bytes_max: Config::HANDSHAKE_FRAME_BYTES_MAX,
            channel_max: config.channel_max,
            client: Client::default(),
            channels: Channels::default(),
            broker: None,
            ended: Ended::default(),
            is_blocked: false,
            request: None,
            pending: None,
            out: Transmit::default(),
            error: None,
            config,
        }
    }

    fn takes_input(&self) -> bool {
        self.pending.is_none() && self.state != State::Closed
    }

    fn ask(&mut self, session: Option<SessionHandle>, request: Request, pending: Pending) {
        self.request = Some((session, request));
        self.pending = Some(pending);
    }

    fn on_answer(&mut self, pending: Pending, answer: Answer, batch: &mut Batch<'_>) {
        let result = match (pending, answer) {
            (Pending::Login { .. }, Ok(Response::LoggedIn(principal))) => {
                self.on_logged_in(principal);
                Ok(())
            }
            (Pending::Login { mechanism }, Err(refusal)) => {
                self.on_login_refused(mechanism, &refusal);
                Ok(())
            }
            (Pending::Open, Ok(Response::Opened(broker))) => {
                self.on_opened(broker);
                Ok(())
            }
            (Pending::Open, Err(refusal)) => {
                Err((0, Fault::of(&refusal, MethodId::CONNECTION_OPEN)))
            }
            (Pending::Channel(number, asked), answer) => match self.channels.open_mut(number) {
                Some(channel) => channel
                    .on_answer(asked, answer, self.frame_bytes_max, batch, &mut self.out)
                    .map(|next| self.go_on(number, next))
                    .map_err(|fault| (number, fault)),
                None => Ok(()),
            },
            (Pending::Calm, _) => {
                self.on_calm();
                Ok(())
            }
            (Pending::Login { .. } | Pending::Open, Ok(_)) => {
                Err((0, Fault::of(&Refusal::Internal, MethodId::NONE)))
            }
        };
        if let Err((number, fault)) = result {
            self.fail(number, &fault);
        }
    }

    fn on_event(&mut self, event: Event, batch: &Batch<'_>) {
        let (out, frame_bytes_max) = (&mut self.out, self.frame_bytes_max);
        match event {
            Event::Delivery(delivery) => {
                if let Some(channel) = self.channels.by_session(delivery.session) {
                    let lost = channel.on_delivery(&delivery, frame_bytes_max, out);
                    batch.note_lost(&delivery.message, Protocol::Amqp, lost);
                }
            }
            Event::Confirmed { session, through } => {
                if let Some(channel) = self.channels.by_session(session) {
                    channel.on_confirmed(through, out);
                }
            }
            Event::Refused { session, ticket, because: _ } => {
                if let Some(channel) = self.channels.by_session(session) {
                    channel.on_refused(ticket, out);
                }
            }
            Event::Returned { session, message } => {
                if let Some(channel) = self.channels.by_session(session) {
                    let lost = channel.on_returned(&message, frame_bytes_max, out);
                    batch.note_lost(&message, Protocol::Amqp, lost);
                }
            }
            Event::Cancelled { session, consumer, .. } => {
                let channel = self.channels.by_session(session);
                let tag = channel.and_then(|channel| channel.on_cancelled(consumer));
                if let Some(tag) = tag.filter(|_| self.client.is_told_of_cancels) {
                    dispatch::write_cancel(out, session.label, &tag);
                }
            }
            Event::Calm => self.on_calm(),
            Event::SessionEnded { session, because } => {
                if self.channels.by_session(session).is_some() {
                    self.fail(session.label, &Fault::of(&because, MethodId::NONE));
                }
            }
            // Only MQTT sessions are resumed.
            Event::Released { .. } => {}
            Event::TakenOver => self.end(&Refusal::TakenOver),
            Event::Closed { because } => self.end(&because),
        }
    }
}

impl Adapter for Connection {
    fn handle_bytes(&mut self, input: &[u8], batch: &mut Batch<'_>) -> usize {
        self.now = batch.now();
        self.heartbeat.note_heard(self.now);
        let mut taken = 0;
        while self.takes_input() && !batch.is_spent() {
            match self.take_frame(&input[taken..], batch) {
                0 => break,
                len => taken += len,
            }
        }
        taken
    }

    fn handle_event(&mut self, event: Event, batch: &mut Batch<'_>) {
        self.now = batch.now();
        self.on_event(event, batch);
    }

    fn handle_response(&mut self, answer: Answer, batch: &mut Batch<'_>) {
        self.now = batch.now();
        // While we waited nobody listened: the client was not silent.
        self.heartbeat.note_heard(self.now);
        if let Some(pending) = self.pending.take() {
            self.on_answer(pending, answer, batch);
        }
    }

    fn handle_timeout(&mut self, now: Instant, _batch: &mut Batch<'_>) {
        self.now = now;
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return self.on_deadline();
        }
        if self.pending.is_none() && self.heartbeat.is_silent(now) {
            let seconds = self.heartbeat.interval().as_secs();
            return self
                .close_silently(format!("missed heartbeats from client, timeout: {seconds}s"));
        }
        if self.heartbeat.must_send(now) {
            self.heartbeat.note_sent(now);
            frame::write(&mut self.out, frame::HEARTBEAT, 0, |_| {});
        }
    }

    fn handle_shutdown(&mut self, batch: &mut Batch<'_>) {
        self.now = batch.now();
        self.end(&Refusal::Closing { reason: batch.farewell().into() });
    }

    fn handle_disconnect(&mut self, _batch: &mut Batch<'_>) {
        self.let_go();
        self.state = State::Closed;
    }

    fn poll_request(&mut self) -> Option<(Option<SessionHandle>, Request)> {
        self.ended.let_go();
        self.request.take()
    }

    fn poll_transmit(&mut self, out: &mut Transmit) {
        self.ended.let_go();
        if !self.out.bytes.is_empty() {
            self.heartbeat.note_sent(self.now);
        }
        self.out.move_to(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        let heartbeat = self.heartbeat.deadline(self.pending.is_none());
        match (self.deadline, heartbeat) {
            (Some(deadline), Some(heartbeat)) => Some(deadline.min(heartbeat)),
            (deadline, heartbeat) => deadline.or(heartbeat),
        }
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn input_bytes_max(&self) -> usize {
        // The slack that `Frame::decode` grants.
        self.frame_bytes_max + OVERHEAD_BYTES
    }

    fn describe(&self) -> Description {
        Description {
            is_open: self.state == State::Open,
            user: self.client.principal.as_ref().map(|principal| principal.user.to_string()),
            client: self.client.name.clone(),
            version: "AMQP 0-9-1",
            error: self.error.clone(),
        }
    }
}
