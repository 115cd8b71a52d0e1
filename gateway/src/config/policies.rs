//! `[[policies]]` and `[[operator_policies]]`: what holds for all queues or exchanges whose names
//! match.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trivium_core::{ApplyTo, Policy, PolicyKind, Table, Value};

use super::Invalid;

/// One `[[policies]]` or `[[operator_policies]]` as written.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawPolicy {
    /// Unique among those of its kind in its vhost.
    pub name: String,
    /// Where it holds.
    #[serde(default = "default_vhost")]
    pub vhost: String,
    /// A regular expression.
    pub pattern: String,
    /// The highest that matches counts.
    #[serde(default)]
    pub priority: i64,
    /// `all`, `queues`, `exchanges`, `classic_queues`, `quorum_queues` or `streams`.
    #[serde(default = "default_apply_to")]
    pub apply_to: String,
    /// What it says, by RabbitMQ's keys.
    pub definition: BTreeMap<String, RawValue>,
}

/// A value of a definition.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RawValue {
    /// A truth value.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
}

fn default_vhost() -> String {
    "/".into()
}

fn default_apply_to() -> String {
    "all".into()
}

/// A policy, checked, and where it holds.
#[derive(Clone, Debug)]
pub struct PlacedPolicy {
    /// One of the configuration's vhosts.
    pub vhost: String,
    /// Which kind it is.
    pub kind: PolicyKind,
    /// What it says.
    pub policy: Policy,
}

/// Every policy of both kinds.
pub(super) fn check(
    policies: Vec<RawPolicy>,
    operator: Vec<RawPolicy>,
    vhosts: &[String],
) -> Result<Vec<PlacedPolicy>, Invalid> {
    let kinds = [
        ("policies", PolicyKind::Policy, policies),
        ("operator_policies", PolicyKind::Operator, operator),
    ];
    let mut placed: Vec<PlacedPolicy> = Vec::new();
    for (section, kind, list) in kinds {
        for raw in list {
            let next = place(section, kind, raw, vhosts)?;
            let is_same = |known: &&PlacedPolicy| {
                known.kind == kind
                    && known.vhost == next.vhost
                    && known.policy.name == next.policy.name
            };
            if let Some(known) = placed.iter().find(is_same) {
                let (key, name) = (format!("{section}.name"), &known.policy.name);
                return Err(Invalid::new(key, format_args!("{name:?}"), "must be unique"));
            }
            placed.push(next);
        }
    }
    Ok(placed)
}

fn place(
    section: &str,
    kind: PolicyKind,
    raw: RawPolicy,
    vhosts: &[String],
) -> Result<PlacedPolicy, Invalid> {
    let key = |key: &str| format!("{section}.{key} of {:?}", raw.name);
    if !vhosts.contains(&raw.vhost) {
        let rule = "must be / or listed in [[vhosts]]";
        return Err(Invalid::new(key("vhost"), format_args!("{:?}", raw.vhost), rule));
    }
    let Some(apply_to) = ApplyTo::parse(&raw.apply_to) else {
        let rule = "must be all, queues, exchanges, classic_queues, quorum_queues or streams";
        return Err(Invalid::new(key("apply_to"), format_args!("{:?}", raw.apply_to), rule));
    };
    let value = |value: &RawValue| match value {
        RawValue::Flag(flag) => Value::Bool(*flag),
        RawValue::Number(number) => Value::Int(*number, 8),
        RawValue::Text(text) => Value::text(text.as_str()),
    };
    let definition = raw.definition.iter().map(|(key, raw)| (key.clone(), value(raw)));
    let policy = Policy {
        name: raw.name.clone(),
        pattern: raw.pattern.clone(),
        priority: raw.priority,
        apply_to,
        definition: Table(definition.collect()),
    };
    policy.check(kind).map_err(|wrong| Invalid::new(key(&wrong.key), wrong.value, wrong.rule))?;
    Ok(PlacedPolicy { vhost: raw.vhost, kind, policy })
}
