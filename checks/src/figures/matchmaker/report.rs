//! An experiment as tables and pictures.

use super::published::{Published, published};
use super::script::Phase;
use super::timeline::{Measured, Spread, Timeline};
use super::{Deed, Experiment};
use crate::chart::{self, Frame, Line, Mark};
use std::fmt::Write as _;

/// A row of the table of an experiment: a phase of a run, and what was published of it.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The run.
    pub run: &'a Timeline,
    /// The phase.
    pub phase: Phase,
    /// What it showed.
    pub measured: Measured,
    /// What the paper says.
    pub published: Option<Published>,
}

/// What all reconfigurations of a run have in common: the median of each time, in true milliseconds, and the most configurations
/// that a matchmaker returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Until the operator is told that the new nodes are at work.
    pub active_ms: f64,
    /// Until a command is chosen by the new acceptors.
    pub first_commit_ms: f64,
    /// Until the operator is told that the old nodes are not needed.
    pub retired_ms: f64,
    /// Configurations that a matchmaker returned, at most.
    pub returned: Option<usize>,
    /// Of so many reconfigurations,
    pub asked: usize,
    /// so many were done.
    pub done: usize,
}

impl Timeline {
    /// How fast it was reconfigured, if it was.
    pub fn speed(&self) -> Option<Speed> {
        let all = &self.reconfigurations;
        let median = |values: Vec<f64>| Spread::of(values).p50;
        (!all.is_empty()).then(|| Speed {
            active_ms: median(all.iter().filter_map(|one| one.active_ms).collect()),
            first_commit_ms: median(all.iter().filter_map(|one| one.first_commit_ms).collect()),
            retired_ms: median(all.iter().filter_map(|one| one.retired_ms).collect()),
            returned: all.iter().filter_map(|one| one.returned).max(),
            asked: all.len(),
            done: all.iter().filter(|one| one.retired_ms.is_some()).count(),
        })
    }

    /// The name of its line.
    pub fn title(&self) -> String {
        format!("{}, {}", self.system, self.clients)
    }
}

fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { String::new() }
}

impl Experiment {
    /// What each phase of each run showed.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let of = |run| self.script.phases.iter().map(move |phase| (run, *phase));
        self.runs.iter().flat_map(of).map(|(run, phase)| Row {
            run,
            phase,
            measured: run.measured(&phase),
            published: published(self.script.name, &run.system, run.clients, phase.name),
        })
    }

    /// The table as comma-separated values.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "system,clients,phase,latency_p25_ms,latency_p50_ms,latency_p75_ms,latency_p95_ms,latency_p99_ms,per_second_p25,\
             per_second_p50,per_second_p75,longest_gap_ms,published_latency_p25_ms,published_latency_p50_ms,\
             published_latency_p75_ms,published_per_second_p25,published_per_second_p50,published_per_second_p75\n",
        );
        for Row { run, phase, measured, published } in self.rows() {
            let Measured { latency_ms, per_second, longest_gap_ms } = measured;
            let Spread { p25, p50, p75, p95, p99 } = latency_ms;
            let latencies = [p25, p50, p75, p95, p99].map(|value| number(value, 4)).join(",");
            let rates =
                [per_second.p25, per_second.p50, per_second.p75].map(|value| number(value, 0)).join(",");
            let paper = published.unwrap_or_default();
            let three = |median: Option<f64>, quartiles: Option<(f64, f64)>, digits| {
                let all = [quartiles.map(|both| both.0), median, quartiles.map(|both| both.1)];
                all.map(|value| number(value.unwrap_or(f64::NAN), digits)).join(",")
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "\"{}\",{},{},{latencies},{rates},{longest_gap_ms:.3},{},{}",
                run.system,
                run.clients,
                phase.name,
                three(paper.latency_ms, paper.latency_quartiles_ms, 3),
                three(paper.per_second, paper.quartiles_per_second, 0),
            );
        }
        text
    }

    /// Every reconfiguration as comma-separated values.
    pub fn reconfigurations_csv(&self) -> String {
        let mut text = String::from(
            "system,clients,second,active_ms,first_commit_ms,retired_ms,configurations_returned,longest_gap_ms\n",
        );
        for run in &self.runs {
            let stalls = run.stalls_ms(&self.script);
            for (one, stall) in run.reconfigurations.iter().zip(stalls) {
                let ms = |value: Option<f64>| number(value.unwrap_or(f64::NAN), 3);
                let returned = one.returned.map_or(String::new(), |count| count.to_string());
                let _ = writeln!(
                    text,
                    "\"{}\",{},{},{},{},{},{returned},{stall:.3}",
                    run.system,
                    run.clients,
                    one.asked,
                    ms(one.active_ms),
                    ms(one.first_commit_ms),
                    ms(one.retired_ms)
                );
            }
        }
        text
    }

    /// Throughput and latency over time as comma-separated values.
    pub fn timeline_csv(&self) -> String {
        let mut text =
            String::from("system,clients,second,thousand_per_second,latency_p50_ms,latency_p95_ms\n");
        for run in &self.runs {
            let seconds = self.script.seconds;
            let latencies = run.latency(seconds, |spread| spread.p50).into_iter();
            let latencies = latencies.zip(run.latency(seconds, |spread| spread.p95));
            for ((at, rate), ((_, p50), (_, p95))) in run.throughput(seconds).into_iter().zip(latencies) {
                let (p50, p95) = (number(p50, 4), number(p95, 4));
                let _ = writeln!(text, "\"{}\",{},{at:.1},{rate:.3},{p50},{p95}", run.system, run.clients);
            }
        }
        text
    }

    /// The throughput over time.
    pub fn throughput_svg(&self, place: &str) -> String {
        self.svg("thousand commands per second", place, |run| run.throughput(self.script.seconds))
    }

    /// The median latency over time; nothing is drawn where nothing is answered.
    pub fn latency_svg(&self, place: &str) -> String {
        self.svg("median latency, ms", place, |run| run.latency(self.script.seconds, |spread| spread.p50))
    }

    fn svg(&self, y: &str, place: &str, points: impl Fn(&Timeline) -> Vec<(f64, f64)>) -> String {
        let line = |run: &Timeline| Line {
            name: run.title(),
            points: points(run),
            strong: false,
            dashed: run.system.starts_with("horizontal"),
            markers: false,
            like: None,
        };
        let mut failed = false;
        let marks = self.script.deeds.iter().map(|(at, deed)| {
            let label = match deed {
                Deed::KillAcceptor(_) | Deed::KillMatchmaker(_) | Deed::KillLeader => "failure",
                Deed::Acceptors(_) | Deed::Matchmakers(_) if failed => "replaced",
                Deed::Acceptors(_) | Deed::Matchmakers(_) => "",
            };
            failed = label == "failure";
            Mark { x: *at, label }
        });
        let marks: Vec<Mark<'_>> = marks.collect();
        let frame = Frame {
            title: self.script.title,
            subtitle: &format!(
                "{place}; grey lines: nodes are exchanged; names end with the number of clients"
            ),
            x: "seconds of the experiment",
            y,
        };
        let lines: Vec<Line> = self.runs.iter().map(line).collect();
        chart::timeline(&frame, &lines, &marks)
    }
}
