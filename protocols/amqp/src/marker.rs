//! Headers that carry what AMQP has no property for: `translate.rs` writes them, the property
//! codec reads them back from whoever copies them.
//!
//! Any client may write them; none of them lets it say more than a property of its own protocol
//! would: the address, the user and retain are never taken from here. A publisher's own header of
//! such a name travels towards AMQP as `amqp-header-<name>`.

use std::collections::{HashMap, HashSet};

use trivium_core::properties::{own_name, travelling_name};
use trivium_core::{Properties, Table, Value};

use crate::properties::Property;

/// Correlation data that is no UTF-8, or above 255 octets.
pub(crate) const CORRELATION: &str = "x-correlation-id";

/// The key of `amq.topic` that answers go to, in words.
pub(crate) const REPLY_TO_TOPIC: &str = "x-reply-to-topic";

/// MQTT's Payload Format Indicator.
pub(crate) const PAYLOAD_FORMAT: &str = "x-mqtt-payload-format";

/// The QoS at which MQTT published it.
pub(crate) const PUBLISH_QOS: &str = "x-mqtt-publish-qos";

/// Headers as they were sent, as an array of pairs, where names repeat or are too long.
pub(crate) const USER_PROPERTIES: &str = "x-mqtt-user-properties";

/// The whole address where the routing key had to be cut. Written, never read: who is not allowed
/// to publish somewhere must not get there by a header.
pub(crate) const TOPIC: &str = "x-mqtt-topic";

/// Boolean; asks to become the last value of the address. Read, never written.
pub(crate) const RETAIN: &str = "x-mqtt-retain";

/// The header of a property whose text is above 255 octets.
pub(crate) const fn of_long(property: Property) -> Option<&'static str> {
    match property {
        Property::ContentType => Some("x-long-content-type"),
        Property::ContentEncoding => Some("x-long-content-encoding"),
        Property::MessageId => Some("x-long-message-id"),
        Property::Kind => Some("x-long-type"),
        Property::AppId => Some("x-long-app-id"),
        Property::ClusterId => Some("x-long-cluster-id"),
        Property::Headers
        | Property::DeliveryMode
        | Property::Priority
        | Property::CorrelationId
        | Property::ReplyTo
        | Property::Expiration
        | Property::Timestamp
        // A user's name is never taken from a header.
        | Property::UserId => None,
    }
}

/// Whether a header of this name may be read as something else than itself.
pub(crate) fn is_taken(name: &str) -> bool {
    matches!(
        name,
        CORRELATION
            | REPLY_TO_TOPIC
            | PAYLOAD_FORMAT
            | PUBLISH_QOS
            | USER_PROPERTIES
            | TOPIC
            | RETAIN
            | "x-long-content-type"
            | "x-long-content-encoding"
            | "x-long-message-id"
            | "x-long-type"
            | "x-long-app-id"
            | "x-long-cluster-id"
    )
}

/// Removes the first header of that name if `read` understands it.
pub(crate) fn take<T>(
    headers: &mut Table,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Option<T> {
    let index = headers.0.iter().position(|(key, _)| key == name)?;
    let value = read(&headers.0[index].1)?;
    headers.0.remove(index);
    Some(value)
}

pub(crate) fn take_text(headers: &mut Table, name: &str) -> Option<String> {
    take(headers, name, |value| value.as_str().map(str::to_owned))
}

/// Takes an integer of at most `max`.
pub(crate) fn take_octet(headers: &mut Table, name: &str, max: u8) -> Option<u8> {
    take(headers, name, |value| {
        let number = value.as_integer().and_then(|number| u8::try_from(number).ok());
        number.filter(|number| *number <= max)
    })
}

/// The publisher's own headers under their own names, in the order and with the repeats of
/// [`USER_PROPERTIES`], if it is there. The table says which headers there are and the first value
/// of each, so that a client that adds, changes or removes one is understood.
pub(crate) fn restore_headers(mut headers: Table) -> Table {
    let array = take(&mut headers, USER_PROPERTIES, pairs);
    let own = headers.0.into_iter().map(|(name, value)| {
        let own = own_name(&name, is_taken).to_owned();
        (own, value)
    });
    let Some(array) = array else { return Table(own.collect()) };
    let mut table: Vec<Option<(String, Value)>> = own.map(Some).collect();
    let places: HashMap<String, usize> = table
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| entry.as_ref().map(|(name, _)| (name.clone(), at)))
        .collect();
    let mut restored = Vec::with_capacity(array.len());
    for (name, value) in array {
        match places.get(&name) {
            Some(&at) => restored.push(table[at].take().unwrap_or((name, value))),
            None if has_no_place(&name) => restored.push((name, value)),
            None => {}
        }
    }
    restored.extend(table.into_iter().flatten());
    Table(restored)
}

/// Whether the name is too long for a table.
fn has_no_place(name: &str) -> bool {
    let travelling = travelling_name(name, is_taken);
    u8::try_from(travelling.len()).is_err()
}

/// The array of pairs, where a table cannot say the same.
pub(crate) fn user_properties(properties: &Properties) -> Option<Value> {
    let headers = &properties.headers.0;
    let mut seen = HashSet::new();
    let mut simple = headers.iter().map(|(name, _)| !has_no_place(name) && seen.insert(name));
    if simple.all(|is_simple| is_simple) {
        return None;
    }
    let pair = |(name, value): &(String, Value)| {
        Value::Array(vec![Value::text(name.as_str()), value.clone()])
    };
    Some(Value::Array(headers.iter().map(pair).collect()))
}

fn pairs(value: &Value) -> Option<Vec<(String, Value)>> {
    let Value::Array(pairs) = value else { return None };
    pairs.iter().map(pair).collect()
}

fn pair(value: &Value) -> Option<(String, Value)> {
    match value {
        Value::Array(pair) => match pair.as_slice() {
            [name, value] => Some((name.as_str()?.to_owned(), value.clone())),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, value: &str) -> (String, Value) {
        (name.to_owned(), Value::text(value))
    }

    fn array(entries: &[(String, Value)]) -> (String, Value) {
        let headers = Table(entries.to_vec());
        let properties = Properties { headers, ..Properties::default() };
        (USER_PROPERTIES.to_owned(), user_properties(&properties).unwrap())
    }

    #[test]
    fn a_client_that_changes_the_table_is_understood() {
        let long = "l".repeat(300);
        let sent = [entry("a", "1"), entry("b", "2"), entry("a", "3"), entry(&long, "4")];
        let restored = |table: Vec<(String, Value)>| restore_headers(Table(table)).0;
        let all = vec![array(&sent), entry("a", "1"), entry("b", "2")];
        assert_eq!(restored(all), sent);
        let changed = vec![array(&sent), entry("a", "new"), entry("x-death", "5")];
        let expected =
            [entry("a", "new"), entry("a", "3"), entry(&long, "4"), entry("x-death", "5")];
        assert_eq!(restored(changed), expected, "b was removed, x-death added");
    }

    #[test]
    fn what_does_not_read_like_a_marker_is_a_header() {
        let table = Table(vec![
            (USER_PROPERTIES.to_owned(), Value::text("none")),
            (PUBLISH_QOS.to_owned(), Value::Int(3, 4)),
            entry("amqp-header-mine", "4"),
            entry("amqp-header-x-mqtt-topic", "t"),
        ]);
        let mut headers = table.clone();
        assert_eq!(take_octet(&mut headers, PUBLISH_QOS, 2), None);
        let restored = restore_headers(headers);
        assert_eq!(restored.0[..3], table.0[..3]);
        assert_eq!(restored.0[3], entry("x-mqtt-topic", "t"));
    }
}
