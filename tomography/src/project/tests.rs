//! P1 (adjoint), P4 (tilt 0, shifts of the lattice), P6 at the level of one projection, and closed forms (H1).

use super::*;
use crate::geometry::centre;
use crate::sum::tree_sum;
use crate::testing::{absolute, noise, tilts};
use crate::{LANES, Stack, Tilt};
use proptest::prelude::*;

const UNIT: f64 = f32::EPSILON as f64 / 2.0;

fn projected(projector: &impl Projector, volume: &Volume) -> Projections {
    let mut images = Stack::zeros(projector.image_shape(volume.shape().rows));
    projector.project(volume, &mut images).unwrap();
    images
}

fn back_projected(projector: &impl Projector, images: &Projections) -> Volume {
    let mut volume = Stack::zeros(projector.volume_shape(images.shape().rows));
    projector.back_project(images, &mut volume).unwrap();
    volume
}

/// The worst case of two sums of `n` terms: n u / (1 - n u).
fn gamma(n: usize) -> f64 {
    let terms = n as f64 * UNIT;
    terms / (1.0 - terms)
}

/// `|<A x, b> - <x, A^T b>|` over its bound `2 gamma <A |x|, |b|>`. Weights are not negative.
fn adjoint_gap(projector: &impl Projector, terms: usize, seed: u64) -> f64 {
    let volume = noise(projector.volume_shape(3), seed);
    let images = noise(projector.image_shape(3), seed + 1);
    let left = tree_sum(&projected(projector, &volume).row_dots(&images));
    let right = tree_sum(&volume.row_dots(&back_projected(projector, &images)));
    let scale = tree_sum(&projected(projector, &absolute(&volume)).row_dots(&absolute(&images)));
    // Where all rays miss the volume, all is 0.
    if left == right { 0.0 } else { (left - right).abs() / (2.0 * gamma(terms) * scale) }
}

fn sizes() -> impl Strategy<Value = (usize, usize, usize)> {
    (2_usize..24, 2_usize..24, 2_usize..30)
}

fn some_tilts() -> impl Strategy<Value = Vec<Tilt>> {
    let angle =
        prop_oneof![4 => -90.0..=90.0, 1 => prop::sample::select(vec![-90.0, -45.0, 0.0, 45.0, 90.0])];
    prop::collection::vec(
        (angle, -3.0..3.0).prop_map(|(angle_deg, offset_px)| Tilt { angle_deg, offset_px }),
        1..8,
    )
}

