//! The plan of a reconstruction: everything on which its bits depend, in one file.
//!
//! Parts equal the whole only if all of them use the same step, the same order of subsets, the same reach of total
//! variation, and so on. A [`Spec`] is what a person chooses; a [`Plan`] adds what follows from it and must not be
//! computed anew by each worker: the Lipschitz constant and the blocks. It is written as JSON, and its [`Plan::hash`]
//! goes into every output. The same spec gives the same plan.
//!
//! How many workers there are is not part of it: in [`Mode::Exact`] the result does not depend on them.

mod block;
mod estimate;
mod exterior;
mod model;
mod refine;
mod run;
#[cfg(test)]
mod tests;

pub use block::{Block, Window, crop, crop_columns};
pub use estimate::{BASE, Estimate, Speed};
pub use model::{Contrast, Model, Multislice};
pub use refine::{Correction, Refined, Refinement};

use crate::align::Alignment;
use crate::io::Survey;
use crate::project::Joseph;
use crate::solve::{Filter, Momentum, Prior, interleaved, lipschitz, steady_momentum};
use crate::{Error, Projections, Result, Shape, Tilt};
use serde::{Deserialize, Serialize};

/// The format of plans that this version reads and writes.
pub const FORMAT: u32 = 3;
/// Nobody waits for more iterations.
const MAX_ITERATIONS: usize = 1_000_000;
/// Power iterations for the Lipschitz constant.
const POWER_ITERATIONS: usize = 10;

/// How a volume is solved for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Solver {
    /// Weighted back projection; has no iterations.
    Wbp {
        /// The window on the ramp.
        filter: Filter,
    },
    /// SIRT.
    Sirt {
        /// Factor of each step.
        relaxation: f32,
    },
    /// Conjugate gradients; takes no prior.
    Cgls {},
    /// Gradient steps with a prior.
    Proximal {
        /// How far the next step is taken ahead.
        momentum: Momentum,
    },
    /// Gradient steps for interleaved subsets of the images.
    OrderedSubsets {
        /// Number of subsets.
        subsets: usize,
        /// The step is this over the Lipschitz constant.
        relaxation: f64,
        /// The largest momentum; less of it where so many subsets do not bear it ([`Plan::momentum`]).
        momentum_max: f64,
    },
}

/// How the volume is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Mode {
    /// Rows at any number of workers that talk to each other: equal to the whole in every bit.
    Exact {},
    /// The gradient of waves is computed window by window, each a core of rows with a halo that is refreshed before every
    /// gradient: less memory than the whole, and equal to it up to what reaches across the halo ([`crate::wave::Windows`]).
    Window {
        /// Rows of a window's core; the last is what remains.
        core: usize,
        /// Rows around the core that are computed with it.
        halo: usize,
    },
    /// Blocks that are reconstructed apart from each other and then stitched: no equality is claimed.
    Patch {
        /// Rows and columns of a block's core; the last block of an axis is what remains.
        core: [usize; 2],
        /// Rows and columns around the core that are reconstructed with it.
        halo: [usize; 2],
        /// Rows and columns on each side of a border over which neighbours are blended; 0 cuts.
        ramp: [usize; 2],
        /// Voxels along a side of the coarse voxels by which each job finds out what lies beside its columns, to take it out
        /// of its images; 1 leaves it in. For straight rays.
        exterior: usize,
    },
}

/// What a person chooses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Planes, rows and columns of the volume.
    pub volume: Shape,
    /// Side of a voxel and of a pixel in Angstrom.
    pub voxel_angstrom: f64,
    /// Columns of an image.
    pub pixels: usize,
    /// The tilts, in the order of the images, signs applied.
    pub tilts: Vec<Tilt>,
    /// Where the aligned images lie on the camera.
    pub alignment: Alignment,
    /// What stands in the pixels.
    pub contrast: Contrast,
    /// How images come from the volume.
    pub model: Model,
    /// How to solve.
    pub solver: Solver,
    /// What is known of the volume.
    pub prior: Prior,
    /// Iterations.
    pub iterations: usize,
    /// Seed of the power iteration's start.
    pub seed: u64,
    /// How to take apart.
    pub mode: Mode,
}

