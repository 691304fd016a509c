//! Jobs in bands from disk are jobs in memory, in every bit, however often they are interrupted.

use super::*;
use crate::align::Place;
use crate::io::mrc::Output;
use crate::plan::{Contrast, Model, Multislice, Solver, Spec};
use crate::solve::{Filter, Momentum, Prior, Tv};
use crate::stitch::{disagreements, stitch};
use crate::testing::{absolute, noise, rays};
use crate::wave::{Focus, Loss, Microscope};
use crate::{LANES, Shape};
use std::panic::{AssertUnwindSafe, catch_unwind};

const TV: Prior = Prior { positive: true, tv: Some(Tv { weight: 0.02, iterations: 5 }) };
const POSITIVE: Prior = Prior { positive: true, tv: None };
const ITERATIONS: usize = 4;

/// Solvers, and whether their bands go through all iterations by themselves.
fn solvers() -> [(Solver, Prior, bool); 8] {
    let proximal = |momentum| Solver::Proximal { momentum };
    let subsets = Solver::OrderedSubsets { subsets: 3, relaxation: 0.7, momentum_max: 0.9 };
    [
        (Solver::Wbp { filter: Filter::Hann }, Prior::default(), true),
        (Solver::Sirt { relaxation: 1.0 }, POSITIVE, true),
        (proximal(Momentum::Nesterov), POSITIVE, true),
        (subsets, POSITIVE, true),
        (proximal(Momentum::None), TV, false),
        (proximal(Momentum::Restarted), TV, false),
        (subsets, TV, false),
        (Solver::Cgls {}, Prior::default(), false),
    ]
}

/// Waves through the same extent, and the same plan otherwise.
fn of_waves(solver: Solver, prior: Prior) -> Spec {
    let model = Multislice {
        microscope: Microscope::ideal(300e3).unwrap(),
        foci: vec![vec![Focus::underfocus(500.0)]; 7],
        bin: 3,
        vacuum_rows: 5,
        loss: Loss::Amplitude,
        wave_of_tilts: 4,
        checkpoints: false,
    };
    let contrast = Contrast::Intensity { vacuum: 1.5 };
    Spec { model: Model::Multislice(model), contrast, ..spec(solver, prior) }
}

fn spec(solver: Solver, prior: Prior) -> Spec {
    let volume = Shape { planes: 8, rows: 83, columns: 14 };
    Spec { iterations: ITERATIONS, ..rays(volume, solver, prior) }
}

/// A folder with a series of noise.
fn series() -> (tempfile::TempDir, Survey) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("series.mrc");
    let images = absolute(&noise(Shape::new(7, 83, 16).unwrap(), 2));
    io::write(&path, &images, &Output::new(Content::Images, 1.5)).unwrap();
    (folder, Survey::of(&path).unwrap())
}

/// Does a job in bands so small that there are several.
fn in_bands(job: &Job<'_>, out: &Path, order: Order, told: &mut dyn FnMut(BandProgress)) -> Bands {
    let plan = job.plan;
    let apart = plan.bands(u64::MAX, 1, job.series).unwrap().apart;
    let waves = plan.wave_bytes(1, 1);
    let enough = |slabs: usize| 2 * (plan.band_bytes(slabs * LANES, 1, apart) + waves) + (16 << 20);
    let bands = (0..).map(|less| plan.bands(enough(2) - (less << 12), 1, job.series).unwrap());
    let bands = bands.into_iter().find(|bands| bands.rows == 2 * LANES).unwrap();
    assert_eq!(bands.rows, 2 * LANES);
    assert_eq!(bands.count, 3);
    let disk = OnDisk::new(job, bands, out.with_extension("parts")).unwrap();
    disk.reconstruct(out, order, told).unwrap();
    bands
}

