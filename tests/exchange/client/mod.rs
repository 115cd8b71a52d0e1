//! Four clients that look alike: they publish to an address and subscribe to one. An address is a
//! list of words; each protocol writes it in its own way.

mod amqp;
mod mqtt3;
mod mqtt5;
mod stomp;

pub(crate) use amqp::Amqp;
pub(crate) use mqtt3::Mqtt3;
pub(crate) use mqtt5::Mqtt5;
pub(crate) use stomp::{Frame, Stomp, upgrade};

use trivium::Running;

/// A message, in what every protocol can say but MQTT 3.1.1, which has only the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) correlation: Option<String>,
    /// The value of header [`HEADER`].
    pub(crate) header: Option<String>,
}

/// The header that travels with a [`Letter`].
pub(crate) const HEADER: &str = "colour";

impl Letter {
    pub(crate) fn new(body: &[u8]) -> Self {
        Self {
            body: body.to_owned(),
            content_type: Some("application/x-test; a=b".to_owned()),
            correlation: Some("c-1".to_owned()),
            header: Some("red: \\ and blue".to_owned()),
        }
    }

    /// What is left of it over a protocol that carries nothing but a body.
    pub(crate) fn bare(&self) -> Self {
        Self { body: self.body.clone(), content_type: None, correlation: None, header: None }
    }
}

/// One of the four.
pub(crate) enum Client {
    Amqp(Amqp),
    Mqtt3(Mqtt3),
    Mqtt5(Mqtt5),
    Stomp(Stomp),
}

impl Client {
    /// All of them, connected and logged in as guest; `prefix` makes MQTT's identifiers their own.
    pub(crate) async fn all(running: &Running, prefix: &str) -> Vec<Self> {
        vec![
            Self::Amqp(Amqp::connect(running).await),
            Self::Mqtt3(Mqtt3::connect(running, &format!("{prefix}-three")).await),
            Self::Mqtt5(Mqtt5::connect(running, &format!("{prefix}-five")).await),
            Self::Stomp(Stomp::connect(running).await),
        ]
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Amqp(_) => "amqp",
            Self::Mqtt3(_) => "mqtt3",
            Self::Mqtt5(_) => "mqtt5",
            Self::Stomp(_) => "stomp",
        }
    }

    /// Whether it can say more than a body.
    pub(crate) const fn has_properties(&self) -> bool {
        !matches!(self, Self::Mqtt3(_))
    }

    pub(crate) async fn subscribe(&mut self, words: &[&str]) {
        match self {
            Self::Amqp(client) => client.subscribe(&words.join(".")).await,
            Self::Mqtt3(client) => client.subscribe(&words.join("/")).await,
            Self::Mqtt5(client) => client.subscribe(&words.join("/")).await,
            Self::Stomp(client) => client.subscribe(&words.join(".")).await,
        }
    }

    /// Publishes, and waits until the broker has confirmed it.
    pub(crate) async fn publish(&mut self, words: &[&str], letter: &Letter) {
        match self {
            Self::Amqp(client) => client.publish(&words.join("."), letter).await,
            Self::Mqtt3(client) => client.publish(&words.join("/"), letter).await,
            Self::Mqtt5(client) => client.publish(&words.join("/"), letter).await,
            Self::Stomp(client) => client.publish(&words.join("."), letter).await,
        }
    }

    pub(crate) async fn receive(&mut self) -> Letter {
        match self {
            Self::Amqp(client) => client.receive().await,
            Self::Mqtt3(client) => client.receive().await.0,
            Self::Mqtt5(client) => client.receive().await.0,
            Self::Stomp(client) => client.receive().await,
        }
    }
}
