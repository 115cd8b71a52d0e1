//! The naive log: a list of what was appended, and what it leaves in the queues.

use std::collections::{BTreeMap, BTreeSet};

use trivium_core::QueueId;
use trivium_core::log::{Attempted, InSession, Note, Recovered, Settled};

/// What is in the queues, and what MQTT sessions must not forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// By queue and position, how often it was delivered as far as is known.
    pub(crate) messages: BTreeMap<(QueueId, u64), u16>,
    /// Packet identifier, QoS, and whether only PUBREL is left.
    marks: BTreeMap<(QueueId, u64), (u16, u8, bool)>,
    received: BTreeSet<(QueueId, u16)>,
}

/// Something appended that is there whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Appended {
    Publish { position: u64, queues: Vec<QueueId>, received: Option<(QueueId, u16)> },
    Settle(Vec<Settled>),
    Requeue(Attempted),
    Note(Note),
    Transaction(Vec<Self>),
}

impl Appended {
    pub(crate) fn apply(&self, contents: &mut Contents) {
        match self {
            Self::Publish { position, queues, received } => {
                contents.messages.extend(queues.iter().map(|queue| ((*queue, *position), 0)));
                contents.received.extend(received);
            }
            Self::Settle(runs) => {
                for run in runs {
                    for position in run.first.get()..run.end() {
                        contents.messages.remove(&(run.queue, position));
                        contents.marks.remove(&(run.queue, position));
                    }
                }
            }
            Self::Requeue(attempted) => {
                let key = (attempted.queue, attempted.position.get());
                if let Some(attempts) = contents.messages.get_mut(&key) {
                    *attempts = attempted.attempts;
                }
            }
            Self::Note(note) => contents.note(*note),
            Self::Transaction(parts) => parts.iter().for_each(|part| part.apply(contents)),
        }
    }
}

impl Contents {
    fn note(&mut self, Note { session, what }: Note) {
        match what {
            InSession::Sent { position, label, qos, released } => {
                let key = (session, position.get());
                if self.messages.contains_key(&key) {
                    self.marks.insert(key, (label, qos, released));
                }
            }
            InSession::Received(packet_id) => drop(self.received.insert((session, packet_id))),
            InSession::Released(packet_id) => drop(self.received.remove(&(session, packet_id))),
            InSession::Ended => {
                self.received.retain(|(known, _)| *known != session);
                self.marks.retain(|(known, _), _| *known != session);
            }
        }
    }
}

/// What a start found, in the same form.
pub(crate) fn contents(recovered: &Recovered) -> Contents {
    let mut contents = Contents::default();
    for queue in &recovered.queues {
        for (first, count) in &queue.runs {
            for position in first.get()..first.get() + count {
                contents.messages.insert((queue.queue, position), 0);
            }
        }
        for (position, attempts) in &queue.attempts {
            let known = contents.messages.insert((queue.queue, position.get()), *attempts);
            assert!(known.is_some(), "attempts are known of what is there");
        }
        for mark in &queue.marks {
            let key = (queue.queue, mark.position.get());
            contents.marks.insert(key, (mark.label, mark.qos, mark.released));
        }
        contents.received.extend(queue.received.iter().map(|id| (queue.queue, *id)));
    }
    contents
}
