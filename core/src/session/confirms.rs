//! What a session's publishes wait for, in their order.

use std::collections::VecDeque;

use crate::{Event, Refusal, SessionId, Ticket};

/// What becomes of a run of tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Safe once the log is durable up to this position; 0 for at once.
    SafeAt(u64),
    /// The same of something that is no publish, and does not count as one.
    NotedAt(u64),
    /// Declined by a queue.
    Refused(Box<Refusal>),
}

/// Publishes whose confirm waits for the log. Tickets are confirmed in order, so a transient
/// message behind a persistent one waits with it.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// Runs that share a fate, by their last ticket.
    waiting: VecDeque<(Ticket, Fate)>,
    /// The last ticket that was confirmed or refused.
    decided: Ticket,
    /// Whether the broker's list of sessions that wait has it.
    pub(crate) is_listed: bool,
}

impl Confirms {
    /// Notes that `ticket` is safe once the log is durable up to `position` (0: at once).
    pub(crate) fn wait(&mut self, ticket: Ticket, position: u64) {
        match self.waiting.back_mut() {
            // What is ahead of it holds it up anyway: one run for both.
            Some((last, Fate::SafeAt(known))) if position <= *known => *last = ticket,
            _ => self.waiting.push_back((ticket, Fate::SafeAt(position))),
        }
    }

    /// The same for a ticket of no publish.
    pub(crate) fn note(&mut self, ticket: Ticket, position: u64) {
        self.waiting.push_back((ticket, Fate::NotedAt(position)));
    }

    /// Notes that a queue declined `ticket`.
    pub(crate) fn refuse(&mut self, ticket: Ticket, because: Refusal) {
        self.waiting.push_back((ticket, Fate::Refused(Box::new(because))));
    }

    /// Moves what is decided at a log durable up to `durable` into `events`. Returns how many
    /// events that were, and how many publishes are confirmed.
    pub(crate) fn decide(
        &mut self,
        session: SessionId,
        durable: u64,
        events: &mut Vec<Event>,
    ) -> (usize, u64) {
        let (before, first) = (events.len(), self.decided.0);
        let mut others = 0;
        let mut through = None;
        let decided = |(_, fate): &mut (Ticket, Fate)| match fate {
            Fate::SafeAt(position) | Fate::NotedAt(position) => *position <= durable,
            Fate::Refused(_) => true,
        };
        while let Some((ticket, fate)) = self.waiting.pop_front_if(decided) {
            self.decided = ticket;
            others += u64::from(!matches!(fate, Fate::SafeAt(_)));
            if let Fate::Refused(because) = fate {
                let confirmed = through.take();
                events.extend(confirmed.map(|through| Event::Confirmed { session, through }));
                events.push(Event::Refused { session, ticket, because });
            } else {
                through = Some(ticket);
            }
        }
        events.extend(through.map(|through| Event::Confirmed { session, through }));
        (events.len() - before, self.decided.0 - first - others)
    }

    /// Whether anything waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(confirms: &mut Confirms, durable: u64) -> Vec<(u64, bool)> {
        let mut events = Vec::new();
        confirms.decide(SessionId::default(), durable, &mut events);
        let tickets = events.into_iter().map(|event| match event {
            Event::Confirmed { through, .. } => (through.0, true),
            Event::Refused { ticket, .. } => (ticket.0, false),
            other => panic!("unexpected {other:?}"),
        });
        tickets.collect()
    }

    #[test]
    fn one_event_covers_everything_safe() {
        let mut confirms = Confirms::default();
        for (ticket, position) in [(1, 0), (2, 7), (3, 0), (4, 8)] {
            confirms.wait(Ticket(ticket), position);
        }
        assert_eq!(decide(&mut confirms, 0), [(1, true)]);
        assert_eq!(decide(&mut confirms, 7), [(3, true)], "3 is transient, and behind 2");
        assert_eq!(decide(&mut confirms, 9), [(4, true)]);
        assert!(!confirms.is_waiting());
    }

    #[test]
    fn a_refusal_splits_the_run() {
        let mut confirms = Confirms::default();
        confirms.wait(Ticket(1), 0);
        confirms.wait(Ticket(2), 0);
        confirms.refuse(Ticket(3), Refusal::Internal);
        confirms.wait(Ticket(4), 0);
        assert_eq!(decide(&mut confirms, 0), [(2, true), (3, false), (4, true)]);
        for ticket in 5..8 {
            confirms.wait(Ticket(ticket), 0);
        }
        let counts = confirms.decide(SessionId::default(), 0, &mut Vec::new());
        assert_eq!(counts, (1, 3), "one event for three publishes");
    }
}
