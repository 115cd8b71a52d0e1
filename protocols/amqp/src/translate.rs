//! The property list of a message that another protocol published, as `mapping.md` lays down:
//! what AMQP has a property for goes there, the rest into headers that [`crate::PROPERTY_CODEC`]
//! reads back.

use std::borrow::Cow;

use trivium_core::address::topic_of_words;
use trivium_core::properties::travelling_name;
use trivium_core::{Field, Lost, Properties, ReplyTo, Value};

use crate::marker;
use crate::properties::{PERSISTENT, Property, TOPIC_REPLY_PREFIX};
use crate::table;

/// Appends the list for `properties`, flags first. `long_key` is the routing key where AMQP can only
/// say its beginning. Returns what AMQP cannot say.
pub(crate) fn write(properties: &Properties, long_key: Option<&str>, out: &mut Vec<u8>) -> Lost {
    let start = out.len();
    let mut list = List { flags: 0, lost: Lost::NONE, out };
    list.out.extend_from_slice(&[0; 2]);
    let reply_to = properties.reply_to.as_ref().map(reply_name);
    let expiration = properties.expiry_ms.map(|millis| millis.to_string());
    list.text(Property::ContentType, properties.content_type.as_deref());
    list.text(Property::ContentEncoding, properties.content_encoding.as_deref());
    list.headers(properties, long_key);
    let mode = properties.durable.map(|durable| if durable { PERSISTENT } else { 1 });
    list.octet(Property::DeliveryMode, mode);
    list.octet(Property::Priority, properties.priority);
    list.text(Property::CorrelationId, correlation_id(properties));
    list.text(Property::ReplyTo, reply_to.as_deref());
    list.text(Property::Expiration, expiration.as_deref());
    list.text(Property::MessageId, properties.message_id.as_deref());
    if let Some(seconds) = properties.timestamp {
        list.flags |= Property::Timestamp.flag();
        list.out.extend_from_slice(&seconds.to_be_bytes());
    }
    list.text(Property::Kind, properties.kind.as_deref());
    list.text(Property::UserId, properties.user_id.as_deref());
    list.text(Property::AppId, properties.app_id.as_deref());
    list.text(Property::ClusterId, properties.cluster_id.as_deref());
    let (flags, result) = (list.flags.to_be_bytes(), list.lost);
    out[start..start + 2].copy_from_slice(&flags);
    result
}

/// A list that is being appended, its properties in the order of their flags.
struct List<'a> {
    flags: u16,
    lost: Lost,
    out: &'a mut Vec<u8>,
}

impl List<'_> {
    fn text(&mut self, property: Property, text: Option<&str>) {
        let Some(text) = text else { return };
        let Ok(len) = u8::try_from(text.len()) else {
            // A header has it whole, but for a user's name.
            return self.lost.unless(property != Property::UserId, Field::Property);
        };
        self.flags |= property.flag();
        self.out.push(len);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn octet(&mut self, property: Property, octet: Option<u8>) {
        let Some(octet) = octet else { return };
        self.flags |= property.flag();
        self.out.push(octet);
    }

    fn headers(&mut self, properties: &Properties, long_key: Option<&str>) {
        let added = added_headers(properties, long_key);
        if added.is_empty() && properties.headers.0.is_empty() {
            return;
        }
        self.flags |= Property::Headers.flag();
        let own = properties
            .headers
            .0
            .iter()
            .map(|(name, value)| (travelling_name(name, marker::is_taken), value));
        let added = added.iter().map(|(name, value)| (Cow::Borrowed(*name), value));
        table::encode(added.chain(own), self.out);
    }
}

/// What is no property of AMQP.
fn added_headers(properties: &Properties, long_key: Option<&str>) -> Vec<(&'static str, Value)> {
    let mut added = Vec::new();
    if let Some(key) = long_key {
        let mut topic = Vec::new();
        if topic_of_words(key, &mut topic) {
            added.push((marker::TOPIC, Value::Text(topic)));
        }
    }
    if let (Some(octets), None) = (&properties.correlation, correlation_id(properties)) {
        let value = match std::str::from_utf8(octets) {
            Ok(_) => Value::Text(octets.clone()),
            Err(_) => Value::Bytes(octets.clone()),
        };
        added.push((marker::CORRELATION, value));
    }
    if let Some(ReplyTo::Topic(key)) = &properties.reply_to {
        added.push((marker::REPLY_TO_TOPIC, Value::text(key.as_str())));
    }
    for (property, text) in [
        (Property::ContentType, &properties.content_type),
        (Property::ContentEncoding, &properties.content_encoding),
        (Property::MessageId, &properties.message_id),
        (Property::Kind, &properties.kind),
        (Property::AppId, &properties.app_id),
        (Property::ClusterId, &properties.cluster_id),
    ] {
        if let (Some(name), Some(text)) = (marker::of_long(property), text)
            && u8::try_from(text.len()).is_err()
        {
            added.push((name, Value::text(text.as_str())));
        }
    }
    if let Some(format) = properties.payload_format {
        added.push((marker::PAYLOAD_FORMAT, Value::Uint(u64::from(format), 1)));
    }
    if let Some(qos) = properties.qos {
        added.push((marker::PUBLISH_QOS, Value::Uint(u64::from(qos), 1)));
    }
    if let Some(pairs) = marker::user_properties(properties) {
        added.push((marker::USER_PROPERTIES, pairs));
    }
    added
}

