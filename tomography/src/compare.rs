//! How far one volume is from another: bit by bit, voxel by voxel, and frequency by frequency.
//!
//! The Fourier shell correlation compares two volumes on shells of spatial frequency,
//!
//! ```text
//! FSC(k) = Re sum F conj(G) / sqrt(sum |F|^2 sum |G|^2)      sums over the frequencies of a shell
//! ```
//!
//! (Harauz and van Heel, Optik 73 (1986) 146). It is 1 where they agree and about 0 where they have nothing in common;
//! the frequency at which it falls below 0.5, or 0.143 for two reconstructions of halves of the data (Rosenthal and
//! Henderson, J. Mol. Biol. 333 (2003) 721), is taken for the resolution. Shells are one frequency of the longest axis
//! wide and end at Nyquist; what lies beyond, in the corners, belongs to none.

use crate::sum::tree_sum;
use crate::{Result, Shape, Stack, Volume};
use num_complex::Complex;
use rayon::prelude::*;
use rustfft::{Fft, FftPlanner};
use std::sync::Arc;

/// What two volumes have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The norm of the difference over that of the first; 0 if both are 0, infinite if only the first is.
    pub relative_l2: f64,
    /// The largest difference of a voxel.
    pub largest: f32,
    /// Where it is: plane, row, column.
    pub place: [usize; 3],
    /// Voxels that differ in at least one bit.
    pub voxels: u64,
    /// Bits that differ.
    pub bits: u64,
}

/// Compares two volumes of one shape. The first is the reference.
///
/// # Errors
/// [`crate::Error::Shape`] if their shapes differ.
pub fn compare(reference: &Volume, other: &Volume) -> Result<Comparison> {
    other.check_shape("volume to compare", reference.shape())?;
    let mut gap = reference.clone();
    gap.update([other], |left, [right]| left - right);
    let norm = |stack: &Stack| tree_sum(&stack.row_dots(stack)).sqrt();
    let (distance, length) = (norm(&gap), norm(reference));
    let mut comparison = Comparison {
        relative_l2: if distance == 0.0 { 0.0 } else { distance / length },
        largest: 0.0,
        place: [0; 3],
        voxels: 0,
        bits: 0,
    };
    let Shape { planes, rows, columns } = reference.shape();
    for plane in 0..planes {
        for row in 0..rows {
            for column in 0..columns {
                let [left, right] = [reference, other].map(|stack| stack.at(plane, row, column));
                let bits = u64::from((left.to_bits() ^ right.to_bits()).count_ones());
                comparison.bits += bits;
                comparison.voxels += u64::from(bits > 0);
                if (left - right).abs() > comparison.largest {
                    comparison.largest = (left - right).abs();
                    comparison.place = [plane, row, column];
                }
            }
        }
    }
    Ok(comparison)
}

/// A shell of frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shell {
    /// Its middle, in cycles per voxel, up to 1/2.
    pub frequency: f64,
    /// The correlation; none where a volume has nothing.
    pub correlation: Option<f64>,
    /// How many frequencies it has.
    pub count: u64,
}

/// The Fourier shell correlation of two volumes of one shape, from the lowest shell to Nyquist. The mean is shell 0.
///
/// Takes 16 bytes per voxel.
///
/// # Errors
/// [`crate::Error::Shape`] if their shapes differ.
pub fn fourier_shells(left: &Volume, right: &Volume) -> Result<Vec<Shell>> {
    right.check_shape("volume to correlate", left.shape())?;
    let shape = left.shape();
    let spectra = [left, right].map(transform);
    let longest = shape.to_array().into_iter().max().unwrap_or(1);
    let shells = longest / 2 + 1;
    let of_plane = |plane: usize| {
        let mut sums = vec![Sums::default(); shells];
        for row in 0..shape.rows {
            for column in 0..shape.columns {
                let along = [(plane, shape.planes), (row, shape.rows), (column, shape.columns)];
                let square: f64 = along.iter().map(|(bin, n)| frequency(*bin, *n).powi(2)).sum();
                let shell = (square.sqrt() * longest as f64).round() as usize;
                if let Some(sums) = sums.get_mut(shell) {
                    let at = (plane * shape.rows + row) * shape.columns + column;
                    sums.add(spectra[0][at], spectra[1][at]);
                }
            }
        }
        sums
    };
    let planes: Vec<Vec<Sums>> = (0..shape.planes).into_par_iter().map(of_plane).collect();
    let shell = |shell: usize| {
        let sum = |part: fn(&Sums) -> f64| {
            tree_sum(&planes.iter().map(|sums| part(&sums[shell])).collect::<Vec<_>>())
        };
        let power = (sum(|sums| sums.left) * sum(|sums| sums.right)).sqrt();
        Shell {
            frequency: shell as f64 / longest as f64,
            correlation: (power > 0.0).then(|| sum(|sums| sums.common) / power),
            count: planes.iter().map(|sums| sums[shell].count).sum(),
        }
    };
    Ok((0..shells).map(shell).collect())
}

