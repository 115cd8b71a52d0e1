//! Who is this? Users, guest, and clients that do not say.
//!
//! - `guest`/`guest`, while no default user is set, from loopback addresses only.
//! - MQTT and STOMP clients without credentials are that guest on a loopback address over TCP. Over
//!   WebSocket they are nobody: a page in a visitor's browser calls from loopback, too.
//! - An MQTT user name `vhost:user` names a vhost before its last colon, if there is such a vhost.
//!
//! - SCRAM-SHA-256 (MQTT 5's enhanced authentication) proves the same passwords without sending
//!   them. What it needs of each is derived once, when it is first asked for; a configuration that
//!   held hashes in place of passwords would have to hold SCRAM's salted keys beside them.
//!
//! The client learns only that it was refused; the reason goes to the log.

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;
use trivium_core::control::{Credentials, LoginState};
use trivium_core::{Answer, Principal, Protocol, Refusal, Response};

use crate::config::{User, Users};
use crate::drive::{Caller, Carrier};

use super::scram::{Exchange, First, KEY_BYTES, SALT_BYTES, Verifier};

/// What to do about a refused guest, in the words of the settings.
const REMEDY: &str = "set TRIVIUM_DEFAULT_USER and TRIVIUM_DEFAULT_PASS (default_user and \
                      default_pass) to log in from elsewhere";

/// The mechanism that takes two steps.
pub(super) const SCRAM: &str = "SCRAM-SHA-256";

/// Knows who may log in.
pub(super) struct Login {
    users: Users,
    /// What proves each user's password, once somebody asked. A leaf.
    verifiers: Mutex<BTreeMap<Arc<str>, Verifier>>,
    /// Makes the challenges of users that are not there.
    secret: [u8; KEY_BYTES],
}

/// A login between its challenge and its proof.
struct Challenged {
    exchange: Exchange,
    /// As the client gave it.
    name: String,
    /// The user it is, if there is one.
    user: Option<Arc<str>>,
    vhost: Option<Arc<str>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("users", &self.users).finish_non_exhaustive()
    }
}

/// Octets that nobody can guess.
fn random<const COUNT: usize>() -> [u8; COUNT] {
    let mut octets = [0; COUNT];
    getrandom::fill(&mut octets).expect("the operating system has randomness");
    octets
}

impl Login {
    pub(super) fn new(users: Users) -> Self {
        Self { users, verifiers: Mutex::default(), secret: random() }
    }

    /// Answers the first message of SCRAM.
    pub(super) fn challenge(
        &self,
        credentials: &Credentials,
        caller: &Caller,
        has_vhost: impl Fn(&str) -> bool,
    ) -> Answer {
        let first =
            First::read(&credentials.password).map_err(|reason| refused(caller, None, reason))?;
        let (vhost, name) = split(&first.user, caller.protocol, has_vhost);
        let user = self.users.find(name);
        let verifier = match user {
            Some(user) => self.verifier(user),
            None => Verifier::of_nobody(&self.secret, name),
        };
        let (exchange, data) = Exchange::begin(&first, verifier, &random::<18>());
        let (user, vhost) = (user.map(|user| user.name.clone()), vhost.map(Arc::from));
        let challenged = Challenged { exchange, name: first.user.clone(), user, vhost };
        Ok(Response::Challenge { data, state: LoginState(Box::new(challenged)) })
    }

    /// Checks the last message of SCRAM.
    pub(super) fn prove(&self, state: &LoginState, data: &[u8], caller: &Caller) -> Answer {
        let challenged = state.0.downcast_ref::<Challenged>().ok_or(Refusal::Internal)?;
        let name = Some(challenged.name.as_str());
        let data =
            challenged.exchange.finish(data).map_err(|reason| refused(caller, name, reason))?;
        let known = challenged.user.as_deref().and_then(|user| self.users.find(user));
        let user = known.ok_or_else(|| refused(caller, name, "unknown user"))?;
        if user.loopback_only && !caller.is_loopback() {
            return Err(refused(caller, name, GUEST_ELSEWHERE));
        }
        let principal = Principal {
            user: user.name.clone(),
            vhosts: user.vhosts.clone(),
            vhost: challenged.vhost.clone(),
        };
        Ok(Response::Proven { principal, data })
    }

    /// Derived when it is first needed: a broker with many users starts at once.
    fn verifier(&self, user: &User) -> Verifier {
        let verifiers = || self.verifiers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = verifiers().get(&user.name) {
            return known.clone();
        }
        let made = Verifier::derive(user.password.as_bytes(), random::<SALT_BYTES>());
        // Whoever was first wins: a challenge that was given must stay true.
        verifiers().entry(user.name.clone()).or_insert(made).clone()
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

/// A refused login, once it is logged.
fn refused(caller: &Caller, user: Option<&str>, reason: &str) -> Refusal {
    let refusal = Refusal::LoginRefused { reason: reason.to_owned() };
    log_refusal(caller, user, &refusal);
    refusal
}

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