#[test]
fn bands_from_disk_give_the_file_that_memory_gives() {
    let (folder, series) = series();
    let [memory, disk] = ["memory.mrc", "disk.mrc"].map(|name| folder.path().join(name));
    let rays = solvers().map(|(solver, prior, apart)| (spec(solver, prior), apart));
    let waves = solvers()
        .into_iter()
        .filter(|(solver, ..)| matches!(solver, Solver::Proximal { .. } | Solver::OrderedSubsets { .. }));
    let waves = waves.map(|(solver, prior, _)| (of_waves(solver, prior), false));
    for (case, (mut spec, apart)) in rays.into_iter().chain(waves).enumerate() {
        let solver = spec.solver;
        if case % 2 == 1 {
            spec.alignment.places = vec![Place::leaning(4.0, [0.5, -1.0]); 7];
        }
        let order = if case % 3 == 0 { Order::Rows } else { Order::Planes };
        let plan = Plan::new(spec).unwrap();
        let job = Job::new(&plan, 0, &series).unwrap();
        let mut losses = Vec::new();
        let mut told = |progress: Progress| {
            losses.push(progress.loss);
            ControlFlow::Continue(())
        };
        job.write(&job.reconstruct(None, &mut told).unwrap(), &memory, order).unwrap();
        let mut found = Vec::new();
        let bands = in_bands(&job, &disk, order, &mut |progress| found.push(progress));
        assert_eq!(bands.apart, apart, "{solver:?}");
        assert!(std::fs::read(&memory).unwrap() == std::fs::read(&disk).unwrap(), "{solver:?}");
        if !apart {
            let found: Vec<f64> = found.iter().map(|told| told.progress.loss).collect();
            assert_eq!(found, losses, "{solver:?}: the loss over all rows");
        }
        assert!(!disk.with_extension("parts").exists());
    }
}

#[test]
fn a_job_in_bands_that_breaks_off_goes_on_where_it_was() {
    let (folder, series) = series();
    let [memory, disk] = ["memory.mrc", "disk.mrc"].map(|name| folder.path().join(name));
    for (solver, prior, apart) in solvers() {
        let plan = Plan::new(spec(solver, prior)).unwrap();
        let job = Job::new(&plan, 0, &series).unwrap();
        let mut silent = |_: Progress| ControlFlow::Continue(());
        job.write(&job.reconstruct(None, &mut silent).unwrap(), &memory, Order::Planes).unwrap();
        let mut told = 0;
        // Every attempt breaks off when it is told of its third step.
        for attempt in 0.. {
            let mut steps = 0;
            let broken = catch_unwind(AssertUnwindSafe(|| {
                in_bands(&job, &disk, Order::Planes, &mut |_| {
                    (steps, told) = (steps + 1, told + 1);
                    assert!(steps < 3, "broken off");
                });
            }));
            if broken.is_ok() {
                break;
            }
            assert!(!disk.exists() && attempt < 20, "{solver:?}");
        }
        assert!(std::fs::read(&memory).unwrap() == std::fs::read(&disk).unwrap(), "{solver:?}");
        let needed = if matches!(solver, Solver::Wbp { .. }) {
            0
        } else if apart {
            3 * ITERATIONS
        } else {
            ITERATIONS
        };
        // What was told of twice is what was broken off, and no more: one in three.
        assert!(told >= needed && told <= needed * 3 / 2 + 1, "{solver:?}: {told} of {needed}");
        std::fs::remove_file(&disk).unwrap();
    }
}

#[test]
fn what_cannot_be_done_in_bands_is_refused() {
    let (_folder, series) = series();
    let (solver, prior, _) = solvers()[3];
    let waves = Plan::new(of_waves(solver, prior)).unwrap();
    assert!(waves.bands(1 << 20, 1, &series).unwrap_err().to_string().contains("memory in bytes is 1048576"));
    assert_eq!(
        waves.bands(1 << 30, 9, &series).unwrap().at_once,
        7,
        "no more tilts at a time than there are"
    );
    let plan = Plan::new(spec(Solver::Sirt { relaxation: 1.0 }, POSITIVE)).unwrap();
    assert!(plan.bands(1 << 20, 1, &series).unwrap_err().to_string().contains("memory in bytes is 1048576"));
    let all = plan.bands(1 << 30, 1, &series).unwrap();
    assert_eq!((all.count, all.rows), (1, 96));
}

#[test]
fn labels_tell_where_a_volume_comes_from() {
    let (folder, series) = series();
    let (solver, prior, _) = solvers()[4];
    let mut of_blocks = spec(solver, prior);
    of_blocks.mode = Mode::Patch { core: [38, 14], halo: [4, 0], ramp: [2, 0], exterior: 1 };
    let mut plan = Plan::for_series(of_blocks, &series).unwrap();
    let path = |block: usize| folder.path().join(format!("{block}.mrc"));
    for block in 0..3 {
        let job = Job::new(&plan, block, &series).unwrap();
        assert!(!job.is_done(&path(block)));
        let volume = job.reconstruct(None, &mut |_| ControlFlow::Continue(())).unwrap();
        job.write(&volume, &path(block), Order::Planes).unwrap();
        assert!(job.is_done(&path(block)));
        assert!(!Job::new(&plan, (block + 1) % 3, &series).unwrap().is_done(&path(block)));
    }
    check_blocks(&plan, path).unwrap();
    std::fs::rename(path(2), path(1)).unwrap();
    let error = check_blocks(&plan, path).unwrap_err().to_string();
    assert!(
        error.contains("1.mrc: the block that it is is block 2 of 3; it must be block 1 of 3"),
        "{error}"
    );
    plan.series = Some("another".to_owned());
    assert!(matches!(Job::new(&plan, 0, &series), Err(Error::Plan { .. })));
}

