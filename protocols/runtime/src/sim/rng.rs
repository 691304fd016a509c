//! The simulator's randomness: PCG-64, whose output is fixed by its definition, and integer arithmetic that no library
//! update can change. Each purpose draws from a generator of its own, so that a message more does not move a timer.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng as _, SeedableRng};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What random numbers are drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Network = 1,
    Timers,
    Choices,
    Storage,
    Faults,
}

/// A range of durations, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The least.
    pub min: Duration,
    /// The most.
    pub max: Duration,
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self::exactly(Duration::ZERO);

    /// From `min` to `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// Always `duration`.
    pub const fn exactly(duration: Duration) -> Self {
        Self { min: duration, max: duration }
    }
}

#[derive(Debug)]
pub(crate) struct Rng(Pcg64);

impl Rng {
    pub(crate) fn new(seed: u64, purpose: Purpose) -> Self {
        // SplitMix64 spreads the seed over the whole state.
        let mut x = seed ^ (purpose as u64).rotate_right(8);
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_exact_mut(8) {
            x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = x;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        Self(Pcg64::from_seed(bytes))
    }

    /// A number below `n`, or 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // The bias of multiply-and-shift is n / 2^64.
        let wide = u128::from(self.0.next_u64()) * u128::from(n);
        u64::try_from(wide >> 64).expect("the upper half of a product of two 64-bit numbers")
    }

    /// An index below `n`, or 0 if `n` is 0.
    pub(crate) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("below a usize")
    }

    /// Nanoseconds in a span.
    pub(crate) fn within(&mut self, span: Span) -> u64 {
        let (min, max) = (nanos(span.min), nanos(span.max));
        if max > min { min + self.below((max - min).saturating_add(1)) } else { min }
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        // 53 bits, as many as a float can hold; no draw where there is no choice.
        #[allow(clippy::cast_precision_loss, reason = "the shift leaves 53 bits")]
        let mut unit = || (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        probability > 0.0 && unit() < probability
    }
}

/// Nanoseconds, as many as fit: 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        let mut rng = Rng::new(7, Purpose::Network);
        let numbers: Vec<u64> = (0..4).map(|_| rng.below(1_000_000)).collect();
        assert_eq!(numbers, [858_518, 508_349, 345_379, 493_493]);
        let mut other = Rng::new(7, Purpose::Timers);
        assert_ne!(other.below(1_000_000), numbers[0]);
    }

    #[test]
    fn a_number_lies_in_its_span_and_reaches_both_ends() {
        let mut rng = Rng::new(1, Purpose::Timers);
        let span = Span::new(Duration::from_nanos(3), Duration::from_nanos(6));
        let mut seen = [0; 10];
        for _ in 0..1000 {
            seen[usize::try_from(rng.within(span)).unwrap()] += 1;
        }
        assert!(seen[3..=6].iter().all(|count| *count > 200), "{seen:?}");
        assert_eq!(seen.iter().sum::<u32>(), seen[3..=6].iter().sum::<u32>());
        assert_eq!(rng.within(Span::exactly(Duration::from_nanos(9))), 9);
    }

    #[test]
    fn a_chance_of_one_in_four_is_taken_one_time_in_four() {
        let mut rng = Rng::new(1, Purpose::Network);
        let taken = (0..100_000).filter(|_| rng.chance(0.25)).count();
        assert!((24_500..25_500).contains(&taken), "{taken}");
        assert!((0..1000).all(|_| rng.chance(1.0)) && !(0..1000).any(|_| rng.chance(0.0)));
    }
}
