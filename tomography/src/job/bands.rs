//! More volume than memory: bands of rows, one after the other, from disk, to the same bits.
//!
//! The rows of a linear problem meet in few places: where total variation looks at its neighbours, and where a step
//! depends on the loss over all rows. Two kinds of jobs follow.
//!
//! *Apart*: without such a place a band goes through all its iterations by itself, and its rows are done.
//!
//! *In step*: every iteration is done in two halves over all bands. The first reads a band's images and the point where
//! the gradient is taken, and leaves the volume after the gradient step on disk; the sums of all rows give the loss. The
//! second reads that volume with the neighbours' rows, applies the prior, and leaves the next iterate. It is the solver's
//! arithmetic on the rows that are in memory, so its bits are the whole's.
//!
//! Conjugate gradients go in step by three halves (`conjugate`). Waves need all rows of a tilt's slices at a time, and no
//! more: their gradient is collected on disk (`waves`), and the rest of the step is that of rays.
//!
//! What is on disk lies in a folder beside the result: iterates twice, by even and odd steps, so that a step that is
//! interrupted leaves the one before it, and a small file that says which of them counts, written last. The folder is
//! removed with the last byte of the result in place.

use super::Job;
use super::spill::Spilled;
use crate::io::checkpoint::Checkpoint;
use crate::io::mrc::Order;
use crate::io::{self, Lock, Source, Survey, refused};
use crate::plan::{Model, Plan, Solver};
use crate::project::Joseph;
use crate::solve::{
    Data, Descent, Iterate, Momentum, Objective, Prior, Progress, Rows, State, Watch, Whole, step_of,
};
use crate::sum::tree_sum;
use crate::wave::Misfit;
use crate::{Error, LANES, Projections, Result, Shape, Stack, Tilt};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

/// Bytes that are reckoned besides those that are counted: an allocator cannot use again all that is given back to it.
/// The volume of a band comes on top, twice for bands that are done one after the other and once for conjugate gradients, where
/// volumes and images take turns in the same places (measured with glibc, which keeps freed blocks of up to 32 MiB).
const KEPT_BACK: u64 = 16 << 20;

/// How a job that is larger than memory is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bands {
    /// Rows of a band; a multiple of sixteen.
    pub rows: usize,
    /// How many bands there are.
    pub count: usize,
    /// Bytes at the peak.
    pub bytes: u64,
    /// Bytes on disk, besides the result.
    pub disk_bytes: u64,
    /// Whether bands go through their iterations by themselves.
    pub apart: bool,
    /// Tilts of waves that are in memory at the same time.
    pub at_once: usize,
}

/// How far a job in bands has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandProgress {
    /// The band that is being done, if each goes by itself.
    pub band: Option<usize>,
    /// The iteration, and the loss: of the band, or of all rows.
    pub progress: Progress,
}

impl Plan {
    /// How the whole is done from a series within so many bytes on so many threads.
    ///
    /// # Errors
    /// [`Error::Parameter`] if not even sixteen rows fit, of waves those and one tilt.
    pub fn bands(&self, bytes: u64, threads: usize, series: &Survey) -> Result<Bands> {
        let apart = self.rows_are_apart();
        let whole = self.spec.volume.rows.div_ceil(LANES);
        let need = |slabs: usize, at_once: usize| {
            let volume = 4 * self.spec.volume.with_rows(slabs * LANES).len() as u64;
            let counted = self.band_bytes(slabs * LANES, threads, apart) + self.wave_bytes(at_once, threads);
            KEPT_BACK
                + self.reading_bytes(slabs * LANES, series)
                + match self.spec.solver {
                    _ if apart => counted + 2 * volume,
                    Solver::Cgls {} => counted + counted / 10 + volume,
                    _ => counted + counted / 10,
                }
        };
        // More tilts than threads gain nothing.
        let most = threads.clamp(1, self.spec.tilts.len());
        let at_once = (1..=most).rev().find(|at_once| need(1, *at_once) <= bytes);
        let Some(at_once) = at_once else {
            let expected = "more: sixteen rows and what they need do not fit";
            let value = format!("{bytes} ({} needed)", need(1, 1));
            return Err(Error::parameter("memory in bytes", value, expected));
        };
        // Memory grows with the rows.
        let (mut fits, mut too_many) = (1, whole + 1);
        while too_many - fits > 1 {
            let middle = usize::midpoint(fits, too_many);
            if need(middle, at_once) <= bytes { fits = middle } else { too_many = middle }
        }
        // As many bands, and all of about one size.
        let count = whole.div_ceil(fits);
        let slabs = whole.div_ceil(count);
        let size = |shape: Shape| 4 * shape.with_rows(whole * LANES).len() as u64;
        let (volume, images) = (size(self.spec.volume), size(self.images_shape()));
        let disk_bytes = match (apart, self.spec.solver, &self.spec.model) {
            (true, ..) => volume,
            (_, Solver::Cgls {}, _) => 5 * volume + 3 * images,
            (.., Model::Linear) => 5 * volume + images,
            _ => 5 * volume,
        };
        Ok(Bands {
            rows: slabs * LANES,
            count: whole.div_ceil(slabs),
            bytes: need(slabs, at_once),
            disk_bytes,
            apart,
            at_once,
        })
    }

