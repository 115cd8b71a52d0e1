//! Retained messages on their way into the log: one record has the new values, where else their
//! messages go, and that the values before them left.

use std::collections::BTreeMap;

use super::append::{is_logged, received};
use super::{Scratch, Staged, StagedRoute};
use crate::QueueId;
use crate::log::{Log, Publish, Settled};
use crate::retained::Telling;

/// A staged publish that set the last value of its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptValue {
    pub(super) staged: u32,
    /// As the vhost's retained messages number it.
    pub(super) change: u64,
}

/// A publish as the log gets it.
struct Wanted {
    staged: usize,
    queues: Vec<QueueId>,
    /// Its queues get it, too: it asks to survive by itself.
    is_logged: bool,
    /// The change of the retained messages that it is.
    change: Option<u64>,
}

/// Appends a batch of which some set last values, together with `settled`. Returns the last position
/// of the record. The lock of the retained messages is held meanwhile, so that the log has their
/// changes in an order that ends with the latest.
pub(super) fn append(log: &dyn Log, scratch: &mut Scratch, mut settled: Vec<Settled>) -> u64 {
    let Some(first) = scratch.kept.first() else { return 0 };
    // All that a batch publishes goes to one vhost: that of its connection.
    let session = &scratch.sessions[scratch.staged[first.staged as usize].session as usize];
    let vhost = session.connection.vhost.clone();
    let mut retained = vhost.retained();
    let Some(queue) = retained.queue() else { return 0 };
    let latest: BTreeMap<&str, u64> = scratch
        .kept
        .iter()
        .map(|kept| (scratch.staged[kept.staged as usize].message.routing_key(), kept.change))
        .collect();
    let mut cleared = Vec::new();
    let mut changes = scratch.kept.iter().peekable();
    let mut wanted = Vec::new();
    for (at, staged) in scratch.staged.iter().enumerate() {
        let kept = changes.next_if(|kept| kept.staged as usize == at);
        let is_latest = |change: &u64| latest.get(staged.message.routing_key()) == Some(change);
        let change = kept.map(|kept| kept.change).filter(is_latest);
        let telling = change.map(|change| retained.telling(&staged.message, change));
        let (mut is_value, mut before) = (false, None);
        match telling {
            Some(Telling::Value(known)) => (is_value, before) = (true, known),
            Some(Telling::Cleared(known)) => {
                before = known;
                cleared.push((at, change.unwrap_or_default()));
            }
            Some(Telling::Nothing) | None => {}
        }
        settled.extend(before.map(|first| Settled { queue, first, count: 1 }));
        wanted.extend(want(staged, &scratch.routes, at, change.filter(|_| is_value), queue));
    }
    let publishes: Vec<_> = wanted
        .iter()
        .map(|wanted| Publish {
            message: &scratch.staged[wanted.staged].message,
            queues: &wanted.queues,
            received: received(&scratch.once, u32::try_from(wanted.staged).unwrap_or(u32::MAX))
                .filter(|_| wanted.is_logged),
        })
        .collect();
    let first = log.append_atomic(&publishes, &settled);
    let mut next = first;
    for wanted in wanted {
        let staged = &mut scratch.staged[wanted.staged];
        if let Some(change) = wanted.change {
            retained.told(&staged.message, change, Some(next));
        }
        staged.position = if wanted.is_logged { next.get() } else { 0 };
        next = next.plus(1);
    }
    for (at, change) in cleared {
        retained.told(&scratch.staged[at].message, change, None);
    }
    let last = next.get().saturating_sub(1).max(first.get());
    scratch.kept_at = last;
    last
}

/// What the log gets of one staged publish; `None` for nothing.
fn want(
    staged: &Staged,
    routes: &[StagedRoute],
    at: usize,
    change: Option<u64>,
    retained: QueueId,
) -> Option<Wanted> {
    let is_logged = is_logged(staged, routes);
    let route = &routes[staged.route as usize].route;
    let mut queues = if is_logged { route.logged.clone() } else { Vec::new() };
    queues.extend(change.map(|_| retained));
    (!queues.is_empty()).then_some(Wanted { staged: at, queues, is_logged, change })
}

impl Scratch {
    /// Whoever set or cleared a last value hears of it once the log has that, too.
    pub(super) fn place_kept(&mut self) {
        for kept in &self.kept {
            let staged = &mut self.staged[kept.staged as usize];
            staged.position = staged.position.max(self.kept_at);
        }
    }
}