#[test]
fn files_of_blocks_are_stitched_to_what_volumes_are() {
    let (folder, series) = series();
    let (solver, prior, _) = solvers()[4];
    let mode = Mode::Patch { core: [30, 7], halo: [6, 4], ramp: [5, 2], exterior: 1 };
    let plan = Plan::for_series(Spec { mode, ..spec(solver, prior) }, &series).unwrap();
    assert_eq!(plan.blocks.len(), 6);
    let path = |block: usize| folder.path().join(format!("{block}.mrc"));
    let volume = |block: usize| {
        let job = Job::new(&plan, block, &series).unwrap();
        let volume = job.reconstruct(None, &mut |_| ControlFlow::Continue(())).unwrap();
        job.write(&volume, &path(block), Order::Planes).unwrap();
        volume
    };
    let volumes: Vec<Volume> = (0..6).map(volume).collect();
    let whole = stitch(&plan, &volumes).unwrap();
    let gaps = disagreements(&plan, &volumes).unwrap();
    assert!(gaps.iter().all(|gap| gap.rms > 0.0), "apart they differ: {gaps:?}");
    for (name, order) in [("planes.mrc", Order::Planes), ("rows.npy", Order::Rows)] {
        let out = folder.path().join(name);
        assert_eq!(stitch_blocks(&plan, path, &out, order).unwrap(), gaps, "{name}");
        assert_eq!(Source::open(&out).unwrap().read(order).unwrap(), whole, "{name}");
    }
}

#[test]
fn blocks_of_another_kind_of_machine_are_not_stitched() {
    let (folder, series) = series();
    let (solver, prior, _) = solvers()[4];
    let mode = Mode::Patch { core: [38, 14], halo: [4, 0], ramp: [2, 0], exterior: 1 };
    let plan = Plan::for_series(Spec { mode, ..spec(solver, prior) }, &series).unwrap();
    let path = |block: usize| folder.path().join(format!("{block}.mrc"));
    for block in 0..3 {
        let job = Job::new(&plan, block, &series).unwrap();
        let volume = job.reconstruct(None, &mut |_| ControlFlow::Continue(())).unwrap();
        job.write(&volume, &path(block), Order::Planes).unwrap();
        let labels = job.labels().iter().map(|label| label.replace(&plan.processor, "VAX")).collect();
        if block == 2 {
            let output = Output { labels, ..Output::new(Content::Volume, 1.5) };
            io::write(&path(block), &volume, &output).unwrap();
        }
    }
    let error = check_blocks(&plan, path).unwrap_err().to_string();
    assert!(error.contains("2.mrc: the machine that made it is computed on VAX; it must be"), "{error}");
}

#[test]
fn pixels_that_cannot_be_are_named_by_file_and_place_before_any_work() {
    let (folder, _) = series();
    let mut images = absolute(&noise(Shape::new(7, 83, 16).unwrap(), 2));
    images.update([], |value, []| value + 0.5);
    *images.at_mut(4, 70, 3) = -0.25;
    let path = folder.path().join("negative.mrc");
    io::write(&path, &images, &Output::new(Content::Images, 1.5)).unwrap();
    let survey = Survey::of(&path).unwrap();
    let [rays, waves] = [spec(Solver::Cgls {}, Prior::default()), of_waves(solvers()[4].0, TV)];
    let logarithm = Spec { contrast: Contrast::Logarithm { vacuum: 1.5 }, ..rays.clone() };
    let named = "negative.mrc: the value at section 4, row 70, column 3 is -0.25; it must be ";
    for (spec, expected) in [(&waves, "not negative"), (&logarithm, "above 0")] {
        let of_series = Plan::for_series(spec.clone(), &survey).unwrap_err().to_string();
        assert!(of_series.contains(&format!("{named}{expected}")), "{of_series}");
        let of_any = Plan::new(spec.clone()).unwrap();
        assert_eq!(Job::new(&of_any, 0, &survey).unwrap_err().to_string(), of_series);
    }
    Job::new(&Plan::for_series(rays, &survey).unwrap(), 0, &survey).unwrap();
}