    /// Whether rows never meet.
    fn rows_are_apart(&self) -> bool {
        match self.spec.solver {
            Solver::Cgls {} | Solver::Proximal { momentum: Momentum::Restarted } => false,
            _ => self.spec.prior.tv.is_none() && self.spec.model == Model::Linear,
        }
    }
}

/// The rows of bands whose sums are over all bands: they are collected, and added later.
#[derive(Default)]
pub(super) struct Leaves(pub(super) Vec<f64>);

impl Rows for Leaves {
    fn sum(&mut self, leaves: &[f64]) -> Result<f64> {
        self.0.extend(leaves);
        Ok(0.0)
    }

    fn beside(&mut self, _: &Stack, _: usize) -> Result<[Option<Stack>; 2]> {
        Ok([None, None])
    }
}

/// The rows of a band whose neighbours are on disk.
struct Beside<'a> {
    all: &'a Spilled,
    own: Range<usize>,
}

impl Rows for Beside<'_> {
    fn sum(&mut self, leaves: &[f64]) -> Result<f64> {
        Ok(tree_sum(leaves))
    }

    fn beside(&mut self, _: &Stack, reach: usize) -> Result<[Option<Stack>; 2]> {
        let before = self.own.start.saturating_sub(reach)..self.own.start;
        let after = self.own.end..(self.own.end + reach).min(self.all.shape().rows);
        let read = |rows: Range<usize>| (!rows.is_empty()).then(|| self.all.rows(rows)).transpose();
        Ok([read(before)?, read(after)?])
    }
}

/// An [`Iterate`] on disk.
struct OnFile {
    volume: Spilled,
    ahead: Spilled,
}

/// The numbers that go from one step over all bands to the next.
#[derive(Debug, Clone, Copy)]
struct Carried {
    /// That of the momentum, as in [`Iterate`].
    t: f64,
    /// The misfit of the last step.
    last: f64,
    /// The misfits of this iteration's steps.
    sum: f64,
    /// The misfit of the first iteration, infinite before that.
    first: f64,
}

impl Carried {
    const START: Self = Self { t: 1.0, last: f64::INFINITY, sum: 0.0, first: f64::INFINITY };

    const fn scalars(&self) -> [f64; 4] {
        [self.t, self.last, self.sum, self.first]
    }

    /// What [`Carried::scalars`] gave.
    fn from_scalars(scalars: &[f64]) -> Self {
        let numbers = <[f64; 4]>::try_from(scalars);
        numbers.map_or(Self::START, |[t, last, sum, first]| Self { t, last, sum, first })
    }
}

/// Tells of a band, and keeps its checkpoint.
struct Told<'a> {
    band: usize,
    checkpoint: Checkpoint,
    tell: &'a mut dyn FnMut(BandProgress),
}

impl Watch for Told<'_> {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        (self.tell)(BandProgress { band: Some(self.band), progress });
        ControlFlow::Continue(())
    }

    fn resume(&mut self) -> Result<Option<State>> {
        self.checkpoint.load()
    }

    fn keep(&mut self, iterations: usize, scalars: &[f64], stacks: &[&Stack]) -> Result<()> {
        self.checkpoint.save(iterations, scalars, stacks)
    }
}

