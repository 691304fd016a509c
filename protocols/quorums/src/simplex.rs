//! The revised simplex method over columns that an oracle generates, in either kind of number.
//!
//! Most rows bound the load of a node at a read fraction, and few of these bind. So the inverse is kept only of the part of
//! the basis that matters: its columns that are no slacks, in the *tight* rows, whose slack is not basic. Every step prices
//! the tight rows, asks for a column of negative reduced cost (sets first, then slacks and variables), and exchanges it for
//! the basic column or the slack that reaches zero first. The slack of a loose row that reaches zero makes the row tight and
//! the inverse larger; a slack that enters makes its row loose and the inverse smaller. When no such column exists the
//! prices prove the optimum.
//!
//! The first basis is feasible but for limits: a cheapest set of each family, each variable in the row that holds it up.
//! Rows of limits that it exceeds get an artificial column, and a first phase drives these to zero, or else ends with
//! prices that prove that no strategy keeps the limits (Farkas).

use crate::number::Number;
use crate::problem::Problem;
use crate::program::{Column, Program, Room, Row};
use crate::source::Candidate;
use crate::square::Square;
use crate::{Error, NodeSet, Result};
use std::cmp::Ordering;

/// The most steps of one run.
const MAX_STEPS: usize = 20_000;
/// Pivots smaller than this are rounding, in floating point.
const LEAST_PIVOT: f64 = 1e-9;
/// In place of the position of a row that is not tight.
const LOOSE: usize = usize::MAX;

/// Where a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended<T> {
    /// Can the limits be kept? If not, `value` is by how much they are exceeded, and `y` proves it.
    pub(crate) feasible: bool,
    /// The objective.
    pub(crate) value: T,
    /// The basic columns that are no slacks.
    pub(crate) basis: Vec<Column>,
    /// Their values.
    pub(crate) x: Vec<T>,
    /// The rows whose slack is not basic, as many as there are basic columns.
    pub(crate) tight: Vec<usize>,
    /// The price of each row.
    pub(crate) y: Vec<T>,
}

impl<T: Number> Ended<T> {
    /// The sets of a family with their probabilities, such that nodes that are alike have the same.
    pub(crate) fn sets(&self, problem: &Problem, family: usize) -> Vec<(NodeSet, T)> {
        let of_family = |(column, x): (&Column, &T)| match column {
            Column::Set(of, candidate) if *of == family => Some((candidate.set, x.clone())),
            _ => None,
        };
        let sets = self.basis.iter().zip(&self.x).filter_map(of_family);
        match &problem.symmetry {
            Some(symmetry) => symmetry.spread(sets),
            None => sets.collect(),
        }
    }
}

/// What leaves the basis.
#[derive(Clone, Copy, PartialEq)]
enum Leaving {
    /// The basic column of this position.
    Basic(usize),
    /// The slack of this row.
    Slack(usize),
}

struct Simplex<'a, T> {
    program: &'a Program<'a, T>,
    /// Basic columns other than slacks; below, by the same positions, their values, costs and profiles.
    basis: Vec<Column>,
    x: Vec<T>,
    cost: Vec<T>,
    profiles: Vec<T>,
    /// By variable: is it basic?
    held: Vec<bool>,
    tight: Vec<usize>,
    /// What the tight rows are about.
    tight_rows: Vec<Row>,
    /// By row: its position in `tight`, or [`LOOSE`].
    position: Vec<usize>,
    /// A row per basic column and a column per tight row.
    inverse: Square<T>,
    /// By row: what the basic columns leave below its bound; zero if tight.
    slack: Vec<T>,
    /// By position in `tight`: the price of the row. Those of loose rows are zero.
    y: Vec<T>,
    /// How each basic column shrinks per unit of the column that enters, and each loose row's slack.
    direction: Vec<T>,
    change: Vec<T>,
    /// The profile of the column that enters, if it is a set.
    profile: Vec<T>,
    /// Sums of profiles by family, and of variables.
    sums: (Vec<T>, Vec<T>),
    /// A row of the inverse, or the entries of a column in the tight rows.
    line: Vec<T>,
    room: Room<T>,
    /// A set that was worth it when another was more so.
    second: Option<(usize, Candidate)>,
    steps: usize,
}

