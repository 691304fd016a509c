//! Mencius, beyond the exhaustive rows: storms, with the properties of the model along the way; cluster files; and how many
//! messages a leader handles.

use crate::compartmentalized::long;
use crate::storms;
use parthood::deploy::Cluster;
use parthood::simulate::{self, Storm};
use parthood_protocols::compartmentalized::Role;
use std::path::Path;

/// Three hosts with a member of each of two leader groups, and a proxy leader and a replica.
#[test]
fn clients_see_one_store_through_crashes_partitions_loss_and_duplication() {
    storms::survives("mencius", 10);
}

/// A client alone: all groups but one are always behind.
#[test]
fn a_lone_client_is_served_through_a_storm() {
    let storm = Storm { protocol: "mencius".into(), clients: 1, crashes: 12, ..Storm::default() };
    for seed in 100..105 {
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!((outcome.failure, outcome.answered), (None, storm.commands), "seed {seed}");
    }
}

/// A cluster file of two hosts, with this changed.
fn read(from: &str, to: &str) -> Result<Cluster, String> {
    let text = Cluster::example("mencius", 2, 7001).unwrap();
    assert!(text.contains(from), "{text}");
    Cluster::read(Path::new("cluster.toml"), &text.replace(from, to)).map_err(|error| error.to_string())
}

#[test]
fn leaders_and_acceptors_are_dealt_to_leader_groups() {
    let cluster = read("leader_groups = 2", "leader_groups = 2").unwrap();
    assert_eq!((cluster.leader_groups, cluster.groups.len()), (2, 2));
    assert_eq!((cluster.count("leader"), cluster.count("acceptor")), (4, 4));
    let nodes = |group: usize| cluster.groups[group].system().nodes().iter().collect::<Vec<_>>();
    assert_eq!((nodes(0), nodes(1)), (vec![0, 2], vec![1, 3]));
    let one = read("leader_groups = 2", "leader_groups = 1").unwrap();
    assert_eq!(one.groups.len(), 1);
}

#[test]
fn leader_groups_that_make_no_sense_are_refused() {
    for groups in ["0", "5"] {
        let error = read("leader_groups = 2", &format!("leader_groups = {groups}")).unwrap_err();
        assert!(error.contains("each needs a leader and a node that votes"), "{error}");
    }
    let quorums = |text: &str| format!("leader_groups = 2\n{text}\n");
    let one = quorums("quorums = [{ reads = 'majority(acceptor-a0, acceptor-b0)' }]");
    let error = read("leader_groups = 2", &one).unwrap_err();
    assert!(error.contains("cannot be dealt"), "{error}");
    let shared = quorums("quorums = [{ reads = 'acceptor-a0' }, { reads = 'acceptor-a0 + acceptor-a1' }]");
    let error = read("leader_groups = 2", &shared).unwrap_err();
    assert!(error.contains("share a node that votes"), "{error}");
    let other = Cluster::example("compartmentalized", 2, 7001).unwrap();
    let other = other.replace("id = 1\n", "id = 1\nleader_groups = 2\n");
    let error = Cluster::read(Path::new("cluster.toml"), &other).unwrap_err().to_string();
    assert!(error.contains("do not share the log"), "{error}");
}

/// A million commands, numbered by two groups of leaders: no role remembers more in the end than on the way.
#[test]
fn a_million_batched_commands_keep_memory_flat() {
    let growth = long(2, 2_500, 256).growth();
    assert!(growth.values().all(|percent| *percent < 120), "{growth:?}");
    let growth = long(2, 250, u64::MAX).growth();
    assert!([Role::Acceptor, Role::Replica].iter().all(|role| growth[role] > 180), "{growth:?}");
}
