//! What acceptors have voted for in one round, as far as somebody who counts has heard.

use parthood_quorums::NodeSet;
use std::collections::BTreeMap;

/// The voters for each value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Votes<V>(pub BTreeMap<V, NodeSet>);

impl<V> Default for Votes<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V: Ord> Votes<V> {
    /// Counts a vote.
    pub(super) fn add(&mut self, acceptor: usize, value: V) {
        self.0.entry(value).or_default().insert(acceptor);
    }

    /// Is this vote counted?
    pub(super) fn contains(&self, acceptor: usize, value: &V) -> bool {
        self.0.get(value).is_some_and(|voters| voters.contains(acceptor))
    }

    /// Everybody whose vote is counted.
    pub fn voters(&self) -> NodeSet {
        self.0.values().fold(NodeSet::EMPTY, |all, voters| all.union(*voters))
    }

    /// The value that all these acceptors have voted for; or all but one, if the rule to wait for all is broken.
    pub(super) fn chosen(&self, acceptors: NodeSet, without_one: bool) -> Option<&V> {
        let missing = |voters: &NodeSet| acceptors.difference(*voters).len();
        let all = |voters: &NodeSet| missing(voters) <= usize::from(without_one) && !acceptors.is_empty();
        self.0.iter().find(|(_, voters)| all(voters)).map(|(value, _)| value)
    }

    /// Have two of them voted for different values, so that nothing will be chosen?
    pub fn are_divided(&self) -> bool {
        self.0.len() > 1
    }
}
