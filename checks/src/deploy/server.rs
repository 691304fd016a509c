//! Hosts nodes: one event loop, in a thread of its own, for each address.

use super::backup::exporting;
use super::changes::Home;
use super::standing;
use super::{Cluster, Deployable, DurableJournal, StateOf, Visit, visit};
use crate::error::Error;
use itertools::Itertools as _;
use parthood_runtime::operations::{ASK_EVERY, MissingQuorums, Operations, Source};
use parthood_runtime::storage::{Cut, Durability, Recovery, begin_life};
use parthood_runtime::trace::{Header, TraceWriter};
use parthood_runtime::udp::{Builder, Driver, Handle, Standing};
use parthood_runtime::{Notice, Observer, Runnable, Step, Wants};
use stateright::actor::Id;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How nodes are hosted.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Write what happens into this file, or one for each event loop.
    pub trace: Option<PathBuf>,
    /// Survive a crash of the process only, not of the machine.
    pub no_sync: bool,
    /// The nodes have lost what they saved: they must not vote.
    pub rejoin: bool,
    /// Ask the other nodes every second how they stand, for [`Serving::operations`].
    pub watch: bool,
}

/// Nodes that are running.
#[derive(Debug)]
pub struct Serving {
    /// Stops each event loop.
    pub handles: Vec<Handle>,
    /// What was said at the start: who listens where, and what was recovered.
    pub announcements: Vec<String>,
    sources: Vec<Source>,
    threads: Vec<JoinHandle<()>>,
    ends: mpsc::Receiver<Result<(), Error>>,
}

/// Starts these nodes of a cluster, by index.
///
/// # Errors
/// When the key, an address or a data directory cannot be used, or a node is hosted twice.
pub fn serve(cluster: &Cluster, nodes: &[usize], options: &ServeOptions) -> Result<Serving, Error> {
    visit(&cluster.protocol, Start { cluster, nodes, options })?
}

struct Missing<'a>(&'a Cluster);

impl Visit for Missing<'_> {
    type Output = MissingQuorums;

    fn visit<D: Deployable>(self) -> MissingQuorums {
        standing::missing::<D>(self.0)
    }
}

struct Start<'a> {
    cluster: &'a Cluster,
    nodes: &'a [usize],
    options: &'a ServeOptions,
}

impl Visit for Start<'_> {
    type Output = Result<Serving, Error>;

    fn visit<D: Deployable>(self) -> Result<Serving, Error> {
        let Self { cluster, nodes, options } = self;
        if options.rejoin && !D::REJOINS {
            let why = "a node that has lost what it saved cannot come back: its promises are forgotten";
            return Err(Error::Usage(format!("{}: {why}", D::NAME)));
        }
        start::<D>(cluster, &nodes[..D::servers(nodes.len())], options)
    }
}

