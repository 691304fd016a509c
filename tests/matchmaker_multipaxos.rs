//! Matchmaker `MultiPaxos`: storms in which the acceptors are exchanged all the time, and a cluster of processes whose
//! acceptors come and go under load.

use crate::harness::{Server, cluster_of, free_ports, parthood};
use crate::scenario::with_last_reads;
use parthood::bench::{self, HistoryVerdict, Load};
use parthood::deploy::{self, Cluster};
use parthood::protocols::matchmaker_multipaxos::{Progress, Refusal};
use parthood::retrace::{self, Properties};
use parthood::simulate::{self, Storm};
use std::path::Path;
use std::time::Duration;

const PROTOCOL: &str = "matchmaker_multipaxos";

#[test]
fn nothing_is_lost_in_a_storm_while_acceptors_are_exchanged() {
    for seed in 0..6 {
        let storm = Storm { protocol: PROTOCOL.into(), commands: 40, ..Storm::default() };
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert!(outcome.crashes > 0 && outcome.lost > 0, "seed {seed}: that was no storm");
    }
}

/// A cluster with five acceptors, of which two have hosts of their own.
fn with_spares(folder: &Path) -> Cluster {
    let spare = |(name, port): (&str, u16)| {
        format!("\n[[node]]\nname = \"{name}\"\nrole = \"acceptor\"\naddress = \"127.0.0.1:{port}\"\n")
    };
    let spares: String = ["acceptor-d", "acceptor-e"].into_iter().zip(free_ports(2)).map(spare).collect();
    Cluster::load(&cluster_of(folder, PROTOCOL, 3, &spares)).unwrap()
}

/// Has the cluster use these acceptors, and waits until the others may be shut down.
fn reconfigure(cluster: &Cluster, letters: &str) {
    let names: Vec<String> = letters.chars().map(|letter| format!("acceptor-{letter}")).collect();
    let unanimous = names.len() == 2;
    let wanted = deploy::configuration(cluster, &names, unanimous).unwrap();
    let mut told = vec![];
    let timeout = Duration::from_secs(30);
    let last =
        deploy::reconfigure(cluster, &wanted, timeout, |progress| told.push(progress.clone())).unwrap();
    let Some(Progress::Retired(_)) = last else { panic!("{letters}: {told:?}") };
}

#[test]
fn acceptors_come_and_go_under_load_with_kills_in_between_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = with_spares(folder);
    let mut traces = Vec::new();
    let mut host = |number, life| Server::of_host(folder, &cluster, number, life, &mut traces);
    let (first, second, third) = (host(0, 1), host(1, 1), host(2, 1));
    let load = Load {
        outstanding: 8,
        duration: Duration::from_secs(8),
        keys: 50,
        check: true,
        seed: 3,
        ..Load::default()
    };
    let loaded = cluster.clone();
    let loading = std::thread::spawn(move || bench::run(&loaded, &load));
    // A machine joins with an empty disk; the one that it replaces is killed, and with it the leader.
    let fourth = host(3, 1);
    reconfigure(&cluster, "bcd");
    first.kill();
    let fifth = host(4, 1);
    reconfigure(&cluster, "cde");
    let first = host(0, 2);
    for letters in ["de", "abc", "ade", "be", "acd", "bce"] {
        reconfigure(&cluster, letters);
    }
    second.kill();
    reconfigure(&cluster, "ade");
    let second = host(1, 2);
    for letters in ["cd", "abe"] {
        reconfigure(&cluster, letters);
    }
    let measured = loading.join().unwrap().unwrap();
    assert_eq!(measured.unknown, 0, "every command is answered in the end");
    assert!(measured.answered > 100, "{} commands are no load", measured.answered);
    // Acceptors that were said to be retired are gone for good.
    fourth.kill();
    let history = with_last_reads(&cluster, measured);
    assert_eq!(bench::judge(&history), HistoryVerdict::Right);
    for server in [first, second, third, fifth] {
        server.kill();
    }
    let replayed = retrace::check(&traces).unwrap();
    assert_eq!(replayed.finding, None);
    assert!(
        matches!(replayed.properties, Properties::Evaluated { times } if times > 1),
        "{:?}",
        replayed.properties
    );
}

#[test]
fn a_wrong_reconfiguration_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = with_spares(folder);
    let mut traces = Vec::new();
    let hosts: Vec<_> = (0..3).map(|host| Server::of_host(folder, &cluster, host, 1, &mut traces)).collect();
    let fragile = deploy::configuration(&cluster, &["acceptor-a".into()], false).unwrap();
    let refused = deploy::reconfigure(&cluster, &fragile, Duration::from_secs(20), |_| {}).unwrap();
    assert_eq!(refused, Some(Progress::Refused(Refusal::TooFragile(1))));
    let ask = |names: &str| {
        parthood(
            folder,
            &["reconfigure", "--config", "cluster.toml", "--acceptors", names, "--timeout", "20"],
        )
    };
    let ended = ask("acceptor-a,acceptor-b");
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.err.contains("does not survive 1 failures"), "{ended:?}");
    let ended = ask("acceptor-a,acceptor-x,acceptor-c");
    assert_eq!(ended.status, 2, "{ended:?}");
    assert!(ended.err.contains("unknown node `acceptor-x`"), "{ended:?}");
    let ended = ask("server-a,acceptor-b,acceptor-c");
    assert!(ended.status == 2 && ended.err.contains("server-a is a server and no acceptor"), "{ended:?}");
    // What is in use already is retired at once; nobody's acceptor goes.
    let ended = ask("acceptor-a,acceptor-b,acceptor-c");
    assert!(ended.status == 0 && ended.out.contains("retired: every acceptor other than"), "{ended:?}");
    drop(hosts);
}
