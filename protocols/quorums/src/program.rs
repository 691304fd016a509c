//! The linear program of a strategy, in either kind of number.
//!
//! Columns are the sets a strategy may use, one family of them per side (and per group of clients), far too many to write
//! down; the variables `L_k`, the load at read fraction k; and a slack per inequality. Rows are, in this order:
//!
//! - one per family: its probabilities sum to 1;
//! - one per read fraction and node, if load counts: what the strategies put on the node, less `L_k`, is at most 0;
//! - one per limit, or per end of a range of fractions: load, network load or latency is at most this.
//!
//! A set's column follows from its members: every row charges it per member, per set size or per second of latency. So the
//! reduced cost of a set is a sum of node prices, which is what [`Source::cheapest`] minimises.

use crate::number::{Number, count};
use crate::source::{Candidate, Prices, Source};
use crate::{NodeSet, Workload};

/// What a strategy can be judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Objective {
    /// The load of the busiest node, in seconds per command.
    Load,
    /// The expected number of nodes contacted per command.
    Network,
    /// The expected time until a quorum has answered, in seconds.
    Latency,
}

impl Objective {
    /// `load`, `network` or `latency`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Network => "network",
            Self::Latency => "latency",
        }
    }
}

/// Reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Reads.
    Read,
    /// Writes.
    Write,
}

/// One side of the system for one group of clients.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) side: Side,
    /// The share of all commands that come from these clients.
    pub(crate) share: f64,
    pub(crate) source: Source,
}

/// What is to be solved, in the numbers that were given.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) families: Vec<Family>,
    /// Read and write capacity of each node.
    pub(crate) capacities: Vec<(f64, f64)>,
    pub(crate) nodes: NodeSet,
    pub(crate) workload: Workload,
    pub(crate) objective: Objective,
    pub(crate) limits: Vec<(Objective, f64)>,
}

impl Problem {
    pub(crate) fn counts(&self, metric: Objective) -> bool {
        self.objective == metric || self.limits.iter().any(|(limited, _)| *limited == metric)
    }
}

/// Factors that bring the metrics near 1 in floating point; all 1 in rational arithmetic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) load: f64,
    pub(crate) network: f64,
    pub(crate) latency: f64,
}

impl Scale {
    pub(crate) const NONE: Self = Self { load: 1.0, network: 1.0, latency: 1.0 };

    pub(crate) fn of(self, metric: Objective) -> f64 {
        match metric {
            Objective::Load => self.load,
            Objective::Network => self.network,
            Objective::Latency => self.latency,
        }
    }

    /// Factors for a problem whose cheapest sets put this load on a node.
    pub(crate) fn for_problem(problem: &Problem, load: f64) -> Self {
        let latencies = problem.families.iter().flat_map(|family| family.source.latencies().iter().copied());
        let slowest = latencies.filter(|latency| latency.is_finite()).fold(0.0, f64::max);
        let inverse = |value: f64| if value > 0.0 { 1.0 / value } else { 1.0 };
        Self {
            load: inverse(load),
            network: 1.0 / count(problem.nodes.len().max(1)),
            latency: inverse(slowest),
        }
    }
}

/// A row that charges sets by size or latency, or only variables.
#[derive(Debug)]
struct Extra<T> {
    metric: Objective,
    /// The charge of each family, per member or second.
    charge: Vec<T>,
    bound: T,
}

/// A variable that is no probability.
#[derive(Debug)]
pub(crate) struct Variable<T> {
    cost: T,
    /// Its coefficients by row.
    entries: Vec<(usize, T)>,
    /// The rows that hold it up, one of which is tight.
    pub(crate) rows: Vec<usize>,
}

impl<T: Number> Variable<T> {
    /// What the variable would cost per unit, at the prices `y` of the rows: negative if it should grow.
    pub(crate) fn reduced_cost(&self, y: &[T], with_costs: bool) -> T {
        let mut cost = if with_costs { self.cost.clone() } else { T::zero() };
        for (row, coefficient) in &self.entries {
            cost.sub_mul(coefficient, &y[*row]);
        }
        cost
    }
}

/// The program in one kind of number.
#[derive(Debug)]
pub(crate) struct Program<'a, T> {
    pub(crate) problem: &'a Problem,
    /// The nodes that have load rows, and each node's position among them.
    loaded: Vec<usize>,
    position: Vec<usize>,
    /// By family, then read fraction: the share of commands.
    share: Vec<Vec<T>>,
    /// By family, then node position: seconds of work per command.
    work: Vec<Vec<T>>,
    /// Costs of a set of each family, per member and per second.
    set_cost: Vec<(T, T)>,
    extras: Vec<Extra<T>>,
    pub(crate) variables: Vec<Variable<T>>,
    pub(crate) scale: Scale,
}

/// A column of the program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Column {
    /// The probability of a set of a family.
    Set(usize, Candidate),
    /// A variable.
    Variable(usize),
    /// What a row leaves below its bound.
    Slack(usize),
    /// How far a row is from being satisfied; zero in a solution.
    Artificial(usize),
}

