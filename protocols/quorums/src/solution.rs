//! The answer to a plan: a strategy, its value, and the way to a proof.

use crate::certificate::Certificate;
use crate::plan::Solved;
use crate::problem::{Problem, Side};
use crate::strategy::{Choice, Strategy};
use crate::{NodeSet, Result};
use std::ops::Range;

/// An optimal strategy, found in floating point.
#[derive(Clone, Debug)]
pub struct Solution {
    problem: Problem,
    solved: Solved,
}

impl Solution {
    pub(crate) fn new(problem: Problem, solved: Solved) -> Self {
        Self { problem, solved }
    }

    /// The optimum of the plan's objective, in its units.
    pub fn value(&self) -> f64 {
        self.solved.value
    }

    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }

    pub(crate) fn solved(&self) -> &Solved {
        &self.solved
    }

    /// The strategy.
    pub fn strategy(&self) -> Strategy {
        let side = |side| choices(&self.problem, &self.solved, side, 0..2);
        Strategy::of_choices(&self.problem.capacities, side(Side::Read), side(Side::Write))
            .expect("the probabilities of an optimum are positive and sum to one")
    }

    /// The exact optimum with its proof, from where floating point ended.
    ///
    /// # Errors
    /// When the solver does not end.
    pub fn prove(&self) -> Result<Certificate> {
        Certificate::near(&self.problem, &self.solved.ended)
    }
}

/// The sets of some families that are of one side, with their values.
pub(crate) fn choices(problem: &Problem, solved: &Solved, side: Side, families: Range<usize>) -> Vec<Choice> {
    let of_side = families.filter(|family| problem.families[*family].side == side);
    let choices = |family: usize| {
        let choice = move |(nodes, x): (NodeSet, f64)| Choice {
            nodes,
            probability: x.max(0.0),
            latency: problem.families[family].source.latency(nodes),
        };
        solved.ended.sets(problem, family).into_iter().map(choice)
    };
    of_side.flat_map(choices).collect()
}
