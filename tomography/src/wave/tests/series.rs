//! The gradient of a volume: finite differences, threads, vacuum, curvature.

use super::*;
use crate::sum::tree_sum;
use crate::{Projections, Shape, Tilt, Volume};

/// A small needle with smooth blobs of up to 25 V.
pub(super) fn needle(rows: usize, seed: u64) -> Volume {
    let shape = Shape::new(10, rows, 12).unwrap();
    let draws = numbers(seed, 40);
    Volume::from_fn(shape, |z, y, x| {
        let blob = |draw: &[f64]| {
            let place = [(z as f64, 10.0), (y as f64, rows as f64), (x as f64, 12.0)];
            let square: f64 =
                place.iter().zip(draw).map(|((at, n), draw)| (at - (0.2 + 0.6 * draw) * n).powi(2)).sum();
            25.0 * (-square / 5.0).exp()
        };
        draws.chunks_exact(4).map(blob).sum::<f64>() as f32
    })
}

pub(super) fn setup(rows: usize) -> Setup {
    let shot = |angle| Shot { tilt: Tilt::new(angle), foci: FOCI.to_vec() };
    let shots = [-50.0, -10.0, 0.0, 35.0].map(shot).to_vec();
    let mut setup = Setup::new(microscope(), 2.0, Shape::new(10, rows, 12).unwrap(), shots);
    (setup.wave_of_tilts, setup.bin) = (3, 2);
    setup
}

const FOCI: [Focus; 2] = [Focus::underfocus(1500.0), Focus::underfocus(3000.0)];
const ALL: [usize; 4] = [0, 1, 2, 3];

fn dot(left: &Volume, right: &Volume) -> f64 {
    tree_sum(&left.row_dots(right))
}

fn scaled(volume: &Volume, factor: f32) -> Volume {
    Volume::from_fn(volume.shape(), |z, y, x| factor * volume.at(z, y, x))
}

fn plus(volume: &Volume, step: f32, direction: &Volume) -> Volume {
    Volume::from_fn(volume.shape(), |z, y, x| volume.at(z, y, x) + step * direction.at(z, y, x))
}

