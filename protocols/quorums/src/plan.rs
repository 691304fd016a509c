//! What is asked of a strategy, and the way from the question to the linear program.

use crate::balance;
use crate::certificate::Certificate;
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
/// Loads this far below that of the first strategy are solved again with a better scale.
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
            let source = Source::new(quorums, latencies.clone(), usable, self.resilient, timed)?;
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
    if let Some(found) = balance::solve(problem) {
        return Ok(found);
    }
    let mut scale = Scale::for_problem(problem, first_load(problem));
    for _ in 0..4 {
        let Ok(ended) = simplex::solve(&Program::<f64>::new(problem, scale)) else { break };
        if !ended.feasible && ended.value < CLOSE_CALL {
            return exactly(problem, Some(&ended));
        }
        let loads =
            ended.basis.iter().zip(&ended.x).filter(|(column, _)| matches!(column, Column::Variable(_)));
        let most = loads.map(|(_, x)| *x).fold(0.0, f64::max);
        if !ended.feasible || !problem.counts(Objective::Load) || most <= 0.0 || most >= FAR_FROM_SCALE {
            return Ok((scale, ended));
        }
        scale.load /= most;
    }
    exactly(problem, None)
}

fn exactly(problem: &Problem, near: Option<&Ended<f64>>) -> Result<(Scale, Ended<f64>)> {
    let program = Program::<BigRational>::new(problem, Scale::NONE);
    let ended = match near {
        Some(near) => simplex::resume(&program, near)?,
        None => simplex::solve(&program)?,
    };
    let rounded = Ended {
        feasible: ended.feasible,
        value: ended.value.to_f64(),
        x: ended.x.iter().map(Number::to_f64).collect(),
        y: ended.y.iter().map(Number::to_f64).collect(),
        basis: ended.basis,
        tight: ended.tight,
    };
    Ok((Scale::NONE, rounded))
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
