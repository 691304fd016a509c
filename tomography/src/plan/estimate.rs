//! What a reconstruction will cost, told before it starts.
//!
//! Memory is counted from the stacks that a solver holds at its peak, in `f32`; what grows with neither volume nor images
//! is left out. Time is a number of steps of the projector's innermost loop over a speed measured on this machine.

use super::{Mode, Plan, Solver};
use crate::project::{Joseph, Projector};
use crate::{LANES, Result, Shape, Stack};
use std::time::Instant;

/// What one worker needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Bytes at the peak.
    pub bytes: u64,
    /// Visits of a voxel by an image, over all iterations, in both directions: the work.
    pub visits: f64,
}

/// How fast this machine is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Visits per second of one thread.
    pub visits_per_second: f64,
}

impl Plan {
    /// What the largest block needs, or the whole in exact mode, shared by so many workers.
    pub fn estimate(&self, workers: usize) -> Estimate {
        let workers = workers.max(1);
        let of_block = |block: &super::Block| {
            let rows = match self.spec.mode {
                Mode::Exact {} => block.rows.len().div_ceil(LANES).div_ceil(workers) * LANES,
                Mode::Patch { .. } => block.rows.len().next_multiple_of(LANES),
            };
            let planes = self.spec.volume.planes;
            let volume = Shape { planes, rows, columns: block.columns.len() };
            let images = Shape { planes: self.spec.tilts.len(), rows, columns: block.window_columns };
            let passes = match self.spec.solver {
                Solver::Wbp { .. } => 1,
                Solver::Cgls {} => 2 * (self.spec.iterations + 1),
                _ => 2 * self.spec.iterations,
            };
            let visits = volume.len() as f64 * self.spec.tilts.len() as f64 * passes as f64;
            Estimate { bytes: self.bytes(volume, images), visits }
        };
        let estimates = self.blocks.iter().map(of_block);
        let none = Estimate { bytes: 0, visits: 0.0 };
        estimates.max_by(|left, right| left.visits.total_cmp(&right.visits)).unwrap_or(none)
    }

    /// Stacks at the peak of a solver.
    fn bytes(&self, volume: Shape, images: Shape) -> u64 {
        let (volumes, series) = match self.spec.solver {
            Solver::Wbp { .. } => (1, 2),
            Solver::Sirt { .. } => (2, 2),
            Solver::Cgls {} => (3, 3),
            Solver::Proximal { .. } => (5, 2),
            // The subsets' images are copies.
            Solver::OrderedSubsets { .. } => (5, 3),
        };
        let bytes = |shape: Shape| 4 * shape.len() as u64;
        let variation = self.spec.prior.tv.map_or(0, |tv| {
            let reach = if self.spec.mode == (Mode::Exact {}) { 2 * tv.iterations } else { 0 };
            // Two dual fields of three components and the primal, over the rows and those of the neighbours; three
            // stacks of the solver are not in use then, but stay.
            7 * bytes(volume.with_rows((volume.rows + reach).next_multiple_of(LANES)))
        });
        volumes * bytes(volume) + series * bytes(images) + variation
    }
}

impl Estimate {
    /// Seconds on so many threads of this speed.
    pub fn seconds(&self, speed: Speed, threads: usize) -> f64 {
        self.visits / speed.visits_per_second / threads.max(1) as f64
    }
}

impl Speed {
    /// Measures one slab of a plan's projector, there and back.
    ///
    /// # Errors
    /// Those of the projector.
    pub fn measure(plan: &Plan) -> Result<Self> {
        let Shape { planes, columns, .. } = plan.spec.volume;
        let joseph = Joseph::new(planes, columns, plan.spec.pixels, &plan.spec.tilts)?;
        let mut volume = Stack::from_fn(joseph.volume_shape(LANES), |_, _, _| 1.0);
        let mut images = Stack::zeros(joseph.image_shape(LANES));
        let start = Instant::now();
        joseph.project(&volume, &mut images)?;
        joseph.back_project(&images, &mut volume)?;
        let visits = 2.0 * volume.shape().len() as f64 * plan.spec.tilts.len() as f64;
        Ok(Self { visits_per_second: visits / start.elapsed().as_secs_f64().max(1e-9) })
    }
}
