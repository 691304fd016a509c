//! What people and machines that look after a cluster see of one process: its metrics, and whether it serves.
//!
//! All of it is read from what event loops publish now and then ([`Handle::view`]), so that nobody waits for anybody.
//!
//! **A process serves** if of each of its event loops
//!
//! - the last turn is at most [`STALLED`] ago: a loop that has nothing to do turns every second;
//! - the data directory takes a file, if there is one, and makes it durable;
//! - its own nodes and those that have answered within [`SILENT`] hold every quorum that the cluster needs.

mod http;
mod metrics;
#[cfg(test)]
mod tests;

pub use http::Listener;

use crate::udp::{Handle, Standing, View};
use crate::{Error, SharedHistogram};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a process should ask the others how their nodes stand ([`Builder::watch`](crate::udp::Builder::watch)).
pub const ASK_EVERY: Duration = Duration::from_secs(1);
/// A loop whose last turn is longer ago stands still.
pub const STALLED: Duration = Duration::from_secs(3);
/// Who has not answered for longer does not count.
pub const SILENT: Duration = Duration::from_secs(3);
/// How old the last look at a disk may be.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// What is written to see whether a disk takes anything. The name is that of an unfinished file: a start deletes it.
const PROBE: &str = "health.tmp";

/// Says which quorums are missing if only these nodes are there.
pub type MissingQuorums = Box<dyn Fn(&BTreeMap<u64, Standing>) -> Vec<String> + Send>;

/// One event loop.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is called.
    pub name: String,
    /// What it lets others see.
    pub handle: Handle,
    /// Where it saves.
    pub data: Option<PathBuf>,
}

/// The event loops of a process, and what is known around them.
pub struct Operations {
    sources: Vec<Source>,
    /// The names of all nodes of the cluster.
    nodes: Vec<String>,
    clients: Vec<SharedHistogram>,
    missing: MissingQuorums,
    /// When each disk was looked at, and what was wrong with it.
    probes: BTreeMap<PathBuf, (Instant, Option<String>)>,
}

/// Whether a process serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// The format of this.
    pub schema: &'static str,
    /// Does it?
    pub serves: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

impl Operations {
    /// Looks at these event loops of a cluster with nodes of these names.
    pub fn new(sources: Vec<Source>, nodes: Vec<String>, missing: MissingQuorums) -> Self {
        Self { sources, nodes, clients: Vec::new(), missing, probes: BTreeMap::new() }
    }

    /// Shows how long the commands of a client in this process take, too.
    #[must_use]
    pub fn client(mut self, times: SharedHistogram) -> Self {
        self.clients.push(times);
        self
    }

    /// The metrics, as `OpenMetrics` text.
    ///
    /// # Errors
    /// When a metric cannot be written.
    pub fn metrics(&self) -> Result<String, Error> {
        let views = self.sources.iter().map(|source| (source.name.clone(), source.handle.view())).collect();
        let clients = self.clients.iter().map(SharedHistogram::read).collect();
        metrics::text(views, self.nodes.clone(), clients)
            .map_err(|error| Error::Setup(format!("the metrics cannot be written: {error}")))
    }

    /// Whether the process serves.
    pub fn health(&mut self) -> Health {
        let now = Instant::now();
        let mut reasons = Vec::new();
        for source in self.sources.clone() {
            let view = source.handle.view();
            let mut add = |why: String| reasons.push(format!("{}: {why}", source.name));
            match view.at.map(|at| now.saturating_duration_since(at)) {
                None => add("its event loop has not turned yet".into()),
                Some(age) if age > STALLED => {
                    add(format!("its event loop has stood still for {} s", age.as_secs()));
                }
                Some(_) => {}
            }
            if let Some(why) = source.data.and_then(|data| self.probe(&data, now)) {
                add(why);
            }
            (self.missing)(&present(&view, now)).into_iter().for_each(add);
        }
        Health { schema: "parthood.health/1", serves: reasons.is_empty(), reasons }
    }

    /// What is wrong with a disk, as of a second ago at most.
    fn probe(&mut self, data: &Path, now: Instant) -> Option<String> {
        let known = self.probes.get(data).filter(|(at, _)| now.duration_since(*at) < PROBE_EVERY);
        if let Some((_, why)) = known {
            return why.clone();
        }
        let file = data.join(PROBE);
        let written =
            File::create(&file).and_then(|mut out| out.write_all(&[0; 512]).and_then(|()| out.sync_data()));
        let removed = fs::remove_file(&file);
        let why = written.and(removed).err().map(|error| format!("cannot write {}: {error}", file.display()));
        self.probes.insert(data.to_owned(), (now, why.clone()));
        why
    }
}

/// The nodes that a loop hosts, and those that it has heard from lately.
fn present(view: &View, now: Instant) -> BTreeMap<u64, Standing> {
    let told = view.told.iter().filter(|(_, told)| now.saturating_duration_since(told.at) <= SILENT);
    let told = told.map(|(node, told)| (*node, told.standing.clone()));
    told.chain(view.standings.clone()).collect()
}