#[test]
fn the_gradient_of_the_volume_is_the_limit_of_differences() {
    for (vacuum, absorption, checkpoints) in [(0, 0.0, false), (5, 0.05, true)] {
        let mut setup = setup(21);
        setup.vacuum_rows = vacuum;
        setup.microscope.absorption = absorption;
        setup.checkpoints = checkpoints;
        let truth = needle(21, 3);
        let series = Series::new(setup.clone(), &Series::simulate(setup, &truth).unwrap(), None).unwrap();
        let start = scaled(&truth, 0.5);
        let mut gradient = Volume::zeros(truth.shape());
        let misfit = series.gradient(&start, &ALL, &mut gradient).unwrap();
        assert!(misfit.loss > 0.0 && misfit.energy_outside < Misfit::ALIASED);
        let square = dot(&gradient, &gradient);
        let step = (0.5 / square.sqrt()) as f32;
        let mut scratch = Volume::zeros(truth.shape());
        let mut at = |step| series.gradient(&plus(&start, step, &gradient), &ALL, &mut scratch).unwrap().loss;
        let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
        assert!((slope / square - 1.0).abs() < 2e-3, "{}", slope / square);
        let at_truth = series.gradient(&truth, &ALL, &mut scratch).unwrap().loss;
        assert!(at_truth < 1e-9 * misfit.loss.max(1.0), "images are met by their volume: {at_truth}");
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_on_how_many_tilts_are_in_flight() {
    let mut setup = setup(37);
    let truth = needle(37, 5);
    let images = Series::simulate(setup.clone(), &truth).unwrap();
    let start = scaled(&truth, 0.7);
    let mut results = Vec::new();
    for (threads, wave, checkpoints) in [(1, 1, false), (2, 3, true), (5, 2, false), (3, 8, false)] {
        (setup.wave_of_tilts, setup.checkpoints) = (wave, checkpoints);
        let series = Series::new(setup.clone(), &images, None).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut gradient = Volume::zeros(truth.shape());
        let misfit = pool.install(|| series.gradient(&start, &ALL, &mut gradient).unwrap());
        results.push((misfit.loss.to_bits(), gradient));
    }
    assert!(results.iter().all(|result| *result == results[0]));
    // The order of tilts does matter, or equality means nothing.
    let series = Series::new(setup, &images, None).unwrap();
    let mut gradient = Volume::zeros(truth.shape());
    series.gradient(&start, &[3, 2, 1, 0], &mut gradient).unwrap();
    assert_ne!(gradient, results[0].1);
}

#[test]
fn only_counted_rows_are_reported_and_all_of_them_act() {
    let mut setup = setup(21);
    let truth = needle(21, 3);
    let images = Series::simulate(setup.clone(), &truth).unwrap();
    let start = scaled(&truth, 0.5);
    let mut run = |counted| {
        setup.counted = counted;
        let series = Series::new(setup.clone(), &images, None).unwrap();
        let mut gradient = Volume::zeros(truth.shape());
        (series.gradient(&start, &ALL, &mut gradient).unwrap().loss, gradient)
    };
    let (whole, gradient) = run(0..21);
    let parts = [0..4, 4..19, 19..21].map(&mut run);
    assert!(parts.iter().all(|part| part.1 == gradient));
    let sum: f64 = parts.iter().map(|part| part.0).sum();
    assert!((sum / whole - 1.0).abs() < 1e-6, "{sum} {whole}");
}

#[test]
fn the_curvature_is_below_its_bound_and_above_a_part_of_it() {
    let setup = setup(20);
    let truth = needle(20, 8);
    let images = Series::simulate(setup.clone(), &truth).unwrap();
    let series = Series::new(setup, &images, None).unwrap();
    let empty = Volume::zeros(truth.shape());
    let (bound, found) = (series.curvature_bound(&ALL), series.curvature(&empty, &ALL, 10).unwrap());
    assert!(found < bound && found > 0.1 * bound, "{found} of {bound}");
    let (left, right) = (needle(20, 1), needle(20, 2));
    let product = |direction| series.gauss_newton(&truth, direction, &ALL).unwrap();
    let (ab, ba) = (dot(&left, &product(&right)), dot(&right, &product(&left)));
    assert!((ab / ba - 1.0).abs() < 1e-5, "symmetric: {ab} {ba}");
    assert!(dot(&left, &product(&left)) > 0.0);
}

#[test]
fn unfit_series_are_refused_by_name() {
    let setup = setup(8);
    let images = Projections::zeros(setup.images());
    let refused =
        |setup: Setup, images: &Projections| Series::new(setup, images, None).err().unwrap().to_string();
    let mut broken = setup.clone();
    broken.bin = 0;
    assert!(refused(broken, &images).contains("planes of a slice"));
    let mut broken = setup.clone();
    broken.counted = 4..9;
    assert!(refused(broken, &images).contains("counted"));
    assert!(refused(setup.clone(), &Projections::zeros(setup.volume)).contains("recorded images"));
    let negative = Projections::from_fn(setup.images(), |_, _, _| -1.0);
    assert!(refused(setup.clone(), &negative).contains("not negative"));
    let series = Series::new(setup, &images, None).unwrap();
    assert!(series.respond(0, Vec::new()).is_err());
}

#[test]
fn the_largest_phase_is_that_of_the_longest_ray() {
    let setup = setup(20);
    let images = Projections::zeros(setup.images());
    let series = Series::new(setup.clone(), &images, None).unwrap();
    let mut volume = Volume::zeros(setup.volume);
    for z in 0..10 {
        *volume.at_mut(z, 17, 5) = -3.0;
    }
    // Ten voxels of 2 Angstrom in line with the beam at tilt 0; tilted rays cross fewer.
    let phase = microscope().beam.interaction * 3.0 * 20.0;
    assert!((series.largest_phase(&volume).unwrap() / phase - 1.0).abs() < 1e-6);
    assert!(series.largest_phase(&Volume::zeros(setup.images())).is_err());
}

#[test]
fn slices_are_as_thin_as_free_space_asks() {
    for (pixel, thickest) in [(1.0, 114.0), (2.0, 457.0)] {
        let found = optics(microscope(), 4, 4, pixel, 4.0).thickest_slice_angstrom();
        assert!((found / thickest - 1.0_f64).abs() < 0.005, "{found}");
    }
}
