//! Exchanges: declare and delete (AMQP 0-9-1, section 1.6 of the class reference).

use crate::routing::ExchangeKind;
use crate::session::SessionShared;
use crate::{Refusal, Response};

use super::DeclareExchange;

fn on_default() -> Refusal {
    Refusal::access("operation not permitted on the default exchange")
}

/// `exchange.declare`
pub(super) fn declare(
    session: &SessionShared,
    declare: DeclareExchange,
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
    if let Some(alternate) = declare.arguments.get("alternate-exchange")
        && alternate.as_str().is_none()
    {
        let kind = super::arguments::type_name(alternate);
        return Err(Refusal::precondition(format!(
            "invalid type '{kind}' for arg 'alternate-exchange' in exchange '{name}' in vhost \
             '{}'",
            vhost.name
        )));
    }
    vhost.change_routing(|routing| {
        if let Some(known) = routing.exchanges.get(name) {
            let differs = |argument: &str, received: &str, current: &str| {
                Err(Refusal::precondition(format!(
                    "inequivalent arg '{argument}' for exchange '{name}' in vhost '{}': received \
                     '{received}' but current is '{current}'",
                    vhost.name
                )))
            };
            if known.kind != kind {
                return differs("type", kind.name(), known.kind.name());
            }
            for (argument, received, current) in [
                ("durable", declare.durable, known.durable),
                ("auto_delete", declare.auto_delete, known.auto_delete),
                ("internal", declare.internal, known.internal),
            ] {
                if received != current {
                    return differs(argument, &received.to_string(), &current.to_string());
                }
            }
            return Ok(Response::Done);
        }
        if name.starts_with("amq.") {
            return Err(Refusal::access(format!(
                "exchange name '{name}' contains reserved prefix 'amq.*'"
            )));
        }
        let DeclareExchange { durable, auto_delete, internal, .. } = declare;
        routing.add_exchange(name, kind, durable, auto_delete, internal, declare.arguments);
        Ok(Response::Done)
    })
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
