//! Topic aliases towards one client (MQTT 5, section 3.3.2.3.4).
//!
//! The first topics that are worth it get one and keep it while the connection lasts: devices hear
//! of few topics, and whoever hears of many gains nothing from aliases that move about. Messages
//! that many subscribers get in one encoding carry their topic.

use crate::encoder::Alias;

/// The shortest topic that gets an alias: naming one takes three octets itself.
const TOPIC_BYTES_MIN: usize = 6;

/// The topics that a client knows by a number, at most as many as both sides allow.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// Routing keys by alias - 1. A topic is a function of its key.
    keys: Vec<Box<str>>,
    max: u16,
    /// Where the last one was found.
    last: usize,
}

impl Aliases {
    pub(super) fn new(max: u16) -> Self {
        Self { max, ..Self::default() }
    }

    /// How the next packet names the topic of `key`. What it sets is set once the packet is sent.
    pub(super) fn of(&mut self, key: &str) -> Alias {
        if self.max == 0 || key.len() < TOPIC_BYTES_MIN {
            return Alias::None;
        }
        if self.keys.get(self.last).is_none_or(|known| **known != *key) {
            let Some(found) = self.keys.iter().position(|known| **known == *key) else {
                let next = u16::try_from(self.keys.len() + 1).unwrap_or(u16::MAX);
                return if next <= self.max { Alias::Set(next) } else { Alias::None };
            };
            self.last = found;
        }
        Alias::Use(u16::try_from(self.last + 1).unwrap_or(u16::MAX))
    }

    /// The packet of `key` is sent.
    pub(super) fn sent(&mut self, alias: Alias, key: &str) {
        if matches!(alias, Alias::Set(_)) {
            self.keys.push(key.into());
        }
    }
}
