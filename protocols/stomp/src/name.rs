//! The header names that mean something to the broker, in one place.

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
    /// Seconds since 1970.
    Timestamp,
    /// The publisher's own.
    Other,
}

/// Stands before a publisher's header whose name a frame needs for itself.
pub(crate) const PREFIX: &str = "amqp-header-";

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
            (15, b'q') => ("amqp-message-id", Self::AmqpMessageId),
            (16, b'n') => ("content-encoding", Self::ContentEncoding),
            _ => return Self::Other,
        };
        if name == candidate { meaning } else { Self::Other }
    }
}

/// Whether a publisher's own header called `name` must travel with [`PREFIX`]: names that a frame
/// needs, and those that already look prefixed, so that the prefix comes off again.
pub(crate) fn is_reserved(name: &str) -> bool {
    let mut bare = name;
    while let Some(rest) = bare.strip_prefix(PREFIX) {
        bare = rest;
    }
    Name::of(bare) != Name::Other
}

/// The publisher's own name of a header that travels as `name`.
pub(crate) fn without_prefix(name: &str) -> &str {
    match name.strip_prefix(PREFIX) {
        Some(bare) if is_reserved(bare) => bare,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_length_and_third_octet() {
        for name in "ack subscription redelivered destination content-length receipt-id receipt \
                     transaction message-id content-type content-encoding correlation-id reply-to \
                     expiration persistent priority amqp-message-id type app-id user-id timestamp"
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
    fn the_prefix_comes_off_again() {
        for name in ["ack", "amqp-header-ack", "amqp-header-", "amqp-header-mine", "mine", ""] {
            let travelling =
                if is_reserved(name) { format!("{PREFIX}{name}") } else { name.to_owned() };
            assert_eq!(without_prefix(&travelling), name);
        }
        assert_eq!(without_prefix("amqp-header-ack"), "ack");
        assert_eq!(without_prefix("amqp-header-mine"), "amqp-header-mine");
    }
}