/// Solves from the ordinary first basis.
pub(crate) fn solve<T: Number>(program: &Program<'_, T>) -> Result<Ended<T>> {
    let mut simplex = Simplex::new(program);
    simplex.first_basis();
    simplex.run()
}

/// Solves from where another run ended, if that is a feasible basis here; from the ordinary first basis otherwise.
pub(crate) fn resume<T: Number, U>(program: &Program<'_, T>, near: &Ended<U>) -> Result<Ended<T>> {
    let mut simplex = Simplex::new(program);
    if simplex.install(&near.basis, &near.tight) {
        return simplex.run();
    }
    solve(program)
}

impl<'a, T: Number> Simplex<'a, T> {
    /// All rows are loose, those of families too, until their first set enters.
    fn new(program: &'a Program<'a, T>) -> Self {
        let (rows, variables) = (program.rows(), program.variables.len());
        let room = rows.min(program.families() + variables + 16);
        Self {
            program,
            basis: Vec::with_capacity(room),
            x: Vec::with_capacity(room),
            cost: Vec::with_capacity(room),
            profiles: Vec::with_capacity(room * program.profile_len()),
            held: vec![false; variables],
            tight: Vec::with_capacity(room),
            tight_rows: Vec::with_capacity(room),
            position: vec![LOOSE; rows],
            inverse: Square::with_room(room),
            slack: (0..rows).map(|row| program.bound(row)).collect(),
            y: Vec::with_capacity(room),
            direction: Vec::with_capacity(room),
            change: vec![T::zero(); rows],
            profile: vec![T::zero(); program.profile_len()],
            sums: (vec![T::zero(); program.families() * program.profile_len()], vec![T::zero(); variables]),
            line: Vec::with_capacity(room),
            room: Room::new(program),
            steps: 0,
            second: None,
        }
    }

    fn first_basis(&mut self) {
        let (program, families) = (self.program, self.program.families());
        // Prices as if every row were equally tight: each set costs the work it makes.
        let price = T::of(-1.0);
        program.price((families..program.rows()).map(|row| (program.row(row), &price)), true, &mut self.room);
        for family in 0..families {
            if let Some((_, set)) = program.cheapest(family, &mut self.room) {
                self.enter(Column::Set(family, set), Leaving::Slack(family));
            }
        }
        let compare = |a: &T, b: &T| a.partial_cmp(b).unwrap_or(Ordering::Equal);
        for (i, variable) in program.variables.iter().enumerate() {
            let fullest = variable.rows.clone().min_by(|a, b| compare(&self.slack[*a], &self.slack[*b]));
            if let Some(row) = fullest {
                self.enter(Column::Variable(i), Leaving::Slack(row));
            }
        }
        for row in families..program.rows() {
            if self.slack[row] < T::zero() {
                self.enter(Column::Artificial(row), Leaving::Slack(row));
            }
        }
    }

    fn enter(&mut self, column: Column, leaving: Leaving) {
        self.direct(&column);
        self.pivot(leaving, column);
    }

    /// Makes these columns basic and these rows tight; false if that is no feasible basis.
    fn install(&mut self, basis: &[Column], tight: &[usize]) -> bool {
        for column in basis {
            self.direct(column);
            let free = |row: &&usize| self.position[**row] == LOOSE && !self.change[**row].is_noise();
            let Some(&row) = tight.iter().find(free) else { return false };
            self.pivot(Leaving::Slack(row), *column);
        }
        let families_hold = self.position[..self.program.families()].iter().all(|at| *at != LOOSE);
        families_hold && self.x.iter().chain(&self.slack).all(|value| !value.is_below_zero())
    }

