//! Weighted back projection: a ramp filter along x', then back projection.
//!
//! The filter is the band-limited ramp, |k| up to half a cycle per pixel, built from its samples in real space (1/4 at
//! 0, -1/(pi n)^2 at odd n, 0 at even n), so that the mean of the volume is right, and applied to rows padded by zeros to
//! twice their length. A window lowers high frequencies. Each row is transformed by itself.
//! Source: A. C. Kak and M. Slaney, Principles of Computerized Tomographic Imaging (1988), section 3.3.

use crate::project::{Projector, check};
use crate::{Error, LANES, Lanes, Projections, Result, Slab, Stack, Tilt, Volume};
use rayon::prelude::*;
use realfft::{RealFftPlanner, num_complex::Complex};
use std::f64::consts::PI;

/// The window on the ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// None: the sharpest and noisiest.
    #[default]
    RamLak,
    /// sin(pi k) / (pi k).
    SheppLogan,
    /// (1 + cos(2 pi k)) / 2: 0 at half a cycle per pixel.
    Hann,
}

impl Filter {
    /// The window at a frequency in cycles per pixel, 0 to 1/2.
    pub fn window(self, frequency: f64) -> f64 {
        let angle = PI * frequency;
        match self {
            Self::RamLak => 1.0,
            Self::SheppLogan if angle == 0.0 => 1.0,
            Self::SheppLogan => angle.sin() / angle,
            Self::Hann => f64::midpoint(1.0, (2.0 * angle).cos()),
        }
    }

    /// The filter at the frequencies 0..=len/2 of rows of `len` (an even number), over `len`.
    fn response(self, len: usize) -> Result<Vec<f32>> {
        let ramp = |place: usize| {
            let distance = place.min(len - place);
            match distance {
                0 => 0.25,
                odd if odd % 2 == 1 => -1.0 / (PI * odd as f64).powi(2),
                _ => 0.0,
            }
        };
        let transform = RealFftPlanner::<f64>::new().plan_fft_forward(len);
        let mut samples: Vec<f64> = (0..len).map(ramp).collect();
        let mut spectrum = transform.make_output_vec();
        transform.process(&mut samples, &mut spectrum).map_err(|error| transform_error(&error))?;
        let value = |(index, ramp): (usize, &Complex<f64>)| {
            (ramp.re * self.window(index as f64 / len as f64) / len as f64) as f32
        };
        Ok(spectrum.iter().enumerate().map(value).collect())
    }
}

fn transform_error(error: &realfft::FftError) -> Error {
    Error::parameter("row to transform", error, "of the planned length")
}

/// Reconstructs by weighted back projection.
///
/// # Errors
/// [`Error::Shape`] if the images do not fit the projector, [`Error::Parameter`] for fewer than two tilts or tilts that
/// are not the projector's in number, and the errors of the projector.
pub fn wbp(
    projector: &dyn Projector,
    tilts: &[Tilt],
    images: &Projections,
    filter: Filter,
) -> Result<Volume> {
    let mut volume = Stack::zeros(projector.volume_shape(images.shape().rows));
    check(projector, &volume, images)?;
    if tilts.len() < 2 || tilts.len() != images.shape().planes {
        return Err(Error::parameter("number of tilts", tilts.len(), "that of the images, and at least 2"));
    }
    let angles = || tilts.iter().map(|tilt| tilt.angle_deg);
    let range = angles().fold(f64::MIN, f64::max) - angles().fold(f64::MAX, f64::min);
    let step = (range.to_radians() / (tilts.len() - 1) as f64) as f32;
    let mut filtered = images.clone();
    let len = (2 * images.shape().columns).next_power_of_two();
    let response = filter.response(len)?;
    filtered.slabs_mut().par_iter_mut().try_for_each(|slab| filter_slab(slab, &response, len, step))?;
    projector.back_project(&filtered, &mut volume)?;
    Ok(volume)
}

/// Multiplies the spectrum of each row of each image by the response, and the rows by `step`.
fn filter_slab(slab: &mut Slab, response: &[f32], len: usize, step: f32) -> Result<()> {
    let mut planner = RealFftPlanner::<f32>::new();
    let (forward, inverse) = (planner.plan_fft_forward(len), planner.plan_fft_inverse(len));
    let mut samples = forward.make_input_vec();
    let mut spectrum = forward.make_output_vec();
    let columns = slab.columns;
    for image in slab.data.chunks_exact_mut(columns) {
        for lane in 0..LANES {
            samples.fill(0.0);
            for (sample, lanes) in samples.iter_mut().zip(&*image) {
                *sample = lanes.0[lane];
            }
            forward.process(&mut samples, &mut spectrum).map_err(|error| transform_error(&error))?;
            for (value, response) in spectrum.iter_mut().zip(response) {
                *value *= response;
            }
            inverse.process(&mut spectrum, &mut samples).map_err(|error| transform_error(&error))?;
            for (Lanes(lanes), sample) in image.iter_mut().zip(&samples) {
                lanes[lane] = sample * step;
            }
        }
    }
    Ok(())
}
