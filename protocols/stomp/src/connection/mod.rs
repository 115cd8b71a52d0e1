//! The conversation with one client.
//!
//! [`Connection`] is driven as [`Adapter`] says. A frame that must wait for the broker (a SEND to
//! a queue that this connection has not declared yet) stays untaken: the request is made, its
//! answer noted, and the driver presents the frame again.
//!
//! # Reading order
//!
//! This file has the state and what moves it; then one file for each thing a client does:
//! [`connect`], [`send`], [`subscribe`], [`settle`] (with transactions), and [`deliver`] for what
//! the broker says.

mod connect;
mod deliver;
mod send;
mod settle;
mod subscribe;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivium_core::control::{Answer, Request};
use trivium_core::{
    Adapter, Batch, Description, Event, Instant, Refusal, Session, SessionHandle, Transmit,
};

use crate::config::Config;
use crate::failure::Failure;
use crate::frame::{Frame, Framer};
use crate::heartbeat::HeartBeat;
use crate::receipt::{self, Receipts};
use crate::subscription::Subscriptions;
use crate::transaction::Transactions;
use crate::version::Version;

use connect::Connecting;
use deliver::DestinationLine;
use send::Publisher;
use settle::Committing;
use subscribe::{Subscribing, Unsubscribing};

/// Protocol state of one STOMP client.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    state: State,
    /// Chosen by CONNECT; 1.0 before it.
    version: Version,
    framer: Framer,
    /// Bytes of input that will be presented again: no sign of life the second time.
    untaken: usize,
    /// What the broker was asked and has not answered; no further frame is taken meanwhile.
    waiting: Waiting,
    /// The same, until the driver fetches it.
    request: Option<Request>,
    open: Option<Open>,
    connect_deadline: Option<Instant>,
    heartbeat: HeartBeat,
    publisher: Publisher,
    receipts: Receipts,
    subscriptions: Subscriptions,
    /// `/temp-queue/` names and the queues made for them.
    temporaries: Vec<(String, String)>,
    transactions: Transactions,
    destination: DestinationLine,
    /// Reused for what is written piecemeal.
    scratch: Vec<u8>,
    output: Transmit,
    user: Option<String>,
    error: Option<String>,
}

/// What exists once the vhost is entered. The session goes first.
#[derive(Debug)]
struct Open {
    session: Session,
    connection: trivium_core::Connection,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but CONNECT is taken.
    AwaitConnect,
    /// Frames are taken.
    Connected,
    /// DISCONNECT came: nothing is taken, and receipts that are due are waited for (S-80).
    Disconnecting,
    /// Over.
    Closed,
}

/// What the broker was asked.
#[derive(Debug, Default)]
enum Waiting {
    #[default]
    Nothing,
    /// Who is this, and may they enter?
    Connect(Box<Connecting>),
    /// A queue for the SEND that comes again.
    Declare(Box<Declaring>),
    /// The steps of SUBSCRIBE.
    Subscribe(Box<Subscribing>),
    /// The steps of UNSUBSCRIBE.
    Unsubscribe(Box<Unsubscribing>),
    /// To do all of a transaction.
    Commit(Box<Committing>),
    /// To take publishes again; the SEND comes again then.
    Calm,
}

#[derive(Debug)]
struct Declaring {
    queue: String,
    /// The receipt of the SEND, for an ERROR.
    receipt: Option<Vec<u8>>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It is done, or what remains of it is in [`Waiting`].
    Taken,
    /// It must come again when the broker has answered.
    Waits,
}