/// A spec and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The format of this plan.
    pub format: u32,
    /// Version of the program that planned.
    pub version: String,
    /// Vector instructions of the planning machine. Transforms choose their code by them, so bits are claimed equal
    /// among machines of one level.
    pub processor: String,
    /// What was chosen.
    pub spec: Spec,
    /// The series that this plan was made for ([`Survey::fingerprint`]); none for any series of its extent.
    pub series: Option<String>,
    /// Its largest value, as a multiple of the bare beam's: how steep a misfit of intensities can be. 1 without a series.
    pub brightest: f64,
    /// L of all images, or the largest of the subsets; 1 for solvers without one.
    pub lipschitz: f64,
    /// The largest momentum of ordered subsets: what was chosen, or less, so that steps come to rest
    /// ([`crate::solve::steady_momentum`]). 0 for solvers without subsets.
    pub momentum: f64,
    /// The blocks in the order in which they are stitched: rows of blocks, then columns. One block in exact mode.
    pub blocks: Vec<Block>,
}

impl Plan {
    /// Plans for any series.
    ///
    /// # Errors
    /// [`Error::Parameter`] for what makes no sense.
    pub fn new(spec: Spec) -> Result<Self> {
        Self::draft(spec)?.complete()
    }

    /// Plans for a series.
    ///
    /// # Errors
    /// As [`Plan::new`] and [`Contrast::check_series`].
    pub fn for_series(spec: Spec, survey: &Survey) -> Result<Self> {
        Self::draft(spec)?.complete_for(survey)
    }

    /// All of a plan but the Lipschitz constant, which takes memory to find: what a plan will need can be told before.
    /// Nothing can be carried out by it.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn draft(spec: Spec) -> Result<Self> {
        spec.check()?;
        Ok(Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processor: processor_level().to_owned(),
            lipschitz: f64::NAN,
            momentum: f64::NAN,
            blocks: block::blocks(&spec)?,
            series: None,
            brightest: 1.0,
            spec,
        })
    }

    fn complete(mut self) -> Result<Self> {
        Steps { lipschitz: self.lipschitz, momentum: self.momentum } = self.spec.steps(self.brightest)?;
        Ok(self)
    }

    /// Makes a plan for a series of a draft.
    ///
    /// # Errors
    /// As [`Plan::for_series`].
    pub fn complete_for(mut self, survey: &Survey) -> Result<Self> {
        self.spec.contrast.check_series(survey)?;
        self.series = Some(survey.fingerprint().to_owned());
        self.brightest = self.spec.contrast.brightest(survey);
        self.complete()
    }

    /// The plan as JSON.
    ///
    /// # Errors
    /// [`Error::Plan`] if a number has no JSON form.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::Plan { why: error.to_string() })
    }

    /// A plan from JSON. Its blocks are computed again and must agree; the Lipschitz constant, which takes longer, is by
    /// [`Plan::check_machine`].
    ///
    /// # Errors
    /// [`Error::Plan`] for what is not a plan, of another format, or inconsistent.
    pub fn from_json(text: &str) -> Result<Self> {
        let plan: Self =
            serde_json::from_str(text).map_err(|error| Error::Plan { why: error.to_string() })?;
        if plan.format != FORMAT {
            let why = format!("it has format {}, this program reads format {FORMAT}", plan.format);
            return Err(Error::Plan { why });
        }
        if plan.version != env!("CARGO_PKG_VERSION") {
            let why = format!(
                "it was made by version {}, this is version {}, and bits may differ; plan again",
                plan.version,
                env!("CARGO_PKG_VERSION")
            );
            return Err(Error::Plan { why });
        }
        plan.spec.check()?;
        if block::blocks(&plan.spec)? != plan.blocks {
            return Err(Error::Plan { why: "its blocks do not follow from its spec; plan again".to_owned() });
        }
        if !plan.lipschitz.is_finite() || plan.lipschitz <= 0.0 {
            return Err(Error::Plan { why: format!("its Lipschitz constant is {}", plan.lipschitz) });
        }
        if !(0.0..=1.0).contains(&plan.momentum) {
            return Err(Error::Plan { why: format!("its momentum is {}", plan.momentum) });
        }
        Ok(plan)
    }

    /// Fails unless this machine computes the bits that the planning machine would: it has the same vector instructions, and
    /// finds the same Lipschitz constant and momentum, so that a plan edited by hand does not run with the step of another.
    ///
    /// # Errors
    /// [`Error::Plan`], and those of finding the constant.
    pub fn check_machine(&self) -> Result<()> {
        let here = processor_level();
        if self.processor != here {
            let why = format!(
                "it was made for {}, this machine has {here}, and bits would differ; plan again here, or run it there",
                self.processor
            );
            return Err(Error::Plan { why });
        }
        let found = self.spec.steps(self.brightest)?;
        for (what, own, found) in [
            ("Lipschitz constant", self.lipschitz, found.lipschitz),
            ("momentum", self.momentum, found.momentum),
        ] {
            if found != own {
                let why = format!("its {what} is {own}, and {found} follows from its spec; plan again");
                return Err(Error::Plan { why });
            }
        }
        Ok(())
    }

    /// The BLAKE3 hash of the plan's JSON, in hexadecimal digits: what an output names as its origin.
    ///
    /// # Errors
    /// As [`Plan::to_json`].
    pub fn hash(&self) -> Result<String> {
        Ok(blake3::hash(self.to_json()?.as_bytes()).to_hex().to_string())
    }
}

