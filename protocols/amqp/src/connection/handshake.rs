//! From the protocol header to `connection.open-ok` (section 2.2.4, with RabbitMQ's checks).

use amq_protocol::protocol::{AMQPClass, connection};
use trivium_core::{Principal, Refusal, Request, Table, Value};

use super::{CLIENT_NAME_BYTES_MAX, Client, Connection, Pending, State};
use crate::Config;
use crate::method::{Method, MethodId};
use crate::reply_code::{Fault, ReplyCode};
use crate::{frame, method, sasl, table};

/// What a client says first, and what it is told when it says anything else.
const HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";

/// The header of 0-9, which clients of 0-9-1 have sent too; RabbitMQ takes it.
const HEADER_OF_0_9: &[u8; 8] = b"AMQP\x01\x01\0\x09";

/// The header that most clients of 0-8 sent; RabbitMQ 3.x takes it, and answers with that version.
const HEADER_OF_0_8: &[u8; 8] = b"AMQP\x01\x01\x08\0";

/// In RabbitMQ's order; client suites ask for them by name.
const CAPABILITIES: [&str; 9] = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
];

impl Connection {
    /// Takes the protocol header once all of it is there.
    pub(super) fn take_header(&mut self, input: &[u8]) -> usize {
        let Some(header) = input.first_chunk::<8>() else { return 0 };
        let version = match header {
            HEADER | HEADER_OF_0_9 => Some([0, 9]),
            HEADER_OF_0_8 => Some([8, 0]),
            _ => None,
        };
        if let Some(version) = version {
            self.write_start(version);
            self.state = State::AwaitStartOk;
        } else {
            self.out.bytes.extend_from_slice(HEADER);
            self.out.end_frame();
            self.close_silently("bad protocol header");
        }
        header.len()
    }

    /// `connection.start`, by hand: the crate sorts tables, and these have an order.
    fn write_start(&mut self, version: [u8; 2]) {
        let can = |name: &str| (name.to_owned(), Value::Bool(true));
        let capabilities = Value::Table(Table(CAPABILITIES.map(can).to_vec()));
        let config = &self.config;
        let texts = [
            ("cluster_name", &config.cluster_name),
            ("copyright", &config.copyright),
            ("information", &config.information),
            ("platform", &config.platform),
            ("product", &config.product),
            ("version", &config.version),
        ]
        .map(|(name, text)| (name, Value::text(text.as_str())));
        frame::write(&mut self.out, frame::METHOD, 0, |bytes| {
            bytes.extend_from_slice(&[0, 10, 0, 10]);
            bytes.extend_from_slice(&version);
            let properties = std::iter::once(("capabilities", &capabilities));
            let properties = properties.chain(texts.iter().map(|(name, text)| (*name, text)));
            let properties = properties.map(|(name, value)| (name.into(), value));
            table::encode(properties, bytes);
            for text in [sasl::MECHANISMS, "en_US"] {
                let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&len.to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        });
    }

    /// A method on channel 0 before `Open`. What is out of order gets no answer.
    pub(super) fn on_handshake_method(&mut self, payload: &[u8]) {
        let method = match Method::decode(payload) {
            Ok(method) => method,
            Err(fault) => return self.close_silently(fault.reply_text()),
        };
        match (self.state, method.class) {
            (_, AMQPClass::Connection(connection::AMQPMethod::Close(_))) => self.on_close(),
            (
                State::AwaitStartOk,
                AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)),
            ) => self.on_start_ok(&start_ok, &method.table),
            (
                State::AwaitTuneOk,
                AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)),
            ) => self.on_tune_ok(&tune_ok),
            (State::AwaitOpen, AMQPClass::Connection(connection::AMQPMethod::Open(open))) => {
                let principal = self.client.principal.clone();
                let Some(principal) = principal else {
                    return self.fail(0, &Fault::of(&Refusal::Internal, method.id));
                };
                let vhost = Some(open.virtual_host.as_str().to_owned());
                let request = Request::Open { principal, vhost, or_default: false };
                self.ask(None, request, Pending::Open);
            }
            _ => self.close_silently("unexpected method during the handshake"),
        }
    }

    fn on_start_ok(&mut self, start_ok: &connection::StartOk, properties: &Table) {
        self.client = Client::of(properties);
        match sasl::credentials(start_ok.mechanism.as_str(), start_ok.response.as_bytes()) {
            Ok(credentials) => {
                self.state = State::LoggingIn;
                let mechanism = credentials.mechanism;
                self.ask(None, Request::Login(credentials), Pending::Login { mechanism });
            }
            Err(error) => self.close_silently(error.to_string()),
        }
    }

    pub(super) fn on_logged_in(&mut self, principal: Principal) {
        self.client.principal = Some(principal);
        self.write_connection(connection::AMQPMethod::Tune(connection::Tune {
            channel_max: self.config.channel_max,
            frame_max: self.config.frame_bytes_max,
            heartbeat: self.config.heartbeat_secs(),
        }));
        self.state = State::AwaitTuneOk;
    }

    pub(super) fn on_login_refused(&mut self, mechanism: &str, refusal: &Refusal) {
        if !matches!(refusal, Refusal::LoginRefused { .. }) {
            return self.close(&Fault::of(refusal, MethodId::NONE));
        }
        if self.client.is_told_of_failed_login {
            let text = format!(
                "Login was refused using authentication mechanism {mechanism}. For details see \
                 the broker logfile."
            );
            self.close(&Fault::new(ReplyCode::ACCESS_REFUSED, MethodId::NONE, text));
            self.error = Some(refusal.to_string());
        } else {
            self.close_silently(refusal.to_string());
        }
    }

    fn on_tune_ok(&mut self, tune_ok: &connection::TuneOk) {
        if let Err(text) = check_tune(&self.config, tune_ok) {
            let fault = Fault::new(ReplyCode::NOT_ALLOWED, MethodId::CONNECTION_TUNE, text);
            return self.close(&fault);
        }
        self.channel_max = tune_ok.channel_max;
        self.frame_bytes_max = tune_ok.frame_max as usize;
        // The client's wish counts, in both directions.
        self.heartbeat.tune(tune_ok.heartbeat);
        self.heartbeat.note_heard(self.now);
        self.state = State::AwaitOpen;
    }

    pub(super) fn on_opened(&mut self, broker: trivium_core::Connection) {
        self.broker = Some(broker);
        self.state = State::Open;
        self.deadline = None;
        self.write_connection(connection::AMQPMethod::OpenOk(connection::OpenOk {}));
    }

    pub(super) fn write_connection(&mut self, method: connection::AMQPMethod) {
        method::write(&mut self.out, 0, &AMQPClass::Connection(method));
    }
}