proptest! {
    #[test]
    fn joseph_and_its_back_projection_are_adjoint((nz, nx, pixels) in sizes(), tilts in some_tilts(), seed: u32) {
        let joseph = Joseph::new(nz, nx, pixels, &tilts).unwrap();
        let terms = 2 * (nz + nx) + 2 * tilts.len() + 3;
        prop_assert!(adjoint_gap(&joseph, terms, seed.into()) <= 1.0);
    }

    #[test]
    fn rotation_and_its_transpose_are_adjoint((nz, nx, pixels) in sizes(), tilts in some_tilts(), seed: u32) {
        let rotate = RotateSum::new(nz, nx, pixels, &tilts).unwrap();
        let terms = 4 * (nz + nx + 4) + 16 * tilts.len();
        prop_assert!(adjoint_gap(&rotate, terms, seed.into()) <= 1.0);
    }

    #[test]
    fn a_row_is_projected_alike_wherever_it_lies(cut in 1_usize..40, tilts in some_tilts(), seed: u32) {
        let joseph = Joseph::new(7, 9, 11, &tilts).unwrap();
        let whole = noise(joseph.volume_shape(40), seed.into());
        let images = projected(&joseph, &whole);
        for rows in [0..cut, cut..40].into_iter().filter(|rows| !rows.is_empty()) {
            let part = projected(&joseph, &whole.rows(rows.clone()).unwrap());
            prop_assert_eq!(&part, &images.rows(rows.clone()).unwrap());
            let back = back_projected(&joseph, &part);
            prop_assert_eq!(back, back_projected(&joseph, &images).rows(rows).unwrap());
        }
    }

    #[test]
    fn parts_of_the_columns_add_up_to_the_whole(cut in 2_usize..18, tilts in some_tilts(), seed: u32) {
        let (nz, nx, pixels) = (9, 20, 25);
        let whole = Joseph::new(nz, nx, pixels, &tilts).unwrap();
        let volume = noise(whole.volume_shape(2), seed.into());
        let mut sum = Stack::zeros(whole.image_shape(2));
        for part in [0..cut, cut..nx] {
            let joseph = Joseph::columns_of(nz, nx, part.clone(), pixels, &tilts).unwrap();
            let piece = Stack::from_fn(joseph.volume_shape(2), |z, y, x| volume.at(z, y, x + part.start));
            let images = projected(&joseph, &piece);
            sum = Stack::from_fn(sum.shape(), |image, y, x| sum.at(image, y, x) + images.at(image, y, x));
        }
        let (once, scale) = (projected(&whole, &volume), projected(&whole, &absolute(&volume)));
        for (index, value) in sum.to_array().indexed_iter() {
            let (image, y, x) = index;
            // The bound of two orders of one sum, and the rounding of weights whose places were computed otherwise.
            let bound = 2.0 * gamma(2 * (nz + nx)) * f64::from(scale.at(image, y, x)) + 1e-6;
            prop_assert!(f64::from((value - once.at(image, y, x)).abs()) <= bound);
        }
    }
}

/// The matrix of the formulas, entry by entry, in `f64`: an independent second opinion on Joseph's.
fn joseph_by_formula(volume: &Volume, pixels: usize, tilt: &Tilt, row: usize) -> Vec<f64> {
    let Shape { planes, columns, .. } = volume.shape();
    let (sin, cos) = tilt.sin_cos();
    let at = |z: i64, x: i64| {
        let inside = (0..planes as i64).contains(&z) && (0..columns as i64).contains(&x);
        if inside { f64::from(volume.at(z as usize, row, x as usize)) } else { 0.0 }
    };
    let mix = |place: f64, value: &dyn Fn(i64) -> f64| {
        let low = place.floor();
        (1.0 - (place - low)) * value(low as i64) + (place - low) * value(low as i64 + 1)
    };
    (0..pixels)
        .map(|pixel| {
            let x_beam = pixel as f64 - centre(pixels) - tilt.offset_px;
            if cos.abs() >= sin.abs() {
                let of_plane = |z: usize| {
                    let x = (x_beam + (z as f64 - centre(planes)) * sin) / cos + centre(columns);
                    mix(x, &|x| at(z as i64, x)) / cos.abs()
                };
                (0..planes).map(of_plane).sum::<f64>()
            } else {
                let of_column = |x: usize| {
                    let z = ((x as f64 - centre(columns)) * cos - x_beam) / sin + centre(planes);
                    mix(z, &|z| at(z, x as i64)) / sin.abs()
                };
                (0..columns).map(of_column).sum::<f64>()
            }
        })
        .collect()
}

#[test]
fn joseph_is_the_formula() {
    let tilts = tilts(&[-90.0, -77.0, -45.0, -44.0, -10.0, 0.0, 33.3, 45.0, 46.0, 60.0, 90.0]);
    let joseph = Joseph::new(13, 18, 21, &tilts).unwrap();
    let volume = noise(joseph.volume_shape(LANES + 2), 7);
    let images = projected(&joseph, &volume);
    for (image, tilt) in tilts.iter().enumerate() {
        for row in [0, LANES + 1] {
            let expected = joseph_by_formula(&volume, 21, tilt, row);
            for (pixel, expected) in expected.into_iter().enumerate() {
                let found = f64::from(images.at(image, row, pixel));
                assert!((found - expected).abs() < 1e-5, "{tilt:?} pixel {pixel}: {found} {expected}");
            }
        }
    }
}

