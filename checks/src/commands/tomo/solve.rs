//! `parthood tomo plan`, `reconstruct`, `run` and `stitch`.

use super::array::work_off;
use super::options::spec;
use super::progress::{Meter, free_memory, peak_in_words, peak_memory};
use super::words::{bytes, duration};
use super::{MachineArgs, PlanArgs, ReconstructArgs, RunArgs, RunningArgs, StitchArgs};
use crate::commands::{Console, Tone};
use crate::error::{Error, Status};
use crate::files;
use parthood_tomography::Volume;
use parthood_tomography::io::checkpoint::Checkpoint;
use parthood_tomography::io::mrc::Order;
use parthood_tomography::io::{check_room, check_writable, taken, writing_bytes};
use parthood_tomography::job::{BandProgress, Bands, Job, OnDisk, fingerprint, read_blocks, write_stitched};
use parthood_tomography::plan::{Estimate, Mode, Plan, Spec, Speed};
use parthood_tomography::stitch::{Disagreement, disagreements, stitch as stitch_blocks};
use serde_json::json;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A spec's plan for a series.
fn plan_of(spec: Spec, series: &Path, machine: MachineArgs) -> Result<Plan, Error> {
    let mut plan = machine.on_threads(|| Plan::new(spec))??;
    plan.series = Some(fingerprint(series)?);
    Ok(plan)
}

pub(super) fn plan(console: &Console, args: &PlanArgs) -> Result<Status, Error> {
    let spec = spec(&args.series, &args.model, &args.solve, &args.mode)?;
    let plan = plan_of(spec, &args.series.series, args.machine)?;
    let cost = Cost::of(&plan, args.machine)?;
    files::write(&args.out, plan.to_json()?)?;
    if args.machine.json {
        let mut value = cost.json(&plan)?;
        value["file"] = json!(args.out);
        console.json(&value)?;
        return Ok(Status::Done);
    }
    cost.tell(console, &plan)?;
    let last = plan.blocks.len() - 1;
    console.line(format_args!("plan         {} ({})", args.out.display(), &plan.hash()?[..16]))?;
    if plan.spec.mode != (Mode::Exact {}) {
        let (file, series) = (args.out.display(), args.series.series.display());
        console.line(format_args!("next         parthood tomo run {file} {series} --block 0 .. {last}"))?;
        console.line(format_args!("             parthood tomo stitch {file} -o volume.mrc"))?;
    }
    Ok(Status::Done)
}

/// What a plan needs on this machine.
struct Cost {
    estimate: Estimate,
    /// Of the largest block, on the threads that there are.
    seconds: f64,
    threads: usize,
    halo: Option<[usize; 2]>,
}

impl Cost {
    fn of(plan: &Plan, machine: MachineArgs) -> Result<Self, Error> {
        let threads = machine.threads();
        let estimate = plan.estimate(1, threads);
        let speed = machine.on_threads(|| Speed::measure(plan))??;
        let halo = match plan.spec.mode {
            Mode::Patch { halo, .. } => Some(halo),
            _ => None,
        };
        Ok(Self { seconds: estimate.seconds(speed, threads), estimate, threads, halo })
    }

    fn tell(&self, console: &Console, plan: &Plan) -> Result<(), Error> {
        let Spec { volume, voxel_angstrom, ref tilts, .. } = plan.spec;
        let [planes, rows, columns] = volume.to_array();
        console.line(format_args!(
            "volume       {columns} x {rows} x {planes} voxels (x, y, z) of {voxel_angstrom} \u{c5}, from {} tilts, {} images",
            tilts.len(),
            plan.spec.images()
        ))?;
        console.line(format_args!("solver       {}", plan.spec.summary()))?;
        if let (
            Some([rows, columns]),
            Mode::Patch { core: [core_rows, core_columns], ramp: [ramp_rows, ramp_columns], .. },
        ) = (self.halo, plan.spec.mode)
        {
            console.line(format_args!(
                "blocks       {} of {core_rows} rows and {core_columns} columns, halo {rows} and {columns}, blended over \
                 {ramp_rows} and {ramp_columns} on each side",
                plan.blocks.len()
            ))?;
        }
        let each = if plan.blocks.len() > 1 { " for a block" } else { "" };
        console.line(format_args!("memory       about {}{each}", bytes(self.estimate.bytes)))?;
        console.line(format_args!(
            "time         about {}{each}, on {} threads",
            duration(self.seconds),
            self.threads
        ))
    }

