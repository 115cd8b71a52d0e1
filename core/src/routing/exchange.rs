//! One exchange: its properties, its bindings, and how it finds the targets of a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::headers::HeaderBindings;
use super::history::History;
use super::route::Addressed;
use super::spread::{HashOn, Random, Weighted};
use super::target::{Target, TargetId, Targets};
use super::topic::Trie;
use crate::Table;
use crate::address::Pattern;
use crate::catalogue::{Change, StoredExchange};
use crate::hash::NameMap;

/// How an exchange chooses (AMQP 0-9-1, section 3.1.3; from `ConsistentHash` on, RabbitMQ's plugins).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExchangeKind {
    /// The binding key equals the routing key.
    Direct,
    /// Everything.
    Fanout,
    /// The binding key is a pattern.
    Topic,
    /// The binding's arguments are compared with the message's headers.
    Headers,
    /// One binding by a hash, each as often as its key says.
    ConsistentHash,
    /// One binding at random.
    Random,
    /// Everything, and what came last again to who binds later.
    RecentHistory,
}

impl ExchangeKind {
    /// As declarations name it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "fanout" => Some(Self::Fanout),
            "topic" => Some(Self::Topic),
            "headers" => Some(Self::Headers),
            "x-consistent-hash" => Some(Self::ConsistentHash),
            "x-random" => Some(Self::Random),
            "x-recent-history" => Some(Self::RecentHistory),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
            Self::Random => "x-random",
            Self::RecentHistory => "x-recent-history",
        }
    }
}

/// The argument that names an exchange for what finds no way.
pub(crate) const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// What tells two bindings between the same ends apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BindingKey {
    /// As the client wrote it.
    pub(crate) key: Box<str>,
    /// Set for MQTT filters, which are not to be read as AMQP patterns.
    pub(crate) pattern: Option<Pattern>,
    pub(crate) arguments: Table,
}

impl BindingKey {
    pub(crate) fn new(key: &str, arguments: Table) -> Self {
        Self { key: key.into(), pattern: None, arguments }
    }

    /// The binding of an MQTT filter.
    pub(crate) fn of_filter(pattern: Pattern) -> Self {
        let key = pattern.to_binding_key().into();
        Self { key, pattern: Some(pattern), arguments: Table::default() }
    }

    fn pattern(&self) -> Pattern {
        self.pattern.clone().unwrap_or_else(|| Pattern::from_key(&self.key))
    }
}

#[derive(Debug)]
enum Matcher {
    Direct(NameMap<Box<str>, Targets>),
    Fanout(Targets),
    Topic(Box<Trie>),
    Headers(HeaderBindings),
    ConsistentHash(Weighted),
    Random(Random),
    RecentHistory(Targets, Arc<History>),
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: Arc<str>,
    pub(crate) kind: ExchangeKind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: Table,
    /// The alternate exchange that a policy says.
    pub(crate) policy_alternate: Option<Arc<str>>,
    /// Every binding by what it leads to.
    bindings: BTreeMap<TargetId, Vec<BindingKey>>,
    table: Matcher,
}

impl Exchange {
    /// As the catalogue keeps it.
    pub(super) fn stored(&self, vhost: &str) -> Change {
        Change::PutExchange(StoredExchange {
            vhost: vhost.to_owned(),
            name: self.name.to_string(),
            kind: self.kind.name().to_owned(),
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.clone(),
        })
    }

    /// An exchange whose arguments were found valid.
    pub(super) fn new(
        name: Arc<str>,
        kind: ExchangeKind,
        arguments: Table,
        hasher: &ahash::RandomState,
    ) -> Self {
        let table = match kind {
            ExchangeKind::Direct => Matcher::Direct(NameMap::with_hasher(hasher.clone())),
            ExchangeKind::Fanout => Matcher::Fanout(Targets::default()),
            ExchangeKind::Topic => Matcher::Topic(Box::new(Trie::new(hasher))),
            ExchangeKind::Headers => Matcher::Headers(HeaderBindings::default()),
            ExchangeKind::ConsistentHash => {
                Matcher::ConsistentHash(Weighted::new(HashOn::of(&arguments)))
            }
            ExchangeKind::Random => Matcher::Random(Random::new(hasher.hash_one(&name))),
            ExchangeKind::RecentHistory => {
                Matcher::RecentHistory(Targets::default(), Arc::new(History::of(&arguments)))
            }
        };
        Self {
            name,
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments,
            policy_alternate: None,
            bindings: BTreeMap::new(),
            table,
        }
    }

