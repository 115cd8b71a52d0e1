//! What an MQTT session must remember of its deliveries when its connection is lost (MQTT 5,
//! section 4.4). Kept beside the entries, by their arrival: queues that are no session's pay nothing.

use std::sync::Arc;

use super::Effects;
use super::lane::Arrival;
use super::state::State;
use crate::DeliveryId;
use crate::log::{InSession, Note};
use crate::session::SessionShared;

/// The packet identifier that a delivery travels under, and how far QoS 2 is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// 0 for none.
    pub(crate) label: u16,
    /// At which it was sent: a repeat is the same packet, whatever became of its subscription.
    pub(crate) qos: u8,
    /// The client has the message (PUBREC); only PUBREL and PUBCOMP are left.
    pub(crate) released: bool,
}

/// What a client knows of one delivery from now on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marking {
    slot: u32,
    generation: u32,
    mark: Mark,
}

impl Marking {
    pub(crate) const fn new(delivery: DeliveryId, mark: Mark) -> Self {
        Self { slot: delivery.slot, generation: delivery.generation, mark }
    }
}

impl State {
    /// Notes what the client knows of a delivery. Stale ones do nothing.
    pub(crate) fn mark(&mut self, marking: Marking, effects: &mut Effects) {
        if let Some(entry) = self.unsettled.entry(marking.slot, marking.generation) {
            self.marks.insert(entry.arrival, marking.mark);
            if let Some(position) = entry.position.filter(|position| !position.is_spilled()) {
                let Mark { label, qos, released } = marking.mark;
                let what = InSession::Sent { position, label, qos, released };
                effects.note(Note { session: self.id, what });
            }
        }
    }

    /// The connection of an MQTT session is gone and the session stays: what its client knows of
    /// goes back under its label, to be sent again; what was not sent yet was not delivered.
    pub(crate) fn suspend(&mut self, session: &Arc<SessionShared>, effects: &mut Effects) {
        for place in 0..u32::try_from(self.takers.len()).unwrap_or(u32::MAX) {
            let taker = self.takers[place as usize].as_ref();
            if !taker.is_some_and(|taker| Arc::ptr_eq(&taker.session, session)) {
                continue;
            }
            for (slot, entry) in self.unsettled.remove_of(place) {
                let was_sent = self.marks.contains_key(&entry.arrival);
                if was_sent {
                    // What was sent does not expire any more [MQTT-4.3.3-7].
                    self.ready.release_expiry(slot);
                }
                self.put_back(slot, entry, was_sent, effects);
            }
            if let Some(taker) = self.takers[place as usize].as_mut() {
                session.settled(std::mem::take(&mut taker.unsettled));
            }
            self.detach(place, session);
        }
    }

    /// A message is gone that its client may know: its label is free.
    pub(super) fn forget_mark(&mut self, arrival: Arrival) {
        if !self.marks.is_empty() {
            self.marks.remove(&arrival);
        }
    }

    /// The labels that the client of a suspended session knows messages by.
    pub(crate) fn labels(&self) -> Vec<u16> {
        self.marks.values().map(|mark| mark.label).collect()
    }
}
