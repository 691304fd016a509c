//! What a reconstruction will cost, told before it starts.
//!
//! Memory is counted from the stacks that a solver holds at its peak, in `f32`; what grows with neither volume nor images
//! is taken to be [`BASE`]. Time is a number of steps of the innermost loop (a visit of a voxel by an image, or of a pixel
//! of a slice by a wave) over a speed measured on this machine.

use super::{Block, Mode, Model, Multislice, Plan, Solver, Spec};
use crate::io::Survey;
use crate::project::{Joseph, Projector};
use crate::wave::{Series, Setup};
use crate::{LANES, Projections, Result, Shape, Stack, Tilt, Volume};
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
        // The block that takes longest need not be the one that takes most.
        estimates.fold(Estimate { bytes: 0, visits: 0.0 }, |largest, block| Estimate {
            bytes: largest.bytes.max(block.bytes),
            visits: largest.visits.max(block.visits),
        })
    }

    /// Bytes that it takes to find the Lipschitz constant and to measure the speed of this machine: a slab of a linear model
    /// there and back, or waves through a few rows.
    pub fn planning_bytes(&self, threads: usize) -> u64 {
        let spec = &self.spec;
        match &spec.model {
            Model::Linear => {
                let volume = bytes(spec.volume.with_rows(LANES));
                BASE + 3 * volume + bytes(self.images_shape().with_rows(LANES))
            }
            Model::Multislice(model) => {
                let setup = model.needle(spec);
                let pixels: Vec<usize> = slice_pixels(&setup).collect();
                let rows = setup.volume.rows.next_multiple_of(LANES);
                // The Gauss-Newton product has a second stack of slices and of waves, for the change.
                let of_waves = 2 * waves(model, &setup, &pixels, threads);
                BASE + 4 * bytes(setup.volume.with_rows(rows)) + 3 * bytes(setup.images()) + of_waves
            }
        }
    }

    /// Bytes that are held while the images of so many rows are read.
    pub fn reading_bytes(&self, rows: usize, series: &Survey) -> u64 {
        let all = series.shape().rows;
        // The rows of an aligned image come from all of an unaligned one.
        series.held_bytes(if self.spec.alignment.places.is_empty() { rows.min(all) } else { all })
    }

    pub(crate) fn images_shape(&self) -> Shape {
        Shape { planes: self.spec.images(), rows: self.spec.volume.rows, columns: self.spec.pixels }
    }

    /// Bytes on disk of the result, of the blocks that it is stitched of, and, if checkpoints are kept, of one block's. While
    /// one is written the one before it is still there.
    pub fn disk_bytes(&self, checkpoints: bool) -> u64 {
        let of = |block: &Block| bytes(self.extent(block));
        let blocks = if self.blocks.len() > 1 { self.blocks.iter().map(of).sum() } else { 0 };
        let kept = self.blocks.iter().map(|block| self.checkpoint_bytes(block)).max().unwrap_or(0);
        bytes(self.spec.volume) + blocks + if checkpoints { 2 * kept } else { 0 }
    }

    /// The same of a block that is reconstructed by itself.
    pub fn block_disk_bytes(&self, block: &Block, checkpoints: bool) -> u64 {
        bytes(self.extent(block)) + if checkpoints { 2 * self.checkpoint_bytes(block) } else { 0 }
    }

    fn extent(&self, block: &Block) -> Shape {
        let planes = self.spec.volume.planes;
        Shape { planes, rows: block.rows.len(), columns: block.columns.len() }
    }

    fn checkpoint_bytes(&self, block: &Block) -> u64 {
        let volume = bytes(self.extent(block));
        match self.spec.solver {
            Solver::Wbp { .. } => 0,
            Solver::Sirt { .. } => volume,
            Solver::Cgls {} => {
                let planes = self.spec.images();
                let (rows, columns) = (block.rows.len(), block.window_columns);
                2 * volume + bytes(Shape { planes, rows, columns })
            }
            Solver::Proximal { .. } | Solver::OrderedSubsets { .. } => 2 * volume,
        }
    }

    fn estimate_block(&self, block: &Block, workers: usize, threads: usize) -> Estimate {
        let rows = match self.spec.mode {
            Mode::Exact {} => block.rows.len().div_ceil(LANES).div_ceil(workers) * LANES,
            Mode::Patch { .. } | Mode::Window { .. } => block.rows.len().next_multiple_of(LANES),
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
                let turned = turned_bytes(volume, &self.spec.tilts, threads);
                let visits = volume.len() as f64 * self.spec.tilts.len() as f64 * passes;
                Estimate { bytes: stacks + turned, visits }
            }
            Model::Multislice(model) => {
                let setup = model.setup(&self.spec, block);
                let Mode::Window { core, halo } = self.spec.mode else {
                    let pixels: Vec<usize> = slice_pixels(&setup).collect();
                    let visits = pixels.iter().sum::<usize>() as f64 * iterations;
                    let bytes = stacks + bytes(images) + waves(model, &setup, &pixels, threads);
                    return Estimate { bytes, visits };
                };
                let rows = core.saturating_add(halo.saturating_mul(2)).min(setup.volume.rows);
                let count = setup.volume.rows.div_ceil(core);
                let vacuum_rows = if rows == setup.volume.rows { setup.vacuum_rows } else { 0 };
                let window = Setup { volume: setup.volume.with_rows(rows), vacuum_rows, ..setup.clone() };
                let pixels: Vec<usize> = slice_pixels(&window).collect();
                let visits = (pixels.iter().sum::<usize>() * count) as f64 * iterations;
                // Every window has its images, and where rows end in vacuum what they weigh; it cuts them out of the
                // whole's, which weigh something too meanwhile. One window at a time computes.
                let (copies, cut) = if setup.vacuum_rows > 0 { (2, 1) } else { (1, 0) };
                let of_window = bytes(window.images());
                let held = copies * of_window * count as u64 + cut * bytes(images) + 2 * of_window;
                let parts = 2 * bytes(window.volume.with_rows(rows.next_multiple_of(LANES)));
                Estimate { bytes: stacks + held + parts + waves(model, &window, &pixels, threads), visits }
            }
        }
    }

    /// Bytes of a band of so many rows of the whole of a linear model, done by itself or in step with the others.
    pub(crate) fn band_bytes(&self, rows: usize, threads: usize, apart: bool) -> u64 {
        let spec = &self.spec;
        let volume = spec.volume.with_rows(rows);
        let images = Shape { planes: spec.images(), rows, columns: spec.pixels };
        let turned = turned_bytes(volume, &spec.tilts, threads);
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

impl Spec {
    /// Bytes at the peak of [`Spec::refine`] with its volume and its images, as they were read and as they are prepared:
    /// images measured, predicted, and for waves at three distances.
    pub fn refining_bytes(&self, threads: usize) -> u64 {
        let rows = self.volume.rows.next_multiple_of(LANES);
        let images = bytes(Shape { planes: self.images(), rows, columns: self.pixels });
        let copies = if self.model == Model::Linear { 4 } else { 6 };
        let volume = self.volume.with_rows(rows);
        BASE + copies * images + self.model.imaging_bytes(volume, self.voxel_angstrom, &self.tilts, threads)
    }
}

impl Model {
    /// Bytes at the peak of [`Model::images`], with the volume and the images.
    pub fn imaging_bytes(&self, volume: Shape, voxel_angstrom: f64, tilts: &[Tilt], threads: usize) -> u64 {
        let volume = volume.with_rows(volume.rows.next_multiple_of(LANES));
        let planes = tilts.len() * self.images_per_tilt();
        let images = bytes(Shape { planes, ..volume });
        match self {
            Self::Linear => BASE + bytes(volume) + images + turned_bytes(volume, tilts, threads),
            Self::Multislice(model) => {
                let setup = model.of(voxel_angstrom, volume, volume.columns, model.shots(tilts));
                let slices = slice_pixels(&setup).max().unwrap_or(0) as u64;
                let plane = ((volume.rows + setup.vacuum_rows) * setup.columns) as u64;
                // Slices by slabs and in one stack; a wave and its images. All images are there twice before the end.
                let running = threads.min(tilts.len()) as u64;
                let foci = self.images_per_tilt() as u64;
                BASE + bytes(volume) + 2 * images + running * (8 * slices + (16 + 4 * foci) * plane)
            }
        }
    }
}

/// What steep tilts turn at a time.
fn turned_bytes(volume: Shape, tilts: &[Tilt], threads: usize) -> u64 {
    if tilts.iter().all(|tilt| tilt.angle_deg.abs() <= STEEP_DEG) {
        return 0;
    }
    bytes(volume.with_rows((threads * TURNED_SLABS * LANES).min(volume.rows)))
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
