//! The quorum systems of a cluster file, and how often each quorum is contacted.

use super::{Member, Roles};
use crate::settings::{Fields, Placed, Problems};
use itertools::Itertools as _;
use parthood_protocols::compartmentalized;
use parthood_protocols::schedule::Schedule;
use parthood_quorums::{
    Cluster as Nodes, Majority, Node, NodeSet, QuorumSystem, ReadWriteQuorumSystem, constructions,
};
use std::ops::Range;
use std::sync::Arc;

/// A quorum system over the nodes that vote, numbered from 0.
#[derive(Clone, Debug)]
pub struct Group {
    system: Arc<dyn QuorumSystem>,
    /// How read quorums take turns; everybody is asked if nothing is said.
    reads: Schedule,
    /// How write quorums take turns.
    writes: Schedule,
    /// The system as the file describes it.
    rule: String,
}

impl Group {
    /// The system.
    pub fn system(&self) -> Arc<dyn QuorumSystem> {
        self.system.clone()
    }

    /// The system as the file describes it.
    pub(super) fn rule(&self) -> &str {
        &self.rule
    }

    /// The system with its quorums taking turns: as the file says how often, or everybody being asked if it does not.
    pub fn in_turn(&self) -> compartmentalized::Group {
        let Self { system, reads, writes, .. } = self.clone();
        compartmentalized::Group { system, reads, writes }
    }
}

/// One group for each `[[quorums]]`, or majorities of all nodes that vote.
pub(super) fn groups(
    top: &mut Fields<'_>,
    members: &[Member],
    roles: Option<Roles>,
    leader_groups: usize,
    problems: &mut Problems<'_>,
) -> Vec<Group> {
    let tables = top.tables("quorums", problems);
    let role = roles.map(|roles| roles.voters);
    if let (Some(None), Some(table)) = (role, tables.first()) {
        problems.note(&table.place(), "this protocol takes no quorums from the cluster file");
        return vec![];
    }
    let voters = members.iter().filter(|member| role.flatten().is_none_or(|role| role == member.role));
    let voters: Vec<String> = voters.map(|member| member.name.clone()).collect();
    let first = tables.first().map(Fields::place);
    if tables.is_empty() {
        return majorities(voters.len(), leader_groups, &top.place(), problems);
    }
    let tables_given = tables.len();
    let groups = systems(tables, voters, roles.is_none_or(|roles| roles.thrifty), problems);
    if groups.len() == tables_given
        && let Err(what) = dealt(&groups, leader_groups)
    {
        problems.note(&first.unwrap_or_default(), what);
    }
    groups
}

/// One group for each `[[stores]]`, or majorities of all nodes that keep what is not executed yet.
pub(super) fn stores(
    top: &mut Fields<'_>,
    members: &[Member],
    roles: Option<Roles>,
    problems: &mut Problems<'_>,
) -> Vec<Group> {
    let tables = top.tables("stores", problems);
    let Some(keepers) = roles.and_then(|roles| roles.keepers) else {
        if let (Some(_), Some(table)) = (roles, tables.first()) {
            problems.note(&table.place(), "this protocol has no nodes with quorums to store by");
        }
        return vec![];
    };
    let members = members.iter().filter(|member| member.role == keepers);
    let names: Vec<String> = members.map(|member| member.name.clone()).collect();
    if tables.is_empty() {
        return majorities(names.len(), 1, &top.place(), problems);
    }
    systems(tables, names, true, problems)
}

/// One group for each table.
fn systems(
    tables: Vec<Fields<'_>>,
    names: Vec<String>,
    thrifty: bool,
    problems: &mut Problems<'_>,
) -> Vec<Group> {
    let nodes = Nodes::named(names);
    let mut groups = Vec::new();
    for mut table in tables {
        let place = table.place();
        let reads = table.optional::<String>("reads", problems);
        let writes = table.optional::<String>("writes", problems);
        let mut shares = |key| table.tables(key, problems);
        let (read_shares, write_shares) = (shares("read_strategy"), shares("write_strategy"));
        table.finish(problems);
        let given = !read_shares.is_empty() || !write_shares.is_empty();
        if given && !thrifty {
            problems.note(&place, "this protocol contacts all nodes that vote: it has no use for a strategy");
        }
        let place = reads.as_ref().or(writes.as_ref()).map_or(place, |text| text.place.clone());
        let Ok(nodes) = &nodes else { continue };
        let text = |text: &Option<Placed<String>>| text.as_ref().map(|text| text.value.clone());
        let side = |side: &str, text: &Option<Placed<String>>| {
            text.as_ref().map(|text| format!("{side} {}", text.value.trim()))
        };
        let rule = side("reads", &reads).into_iter().chain(side("writes", &writes)).join(", ");
        match ReadWriteQuorumSystem::parse(nodes, text(&reads).as_deref(), text(&writes).as_deref()) {
            Ok(system) => {
                let reads = strategy(nodes, read_shares, |set| system.is_read_quorum(set), "read", problems);
                let writes =
                    strategy(nodes, write_shares, |set| system.is_write_quorum(set), "write", problems);
                groups.push(Group { system: Arc::new(system), reads, writes, rule });
            }
            Err(error) => problems.note(&place, error.to_string()),
        }
    }
    groups
}

