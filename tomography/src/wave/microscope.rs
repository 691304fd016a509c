//! The microscope: what the lens does to a wave between the sample and the camera.
//!
//! A lens multiplies the spectrum of the wave that left the sample by the transfer function
//!
//! ```text
//! H(k) = A(k) E(k) exp(-i chi(k)),   chi(k) = pi lambda d k^2 + (pi/2) C_s lambda^3 k^4
//! ```
//!
//! where `d` is the distance downstream of the plane that is in focus, `A` the apertures, and `E` the envelopes of
//! partial coherence (Frank 1973; Reimer, Transmission Electron Microscopy, section 6.4):
//!
//! ```text
//! temporal   exp(-(pi lambda Delta)^2 k^4 / 2)                         Delta: focal spread
//! spatial    exp(-(pi alpha / lambda)^2 (lambda d k + C_s lambda^3 k^3)^2)    alpha: semi-angle of the source
//! ```
//!
//! **The sign of defocus.** Microscopists call underfocus positive, and it lets a positive `C_s` be balanced. It is a
//! *negative* distance: `d = -underfocus`. All of this package computes with distances; [`Focus`] keeps the two apart.

use super::{Aperture, Beam, C, Real};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How far downstream of the sample's centre plane the image lies.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Focus {
    /// The distance in Angstrom along the beam; negative is underfocus.
    pub distance_angstrom: f64,
}

impl Focus {
    /// The focus at a signed distance downstream of the centre plane, in Angstrom.
    pub const fn at_distance(distance_angstrom: f64) -> Self {
        Self { distance_angstrom }
    }

    /// The focus that a microscopist calls so many Angstrom of underfocus.
    pub const fn underfocus(angstrom: f64) -> Self {
        Self { distance_angstrom: -angstrom }
    }
}

/// How a wave in free space is carried over a distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreeSpace {
    /// The paraxial kernel `exp(-i pi lambda z k^2)`.
    #[default]
    Fresnel,
    /// The angular spectrum `exp(2 pi i z (sqrt(1/lambda^2 - k^2) - 1/lambda))`: no approximation of small angles.
    Exact,
}

impl FreeSpace {
    /// The phase in radian that a frequency of modulus `k` (1/Angstrom) gains over a distance (Angstrom), relative to
    /// the plane wave. Frequencies beyond 1/lambda do not travel; their phase is that of the grazing wave.
    pub fn phase(self, k: f64, distance_angstrom: f64, wavelength_angstrom: f64) -> f64 {
        match self {
            Self::Fresnel => -PI * wavelength_angstrom * distance_angstrom * k * k,
            Self::Exact => {
                // sqrt(1 - s) - 1 without cancellation.
                let s = (k * wavelength_angstrom).powi(2).min(1.0);
                -2.0 * PI * distance_angstrom / wavelength_angstrom * s / ((1.0 - s).sqrt() + 1.0)
            }
        }
    }
}

/// A microscope: beam, lens and apertures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Microscope {
    /// The beam.
    pub beam: Beam,
    /// The aperture of the image.
    pub image_aperture: Aperture,
    /// The aperture between slices.
    pub slice_aperture: Aperture,
    /// How waves travel between slices and from the sample's exit to the image.
    pub free_space: FreeSpace,
    /// Spherical aberration `C_s` in Angstrom (1 mm is 1e7).
    pub spherical_aberration_angstrom: f64,
    /// Focal spread of the temporal envelope in Angstrom, 30 to 100 without corrector.
    pub focal_spread_angstrom: f64,
    /// Semi-angle of illumination of the spatial envelope in radian.
    pub source_angle_rad: f64,
    /// Cut-off of the objective aperture in 1/Angstrom, if one is inserted. It multiplies `image_aperture`.
    pub objective_cut: Option<f64>,
    /// The imaginary part of the potential as a share of its real part: how much a sample absorbs.
    pub absorption: f64,
}

impl Microscope {
    /// An aberration-free, coherent microscope at this voltage with the recommended apertures.
    ///
    /// # Errors
    /// As [`Beam::new`].
    pub fn ideal(volts: f64) -> Result<Self> {
        Ok(Self {
            beam: Beam::new(volts)?,
            image_aperture: Aperture::IMAGE,
            slice_aperture: Aperture::None,
            free_space: FreeSpace::Fresnel,
            spherical_aberration_angstrom: 0.0,
            focal_spread_angstrom: 0.0,
            source_angle_rad: 0.0,
            objective_cut: None,
            absorption: 0.0,
        })
    }

