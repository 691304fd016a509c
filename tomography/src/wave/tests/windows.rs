//! Windows along the tilt axis: their waves, gradients and reconstructions beside the whole's.
//!
//! The needle is that of the specification's table scaled down: 12 x 12 x 256 voxels of 2 Angstrom, 5 tilts, one focus.

use super::*;
use crate::comm::threads;
use crate::decompose::Part;
use crate::solve::{Momentum, Objective, Prior, Progress, Proximal, Rows, Run, Whole, proximal};
use crate::sum::tree_sum;
use crate::{Result, Shape, Tilt, Volume};
use std::ops::ControlFlow;
use std::sync::Mutex;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_row_of_a_wave_is_off_by_no_more_than_the_tail(
        seed in 1u64..1000, underfocus in 500.0..5000.0f64, halo in 6usize..32, height in 20.0..200.0f64
    ) {
        let (slices, thickness, core) = (4, 8.0, 60..92);
        let optics = optics(microscope(), 12, 160, 2.0, thickness);
        let grid = optics.grid();
        let focus = [Focus::underfocus(underfocus)];
        let stack = blobs(grid, slices, height, seed);
        let whole = optics.exposure(slices, &focus).unwrap().waves(&stack, &mut optics.workspace(false)).unwrap();
        let rows = core.start - halo..core.end + halo;
        let cut: Vec<f64> =
            stack.chunks_exact(grid.y).flat_map(|column| column[rows.clone()].iter().copied()).collect();
        let narrow = super::optics(microscope(), 12, rows.len(), 2.0, thickness);
        let part = narrow.exposure(slices, &focus).unwrap().waves(&cut, &mut narrow.workspace(false)).unwrap();
        let phi = (0..grid.len()).map(|ray| (0..slices).map(|s| stack[s * grid.len() + ray]).sum::<f64>())
            .fold(0.0, f64::max) * microscope().beam.interaction;
        let tail = Tail::new(&microscope(), 2.0, 12, &focus, slices as f64 * thickness).unwrap();
        let bound = 12.0_f64.sqrt() * phi * tail.at(halo);
        for y in core {
            let square: f64 = (0..12)
                .map(|x| (whole[x * 160 + y] - part[x * rows.len() + y - rows.start]).norm_sqr())
                .sum();
            prop_assert!(square.sqrt() <= bound, "row {y}: {} beside {bound}", square.sqrt());
        }
    }
}

const ROWS: usize = 256;
const CUTS: [usize; 3] = [64, 128, 192];
const SHOTS: [usize; 5] = [0, 1, 2, 3, 4];

fn setup(image: Aperture, slice: Aperture) -> Setup {
    let microscope = Microscope { image_aperture: image, slice_aperture: slice, ..microscope() };
    let shot = |angle| Shot { tilt: Tilt::new(angle), foci: vec![Focus::underfocus(4000.0)] };
    let shots = [-60.0, -30.0, 0.0, 30.0, 60.0].map(shot).to_vec();
    Setup::new(microscope, 2.0, Shape::new(12, ROWS, 12).unwrap(), shots)
}

/// Particles of 60 V, as a thin needle must be to scatter like a thick one, all along the needle.
fn needle() -> Volume {
    let draws = numbers(17, 200);
    let mut volume = Volume::zeros(Shape::new(12, ROWS, 12).unwrap());
    for draw in draws.chunks_exact(4) {
        let centre = [3.0 + 5.0 * draw[0], ROWS as f64 * draw[1], 3.0 + 5.0 * draw[2]];
        for z in 0..12 {
            for y in 0..ROWS {
                for x in 0..12 {
                    let away: f64 =
                        [z, y, x].iter().zip(centre).map(|(at, centre)| (*at as f64 - centre).powi(2)).sum();
                    let value = 60.0 * (-away / (2.0 + 4.0 * draw[3])).exp() as f32;
                    let voxel = volume.at_mut(z, y, x);
                    *voxel = voxel.max(value);
                }
            }
        }
    }
    volume
}

fn norm(volume: &Volume) -> f64 {
    tree_sum(&volume.row_dots(volume)).sqrt()
}

fn minus(left: &Volume, right: &Volume) -> Volume {
    Volume::from_fn(left.shape(), |z, y, x| left.at(z, y, x) - right.at(z, y, x))
}

