//! `parthood check`

use super::{Console, Tone, grouped};
use crate::check::{self, Explanation, Options, Outcome, Watcher};
use crate::cli::CheckArgs;
use crate::error::{Error, Status};
use crate::files;
use crate::manifest::{Expectation, Row};
use crate::registry::{self, PROTOCOLS};
use crate::verdicts::{RESULTS, Verdicts};
use indicatif::{ProgressBar, ProgressStyle};
use parthood_models::Verdict;
use serde_json::json;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(super) fn run(args: &CheckArgs) -> Result<Status, Error> {
    let rows = select(args)?;
    let mut options = Options { timeout: args.timeout.map(Duration::from_secs), ..Options::default() };
    options.threads = args.threads.map_or(options.threads, usize::from);
    options.states_max = args.states_max.unwrap_or(options.states_max);
    let console = Console::new();
    let started = Instant::now();
    let progress = Progress::new(rows.len());
    let outcomes = check::run(&rows, &options, &progress)?;
    progress.bar.finish_and_clear();
    if args.manifest.is_none() {
        Verdicts::remember(&outcomes);
    }
    if args.output.json {
        outcomes.iter().try_for_each(|outcome| console.json(&as_json(outcome)))?;
    } else {
        table(&console, &outcomes, started.elapsed(), true)?;
    }
    explain(&console, args, &outcomes)?;
    Ok(outcomes.iter().map(Outcome::status).max().unwrap_or(Status::Done))
}

/// The rows that the arguments ask for.
fn select(args: &CheckArgs) -> Result<Vec<Row>, Error> {
    let mut protocols = Vec::new();
    for name in &args.protocols {
        protocols.push(registry::find(name)?);
    }
    if protocols.len() != 1 && args.manifest.is_some() {
        let why = "`--manifest` takes the rows of one protocol: name one, as in `parthood check paxos --manifest FILE`";
        return Err(Error::Usage(why.into()));
    }
    if protocols.is_empty() {
        protocols.extend(PROTOCOLS);
    }
    let mut rows = Vec::new();
    for protocol in protocols {
        rows.extend(protocol.rows_of(args.manifest.as_deref())?);
    }
    match &args.row {
        Some(name) => {
            let known: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
            rows.retain(|row| row.name == *name);
            if rows.is_empty() {
                return Err(Error::unknown("row", name, known.iter().map(String::as_str)));
            }
        }
        None => rows.retain(|row| args.tier.contains(&row.tier) && (args.mutants || row.mutant.is_none())),
    }
    if rows.is_empty() {
        let tiers: Vec<String> = args.tier.iter().map(ToString::to_string).collect();
        return Err(Error::Usage(format!("no row is of tier {}; see `parthood list`", tiers.join(" or "))));
    }
    Ok(rows)
}

pub(super) fn table(
    console: &Console,
    outcomes: &[Outcome],
    took: Duration,
    scopes: bool,
) -> Result<(), Error> {
    let name = |outcome: &Outcome| format!("{}/{}", outcome.row.protocol, outcome.row.name);
    let width = outcomes.iter().map(|outcome| name(outcome).len()).max().unwrap_or(0);
    for outcome in outcomes {
        let (mark, tone) = match outcome.status() {
            Status::Done => ("ok", Tone::Good),
            Status::Inconclusive => ("??", Tone::Open),
            _ => ("!!", Tone::Bad),
        };
        console.line(format_args!(
            "{} {:width$}  {:>11} states  depth {:>3}  {:>6.1} s  {}",
            console.paint(tone, mark),
            name(outcome),
            grouped(outcome.report.unique),
            outcome.report.depth,
            outcome.took.as_secs_f64(),
            console.paint(tone, &outcome.verdict())
        ))?;
        let scope = format!("{}; {}", outcome.row.bounds, outcome.row.world());
        if scopes {
            console.line(format_args!("   {}", console.paint(Tone::Faint, &scope)))?;
        }
        if let Some(differs) = &outcome.differs {
            console.line(format_args!("   {}", console.paint(tone, differs)))?;
        }
    }
    let wrong = outcomes.iter().filter(|outcome| outcome.differs.is_some()).count();
    let states: usize = outcomes.iter().map(|outcome| outcome.report.unique).sum();
    let summary = format!(
        "{} of {} rows as expected, {} states, {:.1} s",
        outcomes.len() - wrong,
        outcomes.len(),
        grouped(states),
        took.as_secs_f64()
    );
    console.line(console.paint(if wrong == 0 { Tone::Good } else { Tone::Bad }, &summary))
}

