//! The quorums of an expression: minimal ones, how many crashes they survive, and the sets that survive them.
//!
//! Minimal quorums are built gate by gate. In a duplicate-free expression the product rule already yields every minimal
//! quorum once; otherwise supersets are dropped at each gate, so that no intermediate family is larger than it must be.
//!
//! A set is *f-resilient* when it is still a quorum after any `f` of its members crash (section 3.2 of the paper). A set
//! is a quorum exactly when it meets every quorum of the dual; so it is f-resilient exactly when it meets each of them in
//! more than `f` nodes. That makes the f-resilient sets the quorums of another expression, and needs no new search.

use crate::{Error, Expr, Gate, NodeSet, Result};

/// The most quorums that are enumerated.
pub const MAX_QUORUMS: usize = 1 << 20;

impl Expr {
    /// The quorums that contain no other, in ascending order of their bits.
    ///
    /// # Errors
    /// When there are more than [`MAX_QUORUMS`].
    pub fn minimal_quorums(&self) -> Result<Vec<NodeSet>> {
        let mut quorums =
            if self.is_dup_free() { family(self, false)? } else { minimal(family(self, true)?) };
        quorums.sort_unstable();
        Ok(quorums)
    }

    /// The largest number of nodes that can crash, whichever they are, while a quorum survives.
    ///
    /// # Errors
    /// When the expression repeats nodes and has more than [`MAX_QUORUMS`] minimal quorums.
    pub fn resilience(&self) -> Result<usize> {
        let kills =
            if self.is_dup_free() { kills(self) } else { smallest_hitting_set(&self.minimal_quorums()?) };
        Ok(kills - 1)
    }

    /// The expression whose quorums are the sets that are still quorums of this one after any `f` crashes; none if there
    /// is no such set.
    ///
    /// # Errors
    /// When the dual has more than [`MAX_QUORUMS`] minimal quorums.
    pub fn resilient(&self, f: usize) -> Result<Option<Self>> {
        if f == 0 {
            return Ok(Some(self.clone()));
        }
        let meet = |quorum: NodeSet| {
            Self::choose(
                f + 1,
                quorum.iter().map(|node| crate::Node::new(node).expect("a member of a node set")),
            )
        };
        let dual = self.dual().minimal_quorums()?;
        if dual.iter().any(|quorum| quorum.len() <= f) {
            return Ok(None);
        }
        Self::all(dual.into_iter().map(meet).collect::<Result<Vec<_>>>()?).map(Some)
    }
}

/// The members of `family` that contain no other member.
pub(crate) fn minimal(mut family: Vec<NodeSet>) -> Vec<NodeSet> {
    family.sort_unstable_by_key(|set| (set.len(), *set));
    family.dedup();
    let mut kept: Vec<NodeSet> = Vec::with_capacity(family.len());
    for set in family {
        if !kept.iter().any(|smaller| smaller.is_subset(set)) {
            kept.push(set);
        }
    }
    kept
}

/// The quorums of an expression; minimal and distinct if `absorb`, or if no node is repeated.
fn family(expr: &Expr, absorb: bool) -> Result<Vec<NodeSet>> {
    match expr {
        Expr::Leaf(node) => Ok(vec![NodeSet::single(node.index())]),
        Expr::Gate(gate) => gate_family(gate, absorb),
    }
}

/// `reached[v]` holds the sets with which the members seen so far have at least `v` votes.
fn gate_family(gate: &Gate, absorb: bool) -> Result<Vec<NodeSet>> {
    let threshold = gate.threshold() as usize;
    let mut reached: Vec<Vec<NodeSet>> = vec![Vec::new(); threshold + 1];
    reached[0].push(NodeSet::EMPTY);
    let mut rest = gate.total() as usize;
    for (votes, child) in gate.children() {
        let (votes, child) = (*votes as usize, family(child, absorb)?);
        rest -= votes;
        // Downwards, so that a member is counted once; levels that the rest cannot complete are dropped.
        for level in (1..=threshold).rev() {
            if level + rest < threshold {
                reached[level].clear();
                continue;
            }
            let below = &reached[level.saturating_sub(votes)];
            let size = below.len().saturating_mul(child.len()).saturating_add(reached[level].len());
            if size > MAX_QUORUMS {
                let (size, limit) = (size as u64, MAX_QUORUMS as u64);
                return Err(Error::TooLarge { what: "quorums to enumerate", size, limit });
            }
            let joined: Vec<NodeSet> =
                below.iter().flat_map(|a| child.iter().map(move |b| a.union(*b))).collect();
            let mut all = std::mem::take(&mut reached[level]);
            all.extend(joined);
            reached[level] = if absorb || !gate.is_unit() { minimal(all) } else { all };
        }
    }
    Ok(reached.swap_remove(threshold))
}

