//! `parthood tomo plan`, `reconstruct`, `run` and `stitch`.

use super::array::work_off;
use super::cost::{Cost, check_planning, fit, tell_bands};
use super::options::{inputs, spec};
use super::progress::{Meter, peak_in_words, peak_memory};
use super::words::duration;
use super::{MachineArgs, PlanArgs, ReconstructArgs, RunArgs, RunningArgs, StitchArgs};
use crate::commands::{Console, Tone};
use crate::error::{Error, Status};
use crate::files;
use parthood_tomography::io::checkpoint::Checkpoint;
use parthood_tomography::io::mrc::Order;
use parthood_tomography::io::{Lock, Survey, check_different, check_room, check_writable, taken};
use parthood_tomography::job::{BandProgress, Bands, Job, OnDisk, stitch_blocks};
use parthood_tomography::plan::{Mode, Plan};
use parthood_tomography::stitch::Disagreement;
use serde_json::json;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub(super) fn plan(console: &Console, args: &PlanArgs) -> Result<Status, Error> {
    check_different(inputs(&args.job.series, &args.job.model), [&*args.out])?;
    let draft = Plan::draft(spec(&args.job)?)?;
    check_planning(&draft, args.machine)?;
    let survey = Survey::of(&args.job.series.series)?;
    // The jobs of a plan run elsewhere, unless it is said how much memory there is.
    let bands = match args.machine.memory {
        Some(_) => fit(&draft, args.machine, &survey, None)?,
        None => None,
    };
    let plan = args.machine.on_threads(|| draft.complete_for(&survey))??;
    let cost = Cost::of(&plan, args.machine)?;
    files::write(&args.out, plan.to_json()?)?;
    if args.machine.json {
        let mut value = cost.json(&plan)?;
        value["file"] = json!(args.out);
        console.json(&value)?;
        return Ok(Status::Done);
    }
    cost.tell(console, &plan)?;
    bands.map_or(Ok(()), |bands| tell_bands(console, bands))?;
    let last = plan.blocks.len() - 1;
    console.line(format_args!("plan         {} ({})", args.out.display(), &plan.hash()?[..16]))?;
    if plan.spec.mode != (Mode::Exact {}) {
        let (file, series) = (args.out.display(), args.job.series.series.display());
        console.line(format_args!("next         parthood tomo run {file} {series} --block 0 .. {last}"))?;
        console.line(format_args!("             parthood tomo stitch {file} -o volume.mrc"))?;
    }
    Ok(Status::Done)
}

/// What is behind the name of a file in that of its checkpoint.
const CHECKPOINT: &str = ".checkpoint";

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

/// Where a run keeps what does not fit into memory, and its blocks.
fn parts_folder(out: &Path) -> PathBuf {
    beside(out, ".parts")
}

/// Bytes on disk that an interrupted run has left: this one goes on from them, or replaces them.
fn left_there(out: &Path) -> u64 {
    taken(&beside(out, CHECKPOINT)) + taken(&parts_folder(out))
}

/// Where a run keeps its checkpoint, if it keeps one.
fn checkpoint(job: &Job<'_>, path: PathBuf, run: RunningArgs) -> Result<Option<Checkpoint>, Error> {
    if run.no_checkpoints {
        return Ok(None);
    }
    let checkpoint = job.checkpoint(path);
    if run.anew {
        checkpoint.remove()?;
    }
    Ok(Some(checkpoint))
}

/// Reconstructs a block into a file, and gives its last loss. Its checkpoint lies beside the file until that is there.
fn solve_block(
    job: &Job<'_>,
    plan: &Plan,
    what: String,
    (out, order): (&Path, Order),
    run: RunningArgs,
    machine: MachineArgs,
) -> Result<Option<f64>, Error> {
    let checkpoint = checkpoint(job, beside(out, CHECKPOINT), run)?;
    let mut meter = Meter::new(what, plan.spec.iterations);
    let volume = machine
        .on_threads(|| job.reconstruct(checkpoint.as_ref(), &mut |progress| meter.tell(progress)))??;
    job.write(&volume, out, order)?;
    checkpoint.as_ref().map_or(Ok(()), Checkpoint::remove)?;
    Ok(meter.loss)
}

pub(super) fn reconstruct(console: &Console, args: &ReconstructArgs) -> Result<Status, Error> {
    let started = Instant::now();
    check_different(inputs(&args.job.series, &args.job.model), [&*args.out])?;
    check_writable(&args.out)?;
    let (machine, order) = (args.machine, args.file.order());
    let draft = Plan::draft(spec(&args.job)?)?;
    check_planning(&draft, machine)?;
    let survey = Survey::of(&args.job.series.series)?;
    let bands = fit(&draft, machine, &survey, Some((&args.out, order)))?;
    if draft.blocks.len() > 1 {
        machine.check_memory("stitching this", draft.stitching_bytes(&args.out, order))?;
    }
    let needed = disk_bytes(&draft, bands, args.run);
    check_room(&args.out, needed.saturating_sub(left_there(&args.out)))?;
    let plan = machine.on_threads(|| draft.complete_for(&survey))??;
    let cost = Cost::of(&plan, machine)?;
    if machine.json {
        console.json(&cost.json(&plan)?)?;
    } else {
        cost.tell(console, &plan)?;
        bands.map_or(Ok(()), |bands| tell_bands(console, bands))?;
    }
    if args.dry_run {
        return Ok(Status::Done);
    }
    let loss = if let Some(bands) = bands {
        from_disk(&plan, &survey, bands, args)?
    } else if plan.blocks.len() > 1 {
        in_blocks(console, &plan, &survey, args)?;
        None
    } else {
        let _lock = Lock::on(&args.out)?;
        let job = Job::new(&plan, 0, &survey)?;
        solve_block(&job, &plan, String::new(), (&args.out, order), args.run, machine)?
    };
    written(console, &plan, &args.out, loss, started, machine.json)
}

