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
    /// What a header called `name` is.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "destination" => Self::Destination,
            "content-length" | "receipt-id" => Self::Frame,
            "receipt" => Self::Receipt,
            "transaction" => Self::Transaction,
            "message-id" => Self::MessageId,
            "subscription" | "ack" | "redelivered" => Self::Reserved,
            "content-type" => Self::ContentType,
            "content-encoding" => Self::ContentEncoding,
            "correlation-id" => Self::CorrelationId,
            "reply-to" => Self::ReplyTo,
            "expiration" => Self::Expiration,
            "persistent" => Self::Persistent,
            "priority" => Self::Priority,
            "amqp-message-id" => Self::AmqpMessageId,
            "type" => Self::Type,
            "app-id" => Self::AppId,
            "user-id" => Self::UserId,
            "timestamp" => Self::Timestamp,
            _ => Self::Other,
        }
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
