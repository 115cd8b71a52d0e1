//! From CONNECT to CONNACK: log in, enter the vhost, open the session.

use trivium_core::control::{Credentials, Request, Response};
use trivium_core::{Instant, Refusal, Session, SessionHandle, Transmit};

use super::End;
use super::open::Open;
use crate::fault::Fault;
use crate::packet::connect::Connect;
use crate::packet::reply::{Accepted, write_accepted};
use crate::version::Version;
use crate::{Config, ReasonCode};
use mqttbytes::v5::ConnAckProperties;

/// A client whose CONNECT is not answered yet.
#[derive(Debug)]
pub(super) struct Opening {
    connect: Connect,
    entered: Option<Entered>,
}

/// Its place in the vhost.
#[derive(Debug)]
pub(super) struct Entered {
    /// Before the connection: it ends first.
    pub(super) session: Session,
    pub(super) link: trivium_core::Connection,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Progress {
    Ask(Option<SessionHandle>, Request),
    Accepted { client_id: String, session_present: bool },
}

/// What the client presented, taken out of its CONNECT: a password is not kept.
pub(super) fn credentials(connect: &mut Connect) -> Credentials {
    Credentials {
        mechanism: "PLAIN",
        user: connect.user.take(),
        password: std::mem::take(&mut connect.password),
    }
}

impl Opening {
    pub(super) const fn new(connect: Connect) -> Self {
        Self { connect, entered: None }
    }

    pub(super) const fn version(&self) -> Version {
        self.connect.version
    }

    /// Whether the login is what is waited for: it has a deadline, an accepted change has none.
    pub(super) const fn is_login(&self) -> bool {
        self.entered.is_none()
    }

    pub(super) fn on_answer(
        &mut self,
        response: Response,
        config: &Config,
    ) -> Result<Progress, End> {
        match response {
            Response::LoggedIn(principal) => {
                Ok(Progress::Ask(None, Request::Open { principal, vhost: None }))
            }
            Response::Opened(link) => {
                self.check_will_user(link.user())?;
                let session = link.session(0);
                let handle = session.handle();
                self.entered = Some(Entered { session, link });
                Ok(Progress::Ask(Some(handle), self.open_session(config)))
            }
            Response::SessionOpened { client_id, present } => {
                Ok(Progress::Accepted { client_id, session_present: present })
            }
            _ => Err(Refusal::Internal.into()),
        }
    }

    /// Sessions end with their connection: Clean Session 0 and Session Expiry come with
    /// persistent sessions.
    fn open_session(&self, config: &Config) -> Request {
        Request::OpenSession {
            client_id: self.connect.client_id.clone(),
            clean_start: self.connect.clean_start,
            ends_with_connection: true,
            unsettled_max: config.unsettled_max.min(self.connect.settings.receive_maximum).max(1),
        }
    }

    /// A will must not claim to be from somebody else.
    fn check_will_user(&self, user: &str) -> Result<(), End> {
        let claim = self.connect.will.as_ref().and_then(|will| will.user_id.as_deref());
        match claim {
            Some(claim) if claim != user => Err(Refusal::access(format!(
                "user_id property set to '{claim}' but authenticated user was '{user}'"
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// Writes the CONNACK.
    pub(super) fn accept(
        self,
        client_id: String,
        session_present: bool,
        config: &std::sync::Arc<Config>,
        now: Instant,
        out: &mut Transmit,
    ) -> Result<Open, End> {
        let Self { mut connect, entered } = self;
        let entered = entered.ok_or(Refusal::Internal)?;
        if let Some(will) = &mut connect.will {
            will.target = will.target.recoded(config.coding)?;
        }
        let cap = config.keep_alive_max_s.filter(|&cap| {
            connect.version.is_5() && (connect.keep_alive_s == 0 || connect.keep_alive_s > cap)
        });
        let accepted =
            Accepted { session_present, properties: properties(&connect, client_id, cap, config) };
        let start = out.bytes.len();
        write_accepted(accepted, connect.version, &mut out.bytes);
        if let Some(limit) = connect.settings.packet_bytes_max
            && out.bytes.len() - start > limit as usize
        {
            out.bytes.truncate(start);
            return Err(Fault::new(
                ReasonCode::PACKET_TOO_LARGE,
                "the client's Maximum Packet Size is too small for a CONNACK",
            )
            .into());
        }
        out.end_frame();
        let keep_alive_s = cap.unwrap_or(connect.keep_alive_s);
        Ok(Open::new(connect, entered, keep_alive_s, config, now))
    }
}

/// What MQTT 5 is told (section 3.2.2.3).
fn properties(
    connect: &Connect,
    client_id: String,
    keep_alive_cap: Option<u16>,
    config: &Config,
) -> ConnAckProperties {
    let mut properties = ConnAckProperties::new();
    properties.session_expiry_interval = (connect.settings.session_expiry > 0).then_some(0);
    properties.receive_max = (config.receive_maximum < u16::MAX).then_some(config.receive_maximum);
    properties.max_packet_size = u32::try_from(config.packet_bytes_max).ok();
    properties.assigned_client_identifier = connect.client_id.is_empty().then_some(client_id);
    properties.topic_alias_max = (config.topic_alias_max > 0).then_some(config.topic_alias_max);
    properties.server_keep_alive = keep_alive_cap;
    properties
}
