//! Tables, and numbers as people read them.

use super::super::{Console, Tone};
use crate::error::Error;
use parthood_quorums::{Cluster, Objective, Plan, Workload};
use std::fmt::Write;

/// Rows of cells, aligned; the first row is the head.
pub(super) fn table(console: &Console, rows: &[Vec<String>]) -> Result<(), Error> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (i, row) in rows.iter().enumerate() {
        let cell = |(column, text): (usize, &String)| {
            // Names to the left, numbers to the right.
            if column == 0 {
                format!("{text:<0$}", widths[column])
            } else {
                format!("{text:>0$}", widths[column])
            }
        };
        let line = row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ");
        let line = line.trim_end();
        console.line(format_args!(
            "  {}",
            if i == 0 { console.paint(Tone::Faint, line) } else { line.into() }
        ))?;
    }
    Ok(())
}

/// Five significant digits.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..7.0).contains(&magnitude) {
        return format!("{value:.4e}");
    }
    let decimals = (0..8).find(|&places| f64::from(places) >= 4.0 - magnitude).unwrap_or(8);
    let text = format!("{value:.*}", usize::try_from(decimals).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// A value of a metric with its unit.
pub(super) fn metric(objective: Objective, value: f64) -> String {
    match objective {
        Objective::Load => format!("{} s/command, capacity {}/s", number(value), number(1.0 / value)),
        Objective::Network => format!("{} nodes/command", number(value)),
        Objective::Latency => time(value),
    }
}

/// Seconds, in a readable unit.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 || s == 0.0 => format!("{} s", number(s)),
        s if s >= 1e-3 => format!("{} ms", number(s * 1e3)),
        s => format!("{} us", number(s * 1e6)),
    }
}

/// The read fractions, in a few words.
pub(super) fn workload(plan: &Plan) -> String {
    match plan.workload() {
        Workload::Worst(least, most) => format!("the worst read fraction of {least} to {most}"),
        Workload::Expected(points) if points.len() == 1 => format!("read fraction {}", points[0].0),
        workload @ Workload::Expected(points) => {
            format!("{} read fractions with mean {}", points.len(), number(workload.mean()))
        }
    }
}

/// What is asked for, in one line.
pub(super) fn goal(cluster: &Cluster, plan: &Plan) -> String {
    let workload = workload(plan);
    let mut text = format!("least {} at {workload}", plan.objective().name());
    // Writing to a string cannot fail.
    for (metric, limit) in plan.limits() {
        let _ = write!(text, ", {} <= {}", metric.name(), number(*limit));
    }
    if plan.resilience() > 0 {
        let _ = write!(text, ", every contacted set survives {} crashes", plan.resilience());
    }
    if !plan.down().is_empty() {
        let _ = write!(text, ", without {}", cluster.show_set(plan.down()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_five_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (2.0 / 3.0, "0.66667"),
            (159.304_03, "159.3"),
            (5005.1853, "5005.2"),
            (1e12, "1.0000e12"),
            (123_456.0, "123456"),
            (2.5e-6, "2.5000e-6"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(time(0.0025), "2.5 ms");
    }
}
