//! A study like the paper's: a layered clay, imaged by waves that scatter many times, reconstructed whole and by parts.
//!
//! ```sh
//! cargo run --release -p parthood-tomography --example study -- FOLDER
//!     [--size 512,512,64] [--tilts 61] [--iterations 10] [--subsets 5] [--momentum 0.9]
//! ```
//!
//! Each step is a process of its own, so that its memory can be told, and writes what it took into a file: a study that
//! was interrupted goes on. The images are made with slices half as thick as those of the reconstruction, so that the two
//! are not the same formula. At the end `study.md` has the table, and pictures lie beside it.

#![allow(clippy::cast_precision_loss, reason = "small numbers")]

use nix::time::{ClockId, clock_gettime};
use parthood_tomography::align::Alignment;
use parthood_tomography::compare::{Shell, compare, fourier_shells};
use parthood_tomography::io::mrc::{Content, Order, Output};
use parthood_tomography::io::{self, Source, Survey};
use parthood_tomography::job::{Job, stitch_blocks};
use parthood_tomography::phantom::clay;
use parthood_tomography::plan::{Contrast, Mode, Model, Multislice, Plan, Solver, Spec};
use parthood_tomography::solve::{Prior, Progress, Tv};
use parthood_tomography::view::{Window, slices};
use parthood_tomography::wave::{Focus, Loss, Microscope};
use parthood_tomography::{Shape, Stack, Tilt, Volume};
use serde_json::{Value, json};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const VOXEL_ANGSTROM: f64 = 2.0;
const UNDERFOCUS_ANGSTROM: [f64; 2] = [3000.0, 12_000.0];
const STEEPEST_DEG: f64 = 60.0;
const BIN: usize = 8;
const VACUUM_ROWS: usize = 64;
const BLOCKS: usize = 4;
/// Halos are as wide as this asks for, and a multiple of sixteen.
const TOLERANCE: f64 = 1e-2;
/// Where correlations are looked at: sheets lie 12.5 Angstrom apart.
const BAND_ANGSTROM: [f64; 2] = [60.0, 8.0];
const PRIOR: Prior = Prior { positive: true, tv: Some(Tv { weight: 0.02, iterations: 6 }) };

