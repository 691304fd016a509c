//! How far a wave reaches along the tilt axis: how wide a halo a sub-volume needs.
//!
//! An electron that is scattered by the largest angle `lambda k_max` leaves its row sideways, and comes at most
//!
//! ```text
//! r = lambda k_max (|d| + Z/2) / p = lambda (|d| + Z/2) / (3 p^2)      pixels
//! ```
//!
//! away, `d` the distance to focus and `Z` the thickness along the beam: it is defocus, not the sample, that spreads.
//! Beyond `r` lies a tail. How fast it falls depends on the edge of the band of frequencies alone: the kernel of a sharp
//! aperture falls like 1/y and its sum does not converge, that of the smooth bump falls faster than any power. With the
//! kernel `K` along y for one frequency `k_x`, the inverse transform of the transfer function, the tail is
//!
//! ```text
//! tau(h) = max over k_x of the sum over |y| > h of |K(y)|
//! ```
//!
//! It is a bound of an operator: changing the sample more than `h` rows away changes a row of the wave, in the norm over
//! x, by at most `phi tau(h) sqrt(N_x)` to first order in `phi`, the largest phase along a ray (Duhamel's formula: what is
//! scattered at a distance arrives through `K`). So [`Tail::halo`] turns a tolerance into a halo.

use super::{C, Focus, Grid, Microscope};
use crate::Result;
use rustfft::FftPlanner;

/// Rows of the grid on which kernels are computed.
const ROWS: usize = 1024;
/// Halos below this many rows are considered; beyond, too little of the tail lies on the grid.
const HALOS: usize = 384;

/// The geometric radius in pixels: how far the steepest frequency within 2/3 of Nyquist goes, over the farthest of these
/// foci and half the thickness (Angstrom).
pub fn geometric_radius_px(
    microscope: &Microscope,
    pixel_angstrom: f64,
    foci: &[Focus],
    thickness_angstrom: f64,
) -> f64 {
    let farthest = foci.iter().map(|focus| focus.distance_angstrom.abs()).fold(0.0, f64::max);
    microscope.beam.wavelength_angstrom * (farthest + thickness_angstrom / 2.0)
        / (3.0 * pixel_angstrom * pixel_angstrom)
}

/// The tail `tau(h)` of an exposure.
#[derive(Clone, Debug, PartialEq)]
pub struct Tail {
    /// `tau(h)` for `h` from 0 on.
    sums: Vec<f64>,
}

impl Tail {
    /// The tail over these foci of waves on `columns` pixels across the tilt axis, from anywhere in a sample of this
    /// thickness (Angstrom).
    ///
    /// # Errors
    /// As [`Microscope::check`] and [`Grid::new`].
    pub fn new(
        microscope: &Microscope,
        pixel_angstrom: f64,
        columns: usize,
        foci: &[Focus],
        thickness_angstrom: f64,
    ) -> Result<Self> {
        microscope.check()?;
        let transform = FftPlanner::new().plan_fft_inverse(ROWS);
        let grid = Grid::new(columns, ROWS, pixel_angstrom)?;
        let mut sums = vec![0.0_f64; HALOS];
        let ends = [-0.5, 0.5].map(|end| end * thickness_angstrom);
        for (focus, depth) in foci.iter().flat_map(|focus| ends.map(|depth| (*focus, depth))) {
            for kx in 0..=columns / 2 {
                let at =
                    |ky: usize| microscope.transfer(grid.frequency(kx, ky), focus, depth, pixel_angstrom);
                let mut kernel: Vec<C<f64>> = (0..ROWS).map(at).collect();
                transform.process(&mut kernel);
                let mut sum = kernel[ROWS / 2].norm();
                for h in (0..ROWS / 2).rev() {
                    if let Some(tau) = sums.get_mut(h) {
                        *tau = tau.max(sum / ROWS as f64);
                    }
                    sum += kernel[h].norm() + kernel[(ROWS - h) % ROWS].norm();
                }
            }
        }
        Ok(Self { sums })
    }

    /// `tau(h)`. Halos beyond 383 rows have the value of the last.
    pub fn at(&self, h: usize) -> f64 {
        self.sums[h.min(self.sums.len() - 1)]
    }

    /// The narrowest halo with `phi tau(h) <= tolerance`, for a largest phase of `phi` radian along a ray. None if not
    /// even 383 rows are enough, as behind a sharp aperture.
    pub fn halo(&self, phi: f64, tolerance: f64) -> Option<usize> {
        self.sums.iter().position(|tau| phi * tau <= tolerance)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Aperture;
    use super::*;

    fn microscope(aperture: Aperture) -> Microscope {
        Microscope { image_aperture: aperture, ..Microscope::ideal(300e3).unwrap() }
    }

    fn tail(aperture: Aperture, distance: f64) -> Tail {
        Tail::new(&microscope(aperture), 2.0, 48, &[Focus::underfocus(distance)], 96.0).unwrap()
    }

    #[test]
    fn the_radius_is_that_of_the_table() {
        let table =
            [(1.0, 500.0, 500.0, 4.9), (1.0, 3e3, 1e3, 23.0), (2.0, 1e4, 1e3, 17.0), (4.0, 3e4, 2e3, 13.0)];
        for (pixel, distance, thickness, radius) in table {
            let foci = [Focus::at_distance(100.0), Focus::underfocus(distance)];
            let found = geometric_radius_px(&microscope(Aperture::IMAGE), pixel, &foci, thickness);
            assert!((found / radius - 1.0).abs() < 0.03, "{found} beside {radius}");
        }
    }

    /// Values of `0.98 tau(h)` of an independent program, two digits.
    #[test]
    fn the_tail_is_that_of_the_table() {
        let halos = [8, 16, 32, 48, 64];
        let table = [
            (Aperture::IMAGE, 5000.0, [0.28, 1.8e-2, 9.6e-4, 1.0e-4, 1.7e-5]),
            (Aperture::Bump { inner: 0.15 }, 5000.0, [8.2e-2, 4.1e-3, 7.8e-5, 4.8e-6, 5.1e-7]),
            (Aperture::IMAGE, 1000.0, [4.9e-2, 9.1e-3, 5.4e-4, 7.0e-5, 1.3e-5]),
        ];
        for (aperture, distance, values) in table {
            let tail = tail(aperture, distance);
            for (h, value) in halos.into_iter().zip(values) {
                let found = 0.98 * tail.at(h);
                assert!(
                    (found / value - 1.0).abs() < 0.06,
                    "{aperture:?} {distance} {h}: {found} beside {value}"
                );
            }
        }
    }

    #[test]
    fn tails_fall_and_halos_follow_them() {
        let smooth = tail(Aperture::IMAGE, 5000.0);
        assert!((0..383).all(|h| smooth.at(h + 1) <= smooth.at(h)));
        let halos = [1e-2, 1e-3, 1e-4].map(|tolerance| smooth.halo(0.98, tolerance).unwrap());
        assert!(halos[0] < halos[1] && halos[1] < halos[2], "{halos:?}");
        for (halo, tolerance) in halos.into_iter().zip([1e-2, 1e-3, 1e-4]) {
            assert!(0.98 * smooth.at(halo) <= tolerance && 0.98 * smooth.at(halo - 1) > tolerance);
        }
        let sharp = tail(Aperture::Hard, 5000.0);
        assert_eq!(sharp.halo(0.98, 1e-3), None, "the tail of a sharp edge does not converge");
        assert!(Tail::new(&microscope(Aperture::IMAGE), 2.0, 0, &[Focus::at_distance(0.0)], 96.0).is_err());
    }
}
