//! What a reconstruction will cost, told before it starts.
//!
//! Memory is counted from the stacks that a solver holds at its peak, in `f32`; what grows with neither volume nor images
//! is taken to be [`BASE`]. Time is a number of steps of the innermost loop (a visit of a voxel by an image, or of a pixel
//! of a slice by a wave) over a speed measured on this machine.

use super::{Block, Mode, Model, Multislice, Plan, Solver};
use crate::project::{Joseph, Projector};
use crate::wave::{Series, Setup};
use crate::{LANES, Projections, Result, Shape, Stack, Volume};
use std::time::Instant;

/// Bytes of a program that has nothing to do.
pub const BASE: u64 = 20 << 20;
/// Steeper tilts work on turned slabs.
const STEEP_DEG: f64 = 45.0;
/// Slabs that a thread turns at a time for steep tilts.
const TURNED_SLABS: usize = 4;

/// What one worker needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Bytes at the peak.
    pub bytes: u64,
    /// The work, over all iterations: visits of a voxel by an image in both directions, or of a slice's pixel by a wave.
    pub visits: f64,
}

/// How fast this machine is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Visits per second of one thread.
    pub visits_per_second: f64,
}

fn bytes(shape: Shape) -> u64 {
    4 * shape.len() as u64
}

impl Plan {
    /// What the largest block needs, or the whole in exact mode, shared by so many workers of so many threads each.
    pub fn estimate(&self, workers: usize, threads: usize) -> Estimate {
        let estimates =
            self.blocks.iter().map(|block| self.estimate_block(block, workers.max(1), threads.max(1)));
        let none = Estimate { bytes: 0, visits: 0.0 };
        estimates.max_by(|left, right| left.visits.total_cmp(&right.visits)).unwrap_or(none)
    }

    /// Bytes on disk of the result and, if checkpoints are kept, of those of all blocks. While one is written the one before
    /// it is still there.
    pub fn disk_bytes(&self, checkpoints: bool) -> u64 {
        let of = |block: &Block| {
            bytes(Shape {
                planes: self.spec.volume.planes,
                rows: block.rows.len(),
                columns: block.columns.len(),
            })
        };
        let result = bytes(self.spec.volume);
        if !checkpoints {
            return result;
        }
        let images = self.spec.images() * self.spec.pixels;
        let kept = |block: &Block| match self.spec.solver {
            Solver::Wbp { .. } => 0,
            Solver::Sirt { .. } => of(block),
            Solver::Cgls {} => 2 * of(block) + 4 * (images * block.rows.len()) as u64,
            Solver::Proximal { .. } | Solver::OrderedSubsets { .. } => 2 * of(block),
        };
        let largest = self.blocks.iter().map(kept).max().unwrap_or(0);
        result + self.blocks.iter().map(kept).sum::<u64>() + largest
    }

    fn estimate_block(&self, block: &Block, workers: usize, threads: usize) -> Estimate {
        let rows = match self.spec.mode {
            Mode::Exact {} => block.rows.len().div_ceil(LANES).div_ceil(workers) * LANES,
            Mode::Patch { .. } => block.rows.len().next_multiple_of(LANES),
        };
        let volume = Shape { planes: self.spec.volume.planes, rows, columns: block.columns.len() };
        let images = Shape { planes: self.spec.images(), rows, columns: block.window_columns };
        let iterations = self.spec.iterations as f64;
        let stacks = BASE + self.stacks(volume, images);
        let stacks = match self.spec.mode {
            // Before it begins: all columns of the block's rows and their images, there and enlarged, and the coarse ones.
            Mode::Patch { exterior: bin, .. } if bin > 1 && volume.columns < self.spec.volume.columns => {
                let all = Shape { columns: self.spec.volume.columns, ..volume };
                let shown = Shape { columns: self.spec.pixels, ..images };
                stacks.max(BASE + bytes(all) + 2 * bytes(shown) + 4 * bytes(all) / (bin * bin) as u64)
            }
            _ => stacks,
        };
        match &self.spec.model {
            Model::Linear => {
                let passes = match self.spec.solver {
                    Solver::Wbp { .. } => 1.0,
                    Solver::Cgls {} => 2.0 * (iterations + 1.0),
                    _ => 2.0 * iterations,
                };
                let steep = block.windows.iter().any(|window| window.tilt.angle_deg.abs() > STEEP_DEG);
                let turned = if steep {
                    bytes(volume.with_rows((threads * TURNED_SLABS * LANES).min(rows)))
                } else {
                    0
                };
                let visits = volume.len() as f64 * self.spec.tilts.len() as f64 * passes;
                Estimate { bytes: stacks + turned, visits }
            }
            Model::Multislice(model) => {
                let setup = model.setup(&self.spec, block);
                let pixels: Vec<usize> = slice_pixels(&setup).collect();
                let visits = pixels.iter().sum::<usize>() as f64 * iterations;
                Estimate { bytes: stacks + bytes(images) + waves(model, &setup, &pixels, threads), visits }
            }
        }
    }

