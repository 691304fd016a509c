//! A deployed cluster through everything that can go wrong: kill -9 of the leader and of a follower, restarts from disk,
//! a node that is cut off for a while; and the reckoning afterwards.

use crate::harness::{Server, cluster, cluster_of, free_ports, hosts, pause};
use parthood::bench::{self, History, HistoryVerdict, Load, Measured};
use parthood::deploy::{self, ClientOptions, Cluster, KvClient, ServeOptions};
use parthood::models::linearizability::{Operation, Return};
use parthood::protocols::operator::{Progress, Wanted};
use parthood::protocols::state_machine::KeyValueCommand;
use parthood::retrace::{self, Properties};
use parthood::runtime::udp::Faults;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Three hosts with a node of every role: the first and the second are killed and restarted, the third is cut off.
fn three_processes_survive_kills_and_a_partition_and_lose_nothing(protocol: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = cluster_of(folder, protocol, 3, "\n[limits]\nsnapshot_slots = 512\nretained_slots = 256\n");
    let description = Cluster::load(&file).unwrap();
    let mut traces = Vec::new();
    let leader = Server::of_host(folder, &description, 0, 1, &mut traces);
    let follower = Server::of_host(folder, &description, 1, 1, &mut traces);
    // The third host lives in this process, so that its links can be cut.
    traces.push(folder.join("2.1.ndjson"));
    let options = ServeOptions { trace: traces.last().cloned(), ..ServeOptions::default() };
    let third = deploy::serve(&description, &hosts(&description)[2], &options).unwrap();

    let load = Load {
        outstanding: 8,
        duration: Duration::from_secs(6),
        keys: 50,
        check: true,
        seed: 1,
        ..Load::default()
    };
    let loaded = description.clone();
    let loading = std::thread::spawn(move || bench::run(&loaded, &load));
    pause(800);
    leader.kill();
    pause(1_000);
    let leader = Server::of_host(folder, &description, 0, 2, &mut traces);
    pause(800);
    follower.kill();
    pause(500);
    let follower = Server::of_host(folder, &description, 1, 2, &mut traces);
    pause(800);
    third.handles[0].set_faults(Faults { isolated: true, ..Faults::default() });
    pause(800);
    third.handles[0].set_faults(Faults::default());
    let measured = loading.join().unwrap().unwrap();
    assert_eq!(measured.unknown, 0, "every command is answered in the end");
    assert!(measured.answered > 100, "{} commands are no load", measured.answered);
    let history = with_last_reads(&description, measured);
    assert_eq!(bench::judge(&history), HistoryVerdict::Right);

    // A restarted or cut-off replica catches up with what it missed; then the processes are killed all at once.
    pause(1_500);
    leader.kill();
    follower.kill();
    third.stop().unwrap();
    let replayed = retrace::check(&traces).unwrap();
    assert_eq!(replayed.finding, None);
    let roles = hosts(&description)[0].len() as u64;
    assert_eq!(replayed.starts, 5 * roles, "three starts and two restarts");
    assert!(replayed.comparisons > 0, "replicas were compared on the way");
    let evaluated = matches!(replayed.properties, Properties::Evaluated { times } if times > 1);
    assert!(evaluated, "the model's properties were evaluated: {:?}", replayed.properties);
    let mut stores = replayed.replicas.values();
    let first = stores.next().unwrap();
    assert!(first.0 > 0 && stores.all(|store| store == first), "all replicas hold the same in the end");
}

/// A history with what every key holds afterwards: an acknowledged write that was lost would show.
pub(crate) fn with_last_reads(cluster: &Cluster, measured: Measured) -> History {
    let options = ClientOptions { timeout: Duration::from_secs(20), ..ClientOptions::default() };
    let client = KvClient::connect(cluster, options).unwrap();
    let mut history = measured.history;
    let keys: BTreeSet<_> = history.iter().filter_map(|operation| operation.op.key().cloned()).collect();
    for key in keys {
        let op = KeyValueCommand::Get(key);
        let now = || u64::try_from(measured.started.elapsed().as_nanos()).unwrap();
        let invoked = now();
        let output = client.execute(op.clone()).unwrap();
        history.push(Operation { client: 1_000, op, invoked, returned: Some(Return { at: now(), output }) });
    }
    history
}

/// A cluster of three hosts, and of two more that have a node of each of these roles only: spares.
pub(crate) fn spares(folder: &Path, protocol: &str, roles: &[&str]) -> Cluster {
    let spare = |(letter, port): (char, u16)| {
        let node = move |role: &&str| {
            format!(
                "\n[[node]]\nname = \"{role}-{letter}\"\nrole = \"{role}\"\naddress = \"127.0.0.1:{port}\"\n"
            )
        };
        roles.iter().map(node)
    };
    let spares: String = "de".chars().zip(free_ports(2)).flat_map(spare).collect();
    Cluster::load(&cluster_of(folder, protocol, 3, &spares)).unwrap()
}

