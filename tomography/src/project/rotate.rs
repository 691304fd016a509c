//! Turning the volume into the beam's frame, bilinearly, and adding its planes.
//!
//! Voxel (z', x') of the beam's frame takes the four voxels around `x = x' cos + z' sin, z = -x' sin + z' cos`, with the
//! weights of linear interpolation in both directions; outside of the volume is 0. The support is compact, so a part of
//! the volume turns by itself; the norm is at most 1.03. Always turn the volume as it is, never one turned before: the
//! errors of interpolation add up otherwise.
//!
//! [`Rotation`] makes the slices of a multislice calculation, sums of `bin` consecutive planes, and takes the slices'
//! gradient back by the transposed weights. [`RotateSum`] adds all planes: a projector, exact for a Gaussian of width s
//! voxels to 1 / (8 s^2) of its peak, as Joseph's is.

use super::kernel::hat;
use super::{Projector, check, check_extent, clear, in_groups};
use crate::geometry::centre;
use crate::{Error, Lanes, Projections, Result, Slab, Tilt, Volume};
use multiversion::multiversion;

/// One tilt's rotation into slices of the beam's frame.
#[derive(Debug, Clone)]
pub struct Rotation {
    planes: usize,
    columns: usize,
    pixels: usize,
    slices: usize,
    bin: usize,
    tilt: Tilt,
}

impl Rotation {
    /// The rotation of a volume of `planes` by `columns` into `slices` of `bin` planes and `pixels` columns.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an extent below 2 or too large, no slices, an empty bin, or a tilt that makes no sense.
    pub fn new(
        [planes, columns]: [usize; 2],
        [slices, pixels]: [usize; 2],
        bin: usize,
        tilt: Tilt,
    ) -> Result<Self> {
        check_extent("planes of the volume", planes)?;
        check_extent("columns of the volume", columns)?;
        check_extent("columns of an image", pixels)?;
        tilt.check()?;
        for (name, value) in [("number of slices", slices), ("planes of a slice", bin)] {
            if value == 0 {
                return Err(Error::parameter(name, value, "at least 1"));
            }
        }
        Ok(Self { planes, columns, pixels, slices, bin, tilt })
    }

    /// The planes that the beam's frame needs so that no voxel of the volume is lost at this tilt.
    pub fn depth([planes, columns]: [usize; 2], tilt: &Tilt) -> usize {
        let (sin, cos) = tilt.sin_cos();
        let reach = (planes as f64 + 1.0) * cos.abs() + (columns as f64 + 1.0) * sin.abs();
        // As many planes as lie strictly within the reach, and of the parity of the volume's, so that tilt 0 is exact.
        let depth = reach.ceil() as usize;
        depth + (depth + planes) % 2
    }

    /// Slices and columns of the beam's frame.
    pub fn slice_plane(&self) -> [usize; 2] {
        [self.slices, self.pixels]
    }

    /// Overwrites the slices, `[slice][x']`, with `scale` times the sum of their planes of the turned volume.
    pub fn turn(&self, volume: &Slab, scale: f32, slices: &mut Slab) {
        slices.data.fill(Lanes::ZERO);
        let mut corners = Corners::default();
        for depth in 0..self.slices * self.bin {
            self.corners(depth, &mut corners);
            gather(&corners, &volume.data, self.columns, slices.plane_mut(depth / self.bin));
        }
        for value in slices.data.iter_mut().flat_map(|lanes| &mut lanes.0) {
            *value *= scale;
        }
    }

    /// Adds to the volume `scale` times what the transposed rotation makes of the slices.
    pub fn turn_back(&self, slices: &Slab, scale: f32, volume: &mut Slab) {
        let mut corners = Corners::default();
        let mut scaled = vec![Lanes::ZERO; self.pixels];
        for depth in 0..self.slices * self.bin {
            if depth % self.bin == 0 {
                for (to, from) in scaled.iter_mut().zip(slices.plane(depth / self.bin)) {
                    *to = Lanes(from.0.map(|value| value * scale));
                }
            }
            self.corners(depth, &mut corners);
            scatter(&corners, &scaled, self.columns, &mut volume.data);
        }
    }

    /// The four voxels around each voxel of a plane of the beam's frame.
    fn corners(&self, depth: usize, corners: &mut Corners) {
        let z_beam = depth as f64 - centre(self.slices * self.bin);
        let x_beam = -(centre(self.pixels) + self.tilt.offset_px);
        let (sin, cos) = self.tilt.sin_cos();
        let (x, z) = self.tilt.to_volume(x_beam, z_beam);
        let start = [z + centre(self.planes), x + centre(self.columns)];
        corners.resize(self.pixels);
        find_corners(corners, start, [-sin, cos], [self.planes, self.columns]);
    }
}

/// For each column of a plane of the beam's frame, the voxel at its lower corner and the weights of the four.
#[derive(Debug, Default)]
struct Corners {
    index: Vec<u32>,
    weights: [Vec<f32>; 4],
}

impl Corners {
    fn resize(&mut self, len: usize) {
        self.index.resize(len, 0);
        for weights in &mut self.weights {
            weights.resize(len, 0.0);
        }
    }

