//! Bindings: queues and exchanges to exchanges.

use std::sync::Arc;

use super::planned::{self, Wish};
use super::{Answer, Binding, Destination, Reply, snapshot};
use crate::catalogue::{Change, StoredBinding};
use crate::routing::{
    BindingKey, ExchangeKind, Routing, Target, TargetId, check_headers, check_weight,
};
use crate::session::SessionShared;
use crate::{Refusal, Response};

/// `queue.bind` and `exchange.bind`
pub(super) fn bind(session: &Arc<SessionShared>, binding: Binding) -> Reply {
    match snapshot::is_wanted(&binding) {
        Ok(false) => planned::change(session, Wish::Bind(binding)),
        Ok(true) => Reply::Pending(Box::pin(snapshot::bind(session.clone(), binding))),
        Err(refusal) => Reply::Ready(Err(refusal)),
    }
}

/// What the catalogue has to agree to before the binding is there; `None` when it is there, does
/// not outlive a restart, or cannot be.
pub(super) fn durable_bind(
    session: &SessionShared,
    routing: &Routing,
    binding: &Binding,
) -> Option<Change> {
    check_ends(binding).ok()?;
    let source = routing.exchange(&binding.source).ok()?;
    check(source.kind, binding).ok()?;
    let target = target(session, routing, &binding.destination).ok()?;
    let key = BindingKey::new(&binding.key, binding.arguments.clone());
    if source.has(&target.id(), &key) {
        return None;
    }
    routing.stored_binding(source, &target, &key).map(Change::PutBinding)
}

/// What the catalogue has to agree to before the binding goes.
pub(super) fn durable_unbind(
    session: &SessionShared,
    routing: &Routing,
    binding: &Binding,
) -> Option<Change> {
    check_ends(binding).ok()?;
    let source = routing.exchange(&binding.source).ok()?;
    let target = target(session, routing, &binding.destination).ok()?;
    let key = BindingKey::new(&binding.key, binding.arguments.clone());
    if !source.has(&target.id(), &key) {
        return None;
    }
    routing.stored_binding(source, &target, &key).map(Change::RemoveBinding)
}

pub(super) fn bind_now(session: &SessionShared, binding: Binding) -> Answer {
    check_ends(&binding)?;
    let mut recent = None;
    session.connection.vhost.change_routing(|routing| {
        let source = routing.exchange(&binding.source)?;
        check(source.kind, &binding)?;
        let history = source.history().cloned();
        let target = target(session, routing, &binding.destination)?;
        let key = BindingKey::new(&binding.key, binding.arguments);
        let is_new = routing.bind(&binding.source, &target, key)?;
        if let (true, Target::Queue(queue), Some(history)) = (is_new, target, history) {
            recent = Some((queue, history));
        }
        Ok(Response::Done)
    })?;
    if let Some((queue, history)) = recent {
        session.connection.broker.push(&queue, &history.messages());
    }
    Ok(Response::Done)
}

/// `queue.unbind` and `exchange.unbind`: what is not there is no error.
pub(super) fn unbind(session: &SessionShared, binding: Binding) -> Result<Response, Refusal> {
    check_ends(&binding)?;
    session.connection.vhost.change_routing(|routing| {
        let destination = binding.destination.clone();
        let target = match target(session, routing, &binding.destination) {
            Ok(target) => target.id(),
            Err(Refusal::NotFound { .. }) => match binding.destination {
                Destination::Queue(_) => return Ok(Response::Done),
                Destination::Exchange(ref name) => TargetId::Exchange(name.as_str().into()),
            },
            Err(refusal) => return Err(refusal),
        };
        if routing.exchange(&binding.source).is_ok_and(|source| source.durable) {
            let Binding { source, key, arguments, .. } = binding.clone();
            routing.record(|vhost| {
                let vhost = vhost.to_owned();
                Change::RemoveBinding(StoredBinding { vhost, source, destination, key, arguments })
            });
        }
        let key = BindingKey::new(&binding.key, binding.arguments);
        routing.unbind(&binding.source, &target, &key);
        Ok(Response::Done)
    })
}

fn check_ends(binding: &Binding) -> Result<(), Refusal> {
    let to_default = matches!(&binding.destination, Destination::Exchange(name) if name.is_empty());
    if binding.source.is_empty() || to_default {
        return Err(Refusal::access("operation not permitted on the default exchange"));
    }
    Ok(())
}

/// Refuses what the source cannot read.
fn check(kind: ExchangeKind, binding: &Binding) -> Result<(), Refusal> {
    match kind {
        ExchangeKind::Topic => check_pattern(&binding.key),
        ExchangeKind::Headers => check_headers(&binding.arguments),
        ExchangeKind::ConsistentHash => check_weight(&binding.key),
        ExchangeKind::Direct
        | ExchangeKind::Fanout
        | ExchangeKind::Random
        | ExchangeKind::RecentHistory => Ok(()),
    }
}

/// A pattern with many `#` makes every publish walk many branches; RabbitMQ allows two.
fn check_pattern(key: &str) -> Result<(), Refusal> {
    const MANY_MAX: usize = 2;
    let many = crate::address::words(key).filter(|word| *word == "#").count();
    if many > MANY_MAX {
        return Err(Refusal::precondition(format!(
            "Topic binding key '{key}' uses {many} '#' wildcards, at most {MANY_MAX} are allowed"
        )));
    }
    Ok(())
}

fn target(
    session: &SessionShared,
    routing: &Routing,
    destination: &Destination,
) -> Result<Target, Refusal> {
    match destination {
        Destination::Queue(name) => {
            let queue = super::queue::usable(session, routing, name)?;
            Ok(Target::Queue(queue))
        }
        Destination::Exchange(name) => {
            let name: Arc<str> = routing.exchange(name)?.name.clone();
            Ok(Target::Exchange(name))
        }
    }
}