    fn run(mut self) -> Result<Ended<T>> {
        let infeasible = |column: &Column| matches!(column, Column::Artificial(_));
        if self.basis.iter().zip(&self.x).any(|(column, x)| infeasible(column) && x.is_above_zero()) {
            self.minimise(false)?;
            let mut excess = T::zero();
            for (_, x) in self.basis.iter().zip(&self.x).filter(|(column, _)| infeasible(column)) {
                excess = excess.add(x);
            }
            if excess.is_above_zero() {
                return Ok(self.ended(false, excess));
            }
        }
        self.minimise(true)?;
        let mut value = T::zero();
        for (cost, x) in self.cost.iter().zip(&self.x) {
            value.add_mul(cost, x);
        }
        Ok(self.ended(true, value))
    }

    fn ended(self, feasible: bool, value: T) -> Ended<T> {
        let y = self.prices_of_rows();
        Ended { feasible, value, basis: self.basis, x: self.x, tight: self.tight, y }
    }

    fn prices_of_rows(&self) -> Vec<T> {
        let mut prices = vec![T::zero(); self.program.rows()];
        for (row, price) in self.tight.iter().zip(&self.y) {
            prices[*row] = price.clone();
        }
        prices
    }

    /// Steps until no column improves.
    fn minimise(&mut self, with_costs: bool) -> Result<()> {
        loop {
            self.price(with_costs);
            let Some(column) = self.entering(with_costs) else { return Ok(()) };
            self.steps += 1;
            self.direct(&column);
            match self.leaving() {
                Some(leaving) if self.steps <= MAX_STEPS => self.pivot(leaving, column),
                _ => return Err(Error::Stalled { iterations: self.steps }),
            }
        }
    }

    /// The prices of the tight rows, and what they make of nodes and latency.
    fn price(&mut self, with_costs: bool) {
        self.y.clear();
        self.y.resize(self.tight.len(), T::zero());
        for (at, (column, cost)) in self.basis.iter().zip(&self.cost).enumerate() {
            let cost = match column {
                _ if with_costs => cost.clone(),
                Column::Artificial(_) => T::one(),
                _ => continue,
            };
            if cost > T::zero() {
                for (price, entry) in self.y.iter_mut().zip(self.inverse.row(at)) {
                    price.add_mul(&cost, entry);
                }
            }
        }
        self.program.price(self.tight_rows.iter().copied().zip(&self.y), with_costs, &mut self.room);
    }

    /// A column of negative reduced cost: a set that was second best the last time, the best set, or the best slack or
    /// variable.
    ///
    /// The oracle takes prices of inequalities that have the wrong sign for zero, which makes no set cheaper: a set that is
    /// worth it then is worth it. Sets first, since the prices of a few sets are far off, and exchanging slacks until these
    /// are right is most of the work otherwise.
    fn entering(&mut self, with_costs: bool) -> Option<Column> {
        let families = self.program.families();
        let mut best = None;
        if let Some((family, set)) = self.second.take() {
            let cost = self.room.prices[family].of(&set).sub(&self.y[self.position[family]]);
            offer(&mut best, cost, Column::Set(family, set));
        }
        if best.is_none() {
            for family in 0..families {
                let Some((cost, set)) = self.program.cheapest(family, &mut self.room) else { continue };
                let cost = cost.sub(&self.y[self.position[family]]);
                if let Some((_, Column::Set(family, set))) = offer(&mut best, cost, Column::Set(family, set))
                {
                    self.second = Some((family, set));
                }
            }
        }
        if best.is_none() {
            for (&row, price) in self.tight.iter().zip(&self.y).filter(|(row, _)| **row >= families) {
                offer(&mut best, T::zero().sub(price), Column::Slack(row));
            }
        }
        if best.is_none() && self.held.iter().any(|held| !held) {
            let prices = self.prices_of_rows();
            for (i, variable) in self.program.variables.iter().enumerate().filter(|(i, _)| !self.held[*i]) {
                offer(&mut best, variable.reduced_cost(&prices, with_costs), Column::Variable(i));
            }
        }
        best.map(|(_, column)| column)
    }

