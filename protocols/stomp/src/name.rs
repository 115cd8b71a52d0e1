//! The header names that mean something to the broker, in one place.

use std::borrow::Cow;

use trivium_core::properties::HEADER_TYPES;

/// What a header of SEND or of a travelling message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Where it goes.
    Destination,
    /// Belongs to the frame and never travels: `content-length`, `receipt-id`.
    Frame,
    /// What the client wants to hear.
    Receipt,
    /// The transaction that the frame is part of.
    Transaction,
    /// MESSAGE's own, not allowed on SEND.
    MessageId,
    /// MESSAGE's own; a publisher's header of that name travels with [`PREFIX`].
    Reserved,
    /// MIME type of the body.
    ContentType,
    /// MIME encoding of the body.
    ContentEncoding,
    /// What a request and its answer share.
    CorrelationId,
    /// Where the answer goes.
    ReplyTo,
    /// Milliseconds to live.
    Expiration,
    /// Survive a restart.
    Persistent,
    /// 0 to 255.
    Priority,
    /// The publisher's name for the message.
    AmqpMessageId,
    /// The publisher's name for this kind of message.
    Type,
    /// The publishing application.
    AppId,
    /// The publishing user.
    UserId,
    /// AMQP's reserved property.
    AmqpClusterId,
    /// Seconds since 1970.
    Timestamp,
    /// Become the last value of the address.
    Retain,
    /// When it expires, in milliseconds since 1970; written by us, read on SEND.
    Expires,
    /// The QoS at which MQTT published it.
    PublishQos,
    /// MQTT's Payload Format Indicator.
    PayloadFormat,
    /// The types of the other headers ([`trivium_core::properties::HEADER_TYPES`]).
    HeaderTypes,
    /// The publisher's own.
    Other,
}

/// Asks on SEND to become the last value of the address.
pub(crate) const RETAIN: &str = "x-mqtt-retain";

/// The QoS at which MQTT published a message.
pub(crate) const PUBLISH_QOS: &str = "x-mqtt-publish-qos";

/// MQTT's Payload Format Indicator.
pub(crate) const PAYLOAD_FORMAT: &str = "x-mqtt-payload-format";

impl Name {
    /// What a header called `name` is. Asked for every header of every SEND: length and third
    /// octet leave one candidate to compare with.
    pub(crate) fn of(name: &str) -> Self {
        let Some(third) = name.as_bytes().get(2) else { return Self::Other };
        let (candidate, meaning) = match (name.len(), third) {
            (3, b'k') => ("ack", Self::Reserved),
            (4, b'p') => ("type", Self::Type),
            (6, b'p') => ("app-id", Self::AppId),
            (7, b'c') => ("receipt", Self::Receipt),
            (7, b'e') => ("user-id", Self::UserId),
            (8, b'p') => ("reply-to", Self::ReplyTo),
            (7, b'p') => ("expires", Self::Expires),
            (8, b'i') => ("priority", Self::Priority),
            (9, b'm') => ("timestamp", Self::Timestamp),
            (10, b'c') => ("receipt-id", Self::Frame),
            (10, b's') => ("message-id", Self::MessageId),
            (10, b'p') => ("expiration", Self::Expiration),
            (10, b'r') => ("persistent", Self::Persistent),
            (11, b's') => ("destination", Self::Destination),
            (11, b'a') => ("transaction", Self::Transaction),
            (11, b'd') => ("redelivered", Self::Reserved),
            (12, b'b') => ("subscription", Self::Reserved),
            (12, b'n') => ("content-type", Self::ContentType),
            (14, b'n') => ("content-length", Self::Frame),
            (14, b'r') => ("correlation-id", Self::CorrelationId),
            (14, b'h') => (HEADER_TYPES, Self::HeaderTypes),
            (13, b'm') => (RETAIN, Self::Retain),
            (15, b'q') if name.as_bytes()[5] == b'c' => ("amqp-cluster-id", Self::AmqpClusterId),
            (15, b'q') => ("amqp-message-id", Self::AmqpMessageId),
            (16, b'n') => ("content-encoding", Self::ContentEncoding),
            (18, b'm') => (PUBLISH_QOS, Self::PublishQos),
            (21, b'm') => (PAYLOAD_FORMAT, Self::PayloadFormat),
            _ => return Self::Other,
        };
        if name == candidate { meaning } else { Self::Other }
    }
}

