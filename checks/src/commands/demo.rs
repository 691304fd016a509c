//! `parthood demo`: the whole of it in less than a minute.

mod tomogram;

use super::check::table;
use super::{Console, Tone, grouped};
use crate::bench::{self, HistoryVerdict, Load};
use crate::check::{self, Options, Outcome};
use crate::deploy::Cluster;
use crate::error::{Error, Status};
use crate::files;
use crate::manifest::{Expectation, Row, Tier};
use crate::registry;
use crate::retrace;
use crate::verdicts::RESULTS;
use parthood_runtime::wire::Key;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROTOCOL: &str = "paxos";
const NODES: [&str; 3] = ["a", "b", "c"];
/// How long the load lasts, when in it the leader is killed, and for how long.
const LOAD_SECONDS: u64 = 8;
const KILL_AFTER: Duration = Duration::from_secs(2);
const DOWN_FOR: Duration = Duration::from_secs(2);

pub(super) fn run() -> Result<Status, Error> {
    let console = Console::new();
    let started = Instant::now();
    let folder = Path::new(RESULTS).join("demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(Error::file("clear", &folder))?;
    }
    std::fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;

    let rows: Vec<Row> =
        registry::find(PROTOCOL)?.rows()?.into_iter().filter(|row| row.tier == Tier::Smoke).collect();
    title(&console, "1. Paxos, every interleaving within bounds")?;
    let sound: Vec<Row> = rows.iter().filter(|row| row.expect == Expectation::Holds).cloned().collect();
    let mut status = checked(&console, &sound)?;
    title(&console, "2. Paxos with one rule broken on purpose")?;
    status = status.max(broken(&console, &rows, &folder)?);
    title(&console, "3. The same kind of actors as a replicated key-value store, on real sockets and disks")?;
    status = status.max(deployed(&console, &folder)?);
    status = status.max(tomogram::reconstructed(&console, &folder)?);
    console.line(format_args!(
        "\n{} {:.0} s; see {}/: counterexample.svg, failover.svg, the traces, tomogram.png, parts.png and tomogram.html",
        if status == Status::Done { "done in" } else { "failed after" },
        started.elapsed().as_secs_f64(),
        folder.display()
    ))?;
    Ok(status)
}

fn title(console: &Console, text: &str) -> Result<(), Error> {
    console.line(format_args!("\n{}", console.paint(Tone::Strong, text)))
}

fn checked(console: &Console, rows: &[Row]) -> Result<Status, Error> {
    let started = Instant::now();
    let outcomes = check::run(rows, &Options::default(), &())?;
    table(console, &outcomes, started.elapsed(), false)?;
    Ok(outcomes.iter().map(Outcome::status).max().unwrap_or(Status::Done))
}

/// Checks a mutant that makes acceptors disagree, and shows how.
fn broken(console: &Console, rows: &[Row], folder: &Path) -> Result<Status, Error> {
    let breaks_agreement = |row: &&Row| {
        row.mutant.is_some()
            && matches!(&row.expect, Expectation::Violates(property) if property == "agreement")
    };
    let Some(row) = rows.iter().filter(breaks_agreement).min_by_key(|row| row.depth) else {
        return Err(Error::Usage(format!(
            "`{PROTOCOL}` has no smoke row with a mutant that violates agreement"
        )));
    };
    let outcomes = check::run(std::slice::from_ref(row), &Options::default(), &())?;
    let mut status = Status::Done;
    for outcome in &outcomes {
        status = status.max(outcome.status());
        let Some(explanation) = outcome.explain()? else { continue };
        files::write(&folder.join("counterexample.svg"), &explanation.svg)?;
        files::write(&folder.join("counterexample.txt"), &explanation.steps)?;
        let mutant = row.mutant.as_deref().unwrap_or_default();
        let claim = row.claim.trim_end_matches('.');
        console.line(format_args!("{claim}: {}", console.paint(Tone::Bad, &explanation.sentence)))?;
        console.line(format_args!("  the mutant `{mutant}`, {}", row.bounds))?;
        console.line(format_args!("  drawn in {}", folder.join("counterexample.svg").display()))?;
        console.line(format_args!("  step through it: parthood explore {PROTOCOL} --row {}", row.name))?;
    }
    Ok(status)
}

/// The nodes of the demo, each a process of this program. They die with the demo.
struct Nodes {
    config: PathBuf,
    folder: PathBuf,
    running: Vec<(usize, Child)>,
    traces: Vec<PathBuf>,
}

impl Nodes {
    fn start(&mut self, node: usize) -> Result<(), Error> {
        let program = std::env::current_exe().map_err(|error| Error::Environment(error.to_string()))?;
        let life = self.traces.len();
        let trace = self.folder.join(format!("trace-{}-{life}.ndjson", NODES[node]));
        let child = Command::new(&program)
            .arg("run")
            .args(["--node", NODES[node]])
            .arg("--config")
            .arg(&self.config)
            .arg("--trace")
            .arg(&trace)
            .stdout(Stdio::null())
            .spawn()
            .map_err(Error::file("start", &program))?;
        self.running.push((node, child));
        self.traces.push(trace);
        Ok(())
    }

