//! Carrying out a plan: the one place where a solver is called for it, for the whole, for a part, and for a patch.

use super::{Block, Mode, Model, Plan, Solver, block, crop_columns, exterior};
use crate::comm::{Comm, threads};
use crate::decompose::{Part, partition};
use crate::project::Joseph;
use crate::solve::{
    Data, Objective, OrderedSubsets, Progress, Proximal, Rows, Run, Sirt, Watch, Whole, cgls,
    ordered_subsets, proximal, sirt, wbp,
};
use crate::wave::{
    Everywhere, Here, InOwnWindows, InWindows, OwnWindows, Pooled, Scattering, Series, Setup, Tilts, Windows,
    serve_tilts,
};
use crate::{Error, Projections, Result, Shape, Stack, Tilt, Volume};
use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, PoisonError};

impl Plan {
    /// Reconstructs a block from its images, or the rows of it that these images have.
    ///
    /// In exact mode there is one block; a worker gives the images of its rows and tells through `rows` of the others.
    /// Waves need all rows in one place. In patch mode a block is reconstructed apart, from [`Plan::images_of`] it, with
    /// `rows` the [`crate::solve::Whole`].
    ///
    /// # Errors
    /// [`Error::Parameter`] for a block that there is not, [`Error::Shape`] if the images are not a block's, and the errors
    /// of the rows and of the watch.
    pub fn reconstruct(
        &self,
        block: usize,
        images: &Projections,
        rows: &mut dyn Rows,
        watch: &mut dyn Watch,
    ) -> Result<Volume> {
        let Some(block) = self.blocks.get(block) else {
            return Err(Error::parameter("block", block, "one of the plan's"));
        };
        let Shape { planes, .. } = self.spec.volume;
        let shape = Shape { planes, rows: images.shape().rows, columns: block.columns.len() };
        let mut run = Run { iterations: self.spec.iterations, rows, watch };
        match &self.spec.model {
            Model::Linear => self.by_rays(block, images, shape, &mut run),
            Model::Multislice(model) => {
                let setup = model.setup(&self.spec, block);
                if let Mode::Window { core, halo } = self.spec.mode {
                    return self.by_windows(&setup, images, [core, halo], &mut run);
                }
                let series = Series::new(setup, images, None)?;
                self.by_waves(&series, Here, Stack::zeros(series.setup().volume), &mut run)
            }
        }
    }

    fn by_windows(
        &self,
        setup: &Setup,
        images: &Projections,
        [core, halo]: [usize; 2],
        run: &mut Run<'_>,
    ) -> Result<Volume> {
        let rows = setup.volume.rows;
        let windows = Windows::new(setup, images, None, &block::cuts(rows, core), halo.min(rows))?;
        let subsets = self.spec.subsets();
        let subsets: Vec<InWindows<'_>> =
            subsets.iter().map(|shots| InWindows { windows: &windows, shots }).collect();
        self.by_steps(&subsets, Stack::zeros(setup.volume), run)
    }

    fn by_rays(
        &self,
        block: &Block,
        images: &Projections,
        shape: Shape,
        run: &mut Run<'_>,
    ) -> Result<Volume> {
        let tilts: Vec<Tilt> = block.windows.iter().map(|window| window.tilt).collect();
        let joseph = |tilts: &[Tilt]| {
            Joseph::new(self.spec.volume.planes, block.columns.len(), block.window_columns, tilts)
        };
        let projector = joseph(&tilts)?;
        let start = || Stack::zeros(shape);
        let data = Data { projector: &projector, images };
        match self.spec.solver {
            Solver::Wbp { filter } => wbp(&projector, &tilts, images, filter),
            Solver::Sirt { relaxation } => {
                let positive = self.spec.prior.positive;
                sirt(data, start(), Sirt { relaxation, positive }, run)
            }
            Solver::Cgls {} => cgls(data, start(), run),
            Solver::Proximal { .. } => self.by_steps(&[data], start(), run),
            Solver::OrderedSubsets { .. } => {
                let part = |subset: Vec<usize>| {
                    let tilts: Vec<Tilt> = subset.iter().map(|index| tilts[*index]).collect();
                    Ok((joseph(&tilts)?, images.planes(&subset)?))
                };
                let parts = self.spec.subsets().into_iter().map(part).collect::<Result<Vec<_>>>()?;
                let subsets: Vec<Data<'_>> =
                    parts.iter().map(|(projector, images)| Data { projector, images }).collect();
                self.by_steps(&subsets, start(), run)
            }
        }
    }

    fn by_waves<T: Tilts>(
        &self,
        series: &Series,
        tilts: T,
        start: Volume,
        run: &mut Run<'_>,
    ) -> Result<Volume> {
        let tilts = Mutex::new(tilts);
        let subsets = self.spec.subsets().into_iter();
        let subsets =
            subsets.map(|shots| Scattering::new(series, shots, &tilts)).collect::<Result<Vec<_>>>()?;
        self.by_steps(&subsets, start, run)
    }