    /// The weights of one column, and none if all are 0.
    fn at(&self, column: usize) -> Option<(usize, [f32; 4])> {
        let weights = [0, 1, 2, 3].map(|corner| self.weights[corner][column]);
        (weights != [0.0; 4]).then(|| (self.index[column] as usize, weights))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn find_corners(corners: &mut Corners, start: [f64; 2], step: [f64; 2], extent: [usize; 2]) {
    let last = extent.map(|extent| extent as f64 - 2.0);
    let [low_near, low_far, high_near, high_far] = &mut corners.weights;
    let weights = low_near.iter_mut().zip(low_far).zip(high_near).zip(high_far);
    for (column, (index, (((low_near, low_far), high_near), high_far))) in
        (0_i32..).zip(corners.index.iter_mut().zip(weights))
    {
        let z = step[0] * f64::from(column) + start[0];
        let x = step[1] * f64::from(column) + start[1];
        let (plane, voxel) = (z.floor().max(0.0).min(last[0]), x.floor().max(0.0).min(last[1]));
        *index = plane as u32 * extent[1] as u32 + voxel as u32;
        let (low, high) = (hat(z - plane), hat(z - (plane + 1.0)));
        let (near, far) = (hat(x - voxel), hat(x - (voxel + 1.0)));
        (*low_near, *low_far) = ((low * near) as f32, (low * far) as f32);
        (*high_near, *high_far) = ((high * near) as f32, (high * far) as f32);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn gather(corners: &Corners, volume: &[Lanes], columns: usize, sums: &mut [Lanes]) {
    for (column, sum) in sums.iter_mut().enumerate() {
        let Some((index, weights)) = corners.at(column) else { continue };
        let (low, high) = (&volume[index..index + 2], &volume[index + columns..index + columns + 2]);
        for lane in 0..sum.0.len() {
            let near = weights[0] * low[0].0[lane] + weights[1] * low[1].0[lane];
            sum.0[lane] += near + (weights[2] * high[0].0[lane] + weights[3] * high[1].0[lane]);
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn scatter(corners: &Corners, values: &[Lanes], columns: usize, volume: &mut [Lanes]) {
    for (column, value) in values.iter().enumerate() {
        let Some((index, weights)) = corners.at(column) else { continue };
        for (place, weights) in
            [(index, [weights[0], weights[1]]), (index + columns, [weights[2], weights[3]])]
        {
            for (voxel, weight) in volume[place..place + 2].iter_mut().zip(weights) {
                for lane in 0..value.0.len() {
                    voxel.0[lane] += weight * value.0[lane];
                }
            }
        }
    }
}

/// The projector that turns the volume to each tilt and adds all planes.
#[derive(Debug, Clone)]
pub struct RotateSum {
    planes: usize,
    columns: usize,
    pixels: usize,
    rotations: Vec<Rotation>,
}

impl RotateSum {
    /// The projector of a volume of `planes` by `columns` onto images of `pixels` columns.
    ///
    /// # Errors
    /// As [`Rotation::new`].
    pub fn new(planes: usize, columns: usize, pixels: usize, tilts: &[Tilt]) -> Result<Self> {
        let volume = [planes, columns];
        let rotation = |tilt: &Tilt| Rotation::new(volume, [1, pixels], Rotation::depth(volume, tilt), *tilt);
        Ok(Self { planes, columns, pixels, rotations: tilts.iter().map(rotation).collect::<Result<_>>()? })
    }
}

impl Projector for RotateSum {
    fn volume_plane(&self) -> [usize; 2] {
        [self.planes, self.columns]
    }

    fn image_plane(&self) -> [usize; 2] {
        [self.rotations.len(), self.pixels]
    }

    fn project(&self, volume: &Volume, images: &mut Projections) -> Result<()> {
        check(self, volume, images)?;
        in_groups(volume, images, |volume, images| self.project_slabs(volume, images));
        Ok(())
    }

    fn back_project(&self, images: &Projections, volume: &mut Volume) -> Result<()> {
        check(self, volume, images)?;
        in_groups(images, volume, |images, volume| self.back_project_slabs(images, volume));
        Ok(())
    }
}

impl RotateSum {
    /// Overwrites the images of a group of slabs with their projections.
    fn project_slabs(&self, volume: &[Slab], images: &mut [Slab]) {
        let mut image = Slab::zeros(1, self.pixels);
        for (volume, images) in volume.iter().zip(images) {
            for (index, rotation) in self.rotations.iter().enumerate() {
                rotation.turn(volume, 1.0, &mut image);
                images.plane_mut(index).copy_from_slice(&image.data);
            }
        }
    }

    /// Overwrites a group of slabs with the back projection of their images.
    fn back_project_slabs(&self, images: &[Slab], volume: &mut [Slab]) {
        clear(volume);
        for (images, volume) in images.iter().zip(volume) {
            for (index, rotation) in self.rotations.iter().enumerate() {
                let image = Slab { columns: self.pixels, data: images.plane(index).to_vec() };
                rotation.turn_back(&image, 1.0, volume);
            }
        }
    }
}