impl Connection {
    /// A client that has just connected.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        let connect_deadline = Some(now.after(config.connect_timeout));
        Self {
            config,
            state: State::AwaitConnect,
            version: Version::default(),
            framer: Framer::default(),
            untaken: 0,
            waiting: Waiting::Nothing,
            request: None,
            open: None,
            connect_deadline,
            heartbeat: HeartBeat::default(),
            publisher: Publisher::default(),
            receipts: Receipts::default(),
            subscriptions: Subscriptions::default(),
            temporaries: Vec::new(),
            transactions: Transactions::default(),
            destination: DestinationLine::default(),
            scratch: Vec::new(),
            output: Transmit::default(),
            user: None,
            error: None,
        }
    }

    /// Takes the frame at the beginning of `input`; 0 when it is not whole, must wait or ends the
    /// conversation.
    fn take_frame(&mut self, framer: &mut Framer, input: &[u8], batch: &mut Batch<'_>) -> usize {
        let version = (self.state == State::Connected).then_some(self.version);
        let frame = match framer.advance(input, version, &self.config) {
            Ok(false) => return 0,
            Ok(true) => framer.frame(input, version),
            Err(failure) => Err(failure),
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(failure) => {
                self.fail(&failure, None);
                return 0;
            }
        };
        match self.on_frame(&frame, batch) {
            Ok(Progress::Taken) => {
                let len = frame.len;
                framer.reset();
                len
            }
            Ok(Progress::Waits) => 0,
            Err(failure) if self.goes_on_after(&failure) => {
                let receipt = receipt_of(&frame);
                failure.write(self.version, receipt.as_deref(), &mut self.output);
                let len = frame.len;
                framer.reset();
                len
            }
            Err(failure) => {
                self.fail(&failure, receipt_of(&frame).as_deref());
                0
            }
        }
    }

    /// Every frame meets every state here and nowhere else.
    fn on_frame(&mut self, frame: &Frame<'_>, batch: &mut Batch<'_>) -> Result<Progress, Failure> {
        match (self.state, frame.command) {
            (State::AwaitConnect, "CONNECT" | "STOMP") => self.on_connect(frame)?,
            (State::Connected, "SEND") => return self.on_send(frame, batch),
            (State::Connected, "ACK") => self.on_ack(frame, batch)?,
            (State::Connected, "NACK") if self.version > Version::V1_0 => {
                self.on_nack(frame, batch)?;
            }
            (State::Connected, "SUBSCRIBE") => self.on_subscribe(frame)?,
            (State::Connected, "UNSUBSCRIBE") => self.on_unsubscribe(frame)?,
            (State::Connected, "BEGIN") => self.on_begin(frame)?,
            (State::Connected, "COMMIT") => self.on_commit(frame, batch)?,
            (State::Connected, "ABORT") => self.on_abort(frame)?,
            (State::Connected, "DISCONNECT") => self.on_disconnect(frame),
            (State::Connected, "CONNECT" | "STOMP") => {
                return Err(Failure::new("Illegal command", "Already connected"));
            }
            (_, command) => {
                let body = format!("Could not interpret command \"{command}\"\n");
                return Err(Failure::new("Bad command", body));
            }
        }
        Ok(Progress::Taken)
    }

    /// S-69: the RECEIPT says that everything before it was dealt with, so it comes last.
    fn on_disconnect(&mut self, frame: &Frame<'_>) {
        self.state = State::Disconnecting;
        if let Some(receipt) = receipt_of(frame) {
            match self.receipts.last() {
                Some(ticket) => self.receipts.push(ticket, &receipt),
                None => receipt::write(&receipt, &mut self.output),
            }
        }
        self.close_when_done();
    }

    fn close_when_done(&mut self) {
        if self.state == State::Disconnecting && self.receipts.is_empty() {
            self.close();
        }
    }

    /// Writes the receipt that a frame without further consequences asked for.
    fn acknowledge(&mut self, frame: &Frame<'_>) {
        if let Some(header) = frame.header("receipt") {
            self.scratch.clear();
            header.write_value(&mut self.scratch);
            receipt::write(&self.scratch, &mut self.output);
        }
    }

    /// Says why, and ends the conversation (S-82).
    fn fail(&mut self, failure: &Failure, receipt: Option<&[u8]>) {
        failure.write(self.version, receipt, &mut self.output);
        self.error = Some(failure.in_one_line());
        self.close();
    }

    /// Whether RabbitMQ's habit is asked for, and goes on here.
    fn goes_on_after(&self, failure: &Failure) -> bool {
        let is_connected = self.state == State::Connected;
        is_connected && self.config.keep_open_after_error && failure.is_about_one_frame
    }

    /// Ends the conversation without a word.
    fn give_up(&mut self, error: &str) {
        self.error = Some(error.to_owned());
        self.close();
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.waiting = Waiting::Nothing;
        self.request = None;
        self.connect_deadline = None;
    }

    /// Asks the broker.
    fn ask(&mut self, request: Request, waiting: Waiting) {
        self.request = Some(request);
        self.waiting = waiting;
    }

    fn takes_input(&self) -> bool {
        matches!(self.state, State::AwaitConnect | State::Connected)
            && matches!(self.waiting, Waiting::Nothing)
    }

    fn note_output(&mut self, now: Instant) {
        if !self.output.bytes.is_empty() {
            self.heartbeat.note_sent(now);
        }
    }
}