fn start<D: Deployable>(
    cluster: &Cluster,
    nodes: &[usize],
    options: &ServeOptions,
) -> Result<Serving, Error> {
    let mut places: BTreeMap<SocketAddr, Vec<usize>> = BTreeMap::new();
    for &node in nodes.iter().sorted() {
        places.entry(cluster.members[node].address).or_default().push(node);
    }
    let several = places.len() > 1;
    let (report, ends) = mpsc::channel();
    let mut serving = Serving {
        handles: Vec::new(),
        announcements: Vec::new(),
        sources: Vec::new(),
        threads: Vec::new(),
        ends,
    };
    for nodes in places.into_values() {
        let name = name(cluster, &nodes);
        let data = cluster.data.as_deref().map(|data| Home::new(cluster, &nodes, data, &name).folder());
        let (cluster, options, report) = (cluster.clone(), options.clone(), report.clone());
        let (ready, started) = mpsc::channel();
        let called = name.clone();
        serving.threads.push(std::thread::spawn(move || {
            let ending = Ending(Some(report));
            // Nobody listens only if the caller has gone.
            match driver::<D>(&cluster, &nodes, &options, several) {
                Ok((mut driver, announcement)) => {
                    let _ = ready.send(Ok((driver.handle(), announcement)));
                    let end = driver.run(|complaint| tracing::warn!(nodes = called, "{complaint}"));
                    ending.tell(end.map_err(Error::from));
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        }));
        match started.recv().unwrap_or_else(|_| Err(panicked())) {
            Ok((handle, announcement)) => {
                tracing::info!(nodes = name, "{announcement}");
                serving.sources.push(Source { name, handle: handle.clone(), data });
                serving.handles.push(handle);
                serving.announcements.push(announcement);
            }
            Err(error) => {
                serving.handles.iter().for_each(Handle::stop);
                return Err(error);
            }
        }
    }
    Ok(serving)
}

/// Tells how an event loop has ended, if only by a panic: the others must not go on as if it were there.
struct Ending(Option<mpsc::Sender<Result<(), Error>>>);

impl Ending {
    fn tell(mut self, end: Result<(), Error>) {
        if let Some(report) = self.0.take() {
            // Nobody listens only if the caller has gone.
            let _ = report.send(end);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(report) = self.0.take().filter(|_| std::thread::panicking()) {
            let _ = report.send(Err(panicked()));
        }
    }
}

fn panicked() -> Error {
    Error::Environment("an event loop has panicked".into())
}

type DriverOf<D> = Driver<<D as Deployable>::Actor, DurableJournal>;

fn driver<D: Deployable>(
    cluster: &Cluster,
    nodes: &[usize],
    options: &ServeOptions,
    several: bool,
) -> Result<(DriverOf<D>, String), Error> {
    let name = name(cluster, nodes);
    let home = cluster.data.as_deref().map(|data| Home::new(cluster, nodes, data, &name));
    let lost = home.as_ref().map_or(Ok(options.rejoin), |home| home.enter::<D>(options.rejoin))?;
    let mut builder: Builder<D::Actor, DurableJournal> =
        Driver::builder(cluster.identity(), cluster.keys()?, cluster.book());
    for &node in nodes {
        builder = builder.host(Id::from(node), D::server(cluster, node, !lost));
    }
    builder = builder.standing(telling::<D>(cluster)).inquiries(exporting::<D>());
    if options.watch {
        builder = builder.watch(ASK_EVERY);
    }
    if let Some(home) = &home {
        builder = builder.data(home.folder());
    }
    if options.no_sync {
        builder = builder.durability(Durability::NoSync);
    }
    if let Some(file) = &options.trace {
        let file = if several { with_name(file, &name) } else { file.clone() };
        builder = builder.observer(trace::<D>(cluster, nodes, home.as_ref(), lost, &file)?);
    }
    let driver = builder.build()?;
    if let Some(home) = &home {
        home.remember()?;
    }
    let recovered = match driver.recovery() {
        None => "keeping everything in memory".to_owned(),
        Some(recovery) => describe(recovery),
    };
    let recovered = if lost { format!("{recovered}, not voting") } else { recovered };
    let announcement = format!("{name} listens on {}, {recovered}", driver.local_address());
    Ok((driver, announcement))
}

/// How nodes stand; a change of whom one takes for the leader goes to the log.
fn telling<D: Deployable>(cluster: &Cluster) -> impl Fn(Id, &StateOf<D>) -> Standing + Send + 'static {
    let names: Vec<String> = cluster.members.iter().map(|member| member.name.clone()).collect();
    let name = move |node: u64| usize::try_from(node).ok().and_then(|node| names.get(node)).cloned();
    let stands = D::stands(cluster);
    let before: RefCell<BTreeMap<Id, (Option<u64>, bool)>> = RefCell::default();
    move |id, state| {
        let standing = stands(id, state);
        let now = (standing.leader, standing.leads);
        if let Some(leader) = standing.leader
            && before.borrow_mut().insert(id, now) != Some(now)
        {
            let (node, leader) = (name(usize::from(id) as u64), name(leader));
            tracing::info!(node, leader, leads = standing.leads, round = ?standing.round, "leader");
        }
        standing
    }
}

/// What a process is called, and its folder: by its nodes, or by the first and their number if a file name cannot hold all.
fn name(cluster: &Cluster, nodes: &[usize]) -> String {
    const LONGEST: usize = 120;
    let names: Vec<&str> = nodes.iter().map(|&node| cluster.members[node].name.as_str()).collect();
    let all = names.join("+");
    if all.len() <= LONGEST { all } else { format!("{}+{}", names[0], names.len() - 1) }
}

fn describe(recovery: &Recovery) -> String {
    let Recovery { fresh, records, bytes, cut, .. } = recovery;
    if *fresh {
        return "nothing saved yet".to_owned();
    }
    let cut = cut.as_ref().map_or_else(String::new, |cut| {
        let Cut { path, offset, bytes } = cut;
        format!("; cut off {bytes} bytes of an interrupted write at offset {offset} of {}", path.display())
    });
    format!("recovered {records} records, {bytes} bytes{cut}")
}

/// Each life of a process has a trace of its own, so an existing file is not overwritten.
fn trace<D: Deployable>(
    cluster: &Cluster,
    nodes: &[usize],
    home: Option<&Home<'_>>,
    rejoin: bool,
    file: &Path,
) -> Result<Recording, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let since = u64::try_from(since).unwrap_or(u64::MAX);
    let life = home.map(|home| begin_life(&home.folder(), since)).transpose()?;
    let out = File::create_new(file).map_err(Error::file("create the trace", file))?;
    let header = Header {
        protocol: D::NAME.to_owned(),
        actors: cluster.members.iter().map(|member| member.name.clone()).collect(),
        hosted: nodes.iter().copied().map(Id::from).collect(),
        started_unix_us: Some(since),
        life,
        parameters: serde_json::json!({ "cluster": cluster.text, "rejoin": rejoin }),
        ..Header::default()
    };
    Ok(Recording(Some(TraceWriter::new(out, header)?)))
}

/// A trace that gets its last line when the event loop is gone.
struct Recording(Option<TraceWriter<File>>);

impl<A: Runnable> Observer<A> for Recording {
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, A>) {
        self.0.iter_mut().for_each(|writer| writer.on_step(step));
    }

    fn on_notice(&mut self, at: Duration, notice: &Notice) {
        self.0.iter_mut().for_each(|writer| Observer::<A>::on_notice(writer, at, notice));
    }

    fn on_commit(&mut self) {
        self.0.iter_mut().for_each(Observer::<A>::on_commit);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.take().map(TraceWriter::finish) {
            tracing::warn!("{error}");
        }
    }
}

