//! Who talks to the broker: a script, which does not listen, or one who keeps to the rules.

use trivium_core::Protocol;

use crate::frames;
use crate::random::Random;

/// One client's side of a conversation.
pub(crate) trait Speaker {
    /// What it says next, in one write that may arrive in pieces. Everything it was answered
    /// before has been heard.
    fn say(&mut self, random: &mut Random) -> Vec<u8>;

    /// What it is answered. An error is a finding.
    fn hear(&mut self, octets: &[u8]) -> Result<(), String>;

    /// It has no more to say.
    fn is_done(&self) -> bool;

    /// Its connection broke, and there is another.
    fn reconnect(&mut self);

    /// Whether the broker has a reason to close the connection of this client. A finding is when
    /// it does without.
    fn is_calm(&self) -> bool;

    /// Everything that could happen has happened. What is still owed is a finding.
    fn check_end(&self) -> Result<(), String>;
}

/// Says what is written, whatever it hears.
pub(crate) struct Script {
    protocol: Protocol,
    frames: std::vec::IntoIter<Vec<u8>>,
    heard: Vec<u8>,
}

impl Script {
    pub(crate) fn new(protocol: Protocol, frames: Vec<Vec<u8>>) -> Self {
        Self { protocol, frames: frames.into_iter(), heard: Vec::new() }
    }
}

impl Speaker for Script {
    fn say(&mut self, random: &mut Random) -> Vec<u8> {
        self.frames.by_ref().take(random.between(1, 12)).flatten().collect()
    }

    fn hear(&mut self, octets: &[u8]) -> Result<(), String> {
        self.heard.extend_from_slice(octets);
        while frames::take(self.protocol, &mut self.heard)?.is_some() {}
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.frames.len() == 0
    }

    fn reconnect(&mut self) {
        self.heard.clear();
    }

    fn is_calm(&self) -> bool {
        false
    }

    fn check_end(&self) -> Result<(), String> {
        if self.heard.is_empty() { Ok(()) } else { Err("it ends in the middle of a frame".into()) }
    }
}
