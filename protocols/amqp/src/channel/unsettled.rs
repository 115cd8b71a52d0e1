//! The delivery tags of one channel that wait for their acknowledgement, and the core's names for
//! them.

use std::collections::VecDeque;

use trivium_core::DeliveryId;

/// Delivery tags in ascending order. Consumers without acknowledgement leave gaps; settling out
/// of order leaves holes, which are closed once they are half of it. `D` is [`DeliveryId`], which
/// only the core can make, but in tests.
#[derive(Debug)]
pub(crate) struct Unsettled<D = DeliveryId> {
    entries: VecDeque<(u64, Option<D>)>,
    /// Entries that are `None`.
    holes: usize,
}

/// A tag that names nothing outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTag(pub(crate) u64);

impl<D> Default for Unsettled<D> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), holes: 0 }
    }
}

impl<D> Unsettled<D> {
    /// Adds the newest tag.
    pub(crate) fn push(&mut self, tag: u64, delivery: D) {
        debug_assert!(self.entries.back().is_none_or(|(last, _)| *last < tag));
        self.entries.push_back((tag, Some(delivery)));
    }

    /// Whether nothing is outstanding.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == self.holes
    }

    fn position(&self, tag: u64) -> Result<usize, UnknownTag> {
        // Most clients acknowledge in order, so it is the first one.
        let found = match self.entries.front() {
            Some((first, _)) if *first == tag => Ok(0),
            _ => self.entries.binary_search_by_key(&tag, |(tag, _)| *tag),
        };
        match found {
            Ok(index) if self.entries[index].1.is_some() => Ok(index),
            _ => Err(UnknownTag(tag)),
        }
    }

    /// Takes one tag out.
    pub(crate) fn take(&mut self, tag: u64) -> Result<D, UnknownTag> {
        let index = self.position(tag)?;
        let delivery = self.entries[index].1.take().ok_or(UnknownTag(tag))?;
        self.holes += 1;
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
            self.holes -= 1;
        }
        if self.holes * 2 > self.entries.len() {
            self.entries.retain(|(_, delivery)| delivery.is_some());
            self.holes = 0;
        }
        Ok(delivery)
    }

    /// Takes everything up to and with `tag`, which must be outstanding; with tag 0 everything.
    /// Gives the tags, too.
    pub(crate) fn take_through(
        &mut self,
        tag: u64,
    ) -> Result<impl Iterator<Item = (u64, D)>, UnknownTag> {
        let count = if tag == 0 { self.entries.len() } else { self.position(tag)? + 1 };
        let holes = self.entries.range(..count).filter(|(_, delivery)| delivery.is_none()).count();
        self.holes -= holes;
        Ok(self.entries.drain(..count).filter_map(|(tag, delivery)| Some((tag, delivery?))))
    }

    /// Puts back what was taken, to be settled again.
    pub(crate) fn put_back(&mut self, taken: impl IntoIterator<Item = (u64, D)>) {
        let returned = taken.into_iter().map(|(tag, delivery)| (tag, Some(delivery)));
        self.entries.retain(|(_, delivery)| delivery.is_some());
        self.holes = 0;
        self.entries.extend(returned);
        self.entries.make_contiguous().sort_unstable_by_key(|(tag, _)| *tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(tags: &[u64]) -> Unsettled<u64> {
        let mut unsettled = Unsettled::default();
        for &tag in tags {
            unsettled.push(tag, tag * 10);
        }
        unsettled
    }

    fn through(unsettled: &mut Unsettled<u64>, tag: u64) -> Result<Vec<u64>, UnknownTag> {
        unsettled.take_through(tag).map(|taken| taken.map(|(_, delivery)| delivery).collect())
    }

    #[test]
    fn a_tag_is_taken_once() {
        let mut unsettled = filled(&[1, 2, 5]);
        assert_eq!(unsettled.take(2), Ok(20));
        assert_eq!(unsettled.take(2), Err(UnknownTag(2)));
        assert_eq!(unsettled.take(3), Err(UnknownTag(3)));
        assert_eq!(unsettled.take(0), Err(UnknownTag(0)));
        assert_eq!(unsettled.take(1), Ok(10));
        assert_eq!(unsettled.take(5), Ok(50));
        assert_eq!((unsettled.entries.len(), unsettled.holes), (0, 0));
    }

    #[test]
    fn multiple_takes_what_is_left_up_to_an_outstanding_tag() {
        let mut unsettled = filled(&[1, 2, 3, 5, 6, 7, 8]);
        assert_eq!(unsettled.take(2), Ok(20));
        assert_eq!(through(&mut unsettled, 4), Err(UnknownTag(4)));
        assert_eq!(through(&mut unsettled, 9), Err(UnknownTag(9)));
        assert_eq!(through(&mut unsettled, 5), Ok(vec![10, 30, 50]));
        assert_eq!(through(&mut unsettled, 0), Ok(vec![60, 70, 80]));
        assert_eq!(through(&mut unsettled, 0), Ok(vec![]));
    }

    #[test]
    fn what_is_put_back_is_outstanding_again() {
        let mut unsettled = filled(&[1, 2, 3, 4, 5]);
        let taken: Vec<_> = unsettled.take_through(2).unwrap().collect();
        assert_eq!(taken, [(1, 10), (2, 20)]);
        assert_eq!(unsettled.take(4), Ok(40));
        unsettled.put_back([(4, 40), (2, 20), (1, 10)]);
        assert_eq!(through(&mut unsettled, 4), Ok(vec![10, 20, 30, 40]));
        assert_eq!(unsettled.take(5), Ok(50));
    }

    #[test]
    fn holes_do_not_pile_up_behind_an_old_tag() {
        let mut unsettled = filled(&(1..=1000).collect::<Vec<_>>());
        for tag in 2..=1000 {
            assert_eq!(unsettled.take(tag), Ok(tag * 10));
        }
        assert!(unsettled.entries.len() <= 2);
        assert_eq!(unsettled.take(1), Ok(10));
        assert_eq!(unsettled.holes, 0);
    }
}