/// Projected gradient steps from an empty volume; `watch` sees every iterate and its gradient.
fn descend(
    steps: usize,
    curvature: f64,
    gradient: impl Fn(&Volume, &mut Volume),
    mut watch: impl FnMut(&Volume, &Volume),
) -> Volume {
    let mut volume = Volume::zeros(Shape::new(12, ROWS, 12).unwrap());
    let mut slope = volume.clone();
    for _ in 0..steps {
        gradient(&volume, &mut slope);
        watch(&volume, &slope);
        let step = (1.0 / curvature) as f32;
        volume = Volume::from_fn(volume.shape(), |z, y, x| {
            (volume.at(z, y, x) - step * slope.at(z, y, x)).max(0.0)
        });
    }
    volume
}

/// Twelve iterations of FISTA on the rows held here.
fn reconstruct(
    objective: &impl Objective,
    lipschitz: f64,
    own: usize,
    rows: &mut dyn Rows,
) -> Result<Volume> {
    let prior = Prior { positive: true, tv: None };
    let options = Proximal { lipschitz, momentum: Momentum::Nesterov, prior };
    let mut progress = |_: Progress| ControlFlow::Continue(());
    let start = Volume::zeros(Shape::new(12, own, 12).unwrap());
    proximal(objective, start, options, &mut Run { iterations: 12, rows, watch: &mut progress })
}

struct Needle {
    setup: Setup,
    series: Series,
    images: crate::Projections,
    curvature: f64,
}

fn recorded(image: Aperture, slice: Aperture) -> Needle {
    let setup = setup(image, slice);
    let images = Series::simulate(setup.clone(), &needle()).unwrap();
    let series = Series::new(setup.clone(), &images, None).unwrap();
    let empty = Volume::zeros(setup.volume);
    let curvature = 1.1 * series.curvature(&empty, &SHOTS, 6).unwrap();
    Needle { setup, series, images, curvature }
}

impl Needle {
    fn windows(&self, halo: usize) -> Windows {
        Windows::new(&self.setup, &self.images, None, &CUTS, halo).unwrap()
    }

    fn whole(&self, volume: &Volume, gradient: &mut Volume) {
        self.series.gradient(volume, &SHOTS, gradient).unwrap();
    }

    /// Twelve iterations of FISTA.
    fn reconstruct(&self, objective: &impl Objective) -> Volume {
        reconstruct(objective, self.curvature, ROWS, &mut Whole).unwrap()
    }

    fn in_one_piece(&self) -> Volume {
        let here = Mutex::new(Here);
        self.reconstruct(&Scattering::new(&self.series, SHOTS.to_vec(), &here).unwrap())
    }

    /// The relative difference of reconstructions in windows and in one piece.
    fn difference(&self, halo: usize, whole: &Volume) -> f64 {
        let windows = self.windows(halo);
        let parts = self.reconstruct(&InWindows { windows: &windows, shots: &SHOTS });
        norm(&minus(&parts, whole)) / norm(whole)
    }
}

#[test]
fn iterates_differ_by_no_more_than_the_sum_of_gradient_errors() {
    let needle = recorded(Aperture::IMAGE, Aperture::None);
    let whole = descend(10, needle.curvature, |at, slope| needle.whole(at, slope), |_, _| ());
    let mut last = f64::MAX;
    for halo in [10, 20, 40] {
        let windows = needle.windows(halo);
        let mut exact = Volume::zeros(needle.setup.volume);
        let mut errors = 0.0;
        let gradient = |at: &Volume, slope: &mut Volume| {
            windows.gradient(at, &SHOTS, slope).unwrap();
        };
        let parts = descend(10, needle.curvature, gradient, |at, slope| {
            needle.whole(at, &mut exact);
            errors += norm(&minus(slope, &exact));
        });
        let difference = norm(&minus(&parts, &whole));
        let bound = errors / needle.curvature;
        assert!(difference <= bound && difference > 0.1 * bound, "{halo}: {difference} beside {bound}");
        assert!(difference < last, "a wider halo is better");
        last = difference;
    }
}

