//! One MQTT client, from its first byte to its last, without a socket.
//!
//! ```text
//!               CONNECT            CONNACK 0
//!  AwaitConnect -------> Opening ------------> Open
//!       |                   |                   |
//!       | silence           | CONNACK refusal   | DISCONNECT, will
//!       '-------------------+-------------------+-----> Closed
//! ```
//!
//! Opening is three requests: who is it, may it enter, its session. Everything that ends a
//! connection comes through [`Connection::close`], which is also where a will is published.

mod aliases;
mod incoming;
mod open;
mod opening;
mod outgoing;
mod proving;
mod slots;
mod subscribing;

use std::sync::Arc;

use trivium_core::control::{Answer, Request};
use trivium_core::{Adapter, Batch, Description, Event, Instant, Refusal, SessionHandle, Transmit};

use crate::fault::Fault;
use crate::packet::connect::Connect;
use crate::packet::{Header, kind};
use crate::{Config, ReasonCode};
use open::Open;
use opening::{Opening, Progress, write_refusal};

/// Protocol state of one client. See the module for the diagram.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    state: State,
    request: Option<(Option<SessionHandle>, Request)>,
    output: Transmit,
    /// Until when the client must have logged in.
    connect_deadline: Instant,
    description: Description,
}

#[derive(Debug)]
enum State {
    AwaitConnect,
    Opening(Box<Opening>),
    Open(Box<Open>),
    /// The session is kept until the adapter is dropped: what this batch staged still names it.
    Closed {
        _last: Option<Box<Open>>,
    },
}

/// Why a conversation ends.
#[derive(Debug)]
enum End {
    /// The client said DISCONNECT.
    Goodbye(ReasonCode),
    /// The client broke a rule.
    Fault(Fault),
    /// The broker wants it.
    Refused(Box<Refusal>),
    /// The socket is gone.
    Lost,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl End {
    /// What our DISCONNECT says; `None` to send none.
    fn disconnect_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Goodbye(_) | Self::Lost => None,
            Self::Fault(fault) => Some(fault.code),
            Self::Refused(refusal) => Some(match ReasonCode::of(refusal) {
                ReasonCode::BAD_USER_NAME_OR_PASSWORD => ReasonCode::NOT_AUTHORIZED,
                code => code,
            }),
        }
    }

    /// What our CONNACK says, and why; `None` to send none. Why a login failed is nobody's business.
    fn connack(&self) -> Option<(ReasonCode, Option<String>)> {
        match self {
            Self::Goodbye(_) | Self::Lost => None,
            Self::Fault(fault) => Some((fault.code, Some(fault.reason.to_owned()))),
            Self::Refused(refusal) => {
                let is_secret = matches!(**refusal, Refusal::LoginRefused { .. });
                let reason = (!is_secret).then(|| refusal.to_string());
                Some((ReasonCode::of_connect(refusal), reason))
            }
        }
    }

    /// What a DISCONNECT gives as its reason.
    fn reason(&self) -> String {
        match self {
            Self::Goodbye(_) | Self::Lost => String::new(),
            Self::Fault(fault) => fault.reason.to_owned(),
            Self::Refused(refusal) => refusal.to_string(),
        }
    }

    /// What the log says.
    fn explanation(&self) -> Option<String> {
        match self {
            Self::Goodbye(ReasonCode::SUCCESS | ReasonCode::DISCONNECT_WITH_WILL) => None,
            Self::Goodbye(code) => Some(format!("client disconnected with {code:?}")),
            Self::Fault(fault) => Some(fault.to_string()),
            Self::Refused(refusal) => Some(refusal.to_string()),
            Self::Lost => Some("connection lost".to_owned()),
        }
    }
}

impl Connection {
    /// A client whose socket was accepted `now`.
    #[must_use]
    pub fn new(config: Arc<Config>, now: Instant) -> Self {
        let connect_deadline = now.after(config.connect_timeout);
        Self {
            config,
            state: State::AwaitConnect,
            request: None,
            output: Transmit::default(),
            connect_deadline,
            description: Description { version: "MQTT", ..Description::default() },
        }
    }

