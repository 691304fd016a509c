//! A graph of commands instead of a log: which vertices may run, and in which order.
//!
//! A vertex is *committed* together with the vertices it depends on, once and for all, in any order and perhaps before
//! those. It is *eligible* when all that it reaches is committed. Eligible vertices run one strongly connected component
//! after another, each component after all that it reaches and sorted within. Since edges never change and a component
//! runs only when all that it reaches is known, no later commit can join or reorder what has run: of two vertices of which
//! one reaches the other, all who execute the graph run the same one first. ("Bipartisan Paxos", section 5.)
//!
//! - [`Executor`] finds out what may run, commit by commit. It knows no protocol; a vertex is whatever can be ordered.
//! - [`components`] finds out the same from scratch. It is the oracle of the executor's tests.
//! - [`Vertices`] is what either must know of a set of vertices; [`VertexSet`] is one made of ranges of numbers, which
//!   stays small when sets are nearly contiguous, and `BTreeSet` another.

mod executor;
mod rescan;
mod set;

pub use executor::{Executor, Outcome};
pub use rescan::components;
pub use set::{Ids, NotASet, VertexId, VertexSet};

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Bound;

/// A set of vertices.
pub trait Vertices: Clone + Default {
    /// A vertex.
    type Vertex: Copy + Ord + Debug;

    /// Is the vertex a member?
    fn contains(&self, vertex: Self::Vertex) -> bool;

    /// Makes the vertex a member.
    fn insert(&mut self, vertex: Self::Vertex);

    /// The smallest member above `after` that is no member of `other`.
    fn next_outside(&self, other: &Self, after: Option<Self::Vertex>) -> Option<Self::Vertex>;

    /// The largest member that is no member of `other`.
    fn last_outside(&self, other: &Self) -> Option<Self::Vertex>;

    /// Makes all members of `other` members.
    fn add_all(&mut self, other: &Self);
}

impl<V: Copy + Ord + Debug> Vertices for BTreeSet<V> {
    type Vertex = V;

    fn contains(&self, vertex: V) -> bool {
        self.contains(&vertex)
    }

    fn insert(&mut self, vertex: V) {
        self.insert(vertex);
    }

    fn next_outside(&self, other: &Self, after: Option<V>) -> Option<V> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.range((from, Bound::Unbounded)).find(|vertex| !other.contains(vertex)).copied()
    }

    fn last_outside(&self, other: &Self) -> Option<V> {
        self.iter().rev().find(|vertex| !other.contains(vertex)).copied()
    }

    fn add_all(&mut self, other: &Self) {
        self.extend(other);
    }
}
