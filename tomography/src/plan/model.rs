//! How images come from a volume, and what stands in their pixels.

use super::{Block, Mode, Solver, Spec};
use crate::io::Survey;
use crate::project::{Joseph, Projector};
use crate::wave::{Focus, Loss, Microscope, Series, Setup, Shot, Tail, least_halo};
use crate::{Error, Projections, Result, Shape, Tilt, Volume};
use serde::{Deserialize, Serialize};

/// Rows of the needle on which the curvature of a wave's misfit is estimated: waves see the rows as a whole, but how
/// strongly they can respond shows in a few.
const NEEDLE_ROWS: usize = 24;
/// Iterations of that estimate.
const POWER_ITERATIONS: usize = 10;
/// The mean inner potential of a sheet of clay in volt, for an estimate of the phase.
const CLAY_VOLT: f64 = 17.0;
/// By how much it is raised, as it comes from below.
const MARGIN: f64 = 1.1;

/// How images come from a volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Model {
    /// Sums along straight rays: what is left of a wave if the sample is thin and weak, or for what is not a wave.
    #[default]
    Linear,
    /// Waves through slices.
    Multislice(Multislice),
}

/// What waves are computed with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multislice {
    /// The microscope.
    pub microscope: Microscope,
    /// The foci at which each tilt was recorded: as many for each tilt. The images of a tilt follow each other.
    pub foci: Vec<Vec<Focus>>,
    /// Planes of the turned volume that make a slice.
    pub bin: usize,
    /// Rows of vacuum beyond the last row; without them waves take both ends of the rows for neighbours.
    pub vacuum_rows: usize,
    /// The measure of misfit.
    pub loss: Loss,
    /// Tilts that are worked on at the same time, whatever the number of threads: memory is proportional to it.
    pub wave_of_tilts: usize,
    /// Whether to keep only every sqrt(S)-th wave and compute the others again; the same bits for less memory.
    pub checkpoints: bool,
}

/// What stands in the pixels of a series.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Contrast {
    /// Sums along rays, in units of voxel value times voxel side: for the linear model, as they are.
    #[default]
    Projection,
    /// Intensities of which the linear model wants `-ln(I / vacuum)`: absorption, or what is taken for it.
    Logarithm {
        /// The value of the bare beam, one number for the whole series.
        vacuum: f32,
    },
    /// Intensities, which waves are compared with as `I / vacuum`.
    Intensity {
        /// The value of the bare beam, one number for the whole series.
        vacuum: f32,
    },
}

impl Contrast {
    /// What a camera would show beside the sample.
    pub const fn bare_beam(self) -> f32 {
        match self {
            Self::Projection => 0.0,
            Self::Logarithm { vacuum } | Self::Intensity { vacuum } => vacuum,
        }
    }

    /// What the model expects there.
    pub const fn outside(self) -> f32 {
        match self {
            Self::Projection | Self::Logarithm { .. } => 0.0,
            Self::Intensity { .. } => 1.0,
        }
    }

    /// Turns pixels into what the model predicts.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for the logarithm of a pixel that is not positive.
    pub fn convert(self, images: &mut Projections) -> Result<()> {
        match self {
            Self::Projection => {}
            Self::Intensity { vacuum } => {
                let scale = 1.0 / vacuum;
                images.update([], |value, []| value * scale);
            }
            Self::Logarithm { vacuum } => {
                let shape = images.shape();
                // Lanes that are no rows are 0 and must stay so; a row has no other way to be told from them.
                *images = Projections::from_fn(shape, |image, row, column| {
                    -(images.at(image, row, column) / vacuum).ln()
                });
                images.check_finite("logarithm of the images")?;
            }
        }
        Ok(())
    }

    /// The largest value of a series as the model sees it, a multiple of the bare beam's; 1 where values are none of these.
    pub(super) fn brightest(self, survey: &Survey) -> f64 {
        match self {
            Self::Intensity { vacuum } => f64::from(survey.largest()) / f64::from(vacuum),
            Self::Projection | Self::Logarithm { .. } => 1.0,
        }
    }

