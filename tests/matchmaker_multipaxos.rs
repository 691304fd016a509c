//! Matchmaker `MultiPaxos`: storms in which the acceptors are exchanged all the time, and a cluster of processes whose
//! acceptors come and go under load.

mod gone;
mod watched;

use crate::harness::{Server, cluster_of, free_ports, hosts, parthood};
use crate::scenario::{ask_for, reconfigure, spares, with_last_reads};
use parthood::bench::{self, HistoryVerdict, Load};
use parthood::deploy::{self, Cluster};
use parthood::protocols::operator::{Progress, Refusal};
use parthood::retrace::{self, Properties};
use parthood::simulate::{self, Storm};
use std::path::Path;
use std::time::Duration;

const PROTOCOL: &str = "matchmaker_multipaxos";

#[test]
fn nothing_is_lost_in_a_storm_while_acceptors_are_exchanged() {
    (0..6).for_each(|seed| storm(3, seed));
}

/// With a fourth matchmaker somebody exchanges these as well.
#[test]
fn nor_while_matchmakers_are_exchanged_as_well() {
    (0..6).for_each(|seed| storm(4, seed));
}

fn storm(servers: u16, seed: u64) {
    let storm = Storm { protocol: PROTOCOL.into(), servers, commands: 40, ..Storm::default() };
    let outcome = simulate::run(&storm, seed, None).unwrap();
    assert_eq!(outcome.failure, None, "seed {seed}");
    assert!(outcome.crashes > 0 && outcome.lost > 0, "seed {seed}: that was no storm");
}

/// A cluster with five acceptors and five matchmakers, of which two each have hosts of their own.
fn with_spares(folder: &Path) -> Cluster {
    spares(folder, PROTOCOL, &["acceptor", "matchmaker"])
}

/// Has these matchmakers serve, and waits until the others may be shut down.
fn replace_matchmakers(cluster: &Cluster, letters: &str) {
    let names: Vec<String> = letters.chars().map(|letter| format!("matchmaker-{letter}")).collect();
    ask_for(cluster, letters, &deploy::matchmakers(cluster, &names).unwrap());
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
    replace_matchmakers(&cluster, "bcd");
    first.kill();
    let fifth = host(4, 1);
    reconfigure(&cluster, "cde");
    replace_matchmakers(&cluster, "cde");
    let first = host(0, 2);
    replace_matchmakers(&cluster, "ace");
    for letters in ["de", "abc", "ade", "be", "acd", "bce"] {
        reconfigure(&cluster, letters);
    }
    second.kill();
    reconfigure(&cluster, "ade");
    let second = host(1, 2);
    for letters in ["abe", "bce", "abc"] {
        replace_matchmakers(&cluster, letters);
    }
    for letters in ["cd", "abe"] {
        reconfigure(&cluster, letters);
    }
    let measured = loading.join().unwrap().unwrap();
    assert_eq!(measured.unknown, 0, "every command is answered in the end");
    assert!(measured.answered > 100, "{} commands are no load", measured.answered);
    // Acceptors and matchmakers that were said to be retired are gone for good.
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
    let fragile = deploy::acceptors(&cluster, &["acceptor-a".into()], false).unwrap();
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
    let two = deploy::matchmakers(&cluster, &["matchmaker-a".into(), "matchmaker-d".into()]).unwrap();
    let refused = deploy::reconfigure(&cluster, &two, Duration::from_secs(20), |_| {}).unwrap();
    assert_eq!(refused, Some(Progress::Refused(Refusal::NotAsMany(3))));
    // Nobody runs matchmaker-d: matchmaker-c serves in its place, unless the leader heard too late that it has stopped. Then
    // two of three serve.
    let silent = ["reconfigure", "--config", "cluster.toml", "--timeout", "30", "--matchmakers"];
    // A leader that takes over meanwhile ends what the other one has begun: then one asks again.
    let ask_again = || parthood(folder, &[&silent[..], &["matchmaker-a,matchmaker-b,matchmaker-d"]].concat());
    let mut answers = std::iter::repeat_with(ask_again).take(4);
    let ended = answers.find(|ended| !ended.err.contains("has come between")).expect("leaders stay");
    let replaced = ended.status == 1 && ended.err.contains("matchmaker-d did not answer");
    assert!(replaced || ended.status == 0, "{ended:?}");
    let ended = parthood(folder, &[&silent[..], &["matchmaker-a,matchmaker-b,matchmaker-c"]].concat());
    assert!(ended.status == 0 && ended.out.contains("every matchmaker other than"), "{ended:?}");
    let ended = ask("server-a,acceptor-b,acceptor-c");
    assert!(
        ended.status == 2 && ended.err.contains("server-a has the role server, and not acceptor"),
        "{ended:?}"
    );
    // What is in use already is retired at once; nobody's acceptor goes.
    let ended = ask("acceptor-a,acceptor-b,acceptor-c");
    assert!(ended.status == 0 && ended.out.contains("retired: every acceptor other than"), "{ended:?}");
    drop(hosts);
}