/// `trace.ndjson` for node `a` is `trace-a.ndjson`.
fn with_name(file: &Path, name: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension =
        file.extension().map_or(String::new(), |extension| format!(".{}", extension.to_string_lossy()));
    file.with_file_name(format!("{stem}-{name}{extension}"))
}

impl Serving {
    /// What there is to see of the nodes of a protocol's cluster. They must have been started with [`ServeOptions::watch`], or they
    /// hear of nobody.
    ///
    /// # Errors
    /// When there is no such protocol.
    pub fn operations(&self, cluster: &Cluster) -> Result<Operations, Error> {
        let missing = visit(&cluster.protocol, Missing(cluster))?;
        let names = cluster.members.iter().map(|member| member.name.clone()).collect();
        Ok(Operations::new(self.sources.clone(), names, missing))
    }

    /// Waits until all event loops have ended. If one fails the others are stopped.
    ///
    /// # Errors
    /// The first failure.
    pub fn wait(self) -> Result<(), Error> {
        let mut first = Ok(());
        for _ in 0..self.threads.len() {
            let end = self.ends.recv().unwrap_or_else(|_| Err(panicked()));
            if end.is_err() {
                self.handles.iter().for_each(Handle::stop);
            }
            first = first.and(end);
        }
        for thread in self.threads {
            // A panic was reported above.
            let _ = thread.join();
        }
        first
    }

    /// Ends all event loops and waits for them.
    ///
    /// # Errors
    /// The first failure.
    pub fn stop(self) -> Result<(), Error> {
        self.handles.iter().for_each(Handle::stop);
        self.wait()
    }
}
