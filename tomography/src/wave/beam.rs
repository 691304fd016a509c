//! The electron beam: from the accelerating voltage to the two numbers that imaging depends on.
//!
//! Both are relativistic. With the energy `eE` an electron gains and its rest energy `m c^2`,
//! `lambda = h c / sqrt(eE (2 m c^2 + eE))` and `sigma = 2 pi gamma m e lambda / h^2`, `gamma = 1 + eE / (m c^2)`
//! (Kirkland, Advanced Computing in Electron Microscopy, section 2 and 5). Constants are those of CODATA 2018.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

const PLANCK_J_S: f64 = 6.626_070_15e-34;
const LIGHT_M_S: f64 = 299_792_458.0;
const CHARGE_C: f64 = 1.602_176_634e-19;
const ELECTRON_KG: f64 = 9.109_383_701_5e-31;
const ANGSTROM_M: f64 = 1e-10;

/// A beam of electrons of one energy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beam {
    /// Wavelength in Angstrom.
    pub wavelength_angstrom: f64,
    /// Phase in radian that a potential of one volt adds per Angstrom of path (sigma).
    pub interaction: f64,
}

impl Beam {
    /// The beam behind an accelerating voltage in volt.
    ///
    /// # Errors
    /// [`Error::Parameter`] outside of 1 kV to 10 MV: a mistaken unit rather than a microscope.
    pub fn new(volts: f64) -> Result<Self> {
        if !(1e3..=1e7).contains(&volts) {
            return Err(Error::parameter(
                "accelerating voltage",
                volts,
                "in volt, 1e3 to 1e7, for example 300e3",
            ));
        }
        let energy = CHARGE_C * volts;
        let rest = ELECTRON_KG * LIGHT_M_S * LIGHT_M_S;
        let wavelength = PLANCK_J_S * LIGHT_M_S / (energy * (2.0 * rest + energy)).sqrt();
        let mass = ELECTRON_KG * (1.0 + energy / rest);
        let interaction = TAU * mass * CHARGE_C * wavelength / (PLANCK_J_S * PLANCK_J_S);
        Ok(Self { wavelength_angstrom: wavelength / ANGSTROM_M, interaction: interaction * ANGSTROM_M })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wavelength_and_interaction_have_the_published_values() {
        let table = [
            (80e3, 0.041_757_16, 1.008_706_6e-3),
            (100e3, 0.037_014_37, 9.243_958_2e-4),
            (200e3, 0.025_079_34, 7.288_401_0e-4),
            (300e3, 0.019_687_49, 6.526_161_4e-4),
        ];
        for (volts, wavelength, interaction) in table {
            let beam = Beam::new(volts).unwrap();
            assert!((beam.wavelength_angstrom - wavelength).abs() <= 0.5e-8, "{volts}: {beam:?}");
            assert!((beam.interaction / interaction - 1.0).abs() <= 0.6e-7, "{volts}: {beam:?}");
            let rule_of_thumb = 12.2643 / (volts + 0.97845e-6 * volts * volts).sqrt();
            assert!((beam.wavelength_angstrom / rule_of_thumb - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn kilovolts_are_not_taken_for_volts() {
        let message = Beam::new(300.0).unwrap_err().to_string();
        assert!(message.contains("is 300; it must be in volt"), "{message}");
        assert!(Beam::new(f64::NAN).is_err());
    }
}
