//! What a protocol knows of a quorum system.

use crate::NodeSet;
use std::fmt;

/// A read-write quorum system over nodes `0..len()`: every read quorum meets every write quorum, and a superset of a
/// quorum is a quorum. This is all that a protocol may know, so that any system can be deployed and checked.
pub trait QuorumSystem: fmt::Debug + Send + Sync {
    /// The nodes that can matter to this system.
    fn nodes(&self) -> NodeSet;

    /// Does `nodes` contain a read quorum? Phase 1 of Paxos waits for one.
    fn is_read_quorum(&self, nodes: NodeSet) -> bool;

    /// Does `nodes` contain a write quorum? Phase 2 of Paxos waits for one.
    fn is_write_quorum(&self, nodes: NodeSet) -> bool;
}

/// Any majority of the given nodes reads, any majority writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Majority(NodeSet);

impl Majority {
    /// Majorities of nodes `0..n`.
    ///
    /// # Panics
    /// When `n` is zero or exceeds [`NodeSet::CAPACITY`].
    pub fn new(n: usize) -> Self {
        Self::of(NodeSet::first(n))
    }

    /// Majorities of these nodes.
    ///
    /// # Panics
    /// When `nodes` is empty.
    pub fn of(nodes: NodeSet) -> Self {
        assert!(!nodes.is_empty(), "a majority of no nodes does not exist");
        Self(nodes)
    }

    fn is_quorum(self, nodes: NodeSet) -> bool {
        2 * nodes.intersection(self.0).len() > self.0.len()
    }
}

impl QuorumSystem for Majority {
    fn nodes(&self) -> NodeSet {
        self.0
    }

    fn is_read_quorum(&self, nodes: NodeSet) -> bool {
        self.is_quorum(nodes)
    }

    fn is_write_quorum(&self, nodes: NodeSet) -> bool {
        self.is_quorum(nodes)
    }
}
