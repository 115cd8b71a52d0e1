//! Headers exchanges: a binding's arguments against a message's headers (RabbitMQ's `x-match`).

use super::exchange::BindingKey;
use super::target::{Target, TargetId};
use crate::{Refusal, Table, Value};

/// How many of a binding's criteria must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    All,
    Any,
}

/// The criteria of one binding: `x-match` read, the rest ready to compare.
#[derive(Debug)]
struct Criteria {
    how: Match,
    wanted: Vec<(String, Value)>,
}

/// The bindings of a headers exchange. Each message is compared with each: what a binding asks
/// for has no order to search by.
#[derive(Debug, Default)]
pub(super) struct HeaderBindings(Vec<(Target, BindingKey, Criteria)>);

/// Refuses arguments that say nothing a headers exchange understands.
pub(crate) fn check(arguments: &Table) -> Result<(), Refusal> {
    parse(arguments).map(|_| ())
}

fn parse(arguments: &Table) -> Result<Criteria, Refusal> {
    let (how, with_x) = match arguments.get("x-match") {
        None => (Match::All, false),
        Some(Value::Text(text)) => match text.as_slice() {
            b"all" => (Match::All, false),
            b"any" => (Match::Any, false),
            b"all-with-x" => (Match::All, true),
            b"any-with-x" => (Match::Any, true),
            other => {
                let other = String::from_utf8_lossy(other);
                return Err(Refusal::precondition(format!(
                    "Invalid x-match field value <<\"{other}\">>; expected all, any, all-with-x, \
                     or any-with-x"
                )));
            }
        },
        Some(value) => {
            let kind = crate::control::type_name(value);
            let shown = value.as_integer().map_or_else(|| format!("{value:?}"), |i| i.to_string());
            return Err(Refusal::precondition(format!(
                "Invalid x-match field type {kind} (value {shown}); expected longstr"
            )));
        }
    };
    let is_wanted = |name: &str| name != "x-match" && (with_x || !name.starts_with("x-"));
    let wanted = arguments.0.iter().filter(|(name, _)| is_wanted(name)).cloned().collect();
    Ok(Criteria { how, wanted })
}

impl Criteria {
    fn hold(&self, headers: &Table) -> bool {
        let holds = |(name, wanted): &(String, Value)| {
            headers.get(name).is_some_and(|value| *wanted == Value::Void || equal(wanted, value))
        };
        match self.how {
            Match::All => self.wanted.iter().all(holds),
            Match::Any => self.wanted.iter().any(holds),
        }
    }
}

/// By value: neither the width that a number had on the wire counts, nor whether octets were called
/// text. Timestamps are numbers.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Text(left) | Value::Bytes(left), Value::Text(right) | Value::Bytes(right)) => {
            left == right
        }
        _ => match (whole(left), whole(right), real(left), real(right)) {
            (Some(left), Some(right), _, _) => left == right,
            (_, _, Some(left), Some(right)) => left.total_cmp(&right).is_eq(),
            _ => left == right,
        },
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value, _) => Some(i128::from(*value)),
        Value::Uint(value, _) | Value::Timestamp(value) => Some(i128::from(*value)),
        _ => None,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a float is compared with what it can be")]
fn real(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(f64::from(*value)),
        Value::Double(value) => Some(*value),
        value => whole(value).map(|value| value as f64),
    }
}

impl HeaderBindings {
    pub(super) fn add(&mut self, target: &Target, key: BindingKey) {
        // Arguments were checked before; what cannot be read matches nothing.
        let nothing = Criteria { how: Match::Any, wanted: Vec::new() };
        let criteria = parse(&key.arguments).unwrap_or(nothing);
        self.0.push((target.clone(), key, criteria));
    }

    pub(super) fn remove(&mut self, target: &TargetId, key: &BindingKey) {
        self.0.retain(|(known, binding, _)| known.id() != *target || binding != key);
    }

    pub(super) fn route(&self, headers: &Table, found: impl FnMut(&Target)) {
        let matching = self.0.iter().filter(|(_, _, criteria)| criteria.hold(headers));
        matching.map(|(target, _, _)| target).for_each(found);
    }
}
