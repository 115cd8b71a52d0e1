//! The ways out: faults of a channel, faults of the connection, the client's wish, the broker's.

use std::time::Duration;

use amq_protocol::protocol::{AMQPClass, channel, connection};
use amq_protocol::types::ShortString;
use trivium_core::Refusal;

use super::{Connection, State};
use crate::channel::Slot;
use crate::frame::{self, Frame};
use crate::method::{self, MethodId};
use crate::reply_code::{Fault, Scope};

/// How long the socket stays open after a frame without a boundary, for the client to read why: as
/// in RabbitMQ.
const DEAF_TIMEOUT: Duration = Duration::from_secs(3);

impl Connection {
    /// Closes what `fault` takes with it: channel `number`, or the connection.
    pub(super) fn fail(&mut self, number: u16, fault: &Fault) {
        if number == 0 || fault.code.scope() == Scope::Connection {
            return self.close(fault);
        }
        // The number is free again after `close-ok`.
        let slot = self.channels.insert(number, Slot::Closing);
        self.ended.slots.extend(slot);
        let close = channel::AMQPMethod::Close(channel::Close {
            reply_code: fault.code.0,
            reply_text: ShortString::try_new(fault.reply_text()).unwrap_or_default(),
            class_id: fault.method.class,
            method_id: fault.method.method,
        });
        method::write(&mut self.out, number, &AMQPClass::Channel(close));
    }

    /// Sends `connection.close` and waits for its answer, not for ever.
    pub(super) fn close(&mut self, fault: &Fault) {
        self.let_go();
        self.error = Some(fault.reply_text());
        self.write_connection(connection::AMQPMethod::Close(connection::Close {
            reply_code: fault.code.0,
            reply_text: ShortString::try_new(fault.reply_text()).unwrap_or_default(),
            class_id: fault.method.class,
            method_id: fault.method.method,
        }));
        self.heartbeat.tune(0);
        self.deadline = Some(self.now.after(self.config.close_timeout));
        self.state = State::Closing;
    }

    /// As [`Connection::close`], after a fault that leaves no frame boundary to go on from. Before
    /// the handshake is done nobody is told.
    pub(super) fn fail_deaf(&mut self, fault: &Fault) {
        match self.state {
            State::Open => {
                self.close(fault);
                let soon = self.now.after(self.config.close_timeout.min(DEAF_TIMEOUT));
                self.deadline = Some(soon);
                self.state = State::ClosingDeaf;
            }
            State::Closing => self.state = State::ClosingDeaf,
            _ => self.close_silently(fault.reply_text()),
        }
    }

    pub(super) fn close_silently(&mut self, error: impl Into<String>) {
        self.let_go();
        self.error = Some(error.into());
        self.state = State::Closed;
    }

    /// The client is done: everything ends, then it hears `close-ok`.
    pub(super) fn on_close(&mut self) {
        self.let_go();
        self.write_connection(connection::AMQPMethod::CloseOk(connection::CloseOk {}));
        self.state = State::Closed;
    }

    /// The broker ends it.
    pub(super) fn end(&mut self, refusal: &Refusal) {
        match self.state {
            State::Open => self.close(&Fault::of(refusal, MethodId::NONE)),
            State::Closing | State::ClosingDeaf | State::Closed => {}
            _ => self.close_silently(refusal.to_string()),
        }
    }

    pub(super) fn on_frame_while_closing(&mut self, frame: &Frame<'_>) {
        if (frame.kind, frame.channel) != (frame::METHOD, 0) {
            return;
        }
        match MethodId::of(frame.payload) {
            Some((MethodId::CONNECTION_CLOSE_OK, _)) => self.state = State::Closed,
            Some((MethodId::CONNECTION_CLOSE, _)) => {
                let ok = connection::CloseOk {};
                self.write_connection(connection::AMQPMethod::CloseOk(ok));
            }
            _ => {}
        }
    }

    /// The handshake took too long, or `close-ok` did not come.
    pub(super) fn on_deadline(&mut self) {
        if !matches!(self.state, State::Closing | State::ClosingDeaf) {
            self.error = Some("handshake timeout".into());
        }
        self.let_go();
        self.state = State::Closed;
    }

    /// Ends sessions and connection at the broker. An answer that is under way finds nobody.
    pub(super) fn let_go(&mut self) {
        self.ended.slots.extend(self.channels.drain());
        if let Some(broker) = self.broker.take() {
            self.ended.broker = Some(broker);
        }
        self.request = None;
        self.pending = None;
    }
}
