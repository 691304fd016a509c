//! Is a recorded history linearizable?
//!
//! A history is *linearizable* when every operation can be given one instant between its invocation and its return such
//! that the operations, taken in the order of these instants, follow a sequential specification (Herlihy and Wing, 1990).
//! An operation without a return is *indeterminate*: its client gave up, and it may take effect at any later instant or
//! never. It is not a failure, and must not be dropped.
//!
//! # How it is decided
//! Objects compose (the locality theorem of the same paper), so a history is split by key and each part decided alone.
//! One part is searched in the manner of Wing and Gong, with the two refinements of Lowe ("Testing for linearizability",
//! 2017): an operation is placed only when something forces it, and a configuration seen before is not searched again.
//! Walking over invocations and returns in order of time, a configuration is the state and the set of open operations
//! that were placed already. A return forces its operation: if it is not placed yet, it is placed now, possibly after
//! other open ones.
//!
//! Two facts about an operation, which a specification may offer, cut the search where it explodes:
//! - One that *preserves* every state (a read with its answer) is placed as soon as the state allows it. That loses
//!   nothing: moving it to an earlier instant at which its answer is right changes no other operation.
//! - One that *overwrites* the state whatever it was (a blind put) may hide: at the instant when another such operation
//!   is placed, it can be placed just before without a trace. Which ones did is decided only when they return: until
//!   then they may still be placed visibly. Without this, `n` concurrent puts have `2^n` subsets that may have hidden.
//!
//! Nothing depends on the order of a hash table: configurations are only looked up. Same history, same answer, same
//! number of steps.

mod explain;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::Hash;

/// What one object does when its operations come one after the other.
pub trait SequentialSpec {
    /// Operations on different keys touch different objects. Use `()` where there is only one object.
    type Key: Ord + Clone;
    /// The state of one object.
    type State: Clone + Eq + Hash;
    /// What a client asks for.
    type Op;
    /// What a client is told.
    type Output;

    /// The object that an operation is about.
    fn key(&self, op: &Self::Op) -> Self::Key;

    /// The state of an object before any operation.
    fn initial(&self, key: &Self::Key) -> Self::State;

    /// The state after `op`, or none when `op` cannot give this output here. Without an output any output is right.
    fn step(&self, state: &Self::State, op: &Self::Op, output: Option<&Self::Output>) -> Option<Self::State>;

    /// Is there no state that this operation, given that it had this output, would change? Saying no is always right.
    fn preserves(&self, _op: &Self::Op, _output: &Self::Output) -> bool {
        false
    }

    /// Is this output possible, and the state after it the same, whatever the state before? Saying no is always right.
    fn overwrites(&self, _op: &Self::Op, _output: &Self::Output) -> bool {
        false
    }
}

/// One operation of a history. Times are of one clock, in any unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<Op, Output> {
    /// Who asked.
    pub client: u64,
    /// What for.
    pub op: Op,
    /// When it was asked.
    pub invoked: u64,
    /// The answer and when it came; none when it never did. An answer dated before its question counts as instantaneous,
    /// and two operations that touch at one instant count as concurrent.
    pub returned: Option<Return<Output>>,
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Return<Output> {
    /// When the answer came.
    pub at: u64,
    /// The answer.
    pub output: Output,
}

/// How many placements the search may try for each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLimit(pub u64);

impl Default for StepLimit {
    /// Seconds for one key, and far above what a linearizable history of a key-value store needs.
    fn default() -> Self {
        Self(10_000_000)
    }
}

/// What is known about a history. Operations are named by their index in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Linearizability<Key: Ord> {
    /// It is linearizable.
    Linearizable {
        /// An order of the operations of each key that explains it. Indeterminate operations without effect are left out.
        witness: BTreeMap<Key, Vec<usize>>,
        /// How many placements were tried.
        steps: u64,
    },
    /// It is not, and here is why.
    NotLinearizable(Violation<Key>),
    /// The search was cut off for this key, and no other key is known to be wrong.
    Inconclusive {
        /// The key with too many possibilities.
        key: Key,
        /// The limit that was reached.
        limit: StepLimit,
    },
}

/// Why a history is not linearizable: however the operations that returned earlier are ordered, this one fits nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<Key> {
    /// The object.
    pub key: Key,
    /// The operation whose answer cannot be explained.
    pub operation: usize,
    /// The operations that were open when it returned, which may stand before or after it.
    pub concurrent: Vec<usize>,
    /// The last operations before it, in an order that explains everything up to there.
    pub before: Vec<usize>,
}

/// Decides whether a history is linearizable.
pub fn check<S: SequentialSpec>(
    spec: &S,
    history: &[Operation<S::Op, S::Output>],
    limit: StepLimit,
) -> Linearizability<S::Key> {
    let mut parts: BTreeMap<S::Key, Vec<usize>> = BTreeMap::new();
    for (index, operation) in history.iter().enumerate() {
        parts.entry(spec.key(&operation.op)).or_default().push(index);
    }
    let (mut witness, mut steps, mut cut_off) = (BTreeMap::new(), 0, None);
    for (key, indices) in parts {
        let found = search::Search::new(spec, &key, history, indices, limit).run();
        match found {
            search::Found::Order(order, tried) => {
                steps += tried;
                witness.insert(key, order);
            }
            search::Found::Contradiction { operation, concurrent, before } => {
                return Linearizability::NotLinearizable(Violation { key, operation, concurrent, before });
            }
            search::Found::Limit => cut_off = cut_off.or(Some(key)),
        }
    }
    match cut_off {
        Some(key) => Linearizability::Inconclusive { key, limit },
        None => Linearizability::Linearizable { witness, steps },
    }
}

impl<Key: Ord> Linearizability<Key> {
    /// Is the history known to be linearizable?
    pub fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable { .. })
    }
}
