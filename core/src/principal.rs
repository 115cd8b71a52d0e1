//! Who is logged in, and what they may do.

use std::sync::Arc;

/// A user who has proved who they are. Made by the gateway, which knows the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user's name.
    pub user: Arc<str>,
    /// The vhosts this user may enter; `None` for all.
    pub vhosts: Option<Arc<[String]>>,
    /// The vhost that the login itself named (MQTT's `vhost:user`), if any.
    pub vhost: Option<Arc<str>>,
}

impl Principal {
    /// A user who may enter every vhost.
    #[must_use]
    pub fn unrestricted(user: &str) -> Self {
        Self { user: user.into(), vhosts: None, vhost: None }
    }

    /// Whether this user may enter `vhost`.
    #[must_use]
    pub fn may_enter(&self, vhost: &str) -> bool {
        self.vhosts.as_ref().is_none_or(|vhosts| vhosts.iter().any(|name| name == vhost))
    }
}
