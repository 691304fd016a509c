//! The linear model of thin samples that scatter weakly.
//!
//! If the phase `sigma v` of a projected potential is small, the image is linear in it:
//!
//! ```text
//! I = 1 + 2 F^-1[ CTF F (sigma v) ],   CTF(k) = sin(chi(k)) A(k) E(k)
//! ```
//!
//! (Reimer, Transmission Electron Microscopy, section 6.4; `chi` as in [`Microscope`], zeros of the contrast transfer
//! function are lost in one image and found in another of another focus.) Multislice with weak slices must agree with
//! it, and does in the tests; a ray projector can follow it once images are corrected by [`WeakPhase::restore`].

use super::plane::{Fourier, Grid, Kernel, Plane, Scratch, Way};
use super::{C, Focus, Microscope, Real};
use crate::{Error, Result};

/// The images of a thin weak sample at some foci, and its restoration from them.
pub struct WeakPhase<T> {
    fourier: Fourier<T>,
    transfers: Vec<Kernel<T>>,
    restoring: Kernel<T>,
    interaction: f64,
}

impl<T: Real> WeakPhase<T> {
    /// Prepares transfer functions. `noise` is the power of noise over that of signal at full contrast; it keeps
    /// [`WeakPhase::restore`] from dividing by zeros of the contrast transfer function.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the microscope's numbers are unusable, there is no focus, or noise is not positive.
    pub fn new(microscope: &Microscope, grid: Grid, foci: &[Focus], noise: f64) -> Result<Self> {
        microscope.check()?;
        if foci.is_empty() {
            return Err(Error::parameter("number of foci", 0, "at least 1"));
        }
        if !(noise > 0.0 && noise.is_finite()) {
            return Err(Error::parameter("power of noise", noise, "positive"));
        }
        let contrast = |k, focus: &Focus| microscope.contrast_transfer(k, *focus, grid.pixel_angstrom);
        let real = |value| C::new(value, 0.0);
        let transfers = foci.iter().map(|focus| Kernel::radial(grid, |k| real(contrast(k, focus)))).collect();
        let interaction = microscope.beam.interaction;
        // The transfer functions bring a division by the number of pixels that is not wanted twice.
        let scale = grid.len() as f64 / (2.0 * interaction);
        let power = |k| foci.iter().map(|focus| contrast(k, focus).powi(2)).sum::<f64>();
        let restoring = Kernel::radial(grid, |k| real(scale / (power(k) + noise)));
        Ok(Self { fourier: Fourier::new(grid), transfers, restoring, interaction })
    }

    /// The intensities, `[focus][x'][y]`, of a projected potential `[x'][y]` in V A.
    ///
    /// # Errors
    /// [`Error::Shape`] if the projection is not of this grid.
    pub fn images(&self, projection: &[T]) -> Result<Vec<T>> {
        self.check("projected potential", 1, projection.len())?;
        let (mut plane, mut scratch, mut spectrum) = self.memory();
        self.load(projection, T::zero(), T::of(2.0 * self.interaction), &mut plane, &mut scratch);
        self.fourier.columns_into(&plane, &mut spectrum, &mut scratch);
        let mut images = Vec::with_capacity(self.transfers.len() * projection.len());
        for transfer in &self.transfers {
            self.fourier.columns_from(&spectrum, Some(transfer), &mut plane, &mut scratch);
            for row in plane.rows_mut() {
                self.fourier.row(Way::Back, row, &mut scratch);
                images.extend(row.iter().map(|value| T::one() + value.re));
            }
        }
        Ok(images)
    }

    /// The projected potential `[x'][y]` in V A that explains images `[focus][x'][y]` best, by Wiener's filter.
    ///
    /// # Errors
    /// [`Error::Shape`] if the images are not of this grid and these foci.
    pub fn restore(&self, images: &[T]) -> Result<Vec<T>> {
        self.check("images", self.transfers.len(), images.len())?;
        let (mut plane, mut scratch, mut spectrum) = self.memory();
        for (image, transfer) in images.chunks_exact(self.fourier.grid.len()).zip(&self.transfers) {
            self.load(image, T::one(), T::one(), &mut plane, &mut scratch);
            self.fourier.columns_onto(&plane, transfer, &mut spectrum, &mut scratch);
        }
        self.fourier.columns_from(&spectrum, Some(&self.restoring), &mut plane, &mut scratch);
        let mut projection = Vec::with_capacity(self.fourier.grid.len());
        for row in plane.rows_mut() {
            self.fourier.row(Way::Back, row, &mut scratch);
            projection.extend(row.iter().map(|value| value.re));
        }
        Ok(projection)
    }

    /// Puts `(image - offset) * factor` into a plane, transformed along y.
    fn load(&self, image: &[T], offset: T, factor: T, plane: &mut Plane<T>, scratch: &mut Scratch<T>) {
        for (row, image) in plane.rows_mut().zip(image.chunks_exact(self.fourier.grid.y)) {
            for (value, pixel) in row.iter_mut().zip(image) {
                *value = C::new((*pixel - offset) * factor, T::zero());
            }
            self.fourier.row(Way::Forth, row, scratch);
        }
    }

    fn memory(&self) -> (Plane<T>, Scratch<T>, Vec<C<T>>) {
        let grid = self.fourier.grid;
        (Plane::new(grid), self.fourier.scratch(), vec![C::default(); grid.len()])
    }

    fn check(&self, what: &'static str, planes: usize, found: usize) -> Result<()> {
        let Grid { x, y, .. } = self.fourier.grid;
        if found == planes * x * y {
            return Ok(());
        }
        Err(Error::Shape { what, expected: [planes, y, x], found: [found.div_ceil(x * y), y, x] })
    }
}
