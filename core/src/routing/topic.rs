//! The trie of a topic exchange: patterns in, everything that matches a key out.
//!
//! Matching walks the words once with the set of nodes that are still possible, so its time is
//! words times nodes reached, without recursion: keys and patterns come from outside.

use crate::address::{Pattern, Segment, words};

use super::target::Targets;
use crate::hash::NameMap;

const ROOT: u32 = 0;

#[derive(Debug)]
struct Node {
    literal: NameMap<Box<str>, u32>,
    one: Option<u32>,
    many: Option<u32>,
    /// A `#` node takes any further word itself.
    is_many: bool,
    targets: Targets,
    parent: u32,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.targets.is_empty()
            && self.literal.is_empty()
            && self.one.is_none()
            && self.many.is_none()
    }

    fn child(&self, segment: &Segment) -> Option<u32> {
        match segment {
            Segment::Literal(word) => self.literal.get(word).copied(),
            Segment::One => self.one,
            Segment::Many => self.many,
        }
    }
}

/// Patterns and their targets.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
    hasher: ahash::RandomState,
}

impl Trie {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        let mut trie = Self { nodes: Vec::new(), free: Vec::new(), hasher: hasher.clone() };
        trie.nodes.push(trie.node(ROOT, false));
        trie
    }

    fn node(&self, parent: u32, is_many: bool) -> Node {
        let literal = NameMap::with_hasher(self.hasher.clone());
        Node { literal, one: None, many: None, is_many, targets: Targets::default(), parent }
    }

    /// The targets of exactly this pattern, made if there are none.
    pub(super) fn entry(&mut self, pattern: &Pattern) -> &mut Targets {
        let mut at = ROOT;
        for segment in pattern.segments() {
            at = match self.nodes[at as usize].child(segment) {
                Some(child) => child,
                None => self.add(at, segment),
            };
        }
        &mut self.nodes[at as usize].targets
    }

    fn add(&mut self, parent: u32, segment: &Segment) -> u32 {
        let node = self.node(parent, *segment == Segment::Many);
        let index = if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            index
        } else {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("bindings fit in memory")
        };
        let above = &mut self.nodes[parent as usize];
        match segment {
            Segment::Literal(word) => {
                above.literal.insert(word.clone(), index);
            }
            Segment::One => above.one = Some(index),
            Segment::Many => above.many = Some(index),
        }
        index
    }

    /// Changes the targets of exactly this pattern, and forgets the branch once it is unused.
    pub(super) fn change(&mut self, pattern: &Pattern, change: impl FnOnce(&mut Targets)) {
        let mut at = ROOT;
        for segment in pattern.segments() {
            let Some(child) = self.nodes[at as usize].child(segment) else { return };
            at = child;
        }
        change(&mut self.nodes[at as usize].targets);
        for segment in pattern.segments().iter().rev() {
            if !self.nodes[at as usize].is_unused() {
                return;
            }
            let parent = self.nodes[at as usize].parent;
            self.nodes[at as usize] = self.node(ROOT, false);
            self.free.push(at);
            let above = &mut self.nodes[parent as usize];
            match segment {
                Segment::Literal(word) => {
                    above.literal.remove(word);
                }
                Segment::One => above.one = None,
                Segment::Many => above.many = None,
            }
            at = parent;
        }
    }

    /// Calls `found` with the targets of every pattern that matches `key`.
    pub(super) fn matches(&self, key: &str, mut found: impl FnMut(&Targets)) {
        let (mut active, mut next) = (Vec::new(), Vec::new());
        self.reach(ROOT, &mut active);
        for word in words(key) {
            for &at in &active {
                let node = &self.nodes[at as usize];
                if node.is_many {
                    self.reach(at, &mut next);
                }
                if let Some(&child) = node.literal.get(word) {
                    self.reach(child, &mut next);
                }
                if let Some(child) = node.one {
                    self.reach(child, &mut next);
                }
            }
            std::mem::swap(&mut active, &mut next);
            next.clear();
            active.sort_unstable();
            active.dedup();
        }
        for at in active {
            found(&self.nodes[at as usize].targets);
        }
    }

    /// Adds a node, and the `#` nodes below it, which need no word.
    fn reach(&self, at: u32, active: &mut Vec<u32>) {
        let mut next = Some(at);
        while let Some(at) = next {
            active.push(at);
            next = self.nodes[at as usize].many;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routing::Target;

    /// Exchanges stand for the patterns by their index.
    fn target(index: usize) -> Target {
        Target::Exchange(index.to_string().into())
    }

    fn matching(trie: &Trie, key: &str) -> Vec<usize> {
        let mut found = Vec::new();
        trie.matches(key, |targets| {
            found.extend(targets.iter().map(|target| match target {
                Target::Exchange(name) => name.parse::<usize>().unwrap(),
                other => panic!("unexpected {other:?}"),
            }));
        });
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn finds_what_matches_one_by_one(
            patterns in proptest::collection::vec("([ab*#]\\.){0,4}[ab*#]", 1..20),
            removed in proptest::collection::vec(any::<bool>(), 20),
            key in "([abc]\\.){0,5}[abc]",
        ) {
            let mut trie = Trie::new(&crate::hash::state(1));
            let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::from_key(p)).collect();
            for (index, pattern) in patterns.iter().enumerate() {
                trie.entry(pattern).add(&target(index));
            }
            for (index, pattern) in patterns.iter().enumerate().filter(|(i, _)| removed[*i]) {
                trie.change(pattern, |targets| targets.remove(&target(index).id()));
            }
            let kept = patterns.iter().enumerate().filter(|(index, _)| !removed[*index]);
            let expected: Vec<usize> =
                kept.filter(|(_, pattern)| pattern.matches(&key)).map(|(index, _)| index).collect();
            prop_assert_eq!(matching(&trie, &key), expected);
        }

        #[test]
        fn forgets_branches_that_nothing_uses(
            patterns in proptest::collection::vec("([ab*#]\\.){0,4}[ab*#]", 1..20),
        ) {
            let mut trie = Trie::new(&crate::hash::state(1));
            let patterns: Vec<Pattern> = patterns.iter().map(|p| Pattern::from_key(p)).collect();
            for (index, pattern) in patterns.iter().enumerate() {
                trie.entry(pattern).add(&target(index));
            }
            for (index, pattern) in patterns.iter().enumerate() {
                trie.change(pattern, |targets| targets.remove(&target(index).id()));
            }
            prop_assert_eq!(trie.free.len(), trie.nodes.len() - 1);
        }
    }

    #[test]
    fn a_key_of_many_words_takes_no_stack() {
        let mut trie = Trie::new(&crate::hash::state(1));
        trie.entry(&Pattern::from_key("#.x.#")).add(&target(0));
        let deep = "x.".repeat(32_000);
        trie.entry(&Pattern::from_key(&deep)).add(&target(1));
        assert_eq!(matching(&trie, &deep), [0, 1]);
    }
}