/// The receipt that a frame asks for, as it will be written.
fn receipt_of(frame: &Frame<'_>) -> Option<Vec<u8>> {
    frame.header("receipt").map(|header| {
        let mut receipt = Vec::new();
        header.write_value(&mut receipt);
        receipt
    })
}

impl Adapter for Connection {
    fn handle_bytes(&mut self, input: &[u8], batch: &mut Batch<'_>) -> usize {
        if input.len() > self.untaken {
            self.heartbeat.note_received(batch.now());
        }
        let mut framer = std::mem::take(&mut self.framer);
        let mut taken = 0;
        while self.takes_input() && !batch.is_spent() {
            taken += framer.padding_len(&input[taken..]);
            match self.take_frame(&mut framer, &input[taken..], batch) {
                0 => break,
                len => taken += len,
            }
        }
        self.framer = framer;
        self.note_output(batch.now());
        self.untaken = input.len() - taken;
        match self.state {
            State::AwaitConnect | State::Connected => taken,
            // Nothing that follows DISCONNECT or an error means anything (S-70).
            State::Disconnecting | State::Closed => input.len(),
        }
    }

    fn handle_event(&mut self, event: Event, batch: &mut Batch<'_>) {
        if self.state != State::Closed {
            self.on_event(event, batch);
            self.note_output(batch.now());
        }
    }

    fn handle_response(&mut self, answer: Answer, batch: &mut Batch<'_>) {
        // While the broker was asked we did not read: that silence was ours.
        self.heartbeat.note_received(batch.now());
        match std::mem::take(&mut self.waiting) {
            Waiting::Nothing | Waiting::Calm => {}
            Waiting::Connect(connecting) => self.on_connect_answer(connecting, answer, batch.now()),
            Waiting::Declare(declaring) => self.on_declared(*declaring, answer),
            Waiting::Subscribe(subscribing) => {
                self.on_subscribe_answer(subscribing, answer, batch);
            }
            Waiting::Unsubscribe(unsubscribing) => {
                self.on_unsubscribe_answer(*unsubscribing, answer, batch);
            }
            Waiting::Commit(committing) => self.on_committed(*committing, answer),
        }
        self.note_output(batch.now());
    }

    fn handle_timeout(&mut self, now: Instant, _batch: &mut Batch<'_>) {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if self.state == State::Closed {
            return;
        }
        if is_due(self.connect_deadline) {
            self.give_up("no CONNECT in time");
        } else if is_due(self.receive_due()) {
            self.give_up("missed heart-beats from the client");
        } else if is_due(self.heartbeat.send_due()) {
            self.output.bytes.push(b'\n');
            self.output.end_frame();
            self.heartbeat.note_sent(now);
        }
    }

    fn handle_shutdown(&mut self, batch: &mut Batch<'_>) {
        if self.state != State::Closed {
            let refusal = Refusal::Closing { reason: batch.farewell().to_owned() };
            self.fail(&Failure::from(&refusal), None);
        }
    }

    fn handle_disconnect(&mut self, _batch: &mut Batch<'_>) {
        // Open transactions are aborted (S-68), and unsettled messages go back with the session.
        self.close();
    }

    fn poll_request(&mut self) -> Option<(Option<SessionHandle>, Request)> {
        let request = self.request.take()?;
        Some((self.open.as_ref().map(|open| open.session.handle()), request))
    }

    fn poll_transmit(&mut self, out: &mut Transmit) {
        self.output.move_to(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        let due = [self.connect_deadline, self.receive_due(), self.heartbeat.send_due()];
        due.into_iter().flatten().min()
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    fn input_bytes_max(&self) -> usize {
        // The NUL behind the body, and the line that is over the limit.
        let head = self.config.head_bytes_max.saturating_add(2);
        self.config.message_bytes_max.saturating_add(head)
    }

    fn describe(&self) -> Description {
        Description {
            is_open: self.open.is_some(),
            user: self.user.clone(),
            client: None,
            version: if self.open.is_some() { self.version.describe() } else { "STOMP" },
            error: self.error.clone(),
        }
    }
}

impl Connection {
    /// Silence counts only while we read.
    fn receive_due(&self) -> Option<Instant> {
        self.heartbeat.receive_due().filter(|_| matches!(self.waiting, Waiting::Nothing))
    }
}
