//! Strategies: how often each quorum is contacted, and what follows for load, capacity, network and latency.
//!
//! A strategy is a pair of probability distributions, one over read quorums and one over write quorums (section 2 of the
//! paper). It carries the capacities of its nodes and the latencies of its quorums, so that every metric follows from it
//! alone. For a distribution of read fractions load, network load and latency are expectations. The paper's capacity is the
//! expectation of 1/load, which is not the inverse of the expected load; both are here.

use crate::number::count;
use crate::problem::Side;
use crate::source::{Source, survives};
use crate::{Cluster, Error, Node, NodeSet, QuorumSystem, ReadWriteQuorumSystem, Result, Workload};

/// Probabilities below this are dropped from a solver's answer.
const LEAST_PROBABILITY: f64 = 1e-12;

/// A quorum and how often it is contacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The nodes that are contacted.
    pub nodes: NodeSet,
    /// Its share of all reads, or of all writes.
    pub probability: f64,
    /// Seconds until a quorum among the contacted nodes has answered.
    pub latency: f64,
}

/// How often each quorum is contacted.
#[derive(Clone, Debug, PartialEq)]
pub struct Strategy {
    reads: Vec<Choice>,
    writes: Vec<Choice>,
    /// By node: the probability that a read or a write contacts it, and its capacities.
    duties: Vec<Duty>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Duty {
    read: f64,
    write: f64,
    read_capacity: f64,
    write_capacity: f64,
}

impl Strategy {
    /// A strategy from weights, which are normalised. Sets may be larger than minimal quorums.
    ///
    /// # Errors
    /// When a set is no quorum, a weight is negative or not finite, or the weights of a side sum to nothing.
    pub fn new(
        system: &ReadWriteQuorumSystem,
        cluster: &Cluster,
        reads: &[(NodeSet, f64)],
        writes: &[(NodeSet, f64)],
    ) -> Result<Self> {
        for (side, sets) in [("read", reads), ("write", writes)] {
            for (set, _) in sets {
                let quorum =
                    if side == "read" { system.is_read_quorum(*set) } else { system.is_write_quorum(*set) };
                if !quorum || set.iter().any(|node| node >= cluster.len()) {
                    return Err(Error::NotAQuorum { side, set: cluster.show_set(*set) });
                }
            }
        }
        let latencies = |side, sets: &[(NodeSet, f64)]| -> Result<Vec<Choice>> {
            let (quorums, times) = (system.side(side), cluster.iter().map(|node| node.latency).collect());
            let source = Source::new(quorums, times, quorums.nodes, 0, false)?;
            let latency = |set| source.as_ref().map_or(f64::INFINITY, |source| source.latency(set));
            Ok(sets
                .iter()
                .map(|&(nodes, probability)| Choice { nodes, probability, latency: latency(nodes) })
                .collect())
        };
        let (reads, writes) = (latencies(Side::Read, reads)?, latencies(Side::Write, writes)?);
        Self::of_choices(&cluster.capacities(), reads, writes)
    }

    /// Every minimal set that survives `f` crashes, equally often.
    ///
    /// # Errors
    /// When there is no such set, or there are too many.
    pub fn uniform(system: &ReadWriteQuorumSystem, cluster: &Cluster, f: usize) -> Result<Self> {
        let sets = |side, expr: &crate::Expr| -> Result<Vec<(NodeSet, f64)>> {
            let resilient = expr.resilient(f)?.ok_or(Error::NoResilientSet { side, f, failed: 0 })?;
            Ok(resilient.minimal_quorums()?.into_iter().map(|set| (set, 1.0)).collect())
        };
        Self::new(system, cluster, &sets("read", system.read_expr())?, &sets("write", system.write_expr())?)
    }

    pub(crate) fn of_choices(
        capacities: &[(f64, f64)],
        reads: Vec<Choice>,
        writes: Vec<Choice>,
    ) -> Result<Self> {
        let (reads, writes) = (normalised("read quorums", reads)?, normalised("write quorums", writes)?);
        let contacted = |choices: &[Choice], node: usize| {
            let contacts = choices.iter().filter(|choice| choice.nodes.contains(node));
            // The sum of nothing would be minus zero.
            contacts.fold(0.0, |sum, choice| sum + choice.probability)
        };
        let duty = |(node, &(read_capacity, write_capacity)): (usize, &(f64, f64))| Duty {
            read: contacted(&reads, node),
            write: contacted(&writes, node),
            read_capacity,
            write_capacity,
        };
        let duties = capacities.iter().enumerate().map(duty).collect();
        Ok(Self { reads, writes, duties })
    }

