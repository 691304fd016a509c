//! How far a predicted wave is from a recorded image.
//!
//! Recorded images are intensities, as multiples of the intensity of the beam without a sample, one number for the
//! whole series. They are never normalised each by its own mean: parts of an image have other means than the whole,
//! and sub-volumes would disagree about what vacuum is.
//!
//! A loss is a sum over pixels of a function of the wave `psi`. Its derivative is given as the *residual wave* `q`, for
//! which a small change of the wave changes the loss by `sum Re(conj(q) dpsi)`. Sums are `f64`, in eight interleaved
//! parts per row, rows in their order.

use super::{C, Real};
use multiversion::multiversion;
use serde::{Deserialize, Serialize};

/// Interleaved partial sums of a row.
const PARTS: usize = 8;
/// Below this intensity Poisson statistics are evaluated as if it were this: an empty pixel has no logarithm.
const DARK: f64 = 1e-6;

/// A measure of misfit between a wave and an intensity `m`, for weights `w`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// `w (|psi| - sqrt(m))^2 / 2`: stabilises the variance of counted electrons, and its curvature is bounded.
    #[default]
    Amplitude,
    /// `w (|psi|^2 - m)^2 / 2`.
    Intensity,
    /// `w (|psi|^2 - m - m ln(|psi|^2 / m))`: the likelihood of counted electrons, 0 where the image is met.
    Poisson,
}

impl Loss {
    /// How much larger the curvature of this loss can be than that of amplitudes, where the modulus of no wave is above the
    /// brightest recorded pixel's: `|psi|^2` enters the curvature of intensities.
    pub fn steepness(self, brightest: f64) -> f64 {
        match self {
            Self::Amplitude => 1.0,
            Self::Poisson => 4.0,
            Self::Intensity => 4.0 * brightest.max(1.0),
        }
    }

    /// A pixel: its loss, and the factor by which the wave is multiplied to become the residual wave.
    #[inline(always)]
    fn pixel<T: Real>(self, wave: C<T>, recorded: T, weight: T) -> (T, T) {
        let intensity = wave.norm_sqr();
        let half = T::of(0.5);
        match self {
            Self::Amplitude => {
                let modulus = intensity.root();
                let residual = modulus - recorded.root();
                let factor = if modulus > T::zero() { weight * residual / modulus } else { T::zero() };
                (half * weight * residual * residual, factor)
            }
            Self::Intensity => {
                let residual = intensity - recorded;
                (half * weight * residual * residual, T::of(2.0) * weight * residual)
            }
            Self::Poisson => {
                let dark = T::of(DARK);
                let intensity = if intensity > dark { intensity } else { dark };
                let ratio = recorded / intensity;
                let logarithm = if recorded > T::zero() { T::of(ratio.wide().ln()) } else { T::zero() };
                let loss = weight * (intensity - recorded + recorded * logarithm);
                (loss, T::of(2.0) * weight * (T::one() - ratio))
            }
        }
    }

    /// A pixel's row of the Gauss-Newton matrix: from a wave and its change, the residual wave's change.
    pub(super) fn curvature<T: Real>(self, wave: C<T>, change: C<T>, weight: T) -> C<T> {
        let intensity = wave.norm_sqr();
        let slope = weight * (wave.re * change.re + wave.im * change.im);
        let factor = match self {
            Self::Intensity => T::of(4.0) * slope,
            Self::Amplitude if intensity > T::zero() => slope / intensity,
            Self::Poisson if intensity > T::zero() => T::of(4.0) * slope / intensity,
            Self::Amplitude | Self::Poisson => T::zero(),
        };
        wave * factor
    }
}

