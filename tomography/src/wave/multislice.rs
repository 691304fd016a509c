//! Multislice: a wave through a thick sample, and the gradient of a misfit with respect to every slice.
//!
//! The sample is cut into slices across the beam. A slice of integrated potential `v_s` (V A) multiplies the wave by
//! `t_s = exp(i sigma (1 + i absorption) v_s)`, and free space of one slice's thickness follows:
//!
//! ```text
//! psi <- 1;  for s in 0..S:  psi <- t_s psi;  W_s = psi;  if s < S - 1: psi <- F^-1[ P F psi ]
//! psi_j = F^-1[ H_j F psi ],   I_j = |psi_j|^2      H_j starts from the last slice, (S - 1)/2 thicknesses downstream
//! ```
//!
//! (Cowley and Moodie 1957; Ren, Ophus, Chen, Waller, Ultramicroscopy 208 (2020) 112860, section 2.) With the residual
//! waves `q_j` of a loss ([`Loss`]), the chain rule runs the same way back, with conjugates:
//!
//! ```text
//! q <- F^-1[ sum_j conj(H_j) F q_j ]
//! for s in S-1..=0:  df/dv_s = sigma (Im(q conj(W_s)) - absorption Re(q conj(W_s)))
//!                    q <- conj(t_s) q;  if s > 0: q <- F^-1[ conj(P) F q ]
//! ```
//!
//! so a gradient costs two waves, whatever the number of unknowns. `W_s` is kept, or every sqrt(S)-th is kept and the
//! others are computed again; both give the same bits. Everything here runs on one thread, and several tilts run side
//! by side: no result depends on how many threads there are.
//!
//! A stack is `[slice][x'][y]`, images are `[focus][x'][y]`.

use super::kernels::{self, Action};
use super::loss::residual_row;
use super::plane::{Fourier, Grid, Kernel, Plane, Scratch, Way};
use super::{C, Focus, Loss, Microscope, Real};
use crate::{Error, Result};
use std::ops::Range;

/// A microscope prepared for waves on one grid and slices of one thickness.
pub struct Optics<T> {
    microscope: Microscope,
    fourier: Fourier<T>,
    slice: Kernel<T>,
    slice_angstrom: f64,
}

impl<T: Real> Optics<T> {
    /// Prepares transforms and the kernel of free space.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the microscope's numbers or the thickness are unusable.
    pub fn new(microscope: Microscope, grid: Grid, slice_angstrom: f64) -> Result<Self> {
        microscope.check()?;
        if !(slice_angstrom > 0.0 && slice_angstrom.is_finite()) {
            return Err(Error::parameter("thickness of a slice", slice_angstrom, "positive, in Angstrom"));
        }
        let slice = Kernel::radial(grid, |k| microscope.slice_kernel(k, slice_angstrom, grid.pixel_angstrom));
        Ok(Self { microscope, fourier: Fourier::new(grid), slice, slice_angstrom })
    }

    /// The grid of the waves.
    pub const fn grid(&self) -> Grid {
        self.fourier.grid
    }

    /// The microscope.
    pub const fn microscope(&self) -> &Microscope {
        &self.microscope
    }

    /// The thickest slice whose free space turns no frequency below 2/3 of Nyquist by more than pi/4 against its
    /// neighbour, in Angstrom: `9 p^2 / (4 lambda)`.
    pub fn thickest_slice_angstrom(&self) -> f64 {
        2.25 * self.grid().pixel_angstrom.powi(2) / self.microscope.beam.wavelength_angstrom
    }

