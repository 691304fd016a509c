//! Expressions: quorums written as sums, products and votes of nodes.
//!
//! The paper writes a set of quorums as a monotone formula over nodes: `a + b` is "a or b", `a * b` is "a and b",
//! `choose(k, ..)` is "k of these" (section 2, and its tutorial). All of these, and weighted votes, are one gate: the
//! votes of the satisfied members reach a threshold. A sum has threshold 1, a product the threshold of all votes.
//!
//! Gates are normalised when they are built, so that two spellings of one gate are equal: sums inside sums and products
//! inside products are flattened, a gate of one member is that member, and votes that never decide are reduced. The
//! normal form is closed under [`Expr::dual`], and taking the dual twice gives the same expression back.

use crate::{Error, NodeSet, Result};
use std::ops::{Add, Mul};

/// The most votes all members of one gate may have together.
pub const MAX_VOTES: u64 = 1 << 16;

/// A node, named by its index in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(u8);

impl Node {
    /// The node with this index.
    ///
    /// # Errors
    /// When the index is not below [`NodeSet::CAPACITY`].
    pub fn new(index: usize) -> Result<Self> {
        u8::try_from(index)
            .ok()
            .filter(|_| index < NodeSet::CAPACITY)
            .map(Self)
            .ok_or(Error::TooManyNodes { nodes: index.saturating_add(1) })
    }

    /// Its index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of quorums, written as a monotone formula over nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expr {
    /// The quorums that contain this node.
    Leaf(Node),
    /// The quorums in which enough members are satisfied.
    Gate(Gate),
}

/// A threshold over the votes of its members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gate {
    threshold: u32,
    children: Vec<(u32, Expr)>,
}

impl Gate {
    /// The votes that satisfied members must have together.
    pub const fn threshold(&self) -> u32 {
        self.threshold
    }

    /// The members, each with its votes.
    pub fn children(&self) -> &[(u32, Expr)] {
        &self.children
    }

    /// The votes of all members.
    pub fn total(&self) -> u32 {
        self.children.iter().map(|(votes, _)| votes).sum()
    }

    /// Has every member one vote?
    pub fn is_unit(&self) -> bool {
        self.children.iter().all(|&(votes, _)| votes == 1)
    }

    /// Is one member enough?
    pub fn is_or(&self) -> bool {
        self.threshold == 1
    }

    /// Are all members needed?
    pub fn is_and(&self) -> bool {
        self.threshold == self.total()
    }
}

impl Expr {
    /// At least `threshold` of the members.
    ///
    /// # Errors
    /// When there is no member, or the threshold is not between 1 and their number.
    pub fn choose(threshold: usize, members: impl IntoIterator<Item = impl Into<Self>>) -> Result<Self> {
        Self::vote(threshold as u64, members.into_iter().map(|member| (1, member.into())))
    }

    /// More than half of the members.
    ///
    /// # Errors
    /// When there is no member.
    pub fn majority(members: impl IntoIterator<Item = impl Into<Self>>) -> Result<Self> {
        let members: Vec<Self> = members.into_iter().map(Into::into).collect();
        Self::choose(members.len() / 2 + 1, members)
    }

    /// Any one of the members.
    ///
    /// # Errors
    /// When there is no member.
    pub fn any(members: impl IntoIterator<Item = impl Into<Self>>) -> Result<Self> {
        Self::choose(1, members)
    }

    /// All of the members.
    ///
    /// # Errors
    /// When there is no member.
    pub fn all(members: impl IntoIterator<Item = impl Into<Self>>) -> Result<Self> {
        let members: Vec<Self> = members.into_iter().map(Into::into).collect();
        Self::choose(members.len(), members)
    }

    /// Members whose votes reach the threshold (Gifford's weighted voting).
    ///
    /// # Errors
    /// When there is no member, a member has no vote, the votes exceed [`MAX_VOTES`], or the threshold is not between 1
    /// and all votes.
    pub fn vote(threshold: u64, members: impl IntoIterator<Item = (u64, impl Into<Self>)>) -> Result<Self> {
        let mut total = 0;
        let mut children = Vec::new();
        for (votes, member) in members {
            total += votes.min(MAX_VOTES + 1);
            if votes == 0 || total > MAX_VOTES {
                return Err(Error::BadVotes { votes, most: MAX_VOTES });
            }
            let votes = u32::try_from(votes).expect("votes are at most MAX_VOTES");
            children.push((votes, member.into()));
        }
        if children.is_empty() {
            return Err(Error::Empty { what: "a gate" });
        }
        match u32::try_from(threshold) {
            Ok(threshold @ 1..) if u64::from(threshold) <= total => Ok(normal(threshold, children)),
            _ => Err(Error::BadThreshold { threshold, total }),
        }
    }

