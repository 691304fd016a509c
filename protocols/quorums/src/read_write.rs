//! Quorum systems from expressions, compiled so that a protocol can ask them at every message.
//!
//! A system is two expressions. If only one is given, the other is its dual, the largest family that meets it; if both
//! are given, they must meet (section 2 of the paper). Both are kept in a compiled form
//! ([`crate::tree`]) as well.

use crate::problem::Side;
use crate::tree::Compiled;
use crate::{Cluster, Error, Expr, NodeSet, QuorumSystem, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A read-write quorum system given by expressions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct ReadWriteQuorumSystem {
    reads: Arc<Compiled>,
    writes: Arc<Compiled>,
}

impl ReadWriteQuorumSystem {
    /// These read quorums, and as write quorums all sets that meet them.
    pub fn reads(reads: impl Into<Expr>) -> Self {
        let reads = reads.into();
        let writes = reads.dual();
        Self::unchecked(reads, writes)
    }

    /// These write quorums, and as read quorums all sets that meet them.
    pub fn writes(writes: impl Into<Expr>) -> Self {
        let writes = writes.into();
        let reads = writes.dual();
        Self::unchecked(reads, writes)
    }

    /// These read quorums and these write quorums.
    ///
    /// # Errors
    /// When a read quorum and a write quorum have no common node (the error names the two), or both sides have too many
    /// quorums to find out.
    pub fn both(reads: impl Into<Expr>, writes: impl Into<Expr>) -> Result<Self> {
        let (reads, writes) = (reads.into(), writes.into());
        match disjoint_quorums(&reads, &writes)? {
            None => Ok(Self::unchecked(reads, writes)),
            Some((read, write)) => {
                Err(Error::NotIntersecting { read: format!("{read:?}"), write: format!("{write:?}") })
            }
        }
    }

    /// Reads a system from expressions over the nodes of a cluster.
    ///
    /// # Errors
    /// When neither side is given, one cannot be read, or the two do not meet.
    ///
    /// ```
    /// use parthood_quorums::{Cluster, NodeSet, QuorumSystem, ReadWriteQuorumSystem};
    /// let cluster = Cluster::named(["a", "b", "c"])?;
    /// let system = ReadWriteQuorumSystem::parse(&cluster, Some("majority(a, b, c)"), None)?;
    /// assert!(system.is_write_quorum([0, 2].into_iter().collect()));
    /// assert!(!system.is_read_quorum(NodeSet::single(1)));
    /// # Ok::<(), parthood_quorums::Error>(())
    /// ```
    pub fn parse(cluster: &Cluster, reads: Option<&str>, writes: Option<&str>) -> Result<Self> {
        let reads = reads.map(|text| cluster.parse(text)).transpose()?;
        let writes = writes.map(|text| cluster.parse(text)).transpose()?;
        match (reads, writes) {
            (None, None) => Err(Error::NoQuorums),
            (Some(reads), None) => Ok(Self::reads(reads)),
            (None, Some(writes)) => Ok(Self::writes(writes)),
            (Some(reads), Some(writes)) => match disjoint_quorums(&reads, &writes)? {
                None => Ok(Self::unchecked(reads, writes)),
                Some((read, write)) => Err(Error::NotIntersecting {
                    read: cluster.show_set(read),
                    write: cluster.show_set(write),
                }),
            },
        }
    }

    /// A system of explicit quorums.
    ///
    /// # Errors
    /// When a side has no quorum or an empty one, or two quorums do not meet.
    pub fn of_sets(reads: &[NodeSet], writes: &[NodeSet]) -> Result<Self> {
        Self::both(any_of(reads)?, any_of(writes)?)
    }

    /// The expression of the read quorums.
    pub fn read_expr(&self) -> &Expr {
        &self.reads.expr
    }

    /// The expression of the write quorums.
    pub fn write_expr(&self) -> &Expr {
        &self.writes.expr
    }

    /// One side, compiled.
    pub(crate) fn side(&self, side: Side) -> &Arc<Compiled> {
        if side == Side::Read { &self.reads } else { &self.writes }
    }

    /// The most crashes, wherever they are, that leave a read quorum and a write quorum (the paper's fault tolerance).
    ///
    /// # Errors
    /// When a side repeats nodes and has too many quorums.
    pub fn resilience(&self) -> Result<usize> {
        Ok(self.read_expr().resilience()?.min(self.write_expr().resilience()?))
    }

    /// Do any two write quorums meet as well? Protocols that need it, such as those with a register that several clients
    /// write without rounds, must ask.
    ///
    /// # Errors
    /// When the write quorums are too many to find out.
    pub fn writes_meet_each_other(&self) -> Result<bool> {
        Ok(disjoint_quorums(self.write_expr(), self.write_expr())?.is_none())
    }

    /// Is every set that meets all read quorums a write quorum? Then no write quorum could be added.
    ///
    /// # Errors
    /// When the quorums are too many to find out.
    pub fn is_maximal(&self) -> Result<bool> {
        let dual = self.read_expr().dual();
        let all_are_writes = || Ok(dual.minimal_quorums()?.into_iter().all(|set| self.is_write_quorum(set)));
        if dual == *self.write_expr() { Ok(true) } else { all_are_writes() }
    }

    /// The fewest nodes that a read quorum and a write quorum have in common.
    ///
    /// # Errors
    /// When a side has too many quorums.
    pub fn least_overlap(&self) -> Result<usize> {
        let writes = self.write_expr().minimal_quorums()?;
        let meet = |read: NodeSet| writes.iter().map(|write| read.intersection(*write).len()).min();
        Ok(self.read_expr().minimal_quorums()?.into_iter().filter_map(meet).min().unwrap_or(0))
    }

    fn unchecked(reads: Expr, writes: Expr) -> Self {
        Self { reads: Arc::new(Compiled::new(reads)), writes: Arc::new(Compiled::new(writes)) }
    }
}

impl QuorumSystem for ReadWriteQuorumSystem {
    fn nodes(&self) -> NodeSet {
        self.reads.nodes.union(self.writes.nodes)
    }

    fn is_read_quorum(&self, nodes: NodeSet) -> bool {
        self.reads.tree.holds(nodes)
    }

    fn is_write_quorum(&self, nodes: NodeSet) -> bool {
        self.writes.tree.holds(nodes)
    }
}

/// A system in serialised form: expressions with node `i` written as `n<i>`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    reads: String,
    writes: String,
}

