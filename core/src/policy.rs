//! Policies: what an operator says of all queues or exchanges whose names match a pattern, and how
//! it is laid over what their declarations say.
//!
//! One policy and one operator policy count for an object: of those that match, the one of the
//! highest priority; of equals, the one whose name comes first. Arguments win over policies, but
//! where a number is a limit the smaller one counts, and an operator policy can only make limits
//! smaller.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::queue::{EffectiveArgs, Overflow, QueueType};
use crate::{Refusal, Table, Value};

/// What a compiled pattern may take, in bytes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// The longest time a policy may say, in milliseconds: ten years, as in RabbitMQ.
const SPAN_MS_MAX: u64 = 315_360_000_000;

/// Which of the two kinds a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// What a user may set.
    Policy,
    /// What the operator sets besides; it can only limit.
    Operator,
}

/// What a policy applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApplyTo {
    /// Queues and exchanges.
    #[default]
    All,
    /// Queues of every type.
    Queues,
    /// Exchanges.
    Exchanges,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams, of which there are none yet.
    Streams,
}

impl ApplyTo {
    /// As RabbitMQ names it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "queues" => Some(Self::Queues),
            "exchanges" => Some(Self::Exchanges),
            "classic_queues" => Some(Self::ClassicQueues),
            "quorum_queues" => Some(Self::QuorumQueues),
            "streams" => Some(Self::Streams),
            _ => None,
        }
    }

    /// What [`ApplyTo::parse`] reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::Exchanges => "exchanges",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
        }
    }

    fn has_queues_of(self, kind: QueueType) -> bool {
        match self {
            Self::All | Self::Queues => true,
            Self::ClassicQueues => kind == QueueType::Classic,
            Self::QuorumQueues => kind == QueueType::Quorum,
            Self::Exchanges | Self::Streams => false,
        }
    }

    fn has_exchanges(self) -> bool {
        matches!(self, Self::All | Self::Exchanges)
    }
}

/// A policy as it is set and listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Unique among those of its kind in its vhost.
    pub name: String,
    /// A regular expression, matched anywhere in a name unless anchored.
    pub pattern: String,
    /// The highest that matches counts.
    pub priority: i64,
    /// What it applies to.
    pub apply_to: ApplyTo,
    /// What it says, by RabbitMQ's keys.
    pub definition: Table,
}

/// Why a policy is refused. `Display` names the key, the value and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {rule}")]
pub struct InvalidPolicy {
    /// Which part of the policy.
    pub key: String,
    /// What it says.
    pub value: String,
    /// What it should.
    pub rule: &'static str,
}

impl InvalidPolicy {
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::precondition(format!("invalid policy: {self}"))
    }
}

impl Policy {
    /// Whether it could be set.
    ///
    /// # Errors
    ///
    /// The first part of it that is invalid.
    pub fn check(&self, kind: PolicyKind) -> Result<(), InvalidPolicy> {
        Compiled::new(self.clone(), kind).map(|_| ())
    }
}

/// What a definition comes to.
#[derive(Clone, Debug, Default)]
struct Definition {
    message_ttl_ms: Option<u64>,
    expires_ms: Option<u64>,
    max_length: Option<u64>,
    max_length_bytes: Option<u64>,
    delivery_limit: Option<u64>,
    consumer_timeout_ms: Option<u64>,
    overflow: Option<Overflow>,
    dead_letter_exchange: Option<Arc<str>>,
    dead_letter_routing_key: Option<Arc<str>>,
    alternate_exchange: Option<Arc<str>>,
}

/// Keys without an effect here: what they tune does not exist, or is always so.
const WITHOUT_EFFECT: &[&str] = &[
    "dead-letter-strategy",
    "ha-mode",
    "ha-params",
    "ha-promote-on-failure",
    "ha-promote-on-shutdown",
    "ha-sync-batch-size",
    "ha-sync-mode",
    "initial-cluster-size",
    "max-age",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "queue-leader-locator",
    "queue-master-locator",
    "queue-mode",
    "queue-version",
    "stream-filter-size-bytes",
    "stream-max-segment-size-bytes",
];

/// What an operator policy may say.
const OPERATOR_KEYS: &[&str] = &[
    "delivery-limit",
    "expires",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
    "queue-version",
];

