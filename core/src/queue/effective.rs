//! What a queue's arguments come to. Read from a table that was found valid; what a policy says is
//! laid over it.

use std::sync::Arc;

use crate::{Table, Value};

/// What happens to a publish that a full queue has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// The oldest ready message makes room.
    #[default]
    DropHead,
    /// The publish is refused.
    RejectPublish,
    /// The publish is refused, and dead-lettered.
    RejectPublishDlx,
}

impl Overflow {
    /// As `x-overflow` names it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "drop-head" => Some(Self::DropHead),
            "reject-publish" => Some(Self::RejectPublish),
            "reject-publish-dlx" => Some(Self::RejectPublishDlx),
            _ => None,
        }
    }
}

/// Which of RabbitMQ's types of queue it was declared as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueType {
    /// The default.
    #[default]
    Classic,
    /// Durable, counts returns (`x-delivery-count`) and may limit them.
    Quorum,
}

/// The arguments in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EffectiveArgs {
    pub(crate) kind: QueueType,
    /// Milliseconds from arriving to expiry.
    pub(crate) message_ttl_ms: Option<u64>,
    /// Milliseconds without use until the queue is deleted; never 0.
    pub(crate) expires_ms: Option<u64>,
    /// Ready messages.
    pub(crate) max_length: Option<u64>,
    /// Bytes of the bodies of ready messages.
    pub(crate) max_length_bytes: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) dead_letter_exchange: Option<Arc<str>>,
    /// `None` for the message's own.
    pub(crate) dead_letter_routing_key: Option<Arc<str>>,
    /// The highest priority told apart; 0 for none.
    pub(crate) max_priority: u8,
    pub(crate) single_active_consumer: bool,
    /// Returns of one message; the next one is its death. `None` for no limit.
    pub(crate) delivery_limit: Option<u16>,
    /// Milliseconds from a delivery to its settlement; `None` for the broker's default.
    pub(crate) consumer_timeout_ms: Option<u64>,
}

impl EffectiveArgs {
    /// Reads arguments that were found valid; what is not valid counts as absent.
    pub(crate) fn of(table: &Table) -> Self {
        let number = |name| table.get(name).and_then(Value::as_integer);
        let count = |name| number(name).and_then(|number| u64::try_from(number).ok());
        let text = |name| table.get(name).and_then(Value::as_str);
        let kind = match text("x-queue-type") {
            Some("quorum") => QueueType::Quorum,
            _ => QueueType::Classic,
        };
        Self {
            kind,
            message_ttl_ms: count("x-message-ttl"),
            expires_ms: count("x-expires"),
            max_length: count("x-max-length"),
            max_length_bytes: count("x-max-length-bytes"),
            overflow: text("x-overflow").and_then(Overflow::parse).unwrap_or_default(),
            dead_letter_exchange: text("x-dead-letter-exchange").map(Into::into),
            dead_letter_routing_key: text("x-dead-letter-routing-key").map(Into::into),
            max_priority: count("x-max-priority").and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
            single_active_consumer: table.get("x-single-active-consumer")
                == Some(&Value::Bool(true)),
            delivery_limit: count("x-delivery-limit")
                .filter(|_| kind == QueueType::Quorum)
                .map(|limit| u16::try_from(limit).unwrap_or(u16::MAX)),
            consumer_timeout_ms: count("x-consumer-timeout"),
        }
    }

    /// Whether receivers hear how often a message was put back.
    pub(crate) fn tells_deliveries(&self) -> bool {
        self.kind == QueueType::Quorum
    }

    /// Whether there is a bound on what is ready.
    pub(crate) const fn is_bounded(&self) -> bool {
        self.max_length.is_some() || self.max_length_bytes.is_some()
    }

    /// Whether a publish may be refused for want of room.
    pub(crate) fn can_refuse(&self) -> bool {
        self.is_bounded() && self.overflow != Overflow::DropHead
    }
}
