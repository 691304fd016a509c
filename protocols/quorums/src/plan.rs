//! What is asked of a strategy, and the way from the question to the linear program.

use crate::certificate::Certificate;
use crate::direct;
use crate::number::Number;
use crate::problem::{Family, Objective, Problem, Scale, Side};
use crate::program::{Column, Program};
use crate::simplex::{self, Ended};
use crate::solution::Solution;
use crate::source::{Prices, Source};
use crate::symmetry::Symmetry;
use crate::{Cluster, Error, NodeSet, QuorumSystem, ReadWriteQuorumSystem, Result, Workload};
use num_rational::BigRational;
use std::sync::Arc;

/// Phase one ends this far or nearer from feasible: too close for floating point to call.
const CLOSE_CALL: f64 = 1e-6;
/// Loads this far below that of the first strategy, and latencies this far below that of the slowest node, are solved again
/// with a better scale.
const FAR_FROM_SCALE: f64 = 1e-3;

/// What is asked of a strategy: the metric to minimise, the read fractions it is judged on, and what else must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    objective: Objective,
    workload: Workload,
    limits: Vec<(Objective, f64)>,
    resilient: usize,
    failed: NodeSet,
}

impl Plan {
    /// Minimise a metric over read fractions.
    pub fn minimise(objective: Objective, workload: Workload) -> Self {
        Self { objective, workload, limits: Vec::new(), resilient: 0, failed: NodeSet::EMPTY }
    }

    /// The load must not exceed this many seconds per command; a capacity of `c` is a load of `1/c`.
    #[must_use]
    pub fn max_load(self, load: f64) -> Self {
        self.max(Objective::Load, load)
    }

    /// The network load must not exceed this many nodes contacted per command.
    #[must_use]
    pub fn max_network(self, nodes: f64) -> Self {
        self.max(Objective::Network, nodes)
    }

    /// The latency must not exceed this many seconds.
    #[must_use]
    pub fn max_latency(self, seconds: f64) -> Self {
        self.max(Objective::Latency, seconds)
    }

    /// A metric must not exceed this; a second limit on it replaces the first.
    #[must_use]
    pub fn max(mut self, metric: Objective, limit: f64) -> Self {
        self.limits.retain(|(limited, _)| *limited != metric);
        self.limits.push((metric, limit));
        self.limits.sort_by_key(|(limited, _)| *limited);
        self
    }

    /// Contact only sets that are still quorums after any `f` of their members crash.
    #[must_use]
    pub fn resilient(self, f: usize) -> Self {
        Self { resilient: f, ..self }
    }

    /// Contact none of these nodes, which are known to be down.
    #[must_use]
    pub fn failed(self, failed: NodeSet) -> Self {
        Self { failed, ..self }
    }

    /// The metric that is minimised.
    pub fn objective(&self) -> Objective {
        self.objective
    }

    /// The read fractions.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// The limits on other metrics.
    pub fn limits(&self) -> &[(Objective, f64)] {
        &self.limits
    }

    /// How many crashes every contacted set survives.
    pub fn resilience(&self) -> usize {
        self.resilient
    }

    /// The nodes that are down.
    pub fn down(&self) -> NodeSet {
        self.failed
    }

    /// The same limits with another objective, which is no longer limited.
    pub(crate) fn with_objective(&self, objective: Objective) -> Self {
        let mut plan = Self { objective, ..self.clone() };
        plan.limits.retain(|(metric, _)| *metric != objective);
        plan
    }

    pub(crate) fn check(&self) -> Result<()> {
        for (metric, limit) in &self.limits {
            if !limit.is_finite() || *limit <= 0.0 {
                return Err(Error::BadLimit { metric: metric.name(), value: *limit });
            }
            if *metric == self.objective {
                return Err(Error::LimitOnObjective { metric: metric.name() });
            }
        }
        Ok(())
    }

    fn latency_matters(&self) -> bool {
        self.objective == Objective::Latency
            || self.limits.iter().any(|(metric, _)| *metric == Objective::Latency)
    }

    /// The problem of this plan for one group of clients.
    pub(crate) fn problem(&self, system: &ReadWriteQuorumSystem, cluster: &Cluster) -> Result<Problem> {
        self.check()?;
        let latencies = cluster.iter().map(|attributes| attributes.latency).collect();
        let families = self.families(system, &latencies, 1.0)?;
        Ok(self.problem_of(system, cluster, families))
    }