impl From<ReadWriteQuorumSystem> for Text {
    fn from(system: ReadWriteQuorumSystem) -> Self {
        Self { reads: system.read_expr().to_string(), writes: system.write_expr().to_string() }
    }
}

impl TryFrom<Text> for ReadWriteQuorumSystem {
    type Error = Error;

    fn try_from(text: Text) -> Result<Self> {
        let numbered = Cluster::named((0..NodeSet::CAPACITY).map(|i| format!("n{i}")))?;
        Self::parse(&numbered, Some(&text.reads), Some(&text.writes))
    }
}

fn any_of(sets: &[NodeSet]) -> Result<Expr> {
    let all =
        |set: &NodeSet| Expr::all(set.iter().map(|i| crate::Node::new(i).expect("a member of a node set")));
    Expr::any(sets.iter().map(all).collect::<Result<Vec<_>>>()?)
}

/// A quorum of each expression, the two without a common node.
fn disjoint_quorums(reads: &Expr, writes: &Expr) -> Result<Option<(NodeSet, NodeSet)>> {
    if certainly_meet(reads, writes) {
        return Ok(None);
    }
    let all = reads.nodes().union(writes.nodes());
    let shrink = |expr: &Expr, set: NodeSet| {
        set.iter().fold(set, |set, i| if expr.is_quorum(set.without(i)) { set.without(i) } else { set })
    };
    let split = |quorums: Vec<NodeSet>, other: &Expr| {
        let set = quorums.into_iter().find(|set| other.is_quorum(all.difference(*set)))?;
        Some((set, shrink(other, all.difference(set))))
    };
    match reads.minimal_quorums() {
        Ok(quorums) => Ok(split(quorums, writes)),
        Err(_) => Ok(split(writes.minimal_quorums()?, reads).map(|(write, read)| (read, write))),
    }
}