/// The correlation as `correlation_id` can hold it: a shortstr is UTF-8 and ends at 255 octets.
fn correlation_id(properties: &Properties) -> Option<&str> {
    let octets = properties.correlation.as_deref()?;
    std::str::from_utf8(octets).ok().filter(|text| u8::try_from(text.len()).is_ok())
}

fn reply_name(reply_to: &ReplyTo) -> Cow<'_, str> {
    match reply_to {
        ReplyTo::Queue(name) => Cow::Borrowed(name),
        ReplyTo::Topic(key) => Cow::Owned(format!("{TOPIC_REPLY_PREFIX}{key}")),
    }
}

#[cfg(test)]
mod tests {
    use trivium_core::Table;

    use super::*;
    use crate::PROPERTY_CODEC;
    use crate::properties::{Checked, PropertyList};

    fn full() -> Properties {
        Properties {
            content_type: Some("text/plain".into()),
            content_encoding: Some("gzip".into()),
            correlation: Some(b"c-1".to_vec()),
            reply_to: Some(ReplyTo::Queue("answers".into())),
            expiry_ms: Some(1500),
            durable: Some(true),
            priority: Some(9),
            message_id: Some("m-1".into()),
            kind: Some("order".into()),
            app_id: Some("shop".into()),
            user_id: Some("guest".into()),
            cluster_id: Some("c".into()),
            timestamp: Some(1_700_000_000),
            payload_format: Some(1),
            qos: Some(2),
            headers: Table(vec![
                ("a".into(), Value::text("1")),
                ("b".into(), Value::Int(-7, 4)),
                ("c".into(), Value::Bool(true)),
            ]),
        }
    }

    fn back_and_forth(properties: &Properties) -> Properties {
        let mut wire = b"before".to_vec();
        assert_eq!(write(properties, None, &mut wire), Lost::NONE);
        Checked::check(&wire[6..]).unwrap();
        PROPERTY_CODEC.decode(&wire[6..])
    }

    #[test]
    fn everything_survives_the_way_to_amqp_and_back() {
        let variants: [fn(&mut Properties); 11] = [
            |_| {},
            |properties| *properties = Properties::default(),
            |properties| properties.reply_to = Some(ReplyTo::Topic("r.x".into())),
            |properties| properties.reply_to = Some(ReplyTo::Topic("long.".repeat(60))),
            |properties| properties.correlation = Some(vec![0xFF, 0, 1]),
            |properties| properties.correlation = Some(vec![b'c'; 300]),
            |properties| properties.headers.0.insert(1, ("c".into(), Value::text("again"))),
            |properties| properties.headers.0.push(("n".repeat(256), Value::text("long"))),
            |properties| properties.content_type = Some("t".repeat(256)),
            |properties| {
                for name in [
                    "x-correlation-id",
                    "x-reply-to-topic",
                    "x-mqtt-topic",
                    "amqp-header-x-mqtt-topic",
                    "x-mqtt-publish-qos",
                    "x-long-type",
                ] {
                    properties.headers.0.push((name.into(), Value::text("mine")));
                }
            },
            |properties| {
                let pairs = Value::Array(vec![]);
                properties.headers.0.push(("x-mqtt-user-properties".into(), pairs));
                properties.headers.0.push(("x-mqtt-retain".into(), Value::Bool(true)));
            },
        ];
        for vary in variants {
            let mut properties = full();
            vary(&mut properties);
            assert_eq!(back_and_forth(&properties), properties);
        }
    }

    #[test]
    fn a_repeated_header_stands_once_under_its_name() {
        let headers = vec![("n".into(), Value::text("1")), ("n".into(), Value::text("2"))];
        let properties = Properties { headers: Table(headers), ..Properties::default() };
        let mut wire = Vec::new();
        assert_eq!(write(&properties, None, &mut wire), Lost::NONE);
        Checked::check(&wire).unwrap();
        let list = PropertyList::split(&wire).unwrap();
        let table = table::decode(list.value(Property::Headers).unwrap());
        let names: Vec<_> = table.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [marker::USER_PROPERTIES, "n"]);
        assert_eq!(table.get("n"), Some(&Value::text("1")));
    }

    #[test]
    fn a_cut_key_stands_whole_in_a_header() {
        let mut wire = Vec::new();
        assert_eq!(write(&Properties::default(), Some("a.b%2Ec"), &mut wire), Lost::NONE);
        let list = PropertyList::split(&wire).unwrap();
        let table = table::decode(list.value(Property::Headers).unwrap());
        assert_eq!(table.0, [("x-mqtt-topic".to_owned(), Value::text("a/b.c"))]);
    }

    #[test]
    fn what_amqp_cannot_say_is_named() {
        let properties = Properties { user_id: Some("u".repeat(256)), ..Properties::default() };
        let lost: Vec<_> = write(&properties, None, &mut Vec::new()).fields().collect();
        assert_eq!(lost, [Field::Property]);
    }
}