    /// Fails for a series with values that are none of this contrast.
    ///
    /// # Errors
    /// [`Error::Content`] names the file and the place of the smallest value.
    pub fn check_series(self, survey: &Survey) -> Result<()> {
        match self {
            Self::Projection => Ok(()),
            Self::Logarithm { .. } => {
                survey.check_smallest(|value| value > 0.0, "above 0: its logarithm is taken")
            }
            Self::Intensity { .. } => {
                survey.check_smallest(|value| value >= 0.0, "not negative: it is an intensity")
            }
        }
    }

    fn check(self) -> Result<()> {
        match self {
            Self::Logarithm { vacuum } | Self::Intensity { vacuum }
                if !(vacuum.is_finite() && vacuum > 0.0) =>
            {
                Err(Error::parameter("value of the bare beam", vacuum, "finite and above 0"))
            }
            _ => Ok(()),
        }
    }
}

impl Model {
    /// Images of each tilt.
    pub fn images_per_tilt(&self) -> usize {
        match self {
            Self::Linear => 1,
            Self::Multislice(model) => model.foci.first().map_or(0, Vec::len),
        }
    }

    /// The images that a volume makes at these tilts: sums along rays in units of voxel value times voxel side, or
    /// intensities as multiples of the bare beam's, those of a tilt's foci one after the other.
    ///
    /// # Errors
    /// [`Error::Parameter`] for numbers that make no sense.
    pub fn images(&self, volume: &Volume, voxel_angstrom: f64, tilts: &[Tilt]) -> Result<Projections> {
        self.images_of(volume, voxel_angstrom, tilts, volume.shape().columns)
    }

    /// The same, of so many columns.
    pub(super) fn images_of(
        &self,
        volume: &Volume,
        voxel_angstrom: f64,
        tilts: &[Tilt],
        pixels: usize,
    ) -> Result<Projections> {
        let Shape { planes, rows, columns } = volume.shape();
        match self {
            Self::Linear => {
                let joseph = Joseph::new(planes, columns, pixels, tilts)?;
                let mut images = Projections::zeros(joseph.image_shape(rows));
                joseph.project(volume, &mut images)?;
                Ok(images)
            }
            Self::Multislice(model) => {
                let setup = model.of(voxel_angstrom, volume.shape(), pixels, model.shots(tilts));
                Series::simulate(setup, volume)
            }
        }
    }

    /// Whether the model goes with the rest of a spec.
    pub(super) fn check(&self, spec: &Spec) -> Result<()> {
        spec.contrast.check()?;
        if let Mode::Patch { exterior, .. } = spec.mode
            && (!(1..=Shape::MAX_EXTENT).contains(&exterior) || (exterior > 1 && *self != Self::Linear))
        {
            let expected = "1, or more for straight rays: waves cannot be subtracted";
            return Err(Error::parameter("voxels of a coarse voxel", exterior, expected));
        }
        if let Mode::Window { core, .. } = spec.mode
            && (core == 0 || *self == Self::Linear)
        {
            let expected =
                "at least 1 row, of waves: rays of different rows have nothing to do with each other";
            return Err(Error::parameter("core of a window", core, expected));
        }
        let Self::Multislice(model) = self else {
            if matches!(spec.contrast, Contrast::Intensity { .. }) {
                let expected = "projections or their logarithm: the linear model does not know intensities";
                return Err(Error::parameter("contrast of the images", "intensity", expected));
            }
            return Ok(());
        };
        if let Mode::Patch { core, .. } = spec.mode
            && core[0] < spec.volume.rows
            && model.vacuum_rows == 0
        {
            let expected = "at least 1 for blocks of rows: waves take the ends of their rows for neighbours, and those of a \
                            block are others than those of the whole";
            return Err(Error::parameter("rows of vacuum", 0, expected));
        }
        if !matches!(spec.contrast, Contrast::Intensity { .. }) {
            let expected = "intensity: waves are compared with intensities";
            return Err(Error::parameter("contrast of the images", format!("{:?}", spec.contrast), expected));
        }
        if !matches!(spec.solver, Solver::Proximal { .. } | Solver::OrderedSubsets { .. }) {
            let expected =
                "one of gradient steps or ordered subsets: the others solve the linear model alone";
            return Err(Error::parameter("solver", format!("{:?}", spec.solver), expected));
        }
        let per_tilt = self.images_per_tilt();
        if model.foci.len() != spec.tilts.len()
            || per_tilt == 0
            || model.foci.iter().any(|foci| foci.len() != per_tilt)
        {
            let expected = "one list for each tilt, all of one length";
            return Err(Error::parameter("lists of foci", model.foci.len(), expected));
        }
        Series::check_setup(model.needle(spec))
    }
}