#[inline(always)]
fn row<T: Real>(loss: Loss, waves: &mut [C<T>], recorded: &[T], weights: Option<&[T]>) -> f64 {
    let mut sums = [0.0; PARTS];
    let mut pixel = |part: usize, wave: &mut C<T>, recorded: T, weight: T| {
        let (loss, factor) = loss.pixel(*wave, recorded, weight);
        *wave *= factor;
        sums[part] += loss.wide();
    };
    if let Some(weights) = weights {
        for (index, ((wave, recorded), weight)) in waves.iter_mut().zip(recorded).zip(weights).enumerate() {
            pixel(index % PARTS, wave, *recorded, *weight);
        }
    } else {
        for (waves, recorded) in waves.chunks_mut(PARTS).zip(recorded.chunks(PARTS)) {
            for (part, (wave, recorded)) in waves.iter_mut().zip(recorded).enumerate() {
                pixel(part, wave, *recorded, T::one());
            }
        }
    }
    sums.iter().sum()
}

/// Turns a row of waves into residual waves, and returns its loss. Without weights all are 1.
#[multiversion(targets("x86_64+avx512f+avx512vl+avx512dq+avx512bw+avx2", "x86_64+avx2"))]
pub(super) fn residual_row<T: Real>(
    loss: Loss,
    waves: &mut [C<T>],
    recorded: &[T],
    weights: Option<&[T]>,
) -> f64 {
    // One loop per loss, each without a branch inside.
    match loss {
        Loss::Amplitude => row(Loss::Amplitude, waves, recorded, weights),
        Loss::Intensity => row(Loss::Intensity, waves, recorded, weights),
        Loss::Poisson => row(Loss::Poisson, waves, recorded, weights),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Loss; 3] = [Loss::Amplitude, Loss::Intensity, Loss::Poisson];

    fn value(loss: Loss, wave: C<f64>, recorded: f64, weight: f64) -> f64 {
        loss.pixel(wave, recorded, weight).0
    }

    proptest! {
        #[test]
        fn residual_waves_are_the_derivative(
            re in 0.3..1.5f64, im in -1.0..1.0f64, recorded in 0.0..2.0f64, weight in 0.1..2.0f64
        ) {
            let wave = C::new(re, im);
            let step = 1e-6;
            for loss in ALL {
                let q = wave * loss.pixel(wave, recorded, weight).1;
                let along = |d: C<f64>| {
                    (value(loss, wave + d, recorded, weight) - value(loss, wave - d, recorded, weight)) / (2.0 * step)
                };
                prop_assert!((along(C::new(step, 0.0)) - q.re).abs() < 1e-7);
                prop_assert!((along(C::new(0.0, step)) - q.im).abs() < 1e-7);
            }
        }

        #[test]
        fn a_loss_is_0_where_the_image_is_met_and_positive_elsewhere(recorded in 0.1..2.0f64, off in 0.01..0.5f64) {
            for loss in ALL {
                let met = C::new(recorded.sqrt(), 0.0);
                prop_assert!(value(loss, met, recorded, 1.0).abs() < 1e-14);
                prop_assert!(value(loss, met * (1.0 + off), recorded, 1.0) > 0.0);
                prop_assert!(value(loss, met * (1.0 - off), recorded, 1.0) > 0.0);
            }
        }
    }

    #[test]
    fn empty_pixels_are_finite() {
        for loss in ALL {
            for recorded in [0.0, 1.0] {
                let (value, factor) = loss.pixel(C::new(0.0, 0.0), recorded, 1.0f64);
                assert!(value.is_finite() && factor.is_finite(), "{loss:?} {recorded}");
            }
        }
    }

    #[test]
    fn weights_of_1_change_no_bit() {
        let waves: Vec<C<f32>> = (0..37).map(|i| C::new(1.0 + 0.01 * i as f32, 0.3)).collect();
        let recorded: Vec<f32> = (0..37).map(|i| 0.5 + 0.03 * i as f32).collect();
        for loss in ALL {
            let (mut bare, mut weighted) = (waves.clone(), waves.clone());
            let ones = [1.0; 37];
            let left = residual_row(loss, &mut bare, &recorded, None);
            let right = residual_row(loss, &mut weighted, &recorded, Some(&ones));
            assert_eq!((left, bare), (right, weighted));
        }
    }
}