    /// Every binding.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = (&TargetId, &BindingKey)> {
        self.bindings.iter().flat_map(|(target, keys)| keys.iter().map(move |key| (target, key)))
    }

    pub(super) fn has_binding_of(&self, target: &TargetId) -> bool {
        self.bindings.contains_key(target)
    }

    /// Adds a binding; `false` when it was there.
    pub(super) fn bind(&mut self, target: &Target, key: BindingKey) -> bool {
        let known = self.bindings.entry(target.id()).or_default();
        if known.contains(&key) {
            return false;
        }
        match &mut self.table {
            Matcher::Direct(keys) => keys.entry(key.key.clone()).or_default().add(target),
            Matcher::Fanout(targets) => targets.add(target),
            Matcher::Topic(trie) => trie.entry(&key.pattern()).add(target),
            Matcher::Headers(bindings) => bindings.add(target, key.clone()),
            Matcher::ConsistentHash(weighted) => weighted.add(target, &key.key),
            Matcher::Random(Random { targets, .. }) | Matcher::RecentHistory(targets, _) => {
                targets.add(target);
            }
        }
        known.push(key);
        true
    }

    /// What an `x-recent-history` exchange keeps.
    pub(crate) const fn history(&self) -> Option<&Arc<History>> {
        match &self.table {
            Matcher::RecentHistory(_, history) => Some(history),
            _ => None,
        }
    }

    /// Where what finds no way here goes instead.
    pub(crate) fn hands_on_to(&self) -> Option<&str> {
        self.alternate().or(self.policy_alternate.as_deref())
    }

    /// What its declaration says of that.
    pub(crate) fn alternate(&self) -> Option<&str> {
        self.arguments.get(ALTERNATE_EXCHANGE).and_then(crate::Value::as_str)
    }

    /// Whether it has this binding.
    pub(crate) fn has(&self, target: &TargetId, key: &BindingKey) -> bool {
        self.bindings.get(target).is_some_and(|known| known.contains(key))
    }

    pub(super) fn unbind(&mut self, target: &TargetId, key: &BindingKey) {
        let Some(known) = self.bindings.get_mut(target) else { return };
        let Some(at) = known.iter().position(|binding| binding == key) else { return };
        known.swap_remove(at);
        if known.is_empty() {
            self.bindings.remove(target);
        }
        self.remove_from_table(target, key);
    }

    pub(super) fn unbind_all(&mut self, target: &TargetId) {
        for key in self.bindings.remove(target).unwrap_or_default() {
            self.remove_from_table(target, &key);
        }
    }

    fn remove_from_table(&mut self, target: &TargetId, key: &BindingKey) {
        match &mut self.table {
            Matcher::Direct(keys) => {
                if let Some(targets) = keys.get_mut(&key.key) {
                    targets.remove(target);
                    if targets.is_empty() {
                        keys.remove(&key.key);
                    }
                }
            }
            Matcher::Fanout(targets) => targets.remove(target),
            Matcher::Topic(trie) => trie.change(&key.pattern(), |targets| targets.remove(target)),
            Matcher::Headers(bindings) => bindings.remove(target, key),
            Matcher::ConsistentHash(weighted) => weighted.remove(target, &key.key),
            Matcher::Random(Random { targets, .. }) | Matcher::RecentHistory(targets, _) => {
                targets.remove(target);
            }
        }
    }

    /// Calls `found` with every target of the message's keys, some perhaps more than once.
    pub(super) fn route(&self, message: &Addressed<'_>, mut found: impl FnMut(&Target)) {
        match &self.table {
            Matcher::Direct(keys) => {
                for key in message.keys() {
                    keys.get(key).into_iter().flat_map(Targets::iter).for_each(&mut found);
                }
            }
            Matcher::Fanout(targets) | Matcher::RecentHistory(targets, _) => {
                targets.iter().for_each(found);
            }
            Matcher::Topic(trie) => {
                for key in message.keys() {
                    trie.matches(key, |targets| targets.iter().for_each(&mut found));
                }
            }
            Matcher::Headers(bindings) => bindings.route(&message.properties().headers, found),
            Matcher::ConsistentHash(weighted) => {
                weighted.choose(message).into_iter().for_each(found);
            }
            Matcher::Random(random) => {
                random.choose(message).into_iter().for_each(found);
            }
        }
    }
}