    pub(crate) fn families(
        &self,
        system: &ReadWriteQuorumSystem,
        latencies: &Arc<[f64]>,
        share: f64,
    ) -> Result<Vec<Family>> {
        if let Some(node) = system.nodes().iter().find(|&node| node >= latencies.len()) {
            return Err(Error::UnknownNode { name: format!("n{node}"), nearest: None });
        }
        let family = |side| {
            let quorums = system.side(side);
            let usable = quorums.nodes.difference(self.failed);
            let timed = self.latency_matters();
            // No more crashes can be survived than there are nodes, and nothing needs room for them.
            let survivable = self.resilient < quorums.nodes.len();
            let source =
                survivable.then(|| Source::new(quorums, latencies.clone(), usable, self.resilient, timed));
            let source = source.transpose()?.flatten();
            let name = if side == Side::Read { "read" } else { "write" };
            let failed = self.failed.intersection(quorums.nodes).len();
            let missing = Error::NoResilientSet { side: name, f: self.resilient, failed };
            Ok(Family { side, share, source: source.ok_or(missing)? })
        };
        Ok(vec![family(Side::Read)?, family(Side::Write)?])
    }

    pub(crate) fn problem_of(
        &self,
        system: &ReadWriteQuorumSystem,
        cluster: &Cluster,
        families: Vec<Family>,
    ) -> Problem {
        let mut problem = Problem {
            families,
            capacities: cluster.capacities(),
            nodes: system.nodes(),
            workload: self.workload.clone(),
            objective: self.objective,
            limits: self.limits.clone(),
            symmetry: None,
        };
        problem.symmetry = Symmetry::of(&problem);
        problem
    }
}

impl ReadWriteQuorumSystem {
    /// The strategy that minimises the plan's objective and keeps its limits.
    ///
    /// # Errors
    /// When a limit is absurd or on the objective itself, no set survives the crashes, or no strategy keeps the limits; the
    /// error says which limits exclude each other and how low one can be.
    pub fn optimise(&self, cluster: &Cluster, plan: &Plan) -> Result<Solution> {
        let problem = plan.problem(self, cluster)?;
        let solved = solve(&problem)?;
        Ok(Solution::new(problem, solved))
    }

    /// As [`ReadWriteQuorumSystem::optimise`] in exact arithmetic, with the proof. The solution is rounded from what is
    /// proved; where attributes are many orders of magnitude apart, floating point alone may find less.
    ///
    /// # Errors
    /// As [`ReadWriteQuorumSystem::optimise`].
    pub fn optimise_exactly(&self, cluster: &Cluster, plan: &Plan) -> Result<(Solution, Certificate)> {
        let problem = plan.problem(self, cluster)?;
        let (_, near) = attempt(&problem)?;
        let (certificate, ended) = Certificate::with_solution(&problem, &near)?;
        let ended = rounded(ended);
        if !ended.feasible {
            return Err(infeasible(&problem, if near.feasible { &ended } else { &near }));
        }
        let solved = Solved { value: ended.value, ended, scale: Scale::NONE };
        Ok((Solution::new(problem, solved), certificate))
    }

    /// The exact optimum of the plan with its proof, or the proof that no strategy keeps the limits.
    ///
    /// # Errors
    /// As [`ReadWriteQuorumSystem::optimise`], but for limits that cannot be kept.
    pub fn certify(&self, cluster: &Cluster, plan: &Plan) -> Result<Certificate> {
        let problem = plan.problem(self, cluster)?;
        let (_, ended) = attempt(&problem)?;
        Certificate::near(&problem, &ended)
    }
}

/// An optimum found in floating point.
#[derive(Clone, Debug)]
pub(crate) struct Solved {
    /// In the problem's own units.
    pub(crate) value: f64,
    /// In the scale of the solver.
    pub(crate) ended: Ended<f64>,
    pub(crate) scale: Scale,
}

/// Solves a problem; limits that cannot be kept are an error that explains them.
pub(crate) fn solve(problem: &Problem) -> Result<Solved> {
    let (scale, ended) = attempt(problem)?;
    if ended.feasible {
        Ok(Solved { value: ended.value / scale.of(problem.objective), ended, scale })
    } else {
        Err(infeasible(problem, &ended))
    }
}

