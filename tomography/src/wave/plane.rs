//! A wave on a grid, and the two passes over it that carry it from slice to slice.
//!
//! Between two slices a wave takes a two-dimensional Fourier transform, a product, and the transform back. Done one
//! after the other these sweep memory about eight times, and transposing costs more than transforming. Here they are
//! fused: a *column pass* takes eight neighbouring columns (a cache line of each row) into the first-level cache, transforms them, multiplies
//! by the kernel, transforms back and returns them; a *row pass* transforms a row back, lets the slice act on it, and
//! transforms it forth again. Two sweeps per slice, and no transposition. Between passes the wave is a wave in x and a
//! spectrum in y.
//!
//! A plane is `[x'][y]`, y innermost, as slabs of the volume deliver it. Rows are a little longer than the grid, lest
//! a power of two puts a column's values into one set of the cache. Spectra and kernels are `[k_y][k_x]`.

use super::{C, Real, kernels};
use crate::{Error, Result};
use rustfft::{Fft, FftPlanner};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Columns that a pass takes at a time.
const TILE: usize = 8;
/// Additional length of a row of a plane or a tile.
const PAD: usize = 16;

/// The pixels of a wave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Extent across the tilt axis (x').
    pub x: usize,
    /// Extent along the tilt axis (y).
    pub y: usize,
    /// Side of a pixel in Angstrom.
    pub pixel_angstrom: f64,
}

impl Grid {
    /// A grid of `x` by `y` pixels.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an empty grid, one beyond 65536 on a side, or a pixel that is no length.
    pub fn new(x: usize, y: usize, pixel_angstrom: f64) -> Result<Self> {
        for (name, extent) in [("extent of the wave in x", x), ("extent of the wave in y", y)] {
            if !(1..=1 << 16).contains(&extent) {
                return Err(Error::parameter(name, extent, "1 to 65536 pixels"));
            }
        }
        if !(pixel_angstrom > 0.0 && pixel_angstrom.is_finite()) {
            return Err(Error::parameter("pixel", pixel_angstrom, "positive, in Angstrom"));
        }
        Ok(Self { x, y, pixel_angstrom })
    }

    /// Number of pixels.
    pub const fn len(self) -> usize {
        self.x * self.y
    }

    /// Whether there is no pixel; a grid from [`Grid::new`] has some.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The modulus of the spatial frequency (1/Angstrom) of a bin of the spectrum.
    pub fn frequency(self, kx: usize, ky: usize) -> f64 {
        let along = |bin: usize, n: usize| {
            let signed = if 2 * bin < n { bin as f64 } else { bin as f64 - n as f64 };
            signed / (n as f64 * self.pixel_angstrom)
        };
        let (kx, ky) = (along(kx, self.x), along(ky, self.y));
        (kx * kx + ky * ky).sqrt()
    }
}

/// A wave, `[x'][y]` with padded rows.
#[derive(Clone, Debug)]
pub(super) struct Plane<T> {
    pub(super) data: Vec<C<T>>,
    pub(super) stride: usize,
    y: usize,
}

impl<T: Real> Plane<T> {
    pub(super) fn new(grid: Grid) -> Self {
        let stride = grid.y + PAD;
        Self { data: vec![C::default(); grid.x * stride], stride, y: grid.y }
    }

    pub(super) fn fill(&mut self, value: C<T>) {
        self.data.fill(value);
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [C<T>]> {
        let y = self.y;
        self.data.chunks_exact_mut(self.stride).map(move |row| &mut row[..y])
    }
}

/// What multiplies a spectrum, `[k_y][k_x]`, with the division by the number of pixels that the transforms leave out.
#[derive(Clone, Debug)]
pub(super) struct Kernel<T> {
    values: Vec<C<T>>,
    /// Which columns (values of `k_y`) are 0 throughout and need no transform.
    dark: Vec<bool>,
    x: usize,
}

impl<T: Real> Kernel<T> {
    /// The kernel whose value at a frequency of modulus `k` is `value(k)`.
    pub(super) fn radial(grid: Grid, value: impl Fn(f64) -> C<f64>) -> Self {
        let scale = 1.0 / grid.len() as f64;
        let mut values = vec![C::default(); grid.len()];
        // The value at -k is that at k: half of each axis is computed, the rest is copied.
        for ky in 0..=grid.y / 2 {
            for kx in 0..=grid.x / 2 {
                let exact = value(grid.frequency(kx, ky)) * scale;
                let rounded = C::new(T::of(exact.re), T::of(exact.im));
                for ky in [ky, (grid.y - ky) % grid.y] {
                    for kx in [kx, (grid.x - kx) % grid.x] {
                        values[ky * grid.x + kx] = rounded;
                    }
                }
            }
        }
        let zero = C::default();
        let dark =
            values.chunks_exact(grid.x).map(|column| column.iter().all(|value| *value == zero)).collect();
        Self { values, dark, x: grid.x }
    }

    fn column(&self, ky: usize) -> Option<&[C<T>]> {
        (!self.dark[ky]).then(|| &self.values[ky * self.x..(ky + 1) * self.x])
    }
}

/// Which way to transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the spectrum.
    Forth,
    /// To the wave. The division by the number of pixels is in the kernels.
    Back,
}

/// The one-dimensional transforms of a grid.
pub(super) struct Fourier<T> {
    pub(super) grid: Grid,
    rows: [Arc<dyn Fft<T>>; 2],
    columns: [Arc<dyn Fft<T>>; 2],
}

/// The memory that transforms need; one per thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch<T> {
    tile: Vec<C<T>>,
    fft: Vec<C<T>>,
}