    /// How the basic columns and the slacks of loose rows shrink per unit of a column.
    fn direct(&mut self, column: &Column) {
        let len = self.program.profile_len();
        let (sets, variables) = &mut self.sums;
        sets.fill(T::zero());
        variables.fill(T::zero());
        match column {
            Column::Set(family, set) => {
                self.program.profile(set, &mut self.profile);
                sets[family * len..(family + 1) * len].clone_from_slice(&self.profile);
            }
            Column::Variable(variable) => variables[*variable] = T::one(),
            Column::Slack(_) | Column::Artificial(_) => {}
        }
        self.direction.clear();
        if let Column::Slack(row) = column {
            let at = self.position[*row];
            self.direction.extend((0..self.basis.len()).map(|i| self.inverse.row(i)[at].clone()));
        } else {
            self.line.clear();
            let entry = |row: &Row| self.program.coefficient(*row, column, &self.profile);
            self.line.extend(self.tight_rows.iter().map(entry));
            self.direction.extend((0..self.basis.len()).map(|at| T::dot(self.inverse.row(at), &self.line)));
        }
        for (at, (basic, amount)) in self.basis.iter().zip(&self.direction).enumerate() {
            match basic {
                Column::Set(family, _) => {
                    let profile = &self.profiles[at * len..(at + 1) * len];
                    for (sum, part) in sets[family * len..].iter_mut().zip(profile) {
                        sum.sub_mul(amount, part);
                    }
                }
                Column::Variable(variable) => variables[*variable] = variables[*variable].sub(amount),
                // The row of a basic artificial column is tight.
                Column::Slack(_) | Column::Artificial(_) => {}
            }
        }
        self.program.sums(sets, variables, &mut self.change);
        if let Column::Artificial(row) = column {
            self.change[*row] = self.change[*row].sub(&T::one());
        }
        for row in &self.tight {
            self.change[*row] = T::zero();
        }
    }

    /// What reaches zero first; among equals the one with the largest pivot.
    fn leaving(&self) -> Option<Leaving> {
        let mut best: Option<(T, &T, Leaving)> = None;
        let mut offer = |value: &T, pivot, held, leaving| {
            let ratio = if held { T::zero() } else { value.div(pivot) };
            let better = best.as_ref().is_none_or(|(least, chosen, _)| {
                let tie = ratio.sub(least).is_noise();
                if tie { *chosen < pivot } else { ratio < *least }
            });
            if better {
                best = Some((ratio, pivot, leaving));
            }
        };
        let shrinks = |d: &T| if T::EXACT { *d > T::zero() } else { d.to_f64() > LEAST_PIVOT };
        for (at, (x, d)) in self.x.iter().zip(&self.direction).enumerate() {
            // An artificial column that is zero must stay zero: it leaves before it can grow.
            let artificial = matches!(self.basis[at], Column::Artificial(_));
            let held = artificial && !x.is_above_zero() && !d.is_noise();
            if shrinks(d) || held {
                offer(x, d, held, Leaving::Basic(at));
            }
        }
        for (row, (slack, d)) in self.slack.iter().zip(&self.change).enumerate() {
            if shrinks(d) {
                offer(slack, d, false, Leaving::Slack(row));
            }
        }
        best.map(|(_, _, leaving)| leaving)
    }

    /// Exchanges what leaves for a column, whose direction is known.
    fn pivot(&mut self, leaving: Leaving, column: Column) {
        let (pivot, value) = match leaving {
            Leaving::Basic(at) => (&self.direction[at], &self.x[at]),
            Leaving::Slack(row) => (&self.change[row], &self.slack[row]),
        };
        let (scale, step) = (T::one().div(pivot), value.div(pivot));
        self.leaving_line(leaving, &scale);
        for (at, amount) in self.direction.iter().enumerate() {
            if leaving == Leaving::Basic(at) || *amount == T::zero() {
                continue;
            }
            self.x[at].sub_mul(amount, &step);
            self.x[at].settle();
            for (entry, line) in self.inverse.row_mut(at).iter_mut().zip(&self.line) {
                entry.sub_mul(amount, line);
            }
        }
        for (slack, change) in self.slack.iter_mut().zip(&self.change) {
            slack.sub_mul(change, &step);
            slack.settle();
        }
        if let Leaving::Slack(row) = leaving {
            self.slack[row] = T::zero();
        }
        match (column, leaving) {
            (Column::Slack(row), _) => {
                self.slack[row] = step;
                self.loosen(row);
                if let Leaving::Basic(at) = leaving {
                    self.drop_basic(at);
                }
            }
            (column, Leaving::Basic(at)) => self.put(at, column, step),
            (column, Leaving::Slack(_)) => {
                let at = self.basis.len();
                self.put(at, column, step);
            }
        }
    }