/// Reconstructs one block after the other into files, as an array of jobs would, and stitches them. Blocks that an
/// interrupted run has left are taken as they are.
fn in_blocks(console: &Console, plan: &Plan, survey: &Survey, args: &ReconstructArgs) -> Result<(), Error> {
    let folder = parts_folder(&args.out);
    let _lock = Lock::of(&folder)?;
    for block in 0..plan.blocks.len() {
        let (job, file) = (Job::new(plan, block, survey)?, block_file(&folder, block));
        if !job.is_done(&file) || args.run.anew {
            let what = format!("block {block} of {}, ", plan.blocks.len());
            solve_block(&job, plan, what, (&file, Order::Planes), args.run, args.machine)?;
        }
    }
    stitched(console, plan, &folder, &args.out, args.file.order(), args.machine.json)?;
    std::fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))
}

/// Reconstructs in bands, and gives the last loss over all rows, if there is one.
fn from_disk(
    plan: &Plan,
    survey: &Survey,
    bands: Bands,
    args: &ReconstructArgs,
) -> Result<Option<f64>, Error> {
    let job = Job::new(plan, 0, survey)?;
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

fn read_plan(file: &Path) -> Result<Plan, Error> {
    let text = std::fs::read_to_string(file).map_err(Error::file("read the plan", file))?;
    Plan::from_json(&text).map_err(in_plan(file))
}

/// What is wrong with a plan, and the file that it is in.
fn in_plan(file: &Path) -> impl Fn(parthood_tomography::Error) -> Error {
    move |error| Error::Usage(format!("{}: {error}", file.display()))
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
    args.machine.on_threads(|| plan.check_machine())?.map_err(in_plan(&args.plan))?;
    let survey = Survey::of(&args.series)?;
    if let Some(cluster) = &args.ledger {
        let done = work_off(&plan, args, cluster, |block| run_block(console, args, &plan, &survey, block))?;
        check_blocks(&plan, &survey, args)?;
        if !args.machine.json {
            console.line(format_args!("all {} blocks are done, {done} of them here", plan.blocks.len()))?;
        }
    } else if let Some(block) = args.block {
        run_block(console, args, &plan, &survey, block)?;
    }
    Ok(Status::Done)
}

/// Fails unless every block is where the ledger says that somebody put it.
fn check_blocks(plan: &Plan, survey: &Survey, args: &RunArgs) -> Result<(), Error> {
    let folder = folder_of(&args.plan, args.blocks.as_deref());
    for block in 0..plan.blocks.len() {
        let file = block_file(&folder, block);
        if !Job::new(plan, block, survey)?.is_done(&file) {
            return Err(Error::Environment(format!(
                "{}: done, says the ledger, but not there; if this is the folder that all share, do it anew with --block {block}",
                file.display()
            )));
        }
    }
    Ok(())
}

/// Reconstructs a block unless it is there already, and gives its file.
fn run_block(
    console: &Console,
    args: &RunArgs,
    plan: &Plan,
    survey: &Survey,
    block: usize,
) -> Result<PathBuf, Error> {
    let started = Instant::now();
    let job = Job::new(plan, block, survey)?;
    let folder = folder_of(&args.plan, args.blocks.as_deref());
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let out = block_file(&folder, block);
    check_different([&*args.series, &args.plan], [&*out])?;
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
    if fit(plan, args.machine, survey, Some((&out, Order::Planes)))?.is_some() {
        let text = "the whole does not fit into memory; `tomo reconstruct` does it from disk";
        return Err(Error::Usage(text.into()));
    }
    let needed = plan.block_disk_bytes(&plan.blocks[block], !args.run.no_checkpoints);
    check_room(&out, needed.saturating_sub(taken(&beside(&out, CHECKPOINT))))?;
    let what = format!("block {block} of {}, ", plan.blocks.len());
    let loss = solve_block(&job, plan, what, (&out, Order::Planes), args.run, args.machine)?;
    written(console, plan, &out, loss, started, args.machine.json)?;
    Ok(out)
}

pub(super) fn stitch(console: &Console, args: &StitchArgs) -> Result<Status, Error> {
    let started = Instant::now();
    let plan = read_plan(&args.plan)?;
    let folder = folder_of(&args.plan, args.blocks.as_deref());
    let blocks: Vec<PathBuf> = (0..plan.blocks.len()).map(|block| block_file(&folder, block)).collect();
    check_different(blocks.iter().chain([&args.plan]).map(PathBuf::as_path), [&*args.out])?;
    check_writable(&args.out)?;
    let order = args.file.order();
    args.machine.check_memory("stitching this", plan.stitching_bytes(&args.out, order))?;
    check_room(&args.out, 4 * plan.spec.volume.len() as u64)?;
    stitched(console, &plan, &folder, &args.out, order, args.machine.json)?;
    written(console, &plan, &args.out, None, started, args.machine.json)
}

/// Puts the blocks of a folder together, writes the whole, and tells how much neighbours differ.
fn stitched(
    console: &Console,
    plan: &Plan,
    folder: &Path,
    out: &Path,
    order: Order,
    as_json: bool,
) -> Result<(), Error> {
    let gaps = stitch_blocks(plan, |block| block_file(folder, block), out, order)?;
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
