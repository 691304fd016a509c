//! The answer to a plan: a strategy, its value, and the way to a proof.

use crate::certificate::Certificate;
use crate::plan::{Plan, Solved};
use crate::program::{Column, Problem, Program, Scale, Side};
use crate::simplex;
use crate::strategy::{Choice, Strategy};
use crate::{Cluster, ReadWriteQuorumSystem, Result};
use num_rational::BigRational;

/// An optimal strategy, found in floating point.
#[derive(Clone, Debug)]
pub struct Solution {
    system: ReadWriteQuorumSystem,
    cluster: Cluster,
    plan: Plan,
    problem: Problem,
    solved: Solved,
}

impl Solution {
    pub(crate) fn new(
        system: ReadWriteQuorumSystem,
        cluster: Cluster,
        plan: Plan,
        problem: Problem,
        solved: Solved,
    ) -> Self {
        Self { system, cluster, plan, problem, solved }
    }

    /// The optimum of the plan's objective, in its units.
    pub fn value(&self) -> f64 {
        self.solved.value
    }

    /// The strategy.
    ///
    /// # Errors
    /// Never for a solution of [`ReadWriteQuorumSystem::optimise`]; the signature is that of every strategy from weights.
    pub fn strategy(&self) -> Result<Strategy> {
        let side = |side| choices(&self.problem, &self.solved, side);
        Strategy::of_choices(&self.cluster, side(Side::Read), side(Side::Write))
    }

    /// Solves again in rational arithmetic from where floating point ended, and returns the exact optimum with its proof.
    ///
    /// # Errors
    /// When the solver does not end.
    pub fn prove(&self) -> Result<Certificate> {
        let program = Program::<BigRational>::new(&self.problem, Scale::NONE);
        let ended = simplex::resume(&program, &self.solved.basis)?;
        Ok(Certificate::new(&self.problem, &ended))
    }

    /// The system it is for.
    pub fn system(&self) -> &ReadWriteQuorumSystem {
        &self.system
    }

    /// The plan it answers.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// The sets of the families of one side with their values.
pub(crate) fn choices(problem: &Problem, solved: &Solved, side: Side) -> Vec<Choice> {
    let chosen = |(column, x): (&Column, &f64)| match column {
        Column::Set(family, candidate) if problem.families[*family].side == side => {
            let probability = x.max(0.0) * problem.families[*family].share;
            Some(Choice { nodes: candidate.set, probability, latency: candidate.latency })
        }
        _ => None,
    };
    solved.basis.iter().zip(&solved.x).filter_map(chosen).collect()
}
