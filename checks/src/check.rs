//! Runs rows and compares what they answer with what the manifest says.

use crate::draw;
use crate::error::{Error, Status};
use crate::manifest::{Expectation, Row};
use crate::registry::{self, Model};
use parthood_models::{Limits, Path, Report, Verdict, Why};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How rows are run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many rows are run side by side.
    pub threads: usize,
    /// After how long a row is given up.
    pub timeout: Option<Duration>,
    /// After how many states a row is given up.
    pub states_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { threads, timeout: None, states_max: Limits::default().states }
    }
}

/// What became of a row.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The row.
    pub row: Row,
    /// What the check found.
    pub report: Report,
    /// What differs from the manifest, in words; nothing if all is as expected.
    pub differs: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// What it means for the exit status.
    pub fn status(&self) -> Status {
        match (&self.differs, &self.report.verdict) {
            (None, _) => Status::Done,
            (Some(_), Verdict::Inconclusive(_)) => Status::Inconclusive,
            (Some(_), _) => Status::Violated,
        }
    }

    /// The way to what was found: to the violation, or to where the property that is to be reached holds.
    pub fn path(&self) -> Option<&Path> {
        match (&self.report.verdict, &self.row.expect) {
            (Verdict::Violated { path, .. }, _) => path.as_ref(),
            (_, Expectation::Reaches(name)) => {
                self.report.reached.iter().find(|reached| reached.property == name)?.path.as_ref()
            }
            _ => None,
        }
    }

    /// The verdict in a few words.
    pub fn verdict(&self) -> String {
        match &self.report.verdict {
            Verdict::Holds => "holds".into(),
            Verdict::Violated { property, path: Some(_) } => format!("violates {property}"),
            Verdict::Violated { property, path: None } => format!("never reaches {property}"),
            Verdict::Inconclusive(why) => format!("inconclusive: {why}"),
        }
    }

    /// The found path as numbered steps and as a picture.
    ///
    /// # Errors
    /// When the model of the row cannot be built.
    pub fn explain(&self) -> Result<Option<Explanation>, Error> {
        let Some(path) = self.path() else { return Ok(None) };
        let model = registry::find(&self.row.protocol)?.model(&self.row)?;
        let mut trace = model.trace(path).map_err(|error| Error::Environment(error.to_string()))?;
        let (property, violated) = match (&self.report.verdict, &self.row.expect) {
            (Verdict::Violated { property, .. }, _) => ((*property).to_owned(), true),
            (_, expect) => (expect.to_string(), false),
        };
        let moves = match path.actions().len() {
            1 => "1 step".to_owned(),
            moves => format!("{moves} steps"),
        };
        trace.title = match &self.row.mutant {
            Some(mutant) => format!("{} with the mutant `{mutant}`", self.row.protocol),
            None => format!("{}, row `{}`", self.row.protocol, self.row.name),
        };
        let sentence = if violated {
            format!("violated after {moves}: {property}")
        } else {
            format!("{property} after {moves}")
        };
        let caption = format!("{}; {}", self.row.bounds, self.row.world());
        let text = trace.to_string();
        let diagram = draw::from_trace(&trace, &caption, Some((sentence.clone(), violated)));
        Ok(Some(Explanation { sentence, steps: text, link: path.link(), svg: diagram.to_svg() }))
    }
}

/// A path in forms for people.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it shows.
    pub sentence: String,
    /// Numbered steps.
    pub steps: String,
    /// What follows the Explorer's address to open the last state.
    pub link: String,
    /// A sequence diagram.
    pub svg: String,
}

/// What is told while rows run. Calls come from several threads.
pub trait Watcher: Sync {
    /// A row is under way.
    fn running(&self, row: &Row, unique: usize, depth: usize);

    /// A row is finished.
    fn finished(&self, outcome: &Outcome);
}