impl Definition {
    fn read(definition: &Table, kind: PolicyKind) -> Result<Self, InvalidPolicy> {
        let mut read = Self::default();
        for (key, value) in &definition.0 {
            let invalid = |rule| invalid(format!("definition.{key}"), value, rule);
            if kind == PolicyKind::Operator && !OPERATOR_KEYS.contains(&key.as_str()) {
                return Err(invalid("is no key of an operator policy"));
            }
            let number = |range: std::ops::RangeInclusive<u64>, rule| {
                let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
                number
                    .filter(|number| range.contains(number))
                    .map(Some)
                    .ok_or_else(|| invalid(rule))
            };
            let text = || {
                let text = value.as_str().map(Arc::<str>::from);
                text.map(Some).ok_or_else(|| invalid("must be text"))
            };
            let span = "must be 0 to 315360000000 milliseconds";
            let positive = "must be 1 to 315360000000 milliseconds";
            let count = "must be a whole number of 0 or more";
            match key.as_str() {
                "message-ttl" => read.message_ttl_ms = number(0..=SPAN_MS_MAX, span)?,
                "expires" => read.expires_ms = number(1..=SPAN_MS_MAX, positive)?,
                "max-length" => read.max_length = number(0..=u64::MAX, count)?,
                "max-length-bytes" => read.max_length_bytes = number(0..=u64::MAX, count)?,
                "delivery-limit" => read.delivery_limit = number(0..=u64::MAX, count)?,
                "consumer-timeout" => {
                    read.consumer_timeout_ms = number(1..=SPAN_MS_MAX, positive)?;
                }
                "overflow" => {
                    let overflow = value.as_str().and_then(Overflow::parse);
                    let rule = "must be drop-head, reject-publish or reject-publish-dlx";
                    read.overflow = Some(overflow.ok_or_else(|| invalid(rule))?);
                }
                "dead-letter-exchange" => read.dead_letter_exchange = text()?,
                "dead-letter-routing-key" => read.dead_letter_routing_key = text()?,
                "alternate-exchange" => read.alternate_exchange = text()?,
                other if WITHOUT_EFFECT.contains(&other) => {}
                _ => return Err(invalid("is no key of a policy")),
            }
        }
        Ok(read)
    }
}

fn invalid(key: impl Into<String>, value: &Value, rule: &'static str) -> InvalidPolicy {
    InvalidPolicy { key: key.into(), value: crate::control::show_value(value), rule }
}

/// A policy that was found valid.
#[derive(Debug)]
struct Compiled {
    policy: Policy,
    pattern: Regex,
    definition: Definition,
}

impl Compiled {
    fn new(policy: Policy, kind: PolicyKind) -> Result<Self, InvalidPolicy> {
        let text = |text: &str| Value::text(text);
        if policy.name.is_empty() || policy.name.len() > usize::from(u8::MAX) {
            return Err(invalid("name", &text(&policy.name), "must be 1 to 255 bytes"));
        }
        let pattern = RegexBuilder::new(&policy.pattern).size_limit(PATTERN_BYTES_MAX).build();
        let Ok(pattern) = pattern else {
            let rule = "must be a regular expression";
            return Err(invalid("pattern", &text(&policy.pattern), rule));
        };
        if policy.definition.0.is_empty() {
            return Err(invalid("definition", &text("{}"), "must say something"));
        }
        let definition = Definition::read(&policy.definition, kind)?;
        Ok(Self { policy, pattern, definition })
    }
}

/// The policies of one kind in one vhost, by name.
#[derive(Debug, Default)]
struct Set(BTreeMap<String, Compiled>);

impl Set {
    /// The one that counts for an object of that name.
    fn matching(&self, name: &str, applies: impl Fn(ApplyTo) -> bool) -> Option<&Definition> {
        let mut found: Option<&Compiled> = None;
        for candidate in self.0.values() {
            if found.is_none_or(|found| candidate.policy.priority > found.policy.priority)
                && applies(candidate.policy.apply_to)
                && candidate.pattern.is_match(name)
            {
                found = Some(candidate);
            }
        }
        found.map(|found| &found.definition)
    }
}

/// The policies of one vhost.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    ordinary: Set,
    operator: Set,
    /// Those that the configuration says.
    pinned: Vec<(PolicyKind, String)>,
}

impl Policies {
    fn set_of(&mut self, kind: PolicyKind) -> &mut Set {
        match kind {
            PolicyKind::Policy => &mut self.ordinary,
            PolicyKind::Operator => &mut self.operator,
        }
    }

    /// Adds a policy, or replaces the one of that name.
    pub(crate) fn set(&mut self, kind: PolicyKind, policy: Policy) -> Result<(), InvalidPolicy> {
        let compiled = Compiled::new(policy, kind)?;
        self.set_of(kind).0.insert(compiled.policy.name.clone(), compiled);
        Ok(())
    }

    /// Notes that a policy is the configuration's.
    pub(crate) fn pin(&mut self, kind: PolicyKind, name: String) {
        if !self.is_pinned(kind, &name) {
            self.pinned.push((kind, name));
        }
    }

    /// Whether a policy is the configuration's.
    pub(crate) fn is_pinned(&self, kind: PolicyKind, name: &str) -> bool {
        self.pinned.iter().any(|(known, other)| (*known, &**other) == (kind, name))
    }

    /// Removes a policy. False when there is none of that name.
    pub(crate) fn clear(&mut self, kind: PolicyKind, name: &str) -> bool {
        self.set_of(kind).0.remove(name).is_some()
    }

