//! The revised simplex method over columns that an oracle generates, in either kind of number.
//!
//! The inverse of the basis is kept as a dense matrix. Every step prices the rows, asks for a column of negative reduced
//! cost (slacks and variables first, so that prices of inequalities have the right sign when the oracle is asked), and
//! exchanges it for the basic column that reaches zero first. When no such column exists the prices prove the optimum.
//!
//! The first basis is feasible but for limits: a cheapest set of each family, each variable in the row that holds it up.
//! Rows of limits that it exceeds get an artificial column, and a first phase drives these to zero, or else ends with
//! prices that prove that no strategy keeps the limits (Farkas).

use crate::number::Number;
use crate::program::{Column, Program};
use crate::{Error, Result};

/// The most steps of one run.
const MAX_STEPS: usize = 20_000;
/// Pivots smaller than this are rounding, in floating point.
const LEAST_PIVOT: f64 = 1e-9;

/// Where a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended<T> {
    /// Can the limits be kept? If not, `value` is by how much they are exceeded, and `y` proves it.
    pub(crate) feasible: bool,
    /// The objective.
    pub(crate) value: T,
    /// The basic columns.
    pub(crate) basis: Vec<Column>,
    /// Their values.
    pub(crate) x: Vec<T>,
    /// The price of each row.
    pub(crate) y: Vec<T>,
}

struct Simplex<'a, T> {
    program: &'a Program<'a, T>,
    rows: usize,
    basis: Vec<Column>,
    /// Row by row.
    inverse: Vec<T>,
    x: Vec<T>,
    steps: usize,
}

/// Solves from the ordinary first basis.
pub(crate) fn solve<T: Number>(program: &Program<'_, T>) -> Result<Ended<T>> {
    let mut simplex = Simplex::new(program);
    simplex.first_basis();
    simplex.run()
}

/// Solves from a basis that another run ended with, if it is one here; from the ordinary first basis otherwise.
pub(crate) fn resume<T: Number>(program: &Program<'_, T>, basis: &[Column]) -> Result<Ended<T>> {
    let mut simplex = Simplex::new(program);
    if simplex.install(basis) {
        return simplex.run();
    }
    solve(program)
}

impl<'a, T: Number> Simplex<'a, T> {
    fn new(program: &'a Program<'a, T>) -> Self {
        let rows = program.rows();
        let mut inverse = vec![T::zero(); rows * rows];
        for row in 0..rows {
            inverse[row * rows + row] = T::one();
        }
        let families = program.families();
        let column = |row| if row < families { Column::Artificial(row) } else { Column::Slack(row) };
        Self {
            program,
            rows,
            basis: (0..rows).map(column).collect(),
            inverse,
            x: (0..rows).map(|row| program.bound(row)).collect(),
            steps: 0,
        }
    }

    fn first_basis(&mut self) {
        // Prices as if every load row were equally tight: each set costs the work it makes.
        let y: Vec<T> =
            (0..self.rows).map(|row| T::of(if row < self.program.families() { 0.0 } else { -1.0 })).collect();
        for family in 0..self.program.families() {
            if let Some((_, candidate)) = self.program.cheapest(family, &y, true) {
                let column = Column::Set(family, candidate);
                let direction = self.direction(&column);
                self.pivot(family, column, &direction);
            }
        }
        for (i, variable) in self.program.variables.iter().enumerate() {
            let fullest = variable
                .rows
                .iter()
                .copied()
                .min_by(|a, b| self.x[*a].partial_cmp(&self.x[*b]).unwrap_or(std::cmp::Ordering::Equal));
            if let Some(row) = fullest {
                let column = Column::Variable(i);
                let direction = self.direction(&column);
                self.pivot(row, column, &direction);
            }
        }
        self.cover_exceeded_limits();
    }

