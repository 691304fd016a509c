//! `MultiPaxos` coupled and in parts, on this machine: commands per second with all nodes in one process and with a process
//! for each role (for each server, where they are coupled), as ratios to the coupled protocol in one process; and what a
//! command costs each role in processor time. `cargo bench -p parthood --bench parts`.
//!
//! A few cores cannot show what scales across machines: everything that one role saves, the others spend here. What they can
//! show is how much work is left to the role that binds, which is what taking the protocol apart is for.

mod ports;

use parthood::bench::{self, Load, Measured};
use parthood::deploy::{Cluster, ServeOptions, serve};
use parthood::runtime::wire::Key;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const RUN: Duration = Duration::from_secs(3);
const OUTSTANDING: u32 = 64;
/// Set for a process that is to serve nodes: the cluster file, and the number of the address.
const SERVE: &str = "PARTHOOD_BENCH_SERVE";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What is deployed.
struct System {
    name: &'static str,
    protocol: &'static str,
    /// Roles and how many nodes they have; those of one role share a process.
    roles: &'static [(&'static str, usize)],
    /// What the cluster file says besides.
    more: &'static str,
}

/// Columns of two acceptors that take turns at writes, and rows at reads.
const GRID: &str = r#"
[[quorums]]
reads = "acceptor0*acceptor1 + acceptor2*acceptor3"
writes = "acceptor0*acceptor2 + acceptor0*acceptor3 + acceptor1*acceptor2 + acceptor1*acceptor3"
read_strategy = [{ nodes = ["acceptor0", "acceptor1"], share = 0.5 }, { nodes = ["acceptor2", "acceptor3"], share = 0.5 }]
write_strategy = [{ nodes = ["acceptor0", "acceptor2"], share = 0.5 }, { nodes = ["acceptor1", "acceptor3"], share = 0.5 }]
"#;

const SYSTEMS: [System; 3] = [
    System { name: "coupled", protocol: "multipaxos", roles: &[("", 1), ("", 1), ("", 1)], more: "" },
    System {
        name: "in parts",
        protocol: "compartmentalized",
        roles: &[("leader", 2), ("proxy_leader", 3), ("acceptor", 4), ("replica", 2)],
        more: GRID,
    },
    System {
        name: "in parts, batched",
        protocol: "compartmentalized",
        roles: &[
            ("leader", 2),
            ("proxy_leader", 3),
            ("acceptor", 4),
            ("replica", 2),
            ("batcher", 2),
            ("unbatcher", 2),
            ("read_batcher", 2),
        ],
        more: GRID,
    },
];

fn main() -> Outcome<()> {
    if let Ok(what) = std::env::var(SERVE) {
        return serve_address(&what);
    }
    for (work, reads) in [("writes", 0.0), ("linearizable reads", 1.0)] {
        println!("{work}, {OUTSTANDING} outstanding, not synced     commands/s (ratio)   p50 and p99 in ms");
        let mut coupled = None;
        let mut costs = String::new();
        for system in &SYSTEMS {
            let one = system.in_one_process(reads)?;
            let unit = *coupled.get_or_insert(one.per_second());
            show(system.name, "one process", &one, unit);
            let (several, cpu) = system.in_processes(reads)?;
            show("", "a process per role", &several, unit);
            let micros = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e6;
            let answered = f64::from(u32::try_from(several.answered).unwrap_or(u32::MAX));
            let of_role = |(role, nanos): &(String, u64)| format!("{role} {:.1}", micros(*nanos) / answered);
            let of_roles: Vec<_> = cpu.iter().map(of_role).collect();
            writeln!(costs, "  {:18} {}", system.name, of_roles.join(", "))?;
        }
        println!("processor time per command in us, by process:\n{costs}");
    }
    Ok(())
}

fn show(name: &str, how: &str, measured: &Measured, unit: f64) {
    let rate = measured.per_second();
    let ms = |share| measured.latencies.percentile(share).as_secs_f64() * 1e3;
    println!("  {name:18} {how:18} {rate:9.0} ({:5.2}) {:8.2} {:8.2}", rate / unit, ms(0.5), ms(0.99));
}