impl Spec {
    /// Rows and columns of a halo for blocks that are reconstructed apart.
    ///
    /// Along y: twice the reach of total variation; of waves twice as far as more than `tolerance` of them comes from
    /// ([`Tail`], for a sample of the potential of clay), and the least halo of windows. Along x as far as the steepest
    /// ray through a block leaves it, and as waves reach. Blocks that know nothing of each other differ from the whole
    /// all the same: how much is told when they are stitched.
    ///
    /// # Errors
    /// [`Error::Parameter`] if no halo is wide enough, as behind a sharp aperture.
    pub fn halo(&self, tolerance: f64) -> Result<[usize; 2]> {
        let prior = self.prior.tv.map_or(0, |tv| tv.iterations);
        let steepest = self.tilts.iter().map(|tilt| tilt.angle_deg.abs()).fold(0.0, f64::max);
        let slant = (self.volume.planes as f64 * steepest.to_radians().tan()).ceil();
        let slant = if slant < self.volume.columns as f64 { slant as usize } else { self.volume.columns };
        let Model::Multislice(model) = &self.model else { return Ok([2 * prior, slant + 2 * prior]) };
        self.model.check(self)?;
        let reach = self.reach(model, tolerance)?;
        let rows = (2 * reach).max(least_halo(&model.needle(self), prior));
        Ok([rows, (slant + rows).min(self.volume.columns)])
    }

    /// Rows of the halo of [`Mode::Window`]: as far as more than `tolerance` of a wave comes from, for a sample of the
    /// potential of clay, and the least halo of windows.
    ///
    /// # Errors
    /// As [`Spec::halo`]; [`Error::Parameter`] for rays.
    pub fn window_halo(&self, tolerance: f64) -> Result<usize> {
        let Model::Multislice(model) = &self.model else {
            return Err(Error::parameter("model of windows", "linear", "waves"));
        };
        self.model.check(self)?;
        let prior = self.prior.tv.map_or(0, |tv| tv.iterations);
        Ok(self.reach(model, tolerance)?.max(least_halo(&model.needle(self), prior)))
    }

    /// How much of a wave comes from beyond so many rows, at most, for a sample of the potential of clay.
    ///
    /// # Errors
    /// As [`Tail::new`].
    pub fn beyond(&self, rows: usize) -> Result<f64> {
        let Model::Multislice(model) = &self.model else { return Ok(0.0) };
        let (tail, phase) = self.tail(model)?;
        Ok(phase * tail.at(rows))
    }

    fn reach(&self, model: &Multislice, tolerance: f64) -> Result<usize> {
        let (tail, phase) = self.tail(model)?;
        tail.halo(phase, tolerance).ok_or_else(|| {
            Error::parameter("tolerance of the halo", tolerance, "one that a halo of 383 rows can meet")
        })
    }

    /// The tail of waves, and the largest phase along a ray through clay.
    fn tail(&self, model: &Multislice) -> Result<(Tail, f64)> {
        let setup = model.needle(self);
        let thickness =
            setup.shots.iter().map(|shot| setup.thickness_angstrom(&shot.tilt)).fold(0.0, f64::max);
        let distances = || model.foci.iter().flatten().map(|focus| focus.distance_angstrom);
        let ends = [distances().fold(f64::MAX, f64::min), distances().fold(f64::MIN, f64::max)];
        let tail = Tail::new(
            &model.microscope,
            self.voxel_angstrom,
            self.pixels,
            &ends.map(Focus::at_distance),
            thickness,
        )?;
        let along = self.volume.planes as f64 * self.voxel_angstrom;
        let phase = model.microscope.beam.interaction * CLAY_VOLT * along;
        Ok((tail, phase))
    }
}

