//! `parthood tomo`: electron tomography on MRC files, from made-up samples to reconstructions, whole or by parts.

mod array;
mod cost;
mod look;
mod mode;
mod options;
mod progress;
mod refine;
mod sample;
mod solve;
mod words;

use super::Console;
use crate::cli::values;
use crate::error::{Error, Status};
use clap::{Args, Subcommand, ValueEnum};
use options::{JobArgs, ModelArgs, SeriesArgs, TiltArgs};
use parthood_tomography::io::mrc::Order;
use progress::free_memory;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `tomo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        parthood tomo phantom clay.mrc --size 96,64,48 --voxel 2\n  \
        parthood tomo project clay.mrc tilts.mrc --tilts=-60:60:4\n  \
        parthood tomo reconstruct tilts.mrc -o rec.mrc --planes 48 --iterations 30\n  \
        parthood tomo compare clay.mrc rec.mrc\n  \
        parthood tomo view rec.mrc\n\n\
        Waves instead of straight rays, for thick samples out of focus:\n  \
        parthood tomo project clay.mrc tilts.mrc --tilts=-60:60:4 --kv 300 --underfocus 3000,6000\n  \
        parthood tomo reconstruct tilts.mrc -o rec.mrc --planes 48 --kv 300 --underfocus 3000,6000 --solver subsets\n\n\
        Shifts and defoci that are not quite what was noted; with blocks, after stitching:\n  \
        parthood tomo refine tilts.mrc rec.mrc -o better\n  \
        parthood tomo reconstruct tilts.mrc -o rec.mrc --planes 48 --xf better.xf\n\n\
        As an array of jobs that know nothing of each other:\n  \
        parthood tomo plan tilts.mrc -o plan.json --planes 48 --mode patch --core 32 --tv 0.05\n  \
        parthood tomo run plan.json tilts.mrc --block 0    one job per block\n  \
        parthood tomo stitch plan.json -o rec.mrc\n\n\
        The same at any number of machines, which ask a running cluster what to do next:\n  \
        parthood tomo run plan.json tilts.mrc --ledger cluster.toml    on each machine\n\n\
        Lengths are in Angstrom, potentials in volt, the voltage in kilovolt, angles in degrees. Volumes have axes x, y, z; \
        y is the tilt axis and lies along the images' columns; at tilt t a point comes to lie at x cos t - z sin t of the \
        image (--tilt-sign negative: + z sin t). Underfocus is positive. Wherever a run is interrupted, the same command \
        goes on from its last iteration and ends in the same bits.")]
pub struct TomoArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes up a sample.
    Phantom(PhantomArgs),
    /// Computes the images that a volume would make.
    Project(Box<ProjectArgs>),
    /// Plans a reconstruction and tells what it costs.
    Plan(Box<PlanArgs>),
    /// Reconstructs a volume from a tilt series.
    Reconstruct(Box<ReconstructArgs>),
    /// Reconstructs one block of a plan.
    Run(RunArgs),
    /// Puts the blocks of a plan together.
    Stitch(StitchArgs),
    /// Finds shifts and defoci of the tilts by comparing the series with a reconstruction of it.
    Refine(Box<RefineArgs>),
    /// Tells how far two volumes are apart; status 1 if further than they may be.
    Compare(CompareArgs),
    /// Draws slices of a volume, and writes a page to scroll through it.
    View(ViewArgs),
}

#[derive(Debug, Args)]
struct PhantomArgs {
    /// The volume to write.
    out: PathBuf,
    /// What to make up.
    #[arg(long, value_enum, default_value = "clay")]
    kind: Kind,
    /// Voxels along x, y and z.
    #[arg(long, value_name = "X,Y,Z", default_value = "96,64,48", value_parser = words::extents)]
    size: [usize; 3],
    /// Side of a voxel in Angstrom.
    #[arg(long, value_name = "ANGSTROM", default_value_t = 2.0)]
    voxel: f64,
    /// The same seed gives the same clay.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Wavy sheets of clay with holes, and heavy particles between them; in volt.
    Clay,
    /// Two unequal beads, of which no reflection is the same: for telling signs apart.
    Beads,
}

#[derive(Debug, Args)]
struct ProjectArgs {
    /// The volume.
    volume: PathBuf,
    /// The tilt series to write; its angles go beside it, into a file of extension .tlt.
    out: PathBuf,
    #[command(flatten)]
    tilts: TiltArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Side of a voxel in Angstrom, if the file does not say or is wrong.
    #[arg(long, value_name = "ANGSTROM")]
    pixel: Option<f64>,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Args)]
struct PlanArgs {
    #[command(flatten)]
    job: JobArgs,
    /// The plan to write, as JSON.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Args)]
struct ReconstructArgs {
    #[command(flatten)]
    job: JobArgs,
    /// The volume to write. Its labels say where it comes from; .npy has no room for them.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    run: RunningArgs,
    /// Tell what it would cost, and end.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The plan.
    plan: PathBuf,
    /// The series that the plan was made for.
    series: PathBuf,
    /// The block, from 0.
    #[arg(long, value_name = "N", required_unless_present = "ledger")]
    block: Option<usize>,
    /// Do whichever blocks nobody else does, until all are done. Who does what stands in a running cluster, whose file this
    /// is; start as many of these commands as there are machines, on a folder of blocks that they share. What is done stays
    /// done; --block does it again.
    #[arg(long, value_name = "CLUSTER", conflicts_with_all = ["block", "anew"])]
    ledger: Option<PathBuf>,
    /// After how many seconds of silence another worker is taken for lost, and its block done anew.
    #[arg(long, value_name = "SECONDS", default_value = "60", requires = "ledger", value_parser = values::seconds)]
    patience: Duration,
    /// The folder of the blocks [default: beside the plan, of its name with .blocks].
    #[arg(long, value_name = "FOLDER")]
    blocks: Option<PathBuf>,
    #[command(flatten)]
    run: RunningArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Args)]
struct StitchArgs {
    /// The plan.
    plan: PathBuf,
    /// The folder of the blocks [default: beside the plan, of its name with .blocks].
    #[arg(long, value_name = "FOLDER")]
    blocks: Option<PathBuf>,
    /// The volume to write. Its labels say where it comes from; .npy has no room for them.
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Args)]
struct RefineArgs {
    #[command(flatten)]
    series: SeriesArgs,
    /// A reconstruction of the series, of all its rows.
    volume: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// The largest shift along either axis that is looked for, in pixels; 0 leaves shifts alone.
    #[arg(long, value_name = "PIXELS", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=64))]
    shift_max: u8,
    /// Leave the defoci as they are.
    #[arg(long)]
    keep_foci: bool,
    /// What to write, without extension: alignments for --xf into .xf and, for waves, defoci for --foci into .foci.
    #[arg(short, long, value_name = "NAME")]
    out: PathBuf,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    machine: MachineArgs,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The reference.
    left: PathBuf,
    /// The volume to compare with it.
    right: PathBuf,
    /// How far they may be apart: the norm of their difference over that of the reference.
    #[arg(long, value_name = "SHARE", default_value_t = f64::INFINITY, hide_default_value = true)]
    tolerance: f64,
    /// They must be equal in every bit.
    #[arg(long)]
    bits: bool,
    /// Which of the two has sections of constant y, as IMOD leaves reconstructions before they are turned; both, if the option
    /// has no value.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "both")]
    imod_order: Option<Which>,
    /// Leave out the Fourier shell correlation, which takes 16 bytes per voxel.
    #[arg(long)]
    no_fsc: bool,
    /// Write the Fourier shell correlation into this file, as CSV.
    #[arg(long, value_name = "FILE", conflicts_with = "no_fsc")]
    fsc: Option<PathBuf>,
    /// Write one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ViewArgs {
    /// The volume, or a tilt series.
    volume: PathBuf,
    /// Where to put the pictures, without extension [default: the volume's name].
    #[arg(short, long, value_name = "NAME")]
    out: Option<PathBuf>,
    /// The slices to draw, by their place x,y,z from 0 [default: the middle].
    #[arg(long, value_name = "X,Y,Z", value_parser = words::place)]
    at: Option<[usize; 3]>,
    /// The values drawn black and white [default: one voxel in 500 lies beyond either].
    #[arg(long, value_name = "LOW,HIGH", value_parser = words::window, allow_hyphen_values = true)]
    window: Option<[f32; 2]>,
    /// Side of a voxel in Angstrom, if the file does not say or is wrong.
    #[arg(long, value_name = "ANGSTROM")]
    pixel: Option<f64>,
    #[command(flatten)]
    file: FileArgs,
    /// Write one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// How volumes lie in files.
#[derive(Clone, Copy, Debug, Args)]
struct FileArgs {
    /// Sections of the volume's file are rows of constant y, as IMOD leaves reconstructions before they are turned.
    #[arg(long)]
    imod_order: bool,
}

impl FileArgs {
    const fn order(self) -> Order {
        if self.imod_order { Order::Rows } else { Order::Planes }
    }
}

/// Which of two volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The reference.
    Left,
    /// The volume that is compared with it.
    Right,
    /// Both.
    Both,
}

impl Which {
    /// How the reference and the other volume lie in their files, if these lie in rows.
    fn orders(in_rows: Option<Self>) -> [Order; 2] {
        [Self::Left, Self::Right].map(|which| match in_rows {
            Some(found) if found == which || found == Self::Both => Order::Rows,
            _ => Order::Planes,
        })
    }
}

/// What concerns a run and not its result.
#[derive(Clone, Copy, Debug, Args)]
struct RunningArgs {
    /// Begin anew, whatever was kept of an earlier run.
    #[arg(long)]
    anew: bool,
    /// Keep no checkpoints: an interrupted run begins anew.
    #[arg(long)]
    no_checkpoints: bool,
}

/// What concerns this machine and not the result.
#[derive(Clone, Copy, Debug, Args)]
struct MachineArgs {
    /// How many threads compute; all cores by default. The result does not depend on it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Memory to get along with, as 2GiB or 500MB [default: what is free].
    #[arg(long, value_name = "SIZE", value_parser = words::size)]
    memory: Option<u64>,
    /// Write one JSON object per line.
    #[arg(long)]
    json: bool,
}

impl MachineArgs {
    fn threads(self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(cores, usize::from)
    }

    /// The memory that there is, and whose word that is.
    fn limit(self) -> (u64, &'static str) {
        match self.memory {
            Some(limit) => (limit, "given"),
            None => (free_memory().unwrap_or(u64::MAX), "free"),
        }
    }

    /// Fails if something needs more memory than there is.
    fn check_memory(self, what: &str, needed: u64) -> Result<(), Error> {
        let (limit, whose) = self.limit();
        if needed <= limit {
            return Ok(());
        }
        let (needed, limit) = (words::bytes(needed), words::bytes(limit));
        Err(Error::Usage(format!("{what} needs about {needed} of memory, and {limit} are {whose}")))
    }

    /// Computes on as many threads.
    fn on_threads<R: Send>(self, compute: impl FnOnce() -> R + Send) -> Result<R, Error> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.threads()).build();
        let pool = pool.map_err(|error| Error::Environment(format!("cannot start threads: {error}")))?;
        Ok(pool.install(compute))
    }
}

/// Does what the arguments ask for.
pub(super) fn run(args: &TomoArgs) -> Result<Status, Error> {
    let console = Console::new();
    match &args.verb {
        Verb::Phantom(args) => sample::phantom(&console, args),
        Verb::Project(args) => sample::project(&console, args),
        Verb::Plan(args) => solve::plan(&console, args),
        Verb::Reconstruct(args) => solve::reconstruct(&console, args),
        Verb::Run(args) => solve::run(&console, args),
        Verb::Stitch(args) => solve::stitch(&console, args),
        Verb::Refine(args) => refine::refine(&console, args),
        Verb::Compare(args) => look::compare(&console, args),
        Verb::View(args) => look::view(&console, args),
    }
}