    fn json(&self, plan: &Plan) -> Result<serde_json::Value, Error> {
        Ok(json!({
            "schema": "parthood.tomo.plan/1", "plan": plan.hash()?, "summary": plan.spec.summary(),
            "blocks": plan.blocks.len(), "halo": self.halo, "bytes": self.estimate.bytes, "seconds": self.seconds,
            "threads": self.threads, "tilts": plan.spec.tilts.len(), "images": plan.spec.images(),
            "shape": plan.spec.volume.to_array(),
        }))
    }

    /// How to get along with the memory that there is: none if all fits, bands from disk if they do and the file can be
    /// written by sections.
    fn fit(
        &self,
        plan: &Plan,
        machine: MachineArgs,
        out: &Path,
        order: Order,
    ) -> Result<Option<Bands>, Error> {
        let (limit, whose) = match machine.memory {
            Some(limit) => (limit, "given"),
            None => (free_memory().unwrap_or(u64::MAX), "free"),
        };
        if self.estimate.bytes <= limit {
            return Ok(None);
        }
        let needs = format!(
            "this needs about {} of memory, and {} are {whose}",
            bytes(self.estimate.bytes),
            bytes(limit)
        );
        if plan.spec.mode != (Mode::Exact {}) {
            return Err(Error::Usage(format!("{needs}; plan smaller blocks, or take fewer threads")));
        }
        let writing = writing_bytes(out, plan.spec.volume, order);
        if writing > limit {
            let (out, writing) = (out.display(), bytes(writing));
            return Err(Error::Usage(format!(
                "{needs}; from disk, writing {out} alone would take {writing}: write an .mrc"
            )));
        }
        let bands = plan.bands(limit, self.threads);
        bands.map(Some).map_err(|why| {
            Error::Usage(format!(
                "{needs}; it cannot be done from disk either: {why}; or plan blocks with --mode patch"
            ))
        })
    }
}

/// Tells how a job is done in bands.
fn tell_bands(console: &Console, bands: Bands) -> Result<(), Error> {
    let how = if bands.apart { "one after the other" } else { "in step" };
    console.line(format_args!(
        "from disk    {} bands of {} rows, {how}, about {} of memory and {} on disk",
        bands.count,
        bands.rows,
        bytes(bands.bytes),
        bytes(bands.disk_bytes)
    ))
}

/// What a reconstruction leaves on disk at its fullest.
fn disk_bytes(plan: &Plan, bands: Option<Bands>, run: RunningArgs) -> u64 {
    bands.map_or_else(
        || plan.disk_bytes(!run.no_checkpoints),
        |bands| plan.disk_bytes(false).saturating_add(bands.disk_bytes),
    )
}

/// A name beside a file: its own with more behind it.
fn beside(file: &Path, more: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(OsString::from(more));
    PathBuf::from(name)
}

/// Where a run in one process keeps the checkpoint of a block.
fn checkpoint_file(plan: &Plan, out: &Path, block: usize) -> PathBuf {
    match plan.blocks.len() {
        1 => beside(out, ".checkpoint"),
        _ => beside(out, &format!(".{block}.checkpoint")),
    }
}

/// Where a run from disk keeps what does not fit into memory.
fn parts_folder(out: &Path) -> PathBuf {
    beside(out, ".parts")
}

/// Bytes on disk that an interrupted run has left: this one goes on from them, or replaces them.
fn left_there(plan: &Plan, out: &Path) -> u64 {
    let checkpoints = (0..plan.blocks.len()).map(|block| taken(&checkpoint_file(plan, out, block)));
    checkpoints.sum::<u64>() + taken(&parts_folder(out))
}

/// Where a run keeps its checkpoint, if it keeps one.
fn checkpoint(job: &Job<'_>, path: PathBuf, run: RunningArgs) -> Result<Option<Checkpoint>, Error> {
    if run.no_checkpoints {
        return Ok(None);
    }
    let checkpoint = job.checkpoint(path)?;
    if run.anew {
        checkpoint.remove()?;
    }
    Ok(Some(checkpoint))
}

/// A volume, and its last loss.
fn solved(
    job: &Job<'_>,
    plan: &Plan,
    what: String,
    checkpoint: Option<&Checkpoint>,
    machine: MachineArgs,
) -> Result<(Volume, Option<f64>), Error> {
    let mut meter = Meter::new(what, plan.spec.iterations);
    let volume =
        machine.on_threads(|| job.reconstruct(checkpoint, &mut |progress| meter.tell(progress)))??;
    Ok((volume, meter.loss))
}

