//! From arguments and files to what a plan is made of.

use super::mode::ModeArgs;
use super::words;
use crate::error::Error;
use clap::{Args, ValueEnum};
use parthood_tomography::align::{Alignment, Place};
use parthood_tomography::io::{Order, Source};
use parthood_tomography::io::{angles, check_count, foci, mdoc, xf};
use parthood_tomography::plan::{Contrast, Mode, Model, Multislice, Solver, Spec};
use parthood_tomography::solve::{Filter, Momentum, Prior, Tv};
use parthood_tomography::wave::{Focus, FreeSpace, Loss, Microscope};
use parthood_tomography::{Shape, Tilt, TiltSign};
use std::path::{Path, PathBuf};

/// Rows of vacuum beyond the rows of a block, for waves, unless others are asked for.
const PATCH_VACUUM_ROWS: usize = 32;

/// Of which tilt an image is.
#[derive(Debug, Args)]
pub(super) struct TiltArgs {
    /// Tilt angles, one per line (.tlt or .rawtlt).
    #[arg(long, value_name = "FILE")]
    tlt: Option<PathBuf>,
    /// Tilt angles in degrees: FROM:TO:STEP, or angles between commas. Write --tilts=-60:60:3 if the first is negative.
    #[arg(long, value_name = "ANGLES", conflicts_with = "tlt", allow_hyphen_values = true)]
    tilts: Option<String>,
    /// Notes of the recording (.mdoc): tilt angles, and defoci unless --underfocus is given.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tlt", "tilts"])]
    mdoc: Option<PathBuf>,
    /// Which way a positive angle turns the sample; see the picture in README.md.
    #[arg(long, value_enum, default_value = "positive")]
    tilt_sign: Sign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sign {
    /// A point above the axis (z > 0) moves towards -x.
    Positive,
    /// It moves towards +x.
    Negative,
}

/// A series and how its images came about.
#[derive(Debug, Args)]
pub(super) struct SeriesArgs {
    /// The tilt series: MRC, or by its name .npy, .tif, .zarr, .emd or .h5 (`FILE.h5:/ARRAY` where there are several).
    pub(super) series: PathBuf,
    #[command(flatten)]
    tilts: TiltArgs,
    /// Side of a pixel in Angstrom, if the file does not say or is wrong.
    #[arg(long, value_name = "ANGSTROM")]
    pixel: Option<f64>,
    /// By how much the tilt axis leans on the camera from +y towards +x, in degrees.
    #[arg(long, value_name = "DEGREES", default_value_t = 0.0, allow_negative_numbers = true)]
    axis_angle: f64,
    /// Alignments of the images, six numbers per line (IMOD's .xf).
    #[arg(long, value_name = "FILE", conflicts_with = "axis_angle")]
    xf: Option<PathBuf>,
    /// The value of the bare beam in the images, one for the whole series; with --kv or --log.
    #[arg(long, value_name = "VALUE")]
    vacuum: Option<f32>,
    /// Images are intensities behind an absorbing sample: take the negative logarithm of their ratio to --vacuum.
    #[arg(long, conflicts_with = "kv", requires = "vacuum")]
    log: bool,
}

/// How images come from the sample.
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// The accelerating voltage in kilovolt. Given it, the model is waves through slices instead of straight rays.
    #[arg(long, value_name = "KILOVOLT")]
    kv: Option<f64>,
    /// Underfocus in Angstrom, positive below focus; several between commas if each tilt was recorded at several foci.
    #[arg(
        long,
        value_name = "ANGSTROM",
        value_delimiter = ',',
        allow_negative_numbers = true,
        requires = "kv"
    )]
    underfocus: Vec<f64>,
    /// The same with the other sign: the distance of the plane in focus from the sample along the beam, positive for
    /// overfocus.
    #[arg(
        long,
        value_name = "ANGSTROM",
        value_delimiter = ',',
        allow_negative_numbers = true,
        requires = "kv",
        conflicts_with = "underfocus"
    )]
    overfocus: Vec<f64>,
    /// Underfocus in Angstrom, of one tilt per line, as many numbers on each as a tilt has images.
    #[arg(long, value_name = "FILE", requires = "kv", conflicts_with_all = ["underfocus", "overfocus"])]
    foci: Option<PathBuf>,
    /// Spherical aberration in millimetre.
    #[arg(long, value_name = "MM", default_value_t = 0.0, requires = "kv", allow_negative_numbers = true)]
    cs: f64,
    /// Focal spread in Angstrom.
    #[arg(long, value_name = "ANGSTROM", default_value_t = 0.0, requires = "kv")]
    focal_spread: f64,
    /// Semi-angle of illumination in milliradian.
    #[arg(long, value_name = "MRAD", default_value_t = 0.0, requires = "kv")]
    source_angle: f64,
    /// Cut-off of the objective aperture in 1/Angstrom.
    #[arg(long, value_name = "PER_ANGSTROM", requires = "kv")]
    objective: Option<f64>,
    /// The imaginary part of the potential, as a share of the real one.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "kv")]
    absorption: f64,
    /// Planes of voxels in a slice.
    #[arg(long, value_name = "N", default_value_t = 4, requires = "kv")]
    bin: usize,
    /// Rows of vacuum beyond the last, so that waves do not take the first and last row for neighbours [default: 0; for
    /// patches 32].
    #[arg(long, value_name = "N", requires = "kv")]
    vacuum_rows: Option<usize>,
    /// The measure of misfit.
    #[arg(long, value_enum, default_value = "amplitude", requires = "kv")]
    loss: LossName,
    /// Propagate by the angular spectrum instead of its paraxial form.
    #[arg(long, requires = "kv")]
    wide_angle: bool,
    /// Tilts that are worked on at the same time, whatever the number of threads; memory is proportional to it.
    #[arg(long, value_name = "N", default_value_t = 8, requires = "kv")]
    tilts_at_once: usize,
    /// Keep fewer waves and compute the others again: less memory, a third more time, the same bits.
    #[arg(long, requires = "kv")]
    recompute_waves: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossName {
    Amplitude,
    Intensity,
    Poisson,
}

