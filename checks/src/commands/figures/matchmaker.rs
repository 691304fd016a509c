//! `parthood figures matchmaker`

use crate::cli::FiguresArgs;
use crate::commands::{Console, Tone};
use crate::error::Error;
use crate::figures::matchmaker::{self, Experiment, Machines, Published, Row, Spread, Stage};
use crate::files;
use serde_json::json;
use std::time::Duration;

/// The name of the paper.
pub(super) const PAPER: &str = "matchmaker";

/// What makes an experiment.
type Make = fn(Stage) -> Result<Experiment, Error>;

pub(super) fn run(console: &Console, args: &FiguresArgs) -> Result<(), Error> {
    let second = Duration::from_millis(args.second_ms);
    let machines = Machines::default();
    let stage = Stage { second, machines: (!args.udp).then_some(machines) };
    let simulated_only: &[Make] =
        if args.udp { &[] } else { &[|_| matchmaker::ablation(Machines::default())] };
    let experiments: [Make; 3] = [matchmaker::acceptors, matchmaker::leader, matchmaker::matchmakers];
    let folder = args.out.join(PAPER);
    for make in experiments.iter().chain(simulated_only) {
        let experiment = make(stage)?;
        let name = format!("{}{}", experiment.script.name, if args.udp { "_udp" } else { "" });
        let write = |suffix: &str, text: String| files::write(&folder.join(format!("{name}{suffix}")), text);
        let place = place(args, &experiment);
        write(".csv", experiment.csv())?;
        write("_reconfigurations.csv", experiment.reconfigurations_csv())?;
        write("_timeline.csv", experiment.timeline_csv())?;
        write("_throughput.svg", experiment.throughput_svg(&place))?;
        write("_latency.svg", experiment.latency_svg(&place))?;
        if args.output.json {
            tell_json(console, &experiment, args.udp)?;
        } else {
            tell(console, &experiment, &place)?;
        }
    }
    eprintln!("wrote CSV and SVG files into {}", folder.display());
    Ok(())
}

/// Where it ran, in words.
fn place(args: &FiguresArgs, experiment: &Experiment) -> String {
    let second_ms = experiment.runs.first().map_or(0.0, |run| run.second * 1e3);
    let second =
        if second_ms < 999.5 { format!(", a second takes {second_ms:.0} ms") } else { String::new() };
    format!("{}{second}", if args.udp { "over UDP on this machine" } else { "simulated actors" })
}

fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "-".into() }
}

fn tell(console: &Console, experiment: &Experiment, place: &str) -> Result<(), Error> {
    console.line(console.paint(Tone::Strong, &format!("{} ({place})", experiment.script.title)))?;
    console.line(format_args!(
        "  {:<22} {:<20} {:>28} {:>8} {:>26} {:>9}",
        "system, clients", "phase", "ms: median (quartiles)", "p95", "per second (quartiles)", "gap, ms"
    ))?;
    for Row { run, phase, measured, published } in experiment.rows() {
        let Spread { p25, p50, p75, p95, .. } = measured.latency_ms;
        let rate = measured.per_second;
        let latency = format!("{} ({} {})", number(p50, 3), number(p25, 3), number(p75, 3));
        let rates = format!("{:.0} ({:.0} {:.0})", rate.p50, rate.p25, rate.p75);
        console.line(format_args!(
            "  {:<22} {:<20} {latency:>28} {:>8} {rates:>26} {:>9.2}{}",
            run.title(),
            phase.name,
            number(p95, 3),
            measured.longest_gap_ms,
            published.map_or(String::new(), |published| paper(&published))
        ))?;
    }
    for run in &experiment.runs {
        let Some(speed) = run.speed() else { continue };
        let stalls = Spread::of(run.stalls_ms(&experiment.script));
        let returned = speed.returned.map_or(String::new(), |most| format!(", at most {most} returned"));
        console.line(format_args!(
            "  {:<22} {} of {} done; medians: active {} ms, first command {} ms, retired {} ms; longest gap {:.2} ms{returned}",
            run.title(),
            speed.done,
            speed.asked,
            number(speed.active_ms, 2),
            number(speed.first_commit_ms, 2),
            number(speed.retired_ms, 2),
            stalls.p50,
        ))?;
    }
    if let Some((before, failed)) = failure(experiment) {
        for run in &experiment.runs {
            let gap = run.longest_gap_ms(failed, experiment.script.seconds);
            let restored = failed + gap / 1e3 / run.second;
            let back = run.back_after_ms(restored, 0.9, &before);
            let back = back.map_or("never".into(), |ms| format!("{ms:.0} ms"));
            console.line(format_args!(
                "  {:<22} nothing is answered for {gap:.0} ms; then 90 % of before after {back}",
                run.title()
            ))?;
        }
    }
    console.line("")
}

/// The phase before the leader fails, and when it does.
fn failure(experiment: &Experiment) -> Option<(matchmaker::Phase, f64)> {
    let (at, _) = experiment.script.deeds.iter().find(|(_, deed)| *deed == matchmaker::Deed::KillLeader)?;
    Some((*experiment.script.phases.first()?, *at))
}

fn paper(published: &Published) -> String {
    let latency = published.latency_ms.map_or(String::new(), |ms| format!(" {ms:.3} ms"));
    let quartiles = published.latency_quartiles_ms;
    let quartiles = quartiles.map_or(String::new(), |(low, high)| format!(" ({low:.3} {high:.3})"));
    let rate = published.per_second.map_or(String::new(), |rate| format!(" {rate:.0}/s"));
    format!("  paper:{latency}{quartiles}{rate}")
}

fn tell_json(console: &Console, experiment: &Experiment, udp: bool) -> Result<(), Error> {
    let name = experiment.script.name;
    let finite = |value: f64| value.is_finite().then_some(value);
    for Row { run, phase, measured, published } in experiment.rows() {
        let all = |spread: Spread| {
            let Spread { p25, p50, p75, p95, p99 } = spread;
            json!({ "p25": finite(p25), "p50": finite(p50), "p75": finite(p75), "p95": finite(p95), "p99": finite(p99) })
        };
        let paper = published.unwrap_or_default();
        console.json(&json!({
            "schema": "parthood.experiment/1", "experiment": name, "udp": udp, "system": run.system, "clients": run.clients,
            "second_ms": run.second * 1e3, "phase": phase.name, "latency_ms": all(measured.latency_ms),
            "per_second": all(measured.per_second), "longest_gap_ms": measured.longest_gap_ms,
            "published": { "latency_ms": paper.latency_ms, "latency_quartiles_ms": paper.latency_quartiles_ms,
                "per_second": paper.per_second, "quartiles_per_second": paper.quartiles_per_second },
        }))?;
    }
    for run in &experiment.runs {
        let stalls = run.stalls_ms(&experiment.script);
        for (one, stall) in run.reconfigurations.iter().zip(stalls) {
            console.json(&json!({
                "schema": "parthood.experiment/1", "experiment": name, "udp": udp, "system": run.system,
                "clients": run.clients, "reconfigured_at": one.asked, "active_ms": one.active_ms,
                "first_commit_ms": one.first_commit_ms, "retired_ms": one.retired_ms,
                "configurations_returned": one.returned, "longest_gap_ms": stall,
            }))?;
        }
    }
    Ok(())
}
