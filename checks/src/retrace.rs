//! Recorded runs: replayed through the actors, and drawn.
//!
//! A trace names everything that its actors were built from, so a file is enough. What a clean replay says, and what it
//! does not, is told in [`parthood_runtime::replay`]. On top of it, the properties of the model are evaluated along the
//! way and at the end, if all nodes of the cluster are on record; and replicas that have executed equally much are
//! compared whenever that happens at the end of a step.

use crate::deploy::{Cluster, Deployable, Visit, visit};
use crate::draw::{self, Diagram};
use crate::error::Error;
use crate::simulate::{self, Storm};
use crate::watching::{Violation, Watching};
use parthood_protocols::state_machine::KeyValue;
use parthood_runtime::replay::{self, Beginning, Merge, Messages, Placed};
use parthood_runtime::trace::{AnyStep, CauseRecord, Ending, Entry, Header, StepOf, TraceReader};
use parthood_runtime::{Observer, Step, Wants};
use stateright::actor::Id;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a replay found.
#[derive(Debug)]
pub struct Replayed {
    /// The protocol.
    pub protocol: String,
    /// Steps replayed.
    pub steps: u64,
    /// Starts and restarts among them.
    pub starts: u64,
    /// What became of the messages.
    pub messages: Messages,
    /// How each trace ends; none where reading stopped before.
    pub endings: Vec<(PathBuf, Option<Ending>)>,
    /// The slots executed by each replica in the end, and its store.
    pub replicas: BTreeMap<usize, (u64, KeyValue)>,
    /// How often two replicas that had executed equally much were compared.
    pub comparisons: u64,
    /// What the properties of the model were evaluated on.
    pub properties: Properties,
    /// What is wrong, if anything is.
    pub finding: Option<String>,
}

/// How far the properties of the model were evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Properties {
    /// All of them, so many times.
    Evaluated {
        /// How often.
        times: u64,
    },
    /// Nothing can be said, for of this node nothing is on record.
    Unseen {
        /// The node.
        node: String,
    },
}

/// Replays the traces of one run.
///
/// # Errors
/// When a file cannot be read, or the files do not belong together.
pub fn check(files: &[PathBuf]) -> Result<Replayed, Error> {
    let (files, headers) = in_order(files)?;
    visit(&headers[0].protocol, Check { files: &files, headers: &headers })?
}

struct Check<'a> {
    files: &'a [PathBuf],
    headers: &'a [Header],
}

impl Visit for Check<'_> {
    type Output = Result<Replayed, Error>;

    fn visit<D: Deployable>(self) -> Result<Replayed, Error> {
        check_as::<D>(self.files, self.headers)
    }
}

/// Draws the steps of a range of a run, counted from 1.
///
/// # Errors
/// When a file cannot be read.
pub fn picture(files: &[PathBuf], range: &Range<u64>) -> Result<Diagram, Error> {
    let (files, headers) = in_order(files)?;
    let header = &headers[0];
    let readers = files.iter().map(|file| open::<AnyStep>(file)).collect::<Result<Vec<_>, _>>()?;
    let mut diagram = draw::from_record(readers, range)?;
    let seed = header.seed.map_or_else(String::new, |seed| format!(", seed {seed}"));
    diagram.title =
        format!("{}{seed}: steps {} to {}", header.protocol, range.start, range.end.saturating_sub(1));
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    diagram.caption = names.join(", ");
    Ok(diagram)
}

/// The number of the first step, counted from 1, that reacts to a timer of this name.
///
/// # Errors
/// When a file cannot be read.
pub fn first_timeout(files: &[PathBuf], timer: &str) -> Result<Option<u64>, Error> {
    let (files, _) = in_order(files)?;
    let readers = files.iter().map(|file| open::<AnyStep>(file)).collect::<Result<Vec<_>, _>>()?;
    let steps = Merge::new(readers).filter_map(|placed| match placed {
        Ok(Placed { entry: Entry::Step(step), .. }) => Some(step),
        _ => None,
    });
    let found =
        (1..).zip(steps).find(|(_, step)| matches!(&step.cause, CauseRecord::Timeout(name) if name == timer));
    Ok(found.map(|(number, _)| number))
}

/// The files in the order in which they begin, and their headers. There is at least one.
fn in_order(files: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<Header>), Error> {
    let mut headers = Vec::new();
    for file in files {
        headers.push((file.clone(), open::<AnyStep>(file)?.header().clone()));
    }
    headers.sort_by_key(|(_, header)| header.began());
    let Some((_, first)) = headers.first() else {
        return Err(Error::Usage("no trace is given".into()));
    };
    let foreign = headers
        .iter()
        .find(|(_, header)| (&header.protocol, &header.actors) != (&first.protocol, &first.actors));
    if let Some((file, _)) = foreign {
        return Err(Error::Usage(format!("{} records another run than the first file", file.display())));
    }
    Ok(headers.into_iter().unzip())
}

fn open<L: serde::de::DeserializeOwned>(file: &Path) -> Result<TraceReader<BufReader<File>, L>, Error> {
    let input = File::open(file).map_err(Error::file("open the trace", file))?;
    TraceReader::new(BufReader::new(input))
        .map_err(|error| Error::Environment(format!("{}: {error}", file.display())))
}

