//! Rounds with an owner, of which a proposer can own two that follow each other.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A round: a triple in lexicographic order. The proposer in the middle owns it, and so owns the immediate successor too:
/// nobody's round lies between a round and its [`Round::successor`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Round {
    /// Counts leaders.
    pub term: u64,
    /// The number of the proposer that owns it.
    pub proposer: u64,
    /// Counts the rounds of one leader.
    pub step: u64,
}

impl Round {
    /// The first round; none is smaller.
    pub const ZERO: Self = Self { term: 0, proposer: 0, step: 0 };

    /// The round that follows immediately, with the same owner.
    #[must_use]
    pub const fn successor(self) -> Self {
        Self { step: self.step.saturating_add(1), ..self }
    }

    /// The smallest round of a proposer that is larger than all that it has heard of.
    pub fn next_owned_by(proposer: usize, heard: Option<Self>) -> Self {
        let proposer = proposer as u64;
        match heard {
            Some(heard) if heard.proposer == proposer => heard.successor(),
            Some(heard) => Self {
                term: heard.term.saturating_add(u64::from(heard.proposer > proposer)),
                proposer,
                step: 0,
            },
            None => Self { term: 0, proposer, step: 0 },
        }
    }

    /// How many leaders and steps there were before, at least: a bound for models, and whose turn it is. A round beyond
    /// which there is none has the largest age.
    pub const fn age(self) -> u64 {
        self.term.saturating_add(self.step)
    }
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}.{}", self.term, self.proposer, self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_next_owned_round_is_the_smallest_larger_one_of_its_owner(
            term in 0..4_u64, other in 0..4_u64, step in 0..4_u64, proposer in 0..4_usize
        ) {
            let heard = Round { term, proposer: other, step };
            let next = Round::next_owned_by(proposer, Some(heard));
            let owned = (0..9).flat_map(|term| (0..9).map(move |step| Round { term, proposer: proposer as u64, step }));
            prop_assert_eq!(Some(next), owned.filter(|round| *round > heard).min());
        }

        #[test]
        fn no_round_lies_between_a_round_and_its_successor(
            (term, proposer, step) in (0..4_u64, 0..4_u64, 0..4_u64), (t, p, s) in (0..4_u64, 0..4_u64, 0..9_u64)
        ) {
            let round = Round { term, proposer, step };
            let other = Round { term: t, proposer: p, step: s };
            prop_assert!(other <= round || other >= round.successor());
        }
    }

    #[test]
    fn the_end_of_the_numbers_has_the_largest_age() {
        let last = Round { term: u64::MAX, proposer: 1, step: u64::MAX };
        assert_eq!([last.successor().age(), Round::next_owned_by(0, Some(last)).age()], [u64::MAX; 2]);
    }
}