/// Majorities of so many nodes, dealt to the leader groups.
fn majorities(
    nodes: usize,
    leader_groups: usize,
    place: &Range<usize>,
    problems: &mut Problems<'_>,
) -> Vec<Group> {
    let groups = (0..leader_groups).map(|group| majority(nodes, group, leader_groups));
    groups.filter_map(|group| group.map_err(|error| problems.note(place, error.to_string())).ok()).collect()
}

/// Majorities of the nodes that vote, as far as they are dealt to this leader group.
fn majority(voters: usize, group: usize, leader_groups: usize) -> parthood_quorums::Result<Group> {
    let voters = voters.clamp(1, NodeSet::CAPACITY);
    let system: Arc<dyn QuorumSystem> = if leader_groups == 1 {
        Arc::new(Majority::new(voters))
    } else {
        let own = (group..voters).step_by(leader_groups).map(Node::new).collect::<Result<Vec<_>, _>>()?;
        Arc::new(constructions::majority(&own)?)
    };
    let rule = "majority".to_owned();
    Ok(Group { system, reads: Schedule::everyone(), writes: Schedule::everyone(), rule })
}

/// Are the quorum systems such as leader groups need: as many for each, and no node in those of two?
fn dealt(groups: &[Group], leader_groups: usize) -> Result<(), String> {
    if !groups.len().is_multiple_of(leader_groups) {
        return Err(format!(
            "{} quorum systems cannot be dealt to {leader_groups} leader groups; number k serves group k mod {leader_groups}",
            groups.len()
        ));
    }
    let nodes = |of: usize| {
        let systems = groups.iter().skip(of).step_by(leader_groups);
        systems.fold(NodeSet::EMPTY, |set, group| set.union(group.system.nodes()))
    };
    let shared = |a: usize, b: usize| nodes(a).iter().any(|node| nodes(b).contains(node));
    for a in 0..leader_groups {
        if let Some(b) = (0..a).find(|b| shared(a, *b)) {
            return Err(format!(
                "leader groups {b} and {a} share a node that votes: each needs nodes of its own"
            ));
        }
    }
    Ok(())
}

/// Which quorum is contacted how often: `[{ nodes = ["a", "b"], share = 0.5 }, ..]`.
fn strategy(
    nodes: &Nodes,
    tables: Vec<Fields<'_>>,
    is_quorum: impl Fn(NodeSet) -> bool,
    side: &str,
    problems: &mut Problems<'_>,
) -> Schedule {
    /// What shares written in decimals may miss 1 by.
    const TOLERANCE: f64 = 1e-6;
    /// Shares are met to one in so many.
    const TURNS: u32 = 10_000;
    let Some(first) = tables.first().map(Fields::place) else { return Schedule::everyone() };
    let mut strategy = Vec::new();
    for mut table in tables {
        let names = table.required::<Vec<String>>("nodes", problems);
        let share = table.required::<f64>("share", problems);
        table.finish(problems);
        let (Some(names), Some(share)) = (names, share) else { continue };
        if !(share.value > 0.0 && share.value <= 1.0) {
            problems.note(&share.place, format!("a share is above 0 and at most 1, not {}", share.value));
        }
        match nodes.set_of(names.value.iter().map(String::as_str)) {
            Ok(set) if is_quorum(set) => strategy.push((set, share.value)),
            Ok(_) => {
                let what = format!("{} is no {side} quorum", names.value.join(", "));
                problems.note(&names.place, what);
            }
            Err(error) => problems.note(&names.place, error.to_string()),
        }
    }
    let sum: f64 = strategy.iter().map(|(_, share)| share).sum();
    if (sum - 1.0).abs() > TOLERANCE {
        problems.note(&first, format!("the shares of the {side} strategy sum to {sum}, not to 1"));
    }
    // What was found wrong is not put into turns: there could be any number of them.
    let sound = sum <= 1.0 + TOLERANCE && strategy.iter().all(|(_, share)| *share > 0.0);
    if sound { Schedule::shares(&strategy, TURNS) } else { Schedule::everyone() }
}
