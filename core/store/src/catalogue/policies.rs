//! Policies as bytes, in the terms of `encoding`.

use trivium_core::catalogue::StoredPolicy;
use trivium_core::{ApplyTo, Policy, PolicyKind};

use super::encoding::{Key, put_table, put_text, table, text};
use crate::fields::Fields;

const KINDS: [(PolicyKind, &str); 2] = [(PolicyKind::Policy, "p"), (PolicyKind::Operator, "o")];

pub(super) fn policy_key(vhost: &str, kind: PolicyKind, name: &str) -> Key {
    let kind = KINDS.iter().find(|(known, _)| *known == kind).map_or("p", |(_, text)| text);
    Key::new().text(vhost).text(kind).text(name)
}

pub(super) fn policy_value(policy: &Policy) -> Vec<u8> {
    let mut value = Vec::new();
    put_text(&mut value, policy.pattern.as_bytes());
    value.extend_from_slice(&policy.priority.to_le_bytes());
    put_text(&mut value, policy.apply_to.name().as_bytes());
    put_table(&mut value, &policy.definition);
    value
}

pub(super) fn policy_from(key: &[u8], value: &[u8]) -> Option<StoredPolicy> {
    let (mut key, mut fields) = (Fields(key), Fields(value));
    let (vhost, kind, name) = (text(&mut key)?, text(&mut key)?, text(&mut key)?);
    let kind = KINDS.iter().find(|(_, text)| *text == kind).map(|(kind, _)| *kind)?;
    let pattern = text(&mut fields)?;
    let priority = i64::from_le_bytes(fields.bytes(8)?.try_into().ok()?);
    let apply_to = ApplyTo::parse(&text(&mut fields)?)?;
    let definition = table(&mut fields, 0)?;
    let policy = Policy { name, pattern, priority, apply_to, definition };
    Some(StoredPolicy { vhost, kind, policy })
}
