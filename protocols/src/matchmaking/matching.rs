//! What a proposer makes of the matchmakers' answers.

use super::{Age, Configuration, Matched, Round};
use parthood_quorums::{NodeSet, QuorumSystem};

/// The answers so far to the announcement of one round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matching<C = Configuration> {
    /// The matchmakers that answered.
    pub replied: NodeSet,
    /// The largest watermark among the answers.
    pub watermark: Round,
    /// How new its configuration is: older ones of larger rounds were never used.
    pub collected: Age,
    /// The configurations of smaller rounds in any of the answers, in ascending order of rounds.
    pub earlier: Vec<Matched<C>>,
}

impl<C> Default for Matching<C> {
    fn default() -> Self {
        Self { replied: NodeSet::EMPTY, watermark: Round::ZERO, collected: Age::default(), earlier: vec![] }
    }
}

impl<C: Clone> Matching<C> {
    /// Adds an answer. No two answers disagree on the configuration of a round, for its owner has announced only one.
    pub fn add(&mut self, matchmaker: usize, watermark: Round, collected: Age, earlier: Vec<Matched<C>>) {
        self.replied.insert(matchmaker);
        self.watermark = self.watermark.max(watermark);
        self.collected = self.collected.max(collected);
        for matched in earlier {
            if let Err(at) = self.earlier.binary_search_by_key(&matched.0, |(round, _)| *round) {
                self.earlier.insert(at, matched);
            }
        }
    }

    /// The configurations that phase 1 must ask, once enough have answered: all but those below the watermark. Of these the
    /// largest watermark says that they are retired, though another answer may still list them (*round pruning*).
    pub fn returned(&self) -> Vec<Matched<C>> {
        self.earlier.iter().filter(|(round, _)| *round >= self.watermark).cloned().collect()
    }
}

/// Has a read quorum of *every* one of these configurations promised? One acceptor may count for several of them.
pub fn read_everywhere<'a>(
    configurations: impl IntoIterator<Item = &'a Configuration>,
    promised: NodeSet,
) -> bool {
    configurations.into_iter().all(|configuration| configuration.is_read_quorum(promised))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(term: u64) -> Round {
        Round { term, ..Round::ZERO }
    }

    #[test]
    fn answers_are_united_and_what_is_below_the_largest_watermark_is_left_out() {
        let (a, b) = (Configuration::single(0), Configuration::single(1));
        let mut matching = Matching::default();
        matching.add(2, Round::ZERO, Age::default(), vec![(round(1), a.clone()), (round(2), b.clone())]);
        assert_eq!(matching.returned().len(), 2);
        matching.add(0, round(2), Age::default(), vec![(round(2), b.clone()), (round(3), a.clone())]);
        assert_eq!(matching.returned(), [(round(2), b.clone()), (round(3), a.clone())]);
        assert_eq!(matching.replied, [0, 2].into_iter().collect());
        assert!(!read_everywhere([&a, &b], NodeSet::single(0)));
        assert!(read_everywhere([&a, &b], NodeSet::first(2)));
    }
}
