//! From CONNECT to CONNACK: log in, enter the vhost, open the session.

use std::sync::Arc;

use trivium_core::control::{Credentials, LoginState, Request, Response, Resumed};
use trivium_core::{Batch, ConsumerId, Principal, Refusal, Session, SessionHandle, Transmit};

use super::End;
use super::incoming::reason_room;
use super::open::{Open, Parts};
use super::subscribing::Subscribing;
use crate::address::response_information;
use crate::fault::Fault;
use crate::packet::auth::{self, Auth, METHOD};
use crate::packet::connect::Connect;
use crate::packet::disconnect::Disconnect;
use crate::packet::reply::{Accepted, write_accepted, write_refused};
use crate::packet::{Header, kind};
use crate::version::Version;
use crate::{Config, ReasonCode};
use mqttbytes::v5::ConnAckProperties;

/// A client whose CONNECT is not answered yet.
#[derive(Debug)]
pub(super) struct Opening {
    connect: Connect,
    entered: Option<Entered>,
    /// Its identifier, once the session is open.
    client_id: String,
    /// What it found of its session.
    resumed: Option<Box<Resumed>>,
    subscribing: Subscribing,
    /// Consumers of the resumed session, to be started after the CONNACK.
    consumers: Vec<ConsumerId>,
    /// Enhanced authentication: what the client must answer, while we wait for it.
    challenge: Option<LoginState>,
    /// What proves the broker to the client.
    proof: Vec<u8>,
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
    /// The client is asked something.
    Challenged,
    Accepted,
}

/// What the client presented, taken out of its CONNECT: a password is not kept. Who names a method
/// of authentication is who that says, whatever the user name.
pub(super) fn credentials(connect: &mut Connect) -> Credentials {
    if let Some(data) = &mut connect.authentication {
        return Credentials { mechanism: METHOD, user: None, password: std::mem::take(data) };
    }
    Credentials {
        mechanism: "PLAIN",
        user: connect.user.take(),
        password: std::mem::take(&mut connect.password),
    }
}

impl Opening {
    pub(super) fn new(mut connect: Connect, config: &Config) -> Self {
        let expiry = &mut connect.settings.session_expiry;
        *expiry = (*expiry).min(config.session_expiry_max_s);
        Self {
            subscribing: Subscribing::new(&connect, config),
            connect,
            entered: None,
            client_id: String::new(),
            resumed: None,
            consumers: Vec::new(),
            challenge: None,
            proof: Vec::new(),
        }
    }

    /// Whether the client must answer before anything goes on.
    pub(super) const fn awaits_client(&self) -> bool {
        self.challenge.is_some()
    }

    /// The client says something before its CONNACK [MQTT-3.1.2-30].
    pub(super) fn on_packet(&mut self, header: Header, packet: &[u8]) -> Result<Request, End> {
        header.check(self.version())?;
        match header.kind() {
            kind::AUTH => {}
            kind::DISCONNECT => {
                let disconnect = Disconnect::decode(header.body(packet), self.version())?;
                return Err(End::Goodbye(disconnect.code));
            }
            _ => return Err(Fault::protocol("authentication is not over").into()),
        }
        let auth = Auth::decode(header.body(packet))?;
        if auth.code != ReasonCode::CONTINUE_AUTHENTICATION || auth.method != Some(METHOD) {
            return Err(Fault::protocol("AUTH that does not go on with CONNECT's").into());
        }
        let state = self.challenge.take().ok_or(Refusal::Internal)?;
        Ok(Request::LoginStep { state, data: auth.data.to_vec() })
    }

    /// Writes the CONNACK that refuses.
    pub(super) fn refuse(&self, code: ReasonCode, reason: Option<&str>, out: &mut Transmit) {
        let room = reason_room(&self.connect);
        write_refusal(code, reason.zip(room), self.version(), out);
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
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
        out: &mut Transmit,
    ) -> Result<Progress, End> {
        match response {
            Response::LoggedIn(principal) => Ok(enter(principal, config)),
            Response::Proven { principal, data } => {
                self.proof = data;
                Ok(enter(principal, config))
            }
            Response::Challenge { data, state } => {
                self.challenge = Some(state);
                auth::write(ReasonCode::CONTINUE_AUTHENTICATION, &data, &mut out.bytes);
                out.end_frame();
                Ok(Progress::Challenged)
            }
            Response::Opened(link) => {
                self.check_will_user(link.user())?;
                let session = link.session(0);
                let handle = session.handle();
                self.entered = Some(Entered { session, link });
                Ok(Progress::Ask(Some(handle), self.open_session(config)))
            }
            Response::SessionOpened { client_id, resumed } => {
                self.client_id = client_id;
                self.resumed = resumed;
                self.resubscribe()
            }
            Response::Subscribed(answers) => {
                self.consumers.extend(self.subscribing.on_resumed(answers));
                Ok(Progress::Accepted)
            }
            _ => Err(Refusal::Internal.into()),
        }
    }