impl Solver {
    fn check(self, tilts: usize) -> Result<()> {
        let check_relaxation = |relaxation: f64| {
            if relaxation > 0.0 && relaxation < 2.0 {
                return Ok(());
            }
            Err(Error::parameter("relaxation", relaxation, "above 0 and below 2"))
        };
        match self {
            Self::Sirt { relaxation } => check_relaxation(f64::from(relaxation)),
            Self::OrderedSubsets { subsets, .. } if !(1..=tilts).contains(&subsets) => {
                Err(Error::parameter("number of subsets", subsets, "between 1 and the number of tilts"))
            }
            Self::OrderedSubsets { momentum_max, .. } if !(0.0..=1.0).contains(&momentum_max) => {
                Err(Error::parameter("largest momentum", momentum_max, "between 0 and 1"))
            }
            Self::OrderedSubsets { relaxation, .. } => check_relaxation(relaxation),
            Self::Wbp { .. } | Self::Cgls {} | Self::Proximal { .. } => Ok(()),
        }
    }
}

impl Spec {
    fn check(&self) -> Result<()> {
        let Shape { planes, rows, columns } = self.volume;
        Shape::new(planes, rows, columns)?;
        if !self.voxel_angstrom.is_finite() || self.voxel_angstrom <= 0.0 {
            let value = self.voxel_angstrom;
            return Err(Error::parameter("voxel size in Angstrom", value, "finite and above 0"));
        }
        if self.tilts.is_empty() {
            return Err(Error::parameter("number of tilts", 0, "at least 1"));
        }
        self.alignment.check(self.images())?;
        self.model.check(self)?;
        self.prior.check()?;
        if matches!(self.solver, Solver::Wbp { .. } | Solver::Cgls {}) && self.prior != Prior::default() {
            return Err(Error::parameter("prior", "given", "left out: this solver has no place for it"));
        }
        if matches!(self.solver, Solver::Sirt { .. }) && self.prior.tv.is_some() {
            return Err(Error::parameter("total variation", "given", "left out: SIRT has no place for it"));
        }
        let has_iterations = !matches!(self.solver, Solver::Wbp { .. });
        if (self.iterations == 0 && has_iterations) || self.iterations > MAX_ITERATIONS {
            return Err(Error::parameter("iterations", self.iterations, "between 1 and 1000000"));
        }
        self.solver.check(self.tilts.len())?;
        Joseph::new(planes, columns, self.pixels, &self.tilts).map(drop)
    }