#[test]
fn a_halo_chosen_for_a_tolerance_delivers_it_and_a_sharp_aperture_never_does() {
    let smooth = recorded(Aperture::IMAGE, Aperture::None);
    let phi = smooth.series.largest_phase(&needle()).unwrap();
    assert!(phi > 0.3, "a strong sample, or this tests little: {phi}");
    let thickness = smooth.setup.thickness_angstrom(&Tilt::new(60.0));
    let tail = Tail::new(&smooth.setup.microscope, 2.0, 12, &smooth.setup.shots[0].foci, thickness).unwrap();
    let whole = smooth.in_one_piece();
    let halos = [1e-2, 1e-3, 1e-4].map(|eps| {
        let halo = tail.halo(phi, eps).unwrap().max(least_halo(&smooth.setup, 0));
        let difference = smooth.difference(halo, &whole);
        println!("tolerance {eps:.0e}: halo {halo}, relative difference {difference:.1e}");
        assert!(difference <= eps, "{eps}: {difference} at {halo} rows");
        halo
    });
    // The same halos behind a sharp aperture.
    let sharp = recorded(Aperture::Hard, Aperture::Hard);
    let whole = sharp.in_one_piece();
    let difference = sharp.difference(halos[2], &whole);
    println!("sharp aperture, halo {}: {difference:.1e}", halos[2]);
    assert!(difference > 1e-3, "a sharp aperture must not agree to {difference}");
    let sharp = Tail::new(&sharp.setup.microscope, 2.0, 12, &sharp.setup.shots[0].foci, thickness).unwrap();
    assert_eq!(sharp.halo(phi, 1e-4), None);
}

#[test]
fn windows_as_long_as_the_whole_are_the_whole() {
    for vacuum in [0, 64] {
        let mut setup = setup(Aperture::IMAGE, Aperture::None);
        setup.vacuum_rows = vacuum;
        let volume = needle();
        let images = Series::simulate(setup.clone(), &volume).unwrap();
        let start = Volume::from_fn(volume.shape(), |z, y, x| 0.5 * volume.at(z, y, x));
        let (mut whole, mut parts) = (Volume::zeros(volume.shape()), Volume::zeros(volume.shape()));
        let exact = Series::new(setup.clone(), &images, None).unwrap();
        let exact = exact.gradient(&start, &SHOTS, &mut whole).unwrap();
        let windows = Windows::new(&setup, &images, None, &CUTS, 96).unwrap();
        let found = windows.gradient(&start, &SHOTS, &mut parts).unwrap();
        assert_eq!(parts, whole);
        assert!((found.loss / exact.loss - 1.0).abs() < 1e-12);
        // Narrow windows at the ends see the whole's ends, periodic or vacuum.
        Windows::new(&setup, &images, None, &CUTS, 60).unwrap().gradient(&start, &SHOTS, &mut parts).unwrap();
        let error = norm(&minus(&parts, &whole)) / norm(&whole);
        assert!(error < 1e-4 && error > 0.0, "{vacuum}: {error}");
    }
    let setup = setup(Aperture::IMAGE, Aperture::None);
    let images = crate::Projections::zeros(setup.images());
    assert!(Windows::new(&setup, &images, None, &[64, 64], 8).is_err());
    assert!(Windows::new(&setup, &images, None, &[256], 8).is_err());
}

#[test]
fn ranks_that_hold_windows_compute_what_one_process_does() {
    let mut setup = setup(Aperture::IMAGE, Aperture::None);
    setup.vacuum_rows = 30;
    let images = Series::simulate(setup.clone(), &needle()).unwrap();
    let lipschitz = Series::new(setup.clone(), &images, None).unwrap().curvature_bound(&SHOTS);
    // Some windows at a rank, of unequal length, and one that is the whole beside others that are not.
    for (halo, cuts, shares) in [
        (12, &[64, 128, 192][..], vec![0..64, 64..128, 128..192, 192..256]),
        (40, &[64, 128, 192], vec![0..128, 128..256]),
        (96, &[64, 128, 192], vec![0..64, 64..256]),
        (90, &[100, 200], vec![0..100, 100..200, 200..256]),
    ] {
        let windows = Windows::new(&setup, &images, None, cuts, halo).unwrap();
        let together = InWindows { windows: &windows, shots: &SHOTS };
        let together = reconstruct(&together, lipschitz, ROWS, &mut Whole).unwrap();
        let mut apart = threads::run(shares.len(), |comm| {
            let mut part = Part::new(comm, shares.clone())?;
            let own = part.range();
            let windows = OwnWindows::new(&setup, &|rows| images.rows(rows), &own, cuts, halo)?;
            let windows = InOwnWindows { windows: &windows, shots: &SHOTS };
            let volume = reconstruct(&windows, lipschitz, own.len(), &mut part)?;
            part.gather(&volume)
        });
        assert_eq!(apart.swap_remove(0).unwrap().unwrap(), together, "halo {halo}");
    }
    let of = |setup: &Setup, rows| OwnWindows::new(setup, &|rows| images.rows(rows), &rows, &CUTS, 8).err();
    assert!(of(&setup, 0..100).is_some() && of(&setup, 3..40).is_some() && of(&setup, 0..64).is_none());
    setup.vacuum_rows = 0;
    assert!(of(&setup, 0..64).unwrap().to_string().contains("rows of vacuum is 0"));
}
