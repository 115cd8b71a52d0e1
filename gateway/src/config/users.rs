//! `[[users]]`, `[[vhosts]]` and the default user: who may log in, and where to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// One `[[users]]` as written.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawUser {
    /// Unique.
    pub name: String,
    /// Not empty.
    pub password: String,
    /// The vhosts this user may enter; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vhosts: Option<Vec<String>>,
}

impl std::fmt::Debug for RawUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("RawUser");
        debug.field("name", &self.name).field("vhosts", &self.vhosts).finish_non_exhaustive()
    }
}

/// One `[[vhosts]]` as written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawVhost {
    /// Unique.
    pub name: String,
}

/// One user who may log in.
#[derive(Clone)]
pub struct User {
    /// Unique.
    pub name: Arc<str>,
    /// Not empty.
    pub password: String,
    /// The vhosts this user may enter; `None` for all.
    pub vhosts: Option<Arc<[String]>>,
    /// From loopback addresses only (guest).
    pub loopback_only: bool,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("User");
        debug.field("name", &self.name).field("vhosts", &self.vhosts);
        debug.field("loopback_only", &self.loopback_only).finish_non_exhaustive()
    }
}

/// Everybody who may log in; names are unique.
#[derive(Clone, Debug, Default)]
pub struct Users(Vec<User>);

/// The name and the password of the user that is there when no other default user is set.
pub(super) const GUEST: &str = "guest";

impl Users {
    /// The user called `name`.
    pub fn find(&self, name: &str) -> Option<&User> {
        self.0.iter().find(|user| &*user.name == name)
    }

    /// The user as whom clients without credentials log in: guest, while it is the default user.
    pub fn anonymous(&self) -> Option<&User> {
        self.0.iter().find(|user| user.loopback_only)
    }

    pub(super) fn check(
        default_user: String,
        default_pass: String,
        raw: Vec<RawUser>,
        vhosts: &[String],
    ) -> Result<Self, Invalid> {
        let mut users = Vec::with_capacity(raw.len() + 1);
        for RawUser { name, password, vhosts: entered } in raw {
            check_name("users.name", &name)?;
            if password.is_empty() {
                let key = format!("users.password of {name:?}");
                return Err(Invalid::new(key, "\"\"", "must not be empty"));
            }
            if users.iter().any(|user: &User| *user.name == *name) {
                let rule = "must be unique among users";
                return Err(Invalid::new("users.name", format_args!("{name:?}"), rule));
            }
            if let Some(vhost) = entered.iter().flatten().find(|vhost| !vhosts.contains(vhost)) {
                let key = format!("users.vhosts of {name:?}");
                let rule = "must be / or listed in [[vhosts]]";
                return Err(Invalid::new(key, format_args!("{vhost:?}"), rule));
            }
            let vhosts = entered.map(Into::into);
            users.push(User { name: name.into(), password, vhosts, loopback_only: false });
        }
        users.extend(default(default_user, default_pass, &users)?);
        Ok(Self(users))
    }
}

/// The default user, unless `[[users]]` says something else about that name.
fn default(user: String, pass: String, listed: &[User]) -> Result<Option<User>, Invalid> {
    let (name, password, loopback_only) = match (user.is_empty(), pass.is_empty()) {
        (true, true) => (GUEST.to_owned(), GUEST.to_owned(), true),
        (false, false) => (user, pass, false),
        (false, true) => {
            let rule = "must be set together with default_user";
            return Err(Invalid::new("default_pass", "\"\"", rule));
        }
        (true, false) => {
            let rule = "must be set together with default_pass";
            return Err(Invalid::new("default_user", "\"\"", rule));
        }
    };
    check_name("default_user", &name)?;
    if listed.iter().any(|user| *user.name == *name) {
        if loopback_only {
            return Ok(None);
        }
        let rule = "is listed in [[users]] too; say it once";
        return Err(Invalid::new("default_user", format_args!("{name:?}"), rule));
    }
    Ok(Some(User { name: name.into(), password, vhosts: None, loopback_only }))
}

/// Every vhost, `/` first.
pub(super) fn check_vhosts(raw: Vec<RawVhost>) -> Result<Vec<String>, Invalid> {
    let mut vhosts = vec!["/".to_owned()];
    for RawVhost { name } in raw {
        check_name("vhosts.name", &name)?;
        if name == "/" {
            continue;
        }
        if vhosts.contains(&name) {
            let rule = "must be unique among vhosts";
            return Err(Invalid::new("vhosts.name", format_args!("{name:?}"), rule));
        }
        vhosts.push(name);
    }
    Ok(vhosts)
}

/// Names travel as AMQP short strings.
fn check_name(key: &str, name: &str) -> Result<(), Invalid> {
    let is_name = (1..=255).contains(&name.len()) && !name.contains(char::is_control);
    let rule = "must be 1 to 255 bytes without control characters";
    if is_name { Ok(()) } else { Err(Invalid::new(key, format_args!("{name:?}"), rule)) }
}