    /// Puts the row of the inverse that leaves, times a factor, into `line`; a slack's row becomes tight.
    fn leaving_line(&mut self, leaving: Leaving, factor: &T) {
        self.line.clear();
        match leaving {
            Leaving::Basic(at) => {
                self.line.extend(self.inverse.row(at).iter().map(|entry| entry.mul(factor)));
            }
            Leaving::Slack(row) => {
                let len = self.program.profile_len();
                let about = self.program.row(row);
                self.line.resize(self.tight.len(), T::zero());
                for (at, column) in self.basis.iter().enumerate() {
                    let profile = &self.profiles[at * len..(at + 1) * len];
                    let coefficient = self.program.coefficient(about, column, profile);
                    if coefficient != T::zero() {
                        let coefficient = coefficient.mul(factor);
                        for (line, entry) in self.line.iter_mut().zip(self.inverse.row(at)) {
                            line.sub_mul(&coefficient, entry);
                        }
                    }
                }
                self.line.push(factor.clone());
                self.position[row] = self.tight.len();
                self.tight.push(row);
                self.tight_rows.push(about);
                self.inverse.add_column();
            }
        }
    }

    /// Makes a column basic at a position, with the row of the inverse in `line`.
    fn put(&mut self, at: usize, column: Column, value: T) {
        let len = self.program.profile_len();
        let cost = self.program.cost(&column);
        if at == self.basis.len() {
            self.basis.push(column);
            self.x.push(value);
            self.cost.push(cost);
            self.profiles.resize((at + 1) * len, T::zero());
            self.inverse.add_row(&self.line);
        } else {
            self.release(at);
            self.basis[at] = column;
            self.x[at] = value;
            self.cost[at] = cost;
            self.inverse.row_mut(at).clone_from_slice(&self.line);
        }
        match &self.basis[at] {
            Column::Set(..) => self.profiles[at * len..(at + 1) * len].clone_from_slice(&self.profile),
            Column::Variable(variable) => self.held[*variable] = true,
            Column::Slack(_) | Column::Artificial(_) => {}
        }
    }

    fn release(&mut self, at: usize) {
        if let Column::Variable(variable) = self.basis[at] {
            self.held[variable] = false;
        }
    }

    /// Takes the basic column of a position out; the last one takes its place.
    fn drop_basic(&mut self, at: usize) {
        let len = self.program.profile_len();
        self.release(at);
        self.basis.swap_remove(at);
        self.x.swap_remove(at);
        self.cost.swap_remove(at);
        let last = self.basis.len() * len;
        for i in 0..len {
            self.profiles.swap(at * len + i, last + i);
        }
        self.profiles.truncate(last);
        self.inverse.drop_row(at);
    }

    /// Makes a row loose; the last tight row takes its place.
    fn loosen(&mut self, row: usize) {
        let at = std::mem::replace(&mut self.position[row], LOOSE);
        self.tight.swap_remove(at);
        self.tight_rows.swap_remove(at);
        if let Some(moved) = self.tight.get(at) {
            self.position[*moved] = at;
        }
        self.inverse.drop_column(at);
    }
}

/// Keeps the column with the most negative reduced cost; returns the other, if both are negative.
fn offer<T: Number>(best: &mut Option<(T, Column)>, cost: T, column: Column) -> Option<(T, Column)> {
    if !cost.is_below_zero() {
        return None;
    }
    match best {
        Some((least, _)) if *least <= cost => Some((cost, column)),
        _ => best.replace((cost, column)),
    }
}