    /// Model, solver, iterations and prior in a few words.
    pub fn summary(&self) -> String {
        let model = match self.model {
            Model::Linear => "linear",
            Model::Multislice(_) => "multislice",
        };
        let solver = match self.solver {
            Solver::Wbp { .. } => return format!("{model}, back projection"),
            Solver::Sirt { .. } => "SIRT",
            Solver::Cgls {} => "CGLS",
            Solver::Proximal { momentum: Momentum::None } => "gradient steps",
            Solver::Proximal { .. } => "FISTA",
            Solver::OrderedSubsets { .. } => "ordered subsets",
        };
        let variation = self.prior.tv.map_or(String::new(), |tv| format!(", variation {} V", tv.weight));
        format!("{model}, {solver}, {} iterations{variation}", self.iterations)
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.tilts.len() * self.model.images_per_tilt()
    }

    /// What the model predicts, from images as the camera gave them: aligned, and in its unit.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there are not as many images as the spec has, and as [`Contrast::convert`].
    pub fn prepare(&self, raw: Projections) -> Result<Projections> {
        if raw.shape().planes != self.images() {
            return Err(Error::parameter("number of images", raw.shape().planes, "that of the plan"));
        }
        let mut images = if self.alignment.places.is_empty() {
            raw
        } else {
            self.alignment.apply(&raw, self.contrast.bare_beam())?
        };
        self.contrast.convert(&mut images)?;
        Ok(images)
    }

    /// The tilts of each subset, as indices; one subset of all for solvers without subsets.
    pub fn subsets(&self) -> Vec<Vec<usize>> {
        match self.solver {
            Solver::OrderedSubsets { subsets, .. } => interleaved(self.tilts.len(), subsets),
            _ => interleaved(self.tilts.len(), 1),
        }
    }

    /// The length of steps, and the momentum that they bear.
    fn steps(&self, brightest: f64) -> Result<Steps> {
        if !matches!(self.solver, Solver::Proximal { .. } | Solver::OrderedSubsets { .. }) {
            return Ok(Steps { lipschitz: 1.0, momentum: 0.0 });
        }
        let (lipschitz, alone) = match &self.model {
            Model::Multislice(model) => model.curvatures(self, brightest)?,
            Model::Linear => self.curvatures_of_rays()?,
        };
        let momentum = match self.solver {
            Solver::OrderedSubsets { subsets, relaxation, momentum_max } => {
                steady_momentum(subsets, relaxation, alone / lipschitz, momentum_max)
            }
            _ => 0.0,
        };
        Ok(Steps { lipschitz, momentum })
    }

    /// The largest curvature of a subset, and of one of several images.
    fn curvatures_of_rays(&self) -> Result<(f64, f64)> {
        let Shape { planes, columns, .. } = self.volume;
        let of = |indices: &[usize]| {
            let tilts: Vec<Tilt> = indices.iter().map(|index| self.tilts[*index]).collect();
            lipschitz(&Joseph::new(planes, columns, self.pixels, &tilts)?, self.seed, POWER_ITERATIONS)
        };
        let (mut largest, mut alone) = (0.0_f64, 0.0_f64);
        for subset in self.subsets() {
            largest = largest.max(of(&subset)?);
        }
        if matches!(self.solver, Solver::OrderedSubsets { subsets, .. } if subsets > 1) {
            for tilt in 0..self.tilts.len() {
                alone = alone.max(of(&[tilt])?);
            }
        }
        Ok((largest, alone))
    }
}

/// What all parts of a reconstruction must have in common.
struct Steps {
    lipschitz: f64,
    momentum: f64,
}

/// The level of vector instructions on this machine.
pub fn processor_level() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "x86-64 with AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "x86-64 with AVX2 and FMA";
        }
    }
    std::env::consts::ARCH
}
