//! The numbers that protocols reason about.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A round (other papers: ballot, view, term). Rounds are dealt to proposers in turn, so that no two ever share one:
/// round `r` belongs to proposer `r mod proposers`.
///
/// The initial promise of an acceptor is [`Round::ZERO`]: it excludes nothing, since no round is smaller.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Round(pub u64);

impl Round {
    /// The first round. Nothing can precede it, so its owner needs no phase 1 in it, once in its life.
    pub const ZERO: Self = Self(0);

    /// The index of the proposer that this round belongs to.
    pub fn owner(self, proposers: usize) -> usize {
        remainder(self.0, proposers)
    }

    /// The smallest round above this one that belongs to `proposer`.
    #[must_use]
    pub fn next_owned_by(self, proposer: usize, proposers: usize) -> Self {
        let (proposer, proposers) = (proposer as u64, proposers as u64);
        let next = self.0.saturating_add(1);
        let ahead = (proposer + proposers - next % proposers) % proposers;
        Self(next.saturating_add(ahead))
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The remainder as an index.
pub(crate) fn remainder(number: u64, count: usize) -> usize {
    usize::try_from(number % count as u64).expect("a remainder is smaller than its divisor")
}

/// A position in the log.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u64);

impl Slot {
    /// The first position.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position `count` further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// The position `count` before this one, or the first.
    #[must_use]
    pub const fn minus(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// Every so manyth slot: what one of several leaders numbers, where slots are dealt to them in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotClass {
    /// Its first slot.
    first: u64,
    /// From one of its slots to the next.
    step: u64,
}

impl SlotClass {
    /// All slots.
    pub const ALL: Self = Self { first: 0, step: 1 };

    /// The slots that come to number `index` when slots are dealt in turn to so many, of which there is at least one.
    pub fn dealt(index: usize, among: usize) -> Self {
        let step = among.max(1) as u64;
        Self { first: index as u64 % step, step }
    }

    /// Is this one of its slots?
    pub fn contains(self, slot: Slot) -> bool {
        slot.0 % self.step == self.first
    }

    /// Its first slot that is not below another.
    #[must_use]
    pub fn at_or_after(self, slot: Slot) -> Slot {
        slot.plus((self.first + self.step - slot.0 % self.step) % self.step)
    }

    /// Its slot after one of its slots.
    #[must_use]
    pub fn after(self, slot: Slot) -> Slot {
        slot.plus(self.step)
    }

    /// Its slots in a range, in ascending order.
    pub fn range(self, from: Slot, below: Slot) -> impl Iterator<Item = Slot> + Clone {
        let mut next = self.at_or_after(from);
        std::iter::repeat_with(move || {
            let slot = next;
            next = self.after(slot);
            slot
        })
        .take_while(move |slot| *slot < below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn all_slots_are_a_class() {
        assert_eq!(SlotClass::ALL.at_or_after(Slot(7)), Slot(7));
        assert_eq!(SlotClass::ALL.range(Slot(2), Slot(4)).collect::<Vec<_>>(), [Slot(2), Slot(3)]);
    }

    proptest! {
        #[test]
        fn every_slot_is_dealt_to_one_class(slot in 0..1000_u64, among in 1..9_usize) {
            let owners = (0..among).filter(|index| SlotClass::dealt(*index, among).contains(Slot(slot)));
            prop_assert_eq!(owners.count(), 1);
        }

        #[test]
        fn a_class_in_a_range_is_what_it_contains_of_it(
            from in 0..60_u64, length in 0..60_u64, index in 0..9_usize, among in 1..9_usize
        ) {
            let class = SlotClass::dealt(index, among);
            let by_search = (from..from + length).map(Slot).filter(|slot| class.contains(*slot));
            let range = class.range(Slot(from), Slot(from + length));
            prop_assert_eq!(range.collect::<Vec<_>>(), by_search.collect::<Vec<_>>());
        }

        #[test]
        fn the_next_owned_round_is_the_smallest_larger_one_of_its_owner(
            round in 0..1000_u64, proposers in 1..9_usize, pick in 0..9_usize
        ) {
            let proposer = pick % proposers;
            let next = Round(round).next_owned_by(proposer, proposers);
            let by_search = (round + 1..=round + 9).map(Round).find(|r| r.owner(proposers) == proposer);
            prop_assert_eq!(Some(next), by_search);
        }
    }
}
