//! `parthood figures`

mod matchmaker;
mod plan;

use super::{Console, Tone};
use crate::cli::{FiguresArgs, FiguresVerb};
use crate::error::{Error, Status};
use crate::figures::{self, Costs, Figure, GraphCosts, Measured};
use crate::files;
use parthood_protocols::compartmentalized::Consistency;
use serde_json::json;

/// What makes a figure.
type Make = fn(Costs) -> Result<Figure, Error>;

/// The figures of each paper.
const PAPERS: [(&str, &[Make]); 2] = [
    (
        "bpaxos",
        &[
            |_| figures::leaders(GraphCosts::default()),
            |_| figures::conflicts(GraphCosts::default()),
            |_| figures::egalitarian(GraphCosts::default()),
        ],
    ),
    (
        "compartmentalized",
        &[
            figures::ablation,
            figures::batched,
            figures::values,
            figures::latency,
            |costs| figures::reads(Consistency::Linearizable, costs),
            |costs| figures::reads(Consistency::Sequential, costs),
            |costs| figures::reads(Consistency::Eventual, costs),
            figures::reads_of_many_keys,
            figures::skew,
            figures::draft,
            figures::draft_batched,
            figures::mencius,
            figures::spaxos,
        ],
    ),
];

pub(super) fn run(args: &FiguresArgs) -> Result<Status, Error> {
    if let Some(FiguresVerb::Plan(args)) = &args.verb {
        return plan::run(args);
    }
    let console = Console::new();
    let of_matchmaker = args.paper.as_deref().is_none_or(|paper| paper == matchmaker::PAPER);
    if args.udp && args.paper.as_deref() != Some(matchmaker::PAPER) {
        let only = "--udp: only the experiments of one paper run so: parthood figures matchmaker --udp";
        return Err(Error::Usage(only.into()));
    }
    let wanted: Vec<_> = match &args.paper {
        None => PAPERS.to_vec(),
        Some(name) => PAPERS.into_iter().filter(|(paper, _)| paper == name).collect(),
    };
    if let Some(name) = args.paper.as_deref().filter(|_| wanted.is_empty() && !of_matchmaker) {
        let names = PAPERS.iter().map(|(paper, _)| *paper).chain([matchmaker::PAPER]);
        return Err(Error::unknown("paper", name, names));
    }
    for (paper, make) in wanted {
        for make in make {
            let figure = make(Costs::default())?;
            let folder = args.out.join(paper);
            files::write(&folder.join(format!("{}.csv", figure.name)), figure.csv())?;
            files::write(&folder.join(format!("{}.svg", figure.name)), figure.svg())?;
            if args.output.json {
                tell_json(&console, &figure)?;
            } else {
                tell(&console, &figure)?;
            }
        }
        eprintln!("wrote CSV and SVG files into {}", args.out.join(paper).display());
    }
    if of_matchmaker {
        matchmaker::run(&console, args)?;
    }
    Ok(Status::Done)
}

fn tell(console: &Console, figure: &Figure) -> Result<(), Error> {
    console.line(console.paint(Tone::Strong, figure.title))?;
    for point in &figure.points {
        let Measured { per_second, latency_ms, binding, utilization, .. } = &point.measured;
        let paper = match (point.published, point.error()) {
            (Some(published), Some(error)) => {
                format!("paper {:>7.1} k/s, {:+6.1} %", published / 1e3, error * 100.0)
            }
            _ => String::new(),
        };
        console.line(format_args!(
            "  {:<18} {:>7.3}  {:>7.1} k/s  {:<26} {:>8.2} ms  {binding} {:.0} % busy  ({})",
            point.series,
            point.x,
            per_second / 1e3,
            paper,
            latency_ms,
            utilization * 100.0,
            point.label
        ))?;
    }
    console.line("")
}

fn tell_json(console: &Console, figure: &Figure) -> Result<(), Error> {
    for point in &figure.points {
        let Measured { per_second, latency_ms, binding, utilization, messages } = &point.measured;
        console.json(&json!({
            "schema": "parthood.figure/1", "figure": figure.name, "series": point.series, "deployment": point.label,
            "x": point.x, "commands_per_second": per_second, "latency_ms": latency_ms, "binding": binding,
            "utilization": utilization, "messages_per_command": messages.iter().map(|(role, count)| ((*role).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "published": point.published, "error": point.error(), "doubt": point.doubt,
        }))?;
    }
    Ok(())
}