    /// Bytes of a band of so many rows of the whole of a linear model, done by itself or in step with the others.
    pub(crate) fn band_bytes(&self, rows: usize, threads: usize, apart: bool) -> u64 {
        let spec = &self.spec;
        let volume = spec.volume.with_rows(rows);
        let images = Shape { planes: spec.images(), rows, columns: spec.pixels };
        let steep = spec.tilts.iter().any(|tilt| tilt.angle_deg.abs() > STEEP_DEG);
        let turned =
            if steep { bytes(volume.with_rows((threads * TURNED_SLABS * LANES).min(rows))) } else { 0 };
        if apart {
            return BASE + self.stacks(volume, images) + turned;
        }
        if self.spec.solver == (Solver::Cgls {}) {
            return BASE + 2 * bytes(volume) + 2 * bytes(images) + turned;
        }
        // Before the images of a subset and their misfit; the point, its gradient. Then the volume after the gradient
        // step, with the neighbours' rows on either side and the fields of total variation; the iterate and the point.
        let images = images.len() as u64 * 4 / spec.subsets().len() as u64;
        let gradient = 2 * bytes(volume) + 2 * images + turned;
        let reach = spec.prior.tv.map_or(0, |tv| 2 * tv.iterations.next_multiple_of(LANES));
        let prior =
            bytes(volume) + spec.prior.tv.map_or(0, |_| 8 * bytes(spec.volume.with_rows(rows + reach)));
        if self.spec.model != Model::Linear {
            return BASE + (2 * bytes(volume)).max(prior + bytes(volume)).max(3 * bytes(volume));
        }
        // Before the first step all images of a band are there, once as they are and once by subsets.
        let spilling = 2 * bytes(Shape { planes: spec.images(), rows, columns: spec.pixels });
        BASE + gradient.max(prior + bytes(volume)).max(3 * bytes(volume)).max(spilling)
    }

    /// Bytes of waves from disk, besides those of a band: so many tilts at a time, and all images as they are read and as
    /// waves are compared with them; 0 for rays.
    pub(crate) fn wave_bytes(&self, at_once: usize, threads: usize) -> u64 {
        let (Model::Multislice(model), [block]) = (&self.spec.model, &self.blocks[..]) else { return 0 };
        let setup = model.setup(&self.spec, block);
        let pixels: Vec<usize> = slice_pixels(&setup).collect();
        let few = Multislice { wave_of_tilts: at_once, ..model.clone() };
        let images = bytes(Shape { columns: block.window_columns, ..setup.images() });
        let copies = if setup.vacuum_rows > 0 { 4 } else { 2 };
        waves(&few, &setup, &pixels, threads.min(at_once)) + copies * images
    }