    /// Reconstructs the whole as one of several ranks, each of which holds some of its rows: of rays it does its own, of waves
    /// all tilts in turns ([`Everywhere`]), in window mode its windows. Two connections with the same ranks are needed, one for
    /// rows and one for tilts. `images(rows)` are the prepared images of some rows: its own, or of waves all. Rank 0 gets the
    /// volume, the same as [`Plan::reconstruct`]'s in every bit, for any number of ranks; nothing is there for the others.
    ///
    /// # Errors
    /// [`Error::Plan`] in patch mode, whose blocks are jobs of their own, [`Error::Parameter`] if there are more ranks than
    /// slabs of sixteen rows or windows, or for windows without rows of vacuum, [`Error::Lost`] if another rank has failed, and
    /// as [`Plan::reconstruct`].
    pub fn reconstruct_among<C: Comm>(
        &self,
        [rows, tilts]: [C; 2],
        images: impl Fn(Range<usize>) -> Result<Projections>,
    ) -> Result<Option<Volume>> {
        if let (Mode::Window { core, halo }, Model::Multislice(model), [block]) =
            (self.spec.mode, &self.spec.model, &self.blocks[..])
        {
            return self.windows_among(&model.setup(&self.spec, block), rows, [core, halo], &images);
        }
        let block = self.whole()?;
        let (ranks, volume) = (rows.size(), self.spec.volume);
        let ranges = partition(volume.rows, ranks);
        if ranges.len() < ranks {
            let value = format!("{ranks} for {} rows", volume.rows);
            return Err(Error::parameter("number of ranks", value, "at most one for every sixteen rows"));
        }
        let mut part = Part::new(rows, ranges.clone())?;
        let mut silent = |_: Progress| ControlFlow::Continue(());
        let own = match &self.spec.model {
            Model::Linear => self.reconstruct(0, &images(part.range())?, &mut part, &mut silent)?,
            Model::Multislice(model) => {
                let series = Series::new(model.setup(&self.spec, block), &images(0..volume.rows)?, None)?;
                let start = Stack::zeros(volume.with_rows(part.range().len()));
                let tilts = Everywhere::new(tilts, &ranges)?;
                let iterations = self.spec.iterations;
                let mut run = Run { iterations, rows: &mut part, watch: &mut silent };
                self.by_waves(&series, tilts, start, &mut run)?
            }
        };
        part.gather(&own)
    }

    /// The same in window mode: every rank has some windows, as equal in number as can be.
    fn windows_among<C: Comm>(
        &self,
        setup: &Setup,
        comm: C,
        [core, halo]: [usize; 2],
        images: &dyn Fn(Range<usize>) -> Result<Projections>,
    ) -> Result<Option<Volume>> {
        let (rows, ranks) = (setup.volume.rows, comm.size());
        let count = rows.div_ceil(core);
        if ranks > count {
            let value = format!("{ranks} for {count} windows");
            return Err(Error::parameter("number of ranks", value, "at most one for every window"));
        }
        let border = |rank: usize| (count * rank / ranks * core).min(rows);
        let mut part = Part::new(comm, (0..ranks).map(|rank| border(rank)..border(rank + 1)).collect())?;
        let cuts = block::cuts(rows, core);
        let windows = OwnWindows::new(setup, images, &part.range(), &cuts, halo.min(rows))?;
        let subsets = self.spec.subsets();
        let subsets: Vec<InOwnWindows<'_>> =
            subsets.iter().map(|shots| InOwnWindows { windows: &windows, shots }).collect();
        let start = Stack::zeros(setup.volume.with_rows(part.range().len()));
        let mut silent = |_: Progress| ControlFlow::Continue(());
        let mut run = Run { iterations: self.spec.iterations, rows: &mut part, watch: &mut silent };
        let own = self.by_steps(&subsets, start, &mut run)?;
        part.gather(&own)
    }

    /// Reconstructs the whole by so many parts of it, each in a thread that holds its rows alone and exchanges messages with
    /// the others ([`Plan::reconstruct_among`]). `images` are prepared, of all rows. Equal to [`Plan::reconstruct`] in every
    /// bit, for any number of parts.
    ///
    /// # Errors
    /// As [`Plan::reconstruct_among`].
    pub fn reconstruct_by_parts(&self, images: &Projections, parts: usize) -> Result<Volume> {
        let tilts: Vec<Mutex<Option<threads::Thread>>> =
            threads::connect(parts).into_iter().map(|comm| Mutex::new(Some(comm))).collect();
        let results = threads::run(parts, |rows| {
            let mut second = tilts[rows.rank()].lock().unwrap_or_else(PoisonError::into_inner);
            let Some(tilts) = second.take() else { return Err(Error::Lost { rank: rows.rank() }) };
            drop(second);
            self.reconstruct_among([rows, tilts], |rows| images.rows(rows))
        });
        first_of(results)
    }

