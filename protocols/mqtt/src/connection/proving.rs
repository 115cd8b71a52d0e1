//! Re-authentication (MQTT 5, section 4.12.1): a client proves anew who it is. Meanwhile it goes on
//! as who it was.

use trivium_core::control::{Answer, Credentials, LoginState, Request, Response};
use trivium_core::{Refusal, Transmit};

use super::End;
use crate::ReasonCode;
use crate::fault::Fault;
use crate::packet::auth::{self, Auth, METHOD};

/// How far it is.
#[derive(Debug)]
pub(super) enum Proving {
    /// CONNECT named no method: there is none.
    Impossible,
    /// Nobody asked.
    Idle,
    /// The gateway is asked.
    Waiting,
    /// The client is asked.
    Challenged(LoginState),
}

impl Proving {
    /// `is_possible` for a client that named a method in CONNECT.
    pub(super) const fn new(is_possible: bool) -> Self {
        if is_possible { Self::Idle } else { Self::Impossible }
    }

    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }

    /// The client begins, or answers. Returns what to ask.
    pub(super) fn on_auth(&mut self, auth: Auth<'_>) -> Result<Request, Fault> {
        if matches!(self, Self::Impossible) {
            return Err(Fault::protocol("AUTH without an authentication method"));
        }
        if auth.method != Some(METHOD) {
            return Err(Fault::protocol("AUTH with another method than CONNECT's"));
        }
        let data = auth.data.to_vec();
        match (std::mem::replace(self, Self::Waiting), auth.code) {
            (Self::Idle, ReasonCode::RE_AUTHENTICATE) => {
                let (mechanism, user) = (METHOD, None);
                Ok(Request::Login(Credentials { mechanism, user, password: data }))
            }
            (Self::Challenged(state), ReasonCode::CONTINUE_AUTHENTICATION) => {
                Ok(Request::LoginStep { state, data })
            }
            _ => Err(Fault::protocol("AUTH that continues nothing, or begins twice")),
        }
    }

    /// The gateway answered; `user` is who the client was until now.
    pub(super) fn on_answer(
        &mut self,
        answer: Answer,
        user: &str,
        out: &mut Transmit,
    ) -> Result<(), End> {
        let (code, data) = match answer? {
            Response::Challenge { data, state } => {
                *self = Self::Challenged(state);
                (ReasonCode::CONTINUE_AUTHENTICATION, data)
            }
            Response::Proven { principal, data } if *principal.user == *user => {
                *self = Self::Idle;
                (ReasonCode::SUCCESS, data)
            }
            Response::Proven { .. } => {
                return Err(Refusal::access("authenticated as another user").into());
            }
            _ => return Err(Refusal::Internal.into()),
        };
        auth::write(code, &data, &mut out.bytes);
        out.end_frame();
        Ok(())
    }
}
