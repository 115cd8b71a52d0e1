//! `[listeners]`: which doors are open, and where.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::Invalid;

/// A door of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Door {
    /// AMQP 0-9-1 over TCP.
    Amqp,
    /// MQTT over TCP.
    Mqtt,
    /// STOMP over TCP.
    Stomp,
    /// HTTP and WebSocket.
    Http,
    /// Metrics alone, where RabbitMQ's scrape configurations look.
    Prometheus,
    /// STOMP over WebSocket alone, where RabbitMQ's Web-STOMP plugin serves it.
    WebStomp,
    /// MQTT over WebSocket alone, where RabbitMQ's Web-MQTT plugin serves it.
    WebMqtt,
}

impl Door {
    /// Every door, in the order in which they are opened and printed.
    pub const ALL: [Self; 7] = [
        Self::Amqp,
        Self::Mqtt,
        Self::Stomp,
        Self::Http,
        Self::Prometheus,
        Self::WebStomp,
        Self::WebMqtt,
    ];

    /// As configuration, log and metrics write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Stomp => "stomp",
            Self::Http => "http",
            Self::Prometheus => "prometheus",
            Self::WebStomp => "web_stomp",
            Self::WebMqtt => "web_mqtt",
        }
    }

    /// The names of all doors, for people.
    pub const NAMES: &str = "amqp, mqtt, stomp, http, prometheus, web_stomp or web_mqtt";

    /// Whether it answers during the drain: health checks and scrapes do not end with the clients.
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Prometheus)
    }

    /// The door called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|door| door.name() == name)
    }
}

/// `[listeners]` as written: each an address, or `off`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawListeners {
    /// AMQP 0-9-1.
    pub amqp: String,
    /// MQTT 3.1.1 and 5.
    pub mqtt: String,
    /// STOMP 1.2.
    pub stomp: String,
    /// HTTP and WebSocket.
    pub http: String,
    /// Metrics alone.
    pub prometheus: String,
    /// STOMP over WebSocket alone.
    pub web_stomp: String,
    /// MQTT over WebSocket alone.
    pub web_mqtt: String,
}

impl Default for RawListeners {
    fn default() -> Self {
        let port = |port: &str| format!(":{port}");
        Self {
            amqp: port("5672"),
            mqtt: port("1883"),
            stomp: port("61613"),
            http: port("15672"),
            prometheus: "off".to_owned(),
            web_stomp: "off".to_owned(),
            web_mqtt: "off".to_owned(),
        }
    }
}

impl RawListeners {
    /// Every door on 127.0.0.1, at any free port: for tests.
    pub fn any_loopback_port() -> Self {
        let any = || "127.0.0.1:0".to_owned();
        Self {
            amqp: any(),
            mqtt: any(),
            stomp: any(),
            http: any(),
            prometheus: any(),
            web_stomp: any(),
            web_mqtt: any(),
        }
    }

    /// What is written for `door`.
    pub fn of(&mut self, door: Door) -> &mut String {
        match door {
            Door::Amqp => &mut self.amqp,
            Door::Mqtt => &mut self.mqtt,
            Door::Stomp => &mut self.stomp,
            Door::Http => &mut self.http,
            Door::Prometheus => &mut self.prometheus,
            Door::WebStomp => &mut self.web_stomp,
            Door::WebMqtt => &mut self.web_mqtt,
        }
    }
}

/// Where one door is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// Nowhere.
    Off,
    /// `[::]` and `0.0.0.0`; a machine without IPv6 makes do with the latter.
    Everywhere(u16),
    /// `127.0.0.1`, and `[::1]` where there is one.
    Localhost(u16),
    /// This address alone.
    Address(SocketAddr),
}

impl Bind {
    /// Reads `off`, `PORT`, `:PORT`, `localhost:PORT` and `ADDRESS:PORT`; `None` for all else.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "off" {
            return Some(Self::Off);
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            return parse_port(port).map(Self::Localhost);
        }
        if let Some(port) = parse_port(text.strip_prefix(':').unwrap_or(text)) {
            return Some(Self::Everywhere(port));
        }
        let address: SocketAddr = text.parse().ok()?;
        if address.ip() == Ipv6Addr::UNSPECIFIED {
            return Some(Self::Everywhere(address.port()));
        }
        Some(Self::Address(address))
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

/// `[listeners]`, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listeners([Bind; Door::ALL.len()]);

impl Listeners {
    /// Where `door` is open.
    pub const fn of(&self, door: Door) -> Bind {
        self.0[door as usize]
    }
}

impl TryFrom<RawListeners> for Listeners {
    type Error = Invalid;

    fn try_from(mut raw: RawListeners) -> Result<Self, Invalid> {
        let mut binds = [Bind::Off; Door::ALL.len()];
        for door in Door::ALL {
            let text = raw.of(door);
            let key = || format!("listeners.{}", door.name());
            binds[door as usize] = Bind::parse(text)
                .ok_or_else(|| Invalid::new(key(), format_args!("{text:?}"), ADDRESS_RULE))?;
        }
        if binds.iter().all(|bind| *bind == Bind::Off) {
            return Err(Invalid::new("listeners", "off", "at least one listener must be open"));
        }
        Ok(Self(binds))
    }
}

const ADDRESS_RULE: &str = "must be off, PORT, :PORT, localhost:PORT or ADDRESS:PORT, such as \
                            127.0.0.1:5672 or [::1]:5672";
