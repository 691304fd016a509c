//! Read-write quorum systems: what they are, what they cost, and the search for the best one.
//!
//! A *read-write quorum system* over nodes `0..n` is a pair (R, W) of set families, both closed under supersets, such
//! that every read quorum meets every write quorum ("Read-Write Quorum Systems Made Practical", section 2). Consensus
//! protocols use read quorums in phase 1 and write quorums in phase 2, and need no more than [`QuorumSystem`].

#![allow(
    clippy::many_single_char_names,
    reason = "nodes, fractions and prices have one-letter names in the papers"
)]

mod availability;
mod certificate;
mod cluster;
pub mod constructions;
mod direct;
mod error;
mod exact;
mod expr;
mod front;
mod node_set;
mod number;
mod parse;
mod plan;
mod problem;
mod program;
mod quorums;
mod read_write;
mod search;
mod simplex;
mod sites;
mod solution;
mod source;
mod square;
mod strategy;
mod symmetry;
mod system;
mod tree;
mod workload;

pub use availability::{Availability, MAX_STATES_OF, reliability};
pub use certificate::Certificate;
pub use cluster::{Attributes, Cluster, LEAST_ATTRIBUTE, MOST_ATTRIBUTE};
pub use error::{Error, Result};
pub use expr::{Expr, Gate, MAX_VOTES, Node};
pub use front::{Explanation, FrontPoint};
pub use node_set::NodeSet;
pub use parse::{MAX_DEPTH, MAX_TEXT};
pub use plan::Plan;
pub use problem::{Objective, Side};
pub use quorums::{MAX_QUORUMS, quorum_counts};
pub use read_write::ReadWriteQuorumSystem;
pub use search::{Found, MAX_ENUMERATED, Progress, duplicate_free, search};
pub use sites::{Placement, Samples, Site, SiteStrategies, place};
pub use solution::Solution;
pub use strategy::{Choice, Sampler, Strategy};
pub use system::{Majority, QuorumSystem};
pub use workload::Workload;
