//! Samples made up for tests and demonstrations, drawn from a seed.
//!
//! [`clay`] is what the method was made for: a stack of wavy silicate sheets with missing patches, and heavy particles
//! between them. [`two_beads`] has no symmetry, so that a wrong sign of an axis or an angle shows.

use crate::geometry::centre;
use crate::{Result, Shape, Stack, Volume};
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;
use std::f64::consts::TAU;

/// Thickness of a sheet in Angstrom.
const SHEET_ANGSTROM: f64 = 9.6;
/// Distance from sheet to sheet in Angstrom.
const SPACING_ANGSTROM: f64 = 12.5;
/// Mean inner potential of a sheet in volt.
const SHEET_VOLT: f64 = 17.0;
/// Mean inner potential of a particle in volt.
const PARTICLE_VOLT: f64 = 28.0;
/// Smallest radius of a particle in Angstrom, and by how much more the largest exceeds it.
const RADIUS_ANGSTROM: [f64; 2] = [6.0, 8.0];
/// Square Angstrom of a sheet for each missing patch.
const AREA_PER_HOLE: f64 = 3600.0;
/// Of how many voxels one particle.
const VOXELS_PER_PARTICLE: usize = 30_000;

/// Numbers in 0..1.
struct Draw(Pcg32);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(Pcg32::new(seed, 0x00C1_A9ED))
    }

    fn next(&mut self) -> f64 {
        f64::from(self.0.next_u32()) / f64::from(u32::MAX)
    }
}

/// A ball: centre (z, y, x) in Angstrom from the middle of the volume, radius in Angstrom.
struct Ball {
    centre: [f64; 3],
    radius: f64,
}

impl Ball {
    /// The share of a voxel of side `p` that is inside, softened over one voxel.
    fn covers(&self, place: [f64; 3], p: f64) -> f64 {
        let squares = place.iter().zip(&self.centre).map(|(place, centre)| (place - centre).powi(2));
        ((self.radius - squares.sum::<f64>().sqrt()) / p + 0.5).clamp(0.0, 1.0)
    }
}

/// Layered clay: wavy sheets of 9.6 Angstrom and 17 V, 12.5 Angstrom apart, with missing patches, and particles of 28 V
/// and 6 to 14 Angstrom radius. Voxels of side `voxel_angstrom`, values in volt. The outer tenth along z and x is vacuum;
/// along y the sample goes on.
///
/// # Errors
/// [`crate::Error::Parameter`] for a shape or a voxel size out of range.
pub fn clay(shape: Shape, voxel_angstrom: f64, seed: u64) -> Result<Volume> {
    let shape = Shape::new(shape.planes, shape.rows, shape.columns)?;
    if !voxel_angstrom.is_finite() || voxel_angstrom <= 0.0 {
        return Err(crate::Error::parameter("voxel size in Angstrom", voxel_angstrom, "finite and above 0"));
    }
    let p = voxel_angstrom;
    let mut draw = Draw::new(seed);
    let extent = shape.to_array().map(|voxels| voxels as f64 * p);
    let waves: Vec<[f64; 4]> = (0..3)
        .map(|wave| {
            let longest = extent[1].max(extent[2]).max(SPACING_ANGSTROM);
            let frequency = || TAU * (f64::from(wave) + 1.0) / longest;
            [2.5 * draw.next(), frequency() * draw.next(), frequency() * draw.next(), TAU * draw.next()]
        })
        .collect();
    let sheets = (extent[0] * 0.8 / SPACING_ANGSTROM).floor().max(1.0) as usize;
    let holes = (sheets as f64 * extent[1] * extent[2] / AREA_PER_HOLE).ceil() as usize;
    let holes: Vec<(usize, Ball)> = (0..holes)
        .map(|_| {
            let sheet = (draw.next() * sheets as f64) as usize;
            let centre = [0.0, (draw.next() - 0.5) * extent[1], (draw.next() - 0.5) * extent[2]];
            (sheet, Ball { centre, radius: 6.0 + 14.0 * draw.next() })
        })
        .collect();
    let balls: Vec<Ball> = (0..shape.len().div_ceil(VOXELS_PER_PARTICLE))
        .map(|_| Ball {
            centre: [0, 1, 2].map(|axis| [0.7, 1.0, 0.7][axis] * (draw.next() - 0.5) * extent[axis]),
            radius: RADIUS_ANGSTROM[0] + RADIUS_ANGSTROM[1] * draw.next(),
        })
        .collect();
    Ok(Stack::from_fn(shape, |plane, row, column| {
        let [z, y, x] = [(plane, shape.planes), (row, shape.rows), (column, shape.columns)]
            .map(|(index, extent)| (index as f64 - centre(extent)) * p);
        let particle = balls.iter().map(|ball| ball.covers([z, y, x], p)).fold(0.0, f64::max);
        let bent: f64 =
            waves.iter().map(|[size, fy, fx, phase]| size * (fy * y + fx * x + phase).sin()).sum();
        let height = (z - bent) / SPACING_ANGSTROM + sheets as f64 / 2.0;
        let sheet = height.floor();
        let is_there = sheet >= 0.0
            && sheet < sheets as f64
            && x.abs() < 0.45 * extent[2]
            && !holes.iter().any(|(of, hole)| *of == sheet as usize && hole.covers([0.0, y, x], p) > 0.5);
        let from_middle = (height - sheet - 0.5).abs() * SPACING_ANGSTROM;
        let inside = ((SHEET_ANGSTROM / 2.0 - from_middle) / p + 0.5).clamp(0.0, 1.0);
        let sheet = if is_there { SHEET_VOLT * inside } else { 0.0 };
        (particle * PARTICLE_VOLT + (1.0 - particle) * sheet) as f32
    }))
}

