//! Blocks of a volume, and the parts of the images that belong to them.
//!
//! A block is a range of rows and columns, through all planes: a core, which it answers for, and around it a halo, which
//! is cut off at the ends of the volume. The images of a block with centre (x, z) are windows that follow the centre:
//! it falls on column `x cos - z sin` of the image, so the window begins at the column nearest to where that puts its
//! left edge, and the rest, below half a pixel, is kept as the window's offset, so that no data are resampled. The centre
//! lies `x sin + z cos` voxels further down the beam than the volume's, and so much nearer to the plane of the image.
//!
//! Along y a block needs just its rows. Along x rays cross a block's sides, and a window's data belong to more than the
//! block: a block of columns is approximate, whatever its halo.

use super::{Mode, Spec};
use crate::geometry::centre;
use crate::{Error, Projections, Result, Stack, Tilt};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// No plan has more windows: it is one text, which every job reads.
const MAX_WINDOWS: usize = 1 << 22;

/// The part of an image that belongs to a block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First column of the image; below 0 or beyond its end there is nothing.
    pub first_column: i64,
    /// The tilt about the block's centre, with the rest of a pixel as its offset.
    pub tilt: Tilt,
    /// What to add to the distance of the image plane from the volume's centre, in Angstrom.
    pub distance_angstrom: f64,
}

/// A part of the volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// Number of the block, from 0, in stitching order.
    pub id: usize,
    /// Rows of the core.
    pub core_rows: Range<usize>,
    /// Columns of the core.
    pub core_columns: Range<usize>,
    /// Rows of core and halo.
    pub rows: Range<usize>,
    /// Columns of core and halo.
    pub columns: Range<usize>,
    /// Columns of the windows.
    pub window_columns: usize,
    /// A window in each image.
    pub windows: Vec<Window>,
}

/// Where the windows of a spec's gradient begin and end, besides the ends of the volume.
pub(super) fn cuts(rows: usize, core: usize) -> Vec<usize> {
    (0..rows).step_by(core.max(1)).skip(1).collect()
}

/// The cores along one axis, and their halos, cut off at the ends.
fn ranges(extent: usize, core: usize, halo: usize) -> Vec<[Range<usize>; 2]> {
    let with_halo = |start: usize| {
        let end = start.saturating_add(core).min(extent);
        [start..end, start.saturating_sub(halo)..end.saturating_add(halo).min(extent)]
    };
    (0..extent).step_by(core).map(with_halo).collect()
}

/// The blocks of a spec.
pub(super) fn blocks(spec: &Spec) -> Result<Vec<Block>> {
    let extents = [spec.volume.rows, spec.volume.columns];
    let Mode::Patch { core, halo, ramp, .. } = spec.mode else {
        return Ok(vec![block(spec, 0, [0..extents[0], 0..extents[0]], [0..extents[1], 0..extents[1]])]);
    };
    for axis in 0..2 {
        if core[axis] < [1, 2][axis] {
            return Err(Error::parameter("core of a block", core[axis], "at least 1 row and 2 columns"));
        }
        if core[axis] >= extents[axis] {
            continue;
        }
        if ramp[axis] > halo[axis] || ramp[axis] > core[axis] / 2 {
            let expected = "at most the halo, and at most half of a core";
            return Err(Error::parameter("ramp of blending", ramp[axis], expected));
        }
        let rest = extents[axis] % core[axis];
        if rest != 0 && rest < 2 * ramp[axis] {
            let expected = "such that the last core has room for its ramp";
            return Err(Error::parameter("core of a block", core[axis], expected));
        }
    }
    if extents[1] % core[1] == 1 && halo[1] == 0 {
        return Err(Error::parameter("core of a block", core[1], "such that no block of one column remains"));
    }
    let count = extents[0].div_ceil(core[0]).saturating_mul(extents[1].div_ceil(core[1]));
    if count.saturating_mul(spec.tilts.len()) > MAX_WINDOWS {
        let expected = "larger: no plan has more than 4194304 windows, one for each block and tilt";
        return Err(Error::parameter("core of a block", format!("{core:?}"), expected));
    }
    let mut blocks = Vec::new();
    for rows in ranges(extents[0], core[0], halo[0]) {
        for columns in ranges(extents[1], core[1], halo[1]) {
            blocks.push(block(spec, blocks.len(), rows.clone(), columns));
        }
    }
    Ok(blocks)
}

fn block(
    spec: &Spec,
    id: usize,
    [core_rows, rows]: [Range<usize>; 2],
    [core_columns, columns]: [Range<usize>; 2],
) -> Block {
    let is_whole = columns == (0..spec.volume.columns);
    let window_columns = if is_whole { spec.pixels } else { columns.len() };
    let x = (columns.start as f64 + centre(columns.len())) - centre(spec.volume.columns);
    let window = |tilt: &Tilt| {
        let (sin, cos) = tilt.sin_cos();
        // Blocks go through all planes, so z = 0 at their centre.
        let left = x * cos + tilt.offset_px + centre(spec.pixels) - centre(window_columns);
        Window {
            first_column: left.round() as i64,
            tilt: Tilt { angle_deg: tilt.angle_deg, offset_px: left - left.round() },
            distance_angstrom: -x * sin * spec.voxel_angstrom,
        }
    };
    let mut windows: Vec<Window> = spec.tilts.iter().map(window).collect();
    if is_whole {
        for (window, tilt) in windows.iter_mut().zip(&spec.tilts) {
            *window = Window { first_column: 0, tilt: *tilt, distance_angstrom: 0.0 };
        }
    }
    Block { id, core_rows, core_columns, rows, columns, window_columns, windows }
}

/// The images of a block: its rows, and its window of each image. Where a window leaves the image it has `outside`. The
/// images of a tilt, one for each focus, follow each other and have the same window.
///
/// # Errors
/// [`Error::Parameter`] if the block has not a window for each tilt or its rows are not among the images'.
pub fn crop(images: &Projections, block: &Block, outside: f32) -> Result<Projections> {
    crop_columns(images.rows(block.rows.clone())?, block, outside)
}

/// The same for images that have only the block's rows. Windows that are the images change nothing.
///
/// # Errors
/// [`Error::Parameter`] if the block has not a window for each tilt.
pub fn crop_columns(images: Projections, block: &Block, outside: f32) -> Result<Projections> {
    let (tilts, mut shape) = (block.windows.len(), images.shape());
    if tilts == 0 || shape.planes % tilts != 0 {
        return Err(Error::parameter("number of windows", tilts, "that of the tilts"));
    }
    let columns = shape.columns as i64;
    if shape.columns == block.window_columns && block.windows.iter().all(|window| window.first_column == 0) {
        return Ok(images);
    }
    let per_tilt = shape.planes / tilts;
    shape.columns = block.window_columns;
    Ok(Stack::from_fn(shape, |image, row, column| {
        let from = block.windows[image / per_tilt].first_column + column as i64;
        if (0..columns).contains(&from) { images.at(image, row, from as usize) } else { outside }
    }))
}
