//! What lies beside a block, for blocks of columns: taken out of their images as well as it is known.
//!
//! A tilted ray through a block goes on through its neighbours, so a window of the images shows more than the block. A
//! coarse reconstruction of the block's rows, over all columns, tells about what: it is brought back to fine voxels, its
//! columns within the block are set to 0, and its projections are subtracted. Every job does this for itself, from the
//! images of its rows: a coarse voxel of `bin` voxels a side costs `bin^-3` of the work, and no job waits for another.
//!
//! It is an approximation without a bound, as every decomposition across the tilt axis that does not talk; but it leaves
//! several times less of an error than bare windows do.

use super::{Block, Plan, Solver};
use crate::project::{Joseph, Projector};
use crate::solve::{Data, Prior, Progress, Proximal, Run, Whole, lipschitz, proximal};
use crate::{Projections, Result, Shape, Stack, Tilt, Volume};
use std::ops::ControlFlow;

/// Power iterations for the coarse problem's constant.
const POWER_ITERATIONS: usize = 10;

/// Subtracts from the prepared images of a block's rows what a coarse reconstruction finds beside the block.
pub(super) fn subtract(plan: &Plan, block: &Block, images: &mut Projections, bin: usize) -> Result<()> {
    let spec = &plan.spec;
    let rows = images.shape().rows;
    let coarse_images = binned(images, bin);
    let coarse = coarse_volume(plan, &coarse_images, bin)?;
    let mut beside = enlarged(&coarse, spec.volume.with_rows(rows), bin);
    let inside = Shape { columns: block.columns.len(), ..beside.shape() };
    beside.set_columns(block.columns.start, &Stack::zeros(inside))?;
    let joseph = Joseph::new(spec.volume.planes, spec.volume.columns, spec.pixels, &spec.tilts)?;
    let mut shown = Stack::zeros(images.shape());
    joseph.project(&beside, &mut shown)?;
    images.update([&shown], |image, [shown]| image - shown);
    Ok(())
}

/// Reconstructs binned images by the plan's iterations, with momentum and the plan's sign, whatever its solver.
fn coarse_volume(plan: &Plan, images: &Projections, bin: usize) -> Result<Volume> {
    let spec = &plan.spec;
    // The centres of coarse and fine grids coincide if the extents divide; where they do not, the offset says by how much.
    let shift = |extent: usize| ((extent.div_ceil(bin) * bin) as f64 - extent as f64) / (2 * bin) as f64;
    let (columns, pixels) = (shift(spec.volume.columns), shift(spec.pixels));
    let planes = shift(spec.volume.planes);
    let tilt = |tilt: &Tilt| {
        let (sin, cos) = tilt.sin_cos();
        let offset_px = tilt.offset_px / bin as f64 - pixels + columns * cos - planes * sin;
        Tilt { angle_deg: tilt.angle_deg, offset_px }
    };
    let tilts: Vec<Tilt> = spec.tilts.iter().map(tilt).collect();
    let extents =
        [spec.volume.planes, spec.volume.columns, spec.pixels].map(|extent| extent.div_ceil(bin).max(2));
    let joseph = Joseph::new(extents[0], extents[1], extents[2], &tilts)?;
    let options = Proximal {
        lipschitz: lipschitz(&joseph, spec.seed, POWER_ITERATIONS)?,
        momentum: crate::solve::Momentum::Nesterov,
        prior: Prior { positive: spec.prior.positive, tv: None },
    };
    let iterations = if matches!(spec.solver, Solver::Wbp { .. }) { 30 } else { spec.iterations };
    let mut silent = |_: Progress| ControlFlow::Continue(());
    let mut run = Run { iterations, rows: &mut Whole, watch: &mut silent };
    let start = Stack::zeros(joseph.volume_shape(images.shape().rows));
    proximal(&Data { projector: &joseph, images }, start, options, &mut run)
}

/// The means of squares of pixels, in units of coarse voxels: a sum along a ray has `bin` times fewer of them.
fn binned(images: &Projections, bin: usize) -> Projections {
    let Shape { planes, rows, columns } = images.shape();
    let shape = Shape { planes, rows: rows.div_ceil(bin), columns: columns.div_ceil(bin).max(2) };
    let range = |index: usize, extent: usize| (index * bin).min(extent)..((index + 1) * bin).min(extent);
    Stack::from_fn(shape, |image, row, column| {
        let mut sum = 0.0;
        for row in range(row, rows) {
            for column in range(column, columns) {
                sum += images.at(image, row, column);
            }
        }
        // Pixels beyond an end are 0, as outside of the images; rows beyond an end are no rows.
        sum / (range(row, rows).len() * bin * bin) as f32
    })
}

/// A coarse volume on fine voxels, linearly interpolated along z and x, constant over the rows of a coarse row.
fn enlarged(coarse: &Volume, shape: Shape, bin: usize) -> Volume {
    let of = coarse.shape();
    let between = |index: usize, extent: usize| {
        let place = ((index as f64 + 0.5) / bin as f64 - 0.5).clamp(0.0, (extent - 1) as f64);
        let low = (place.floor() as usize).min(extent.saturating_sub(2));
        (low, (low + 1).min(extent - 1), (place - low as f64) as f32)
    };
    Stack::from_fn(shape, |plane, row, column| {
        let ((z, above, up), (x, right, along)) = (between(plane, of.planes), between(column, of.columns));
        let at = |plane: usize, column: usize| coarse.at(plane, row / bin, column);
        let mix = |from: f32, to: f32, share: f32| from + share * (to - from);
        mix(mix(at(z, x), at(z, right), along), mix(at(above, x), at(above, right), along), up)
    })
}