impl<'a, T: Number> Program<'a, T> {
    pub(crate) fn new(problem: &'a Problem, scale: Scale) -> Self {
        let loaded: Vec<usize> =
            if problem.counts(Objective::Load) { problem.nodes.iter().collect() } else { Vec::new() };
        let mut position = vec![0; problem.capacities.len()];
        for (at, &node) in loaded.iter().enumerate() {
            position[node] = at;
        }
        let points = exact_points::<T>(&problem.workload);
        let fraction = |side, read: &T| if side == Side::Read { read.clone() } else { T::one().sub(read) };
        let share = |family: &Family| {
            let of_clients = T::of(family.share);
            points.iter().map(|(read, _)| fraction(family.side, read).mul(&of_clients)).collect()
        };
        let work = |family: &Family| {
            let capacity = |node: usize| match (problem.capacities[node], family.side) {
                ((read, _), Side::Read) => read,
                ((_, write), Side::Write) => write,
            };
            loaded.iter().map(|&node| T::of(scale.load).div(&T::of(capacity(node)))).collect()
        };
        let mut program = Program {
            problem,
            share: problem.families.iter().map(share).collect(),
            work: problem.families.iter().map(work).collect(),
            set_cost: vec![(T::zero(), T::zero()); problem.families.len()],
            loaded,
            position,
            extras: Vec::new(),
            variables: Vec::new(),
            scale,
        };
        program.add_load_variables(&points);
        for (metric, bound) in &problem.limits {
            program.add_limit(*metric, T::of(*bound).mul(&T::of(scale.of(*metric))), &points);
        }
        if problem.objective != Objective::Load {
            program.add_objective(problem.objective, &points);
        }
        program
    }

    pub(crate) fn rows(&self) -> usize {
        self.families() + self.load_rows() + self.extras.len()
    }

    pub(crate) fn families(&self) -> usize {
        self.problem.families.len()
    }

    /// The right-hand side of a row.
    pub(crate) fn bound(&self, row: usize) -> T {
        if row < self.families() {
            return T::one();
        }
        self.extras
            .get(row.wrapping_sub(self.families() + self.load_rows()))
            .map_or_else(T::zero, |e| e.bound.clone())
    }

    /// The metric that an upper bound limits, for rows that are limits.
    pub(crate) fn limited(&self, row: usize) -> Option<Objective> {
        let extra = row.checked_sub(self.families() + self.load_rows())?;
        self.problem
            .limits
            .iter()
            .map(|(metric, _)| *metric)
            .find(|metric| self.extras[extra].metric == *metric && self.problem.objective != *metric)
    }

    /// The node whose load a row bounds, for rows that bound one.
    pub(crate) fn loaded_node(&self, row: usize) -> Option<usize> {
        let at = row.checked_sub(self.families()).filter(|at| *at < self.load_rows())?;
        Some(self.loaded[at % self.loaded.len()])
    }

    /// What a column adds to the objective.
    pub(crate) fn cost(&self, column: &Column) -> T {
        match column {
            Column::Set(family, candidate) => {
                let (size, latency) = &self.set_cost[*family];
                let mut cost = size.mul(&T::of(count(candidate.set.len())));
                cost.add_mul(latency, &T::of(candidate.latency));
                cost
            }
            Column::Variable(variable) => self.variables[*variable].cost.clone(),
            Column::Slack(_) | Column::Artificial(_) => T::zero(),
        }
    }

    /// The nonzero coefficients of a column.
    pub(crate) fn entries(&self, column: &Column) -> Vec<(usize, T)> {
        match column {
            Column::Set(family, candidate) => self.set_entries(*family, candidate),
            Column::Variable(variable) => self.variables[*variable].entries.clone(),
            Column::Slack(row) => vec![(*row, T::one())],
            Column::Artificial(row) if *row < self.families() => vec![(*row, T::one())],
            Column::Artificial(row) => vec![(*row, T::of(-1.0))],
        }
    }

    fn set_entries(&self, family: usize, candidate: &Candidate) -> Vec<(usize, T)> {
        let mut entries = vec![(family, T::one())];
        if !self.loaded.is_empty() {
            for (k, share) in self.share[family].iter().enumerate() {
                let first = self.families() + k * self.loaded.len();
                let at = candidate.set.iter().map(|node| self.position[node]);
                entries.extend(at.map(|at| (first + at, share.mul(&self.work[family][at]))));
            }
        }
        let first = self.families() + self.load_rows();
        for (i, extra) in self.extras.iter().enumerate() {
            let amount = match extra.metric {
                Objective::Load => continue,
                Objective::Network => count(candidate.set.len()),
                Objective::Latency => candidate.latency,
            };
            entries.push((first + i, extra.charge[family].mul(&T::of(amount))));
        }
        entries
    }

    /// The set of a family with the least reduced cost, and that cost, at the prices `y` of the rows (not above zero on
    /// inequalities).
    pub(crate) fn cheapest(&self, family: usize, y: &[T], with_costs: bool) -> Option<(T, Candidate)> {
        let prices = self.prices(family, y, with_costs);
        let (cost, candidate) = self.problem.families[family].source.cheapest(&prices)?;
        Some((cost.sub(&y[family]), candidate))
    }

