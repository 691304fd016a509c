//! Sub-volumes along the tilt axis, each with a halo: a gradient that is not the whole's, but close by a known amount.
//!
//! A window is a block of rows, its *core*, and `halo` rows on either side. Its wave is computed without the rest of the
//! sample, its gradient is kept for the core. The halo is refreshed from the neighbours' cores before every gradient, so
//! what is exchanged is `2 halo` rows per block, and no worker holds more than its window.
//!
//! This is *not* the gradient of the whole: it is off by what reaches across the halo ([`super::Tail`]), in the wave once
//! and in the residual once more. Two things are known of the result. If a step of the solver does not expand distances
//! (convex region, step at most 1/L), then after K steps
//!
//! ```text
//! |x_K - x~_K| <= (1/L) sum over k of |window gradient - whole gradient| at x~_k
//! ```
//!
//! And for the smooth aperture the halo `h_tau(eps)` of [`super::Tail::halo`], together with [`least_halo`], brought the
//! relative difference of whole reconstructions below eps on the needle of the tests, where behind a sharp aperture no
//! halo does. Where bits must be equal, use [`super::Series`] or its distributed form.
//!
//! Windows follow the whole's ends: without vacuum rows they wrap around, with them they end in vacuum.

use super::series::total;
use super::{Misfit, Series, Setup, geometric_radius_px};
use crate::solve::{Objective, Rows};
use crate::{Error, Projections, Result, Stack, Volume};
use std::ops::Range;

/// The least halo of a window mode that refreshes halos: twice the geometric radius and a little, and what the prior
/// needs (`prior_rows`, the inner iterations of total variation).
pub fn least_halo(setup: &Setup, prior_rows: usize) -> usize {
    let radius = setup.shots.iter().map(|shot| {
        let thickness = setup.thickness_angstrom(&shot.tilt);
        geometric_radius_px(&setup.microscope, setup.pixel_angstrom, &shot.foci, thickness)
    });
    let radius = radius.fold(0.0, f64::max);
    prior_rows.max((2.0 * radius).ceil() as usize + 4)
}

/// A block of rows with its halo.
struct Window {
    core: Range<usize>,
    /// Rows of the window before its core.
    before: usize,
    /// Rows of the window.
    rows: usize,
    series: Series,
}

/// All blocks of a volume.
pub struct Windows {
    setup: Setup,
    windows: Vec<Window>,
}

impl Windows {
    /// Cuts a series at these rows into blocks with a halo of so many rows. A window that would be longer than the whole
    /// is the whole.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless cuts rise within the volume; as [`Series::new`].
    pub fn new(
        setup: &Setup,
        images: &Projections,
        weights: Option<&Projections>,
        cuts: &[usize],
        halo: usize,
    ) -> Result<Self> {
        let rows = setup.volume.rows;
        let borders: Vec<usize> = [&[0], cuts, &[rows]].concat();
        if borders.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Error::parameter("cuts", format!("{cuts:?}"), "rising, within the volume"));
        }
        images.check_shape("recorded images", setup.images())?;
        let cores = borders.windows(2).map(|pair| pair[0]..pair[1]);
        let windows = cores.map(|core| Window::new(setup, images, weights, core, halo));
        Ok(Self { setup: setup.clone(), windows: windows.collect::<Result<_>>()? })
    }

    /// The misfit of some shots and its gradient with respect to the volume, each window computed by itself.
    ///
    /// # Errors
    /// As [`Series::gradient`].
    pub fn gradient(&self, volume: &Volume, shots: &[usize], gradient: &mut Volume) -> Result<Misfit> {
        volume.check_shape("volume", self.setup.volume)?;
        gradient.check_shape("gradient of the volume", self.setup.volume)?;
        let mut misfits = Vec::with_capacity(self.windows.len());
        for window in &self.windows {
            let part = window.cut(volume, self.setup.vacuum_rows > 0)?;
            let mut part_gradient = Volume::zeros(part.shape());
            misfits.push(window.series.gradient(&part, shots, &mut part_gradient)?);
            let core = part_gradient.rows(window.before..window.before + window.core.len())?;
            gradient.set_rows(window.core.start, &core)?;
        }
        Ok(total(&misfits))
    }
}

/// The misfit of some shots, each window computed by itself.
#[derive(Clone, Copy)]
pub struct InWindows<'a> {
    /// The windows.
    pub windows: &'a Windows,
    /// The shots.
    pub shots: &'a [usize],
}

impl Objective for InWindows<'_> {
    fn check(&self, volume: &Volume) -> Result<()> {
        volume.check_shape("volume", self.windows.setup.volume)
    }

    fn gradient(&self, at: &Volume, _: &mut dyn Rows, gradient: &mut Volume) -> Result<Misfit> {
        self.windows.gradient(at, self.shots, gradient)
    }
}