/// H3: sinograms that ASTRA computed (`peers/astra_joseph.py` made them), in its `f32`.
#[test]
fn joseph_is_the_linear_projector_of_astra() {
    #[derive(serde::Deserialize)]
    struct Astra {
        planes: usize,
        columns: usize,
        pixels: usize,
        angles_deg: Vec<f64>,
        sinogram: Vec<Vec<f64>>,
    }
    let astra: Astra = serde_json::from_str(include_str!("../../tests/astra.json")).unwrap();
    let joseph = Joseph::new(astra.planes, astra.columns, astra.pixels, &tilts(&astra.angles_deg)).unwrap();
    let pattern = |z: usize, _: usize, x: usize| ((7 * z + 3 * x + z * x) % 16) as f32 / 16.0;
    let images = projected(&joseph, &Stack::from_fn(joseph.volume_shape(1), pattern));
    let values = astra.sinogram.iter().flatten().copied();
    let largest = values.clone().fold(0.0, f64::max);
    let ours = images.to_array();
    assert_eq!((ours.len(), largest > 5.0), (values.clone().count(), true));
    let gap =
        ours.iter().zip(values).map(|(ours, astra)| (f64::from(*ours) - astra).abs()).fold(0.0, f64::max);
    println!("difference to ASTRA over the largest value: {:.1e}", gap / largest);
    assert!(gap < 1e-5 * largest, "{gap} of {largest}");
}

#[test]
fn tilt_0_adds_the_planes_exactly() {
    let tilts = tilts(&[0.0]);
    let integers = |shape| Stack::from_fn(shape, |z, y, x| (z * 7 + y * 3 + x) as f32);
    for (planes, columns) in [(5, 8), (6, 9)] {
        let joseph = Joseph::new(planes, columns, columns, &tilts).unwrap();
        let rotate = RotateSum::new(planes, columns, columns, &tilts).unwrap();
        let volume = integers(joseph.volume_shape(4));
        let sums =
            Stack::from_fn(joseph.image_shape(4), |_, y, x| (0..planes).map(|z| volume.at(z, y, x)).sum());
        assert_eq!(projected(&joseph, &volume), sums);
        assert_eq!(projected(&rotate, &volume), sums);
    }
}

#[test]
fn a_shift_along_the_beams_axes_shifts_the_image() {
    let tilts = tilts(&[-90.0, 0.0, 90.0]);
    let joseph = Joseph::new(15, 15, 15, &tilts).unwrap();
    let pattern = |z: usize, y: usize, x: usize| {
        if (4..9).contains(&x) && (4..9).contains(&z) { (x * 5 + z + y) as f32 } else { 0.0 }
    };
    let volume = Stack::from_fn(joseph.volume_shape(2), pattern);
    let moved =
        Stack::from_fn(
            joseph.volume_shape(2),
            |z, y, x| if x >= 2 && z >= 3 { pattern(z - 3, y, x - 2) } else { 0.0 },
        );
    let (images, moved) = (projected(&joseph, &volume), projected(&joseph, &moved));
    for y in 0..2 {
        for x in 3..12 {
            assert_eq!(moved.at(1, y, x), images.at(1, y, x - 2), "x' = x at tilt 0");
            assert_eq!(moved.at(2, y, x), images.at(2, y, x + 3), "x' = -z at tilt 90");
            assert_eq!(moved.at(0, y, x), images.at(0, y, x - 3), "x' = z at tilt -90");
        }
    }
}

