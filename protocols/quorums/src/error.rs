//! Everything that can be wrong with an input, in words that say where and what to do.

use crate::NodeSet;

/// Why a question about quorum systems has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An expression that cannot be read.
    #[error("column {column}: {message}")]
    Parse {
        /// Where in the text, counting characters from 1.
        column: usize,
        /// What was expected there.
        message: String,
    },
    /// A gate, a system or a construction without members.
    #[error("{what} needs at least one member")]
    Empty {
        /// What has no member.
        what: &'static str,
    },
    /// A threshold that no set of members meets, or that the empty set meets.
    #[error("a threshold of {threshold} is not between 1 and {total}, the votes of all members")]
    BadThreshold {
        /// What was asked for.
        threshold: u64,
        /// The sum of all votes.
        total: u64,
    },
    /// A vote of zero, or more votes than are counted.
    #[error("{votes} votes: a member has between 1 vote and {most}")]
    BadVotes {
        /// What was asked for.
        votes: u64,
        /// The largest number of votes.
        most: u64,
    },
    /// A size or shape that a construction does not have.
    #[error("{construction}: {message}")]
    BadShape {
        /// The name of the construction.
        construction: &'static str,
        /// What it needs.
        message: String,
    },
    /// A name that is no node of the cluster.
    #[error("no node is called {name:?}{}", suggestion(.nearest.as_ref()))]
    UnknownNode {
        /// The name.
        name: String,
        /// The node with the most similar name.
        nearest: Option<String>,
    },
    /// A name given twice.
    #[error("two nodes are called {name:?}; give each its own name")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// More nodes than a set holds.
    #[error("{nodes} nodes; at most {} are supported", NodeSet::CAPACITY)]
    TooManyNodes {
        /// How many there are.
        nodes: usize,
    },
    /// A count above a limit that keeps time and memory bounded.
    #[error("{what}: {size} exceeds the limit of {limit}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many there are, or were when counting stopped.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Neither reads nor writes are given.
    #[error("a quorum system needs its read quorums, its write quorums or both")]
    NoQuorums,
    /// A read quorum and a write quorum without a common node.
    #[error("read quorum {read} and write quorum {write} have no node in common")]
    NotIntersecting {
        /// The read quorum.
        read: String,
        /// The write quorum.
        write: String,
    },
    /// An attribute of a node out of range.
    #[error("node {node:?}: {attribute} is {value}, but must be {range}")]
    BadAttribute {
        /// The node's name.
        node: String,
        /// Which attribute.
        attribute: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// A read fraction outside 0 to 1.
    #[error("read fraction {fraction} is not between 0 and 1")]
    BadFraction {
        /// What was given.
        fraction: f64,
    },
    /// A weight that is negative or not finite, or weights that sum to nothing.
    #[error("{what}: {message}")]
    BadWeight {
        /// What is weighted.
        what: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A limit that is not a positive finite number.
    #[error("the {metric} limit is {value}, but must be a positive finite number")]
    BadLimit {
        /// Which metric.
        metric: &'static str,
        /// What was given.
        value: f64,
    },
    /// A limit on the metric that is minimised.
    #[error("a {metric} limit cannot be set when minimising {metric}; drop one of the two")]
    LimitOnObjective {
        /// The metric.
        metric: &'static str,
    },
    /// No strategy keeps the limits.
    #[error("no strategy keeps the limits: {binding}")]
    Infeasible {
        /// Which limits exclude each other, and the least value one can reach.
        binding: String,
    },
    /// No set of nodes survives that many crashes.
    #[error("no {side} quorum survives {f} crashes{}", if *.failed == 0 { String::new() } else { format!(" among the nodes that are up ({failed} are down)") })]
    NoResilientSet {
        /// `read` or `write`.
        side: &'static str,
        /// The number of crashes to survive.
        f: usize,
        /// How many nodes are known to be down.
        failed: usize,
    },
    /// A set given as a quorum that is none.
    #[error("{set} is not a {side} quorum")]
    NotAQuorum {
        /// `read` or `write`.
        side: &'static str,
        /// The set.
        set: String,
    },
    /// The solver gave up; a defect worth a report.
    #[error("the solver made {iterations} steps without an end; please report the input")]
    Stalled {
        /// How many steps it made.
        iterations: usize,
    },
    /// A search whose candidates are all rejected.
    #[error("none of the {candidates} candidate systems keeps the limits and the resilience")]
    NothingFound {
        /// How many were tried.
        candidates: usize,
    },
    /// A certificate that does not prove what it says.
    #[error("the certificate does not hold: {reason}")]
    BadCertificate {
        /// The first check that fails.
        reason: String,
    },
}

/// What the functions of this package return.
pub type Result<T> = std::result::Result<T, Error>;

fn suggestion(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}
