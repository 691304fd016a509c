//! Conjugate gradients in bands: three halves of an iteration, each over all bands, with the sums of all rows between
//! them. What passes to the next iteration lies on disk twice, by even and odd iterations.

use super::OnDisk;
use super::bands::{BandProgress, Leaves};
use super::spill::Spilled;
use crate::project::{Joseph, Projector};
use crate::solve::{Data, Progress, Rows, misfit};
use crate::sum::tree_sum;
use crate::wave::Misfit;
use crate::{Result, Shape, Stack};

/// What an iteration starts from.
struct Files {
    volume: Spilled,
    direction: Spilled,
    residual: Spilled,
}

impl OnDisk<'_, '_> {
    /// [`crate::solve::cgls`] from disk: the same arithmetic on the same rows, and the same sums.
    pub(super) fn conjugate(&self, told: &mut dyn FnMut(BandProgress)) -> Result<Spilled> {
        let plan = self.job.plan;
        let spec = &plan.spec;
        let Shape { planes, columns, .. } = spec.volume;
        let projector = Joseph::new(planes, columns, spec.pixels, &spec.tilts)?;
        let kept = self.state.load()?;
        let is_new = kept.is_none();
        let side = |side: usize| {
            let named = |name: &str, shape| self.spilled(&format!("{name}.{side}"), shape, is_new);
            Ok(Files {
                volume: named("volume", spec.volume)?,
                direction: named("direction", spec.volume)?,
                residual: named("residual", plan.images_shape())?,
            })
        };
        let mut sides: [Files; 2] = [side(0)?, side(1)?];
        let gradient = self.spilled("gradient", spec.volume, true)?;
        let projected = self.spilled("projected", plan.images_shape(), true)?;
        let (mut done, mut length) = match kept {
            Some(state) => (state.iterations, state.scalars.first().copied().unwrap_or(0.0)),
            None => (0, self.fresh(&projector, &sides[0])?),
        };
        if is_new {
            self.state.save(0, &[length], &[])?;
        }
        while done < spec.iterations {
            let [even, odd] = &sides;
            let (from, to) = if done % 2 == 0 { (even, odd) } else { (odd, even) };
            let (loss, curvature) = self.curvature(&projector, from, &projected)?;
            told(BandProgress { band: None, progress: Progress::new(done, Misfit::of_rays(loss)) });
            if length == 0.0 || curvature == 0.0 {
                break;
            }
            let step = (length / curvature) as f32;
            let next = self.step(&projector, [from, to], [&gradient, &projected], step)?;
            let turn = (next / length) as f32;
            for rows in self.ranges() {
                let (gradient, mut direction) =
                    (gradient.rows(rows.clone())?, from.direction.rows(rows.clone())?);
                direction.update([&gradient], |direction, [gradient]| gradient + turn * direction);
                to.direction.set_rows(rows.start, &direction)?;
            }
            to.sync()?;
            (done, length) = (done + 1, next);
            self.state.save(done, &[length], &[])?;
        }
        sides.rotate_left(done % 2);
        let [Files { volume, .. }, _] = sides;
        Ok(volume)
    }

    /// The first residual and the first direction; the square of its length.
    fn fresh(&self, projector: &Joseph, to: &Files) -> Result<f64> {
        let mut leaves = Leaves::default();
        for rows in self.ranges() {
            let images = self.job.images_of(rows.clone())?;
            let start = Stack::zeros(self.job.plan.spec.volume.with_rows(rows.len()));
            let mut residual = Stack::zeros(images.shape());
            misfit(Data { projector, images: &images }, &start, &mut residual)?;
            residual.update([], |value, []| -value);
            let mut gradient = start;
            projector.back_project(&residual, &mut gradient)?;
            leaves.sum(&gradient.row_dots(&gradient))?;
            to.direction.set_rows(rows.start, &gradient)?;
            to.residual.set_rows(rows.start, &residual)?;
        }
        to.sync()?;
        Ok(tree_sum(&leaves.0))
    }

    /// The loss, and the square of the projected direction.
    fn curvature(&self, projector: &Joseph, from: &Files, projected: &Spilled) -> Result<(f64, f64)> {
        let (mut squares, mut leaves) = (Leaves::default(), Leaves::default());
        for rows in self.ranges() {
            let residual = from.residual.rows(rows.clone())?;
            squares.sum(&residual.row_dots(&residual))?;
            let mut images = residual;
            projector.project(&from.direction.rows(rows.clone())?, &mut images)?;
            leaves.sum(&images.row_dots(&images))?;
            projected.set_rows(rows.start, &images)?;
        }
        Ok((0.5 * tree_sum(&squares.0), tree_sum(&leaves.0)))
    }

    /// Goes a step along the direction; the square of the next gradient.
    fn step(
        &self,
        projector: &Joseph,
        [from, to]: [&Files; 2],
        [gradient, projected]: [&Spilled; 2],
        step: f32,
    ) -> Result<f64> {
        let mut leaves = Leaves::default();
        for rows in self.ranges() {
            let mut volume = from.volume.rows(rows.clone())?;
            let direction = from.direction.rows(rows.clone())?;
            volume.update([&direction], |value, [direction]| value + step * direction);
            to.volume.set_rows(rows.start, &volume)?;
            drop(direction);
            let mut residual = from.residual.rows(rows.clone())?;
            let images = projected.rows(rows.clone())?;
            residual.update([&images], |value, [projected]| value - step * projected);
            drop(images);
            to.residual.set_rows(rows.start, &residual)?;
            projector.back_project(&residual, &mut volume)?;
            leaves.sum(&volume.row_dots(&volume))?;
            gradient.set_rows(rows.start, &volume)?;
        }
        Ok(tree_sum(&leaves.0))
    }
}

impl Files {
    fn sync(&self) -> Result<()> {
        [&self.volume, &self.direction, &self.residual].into_iter().try_for_each(Spilled::sync)
    }
}