/// The frequency in cycles per voxel at which a correlation first falls below a threshold, between two shells where it
/// crosses it; none if it never does. Shell 0, the mean, is passed over.
pub fn resolution(shells: &[Shell], threshold: f64) -> Option<f64> {
    let known: Vec<(f64, f64)> =
        shells.iter().skip(1).filter_map(|shell| Some((shell.frequency, shell.correlation?))).collect();
    let below = known.iter().position(|(_, correlation)| *correlation < threshold)?;
    let (frequency, low) = known[below];
    let Some((before, high)) = below.checked_sub(1).map(|before| known[before]) else {
        return Some(frequency);
    };
    Some(before + (frequency - before) * (high - threshold) / (high - low))
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    common: f64,
    left: f64,
    right: f64,
    count: u64,
}

impl Sums {
    fn add(&mut self, left: Complex<f32>, right: Complex<f32>) {
        let wide = |value: Complex<f32>| Complex::new(f64::from(value.re), f64::from(value.im));
        let (left, right) = (wide(left), wide(right));
        self.common += left.re * right.re + left.im * right.im;
        self.left += left.norm_sqr();
        self.right += right.norm_sqr();
        self.count += 1;
    }
}

/// The frequency of a bin in cycles per voxel, between -1/2 and 1/2.
fn frequency(bin: usize, n: usize) -> f64 {
    let signed = if 2 * bin <= n { bin as f64 } else { bin as f64 - n as f64 };
    signed / n as f64
}

/// The spectrum, `[plane][row][column]`.
fn transform(volume: &Volume) -> Vec<Complex<f32>> {
    let Shape { planes, rows, columns } = volume.shape();
    let mut values = vec![Complex::default(); volume.shape().len()];
    let mut planner = FftPlanner::new();
    let [along_z, along_y, along_x] = [planes, rows, columns].map(|n| planner.plan_fft_forward(n));
    values.par_chunks_mut(rows * columns).enumerate().for_each(|(plane, values)| {
        for (row, values) in values.chunks_exact_mut(columns).enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                value.re = volume.at(plane, row, column);
            }
            along_x.process(values);
        }
        across(values, columns, &along_y);
    });
    // Lines along z are brought together a row at a time.
    let mut turned = vec![Complex::default(); planes * columns];
    for row in 0..rows {
        for plane in 0..planes {
            let at = (plane * rows + row) * columns;
            turned[plane * columns..][..columns].copy_from_slice(&values[at..at + columns]);
        }
        across(&mut turned, columns, &along_z);
        for plane in 0..planes {
            let at = (plane * rows + row) * columns;
            values[at..at + columns].copy_from_slice(&turned[plane * columns..][..columns]);
        }
    }
    values
}