/// What a client answers must not be above the offer, and 0 means no limit, which is.
fn check_tune(config: &Config, tune_ok: &connection::TuneOk) -> Result<(), String> {
    let channel_max = u32::from(tune_ok.channel_max);
    check_maximum("channel_max", channel_max, u32::from(config.channel_max))?;
    check_maximum("frame_max", tune_ok.frame_max, config.frame_bytes_max)?;
    let (min, frame_max) = (Config::FRAME_BYTES_MIN, tune_ok.frame_max);
    if frame_max < min {
        return Err(format!(
            "negotiated frame_max = {frame_max} is lower than the minimum allowed value ({min})"
        ));
    }
    Ok(())
}

fn check_maximum(what: &str, tuned: u32, offered: u32) -> Result<(), String> {
    match (tuned, offered) {
        (_, 0) => Ok(()),
        (0, _) => Err(format!(
            "negotiated {what} = 0 (no limit) is higher than the maximum allowed value ({offered})"
        )),
        _ if tuned > offered => Err(format!(
            "negotiated {what} = {tuned} is higher than the maximum allowed value ({offered})"
        )),
        _ => Ok(()),
    }
}

impl Client {
    /// Reads `client-properties`.
    fn of(properties: &Table) -> Self {
        let can = |name| match properties.get("capabilities") {
            Some(Value::Table(capabilities)) => capabilities.get(name) == Some(&Value::Bool(true)),
            _ => false,
        };
        let name = properties.get("connection_name").and_then(Value::as_str);
        let kept = |name: &str| name[..name.floor_char_boundary(CLIENT_NAME_BYTES_MAX)].to_owned();
        Self {
            name: name.map(kept),
            principal: None,
            is_told_of_cancels: can("consumer_cancel_notify"),
            is_told_of_blocks: can("connection.blocked"),
            is_told_of_failed_login: can("authentication_failure_close"),
        }
    }
}