/// How to solve.
#[derive(Debug, Args)]
pub(super) struct SolveArgs {
    /// Planes of the volume: its thickness in voxels.
    #[arg(long, value_name = "N")]
    planes: usize,
    /// Columns of the volume [default: those of the images].
    #[arg(long, value_name = "N")]
    columns: Option<usize>,
    /// The solver.
    #[arg(long, value_enum, default_value = "fista")]
    solver: SolverName,
    /// Iterations.
    #[arg(long, value_name = "N", default_value_t = 30)]
    iterations: usize,
    /// Weight of total variation in volt: steps below it are smoothed away.
    #[arg(long, value_name = "VOLT")]
    tv: Option<f32>,
    /// Iterations of total variation, and so its reach in rows.
    #[arg(long, value_name = "N", default_value_t = 8, requires = "tv")]
    tv_iterations: usize,
    /// Let voxels be negative.
    #[arg(long)]
    signed: bool,
    /// Subsets of the images for `subsets` [default: 5].
    #[arg(long, value_name = "N")]
    subsets: Option<usize>,
    /// The window on the ramp for `wbp` [default: ram-lak].
    #[arg(long, value_enum)]
    filter: Option<FilterName>,
    /// Factor of each step for `sirt` [default: 1] and `subsets` [default: 0.7].
    #[arg(long, value_name = "FACTOR")]
    relaxation: Option<f64>,
    /// Start momentum anew when the loss rises, for `fista`.
    #[arg(long)]
    restart: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SolverName {
    /// Weighted back projection.
    Wbp,
    /// Simultaneous iterations with fixed weights.
    Sirt,
    /// Conjugate gradients for least squares.
    Cgls,
    /// Gradient steps.
    Gradient,
    /// Gradient steps with momentum.
    Fista,
    /// Gradient steps for some images at a time: fastest at first.
    Subsets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FilterName {
    RamLak,
    SheppLogan,
    Hann,
}

impl TiltArgs {
    /// The angles as the instrument gives them, for so many tilts if that is known; and the notes, if they were given.
    fn read(&self, series: Option<(&Path, &Source)>) -> Result<(Vec<f64>, Vec<mdoc::Image>), Error> {
        if let Some(path) = &self.mdoc {
            let notes = mdoc::read(path)?;
            return Ok((notes.iter().map(|image| image.tilt_deg).collect(), notes));
        }
        if let Some(path) = &self.tlt {
            return Ok((angles::read(path)?, Vec::new()));
        }
        if let Some(text) = &self.tilts {
            return words::angles(text)
                .map(|angles| (angles, Vec::new()))
                .map_err(|why| Error::Usage(format!("invalid value '{text}' for --tilts: {why}")));
        }
        let beside = |(path, _): (&Path, &Source)| {
            ["tlt", "rawtlt"]
                .map(|extension| path.with_extension(extension))
                .into_iter()
                .find(|path| path.exists())
        };
        if let Some(path) = series.and_then(beside) {
            return Ok((angles::read(&path)?, Vec::new()));
        }
        if let Some(angles) = series.map_or(Ok(None), |(_, reader)| reader.angles())? {
            return Ok((angles, Vec::new()));
        }
        Err(Error::Usage(
            "no tilt angles are known: give --tlt FILE, --tilts=FROM:TO:STEP or --mdoc FILE".into(),
        ))
    }

    fn sign(&self) -> TiltSign {
        match self.tilt_sign {
            Sign::Positive => TiltSign::Positive,
            Sign::Negative => TiltSign::Negative,
        }
    }

    /// The angles for a volume that has no images yet.
    pub(super) fn angles(&self) -> Result<(Vec<f64>, Vec<Tilt>), Error> {
        let (angles, _) = self.read(None)?;
        let tilts = Tilt::series(&angles, self.sign())?;
        Ok((angles, tilts))
    }

    /// The files that angles are read from, as far as they were named.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.tlt, &self.mdoc].into_iter().filter_map(Option::as_deref)
    }

    /// Where the angles stand.
    fn place<'a>(&'a self, series: &'a Path) -> &'a Path {
        self.mdoc.as_deref().or(self.tlt.as_deref()).unwrap_or(series)
    }
}

impl ModelArgs {
    /// The files that a model is read from.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.foci.as_deref().into_iter()
    }

