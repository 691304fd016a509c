//! The two kinds of numbers of the solver: floating point to find an optimum, rationals to prove it.
//!
//! Inputs are `f64`. In rational arithmetic each stands for the shortest decimal that denotes it, so that a capacity
//! written as `0.1` is one tenth and not the binary fraction next to it.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};
use std::fmt::Debug;

/// Reduced costs and ratios below this are noise in floating point.
const NOISE: f64 = 1e-11;

/// What the simplex method needs of a number.
pub(crate) trait Number: Clone + PartialOrd + Debug {
    /// Is arithmetic free of rounding?
    const EXACT: bool;
    fn zero() -> Self;
    fn of(value: f64) -> Self;
    fn add(&self, other: &Self) -> Self;
    fn sub(&self, other: &Self) -> Self;
    fn mul(&self, other: &Self) -> Self;
    /// `other` is not zero.
    fn div(&self, other: &Self) -> Self;
    /// Zero, or within rounding of it.
    fn is_noise(&self) -> bool;
    fn to_f64(&self) -> f64;

    fn one() -> Self {
        Self::of(1.0)
    }
    fn sub_mul(&mut self, a: &Self, b: &Self) {
        *self = self.sub(&a.mul(b));
    }
    fn add_mul(&mut self, a: &Self, b: &Self) {
        *self = self.add(&a.mul(b));
    }
    /// The sum of the products of two rows.
    fn dot(a: &[Self], b: &[Self]) -> Self {
        let mut sum = Self::zero();
        for (a, b) in a.iter().zip(b) {
            sum.add_mul(a, b);
        }
        sum
    }
    /// Becomes zero if it is noise.
    fn settle(&mut self) {
        if self.is_noise() {
            *self = Self::zero();
        }
    }
    /// Below zero by more than rounding.
    fn is_below_zero(&self) -> bool {
        *self < Self::zero() && !self.is_noise()
    }
    /// Above zero by more than rounding.
    fn is_above_zero(&self) -> bool {
        *self > Self::zero() && !self.is_noise()
    }
}

impl Number for f64 {
    const EXACT: bool = false;

    fn zero() -> Self {
        0.0
    }
    fn of(value: f64) -> Self {
        value
    }
    fn add(&self, other: &Self) -> Self {
        self + other
    }
    fn sub(&self, other: &Self) -> Self {
        self - other
    }
    fn mul(&self, other: &Self) -> Self {
        self * other
    }
    fn div(&self, other: &Self) -> Self {
        self / other
    }
    fn is_noise(&self) -> bool {
        self.abs() < NOISE
    }
    fn to_f64(&self) -> f64 {
        *self
    }
    /// In four sums at a time, which one vector unit adds.
    fn dot(a: &[Self], b: &[Self]) -> Self {
        const LANES: usize = 4;
        let mut sums = [0.0; LANES];
        let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
        for (a, b) in a.zip(b) {
            for i in 0..LANES {
                sums[i] += a[i] * b[i];
            }
        }
        (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
    }
}

impl Number for BigRational {
    const EXACT: bool = true;

    fn zero() -> Self {
        Zero::zero()
    }
    fn one() -> Self {
        One::one()
    }
    fn of(value: f64) -> Self {
        decimal(value)
    }
    fn add(&self, other: &Self) -> Self {
        self + other
    }
    fn sub(&self, other: &Self) -> Self {
        self - other
    }
    fn mul(&self, other: &Self) -> Self {
        self * other
    }
    fn div(&self, other: &Self) -> Self {
        self / other
    }
    fn is_noise(&self) -> bool {
        self.is_zero()
    }
    fn to_f64(&self) -> f64 {
        rounded(self)
    }
    fn sub_mul(&mut self, a: &Self, b: &Self) {
        if !a.is_zero() && !b.is_zero() {
            *self -= a * b;
        }
    }
    fn add_mul(&mut self, a: &Self, b: &Self) {
        if !a.is_zero() && !b.is_zero() {
            *self += a * b;
        }
    }
}

/// The shortest decimal that denotes this number; zero for what is not finite.
pub(crate) fn decimal(value: f64) -> BigRational {
    if !value.is_finite() {
        return Zero::zero();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let places = exponent - i64::try_from(part.len()).unwrap_or(0);
    let digits: BigInt = format!("{whole}{part}").parse().unwrap_or_default();
    let power = BigInt::from(10).pow(u32::try_from(places.unsigned_abs()).unwrap_or(0));
    if places < 0 { BigRational::new(digits, power) } else { (digits * power).into() }
}

/// The nearest floating point number, or nearly so, also when numerator and denominator exceed its range.
pub(crate) fn rounded(value: &BigRational) -> f64 {
    const KEPT: u64 = 900;
    let excess = value.numer().bits().max(value.denom().bits()).saturating_sub(KEPT);
    let part = |integer: &BigInt| (integer >> excess).to_f64().unwrap_or(0.0);
    let denominator = part(value.denom());
    if value.is_zero() || denominator == 0.0 {
        return 0.0;
    }
    let magnitude = part(&value.numer().abs()) / denominator;
    if value.is_negative() { -magnitude } else { magnitude }
}

/// A count as a floating point number.
#[allow(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) fn count(value: usize) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_for_its_shortest_decimal() {
        let ratio = |n: i64, d: i64| BigRational::new(n.into(), d.into());
        assert_eq!(decimal(0.1), ratio(1, 10));
        assert_eq!(decimal(-2500.0), ratio(-2500, 1));
        assert_eq!(decimal(0.006_666_7), ratio(66_667, 10_000_000));
        assert_eq!(decimal(1e12), ratio(1_000_000_000_000, 1));
        assert_eq!(decimal(0.0), ratio(0, 1));
    }

    #[test]
    fn rationals_beyond_the_range_of_floats_are_rounded() {
        let huge: BigInt = BigInt::from(3).pow(4000);
        let third = BigRational::new(huge.clone(), huge.clone() * 3);
        assert!((rounded(&third) - 1.0 / 3.0).abs() < 1e-15);
        assert!((rounded(&BigRational::new_raw(-huge.clone() * 2, huge * 6)) + 1.0 / 3.0).abs() < 1e-15);
    }
}