    /// Gives every row below its bound an artificial column instead of its slack.
    fn cover_exceeded_limits(&mut self) {
        for row in 0..self.rows {
            if matches!(self.basis[row], Column::Slack(_)) && self.x[row] < T::zero() {
                let Column::Slack(of) = self.basis[row] else { continue };
                self.basis[row] = Column::Artificial(of);
                let minus = T::of(-1.0);
                self.x[row] = self.x[row].mul(&minus);
                for entry in &mut self.inverse[row * self.rows..(row + 1) * self.rows] {
                    *entry = entry.mul(&minus);
                }
            }
        }
    }

    /// Makes these columns basic; false if they are no feasible basis.
    fn install(&mut self, basis: &[Column]) -> bool {
        let mut free: Vec<bool> = vec![true; self.rows];
        for column in basis {
            if let Column::Slack(row) = column {
                free[*row] = false;
            }
        }
        for column in basis.iter().filter(|column| !matches!(column, Column::Slack(_))) {
            let direction = self.direction(column);
            let magnitude = |row: &usize| direction[*row].to_f64().abs();
            let candidates = (0..self.rows).filter(|&row| free[row] && !direction[row].is_noise());
            // Exact numbers need no large pivot, and the first keeps them short.
            let row = if T::EXACT {
                candidates.min_by_key(|row| self.fill(*row))
            } else {
                candidates.max_by(|a, b| magnitude(a).total_cmp(&magnitude(b)))
            };
            let Some(row) = row else { return false };
            free[row] = false;
            self.pivot(row, *column, &direction);
        }
        self.x.iter().all(|x| !x.is_below_zero())
    }

    fn fill(&self, row: usize) -> usize {
        self.inverse[row * self.rows..(row + 1) * self.rows].iter().filter(|entry| !entry.is_noise()).count()
    }

    fn run(&mut self) -> Result<Ended<T>> {
        let infeasible = |column: &Column| matches!(column, Column::Artificial(_));
        if self.basis.iter().zip(&self.x).any(|(column, x)| infeasible(column) && x.is_above_zero()) {
            let y = self.minimise(false)?;
            let mut excess = T::zero();
            for (_, x) in self.basis.iter().zip(&self.x).filter(|(column, _)| infeasible(column)) {
                excess = excess.add(x);
            }
            if excess.is_above_zero() {
                return Ok(self.ended(false, excess, y));
            }
        }
        let y = self.minimise(true)?;
        let mut value = T::zero();
        for (column, x) in self.basis.iter().zip(&self.x) {
            value.add_mul(&self.program.cost(column), x);
        }
        Ok(self.ended(true, value, y))
    }

    fn ended(&self, feasible: bool, value: T, y: Vec<T>) -> Ended<T> {
        Ended { feasible, value, basis: self.basis.clone(), x: self.x.clone(), y }
    }

    /// Steps until no column improves; returns the prices of the rows.
    fn minimise(&mut self, with_costs: bool) -> Result<Vec<T>> {
        loop {
            let y = self.prices(with_costs);
            let Some(column) = self.entering(&y, with_costs) else { return Ok(y) };
            self.steps += 1;
            let direction = self.direction(&column);
            match self.leaving(&direction) {
                Some(row) if self.steps <= MAX_STEPS => self.pivot(row, column, &direction),
                _ => return Err(Error::Stalled { iterations: self.steps }),
            }
        }
    }

    fn column_cost(&self, column: &Column, with_costs: bool) -> T {
        match (with_costs, column) {
            (true, column) => self.program.cost(column),
            (false, Column::Artificial(_)) => T::one(),
            (false, _) => T::zero(),
        }
    }

    fn prices(&self, with_costs: bool) -> Vec<T> {
        let mut y = vec![T::zero(); self.rows];
        for (row, column) in self.basis.iter().enumerate() {
            let cost = self.column_cost(column, with_costs);
            if cost > T::zero() {
                let inverse = &self.inverse[row * self.rows..(row + 1) * self.rows];
                for (y, entry) in y.iter_mut().zip(inverse) {
                    y.add_mul(&cost, entry);
                }
            }
        }
        y
    }