impl System {
    /// A cluster file and its key; the folder goes with the first.
    fn describe(&self) -> Outcome<(tempfile::TempDir, PathBuf)> {
        let folder = tempfile::tempdir_in(".")?;
        let file = folder.path().join("cluster.toml");
        let ports = ports::free(self.roles.len())?;
        let mut nodes = String::from(self.more);
        for ((place, (role, count)), port) in self.roles.iter().enumerate().zip(ports) {
            for number in 0..*count {
                let (name, line) = match *role {
                    "" => (format!("server{place}"), String::new()),
                    role => (format!("{role}{number}"), format!("role = \"{role}\"\n")),
                };
                write!(nodes, "\n[[node]]\nname = \"{name}\"\n{line}address = \"127.0.0.1:{port}\"\n")?;
            }
        }
        std::fs::write(&file, Cluster::example(self.protocol, 0, 1)? + &nodes)?;
        Key::generate()?.save(&folder.path().join("cluster.key"))?;
        Ok((folder, file))
    }

    fn in_one_process(&self, reads: f64) -> Outcome<Measured> {
        let (_folder, file) = self.describe()?;
        let cluster = Cluster::load(&file)?;
        let nodes: Vec<usize> = (0..cluster.members.len()).collect();
        let serving = serve(&cluster, &nodes, &options())?;
        let measured = load(&cluster, reads)?;
        serving.stop()?;
        Ok(measured)
    }

    /// Also the processor time of each process during the load, in nanoseconds.
    fn in_processes(&self, reads: f64) -> Outcome<(Measured, Vec<(String, u64)>)> {
        let (_folder, file) = self.describe()?;
        let processes = (0..self.roles.len()).map(|place| Process::start(&file, place));
        let processes = processes.collect::<Outcome<Vec<_>>>()?;
        let cpu = || processes.iter().map(Process::cpu).collect::<Outcome<Vec<_>>>();
        let cluster = Cluster::load(&file)?;
        let before = cpu()?;
        let measured = load(&cluster, reads)?;
        let spent = cpu()?.into_iter().zip(before).map(|(after, before)| after - before);
        let name = |(place, (role, count)): (usize, &(&str, usize))| match (*role, place) {
            ("", 0) => "leading server".into(),
            ("", _) => "server".into(),
            (role, _) => format!("{count} {role}s").replace('_', " "),
        };
        Ok((measured, self.roles.iter().enumerate().map(name).zip(spent).collect()))
    }
}

fn options() -> ServeOptions {
    ServeOptions { no_sync: true, ..ServeOptions::default() }
}

fn load(cluster: &Cluster, reads: f64) -> Outcome<Measured> {
    let load = Load { outstanding: OUTSTANDING, duration: RUN, reads, ..Load::default() };
    Ok(bench::run(cluster, &load)?)
}

/// A process of this very program that serves the nodes of one address.
struct Process(Child);

impl Process {
    fn start(file: &Path, place: usize) -> Outcome<Self> {
        let what = format!("{place}:{}", file.display());
        let mut command = Command::new(std::env::current_exe()?);
        let child = command.env(SERVE, what).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut process = Self(child);
        let mut ready = String::new();
        if let Some(out) = process.0.stdout.take() {
            BufReader::new(out).read_line(&mut ready)?;
        }
        if ready.is_empty() { Err("a process did not start".into()) } else { Ok(process) }
    }

    /// The processor time of all its threads so far, in nanoseconds (Linux).
    fn cpu(&self) -> Outcome<u64> {
        let mut nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let spent = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanos += spent.split_whitespace().next().ok_or("schedstat is empty")?.parse::<u64>()?;
        }
        Ok(nanos)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves until the process that started this one is gone.
fn serve_address(what: &str) -> Outcome<()> {
    let (place, file) = what.split_once(':').ok_or("no address is named")?;
    let cluster = Cluster::load(Path::new(file))?;
    let mut addresses: Vec<_> = cluster.members.iter().map(|member| member.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let address = addresses[place.parse::<usize>()?];
    let of_address = |node: &usize| cluster.members[*node].address == address;
    let nodes: Vec<usize> = (0..cluster.members.len()).filter(of_address).collect();
    let serving = serve(&cluster, &nodes, &options())?;
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(serving.stop()?)
}
