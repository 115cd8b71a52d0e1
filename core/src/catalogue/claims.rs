//! Names that a durable change is under way for: who wants to change what they mean waits.
//!
//! Whoever declares or deletes something has its name alone; whoever binds shares both ends with
//! others who bind. Those who wait have their turn in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

/// A name, and what of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Name {
    Queue(Box<str>),
    Exchange(Box<str>),
}

/// How a name is held.
#[derive(Debug)]
enum Hold {
    Alone,
    Shared(u32),
}

/// Which names a change is about; `true` for those that it must have alone.
pub(crate) type Wanted = Vec<(Name, bool)>;

/// The names of one vhost that are held, and who waits for some.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: HashMap<Name, Hold>,
    waiting: BTreeMap<u64, (Wanted, Waker)>,
    next_turn: u64,
}

impl Claims {
    /// Holds all of `wanted`, or waits: `turn` is then what to come back with. Who came before and
    /// waits for the same goes first.
    pub(crate) fn claim(&mut self, wanted: &Wanted, turn: &mut Option<u64>, waker: &Waker) -> bool {
        let before = turn.unwrap_or(u64::MAX);
        let is_behind = self.waiting.range(..before).any(|(_, (others, _))| {
            others.iter().any(|(name, alone)| {
                wanted.iter().any(|(wanted, is_alone)| wanted == name && (*alone || *is_alone))
            })
        });
        let is_free = |(name, alone): &(Name, bool)| match self.held.get(name) {
            None => true,
            Some(Hold::Shared(_)) => !alone,
            Some(Hold::Alone) => false,
        };
        if is_behind || !wanted.iter().all(is_free) {
            let turn = *turn.get_or_insert_with(|| {
                self.next_turn += 1;
                self.next_turn
            });
            self.waiting.insert(turn, (wanted.clone(), waker.clone()));
            return false;
        }
        if let Some(turn) = turn.take() {
            self.waiting.remove(&turn);
        }
        for (name, alone) in wanted {
            match self.held.get_mut(name) {
                Some(Hold::Shared(count)) => *count += 1,
                _ if *alone => drop(self.held.insert(name.clone(), Hold::Alone)),
                _ => drop(self.held.insert(name.clone(), Hold::Shared(1))),
            }
        }
        true
    }

    /// Lets go of all of `wanted`. Returns who is to look again.
    pub(crate) fn release(&mut self, wanted: &Wanted) -> Vec<Waker> {
        for (name, _) in wanted {
            match self.held.get_mut(name) {
                Some(Hold::Shared(count)) if *count > 1 => *count -= 1,
                _ => drop(self.held.remove(name)),
            }
        }
        self.waiting.values().map(|(_, waker)| waker.clone()).collect()
    }

    /// Somebody who waits does not any more. Returns who is to look again.
    pub(crate) fn forget(&mut self, turn: u64) -> Vec<Waker> {
        self.waiting.remove(&turn);
        self.waiting.values().map(|(_, waker)| waker.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shared_or_held_alone_in_the_order_of_asking() {
        let name = || Name::Queue("q".into());
        let (shared, alone) = (vec![(name(), false)], vec![(name(), true)]);
        let mut claims = Claims::default();
        let mut claim = |wanted: &Wanted, turn: &mut Option<u64>, release: Option<&Wanted>| {
            if let Some(wanted) = release {
                claims.release(wanted);
            }
            claims.claim(wanted, turn, Waker::noop())
        };
        assert!(claim(&shared, &mut None, None));
        assert!(claim(&shared, &mut None, None));
        let (mut first, mut second) = (None, None);
        assert!(!claim(&alone, &mut first, None));
        assert!(!claim(&shared, &mut second, None), "the one before it would wait for ever");
        assert!(!claim(&alone, &mut first, Some(&shared)), "one of two let go");
        assert!(claim(&alone, &mut first, Some(&shared)));
        assert!(!claim(&shared, &mut second, None));
        assert!(claim(&shared, &mut second, Some(&alone)));
    }
}
