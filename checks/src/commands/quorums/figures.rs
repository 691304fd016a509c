//! The pictures of a strategy, after the paper's figures 4 and 5 and the original's plots.

use super::Kind;
use super::input::Given;
use super::report::{goal, number, workload};
use super::usage;
use crate::chart::{Bar, Frame, Line, Segment, bars, lines, shade};
use crate::error::Error;
use parthood_quorums::{Choice, FrontPoint, Node, Objective, Strategy};

/// Capacities and loads are drawn at this many read fractions.
const STEPS: u32 = 40;

pub(super) fn draw(given: &Given, kind: Kind) -> Result<String, Error> {
    match kind {
        Kind::Capacity => capacities(given),
        Kind::Fraction => fractions(given),
        Kind::Load | Kind::Utilization | Kind::Throughput => stacks(given, kind),
    }
}

fn strategy(given: &Given) -> Result<Strategy, Error> {
    Ok(given.one()?.1.optimise(&given.cluster, &given.plan).map_err(usage)?.strategy())
}

/// One bar per node, one segment per quorum that contains it: reads in red below, writes in blue above.
fn stacks(given: &Given, kind: Kind) -> Result<String, Error> {
    let strategy = strategy(given)?;
    let fractions = given.plan.workload();
    let read = fractions.mean();
    let capacity = strategy.capacity(fractions);
    let segment = |node: Node, choices: &[Choice], reads: bool| -> Vec<Segment> {
        let attributes = given.cluster.attributes(node);
        let rate = attributes.map_or(1.0, |a| if reads { a.read_capacity } else { a.write_capacity });
        let fraction = if reads { read } else { 1.0 - read };
        let scale = match kind {
            Kind::Load => 1.0 / rate,
            Kind::Utilization => capacity / rate,
            _ => capacity,
        };
        let last = f64::from(u32::try_from(choices.len().max(2) - 1).unwrap_or(u32::MAX));
        let of = |(i, choice): (usize, &Choice)| {
            let (color, ink) = shade(reads, f64::from(u32::try_from(i).unwrap_or(0)) / last);
            let height = fraction * choice.probability * scale;
            Segment { height, label: given.cluster.show_set(choice.nodes), color, ink }
        };
        let contains = |(_, choice): &(usize, &Choice)| choice.nodes.contains(node.index());
        choices.iter().enumerate().filter(contains).map(of).filter(|segment| segment.height > 0.0).collect()
    };
    let bar = |node: Node| {
        let mut segments = segment(node, strategy.reads(), true);
        segments.extend(segment(node, strategy.writes(), false));
        let reach: f64 = segments.iter().map(|segment| segment.height).sum();
        let load = strategy.node_load(node, fractions);
        // At this throughput the node itself would be saturated.
        let limit = (matches!(kind, Kind::Throughput) && load > 0.0).then(|| reach / load / capacity);
        Bar { name: given.cluster.name(node).to_owned(), segments, limit }
    };
    let all: Vec<Bar> = given.cluster.nodes().map(bar).collect();
    let limit = if kind == Kind::Throughput { "; lines: a node's own limit" } else { "" };
    let subtitle = format!(
        "{}; capacity {}/s; reads red, writes blue{limit}",
        goal(&given.cluster, &given.plan),
        number(capacity)
    );
    let (title, y) = match kind {
        Kind::Load => ("Node load by quorum", "load (seconds per command)"),
        Kind::Utilization => ("Node utilization at capacity by quorum", "share of time"),
        _ => ("Node throughput at capacity by quorum", "commands per second"),
    };
    Ok(bars(&Frame { title, subtitle: &subtitle, x: "node", y }, &all))
}

/// The load of every node against the read fraction, and the envelope, which is the load of the system. Of several systems
/// only the envelopes.
fn fractions(given: &Given) -> Result<String, Error> {
    if given.some()?.len() > 1 {
        let frame = ("Load against the read fraction", "load (seconds per command)");
        return against_fraction(given, frame, Strategy::load_at);
    }
    let strategy = strategy(given)?;
    let mut drawn: Vec<(Vec<&str>, [f64; 2])> = Vec::new();
    for node in given.cluster.nodes() {
        let ends = [0.0, 1.0].map(|read| strategy.node_load_at(node, read));
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
        match drawn.iter_mut().find(|(_, known)| close(known[0], ends[0]) && close(known[1], ends[1])) {
            Some((names, _)) => names.push(given.cluster.name(node)),
            None => drawn.push((vec![given.cluster.name(node)], ends)),
        }
    }
    let mut all: Vec<Line> = drawn
        .into_iter()
        .map(|(names, [low, high])| Line {
            name: names.join(", "),
            points: vec![(0.0, low), (1.0, high)],
            strong: false,
            dashed: true,
            markers: false,
            like: None,
        })
        .collect();
    let points =
        (0..=10 * STEPS).map(|i| f64::from(i) / f64::from(10 * STEPS)).map(|f| (f, strategy.load_at(f)));
    all.push(Line {
        name: "load".into(),
        points: points.collect(),
        strong: true,
        dashed: false,
        markers: false,
        like: None,
    });
    let subtitle = goal(&given.cluster, &given.plan);
    let frame = Frame {
        title: "Load against the read fraction",
        subtitle: &subtitle,
        x: "read fraction",
        y: "load (seconds per command)",
    };
    Ok(lines(&frame, &all))
}

/// The capacity of every system's strategy against the read fraction.
fn capacities(given: &Given) -> Result<String, Error> {
    let frame = ("Capacity against the read fraction", "commands per second");
    against_fraction(given, frame, |strategy, read| 1.0 / strategy.load_at(read))
}

/// A value of every system's strategy against the read fraction.
fn against_fraction(
    given: &Given,
    (title, y): (&str, &str),
    value: impl Fn(&Strategy, f64) -> f64,
) -> Result<String, Error> {
    let mut all = Vec::new();
    for (name, system) in given.some()? {
        let strategy = system.optimise(&given.cluster, &given.plan).map_err(usage)?.strategy();
        let points = (0..=STEPS).map(|i| f64::from(i) / f64::from(STEPS));
        all.push(Line {
            name: name.clone(),
            points: points.map(|read| (read, value(&strategy, read))).collect(),
            strong: false,
            dashed: false,
            markers: true,
            like: None,
        });
    }
    let subtitle = format!("one strategy per system: {}", goal(&given.cluster, &given.plan));
    Ok(lines(&Frame { title, subtitle: &subtitle, x: "read fraction", y }, &all))
}

/// The fronts of several systems.
pub(super) fn fronts(given: &Given, axes: [Objective; 2], fronts: &[(String, Vec<FrontPoint>)]) -> String {
    let line = |(name, front): &(String, Vec<FrontPoint>)| Line {
        name: name.clone(),
        points: front.iter().map(|point| (point.x, point.y)).collect(),
        strong: false,
        dashed: false,
        markers: true,
        like: None,
    };
    let unit = |metric: Objective| match metric {
        Objective::Load => "load (seconds per command)",
        Objective::Network => "network load (nodes per command)",
        Objective::Latency => "latency (seconds)",
    };
    let subtitle = workload(&given.plan);
    let title = format!("What {} costs in {}", axes[0].name(), axes[1].name());
    let frame = Frame { title: &title, subtitle: &subtitle, x: unit(axes[0]), y: unit(axes[1]) };
    lines(&frame, &fronts.iter().map(line).collect::<Vec<_>>())
}
