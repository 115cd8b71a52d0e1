//! Queues: declare, delete, purge.

use std::sync::Arc;

use super::DeclareQueue;
use crate::catalogue::Change;
use crate::memory::Memory;
use crate::queue::{Declaration, Queue};
use crate::routing::Routing;
use crate::session::SessionShared;
use crate::vhost::Vhost;
use crate::{Broker, ConnectionId, QueueId, Refusal, Response};

/// The queue of that name, if this session may use it.
pub(super) fn usable(
    session: &SessionShared,
    routing: &Routing,
    name: &str,
) -> Result<Arc<Queue>, Refusal> {
    let queue = routing.queue(name)?;
    if !queue.is_open_to(Some(session.connection.id)) || queue.is_session {
        return Err(locked(session, name));
    }
    Ok(queue.clone())
}

fn locked(session: &SessionShared, name: &str) -> Refusal {
    Refusal::Locked { name: name.into(), vhost: session.connection.vhost.name.to_string() }
}

/// What a declaration answers. What has expired does not count.
fn describe(
    session: &SessionShared,
    queue: &Arc<Queue>,
    is_use: bool,
) -> Result<Response, Refusal> {
    let mut effects = session.connection.broker.effects();
    let mut state = queue.lock().ok_or(Refusal::Internal)?;
    if is_use {
        state.use_at(effects.now);
    }
    state.refresh(queue, &mut effects);
    let (messages, consumers) = (state.ready_count(), state.consumer_count() as u64);
    drop(state);
    session.connection.broker.finish(&mut effects);
    Ok(Response::Queue { name: queue.name.to_string(), messages, consumers })
}

/// What the catalogue has to agree to before the queue is there; `None` when it is there, is not
/// durable, or cannot be.
pub(super) fn durable_change(
    routing: &Routing,
    declare: &DeclareQueue,
    name: &str,
    id: QueueId,
    vhost: &Vhost,
) -> Option<Change> {
    let is_durable = declare.durable && !declare.exclusive && !declare.passive;
    if !is_durable || routing.queues.contains_key(name) {
        return None;
    }
    check_new(declare, name, vhost).ok()?;
    // Only to be written down: it holds nothing.
    let queue = make(declare, name, id, None, vhost, None);
    Some(Change::PutQueue(queue.stored(&vhost.name)))
}

/// Refuses a name or arguments that no queue can have.
fn check_new(declare: &DeclareQueue, name: &str, vhost: &Vhost) -> Result<(), Refusal> {
    if !declare.name.is_empty() && name.starts_with("amq.") {
        return Err(Refusal::access(format!(
            "queue name '{name}' contains reserved prefix 'amq.*'"
        )));
    }
    super::validate::check(declare, name, &vhost.name)
}

fn make(
    declare: &DeclareQueue,
    name: &str,
    id: QueueId,
    owner: Option<ConnectionId>,
    vhost: &Vhost,
    broker: Option<&Broker>,
) -> Arc<Queue> {
    let held_bytes_max = broker.filter(|_| declare.is_private);
    Queue::new(Declaration {
        id,
        name: name.into(),
        vhost: vhost.name.clone(),
        durable: declare.durable,
        owner,
        auto_delete: declare.auto_delete,
        is_session: false,
        arguments: declare.arguments.clone(),
        memory: broker.map_or_else(|| Arc::new(Memory::new(None)), |broker| broker.memory.clone()),
        held_bytes_max: held_bytes_max.map(|broker| broker.limits.private_queue_bytes_max as u64),
    })
}

