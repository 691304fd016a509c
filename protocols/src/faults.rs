//! Mutants: one rule of a protocol broken on purpose, so that a check can show that it notices.
//!
//! A protocol is generic over its faults. The deployed one is instantiated with [`Correct`], for which every question
//! "is this rule broken?" is the constant `false` and compiles to nothing; the checked one with [`Mutated`], which breaks
//! the one rule that a check row names, or none.

use parthood_quorums::NodeSet;
use std::fmt::Debug;

/// Which rules of a protocol are broken; `M` names the rules.
pub trait Faults<M>: Copy + Debug + Send + Sync + 'static {
    /// Is this rule broken?
    fn breaks(self, rule: M) -> bool;
}

/// No rule is broken; asking costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Correct;

impl<M> Faults<M> for Correct {
    fn breaks(self, _: M) -> bool {
        false
    }
}

/// At most one rule is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutated<M>(pub Option<M>);

impl<M: Copy + PartialEq + Debug + Send + Sync + 'static> Faults<M> for Mutated<M> {
    fn breaks(self, rule: M) -> bool {
        self.0 == Some(rule)
    }
}

/// Is the set a quorum, or, where the rule to wait for one is broken, one node short of a quorum?
pub(crate) fn is_enough(
    set: NodeSet,
    nodes: usize,
    one_short: bool,
    is_quorum: impl Fn(NodeSet) -> bool,
) -> bool {
    is_quorum(set) || one_short && (0..nodes).any(|node| is_quorum(set.with(node)))
}