impl<T: Real> Fourier<T> {
    pub(super) fn new(grid: Grid) -> Self {
        let mut planner = FftPlanner::new();
        let mut plan = |n| [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)];
        Self { grid, rows: plan(grid.y), columns: plan(grid.x) }
    }

    pub(super) fn scratch(&self) -> Scratch<T> {
        let plans = self.rows.iter().chain(&self.columns);
        let fft = plans.map(|plan| plan.get_inplace_scratch_len()).max().unwrap_or(0);
        Scratch { tile: vec![C::default(); TILE * self.tile_stride()], fft: vec![C::default(); fft] }
    }

    fn tile_stride(&self) -> usize {
        self.grid.x + PAD
    }

    pub(super) fn row(&self, way: Way, row: &mut [C<T>], scratch: &mut Scratch<T>) {
        self.rows[way as usize].process_with_scratch(row, &mut scratch.fft);
    }

    fn column(&self, way: Way, column: &mut [C<T>], fft: &mut [C<T>]) {
        self.columns[way as usize].process_with_scratch(column, fft);
    }

    /// The tiles of a plane: first column and number of columns.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> + use<T> {
        let y = self.grid.y;
        (0..y).step_by(TILE).map(move |first| (first, TILE.min(y - first)))
    }

    /// The column pass: transform, product with the kernel or its conjugate, transform back.
    pub(super) fn columns(
        &self,
        plane: &mut Plane<T>,
        kernel: &Kernel<T>,
        conjugate: bool,
        scratch: &mut Scratch<T>,
    ) {
        let stride = self.tile_stride();
        let Scratch { tile, fft } = scratch;
        for (first, count) in self.tiles() {
            let is_dark = (first..first + count).all(|ky| kernel.column(ky).is_none());
            if !is_dark {
                kernels::gather(&plane.data, plane.stride, first, tile, stride, count);
            }
            for (ky, column) in (first..first + count).zip(tile.chunks_exact_mut(stride)) {
                let column = &mut column[..self.grid.x];
                let Some(kernel) = kernel.column(ky) else {
                    column.fill(C::default());
                    continue;
                };
                self.column(Way::Forth, column, fft);
                kernels::multiply(column, kernel, conjugate);
                self.column(Way::Back, column, fft);
            }
            kernels::scatter(tile, stride, count, &mut plane.data, plane.stride, first);
        }
    }

    /// The first half of a column pass: transforms the columns into a spectrum.
    pub(super) fn columns_into(&self, plane: &Plane<T>, spectrum: &mut [C<T>], scratch: &mut Scratch<T>) {
        let x = self.grid.x;
        for (first, count) in self.tiles() {
            let columns = &mut spectrum[first * x..(first + count) * x];
            kernels::gather(&plane.data, plane.stride, first, columns, x, count);
            self.column(Way::Forth, columns, &mut scratch.fft);
        }
    }

    /// Transforms the columns, multiplies by the kernel's conjugate and adds to a spectrum.
    pub(super) fn columns_onto(
        &self,
        plane: &Plane<T>,
        kernel: &Kernel<T>,
        spectrum: &mut [C<T>],
        scratch: &mut Scratch<T>,
    ) {
        let (x, stride) = (self.grid.x, self.tile_stride());
        let Scratch { tile, fft } = scratch;
        for (first, count) in self.tiles() {
            if (first..first + count).all(|ky| kernel.column(ky).is_none()) {
                continue;
            }
            kernels::gather(&plane.data, plane.stride, first, tile, stride, count);
            for (ky, column) in (first..first + count).zip(tile.chunks_exact_mut(stride)) {
                if let Some(kernel) = kernel.column(ky) {
                    let column = &mut column[..x];
                    self.column(Way::Forth, column, fft);
                    kernels::add_conjugate_product(&mut spectrum[ky * x..(ky + 1) * x], column, kernel);
                }
            }
        }
    }

    /// The second half of a column pass: from a spectrum, times a kernel if there is one.
    pub(super) fn columns_from(
        &self,
        spectrum: &[C<T>],
        kernel: Option<&Kernel<T>>,
        plane: &mut Plane<T>,
        scratch: &mut Scratch<T>,
    ) {
        let (x, stride) = (self.grid.x, self.tile_stride());
        let Scratch { tile, fft } = scratch;
        for (first, count) in self.tiles() {
            for (ky, column) in (first..first + count).zip(tile.chunks_exact_mut(stride)) {
                let column = &mut column[..x];
                let factors = kernel.map(|kernel| kernel.column(ky));
                if factors == Some(None) {
                    column.fill(C::default());
                    continue;
                }
                column.copy_from_slice(&spectrum[ky * x..(ky + 1) * x]);
                if let Some(Some(factors)) = factors {
                    kernels::multiply(column, factors, false);
                }
                self.column(Way::Back, column, fft);
            }
            kernels::scatter(tile, stride, count, &mut plane.data, plane.stride, first);
        }
    }

    /// The share of a spectrum's energy beyond 2/3 of Nyquist.
    pub(super) fn energy_outside(&self, spectrum: &[C<T>]) -> f64 {
        let Grid { x, pixel_angstrom, .. } = self.grid;
        let cut = 1.0 / (3.0 * pixel_angstrom);
        let (mut outside, mut total) = (0.0, 0.0);
        for (ky, column) in spectrum.chunks_exact(x).enumerate() {
            // Frequencies rise to the middle of a column and fall from there: those beyond the cut are in the middle.
            let inside = (0..=x / 2).take_while(|kx| self.grid.frequency(*kx, ky) <= cut).count();
            let middle = if inside > x / 2 { 0..0 } else { inside..x + 1 - inside.max(1) };
            total += kernels::energy(column);
            outside += kernels::energy(&column[middle]);
        }
        if total > 0.0 { outside / total } else { 0.0 }
    }
}