    /// The column with the most negative reduced cost: among slacks and variables if one is negative, else among sets.
    fn entering(&self, y: &[T], with_costs: bool) -> Option<Column> {
        let families = self.program.families();
        let mut best = None;
        for (row, y) in y.iter().enumerate().skip(families).filter(|(_, y)| **y > T::zero()) {
            offer(&mut best, T::zero().sub(y), Column::Slack(row));
        }
        for (i, variable) in self.program.variables.iter().enumerate() {
            offer(&mut best, variable.reduced_cost(y, with_costs), Column::Variable(i));
        }
        if best.is_none() {
            for family in 0..families {
                if let Some((cost, candidate)) = self.program.cheapest(family, y, with_costs) {
                    offer(&mut best, cost, Column::Set(family, candidate));
                }
            }
        }
        best.map(|(_, column)| column)
    }

    /// How the basic columns change, with the sign turned, per unit of a column.
    fn direction(&self, column: &Column) -> Vec<T> {
        let entries = self.program.entries(column);
        let along = |inverse: &[T]| {
            let mut sum = T::zero();
            for (row, coefficient) in &entries {
                if !T::EXACT || !inverse[*row].is_noise() {
                    sum.add_mul(&inverse[*row], coefficient);
                }
            }
            sum
        };
        self.inverse.chunks_exact(self.rows).map(along).collect()
    }

    /// The row whose basic column reaches zero first; among equals the one with the largest pivot.
    fn leaving(&self, direction: &[T]) -> Option<usize> {
        let mut best: Option<(T, usize)> = None;
        for (row, (x, d)) in self.x.iter().zip(direction).enumerate() {
            let artificial = matches!(self.basis[row], Column::Artificial(_));
            // An artificial column that is zero must stay zero: it leaves before it can grow.
            let held = artificial && !x.is_above_zero() && !d.is_noise();
            let shrinks = if T::EXACT { *d > T::zero() } else { d.to_f64() > LEAST_PIVOT };
            if !shrinks && !held {
                continue;
            }
            let ratio = if held { T::zero() } else { x.div(d) };
            let better = match &best {
                None => true,
                Some((least, chosen)) => {
                    let tie = ratio.sub(least).is_noise();
                    if tie { direction[*chosen] < *d } else { ratio < *least }
                }
            };
            if better {
                best = Some((ratio, row));
            }
        }
        best.map(|(_, row)| row)
    }

    fn pivot(&mut self, row: usize, column: Column, direction: &[T]) {
        let rows = self.rows;
        let mut pivot_row: Vec<T> = self.inverse[row * rows..(row + 1) * rows].to_vec();
        for entry in pivot_row.iter_mut().filter(|entry| !T::EXACT || !entry.is_noise()) {
            *entry = entry.div(&direction[row]);
        }
        let step = self.x[row].div(&direction[row]);
        let nonzero = pivot_row.iter().filter(|entry| **entry != T::zero()).count();
        let sparse = T::EXACT || 4 * nonzero < rows;
        let nonzero: Vec<usize> =
            if sparse { (0..rows).filter(|&at| pivot_row[at] != T::zero()).collect() } else { Vec::new() };
        for (other, d) in direction.iter().enumerate() {
            if other == row || *d == T::zero() {
                continue;
            }
            self.x[other].sub_mul(d, &step);
            if !T::EXACT && self.x[other].is_noise() {
                self.x[other] = T::zero();
            }
            let inverse = &mut self.inverse[other * rows..(other + 1) * rows];
            if sparse {
                for &at in &nonzero {
                    inverse[at].sub_mul(d, &pivot_row[at]);
                }
            } else {
                // A dense pass is one vector operation after another.
                for (entry, pivot) in inverse.iter_mut().zip(&pivot_row) {
                    entry.sub_mul(d, pivot);
                }
            }
        }
        self.inverse[row * rows..(row + 1) * rows].clone_from_slice(&pivot_row);
        self.x[row] = step;
        self.basis[row] = column;
    }
}

/// Keeps the column with the most negative reduced cost.
fn offer<T: Number>(best: &mut Option<(T, Column)>, cost: T, column: Column) {
    if cost.is_below_zero() && best.as_ref().is_none_or(|(least, _)| cost < *least) {
        *best = Some((cost, column));
    }
}