    /// Whether the broker owes an answer. No packet is taken meanwhile.
    fn is_waiting(&self) -> bool {
        match &self.state {
            State::AwaitConnect => false,
            State::Opening(opening) => !opening.awaits_client(),
            State::Closed { .. } => true,
            State::Open(open) => open.is_waiting(),
        }
    }

    /// Takes one packet from the start of `input`; returns its length, 0 while it is incomplete.
    fn take_packet(&mut self, input: &[u8], batch: &mut Batch<'_>) -> Result<usize, End> {
        let is_connect = matches!(self.state, State::AwaitConnect);
        // Whatever else speaks here is not worth waiting for its length [MQTT-3.1.0-1].
        if is_connect && input.first().is_some_and(|&first| first != kind::CONNECT << 4) {
            return Err(Fault::protocol("the first packet is not CONNECT").into());
        }
        let Some(header) = Header::read(input, self.input_bytes_max())? else { return Ok(0) };
        let Some(packet) = input.get(..header.packet_bytes()) else { return Ok(0) };
        match &mut self.state {
            State::AwaitConnect => self.on_connect(header, packet),
            State::Open(open) => {
                let is_publish = header.kind() == kind::PUBLISH;
                if is_publish && batch.alarms().any() && open.waits_for_calm() {
                    // Not taken: it comes again.
                    self.request = Some((Some(open.handle()), Request::AwaitCalm));
                    return Ok(0);
                }
                open.on_packet(header, packet, batch, &mut self.output)?;
                if open.is_waiting() {
                    self.request = open.take_request();
                }
            }
            State::Opening(opening) => {
                self.request = Some((None, opening.on_packet(header, packet)?));
            }
            State::Closed { .. } => return Ok(0),
        }
        Ok(packet.len())
    }

    fn on_connect(&mut self, header: Header, packet: &[u8]) {
        let decoded = Connect::decode(header.body(packet));
        let mut connect = match decoded {
            Ok(connect) => connect,
            Err(rejected) => {
                if let Some(version) = rejected.answer {
                    write_refusal(rejected.fault.code, None, version, &mut self.output);
                }
                return self.end(State::Closed { _last: None }, &End::Fault(rejected.fault));
            }
        };
        if let Err(fault) = header.check(connect.version) {
            write_refusal(fault.code, None, connect.version, &mut self.output);
            return self.end(State::Closed { _last: None }, &End::Fault(fault));
        }
        self.description.version = connect.version.name();
        self.description.client = Some(connect.client_id.clone()).filter(|name| !name.is_empty());
        self.request = Some((None, Request::Login(opening::credentials(&mut connect))));
        self.state = State::Opening(Box::new(Opening::new(connect, &self.config)));
    }

    /// The answer to one of the requests behind a CONNECT.
    fn on_opening_answer(&mut self, answer: Answer, batch: &mut Batch<'_>) -> Result<(), End> {
        let State::Opening(opening) = &mut self.state else { return Ok(()) };
        match opening.on_answer(answer?, &self.config, &mut self.output)? {
            Progress::Ask(handle, request) => {
                if let Request::Open { principal, .. } = &request {
                    self.description.user = Some(principal.user.to_string());
                }
                self.request = Some((handle, request));
            }
            Progress::Challenged => {}
            Progress::Accepted => {
                let last = std::mem::replace(&mut self.state, State::Closed { _last: None });
                let State::Opening(opening) = last else { return Ok(()) };
                self.description.client = Some(opening.client_id().to_owned());
                let open = opening.accept(&self.config, batch, &mut self.output)?;
                self.description.is_open = true;
                self.state = State::Open(Box::new(open));
            }
        }
        Ok(())
    }

