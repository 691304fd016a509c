//! Read-write quorum systems: what they are, what they cost, and the search for the best one.
//!
//! A *read-write quorum system* over nodes `0..n` is a pair (R, W) of set families, both closed under supersets, such
//! that every read quorum meets every write quorum ("Read-Write Quorum Systems Made Practical", section 2). Consensus
//! protocols use read quorums in phase 1 and write quorums in phase 2, and need no more than [`QuorumSystem`].

mod node_set;
mod system;

pub use node_set::NodeSet;
pub use system::{Majority, QuorumSystem};
