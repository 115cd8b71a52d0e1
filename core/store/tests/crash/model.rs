//! The naive log: a list of what was appended, and what it leaves in the queues.

use std::collections::BTreeMap;

use trivium_core::QueueId;
use trivium_core::log::{Attempted, Recovered, Settled};

/// What is in the queues: by queue and position, how often it was delivered as far as is known.
pub(crate) type Contents = BTreeMap<(QueueId, u64), u16>;

/// Something appended that is there whole or not at all.
#[derive(Clone, Debug)]
pub(crate) enum Appended {
    Publish { position: u64, queues: Vec<QueueId> },
    Settle(Vec<Settled>),
    Requeue(Attempted),
    Transaction(Vec<Self>),
}

impl Appended {
    pub(crate) fn apply(&self, contents: &mut Contents) {
        match self {
            Self::Publish { position, queues } => {
                contents.extend(queues.iter().map(|queue| ((*queue, *position), 0)));
            }
            Self::Settle(runs) => {
                for run in runs {
                    for position in run.first.get()..run.end() {
                        contents.remove(&(run.queue, position));
                    }
                }
            }
            Self::Requeue(attempted) => {
                let key = (attempted.queue, attempted.position.get());
                if let Some(attempts) = contents.get_mut(&key) {
                    *attempts = attempted.attempts;
                }
            }
            Self::Transaction(parts) => parts.iter().for_each(|part| part.apply(contents)),
        }
    }
}

/// What a start found, in the same form.
pub(crate) fn contents(recovered: &Recovered) -> Contents {
    let mut contents = Contents::new();
    for queue in &recovered.queues {
        for (first, count) in &queue.runs {
            for position in first.get()..first.get() + count {
                contents.insert((queue.queue, position), 0);
            }
        }
        for (position, attempts) in &queue.attempts {
            let known = contents.insert((queue.queue, position.get()), *attempts);
            assert!(known.is_some(), "attempts are known of what is there");
        }
    }
    contents
}
