//! Multislice against closed forms, a plain reference, another program, and itself.

mod abtem;
mod derivatives;
mod exact;
mod series;
mod waves;
mod windows;

use super::*;
use proptest::prelude::*;

/// Numbers in 0..1 from a seed; no two seeds alike.
fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..count).map(next).collect()
}

/// A stack of smooth blobs of up to `height` V A, within the band of the waves.
fn blobs(grid: Grid, slices: usize, height: f64, seed: u64) -> Vec<f64> {
    let draws = numbers(seed, slices * 15);
    let mut stack = Vec::with_capacity(slices * grid.len());
    for draws in draws.chunks_exact(15) {
        for x in 0..grid.x {
            for y in 0..grid.y {
                let mut value = 0.0;
                for blob in draws.chunks_exact(5) {
                    let around = |at: usize, centre: f64, n: usize| {
                        let n = n as f64;
                        (at as f64 - centre * n + 1.5 * n) % n - 0.5 * n
                    };
                    let (dx, dy) = (around(x, blob[0], grid.x), around(y, blob[1], grid.y));
                    let width = 1.5 + blob[2];
                    value += height * blob[3] * (-(dx * dx + dy * dy) / (2.0 * width * width)).exp();
                }
                stack.push(value);
            }
        }
    }
    stack
}

fn microscope() -> Microscope {
    Microscope::ideal(300e3).unwrap()
}

/// A microscope with everything switched on.
fn full_microscope() -> Microscope {
    Microscope {
        slice_aperture: Aperture::Corner,
        spherical_aberration_angstrom: 1e7,
        focal_spread_angstrom: 50.0,
        source_angle_rad: 2e-4,
        absorption: 0.07,
        ..microscope()
    }
}

fn optics(microscope: Microscope, x: usize, y: usize, pixel: f64, slice: f64) -> Optics<f64> {
    Optics::new(microscope, Grid::new(x, y, pixel).unwrap(), slice).unwrap()
}

fn rms(left: &[C<f64>], right: &[C<f64>]) -> f64 {
    assert_eq!(left.len(), right.len());
    let sum: f64 = left.iter().zip(right).map(|(a, b)| (a - b).norm_sqr()).sum();
    (sum / left.len() as f64).sqrt()
}

/// The transform of a plane `[x][y]` by its definition; `sign` -1 forth, +1 back with the division.
fn transform(grid: Grid, wave: &[C<f64>], sign: f64) -> Vec<C<f64>> {
    let roots = |n: usize| -> Vec<C<f64>> {
        (0..n).map(|k| C::from_polar(1.0, sign * std::f64::consts::TAU * k as f64 / n as f64)).collect()
    };
    let (roots_x, roots_y) = (roots(grid.x), roots(grid.y));
    let mut half = vec![C::default(); grid.len()];
    let mut whole = half.clone();
    for x in 0..grid.x {
        for ky in 0..grid.y {
            half[x * grid.y + ky] =
                (0..grid.y).map(|y| wave[x * grid.y + y] * roots_y[ky * y % grid.y]).sum();
        }
    }
    for kx in 0..grid.x {
        for ky in 0..grid.y {
            whole[kx * grid.y + ky] =
                (0..grid.x).map(|x| half[x * grid.y + ky] * roots_x[kx * x % grid.x]).sum();
        }
    }
    let scale = if sign > 0.0 { 1.0 / grid.len() as f64 } else { 1.0 };
    whole.iter().map(|value| value * scale).collect()
}

/// `F^-1[ factor(|k|) F wave ]` by definition.
fn filter(grid: Grid, wave: &[C<f64>], factor: impl Fn(f64) -> C<f64>) -> Vec<C<f64>> {
    let mut spectrum = transform(grid, wave, -1.0);
    for kx in 0..grid.x {
        for ky in 0..grid.y {
            spectrum[kx * grid.y + ky] *= factor(grid.frequency(kx, ky));
        }
    }
    transform(grid, &spectrum, 1.0)
}

/// Multislice as its formulas say it, with nothing fused. `limit` acts on every transmission function.
fn reference(
    microscope: &Microscope,
    grid: Grid,
    (slices, slice_angstrom): (usize, f64),
    stack: &[f64],
    focus: Focus,
    limit: Option<Aperture>,
) -> Vec<C<f64>> {
    let pixel = grid.pixel_angstrom;
    let mut wave = vec![C::new(1.0, 0.0); grid.len()];
    for (slice, v) in stack.chunks_exact(grid.len()).enumerate() {
        let exponent = C::new(-microscope.absorption, 1.0) * microscope.beam.interaction;
        let mut transmission: Vec<C<f64>> = v.iter().map(|v| (exponent * *v).exp()).collect();
        if let Some(limit) = limit {
            transmission = filter(grid, &transmission, |k| C::new(limit.transmission(k, pixel), 0.0));
        }
        wave.iter_mut().zip(&transmission).for_each(|(wave, t)| *wave *= t);
        if slice + 1 < slices {
            wave = filter(grid, &wave, |k| microscope.slice_kernel(k, slice_angstrom, pixel));
        }
    }
    let exit = (slices - 1) as f64 / 2.0 * slice_angstrom;
    filter(grid, &wave, |k| microscope.transfer(k, focus, exit, pixel))
}