fn check_as<D: Deployable>(files: &[PathBuf], headers: &[Header]) -> Result<Replayed, Error> {
    let header = &headers[0];
    let readers = files.iter().map(|file| open::<StepOf<D::Actor>>(file)).collect::<Result<Vec<_>, _>>()?;
    let cluster = cluster(header)?;
    let nodes = D::servers(cluster.members.len());
    let mut observers = (Replicas::<D>::default(), Watching::new(D::model(&cluster), nodes));
    let casts = headers.iter().map(Cast::read).collect::<Result<Vec<_>, _>>()?;
    let report = replay::replay(|trace, id| casts[trace].begin::<D>(id), readers, &mut observers)?;
    let (replicas, mut watching) = observers;
    watching.look();
    let violated = watching.violated().map(|Violation { property, steps }| {
        format!("\"{property}\" does not hold after {steps} steps, in the order of causes")
    });
    let properties = match watching.unseen() {
        Some(node) => Properties::Unseen { node: cluster.members[node].name.clone() },
        None => Properties::Evaluated { times: watching.looks() },
    };
    let finding = report.finding.map(|finding| {
        let file =
            files.get(finding.origin.trace).map_or_else(String::new, |file| file.display().to_string());
        let name = header.actors.get(usize::from(finding.id)).cloned().unwrap_or_default();
        format!("{file}:{}: {name}: {}", finding.origin.line, finding.problem)
    });
    Ok(Replayed {
        protocol: header.protocol.clone(),
        steps: report.steps,
        starts: report.starts,
        messages: report.messages,
        endings: files.iter().cloned().zip(report.endings).collect(),
        comparisons: replicas.comparisons,
        properties,
        finding: finding.or(violated).or(replicas.differing),
        replicas: replicas.latest,
    })
}

/// The simulation that a trace records, if it does not record a cluster.
fn storm(header: &Header) -> Result<Option<Storm>, Error> {
    let storm = header.parameters.get("storm").cloned().map(serde_json::from_value).transpose();
    let storm: Option<Storm> =
        storm.map_err(|error| Error::Usage(format!("the trace's header names no simulation: {error}")))?;
    storm.iter().try_for_each(Storm::check)?;
    Ok(storm)
}

/// The cluster of a recorded run.
fn cluster(header: &Header) -> Result<Cluster, Error> {
    if let Some(storm) = storm(header)? {
        return simulate::cluster(&storm);
    }
    let text = header.parameters.get("cluster").and_then(serde_json::Value::as_str);
    let text = text
        .ok_or_else(|| Error::Usage("the trace's header names neither a cluster nor a simulation".into()))?;
    Cluster::read(Path::new("the cluster in the trace's header"), text)
}

/// Who plays in a trace.
struct Cast<'a> {
    header: &'a Header,
    cluster: Cluster,
    storm: Option<Storm>,
    /// Were its nodes started without what they had saved?
    lost: bool,
}

impl<'a> Cast<'a> {
    fn read(header: &'a Header) -> Result<Self, Error> {
        let lost = header.parameters.get("rejoin").and_then(serde_json::Value::as_bool).unwrap_or(false);
        Ok(Self { header, cluster: cluster(header)?, storm: storm(header)?, lost })
    }

    /// The actor of this index, at the beginning of a life.
    fn begin<D: Deployable>(&self, id: Id) -> Option<Beginning<D::Actor>> {
        let index = usize::from(id);
        if let Some(storm) = &self.storm {
            let seed = self.header.seed.unwrap_or_default();
            return simulate::actors::<D>(&self.cluster, storm, seed)
                .into_iter()
                .nth(index)
                .map(Beginning::from);
        }
        let lost_disk = self.lost && self.header.hosted.contains(&id);
        let known = index < D::servers(self.cluster.members.len());
        known.then(|| Beginning { actor: D::server(&self.cluster, index, !lost_disk), lost_disk })
    }
}

/// The latest store of each replica.
struct Replicas<D> {
    protocol: PhantomData<fn() -> D>,
    latest: BTreeMap<usize, (u64, KeyValue)>,
    /// What else must be equal if two have executed the same.
    marks: BTreeMap<usize, u64>,
    comparisons: u64,
    allowance: usize,
    differing: Option<String>,
}

impl<D> Default for Replicas<D> {
    fn default() -> Self {
        let (latest, marks) = (BTreeMap::new(), BTreeMap::new());
        Self { protocol: PhantomData, latest, marks, comparisons: 0, allowance: 0, differing: None }
    }
}

impl<D: Deployable> Observer<D::Actor> for Replicas<D> {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, D::Actor>) {
        /// Comparing costs what the store holds; on average a step may cost so much.
        const COST_PER_STEP: usize = 16;
        self.allowance += COST_PER_STEP;
        let Some((executed, machine)) = D::replica(step.after) else { return };
        let id = usize::from(step.id);
        let mark = D::executed(step.after);
        let before = self.latest.get(&id).map_or(0, |(before, _)| *before);
        if executed <= before || self.differing.is_some() {
            return;
        }
        if self.allowance >= machine.len() {
            let same = |other: &usize| *other != id && self.marks.get(other) == Some(&mark);
            let equal = self.latest.iter().filter(|(other, (slot, _))| same(other) && *slot == executed);
            for (other, (_, theirs)) in equal {
                self.comparisons += 1;
                self.allowance = self.allowance.saturating_sub(machine.len());
                if theirs != machine {
                    self.differing = Some(format!(
                        "server {id} and server {other} differ after {executed} executed slots"
                    ));
                    break;
                }
            }
        }
        self.latest.insert(id, (executed, machine.clone()));
        self.marks.insert(id, mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_names_a_simulation_without_end_is_refused() {
        let storm = Storm { servers: u16::MAX, ..Storm::default() };
        let header = Header { parameters: serde_json::json!({ "storm": storm }), ..Header::default() };
        let message = cluster(&header).unwrap_err().to_string();
        assert!(message.contains("servers of a simulation: 65535 is not from 1 to 25"), "{message}");
    }
}
