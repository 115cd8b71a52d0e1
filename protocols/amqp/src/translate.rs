//! The property list of a message that another protocol published, as `mapping.md` lays down:
//! what AMQP has a property for goes there, the rest into headers that [`crate::PROPERTY_CODEC`]
//! reads back.

use std::borrow::Cow;
use std::collections::HashSet;

use trivium_core::{Field, Lost, Properties, ReplyTo, Value};

use crate::properties::{PERSISTENT, Property, TOPIC_REPLY_PREFIX, header};
use crate::table;

/// Appends the list for `properties`, flags first. Texts above 255 octets that have no header to
/// go to are left out, and returned.
pub(crate) fn write(properties: &Properties, out: &mut Vec<u8>) -> Lost {
    let start = out.len();
    let mut list = List { flags: 0, lost: Lost::NONE, out };
    list.out.extend_from_slice(&[0; 2]);
    let reply_to = properties.reply_to.as_ref().map(reply_name);
    let expiration = properties.expiry_ms.map(|millis| millis.to_string());
    list.text(Property::ContentType, properties.content_type.as_deref());
    list.text(Property::ContentEncoding, properties.content_encoding.as_deref());
    list.headers(properties);
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
            return self.lost.note(match property {
                Property::ContentType => Field::ContentType,
                // Its header has it whole.
                Property::ReplyTo => return,
                _ => Field::Property,
            });
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

    fn headers(&mut self, properties: &Properties) {
        let added = added_headers(properties);
        let own = properties.headers.0.iter().map(|(name, value)| (name.as_str(), value));
        if added.is_empty() && properties.headers.0.is_empty() {
            return;
        }
        self.flags |= Property::Headers.flag();
        let fit = properties.headers.0.iter().all(|(name, _)| u8::try_from(name.len()).is_ok());
        self.lost.unless(fit || has_repeats(properties), Field::Header);
        table::encode(added.iter().map(|(name, value)| (*name, value)).chain(own), self.out);
    }
}

/// What is no property of AMQP.
fn added_headers(properties: &Properties) -> Vec<(&'static str, Value)> {
    let mut added = Vec::new();
    if let (Some(octets), None) = (&properties.correlation, correlation_id(properties)) {
        let value = match std::str::from_utf8(octets) {
            Ok(_) => Value::Text(octets.clone()),
            Err(_) => Value::Bytes(octets.clone()),
        };
        added.push((header::CORRELATION, value));
    }
    if let Some(ReplyTo::Topic(key)) = &properties.reply_to {
        added.push((header::REPLY_TO_TOPIC, Value::text(key.as_str())));
    }
    if let Some(format) = properties.payload_format {
        added.push((header::PAYLOAD_FORMAT, Value::Uint(u64::from(format), 1)));
    }
    if let Some(qos) = properties.qos {
        added.push((header::PUBLISH_QOS, Value::Uint(u64::from(qos), 1)));
    }
    if has_repeats(properties) {
        let pair = |(name, value): &(String, Value)| {
            Value::Array(vec![Value::text(name.as_str()), value.clone()])
        };
        let pairs = properties.headers.0.iter().map(pair).collect();
        added.push((header::USER_PROPERTIES, Value::Array(pairs)));
    }
    added
}

fn has_repeats(properties: &Properties) -> bool {
    let headers = &properties.headers.0;
    let mut seen = HashSet::new();
    headers.len() > 1 && !headers.iter().all(|(name, _)| seen.insert(name))
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
        assert_eq!(write(properties, &mut wire), Lost::NONE);
        Checked::check(&wire[6..]).unwrap();
        PROPERTY_CODEC.decode(&wire[6..])
    }

    #[test]
    fn everything_survives_the_way_to_amqp_and_back() {
        let variants: [fn(&mut Properties); 7] = [
            |_| {},
            |properties| *properties = Properties::default(),
            |properties| properties.reply_to = Some(ReplyTo::Topic("r.x".into())),
            |properties| properties.reply_to = Some(ReplyTo::Topic("long.".repeat(60))),
            |properties| properties.correlation = Some(vec![0xFF, 0, 1]),
            |properties| properties.correlation = Some(vec![b'c'; 300]),
            |properties| properties.headers.0.insert(1, ("c".into(), Value::text("again"))),
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
        assert_eq!(write(&properties, &mut wire), Lost::NONE);
        Checked::check(&wire).unwrap();
        let list = PropertyList::split(&wire).unwrap();
        let table = table::decode(list.value(Property::Headers).unwrap());
        let names: Vec<_> = table.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [header::USER_PROPERTIES, "n"]);
        assert_eq!(table.get("n"), Some(&Value::text("1")));
    }

    #[test]
    fn what_amqp_cannot_say_is_named() {
        let long = "x".repeat(256);
        let lost = |properties: Properties| {
            write(&properties, &mut Vec::new()).fields().collect::<Vec<_>>()
        };
        let content_type = Some(long.clone());
        assert_eq!(
            lost(Properties { content_type, ..Properties::default() }),
            [Field::ContentType]
        );
        let headers = Table(vec![(long, Value::text("v"))]);
        assert_eq!(lost(Properties { headers, ..Properties::default() }), [Field::Header]);
    }
}
