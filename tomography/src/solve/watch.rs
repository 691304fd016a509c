//! How a solver comes along, and how it goes on after it was interrupted.
//!
//! After each iteration a solver gives what it would need to go on to its [`Watch`]: the iterates and the numbers that
//! enter the next iteration, and nothing that can be computed again. A solver that begins with them computes the bits
//! that it would have computed without the interruption, since nothing else passes from one iteration to the next.

use super::Run;
use crate::wave::Misfit;
use crate::{Error, Result, Stack};
use std::ops::ControlFlow;

/// How far a solver has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Iterations done before this one.
    pub iteration: usize,
    /// The misfit over all rows, half the squares of a linear model's, of the volume from which this iteration starts.
    pub loss: f64,
    /// The largest share of a wave's energy beyond 2/3 of Nyquist in this iteration ([`Misfit::energy_outside`]); 0 for rays.
    pub energy_outside: f64,
}

impl Progress {
    pub(crate) const fn new(iteration: usize, Misfit { loss, energy_outside }: Misfit) -> Self {
        Self { iteration, loss, energy_outside }
    }
}

/// What passes from one iteration of a solver to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Iterations that are done.
    pub iterations: usize,
    /// Numbers, in the order of the solver.
    pub scalars: Vec<f64>,
    /// Volumes and tilt series, in the order of the solver.
    pub stacks: Vec<Stack>,
}

/// Whom a solver tells how it comes along.
///
/// A function of the progress is one that keeps nothing.
pub trait Watch {
    /// Called once in each iteration; may stop it. Where several workers hold the rows, all must answer alike, as they do
    /// if the answer depends on the progress alone.
    fn progress(&mut self, progress: Progress) -> ControlFlow<()>;

    /// What was kept of an earlier run, if there was one.
    ///
    /// # Errors
    /// If it is there and cannot be used.
    fn resume(&mut self) -> Result<Option<State>> {
        Ok(None)
    }

    /// Keeps what passes to the next iteration, after so many.
    ///
    /// # Errors
    /// If it cannot be kept.
    fn keep(&mut self, iterations: usize, scalars: &[f64], stacks: &[&Stack]) -> Result<()> {
        let _ = (iterations, scalars, stacks);
        Ok(())
    }
}

impl<F: FnMut(Progress) -> ControlFlow<()>> Watch for F {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        self(progress)
    }
}

impl Run<'_> {
    /// Where to begin: what was kept, and after how many iterations, or what a fresh start has.
    pub(super) fn begin<const S: usize, const N: usize>(
        &mut self,
        scalars: [f64; S],
        stacks: [Stack; N],
    ) -> Result<(usize, [f64; S], [Stack; N])> {
        let Some(state) = self.watch.resume()? else { return Ok((0, scalars, stacks)) };
        let foreign =
            || Error::Plan { why: "what was kept of an earlier run is another solver's".to_owned() };
        for (kept, fresh) in state.stacks.iter().zip(&stacks) {
            kept.check_shape("stack kept of an earlier run", fresh.shape())?;
        }
        let scalars = state.scalars.try_into().map_err(|_| foreign())?;
        let stacks = state.stacks.try_into().map_err(|_| foreign())?;
        Ok((state.iterations, scalars, stacks))
    }
}
