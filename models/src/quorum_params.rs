//! Quorum systems as parameters of a configuration.

use parthood_quorums::{Cluster, Majority, NodeSet, QuorumSystem, ReadWriteQuorumSystem};
use serde::Deserialize;
use std::sync::Arc;

/// The most nodes in a configuration: facts about quorums are established by trying all sets.
pub(crate) const NODES_MAX: usize = 12;

/// A quorum system, as expressions; one of the two sides follows from the other if it is left out.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuorumParams {
    /// The read quorums.
    #[serde(default)]
    pub reads: Option<String>,
    /// The write quorums.
    #[serde(default)]
    pub writes: Option<String>,
    /// Take the expressions as they are, although they do not intersect: for a mutant.
    #[serde(default)]
    pub unchecked: bool,
}

impl QuorumParams {
    /// The system over nodes that expressions call `prefix` and a number from 0.
    pub(crate) fn system(&self, prefix: char, nodes: usize) -> Result<Arc<dyn QuorumSystem>, String> {
        let names = (0..nodes).map(|node| format!("{prefix}{node}"));
        let cluster = Cluster::named(names).map_err(|error| error.to_string())?;
        let parse = |reads: Option<&str>, writes: Option<&str>| {
            ReadWriteQuorumSystem::parse(&cluster, reads, writes).map_err(|error| error.to_string())
        };
        if !self.unchecked {
            return Ok(Arc::new(parse(self.reads.as_deref(), self.writes.as_deref())?));
        }
        let side = |text: &Option<String>| {
            let text = text.as_deref().ok_or("unchecked quorums need both sides")?;
            parse(Some(text), None)
        };
        Ok(Arc::new(Unchecked { reads: side(&self.reads)?, writes: side(&self.writes)? }))
    }
}

/// The system that is meant when nothing is said.
pub(crate) fn majority(nodes: usize) -> Arc<dyn QuorumSystem> {
    Arc::new(Majority::new(nodes))
}

/// Quorums that need not intersect: the read quorums of two systems.
#[derive(Debug)]
struct Unchecked {
    reads: ReadWriteQuorumSystem,
    writes: ReadWriteQuorumSystem,
}

impl QuorumSystem for Unchecked {
    fn nodes(&self) -> NodeSet {
        self.reads.nodes().union(self.writes.nodes())
    }

    fn is_read_quorum(&self, nodes: NodeSet) -> bool {
        self.reads.is_read_quorum(nodes)
    }

    fn is_write_quorum(&self, nodes: NodeSet) -> bool {
        self.writes.is_read_quorum(nodes)
    }
}

/// Every set of nodes `0..nodes`.
fn subsets(nodes: usize) -> impl Iterator<Item = NodeSet> {
    (0..1_u128 << nodes).map(NodeSet::from_bits)
}

/// Does every read quorum meet every write quorum?
pub(crate) fn intersect(system: &dyn QuorumSystem, nodes: usize) -> bool {
    let everyone = NodeSet::first(nodes);
    subsets(nodes)
        .all(|set| !(system.is_read_quorum(set) && system.is_write_quorum(everyone.difference(set))))
}

/// The smallest sets that are quorums, in ascending order.
pub(crate) fn minimal(nodes: usize, is_quorum: impl Fn(NodeSet) -> bool) -> Vec<NodeSet> {
    let is_minimal = |set: &NodeSet| is_quorum(*set) && set.iter().all(|node| !is_quorum(set.without(node)));
    subsets(nodes).filter(is_minimal).collect()
}

/// Groups of nodes of which any two may change places without the system noticing.
pub(crate) fn interchangeable(system: &dyn QuorumSystem, nodes: usize) -> Vec<Vec<usize>> {
    let swap = |set: NodeSet, a: usize, b: usize| {
        let put = |set: NodeSet, at: usize, is_in: bool| if is_in { set.with(at) } else { set.without(at) };
        put(put(set, a, set.contains(b)), b, set.contains(a))
    };
    let alike = |a: usize, b: usize| {
        subsets(nodes).all(|set| {
            let swapped = swap(set, a, b);
            system.is_read_quorum(set) == system.is_read_quorum(swapped)
                && system.is_write_quorum(set) == system.is_write_quorum(swapped)
        })
    };
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for node in 0..nodes {
        match groups.iter_mut().find(|group| alike(group[0], node)) {
            Some(group) => group.push(node),
            None => groups.push(vec![node]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(reads: &str, writes: Option<&str>, unchecked: bool) -> QuorumParams {
        QuorumParams { reads: Some(reads.into()), writes: writes.map(Into::into), unchecked }
    }

    #[test]
    fn nodes_of_a_majority_are_alike_and_cells_of_a_grid_are_not() {
        assert_eq!(interchangeable(&*majority(3), 3), [[0, 1, 2]]);
        let grid = params("a0*a1 + a2*a3", None, false).system('a', 4).unwrap();
        assert_eq!(interchangeable(&*grid, 4), [[0, 1], [2, 3]]);
    }

    #[test]
    fn quorums_that_do_not_meet_are_refused_unless_a_mutant_wants_them() {
        assert!(params("a0", Some("a1"), false).system('a', 2).is_err());
        let broken = params("a0", Some("a1"), true).system('a', 2).unwrap();
        assert!(!intersect(&*broken, 2));
        assert!(intersect(&*majority(4), 4));
    }
}
