//! Who may log in from where, through the whole stack.

use std::net::SocketAddr;
use std::path::Path;
use std::task::Waker;

use trivium_core::control::{Credentials, DeclareQueue};
use trivium_core::{Limits, Protocol};

use super::*;
use crate::config::{Config, RawConfig};
use crate::drive::Carrier;

const LOOPBACK: &str = "127.0.0.1:1";
const MAPPED: &str = "[::ffff:127.0.0.1]:1";
const ELSEWHERE: &str = "192.0.2.1:1";

struct Stack {
    control: Control,
    broker: Arc<Broker>,
    counters: Arc<Counters>,
}

impl Stack {
    fn new(toml: &str) -> Self {
        let raw = RawConfig::parse(toml, Path::new("t.toml")).unwrap();
        let config = Config::try_from(raw).unwrap();
        let broker = Broker::ephemeral(Limits::default(), 1);
        config.vhosts.iter().for_each(|name| broker.add_vhost(name));
        let counters = Arc::<Counters>::default();
        let control = Control::new(broker.clone(), config.users, counters.clone());
        Self { control, broker, counters }
    }

    fn ask(&self, caller: Caller, principal: Option<Principal>, request: Request) -> Answer {
        let origin = Origin { session: None, principal, protocol: caller.protocol };
        let outbox = self.broker.outbox();
        let mut answer = self.control.ask(Ask { origin, request, caller, outbox });
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("a single node answers at once"),
        }
    }

    /// Logs in; the principal, or the reason of the refusal.
    fn login(&self, who: (&str, Carrier, Protocol), user: Option<&str>, pass: &str) -> Login1 {
        let peer: SocketAddr = who.0.parse().unwrap();
        let request = Request::Login(Credentials {
            mechanism: "PLAIN",
            user: user.map(str::to_owned),
            password: pass.into(),
        });
        match self.ask(Caller::new(peer, who.1, who.2), None, request) {
            Ok(Response::LoggedIn(principal)) => Ok(principal),
            Ok(other) => panic!("{other:?}"),
            Err(because) => Err(because.to_string()),
        }
    }
}

type Login1 = Result<Principal, String>;

#[test]
fn guest_and_nobody_from_loopback_only() {
    let stack = Stack::new("");
    let (guest, nobody) = (Some("guest"), None);
    let (tcp, ws) = (Carrier::Tcp, Carrier::WebSocket);
    let (amqp, mqtt, stomp) = (Protocol::Amqp, Protocol::Mqtt, Protocol::Stomp);
    let table = [
        ((LOOPBACK, tcp, amqp), guest, "guest", None),
        ((MAPPED, tcp, amqp), guest, "guest", None),
        (("[::1]:1", tcp, amqp), guest, "guest", None),
        (("127.9.9.9:1", tcp, amqp), guest, "guest", None),
        ((LOOPBACK, ws, stomp), guest, "guest", None),
        ((LOOPBACK, tcp, amqp), guest, "guesT", Some("wrong password")),
        ((LOOPBACK, tcp, amqp), guest, "", Some("wrong password")),
        ((LOOPBACK, tcp, amqp), guest, "guestguest", Some("wrong password")),
        ((LOOPBACK, tcp, amqp), Some("root"), "guest", Some("unknown user")),
        ((ELSEWHERE, tcp, amqp), guest, "guest", Some(login_texts::GUEST)),
        ((LOOPBACK, tcp, mqtt), nobody, "", None),
        ((MAPPED, tcp, stomp), nobody, "", None),
        ((LOOPBACK, tcp, amqp), nobody, "", Some("no credentials")),
        ((LOOPBACK, ws, mqtt), nobody, "", Some("no credentials over WebSocket")),
        ((LOOPBACK, ws, stomp), nobody, "", Some("no credentials over WebSocket")),
        ((ELSEWHERE, tcp, mqtt), nobody, "", Some(login_texts::NOBODY)),
    ];
    for (who, user, pass, refused) in table {
        let login = stack.login(who, user, pass);
        assert_eq!(login.as_ref().err().map(String::as_str), refused, "{who:?} {user:?}");
        if let Ok(principal) = login {
            assert_eq!(&*principal.user, "guest");
        }
    }
}

mod login_texts {
    pub(super) const GUEST: &str = "guest may log in from loopback addresses only";
    pub(super) const NOBODY: &str = "without credentials from loopback addresses only";
}