/// Whether `text` is `%` and any number of `25`.
fn is_shifted(text: &[u8]) -> bool {
    let Some(mut rest) = text.strip_prefix(b"%") else { return false };
    while let Some(inner) = rest.strip_prefix(b"25") {
        rest = inner;
    }
    rest.is_empty()
}

/// Whether `text` begins with `%`, any number of `25`, and `00`.
fn starts_shifted(text: &[u8]) -> bool {
    let Some(mut rest) = text.strip_prefix(b"%") else { return false };
    while let Some(inner) = rest.strip_prefix(b"25") {
        rest = inner;
    }
    rest.starts_with(b"00")
}

/// Appends the name of a publisher's header as STOMP can write it, and says whether it is itself.
/// NUL is `%00` and no name at all is `%`; what already reads so gets one more `25`.
pub(crate) fn encode(name: &str, out: &mut String) -> bool {
    if name.is_empty() {
        out.push('%');
        return false;
    }
    let start = out.len();
    let is_all = is_shifted(name.as_bytes());
    for (at, character) in name.char_indices() {
        match character {
            '\0' => out.push_str("%00"),
            '%' if is_all || starts_shifted(&name.as_bytes()[at..]) => out.push_str("%25"),
            _ => out.push(character),
        }
    }
    out.len() - start == name.len()
}

/// The reverse of [`encode`].
pub(crate) fn decode(name: &str) -> Cow<'_, str> {
    if !name.contains('%') {
        return Cow::Borrowed(name);
    }
    if is_shifted(name.as_bytes()) {
        // `%` is nothing, `%25` is `%`, `%2525` is `%25`.
        return Cow::Borrowed(&name[..name.len().saturating_sub(2)]);
    }
    let mut plain = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let is_code = starts_shifted(rest.as_bytes());
        if is_code && rest.starts_with("%00") {
            plain.push('\0');
        } else {
            plain.push('%');
        }
        rest = &rest[if is_code { 3 } else { 1 }..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_name_is_found_by_its_length_and_third_octet() {
        for name in "ack subscription redelivered destination content-length receipt-id receipt \
                     transaction message-id content-type content-encoding correlation-id reply-to \
                     expiration persistent priority amqp-message-id type app-id user-id timestamp \
                     expires amqp-cluster-id x-mqtt-retain x-mqtt-publish-qos x-mqtt-payload-format x-header-types"
            .split_whitespace()
        {
            assert_ne!(Name::of(name), Name::Other, "{name}");
            assert_eq!(Name::of(&name.to_uppercase()), Name::Other, "S-3: {name}");
        }
        for name in ["", "a", "id", "host", "acs", "receipts", "xxstination"] {
            assert_eq!(Name::of(name), Name::Other, "{name}");
        }
    }

    #[test]
    fn names_that_stomp_cannot_write() {
        for (name, written) in [
            ("", "%"),
            ("%", "%25"),
            ("%25", "%2525"),
            ("a\0b", "a%00b"),
            ("%00", "%2500"),
            ("%2500", "%252500"),
            ("%2", "%2"),
            ("50%", "50%"),
            ("%20", "%20"),
        ] {
            let mut out = String::new();
            assert_eq!(encode(name, &mut out), name == written, "{name}");
            assert_eq!((&*out, &*decode(&out)), (written, name));
        }
    }

    proptest! {
        #[test]
        fn names_come_back(name in "(%|25|00|\u{0}|é|a){0,6}") {
            let mut out = String::new();
            encode(&name, &mut out);
            prop_assert!(!out.is_empty() && !out.contains('\0'));
            prop_assert_eq!(decode(&out), &*name);
        }

        #[test]
        fn what_stomp_writes_comes_back(written in "(%|25|00|é|a){1,6}") {
            let mut out = String::new();
            encode(&decode(&written), &mut out);
            prop_assert_eq!(out, written);
        }
    }
}
