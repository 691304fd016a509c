//! From a tilt series to a volume: the solvers.
//!
//! | function | minimises or computes | scalars that depend on data |
//! |---|---|---|
//! | [`wbp`] | filtered back projection | none |
//! | [`sirt`] | a weighted misfit, by fixed weights | none |
//! | [`proximal`] | misfit + prior, by gradient steps of fixed size, with or without momentum | the restart |
//! | [`ordered_subsets`] | the same, a subset of the images at a time | none |
//! | [`cgls`] | the misfit, by conjugate gradients | two inner products |
//!
//! The two that step along gradients minimise any [`Objective`]: a linear model's misfit ([`Data`]) or that of a wave.
//! A solver sees some rows of a whole through [`Rows`]: how to add up over all rows, and what the neighbours' rows are.
//! [`Whole`] is all rows in one place. `decompose` has the rest. Since the solver is the same program either way, and
//! rows meet nowhere else, a part's result equals the whole's rows in every bit (a sum over all rows is the same for
//! every cut, [`crate::sum`]).

mod cgls;
mod power;
mod proximal;
mod sirt;
mod steady;
#[cfg(test)]
mod tests;
mod tv;
mod watch;
mod wbp;

pub use cgls::cgls;
pub use power::lipschitz;
pub(crate) use proximal::{Iterate, step_of};
pub use proximal::{Momentum, OrderedSubsets, Proximal, interleaved, ordered_subsets, proximal};
pub use sirt::{Sirt, sirt};
pub(crate) use steady::Descent;
pub use steady::steady_momentum;
pub use tv::{Prior, Tv};
pub use watch::{Progress, State, Watch};
pub use wbp::{Filter, wbp};

use crate::project::{Projector, check};
use crate::sum::tree_sum;
use crate::wave::Misfit;
use crate::{Projections, Result, Stack, Volume};
use std::ops::ControlFlow;

/// What a solver that holds some rows must know of the others.
pub trait Rows {
    /// The sum over all rows, given the values of the rows held here. The same bits for every holder of rows.
    ///
    /// # Errors
    /// If another holder is lost.
    fn sum(&mut self, leaves: &[f64]) -> Result<f64>;

    /// Up to `reach` rows on either side of those held here: before the first and after the last, in order. `None` at
    /// an end of the whole, fewer near one.
    ///
    /// # Errors
    /// If another holder is lost.
    fn beside(&mut self, own: &Stack, reach: usize) -> Result<[Option<Stack>; 2]>;
}

/// All rows in one place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Whole;

impl Rows for Whole {
    fn sum(&mut self, leaves: &[f64]) -> Result<f64> {
        Ok(tree_sum(leaves))
    }

    fn beside(&mut self, _: &Stack, _: usize) -> Result<[Option<Stack>; 2]> {
        Ok([None, None])
    }
}

/// A linear model and what was measured.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// The model.
    pub projector: &'a dyn Projector,
    /// The measured images, in the order of the projector's tilts.
    pub images: &'a Projections,
}

/// What gradient solvers minimise: the misfit of a volume to measured images.
pub trait Objective {
    /// Fails unless a volume is of the shape that this objective knows.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn check(&self, volume: &Volume) -> Result<()>;

    /// Overwrites the gradient with that of the rows held here, and gives the misfit over all rows.
    ///
    /// # Errors
    /// Those of the model and of the rows.
    fn gradient(&self, at: &Volume, rows: &mut dyn Rows, gradient: &mut Volume) -> Result<Misfit>;
}

impl Objective for Data<'_> {
    fn check(&self, volume: &Volume) -> Result<()> {
        check_data(*self, volume)
    }

    fn gradient(&self, at: &Volume, rows: &mut dyn Rows, gradient: &mut Volume) -> Result<Misfit> {
        let mut residual = Stack::zeros(self.images.shape());
        misfit(*self, at, &mut residual)?;
        self.projector.back_project(&residual, gradient)?;
        Ok(Misfit::of_rays(0.5 * rows.sum(&residual.row_dots(&residual))?))
    }
}

/// How long a solver runs, over which rows, and whom it tells.
pub struct Run<'a> {
    /// Iterations at most.
    pub iterations: usize,
    /// The other rows.
    pub rows: &'a mut dyn Rows,
    /// Who is told of each iteration.
    pub watch: &'a mut dyn Watch,
}

impl Run<'_> {
    /// Tells of the misfit `residual`, and gives it.
    fn report(&mut self, iteration: usize, residual: &Projections) -> Result<(f64, ControlFlow<()>)> {
        let loss = 0.5 * self.rows.sum(&residual.row_dots(residual))?;
        Ok((loss, self.watch.progress(Progress::new(iteration, Misfit::of_rays(loss)))))
    }
}

/// Overwrites `residual` with `A x - b`.
pub(crate) fn misfit(data: Data<'_>, volume: &Volume, residual: &mut Projections) -> Result<()> {
    data.projector.project(volume, residual)?;
    residual.update([data.images], |model, [measured]| model - measured);
    Ok(())
}

/// Fails unless volume and images fit the projector.
fn check_data(data: Data<'_>, volume: &Volume) -> Result<()> {
    check(data.projector, volume, data.images)
}
