//! How likely a system answers when nodes and zones fail.
//!
//! Nodes fail independently of each other, given the zones that are up. In a duplicate-free expression the members of a gate
//! are independent, so the probability follows gate by gate, with the distribution of votes at each. Where nodes repeat, or
//! reads and writes are asked for together, all states of up to [`MAX_STATES_OF`] nodes are summed.

use crate::{Cluster, Error, Expr, NodeSet, QuorumSystem, ReadWriteQuorumSystem, Result, Workload};
use std::collections::BTreeMap;

/// The most nodes whose states are summed one by one.
pub const MAX_STATES_OF: usize = 20;
/// The most zones that can fail.
const MAX_ZONES: usize = 12;

/// The probabilities that quorums are up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Availability {
    /// A read quorum is up.
    pub read: f64,
    /// A write quorum is up.
    pub write: f64,
    /// A read quorum and a write quorum are up, if the nodes are few enough to tell.
    pub both: Option<f64>,
}

impl Availability {
    /// The probability that a command finds its quorum.
    pub fn of(&self, workload: &Workload) -> f64 {
        let read = workload.mean();
        read * self.read + (1.0 - read) * self.write
    }
}

/// The probability that the nodes that are up contain a quorum, when node `i` is up with probability `up[i]`.
///
/// # Errors
/// When nodes repeat and there are more than [`MAX_STATES_OF`].
pub fn reliability(expr: &Expr, up: &[f64]) -> Result<f64> {
    if expr.is_dup_free() {
        return Ok(by_gates(expr, up));
    }
    by_states(expr.nodes(), up, |set| expr.is_quorum(set))
}

impl ReadWriteQuorumSystem {
    /// The probabilities that quorums are up. Nodes are up with the probability of their attributes if their zone is; a zone
    /// is up with the probability given here, or always.
    ///
    /// # Errors
    /// When a probability is not between 0 and 1, there are too many zones, or too many nodes that repeat.
    pub fn availability(&self, cluster: &Cluster, zone_up: &BTreeMap<String, f64>) -> Result<Availability> {
        for (zone, up) in zone_up {
            if !(0.0..=1.0).contains(up) {
                let (node, attribute, range) =
                    (zone.clone(), "the zone's probability of being up", "between 0 and 1");
                return Err(Error::BadAttribute { node, attribute, value: *up, range });
            }
        }
        let zones: Vec<(&String, f64)> = zone_up.iter().map(|(zone, up)| (zone, *up)).collect();
        if zones.len() > MAX_ZONES {
            let (size, limit) = (zones.len() as u64, MAX_ZONES as u64);
            return Err(Error::TooLarge { what: "zones that can fail", size, limit });
        }
        let mut total = Availability {
            read: 0.0,
            write: 0.0,
            both: (self.nodes().len() <= MAX_STATES_OF).then_some(0.0),
        };
        for state in 0..1_usize << zones.len() {
            let is_up = |i: usize| state >> i & 1 == 1;
            let probability: f64 =
                zones.iter().enumerate().map(|(i, (_, up))| if is_up(i) { *up } else { 1.0 - up }).product();
            let dark = |zone: &Option<String>| {
                zones.iter().enumerate().any(|(i, (name, _))| !is_up(i) && zone.as_ref() == Some(*name))
            };
            let up: Vec<f64> =
                cluster.iter().map(|node| if dark(&node.zone) { 0.0 } else { node.up }).collect();
            total.read += probability * reliability(self.read_expr(), &up)?;
            total.write += probability * reliability(self.write_expr(), &up)?;
            if let Some(both) = &mut total.both {
                let quorums = |set| self.is_read_quorum(set) && self.is_write_quorum(set);
                *both += probability * by_states(self.nodes(), &up, quorums)?;
            }
        }
        Ok(total)
    }

    /// The most crashes that can be survived on top of the loss of any one zone; none if the loss of a zone alone can stop
    /// reads or writes. Nodes without a zone are in no zone.
    ///
    /// # Errors
    /// When nodes repeat and there are too many quorums.
    pub fn resilience_beyond_a_zone(&self, cluster: &Cluster) -> Result<Option<usize>> {
        let mut zones: BTreeMap<&str, NodeSet> = BTreeMap::new();
        for (index, node) in cluster.iter().enumerate() {
            if let Some(zone) = &node.zone {
                zones.entry(zone).or_default().insert(index);
            }
        }
        let mut least = self.resilience()?;
        for lost in zones.into_values() {
            for side in [self.read_expr(), self.write_expr()] {
                let Some(rest) = side.without(lost) else { return Ok(None) };
                least = least.min(rest.resilience()?);
            }
        }
        Ok(Some(least))
    }
}

impl Expr {
    /// The quorums that contain none of these nodes; none if every quorum does.
    pub fn without(&self, lost: NodeSet) -> Option<Self> {
        match self {
            Self::Leaf(node) => (!lost.contains(node.index())).then(|| self.clone()),
            Self::Gate(gate) => {
                let rest = gate
                    .children()
                    .iter()
                    .filter_map(|(votes, child)| Some((u64::from(*votes), child.without(lost)?)));
                Self::vote(u64::from(gate.threshold()), rest.collect::<Vec<_>>()).ok()
            }
        }
    }
}

