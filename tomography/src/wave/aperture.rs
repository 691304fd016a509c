//! Apertures: how much of each spatial frequency is let through, between slices and in the image.
//!
//! A grid of pixel `p` carries frequencies up to Nyquist, `1/(2p)`; products of two waves alias unless both stay below
//! two thirds of it, `1/(3p)`. Where that limit is cut decides whether sub-volumes can agree with their whole: the
//! transform of a sharp edge falls off like 1/r, so a window always misses some of it; that of a smooth edge falls off
//! faster than any power. In the image therefore the default is a smooth bump. Between slices it is no aperture: there
//! a taper acts once per slice, and the result would depend on how many slices there are.

use super::Real;
use serde::{Deserialize, Serialize};

/// Width of the taper of abTEM's antialiasing aperture, and where it ends, in units of 1/pixel.
const ABTEM_TAPER: f64 = 0.01;
const ABTEM_CUT: f64 = 0.666_666_6 / 2.0;

/// The share of a wave that passes, by the modulus of its spatial frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aperture {
    /// Everything passes.
    #[default]
    None,
    /// Falls smoothly from 2/3 of Nyquist to Nyquist: cuts only the corners, where a sampled wave has nothing.
    Corner,
    /// A sharp edge at 2/3 of Nyquist. For comparison with simulators; windows do not agree behind it.
    Hard,
    /// The antialiasing aperture of abTEM: a cosine of width 0.01/pixel that ends at 2/3 of Nyquist.
    Abtem,
    /// Falls smoothly, with all derivatives, from `inner` times 2/3 of Nyquist to 2/3 of Nyquist.
    Bump {
        /// Where the fall begins, as a share of 2/3 of Nyquist.
        inner: f64,
    },
}

impl Aperture {
    /// The recommended aperture of the image.
    pub const IMAGE: Self = Self::Bump { inner: 0.5 };

    /// The factor, 0 to 1, for a frequency of modulus `k` (1/Angstrom) on a grid with this pixel (Angstrom).
    pub fn transmission(self, k: f64, pixel_angstrom: f64) -> f64 {
        let k = k * pixel_angstrom;
        let cut = 1.0 / 3.0;
        match self {
            Self::None => 1.0,
            Self::Corner => smooth_fall(k, cut, 0.5),
            Self::Hard => f64::from(k <= cut),
            Self::Abtem => {
                if k > ABTEM_CUT {
                    0.0
                } else if k > ABTEM_CUT - ABTEM_TAPER {
                    let angle = std::f64::consts::PI * (k - ABTEM_CUT + ABTEM_TAPER) / ABTEM_TAPER;
                    0.5 * (1.0 + angle.sine_cosine().1)
                } else {
                    1.0
                }
            }
            Self::Bump { inner } => smooth_fall(k, inner * cut, cut),
        }
    }
}

/// 1 up to `from`, 0 from `to` on, and infinitely often differentiable everywhere.
fn smooth_fall(k: f64, from: f64, to: f64) -> f64 {
    if k <= from {
        return 1.0;
    }
    if k >= to {
        return 0.0;
    }
    let u = (k - from) / (to - from);
    let rise = (-1.0 / u).exponential();
    let fall = (-1.0 / (1.0 - u)).exponential();
    fall / (fall + rise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Aperture; 6] = [
        Aperture::None,
        Aperture::Corner,
        Aperture::Hard,
        Aperture::Abtem,
        Aperture::IMAGE,
        Aperture::Bump { inner: 0.15 },
    ];

    proptest! {
        #[test]
        fn apertures_never_amplify_and_never_rise(a in 0.0..0.8f64, b in 0.0..0.8f64, pixel in 0.5..4.0f64) {
            let (low, high) = (a.min(b) / pixel, a.max(b) / pixel);
            for aperture in ALL {
                let (at_low, at_high) = (aperture.transmission(low, pixel), aperture.transmission(high, pixel));
                prop_assert!((0.0..=1.0).contains(&at_low));
                prop_assert!(at_high <= at_low + 1e-15, "{aperture:?} rises from {low} to {high}");
            }
        }
    }

    #[test]
    fn edges_lie_where_they_are_documented() {
        let pixel = 2.0;
        let at = |aperture: Aperture, k: f64| aperture.transmission(k / pixel, pixel);
        assert_eq!((at(Aperture::Hard, 0.333), at(Aperture::Hard, 0.334)), (1.0, 0.0));
        assert_eq!((at(Aperture::IMAGE, 0.166), at(Aperture::IMAGE, 0.334)), (1.0, 0.0));
        assert!((at(Aperture::IMAGE, 0.25) - 0.5).abs() < 1e-12);
        assert_eq!((at(Aperture::Corner, 0.333), at(Aperture::Corner, 0.5)), (1.0, 0.0));
        assert_eq!((at(Aperture::Abtem, 0.323), at(Aperture::Abtem, 0.3334)), (1.0, 0.0));
        assert!((at(Aperture::Abtem, ABTEM_CUT - 0.005) - 0.5).abs() < 1e-12);
        assert_eq!(at(Aperture::None, 0.7), 1.0);
    }
}