    /// The one block of a plan in exact mode.
    fn whole(&self) -> Result<&Block> {
        match (self.spec.mode, &self.blocks[..]) {
            (Mode::Exact {}, [block]) => Ok(block),
            _ => Err(Error::Plan {
                why: "ranks and workers share a whole, and this plan has blocks, which are jobs of their own, or windows".to_owned(),
            }),
        }
    }

    /// Reconstructs the whole by workers in this process that exchange messages and nothing else: rows of a linear model,
    /// tilts of waves. Equal to [`Plan::reconstruct`] in every bit, for any number of workers.
    ///
    /// # Errors
    /// [`Error::Plan`] unless the plan is in exact mode, and as [`Plan::reconstruct`].
    pub fn reconstruct_by_workers(&self, images: &Projections, workers: usize) -> Result<Volume> {
        let block = self.whole()?;
        let silent = || |_: Progress| ControlFlow::Continue(());
        let results = match &self.spec.model {
            Model::Linear => {
                let ranges = partition(images.shape().rows, workers);
                threads::run(ranges.len(), |comm| {
                    let mut part = Part::new(comm, ranges.clone())?;
                    let own = images.rows(part.range())?;
                    let own = self.reconstruct(0, &own, &mut part, &mut silent())?;
                    part.gather(&own)
                })
            }
            Model::Multislice(model) => {
                let series = Series::new(model.setup(&self.spec, block), images, None)?;
                threads::run(workers.max(1) + 1, |mut comm| {
                    if comm.rank() > 0 {
                        return serve_tilts(&series, &mut comm).map(|()| None);
                    }
                    let tilts = Pooled::new(comm, |_, _| None)?;
                    let mut watch = silent();
                    let iterations = self.spec.iterations;
                    let mut run = Run { iterations, rows: &mut Whole, watch: &mut watch };
                    self.by_waves(&series, tilts, Stack::zeros(series.setup().volume), &mut run).map(Some)
                })
            }
        };
        first_of(results)
    }

    /// The solvers that need no more than gradients; of one subset, or of several.
    fn by_steps(&self, subsets: &[impl Objective], start: Volume, run: &mut Run<'_>) -> Result<Volume> {
        let (lipschitz, prior, momentum_max) = (self.lipschitz, self.spec.prior, self.momentum);
        match (self.spec.solver, subsets) {
            (Solver::OrderedSubsets { relaxation, .. }, _) => {
                let options = OrderedSubsets { lipschitz, relaxation, momentum_max, prior };
                ordered_subsets(subsets, start, options, run)
            }
            (Solver::Proximal { momentum }, [whole]) => {
                proximal(whole, start, Proximal { lipschitz, momentum, prior }, run)
            }
            (solver, _) => {
                let expected = "one of gradient steps or ordered subsets";
                Err(Error::parameter("solver", format!("{solver:?}"), expected))
            }
        }
    }

    /// The images of a block of this plan, from prepared ones of the whole.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a block that there is not, and as [`Plan::windows_of`].
    pub fn images_of(&self, block: usize, images: &Projections) -> Result<(&Block, Projections)> {
        let Some(block) = self.blocks.get(block) else {
            return Err(Error::parameter("block", block, "one of the plan's"));
        };
        Ok((block, self.windows_of(block, images.rows(block.rows.clone())?)?))
    }

    /// The windows of a block, from the prepared images of its rows: without what lies beside its columns as far as the
    /// plan says so, and cropped.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::Parameter`] if the images are not of the block's rows.
    pub fn windows_of(&self, block: &Block, mut rows: Projections) -> Result<Projections> {
        if let Mode::Patch { exterior: bin, .. } = self.spec.mode
            && bin > 1
            && block.columns.len() < self.spec.volume.columns
        {
            exterior::subtract(self, block, &mut rows, bin)?;
        }
        crop_columns(rows, block, self.spec.contrast.outside())
    }
}

/// The volume of the rank that has it; an error that is not the loss of another rank comes before those that are.
fn first_of(results: Vec<Result<Option<Volume>>>) -> Result<Volume> {
    let is_loss = |result: &Result<Option<Volume>>| matches!(result, Err(Error::Lost { .. }));
    let (lost, others): (Vec<_>, Vec<_>) = results.into_iter().partition(is_loss);
    let mut found = None;
    for result in others.into_iter().chain(lost) {
        found = found.or(result?);
    }
    found.ok_or(Error::Lost { rank: 0 })
}
