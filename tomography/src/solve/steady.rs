//! Whether steps for subsets come to rest, told before the work; and a run that does not, told during it.
//!
//! With subsets a direction of the volume is not pulled back at every step: fine detail shows in one image or in a few
//! neighbours, and momentum carries it on while the other subsets have their turn. Along one direction the steps are
//!
//! ```text
//! x <- (1 - a) (x + b d),   d <- b d - a (x + b d)      a = step * curvature of the subset along it, b the momentum
//! ```
//!
//! and a pass is the product of such matrices. A direction that `w` subsets in a row pull by `a` and the others not at all
//! is the worst found: it is carried past its place by up to `1 / (1 - b)` steps, and pulled back from farther each time.
//! A pass of a matrix with trace `T` and determinant `D` comes to rest if `|T| <= 1 + D <= 2`. With 0.7 of the inverse
//! curvature of fifteen subsets of four images and a momentum of 0.9 it does not; with five subsets of twelve it does.

use super::Progress;
use crate::{Error, Result};

/// How far below the border of rest steps stay: directions that subsets see are not apart from each other, and waves are not
/// linear. Measured with 61 tilts of rays, steps of fifteen subsets come to rest at a momentum of 0.75 and not at 0.8, and of
/// thirty at 0.7 and not at 0.75; a margin of 1.25 would allow for 0.79 and 0.73.
const MARGIN: f64 = 3.0;
/// By how much the pull grows from one that is tried to the next.
const GROWTH: f64 = 1.04;
/// Weaker pulls than this share of the largest are not tried: they move a direction through less than a turn.
const WEAKEST: f64 = 2e-3;
/// By how much momentum is lowered until it is borne.
const LESS: f64 = 0.01;

type Matrix = [[f64; 2]; 2];

fn times(a: Matrix, b: Matrix) -> Matrix {
    let at = |row: usize, column: usize| a[row][0] * b[0][column] + a[row][1] * b[1][column];
    [[at(0, 0), at(0, 1)], [at(1, 0), at(1, 1)]]
}

/// Whether a pass comes to rest along every direction that up to all subsets in a row pull this much.
fn rests(subsets: usize, pull: f64, momentum: f64) -> bool {
    let on = [[1.0 - pull, (1.0 - pull) * momentum], [-pull, (1.0 - pull) * momentum]];
    let mut pulled = [[1.0, 0.0], [0.0, 1.0]];
    (1..=subsets).all(|pulls| {
        pulled = times(on, pulled);
        // What remains of the pace, and how far it has carried.
        let rest = momentum.powi((subsets - pulls) as i32);
        let carried = if momentum < 1.0 {
            momentum * (1.0 - rest) / (1.0 - momentum)
        } else {
            (subsets - pulls) as f64
        };
        let [[a, b], [c, d]] = times([[1.0, carried], [0.0, rest]], pulled);
        let (trace, determinant) = (a + d, a * d - b * c);
        determinant.abs() <= 1.0 + 1e-12 && trace.abs() <= 1.0 + determinant + 1e-12
    })
}

/// The largest momentum, at most the one wanted, with which steps for subsets come to rest along every direction. `relaxation`
/// is the step times the largest curvature of a subset; `alone` is the share of that which a direction can have that not
/// all subsets see: the curvature of one image over that of a subset.
pub fn steady_momentum(subsets: usize, relaxation: f64, alone: f64, wanted: f64) -> f64 {
    // What all subsets see is one subset again and again.
    let bears = |momentum: f64| {
        let (mut pull, largest) = (relaxation, MARGIN * relaxation * alone.min(1.0));
        if !rests(1, pull, momentum) {
            return false;
        }
        if subsets == 1 {
            return true;
        }
        pull = largest;
        while pull > WEAKEST * largest {
            if !rests(subsets, pull, momentum) {
                return false;
            }
            pull /= GROWTH;
        }
        true
    };
    let mut momentum = wanted;
    while momentum > 0.0 && !bears(momentum) {
        momentum -= LESS;
    }
    momentum.max(0.0)
}

/// Notices that the misfit leaves for good what it had come down to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descent {
    /// The misfit from which the run began.
    pub(crate) first: f64,
    lowest: f64,
    last: f64,
    rises: usize,
}

impl Descent {
    /// So many times in a row the misfit rises when it does not come back; momentum overshoots less often.
    const RISES: usize = 3;
    /// The share of the first misfit by which it has risen then.
    const SHARE: f64 = 0.25;

    /// A run that begins, or goes on, from this first misfit; infinite if there was none yet.
    pub(crate) const fn from(first: f64) -> Self {
        Self { first, lowest: f64::INFINITY, last: f64::INFINITY, rises: 0 }
    }