    /// Whether every number is usable.
    ///
    /// # Errors
    /// [`Error::Parameter`] names the first that is not.
    pub fn check(&self) -> Result<()> {
        let at_least_0 = [
            ("focal spread", self.focal_spread_angstrom),
            ("semi-angle of the source", self.source_angle_rad),
            ("absorption", self.absorption),
            ("cut-off of the objective aperture", self.objective_cut.unwrap_or(0.0)),
        ];
        for (name, value) in at_least_0 {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::parameter(name, value, "finite and not negative"));
            }
        }
        if !self.spherical_aberration_angstrom.is_finite() {
            return Err(Error::parameter(
                "spherical aberration",
                self.spherical_aberration_angstrom,
                "finite",
            ));
        }
        if !(self.beam.wavelength_angstrom > 0.0 && self.beam.interaction.is_finite()) {
            return Err(Error::parameter(
                "wavelength",
                self.beam.wavelength_angstrom,
                "positive, in Angstrom",
            ));
        }
        for aperture in [self.image_aperture, self.slice_aperture] {
            if let Aperture::Bump { inner } = aperture
                && !(0.0..1.0).contains(&inner)
            {
                return Err(Error::parameter("inner edge of the bump aperture", inner, "from 0 to below 1"));
            }
        }
        Ok(())
    }

    /// The factor by which a slice of free space multiplies the frequency of modulus `k` (1/Angstrom).
    pub fn slice_kernel(&self, k: f64, thickness_angstrom: f64, pixel_angstrom: f64) -> C<f64> {
        let amplitude = self.slice_aperture.transmission(k, pixel_angstrom);
        let phase = self.free_space.phase(k, thickness_angstrom, self.beam.wavelength_angstrom);
        polar(amplitude, phase)
    }

    /// The transfer function `H(k)` from a plane of the sample to the image. `depth_angstrom` is how far downstream of
    /// the sample's centre plane that plane lies.
    pub fn transfer(&self, k: f64, focus: Focus, depth_angstrom: f64, pixel_angstrom: f64) -> C<f64> {
        let amplitude = self.pupil(k, focus, pixel_angstrom);
        if amplitude == 0.0 {
            return C::new(0.0, 0.0);
        }
        let lambda = self.beam.wavelength_angstrom;
        let travelled = self.free_space.phase(k, focus.distance_angstrom - depth_angstrom, lambda);
        let aberration = 0.5 * PI * self.spherical_aberration_angstrom * lambda.powi(3) * k.powi(4);
        polar(amplitude, travelled - aberration)
    }

    /// The contrast transfer function of a thin weak object in the centre plane: the spectrum of `I - 1` is this
    /// times twice the spectrum of its phase, `sin(chi) A E`; with absorption, `(sin(chi) - absorption cos(chi)) A E`.
    pub fn contrast_transfer(&self, k: f64, focus: Focus, pixel_angstrom: f64) -> f64 {
        let transfer = self.transfer(k, focus, 0.0, pixel_angstrom);
        -transfer.im - self.absorption * transfer.re
    }

    /// The modulus of the transfer function: apertures and envelopes.
    fn pupil(&self, k: f64, focus: Focus, pixel_angstrom: f64) -> f64 {
        if self.objective_cut.is_some_and(|cut| k > cut) {
            return 0.0;
        }
        let lambda = self.beam.wavelength_angstrom;
        let temporal = 0.5 * (PI * lambda * self.focal_spread_angstrom * k * k).powi(2);
        let tangent = lambda * focus.distance_angstrom * k
            + self.spherical_aberration_angstrom * lambda.powi(3) * k.powi(3);
        let spatial = (PI * self.source_angle_rad / lambda * tangent).powi(2);
        self.image_aperture.transmission(k, pixel_angstrom) * (-(temporal + spatial)).exponential()
    }
}

