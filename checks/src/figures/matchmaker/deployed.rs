//! An experiment over UDP: the deployed actors on loopback, each server a thread of its own, and a client process's load.
//!
//! Acceptors share a thread, and matchmakers do, but for those that are to be killed. Nothing is saved to disk. Whoever measures
//! shares the processor with all of them.

use super::script::{Deed, Script};
use super::simulated::wanted;
use super::subject::{Setup, Subject, cluster};
use super::timeline::{Answer, Reconfiguration, Timeline};
use crate::bench::{self, Load};
use crate::deploy::{self, Cluster, ServeOptions, Serving};
use crate::error::Error;
use parthood_protocols::operator::Progress;
use parthood_runtime::wire::Key;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Nobody waits longer for a reconfiguration.
const PATIENCE: Duration = Duration::from_secs(10);

/// A folder for the key of a cluster, gone when the run is over.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in the folder for what is left behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs it, in real time.
///
/// # Errors
/// When a socket cannot be used, or the cluster does not answer.
pub(super) fn run<D: Subject>(
    setup: Setup,
    system: &str,
    clients: usize,
    script: &Script,
) -> Result<Timeline, Error> {
    let name = format!("parthood-{}-{}-{clients}", std::process::id(), script.name);
    let folder = Folder(std::env::temp_dir().join(name));
    std::fs::create_dir_all(&folder.0).map_err(Error::file("create", &folder.0))?;
    Key::generate()?.save(&folder.0.join("cluster.key"))?;
    let ports = ports()?;
    let port = |name: &str| {
        let group = match name {
            "server-a" | "server-b" | "server-c" | "acceptor-e" | "matchmaker-e" => name,
            name if name.starts_with("acceptor") => "acceptors",
            _ => "matchmakers",
        };
        ports.get(group).copied().unwrap_or_default()
    };
    let cluster = cluster::<D>(&folder.0.join("cluster.toml"), setup, port)?;
    let mut groups: BTreeMap<SocketAddr, Vec<usize>> = BTreeMap::new();
    for (index, member) in cluster.members.iter().enumerate() {
        groups.entry(member.address).or_default().push(index);
    }
    let options = ServeOptions { no_sync: true, ..ServeOptions::default() };
    let serve = |(address, nodes): (SocketAddr, Vec<usize>)| {
        Ok((address, deploy::serve(&cluster, &nodes, &options)?))
    };
    let serving: Result<BTreeMap<SocketAddr, Serving>, Error> = groups.into_iter().map(serve).collect();
    let mut serving = serving?;
    let second = Duration::from_millis(setup.second_ms);
    let load = Load {
        outstanding: u32::try_from(clients).unwrap_or(u32::MAX),
        duration: second.mul_f64(script.seconds),
        reads: 0.0,
        keys: 1,
        value_bytes: 1,
        check: true,
        patience: second.mul_f64(script.seconds),
        ..Load::default()
    };
    let (measured, asked) = std::thread::scope(|scope| {
        let loading = scope.spawn(|| bench::run(&cluster, &load));
        let asked = play(&cluster, script, second, &mut serving);
        let failed = || Error::Environment("the load ended in a panic".into());
        Ok::<_, Error>((loading.join().map_err(|_| failed())??, asked?))
    })?;
    for (_, serving) in serving {
        serving.stop()?;
    }
    let unit = second.as_secs_f64();
    let answer = |invoked: u64, returned: u64| Answer {
        at: Duration::from_nanos(returned).as_secs_f64() / unit,
        latency_ms: Duration::from_nanos(returned.saturating_sub(invoked)).as_secs_f64() * 1e3,
    };
    let answered =
        measured.history.iter().filter_map(|one| Some(answer(one.invoked, one.returned.as_ref()?.at)));
    let mut answers: Vec<Answer> = answered.collect();
    answers.sort_by(|a, b| a.at.total_cmp(&b.at));
    let (system, reconfigurations) = (system.into(), asked);
    Ok(Timeline { system, clients, second: unit, answers, reconfigurations })
}

/// Does what the script says, and notes what comes of it.
fn play(
    cluster: &Cluster,
    script: &Script,
    second: Duration,
    serving: &mut BTreeMap<SocketAddr, Serving>,
) -> Result<Vec<Reconfiguration>, Error> {
    let begin = Instant::now();
    let mut kill = |name: &str| {
        let member = cluster.members.iter().find(|member| member.name == name);
        let killed = member.and_then(|member| serving.remove(&member.address));
        killed.map_or(Ok(()), Serving::stop)
    };
    let mut all = Vec::new();
    for (at, deed) in &script.deeds {
        std::thread::sleep(second.mul_f64(*at).saturating_sub(begin.elapsed()));
        match deed {
            Deed::KillLeader => kill("server-a")?,
            Deed::KillAcceptor(_) => kill("acceptor-e")?,
            Deed::KillMatchmaker(_) => kill("matchmaker-e")?,
            Deed::Acceptors(_) | Deed::Matchmakers(_) => {
                let from = Instant::now();
                let mut one = Reconfiguration { asked: *at, ..Reconfiguration::default() };
                deploy::reconfigure(cluster, &wanted(deed), PATIENCE, |progress| {
                    let ms = Some(from.elapsed().as_secs_f64() * 1e3);
                    match progress {
                        Progress::Active(_) => one.active_ms = one.active_ms.or(ms),
                        Progress::Retired(_) => {
                            one.active_ms = one.active_ms.or(ms);
                            one.retired_ms = ms;
                        }
                        _ => {}
                    }
                })?;
                all.push(one);
            }
        }
    }
    Ok(all)
}

/// A free port of loopback for each group of nodes.
fn ports() -> Result<BTreeMap<&'static str, u16>, Error> {
    let groups =
        ["server-a", "server-b", "server-c", "acceptor-e", "matchmaker-e", "acceptors", "matchmakers"];
    // All stay open until all are known, so that they differ.
    let open = |group| {
        let socket = UdpSocket::bind("127.0.0.1:0").and_then(|socket| Ok((socket.local_addr()?, socket)));
        let failed = |error| Error::Environment(format!("no port of 127.0.0.1 can be opened: {error}"));
        socket.map(|(address, socket)| (group, address.port(), socket)).map_err(failed)
    };
    let open: Result<Vec<_>, Error> = groups.into_iter().map(open).collect();
    Ok(open?.iter().map(|(group, port, _)| (*group, *port)).collect())
}
