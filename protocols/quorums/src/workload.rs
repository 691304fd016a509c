//! How often clients read: one read fraction, a distribution over several, or a range of which the worst counts.

use crate::number::{decimal, rounded};
use crate::{Error, Result};

/// The read fractions that a system is judged on.
#[derive(Clone, Debug, PartialEq)]
pub enum Workload {
    /// Fractions with their weights, in ascending order, as given: weights need not sum to one.
    Expected(Vec<(f64, f64)>),
    /// The worst fraction between these two. Load is convex in the fraction, and network load and latency are linear in
    /// it, so the worst is at one of the ends.
    Worst(f64, f64),
}

impl Workload {
    /// This fraction of commands are reads.
    ///
    /// # Errors
    /// When the fraction is not between 0 and 1.
    pub fn reads(fraction: f64) -> Result<Self> {
        Self::distribution([(fraction, 1.0)])
    }

    /// This fraction of commands are writes.
    ///
    /// # Errors
    /// When the fraction is not between 0 and 1.
    pub fn writes(fraction: f64) -> Result<Self> {
        // In decimals: 1 - 0.9 is 0.1, and not the float next to it.
        Self::reads(if fraction.is_finite() {
            rounded(&(decimal(1.0) - decimal(fraction)))
        } else {
            fraction
        })
    }

    /// Read fractions, each with a weight. Weights are normalised, equal fractions merged, zero weights dropped.
    ///
    /// # Errors
    /// When there is no fraction, a fraction is not between 0 and 1, a weight is negative or not finite, or all weights
    /// are zero.
    pub fn distribution(weights: impl IntoIterator<Item = (f64, f64)>) -> Result<Self> {
        let bad = |message: String| Error::BadWeight { what: "read fractions", message };
        let mut given: Vec<(f64, f64)> = weights.into_iter().collect();
        if given.is_empty() {
            return Err(Error::Empty { what: "a workload" });
        }
        for &(fraction, weight) in &given {
            if !(0.0..=1.0).contains(&fraction) {
                return Err(Error::BadFraction { fraction });
            }
            if !(0.0..=1e12).contains(&weight) {
                return Err(bad(format!("the weight {weight} of {fraction} is not between 0 and 1e12")));
            }
        }
        given.retain(|&(_, weight)| weight > 0.0);
        if given.is_empty() {
            return Err(bad("all weights are zero".into()));
        }
        given.sort_by(|a, b| a.0.total_cmp(&b.0));
        given.dedup_by(|next, kept| {
            let same = next.0.total_cmp(&kept.0).is_eq();
            kept.1 += if same { next.1 } else { 0.0 };
            same
        });
        Ok(Self::Expected(given))
    }

    /// The worst read fraction of a range.
    ///
    /// # Errors
    /// When the ends are not between 0 and 1, or in the wrong order.
    pub fn worst(least: f64, most: f64) -> Result<Self> {
        for fraction in [least, most] {
            if !(0.0..=1.0).contains(&fraction) {
                return Err(Error::BadFraction { fraction });
            }
        }
        if least > most {
            let message = format!("the range {least} to {most} begins above its end");
            return Err(Error::BadWeight { what: "read fractions", message });
        }
        Ok(Self::Worst(least, most))
    }

    /// The expectation, or the worst over the ends, of a function of the read fraction.
    pub(crate) fn over(&self, value: impl Fn(f64) -> f64) -> f64 {
        match self {
            Self::Expected(points) => {
                let total: f64 = points.iter().map(|(_, weight)| weight).sum();
                points.iter().map(|(fraction, weight)| weight / total * value(*fraction)).sum()
            }
            Self::Worst(least, most) => value(*least).max(value(*most)).max(0.0),
        }
    }

    /// The expected read fraction; the middle of a range.
    pub fn mean(&self) -> f64 {
        match self {
            Self::Expected(_) => self.over(|fraction| fraction),
            Self::Worst(least, most) => f64::midpoint(*least, *most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_weights_out_of_range_are_errors() {
        for bad in [-0.1, 1.1, f64::NAN] {
            assert!(Workload::reads(bad).is_err());
            assert!(Workload::writes(bad).is_err());
            assert!(Workload::worst(0.0, bad).is_err());
        }
        assert!(Workload::worst(0.6, 0.5).is_err());
        assert!(Workload::distribution([]).is_err());
        assert!(Workload::distribution([(0.5, 0.0)]).is_err());
        assert!(Workload::distribution([(0.5, -1.0), (0.1, 3.0)]).is_err());
        assert!(Workload::distribution([(0.5, f64::NAN)]).is_err());
    }

    #[test]
    fn splitting_a_fraction_changes_nothing() {
        let whole = Workload::distribution([(0.5, 2.0), (0.2, 1.0), (0.9, 0.0)]).unwrap();
        let split = Workload::distribution([(0.5, 1.0), (0.2, 1.0), (0.5, 1.0)]).unwrap();
        assert_eq!(whole, split);
        assert!((whole.mean() - 0.4).abs() < 1e-15);
    }
}
