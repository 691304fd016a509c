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
        usize::try_from(self.0 % proposers as u64).expect("a remainder is smaller than its divisor")
    }

    /// The smallest round above this one that belongs to `proposer`.
    #[must_use]
    pub fn next_owned_by(self, proposer: usize, proposers: usize) -> Self {
        let (proposer, proposers) = (proposer as u64, proposers as u64);
        let ahead = (proposer + proposers - (self.0 + 1) % proposers) % proposers;
        Self(self.0 + 1 + ahead)
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
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
        Self(self.0 + 1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
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