    /// The read quorums that are contacted, in ascending order.
    pub fn reads(&self) -> &[Choice] {
        &self.reads
    }

    /// The write quorums that are contacted, in ascending order.
    pub fn writes(&self) -> &[Choice] {
        &self.writes
    }

    /// The quorums of one side.
    pub fn choices(&self, side: Side) -> &[Choice] {
        if side == Side::Read { &self.reads } else { &self.writes }
    }

    /// The load of the busiest node, in seconds of its work per command.
    pub fn load(&self, workload: &Workload) -> f64 {
        workload.over(|read| self.load_at(read))
    }

    /// The paper's capacity in commands per second: the expectation, or the least, of 1/load.
    pub fn capacity(&self, workload: &Workload) -> f64 {
        match workload {
            Workload::Expected(_) => workload.over(|read| 1.0 / self.load_at(read)),
            Workload::Worst(..) => 1.0 / self.load(workload),
        }
    }

    /// The inverse of the load, in commands per second: what the nodes sustain if read fractions take turns.
    pub fn sustained_capacity(&self, workload: &Workload) -> f64 {
        1.0 / self.load(workload)
    }

    /// The number of nodes contacted per command.
    pub fn network_load(&self, workload: &Workload) -> f64 {
        let size = |choices: &[Choice]| -> f64 {
            choices.iter().map(|c| c.probability * count(c.nodes.len())).sum()
        };
        let (reads, writes) = (size(&self.reads), size(&self.writes));
        workload.over(|read| read * reads + (1.0 - read) * writes)
    }

    /// The seconds until a quorum has answered.
    pub fn latency(&self, workload: &Workload) -> f64 {
        let time = |choices: &[Choice]| -> f64 { choices.iter().map(|c| c.probability * c.latency).sum() };
        let (reads, writes) = (time(&self.reads), time(&self.writes));
        workload.over(|read| read * reads + (1.0 - read) * writes)
    }

    /// The load of one node, in seconds of its work per command.
    pub fn node_load(&self, node: Node, workload: &Workload) -> f64 {
        workload.over(|read| self.node_load_at(node, read))
    }

    /// The share of its time that a node works when the system runs at capacity.
    pub fn node_utilization(&self, node: Node, workload: &Workload) -> f64 {
        workload.over(|read| self.node_load_at(node, read) / self.load_at(read))
    }

    /// The commands per second that reach a node when the system runs at capacity.
    pub fn node_throughput(&self, node: Node, workload: &Workload) -> f64 {
        let Some(duty) = self.duties.get(node.index()) else { return 0.0 };
        workload.over(|read| (read * duty.read + (1.0 - read) * duty.write) / self.load_at(read))
    }

    /// The nodes whose load is the largest at this read fraction: making any other faster changes nothing.
    pub fn busiest(&self, read: f64) -> NodeSet {
        let most = self.load_at(read);
        (0..self.duties.len()).filter(|&node| self.duties[node].load(read) >= most * (1.0 - 1e-9)).collect()
    }

    /// The load at one read fraction, a convex and piecewise linear function of it.
    pub fn load_at(&self, read: f64) -> f64 {
        self.duties.iter().map(|duty| duty.load(read)).fold(0.0, f64::max)
    }

    /// The load of one node at one read fraction, a linear function of it.
    pub fn node_load_at(&self, node: Node, read: f64) -> f64 {
        self.duties.get(node.index()).map_or(0.0, |duty| duty.load(read))
    }

    /// Does every quorum survive `f` crashes of its members?
    pub fn is_resilient(&self, system: &ReadWriteQuorumSystem, f: usize) -> bool {
        self.reads.iter().all(|choice| survives(system.read_expr(), choice.nodes, f))
            && self.writes.iter().all(|choice| survives(system.write_expr(), choice.nodes, f))
    }