/// A folder of what does not fit into memory.
pub struct OnDisk<'a, 'b> {
    pub(super) job: &'a Job<'b>,
    pub(super) bands: Bands,
    folder: PathBuf,
    pub(super) state: Checkpoint,
    _lock: Lock,
}

impl<'a, 'b> OnDisk<'a, 'b> {
    /// A job whose plan is in exact mode, done in bands, with what it needs on disk in a folder of its own, which no other
    /// process works in meanwhile.
    ///
    /// # Errors
    /// [`Error::Busy`] if one does, [`Error::File`] if the folder cannot be made.
    pub fn new(job: &'a Job<'b>, bands: Bands, folder: PathBuf) -> Result<Self> {
        let lock = Lock::of(&folder)?;
        let state = job.checkpoint_as(folder.join("state"), &format!("bands of {}", bands.rows));
        Ok(Self { job, bands, folder, state, _lock: lock })
    }

    /// Forgets what was kept of an earlier run.
    ///
    /// # Errors
    /// [`Error::File`] if the system refuses.
    pub fn forget(&self) -> Result<()> {
        self.state.remove()?;
        (0..self.bands.count).try_for_each(|band| self.band_checkpoint(band).remove())
    }

    /// Reconstructs, going on from what an earlier run left, and writes the result.
    ///
    /// # Errors
    /// Those of reading, solving and writing; what is on disk stays for another attempt.
    pub fn reconstruct(&self, out: &Path, order: Order, told: &mut dyn FnMut(BandProgress)) -> Result<()> {
        let volume = match self.job.plan.spec.solver {
            _ if self.bands.apart => self.apart(told)?,
            Solver::Cgls {} => self.conjugate(told)?,
            _ => self.in_step(told)?,
        };
        let output = self.job.output(order);
        let shape = volume.shape();
        io::write_sections(out, shape, &output, &mut |section, values| match order {
            Order::Planes => volume.plane(section, values),
            Order::Rows => {
                let row = volume.rows(section..section + 1)?;
                for (line, values) in values.chunks_exact_mut(shape.columns).enumerate() {
                    let (plane, _) = order.place(section, line, shape.planes);
                    values
                        .iter_mut()
                        .enumerate()
                        .for_each(|(column, value)| *value = row.at(plane, 0, column));
                }
                Ok(())
            }
        })?;
        std::fs::remove_dir_all(&self.folder).map_err(refused(&self.folder, "remove the folder"))
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.job.plan.spec.volume.rows, self.bands.rows);
        (0..rows).step_by(step).map(move |first| first..(first + step).min(rows))
    }

    fn band_checkpoint(&self, band: usize) -> Checkpoint {
        self.job.checkpoint_as(self.folder.join("band"), &format!("band {band} of {}", self.bands.rows))
    }

    /// A stack of the folder; a new one unless an earlier run has left it.
    pub(super) fn spilled(&self, name: &str, shape: Shape, is_new: bool) -> Result<Spilled> {
        let path = self.folder.join(name);
        if is_new { Spilled::create(&path, shape) } else { Spilled::open(&path, shape) }
    }

    /// Bands one after the other, each through all iterations.
    fn apart(&self, told: &mut dyn FnMut(BandProgress)) -> Result<Spilled> {
        let plan = self.job.plan;
        let kept = self.state.load()?;
        let volume = self.spilled("volume", plan.spec.volume, kept.is_none())?;
        let done = kept.map_or(0, |state| state.iterations);
        for (band, rows) in self.ranges().enumerate().skip(done) {
            let checkpoint = self.band_checkpoint(band);
            let images = self.job.images_of(rows.clone())?;
            let mut watch = Told { band, checkpoint, tell: &mut *told };
            let part = plan.reconstruct(0, &images, &mut Whole, &mut watch)?;
            volume.set_rows(rows.start, &part)?;
            volume.sync()?;
            // First what is done, then that it is done.
            self.state.save(band + 1, &[], &[])?;
            watch.checkpoint.remove()?;
        }
        Ok(volume)
    }

    /// All bands through one iteration after the other.
    fn in_step(&self, told: &mut dyn FnMut(BandProgress)) -> Result<Spilled> {
        let spec = &self.job.plan.spec;
        let kept = self.state.load()?;
        let is_new = kept.is_none();
        let subsets = spec.subsets();
        let series = self.series()?;
        let steps = Steps::of(self.job.plan, &subsets)?;
        let [even, odd] = ["0", "1"].map(|side| self.iterate(side, is_new));
        let sides = [even?, odd?];
        let next = self.spilled("next", spec.volume, true)?;
        let images = if series.is_none() { self.spill_images(&subsets, is_new)? } else { Vec::new() };
        let (mut done, mut carried) = kept
            .map_or((0, Carried::START), |state| (state.iterations, Carried::from_scalars(&state.scalars)));
        let mut descent = Descent::from(carried.first);
        if is_new {
            self.state.save(0, &carried.scalars(), &[])?;
        }
        // A step is one subset of one iteration; without subsets it is an iteration.
        let mut outside = 0.0_f64;
        while done < spec.iterations * subsets.len() {
            let (iteration, subset) = (done / subsets.len(), done % subsets.len());
            let (from, to) = (&sides[done % 2], &sides[(done + 1) % 2]);
            let misfit = match &series {
                Some(series) => self.wave_step(series, &subsets[subset], [&from.ahead, &next], steps.step)?,
                None => self.ray_step(&steps, subset, [&from.ahead, &next, &images[subset]])?,
            };
            let is_first = subset == 0;
            let is_last = subset + 1 == subsets.len();
            outside = if is_first { misfit.energy_outside } else { outside.max(misfit.energy_outside) };
            let sum = if is_first { misfit.loss } else { carried.sum + misfit.loss };
            if is_last {
                let progress = Progress { iteration, loss: sum, energy_outside: outside };
                told(BandProgress { band: None, progress });
                descent.take(progress)?;
            }
            let is_restarted = steps.restarts && misfit.loss > carried.last;
            let t = if is_restarted { 1.0 } else { carried.t };
            let t = self.advance(&steps, is_last, &next, [from, to], t)?;
            done += 1;
            carried = Carried { t, last: misfit.loss, sum, first: descent.first };
            self.state.save(done, &carried.scalars(), &[])?;
        }
        let [even, odd] = sides;
        Ok(if done % 2 == 0 { even.volume } else { odd.volume })
    }

    /// One of the two iterates that take turns.
    fn iterate(&self, side: &str, is_new: bool) -> Result<OnFile> {
        let named = |name: &str| self.spilled(&format!("{name}.{side}"), self.job.plan.spec.volume, is_new);
        Ok(OnFile { volume: named("volume")?, ahead: named("ahead")? })
    }

    /// Makes the next iterate of the one before and of the volume after the gradient step, and gives the next number of
    /// its momentum.
    fn advance(
        &self,
        steps: &Steps<'_>,
        is_last: bool,
        next: &Spilled,
        [from, to]: [&OnFile; 2],
        t: f64,
    ) -> Result<f64> {
        let mut after = t;
        for rows in self.ranges() {
            let mut beside = Beside { all: next, own: rows.clone() };
            let new = steps.prior(is_last).apply(next.rows(rows.clone())?, &mut beside)?;
            let (volume, ahead) = (from.volume.rows(rows.clone())?, from.ahead.rows(rows.clone())?);
            let mut iterate = Iterate { volume, ahead, t };
            iterate.advance(new, |full| steps.momentum(full));
            to.volume.set_rows(rows.start, &iterate.volume)?;
            to.ahead.set_rows(rows.start, &iterate.ahead)?;
            after = iterate.t;
        }
        to.volume.sync()?;
        to.ahead.sync()?;
        Ok(after)
    }

    /// Leaves the volume after a gradient step for a subset of the images in `next`, and gives their misfit.
    fn ray_step(&self, steps: &Steps<'_>, subset: usize, files: [&Spilled; 3]) -> Result<Misfit> {
        let [ahead, next, images] = files;
        let mut leaves = Leaves::default();
        for rows in self.ranges() {
            let measured = images.rows(rows.clone())?;
            let new = steps.gradient_step(subset, ahead.rows(rows.clone())?, &measured, &mut leaves)?;
            next.set_rows(rows.start, &new)?;
        }
        Ok(Misfit::of_rays(0.5 * tree_sum(&leaves.0)))
    }

    /// The prepared images of each subset, in a file each.
    fn spill_images(&self, subsets: &[Vec<usize>], is_new: bool) -> Result<Vec<Spilled>> {
        let shape = self.job.plan.images_shape();
        let of = |(subset, images): (usize, &Vec<usize>)| {
            self.spilled(&format!("images.{subset}"), Shape { planes: images.len(), ..shape }, is_new)
        };
        let spilled = subsets.iter().enumerate().map(of).collect::<Result<Vec<_>>>()?;
        if is_new {
            for rows in self.ranges() {
                let images = self.job.images_of(rows.clone())?;
                for (spilled, subset) in spilled.iter().zip(subsets) {
                    spilled.set_rows(rows.start, &images.planes(subset)?)?;
                }
            }
            spilled.iter().try_for_each(Spilled::sync)?;
        }
        Ok(spilled)
    }
}

