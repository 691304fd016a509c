//! Values of flags that several verbs share.

use std::time::Duration;

/// Some time, but no more than a day.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds, from 0.001 to 86400".into())
}

/// A part of a whole.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a share, from 0 to 1".into())
}

/// The exponent of a power law.
pub(crate) fn skew(text: &str) -> Result<f64, String> {
    let skew = text.parse().ok().filter(|skew| (0.0..=10.0).contains(skew));
    skew.ok_or_else(|| "expected an exponent, from 0 to 10".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_refused() {
        for wrong in ["nan", "inf", "-1", "", "1s", "86401"] {
            assert!(seconds(wrong).is_err() && share(wrong).is_err() && skew(wrong).is_err(), "{wrong}");
        }
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!((share("1"), skew("0.99")), (Ok(1.0), Ok(0.99)));
        assert!(seconds("0").is_err() && share("1.01").is_err());
    }
}