#[test]
fn a_default_user_takes_the_place_of_guest() {
    let stack = Stack::new("default_user = \"boss\"\ndefault_pass = \"p\"");
    let far = (ELSEWHERE, Carrier::Tcp, Protocol::Amqp);
    assert!(stack.login(far, Some("boss"), "p").is_ok());
    assert!(stack.login((LOOPBACK, Carrier::Tcp, Protocol::Amqp), Some("guest"), "guest").is_err());
    assert!(stack.login((LOOPBACK, Carrier::Tcp, Protocol::Mqtt), None, "").is_err());
}

#[test]
fn an_mqtt_user_may_name_a_vhost_that_exists() {
    let toml = "[[users]]\nname = \"u\"\npassword = \"p\"\n[[users]]\nname = \"x:u\"\n\
                password = \"q\"\n[[vhosts]]\nname = \"a:b\"\n";
    let stack = Stack::new(toml);
    let login = |protocol, user, pass| {
        let principal = stack.login((ELSEWHERE, Carrier::Tcp, protocol), Some(user), pass)?;
        Ok::<_, String>((principal.user.to_string(), principal.vhost.map(|v| v.to_string())))
    };
    let user = |name: &str, vhost: Option<&str>| Ok((name.to_owned(), vhost.map(str::to_owned)));
    assert_eq!(login(Protocol::Mqtt, "/:u", "p"), user("u", Some("/")));
    assert_eq!(login(Protocol::Mqtt, "a:b:u", "p"), user("u", Some("a:b")));
    assert_eq!(login(Protocol::Mqtt, "x:u", "q"), user("x:u", None));
    assert_eq!(login(Protocol::Amqp, "/:u", "p"), Err("unknown user".to_owned()));
}

#[test]
fn nothing_goes_before_the_login_and_vhosts_are_kept() {
    let toml =
        "[[users]]\nname = \"u\"\npassword = \"p\"\nvhosts = [\"v\"]\n[[vhosts]]\nname = \"v\"\n";
    let stack = Stack::new(toml);
    let peer: SocketAddr = ELSEWHERE.parse().unwrap();
    let caller = Caller::new(peer, Carrier::Tcp, Protocol::Amqp);
    let declare = Request::DeclareQueue(DeclareQueue::default());
    assert!(matches!(stack.ask(caller, None, declare), Err(Refusal::AccessRefused { .. })));

    let user = stack.login((ELSEWHERE, caller.carrier, caller.protocol), Some("u"), "p").unwrap();
    let open = |vhost: Option<&str>, principal: &Principal| {
        let (principal, vhost) = (principal.clone(), vhost.map(str::to_owned));
        let request = Request::Open { principal, vhost, or_default: false };
        stack.ask(caller, Some(user.clone()), request)
    };
    assert!(matches!(open(Some("v"), &user), Ok(Response::Opened(_))));
    assert!(matches!(open(None, &user), Err(Refusal::VhostRefused { .. })));
    assert!(matches!(open(Some("none"), &user), Err(Refusal::VhostNotFound { .. })));
    let other = Principal::unrestricted("other");
    assert!(matches!(open(Some("v"), &other), Err(Refusal::AccessRefused { .. })));
    let long = "n".repeat(256);
    assert!(matches!(open(Some(&long), &user), Err(Refusal::LimitReached { .. })));
}

#[test]
fn a_name_that_was_dialled_is_no_refusal() {
    let stack = Stack::new("[[vhosts]]\nname = \"v\"\n");
    let who = (LOOPBACK, Carrier::Tcp, Protocol::Stomp);
    let guest = stack.login(who, Some("guest"), "guest").unwrap();
    for (name, entered) in [("broker.example.com", "/"), ("v", "v")] {
        let (principal, vhost) = (guest.clone(), Some(name.to_owned()));
        let request = Request::Open { principal, vhost, or_default: true };
        let caller = Caller::new(LOOPBACK.parse().unwrap(), who.1, who.2);
        match stack.ask(caller, Some(guest.clone()), request) {
            Ok(Response::Opened(connection)) => assert_eq!(connection.vhost(), entered),
            other => panic!("{other:?}"),
        }
    }
    let refused = &stack.counters.of(Protocol::Stomp).requests_refused;
    assert_eq!(refused.load(std::sync::atomic::Ordering::Relaxed), 0);
}