    /// The model of so many tilts; the notes tell the defocus if no argument does.
    pub(super) fn model(
        &self,
        tilts: usize,
        notes: &[mdoc::Image],
        in_patches: bool,
    ) -> Result<Model, Error> {
        let Some(kv) = self.kv else { return Ok(Model::Linear) };
        let underfocus = self.underfocus.iter().map(|angstrom| Focus::underfocus(*angstrom));
        let given: Vec<Focus> =
            underfocus.chain(self.overfocus.iter().map(|angstrom| Focus::at_distance(*angstrom))).collect();
        let foci: Vec<Vec<Focus>> = if let Some(path) = &self.foci {
            let foci = foci::read(path)?;
            check_count(path, "tilts", foci.len(), tilts)?;
            foci.into_iter().map(|tilt| tilt.into_iter().map(Focus::underfocus).collect()).collect()
        } else if given.is_empty() {
            let focus = |image: &mdoc::Image| Some(vec![Focus::at_distance(image.target_defocus_um? * 1e4)]);
            let known: Option<Vec<_>> = notes.iter().map(focus).collect();
            known.filter(|foci| !foci.is_empty()).ok_or_else(|| {
                Error::Usage(
                    "the defocus is not known: give --underfocus ANGSTROM or --foci FILE with --kv".into(),
                )
            })?
        } else {
            vec![given; tilts]
        };
        let mut microscope = Microscope::ideal(kv * 1e3)?;
        microscope.spherical_aberration_angstrom = self.cs * 1e7;
        microscope.focal_spread_angstrom = self.focal_spread;
        microscope.source_angle_rad = self.source_angle * 1e-3;
        microscope.objective_cut = self.objective;
        microscope.absorption = self.absorption;
        if self.wide_angle {
            microscope.free_space = FreeSpace::Exact;
        }
        let loss = match self.loss {
            LossName::Amplitude => Loss::Amplitude,
            LossName::Intensity => Loss::Intensity,
            LossName::Poisson => Loss::Poisson,
        };
        Ok(Model::Multislice(Multislice {
            microscope,
            foci,
            bin: self.bin,
            vacuum_rows: self.vacuum_rows.unwrap_or(if in_patches { PATCH_VACUUM_ROWS } else { 0 }),
            loss,
            wave_of_tilts: self.tilts_at_once,
            checkpoints: self.recompute_waves,
        }))
    }
}

impl SolveArgs {
    /// Fails if something is given that the solver has no use for.
    fn check(&self) -> Result<(), Error> {
        use SolverName::{Fista, Sirt, Subsets, Wbp};
        for (flag, is_given, solvers) in [
            ("--subsets", self.subsets.is_some(), &[Subsets][..]),
            ("--filter", self.filter.is_some(), &[Wbp]),
            ("--restart", self.restart, &[Fista]),
            ("--relaxation", self.relaxation.is_some(), &[Sirt, Subsets]),
        ] {
            if is_given && !solvers.contains(&self.solver) {
                let names: Vec<String> =
                    solvers.iter().map(|name| format!("{name:?}").to_lowercase()).collect();
                return Err(Error::Usage(format!("{flag} is for --solver {}", names.join(" or "))));
            }
        }
        Ok(())
    }

