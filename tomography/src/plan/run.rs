//! Carrying out a plan: the one place where a solver is called for it, for the whole, for a part, and for a patch.

use super::{Block, Plan, Solver, crop};
use crate::project::Joseph;
use crate::solve::{
    Data, OrderedSubsets, Progress, Proximal, Rows, Run, Sirt, cgls, ordered_subsets, proximal, sirt, wbp,
};
use crate::{Error, Projections, Result, Stack, Tilt, Volume};
use std::ops::ControlFlow;

impl Plan {
    /// Reconstructs a block from its images, or the rows of it that these images have.
    ///
    /// In exact mode there is one block; a worker gives the images of its rows and tells through `rows` of the others.
    /// In patch mode a block is reconstructed apart, from the images of [`crop`], with `rows` the [`crate::solve::Whole`].
    ///
    /// # Errors
    /// [`Error::Parameter`] for a block that there is not, [`Error::Shape`] if the images are not a block's, and the errors
    /// of the rows.
    pub fn reconstruct(
        &self,
        block: usize,
        images: &Projections,
        rows: &mut dyn Rows,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Volume> {
        let Some(block) = self.blocks.get(block) else {
            return Err(Error::parameter("block", block, "one of the plan's"));
        };
        let tilts: Vec<Tilt> = block.windows.iter().map(|window| window.tilt).collect();
        let joseph = |tilts: &[Tilt]| {
            Joseph::new(self.spec.volume.planes, block.columns.len(), block.window_columns, tilts)
        };
        let projector = joseph(&tilts)?;
        let start = || {
            let shape = self.spec.volume.with_rows(images.shape().rows);
            Stack::zeros(crate::Shape { columns: block.columns.len(), ..shape })
        };
        let data = Data { projector: &projector, images };
        let (lipschitz, prior) = (self.lipschitz, self.spec.prior);
        let mut run = Run { iterations: self.spec.iterations, rows, progress };
        match self.spec.solver {
            Solver::Wbp { filter } => wbp(&projector, &tilts, images, filter),
            Solver::Sirt { relaxation } => {
                sirt(data, start(), Sirt { relaxation, positive: prior.positive }, &mut run)
            }
            Solver::Cgls {} => cgls(data, start(), &mut run),
            Solver::Proximal { momentum } => {
                proximal(&data, start(), Proximal { lipschitz, momentum, prior }, &mut run)
            }
            Solver::OrderedSubsets { relaxation, momentum_max, .. } => {
                let part = |subset: Vec<usize>| {
                    let tilts: Vec<Tilt> = subset.iter().map(|index| tilts[*index]).collect();
                    Ok((joseph(&tilts)?, images.planes(&subset)?))
                };
                let parts = self.spec.subsets().into_iter().map(part).collect::<Result<Vec<_>>>()?;
                let subsets: Vec<Data<'_>> =
                    parts.iter().map(|(projector, images)| Data { projector, images }).collect();
                let options = OrderedSubsets { lipschitz, relaxation, momentum_max, prior };
                ordered_subsets(&subsets, start(), options, &mut run)
            }
        }
    }

    /// The images of a block of this plan.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a block that there is not, and as [`crop`].
    pub fn images_of(&self, block: usize, images: &Projections) -> Result<(&Block, Projections)> {
        let Some(block) = self.blocks.get(block) else {
            return Err(Error::parameter("block", block, "one of the plan's"));
        };
        Ok((block, crop(images, block, 0.0)?))
    }
}
