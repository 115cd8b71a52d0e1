//! Who is this? Users, guest, and clients that do not say.
//!
//! - `guest`/`guest`, while no default user is set, from loopback addresses only.
//! - MQTT and STOMP clients without credentials are that guest on a loopback address over TCP. Over
//!   WebSocket they are nobody: a page in a visitor's browser calls from loopback, too.
//! - An MQTT user name `vhost:user` names a vhost before its last colon, if there is such a vhost.
//!
//! The client learns only that it was refused; the reason goes to the log.

use std::hint::black_box;
use std::sync::Arc;

use tracing::info;
use trivium_core::control::Credentials;
use trivium_core::{Principal, Protocol, Refusal};

use crate::config::{User, Users};
use crate::drive::{Caller, Carrier};

/// What to do about a refused guest, in the words of the settings.
const REMEDY: &str = "set TRIVIUM_DEFAULT_USER and TRIVIUM_DEFAULT_PASS (default_user and \
                      default_pass) to log in from elsewhere";

/// Knows who may log in.
#[derive(Debug)]
pub(super) struct Login {
    users: Users,
}

impl Login {
    pub(super) const fn new(users: Users) -> Self {
        Self { users }
    }

    /// Says who presents these credentials.
    pub(super) fn identify(
        &self,
        credentials: &Credentials,
        caller: &Caller,
        has_vhost: impl Fn(&str) -> bool,
    ) -> Result<Principal, Refusal> {
        let identified = match &credentials.user {
            None => self.anonymous(caller).map(|user| (user, None)),
            Some(name) => {
                let (vhost, name) = split(name, caller.protocol, has_vhost);
                self.named(name, credentials, caller).map(|user| (user, vhost))
            }
        };
        identified
            .map(|(user, vhost)| Principal {
                user: user.name.clone(),
                vhosts: user.vhosts.clone(),
                vhost: vhost.map(Arc::from),
            })
            .map_err(|reason| Refusal::LoginRefused { reason: reason.to_owned() })
            .inspect_err(|because| log_refusal(caller, credentials.user.as_deref(), because))
    }

    fn named(
        &self,
        name: &str,
        credentials: &Credentials,
        caller: &Caller,
    ) -> Result<&User, &'static str> {
        let user = self.users.find(name);
        // An unknown name takes as long as a wrong password.
        let password = user.map_or("unknown", |user| user.password.as_str());
        let is_password = is_equal(&credentials.password, password.as_bytes());
        match user {
            None => Err("unknown user"),
            Some(_) if !is_password => Err("wrong password"),
            Some(user) if user.loopback_only && !caller.is_loopback() => Err(GUEST_ELSEWHERE),
            Some(user) => Ok(user),
        }
    }

    fn anonymous(&self, caller: &Caller) -> Result<&User, &'static str> {
        let is_asked_for_user = caller.protocol == Protocol::Amqp;
        match self.users.anonymous() {
            _ if is_asked_for_user => Err("no credentials"),
            _ if caller.carrier == Carrier::WebSocket => Err("no credentials over WebSocket"),
            None => Err("no credentials, and a default user is set"),
            Some(_) if !caller.is_loopback() => Err(ANONYMOUS_ELSEWHERE),
            Some(user) => Ok(user),
        }
    }
}

const GUEST_ELSEWHERE: &str = "guest may log in from loopback addresses only";

const ANONYMOUS_ELSEWHERE: &str = "without credentials from loopback addresses only";

/// One info line for each refused login; this is where its reason is told.
pub(super) fn log_refusal(caller: &Caller, user: Option<&str>, because: &Refusal) {
    let reason = because.to_string();
    let is_curable = reason == GUEST_ELSEWHERE || reason == ANONYMOUS_ELSEWHERE;
    info!(
        peer = %caller.peer,
        protocol = caller.protocol.name(),
        carrier = caller.carrier.name(),
        user,
        reason,
        remedy = is_curable.then_some(REMEDY),
        "login refused"
    );
}

/// The vhost that a user name names, and the rest of it.
fn split(name: &str, protocol: Protocol, has_vhost: impl Fn(&str) -> bool) -> (Option<&str>, &str) {
    match name.rsplit_once(':') {
        Some((vhost, user)) if protocol == Protocol::Mqtt && has_vhost(vhost) => {
            (Some(vhost), user)
        }
        _ => (None, name),
    }
}

/// Whether two secrets are equal, in a time that depends on the length of `presented` alone.
fn is_equal(presented: &[u8], secret: &[u8]) -> bool {
    let mut difference = presented.len() ^ secret.len();
    for (index, byte) in presented.iter().enumerate() {
        let other = secret.get(index % secret.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(byte ^ other);
        difference = black_box(difference);
    }
    difference == 0
}
