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
        let cores = cores(setup.volume.rows, cuts)?;
        images.check_shape("recorded images", setup.images())?;
        let window = |core: Range<usize>| {
            let mut window = Window::new(setup, core, halo)?;
            window.record(images, 0, weights, setup.volume.rows, setup.vacuum_rows > 0)?;
            Ok(window)
        };
        Ok(Self { setup: setup.clone(), windows: cores.into_iter().map(window).collect::<Result<_>>()? })
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
            let part = window.cut(volume, 0, self.setup.volume.rows, self.setup.vacuum_rows > 0)?;
            let (misfit, core) = window.gradient(&part, shots)?;
            misfits.push(misfit);
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

/// The windows of the rows held here, whose halos come from the ranks that hold the neighbours. All ranks together compute
/// what [`Windows`] does with the same cuts, in every bit, but hold no more than their windows.
pub struct OwnWindows {
    setup: Setup,
    first: usize,
    /// How far beyond the rows held here any rank looks.
    reach: usize,
    windows: Vec<Window>,
}

impl OwnWindows {
    /// The windows of a rank that holds these `rows` of a volume that is cut as [`Windows::new`] cuts it; `images(rows)` are
    /// those of some rows.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the rows are those of some blocks, or without rows of vacuum: ranks at both ends are no
    /// neighbours. As [`Series::new`], and those of reading images.
    pub fn new(
        setup: &Setup,
        images: &dyn Fn(Range<usize>) -> Result<Projections>,
        rows: &Range<usize>,
        cuts: &[usize],
        halo: usize,
    ) -> Result<Self> {
        if setup.vacuum_rows == 0 {
            let expected =
                "at least 1 where ranks hold windows: those at both ends of the rows are no neighbours";
            return Err(Error::parameter("rows of vacuum", 0, expected));
        }
        let all = cores(setup.volume.rows, cuts)?;
        let own: Vec<Range<usize>> =
            all.iter().filter(|core| core.start >= rows.start && core.end <= rows.end).cloned().collect();
        let [Some(first), Some(last)] = [own.first(), own.last()].map(|core| core.cloned()) else {
            return Err(Error::parameter("rows of a rank", format!("{rows:?}"), "those of some windows"));
        };
        if (first.start, last.end) != (rows.start, rows.end) {
            return Err(Error::parameter("rows of a rank", format!("{rows:?}"), "those of some windows"));
        }
        let whole = setup.volume.rows;
        let reach = all.iter().map(|core| if is_whole(core, halo, whole) { whole } else { halo });
        let window = |core: Range<usize>| {
            let mut window = Window::new(setup, core, halo)?;
            let seen = window.seen(whole);
            window.record(&images(seen.clone())?, seen.start, None, whole, true)?;
            Ok(window)
        };
        Ok(Self {
            setup: setup.clone(),
            first: first.start,
            reach: reach.max().unwrap_or(halo),
            windows: own.into_iter().map(window).collect::<Result<_>>()?,
        })
    }

    fn rows(&self) -> usize {
        self.windows.iter().map(|window| window.core.len()).sum()
    }
}

/// The misfit of some shots in the windows of the rows held here.
#[derive(Clone, Copy)]
pub struct InOwnWindows<'a> {
    /// The windows.
    pub windows: &'a OwnWindows,
    /// The shots.
    pub shots: &'a [usize],
}

impl Objective for InOwnWindows<'_> {
    fn check(&self, volume: &Volume) -> Result<()> {
        volume.check_shape("rows of windows", self.windows.setup.volume.with_rows(self.windows.rows()))
    }

    fn gradient(&self, at: &Volume, rows: &mut dyn Rows, gradient: &mut Volume) -> Result<Misfit> {
        let OwnWindows { setup, first, reach, windows } = self.windows;
        let [above, below] = rows.beside(at, *reach)?;
        // What is here and what its neighbours sent, from the first of these rows on.
        let before = above.as_ref().map_or(0, |above| above.shape().rows);
        let after = below.as_ref().map_or(0, |below| below.shape().rows);
        let mut around = Volume::zeros(at.shape().with_rows(before + at.shape().rows + after));
        around.set_rows(before, at)?;
        above.map_or(Ok(()), |above| around.set_rows(0, &above))?;
        below.map_or(Ok(()), |below| around.set_rows(before + at.shape().rows, &below))?;
        let mut misfits = Vec::with_capacity(windows.len());
        for window in windows {
            let part = window.cut(&around, first - before, setup.volume.rows, true)?;
            let (misfit, slope) = window.gradient(&part, self.shots)?;
            gradient.set_rows(window.core.start - first, &slope)?;
            misfits.push(misfit);
        }
        let losses: Vec<f64> = misfits.iter().map(|misfit| misfit.loss).collect();
        Ok(Misfit { loss: rows.sum(&losses)?, ..total(&misfits) })
    }
}