/// Has the cluster use these acceptors, all of which must write if they are two, and waits until the others may be shut down.
pub(crate) fn reconfigure(cluster: &Cluster, letters: &str) {
    let names: Vec<String> = letters.chars().map(|letter| format!("acceptor-{letter}")).collect();
    let wanted = deploy::acceptors(cluster, &names, names.len() == 2).unwrap();
    ask_for(cluster, letters, &wanted);
}

/// Has the cluster reconfigured, and waits until what is replaced may be shut down.
pub(crate) fn ask_for(cluster: &Cluster, letters: &str, wanted: &Wanted) {
    let mut told = vec![];
    let timeout = Duration::from_secs(30);
    let mut ask = || deploy::reconfigure(cluster, wanted, timeout, |progress| told.push(progress.clone()));
    // A leader that takes over may have ended what another one had begun.
    let mut answers = std::iter::repeat_with(|| ask().unwrap()).take(4);
    let last = answers.find(|last| !matches!(last, Some(Progress::Superseded(_)))).flatten();
    drop(answers);
    let Some(Progress::Retired(_)) = last else { panic!("{letters}: {told:?}") };
}

#[test]
fn multipaxos_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("multipaxos");
}

#[test]
fn compartmentalized_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("compartmentalized");
}

#[test]
fn matchmaker_multipaxos_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("matchmaker_multipaxos");
}

#[test]
fn horizontal_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("horizontal");
}

#[test]
fn spaxos_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("spaxos");
}

#[test]
fn mencius_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("mencius");
}

#[test]
fn craq_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("craq");
}

#[test]
fn bpaxos_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("bpaxos");
}

#[test]
fn unanimous_bpaxos_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("unanimous_bpaxos");
}

#[test]
fn epaxos_survives_kills_and_a_partition_and_loses_nothing() {
    three_processes_survive_kills_and_a_partition_and_lose_nothing("epaxos");
}

#[test]
fn nothing_is_claimed_of_a_cluster_that_is_only_partly_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let file = cluster(folder.path(), 3, "");
    let description = Cluster::load(&file).unwrap();
    let trace = |node: usize| folder.path().join(format!("{node}.ndjson"));
    let serve = |node: usize| {
        let options = ServeOptions { trace: Some(trace(node)), ..ServeOptions::default() };
        deploy::serve(&description, &[node], &options).unwrap()
    };
    let serving: Vec<_> = (0..3).map(serve).collect();
    KvClient::connect(&description, ClientOptions::default()).unwrap().put("k", "v").unwrap();
    for server in serving {
        server.stop().unwrap();
    }
    let replayed = retrace::check(&[trace(0), trace(2)]).unwrap();
    assert_eq!(replayed.properties, Properties::Unseen { node: "b".into() });
    let replayed = retrace::check(&[trace(0), trace(1), trace(2)]).unwrap();
    assert_eq!(replayed.finding, None);
    assert!(matches!(replayed.properties, Properties::Evaluated { .. }));
}

#[test]
fn a_changed_answer_in_a_recorded_run_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("run.ndjson");
    let storm =
        parthood::simulate::Storm { commands: 10, seconds: 2, ..parthood::simulate::Storm::default() };
    let outcome = parthood::simulate::run(&storm, 3, Some(&trace)).unwrap();
    assert_eq!(outcome.failure, None);
    assert_eq!(retrace::check(std::slice::from_ref(&trace)).unwrap().finding, None);
    let text = std::fs::read_to_string(&trace).unwrap();
    let at = text.rfind("\"Phase2b\":{\"round\":").unwrap() + "\"Phase2b\":{\"round\":".len();
    let changed = format!("{}9{}", &text[..at], &text[at..]);
    std::fs::write(&trace, changed).unwrap();
    assert!(retrace::check(&[trace]).unwrap().finding.is_some());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let folder = tempfile::tempdir().unwrap();
    let storm =
        parthood::simulate::Storm { commands: 20, seconds: 5, ..parthood::simulate::Storm::default() };
    let trace = |name: &str, seed: u64| {
        let file = folder.path().join(name);
        parthood::simulate::run(&storm, seed, Some(&file)).unwrap();
        std::fs::read(file).unwrap()
    };
    let first = trace("1", 7);
    assert_eq!(first, trace("2", 7));
    assert_ne!(first, trace("3", 8));
}
