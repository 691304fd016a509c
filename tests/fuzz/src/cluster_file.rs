//! Cluster files: every mistake is told with a place in the file, and what has none can be started.

use parthood::Error;
use parthood::deploy::{Cluster, Deployable, MultiPaxos, Unreplicated};
use parthood::quorum_systems::NodeSet;
use std::path::Path;

/// Takes the input for a cluster file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Cluster::read(Path::new("cluster.toml"), text) {
        Ok(cluster) => starts(&cluster),
        Err(Error::Settings { problems, .. }) => {
            let lines = text.matches('\n').count() + 1;
            assert!(!problems.is_empty() && problems.is_sorted(), "mistakes are told in their order");
            for problem in problems {
                assert!(
                    (1..=lines).contains(&problem.line) && problem.column > 0,
                    "{problem:?} is outside of the file"
                );
                assert!(!problem.what.is_empty());
            }
        }
        Err(other) => panic!("neither a cluster nor mistakes: {other}"),
    }
}

fn starts(cluster: &Cluster) {
    assert!(!cluster.members.is_empty() && !cluster.groups.is_empty());
    let all = NodeSet::first(cluster.members.len());
    for group in &cluster.groups {
        let system = group.system();
        assert!(system.is_read_quorum(all) && system.is_write_quorum(all), "all nodes are a quorum");
    }
    for (index, member) in cluster.members.iter().enumerate() {
        assert_eq!(cluster.index(&member.name).ok(), Some(index));
        let _ = (MultiPaxos::server(cluster, index, true), Unreplicated::server(cluster, index, true));
    }
    let _ = cluster.book();
}

/// The printed example, as it is and with everything that it only mentions, and files with mistakes.
pub fn seeds() -> Vec<Vec<u8>> {
    let example = Cluster::example("multipaxos", 3, 7001).expect("the protocol can be deployed");
    let mentioned = |line: &str| {
        let setting = line.starts_with("# [") || line.contains(" = ");
        line.strip_prefix("# ").filter(|_| setting).unwrap_or(line).to_owned()
    };
    let full = example.lines().map(mentioned).collect::<Vec<_>>().join("\n");
    let mistaken = "protocol = 'multipaxo'\nkey = 'k'\n[[node]]\nname = 'a'\naddress = 'nowhere'\n[times]\nping_ms = 0\n";
    let weighted = format!("{example}\n[[quorums]]\nwrites = \"vote(3; 2:a, 1:b, 1:c)\"\n");
    [example.as_str(), &full, mistaken, &weighted, "[[node]]\nname = \n"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
