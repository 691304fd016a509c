//! Sets of nodes as one machine word.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A set of nodes, each an index below [`NodeSet::CAPACITY`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeSet(u128);

impl NodeSet {
    /// The largest number of nodes a set can speak of.
    pub const CAPACITY: usize = 128;
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// The nodes `0..n`.
    ///
    /// # Panics
    /// When `n` exceeds [`NodeSet::CAPACITY`].
    pub fn first(n: usize) -> Self {
        assert!(n <= Self::CAPACITY, "{n} nodes exceed the {} a set holds", Self::CAPACITY);
        if n == Self::CAPACITY { Self(u128::MAX) } else { Self((1 << n) - 1) }
    }

    /// The set of one node.
    pub fn single(node: usize) -> Self {
        Self::EMPTY.with(node)
    }

    /// The set from the bits of a word: bit `i` stands for node `i`.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits of this set: bit `i` stands for node `i`.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// This set and one node more.
    ///
    /// # Panics
    /// When `node` is not below [`NodeSet::CAPACITY`].
    #[must_use]
    pub fn with(self, node: usize) -> Self {
        assert!(node < Self::CAPACITY, "node {node} exceeds the {} a set holds", Self::CAPACITY);
        Self(self.0 | 1 << node)
    }

    /// This set without one node.
    #[must_use]
    pub const fn without(self, node: usize) -> Self {
        if node < Self::CAPACITY { Self(self.0 & !(1 << node)) } else { self }
    }

    /// Adds a node; true if it is new.
    pub fn insert(&mut self, node: usize) -> bool {
        let before = *self;
        *self = self.with(node);
        *self != before
    }

    /// Is the node a member?
    pub const fn contains(self, node: usize) -> bool {
        node < Self::CAPACITY && self.0 >> node & 1 == 1
    }

    /// The number of members.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Has it no member?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Members of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Members of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Members of this one only.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Is every member also one of `other`?
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Have the two no member in common?
    pub const fn is_disjoint(self, other: Self) -> bool {
        self.0 & other.0 == 0
    }

    /// The members in ascending order.
    #[allow(clippy::cast_possible_truncation, reason = "each half takes the bits it has room for")]
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        // By halves, since a machine word has 64 bits.
        let mut halves = [self.0 as u64, (self.0 >> 64) as u64];
        std::iter::from_fn(move || {
            let (half, first) = if halves[0] != 0 { (&mut halves[0], 0) } else { (&mut halves[1], 64) };
            let node = (*half != 0).then(|| first + half.trailing_zeros() as usize)?;
            *half &= *half - 1;
            Some(node)
        })
    }
}

impl FromIterator<usize> for NodeSet {
    fn from_iter<I: IntoIterator<Item = usize>>(nodes: I) -> Self {
        nodes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