/// The steps of a plan's solver, as its functions in memory take them.
struct Steps<'a> {
    plan: &'a Plan,
    projectors: Vec<Joseph>,
    step: f32,
    restarts: bool,
}

impl<'a> Steps<'a> {
    fn of(plan: &'a Plan, subsets: &[Vec<usize>]) -> Result<Self> {
        let spec = &plan.spec;
        let Shape { planes, columns, .. } = spec.volume;
        let projector = |subset: &Vec<usize>| {
            let tilts: Vec<Tilt> = subset.iter().map(|index| spec.tilts[*index]).collect();
            Joseph::new(planes, columns, spec.pixels, &tilts)
        };
        let relaxation = match spec.solver {
            Solver::OrderedSubsets { relaxation, .. } => relaxation,
            _ => 1.0,
        };
        Ok(Self {
            plan,
            projectors: subsets.iter().map(projector).collect::<Result<_>>()?,
            step: step_of(relaxation, plan.lipschitz)?,
            restarts: spec.solver == Solver::Proximal { momentum: Momentum::Restarted },
        })
    }

    /// A band after a gradient step, before the prior; the squares of its rows go to the leaves.
    fn gradient_step(
        &self,
        subset: usize,
        ahead: Stack,
        images: &Projections,
        leaves: &mut Leaves,
    ) -> Result<Stack> {
        let mut gradient = Stack::zeros(ahead.shape());
        let data = Data { projector: &self.projectors[subset], images };
        data.gradient(&ahead, leaves, &mut gradient)?;
        let (step, mut new) = (self.step, ahead);
        new.update([&gradient], |value, [gradient]| value - step * gradient);
        Ok(new)
    }