/// The error of projections of a Gaussian of this width, over its peak, against the closed form.
fn gaussian_error(projector: &impl Projector, tilts: &[Tilt], width: f64) -> f64 {
    let [planes, columns] = projector.volume_plane();
    let (x_bead, z_bead) = (6.3, -4.8);
    let squared = |value: f64| value * value;
    let volume = Stack::from_fn(projector.volume_shape(1), |z, _, x| {
        let (x, z) = (x as f64 - centre(columns) - x_bead, z as f64 - centre(planes) - z_bead);
        (-(squared(x) + squared(z)) / (2.0 * squared(width))).exp() as f32
    });
    let images = projected(projector, &volume);
    let peak = width * std::f64::consts::TAU.sqrt();
    let [_, pixels] = projector.image_plane();
    let errors = tilts.iter().enumerate().flat_map(|(image, tilt)| {
        let (sin, cos) = tilt.sin_cos();
        let images = &images;
        (0..pixels).map(move |pixel| {
            let distance = pixel as f64 - centre(pixels) - (x_bead * cos - z_bead * sin);
            let exact = peak * (-squared(distance) / (2.0 * squared(width))).exp();
            (f64::from(images.at(image, 0, pixel)) - exact).abs() / peak
        })
    });
    errors.fold(0.0, f64::max)
}

#[test]
fn a_gaussian_is_projected_within_1_over_8_s_squared() {
    let angles: Vec<f64> = (-60..=60).step_by(5).map(f64::from).collect();
    let tilts = tilts(&angles);
    let joseph = Joseph::new(80, 80, 96, &tilts).unwrap();
    let rotate = RotateSum::new(80, 80, 96, &tilts).unwrap();
    for (width, measured) in [(2.0, 2.4e-2), (3.0, 1.0e-2), (5.0, 3.9e-3)] {
        let (by_joseph, by_rotation) =
            (gaussian_error(&joseph, &tilts, width), gaussian_error(&rotate, &tilts, width));
        println!(
            "s = {width}: Joseph {by_joseph:.2e}, rotate and sum {by_rotation:.2e}, prototype {measured:.1e}"
        );
        let limit = 1.0 / (8.0 * width * width);
        assert!(by_joseph <= limit && by_rotation <= limit, "{by_joseph} {by_rotation} > {limit}");
        assert!(
            by_joseph > 0.2 * limit,
            "the grid smooths a Gaussian; an error of {by_joseph} would be too good"
        );
    }
}

#[test]
fn a_bead_goes_where_the_formula_says() {
    let tilts = tilts(&[-60.0, -30.0, 0.0, 30.0, 60.0]);
    let joseph = Joseph::new(41, 61, 61, &tilts).unwrap();
    let (x, z) = (17, -12);
    let mut volume = Stack::zeros(joseph.volume_shape(1));
    *volume.at_mut((z + 20) as usize, 0, (x + 30) as usize) = 1.0;
    let images = projected(&joseph, &volume);
    for (image, tilt) in tilts.iter().enumerate() {
        let values = (0..61).map(|pixel| (f64::from(images.at(image, 0, pixel)), pixel as f64 - 30.0));
        let (mass, moment) = values.fold((0.0, 0.0), |(mass, moment), (v, x)| (mass + v, moment + v * x));
        let expected = tilt.to_beam(x.into(), z.into()).0;
        assert!((moment / mass - expected).abs() < 0.35, "{tilt:?}: {} {expected}", moment / mass);
    }
}

/// Column sums of one image over voxels far from the rim: smallest and largest.
fn column_sum_range(angle_deg: f64) -> (f32, f32) {
    let (n, inner) = (65, 20..45);
    let joseph = Joseph::new(n, n, 129, &tilts(&[angle_deg])).unwrap();
    let sums = joseph.column_sums().unwrap();
    let inside = inner.clone().flat_map(|z| inner.clone().map(move |x| (z, x))).map(|(z, x)| sums[z * n + x]);
    inside.fold((f32::MAX, 0.0), |(low, high), sum| (low.min(sum), high.max(sum)))
}

