//! The linear program of a strategy, in either kind of number.
//!
//! Columns are the sets a strategy may use, one family of them per side (and per group of clients), far too many to write
//! down; the variables `L_k`, the load at read fraction k; and a slack per inequality. Rows are, in this order:
//!
//! - one per family: its probabilities sum to 1;
//! - one per read fraction and node, if load counts: what the strategies put on the node, less `L_k`, is at most 0;
//! - one per limit, or per end of a range of fractions: load, network load or latency is at most this.
//!
//! Nodes that are alike have one load row, of their mean load ([`crate::symmetry`]), and are in what follows one node.
//!
//! A set's column follows from its members: every row charges it per member, per set size or per second of latency. So the
//! reduced cost of a set is a sum of node prices, which is what [`crate::source::Source::cheapest`] minimises.

use crate::number::{Number, count};
use crate::problem::{Objective, Problem, Scale, Side};
use crate::source::{Candidate, Prices};
use crate::symmetry::Symmetry;
use crate::tree::Priced;
use crate::{NodeSet, Workload};
use std::ops::Range;

/// A row that charges sets by size or latency, or only variables.
#[derive(Debug)]
struct Extra<T> {
    metric: Objective,
    /// The charge of each family, per member or second.
    charge: Vec<T>,
    bound: T,
}

impl<T> Extra<T> {
    /// What of a set's profile it charges for.
    fn of_profile(&self) -> usize {
        if self.metric == Objective::Latency { LATENCY } else { SIZE }
    }
}

/// A variable that is no probability.
#[derive(Debug)]
pub(crate) struct Variable<T> {
    cost: T,
    /// The rows that hold it up, one of which is tight: it has the coefficient -1 there.
    pub(crate) rows: Range<usize>,
    /// The row that limits it and its coefficient there, if one does.
    limit: Option<(usize, T)>,
}

impl<T: Number> Variable<T> {
    /// What the variable would cost per unit, at the prices `y` of the rows: negative if it should grow.
    pub(crate) fn reduced_cost(&self, y: &[T], with_costs: bool) -> T {
        let mut cost = if with_costs { self.cost.clone() } else { T::zero() };
        for y in &y[self.rows.clone()] {
            cost = cost.add(y);
        }
        if let Some((row, coefficient)) = &self.limit {
            cost.sub_mul(coefficient, &y[*row]);
        }
        cost
    }
}

