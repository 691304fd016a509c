//! How a reconstruction is taken apart, by the arguments and by what follows from the rest where they say nothing.

use super::words;
use crate::error::Error;
use clap::{Args, ValueEnum};
use parthood_tomography::plan::{Mode, Model, Spec};

/// How much of a wave may come from beyond a halo, unless another share is given.
const TOLERANCE: f64 = 1e-3;

/// How to take apart.
#[derive(Debug, Args)]
pub(super) struct ModeArgs {
    /// Whole, by windows whose halos are refreshed, or in blocks that know nothing of each other.
    #[arg(long, value_enum, default_value = "exact")]
    mode: ModeName,
    /// Rows of a block or window, or rows and columns of a block; for patches and windows.
    #[arg(long, value_name = "ROWS[,COLUMNS]", value_parser = words::rows_and_columns)]
    core: Option<(usize, Option<usize>)>,
    /// Rows (and columns) around a block that are reconstructed with it [default: by the model and --tolerance].
    #[arg(long, value_name = "ROWS[,COLUMNS]", value_parser = words::rows_and_columns)]
    halo: Option<(usize, Option<usize>)>,
    /// Rows (and columns) on each side of a border over which blocks are blended [default: half the halo].
    #[arg(long, value_name = "ROWS[,COLUMNS]", value_parser = words::rows_and_columns)]
    ramp: Option<(usize, Option<usize>)>,
    /// For blocks of columns and straight rays: the side, in voxels, of the coarse voxels by which a job finds out what lies
    /// beside its block, to take it out of its images; 1 leaves it in [default: 4].
    #[arg(long, value_name = "N")]
    exterior: Option<usize>,
    /// How much of a wave may come from beyond half the halo, for the default of --halo [default: 0.001].
    #[arg(long, value_name = "SHARE", conflicts_with = "halo")]
    tolerance: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// The same bits, however many workers there are.
    Exact,
    /// Waves by rows with a halo: less memory, and off by what reaches across the halo.
    Window,
    /// Blocks that are reconstructed apart and stitched.
    Patch,
}

impl ModeArgs {
    /// Whether blocks are reconstructed apart.
    pub(super) fn is_patch(&self) -> bool {
        self.mode == ModeName::Patch
    }

    /// The mode, with what follows from the rest of the spec where nothing was given.
    pub(super) fn choose(&self, spec: &Spec) -> Result<Mode, Error> {
        if self.mode == ModeName::Exact {
            let blocks =
                [self.core.is_some(), self.halo.is_some(), self.ramp.is_some(), self.exterior.is_some()];
            if blocks.contains(&true) || self.tolerance.is_some() {
                let text =
                    "--core, --halo, --ramp, --exterior and --tolerance are for --mode patch or window";
                return Err(Error::Usage(text.into()));
            }
            return Ok(Mode::Exact {});
        }
        if self.mode == ModeName::Window {
            return self.choose_window(spec);
        }
        let Some((rows, columns)) = self.core else {
            return Err(Error::Usage("--mode patch needs --core ROWS[,COLUMNS]".into()));
        };
        let core = [rows, columns.unwrap_or(spec.volume.columns)];
        let halo = match self.halo {
            Some((rows, columns)) => [rows, columns.unwrap_or(0)],
            None => spec.halo(self.tolerance.unwrap_or(TOLERANCE))?,
        };
        // A halo beyond all rows or columns is cut off; along an axis that is not cut there is none.
        let extents = [spec.volume.rows, spec.volume.columns];
        let halo = [0, 1].map(|axis| if core[axis] >= extents[axis] { 0 } else { halo[axis] });
        let ramp = match self.ramp {
            Some((rows, columns)) => [rows, columns.unwrap_or(0)],
            None => [0, 1].map(|axis| {
                let rest = extents[axis] % core[axis].max(1);
                let room = if rest == 0 { core[axis] } else { rest.min(core[axis]) };
                (halo[axis] / 2).min(room / 2)
            }),
        };
        let exterior = self.exterior.unwrap_or(if spec.model == Model::Linear { 4 } else { 1 });
        Ok(Mode::Patch { core, halo, ramp, exterior })
    }

    /// Windows of rows.
    fn choose_window(&self, spec: &Spec) -> Result<Mode, Error> {
        let rows_of = |flag: &str, given: Option<(usize, Option<usize>)>| match given {
            Some((_, Some(_))) => Err(Error::Usage(format!("{flag} ROWS has no columns in --mode window"))),
            given => Ok(given.map(|(rows, _)| rows)),
        };
        if self.ramp.is_some() || self.exterior.is_some() {
            return Err(Error::Usage("--ramp and --exterior are for --mode patch".into()));
        }
        let Some(core) = rows_of("--core", self.core)? else {
            return Err(Error::Usage("--mode window needs --core ROWS".into()));
        };
        let halo = match rows_of("--halo", self.halo)? {
            Some(halo) => halo,
            None => spec.window_halo(self.tolerance.unwrap_or(TOLERANCE))?,
        };
        Ok(Mode::Window { core, halo })
    }
}
