//! What every deployed protocol that chooses one value owes its clients.

use crate::harness::{Server, cluster_of, hosts, parthood};
use parthood::deploy::Cluster;
use parthood::retrace::{self, Properties};
use parthood::simulate::{self, Storm};

/// All clients are told the same value.
pub(crate) fn survives_storms(protocol: &str) {
    let storm = Storm { protocol: protocol.into(), seconds: 5, ..Storm::default() };
    for seed in 0..40 {
        let outcome = simulate::run(&storm, seed, None).unwrap();
        assert_eq!((outcome.failure, outcome.answered), (None, 4), "seed {seed}");
    }
}

/// Three processes with a node of each role. One is killed before the first proposal, all are killed after it.
pub(crate) fn survives_kills(protocol: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = Cluster::load(&cluster_of(folder, protocol, 3, "")).unwrap();
    let mut traces = Vec::new();
    let mut start = |host, life| Server::of_host(folder, &cluster, host, life, &mut traces);
    let propose = |value: &str| {
        let arguments = ["client", "--config", "cluster.toml", "--timeout", "20", "propose", value];
        let ended = parthood(folder, &arguments);
        (ended.status, ended.out)
    };
    let [a, b, c] = [start(0, 1), start(1, 1), start(2, 1)];
    a.kill();
    assert_eq!(propose("blue"), (0, "blue\n".into()), "one of three may fail");
    b.kill();
    c.kill();
    let again = [start(0, 2), start(1, 2)];
    assert_eq!(propose("red"), (1, "blue\n".into()), "the chosen value is on disk");
    again.into_iter().for_each(Server::kill);
    let replayed = retrace::check(&traces).unwrap();
    let roles = hosts(&cluster)[0].len() as u64;
    assert_eq!((replayed.finding, replayed.starts), (None, 5 * roles));
    assert!(matches!(replayed.properties, Properties::Evaluated { .. }));
}
