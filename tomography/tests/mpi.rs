//! Ranks of MPI give the file that one process gives, in every bit, or one message.

#![allow(clippy::unwrap_used, reason = "what is not as expected fails its test")]

use parthood_tomography::align::Alignment;
use parthood_tomography::io::mrc::{self, Content, Output};
use parthood_tomography::io::{self, Survey};
use parthood_tomography::job::Job;
use parthood_tomography::phantom::clay;
use parthood_tomography::plan::{Contrast, Mode, Model, Multislice, Plan, Solver, Spec};
use parthood_tomography::solve::{Momentum, Prior, Tv};
use parthood_tomography::wave::{Focus, Loss, Microscope};
use parthood_tomography::{Shape, Tilt};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Output as Ended};

const TV: Prior = Prior { positive: true, tv: Some(Tv { weight: 0.05, iterations: 5 }) };

fn spec(model: Model, contrast: Contrast, solver: Solver, prior: Prior) -> Spec {
    Spec {
        volume: Shape { planes: 8, rows: 83, columns: 24 },
        voxel_angstrom: 2.0,
        pixels: 24,
        tilts: (-3..=3).map(|step| Tilt::new(20.0 * f64::from(step))).collect(),
        alignment: Alignment::default(),
        contrast,
        model,
        solver,
        prior,
        iterations: 4,
        seed: 4,
        mode: Mode::Exact {},
    }
}

/// Rays and waves, by solvers that exchange rows and sums, and waves in windows.
fn specs() -> [Spec; 4] {
    let fista = Solver::Proximal { momentum: Momentum::Restarted };
    let waves = Multislice {
        microscope: Microscope::ideal(300e3).unwrap(),
        foci: vec![vec![Focus::underfocus(1000.0), Focus::underfocus(2000.0)]; 7],
        bin: 2,
        vacuum_rows: 13,
        loss: Loss::Amplitude,
        wave_of_tilts: 3,
        checkpoints: false,
    };
    let waves = spec(Model::Multislice(waves), Contrast::Intensity { vacuum: 1.0 }, fista, TV);
    [
        spec(Model::Linear, Contrast::Projection, fista, TV),
        spec(Model::Linear, Contrast::Projection, Solver::Cgls {}, Prior::default()),
        Spec { mode: Mode::Window { core: 20, halo: 18 }, ..waves.clone() },
        waves,
    ]
}

fn ranks(folder: &Path, count: usize, arguments: [&str; 3]) -> Ended {
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "--allow-run-as-root", "-n", &count.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_tomo-mpi")).args(arguments);
    // As many threads as are tested, and quiet about the machine.
    command.env("RAYON_NUM_THREADS", "1").env("OMPI_MCA_btl", "self,vader,tcp").current_dir(folder);
    command.output().expect("mpirun is installed")
}

#[test]
fn any_number_of_ranks_writes_the_file_of_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for spec in specs() {
        let name = format!("{} {:?}", spec.summary(), spec.mode);
        let truth = clay(spec.volume, spec.voxel_angstrom, 3).unwrap();
        let images = spec.model.images(&truth, spec.voxel_angstrom, &spec.tilts).unwrap();
        let series = folder.join("tilts.mrc");
        io::write(&series, &images, &Output::new(Content::Images, 2.0)).unwrap();
        let plan = Plan::new(spec).unwrap();
        std::fs::write(folder.join("plan.json"), plan.to_json().unwrap()).unwrap();
        let survey = Survey::of(&series).unwrap();
        let job = Job::new(&plan, 0, &survey).unwrap();
        let alone = job.reconstruct(None, &mut |_| ControlFlow::Continue(())).unwrap();
        job.write(&alone, &folder.join("alone.mrc"), mrc::Order::Planes).unwrap();
        for count in [1, 2, 3] {
            let ended = ranks(folder, count, ["plan.json", "tilts.mrc", "rec.mrc"]);
            assert!(ended.status.success(), "{name} at {count}: {ended:?}");
            let [alone, found] =
                ["alone.mrc", "rec.mrc"].map(|file| std::fs::read(folder.join(file)).unwrap());
            assert!(alone == found, "{name}: the same bits from {count} ranks");
            std::fs::remove_file(folder.join("rec.mrc")).unwrap();
        }
    }
    // What is wrong is said, nobody waits for ever, and nothing is left.
    for (arguments, count, said) in [
        (["plan.json", "absent.mrc", "rec.mrc"], 2, "absent.mrc: cannot open"),
        (["absent.json", "tilts.mrc", "rec.mrc"], 2, "absent.json: cannot read the plan"),
        (["plan.json", "tilts.mrc", "no/rec.mrc"], 3, "no/rec.mrc: cannot create"),
        (["plan.json", "tilts.mrc", "rec.mrc"], 7, "number of ranks is 7 for 83 rows"),
        (["plan.json", "tilts.mrc", "tilts.mrc"], 2, "the name to write is that of an input"),
    ] {
        let ended = ranks(folder, count, arguments);
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && text.contains(said), "{said}: {ended:?}");
        assert!(!folder.join("rec.mrc").exists());
    }
}
