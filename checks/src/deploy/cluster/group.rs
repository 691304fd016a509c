//! The quorum systems of a cluster file.

use super::{Member, Roles};
use crate::settings::{Fields, Placed, Problems};
use parthood_quorums::{Cluster as Nodes, Majority, NodeSet, QuorumSystem, ReadWriteQuorumSystem};
use std::sync::Arc;

/// A quorum system over the nodes that vote, numbered from 0.
#[derive(Clone, Debug)]
pub struct Group(Arc<dyn QuorumSystem>);

impl Group {
    /// The system.
    pub fn system(&self) -> Arc<dyn QuorumSystem> {
        self.0.clone()
    }
}

/// One group for each `[[quorums]]`, or majorities of all nodes that vote.
pub(super) fn groups(
    top: &mut Fields<'_>,
    members: &[Member],
    roles: Option<Roles>,
    problems: &mut Problems<'_>,
) -> Vec<Group> {
    let tables = top.tables("quorums", problems);
    let role = roles.map(|roles| roles.voters);
    if let (Some(None), Some(table)) = (role, tables.first()) {
        problems.note(&table.place(), "nobody votes in this protocol: it knows no quorums");
        return vec![];
    }
    let voters = members.iter().filter(|member| role.flatten().is_none_or(|role| role == member.role));
    let voters: Vec<String> = voters.map(|member| member.name.clone()).collect();
    if tables.is_empty() {
        return vec![Group(Arc::new(Majority::new(voters.len().clamp(1, NodeSet::CAPACITY))))];
    }
    let nodes = Nodes::named(voters);
    let mut groups = Vec::new();
    for mut table in tables {
        let place = table.place();
        let reads = table.optional::<String>("reads", problems);
        let writes = table.optional::<String>("writes", problems);
        table.finish(problems);
        let place = reads.as_ref().or(writes.as_ref()).map_or(place, |text| text.place.clone());
        let Ok(nodes) = &nodes else { continue };
        let text = |text: &Option<Placed<String>>| text.as_ref().map(|text| text.value.clone());
        match ReadWriteQuorumSystem::parse(nodes, text(&reads).as_deref(), text(&writes).as_deref()) {
            Ok(system) => groups.push(Group(Arc::new(system))),
            Err(error) => problems.note(&place, error.to_string()),
        }
    }
    groups
}
