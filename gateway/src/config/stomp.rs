//! `[stomp]`: habits in which RabbitMQ and the specification differ.

use serde::{Deserialize, Serialize};

/// `[stomp]`, which has no wrong values.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stomp {
    /// A `host` that names no vhost is an error.
    pub strict_host: bool,
    /// An ERROR about one frame does not end the connection.
    pub keep_open_after_error: bool,
}
