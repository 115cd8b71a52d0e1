//! What of a batch the log gets, and where it has it.

use super::{Staged, StagedRoute};
use crate::log::{Log, Position, Publish};

/// Appends what asks to survive a restart, once for the batch.
pub(super) fn append(log: &dyn Log, staged: &mut [Staged], routes: &[StagedRoute]) {
    let publishes = publishes(staged, routes);
    if !publishes.is_empty() {
        let first = log.append(&publishes);
        assign(staged, routes, first);
    }
}

fn is_logged(staged: &Staged, routes: &[StagedRoute]) -> bool {
    let route = &routes[staged.route as usize].route;
    staged.message.is_persistent()
        && !route.logged.is_empty()
        && route.queues.len() > staged.refused_count as usize
}

pub(super) fn publishes<'a>(staged: &'a [Staged], routes: &'a [StagedRoute]) -> Vec<Publish<'a>> {
    let logged = staged.iter().filter(|staged| is_logged(staged, routes));
    let publish = |staged: &'a Staged| Publish {
        message: &staged.message,
        queues: &routes[staged.route as usize].route.logged,
    };
    logged.map(publish).collect()
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
