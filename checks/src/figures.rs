//! The papers' figures, from simulated runs of the very actors.
//!
//! Every node is a server of its own that works off its queue; what a message and an executed command cost it is said in
//! one table ([`Costs`]), fitted to the papers' machines. Clients are closed loops. What comes out is a throughput in
//! virtual time, the latency that follows from it, and the node that is busiest: the binding component. So the figures
//! say what the *protocols* do with machines whose speeds are given; they are no measurement of this implementation.

mod bpaxos;
mod compartmentalized;
mod cost;
mod draft;
mod draft_batched;
mod egalitarian;
mod many_keys;
pub mod matchmaker;
mod measure;
mod mencius;
mod plan;
mod server;
mod spaxos;
mod systems;

pub use bpaxos::{GraphCosts, conflicts, leaders};
pub use compartmentalized::{ablation, batched, latency, reads, reads_of_many_keys, skew, values};
pub use cost::Costs;
pub use draft::draft;
pub use draft_batched::draft_batched;
pub use egalitarian::{egalitarian, published_latency_ms};
pub use measure::Measured;
pub use mencius::mencius;
pub use plan::{Target, plan};
pub use spaxos::spaxos;
pub use systems::{Batching, Parts, Shape, System, Workload};

use crate::chart::{self, Bar, Frame, Line, Segment};
use itertools::Itertools as _;
use std::fmt::Write as _;

/// A figure: points of several series, ours beside the published ones.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its name, which is that of its files.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// What runs from left to right.
    pub x: &'static str,
    /// How it is drawn.
    pub drawn: Drawn,
    /// The points.
    pub points: Vec<Point>,
}

/// How a figure is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// As lines from left to right.
    Lines,
    /// As bars side by side.
    Bars,
}

/// A point.
#[derive(Clone, Debug)]
pub struct Point {
    /// The series that it belongs to.
    pub series: String,
    /// What is deployed, in words.
    pub label: String,
    /// The same in a few letters.
    pub tick: String,
    /// Where it stands.
    pub x: f64,
    /// What the run showed.
    pub measured: Measured,
    /// What the paper says, in commands per second.
    pub published: Option<f64>,
    /// Why the published number is doubtful, if it is.
    pub doubt: Option<&'static str>,
}

impl Point {
    /// How far off ours is: 0.1 for one tenth too much.
    pub fn error(&self) -> Option<f64> {
        self.published.map(|published| self.measured.per_second / published - 1.0)
    }
}

impl Figure {
    /// The points as comma-separated values.
    pub fn csv(&self) -> String {
        let mut text = String::from(
            "series,deployment,x,commands_per_second,latency_ms,binding,utilization,published,error,doubt\n",
        );
        for point in &self.points {
            let Measured { per_second, latency_ms, binding, utilization, .. } = &point.measured;
            let number =
                |value: Option<f64>, digits| value.map_or(String::new(), |value| format!("{value:.digits$}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "\"{}\",\"{}\",{},{per_second:.0},{latency_ms:.3},{binding},{utilization:.3},{},{},\"{}\"",
                point.series,
                point.label,
                point.x,
                number(point.published, 0),
                number(point.error(), 3),
                point.doubt.unwrap_or_default()
            );
        }
        text
    }

    /// The points as a picture: bars with a mark at the published number, or lines with the published ones dashed.
    pub fn svg(&self) -> String {
        let frame = Frame {
            title: self.title,
            subtitle: "simulated actors, as fast as the paper's machines; the paper's numbers are dashed or marked",
            x: self.x,
            y: "thousand commands per second",
        };
        match self.drawn {
            Drawn::Lines => chart::lines(&frame, &self.lines()),
            Drawn::Bars => chart::bars(&frame, &self.bars()),
        }
    }

    fn lines(&self) -> Vec<Line> {
        let series: Vec<&str> = self.points.iter().map(|point| point.series.as_str()).unique().collect();
        let line = |(like, (published, name)): (usize, (bool, &str))| {
            let points = self.points.iter().filter(|point| point.series == name);
            let y = |point: &Point| if published { point.published } else { Some(point.measured.per_second) };
            let points = points.map(|point| (point.x, y(point).map_or(f64::NAN, |y| y / 1e3))).collect();
            let name = if published { format!("{name}, paper") } else { name.to_owned() };
            Line {
                name,
                points,
                strong: false,
                dashed: published,
                markers: true,
                like: Some(like % series.len()),
            }
        };
        let both = [false, true].into_iter().cartesian_product(series.iter().copied());
        both.enumerate().map(line).collect()
    }

    fn bars(&self) -> Vec<Bar> {
        let (color, ink) = chart::shade(false, 0.35);
        let bar = |point: &Point| Bar {
            name: point.tick.clone(),
            segments: vec![Segment {
                height: point.measured.per_second / 1e3,
                label: point.measured.binding.to_owned(),
                color: color.clone(),
                ink,
            }],
            limit: point.published.map(|published| published / 1e3),
        };
        self.points.iter().map(bar).collect()
    }
}