/// Adds a host with an acceptor and a matchmaker, and a table that asks for others than at first.
fn change(folder: &Path, generation: u64, acceptors: &str, matchmakers: &str, more: &str) -> Cluster {
    let file = folder.join("cluster.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, nodes) = text.split_at(text.find("\n[[node]]").unwrap());
    let before = before.split("\n[reconfiguration]").next().unwrap();
    let table = format!(
        "\n[reconfiguration]\ngeneration = {generation}\nacceptors = {acceptors}\nmatchmakers = {matchmakers}\n"
    );
    std::fs::write(&file, [before, &table, nodes, more].concat()).unwrap();
    Cluster::load(&file).unwrap()
}

/// A table of a node.
fn node(role: &str, letter: char, port: u16) -> String {
    format!("\n[[node]]\nname = \"{role}-{letter}\"\nrole = \"{role}\"\naddress = \"127.0.0.1:{port}\"\n")
}

fn start(folder: &Path, cluster: &Cluster, host: usize) -> Server {
    let mut arguments = vec!["run", "--config", "cluster.toml"];
    for node in &hosts(cluster)[host] {
        arguments.extend(["--node", &cluster.members[*node].name]);
    }
    Server::start(folder, &arguments)
}

/// The host of a node.
fn host_of(cluster: &Cluster, name: &str) -> usize {
    let node = cluster.index(name).unwrap();
    hosts(cluster).iter().position(|host| host.contains(&node)).unwrap()
}

#[test]
fn a_changed_cluster_file_reaches_hosts_one_after_the_other_and_others_take_over_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = Cluster::load(&cluster_of(folder, PROTOCOL, 3, "")).unwrap();
    let start_as = |cluster: &Cluster, letter: char| {
        let name = if letter < 'd' { format!("server-{letter}") } else { format!("acceptor-{letter}") };
        start(folder, cluster, host_of(cluster, &name))
    };
    let [a, b, c] = ['a', 'b', 'c'].map(|letter| start_as(&first, letter));
    let load = Load {
        outstanding: 8,
        duration: Duration::from_secs(6),
        keys: 50,
        check: true,
        seed: 7,
        ..Load::default()
    };
    let loaded = first.clone();
    let loading = std::thread::spawn(move || bench::run(&loaded, &load));
    // A fourth host, and a file that asks for it in place of what is on host a.
    let port = free_ports(1)[0];
    let added = node("matchmaker", 'd', port) + &node("acceptor", 'd', port);
    let acceptors = r#"["acceptor-b", "acceptor-c", "acceptor-d"]"#;
    let matchmakers = r#"["matchmaker-b", "matchmaker-c", "matchmaker-d"]"#;
    let second = change(folder, 1, acceptors, matchmakers, &added);
    let d = start_as(&second, 'd');
    // The first leader is the last to have the new file: until then, leaders with either may follow each other.
    c.kill();
    let c = start_as(&second, 'c');
    b.kill();
    let b = start_as(&second, 'b');
    a.kill();
    let a = start_as(&second, 'a');
    let asked = parthood(folder, &["reconfigure", "--config", "cluster.toml", "--timeout", "30"]);
    assert_eq!(asked.status, 0, "{asked:?}");
    for role in ["acceptor", "matchmaker"] {
        let retired =
            format!("retired: every {role} other than {role}-b, {role}-c, {role}-d may be shut down");
        assert!(asked.out.contains(&retired), "{asked:?}");
    }
    a.kill();
    let measured = loading.join().unwrap().unwrap();
    assert_eq!(measured.unknown, 0, "every command is answered in the end");
    assert!(measured.answered > 100, "{} commands are no load", measured.answered);
    let history = with_last_reads(&second, measured);
    assert_eq!(bench::judge(&history), HistoryVerdict::Right, "without host a");
    // Whoever comes back with an older file, or another one of the same generation, is told so.
    let run = [
        "run",
        "--config",
        "cluster.toml",
        "--node",
        "server-a",
        "--node",
        "matchmaker-a",
        "--node",
        "acceptor-a",
    ];
    change(folder, 1, r#"["acceptor-a", "acceptor-c", "acceptor-d"]"#, matchmakers, "");
    let refused = parthood(folder, &run);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(
        refused.err.contains("is generation 1, and another one was generation 1: count up"),
        "{refused:?}"
    );
    // The next generation, at two of the servers only, asks for host a again.
    let third = change(folder, 2, r#"["acceptor-a", "acceptor-c", "acceptor-d"]"#, matchmakers, "");
    b.kill();
    let (a, b) = (start_as(&third, 'a'), start_as(&third, 'b'));
    let asked = parthood(folder, &["reconfigure", "--config", "cluster.toml", "--timeout", "30"]);
    assert!(asked.status == 0 && asked.out.contains("other than acceptor-a, acceptor-c"), "{asked:?}");
    [a, b, c, d].into_iter().for_each(Server::kill);
}

#[test]
fn a_cluster_file_under_which_somebody_would_be_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = cluster_of(folder, PROTOCOL, 3, "");
    let text = std::fs::read_to_string(&file).unwrap();
    let cluster = Cluster::load(&file).unwrap();
    start(folder, &cluster, host_of(&cluster, "server-a")).kill();
    let refused = |text: String, why: &str| {
        std::fs::write(&file, text).unwrap();
        let nodes = ["--node", "server-a", "--node", "matchmaker-a", "--node", "acceptor-a"];
        let ended = parthood(folder, &[&["run", "--config", "cluster.toml"][..], &nodes].concat());
        assert!(ended.status == 2 && ended.err.contains(why), "{why}: {ended:?}");
    };
    let port = free_ports(1)[0];
    refused(text.replace("acceptor-c", "acceptor-x"), "was acceptor-c and would be acceptor-x");
    let at = text.find("\n[[node]]").unwrap();
    let inserted = [&text[..at], &node("matchmaker", 'd', port), &text[at..]].concat();
    refused(inserted, "add nodes after all others");
    let last = text.rfind("\n[[node]]").unwrap();
    refused(text[..last].to_owned(), "is missing: leave it in the file");
    let table = |rest: &str| [&text[..at], "\n[reconfiguration]\n", rest, &text[at..]].concat();
    refused(table("generation = 0\nacceptors = [\"acceptor-a\"]\n"), "the first change is generation 1");
    refused(table("generation = 1\nacceptors = [\"acceptor-a\"]\n"), "does not survive 1 failures");
    refused(table("generation = 1\nacceptors = [\"acceptor-q\"]\n"), "unknown node `acceptor-q`");
    refused(table("generation = 1\nmatchmakers = [\"matchmaker-a\"]\n"), "3 matchmakers must serve");
    refused(
        table("generation = 1\nmatchmakers = [\"acceptor-a\"]\n"),
        "has the role acceptor, and not matchmaker",
    );
    refused(table("generation = 1\n"), "it asks for nothing");
    let of_another = text.replace("protocol = \"matchmaker_multipaxos\"", "protocol = \"craq\"");
    let of_another = of_another.replacen(
        "\n[[node]]",
        "\n[reconfiguration]\ngeneration = 1\nacceptors = [\"a\"]\n\n[[node]]",
        1,
    );
    refused(of_another, "craq does not exchange its nodes for a changed file");
    // A process is named after its nodes: with one more at its address it would look elsewhere for what it has saved.
    let address = cluster.members[cluster.index("server-a").unwrap()].address.port();
    let more = [&text[..], &node("acceptor", 'd', address)].concat();
    std::fs::write(&file, more).unwrap();
    let nodes =
        ["--node", "server-a", "--node", "matchmaker-a", "--node", "acceptor-a", "--node", "acceptor-d"];
    let ended = parthood(folder, &[&["run", "--config", "cluster.toml"][..], &nodes].concat());
    assert!(ended.status == 2 && ended.err.contains("need an address of their own"), "{ended:?}");
}
