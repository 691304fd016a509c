//! Acceptors and their quorums, as data: any quorum system, another one for each round.

use parthood_quorums::{NodeSet, QuorumSystem};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most quorums on one side of an explicit configuration, so that a message can carry it.
pub const QUORUMS_MAX: usize = 64;

/// How many bytes a set of acceptors takes in a message at most.
const SET_BYTES: usize = 19;

/// The acceptors of a round and their quorums. Phase 1 uses read quorums, phase 2 write quorums, and each read quorum meets
/// each write quorum.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Configuration {
    /// Any majority reads, any majority writes.
    Majority(NodeSet),
    /// Anyone reads, all write. `f + 1` acceptors are enough: one that is left can be asked.
    UnanimousWrites(NodeSet),
    /// These and their supersets.
    Explicit {
        /// The read quorums.
        reads: Vec<NodeSet>,
        /// The write quorums.
        writes: Vec<NodeSet>,
    },
}

/// Why quorums are no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// Nobody would ever be asked.
    #[error("a configuration needs at least one acceptor, and a read and a write quorum that are not empty")]
    Empty,
    /// A value could be chosen that phase 1 does not find.
    #[error(
        "read quorum {0:?} does not meet write quorum {1:?}: add an acceptor to one of them that is in the other"
    )]
    Disjoint(NodeSet, NodeSet),
    /// A message could not carry it.
    #[error("{0} quorums exceed the limit of {QUORUMS_MAX} on a side: use majorities, or fewer acceptors")]
    TooMany(usize),
}

impl Configuration {
    /// The configuration of one acceptor.
    pub fn single(acceptor: usize) -> Self {
        Self::Majority(NodeSet::single(acceptor))
    }

    /// The configuration with these quorums.
    ///
    /// # Errors
    /// When there are none or too many, or a read quorum does not meet a write quorum.
    pub fn explicit(reads: Vec<NodeSet>, writes: Vec<NodeSet>) -> Result<Self, ConfigurationError> {
        let configuration = Self::Explicit { reads, writes };
        configuration.check()?;
        Ok(configuration)
    }

    /// Is it one that a round can use?
    ///
    /// # Errors
    /// When there are no acceptors, or too many quorums, or a read quorum does not meet a write quorum.
    pub fn check(&self) -> Result<(), ConfigurationError> {
        let Self::Explicit { reads, writes } = self else {
            return if self.acceptors().is_empty() { Err(ConfigurationError::Empty) } else { Ok(()) };
        };
        let most = reads.len().max(writes.len());
        if most > QUORUMS_MAX {
            return Err(ConfigurationError::TooMany(most));
        }
        if reads.is_empty() || writes.is_empty() {
            return Err(ConfigurationError::Empty);
        }
        let pairs = reads.iter().flat_map(|read| writes.iter().map(move |write| (*read, *write)));
        match pairs.into_iter().find(|(read, write)| read.is_disjoint(*write)) {
            Some((read, write)) => Err(ConfigurationError::Disjoint(read, write)),
            None => Ok(()),
        }
    }

    /// The quorums that it names, of both kinds.
    pub fn quorums(&self) -> usize {
        match self {
            Self::Majority(_) | Self::UnanimousWrites(_) => 1,
            Self::Explicit { reads, writes } => reads.len() + writes.len(),
        }
    }

    /// How many bytes it takes in a message at most.
    pub fn bytes(&self) -> usize {
        4 + SET_BYTES * self.quorums()
    }

    /// All its acceptors.
    pub fn acceptors(&self) -> NodeSet {
        match self {
            Self::Majority(acceptors) | Self::UnanimousWrites(acceptors) => *acceptors,
            Self::Explicit { reads, writes } => {
                reads.iter().chain(writes).fold(NodeSet::EMPTY, |all, quorum| all.union(*quorum))
            }
        }
    }
}

impl QuorumSystem for Configuration {
    fn nodes(&self) -> NodeSet {
        self.acceptors()
    }

    fn is_read_quorum(&self, nodes: NodeSet) -> bool {
        match self {
            Self::Majority(acceptors) => is_majority(*acceptors, nodes),
            Self::UnanimousWrites(acceptors) => !acceptors.is_disjoint(nodes),
            Self::Explicit { reads, .. } => reads.iter().any(|quorum| quorum.is_subset(nodes)),
        }
    }

    fn is_write_quorum(&self, nodes: NodeSet) -> bool {
        match self {
            Self::Majority(acceptors) => is_majority(*acceptors, nodes),
            Self::UnanimousWrites(acceptors) => acceptors.is_subset(nodes),
            Self::Explicit { writes, .. } => writes.iter().any(|quorum| quorum.is_subset(nodes)),
        }
    }
}

fn is_majority(of: NodeSet, nodes: NodeSet) -> bool {
    2 * nodes.intersection(of).len() > of.len()
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Majority(acceptors) if acceptors.len() == 1 => write!(f, "{acceptors:?}"),
            Self::Majority(acceptors) => write!(f, "majority of {acceptors:?}"),
            Self::UnanimousWrites(acceptors) => write!(f, "all of {acceptors:?}"),
            Self::Explicit { reads, writes } => write!(f, "reads {reads:?} writes {writes:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(bits: u128) -> NodeSet {
        NodeSet::from_bits(bits)
    }

    proptest! {
        #[test]
        fn every_read_quorum_meets_every_write_quorum(
            kind in 0..3, nodes in 1..64_u128, reads in proptest::collection::vec(1..64_u128, 1..4),
            writes in proptest::collection::vec(1..64_u128, 1..4), (a, b) in (0..64_u128, 0..64_u128)
        ) {
            let sets = |bits: Vec<u128>| bits.into_iter().map(set).collect();
            let configuration = match kind {
                0 => Ok(Configuration::Majority(set(nodes))),
                1 => Ok(Configuration::UnanimousWrites(set(nodes))),
                _ => Configuration::explicit(sets(reads), sets(writes)),
            };
            if let Ok(configuration) = configuration {
                let quorums = configuration.is_read_quorum(set(a)) && configuration.is_write_quorum(set(b));
                prop_assert!(!quorums || !set(a).is_disjoint(set(b)));
                prop_assert!(configuration.is_read_quorum(configuration.acceptors()));
                prop_assert!(configuration.is_write_quorum(configuration.acceptors()));
            }
        }
    }

    #[test]
    fn what_is_no_configuration_is_refused() {
        let refused = |reads: &[u128], writes: &[u128]| {
            let sets = |sets: &[u128]| sets.iter().copied().map(set).collect();
            Configuration::explicit(sets(reads), sets(writes)).unwrap_err()
        };
        assert_eq!(refused(&[1], &[2]), ConfigurationError::Disjoint(set(1), set(2)));
        assert_eq!(refused(&[], &[2]), ConfigurationError::Empty);
        assert_eq!(refused(&[1; 65], &[1]), ConfigurationError::TooMany(65));
        assert_eq!(Configuration::Majority(NodeSet::EMPTY).check(), Err(ConfigurationError::Empty));
    }
}