    /// Takes the next misfit.
    ///
    /// # Errors
    /// [`Error::Diverging`] if it is no number, or has risen several times in a row, by a fourth of the first.
    pub(crate) fn take(&mut self, progress: Progress) -> Result<()> {
        let loss = progress.loss;
        if self.first.is_infinite() {
            self.first = loss;
        }
        self.rises = if loss > self.last { self.rises + 1 } else { 0 };
        (self.lowest, self.last) = (self.lowest.min(loss), loss);
        let has_left = self.rises >= Self::RISES && loss - self.lowest > Self::SHARE * self.first;
        if has_left || !loss.is_finite() {
            return Err(Error::Diverging { iteration: progress.iteration + 1, lowest: self.lowest, loss });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How far a direction is off after many passes, from 1, pulled by the subsets of a pass this much.
    fn after(passes: usize, pulls: &[f64], momentum: f64) -> f64 {
        let (mut x, mut d) = (1.0, 0.0);
        for pull in (0..passes).flat_map(|_| pulls) {
            let ahead = x + momentum * d;
            (d, x) = (ahead - pull * ahead - x, ahead - pull * ahead);
        }
        f64::abs(x).max(f64::abs(d))
    }

    #[test]
    fn many_subsets_bear_less_momentum() {
        // Pulled at every step, momentum is borne up to 2 (1 + b) / (1 + 2 b).
        assert_eq!(steady_momentum(1, 1.35, 1.0, 0.9), 0.9);
        assert!(steady_momentum(1, 1.4, 1.0, 0.9) < 0.8);
        // Twelve and four images of a subset, of which each alone has about that share of its curvature.
        assert_eq!(steady_momentum(5, 0.7, 1.0 / 11.0, 0.9), 0.9);
        let fifteen = steady_momentum(15, 0.7, 1.0 / 3.5, 0.9);
        assert!((0.6..0.8).contains(&fifteen), "{fifteen}");
        assert!(steady_momentum(61, 0.7, 1.0, 0.9) < fifteen);
        assert_eq!(steady_momentum(61, 1.0, 1.0, 0.0), 0.0);
    }

    #[test]
    fn what_is_said_not_to_rest_grows() {
        // Fifteen subsets, of which three pull by the share that one image of four has.
        let pull = |subset: usize| if subset < 3 { 0.2 } else { 0.0 };
        let pulls: Vec<f64> = (0..15).map(pull).collect();
        assert!(!rests(15, 0.2, 0.9));
        assert!(after(40, &pulls, 0.9) > 1e3, "{}", after(40, &pulls, 0.9));
        let borne = steady_momentum(15, 0.7, 0.2 / 0.7, 0.9);
        assert!(after(400, &pulls, borne) < 1.0, "{borne}: {}", after(400, &pulls, borne));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Also of pulls that are no burst, nothing grows at the momentum that is said to be borne.
        #[test]
        fn whatever_the_pulls_they_come_to_rest(
            alone in 0.05..1.0f64,
            relaxation in 0.1..1.2f64,
            shares in prop::collection::vec(prop_oneof![2 => Just(0.0), 2 => Just(1.0), 1 => 0.0..1.0f64], 2..20),
        ) {
            let momentum = steady_momentum(shares.len(), relaxation, alone, 0.9);
            let pulls: Vec<f64> = shares.iter().map(|share| share * relaxation * alone).collect();
            prop_assert!(after(300, &pulls, momentum) <= 1.0, "{} {}", momentum, after(300, &pulls, momentum));
            let all = vec![relaxation; shares.len()];
            prop_assert!(after(100, &all, momentum) < 1e-3);
        }
    }

    /// The iteration at which a run of these misfits is stopped.
    fn stopped(losses: &[f64]) -> Option<usize> {
        let mut descent = Descent::from(f64::INFINITY);
        let told = |(iteration, loss): (usize, &f64)| {
            descent.take(Progress { iteration, loss: *loss, energy_outside: 0.0 }).err()
        };
        match losses.iter().enumerate().find_map(told) {
            Some(Error::Diverging { iteration, .. }) => Some(iteration),
            _ => None,
        }
    }

    #[test]
    fn a_misfit_that_leaves_for_good_is_noticed_and_one_that_swings_is_not() {
        assert_eq!(stopped(&[100.0, 30.0, 10.0, 6.5, 7.0, 25.0, 83.0, 200.0]), Some(7));
        assert_eq!(stopped(&[100.0, 300.0, 900.0, 2700.0]), Some(4));
        assert_eq!(stopped(&[100.0, f64::NAN]), Some(2));
        assert_eq!(stopped(&[100.0, 50.0, f64::INFINITY]), Some(3));
        let swings: Vec<f64> =
            (0..200).map(|k| 100.0 * (0.8_f64.powi(k) * (0.3 * f64::from(k)).cos()).powi(2)).collect();
        assert_eq!(stopped(&swings), None);
        // It rises by much of what is left and little of what there was.
        assert_eq!(stopped(&[100.0, 1.0, 2.0, 4.0, 8.0, 4.0, 1.0]), None);
    }
}
