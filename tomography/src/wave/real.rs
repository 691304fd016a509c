//! Numbers of one precision, with elementary functions that give the same bits on every platform.
//!
//! The mathematics library of a platform decides the last digits of its sine, so two machines would disagree about a
//! wave. Here sine, cosine and exponential are polynomials after a range reduction, written with plain `a * b + c`
//! (Rust never contracts it), so that scalar code and vector code of every width give the same bits. Taylor
//! coefficients suffice: the reduced argument is at most pi/4 (or ln 2 / 2) and the first dropped term lies below the
//! rounding error.
//!
//! Range reduction after Cody and Waite (1980): pi/2 is split into three parts of which the first two have so few
//! digits that their products with the quadrant number are exact.

use num_complex::Complex;
use rustfft::{FftNum, num_traits::NumAssign};

/// A complex number of the precision `T`.
pub type C<T> = Complex<T>;

/// `f32` (production) or `f64` (tests, small problems).
pub trait Real: FftNum + NumAssign + PartialOrd + Default {
    /// The nearest number of this precision.
    fn of(value: f64) -> Self;
    /// The same value as `f64`, exactly.
    fn wide(self) -> f64;
    /// The correctly rounded square root.
    #[must_use]
    fn root(self) -> Self;
    /// Sine and cosine, within 2 units in the last place of 1 for `|self| < 3000` (`f32`) or `1e6` (`f64`).
    fn sine_cosine(self) -> (Self, Self);
    /// The exponential, within 4 units in the last place for `-80 < self < 80`; smaller arguments count as -80.
    #[must_use]
    fn exponential(self) -> Self;
}

/// 1/n!, for the Taylor polynomials.
const INVERSE_FACTORIAL: [f64; 19] = {
    let mut table = [1.0; 19];
    let mut n = 1;
    while n < table.len() {
        table[n] = table[n - 1] / n as f64;
        n += 1;
    }
    table
};

macro_rules! real {
    ($float:ident, $bits:ident, mantissa: $mantissa:literal, bias: $bias:literal, pi_half: $pi_half:expr,
     ln_2: $ln_2:expr, highest_power: $highest:literal) => {
        impl Real for $float {
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $float
            }

            #[inline(always)]
            fn wide(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }

            #[inline(always)]
            fn sine_cosine(self) -> (Self, Self) {
                // Adding this number rounds to an integer, which is then found in the lowest bits.
                const ROUND: $float = 1.5 * (1u64 << $mantissa) as $float;
                const PI_HALF: [$float; 3] = $pi_half;
                let shifted = self * std::$float::consts::FRAC_2_PI + ROUND;
                let quadrant = shifted.to_bits();
                let n = shifted - ROUND;
                let r = ((self - n * PI_HALF[0]) - n * PI_HALF[1]) - n * PI_HALF[2];
                let square = r * r;
                let mut sine = 0.0;
                let mut cosine = 0.0;
                let mut power = $highest;
                while power > 0 {
                    sine = sine * -square + INVERSE_FACTORIAL[power + 1] as $float;
                    cosine = cosine * -square + INVERSE_FACTORIAL[power] as $float;
                    power -= 2;
                }
                let sine = r - r * square * sine;
                let cosine = 1.0 - square * cosine;
                let (sine, cosine) = if quadrant & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
                let negative_sine = (quadrant & 2) << ($bits::BITS - 2);
                let negative_cosine = (quadrant.wrapping_add(1) & 2) << ($bits::BITS - 2);
                let signed = |value: $float, sign| $float::from_bits(value.to_bits() ^ sign);
                (signed(sine, negative_sine), signed(cosine, negative_cosine))
            }

            #[inline(always)]
            fn exponential(self) -> Self {
                const ROUND: $float = 1.5 * (1u64 << $mantissa) as $float;
                const LN_2: [$float; 2] = $ln_2;
                let x = if self < -80.0 { -80.0 } else { self };
                let shifted = x * std::$float::consts::LOG2_E + ROUND;
                let n = shifted - ROUND;
                let r = (x - n * LN_2[0]) - n * LN_2[1];
                let mut sum = 0.0;
                let mut power = $highest;
                while power > 0 {
                    sum = sum * r + INVERSE_FACTORIAL[power] as $float;
                    power -= 1;
                }
                let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add($bias);
                (1.0 + r * sum) * $float::from_bits(exponent << $mantissa)
            }
        }
    };
}

real!(f32, u32, mantissa: 23, bias: 127,
      pi_half: [1.570_312_5, 4.837_513e-4, 7.549_79e-8], ln_2: [0.693_115_23, 3.194_618_5e-5], highest_power: 8);
real!(f64, u64, mantissa: 52, bias: 1023,
      pi_half: [1.570_796_326_734_125_6, 6.077_100_503_593_46e-11, 2.912_732_056_093_356e-20],
      ln_2: [0.693_147_180_369_123_8, 1.908_214_929_270_588e-10], highest_power: 16);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sine_and_cosine_of_32_bits_have_7_digits(x in -3000.0f32..3000.0) {
            let (sine, cosine) = x.sine_cosine();
            let (exact_sine, exact_cosine) = f64::sin_cos(x.into());
            prop_assert!((sine.wide() - exact_sine).abs() < 1.2e-7);
            prop_assert!((cosine.wide() - exact_cosine).abs() < 1.2e-7);
        }

        #[test]
        fn sine_and_cosine_of_64_bits_have_15_digits(x in -1e6f64..1e6) {
            let (sine, cosine) = x.sine_cosine();
            prop_assert!((sine - x.sin()).abs() < 3e-16);
            prop_assert!((cosine - x.cos()).abs() < 3e-16);
        }

        #[test]
        fn exponential_is_accurate(x in -79.0f64..79.0) {
            prop_assert!((x.exponential() / x.exp() - 1.0).abs() < 1e-15);
            let short = x as f32;
            prop_assert!((short.exponential().wide() / f64::exp(short.into()) - 1.0).abs() < 5e-7);
        }
    }

    #[test]
    fn special_arguments_are_exact() {
        assert_eq!(0.0f32.sine_cosine(), (0.0, 1.0));
        assert_eq!(0.0f64.sine_cosine(), (0.0, 1.0));
        assert_eq!(1.0, 0.0f32.exponential());
        assert!((-1e30f64).exponential() > 0.0);
    }
}