/// Transforms a matrix of so many columns along its columns.
fn across(matrix: &mut [Complex<f32>], columns: usize, transform: &Arc<dyn Fft<f32>>) {
    let mut line = vec![Complex::default(); matrix.len() / columns];
    for column in 0..columns {
        for (value, row) in line.iter_mut().zip(matrix.chunks_exact(columns)) {
            *value = row[column];
        }
        transform.process(&mut line);
        for (value, row) in line.iter().zip(matrix.chunks_exact_mut(columns)) {
            row[column] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    fn wave(shape: Shape, [kz, ky, kx]: [f64; 3], phase: f64) -> Volume {
        Stack::from_fn(shape, |z, y, x| {
            let turns = kz * z as f64 / shape.planes as f64
                + ky * y as f64 / shape.rows as f64
                + kx * x as f64 / shape.columns as f64;
            (std::f64::consts::TAU * turns + phase).cos() as f32
        })
    }

    fn sum(left: &Volume, right: &Volume) -> Volume {
        let mut sum = left.clone();
        sum.update([right], |left, [right]| left + right);
        sum
    }

    #[test]
    fn equal_volumes_differ_in_no_bit_and_a_flipped_bit_is_found() {
        let one = noise(Shape::new(3, 21, 5).unwrap(), 1);
        let same = compare(&one, &one).unwrap();
        assert_eq!((same.relative_l2, same.largest, same.voxels, same.bits), (0.0, 0.0, 0, 0));
        let mut two = one.clone();
        let value = two.at_mut(2, 19, 3);
        *value = f32::from_bits(value.to_bits() ^ 1);
        let near = compare(&one, &two).unwrap();
        assert_eq!((near.voxels, near.bits, near.place), (1, 1, [2, 19, 3]));
        assert!(near.relative_l2 > 0.0 && near.relative_l2 < 1e-7 && near.largest > 0.0);
        // -0 and 0 are equal numbers and not equal bits.
        let zero = Stack::zeros(one.shape());
        let mut minus = zero.clone();
        *minus.at_mut(0, 0, 0) = -0.0;
        let signs = compare(&zero, &minus).unwrap();
        assert_eq!((signs.relative_l2, signs.largest, signs.bits), (0.0, 0.0, 1));
        assert!(compare(&zero, &one).unwrap().relative_l2.is_infinite());
        assert!(compare(&one, &Stack::zeros(Shape::new(3, 21, 6).unwrap())).is_err());
    }

    #[test]
    fn the_relative_distance_is_that_of_the_norms() {
        let one = noise(Shape::new(4, 18, 6).unwrap(), 2);
        let mut scaled = one.clone();
        scaled.update([], |value, []| value * 1.25);
        let found = compare(&one, &scaled).unwrap();
        assert!((found.relative_l2 - 0.25).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn waves_fall_into_the_shell_of_their_frequency() {
        // 3 cycles over 12 planes and 6 over 24 columns: |k| = sqrt(2)/4, shell 8.485 of 24, which is shell 8.
        let shape = Shape::new(12, 20, 24).unwrap();
        let volume = wave(shape, [3.0, 0.0, 6.0], 0.3);
        let shells = fourier_shells(&volume, &volume).unwrap();
        assert_eq!(shells.len(), 13);
        assert!((shells[8].frequency - 8.0 / 24.0).abs() < 1e-12);
        // Of everything that a single wave has, all but rounding is in its shell.
        let spectrum = transform(&volume);
        let power: f64 = spectrum.iter().map(|value| f64::from(value.norm_sqr())).sum();
        let [peak, mirrored] = [(3, 6), (9, 18)].map(|(z, x)| spectrum[z * 20 * 24 + x].norm_sqr());
        assert!((f64::from(peak + mirrored) / power - 1.0).abs() < 1e-5);
        assert!((shells[8].correlation.unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn shells_that_agree_have_1_those_that_oppose_minus_1() {
        let shape = Shape::new(16, 16, 16).unwrap();
        let (low, high) = (wave(shape, [2.0, 0.0, 0.0], 0.1), wave(shape, [0.0, 6.0, 0.0], 0.2));
        let mut opposed = high.clone();
        opposed.update([], |value, []| -value);
        let shells = fourier_shells(&sum(&low, &high), &sum(&low, &opposed)).unwrap();
        assert!((shells[2].correlation.unwrap() - 1.0).abs() < 1e-5);
        assert!((shells[6].correlation.unwrap() + 1.0).abs() < 1e-5);
        // A quarter of a turn apart: nothing in common.
        let turned = wave(shape, [0.0, 6.0, 0.0], 0.2 + std::f64::consts::FRAC_PI_2);
        let shells = fourier_shells(&high, &turned).unwrap();
        assert!(shells[6].correlation.unwrap().abs() < 1e-5);
        let nothing = fourier_shells(&high, &Stack::zeros(shape)).unwrap();
        assert!(nothing.iter().all(|shell| shell.correlation.is_none()));
    }

    #[test]
    fn independent_noise_has_little_in_common_and_every_frequency_but_corners_is_counted() {
        let shape = Shape::new(24, 24, 24).unwrap();
        let shells = fourier_shells(&noise(shape, 1), &noise(shape, 2)).unwrap();
        for shell in &shells[3..] {
            let correlation = shell.correlation.unwrap();
            assert!(correlation.abs() < 5.0 / (shell.count as f64).sqrt(), "{shell:?}");
        }
        let within = |n: usize| (0..n).map(|bin| frequency(bin, n)).collect::<Vec<_>>();
        let squares = within(24);
        let mut count = 0;
        for z in &squares {
            for y in &squares {
                for x in &squares {
                    count += u64::from(((z * z + y * y + x * x).sqrt() * 24.0).round() <= 12.0);
                }
            }
        }
        assert_eq!(shells.iter().map(|shell| shell.count).sum::<u64>(), count);
    }

    #[test]
    fn the_resolution_lies_where_the_correlation_crosses_the_threshold() {
        let shell = |frequency, correlation| Shell { frequency, correlation: Some(correlation), count: 1 };
        let shells = [shell(0.0, 0.2), shell(0.1, 1.0), shell(0.2, 0.8), shell(0.3, 0.4), shell(0.4, 0.9)];
        assert!((resolution(&shells, 0.5).unwrap() - 0.275).abs() < 1e-12);
        assert_eq!(resolution(&shells, 0.143), None);
        assert_eq!(resolution(&[shell(0.0, 1.0), shell(0.1, 0.3)], 0.5), Some(0.1));
    }
}