/// `queue.declare`; `name` and `id` are those of the queue if it is new.
pub(super) fn declare(
    session: &SessionShared,
    declare: &DeclareQueue,
    name: &str,
    id: QueueId,
) -> Result<Response, Refusal> {
    let connection = &session.connection;
    if declare.passive {
        let queue = usable(session, &connection.vhost.routing(), &declare.name)?;
        return describe(session, &queue, false);
    }
    let (queue, is_new) = connection.vhost.change_routing(|routing| {
        if let Some(known) = routing.queues.get(name).cloned() {
            check_equivalent(session, &known, declare)?;
            return Ok((known, false));
        }
        check_new(declare, name, &connection.vhost)?;
        let owner = declare.exclusive.then_some(connection.id);
        let broker = Some(&*connection.broker);
        let queue = make(declare, name, id, owner, &connection.vhost, broker);
        routing.add_queue(&queue);
        Ok((queue, true))
    })?;
    if is_new {
        connection.broker.register(&queue);
        connection.own(&queue);
    }
    describe(session, &queue, true)
}

/// Whether declaring `known` again like this changes nothing: exclusive access first, then
/// durable, auto-delete and arguments, as RabbitMQ checks.
fn check_equivalent(
    session: &SessionShared,
    known: &Queue,
    declare: &DeclareQueue,
) -> Result<(), Refusal> {
    let connection = &session.connection;
    if !known.is_open_to(Some(connection.id))
        || known.is_session
        || known.owner.is_some() != declare.exclusive
    {
        return Err(locked(session, &known.name));
    }
    for (argument, received, current) in [
        ("durable", declare.durable, known.durable),
        ("auto_delete", declare.auto_delete, known.auto_delete),
    ] {
        if received != current {
            let (name, vhost) = (&known.name, &known.vhost);
            return Err(Refusal::precondition(format!(
                "inequivalent arg '{argument}' for queue '{name}' in vhost '{vhost}': received \
                 '{received}' but current is '{current}'"
            )));
        }
    }
    super::arguments::check_equivalent(
        &known.name,
        &known.vhost,
        &declare.arguments,
        &known.arguments,
    )
}

/// `queue.delete`
pub(super) fn delete(
    session: &SessionShared,
    name: &str,
    if_unused: bool,
    if_empty: bool,
) -> Result<Response, Refusal> {
    let connection = &session.connection;
    let queue = match usable(session, &connection.vhost.routing(), name) {
        Ok(queue) => queue,
        Err(Refusal::NotFound { .. }) => return Ok(Response::Count(0)),
        Err(refusal) => return Err(refusal),
    };
    connection.vhost.change_routing(|routing| {
        let state = queue.lock().ok_or(Refusal::Internal)?;
        let fails = |why: &str| {
            let vhost = &queue.vhost;
            Err(Refusal::precondition(format!("queue '{name}' in vhost '{vhost}' {why}")))
        };
        let flags = [(if_unused, "if-unused"), (if_empty, "if-empty")];
        if state.is_quorum()
            && let Some((_, flag)) = flags.iter().find(|(is_set, _)| *is_set)
        {
            let vhost = &queue.vhost;
            return Err(Refusal::NotImplemented {
                reason: format!(
                    "cannot delete queue '{name}' in vhost '{vhost}'. queue.delete operations with \
                     {flag} flag set are not supported by quorum queues"
                ),
            });
        }
        if if_unused && state.consumer_count() > 0 {
            return fails("in use");
        }
        if if_empty && state.ready_count() > 0 {
            return fails("not empty");
        }
        drop(state);
        routing.remove_queue(&queue.name, queue.id);
        Ok(())
    })?;
    connection.disown(&queue);
    let mut effects = connection.broker.effects();
    let count = connection.broker.end_queue(&queue, &mut effects);
    connection.broker.finish(&mut effects);
    Ok(Response::Count(count))
}

/// `queue.purge`
pub(super) fn purge(session: &SessionShared, name: &str) -> Result<Response, Refusal> {
    let connection = &session.connection;
    let queue = usable(session, &connection.vhost.routing(), name)?;
    let mut effects = connection.broker.effects();
    let mut state = queue.lock().ok_or(Refusal::Internal)?;
    let (count, garbage) = state.purge(&mut effects);
    drop(state);
    connection.broker.discard(garbage);
    connection.broker.finish(&mut effects);
    Ok(Response::Count(count))
}
