//! What an MQTT session must not forget, and who waits until the log has it (MQTT 5, section 4.3.3).
//!
//! Of a session that the catalogue keeps the log learns, atomically with the message, that a QoS 2
//! publish was received; that it was released; and under which packet identifier a delivery is under
//! way. Tickets wait for that as they wait for messages.

use std::sync::Arc;

use super::{Batch, Confirm, Published, Refused, Scratch, index};
use crate::log::{InSession, Note};
use crate::queue::{Mark, Marking};
use crate::session::{Received, Safety};
use crate::{DeliveryId, Draft, QueueId, Refusal, Session, Ticket};

/// A staged publish of QoS 2.
#[derive(Debug)]
pub(super) struct Once {
    pub(super) staged: u32,
    pub(super) packet_id: u16,
    /// The session, if the catalogue keeps it.
    pub(super) session: Option<QueueId>,
    received: Arc<Received>,
    /// No queue keeps the message: its packet identifier is noted alone.
    pub(super) is_noted: bool,
}

/// A ticket without a publish.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    pub(super) session: u32,
    pub(super) ticket: Ticket,
    /// The position that it waits for; `None` for that of this batch's notes.
    pub(super) position: Option<u64>,
}

impl Batch<'_> {
    /// As [`Batch::publish`] with a confirm, of a QoS 2 publish: until it is released, or declined,
    /// its packet identifier is taken, whichever connection the session has, and after a crash.
    ///
    /// # Errors
    ///
    /// Those of [`Batch::publish`], and when another connection took the session over.
    pub fn publish_once(
        &mut self,
        session: &mut Session,
        draft: Draft<'_>,
        packet_id: u16,
    ) -> Result<Published, Refusal> {
        let (received, id) = received(session)?;
        if received.begin(packet_id).is_some() {
            let ticket = self.repeat_once(session, packet_id)?;
            return Ok(Published { ticket, routed: true });
        }
        let published = self.publish(session, draft, Confirm::Wanted);
        if published.is_err() {
            received.end(packet_id);
            return published;
        }
        // What wants a confirm is always staged.
        let staged = index(self.scratch.staged.len() - 1);
        let is_noted = false;
        self.scratch.once.push(Once { staged, packet_id, session: id, received, is_noted });
        published
    }

    /// A QoS 2 publish came again. Returns the ticket that says when the first is safe.
    ///
    /// # Errors
    ///
    /// When another connection has taken the session over, or is just publishing the first.
    pub fn repeat_once(
        &mut self,
        session: &mut Session,
        packet_id: u16,
    ) -> Result<Ticket, Refusal> {
        let (received, _) = received(session)?;
        match received.begin(packet_id) {
            None => {
                received.end(packet_id);
                Ok(session.last_ticket)
            }
            Some(Safety::At(position)) if position > self.broker.log.durable() => {
                Ok(self.ticket(session, Some(position)))
            }
            Some(Safety::At(_)) => Ok(session.last_ticket),
            Some(Safety::Unknown) => {
                let is_ours = |once: &Once| Arc::ptr_eq(&once.received, &received);
                let is_here = self.scratch.once.iter().any(is_ours);
                if is_here { Ok(session.last_ticket) } else { Err(Refusal::TakenOver) }
            }
        }
    }

    /// A QoS 2 publish was released, or declined: its packet identifier is free. With a confirm,
    /// returns the ticket that says when that is safe, if it waits for anything.
    pub fn release_once(
        &mut self,
        session: &mut Session,
        packet_id: u16,
        confirm: Confirm,
    ) -> Option<Ticket> {
        let (received, id) = received(session).ok()?;
        received.end(packet_id);
        let what = InSession::Released(packet_id);
        self.scratch.effects.note(Note { session: id?, what });
        (confirm == Confirm::Wanted).then(|| self.ticket(session, None))
    }

    /// Notes for a later connection of the session that its client is sent this delivery under the
    /// packet identifier `label` at that QoS; `released` once only PUBREL and PUBCOMP are left of it. To be
    /// staged in the batch in which the packet is written; or, with a confirm, before that: the
    /// ticket says when it is safe. `None` when there is nothing to wait for.
    pub fn mark(
        &mut self,
        session: &mut Session,
        delivery: DeliveryId,
        (label, qos, released): (u16, u8, bool),
        confirm: Confirm,
    ) -> Option<Ticket> {
        let queue = session.queue(delivery.queue)?;
        if !queue.is_session {
            // What others may get next is nothing that this client goes on with.
            return None;
        }
        let is_logged = queue.is_logged();
        let work = self.scratch.work(queue);
        let marking = Marking::new(delivery, Mark { label, qos, released });
        self.scratch.work[work as usize].marks.push(marking);
        (is_logged && confirm == Confirm::Wanted).then(|| self.ticket(session, None))
    }

    fn ticket(&mut self, session: &mut Session, position: Option<u64>) -> Ticket {
        session.last_ticket = Ticket(session.last_ticket.0 + 1);
        let (ticket, session) = (session.last_ticket, self.scratch.session(&session.shared));
        self.scratch.effects.notes_are_urgent |= position.is_none();
        self.scratch.noted.push(Noted { session, ticket, position });
        ticket
    }
}

impl Scratch {
    /// What was appended is known: so is what the client of a QoS 2 publish waits for.
    pub(super) fn note_received(&mut self) {
        for once in &mut self.once {
            let staged = &self.staged[once.staged as usize];
            once.is_noted = staged.position == 0 && staged.refused == Refused::No;
            if let Some(session) = once.session.filter(|_| once.is_noted) {
                let what = InSession::Received(once.packet_id);
                self.effects.note(Note { session, what });
                self.effects.notes_are_urgent = true;
            } else {
                once.is_noted = false;
                once.received.safe_at(once.packet_id, staged.position);
            }
        }
    }

    /// The notes have their position.
    pub(super) fn place_received(&mut self) {
        for once in self.once.iter().filter(|once| once.is_noted) {
            once.received.safe_at(once.packet_id, self.effects.noted_at);
            self.staged[once.staged as usize].position = self.effects.noted_at;
        }
    }
}

fn received(session: &Session) -> Result<(Arc<Received>, Option<QueueId>), Refusal> {
    let contents = session.shared.contents();
    let client = contents.client.as_ref().ok_or(Refusal::TakenOver)?;
    let id = client.stored.and_then(|_| client.queue_id.get().copied());
    Ok((client.received.clone(), id))
}