    /// Draws quorums of one side with their probabilities.
    pub fn sampler(&self, side: Side) -> Sampler {
        Sampler::new(self.choices(side))
    }
}

impl Duty {
    fn load(&self, read: f64) -> f64 {
        read * self.read / self.read_capacity + (1.0 - read) * self.write / self.write_capacity
    }
}

fn normalised(what: &'static str, mut choices: Vec<Choice>) -> Result<Vec<Choice>> {
    for choice in &choices {
        if !(0.0..=1e12).contains(&choice.probability) {
            let message = format!("the weight {} is not between 0 and 1e12", choice.probability);
            return Err(Error::BadWeight { what, message });
        }
    }
    let total: f64 = choices.iter().map(|choice| choice.probability).sum();
    if total <= 0.0 {
        return Err(Error::BadWeight { what, message: "all weights are zero".into() });
    }
    choices.sort_by_key(|choice| choice.nodes);
    choices.dedup_by(|next, kept| {
        let same = next.nodes == kept.nodes;
        kept.probability += if same { next.probability } else { 0.0 };
        same
    });
    choices.retain(|choice| choice.probability > total * LEAST_PROBABILITY);
    let total: f64 = choices.iter().map(|choice| choice.probability).sum();
    for choice in &mut choices {
        choice.probability /= total;
    }
    Ok(choices)
}

/// Draws from a strategy in constant time (Walker's alias method). It holds no generator: the caller brings random bits,
/// so that a protocol, a simulation and a deployment each keep their own.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampler {
    /// Per slot: a quorum, the share of the slot that is its own, and the quorum of the rest.
    slots: Vec<(NodeSet, f64, NodeSet)>,
}

impl Sampler {
    fn new(choices: &[Choice]) -> Self {
        let share = |choice: &Choice| choice.probability * count(choices.len());
        let mut scaled: Vec<f64> = choices.iter().map(share).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..choices.len()).partition(|&i| scaled[i] < 1.0);
        let mut slots: Vec<_> = choices.iter().map(|choice| (choice.nodes, 1.0, choice.nodes)).collect();
        while let (Some(less), Some(more)) = (small.pop(), large.pop()) {
            slots[less] = (choices[less].nodes, scaled[less], choices[more].nodes);
            scaled[more] -= 1.0 - scaled[less];
            if scaled[more] < 1.0 { small.push(more) } else { large.push(more) }
        }
        Self { slots }
    }

    /// The quorum for 64 uniformly random bits.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the bits are cut to what fits"
    )]
    pub fn draw(&self, random: u64) -> NodeSet {
        let product = u128::from(random) * self.slots.len() as u128;
        let (slot, rest) = ((product >> 64) as usize, (product as u64) >> 11);
        let (own, share, other) = self.slots[slot];
        if (rest as f64) < share * (1_u64 << 53) as f64 { own } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_are_drawn_with_their_probabilities() {
        let cluster = Cluster::named(["a", "b", "c"]).unwrap();
        let system = ReadWriteQuorumSystem::parse(&cluster, Some("a + b + c"), None).unwrap();
        let weights = [(NodeSet::single(0), 1.0), (NodeSet::single(1), 2.0), (NodeSet::single(2), 5.0)];
        let strategy = Strategy::new(&system, &cluster, &weights, &[(NodeSet::first(3), 1.0)]).unwrap();
        let sampler = strategy.sampler(Side::Read);
        let mut drawn = [0_u32; 3];
        // Evenly spaced bits in place of random ones: every share is met exactly, but for one draw per slot.
        for i in 0..24_000_u64 {
            let set = sampler.draw(i * (u64::MAX / 24_000));
            drawn[set.iter().next().unwrap()] += 1;
        }
        for (got, expected) in drawn.into_iter().zip([3000, 6000, 15_000]) {
            assert!(got.abs_diff(expected) <= 6, "{got} is not {expected}");
        }
        assert_eq!(strategy.sampler(Side::Write).draw(u64::MAX), NodeSet::first(3));
    }

    #[test]
    fn weights_that_are_no_strategy_are_errors() {
        let cluster = Cluster::named(["a", "b"]).unwrap();
        let system = ReadWriteQuorumSystem::parse(&cluster, Some("a*b"), None).unwrap();
        let both = NodeSet::first(2);
        let new = |reads: &[(NodeSet, f64)]| Strategy::new(&system, &cluster, reads, &[(both, 1.0)]);
        assert!(matches!(new(&[(NodeSet::single(0), 1.0)]), Err(Error::NotAQuorum { side: "read", .. })));
        assert!(new(&[(both, -1.0)]).is_err() && new(&[(both, f64::NAN)]).is_err() && new(&[]).is_err());
        assert!(new(&[(both, 0.0)]).is_err());
    }
}
