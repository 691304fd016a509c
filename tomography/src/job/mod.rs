//! From files to files: carrying out a plan on a series.
//!
//! A job is a block of a plan and the series that the plan was made for. It reads the rows that it needs, prepares them,
//! reconstructs, keeps a checkpoint after every iteration, and writes a volume that says in its labels where it comes
//! from: program, plan and block. Labels have no date, so that the same job gives the same file, whenever it is run and
//! however often it was interrupted.

mod bands;
mod conjugate;
mod spill;
mod stitching;
#[cfg(test)]
mod tests;
mod waves;

pub use bands::{BandProgress, Bands, OnDisk};
pub use stitching::{check_blocks, stitch_blocks};

use crate::comm::Comm;
use crate::io::checkpoint::Checkpoint;
use crate::io::mrc::{Content, Order, Output};
use crate::io::{self, Source, Survey, content};
use crate::plan::{Mode, Plan};
use crate::solve::{Progress, State, Watch, Whole};
use crate::{Error, Projections, Result, Stack, Volume};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// How a label begins that names the plan.
const PLAN: &str = "plan ";
/// How a label begins that names the block.
const BLOCK: &str = "block ";
/// How a label begins that names the vector instructions of the machine that computed.
const PROCESSOR: &str = "computed on ";

/// A block of a plan, to be reconstructed from a series.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    plan: &'a Plan,
    hash: String,
    block: usize,
    series: &'a Survey,
}

impl<'a> Job<'a> {
    /// A job for a series that was read through. It is compared with what the plan knows of it.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a block that there is not, [`Error::Plan`] for a series that the plan was not made for, and
    /// [`Error::Content`] if it has not the extent that the plan says, or values that cannot be.
    pub fn new(plan: &'a Plan, block: usize, series: &'a Survey) -> Result<Self> {
        if block >= plan.blocks.len() {
            let expected = "one of the plan's, counted from 0";
            return Err(Error::parameter("block", format!("{block} of {}", plan.blocks.len()), expected));
        }
        check_series(plan, series)?;
        Ok(Self { plan, hash: plan.hash()?, block, series })
    }

    /// The checkpoint of this job, at a path.
    pub fn checkpoint(&self, path: PathBuf) -> Checkpoint {
        self.checkpoint_as(path, "")
    }

    /// The checkpoint of a part of this job.
    fn checkpoint_as(&self, path: PathBuf, part: &str) -> Checkpoint {
        let identity = [self.hash.as_str(), &self.block.to_string(), self.series.fingerprint(), part];
        Checkpoint::new(path, &identity)
    }

    /// The images of the block, as the model expects them.
    ///
    /// # Errors
    /// As [`Source::rows`] and [`crate::plan::Spec::prepare`].
    pub fn images(&self) -> Result<Projections> {
        let block = &self.plan.blocks[self.block];
        self.plan.windows_of(block, self.images_of(block.rows.clone())?)
    }

    /// Reconstructs the block, going on from a checkpoint if there is one.
    ///
    /// # Errors
    /// Those of reading, of the plan and of the checkpoint.
    pub fn reconstruct(
        &self,
        checkpoint: Option<&Checkpoint>,
        told: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Volume> {
        let mut watch = Kept { checkpoint, told };
        self.plan.reconstruct(self.block, &self.images()?, &mut Whole, &mut watch)
    }

    /// Reconstructs the whole as one of several ranks, which all have the series; the volume is at rank 0. No checkpoint is
    /// kept: a run that breaks off begins anew, and ends in the same bits.
    ///
    /// # Errors
    /// Those of reading and of [`Plan::reconstruct_among`].
    pub fn reconstruct_among<C: Comm>(&self, comms: [C; 2]) -> Result<Option<Volume>> {
        self.plan.reconstruct_among(comms, |rows| self.images_of(rows))
    }

    /// Writes the volume with its origin.
    ///
    /// # Errors
    /// As [`io::write`].
    pub fn write(&self, volume: &Volume, path: &Path, order: Order) -> Result<()> {
        io::write(path, volume, &self.output(order))
    }

    fn output(&self, order: Order) -> Output {
        let mut output = Output::new(Content::Volume, self.plan.spec.voxel_angstrom);
        output.order = order;
        output.labels = self.labels();
        output
    }

    /// Whether a file is this job's result: its labels say so. Files appear whole or not at all.
    pub fn is_done(&self, path: &Path) -> bool {
        Source::open(path).is_ok_and(|reader| reader.labels() == self.labels())
    }

    /// Where the result comes from.
    pub fn labels(&self) -> Vec<String> {
        let mut labels = labels(self.plan, &self.hash);
        if self.plan.spec.mode != (Mode::Exact {}) {
            labels.push(format!("{BLOCK}{} of {}", self.block, self.plan.blocks.len()));
        }
        labels
    }
}

fn labels(plan: &Plan, hash: &str) -> Vec<String> {
    let what = format!("Parthood {} {}", plan.version, plan.spec.summary());
    vec![what.chars().take(80).collect(), format!("{PLAN}{hash}"), format!("{PROCESSOR}{}", plan.processor)]
}

/// Fails unless a series is the one that a plan was made for.
///
/// # Errors
/// [`Error::Plan`] for another one, [`Error::Content`] for one of another extent, or with values that cannot be.
fn check_series(plan: &Plan, series: &Survey) -> Result<()> {
    let (spec, shape, path) = (&plan.spec, series.shape(), series.path());
    for (what, found, expected) in [
        ("the number of images", shape.planes, spec.images()),
        ("the number of rows", shape.rows, spec.volume.rows),
        ("the number of columns", shape.columns, spec.pixels),
    ] {
        if found != expected {
            return Err(content(path, what, found, format!("{expected}, as the plan says")));
        }
    }
    if plan.series.as_ref().is_some_and(|known| known != series.fingerprint()) {
        let why = format!("it was made for another series than {}; plan again", path.display());
        return Err(Error::Plan { why });
    }
    spec.contrast.check_series(series)
}

/// Tells of the progress and keeps a checkpoint.
struct Kept<'a> {
    checkpoint: Option<&'a Checkpoint>,
    told: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl Watch for Kept<'_> {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        (self.told)(progress)
    }

    fn resume(&mut self) -> Result<Option<State>> {
        self.checkpoint.map_or(Ok(None), Checkpoint::load)
    }

    fn keep(&mut self, iterations: usize, scalars: &[f64], stacks: &[&Stack]) -> Result<()> {
        self.checkpoint.map_or(Ok(()), |checkpoint| checkpoint.save(iterations, scalars, stacks))
    }
}