/// Shows the way to what was found, for rows that differ, and for the one row that was asked for.
fn explain(console: &Console, args: &CheckArgs, outcomes: &[Outcome]) -> Result<(), Error> {
    let asked_for = args.row.is_some() || args.svg.is_some();
    let mut file = args.svg.clone();
    let mut drawn = false;
    for outcome in outcomes {
        let unexpected =
            outcome.differs.is_some() && matches!(outcome.report.verdict, Verdict::Violated { .. });
        if !unexpected && !asked_for {
            continue;
        }
        let Some(explanation) = outcome.explain()? else { continue };
        let file = file.take().unwrap_or_else(|| default_picture(&outcome.row));
        files::write(&file, &explanation.svg)?;
        drawn = true;
        if !args.output.json {
            show(console, outcome, &explanation, &file, args.manifest.as_deref())?;
        }
        if !unexpected && args.row.is_none() {
            break;
        }
    }
    match &args.svg {
        Some(file) if !drawn => {
            let why = "no row violates or reaches anything, so there is no path to draw";
            Err(Error::Usage(format!("{} was not written: {why}", file.display())))
        }
        _ => Ok(()),
    }
}

fn show(
    console: &Console,
    outcome: &Outcome,
    explanation: &Explanation,
    file: &Path,
    manifest: Option<&Path>,
) -> Result<(), Error> {
    let Row { protocol, name, .. } = &outcome.row;
    console
        .line(format_args!("\n{protocol}/{name}: {}", console.paint(Tone::Strong, &explanation.sentence)))?;
    console.line(explanation.steps.trim_end())?;
    console.line(format_args!("\npicture   {}", file.display()))?;
    let path = explanation.link.trim_start_matches("#/steps/");
    let manifest = manifest.map_or_else(String::new, |file| format!(" --manifest {}", file.display()));
    console.line(format_args!("explorer  parthood explore {protocol}{manifest} --row {name} --path {path}"))
}

fn default_picture(row: &Row) -> PathBuf {
    PathBuf::from(format!("{RESULTS}/check-{}-{}.svg", row.protocol, row.name))
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    let Outcome { row, report, differs, took } = outcome;
    let kind = match &report.verdict {
        Verdict::Holds => "holds",
        Verdict::Violated { .. } => "violated",
        Verdict::Inconclusive(_) => "inconclusive",
    };
    let property = match (&report.verdict, &row.expect) {
        (Verdict::Violated { property, .. }, _) => Some((*property).to_owned()),
        (_, Expectation::Reaches(property)) => Some(property.clone()),
        _ => None,
    };
    json!({
        "schema": "parthood.check/1", "protocol": row.protocol, "row": row.name, "tier": row.tier,
        "claim": row.claim, "bounds": row.bounds, "world": row.world(), "mutant": row.mutant,
        "expect": row.expect.to_string(), "verdict": kind, "property": property,
        "as_expected": differs.is_none(), "differs": differs,
        "unique_states": report.unique, "generated_states": report.generated, "depth": report.depth,
        "path": outcome.path().map(ToString::to_string), "seconds": took.as_secs_f64(),
    })
}

/// A line on stderr while rows run, if a person is there to see it.
struct Progress {
    bar: ProgressBar,
    rows: usize,
    done: AtomicUsize,
}

impl Progress {
    fn new(rows: usize) -> Self {
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, rows, done: AtomicUsize::new(0) }
    }
}

impl Watcher for Progress {
    fn running(&self, row: &Row, unique: usize, depth: usize) {
        let done = self.done.load(Ordering::Relaxed);
        let share = unique * 100 / row.unique_states.max(1);
        self.bar.set_message(format!(
            "{done}/{} rows; {}/{}: {} states ({share} %), depth {depth}",
            self.rows,
            row.protocol,
            row.name,
            grouped(unique)
        ));
    }

    fn finished(&self, _: &Outcome) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }
}