    /// An exposure of a sample of so many slices, recorded at these foci.
    ///
    /// # Errors
    /// [`Error::Parameter`] if there is no slice or no focus, or a focus is not finite.
    pub fn exposure(&self, slices: usize, foci: &[Focus]) -> Result<Exposure<'_, T>> {
        if slices == 0 || foci.is_empty() {
            return Err(Error::parameter(
                "number of slices and of foci",
                slices.min(foci.len()),
                "at least 1",
            ));
        }
        if let Some(focus) = foci.iter().find(|focus| !focus.distance_angstrom.is_finite()) {
            return Err(Error::parameter("focus", focus.distance_angstrom, "finite, in Angstrom"));
        }
        let (grid, exit) = (self.grid(), (slices - 1) as f64 / 2.0 * self.slice_angstrom);
        let transfer = |focus: &Focus| {
            Kernel::radial(grid, |k| self.microscope.transfer(k, *focus, exit, grid.pixel_angstrom))
        };
        Ok(Exposure { optics: self, slices, transfers: foci.iter().map(transfer).collect() })
    }

    /// Memory for one thread. With `checkpoints`, gradients keep only every sqrt(S)-th wave and compute the others
    /// again: less memory, a third more time, the same bits.
    pub fn workspace(&self, checkpoints: bool) -> Workspace<T> {
        let plane = Plane::new(self.grid());
        let spectrum = vec![C::default(); self.grid().len()];
        Workspace {
            second: plane.clone(),
            plane,
            residual: spectrum.clone(),
            spectrum,
            scratch: self.fourier.scratch(),
            checkpoints,
            waves: Waves { interval: 1, kept: Vec::new(), segment: Vec::new(), first: usize::MAX },
        }
    }

    fn action(&self) -> Action<T> {
        Action {
            interaction: T::of(self.microscope.beam.interaction),
            absorption: T::of(self.microscope.absorption),
        }
    }
}

/// The memory of one thread, used again from call to call.
#[derive(Clone, Debug)]
pub struct Workspace<T> {
    plane: Plane<T>,
    second: Plane<T>,
    spectrum: Vec<C<T>>,
    residual: Vec<C<T>>,
    scratch: Scratch<T>,
    checkpoints: bool,
    waves: Waves<T>,
}

/// The waves `W_s`: those of every `interval`-th slice, and of one segment between two of them.
#[derive(Clone, Debug)]
struct Waves<T> {
    interval: usize,
    kept: Vec<C<T>>,
    segment: Vec<C<T>>,
    /// The slice before the segment, a multiple of the interval.
    first: usize,
}

impl<T: Real> Waves<T> {
    /// Makes room for the waves of a sample.
    fn prepare(&mut self, slices: usize, pixels: usize, checkpoints: bool) {
        self.interval = if checkpoints { (slices as f64).sqrt().ceil() as usize } else { 1 };
        self.kept.resize(slices.div_ceil(self.interval) * pixels, C::default());
        self.segment.resize((self.interval - 1) * pixels, C::default());
        self.first = usize::MAX;
    }

    fn kept_mut(&mut self, slice: usize, pixels: usize) -> Option<&mut [C<T>]> {
        let index = slice / self.interval * pixels;
        slice.is_multiple_of(self.interval).then(|| &mut self.kept[index..index + pixels])
    }

    fn of(&self, slice: usize, pixels: usize) -> &[C<T>] {
        let (store, index) = match slice % self.interval {
            0 => (&self.kept, slice / self.interval),
            after => (&self.segment, after - 1),
        };
        &store[index * pixels..(index + 1) * pixels]
    }
}

/// What was recorded of an exposure.
#[derive(Clone, Debug)]
pub struct Recorded<'a, T> {
    /// Intensities as multiples of that of the bare beam, `[focus][x'][y]`.
    pub intensities: &'a [T],
    /// How much each pixel counts; all 1 if none are given. 0 for pixels that were not recorded.
    pub weights: Option<&'a [T]>,
    /// The values of y whose pixels the reported loss sums. All pixels act on the gradient.
    pub counted: Range<usize>,
}

impl<'a, T> Recorded<'a, T> {
    /// Images of which every pixel counts the same.
    pub const fn new(intensities: &'a [T]) -> Self {
        Self { intensities, weights: None, counted: 0..usize::MAX }
    }
}

/// The misfit of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Misfit {
    /// The loss, summed over foci and pixels.
    pub loss: f64,
    /// The share of the exit wave's energy beyond 2/3 of Nyquist. Above [`Misfit::ALIASED`] the pixels are too coarse
    /// for this sample, and images are wrong.
    pub energy_outside: f64,
}

impl Misfit {
    /// The largest acceptable share of energy beyond 2/3 of Nyquist.
    pub const ALIASED: f64 = 1e-4;

    /// That of rays, whose pixels cannot be too coarse.
    pub const fn of_rays(loss: f64) -> Self {
        Self { loss, energy_outside: 0.0 }
    }
}

/// One tilt: a number of slices and the foci at which it is recorded.
pub struct Exposure<'a, T> {
    optics: &'a Optics<T>,
    slices: usize,
    transfers: Vec<Kernel<T>>,
}

