//! Durations, counted by how long they are.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many buckets have an upper bound: 1 us, 2 us, 4 us and so on.
const BOUNDED: usize = 25;
/// One more for what is longer.
const BUCKETS: usize = BOUNDED + 1;

/// How many durations there were, by powers of two from a microsecond to 16 seconds, and one for longer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_ns: u64,
}

fn bucket(duration: Duration) -> usize {
    let us = duration.as_nanos().div_ceil(1_000);
    // The smallest power of two that is not smaller.
    let power = u128::BITS - us.saturating_sub(1).leading_zeros();
    (power as usize).min(BOUNDED)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&mut self, duration: Duration) {
        self.counts[bucket(duration)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(nanoseconds(duration));
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// For each bucket the longest duration that is in it, in seconds, and how many are. The last has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bound =
            |power: usize| if power == BOUNDED { f64::INFINITY } else { 1e-6 * f64::from(1_u32 << power) };
        self.counts.iter().enumerate().map(move |(power, count)| (bound(power), *count))
    }
}

/// A histogram that any number of threads add to, without a lock.
#[derive(Clone, Debug, Default)]
pub struct SharedHistogram(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    counts: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

impl SharedHistogram {
    /// Counts a duration.
    pub fn observe(&self, duration: Duration) {
        self.0.counts[bucket(duration)].fetch_add(1, Ordering::Relaxed);
        self.0.sum_ns.fetch_add(nanoseconds(duration), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Histogram {
        let counts = self.0.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Histogram { counts, sum_ns: self.0.sum_ns.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_is_in_the_smallest_bucket_that_holds_it(ns in 0..60_000_000_000_u64) {
            let duration = Duration::from_nanos(ns);
            let mut histogram = Histogram::default();
            histogram.observe(duration);
            let shared = SharedHistogram::default();
            shared.observe(duration);
            prop_assert_eq!(shared.read(), histogram);
            let (bounds, counts): (Vec<f64>, Vec<u64>) = histogram.buckets().unzip();
            let at = counts.iter().position(|count| *count == 1).unwrap();
            // A bound is some nanoseconds of a power of two; the float in seconds need not be exact.
            let bound = |at: usize| if at == BOUNDED { u64::MAX } else { 1_000 << at };
            prop_assert!(ns <= bound(at) && (at == 0 || ns > bound(at - 1)), "{} in {}", ns, bounds[at]);
            prop_assert_eq!((histogram.count(), histogram.sum()), (1, duration));
        }
    }

    #[test]
    fn bounds_grow_and_the_last_is_infinite() {
        let bounds: Vec<f64> = Histogram::default().buckets().map(|(bound, _)| bound).collect();
        assert!(bounds.is_sorted() && bounds[0] < 1.1e-6 && bounds[BUCKETS - 1].is_infinite(), "{bounds:?}");
    }
}
