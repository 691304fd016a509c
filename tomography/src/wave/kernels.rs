//! The loops over pixels.
//!
//! Each is compiled several times, for the vector units of common processors, and the best is chosen at run time.
//! All versions give the same bits: they are plain products and sums, one pixel independent of the next.

use super::{C, Real};
use multiversion::multiversion;

/// How a slice acts on a wave: a potential `v` (V A) multiplies it by `exp(i (1 + i absorption) interaction v)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Action<T> {
    pub(super) interaction: T,
    pub(super) absorption: T,
}

impl<T: Real> Action<T> {
    /// The factor `exp(i (1 + i absorption) phase)`. `ABSORBS` says whether absorption is anything but 0.
    #[inline(always)]
    fn transmission<const ABSORBS: bool>(self, potential: T) -> C<T> {
        let phase = self.interaction * potential;
        let (sin, cos) = phase.sine_cosine();
        if !ABSORBS {
            return C::new(cos, sin);
        }
        let amplitude = (-self.absorption * phase).exponential();
        C::new(amplitude * cos, amplitude * sin)
    }

    fn absorbs(self) -> bool {
        self.absorption != T::zero()
    }
}

#[inline(always)]
fn transmit_with<const ABSORBS: bool, T: Real>(
    wave: &mut [C<T>],
    potential: &[T],
    action: Action<T>,
    keep: Option<&mut [C<T>]>,
) {
    if let Some(keep) = keep {
        for ((wave, v), keep) in wave.iter_mut().zip(potential).zip(keep) {
            *wave *= action.transmission::<ABSORBS>(*v);
            *keep = *wave;
        }
    } else {
        for (wave, v) in wave.iter_mut().zip(potential) {
            *wave *= action.transmission::<ABSORBS>(*v);
        }
    }
}

/// Carries a row of the wave through a slice, and keeps a copy of what leaves it.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn transmit<T: Real>(
    wave: &mut [C<T>],
    potential: &[T],
    action: Action<T>,
    keep: Option<&mut [C<T>]>,
) {
    if action.absorbs() {
        transmit_with::<true, T>(wave, potential, action, keep);
    } else {
        transmit_with::<false, T>(wave, potential, action, keep);
    }
}

/// The derivative of [`transmit`]: carries a change of the wave and a change of the potential through a slice.
/// `wave` and `change` enter the slice and leave it.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn transmit_change<T: Real>(
    wave: &mut [C<T>],
    change: &mut [C<T>],
    potential: &[T],
    potential_change: &[T],
    action: Action<T>,
) {
    let turn = C::new(-action.absorption * action.interaction, action.interaction);
    let potentials = potential.iter().zip(potential_change);
    for ((wave, change), (v, dv)) in wave.iter_mut().zip(change).zip(potentials) {
        let transmission = action.transmission::<true>(*v);
        *wave *= transmission;
        *change = *change * transmission + turn * *wave * *dv;
    }
}

#[inline(always)]
fn return_with<const ABSORBS: bool, T: Real>(
    residual: &mut [C<T>],
    wave: &[C<T>],
    potential: &[T],
    action: Action<T>,
    gradient: &mut [T],
) {
    let pixels = residual.iter_mut().zip(wave).zip(potential).zip(gradient);
    for (((residual, wave), v), gradient) in pixels {
        let product = *residual * wave.conj();
        *gradient = action.interaction * (product.im - action.absorption * product.re);
        *residual *= action.transmission::<ABSORBS>(*v).conj();
    }
}

/// The adjoint of [`transmit_change`]: from a residual wave behind a slice and the kept wave there, the gradient with
/// respect to the slice's potential, and the residual wave in front of the slice.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn return_through<T: Real>(
    residual: &mut [C<T>],
    wave: &[C<T>],
    potential: &[T],
    action: Action<T>,
    gradient: &mut [T],
) {
    if action.absorbs() {
        return_with::<true, T>(residual, wave, potential, action, gradient);
    } else {
        return_with::<false, T>(residual, wave, potential, action, gradient);
    }
}

/// `values *= factors`, or their conjugates.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn multiply<T: Real>(values: &mut [C<T>], factors: &[C<T>], conjugate: bool) {
    if conjugate {
        for (value, factor) in values.iter_mut().zip(factors) {
            *value *= factor.conj();
        }
    } else {
        for (value, factor) in values.iter_mut().zip(factors) {
            *value *= *factor;
        }
    }
}

/// `sum += values * conj(factors)`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn add_conjugate_product<T: Real>(sum: &mut [C<T>], values: &[C<T>], factors: &[C<T>]) {
    for ((sum, value), factor) in sum.iter_mut().zip(values).zip(factors) {
        *sum += *value * factor.conj();
    }
}

/// The sum of squared moduli, in eight interleaved partial sums.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn energy<T: Real>(values: &[C<T>]) -> f64 {
    let mut sums = [0.0; 8];
    for values in values.chunks(sums.len()) {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value.norm_sqr().wide();
        }
    }
    sums.iter().sum()
}

/// Copies `columns` adjacent columns of a plane, from `first` on, one after the other into `tile`.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn gather<T: Real>(
    plane: &[C<T>],
    stride: usize,
    first: usize,
    tile: &mut [C<T>],
    tile_stride: usize,
    columns: usize,
) {
    for (x, row) in plane.chunks_exact(stride).enumerate() {
        for (y, value) in row[first..first + columns].iter().enumerate() {
            tile[y * tile_stride + x] = *value;
        }
    }
}

/// The reverse of [`gather`].
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn scatter<T: Real>(
    tile: &[C<T>],
    tile_stride: usize,
    columns: usize,
    plane: &mut [C<T>],
    stride: usize,
    first: usize,
) {
    for (x, row) in plane.chunks_exact_mut(stride).enumerate() {
        for (y, value) in row[first..first + columns].iter_mut().enumerate() {
            *value = tile[y * tile_stride + x];
        }
    }
}