impl Multislice {
    /// The setup of a block: the foci moved by how much nearer its centre is to the image. A block that has an end of the
    /// volume has its vacuum; in the others the ends of the rows are neighbours, which disturbs waves less than an edge
    /// of the sample would that is not there.
    pub fn setup(&self, spec: &Spec, block: &Block) -> Setup {
        let volume =
            Shape { planes: spec.volume.planes, rows: block.rows.len(), columns: block.columns.len() };
        let shots = block.windows.iter().zip(&self.foci).map(|(window, foci)| {
            let moved =
                |focus: &Focus| Focus::at_distance(focus.distance_angstrom + window.distance_angstrom);
            Shot { tilt: window.tilt, foci: foci.iter().map(moved).collect() }
        });
        let at_an_end = block.rows.start == 0 || block.rows.end == spec.volume.rows;
        let vacuum_rows = if at_an_end { self.vacuum_rows } else { 0 };
        Setup { vacuum_rows, ..self.of(spec.voxel_angstrom, volume, block.window_columns, shots.collect()) }
    }

    /// The most planes that a slice should have: through a thicker one the wave spreads by more than an eighth of a
    /// wavelength before it meets the potential. `9 p / (4 lambda)`, at least 1.
    pub fn largest_bin(&self, voxel_angstrom: f64) -> usize {
        ((9.0 * voxel_angstrom / (4.0 * self.microscope.beam.wavelength_angstrom)) as usize).max(1)
    }

    /// These tilts at their foci.
    pub(super) fn shots(&self, tilts: &[Tilt]) -> Vec<Shot> {
        let shot = |(tilt, foci): (&Tilt, &Vec<Focus>)| Shot { tilt: *tilt, foci: foci.clone() };
        tilts.iter().zip(&self.foci).map(shot).collect()
    }

    pub(super) fn of(&self, pixel_angstrom: f64, volume: Shape, columns: usize, shots: Vec<Shot>) -> Setup {
        Setup {
            columns,
            vacuum_rows: self.vacuum_rows,
            bin: self.bin,
            loss: self.loss,
            wave_of_tilts: self.wave_of_tilts,
            checkpoints: self.checkpoints,
            ..Setup::new(self.microscope, pixel_angstrom, volume, shots)
        }
    }

    /// The setup of a few rows of the volume.
    pub(super) fn needle(&self, spec: &Spec) -> Setup {
        let volume = spec.volume.with_rows(spec.volume.rows.min(NEEDLE_ROWS));
        Setup { vacuum_rows: 0, ..self.of(spec.voxel_angstrom, volume, spec.pixels, self.shots(&spec.tilts)) }
    }

    /// The largest curvature of the subsets' misfits, and of one tilt's. They are estimated in vacuum on a needle, raised by a
    /// tenth, and never above their bound; for a loss whose curvature grows with the intensity, at the brightest recorded one.
    pub(super) fn curvatures(&self, spec: &Spec, brightest: f64) -> Result<(f64, f64)> {
        let setup = self.needle(spec);
        let vacuum = Volume::zeros(setup.volume);
        let series = Series::new(setup.clone(), &Projections::from_fn(setup.images(), |_, _, _| 1.0), None)?;
        // What is estimated has the factor that a loss has in vacuum, and the bound has none.
        let [in_vacuum, steepness] = [1.0, brightest].map(|intensity| self.loss.steepness(intensity));
        let largest = |subsets: Vec<Vec<usize>>| -> Result<f64> {
            let mut largest = 0.0_f64;
            for subset in subsets {
                let found = MARGIN * series.curvature(&vacuum, &subset, POWER_ITERATIONS)?;
                let found = found * (steepness / in_vacuum);
                largest = largest.max(found.min(steepness * series.curvature_bound(&subset)));
            }
            Ok(largest)
        };
        let single = if spec.subsets().len() > 1 {
            (0..spec.tilts.len()).map(|tilt| vec![tilt]).collect()
        } else {
            vec![]
        };
        Ok((largest(spec.subsets())?, largest(single)?))
    }
}
