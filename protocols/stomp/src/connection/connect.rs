//! CONNECT to CONNECTED (S-23 to S-39).

use std::str::FromStr;

use stomp_parser::headers::HeartBeatIntervals;
use stomp_parser::server::ConnectedFrameBuilder;
use trivium_core::control::{Answer, Credentials, Request, Response};
use trivium_core::{Instant, Refusal};

use super::{Connection, Open, State, Waiting, receipt_of};
use crate::failure::Failure;
use crate::frame::Frame;
use crate::heartbeat::HeartBeat;
use crate::version::{self, Version};

/// A client between CONNECT and CONNECTED.
#[derive(Debug)]
pub(super) struct Connecting {
    user: Option<String>,
    host: Option<String>,
    intervals: HeartBeatIntervals,
    receipt: Option<Vec<u8>>,
}

impl Connection {
    pub(super) fn on_connect(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        let accept_version = frame.value("accept-version");
        let Some(version) = Version::negotiate(accept_version.as_deref()) else {
            let body = format!("Supported versions are {}\n", version::SUPPORTED);
            return Err(Failure::new("Version mismatch", body));
        };
        self.version = version;
        // In 1.0 values are padded commonly (S-14). An empty value says as much as none.
        let text = |name| {
            let value = frame.value(name)?;
            let is_padded = version == Version::V1_0;
            let value = if is_padded { value.trim_start_matches(' ') } else { &*value };
            (!value.is_empty()).then(|| value.to_owned())
        };
        let intervals = match text("heart-beat") {
            None => HeartBeatIntervals::default(),
            Some(offer) => {
                HeartBeatIntervals::from_str(&offer).map_err(|_| Failure::processing_error())?
            }
        };
        let user = text("login");
        let connecting = Connecting {
            user: user.clone(),
            host: text("host"),
            intervals,
            receipt: receipt_of(frame),
        };
        let password = text("passcode").unwrap_or_default().into_bytes();
        let credentials = Credentials { mechanism: "PLAIN", user, password };
        self.ask(Request::Login(credentials), Waiting::Connect(Box::new(connecting)));
        Ok(())
    }

    pub(super) fn on_connect_answer(
        &mut self,
        connecting: Box<Connecting>,
        answer: Answer,
        now: Instant,
    ) {
        match answer {
            Ok(Response::LoggedIn(principal)) => {
                self.user = Some(principal.user.to_string());
                // S-31: clients send the name that they dialled, which need not name a vhost.
                let vhost = connecting.host.clone();
                let or_default = !self.config.strict_host && vhost.as_deref().is_some_and(is_host);
                let request = Request::Open { principal, vhost, or_default };
                self.ask(request, Waiting::Connect(connecting));
            }
            Ok(Response::Opened(connection)) => self.on_opened(&connecting, connection, now),
            Ok(_) => self.fail_connect(&Refusal::Internal, &connecting),
            Err(refusal) => self.fail_connect(&refusal, &connecting),
        }
    }

    fn fail_connect(&mut self, refusal: &Refusal, connecting: &Connecting) {
        let failure = Failure::bad_connect(refusal, connecting.user.as_deref());
        self.fail(&failure, connecting.receipt.as_deref());
        if let Refusal::LoginRefused { reason } = refusal {
            // The client gets a fixed text, the log the reason.
            self.error = Some(reason.clone());
        }
    }

    fn on_opened(
        &mut self,
        connecting: &Connecting,
        connection: trivium_core::Connection,
        now: Instant,
    ) {
        let (heartbeat, answer) = HeartBeat::negotiate(&self.config, &connecting.intervals, now);
        let connected: Vec<u8> = ConnectedFrameBuilder::new(self.version.on_wire())
            .heartbeat(answer)
            .session(format!("session-{}", connection.id().0))
            .server(self.config.server.clone())
            .build()
            .into();
        self.output.bytes.extend_from_slice(&connected);
        self.output.end_frame();
        self.heartbeat = heartbeat;
        self.connect_deadline = None;
        self.open = Some(Open { session: connection.session(0), connection });
        self.state = State::Connected;
    }
}

/// Whether a text may be a host name or an address, with or without a port.
fn is_host(text: &str) -> bool {
    let is_part = |octet: u8| octet.is_ascii_alphanumeric() || b".-_:[]%".contains(&octet);
    text.len() <= 255 && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::is_host;

    #[test]
    fn what_a_client_may_have_dialled() {
        for text in ["localhost", "broker.example.com", "::1", "[::1]:61613", "10.0.0.1:61613"] {
            assert!(is_host(text), "{text}");
        }
        for text in ["/", "/prod", "my vhost", "a/b", "prod@eu"] {
            assert!(!is_host(text), "{text}");
        }
    }
}