    /// The nodes that occur.
    pub fn nodes(&self) -> NodeSet {
        match self {
            Self::Leaf(node) => NodeSet::single(node.index()),
            Self::Gate(gate) => {
                gate.children.iter().fold(NodeSet::EMPTY, |nodes, (_, child)| nodes.union(child.nodes()))
            }
        }
    }

    /// The number of leaves.
    pub fn leaves(&self) -> usize {
        match self {
            Self::Leaf(_) => 1,
            Self::Gate(gate) => gate.children.iter().map(|(_, child)| child.leaves()).sum(),
        }
    }

    /// Does no node occur twice? Such an expression is a read-once formula, on which most questions are easy.
    pub fn is_dup_free(&self) -> bool {
        self.leaves() == self.nodes().len()
    }

    /// Does the set contain a quorum?
    pub fn is_quorum(&self, nodes: NodeSet) -> bool {
        match self {
            Self::Leaf(node) => nodes.contains(node.index()),
            Self::Gate(gate) => {
                let satisfied = gate.children.iter().filter(|(_, child)| child.is_quorum(nodes));
                satisfied.map(|(votes, _)| votes).sum::<u32>() >= gate.threshold
            }
        }
    }

    /// The sets that meet every quorum: the largest set of quorums that intersect these. A set is a quorum exactly when
    /// its complement is no quorum of the dual.
    #[must_use]
    pub fn dual(&self) -> Self {
        match self {
            Self::Leaf(_) => self.clone(),
            Self::Gate(gate) => normal(
                gate.total() - gate.threshold + 1,
                gate.children.iter().map(|(votes, child)| (*votes, child.dual())).collect(),
            ),
        }
    }
}

impl Expr {
    /// The same expression with node `i` replaced by `to[i]`; `to` covers the nodes that occur.
    pub(crate) fn renamed(&self, to: &[Node]) -> Self {
        match self {
            Self::Leaf(node) => Self::Leaf(to[node.index()]),
            Self::Gate(gate) => Self::Gate(Gate {
                threshold: gate.threshold,
                children: gate.children.iter().map(|(votes, child)| (*votes, child.renamed(to))).collect(),
            }),
        }
    }
}

impl From<Node> for Expr {
    fn from(node: Node) -> Self {
        Self::Leaf(node)
    }
}

impl From<&Self> for Expr {
    fn from(expr: &Self) -> Self {
        expr.clone()
    }
}

/// The gate in normal form; the threshold is between 1 and the sum of the votes, and every member has a vote.
fn normal(threshold: u32, mut children: Vec<(u32, Expr)>) -> Expr {
    let threshold = reduce_votes(threshold, &mut children);
    if children.len() == 1 {
        return children.swap_remove(0).1;
    }
    let mut gate = Gate { threshold, children };
    if gate.is_or() {
        gate.children = flatten(gate.children, Gate::is_or);
    } else if gate.is_and() {
        gate.children = flatten(gate.children, Gate::is_and);
        gate.threshold = gate.total();
    }
    Expr::Gate(gate)
}