/// Two gates over the same members meet if any two sufficient groups of members share one, and each member meets itself.
/// It says nothing when it is false; it spares the enumeration of large systems when it is true.
fn certainly_meet(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Leaf(a), Expr::Leaf(b)) => a == b,
        (Expr::Gate(a), Expr::Gate(b)) => {
            a.children().len() == b.children().len()
                && a.threshold() + b.threshold() > a.total()
                && a.children().iter().zip(b.children()).all(|((votes, child), (other_votes, other))| {
                    votes == other_votes && certainly_meet(child, other)
                })
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        Cluster::named(["a", "b", "c", "d", "e"]).unwrap()
    }

    #[test]
    fn quorums_that_do_not_intersect_are_named() {
        let parse = |reads, writes| ReadWriteQuorumSystem::parse(&cluster(), Some(reads), Some(writes));
        let error = parse("a + b*c", "a*b + a*d").unwrap_err().to_string();
        assert_eq!(error, "read quorum {b, c} and write quorum {a, d} have no node in common");
        assert!(parse("a + b*c", "a*b + a*c").is_ok());
    }

    #[test]
    fn compiled_tests_agree_with_the_expression_on_every_set() {
        for text in [
            "a",
            "majority(a, b, c, d, e)",
            "a*b + c*d*e",
            "vote(4; 3:a, 1:b, 1:c, 1:d, 1:e)",
            "choose(2, a, a, b, c*d)",
            "choose(2, a*b, b + c, choose(2, a, d, e))",
        ] {
            let expr = cluster().parse(text).unwrap();
            let system = ReadWriteQuorumSystem::reads(expr.clone());
            for bits in 0..1 << 5 {
                let set = NodeSet::from_bits(bits);
                assert_eq!(system.is_read_quorum(set), expr.is_quorum(set), "{text} {set:?}");
                let rest = NodeSet::first(5).difference(set);
                assert_eq!(system.is_write_quorum(set), !expr.is_quorum(rest), "{text} {set:?}");
            }
        }
    }

    #[test]
    fn large_systems_given_on_both_sides_need_no_enumeration() {
        let cluster = Cluster::named((0..63).map(|i| format!("n{i}"))).unwrap();
        let majority = Expr::majority(cluster.nodes()).unwrap();
        assert!(ReadWriteQuorumSystem::both(&majority, &majority).is_ok());
    }

    #[test]
    fn a_system_survives_serialisation() {
        let system =
            ReadWriteQuorumSystem::parse(&cluster(), Some("a*b + vote(3; 2:c, 1:d, 1:e)"), None).unwrap();
        let text = serde_json::to_string(&system).unwrap();
        assert_eq!(serde_json::from_str::<ReadWriteQuorumSystem>(&text).unwrap(), system);
        assert!(serde_json::from_str::<ReadWriteQuorumSystem>(r#"{"reads":"n0","writes":"n1"}"#).is_err());
    }

    #[test]
    fn a_smaller_write_family_is_not_maximal() {
        let parse = |reads, writes| ReadWriteQuorumSystem::parse(&cluster(), Some(reads), writes).unwrap();
        assert!(parse("a + b", None).is_maximal().unwrap());
        assert!(!parse("a", Some("a*b")).is_maximal().unwrap());
        assert_eq!(
            parse("choose(4, a, b, c, d, e)", Some("choose(4, a, b, c, d, e)")).least_overlap().unwrap(),
            3
        );
        assert!(parse("majority(a, b, c)", None).writes_meet_each_other().unwrap());
        assert!(!parse("a*b", None).writes_meet_each_other().unwrap());
    }
}
