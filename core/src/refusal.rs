//! Why the broker said no, before any protocol has put a number on it.

/// A command was understood and declined; the broker's state is unchanged (C-4).
///
/// This is not a fault: nothing broke. Each adapter owns the table from a refusal to its own wire
/// code, matched without a wildcard, so that a new variant does not compile until three protocols
/// have an answer. `Display` is the explanation as RabbitMQ words it (AMQP puts the code's name in
/// front: `NOT_FOUND - no queue 'q' in vhost '/'`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// User and password do not match, or the mechanism is unknown.
    #[error("{reason}")]
    LoginRefused {
        /// For the log; clients get their protocol's fixed text.
        reason: String,
    },
    /// The vhost does not exist.
    #[error("vhost {vhost} not found")]
    VhostNotFound {
        /// As the client named it.
        vhost: String,
    },
    /// The user may not enter the vhost.
    #[error("access to vhost '{vhost}' refused for user '{user}'")]
    VhostRefused {
        /// As the client named it.
        vhost: String,
        /// Who asked.
        user: String,
    },
    /// The named queue or exchange does not exist.
    #[error("no {kind} '{name}' in vhost '{vhost}'")]
    NotFound {
        /// Queue or exchange.
        kind: Kind,
        /// As the client named it.
        name: String,
        /// Where it was looked for.
        vhost: String,
    },
    /// An empty queue name on a channel that has declared none.
    #[error("no previously declared queue")]
    NoPreviousQueue,
    /// A rule of the broker forbids it to everyone (reserved names, the default exchange,
    /// internal exchanges, exclusive consumers). The text is the whole explanation.
    #[error("{reason}")]
    AccessRefused {
        /// The explanation.
        reason: String,
    },
    /// The user lacks a permission.
    #[error("{permission} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'")]
    PermissionRefused {
        /// `configure`, `write` or `read`.
        permission: &'static str,
        /// Queue or exchange.
        kind: Kind,
        /// Its name; the default exchange is `amq.default`.
        name: String,
        /// Where it is.
        vhost: String,
        /// Who asked.
        user: String,
    },
    /// An exclusive queue of another connection.
    #[error(
        "cannot obtain exclusive access to locked queue '{name}' in vhost '{vhost}'. It could be \
         originally declared on another connection or the exclusive property value does not \
         match that of the original declaration."
    )]
    Locked {
        /// The queue.
        name: String,
        /// Where it is.
        vhost: String,
    },
    /// A message was asked for by itself, of a quorum queue where one consumer gets them all.
    #[error(
        "cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get operations \
         are not supported by quorum queues with single active consumer"
    )]
    SingleActive {
        /// The queue.
        name: String,
        /// Where it is.
        vhost: String,
    },
    /// A redeclaration differs from what exists, or an argument is invalid, or something is in
    /// use. The text is the whole explanation.
    #[error("{reason}")]
    Precondition {
        /// The explanation.
        reason: String,
    },
    /// The broker does not do this at all.
    #[error("{reason}")]
    NotImplemented {
        /// The explanation.
        reason: String,
    },
    /// Prohibited here (a consumer tag in use, a limit of the vhost).
    #[error("{reason}")]
    NotAllowed {
        /// The explanation.
        reason: String,
    },
    /// A queue that refuses when full is full.
    #[error("queue '{name}' in vhost '{vhost}' is full")]
    QueueFull {
        /// The queue.
        name: String,
        /// Where it is.
        vhost: String,
    },
    /// An alarm is on: the broker takes no publishes for now.
    #[error("publishing is blocked: {reason}")]
    Blocked {
        /// Such as `low on memory`.
        reason: String,
    },
    /// A limit of `limits.rs` was reached.
    #[error("{what} limit ({limit}) is reached")]
    LimitReached {
        /// What is limited.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// Another connection took this session over.
    #[error("session taken over by another connection")]
    TakenOver,
    /// The broker is going down, or an operator closed the connection.
    #[error("broker forced connection closure with reason '{reason}'")]
    Closing {
        /// Such as `shutdown`.
        reason: String,
    },
    /// Something of ours is broken; the log has the details.
    #[error("internal error")]
    Internal,
}

/// What a [`Refusal`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Exchange => "exchange",
        })
    }
}

impl Refusal {
    /// The exchange that `name` does not name.
    #[must_use]
    pub fn no_exchange(name: &str, vhost: &str) -> Self {
        Self::NotFound { kind: Kind::Exchange, name: name.into(), vhost: vhost.into() }
    }

    /// The queue that `name` does not name.
    #[must_use]
    pub fn no_queue(name: &str, vhost: &str) -> Self {
        Self::NotFound { kind: Kind::Queue, name: name.into(), vhost: vhost.into() }
    }

    /// A precondition failed, with its explanation.
    #[must_use]
    pub fn precondition(reason: impl Into<String>) -> Self {
        Self::Precondition { reason: reason.into() }
    }

    /// A rule forbids it to everyone.
    #[must_use]
    pub fn access(reason: impl Into<String>) -> Self {
        Self::AccessRefused { reason: reason.into() }
    }
}