pub(super) fn reconstruct(console: &Console, args: &ReconstructArgs) -> Result<Status, Error> {
    let started = Instant::now();
    let series = &args.series.series;
    different(series, &args.out)?;
    check_writable(&args.out)?;
    let plan = plan_of(spec(&args.series, &args.model, &args.solve, &args.mode)?, series, args.machine)?;
    let cost = Cost::of(&plan, args.machine)?;
    if args.machine.json {
        console.json(&cost.json(&plan)?)?;
    } else {
        cost.tell(console, &plan)?;
    }
    let order = args.file.order();
    let bands = cost.fit(&plan, args.machine, &args.out, order)?;
    if let (Some(bands), false) = (bands, args.machine.json) {
        tell_bands(console, bands)?;
    }
    let needed = disk_bytes(&plan, bands, args.run);
    check_room(&args.out, needed.saturating_sub(left_there(&plan, &args.out)))?;
    if args.dry_run {
        return Ok(Status::Done);
    }
    if let Some(bands) = bands {
        let loss = from_disk(&plan, bands, args)?;
        return written(console, &plan, &args.out, loss, started, args.machine.json);
    }
    let (mut volumes, mut checkpoints, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    for block in 0..plan.blocks.len() {
        let job = Job::new(&plan, block, series)?;
        let what = match plan.blocks.len() {
            1 => String::new(),
            blocks => format!("block {block} of {blocks}, "),
        };
        let checkpoint = checkpoint(&job, checkpoint_file(&plan, &args.out, block), args.run)?;
        let (volume, loss) = solved(&job, &plan, what, checkpoint.as_ref(), args.machine)?;
        volumes.push(volume);
        losses.extend(loss);
        checkpoints.extend(checkpoint);
    }
    let loss = (losses.len() == 1).then(|| losses[0]);
    if let [volume] = &volumes[..] {
        Job::new(&plan, 0, series)?.write(volume, &args.out, order)?;
    } else {
        stitched(console, &plan, &volumes, &args.out, order, args.machine.json)?;
    }
    checkpoints.iter().try_for_each(Checkpoint::remove)?;
    written(console, &plan, &args.out, loss, started, args.machine.json)
}

/// Reconstructs in bands, and gives the last loss over all rows, if there is one.
fn from_disk(plan: &Plan, bands: Bands, args: &ReconstructArgs) -> Result<Option<f64>, Error> {
    let job = Job::new(plan, 0, &args.series.series)?;
    let disk = OnDisk::new(&job, bands, parts_folder(&args.out))?;
    if args.run.anew {
        disk.forget()?;
    }
    let mut meter = Meter::new(String::new(), plan.spec.iterations);
    let mut current = None;
    let mut told = |BandProgress { band, progress }: BandProgress| {
        if band != current {
            current = band;
            let what =
                band.map_or_else(String::new, |band| format!("band {} of {}, ", band + 1, bands.count));
            meter = Meter::new(what, plan.spec.iterations);
        }
        // Nobody stops it here.
        let _ = meter.tell(progress);
    };
    args.machine.on_threads(|| disk.reconstruct(&args.out, args.file.order(), &mut told))??;
    Ok(meter.loss.filter(|_| !bands.apart))
}

/// Tells that a volume is there.
fn written(
    console: &Console,
    plan: &Plan,
    out: &Path,
    loss: Option<f64>,
    started: Instant,
    as_json: bool,
) -> Result<Status, Error> {
    let seconds = started.elapsed().as_secs_f64();
    if as_json {
        console.json(&json!({
            "schema": "parthood.tomo.volume/1", "file": out, "plan": plan.hash()?, "loss": loss,
            "seconds": seconds, "peak_bytes": peak_memory(),
        }))?;
    } else {
        let loss =
            loss.map_or_else(String::new, |loss| format!(", loss {loss:.5e} before the last iteration"));
        console.line(format_args!(
            "{}: done in {}{}{loss}",
            console.paint(Tone::Good, &out.display().to_string()),
            duration(seconds),
            peak_in_words()
        ))?;
    }
    Ok(Status::Done)
}

/// Fails if a file would be overwritten by what is made of it.
fn different(from: &Path, to: &Path) -> Result<(), Error> {
    match (from.canonicalize(), to.canonicalize()) {
        (Ok(left), Ok(right)) if left == right => {
            Err(Error::Usage(format!("{} is the input; choose another name to write", to.display())))
        }
        _ => Ok(()),
    }
}

fn read_plan(file: &Path) -> Result<Plan, Error> {
    let text = std::fs::read_to_string(file).map_err(Error::file("read the plan", file))?;
    Plan::from_json(&text).map_err(|error| Error::Usage(format!("{}: {error}", file.display())))
}

/// Where the blocks of a plan lie.
fn folder_of(plan: &Path, blocks: Option<&Path>) -> PathBuf {
    blocks.map_or_else(|| plan.with_extension("blocks"), Path::to_owned)
}

fn block_file(folder: &Path, block: usize) -> PathBuf {
    folder.join(format!("block-{block:04}.mrc"))
}

pub(super) fn run(console: &Console, args: &RunArgs) -> Result<Status, Error> {
    let plan = read_plan(&args.plan)?;
    if let Some(cluster) = &args.ledger {
        let done = work_off(&plan, args, cluster, |block| run_block(console, args, &plan, block))?;
        check_blocks(&plan, args)?;
        if !args.machine.json {
            console.line(format_args!("all {} blocks are done, {done} of them here", plan.blocks.len()))?;
        }
    } else if let Some(block) = args.block {
        run_block(console, args, &plan, block)?;
    }
    Ok(Status::Done)
}

/// Fails unless every block is where the ledger says that somebody put it.
fn check_blocks(plan: &Plan, args: &RunArgs) -> Result<(), Error> {
    let folder = folder_of(&args.plan, args.blocks.as_deref());
    for block in 0..plan.blocks.len() {
        let file = block_file(&folder, block);
        if !Job::new(plan, block, &args.series)?.is_done(&file) {
            return Err(Error::Environment(format!(
                "{}: done, says the ledger, but not there; if this is the folder that all share, do it anew with --block {block}",
                file.display()
            )));
        }
    }
    Ok(())
}

/// Reconstructs a block unless it is there already, and gives its file.
fn run_block(console: &Console, args: &RunArgs, plan: &Plan, block: usize) -> Result<PathBuf, Error> {
    let started = Instant::now();
    let job = Job::new(plan, block, &args.series)?;
    let folder = folder_of(&args.plan, args.blocks.as_deref());
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let out = block_file(&folder, block);
    check_writable(&out)?;
    if job.is_done(&out) && !args.run.anew {
        let text = format!("{}: is there already; --anew computes it again", out.display());
        if args.machine.json {
            console.json(&json!({"schema": "parthood.tomo.volume/1", "file": out, "plan": plan.hash()?, "there": true}))?;
        } else {
            console.line(text)?;
        }
        return Ok(out);
    }
    if Cost::of(plan, args.machine)?.fit(plan, args.machine, &out, Order::Planes)?.is_some() {
        let text = "the whole does not fit into memory; `tomo reconstruct` does it from disk";
        return Err(Error::Usage(text.into()));
    }
    let kept = beside(&out, ".checkpoint");
    let needed = plan.disk_bytes(!args.run.no_checkpoints) / plan.blocks.len() as u64;
    check_room(&out, needed.saturating_sub(taken(&kept)))?;
    let checkpoint = checkpoint(&job, kept, args.run)?;
    let what = format!("block {block} of {}, ", plan.blocks.len());
    let (volume, loss) = solved(&job, plan, what, checkpoint.as_ref(), args.machine)?;
    job.write(&volume, &out, Order::Planes)?;
    checkpoint.as_ref().map_or(Ok(()), Checkpoint::remove)?;
    written(console, plan, &out, loss, started, args.machine.json)?;
    Ok(out)
}

pub(super) fn stitch(console: &Console, args: &StitchArgs) -> Result<Status, Error> {
    let started = Instant::now();
    let plan = read_plan(&args.plan)?;
    check_writable(&args.out)?;
    check_room(&args.out, plan.disk_bytes(false))?;
    let folder = folder_of(&args.plan, args.blocks.as_deref());
    let volumes = read_blocks(&plan, |block| block_file(&folder, block))?;
    stitched(console, &plan, &volumes, &args.out, args.file.order(), args.json)?;
    written(console, &plan, &args.out, None, started, args.json)
}

/// Puts blocks together, writes the whole, and tells how much neighbours differ.
fn stitched(
    console: &Console,
    plan: &Plan,
    volumes: &[Volume],
    out: &Path,
    order: Order,
    as_json: bool,
) -> Result<(), Error> {
    let gaps = disagreements(plan, volumes)?;
    write_stitched(plan, &stitch_blocks(plan, volumes)?, out, order)?;
    if !gaps.is_empty() && !as_json {
        console.line(console.paint(Tone::Strong, "where halos overlap, neighbours differ by"))?;
    }
    for Disagreement { blocks: [left, right], rms, max } in gaps {
        if as_json {
            console.json(&json!({
                "schema": "parthood.tomo.disagreement/1", "blocks": [left, right], "rms": rms, "largest": max,
            }))?;
        } else {
            console.line(format_args!("  {left:4} and {right:4}   {rms:.3e} rms, {max:.3e} at most"))?;
        }
    }
    Ok(())
}