/// The window of the rows held here, whose halo comes from the ranks that hold the neighbours. All ranks together compute
/// what [`Windows`] does with the same cuts, in every bit, but hold no more than a window each.
pub struct OwnWindow {
    setup: Setup,
    window: Window,
}

impl OwnWindow {
    /// The window of a rank that holds these rows. `images` and `weights` are those of the whole.
    ///
    /// # Errors
    /// [`Error::Parameter`] for rows beyond the volume, or without rows of vacuum: ranks at both ends are no neighbours.
    /// As [`Series::new`].
    pub fn new(
        setup: &Setup,
        images: &Projections,
        weights: Option<&Projections>,
        rows: Range<usize>,
        halo: usize,
    ) -> Result<Self> {
        if setup.vacuum_rows == 0 {
            return Err(Error::parameter("rows of vacuum", 0, "at least 1 where ranks hold windows"));
        }
        if rows.is_empty() || rows.end > setup.volume.rows {
            return Err(Error::parameter(
                "rows of a window",
                format!("{rows:?}"),
                "within the volume, and not empty",
            ));
        }
        images.check_shape("recorded images", setup.images())?;
        let window = Window::new(setup, images, weights, rows, halo)?;
        Ok(Self { setup: setup.clone(), window })
    }
}

impl Objective for OwnWindow {
    fn check(&self, volume: &Volume) -> Result<()> {
        volume.check_shape("rows of a window", self.setup.volume.with_rows(self.window.core.len()))
    }

    fn gradient(&self, at: &Volume, rows: &mut dyn Rows, gradient: &mut Volume) -> Result<Misfit> {
        let Window { core, before, rows: length, series } = &self.window;
        let after = length - before - core.len();
        let mut part = Volume::zeros(at.shape().with_rows(*length));
        part.set_rows(*before, at)?;
        let [above, below] = rows.beside(at, (*before).max(after))?;
        if let Some(above) = above {
            let all = above.shape().rows;
            let taken = all.min(*before);
            part.set_rows(before - taken, &above.rows(all - taken..all)?)?;
        }
        if let Some(below) = below {
            part.set_rows(before + core.len(), &below.rows(0..below.shape().rows.min(after))?)?;
        }
        let shots: Vec<usize> = (0..self.setup.shots.len()).collect();
        let mut slope = Volume::zeros(part.shape());
        let misfit = series.gradient(&part, &shots, &mut slope)?;
        gradient.set_rows(0, &slope.rows(*before..before + core.len())?)?;
        Ok(Misfit { loss: rows.sum(&[misfit.loss])?, ..misfit })
    }
}

impl Window {
    fn new(
        setup: &Setup,
        images: &Projections,
        weights: Option<&Projections>,
        core: Range<usize>,
        halo: usize,
    ) -> Result<Self> {
        let whole = setup.volume.rows;
        let is_vacuum = setup.vacuum_rows > 0;
        let is_whole = core.len() + 2 * halo >= whole;
        let (before, rows) = if is_whole { (core.start, whole) } else { (halo, core.len() + 2 * halo) };
        let mut part = setup.clone();
        part.volume = setup.volume.with_rows(rows);
        part.counted = before..before + core.len();
        part.vacuum_rows = if is_whole { setup.vacuum_rows } else { 0 };
        let mut window = Self { core, before, rows, series: Series::without_images(part)? };
        let everywhere;
        // Rows beyond the ends were not recorded.
        let weights = match weights {
            None if is_vacuum => {
                everywhere = Projections::from_fn(images.shape(), |_, _, _| 1.0);
                Some(&everywhere)
            }
            weights => weights,
        };
        let weights = weights.map(|weights| window.cut(weights, is_vacuum)).transpose()?;
        let images = window.cut(images, is_vacuum)?;
        window.series.record(&images, weights.as_ref())?;
        Ok(window)
    }

    /// The window's rows of a stack. Beyond the ends are zeros if there is vacuum, else the rows of the other end.
    fn cut(&self, stack: &Stack, is_vacuum: bool) -> Result<Stack> {
        let whole = stack.shape().rows as isize;
        let start = self.core.start as isize - self.before as isize;
        let mut part = Stack::zeros(stack.shape().with_rows(self.rows));
        // The stack, and its images beside it.
        for image in if is_vacuum { 0..=0 } else { -1..=1 } {
            let from = (start - image * whole).max(0);
            let to = (start + self.rows as isize - image * whole).min(whole);
            if from < to {
                let place = (from + image * whole - start) as usize;
                part.set_rows(place, &stack.rows(from as usize..to as usize)?)?;
            }
        }
        Ok(part)
    }
}