fn by_gates(expr: &Expr, up: &[f64]) -> f64 {
    let gate = match expr {
        Expr::Leaf(node) => return up.get(node.index()).copied().unwrap_or(0.0),
        Expr::Gate(gate) => gate,
    };
    let threshold = gate.threshold() as usize;
    // The probability of each number of votes, the last of all numbers that reach the threshold.
    let mut votes_up = vec![0.0; threshold + 1];
    votes_up[0] = 1.0;
    for (votes, child) in gate.children() {
        let p = by_gates(child, up);
        for reached in (0..=threshold).rev() {
            let gained = votes_up[reached] * p;
            if reached < threshold {
                votes_up[reached] -= gained;
                votes_up[(reached + *votes as usize).min(threshold)] += gained;
            }
        }
    }
    votes_up[threshold]
}

fn by_states(nodes: NodeSet, up: &[f64], holds: impl Fn(NodeSet) -> bool) -> Result<f64> {
    if nodes.len() > MAX_STATES_OF {
        let (size, limit) = (nodes.len() as u64, MAX_STATES_OF as u64);
        return Err(Error::TooLarge { what: "nodes whose states are summed", size, limit });
    }
    let probability = |node: usize| up.get(node).copied().unwrap_or(0.0);
    let mut stack = vec![(NodeSet::EMPTY, nodes, 1.0)];
    let mut total = 0.0;
    while let Some((alive, open, weight)) = stack.pop() {
        if weight == 0.0 || !holds(alive.union(open)) {
            continue;
        }
        let next = open.iter().next();
        match next {
            _ if holds(alive) => total += weight,
            None => {}
            Some(node) => {
                let (p, rest) = (probability(node), open.without(node));
                stack.push((alive, rest, weight * (1.0 - p)));
                stack.push((alive.with(node), rest, weight * p));
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attributes;

    fn cluster(zones: [&str; 5]) -> Cluster {
        let mut cluster = Cluster::new();
        for (i, (name, zone)) in ["a", "b", "c", "d", "e"].into_iter().zip(zones).enumerate() {
            let up = [0.9, 0.8, 0.95, 0.7, 0.99][i];
            cluster.add(name, Attributes::default().up(up).zone(zone)).unwrap();
        }
        cluster
    }

    #[test]
    fn reliability_is_the_sum_over_all_states() {
        let cluster = cluster(["x"; 5]);
        let up: Vec<f64> = cluster.iter().map(|node| node.up).collect();
        for text in [
            "majority(a,b,c,d,e)",
            "a*b + c*d*e",
            "vote(4; 3:a, 1:b, 1:c, 2:d, 1:e)",
            "a*b + a*c*e + d*e + d*c*b",
        ] {
            let expr = cluster.parse(text).unwrap();
            let probability = |bits: u128| -> f64 {
                up.iter().enumerate().map(|(i, p)| if bits >> i & 1 == 1 { *p } else { 1.0 - p }).product()
            };
            let states = (0..32).filter(|&bits| expr.is_quorum(NodeSet::from_bits(bits)));
            let expected: f64 = states.map(probability).sum();
            assert!((reliability(&expr, &up).unwrap() - expected).abs() < 1e-12, "{text}");
            assert!(
                (by_states(expr.nodes(), &up, |set| expr.is_quorum(set)).unwrap() - expected).abs() < 1e-12
            );
        }
    }

    #[test]
    fn a_failing_zone_takes_its_nodes_with_it() {
        let cluster = cluster(["x", "x", "x", "y", "z"]);
        let majority = ReadWriteQuorumSystem::parse(&cluster, Some("majority(a,b,c,d,e)"), None).unwrap();
        let down = BTreeMap::from([("x".to_owned(), 0.0)]);
        assert!(majority.availability(&cluster, &down).unwrap().read.abs() < 1e-15);
        let half = majority.availability(&cluster, &BTreeMap::from([("x".to_owned(), 0.5)])).unwrap();
        let whole = majority.availability(&cluster, &BTreeMap::new()).unwrap();
        assert!((half.read - whole.read / 2.0).abs() < 1e-12);
        assert!((whole.both.unwrap() - whole.read).abs() < 1e-12, "a majority reads exactly when one writes");
        assert_eq!(majority.resilience_beyond_a_zone(&cluster).unwrap(), None);
    }

    #[test]
    fn a_majority_in_five_zones_survives_a_zone_and_a_node_more() {
        let cluster = cluster(["v", "w", "x", "y", "z"]);
        let majority = ReadWriteQuorumSystem::parse(&cluster, Some("majority(a,b,c,d,e)"), None).unwrap();
        assert_eq!(majority.resilience_beyond_a_zone(&cluster).unwrap(), Some(1));
    }
}
