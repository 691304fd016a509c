//! The gradient of waves from disk: a wave needs the slices of all rows, a row of the volume those of all tilts. So some
//! tilts at a time are turned band by band, computed, and added band by band to a gradient on disk; of the volume and of
//! all that a solver keeps no more than a band is in memory. Each slab's gradient is added in the order of the tilts, as
//! in memory.

use super::OnDisk;
use super::spill::Spilled;
use crate::plan::Model;
use crate::wave::{Misfit, Series, total};
use crate::{Result, Slab, Stack};
use rayon::prelude::*;

impl OnDisk<'_, '_> {
    /// The series of a plan of waves, with its images.
    pub(super) fn series(&self) -> Result<Option<Series>> {
        let plan = self.job.plan;
        let (Model::Multislice(model), [block]) = (&plan.spec.model, &plan.blocks[..]) else {
            return Ok(None);
        };
        Series::new(model.setup(&plan.spec, block), &self.job.images()?, None).map(Some)
    }

    /// Leaves the volume after a gradient step of some shots in `next`, and gives their misfit.
    pub(super) fn wave_step(
        &self,
        series: &Series,
        shots: &[usize],
        [ahead, next]: [&Spilled; 2],
        step: f32,
    ) -> Result<Misfit> {
        for rows in self.ranges() {
            next.set_rows(rows.start, &Stack::zeros(next.shape().with_rows(rows.len())))?;
        }
        let mut misfits: Vec<Misfit> = Vec::with_capacity(shots.len());
        for shots in shots.chunks(self.bands.at_once) {
            let mut beams: Vec<Vec<Slab>> = vec![Vec::new(); shots.len()];
            for rows in self.ranges() {
                let band = ahead.rows(rows)?;
                for (shot, beams) in shots.iter().zip(&mut beams) {
                    beams.par_extend(band.slabs().par_iter().map(|slab| series.turn(*shot, slab)));
                }
            }
            let responses =
                shots.par_iter().with_max_len(1).zip(beams).map(|(shot, beams)| series.respond(*shot, beams));
            let responses = responses.collect::<Result<Vec<_>>>()?;
            misfits.extend(responses.iter().map(|response| response.misfit));
            let mut first = 0;
            for rows in self.ranges() {
                let mut band = next.rows(rows.clone())?;
                band.slabs_mut().par_iter_mut().enumerate().for_each(|(index, sum)| {
                    for (shot, response) in shots.iter().zip(&responses) {
                        series.turn_back(*shot, &response.slabs[first + index], sum);
                    }
                });
                first += band.slabs().len();
                next.set_rows(rows.start, &band)?;
            }
        }
        for rows in self.ranges() {
            let (mut new, gradient) = (ahead.rows(rows.clone())?, next.rows(rows.clone())?);
            new.update([&gradient], |value, [gradient]| value - step * gradient);
            next.set_rows(rows.start, &new)?;
        }
        Ok(total(&misfits))
    }
}