    pub(crate) fn prices(&self, family: usize, y: &[T], with_costs: bool) -> Prices<T> {
        let (mut size, mut latency) =
            if with_costs { self.set_cost[family].clone() } else { (T::zero(), T::zero()) };
        let first = self.families() + self.load_rows();
        for (extra, y) in self.extras.iter().zip(&y[first..]) {
            match extra.metric {
                Objective::Load => {}
                Objective::Network => size.sub_mul(&extra.charge[family], y),
                Objective::Latency => latency.sub_mul(&extra.charge[family], y),
            }
        }
        let mut node = vec![size; self.problem.capacities.len()];
        for (at, &of) in self.loaded.iter().enumerate() {
            let mut burden = T::zero();
            for (k, share) in self.share[family].iter().enumerate() {
                let y = &y[self.families() + k * self.loaded.len() + at];
                burden.sub_mul(share, y);
            }
            node[of].add_mul(&burden, &self.work[family][at]);
        }
        Prices { node: node.into_iter().map(at_least_zero).collect(), latency: at_least_zero(latency) }
    }

    fn load_rows(&self) -> usize {
        self.loaded.len() * self.share.first().map_or(0, Vec::len)
    }

    fn add_load_variables(&mut self, points: &[(T, T)]) {
        if self.loaded.is_empty() {
            return;
        }
        let rows_of = |k: usize| {
            let first = self.problem.families.len() + k * self.loaded.len();
            first..first + self.loaded.len()
        };
        let minimised = self.problem.objective == Objective::Load;
        let variable = |cost: T, rows: Vec<usize>| Variable {
            cost: if minimised { cost } else { T::zero() },
            entries: rows.iter().map(|row| (*row, T::of(-1.0))).collect(),
            rows,
        };
        self.variables = match self.problem.workload {
            Workload::Expected(_) => points
                .iter()
                .enumerate()
                .map(|(k, (_, weight))| variable(weight.clone(), rows_of(k).collect()))
                .collect(),
            Workload::Worst(..) => vec![variable(T::one(), (0..points.len()).flat_map(rows_of).collect())],
        };
    }

    /// The charges per member or second of each family, one row of them for an expectation and one per end of a range.
    fn charges(&self, metric: Objective, points: &[(T, T)]) -> Vec<Vec<T>> {
        let scale = T::of(self.scale.of(metric));
        let at_point = |k: usize| self.share.iter().map(|share| share[k].mul(&scale)).collect();
        match self.problem.workload {
            Workload::Worst(..) => (0..points.len()).map(at_point).collect(),
            Workload::Expected(_) => {
                let mean = |share: &Vec<T>| {
                    let mut mean = T::zero();
                    for (share, (_, weight)) in share.iter().zip(points) {
                        mean.add_mul(share, weight);
                    }
                    mean.mul(&scale)
                };
                vec![self.share.iter().map(mean).collect()]
            }
        }
    }

    fn add_limit(&mut self, metric: Objective, bound: T, points: &[(T, T)]) {
        if metric == Objective::Load {
            let row = self.rows();
            let worst = matches!(self.problem.workload, Workload::Worst(..));
            for (variable, (_, weight)) in self.variables.iter_mut().zip(points) {
                variable.entries.push((row, if worst { T::one() } else { weight.clone() }));
            }
            self.extras.push(Extra { metric, charge: Vec::new(), bound });
            return;
        }
        for charge in self.charges(metric, points) {
            self.extras.push(Extra { metric, charge, bound: bound.clone() });
        }
    }

    fn add_objective(&mut self, metric: Objective, points: &[(T, T)]) {
        let mut charges = self.charges(metric, points);
        if let Workload::Expected(_) = self.problem.workload {
            let cost = |charge: T| match metric {
                Objective::Latency => (T::zero(), charge),
                _ => (charge, T::zero()),
            };
            self.set_cost = charges.swap_remove(0).into_iter().map(cost).collect();
            return;
        }
        let rows: Vec<usize> = (self.rows()..self.rows() + charges.len()).collect();
        let entries = rows.iter().map(|row| (*row, T::of(-1.0))).collect();
        self.variables.push(Variable { cost: T::one(), entries, rows });
        self.extras.extend(charges.into_iter().map(|charge| Extra { metric, charge, bound: T::zero() }));
    }
}

/// Read fractions with weights that sum to one, or the ends of a range.
fn exact_points<T: Number>(workload: &Workload) -> Vec<(T, T)> {
    match workload {
        Workload::Worst(least, most) => vec![(T::of(*least), T::one()), (T::of(*most), T::one())],
        Workload::Expected(points) => {
            let total = points.iter().fold(T::zero(), |total, (_, weight)| total.add(&T::of(*weight)));
            points.iter().map(|(read, weight)| (T::of(*read), T::of(*weight).div(&total))).collect()
        }
    }
}

fn at_least_zero<T: Number>(price: T) -> T {
    if price < T::zero() { T::zero() } else { price }
}
