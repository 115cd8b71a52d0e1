//! Headers whose names mean something to the protocol that they travel in.
//!
//! A publisher's own header of such a name travels as `amqp-header-<name>`, and so does one that
//! already looks so; whoever reads it takes one prefix off again. What counts as taken is the
//! protocol's to say, and may depend on the value: `priority: high` is no priority.

use std::borrow::Cow;

/// Stands before a publisher's header whose name the protocol needs for itself.
pub const HEADER_PREFIX: &str = "amqp-header-";

fn bare(name: &str) -> &str {
    let mut bare = name;
    while let Some(rest) = bare.strip_prefix(HEADER_PREFIX) {
        bare = rest;
    }
    bare
}

/// The name under which the publisher's header `name` travels.
#[must_use]
pub fn travelling_name(name: &str, is_taken: impl Fn(&str) -> bool) -> Cow<'_, str> {
    if is_taken(bare(name)) {
        return Cow::Owned(format!("{HEADER_PREFIX}{name}"));
    }
    Cow::Borrowed(name)
}

/// The publisher's own name of the header that travels as `name`.
#[must_use]
pub fn own_name(name: &str, is_taken: impl Fn(&str) -> bool) -> &str {
    match name.strip_prefix(HEADER_PREFIX) {
        Some(own) if is_taken(bare(own)) => own,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_comes_off_again() {
        let is_taken = |name: &str| name == "ack";
        for name in ["ack", "amqp-header-ack", "amqp-header-", "amqp-header-mine", "mine", ""] {
            let travelling = travelling_name(name, is_taken);
            assert_ne!(travelling, "ack");
            assert_eq!(own_name(&travelling, is_taken), name);
        }
        assert_eq!(own_name("amqp-header-mine", is_taken), "amqp-header-mine");
    }
}