/// `amplitude * exp(i phase)`.
fn polar(amplitude: f64, phase: f64) -> C<f64> {
    let (sin, cos) = phase.sine_cosine();
    C::new(amplitude * cos, amplitude * sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn microscope() -> Microscope {
        Microscope::ideal(300e3).unwrap()
    }

    #[test]
    fn exact_and_paraxial_propagation_differ_by_the_stated_phase() {
        let lambda = microscope().beam.wavelength_angstrom;
        let (k, distance) = (1.0 / 3.0, 1000.0);
        let difference =
            FreeSpace::Fresnel.phase(k, distance, lambda) - FreeSpace::Exact.phase(k, distance, lambda);
        let stated = PI * lambda.powi(3) * k.powi(4) * distance / 4.0;
        assert!((difference / stated - 1.0).abs() < 1e-3, "{difference} beside {stated}");
        assert!((stated - 7e-5).abs() < 1e-5);
        assert!(FreeSpace::Exact.phase(2.0 / lambda, 10.0, lambda).is_finite());
    }

    #[test]
    fn underfocus_balances_spherical_aberration() {
        let mut microscope = microscope();
        microscope.image_aperture = Aperture::None;
        microscope.spherical_aberration_angstrom = 1e7;
        let lambda = microscope.beam.wavelength_angstrom;
        let scherzer = (1.5 * 1e7 * lambda).sqrt();
        // At Scherzer's underfocus there is a broad pass band of one sign up to this frequency; overfocus has none.
        let band = 1.4 * (1e7_f64 * lambda.powi(3)).powf(-0.25);
        for step in 20..100 {
            let k = band * f64::from(step) / 100.0;
            let contrast = microscope.contrast_transfer(k, Focus::underfocus(scherzer), 1.0);
            assert!(contrast < 0.0, "contrast {contrast} at {k}");
        }
        let over = |step: i32| {
            let k = band * f64::from(step) / 100.0;
            microscope.contrast_transfer(k, Focus::at_distance(scherzer), 1.0)
        };
        assert!((20..100).any(|step| over(step) > 0.0) && (20..100).any(|step| over(step) < 0.0));
    }

    #[test]
    fn envelopes_damp_and_never_amplify() {
        let mut damped = microscope();
        damped.spherical_aberration_angstrom = 1e7;
        damped.focal_spread_angstrom = 60.0;
        damped.source_angle_rad = 1e-4;
        let focus = Focus::underfocus(5000.0);
        let mut sharp = damped;
        (sharp.focal_spread_angstrom, sharp.source_angle_rad) = (0.0, 0.0);
        for step in 0..60 {
            let k = f64::from(step) / 200.0;
            let (with, without) = (damped.transfer(k, focus, 30.0, 1.0), sharp.transfer(k, focus, 30.0, 1.0));
            assert!(with.norm() <= without.norm() && without.norm() <= 1.0 + 1e-15);
            if with.norm() > 0.0 {
                assert!((with.arg() - without.arg()).abs() < 1e-9, "envelopes have no phase");
            }
        }
        let temporal = 0.5 * (PI * damped.beam.wavelength_angstrom * 60.0 * 0.01).powi(2);
        damped.source_angle_rad = 0.0;
        assert!((damped.transfer(0.1, focus, 0.0, 1.0).norm() - (-temporal).exp()).abs() < 1e-15);
        (damped.focal_spread_angstrom, damped.source_angle_rad) = (0.0, 1e-4);
        let lambda = damped.beam.wavelength_angstrom;
        let slope = lambda * -5000.0 * 0.1 + 1e7 * (lambda * 0.1).powi(3);
        let spatial = (-(PI * 1e-4 / lambda * slope).powi(2)).exp();
        assert!((damped.transfer(0.1, focus, 0.0, 1.0).norm() / spatial - 1.0).abs() < 1e-12);
        damped.objective_cut = Some(0.09);
        assert_eq!(damped.transfer(0.1, focus, 0.0, 1.0).norm(), 0.0);
    }

    #[test]
    fn unusable_numbers_are_refused_by_name() {
        let mut broken = microscope();
        broken.focal_spread_angstrom = -1.0;
        assert!(broken.check().unwrap_err().to_string().contains("focal spread"));
        let mut broken = microscope();
        broken.image_aperture = Aperture::Bump { inner: 1.0 };
        assert!(broken.check().unwrap_err().to_string().contains("bump"));
        assert!(microscope().check().is_ok());
    }
}
