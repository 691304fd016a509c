//! Equality with abTEM (Madsen and Susi 2021), by waves it computed (`peers/abtem_waves.py` made them).

use super::*;
use serde_json::Value;

struct Case {
    grid: Grid,
    slices: usize,
    thickness: f64,
    beam: Beam,
    stack: Vec<f64>,
    waves: [Vec<C<f64>>; 2],
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn case() -> Case {
    let json: Value = serde_json::from_str(include_str!("../../../tests/abtem.json")).unwrap();
    let shape: Vec<usize> = floats(&json["shape"]).iter().map(|extent| *extent as usize).collect();
    let number = |name: &str| json[name].as_f64().unwrap();
    let wave = |name: &str| -> Vec<C<f64>> {
        let parts = floats(&json[name]["re"]).into_iter().zip(floats(&json[name]["im"]));
        parts.map(|(re, im)| C::new(re, im)).collect()
    };
    Case {
        grid: Grid::new(shape[1], shape[2], number("pixel_angstrom")).unwrap(),
        slices: shape[0],
        thickness: number("thickness_angstrom"),
        beam: Beam { wavelength_angstrom: number("wavelength_angstrom"), interaction: number("interaction") },
        stack: floats(&json["potential"]),
        waves: ["no_aperture", "default_aperture"].map(wave),
    }
}

/// The focus one slice behind the last, where abTEM's wave is.
fn behind(case: &Case) -> Focus {
    Focus::at_distance((case.slices + 1) as f64 / 2.0 * case.thickness)
}

fn largest_difference(left: &[C<f64>], right: &[C<f64>]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
}

#[test]
fn beams_agree() {
    let (case, ours) = (case(), Beam::new(300e3).unwrap());
    assert!((case.beam.wavelength_angstrom / ours.wavelength_angstrom - 1.0).abs() < 1e-8);
    assert!((case.beam.interaction / ours.interaction - 1.0).abs() < 1e-8);
}

#[test]
fn waves_agree_without_apertures() {
    let case = case();
    let microscope = Microscope { beam: case.beam, image_aperture: Aperture::None, ..microscope() };
    let optics = Optics::new(microscope, case.grid, case.thickness).unwrap();
    let exposure = optics.exposure(case.slices, &[behind(&case)]).unwrap();
    let wave = exposure.waves(&case.stack, &mut optics.workspace(false)).unwrap();
    let difference = largest_difference(&wave, &case.waves[0]);
    assert!(difference < 1e-12, "{difference}");
    let strength = case.waves[0].iter().map(|wave| (wave - 1.0).norm()).fold(0.0, f64::max);
    assert!(strength > 0.7, "the sample must scatter strongly, or this tests nothing: {strength}");
}

#[test]
fn waves_agree_with_the_antialiasing_aperture() {
    let case = case();
    let aperture = Aperture::Abtem;
    let microscope =
        Microscope { beam: case.beam, image_aperture: aperture, slice_aperture: aperture, ..microscope() };
    let slices = (case.slices, case.thickness);
    let limited = reference(&microscope, case.grid, slices, &case.stack, behind(&case), Some(aperture));
    assert!(largest_difference(&limited, &case.waves[1]) < 1e-12);
    // Ours leaves transmission functions as they are; beside the plain formulas that changes nothing else.
    let plain = reference(&microscope, case.grid, slices, &case.stack, behind(&case), None);
    let optics = Optics::new(microscope, case.grid, case.thickness).unwrap();
    let exposure = optics.exposure(case.slices, &[behind(&case)]).unwrap();
    let wave = exposure.waves(&case.stack, &mut optics.workspace(false)).unwrap();
    assert!(largest_difference(&wave, &plain) < 1e-12);
    assert!(largest_difference(&limited, &plain) > 1e-6, "the limit acts, or this tests nothing");
}