    /// The prior of a step: total variation is imposed once per iteration.
    fn prior(&self, is_last: bool) -> Prior {
        let prior = self.plan.spec.prior;
        if is_last { prior } else { Prior { tv: None, ..prior } }
    }

    fn momentum(&self, full: f64) -> f64 {
        match self.plan.spec.solver {
            Solver::Proximal { momentum: Momentum::None } => 0.0,
            Solver::OrderedSubsets { .. } => full.min(self.plan.momentum),
            _ => full,
        }
    }
}

impl Job<'_> {
    /// The prepared images of some rows of the whole. Images that are aligned already are read as far as needed; others
    /// one at a time.
    pub(super) fn images_of(&self, rows: Range<usize>) -> Result<Projections> {
        let spec = &self.plan.spec;
        let mut reader = Source::open(self.series.path())?;
        if spec.alignment.places.is_empty() {
            return spec.prepare(reader.rows(Order::Planes, rows)?);
        }
        let shape = self.plan.images_shape();
        let mut images = Stack::zeros(shape.with_rows(rows.len()));
        let mut values = vec![0.0; shape.rows * shape.columns];
        for image in 0..shape.planes {
            reader.section(image, &mut values)?;
            let outside = spec.contrast.bare_beam();
            for row in rows.clone() {
                for column in 0..shape.columns {
                    let value = spec.alignment.places[image].value(&values, shape, [row, column]);
                    *images.at_mut(image, row - rows.start, column) = value.unwrap_or(outside);
                }
            }
        }
        spec.contrast.convert(&mut images)?;
        Ok(images)
    }
}
