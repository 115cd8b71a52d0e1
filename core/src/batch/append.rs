//! What of a batch the log gets, and where it has it.

use super::exactly_once::Once;
use super::{Scratch, Staged, StagedRoute};
use crate::QueueId;
use crate::log::{Log, Position, Publish};

/// Appends what asks to survive a restart, once for the batch.
pub(super) fn append(log: &dyn Log, scratch: &mut Scratch) {
    if !scratch.kept.is_empty() {
        super::kept::append(log, scratch, Vec::new());
        return;
    }
    let publishes = publishes(&scratch.staged, &scratch.routes, &scratch.once);
    if !publishes.is_empty() {
        let first = log.append(&publishes);
        assign(&mut scratch.staged, &scratch.routes, first);
    }
}

pub(super) fn is_logged(staged: &Staged, routes: &[StagedRoute]) -> bool {
    let route = &routes[staged.route as usize].route;
    staged.message.is_persistent()
        && !route.logged.is_empty()
        && route.queues.len() > staged.refused_count as usize
}

pub(super) fn publishes<'a>(
    staged: &'a [Staged],
    routes: &'a [StagedRoute],
    once: &'a [Once],
) -> Vec<Publish<'a>> {
    let logged = (0u32..).zip(staged).filter(|(_, staged)| is_logged(staged, routes));
    let publish = |(at, staged): (u32, &'a Staged)| Publish {
        message: &staged.message,
        queues: &routes[staged.route as usize].route.logged,
        received: received(once, at),
    };
    logged.map(publish).collect()
}

/// The session and the packet identifier of a staged publish of QoS 2.
pub(super) fn received(once: &[Once], at: u32) -> Option<(QueueId, u16)> {
    if once.is_empty() {
        return None;
    }
    let found = once.binary_search_by_key(&at, |once| once.staged).ok()?;
    Some((once[found].session?, once[found].packet_id))
}

/// Notes where the log has what [`publishes`] gave. Returns the last position.
pub(super) fn assign(staged: &mut [Staged], routes: &[StagedRoute], first: Position) -> Position {
    let (mut next, mut last) = (first, first);
    for staged in staged.iter_mut().filter(|staged| is_logged(staged, routes)) {
        staged.position = next.get();
        last = next;
        next = next.plus(1);
    }
    last
}
