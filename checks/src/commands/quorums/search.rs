//! `parthood quorums search`

use super::input::Given;
use super::report::{goal, metric, number};
use super::usage;
use crate::commands::{Console, Tone, grouped};
use crate::error::{Error, Status};
use indicatif::{ProgressBar, ProgressStyle};
use parthood_quorums::{Found, Progress, search};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) fn run(
    console: &Console,
    given: &Given,
    resilience: usize,
    timeout: Option<f64>,
) -> Result<Status, Error> {
    let budget = timeout.map(budget).transpose()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|error| Error::Environment(format!("cannot catch Ctrl-C: {error}")))?;
    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {elapsed} {msg}")
            .map_err(|error| Error::Environment(error.to_string()))?,
    );
    let begin = Instant::now();
    let mut pace = Pace::default();
    let result = search(&given.cluster, &given.plan, resilience, &mut |progress| {
        let elapsed = begin.elapsed();
        let left = [pace.left(progress.open, elapsed), budget.map(|budget| budget.saturating_sub(elapsed))];
        bar.set_message(describe(progress, left.into_iter().flatten().min()));
        bar.tick();
        !interrupted.load(Ordering::Relaxed) && budget.is_none_or(|budget| elapsed < budget)
    });
    bar.finish_and_clear();
    let found = match result {
        Ok(found) => found,
        Err(error @ parthood_quorums::Error::NothingFound { .. }) => {
            let reason = error.to_string();
            if given.json {
                console.json(&json!({"schema": "parthood.quorums.infeasible/1", "reason": reason}))?;
            } else {
                console.line(console.paint(Tone::Bad, &reason))?;
            }
            let stopped =
                interrupted.load(Ordering::Relaxed) || budget.is_some_and(|budget| begin.elapsed() >= budget);
            return Ok(if stopped { Status::Inconclusive } else { Status::Violated });
        }
        Err(error) => return Err(usage(error)),
    };
    print(console, given, &found, begin.elapsed())?;
    Ok(if found.proved { Status::Done } else { Status::Inconclusive })
}

fn budget(seconds: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        Error::Usage(format!("--timeout {seconds} is no time to stop after; give seconds, 0 or more"))
    })
}

/// How fast candidates are closed.
#[derive(Default)]
struct Pace {
    /// When they were listed, and how many there were.
    listed: Option<(Duration, usize)>,
}

impl Pace {
    /// What is left at the pace since they were listed, if any was closed.
    fn left(&mut self, open: usize, elapsed: Duration) -> Option<Duration> {
        let (since, all) = *self.listed.get_or_insert((elapsed, open));
        if open > all {
            self.listed = Some((elapsed, open));
            return None;
        }
        let closed = u32::try_from(all - open).ok().filter(|closed| *closed > 0)?;
        elapsed.saturating_sub(since).checked_mul(u32::try_from(open).ok()?)?.checked_div(closed)
    }
}

fn describe(progress: &Progress, left: Option<Duration>) -> String {
    let best = progress.best.map_or_else(|| "none yet".into(), number);
    let left = left.map_or_else(String::new, |left| format!(", about {:.0} s left", left.as_secs_f64()));
    format!(
        "best {best}, bound {}, {} of {} candidates open, {} solved{left}",
        number(progress.bound),
        grouped(progress.open),
        grouped(progress.candidates),
        grouped(progress.solved)
    )
}

fn print(console: &Console, given: &Given, found: &Found, took: Duration) -> Result<(), Error> {
    let reads = given.cluster.show(found.system.read_expr());
    let writes = given.cluster.show(found.system.write_expr());
    if given.json {
        return console.json(&json!({
            "schema": "parthood.quorums.search/1", "reads": reads, "writes": writes, "value": found.value,
            "bound": found.bound, "gap": found.gap(), "proved": found.proved,
            "candidates": found.progress.candidates, "solved": found.progress.solved, "seconds": took.as_secs_f64(),
        }));
    }
    console.line(format_args!("{}", goal(&given.cluster, &given.plan)))?;
    console.line(format_args!("  reads   {}", console.paint(Tone::Strong, &reads)))?;
    console.line(format_args!("  writes  {writes}"))?;
    console.line(format_args!("  value   {}", metric(given.plan.objective(), found.value)))?;
    let proof = if found.proved {
        let text = format!(
            "the best of {} systems; {} solved, the others bounded",
            grouped(found.progress.candidates),
            grouped(found.progress.solved)
        );
        console.paint(Tone::Good, &text)
    } else {
        let text = format!(
            "not proved: no system is better than {}, {:.1} % less",
            number(found.bound),
            100.0 * found.gap()
        );
        console.paint(Tone::Open, &text)
    };
    console.line(format_args!("  {proof} ({:.2} s)", took.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_limit_is_a_number_of_seconds() {
        assert_eq!(budget(1.5).unwrap(), Duration::from_millis(1500));
        assert_eq!(budget(0.0).unwrap(), Duration::ZERO);
        for wrong in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(budget(wrong).unwrap_err().to_string().contains("give seconds, 0 or more"), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_follows_from_the_pace_since_all_were_listed() {
        let mut pace = Pace::default();
        let second = Duration::from_secs;
        assert_eq!(pace.left(0, second(1)), None);
        assert_eq!(pace.left(100, second(2)), None);
        assert_eq!(pace.left(75, second(3)), Some(second(3)));
        assert_eq!(pace.left(0, second(5)), Some(second(0)));
    }
}