/// Reduces votes that never decide: a member needs no more votes than the threshold, nor more than it takes to block
/// all others; members that must all be there, or of which one is enough, have one vote each; common factors go.
fn reduce_votes(mut threshold: u32, children: &mut [(u32, Expr)]) -> u32 {
    loop {
        let before = threshold;
        let mut changed = false;
        for i in 0..children.len() {
            let votes = children[i].0;
            let total: u32 = children.iter().map(|(votes, _)| votes).sum();
            let blocking = total - threshold + 1;
            if votes > threshold {
                children[i].0 = threshold;
                changed = true;
            } else if votes > blocking {
                threshold -= votes - blocking;
                children[i].0 = blocking;
                changed = true;
            }
        }
        let total: u32 = children.iter().map(|(votes, _)| votes).sum();
        let least = children.iter().map(|&(votes, _)| votes).min().unwrap_or(1);
        let divisor = children.iter().fold(0, |divisor, &(votes, _)| gcd(divisor, votes)).max(1);
        if threshold <= least && (least > 1 || total as usize > children.len()) {
            threshold = 1;
            for (votes, _) in children.iter_mut() {
                *votes = 1;
            }
        } else if total - least < threshold && total as usize > children.len() {
            threshold = u32::try_from(children.len()).expect("there are no more members than votes");
            for (votes, _) in children.iter_mut() {
                *votes = 1;
            }
        } else if divisor > 1 {
            threshold = threshold.div_ceil(divisor);
            for (votes, _) in children.iter_mut() {
                *votes /= divisor;
            }
        } else if !changed && before == threshold {
            return threshold;
        }
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Replaces members that are gates of the same kind by their members.
fn flatten(children: Vec<(u32, Expr)>, same: fn(&Gate) -> bool) -> Vec<(u32, Expr)> {
    let mut flat = Vec::with_capacity(children.len());
    for (votes, child) in children {
        match child {
            Expr::Gate(gate) if same(&gate) => flat.extend(gate.children),
            child => flat.push((votes, child)),
        }
    }
    flat
}

fn sum(a: Expr, b: Expr) -> Expr {
    normal(1, vec![(1, a), (1, b)])
}

fn product(a: Expr, b: Expr) -> Expr {
    normal(2, vec![(1, a), (1, b)])
}

macro_rules! operators {
    ($($left:ty, $right:ty;)*) => {$(
        impl Add<$right> for $left {
            type Output = Expr;
            fn add(self, other: $right) -> Expr {
                sum(self.into(), other.into())
            }
        }

        impl Mul<$right> for $left {
            type Output = Expr;
            fn mul(self, other: $right) -> Expr {
                product(self.into(), other.into())
            }
        }
    )*};
}

operators! {
    Node, Node; Node, Expr; Node, &Expr;
    Expr, Node; Expr, Expr; Expr, &Expr;
    &Expr, Node; &Expr, Expr; &Expr, &Expr;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> [Node; 5] {
        [0, 1, 2, 3, 4].map(|index| Node::new(index).unwrap())
    }

    #[test]
    fn sums_in_sums_and_products_in_products_are_flat() {
        let [a, b, c, d, _] = nodes();
        assert_eq!((a + b) + (c + d), Expr::any([a, b, c, d]).unwrap());
        assert_eq!(a * b * (c * d), Expr::all([a, b, c, d]).unwrap());
        assert_ne!(a * b + c, Expr::any([a, b, c]).unwrap());
    }

    #[test]
    fn votes_that_never_decide_are_reduced() {
        let [a, b, c, d, e] = nodes();
        let vote = |q, votes: &[(u64, Node)]| Expr::vote(q, votes.iter().copied()).unwrap();
        assert_eq!(vote(4, &[(2, a), (2, b), (2, c)]), Expr::choose(2, [a, b, c]).unwrap());
        assert_eq!(vote(3, &[(9, a), (5, b), (3, c)]), a + b + c);
        assert_eq!(vote(7, &[(4, a), (3, b)]), a * b);
        assert_eq!(vote(4, &[(3, a), (1, b), (1, c)]), vote(3, &[(2, a), (1, b), (1, c)]));
        assert_eq!(vote(2, &[(2, a), (1, b), (1, c), (1, d), (1, e)]).dual().dual().nodes().len(), 5);
    }

    #[test]
    fn the_dual_swaps_sum_and_product_and_complements_the_threshold() {
        let [a, b, c, d, e] = nodes();
        assert_eq!((a * b + c * d * e).dual(), (a + b) * (c + d + e));
        assert_eq!(Expr::choose(2, [a, b, c, d]).unwrap().dual(), Expr::choose(3, [a, b, c, d]).unwrap());
        let wheel = Expr::vote(4, [(3, a), (1, b), (1, c), (1, d), (1, e)]).unwrap();
        assert_eq!(wheel.dual(), wheel);
    }

    #[test]
    fn thresholds_and_votes_out_of_range_are_errors() {
        let [a, b, ..] = nodes();
        assert!(matches!(Expr::choose(0, [a, b]), Err(Error::BadThreshold { threshold: 0, total: 2 })));
        assert!(matches!(Expr::choose(3, [a, b]), Err(Error::BadThreshold { threshold: 3, total: 2 })));
        assert!(matches!(Expr::majority(Vec::<Node>::new()), Err(Error::Empty { .. })));
        assert!(matches!(Expr::vote(1, [(0, a)]), Err(Error::BadVotes { votes: 0, .. })));
        assert!(matches!(Expr::vote(1, [(u64::MAX, a), (u64::MAX, b)]), Err(Error::BadVotes { .. })));
        assert!(Node::new(128).is_err());
    }
}