/// The blocks between cuts.
fn cores(rows: usize, cuts: &[usize]) -> Result<Vec<Range<usize>>> {
    let borders: Vec<usize> = [&[0], cuts, &[rows]].concat();
    if borders.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(Error::parameter("cuts", format!("{cuts:?}"), "rising, within the volume"));
    }
    Ok(borders.windows(2).map(|pair| pair[0]..pair[1]).collect())
}

/// Whether a window would be longer than the whole, and therefore is it.
fn is_whole(core: &Range<usize>, halo: usize, whole: usize) -> bool {
    core.len() + 2 * halo >= whole
}

impl Window {
    /// A window that has no images yet.
    fn new(setup: &Setup, core: Range<usize>, halo: usize) -> Result<Self> {
        let whole = setup.volume.rows;
        let is_whole = is_whole(&core, halo, whole);
        let (before, rows) = if is_whole { (core.start, whole) } else { (halo, core.len() + 2 * halo) };
        let mut part = setup.clone();
        part.volume = setup.volume.with_rows(rows);
        part.counted = before..before + core.len();
        part.vacuum_rows = if is_whole { setup.vacuum_rows } else { 0 };
        Ok(Self { core, before, rows, series: Series::without_images(part)? })
    }

    /// The rows of a volume of so many rows that the window sees, of one that ends in vacuum.
    fn seen(&self, whole: usize) -> Range<usize> {
        let start = self.core.start as isize - self.before as isize;
        start.max(0) as usize..((start + self.rows as isize) as usize).min(whole)
    }

    /// Takes what was recorded, from images whose first row is that one of the whole. Rows beyond the ends were not recorded.
    fn record(
        &mut self,
        images: &Projections,
        first: usize,
        weights: Option<&Projections>,
        whole: usize,
        is_vacuum: bool,
    ) -> Result<()> {
        let everywhere;
        let weights = match weights {
            None if is_vacuum => {
                everywhere = Projections::from_fn(images.shape(), |_, _, _| 1.0);
                Some(&everywhere)
            }
            weights => weights,
        };
        let weights = weights.map(|weights| self.cut(weights, first, whole, is_vacuum)).transpose()?;
        let images = self.cut(images, first, whole, is_vacuum)?;
        self.series.record(&images, weights.as_ref())
    }

    /// The misfit of some shots, and the gradient in the core.
    fn gradient(&self, part: &Volume, shots: &[usize]) -> Result<(Misfit, Volume)> {
        let mut slope = Volume::zeros(part.shape());
        let misfit = self.series.gradient(part, shots, &mut slope)?;
        Ok((misfit, slope.rows(self.before..self.before + self.core.len())?))
    }

    /// The window's rows of a stack that has the rows of a whole of so many, from `first` on. Beyond the ends are zeros if
    /// there is vacuum, else the rows of the other end.
    fn cut(&self, stack: &Stack, first: usize, whole: usize, is_vacuum: bool) -> Result<Stack> {
        let (whole, first) = (whole as isize, first as isize);
        let held = first..first + stack.shape().rows as isize;
        let start = self.core.start as isize - self.before as isize;
        let mut part = Stack::zeros(stack.shape().with_rows(self.rows));
        // The stack, and its images beside it.
        for image in if is_vacuum { 0..=0 } else { -1..=1 } {
            let from = (start - image * whole).max(held.start);
            let to = (start + self.rows as isize - image * whole).min(held.end);
            if from < to {
                let place = (from + image * whole - start) as usize;
                part.set_rows(place, &stack.rows((from - first) as usize..(to - first) as usize)?)?;
            }
        }
        Ok(part)
    }
}
