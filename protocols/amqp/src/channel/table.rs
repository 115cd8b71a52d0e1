//! The channels of one connection, by number.

use trivium_core::SessionId;

use super::Channel;

/// What stands under a channel number.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Open.
    Open(Box<Channel>),
    /// Closed by us; everything on it is discarded until the client says `close-ok`.
    Closing,
}

/// Sorted by number: a client has few channels, and a hostile one may pick any number.
#[derive(Debug, Default)]
pub(crate) struct Channels(Vec<(u16, Slot)>);

impl Channels {
    fn position(&self, number: u16) -> Result<usize, usize> {
        match self.0.first() {
            Some((first, _)) if *first == number => Ok(0),
            _ => self.0.binary_search_by_key(&number, |(number, _)| *number),
        }
    }

    pub(crate) fn slot_mut(&mut self, number: u16) -> Option<&mut Slot> {
        self.position(number).ok().map(|at| &mut self.0[at].1)
    }

    pub(crate) fn open_mut(&mut self, number: u16) -> Option<&mut Channel> {
        match self.slot_mut(number) {
            Some(Slot::Open(channel)) => Some(channel),
            _ => None,
        }
    }

    /// The channel that an event is about; `None` when it was closed since.
    pub(crate) fn by_session(&mut self, session: SessionId) -> Option<&mut Channel> {
        self.open_mut(session.label).filter(|channel| channel.id() == session)
    }

    /// Whether any of them holds deliveries that are not settled.
    pub(crate) fn hold_deliveries(&self) -> bool {
        self.0.iter().any(|(_, slot)| match slot {
            Slot::Open(channel) => channel.holds_deliveries(),
            Slot::Closing => false,
        })
    }

    /// Puts `slot` under `number`; returns what was there.
    pub(crate) fn insert(&mut self, number: u16, slot: Slot) -> Option<Slot> {
        match self.position(number) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, slot)),
            Err(at) => {
                self.0.insert(at, (number, slot));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, number: u16) -> Option<Slot> {
        self.position(number).ok().map(|at| self.0.remove(at).1)
    }

    /// Empties the table.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Slot> {
        self.0.drain(..).map(|(_, slot)| slot)
    }

    /// Open and closing ones.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}
