//! The same over UDP, as far as it is no matter of time: while a hot key waits for a vertex whose leader was killed, a cold one does not.

use crate::harness::{Server, cluster_of, free_ports, pause};
use parthood::deploy::{self, ClientOptions, Cluster, KvClient, ServeOptions};
use parthood::protocols::state_machine::{Bytes, KeyValueCommand};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Three nodes of every role, each at an address of its own.
fn spread(folder: &Path) -> Cluster {
    let file = cluster_of(folder, "bpaxos", 3, "");
    let text = std::fs::read_to_string(&file).unwrap();
    let nodes = text.matches("\naddress = ").count();
    let mut ports = free_ports(nodes).into_iter();
    let own_port = |line: &str| {
        if line.starts_with("address = ") {
            return format!("address = \"127.0.0.1:{}\"\n", ports.next().unwrap());
        }
        format!("{line}\n")
    };
    std::fs::write(&file, text.lines().map(own_port).collect::<String>()).unwrap();
    Cluster::load(&file).unwrap()
}

/// A client that can reach no leader but this one.
fn client_of(cluster: &Cluster, leader: &str) -> KvClient {
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_ports(1)[0]));
    let mut cluster = cluster.clone();
    for member in &mut cluster.members {
        if member.role == "leader" && member.name != leader {
            member.address = nobody;
        }
    }
    let options = ClientOptions { timeout: Duration::from_secs(60), ..ClientOptions::default() };
    KvClient::connect(&cluster, options).unwrap()
}

/// Stops processes where they are, or has them go on.
fn signal(servers: &[Server], signal: &str) {
    for server in servers {
        let status = Command::new("kill").args([signal, &server.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

/// How often a leader has asked dependency nodes, by its trace.
fn asked(trace: &Path) -> usize {
    std::fs::read_to_string(trace).unwrap().matches("DependencyRequest").count()
}

/// How long each command of a client takes on a key, until somebody says that it is over.
fn commands(client: &KvClient, key: &str, is_over: &AtomicBool) -> Vec<Duration> {
    let mut took = vec![];
    while !is_over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        client.increment(key, 1).unwrap();
        took.push(asked.elapsed());
    }
    took
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn over_udp_a_killed_leader_with_a_hole_in_its_column_delays_only_what_depends_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = spread(folder);
    let trace = folder.join("leader.ndjson");
    let process =
        |more: &[&str]| Server::start(folder, &[&["run", "--config", "cluster.toml"][..], more].concat());
    let doomed = process(&["--node", "leader-a", "--trace", trace.to_str().unwrap()]);
    let dependency_nodes =
        ["a", "b", "c"].map(|letter| process(&["--node", &format!("dependency_node-{letter}")]));
    let is_elsewhere = |node: &usize| {
        let member = &cluster.members[*node];
        member.name != "leader-a" && member.role != "dependency_node"
    };
    let others: Vec<usize> = (0..cluster.members.len()).filter(is_elsewhere).collect();
    let serving = deploy::serve(&cluster, &others, &ServeOptions::default()).unwrap();
    let [of_doomed, hot, cold] =
        ["leader-a", "leader-b", "leader-c"].map(|leader| client_of(&cluster, leader));
    // Each opens its session, which conflicts with everything.
    for client in [&of_doomed, &hot, &cold] {
        client.increment("warm", 1).unwrap();
    }
    let is_over = AtomicBool::new(false);
    let before = std::thread::scope(|scope| {
        let cold = scope.spawn(|| commands(&cold, "cold", &is_over));
        pause(500);
        is_over.store(true, Ordering::Relaxed);
        cold.join().unwrap()
    });
    // Dependency nodes are stopped, and get the question when its leader is dead already.
    signal(&dependency_nodes, "-STOP");
    let asked_before = asked(&trace);
    let lost = of_doomed.submit(KeyValueCommand::Increment(Bytes::from("hot"), 1));
    // When it asks them for the second time, the first questions have left.
    let since = Instant::now();
    while asked(&trace) <= asked_before + dependency_nodes.len() {
        assert!(since.elapsed() < Duration::from_secs(60), "it asks nobody");
        pause(5);
    }
    doomed.kill();
    signal(&dependency_nodes, "-CONT");

    is_over.store(false, Ordering::Relaxed);
    let (waited, meanwhile) = std::thread::scope(|scope| {
        let cold = scope.spawn(|| commands(&cold, "cold", &is_over));
        let asked = Instant::now();
        let counted = hot.increment("hot", 1).unwrap();
        let waited = asked.elapsed();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(counted, 1, "the lost command has become a noop");
        (waited, cold.join().unwrap())
    });
    // Whoever waits asks the dead leader first and then another one, each after a tenth of a second at least.
    assert!(waited >= Duration::from_millis(200), "it waited {waited:?}: there was no hole");
    assert!(!meanwhile.is_empty(), "everybody waited");
    // From then on nobody waits for the dead leader.
    let next = Instant::now();
    (2..=10).for_each(|count| assert_eq!(hot.increment("hot", 1).unwrap(), count));
    eprintln!(
        "the hot key waited {waited:.0?}; {} commands on the cold one meanwhile, median {:.1?} after {:.1?}; then {:.1?} each",
        meanwhile.len(),
        median(meanwhile),
        median(before),
        next.elapsed() / 9
    );
    drop(lost);
    serving.stop().unwrap();
}