/// The program in one kind of number.
#[derive(Debug)]
pub(crate) struct Program<'a, T> {
    pub(crate) problem: &'a Problem,
    /// The nodes that have load rows; of nodes that are alike the first.
    loaded: Vec<usize>,
    /// Nodes that are alike, and where the first of them is in `loaded`.
    alike: Vec<(usize, NodeSet)>,
    /// The number of read fractions.
    fractions: usize,
    /// By family and read fraction: the share of commands.
    share: Vec<T>,
    /// By family and row of a load: the work that a set of the family makes there, if the node is a member, in seconds per
    /// command.
    work: Vec<T>,
    /// Costs of a set of each family, per member and per second.
    set_cost: Vec<(T, T)>,
    extras: Vec<Extra<T>>,
    pub(crate) variables: Vec<Variable<T>>,
    pub(crate) scale: Scale,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Row {
    /// The probabilities of a family.
    Family(usize),
    /// The load at a read fraction of a node: which of these rows, and which of the nodes that have them.
    Load(usize, usize),
    Extra(usize),
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

/// In the profile of a set: that it is one, how many members it has, its latency; then for each loaded node if it is one,
/// or how many of those like it are.
const ONE: usize = 0;
const SIZE: usize = 1;
const LATENCY: usize = 2;
const MEMBERS: usize = 3;

impl<'a, T: Number> Program<'a, T> {
    /// The smallest program known for the problem.
    pub(crate) fn new(problem: &'a Problem, scale: Scale) -> Self {
        Self::with(problem, scale, problem.symmetry.as_ref().map(Symmetry::classes).unwrap_or_default())
    }

    /// The program in which every node has rows of its own.
    pub(crate) fn whole(problem: &'a Problem, scale: Scale) -> Self {
        Self::with(problem, scale, &[])
    }

    /// The program with one row for all nodes of a class.
    fn with(problem: &'a Problem, scale: Scale, classes: &[NodeSet]) -> Self {
        let mut loaded: Vec<usize> = Vec::new();
        if problem.counts(Objective::Load) {
            let first = |class: &NodeSet| class.iter().take(1).collect::<NodeSet>();
            let others = |class: &NodeSet| class.difference(first(class));
            let others = classes.iter().map(others).fold(NodeSet::EMPTY, NodeSet::union);
            loaded.extend(problem.nodes.difference(others).iter());
        }
        let position = |class: &NodeSet| loaded.iter().position(|node| class.contains(*node));
        let alike: Vec<(usize, NodeSet)> =
            classes.iter().filter_map(|class| Some((position(class)?, *class))).collect();
        let points = exact_points::<T>(&problem.workload);
        let mut share = Vec::with_capacity(problem.families.len() * points.len());
        let mut work = Vec::with_capacity(problem.families.len() * points.len() * loaded.len());
        let mut seconds = Vec::with_capacity(loaded.len());
        for family in &problem.families {
            let capacities = loaded.iter().map(|node| problem.capacity(*node, family.side));
            seconds.clear();
            seconds.extend(capacities.map(|capacity| T::of(scale.load).div(&T::of(capacity))));
            for (at, class) in &alike {
                seconds[*at] = seconds[*at].div(&T::of(count(class.len())));
            }
            let of_clients = T::of(family.share);
            for (read, _) in &points {
                let fraction = if family.side == Side::Read { read.clone() } else { T::one().sub(read) };
                let fraction = fraction.mul(&of_clients);
                work.extend(seconds.iter().map(|seconds| fraction.mul(seconds)));
                share.push(fraction);
            }
        }
        let mut program = Program {
            problem,
            loaded,
            alike,
            fractions: points.len(),
            share,
            work,
            set_cost: vec![(T::zero(), T::zero()); problem.families.len()],
            extras: Vec::new(),
            variables: Vec::new(),
            scale,
        };
        program.add_load_variables(&points);
        for (metric, bound) in &problem.limits {
            program.add_limit(*metric, &T::of(*bound).mul(&T::of(scale.of(*metric))), &points);
        }
        if problem.objective != Objective::Load {
            program.add_objective(problem.objective, &points);
        }
        program
    }

    pub(crate) fn rows(&self) -> usize {
        self.first_extra() + self.extras.len()
    }

    pub(crate) fn families(&self) -> usize {
        self.problem.families.len()
    }

    /// The number of rows of loads.
    fn loads(&self) -> usize {
        self.loaded.len() * self.fractions
    }

    fn first_extra(&self) -> usize {
        self.families() + self.loads()
    }

    pub(crate) fn row(&self, row: usize) -> Row {
        if row < self.families() {
            Row::Family(row)
        } else if row < self.first_extra() {
            let at = row - self.families();
            Row::Load(at, at % self.loaded.len())
        } else {
            Row::Extra(row - self.first_extra())
        }
    }

    /// The right-hand side of a row.
    pub(crate) fn bound(&self, row: usize) -> T {
        match self.row(row) {
            Row::Family(_) => T::one(),
            Row::Load(..) => T::zero(),
            Row::Extra(extra) => self.extras[extra].bound.clone(),
        }
    }

    /// The metric that an upper bound limits, for rows that are limits.
    pub(crate) fn limited(&self, row: usize) -> Option<Objective> {
        let Row::Extra(extra) = self.row(row) else { return None };
        let metric = self.extras[extra].metric;
        (metric != self.problem.objective).then_some(metric)
    }

    /// The nodes whose load a row bounds: more than one if they are alike, none if it bounds no load.
    pub(crate) fn loaded_nodes(&self, row: usize) -> NodeSet {
        let Row::Load(_, at) = self.row(row) else { return NodeSet::EMPTY };
        let class = self.alike.iter().find(|(first, _)| *first == at);
        class.map_or_else(|| NodeSet::single(self.loaded[at]), |(_, class)| *class)
    }

    /// The prices of the rows of the whole program that prices of this one's rows stand for.
    pub(crate) fn prices_of_whole(&self, whole: &Self, y: &[T]) -> Vec<T> {
        if self.alike.is_empty() {
            return y.to_vec();
        }
        let mut prices = vec![T::zero(); whole.rows()];
        prices[..self.families()].clone_from_slice(&y[..self.families()]);
        prices[whole.first_extra()..].clone_from_slice(&y[self.first_extra()..]);
        for (load, price) in y[self.families()..self.first_extra()].iter().enumerate() {
            let nodes = self.loaded_nodes(self.families() + load);
            let first = whole.families() + load / self.loaded.len() * whole.loaded.len();
            for (at, _) in whole.loaded.iter().enumerate().filter(|(_, node)| nodes.contains(**node)) {
                prices[first + at] = price.div(&T::of(count(nodes.len())));
            }
        }
        prices
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

    /// The length of the profile of a set: all that rows know of it.
    pub(crate) fn profile_len(&self) -> usize {
        MEMBERS + self.loaded.len()
    }

    /// Writes the profile of a set.
    pub(crate) fn profile(&self, candidate: &Candidate, profile: &mut [T]) {
        profile[ONE] = T::one();
        profile[SIZE] = T::of(count(candidate.set.len()));
        profile[LATENCY] = T::of(candidate.latency);
        for (&node, member) in self.loaded.iter().zip(&mut profile[MEMBERS..]) {
            *member = if candidate.set.contains(node) { T::one() } else { T::zero() };
        }
        for (at, class) in &self.alike {
            profile[MEMBERS + at] = T::of(count(candidate.set.intersection(*class).len()));
        }
    }

    /// What columns sum to in every row: `sets` holds for each family the sum of the profiles of its sets, each times its
    /// value, and `variables` the values of the variables.
    pub(crate) fn sums(&self, sets: &[T], variables: &[T], sums: &mut [T]) {
        let (families, nodes, len) = (self.families(), self.loaded.len(), self.profile_len());
        for (family, sum) in sums[..families].iter_mut().enumerate() {
            *sum = sets[family * len + ONE].clone();
        }
        sums[families..].fill(T::zero());
        for (sets, work) in sets.chunks_exact(len).zip(self.work.chunks_exact(self.loads().max(1))) {
            let members = &sets[MEMBERS..MEMBERS + nodes];
            let of_fractions = work.chunks_exact(nodes).zip(sums[families..].chunks_exact_mut(nodes));
            for (work, sums) in of_fractions {
                for ((sum, work), member) in sums.iter_mut().zip(work).zip(members) {
                    sum.add_mul(work, member);
                }
            }
        }
        for (extra, sum) in self.extras.iter().zip(&mut sums[self.first_extra()..]) {
            for (family, charge) in extra.charge.iter().enumerate() {
                sum.add_mul(charge, &sets[family * len + extra.of_profile()]);
            }
        }
        for (variable, value) in self.variables.iter().zip(variables) {
            for sum in &mut sums[variable.rows.clone()] {
                *sum = sum.sub(value);
            }
            if let Some((row, coefficient)) = &variable.limit {
                sums[*row].add_mul(coefficient, value);
            }
        }
    }

    /// The coefficient of a column in a row; sets come with their profile.
    #[inline]
    pub(crate) fn coefficient(&self, row: Row, column: &Column, profile: &[T]) -> T {
        let when = |it: bool, value: f64| if it { T::of(value) } else { T::zero() };
        match (column, row) {
            (Column::Set(family, _), Row::Family(of)) => when(of == *family, 1.0),
            (Column::Set(family, _), Row::Load(load, at)) => {
                self.work[family * self.loads() + load].mul(&profile[MEMBERS + at])
            }
            (Column::Set(family, _), Row::Extra(at)) => {
                let extra = &self.extras[at];
                extra.charge.get(*family).map_or_else(T::zero, |c| c.mul(&profile[extra.of_profile()]))
            }
            (Column::Variable(variable), _) => {
                let (variable, row) = (&self.variables[*variable], self.index(row));
                match &variable.limit {
                    Some((limit, coefficient)) if *limit == row => coefficient.clone(),
                    _ => when(variable.rows.contains(&row), -1.0),
                }
            }
            (Column::Slack(of), _) => when(*of == self.index(row), 1.0),
            (Column::Artificial(of), _) => when(*of == self.index(row), -1.0),
        }
    }

    fn index(&self, row: Row) -> usize {
        match row {
            Row::Family(family) => family,
            Row::Load(load, _) => self.families() + load,
            Row::Extra(at) => self.first_extra() + at,
        }
    }

    /// The rows with their prices `y`.
    pub(crate) fn priced<'y>(&self, y: &'y [T]) -> impl Iterator<Item = (Row, &'y T)> {
        y.iter().enumerate().map(|(row, y)| (self.row(row), y))
    }

    /// Sets the prices of nodes and of latency for every family, from prices of rows; rows that are left out have none.
    /// Prices below zero, which only prices of inequalities above zero lead to, become zero.
    pub(crate) fn price<'y>(
        &self,
        rows: impl Iterator<Item = (Row, &'y T)>,
        with_costs: bool,
        room: &mut Room<T>,
    ) where
        T: 'y,
    {
        for (prices, (size, latency)) in room.prices.iter_mut().zip(&self.set_cost) {
            prices.node.fill(T::zero());
            prices.size = if with_costs { size.clone() } else { T::zero() };
            prices.latency = if with_costs { latency.clone() } else { T::zero() };
        }
        for (row, y) in rows {
            for (family, prices) in room.prices.iter_mut().enumerate() {
                match row {
                    Row::Family(_) => {}
                    Row::Load(load, at) => {
                        prices.node[self.loaded[at]].sub_mul(&self.work[family * self.loads() + load], y);
                    }
                    Row::Extra(at) => match (&self.extras[at].metric, self.extras[at].charge.get(family)) {
                        (Objective::Latency, Some(charge)) => prices.latency.sub_mul(charge, y),
                        (Objective::Network, Some(charge)) => prices.size.sub_mul(charge, y),
                        _ => {}
                    },
                }
            }
        }
        for prices in &mut room.prices {
            for (at, class) in &self.alike {
                let price = prices.node[self.loaded[*at]].clone();
                for node in class.iter() {
                    prices.node[node].clone_from(&price);
                }
            }
            for price in &mut prices.node {
                *price = at_least_zero(price.add(&prices.size));
            }
            prices.latency = at_least_zero(prices.latency.clone());
        }
    }

    /// A cheapest set of a family at the prices in `room`, and what it costs but for the price of the family's own row.
    pub(crate) fn cheapest(&self, family: usize, room: &mut Room<T>) -> Option<(T, Candidate)> {
        self.problem.families[family].source.cheapest(&room.prices[family], &mut room.stack)
    }

    fn add_load_variables(&mut self, points: &[(T, T)]) {
        let (first, nodes) = (self.families(), self.loaded.len());
        if nodes == 0 {
            return;
        }
        let minimised = self.problem.objective == Objective::Load;
        let variable = |cost: &T, rows| Variable {
            cost: if minimised { cost.clone() } else { T::zero() },
            rows,
            limit: None,
        };
        match self.problem.workload {
            Workload::Expected(_) => self.variables.extend(
                points
                    .iter()
                    .enumerate()
                    .map(|(k, (_, weight))| variable(weight, first + k * nodes..first + (k + 1) * nodes)),
            ),
            Workload::Worst(..) => self.variables.push(variable(&T::one(), first..self.first_extra())),
        }
    }

    /// The charges per member or second of each family, one row of them for an expectation and one per end of a range.
    fn charges(&self, metric: Objective, points: &[(T, T)]) -> Vec<Vec<T>> {
        let scale = T::of(self.scale.of(metric));
        let shares = || self.share.chunks_exact(self.fractions);
        match self.problem.workload {
            Workload::Worst(..) => {
                (0..points.len()).map(|k| shares().map(|share| share[k].mul(&scale)).collect()).collect()
            }
            Workload::Expected(_) => {
                let mean = |share: &[T]| {
                    let mut mean = T::zero();
                    for (share, (_, weight)) in share.iter().zip(points) {
                        mean.add_mul(share, weight);
                    }
                    mean.mul(&scale)
                };
                vec![shares().map(mean).collect()]
            }
        }
    }

    fn add_limit(&mut self, metric: Objective, bound: &T, points: &[(T, T)]) {
        if metric == Objective::Load {
            let row = self.rows();
            let worst = matches!(self.problem.workload, Workload::Worst(..));
            for (variable, (_, weight)) in self.variables.iter_mut().zip(points) {
                variable.limit = Some((row, if worst { T::one() } else { weight.clone() }));
            }
            self.extras.push(Extra { metric, charge: Vec::new(), bound: bound.clone() });
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
        let rows = self.rows()..self.rows() + charges.len();
        self.variables.push(Variable { cost: T::one(), rows, limit: None });
        self.extras.extend(charges.into_iter().map(|charge| Extra { metric, charge, bound: T::zero() }));
    }
}

/// Prices by family, and room for the oracle.
pub(crate) struct Room<T> {
    pub(crate) prices: Vec<Prices<T>>,
    stack: Vec<Priced<T>>,
}

impl<T: Number> Room<T> {
    pub(crate) fn new(program: &Program<'_, T>) -> Self {
        let nodes = program.problem.capacities.len();
        let prices = (0..program.families()).map(|_| Prices::none(nodes)).collect();
        Self { prices, stack: Vec::new() }
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