    /// Every policy of that kind, by name.
    pub(crate) fn list(&self, kind: PolicyKind) -> Vec<Policy> {
        let set = match kind {
            PolicyKind::Policy => &self.ordinary,
            PolicyKind::Operator => &self.operator,
        };
        set.0.values().map(|compiled| compiled.policy.clone()).collect()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ordinary.0.is_empty() && self.operator.0.is_empty()
    }

    /// Where an exchange hands on what finds no way, if its arguments do not say.
    pub(crate) fn alternate_of(&self, exchange: &str) -> Option<Arc<str>> {
        let matching = self.ordinary.matching(exchange, ApplyTo::has_exchanges)?;
        matching.alternate_exchange.clone()
    }

    /// What a queue's arguments come to.
    pub(crate) fn effective(&self, queue: &str, arguments: &Table) -> EffectiveArgs {
        let mut args = EffectiveArgs::of(arguments);
        let applies = |to: ApplyTo| to.has_queues_of(args.kind);
        let policy = self.ordinary.matching(queue, applies);
        let operator = self.operator.matching(queue, applies);
        for definition in [operator, policy].into_iter().flatten() {
            let least = |known: &mut Option<u64>, other: Option<u64>| {
                *known = known.iter().copied().chain(other).min();
            };
            least(&mut args.message_ttl_ms, definition.message_ttl_ms);
            least(&mut args.expires_ms, definition.expires_ms);
            least(&mut args.max_length, definition.max_length);
            least(&mut args.max_length_bytes, definition.max_length_bytes);
            if args.kind == QueueType::Quorum {
                let limit = definition.delivery_limit;
                let limit = limit.map(|limit| u16::try_from(limit).unwrap_or(u16::MAX));
                args.delivery_limit = args.delivery_limit.into_iter().chain(limit).min();
            }
            args.consumer_timeout_ms = args.consumer_timeout_ms.or(definition.consumer_timeout_ms);
        }
        if arguments.get("x-overflow").is_none() {
            let overflow = [operator, policy].into_iter().flatten().find_map(|def| def.overflow);
            args.overflow = overflow.unwrap_or_default();
        }
        if let Some(policy) = policy {
            let exchange = &mut args.dead_letter_exchange;
            *exchange = exchange.take().or_else(|| policy.dead_letter_exchange.clone());
            let key = &mut args.dead_letter_routing_key;
            *key = key.take().or_else(|| policy.dead_letter_routing_key.clone());
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, pattern: &str, priority: i64, definition: &[(&str, i64)]) -> Policy {
        let number = |(key, value): &(&str, i64)| ((*key).to_owned(), Value::Int(*value, 8));
        Policy {
            name: name.into(),
            pattern: pattern.into(),
            priority,
            apply_to: ApplyTo::Queues,
            definition: Table(definition.iter().map(number).collect()),
        }
    }

    #[test]
    fn one_policy_and_one_operator_policy_count() {
        let mut policies = Policies::default();
        let set = [
            policy("b", "^q", 1, &[("max-length", 10)]),
            policy("a", "^q", 1, &[("max-length", 20), ("message-ttl", 5)]),
            policy("c", ".", 0, &[("expires", 7)]),
        ];
        for policy in set {
            policies.set(PolicyKind::Policy, policy).unwrap();
        }
        let bound = policy("o", "", 0, &[("max-length", 15)]);
        policies.set(PolicyKind::Operator, bound).unwrap();
        let args = policies.effective("q1", &Table::default());
        assert_eq!(
            (args.max_length, args.message_ttl_ms, args.expires_ms),
            (Some(15), Some(5), None)
        );
        let args = policies.effective("other", &Table::default());
        assert_eq!((args.max_length, args.expires_ms), (Some(15), Some(7)));
        let own = Table(vec![("x-max-length".into(), Value::Int(3, 4))]);
        assert_eq!(policies.effective("q1", &own).max_length, Some(3), "the smaller counts");
        assert!(policies.clear(PolicyKind::Policy, "a"));
        assert_eq!(policies.effective("q1", &Table::default()).max_length, Some(10));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut policies = Policies::default();
        let mut refuse = |kind, policy| policies.set(kind, policy).unwrap_err().to_string();
        let ttl = policy("p", "", 0, &[("message-ttl", -1)]);
        assert_eq!(
            refuse(PolicyKind::Policy, ttl),
            "definition.message-ttl = -1: must be 0 to 315360000000 milliseconds"
        );
        let unknown = policy("p", "", 0, &[("max-lenght", 1)]);
        assert_eq!(
            refuse(PolicyKind::Policy, unknown),
            "definition.max-lenght = 1: is no key of a policy"
        );
        let open = policy("p", "(", 0, &[("max-length", 1)]);
        assert_eq!(refuse(PolicyKind::Policy, open), "pattern = (: must be a regular expression");
        let timeout = policy("p", "", 0, &[("consumer-timeout", 1)]);
        assert_eq!(
            refuse(PolicyKind::Operator, timeout),
            "definition.consumer-timeout = 1: is no key of an operator policy"
        );
        assert!(refuse(PolicyKind::Policy, policy("p", "", 0, &[])).starts_with("definition = {}"));
    }
}
