//! Horizontal `MultiPaxos`: storms in which the acceptors are exchanged all the time, and a cluster of processes whose acceptors
//! come and go under load.

use crate::harness::{Server, parthood};
use crate::scenario::{reconfigure, spares, with_last_reads};
use parthood::bench::{self, HistoryVerdict, Load};
use parthood::deploy;
use parthood::protocols::operator::{Progress, Refusal};
use parthood::retrace::{self, Properties};
use parthood::simulate::{self, Storm};
use std::time::Duration;

const PROTOCOL: &str = "horizontal";

/// Of four acceptors three vote at a time.
#[test]
fn nothing_is_lost_in_a_storm_while_acceptors_are_exchanged() {
    for seed in 0..6 {
        let storm = Storm { protocol: PROTOCOL.into(), servers: 4, commands: 40, ..Storm::default() };
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!(outcome.failure, None, "seed {seed}");
        assert!(outcome.crashes > 0 && outcome.lost > 0, "seed {seed}: that was no storm");
    }
}

#[test]
fn acceptors_come_and_go_under_load_with_kills_in_between_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = spares(folder, PROTOCOL, &["acceptor"]);
    let mut traces = Vec::new();
    let mut host = |number, life| Server::of_host(folder, &cluster, number, life, &mut traces);
    let (first, second, third) = (host(0, 1), host(1, 1), host(2, 1));
    let load = Load {
        outstanding: 8,
        duration: Duration::from_secs(6),
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
    // Its server has slept through two reconfigurations, and its acceptor votes again.
    let first = host(0, 2);
    for letters in ["ade", "abc", "acd"] {
        reconfigure(&cluster, letters);
    }
    second.kill();
    reconfigure(&cluster, "ade");
    let second = host(1, 2);
    for letters in ["bce", "abc"] {
        reconfigure(&cluster, letters);
    }
    let measured = loading.join().unwrap().unwrap();
    assert_eq!(measured.unknown, 0, "every command is answered in the end");
    assert!(measured.answered > 100, "{} commands are no load", measured.answered);
    // Acceptors that were said to be retired are gone for good.
    fourth.kill();
    fifth.kill();
    let history = with_last_reads(&cluster, measured);
    assert_eq!(bench::judge(&history), HistoryVerdict::Right);
    for server in [first, second, third] {
        server.kill();
    }
    let replayed = retrace::check(&traces).unwrap();
    assert_eq!(replayed.finding, None);
    let evaluated = matches!(replayed.properties, Properties::Evaluated { times } if times > 1);
    assert!(evaluated, "{:?}", replayed.properties);
}

#[test]
fn a_wrong_reconfiguration_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = spares(folder, PROTOCOL, &["acceptor"]);
    let mut traces = Vec::new();
    let hosts: Vec<_> = (0..3).map(|host| Server::of_host(folder, &cluster, host, 1, &mut traces)).collect();
    // One that is left of two can say what is chosen, but cannot choose the rest of the window.
    let fragile = deploy::acceptors(&cluster, &["acceptor-a".into(), "acceptor-b".into()], true).unwrap();
    let refused = deploy::reconfigure(&cluster, &fragile, Duration::from_secs(20), |_| {}).unwrap();
    assert_eq!(refused, Some(Progress::Refused(Refusal::TooFragile(1))));
    let ask = |names: &[&str]| {
        let asked = ["reconfigure", "--config", "cluster.toml", "--timeout", "20"];
        parthood(folder, &[&asked[..], names].concat())
    };
    let ended = ask(&["--matchmakers", "acceptor-a"]);
    assert!(
        ended.status == 2 && ended.err.contains("acceptor-a has the role acceptor, and not matchmaker"),
        "{ended:?}"
    );
    // What is in use already is retired at once; nobody's acceptor goes.
    let ended = ask(&["--acceptors", "acceptor-a,acceptor-b,acceptor-c"]);
    assert!(ended.status == 0 && ended.out.contains("retired: every acceptor other than"), "{ended:?}");
    drop(hosts);
}