/// The fewest crashes after which no quorum is left, for an expression without repeated nodes.
fn kills(expr: &Expr) -> usize {
    let Expr::Gate(gate) = expr else { return 1 };
    let costs: Vec<(usize, usize)> =
        gate.children().iter().map(|(votes, child)| (*votes as usize, kills(child))).collect();
    let blocking = (gate.total() - gate.threshold() + 1) as usize;
    // cheapest[v]: the fewest crashes that take v votes away.
    let mut cheapest = vec![usize::MAX; blocking + 1];
    cheapest[0] = 0;
    for (votes, cost) in costs {
        for v in (1..=blocking).rev() {
            cheapest[v] = cheapest[v].min(cheapest[v.saturating_sub(votes)].saturating_add(cost));
        }
    }
    cheapest[blocking]
}

/// The size of the smallest set that meets every member of the family.
fn smallest_hitting_set(family: &[NodeSet]) -> usize {
    let all = family.iter().fold(NodeSet::EMPTY, |all, set| all.union(*set)).len();
    (1..all).find(|&size| can_hit(family, NodeSet::EMPTY, NodeSet::EMPTY, size)).unwrap_or(all)
}

/// Can `more` nodes besides `chosen`, none of them `excluded`, meet every member of the family?
fn can_hit(family: &[NodeSet], chosen: NodeSet, excluded: NodeSet, more: usize) -> bool {
    let unmet = family.iter().filter(|set| set.is_disjoint(chosen));
    let Some(hardest) = unmet.map(|set| set.difference(excluded)).min_by_key(|set| set.len()) else {
        return true;
    };
    if more == 0 {
        return false;
    }
    let mut excluded = excluded;
    hardest.iter().any(|node| {
        let found = can_hit(family, chosen.with(node), excluded, more - 1);
        excluded.insert(node);
        found
    })
}

/// How many sets of each size contain a quorum, by evaluating all subsets of the nodes that occur.
///
/// # Errors
/// When there are more than 24 nodes.
pub fn quorum_counts(expr: &Expr) -> Result<Vec<u64>> {
    let nodes: Vec<usize> = expr.nodes().iter().collect();
    if nodes.len() > 24 {
        return Err(Error::TooLarge {
            what: "nodes to enumerate subsets of",
            size: nodes.len() as u64,
            limit: 24,
        });
    }
    let mut counts = vec![0; nodes.len() + 1];
    for bits in 0_u32..1 << nodes.len() {
        let set: NodeSet =
            nodes.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, &node)| node).collect();
        counts[set.len()] += u64::from(expr.is_quorum(set));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cluster;

    fn expr(text: &str) -> Expr {
        Cluster::named(["a", "b", "c", "d", "e", "f"]).unwrap().parse(text).unwrap()
    }

    fn sets(names: &[&str]) -> Vec<NodeSet> {
        let set = |name: &&str| name.bytes().map(|c| usize::from(c - b'a')).collect();
        let mut sets: Vec<NodeSet> = names.iter().map(set).collect();
        sets.sort_unstable();
        sets
    }

    #[test]
    fn a_quorum_that_contains_another_is_not_minimal() {
        assert_eq!(expr("a*(a+b)").minimal_quorums().unwrap(), sets(&["a"]));
        assert_eq!(expr("a*b + choose(2, a, b, c)").minimal_quorums().unwrap(), sets(&["ab", "ac", "bc"]));
        assert_eq!(expr("vote(3; 2:a, 1:b, 1:c)").minimal_quorums().unwrap(), sets(&["ab", "ac"]));
        assert_eq!(expr("vote(3; 2:a, 2:b, 1:c)").minimal_quorums().unwrap(), sets(&["ab", "ac", "bc"]));
    }

    #[test]
    fn resilience_is_one_less_than_the_smallest_hitting_set() {
        for (text, resilience) in [
            ("a", 0),
            ("a + b + c", 2),
            ("majority(a, b, c, d, e)", 2),
            ("a*b + c*d", 1),
            ("a + a*b + b*c", 1),
            ("(a + b) * (c + d)", 1),
            ("a*b + a*c*e + d*e + d*c*b", 1),
            ("vote(3; 2:a, 1:b, 1:c)", 0),
            ("vote(3; 2:a, 2:b, 1:c, 1:d)", 1),
        ] {
            assert_eq!(expr(text).resilience().unwrap(), resilience, "{text}");
        }
    }

    #[test]
    fn resilient_sets_are_still_quorums_after_any_f_crashes() {
        let majority = expr("majority(a, b, c, d, e)");
        assert_eq!(
            majority.resilient(1).unwrap().unwrap().minimal_quorums().unwrap(),
            expr("choose(4, a, b, c, d, e)").minimal_quorums().unwrap()
        );
        assert_eq!(majority.resilient(3).unwrap(), None);
        assert_eq!(
            expr("a*b + c*d").resilient(1).unwrap().unwrap().minimal_quorums().unwrap(),
            sets(&["abcd"])
        );
    }

    #[test]
    fn too_many_quorums_are_an_error_and_not_an_exhausted_machine() {
        let cluster = Cluster::named((0..63).map(|i| format!("n{i}"))).unwrap();
        let majority = Expr::majority(cluster.nodes()).unwrap();
        assert!(matches!(majority.minimal_quorums(), Err(Error::TooLarge { .. })));
        assert_eq!(majority.resilience().unwrap(), 31);
    }
}