impl<T: Real> Exposure<'_, T> {
    /// The waves at the camera, `[focus][x'][y]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the stack is not of this exposure.
    pub fn waves(&self, stack: &[T], ws: &mut Workspace<T>) -> Result<Vec<C<T>>> {
        self.check("stack of slices", self.slices, stack.len())?;
        self.to_exit(stack, ws, false);
        let mut waves = Vec::with_capacity(self.transfers.len() * self.pixels());
        let Workspace { plane, spectrum, scratch, .. } = ws;
        self.at_camera(spectrum, plane, scratch, |_, _, row| waves.extend_from_slice(row));
        Ok(waves)
    }

    /// The intensities at the camera, `[focus][x'][y]`, as multiples of that of the bare beam.
    ///
    /// # Errors
    /// [`Error::Shape`] if the stack is not of this exposure.
    pub fn intensities(&self, stack: &[T], ws: &mut Workspace<T>) -> Result<Vec<T>> {
        Ok(self.waves(stack, ws)?.iter().map(C::norm_sqr).collect())
    }

    /// The misfit to recorded images, without the gradient.
    ///
    /// # Errors
    /// [`Error::Shape`] if stack or images are not of this exposure.
    pub fn misfit(
        &self,
        stack: &[T],
        recorded: &Recorded<'_, T>,
        loss: Loss,
        ws: &mut Workspace<T>,
    ) -> Result<Misfit> {
        self.check_recorded(stack, recorded)?;
        self.to_exit(stack, ws, false);
        let mut sum = 0.0;
        let Workspace { plane, spectrum, scratch, .. } = ws;
        self.at_camera(spectrum, plane, scratch, |focus, x, row| {
            sum += self.residual_row(recorded, loss, focus, x, row);
        });
        Ok(Misfit { loss: sum, energy_outside: self.optics.fourier.energy_outside(spectrum) })
    }

    /// The misfit to recorded images, and its gradient with respect to every slice's integrated potential (1/(V A)).
    ///
    /// # Errors
    /// [`Error::Shape`] if stack, images or gradient are not of this exposure.
    pub fn gradient(
        &self,
        stack: &[T],
        recorded: &Recorded<'_, T>,
        loss: Loss,
        ws: &mut Workspace<T>,
        gradient: &mut [T],
    ) -> Result<Misfit> {
        self.check_recorded(stack, recorded)?;
        self.check("gradient", self.slices, gradient.len())?;
        self.to_exit(stack, ws, true);
        let mut sum = 0.0;
        self.return_residuals(ws, |focus, x, row| {
            sum += self.residual_row(recorded, loss, focus, x, row);
        });
        self.to_entrance(stack, ws, gradient);
        Ok(Misfit { loss: sum, energy_outside: self.optics.fourier.energy_outside(&ws.spectrum) })
    }

    /// The derivative of the waves at the camera along a change of the stack, `[focus][x'][y]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if stack or change are not of this exposure.
    pub fn tangent(&self, stack: &[T], change: &[T], ws: &mut Workspace<T>) -> Result<Vec<C<T>>> {
        self.check("stack of slices", self.slices, stack.len())?;
        self.check("change of a stack", self.slices, change.len())?;
        let (fourier, pixels, y) = (&self.optics.fourier, self.pixels(), self.optics.grid().y);
        let Workspace { plane, second, spectrum, scratch, .. } = ws;
        plane.fill(C::new(T::one(), T::zero()));
        second.fill(C::default());
        for (slice, (v, dv)) in stack.chunks_exact(pixels).zip(change.chunks_exact(pixels)).enumerate() {
            if slice > 0 {
                fourier.columns(plane, &self.optics.slice, false, scratch);
                fourier.columns(second, &self.optics.slice, false, scratch);
            }
            let potentials = v.chunks_exact(y).zip(dv.chunks_exact(y));
            for ((wave, change), (v, dv)) in plane.rows_mut().zip(second.rows_mut()).zip(potentials) {
                if slice > 0 {
                    fourier.row(Way::Back, wave, scratch);
                    fourier.row(Way::Back, change, scratch);
                }
                kernels::transmit_change(wave, change, v, dv, self.optics.action());
                fourier.row(Way::Forth, wave, scratch);
                fourier.row(Way::Forth, change, scratch);
            }
        }
        fourier.columns_into(second, spectrum, scratch);
        let mut waves = Vec::with_capacity(self.transfers.len() * pixels);
        self.at_camera(spectrum, plane, scratch, |_, _, row| waves.extend_from_slice(row));
        Ok(waves)
    }

    /// The adjoint of [`Exposure::tangent`]: the stack `g` with `<g, change> = Re <residuals, tangent(change)>`.
    ///
    /// # Errors
    /// [`Error::Shape`] if stack or residual waves are not of this exposure.
    pub fn adjoint(&self, stack: &[T], residuals: &[C<T>], ws: &mut Workspace<T>) -> Result<Vec<T>> {
        self.check("stack of slices", self.slices, stack.len())?;
        self.check("residual waves", self.transfers.len(), residuals.len())?;
        self.to_exit(stack, ws, true);
        self.return_residuals(ws, |focus, x, row| {
            let start = focus * self.pixels() + x * row.len();
            row.copy_from_slice(&residuals[start..start + row.len()]);
        });
        let mut gradient = vec![T::zero(); stack.len()];
        self.to_entrance(stack, ws, &mut gradient);
        Ok(gradient)
    }

    /// The product of the loss's Gauss-Newton matrix at a stack with a change of it. Its largest eigenvalue bounds the
    /// step of gradient methods.
    ///
    /// # Errors
    /// [`Error::Shape`] if stack, change or weights are not of this exposure.
    pub fn gauss_newton(
        &self,
        stack: &[T],
        change: &[T],
        weights: Option<&[T]>,
        loss: Loss,
        ws: &mut Workspace<T>,
    ) -> Result<Vec<T>> {
        if let Some(weights) = weights {
            self.check("weights", self.transfers.len(), weights.len())?;
        }
        let waves = self.waves(stack, ws)?;
        let mut residuals = self.tangent(stack, change, ws)?;
        for (index, (residual, wave)) in residuals.iter_mut().zip(waves).enumerate() {
            *residual = loss.curvature(wave, *residual, weights.map_or(T::one(), |weights| weights[index]));
        }
        self.adjoint(stack, &residuals, ws)
    }

    fn pixels(&self) -> usize {
        self.optics.grid().len()
    }

    fn check(&self, what: &'static str, planes: usize, found: usize) -> Result<()> {
        let Grid { x, y, .. } = self.optics.grid();
        if found == planes * x * y {
            return Ok(());
        }
        Err(Error::Shape { what, expected: [planes, y, x], found: [found.div_ceil(x * y), y, x] })
    }

    fn check_recorded(&self, stack: &[T], recorded: &Recorded<'_, T>) -> Result<()> {
        self.check("stack of slices", self.slices, stack.len())?;
        self.check("recorded images", self.transfers.len(), recorded.intensities.len())?;
        recorded.weights.map_or(Ok(()), |weights| self.check("weights", self.transfers.len(), weights.len()))
    }

    /// From the plane wave to the spectrum behind the last slice.
    fn to_exit(&self, stack: &[T], ws: &mut Workspace<T>, keep: bool) {
        let Workspace { plane, spectrum, scratch, waves, checkpoints, .. } = ws;
        let pixels = self.pixels();
        if keep {
            waves.prepare(self.slices, pixels, *checkpoints);
        }
        plane.fill(C::new(T::one(), T::zero()));
        for slice in 0..self.slices {
            let kept = if keep { waves.kept_mut(slice, pixels) } else { None };
            self.cross(slice, stack, plane, scratch, kept);
        }
        self.optics.fourier.columns_into(plane, spectrum, scratch);
    }

    /// Through the free space in front of a slice, and the slice. The wave is a spectrum in y before and after; the
    /// first slice takes it as it is.
    fn cross(
        &self,
        slice: usize,
        stack: &[T],
        plane: &mut Plane<T>,
        scratch: &mut Scratch<T>,
        keep: Option<&mut [C<T>]>,
    ) {
        let (fourier, pixels, y) = (&self.optics.fourier, self.pixels(), self.optics.grid().y);
        if slice > 0 {
            fourier.columns(plane, &self.optics.slice, false, scratch);
        }
        let mut kept = keep.map(|wave| wave.chunks_exact_mut(y));
        let potential = stack[slice * pixels..(slice + 1) * pixels].chunks_exact(y);
        for (row, v) in plane.rows_mut().zip(potential) {
            if slice > 0 {
                fourier.row(Way::Back, row, scratch);
            }
            kernels::transmit(row, v, self.optics.action(), kept.as_mut().and_then(Iterator::next));
            fourier.row(Way::Forth, row, scratch);
        }
    }

    /// From a spectrum behind the last slice to the camera, row by row: `visit(focus, x', row)`.
    fn at_camera(
        &self,
        spectrum: &[C<T>],
        plane: &mut Plane<T>,
        scratch: &mut Scratch<T>,
        mut visit: impl FnMut(usize, usize, &mut [C<T>]),
    ) {
        for (focus, transfer) in self.transfers.iter().enumerate() {
            self.optics.fourier.columns_from(spectrum, Some(transfer), plane, scratch);
            for (x, row) in plane.rows_mut().enumerate() {
                self.optics.fourier.row(Way::Back, row, scratch);
                visit(focus, x, row);
            }
        }
    }

    /// Turns a row of waves at the camera into residual waves; returns the loss of its counted pixels.
    fn residual_row(
        &self,
        recorded: &Recorded<'_, T>,
        loss: Loss,
        focus: usize,
        x: usize,
        row: &mut [C<T>],
    ) -> f64 {
        let first = focus * self.pixels() + x * row.len();
        let Range { start, end } = recorded.counted.clone();
        let (start, end) = (start.min(row.len()), end.min(row.len()));
        let part = |row: &mut [C<T>], from: usize| {
            let pixels = first + from..first + from + row.len();
            let weights = recorded.weights.map(|weights| &weights[pixels.clone()]);
            residual_row(loss, row, &recorded.intensities[pixels], weights)
        };
        part(&mut row[..start], 0);
        part(&mut row[end..], end);
        part(&mut row[start..end], start)
    }

    /// Brings the wave to the camera, lets `visit` turn it into residual waves, and brings those back to the last slice.
    fn return_residuals(&self, ws: &mut Workspace<T>, mut visit: impl FnMut(usize, usize, &mut [C<T>])) {
        let fourier = &self.optics.fourier;
        let Workspace { plane, spectrum, residual, scratch, .. } = ws;
        residual.fill(C::default());
        for (focus, transfer) in self.transfers.iter().enumerate() {
            fourier.columns_from(spectrum, Some(transfer), plane, scratch);
            for (x, row) in plane.rows_mut().enumerate() {
                fourier.row(Way::Back, row, scratch);
                visit(focus, x, row);
                fourier.row(Way::Forth, row, scratch);
            }
            fourier.columns_onto(plane, transfer, residual, scratch);
        }
    }

    /// From the residual wave behind the last slice to the first, collecting the gradient.
    fn to_entrance(&self, stack: &[T], ws: &mut Workspace<T>, gradient: &mut [T]) {
        let (fourier, pixels, y) = (&self.optics.fourier, self.pixels(), self.optics.grid().y);
        let Workspace { plane, second, residual, scratch, waves, .. } = ws;
        fourier.columns_from(residual, None, plane, scratch);
        for slice in (0..self.slices).rev() {
            self.recompute(slice, stack, second, scratch, waves);
            let range = slice * pixels..(slice + 1) * pixels;
            let wave = waves.of(slice, pixels).chunks_exact(y);
            let slices = stack[range.clone()].chunks_exact(y).zip(gradient[range].chunks_exact_mut(y));
            for ((row, wave), (v, gradient)) in plane.rows_mut().zip(wave).zip(slices) {
                fourier.row(Way::Back, row, scratch);
                kernels::return_through(row, wave, v, self.optics.action(), gradient);
                if slice > 0 {
                    fourier.row(Way::Forth, row, scratch);
                }
            }
            if slice > 0 {
                fourier.columns(plane, &self.optics.slice, true, scratch);
            }
        }
    }

    /// Computes the waves between two kept ones again, unless that of this slice is there.
    fn recompute(
        &self,
        slice: usize,
        stack: &[T],
        plane: &mut Plane<T>,
        scratch: &mut Scratch<T>,
        waves: &mut Waves<T>,
    ) {
        let (pixels, y) = (self.pixels(), self.optics.grid().y);
        let first = slice - slice % waves.interval;
        if slice == first || waves.first == first {
            return;
        }
        for (row, wave) in plane.rows_mut().zip(waves.of(first, pixels).chunks_exact(y)) {
            row.copy_from_slice(wave);
            self.optics.fourier.row(Way::Forth, row, scratch);
        }
        let between: Range<usize> = first + 1..self.slices.min(first + waves.interval);
        for (slice, wave) in between.zip(waves.segment.chunks_exact_mut(pixels)) {
            self.cross(slice, stack, plane, scratch, Some(wave));
        }
        waves.first = first;
    }
}
