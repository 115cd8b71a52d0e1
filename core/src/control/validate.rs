//! Whether a queue can be declared with some arguments: types, values, and what its type needs.
//! The texts are RabbitMQ's, terms of Erlang included, because test suites compare them.

use super::DeclareQueue;
use super::arguments::type_name;
use crate::queue::{Overflow, QueueType};
use crate::{Refusal, Value};

/// The longest time an argument may say, in milliseconds: ten years, as in RabbitMQ.
const SPAN_MS_MAX: i64 = 315_360_000_000;

/// What one argument may be. The error is the detail behind the colon.
type Check = fn(&Value) -> Result<(), String>;

/// Arguments of classic and of quorum queues, in the order in which RabbitMQ looks at them.
const CHECKS: &[(&str, Check)] = &[
    ("x-expires", positive_span),
    ("x-message-ttl", span),
    ("x-dead-letter-routing-key", text),
    ("x-dead-letter-strategy", strategy),
    ("x-max-length", count),
    ("x-max-length-bytes", count),
    ("x-max-in-memory-length", count),
    ("x-max-in-memory-bytes", count),
    ("x-max-priority", priority),
    ("x-overflow", overflow),
    ("x-delivery-limit", limit),
    ("x-consumer-timeout", positive_span),
    ("x-queue-mode", mode),
    ("x-queue-version", version),
    ("x-single-active-consumer", flag),
    ("x-queue-leader-locator", locator),
    ("x-quorum-initial-group-size", positive),
];

/// Known arguments that a classic queue does not have.
const NOT_CLASSIC: &[&str] = &[
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-quorum-initial-group-size",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
];

/// Known arguments that a quorum queue does not have.
const NOT_QUORUM: &[&str] =
    &["x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator"];

/// Arguments that only streams have.
const STREAM_ONLY: &[&str] = &[
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
];