    fn solver(&self) -> Solver {
        let relaxation = |default: f64| self.relaxation.unwrap_or(default);
        match self.solver {
            SolverName::Wbp => Solver::Wbp {
                filter: match self.filter.unwrap_or(FilterName::RamLak) {
                    FilterName::RamLak => Filter::RamLak,
                    FilterName::SheppLogan => Filter::SheppLogan,
                    FilterName::Hann => Filter::Hann,
                },
            },
            #[allow(clippy::cast_possible_truncation, reason = "a factor near 1")]
            SolverName::Sirt => Solver::Sirt { relaxation: relaxation(1.0) as f32 },
            SolverName::Cgls => Solver::Cgls {},
            SolverName::Gradient => Solver::Proximal { momentum: Momentum::None },
            SolverName::Fista if self.restart => Solver::Proximal { momentum: Momentum::Restarted },
            SolverName::Fista => Solver::Proximal { momentum: Momentum::Nesterov },
            SolverName::Subsets => Solver::OrderedSubsets {
                subsets: self.subsets.unwrap_or(5),
                relaxation: relaxation(0.7),
                momentum_max: 0.9,
            },
        }
    }

    fn prior(&self) -> Prior {
        // Two solvers have no place for a prior, and need not be told so by a flag.
        let positive = !self.signed && !matches!(self.solver, SolverName::Wbp | SolverName::Cgls);
        Prior { positive, tv: self.tv.map(|weight| Tv { weight, iterations: self.tv_iterations }) }
    }
}

/// The files that a series and a model are read from.
pub(super) fn inputs<'a>(series: &'a SeriesArgs, model: &'a ModelArgs) -> impl Iterator<Item = &'a Path> {
    std::iter::once(&*series.series)
        .chain(series.xf.as_deref())
        .chain(series.tilts.files())
        .chain(model.files())
}

/// What to reconstruct, and how.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    #[command(flatten)]
    pub(super) series: SeriesArgs,
    #[command(flatten)]
    pub(super) model: ModelArgs,
    #[command(flatten)]
    solve: SolveArgs,
    #[command(flatten)]
    mode: ModeArgs,
}

/// What the arguments and the series say.
pub(super) fn spec(job: &JobArgs) -> Result<Spec, Error> {
    let JobArgs { series, model, solve, mode } = job;
    let mut spec = spec_of(series, model, mode.is_patch(), [solve.planes, solve.columns.unwrap_or(0)])?;
    solve.check()?;
    spec.solver = solve.solver();
    spec.prior = solve.prior();
    spec.iterations = solve.iterations;
    spec.mode = mode.choose(&spec)?;
    Ok(spec)
}

/// The same for a volume of so many planes and columns (0: those of the images), with nothing said of how to solve.
pub(super) fn spec_of(
    series: &SeriesArgs,
    model: &ModelArgs,
    in_patches: bool,
    [planes, columns]: [usize; 2],
) -> Result<Spec, Error> {
    let reader = Source::open(&series.series)?;
    let images = reader.shape(Order::Planes)?;
    let (angles, notes) = series.tilts.read(Some((&series.series, &reader)))?;
    let voxel_angstrom = match (series.pixel, notes.first().and_then(|image| image.pixel_angstrom)) {
        (Some(pixel), _) => pixel,
        (None, Some(pixel)) if reader.pixel_angstrom().is_err() => pixel,
        _ => reader.pixel_angstrom()?,
    };
    let model = model.model(angles.len(), &notes, in_patches)?;
    if series.vacuum.is_some() && !series.log && model == Model::Linear {
        return Err(Error::Usage("--vacuum is for intensities: give --log, or --kv for waves".into()));
    }
    let per_tilt = model.images_per_tilt();
    let what = if per_tilt == 1 { "tilt angles" } else { "tilt angles times foci" };
    check_count(series.tilts.place(&series.series), what, angles.len() * per_tilt, images.planes)?;
    let contrast = match (&model, series.log, series.vacuum) {
        (Model::Linear, true, Some(vacuum)) => Contrast::Logarithm { vacuum },
        (Model::Linear, ..) => Contrast::Projection,
        (_, _, vacuum) => Contrast::Intensity { vacuum: vacuum.unwrap_or(1.0) },
    };
    Ok(Spec {
        volume: Shape::new(planes, images.rows, if columns == 0 { images.columns } else { columns })?,
        voxel_angstrom,
        pixels: images.columns,
        tilts: Tilt::series(&angles, series.tilts.sign())?,
        alignment: alignment(series, images.planes)?,
        contrast,
        model,
        solver: Solver::Proximal { momentum: Momentum::Nesterov },
        prior: Prior::default(),
        iterations: 1,
        seed: 1,
        mode: Mode::Exact {},
    })
}

fn alignment(series: &SeriesArgs, images: usize) -> Result<Alignment, Error> {
    if let Some(path) = &series.xf {
        let transforms = xf::read(path)?;
        check_count(path, "alignments", transforms.len(), images)?;
        return Ok(Alignment { places: transforms.into_iter().map(Place::from).collect() });
    }
    if series.axis_angle == 0.0 {
        return Ok(Alignment::default());
    }
    Ok(Alignment { places: vec![Place::leaning(series.axis_angle, [0.0; 2]); images] })
}
