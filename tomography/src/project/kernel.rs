//! The loops in which a ray projector spends its time, compiled for several levels of vector instructions.
//!
//! The level is chosen when the program runs. It does not change a bit: every lane is its own sum of products in the
//! order written here, a multiplication and an addition are never fused, and no sum runs across lanes.
//!
//! A [`Line`] is what one image sees of one row of voxels: pixel `t` looks at the place `slope * t + origin` of the row
//! and takes the two voxels beside it by linear interpolation. [`Taps`] holds indices and weights of two lines at once,
//! which halves the traffic of the sums. Both directions take their weights from [`hat`] of the same `f64` numbers, so
//! back projection is the transposed matrix, and the same in either direction to the last bit of a weight.

use crate::Lanes;
use multiversion::multiversion;

/// Where the pixels of one image look on one row of voxels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    /// Voxels per pixel, at least 1 in size; negative if the image runs the other way.
    pub(super) slope: f64,
    /// Place in the row at which pixel 0 looks.
    pub(super) origin: f64,
    /// Length of the ray from one row to the next.
    pub(super) length: f64,
}

impl Line {
    /// A line without weight.
    pub(super) const NONE: Self = Self { slope: 1.0, origin: 0.0, length: 0.0 };

    /// The first pixel that looks into (-1, voxels), and the one after the last that does.
    fn pixels(&self, voxels: usize, pixels: usize) -> (usize, usize) {
        let sees = |pixel: usize| {
            let place = self.slope * pixel as f64 + self.origin;
            place > -1.0 && place < voxels as f64
        };
        let ends = [(-1.0 - self.origin) / self.slope, (voxels as f64 - self.origin) / self.slope];
        let clamp = |place: f64| place.clamp(0.0, pixels as f64) as usize;
        let mut low = clamp(ends[0].min(ends[1]) - 1.0);
        let mut high = clamp(ends[0].max(ends[1]) + 2.0);
        while low < high && !sees(low) {
            low += 1;
        }
        while low < high && !sees(high - 1) {
            high -= 1;
        }
        (low, high)
    }
}

/// Linear interpolation: the weight of a voxel at this distance.
#[allow(clippy::inline_always, reason = "it must be part of the loops below to be compiled for their level")]
#[inline(always)]
pub(super) fn hat(distance: f64) -> f64 {
    (1.0 - distance.abs()).max(0.0)
}

/// For each target from `first` on, two neighbours in each of two sources and their weights.
#[derive(Debug, Clone, Default)]
pub(super) struct Taps {
    first: usize,
    sides: [Side; 2],
}

#[derive(Debug, Clone, Default)]
struct Side {
    index: Vec<u32>,
    near: Vec<f32>,
    far: Vec<f32>,
}

impl Side {
    fn resize(&mut self, len: usize) {
        self.index.resize(len, 0);
        self.near.resize(len, 0.0);
        self.far.resize(len, 0.0);
    }
}

impl Taps {
    /// What the pixels take from two rows of voxels.
    pub(super) fn forward(&mut self, lines: [Line; 2], voxels: usize, pixels: usize) {
        let ranges =
            lines.map(|line| if line.length > 0.0 { line.pixels(voxels, pixels) } else { (pixels, 0) });
        let first = ranges[0].0.min(ranges[1].0);
        let len = ranges[0].1.max(ranges[1].1).saturating_sub(first);
        self.first = first;
        for (side, line) in self.sides.iter_mut().zip(&lines) {
            side.resize(len);
            forward_taps(side, line, first, voxels);
        }
    }

    /// What the voxels of a row take from the pixels of two images.
    pub(super) fn backward(&mut self, lines: [Line; 2], voxels: usize, pixels: usize) {
        self.first = 0;
        for (side, line) in self.sides.iter_mut().zip(&lines) {
            side.resize(voxels);
            backward_taps(side, line, pixels);
        }
    }

    /// `target += near * source[index] + far * source[index + 1]`, first of one source, then of the other.
    pub(super) fn add(&self, target: &mut [Lanes], sources: [&[Lanes]; 2]) {
        add_taps(&self.sides, &mut target[self.first..], sources);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn forward_taps(side: &mut Side, line: &Line, first: usize, voxels: usize) {
    let last = voxels as f64 - 2.0;
    let Line { slope, origin, length } = *line;
    let first = first as f64;
    let entries = side.index.iter_mut().zip(&mut side.near).zip(&mut side.far);
    for (step, ((index, near), far)) in (0_i32..).zip(entries) {
        let place = slope * (f64::from(step) + first) + origin;
        let voxel = place.floor().max(0.0).min(last);
        *index = voxel as u32;
        *near = (hat(place - voxel) * length) as f32;
        *far = (hat(place - (voxel + 1.0)) * length) as f32;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn backward_taps(side: &mut Side, line: &Line, pixels: usize) {
    let last = pixels as f64 - 2.0;
    let Line { slope, origin, length } = *line;
    let (inverse, towards) = (1.0 / slope, slope.signum());
    let entries = side.index.iter_mut().zip(&mut side.near).zip(&mut side.far);
    for (voxel, ((index, near), far)) in (0_i32..).zip(entries) {
        let voxel = f64::from(voxel);
        // The first pixel that looks into (voxel - 1, voxel + 1). At most the next one does so too, as |slope| >= 1.
        let pixel = (((voxel - towards - origin) * inverse).floor() + 1.0).max(0.0).min(last);
        *index = pixel as u32;
        *near = (hat(slope * pixel + origin - voxel) * length) as f32;
        *far = (hat(slope * (pixel + 1.0) + origin - voxel) * length) as f32;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2", "aarch64+neon"))]
fn add_taps(sides: &[Side; 2], target: &mut [Lanes], sources: [&[Lanes]; 2]) {
    let [one, two] = sides;
    let len = one.index.len().min(target.len());
    let (index_one, near_one, far_one) = (&one.index[..len], &one.near[..len], &one.far[..len]);
    let (index_two, near_two, far_two) = (&two.index[..len], &two.near[..len], &two.far[..len]);
    for (i, sum) in target[..len].iter_mut().enumerate() {
        let (place_one, place_two) = (index_one[i] as usize, index_two[i] as usize);
        let (pair_one, pair_two) =
            (&sources[0][place_one..place_one + 2], &sources[1][place_two..place_two + 2]);
        for lane in 0..Lanes::ZERO.0.len() {
            let first = near_one[i] * pair_one[0].0[lane] + far_one[i] * pair_one[1].0[lane];
            let second = near_two[i] * pair_two[0].0[lane] + far_two[i] * pair_two[1].0[lane];
            sum.0[lane] = (sum.0[lane] + first) + second;
        }
    }
}