/// Where the solver ends, in floating point or, where that cannot tell, in rationals; and the scale of the answer.
pub(crate) fn attempt(problem: &Problem) -> Result<(Scale, Ended<f64>)> {
    if let Some(found) = direct::solve(problem) {
        return Ok(found);
    }
    let mut scale = Scale::for_problem(problem, first_load(problem));
    for _ in 0..6 {
        let Ok(ended) = simplex::solve(&Program::<f64>::new(problem, scale)) else { break };
        if !ended.feasible && ended.value < CLOSE_CALL {
            return exactly(problem, Some(&ended));
        }
        let Some(better) = scale.better(problem, &ended).filter(|_| ended.feasible) else {
            return Ok((scale, ended));
        };
        scale = better;
    }
    exactly(problem, None)
}

impl Scale {
    /// A scale for values as small as these, if they are far below 1.
    fn better(self, problem: &Problem, ended: &Ended<f64>) -> Option<Self> {
        let far = |value: f64| (0.0..FAR_FROM_SCALE).contains(&value) && value > 0.0;
        if problem.objective == Objective::Latency && far(ended.value) {
            return Some(Self { latency: self.latency / ended.value, ..self });
        }
        let loads = ended.basis.iter().zip(&ended.x);
        let loads = loads.filter(|(column, _)| matches!(column, Column::Variable(_)));
        let most = loads.map(|(_, x)| *x).fold(0.0, f64::max);
        (problem.counts(Objective::Load) && far(most)).then(|| Self { load: self.load / most, ..self })
    }
}

fn exactly(problem: &Problem, near: Option<&Ended<f64>>) -> Result<(Scale, Ended<f64>)> {
    let program = Program::<BigRational>::new(problem, Scale::NONE);
    let ended = match near {
        Some(near) => simplex::resume(&program, near)?,
        None => simplex::solve(&program)?,
    };
    Ok((Scale::NONE, rounded(ended)))
}

fn rounded(ended: Ended<BigRational>) -> Ended<f64> {
    Ended {
        feasible: ended.feasible,
        value: ended.value.to_f64(),
        x: ended.x.iter().map(Number::to_f64).collect(),
        y: ended.y.iter().map(Number::to_f64).collect(),
        basis: ended.basis,
        tight: ended.tight,
    }
}

/// The load of the busiest node if every command goes to the sets that make the least work.
fn first_load(problem: &Problem) -> f64 {
    if !problem.counts(Objective::Load) {
        return 1.0;
    }
    let mut load = vec![0.0; problem.capacities.len()];
    let (mut prices, mut stack) = (Prices::none(load.len()), Vec::new());
    let read = problem.workload.mean();
    for family in &problem.families {
        let fraction = if family.side == Side::Read { read } else { 1.0 - read };
        for (node, work) in prices.node.iter_mut().enumerate() {
            *work = 1.0 / problem.capacity(node, family.side);
        }
        if let Some((_, candidate)) = family.source.cheapest(&prices, &mut stack) {
            for node in candidate.set.iter() {
                load[node] += fraction * family.share * prices.node[node];
            }
        }
    }
    load.into_iter().fold(0.0, f64::max)
}