    /// Kills a node as `kill -9` does.
    fn kill(&mut self, node: usize) -> Result<(), Error> {
        let Some(at) = self.running.iter().position(|(running, _)| *running == node) else { return Ok(()) };
        let (_, mut child) = self.running.swap_remove(at);
        let killed = child.kill().and_then(|()| child.wait());
        killed
            .map(|_| ())
            .map_err(|error| Error::Environment(format!("cannot kill node {}: {error}", NODES[node])))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for (_, mut child) in self.running.drain(..) {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn deployed(console: &Console, folder: &Path) -> Result<Status, Error> {
    let config = cluster_file(folder)?;
    let cluster = Cluster::load(&config)?;
    let mut nodes = Nodes { config, folder: folder.to_owned(), running: Vec::new(), traces: Vec::new() };
    for node in 0..NODES.len() {
        nodes.start(node)?;
    }
    console.line(format_args!(
        "three processes on {}",
        cluster.members.iter().map(|member| member.address.to_string()).collect::<Vec<_>>().join(", ")
    ))?;
    let load = Load {
        outstanding: 16,
        duration: Duration::from_secs(LOAD_SECONDS),
        keys: 200,
        check: true,
        ..Load::default()
    };
    let loading = std::thread::spawn(move || bench::run(&cluster, &load));
    std::thread::sleep(KILL_AFTER);
    nodes.kill(0)?;
    console.line("  the leader, node a, is killed in the middle of the load (kill -9)")?;
    std::thread::sleep(DOWN_FOR);
    nodes.start(0)?;
    console.line("  node a starts again from its disk")?;
    let measured = loading.join().map_err(|_| Error::Environment("the load has panicked".into()))??;
    let verdict = measured.verdict.as_ref().map(|(verdict, _)| verdict.clone());
    console.line(format_args!(
        "  {} commands answered, {:.0} per second, p50 {:.1} ms, slowest {:.0} ms; {} without an answer",
        grouped(usize::try_from(measured.answered).unwrap_or(usize::MAX)),
        measured.per_second(),
        measured.latencies.percentile(0.5).as_secs_f64() * 1e3,
        measured.latencies.percentile(1.0).as_secs_f64() * 1e3,
        measured.unknown
    ))?;
    let history = match &verdict {
        Some(HistoryVerdict::Right) => console.paint(Tone::Good, "the recorded history is linearizable"),
        Some(HistoryVerdict::Wrong(why)) => console.paint(Tone::Bad, &format!("not linearizable\n{why}")),
        Some(HistoryVerdict::Inconclusive(why)) => console.paint(Tone::Open, &format!("inconclusive: {why}")),
        None => String::new(),
    };
    console.line(format_args!("  {history}"))?;
    let traces = nodes.traces.clone();
    drop(nodes);
    let replayed = replayed(console, &traces, folder)?;
    Ok(verdict.map_or(Status::Done, |verdict| verdict.status()).max(replayed))
}

/// Replays what the nodes recorded, and draws the change of the leader.
fn replayed(console: &Console, traces: &[PathBuf], folder: &Path) -> Result<Status, Error> {
    let replayed = retrace::check(traces)?;
    let steps = grouped(usize::try_from(replayed.steps).unwrap_or(usize::MAX));
    let status = match &replayed.finding {
        None => {
            let text =
                format!("{steps} recorded steps replayed through the actors: clean, no promise forgotten");
            console.line(format_args!("  {}", console.paint(Tone::Good, &text)))?;
            Status::Done
        }
        Some(finding) => {
            console.line(format_args!("  {}", console.paint(Tone::Bad, finding)))?;
            Status::Violated
        }
    };
    if let Some(first) = retrace::first_timeout(traces, "Election")? {
        let mut diagram = retrace::picture(traces, &(first.saturating_sub(4).max(1)..first + 20))?;
        diagram.title = "multipaxos: the leader is gone, another takes over".into();
        files::write(&folder.join("failover.svg"), diagram.to_svg())?;
    }
    Ok(status)
}

/// A cluster file and a key, with ports that are free now.
fn cluster_file(folder: &Path) -> Result<PathBuf, Error> {
    let mut sockets = Vec::new();
    let mut text = Cluster::example("multipaxos", 0, 0)?;
    for name in NODES {
        let socket = UdpSocket::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = socket
            .map_err(|error| Error::Environment(format!("no port of 127.0.0.1 can be opened: {error}")))?;
        // Kept until all ports are known, so that they differ.
        sockets.push(socket);
        text.push_str("\n[[node]]\nname = \"");
        text.push_str(name);
        text.push_str("\"\naddress = \"");
        text.push_str(&address.to_string());
        text.push_str("\"\n");
    }
    let config = folder.join("cluster.toml");
    files::write(&config, &text)?;
    Key::generate()?.save(&folder.join("cluster.key"))?;
    Ok(config)
}