/// Tells nothing.
impl Watcher for () {
    fn running(&self, _: &Row, _: usize, _: usize) {}
    fn finished(&self, _: &Outcome) {}
}

/// Runs rows side by side, largest first, and returns their outcomes in the order of the rows.
///
/// # Errors
/// When the model of a row cannot be built; then nothing is run.
pub fn run(rows: &[Row], options: &Options, watcher: &dyn Watcher) -> Result<Vec<Outcome>, Error> {
    let mut jobs = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        jobs.push((index, row, registry::find(&row.protocol)?.model(row)?));
    }
    jobs.sort_by_key(|(_, row, _)| std::cmp::Reverse(row.states()));
    let workers = options.threads.clamp(1, rows.len().max(1));
    let queue = Mutex::new(VecDeque::from(jobs));
    let outcomes = Mutex::new(vec![None; rows.len()]);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let job = queue.lock().expect("no worker panics while it takes a job").pop_front();
                    let Some((index, row, model)) = job else { break };
                    let outcome = run_one(row, model.as_ref(), options, watcher);
                    watcher.finished(&outcome);
                    outcomes.lock().expect("no worker panics while it stores an outcome")[index] =
                        Some(outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("no worker panics while it stores an outcome");
    Ok(outcomes.into_iter().flatten().collect())
}

fn run_one(row: &Row, model: &dyn Model, options: &Options, watcher: &dyn Watcher) -> Outcome {
    let only = match &row.expect {
        Expectation::Violates(property) => Some(property.clone()),
        Expectation::Holds | Expectation::Reaches(_) | Expectation::FindsNothing => None,
    };
    let limits = Limits { states: options.states_max, only, ..Limits::default() };
    let started = Instant::now();
    let go_on = || match options.timeout {
        Some(timeout) if started.elapsed() >= timeout => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let report = match row.walks {
        Some(walks) => model.walk(&walks.how(), &mut |_| go_on()),
        None => model.check(&limits, &mut |progress| {
            watcher.running(row, progress.unique, progress.depth);
            go_on()
        }),
    };
    let differs = difference(row, model, &report);
    Outcome { row: row.clone(), report, differs, took: started.elapsed() }
}

/// What differs between a report and what the manifest says.
fn difference(row: &Row, model: &dyn Model, report: &Report) -> Option<String> {
    if let Expectation::Violates(property) | Expectation::Reaches(property) = &row.expect {
        let names: Vec<&str> = model.properties().iter().map(|(name, _)| *name).collect();
        if !names.contains(&property.as_str()) {
            return Some(format!("the model has no property `{property}`, it has: {}", names.join(", ")));
        }
    }
    let as_expected = match (&row.expect, &report.verdict) {
        (_, Verdict::Inconclusive(Why::Stopped)) => return Some("stopped at the time limit".into()),
        (Expectation::Holds, Verdict::Holds)
        | (Expectation::FindsNothing, Verdict::Inconclusive(Why::Sampled)) => true,
        (Expectation::Violates(expected), Verdict::Violated { property, .. }) => expected == property,
        (Expectation::Reaches(name), Verdict::Holds | Verdict::Inconclusive(Why::Sampled)) => {
            report.reached.iter().any(|reached| reached.property == name && reached.path.is_some())
        }
        (_, Verdict::Inconclusive(why)) => return Some(why.to_string()),
        _ => false,
    };
    if !as_expected {
        return Some(format!("expected: {}", row.expect));
    }
    let (what, found) = match row.walks {
        Some(_) => ("states", report.generated),
        None => ("unique states", report.unique as u64),
    };
    let counts = [(what, row.states(), found), ("depth", row.depth as u64, report.depth as u64)];
    let wrong = counts.iter().filter(|(_, expected, found)| expected != found);
    let wrong: Vec<String> =
        wrong.map(|(what, expected, found)| format!("{what} {found} instead of {expected}")).collect();
    (!wrong.is_empty()).then(|| wrong.join(", "))
}