/// What is studied, and where.
struct Study {
    folder: PathBuf,
    shape: Shape,
    tilts: usize,
    iterations: usize,
    subsets: usize,
    momentum: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = Study::parse(&arguments).and_then(|(study, step)| match step {
        Some(step) => study.step(&step),
        None => study.all(&arguments),
    });
    if let Err(error) = done {
        eprintln!("study: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

impl Study {
    fn parse(arguments: &[String]) -> Outcome<(Self, Option<String>)> {
        let [folder, options @ ..] = arguments else {
            return Err(
                "usage: study FOLDER [--size X,Y,Z] [--tilts N] [--iterations N] ..., see its source".into(),
            );
        };
        let (mut size, mut step) = ([512, 512, 64], None);
        let mut study = Self {
            folder: folder.into(),
            shape: Shape::new(1, 1, 1)?,
            tilts: 61,
            iterations: 10,
            subsets: 5,
            momentum: 0.9,
        };
        for option in options.chunks(2) {
            let [name, value] = option else { return Err(format!("{} has no value", option[0]).into()) };
            match name.as_str() {
                "--size" => {
                    let numbers = value.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
                    size = numbers.try_into().map_err(|_| "a size is three numbers: X,Y,Z")?;
                }
                "--tilts" => study.tilts = value.parse()?,
                "--iterations" => study.iterations = value.parse()?,
                "--subsets" => study.subsets = value.parse()?,
                "--momentum" => study.momentum = value.parse()?,
                "--step" => step = Some(value.clone()),
                _ => return Err(format!("{name} is no option").into()),
            }
        }
        study.shape = Shape::new(size[2], size[1], size[0])?;
        Ok((study, step))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Every step that has not been done, in a process of its own, and the report.
    fn all(&self, arguments: &[String]) -> Outcome {
        fs::create_dir_all(&self.folder)?;
        let patches = (0..self.plan_blocks()?).map(|block| format!("patch-{block}"));
        let steps: Vec<String> =
            ["sample", "whole", "parts", "windows"].map(str::to_owned).into_iter().chain(patches).collect();
        for step in &steps {
            if self.file(&format!("{step}.json")).exists() {
                continue;
            }
            eprintln!("{step}");
            let status =
                Command::new(std::env::current_exe()?).args(arguments).args(["--step", step]).status()?;
            if !status.success() {
                return Err(format!("the step {step} failed").into());
            }
        }
        self.report()
    }

    fn step(&self, step: &str) -> Outcome {
        let start = Instant::now();
        let more = match step {
            "sample" => self.sample()?,
            "whole" => self.reconstruct(Mode::Exact {}, 0, "whole")?,
            "parts" => self.by_parts()?,
            "windows" => self.reconstruct(self.windows()?, 0, "windows")?,
            _ => {
                let block = step.strip_prefix("patch-").ok_or("no such step")?.parse()?;
                self.reconstruct(self.patches()?, block, step)?
            }
        };
        let processor: Duration = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into();
        let told = json!({
            "seconds": start.elapsed().as_secs_f64(), "processor_seconds": processor.as_secs_f64(),
            "peak_bytes": peak_bytes(), "more": more,
        });
        fs::write(self.file(&format!("{step}.json")), format!("{told:#}\n"))?;
        Ok(())
    }

    fn angles(&self) -> Vec<Tilt> {
        let step = 2.0 * STEEPEST_DEG / (self.tilts - 1).max(1) as f64;
        (0..self.tilts).map(|tilt| Tilt::new(tilt as f64 * step - STEEPEST_DEG)).collect()
    }

    fn model(&self, bin: usize) -> Outcome<Model> {
        Ok(Model::Multislice(Multislice {
            microscope: Microscope::ideal(300e3)?,
            foci: vec![UNDERFOCUS_ANGSTROM.map(Focus::underfocus).to_vec(); self.tilts],
            bin,
            vacuum_rows: VACUUM_ROWS,
            loss: Loss::Amplitude,
            wave_of_tilts: 4,
            checkpoints: false,
        }))
    }

    fn spec(&self, mode: Mode) -> Outcome<Spec> {
        Ok(Spec {
            volume: self.shape,
            voxel_angstrom: VOXEL_ANGSTROM,
            pixels: self.shape.columns,
            tilts: self.angles(),
            alignment: Alignment::default(),
            contrast: Contrast::Intensity { vacuum: 1.0 },
            model: self.model(BIN)?,
            solver: Solver::OrderedSubsets {
                subsets: self.subsets,
                relaxation: 0.7,
                momentum_max: self.momentum,
            },
            prior: PRIOR,
            iterations: self.iterations,
            seed: 1,
            mode,
        })
    }

    fn core(&self) -> usize {
        self.shape.rows.div_ceil(BLOCKS)
    }

    fn windows(&self) -> Outcome<Mode> {
        let halo = self.spec(Mode::Exact {})?.window_halo(TOLERANCE)?.next_multiple_of(16);
        Ok(Mode::Window { core: self.core(), halo })
    }

    /// Blocks of rows with the halo of windows, so that the two can be compared.
    fn patches(&self) -> Outcome<Mode> {
        let Mode::Window { core, halo } = self.windows()? else { return Err("no windows".into()) };
        let ramp = [8.min(halo).min(core / 2), 0];
        Ok(Mode::Patch { core: [core, self.shape.columns], halo: [halo, 0], ramp, exterior: 1 })
    }

    fn plan_blocks(&self) -> Outcome<usize> {
        Ok(Plan::draft(self.spec(self.patches()?)?)?.blocks.len())
    }

    /// The sample, and its images.
    fn sample(&self) -> Outcome<Value> {
        let truth = clay(self.shape, VOXEL_ANGSTROM, 1)?;
        let images = self.model(BIN / 2)?.images(&truth, VOXEL_ANGSTROM, &self.angles())?;
        io::write(&self.file("clay.mrc"), &truth, &Output::new(Content::Volume, VOXEL_ANGSTROM))?;
        io::write(&self.file("tilts.mrc"), &images, &Output::new(Content::Images, VOXEL_ANGSTROM))?;
        Ok(Value::Null)
    }

    /// A block of a plan, from file to file, with a checkpoint.
    fn reconstruct(&self, mode: Mode, block: usize, name: &str) -> Outcome<Value> {
        let survey = Survey::of(&self.file("tilts.mrc"))?;
        let plan = Plan::for_series(self.spec(mode)?, &survey)?;
        let job = Job::new(&plan, block, &survey)?;
        let checkpoint = job.checkpoint(self.file(&format!("{name}.checkpoint")));
        let mut losses = Vec::new();
        let mut told = |progress: Progress| {
            eprintln!("  {name}: iteration {}, loss {:.4e}", progress.iteration + 1, progress.loss);
            losses.push(progress.loss);
            ControlFlow::Continue(())
        };
        let volume = job.reconstruct(Some(&checkpoint), &mut told)?;
        job.write(&volume, &self.file(&format!("{name}.mrc")), Order::Planes)?;
        checkpoint.remove()?;
        Ok(json!({"losses": losses, "estimated_bytes": plan.estimate(1, rayon::current_num_threads()).bytes}))
    }

    /// The whole by ranks that hold some of its rows each.
    fn by_parts(&self) -> Outcome<Value> {
        let survey = Survey::of(&self.file("tilts.mrc"))?;
        let plan = Plan::for_series(self.spec(Mode::Exact {})?, &survey)?;
        let job = Job::new(&plan, 0, &survey)?;
        let volume = plan.reconstruct_by_parts(&job.images()?, BLOCKS)?;
        job.write(&volume, &self.file("parts.mrc"), Order::Planes)?;
        Ok(Value::Null)
    }

    fn report(&self) -> Outcome {
        let survey = Survey::of(&self.file("tilts.mrc"))?;
        let plan = Plan::for_series(self.spec(self.patches()?)?, &survey)?;
        let block = |block: usize| self.file(&format!("patch-{block}.mrc"));
        let gaps = stitch_blocks(&plan, block, &self.file("patches.mrc"), Order::Planes)?;
        let read = |name: &str| -> Outcome<Volume> {
            Ok(Source::open(&self.file(&format!("{name}.mrc")))?.read(Order::Planes)?)
        };
        let (truth, whole) = (read("clay")?, read("whole")?);
        let mut text = self.conditions(&plan)?;
        text.push_str("| | processor time | clock | memory | off the sample | correlation | off the whole | bits that differ |\n");
        text.push_str("|---|---|---|---|---|---|---|---|\n");
        for name in ["whole", "parts", "windows", "patches"] {
            let found = read(name)?;
            let steps: Vec<String> = if name == "patches" {
                (0..plan.blocks.len()).map(|block| format!("patch-{block}")).collect()
            } else {
                vec![name.to_owned()]
            };
            let cost = self.cost(&steps)?;
            let (error, gap) = (compare(&truth, &found)?.relative_l2, compare(&whole, &found)?);
            let alike = correlation(&fourier_shells(&truth, &found)?);
            let (apart, bits) = (gap.relative_l2, gap.bits);
            writeln!(text, "| {name} | {cost} | {error:.3} | {alike:.3} | {apart:.1e} | {bits} |")?;
        }
        let worst = gaps.iter().map(|gap| gap.rms).fold(0.0, f64::max);
        writeln!(text, "\nWhere patches overlap they differ by up to {worst:.2} V rms.")?;
        fs::write(self.file("study.md"), &text)?;
        print!("{text}");
        self.pictures(&truth, &whole, &read("patches")?)
    }

    /// What steps took: processor time and clock in sum, memory at most.
    fn cost(&self, steps: &[String]) -> Outcome<String> {
        let (mut processor, mut clock, mut memory) = (0.0, 0.0, 0.0_f64);
        for step in steps {
            let told: Value = serde_json::from_str(&fs::read_to_string(self.file(&format!("{step}.json")))?)?;
            let number = |key: &str| told[key].as_f64().ok_or(format!("{step}.json has no {key}"));
            processor += number("processor_seconds")?;
            clock += number("seconds")?;
            memory = memory.max(number("peak_bytes")?);
        }
        Ok(format!("{processor:.0} s | {clock:.0} s | {:.0} MiB", memory / f64::from(1 << 20)))
    }

    fn conditions(&self, plan: &Plan) -> Outcome<String> {
        let Shape { planes, rows, columns } = self.shape;
        let Mode::Patch { core, halo, ramp, .. } = plan.spec.mode else { return Err("no patches".into()) };
        Ok(format!(
            "{columns} x {rows} x {planes} voxels (x, y, z) of {VOXEL_ANGSTROM} A, {} tilts from -{STEEPEST_DEG} to {STEEPEST_DEG} \
             degrees, underfocus {} and {} A, slices of {BIN} planes (images: {}), {} with {} subsets and momentum up to {:.2}; {} blocks of {} rows, halo {}, \
             blended over {} rows on each side; {} threads. Correlation: of frequencies of {} to {} A.\n\n",
            self.tilts,
            UNDERFOCUS_ANGSTROM[0],
            UNDERFOCUS_ANGSTROM[1],
            BIN / 2,
            plan.spec.summary(),
            self.subsets,
            plan.momentum,
            plan.blocks.len(),
            core[0],
            halo[0],
            ramp[0],
            rayon::current_num_threads(),
            BAND_ANGSTROM[0],
            BAND_ANGSTROM[1]
        ))
    }

    fn pictures(&self, truth: &Volume, whole: &Volume, patches: &Volume) -> Outcome {
        let middle = truth.shape().to_array().map(|extent| extent / 2);
        let window = Window::of(truth);
        for (name, volume) in [("clay", truth), ("whole", whole), ("patches", patches)] {
            slices(volume, middle, VOXEL_ANGSTROM, window)?.write(&self.file(&format!("{name}.png")))?;
        }
        let gap = Stack::from_fn(truth.shape(), |z, y, x| patches.at(z, y, x) - whole.at(z, y, x));
        let window = Window { low: -1.0, high: 1.0 };
        slices(&gap, middle, VOXEL_ANGSTROM, window)?.write(&self.file("difference.png"))?;
        Ok(())
    }
}

/// The mean correlation of the frequencies of [`BAND_ANGSTROM`]. What is coarser a wave out of focus hardly shows.
fn correlation(shells: &[Shell]) -> f64 {
    let [coarse, fine] = BAND_ANGSTROM.map(|length| VOXEL_ANGSTROM / length);
    let band = shells.iter().filter(|shell| (coarse..=fine).contains(&shell.frequency));
    let (sum, count) = band.fold((0.0, 0.0), |(sum, count), shell| {
        let weight = shell.count as f64;
        (sum + weight * shell.correlation.unwrap_or(0.0), count + weight)
    });
    sum / count
}

/// The most memory that this process has had; 0 where the system does not tell.
fn peak_bytes() -> u64 {
    let status = fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
    peak.and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes << 10)
}