/// Refuses a declaration that no queue could be made from.
pub(super) fn check(declare: &DeclareQueue, name: &str, vhost: &str) -> Result<(), Refusal> {
    let invalid = |argument: &str, detail: &str| {
        Refusal::precondition(format!(
            "invalid arg '{argument}' for queue '{name}' in vhost '{vhost}': {detail}"
        ))
    };
    let arguments = &declare.arguments;
    let kind = match arguments.get("x-queue-type") {
        None => QueueType::Classic,
        Some(value) => queue_type(value).map_err(|detail| invalid("x-queue-type", &detail))?,
    };
    let (foreign, type_name_of_kind) = match kind {
        QueueType::Classic => (NOT_CLASSIC, "rabbit_classic_queue"),
        QueueType::Quorum => (NOT_QUORUM, "rabbit_quorum_queue"),
    };
    let is_foreign = |name: &&str| foreign.contains(name) || STREAM_ONLY.contains(name);
    let mut names = arguments.0.iter().map(|(name, _)| name.as_str());
    if let Some(argument) = names.find(is_foreign) {
        return Err(Refusal::precondition(format!(
            "invalid arg '{argument}' for queue '{name}' in vhost '{vhost}' of queue type \
             {type_name_of_kind}"
        )));
    }
    if let Some(exchange) = arguments.get("x-dead-letter-exchange")
        && exchange.as_str().is_none()
    {
        return Err(Refusal::precondition(format!(
            "invalid type '{}' for arg 'x-dead-letter-exchange' in queue '{name}' in vhost \
             '{vhost}'",
            type_name(exchange)
        )));
    }
    for (argument, check) in CHECKS {
        if let Some(value) = arguments.get(argument) {
            check(value).map_err(|detail| invalid(argument, &detail))?;
        }
    }
    let has = |argument| arguments.get(argument).is_some();
    if has("x-dead-letter-routing-key") && !has("x-dead-letter-exchange") {
        return Err(invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
    }
    if kind == QueueType::Quorum {
        check_quorum(declare, name, vhost)?;
    }
    Ok(())
}

/// A quorum queue survives everything, so it cannot be what ends with something.
fn check_quorum(declare: &DeclareQueue, name: &str, vhost: &str) -> Result<(), Refusal> {
    if declare.name.is_empty() {
        let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
        return Err(Refusal::precondition(text));
    }
    let faults = [
        (!declare.durable, "non-durable"),
        (declare.auto_delete, "auto-delete"),
        (declare.exclusive, "exclusive-owner"),
    ];
    match faults.iter().find(|(is_fault, _)| *is_fault) {
        None => Ok(()),
        Some((_, property)) => Err(Refusal::precondition(format!(
            "invalid property '{property}' for queue '{name}' in vhost '{vhost}'"
        ))),
    }
}

fn unacceptable(value: &Value) -> String {
    format!("{{unacceptable_type,{}}}", type_name(value))
}

fn text(value: &Value) -> Result<(), String> {
    value.as_str().map(|_| ()).ok_or_else(|| unacceptable(value))
}

fn flag(value: &Value) -> Result<(), String> {
    matches!(value, Value::Bool(_)).then_some(()).ok_or_else(|| unacceptable(value))
}

fn integer(value: &Value) -> Result<i64, String> {
    match value {
        Value::Uint(number, _) => Ok(i64::try_from(*number).unwrap_or(i64::MAX)),
        _ => value
            .as_integer()
            .ok_or_else(|| format!("\"expected integer, got {}\"", type_name(value))),
    }
}

fn limit(value: &Value) -> Result<(), String> {
    integer(value).map(|_| ())
}

fn count(value: &Value) -> Result<(), String> {
    match integer(value)? {
        number if number < 0 => Err(format!("{{value_negative,{number}}}")),
        _ => Ok(()),
    }
}

fn positive(value: &Value) -> Result<(), String> {
    count(value)?;
    if integer(value)? == 0 { Err("{value_zero,0}".into()) } else { Ok(()) }
}

fn span(value: &Value) -> Result<(), String> {
    count(value)?;
    match integer(value)? {
        number if number > SPAN_MS_MAX => Err(format!("{{value_too_large,{number}}}")),
        _ => Ok(()),
    }
}

fn positive_span(value: &Value) -> Result<(), String> {
    positive(value)?;
    span(value)
}

fn priority(value: &Value) -> Result<(), String> {
    count(value)?;
    match integer(value)? {
        number if number > 255 => Err(format!("{{max_value_exceeded,{number}}}")),
        _ => Ok(()),
    }
}

fn one_of(value: &Value, names: &[&str], otherwise: impl Fn(&str) -> String) -> Result<(), String> {
    match value.as_str() {
        Some(name) if names.contains(&name) => Ok(()),
        Some(name) => Err(otherwise(name)),
        None => Err(unacceptable(value)),
    }
}

fn overflow(value: &Value) -> Result<(), String> {
    match value.as_str() {
        Some(name) => Overflow::parse(name).map(|_| ()).ok_or_else(|| "invalid_overflow".into()),
        None => Err(unacceptable(value)),
    }
}

fn strategy(value: &Value) -> Result<(), String> {
    one_of(value, &["at-most-once", "at-least-once"], |_| "invalid_dlx_strategy".into())
}

fn locator(value: &Value) -> Result<(), String> {
    const NAMES: &[&str] = &["client-local", "balanced", "min-masters", "random", "least-leaders"];
    one_of(value, NAMES, |_| "invalid_queue_locator_arg".into())
}

fn mode(value: &Value) -> Result<(), String> {
    one_of(value, &["default", "lazy"], |name| format!("\"unsupported queue mode '{name}'\""))
}

fn version(value: &Value) -> Result<(), String> {
    match integer(value)? {
        1 | 2 => Ok(()),
        number => Err(format!("\"unsupported queue version '{number}'\"")),
    }
}

/// Streams do not exist here yet.
fn queue_type(value: &Value) -> Result<QueueType, String> {
    match value.as_str() {
        Some("classic") => Ok(QueueType::Classic),
        Some("quorum") => Ok(QueueType::Quorum),
        Some(name) => Err(format!("\"unsupported queue type '{name}'\"")),
        None => Err(unacceptable(value)),
    }
}