    fn open_session(&self, config: &Config) -> Request {
        let is_kept = self.connect.settings.session_expiry > 0;
        Request::OpenSession {
            client_id: self.connect.client_id.clone(),
            clean_start: self.connect.clean_start,
            expiry_s: self.connect.settings.session_expiry,
            unsettled_max: config.unsettled_max.min(self.connect.settings.receive_maximum).max(1),
            will: self.connect.will.as_ref().filter(|_| is_kept).and_then(|will| {
                let target = will.target.recoded(config.coding).ok()?;
                Some(Box::new(will.stored(&target)))
            }),
        }
    }

    /// The subscriptions of a resumed session are asked for again: how they are served depends on
    /// this connection.
    fn resubscribe(&mut self) -> Result<Progress, End> {
        let Some(resumed) = &mut self.resumed else { return Ok(Progress::Accepted) };
        self.consumers.extend(resumed.consumer);
        let subscriptions = std::mem::take(&mut resumed.subscriptions);
        if subscriptions.is_empty() {
            return Ok(Progress::Accepted);
        }
        let request = self.subscribing.resume(subscriptions);
        let entered = self.entered.as_ref().ok_or(Refusal::Internal)?;
        Ok(Progress::Ask(Some(entered.session.handle()), request))
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
        config: &Arc<Config>,
        batch: &mut Batch<'_>,
        out: &mut Transmit,
    ) -> Result<Open, End> {
        let Self {
            mut connect, entered, client_id, resumed, subscribing, consumers, proof, ..
        } = self;
        let mut entered = entered.ok_or(Refusal::Internal)?;
        if let Some(will) = &mut connect.will {
            will.target = will.target.recoded(config.coding)?;
        }
        let cap = config.keep_alive_max_s.filter(|&cap| {
            connect.version.is_5() && (connect.keep_alive_s == 0 || connect.keep_alive_s > cap)
        });
        let session_present = resumed.is_some();
        let mut properties = properties(&connect, client_id, cap, config);
        if connect.authentication.is_some() {
            properties.authentication_method = Some(METHOD.to_owned());
            properties.authentication_data = Some(proof.into());
        }
        let accepted = Accepted { session_present, properties };
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
        for consumer in consumers {
            batch.start(&mut entered.session, consumer);
        }
        let keep_alive_s = cap.unwrap_or(connect.keep_alive_s);
        let resumed = resumed.unwrap_or_default();
        let parts = Parts { entered, subscribing, resumed, keep_alive_s };
        Ok(Open::new(connect, parts, config, batch.now()))
    }
}

/// Appends the CONNACK that refuses, with the reason where there is room for it.
pub(super) fn write_refusal(
    code: ReasonCode,
    reason: Option<(&str, usize)>,
    version: Version,
    out: &mut Transmit,
) {
    let start = out.bytes.len();
    let (reason, room) = reason.unzip();
    write_refused(code, reason, version, &mut out.bytes);
    if room.is_some_and(|room| out.bytes.len() - start > room) {
        out.bytes.truncate(start);
        write_refused(code, None, version, &mut out.bytes);
    }
    out.end_frame();
}

/// Into the vhost that the login names, or else the listener.
fn enter(principal: Principal, config: &Config) -> Progress {
    let vhost = config.vhost.clone().filter(|_| principal.vhost.is_none());
    Progress::Ask(None, Request::Open { principal, vhost, or_default: false })
}

/// What MQTT 5 is told (section 3.2.2.3).
fn properties(
    connect: &Connect,
    client_id: String,
    keep_alive_cap: Option<u16>,
    config: &Config,
) -> ConnAckProperties {
    let mut properties = ConnAckProperties::new();
    properties.session_expiry_interval = (connect.asked_expiry != connect.settings.session_expiry)
        .then_some(connect.settings.session_expiry);
    properties.receive_max = (config.receive_maximum < u16::MAX).then_some(config.receive_maximum);
    properties.max_packet_size = u32::try_from(config.packet_bytes_max).ok();
    let wants_response = connect.settings.wants_response;
    properties.response_information = wants_response.then(|| response_information(&client_id));
    properties.assigned_client_identifier = connect.client_id.is_empty().then_some(client_id);
    properties.topic_alias_max = (config.topic_alias_max > 0).then_some(config.topic_alias_max);
    properties.server_keep_alive = keep_alive_cap;
    properties
}
