//! What a run of an experiment showed, and its statistics.

use super::script::{Deed, Phase, Script};
use crate::draw::float;

/// A command that was answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// When, in seconds of the experiment.
    pub at: f64,
    /// After how many milliseconds, true ones.
    pub latency_ms: f64,
}

/// What became of one deed that asked for other nodes; times are true milliseconds from the request on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reconfiguration {
    /// When it was asked for, in seconds of the experiment.
    pub asked: f64,
    /// Its operator is told that the new nodes are at work.
    pub active_ms: Option<f64>,
    /// A command is chosen by the new acceptors. Not seen from outside of processes.
    pub first_commit_ms: Option<f64>,
    /// Its operator is told that the old nodes are not needed.
    pub retired_ms: Option<f64>,
    /// How many configurations a matchmaker returned at most. Not seen from outside of processes.
    pub returned: Option<usize>,
}

/// A run of an experiment.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// What ran.
    pub system: String,
    /// How many clients, each with one command outstanding.
    pub clients: usize,
    /// How many true seconds a second of the experiment took.
    pub second: f64,
    /// What was answered, in order.
    pub answers: Vec<Answer>,
    /// What was asked of it.
    pub reconfigurations: Vec<Reconfiguration>,
}

/// Where a share of all values lies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// A quarter is not above.
    pub p25: f64,
    /// The median.
    pub p50: f64,
    /// Three quarters are not above.
    pub p75: f64,
    /// Of a hundred, 95 are not above.
    pub p95: f64,
    /// Of a hundred, 99 are not above.
    pub p99: f64,
}

/// What a phase of a run showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Milliseconds from a command to its answer.
    pub latency_ms: Spread,
    /// Commands answered per true second, in windows of a second of the experiment.
    pub per_second: Spread,
    /// The longest true time between two answers, in milliseconds.
    pub longest_gap_ms: f64,
}

impl Spread {
    /// Of these values.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |hundredths: usize| {
            let rank = (values.len() * hundredths).div_ceil(100).max(1) - 1;
            values.get(rank).copied().unwrap_or(f64::NAN)
        };
        Self { p25: at(25), p50: at(50), p75: at(75), p95: at(95), p99: at(99) }
    }
}

/// How far windows are apart, in seconds of the experiment.
const STEP: f64 = 0.1;

impl Timeline {
    fn between(&self, from: f64, to: f64) -> &[Answer] {
        let first = self.answers.partition_point(|answer| answer.at < from);
        let end = self.answers.partition_point(|answer| answer.at < to);
        &self.answers[first..end.max(first)]
    }

    /// Commands per true second in the window that ends then.
    fn per_second(&self, end: f64, window: f64) -> f64 {
        float(self.between(end - window, end).len()) / (window * self.second)
    }

    /// What a phase showed.
    pub fn measured(&self, phase: &Phase) -> Measured {
        let answers = self.between(phase.from, phase.to);
        let latencies = answers.iter().map(|answer| answer.latency_ms).collect();
        let ends = std::iter::successors(Some(phase.from + 1.0), |end| Some(end + STEP));
        let ends = ends.take_while(|end| *end < phase.to + STEP / 2.0);
        Measured {
            latency_ms: Spread::of(latencies),
            per_second: Spread::of(ends.map(|end| self.per_second(end, 1.0)).collect()),
            longest_gap_ms: self.longest_gap_ms(phase.from, phase.to),
        }
    }

    /// The longest true time without an answer that ends in this stretch.
    pub fn longest_gap_ms(&self, from: f64, to: f64) -> f64 {
        let before = self.answers.partition_point(|answer| answer.at < from).saturating_sub(1);
        let end = self.answers.partition_point(|answer| answer.at < to);
        let seen = self.answers.get(before..end).unwrap_or_default();
        let gaps = seen.windows(2).map(|two| two[1].at - two[0].at);
        gaps.fold(0.0, f64::max) * self.second * 1e3
    }

    /// After how many true milliseconds from then on the throughput was back at a share of what it was in a phase.
    pub fn back_after_ms(&self, from: f64, share: f64, phase: &Phase) -> Option<f64> {
        let before = self.measured(phase).per_second.p50;
        let last = self.answers.last()?.at;
        let mut ends = std::iter::successors(Some(from), |end| Some(end + STEP / 2.0));
        let end = ends.find(|end| *end > last || self.per_second(end + STEP, STEP) >= share * before)?;
        (end <= last).then_some((end - from) * self.second * 1e3)
    }

    /// Points of the throughput, in windows that end every step.
    pub fn throughput(&self, seconds: f64) -> Vec<(f64, f64)> {
        let ends = std::iter::successors(Some(STEP), |end| Some(end + STEP));
        let ends = ends.take_while(|end| *end <= seconds + STEP / 2.0);
        ends.map(|end| (end, self.per_second(end, STEP) / 1e3)).collect()
    }

    /// Points of a latency's percentile, by steps; nothing where nothing is answered.
    pub fn latency(&self, seconds: f64, pick: fn(Spread) -> f64) -> Vec<(f64, f64)> {
        let ends = std::iter::successors(Some(STEP), |end| Some(end + STEP));
        let ends = ends.take_while(|end| *end <= seconds + STEP / 2.0);
        let point = |end: f64| {
            let latencies = self.between(end - STEP, end).iter().map(|answer| answer.latency_ms);
            (end, pick(Spread::of(latencies.collect())))
        };
        ends.map(point).collect()
    }

    /// For each reconfiguration: the longest true time without an answer from the request to the next one, in milliseconds.
    pub fn stalls_ms(&self, script: &Script) -> Vec<f64> {
        let asked = || script.deeds.iter().filter(|(_, deed)| deed.reconfigures()).map(|(at, _)| *at);
        let ends = asked().skip(1).chain([script.seconds]);
        asked().zip(ends).map(|(from, to)| self.longest_gap_ms(from, to)).collect()
    }
}

impl Deed {
    /// Does it ask for other nodes?
    pub fn reconfigures(&self) -> bool {
        matches!(self, Self::Acceptors(_) | Self::Matchmakers(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(at: &[f64]) -> Timeline {
        let answers = at.iter().map(|at| Answer { at: *at, latency_ms: 10.0 * at }).collect();
        Timeline { system: String::new(), clients: 1, second: 0.5, answers, reconfigurations: vec![] }
    }

    #[test]
    fn quartiles_are_values_and_gaps_reach_back() {
        let spread = Spread::of((1..=100_u8).map(f64::from).collect());
        assert_eq!((spread.p25, spread.p50, spread.p75, spread.p99), (25.0, 50.0, 75.0, 99.0));
        let run = timeline(&[0.5, 1.0, 1.5, 4.0, 4.5]);
        let phase = Phase { name: "", from: 2.0, to: 5.0 };
        // From 1.5 to 4 are two and a half seconds of the experiment, each half a second long.
        assert!((run.measured(&phase).longest_gap_ms - 1250.0).abs() < 1e-9);
        assert!((run.measured(&phase).latency_ms.p50 - 40.0).abs() < 1e-9);
        // Two answers within a window of one second, which is half a true one.
        assert!((run.measured(&phase).per_second.p95 - 4.0).abs() < 1e-9);
    }
}