    /// Stacks at the peak of a solver.
    fn stacks(&self, volume: Shape, images: Shape) -> u64 {
        let linear = self.spec.model == Model::Linear;
        let (volumes, series) = match self.spec.solver {
            Solver::Wbp { .. } => (1, 2),
            Solver::Sirt { .. } => (2, 2),
            Solver::Cgls {} => (3, 3),
            Solver::Proximal { .. } | Solver::OrderedSubsets { .. } if !linear => (4, 1),
            Solver::Proximal { .. } => (4, 2),
            // The subsets' images are copies.
            Solver::OrderedSubsets { .. } => (4, 3),
        };
        let variation = self.spec.prior.tv.map_or(0, |tv| {
            let reach = if self.spec.mode == (Mode::Exact {}) { 2 * tv.iterations } else { 0 };
            // Two dual fields of three components and the primal, over the rows and those of the neighbours; the stacks of
            // the solver are not in use then, but stay.
            7 * bytes(volume.with_rows((volume.rows + reach).next_multiple_of(LANES)))
        });
        volumes * bytes(volume) + series * bytes(images) + variation
    }
}

/// Pixels of all slices of each shot.
fn slice_pixels(setup: &Setup) -> impl Iterator<Item = usize> + '_ {
    let plane = (setup.volume.rows + setup.vacuum_rows) * setup.columns;
    setup.shots.iter().map(move |shot| setup.slices(&shot.tilt) * plane)
}

/// The memory of waves: for tilts in progress the waves `W_s`, the slices and their gradient, and for all tilts at the
/// same time the slices that wait to be worked on, or the gradients that wait to be added.
fn waves(model: &Multislice, setup: &Setup, pixels: &[usize], threads: usize) -> u64 {
    let largest = pixels.iter().copied().max().unwrap_or(0) as u64;
    let at_once = model.wave_of_tilts.min(setup.shots.len());
    let running = threads.min(at_once) as u64;
    let plane = ((setup.volume.rows + setup.vacuum_rows) * setup.columns) as u64;
    let slices = largest / plane.max(1);
    let kept = if model.checkpoints { 2 * (slices as f64).sqrt().ceil() as u64 } else { slices };
    let planes = 5 + 2 * model.foci.first().map_or(0, Vec::len) as u64;
    running * (8 * plane * (kept + planes) + 8 * largest) + at_once as u64 * 4 * largest
}

impl Estimate {
    /// Seconds on so many threads of this speed.
    pub fn seconds(&self, speed: Speed, threads: usize) -> f64 {
        self.visits / speed.visits_per_second / threads.max(1) as f64
    }
}

impl Speed {
    /// Measures a slab of a plan's projector, there and back, or a wave through a few rows and back.
    ///
    /// # Errors
    /// Those of the projector or of the series.
    pub fn measure(plan: &Plan) -> Result<Self> {
        let (visits, start) = match &plan.spec.model {
            Model::Linear => {
                let Shape { planes, columns, .. } = plan.spec.volume;
                let joseph = Joseph::new(planes, columns, plan.spec.pixels, &plan.spec.tilts)?;
                let mut volume = Stack::from_fn(joseph.volume_shape(LANES), |_, _, _| 1.0);
                let mut images = Stack::zeros(joseph.image_shape(LANES));
                let start = Instant::now();
                joseph.project(&volume, &mut images)?;
                joseph.back_project(&images, &mut volume)?;
                (2.0 * volume.shape().len() as f64 * plan.spec.tilts.len() as f64, start)
            }
            Model::Multislice(model) => {
                let setup = model.needle(&plan.spec);
                let visits = slice_pixels(&setup).next().unwrap_or(0) as f64;
                let images = Projections::from_fn(setup.images(), |_, _, _| 1.0);
                let volume = Volume::zeros(setup.volume);
                let series = Series::new(setup, &images, None)?;
                let mut gradient = volume.clone();
                // The first one takes memory from the system, which later ones use again.
                series.gradient(&volume, &[0], &mut gradient)?;
                let start = Instant::now();
                series.gradient(&volume, &[0], &mut gradient)?;
                (visits, start)
            }
        };
        Ok(Self { visits_per_second: visits / start.elapsed().as_secs_f64().max(1e-9) })
    }
}
