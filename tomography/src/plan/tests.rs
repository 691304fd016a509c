//! P15: plans cover the volume, survive writing and planning again, and cut windows that are where they should be.

mod refusals;
mod subsets;

use super::*;
use crate::geometry::centre;
use crate::project::Projector;
use crate::solve::{Progress, Tv, Whole};
use crate::stitch::{disagreements, stitch};
use crate::testing::{absolute, difference, noise, rays, tilts};
use crate::wave::{Focus, Loss, Microscope, Series};
use crate::{Projections, Stack, Volume};
use proptest::prelude::*;
use std::ops::ControlFlow;

const TV: Prior = Prior { positive: true, tv: Some(Tv { weight: 0.05, iterations: 5 }) };
const POSITIVE: Prior = Prior { positive: true, tv: None };

fn spec(solver: Solver, prior: Prior, mode: Mode) -> Spec {
    let volume = Shape { planes: 10, rows: 44, columns: 14 };
    Spec { voxel_angstrom: 1.7, iterations: 6, mode, ..rays(volume, solver, prior) }
}

fn solvers() -> [(Solver, Prior); 6] {
    [
        (Solver::Wbp { filter: Filter::Hann }, Prior::default()),
        (Solver::Sirt { relaxation: 1.0 }, POSITIVE),
        (Solver::Cgls {}, Prior::default()),
        (Solver::Proximal { momentum: Momentum::Restarted }, TV),
        (Solver::Proximal { momentum: Momentum::None }, POSITIVE),
        (Solver::OrderedSubsets { subsets: 3, relaxation: 0.7, momentum_max: 0.9 }, TV),
    ]
}

fn images(spec: &Spec) -> Projections {
    let Shape { planes, rows, columns } = spec.volume;
    let joseph = Joseph::new(planes, columns, spec.pixels, &spec.tilts).unwrap();
    let mut images = Stack::zeros(joseph.image_shape(rows));
    joseph.project(&absolute(&noise(spec.volume, 2)), &mut images).unwrap();
    images
}