    /// Ends the conversation: what the client is told, its will, and what the log says.
    fn close(&mut self, end: &End, batch: &mut Batch<'_>) {
        let mut last = None;
        match std::mem::replace(&mut self.state, State::Closed { _last: None }) {
            State::AwaitConnect | State::Closed { .. } => {}
            State::Opening(opening) => {
                if let Some((code, reason)) = end.connack() {
                    opening.refuse(code, reason.as_deref(), &mut self.output);
                }
            }
            State::Open(mut open) => {
                if let Some(code) = end.disconnect_code()
                    && open.version().is_5()
                {
                    open.write_disconnect(code, &end.reason(), &mut self.output);
                }
                open.publish_will(batch);
                last = Some(open);
            }
        }
        self.end(State::Closed { _last: last }, end);
    }

    fn end(&mut self, state: State, end: &End) {
        self.state = state;
        self.request = None;
        self.description.error = end.explanation();
    }
}

impl Adapter for Connection {
    fn handle_bytes(&mut self, input: &[u8], batch: &mut Batch<'_>) -> usize {
        if let State::Open(open) = &mut self.state {
            open.heard(batch.now());
        }
        let mut taken = 0;
        while !self.is_waiting() && !batch.is_spent() {
            match self.take_packet(&input[taken..], batch) {
                Ok(0) => break,
                Ok(packet_bytes) => taken += packet_bytes,
                Err(end) => {
                    self.close(&end, batch);
                    break;
                }
            }
        }
        taken
    }

    fn handle_event(&mut self, event: Event, batch: &mut Batch<'_>) {
        let result = match (&mut self.state, event) {
            (State::AwaitConnect | State::Closed { .. }, _) => return,
            (_, Event::TakenOver) => Err(Refusal::TakenOver.into()),
            (_, Event::Closed { because }) => Err(End::Refused(because)),
            (State::Opening(_), _) => return,
            (State::Open(open), event) => open.on_event(event, batch, &mut self.output),
        };
        if let Err(end) = result {
            self.close(&end, batch);
        }
    }

    fn handle_response(&mut self, answer: Answer, batch: &mut Batch<'_>) {
        let result = match &mut self.state {
            State::AwaitConnect | State::Closed { .. } => return,
            State::Opening(_) => self.on_opening_answer(answer, batch),
            State::Open(open) => {
                let result = open.on_answer(answer, batch, &mut self.output);
                self.request = open.take_request();
                result
            }
        };
        if let Err(end) = result {
            self.close(&end, batch);
        }
    }

    fn handle_timeout(&mut self, now: Instant, batch: &mut Batch<'_>) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        let fault = match &self.state {
            State::Open(open) => open.fault_at_deadline(),
            _ => Fault::protocol("no login within the time given"),
        };
        self.close(&End::Fault(fault), batch);
    }

    fn handle_shutdown(&mut self, batch: &mut Batch<'_>) {
        if !self.is_closed() {
            let refusal = Refusal::Closing { reason: batch.farewell().to_owned() };
            self.close(&refusal.into(), batch);
        }
    }

    fn handle_disconnect(&mut self, batch: &mut Batch<'_>) {
        if !self.is_closed() {
            self.close(&End::Lost, batch);
        }
    }

    fn poll_request(&mut self) -> Option<(Option<SessionHandle>, Request)> {
        self.request.take()
    }

    fn poll_transmit(&mut self, out: &mut Transmit) {
        self.output.move_to(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::AwaitConnect => Some(self.connect_deadline),
            State::Opening(opening) => opening.is_login().then_some(self.connect_deadline),
            State::Open(open) => open.deadline(),
            State::Closed { .. } => None,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    fn input_bytes_max(&self) -> usize {
        match &self.state {
            State::AwaitConnect => self.config.connect_bytes_max,
            State::Opening(opening) if opening.awaits_client() => self.config.connect_bytes_max,
            _ => self.config.packet_bytes_max,
        }
    }

    fn describe(&self) -> Description {
        self.description.clone()
    }
}

#[cfg(test)]
mod tests;
