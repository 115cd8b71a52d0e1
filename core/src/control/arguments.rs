//! Optional arguments: when two declarations mean the same. `validate` says which can be made.

use crate::{Refusal, Table, Value};

/// The arguments that classic and quorum queues know; others are stored and not compared.
const QUEUE_ARGUMENTS: [&str; 20] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-queue-leader-locator",
    "x-consumer-timeout",
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-quorum-initial-group-size",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
];

/// A type as RabbitMQ's texts name it.
pub(crate) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Void => "void",
        Value::Bool(_) => "bool",
        Value::Int(_, 1) => "byte",
        Value::Int(_, 2) => "short",
        Value::Int(_, 4) => "signedint",
        Value::Int(..) => "long",
        Value::Uint(_, 1) => "unsignedbyte",
        Value::Uint(_, 2) => "unsignedshort",
        Value::Uint(..) => "unsignedint",
        Value::Float(_) => "float",
        Value::Double(_) => "double",
        Value::Decimal(..) => "decimal",
        Value::Text(_) => "longstr",
        Value::Bytes(_) => "binary",
        Value::Timestamp(_) => "timestamp",
        Value::Array(_) => "array",
        Value::Table(_) => "table",
    }
}

/// A value as RabbitMQ's texts show it.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value, _) => value.to_string(),
        Value::Uint(value, _) | Value::Timestamp(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Text(text) | Value::Bytes(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Void | Value::Decimal(..) | Value::Array(_) | Value::Table(_) => {
            format!("{value:?}")
        }
    }
}

/// Integers of different widths are equal if their values are.
fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_integer(), right.as_integer()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

/// Refuses arguments that differ from those a queue was declared with.
pub(super) fn check_equivalent(
    name: &str,
    vhost: &str,
    received: &Table,
    current: &Table,
) -> Result<(), Refusal> {
    let whole =
        |value: &Value| format!("the value '{}' of type '{}'", show(value), type_name(value));
    for argument in QUEUE_ARGUMENTS {
        let classic = Value::text("classic");
        // Not naming the type is naming the default one.
        let default = (argument == "x-queue-type").then_some(&classic);
        let received = received.get(argument).or(default);
        let current = current.get(argument).or(default);
        let difference = match (received, current) {
            (None, None) => continue,
            (Some(received), Some(current)) if equal(received, current) => continue,
            (Some(received), Some(current)) => {
                format!("received '{}' but current is '{}'", show(received), show(current))
            }
            (None, Some(current)) => format!("received none but current is {}", whole(current)),
            (Some(received), None) => format!("received {} but current is none", whole(received)),
        };
        return Err(Refusal::precondition(format!(
            "inequivalent arg '{argument}' for queue '{name}' in vhost '{vhost}': {difference}"
        )));
    }
    Ok(())
}