fn silent(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The first block from all images, in one place.
fn whole(plan: &Plan, images: &Projections) -> Volume {
    plan.reconstruct(0, images, &mut Whole, &mut silent).unwrap()
}

#[test]
fn any_number_of_workers_carries_out_a_plan_to_the_same_bits() {
    for (solver, prior) in solvers() {
        let plan = Plan::new(spec(solver, prior, Mode::Exact {})).unwrap();
        let images = images(&plan.spec);
        let alone = whole(&plan, &images);
        for workers in [1, 2, 3, 5] {
            let joined = plan.reconstruct_by_workers(&images, workers).unwrap();
            assert_eq!(joined, alone, "{solver:?} with {workers} workers");
        }
    }
}

/// Waves through a small sample, and the images that it makes.
fn waves(mode: Mode) -> (Spec, Volume) {
    let (solver, prior) = solvers()[5];
    let mut spec = spec(solver, prior, mode);
    spec.volume = Shape { planes: 10, rows: 36, columns: 16 };
    spec.contrast = Contrast::Intensity { vacuum: 1.0 };
    let foci = vec![vec![Focus::underfocus(1000.0), Focus::underfocus(2500.0)]; spec.tilts.len()];
    spec.model = Model::Multislice(Multislice {
        microscope: Microscope::ideal(300e3).unwrap(),
        foci,
        bin: 2,
        vacuum_rows: 0,
        loss: Loss::Amplitude,
        wave_of_tilts: 3,
        checkpoints: false,
    });
    let truth = Stack::from_fn(spec.volume, |z, y, x| {
        let squares = |z0: f64, y0: f64, x0: f64| {
            (z as f64 - z0).powi(2) + (y as f64 - y0).powi(2) + (x as f64 - x0).powi(2)
        };
        (20.0 * (-squares(4.0, 12.0, 7.0) / 6.0).exp() + 12.0 * (-squares(6.0, 25.0, 9.0) / 4.0).exp()) as f32
    });
    (spec, truth)
}

#[test]
fn any_number_of_ranks_that_hold_rows_carries_out_a_plan_to_the_same_bits() {
    for (solver, prior) in solvers() {
        let plan = Plan::new(spec(solver, prior, Mode::Exact {})).unwrap();
        let images = images(&plan.spec);
        for ranks in [1, 2, 3] {
            assert_eq!(
                plan.reconstruct_by_parts(&images, ranks).unwrap(),
                whole(&plan, &images),
                "{solver:?}, {ranks}"
            );
        }
    }
    let (spec, truth) = waves(Mode::Exact {});
    let images = spec.model.images(&truth, spec.voxel_angstrom, &spec.tilts).unwrap();
    let plan = Plan::new(spec).unwrap();
    for ranks in [1, 2, 3] {
        assert_eq!(
            plan.reconstruct_by_parts(&images, ranks).unwrap(),
            whole(&plan, &images),
            "waves at {ranks}"
        );
    }
    let error = plan.reconstruct_by_parts(&images, 4).unwrap_err().to_string();
    assert!(error.contains("number of ranks is 4 for 36 rows"), "{error}");
}

#[test]
fn any_number_of_ranks_that_hold_windows_carries_out_a_plan_to_the_same_bits() {
    let (mut spec, truth) = waves(Mode::Window { core: 8, halo: 10 });
    let Model::Multislice(model) = &mut spec.model else { panic!("these are waves") };
    model.vacuum_rows = 12;
    let images = spec.model.images(&truth, spec.voxel_angstrom, &spec.tilts).unwrap();
    for solver in [spec.solver, Solver::Proximal { momentum: Momentum::Restarted }] {
        let plan = Plan::new(Spec { solver, ..spec.clone() }).unwrap();
        let alone = whole(&plan, &images);
        for ranks in [1, 2, 3, 5] {
            assert_eq!(plan.reconstruct_by_parts(&images, ranks).unwrap(), alone, "{solver:?}, {ranks}");
        }
        let error = plan.reconstruct_by_parts(&images, 6).unwrap_err().to_string();
        assert!(error.contains("number of ranks is 6 for 5 windows"), "{error}");
    }
    let Model::Multislice(model) = &mut spec.model else { panic!("these are waves") };
    model.vacuum_rows = 0;
    let error = Plan::new(spec).unwrap().reconstruct_by_parts(&images, 2).unwrap_err().to_string();
    assert!(error.contains("rows of vacuum is 0"), "{error}");
}

#[test]
fn workers_of_waves_and_interrupted_waves_end_in_the_same_bits() {
    let (spec, truth) = waves(Mode::Exact {});
    let images = spec.model.images(&truth, spec.voxel_angstrom, &spec.tilts).unwrap();
    let plan = Plan::new(spec).unwrap();
    let alone = whole(&plan, &images);
    let error = difference(&truth, &alone);
    println!("after {} passes: {error:.3}", plan.spec.iterations);
    assert!(error < 0.7, "{error}");
    for workers in [1, 3] {
        assert_eq!(plan.reconstruct_by_workers(&images, workers).unwrap(), alone, "{workers} workers");
    }
    assert!(plan.estimate(1, 2).bytes > BASE && Speed::measure(&plan).unwrap().visits_per_second > 0.0);
    let mut wrong = plan.spec.clone();
    wrong.contrast = Contrast::Projection;
    assert!(Plan::new(wrong).unwrap_err().to_string().contains("contrast"));
    let mut wrong = plan.spec.clone();
    wrong.tilts.pop();
    assert!(Plan::new(wrong).unwrap_err().to_string().contains("lists of foci"));
}

/// The table of blocks across the tilt axis that the specification of this package has, measured with another program:
/// a slab of clay, 61 tilts, blocks of 64 columns, FISTA with positivity, relative difference to the whole. Twice its
/// values are upper limits here, as the clay is another one.
#[test]
fn a_coarse_exterior_leaves_less_of_an_error_than_bare_windows() {
    let angles: Vec<f64> = (-30..=30).map(|step| 2.0 * f64::from(step)).collect();
    let mut spec = spec(Solver::Proximal { momentum: Momentum::Nesterov }, POSITIVE, Mode::Exact {});
    spec.volume = Shape { planes: 40, rows: 4, columns: 512 };
    (spec.pixels, spec.voxel_angstrom, spec.iterations) = (512, 2.0, 60);
    spec.tilts = tilts(&angles);
    let truth = crate::phantom::clay(spec.volume, 2.0, 4).unwrap();
    let images = spec.model.images(&truth, 2.0, &spec.tilts).unwrap();
    let exact = whole(&Plan::new(spec.clone()).unwrap(), &images);
    let error = |halo: usize, exterior: usize| {
        let mut spec = spec.clone();
        spec.mode = Mode::Patch { core: [4, 64], halo: [0, halo], ramp: [0, halo / 4], exterior };
        difference(&exact, &patched(&Plan::new(spec).unwrap(), &images).0)
    };
    for (halo, bare_limit, coarse_limit) in [(16, 2.50, 0.057), (64, 1.18, 0.018)] {
        let (bare, coarse) = (error(halo, 1), error(halo, 4));
        println!(
            "halo {halo}: bare windows {bare:.3} ({bare_limit}), coarse exterior {coarse:.4} ({coarse_limit})"
        );
        assert!(
            bare <= 2.0 * bare_limit && coarse <= 2.0 * coarse_limit && coarse < bare / 3.0,
            "{halo}: {bare} {coarse}"
        );
    }
}

/// A needle as in the table of patches that the specification has, where halos of 16 and 32 rows leave 9.1e-3 and 1.6e-3.
/// What a halo gets wrong creeps inward with every step, so errors are to be compared at equal steps. Those of the table are
/// by the bound of the curvature, twice our estimate: with them blocks leave 6.8e-3 and 1.9e-3 here. With our own, which
/// come further in as many iterations, they leave 1.4e-2 and 6.8e-3, and inner blocks 1.1e-2 and 5.0e-3. (In the table the
/// whole is a ring, and halos reach around it; here whole and outer blocks end in vacuum.)
#[test]
fn patches_of_a_needle_are_no_further_off_than_they_were() {
    let angles: Vec<f64> = (-4..=4).map(|step| 15.0 * f64::from(step)).collect();
    let (mut spec, _) = waves(Mode::Exact {});
    spec.volume = Shape { planes: 32, rows: 256, columns: 32 };
    (spec.pixels, spec.voxel_angstrom, spec.iterations) = (32, 2.0, 30);
    spec.solver = Solver::Proximal { momentum: Momentum::Nesterov };
    spec.prior = POSITIVE;
    spec.tilts = tilts(&angles);
    if let Model::Multislice(model) = &mut spec.model {
        model.foci = vec![vec![Focus::underfocus(3000.0), Focus::underfocus(6000.0)]; angles.len()];
        // Vacuum at the ends of the whole and of its blocks: else waves take the ends for neighbours, which differ.
        (model.bin, model.wave_of_tilts, model.vacuum_rows) = (4, 9, 32);
    }
    let truth = crate::phantom::clay(spec.volume, 2.0, 7).unwrap();
    let images = spec.model.images(&truth, 2.0, &spec.tilts).unwrap();
    let planned = |mode: Mode, times: f64| {
        let mut plan = Plan::new(Spec { mode, ..spec.clone() }).unwrap();
        plan.lipschitz *= times;
        plan
    };
    let exact = [1.0, 2.0].map(|times| whole(&planned(Mode::Exact {}, times), &images));
    for (halo, times, limit, inner_limit) in
        [(16, 1, 1.8e-2, 1.5e-2), (32, 1, 9.0e-3, 6.5e-3), (16, 2, 9.1e-3, 9.1e-3), (32, 2, 2.2e-3, 2.2e-3)]
    {
        let mode = Mode::Patch { core: [64, 32], halo: [halo, 0], ramp: [8, 0], exterior: 1 };
        let (volume, gap) = patched(&planned(mode, f64::from(times)), &images);
        let exact = &exact[times as usize - 1];
        let error = difference(exact, &volume);
        let [of_exact, of_blocks] = [exact, &volume].map(|volume| volume.rows(64 + 8..192 - 8).unwrap());
        let inner = difference(&of_exact, &of_blocks);
        println!("halo {halo}, steps 1/{times}: {error:.2e} ({limit:.1e}), inner blocks {inner:.2e}");
        println!("  neighbours differ by {gap:.2e} V rms");
        assert!(inner <= inner_limit && inner > 0.0, "halo {halo}: inner blocks {inner}");
        assert!(error <= limit && error > 0.0, "halo {halo}: {error}");
    }
    let halo = spec.halo(1e-3).unwrap();
    assert!(halo[0] > 32 && halo[1] == 32, "{halo:?}");
    spec.mode = Mode::Patch { core: [64, 32], halo: [16, 0], ramp: [8, 0], exterior: 4 };
    assert!(Plan::new(spec.clone()).unwrap_err().to_string().contains("coarse voxel"));
    spec.mode = Mode::Patch { core: [64, 32], halo: [16, 0], ramp: [8, 0], exterior: 1 };
    if let Model::Multislice(model) = &mut spec.model {
        model.vacuum_rows = 0;
    }
    assert!(Plan::new(spec).unwrap_err().to_string().contains("rows of vacuum is 0"));
}

/// Each block of a plan by itself, stitched; and the largest difference between neighbours.
fn patched(plan: &Plan, images: &Projections) -> (Volume, f64) {
    let part = |block: usize| {
        let (_, images) = plan.images_of(block, images).unwrap();
        plan.reconstruct(block, &images, &mut Whole, &mut silent).unwrap()
    };
    let volumes: Vec<Volume> = (0..plan.blocks.len()).map(part).collect();
    let gaps = disagreements(plan, &volumes).unwrap();
    (stitch(plan, &volumes).unwrap(), gaps.iter().map(|gap| gap.rms).fold(0.0, f64::max))
}

fn patches(halo: usize, ramp: usize) -> Mode {
    Mode::Patch { core: [11, 14], halo: [halo, 0], ramp: [ramp, 0], exterior: 1 }
}

#[test]
fn patches_along_y_equal_the_whole_without_total_variation_and_approach_it_with() {
    let (solver, prior) = solvers()[1];
    let plan = Plan::new(spec(solver, prior, patches(3, 2))).unwrap();
    let images = images(&plan.spec);
    let exact = Plan::new(spec(solver, prior, Mode::Exact {})).unwrap();
    assert_eq!(plan.blocks.len(), 4);
    assert_eq!(patched(&plan, &images), (whole(&exact, &images), 0.0));

    let (solver, prior) = solvers()[3];
    let solver = if let Solver::Proximal { .. } = solver {
        // The restart looks at the loss, and a patch has a loss of its own.
        Solver::Proximal { momentum: Momentum::Nesterov }
    } else {
        solver
    };
    let exact = whole(&Plan::new(spec(solver, prior, Mode::Exact {})).unwrap(), &images);
    let errors = [0, 4, 8].map(|halo| {
        let plan = Plan::new(spec(solver, prior, patches(halo, halo.min(2)))).unwrap();
        let (volume, gap) = patched(&plan, &images);
        println!("halo {halo}: error {:.1e}, neighbours differ by {gap:.1e}", difference(&exact, &volume));
        difference(&exact, &volume)
    });
    assert!(errors[0] > errors[1] && errors[1] > errors[2] && errors[2] > 0.0, "{errors:?}");
}

#[test]
fn a_bead_is_where_the_window_of_its_block_says() {
    let mode = Mode::Patch { core: [44, 17], halo: [0, 6], ramp: [0, 2], exterior: 1 };
    let mut spec = spec(Solver::Cgls {}, Prior::default(), mode);
    spec.volume = Shape { planes: 20, rows: 44, columns: 51 };
    spec.pixels = 60;
    spec.tilts[2].offset_px = 1.3;
    let plan = Plan::new(spec.clone()).unwrap();
    assert_eq!(plan.blocks.len(), 3);
    for block in &plan.blocks {
        // A smooth bead somewhat off the middle of the block, in the volume and in the block.
        let middle = [12.0, 20.0, (block.columns.start + block.columns.end) as f64 / 2.0 - 1.5];
        let bead = |first: usize| {
            move |z: usize, y: usize, x: usize| {
                let place = [z as f64, y as f64, (x + first) as f64];
                let squares: f64 = (0..3).map(|axis| (place[axis] - middle[axis]).powi(2)).sum();
                (-squares / 8.0).exp() as f32
            }
        };
        let project = |columns: usize, pixels: usize, tilts: &[Tilt], first: usize| {
            let joseph = Joseph::new(20, columns, pixels, tilts).unwrap();
            let mut images = Stack::zeros(joseph.image_shape(44));
            joseph.project(&Stack::from_fn(joseph.volume_shape(44), bead(first)), &mut images).unwrap();
            images
        };
        let of_volume = crop(&project(51, 60, &spec.tilts, 0), block, 0.0).unwrap();
        let tilts: Vec<Tilt> = block.windows.iter().map(|window| window.tilt).collect();
        let of_block = project(block.columns.len(), block.window_columns, &tilts, block.columns.start);
        let error = difference(&of_volume, &of_block);
        println!("block {}: {error:.1e}", block.id);
        assert!(error < 0.02, "block {}: {error}", block.id);
        let x = centre(block.columns.len()) + block.columns.start as f64 - centre(51);
        for (window, tilt) in block.windows.iter().zip(&spec.tilts) {
            assert!(window.tilt.offset_px.abs() <= 0.5);
            let downstream = tilt.to_beam(x, 0.0).1 * spec.voxel_angstrom;
            assert!((window.distance_angstrom + downstream).abs() < 1e-9);
        }
    }
}

/// A bead in a block far from the axis is nearer to the image plane at one tilt, and further at the other: by the distance of
/// the block's windows, and not by the opposite.
#[test]
fn waves_of_a_block_of_columns_are_as_far_from_focus_as_its_windows_say() {
    let (mut spec, _) = waves(Mode::Patch { core: [24, 40], halo: [0, 12], ramp: [0, 4], exterior: 1 });
    spec.volume = Shape { planes: 12, rows: 24, columns: 160 };
    (spec.pixels, spec.voxel_angstrom) = (160, 2.0);
    spec.tilts = tilts(&[-50.0, 50.0]);
    spec.solver = Solver::Proximal { momentum: Momentum::None };
    let Model::Multislice(model) = &mut spec.model else { panic!("waves") };
    model.foci = vec![vec![Focus::underfocus(400.0)]; 2];
    model.vacuum_rows = 0;
    spec.mode = Mode::Patch { core: [24, 40], halo: [0, 12], ramp: [0, 4], exterior: 1 };
    let plan = Plan::new(spec.clone()).unwrap();
    let Model::Multislice(model) = &plan.spec.model else { panic!("waves") };
    for block in [&plan.blocks[0], &plan.blocks[3]] {
        let middle = [5.5, 12.0, (block.core_columns.start + block.core_columns.end) as f64 / 2.0];
        let bead = Stack::from_fn(spec.volume, |z, y, x| {
            let place = [z as f64, y as f64, x as f64];
            let squares: f64 = (0..3).map(|axis| (place[axis] - middle[axis]).powi(2)).sum();
            (20.0 * (-squares / 6.0).exp()) as f32
        });
        let of_whole = spec.model.images(&bead, spec.voxel_angstrom, &spec.tilts).unwrap();
        let of_whole = crop(&of_whole, block, 1.0).unwrap();
        let part = bead.columns(block.columns.clone()).unwrap();
        // By how much images differ, beside how much they show.
        let error = |sign: f64| {
            let mut turned = block.clone();
            turned.windows.iter_mut().for_each(|window| window.distance_angstrom *= sign);
            let of_block = Series::simulate(model.setup(&spec, &turned), &part).unwrap();
            let (mut gap, mut shown) = (of_block, of_whole.clone());
            gap.update([&of_whole], |block, [whole]| block - whole);
            shown.update([], |value, []| value - 1.0);
            let squares = |stack: &Projections| stack.row_dots(stack).iter().sum::<f64>();
            (squares(&gap) / squares(&shown)).sqrt()
        };
        let (right, wrong) = (error(1.0), error(-1.0));
        println!("block {}: {right:.1e}, with the other sign {wrong:.1e}", block.id);
        assert!(wrong > 5.0 * right && right < 0.1, "block {}: {right} {wrong}", block.id);
    }
}

#[test]
fn outside_of_the_images_a_window_has_what_was_asked_for() {
    let plan = Plan::new(spec(Solver::Cgls {}, Prior::default(), Mode::Exact {})).unwrap();
    let shape =
        Shape { planes: plan.spec.tilts.len(), rows: plan.spec.volume.rows, columns: plan.spec.pixels };
    let images = Stack::from_fn(shape, |_, _, column| column as f32);
    let mut block = plan.blocks[0].clone();
    assert_eq!(crop(&images, &block, -1.0).unwrap(), images, "the whole's window is the image");
    (block.windows[1].first_column, block.windows[2].first_column) = (-3, 5);
    let windows = crop(&images, &block, -1.0).unwrap();
    let row = |image: usize| (0..16).map(|column| windows.at(image, 40, column) as i32).collect::<Vec<_>>();
    assert_eq!(row(1), [-1, -1, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(row(2), [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, -1, -1, -1, -1, -1]);
    block.windows.pop();
    assert!(crop(&images, &block, 0.0).is_err());
}

proptest! {
    #[test]
    fn blocks_cover_the_volume_once_and_halos_end_with_it(
        core in prop::array::uniform2(2_usize..30),
        halo in prop::array::uniform2(1_usize..9),
    ) {
        let mode = Mode::Patch { core, halo, ramp: [0, 0], exterior: 1 };
        let plan = Plan::new(spec(Solver::Cgls {}, Prior::default(), mode)).unwrap();
        let Shape { rows, columns, .. } = plan.spec.volume;
        let mut owners = vec![0; rows * columns];
        for (id, block) in plan.blocks.iter().enumerate() {
            prop_assert_eq!(block.id, id);
            for row in block.core_rows.clone() {
                for column in block.core_columns.clone() {
                    owners[row * columns + column] += 1;
                }
            }
            prop_assert_eq!(block.rows.start, block.core_rows.start.saturating_sub(halo[0]));
            prop_assert_eq!(block.rows.end, (block.core_rows.end + halo[0]).min(rows));
            prop_assert_eq!(block.columns.start, block.core_columns.start.saturating_sub(halo[1]));
            prop_assert_eq!(block.columns.end, (block.core_columns.end + halo[1]).min(columns));
        }
        prop_assert!(owners.iter().all(|owners| *owners == 1));
    }

    #[test]
    fn a_plan_is_read_as_it_was_written(seed: u64, angle in -90.0..90.0, voxel_angstrom in 0.1..20.0, which in 0_usize..6) {
        let (solver, prior) = solvers()[which];
        let mut spec = spec(solver, prior, patches(2, 1));
        (spec.seed, spec.voxel_angstrom, spec.tilts[3].angle_deg) = (seed, voxel_angstrom, angle);
        let plan = Plan::new(spec.clone()).unwrap();
        let text = plan.to_json().unwrap();
        let read = Plan::from_json(&text).unwrap();
        prop_assert_eq!(&read, &plan);
        prop_assert_eq!(&Plan::new(read.spec.clone()).unwrap(), &plan);
        prop_assert_eq!(read.hash().unwrap(), plan.hash().unwrap());
        spec.iterations += 1;
        prop_assert_ne!(Plan::new(spec).unwrap().hash().unwrap(), plan.hash().unwrap());
    }
}

/// Gradient steps of 1/L without momentum fall, whatever the loss, also where the recorded image is brighter than the beam.
#[test]
fn steps_of_every_loss_fall() {
    let found = |loss: Loss, brightest: f64| {
        let (mut spec, truth) = waves(Mode::Exact {});
        (spec.solver, spec.prior) = (Solver::Proximal { momentum: Momentum::None }, POSITIVE);
        spec.iterations = 10;
        if let Model::Multislice(model) = &mut spec.model {
            model.loss = loss;
        }
        let mut images = spec.model.images(&truth, spec.voxel_angstrom, &spec.tilts).unwrap();
        images.update([], |value, []| value * brightest as f32);
        let draft = Plan { brightest, ..Plan::draft(spec).unwrap() };
        let plan = draft.complete().unwrap();
        let mut losses = Vec::new();
        let mut told = |progress: Progress| {
            losses.push(progress.loss);
            ControlFlow::Continue(())
        };
        plan.reconstruct(0, &images, &mut Whole, &mut told).unwrap();
        println!("{loss:?} at {brightest}: L {:.3e}, losses {losses:?}", plan.lipschitz);
        assert!(
            losses.len() == 10 && losses.windows(2).all(|pair| pair[1] < pair[0]),
            "{loss:?}: {losses:?}"
        );
        plan.lipschitz
    };
    let [amplitude, intensity, poisson] =
        [Loss::Amplitude, Loss::Intensity, Loss::Poisson].map(|loss| found(loss, 1.0));
    for other in [intensity, poisson] {
        assert!((other / amplitude - 4.0).abs() < 1e-3, "{other} beside {amplitude}");
    }
    assert!((found(Loss::Intensity, 2.0) / intensity - 2.0).abs() < 1e-9, "waves of twice the intensity");
}

#[test]
fn windows_come_close_to_the_whole_with_the_halo_of_the_tolerance() {
    let (mut spec, _) = waves(Mode::Exact {});
    (spec.solver, spec.prior) = (Solver::Proximal { momentum: Momentum::None }, POSITIVE);
    (spec.volume.rows, spec.voxel_angstrom) = (128, 2.0);
    let truth = crate::phantom::clay(spec.volume, 2.0, 7).unwrap();
    let images = spec.model.images(&truth, 2.0, &spec.tilts).unwrap();
    let exact = whole(&Plan::new(spec.clone()).unwrap(), &images);
    let halo = spec.window_halo(1e-3).unwrap();
    assert!(spec.beyond(halo).unwrap() <= 1e-3 && halo < 64, "{halo}");
    let mut error = |halo: usize| {
        spec.mode = Mode::Window { core: 32, halo };
        let plan = Plan::new(spec.clone()).unwrap();
        assert_eq!(
            (plan.blocks.len(), Plan::from_json(&plan.to_json().unwrap()).unwrap()),
            (1, plan.clone())
        );
        assert!(plan.reconstruct_by_workers(&images, 2).unwrap_err().to_string().contains("or windows"));
        difference(&exact, &whole(&plan, &images))
    };
    let (found, narrow) = (error(halo), error(2));
    println!("halo {halo}: {found:.1e}, halo 2: {narrow:.1e}");
    assert!(found > 0.0 && found < 1e-3 && narrow > 10.0 * found, "{found} {narrow}");
    assert_eq!(error(usize::MAX), 0.0, "windows as long as the whole are the whole");
    spec.mode = Mode::Window { core: 0, halo: 3 };
    assert!(Plan::new(spec.clone()).unwrap_err().to_string().contains("core of a window is 0"));
    (spec.model, spec.contrast) = (Model::Linear, Contrast::Projection);
    spec.mode = Mode::Window { core: 8, halo: 3 };
    assert!(Plan::new(spec.clone()).unwrap_err().to_string().contains("core of a window is 8"));
    assert!(spec.window_halo(1e-3).is_err());
}

#[test]
fn estimates_grow_with_the_work() {
    let (solver, prior) = solvers()[3];
    let plan = Plan::new(spec(solver, prior, Mode::Exact {})).unwrap();
    let (one, three) = (plan.estimate(1, 1), plan.estimate(3, 1));
    // 48 rows of lanes: volumes of 10 x 14, images of 7 x 16; total variation on 10 rows more, in whole slabs.
    // And all slabs, turned for steep tilts.
    let stacks = 5 * 10 * 14 * 48 + 2 * 7 * 16 * 48 + 7 * 10 * 14 * 64;
    assert_eq!(one.bytes, BASE + 4 * stacks);
    assert!(three.bytes < one.bytes);
    assert_eq!(three.visits * 3.0, one.visits);
    let speed = Speed::measure(&plan).unwrap();
    assert!(speed.visits_per_second > 0.0);
    assert!((one.seconds(speed, 2) - one.visits / speed.visits_per_second / 2.0).abs() < 1e-12);
}