/// Two unequal beads, smooth and of 3 and 2 voxels' width, of which no reflection or rotation is the same: the heavier
/// one at `(x, y, z) = (+1/4, -1/6, +1/8)` of the extents from the centre, the lighter one at `(-1/8, +1/4, +1/5)`.
///
/// # Errors
/// [`crate::Error::Parameter`] for a shape out of range.
pub fn two_beads(shape: Shape) -> Result<Volume> {
    let shape = Shape::new(shape.planes, shape.rows, shape.columns)?;
    let beads = [([0.125, -1.0 / 6.0, 0.25], 3.0, 1.0), ([0.2, 0.25, -0.125], 2.0, 0.6)];
    let extents = shape.to_array();
    Ok(Stack::from_fn(shape, |plane, row, column| {
        let indices = [plane, row, column];
        let value = beads.iter().map(|(place, width, height)| {
            let squares = (0..3).map(|axis| {
                let middle = centre(extents[axis]) + place[axis] * extents[axis] as f64;
                (indices[axis] as f64 - middle).powi(2)
            });
            height * (-squares.sum::<f64>() / (2.0 * width * width)).exp()
        });
        value.sum::<f64>() as f32
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{Joseph, Projector};
    use crate::testing::difference;
    use crate::{Tilt, TiltSign};

    #[test]
    fn clay_is_drawn_from_its_seed_and_made_of_sheets_and_particles() {
        let shape = Shape::new(64, 24, 48).unwrap();
        let volume = clay(shape, 2.0, 1).unwrap();
        assert_eq!(volume, clay(shape, 2.0, 1).unwrap());
        assert!(difference(&volume, &clay(shape, 2.0, 2).unwrap()) > 0.1);
        let values: Vec<f32> = volume.to_array().into_iter().collect();
        let share = |low: f32, high: f32| {
            values.iter().filter(|value| (low..=high).contains(*value)).count() as f64 / values.len() as f64
        };
        assert!(share(0.0, 28.0) == 1.0 && share(27.9, 28.0) > 0.005, "particles: {}", share(27.9, 28.0));
        assert!(
            share(16.9, 17.1) > 0.2 && share(0.0, 0.1) > 0.2,
            "{} {}",
            share(16.9, 17.1),
            share(0.0, 0.1)
        );
        assert!(clay(shape, 0.0, 1).is_err());
    }

    #[test]
    fn sheets_lie_12_5_angstrom_apart() {
        // A fine clay is least unlike itself when moved by the spacing, in voxels of 1.25 Angstrom: 10.
        let volume = clay(Shape::new(120, 8, 40).unwrap(), 1.25, 3).unwrap();
        let change = |shift: usize| -> f64 {
            let gap = |z: usize, x: usize| f64::from((volume.at(z + shift, 4, x) - volume.at(z, 4, x)).abs());
            (20..80).flat_map(|z| (10..30).map(move |x| (z, x))).map(|(z, x)| gap(z, x)).sum()
        };
        let best = (5..15).min_by(|left, right| change(*left).total_cmp(&change(*right)));
        assert_eq!(best, Some(10));
    }

    #[test]
    fn two_beads_tell_signs_and_axes_apart() {
        let shape = Shape::new(40, 36, 48).unwrap();
        let beads = two_beads(shape).unwrap();
        for flip in 1..8_usize {
            let place = |axis: usize, index: usize, extent: usize| {
                if flip >> axis & 1 == 1 { extent - 1 - index } else { index }
            };
            let flipped =
                Stack::from_fn(shape, |z, y, x| beads.at(place(0, z, 40), place(1, y, 36), place(2, x, 48)));
            assert!(difference(&beads, &flipped) > 1.0, "flip {flip}");
        }
        // The heavy bead is at x = 12, z = 5: its row of the image at +-30 degrees.
        for (sign, factor) in [(TiltSign::Positive, 1.0), (TiltSign::Negative, -1.0)] {
            let tilts = Tilt::series(&[30.0], sign).unwrap();
            let joseph = Joseph::new(40, 48, 48, &tilts).unwrap();
            let mut images = Stack::zeros(joseph.image_shape(36));
            joseph.project(&beads, &mut images).unwrap();
            let row =
                (0..36).max_by(|left, right| images.at(0, *left, 33).total_cmp(&images.at(0, *right, 33)));
            let heaviest = |row: usize| {
                let values = (0..48).map(|x| (f64::from(images.at(0, row, x)), x as f64 - 23.5));
                let (mass, moment) =
                    values.fold((0.0, 0.0), |(mass, moment), (v, x)| (mass + v, moment + v * x));
                moment / mass
            };
            assert!(row.is_some_and(|row| (10..=13).contains(&row)), "{row:?}");
            let expected = 12.0 * 30.0_f64.to_radians().cos() - factor * 5.0 * 30.0_f64.to_radians().sin();
            assert!((heaviest(11) - expected).abs() < 0.3, "{sign:?}: {} {expected}", heaviest(11));
        }
    }
}
