//! `--deploy`: a cluster file in which a quorum system and its strategy are at work.
//!
//! The system's nodes become the acceptors of [`compartmentalized`](parthood_protocols::compartmentalized), which contacts
//! one quorum for a write and one for a read, as often as the strategy says. Leaders, proxy leaders and replicas are
//! added, one more of each than acceptors may fail.

use crate::deploy::{Cluster, Compartmentalized, Deployable};
use crate::error::Error;
use parthood_quorums::{Choice, Cluster as Nodes, ReadWriteQuorumSystem, Strategy};
use std::fmt::Write;
use std::path::Path;

/// The first port of the file; every node gets one of its own.
const FIRST_PORT: u16 = 7001;

/// The text of the file, which the caller writes under this name.
pub(super) fn cluster_file(
    file: &Path,
    nodes: &Nodes,
    system: &ReadWriteQuorumSystem,
    strategy: &Strategy,
) -> Result<String, Error> {
    let resilience = system.resilience().map_err(super::usage)?;
    let voters = system.read_expr().nodes().union(system.write_expr().nodes());
    let voters: Vec<&str> =
        nodes.nodes().filter(|node| voters.contains(node.index())).map(|node| nodes.name(node)).collect();
    let mut members: Vec<(String, &str)> = Vec::new();
    for role in Compartmentalized::ROLES {
        if Some(*role) == Compartmentalized::VOTERS {
            members.extend(voters.iter().map(|name| ((*name).to_owned(), *role)));
        } else {
            // Without a second of each nothing could be repaired while the cluster runs.
            members.extend((0..=resilience.max(1)).map(|index| (unused(&voters, role, index), *role)));
        }
    }
    let mut text = Cluster::example(Compartmentalized::NAME, 0, FIRST_PORT)?;
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n[[quorums]]\nreads = {:?}\nwrites = {:?}\n{}{}",
        nodes.show(system.read_expr()),
        nodes.show(system.write_expr()),
        shares("read_strategy", nodes, strategy.reads()),
        shares("write_strategy", nodes, strategy.writes())
    );
    for (port, (name, role)) in (FIRST_PORT..).zip(members) {
        let _ =
            write!(text, "\n[[node]]\nname = {name:?}\nrole = \"{role}\"\naddress = \"127.0.0.1:{port}\"\n");
    }
    // Names and sizes that a quorum system may have and a cluster may not are told now, not when it starts.
    Cluster::read(file, &text)?;
    Ok(text)
}

/// A name for an added node that no acceptor has.
fn unused(voters: &[&str], role: &str, index: usize) -> String {
    let mut name = format!("{role}-{}", index + 1);
    while voters.contains(&name.as_str()) {
        name.insert(0, '_');
    }
    name
}

fn shares(key: &str, nodes: &Nodes, choices: &[Choice]) -> String {
    let mut text = format!("{key} = [\n");
    for Choice { nodes: contacted, probability, .. } in choices {
        let names: Vec<_> = nodes.nodes().filter(|node| contacted.contains(node.index())).collect();
        let names: Vec<_> = names.into_iter().map(|node| format!("{:?}", nodes.name(node))).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {{ nodes = [{}], share = {probability:?} }},", names.join(", "));
    }
    text + "]\n"
}
