//! Exchanges: declare and delete (AMQP 0-9-1, section 1.6 of the class reference).

use crate::catalogue::{Change, StoredExchange};
use crate::routing::{
    ALTERNATE_EXCHANGE, Exchange, ExchangeKind, Routing, check_hash, check_history,
};
use crate::session::SessionShared;
use crate::vhost::Vhost;
use crate::{Refusal, Response, Value};

use super::DeclareExchange;

fn on_default() -> Refusal {
    Refusal::access("operation not permitted on the default exchange")
}

/// What the catalogue has to agree to before the exchange is there; `None` when it is there, is not
/// durable, or cannot be.
pub(super) fn durable_change(
    routing: &Routing,
    declare: &DeclareExchange,
    vhost: &Vhost,
) -> Option<Change> {
    let name = declare.name.as_str();
    let is_new = !declare.passive && !routing.exchanges.contains_key(name);
    if !is_new || !declare.durable || name.is_empty() || name.starts_with("amq.") {
        return None;
    }
    let kind = ExchangeKind::parse(&declare.kind)?;
    check_arguments(kind, declare, &vhost.name).ok()?;
    Some(Change::PutExchange(StoredExchange {
        vhost: vhost.name.to_string(),
        name: name.to_owned(),
        kind: kind.name().to_owned(),
        auto_delete: declare.auto_delete,
        internal: declare.internal,
        arguments: declare.arguments.clone(),
    }))
}

/// `exchange.declare`
pub(super) fn declare(
    session: &SessionShared,
    declare: &DeclareExchange,
) -> Result<Response, Refusal> {
    let vhost = &session.connection.vhost;
    let name = declare.name.as_str();
    if name.is_empty() {
        return Err(on_default());
    }
    if declare.passive {
        vhost.routing().exchange(name)?;
        return Ok(Response::Done);
    }
    let Some(kind) = ExchangeKind::parse(&declare.kind) else {
        let kind = &declare.kind;
        return Err(Refusal::precondition(format!("unknown exchange type '{kind}'")));
    };
    check_arguments(kind, declare, &vhost.name)?;
    vhost.change_routing(|routing| {
        if let Some(known) = routing.exchanges.get(name) {
            check_equivalent(kind, declare, known, &vhost.name)?;
            return Ok(Response::Done);
        }
        if name.starts_with("amq.") {
            return Err(Refusal::access(format!(
                "exchange name '{name}' contains reserved prefix 'amq.*'"
            )));
        }
        let DeclareExchange { durable, auto_delete, internal, arguments, .. } = declare;
        routing.add_exchange(name, kind, *durable, *auto_delete, *internal, arguments.clone());
        if let Some(exchange) = routing.exchanges.get_mut(name) {
            exchange.policy_alternate = vhost.policies().alternate_of(name);
        }
        Ok(Response::Done)
    })
}

/// Refuses arguments that say nothing the exchange can follow.
fn check_arguments(
    kind: ExchangeKind,
    declare: &DeclareExchange,
    vhost: &str,
) -> Result<(), Refusal> {
    if let Some(alternate) = declare.arguments.get(ALTERNATE_EXCHANGE)
        && alternate.as_str().is_none()
    {
        let (kind, name) = (super::arguments::type_name(alternate), &declare.name);
        return Err(Refusal::precondition(format!(
            "invalid type '{kind}' for arg 'alternate-exchange' in exchange '{name}' in vhost \
             '{vhost}'"
        )));
    }
    match kind {
        ExchangeKind::ConsistentHash => check_hash(&declare.arguments),
        ExchangeKind::RecentHistory => check_history(&declare.arguments),
        ExchangeKind::Direct
        | ExchangeKind::Fanout
        | ExchangeKind::Topic
        | ExchangeKind::Headers
        | ExchangeKind::Random => Ok(()),
    }
}

/// Refuses a declaration that differs from what is there. Of the arguments only the alternate
/// exchange counts.
fn check_equivalent(
    kind: ExchangeKind,
    declare: &DeclareExchange,
    known: &Exchange,
    vhost: &str,
) -> Result<(), Refusal> {
    let name = &declare.name;
    let differs = |argument: &str, difference: &str| {
        Err(Refusal::precondition(format!(
            "inequivalent arg '{argument}' for exchange '{name}' in vhost '{vhost}': {difference}"
        )))
    };
    let both =
        |received: &str, current: &str| format!("received '{received}' but current is '{current}'");
    if known.kind != kind {
        return differs("type", &both(kind.name(), known.kind.name()));
    }
    for (argument, received, current) in [
        ("durable", declare.durable, known.durable),
        ("auto_delete", declare.auto_delete, known.auto_delete),
        ("internal", declare.internal, known.internal),
    ] {
        if received != current {
            return differs(argument, &both(&received.to_string(), &current.to_string()));
        }
    }
    let whole = |name: &str| format!("the value '{name}' of type 'longstr'");
    let received = declare.arguments.get(ALTERNATE_EXCHANGE).and_then(Value::as_str);
    let difference = match (received, known.alternate()) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if received == current => return Ok(()),
        (Some(received), Some(current)) => both(received, current),
        (None, Some(current)) => format!("received none but current is {}", whole(current)),
        (Some(received), None) => format!("received {} but current is none", whole(received)),
    };
    differs(ALTERNATE_EXCHANGE, &difference)
}

/// `exchange.delete`
pub(super) fn delete(
    session: &SessionShared,
    name: &str,
    if_unused: bool,
) -> Result<Response, Refusal> {
    let vhost = &session.connection.vhost;
    if name.is_empty() {
        return Err(on_default());
    }
    if name.starts_with("amq.") {
        let vhost = &vhost.name;
        return Err(Refusal::access(format!(
            "deletion of system exchange '{name}' in vhost '{vhost}' not allowed"
        )));
    }
    vhost.change_routing(|routing| {
        let known = routing.exchanges.get(name);
        if if_unused && known.is_some_and(|known| known.bindings().next().is_some()) {
            let vhost = &vhost.name;
            return Err(Refusal::precondition(format!(
                "exchange '{name}' in vhost '{vhost}' in use"
            )));
        }
        routing.remove_exchange(name);
        Ok(Response::Done)
    })
}