/// Names the limits that exclude each other, and the least value of the first of them under the others.
fn infeasible(problem: &Problem, ended: &Ended<f64>) -> Error {
    let program = Program::<f64>::new(problem, Scale::NONE);
    let mut binding: Vec<(Objective, f64)> = Vec::new();
    for (row, y) in ended.y.iter().enumerate() {
        if let Some(metric) = program.limited(row).filter(|_| !y.is_noise()) {
            let limit = problem.limits.iter().find(|(limited, _)| *limited == metric);
            binding.extend(limit.filter(|limit| !binding.contains(limit)));
        }
    }
    let Some(((first, limit), others)) = binding.split_first() else {
        return Error::Infeasible { binding: "the limits exclude each other".into() };
    };
    let mut relaxed = problem.clone();
    relaxed.objective = *first;
    relaxed.limits = others.to_vec();
    let name = |(metric, limit): &(Objective, f64)| format!("{} <= {limit}", metric.name());
    let among = if others.is_empty() {
        String::new()
    } else {
        format!(" with {}", others.iter().map(name).collect::<Vec<_>>().join(" and "))
    };
    let least = match solve(&relaxed) {
        Ok(solved) => format!("; the least possible {} is {}", first.name(), solved.value),
        Err(_) => String::new(),
    };
    Error::Infeasible { binding: format!("{}{among} cannot be kept{least}", name(&(*first, *limit))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attributes;

    /// Nodes a to e with these latencies; the second is also slow to read and write.
    fn cluster(latencies: [f64; 5]) -> Cluster {
        let mut cluster = Cluster::new();
        for (name, latency) in ["a", "b", "c", "d", "e"].into_iter().zip(latencies) {
            let capacity = if name == "b" { 1.0 } else { 10.0 };
            cluster.add(name, Attributes::capacity(capacity).latency(latency)).unwrap();
        }
        cluster
    }

    fn latency() -> Plan {
        Plan::minimise(Objective::Latency, Workload::reads(0.5).unwrap())
    }

    #[test]
    fn one_slow_node_makes_no_noise_of_the_latencies_of_the_others() {
        let (fast, slow) = (cluster([1.0, 2.0, 3.0, 5.0, 9.0]), cluster([1.0, 2.0, 3.0, 5.0, 1e12]));
        let system = ReadWriteQuorumSystem::parse(&fast, Some("a*b + c*d + e"), None).unwrap();
        let without = slow.set_of(["e"]).unwrap();
        let majority = ReadWriteQuorumSystem::parse(&fast, Some("majority(a, b, c, d, e)"), None).unwrap();
        // Three of the four fast nodes are always enough, and no optimum has a use for the slow one.
        for (plan, bound) in
            [(latency(), 1.0), (latency().max_load(0.35), 1.0), (latency().max_network(3.0), 1.0)]
        {
            let expected = majority.optimise(&slow, &plan.clone().failed(without)).unwrap().value();
            let value = majority.optimise(&slow, &plan).unwrap().value();
            assert!(value >= bound && (value / expected - 1.0).abs() < 1e-9, "{value} is not {expected}");
        }
        // All writes need it.
        let value = system.optimise(&slow, &latency()).unwrap().value();
        assert!((value - (5e11 + 1.0)).abs() < 1.0, "{value}");
        let reads = Plan::minimise(Objective::Load, Workload::reads(1.0).unwrap());
        for limit in [2.0, 2.5, 4.0] {
            let plan = reads.clone().max_latency(limit);
            let expected = system.optimise(&slow, &plan.clone().failed(without));
            assert!(expected.is_err(), "writes need every node");
            let (solution, proof) = system.optimise_exactly(&slow, &plan).unwrap();
            assert!((solution.value() / system.optimise(&slow, &plan).unwrap().value() - 1.0).abs() < 1e-9);
            assert!(solution.strategy().latency(plan.workload()) <= limit * (1.0 + 1e-9));
            assert_eq!(proof.check(&system, &slow, &plan), Ok(()));
        }
        let refused = system.optimise(&slow, &reads.max_latency(1.5)).unwrap_err().to_string();
        assert!(refused.contains("the least possible latency is 2"), "{refused}");
    }

    #[test]
    fn what_is_proved_is_what_the_solution_says() {
        let mut uneven = Cluster::new();
        for (name, capacity) in [("a", 1e-9), ("b", 1e12), ("c", 3.0), ("d", 7e5), ("e", 1e-4)] {
            uneven.add(name, Attributes::capacity(capacity).latency(1.0 / capacity.sqrt())).unwrap();
        }
        for reads in ["majority(a, b, c, d, e)", "a*b + c*d*e", "choose(2, a, b, c*d, e)"] {
            let system = ReadWriteQuorumSystem::parse(&uneven, Some(reads), None).unwrap();
            let load = Plan::minimise(Objective::Load, Workload::reads(0.25).unwrap());
            for plan in
                [load.with_objective(Objective::Latency).max_load(1e9), load.clone(), load.max_latency(3e4)]
            {
                let (solution, proof) = system.optimise_exactly(&uneven, &plan).unwrap();
                assert_eq!(proof.check(&system, &uneven, &plan), Ok(()));
                let exact = proof.value().to_f64();
                assert!((solution.value() / exact - 1.0).abs() < 1e-15);
                let strategy = solution.strategy();
                let told = match plan.objective() {
                    Objective::Load => strategy.load(plan.workload()),
                    _ => strategy.latency(plan.workload()),
                };
                assert!((told / exact - 1.0).abs() < 1e-9, "{reads}: {told} is not {exact}");
            }
        }
    }

    #[test]
    fn more_crashes_than_nodes_are_survived_by_nothing() {
        let cluster = cluster([1.0; 5]);
        for reads in ["majority(a, b, c, d, e)", "a*b + a*c"] {
            let system = ReadWriteQuorumSystem::parse(&cluster, Some(reads), None).unwrap();
            for f in [5, 1 << 40, usize::MAX] {
                let refused = system.optimise(&cluster, &latency().resilient(f)).unwrap_err();
                assert!(matches!(refused, Error::NoResilientSet { .. }), "{refused}");
            }
        }
    }
}