#[test]
fn column_sums_show_that_sirt_needs_its_weights() {
    for (angle, low, high) in [(45.0, 0.83, 1.40), (17.0, 0.998, 1.045)] {
        let range = column_sum_range(angle);
        println!("{angle} degrees: {range:?}");
        assert!((range.0 - low).abs() < 0.02 && (range.1 - high).abs() < 0.02, "{angle}: {range:?}");
    }
}

#[test]
fn row_sums_are_the_lengths_of_rays() {
    let tilts = tilts(&[0.0, 30.0]);
    let joseph = Joseph::new(20, 200, 31, &tilts).unwrap();
    let sums = joseph.row_sums().unwrap();
    assert!((sums[15] - 20.0).abs() < 1e-5);
    assert!((sums[31 + 15] - 20.0 / 30.0_f32.to_radians().cos()).abs() < 1e-4);
}

#[test]
fn the_norm_of_a_rotation_is_at_most_1_03() {
    for (angle, measured) in [(0.0, 1.0), (22.5, 1.0161), (45.0, 1.0225), (60.0, 1.0148)] {
        let (n, tilt) = (32, Tilt::new(angle));
        let depth = Rotation::depth([n, n], &tilt);
        let rotation = Rotation::new([n, n], [depth, depth + 12], 1, tilt).unwrap();
        let mut volume = noise(Shape::new(n, 1, n).unwrap(), 3).slabs()[0].clone();
        let mut beam = Slab::zeros(depth, depth + 12);
        let mut norm = 0.0_f64;
        for _ in 0..200 {
            let length = volume.data.iter().map(|lanes| f64::from(lanes.0[0]).powi(2)).sum::<f64>().sqrt();
            for lanes in &mut volume.data {
                lanes.0[0] = (f64::from(lanes.0[0]) / length) as f32;
            }
            rotation.turn(&volume, 1.0, &mut beam);
            norm = beam.data.iter().map(|lanes| f64::from(lanes.0[0]).powi(2)).sum::<f64>().sqrt();
            volume.data.fill(Lanes::ZERO);
            rotation.turn_back(&beam, 1.0, &mut volume);
        }
        println!("{angle} degrees: norm {norm:.4}, prototype {measured}");
        assert!(norm <= 1.03 && (norm - measured).abs() < 0.011, "{angle}: {norm}");
    }
}

#[test]
fn slices_of_any_bin_add_up_to_the_projection() {
    let tilt = Tilt { angle_deg: 25.0, offset_px: 0.4 };
    let rotate = RotateSum::new(12, 12, 20, &[tilt]).unwrap();
    let volume = noise(rotate.volume_shape(1), 9);
    let image = projected(&rotate, &volume);
    let depth = Rotation::depth([12, 12], &tilt);
    let bin = if depth.is_multiple_of(3) { 3 } else { 2 };
    let rotation = Rotation::new([12, 12], [depth / bin, 20], bin, tilt).unwrap();
    let mut slices = Slab::zeros(depth / bin, 20);
    rotation.turn(&volume.slabs()[0], 2.0, &mut slices);
    for pixel in 0..20 {
        let sum: f32 = (0..depth / bin).map(|slice| slices.plane(slice)[pixel].0[0]).sum();
        assert!((sum - 2.0 * image.at(0, 0, pixel)).abs() < 1e-4);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let tilts = tilts(&[0.0]);
    assert!(Joseph::new(1, 5, 5, &tilts).is_err() && Joseph::columns_of(5, 5, 3..6, 5, &tilts).is_err());
    assert!(Joseph::new(5, 5, 5, &[Tilt::new(f64::NAN)]).is_err());
    assert!(Rotation::new([5, 5], [2, 5], 0, Tilt::new(0.0)).is_err());
    let joseph = Joseph::new(5, 5, 5, &tilts).unwrap();
    let mut images = Stack::zeros(joseph.image_shape(2));
    assert!(joseph.project(&Stack::zeros(joseph.volume_shape(3)), &mut images).is_err());
}
