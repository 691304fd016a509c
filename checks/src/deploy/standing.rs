//! How the nodes of a cluster stand, and which quorums are there.
//!
//! A quorum is *there* if enough of its nodes answer. That is what the cluster needs to serve, and no more: whether a leader is
//! elected, and whether nodes that do not vote are among those that answer, is said beside it.

use super::{Cluster, Deployable, StateOf, Visit, visit};
use crate::error::Error;
use itertools::Itertools as _;
use parthood_protocols::ids;
use parthood_protocols::log::{AcceptorNode, AcceptorState, ReplicaState};
use parthood_protocols::matchmaking;
use parthood_protocols::state_machine::StateMachine;
use parthood_quorums::{NodeSet, QuorumSystem};
use parthood_runtime::operations::MissingQuorums;
use parthood_runtime::udp::{Choice, Quorum, Standing, Survey, survey};
use stateright::actor::Id;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Tells how a node stands, by its index and state.
pub type Stands<D> = Box<dyn Fn(Id, &StateOf<D>) -> Standing + Send>;

/// Sets of nodes that are looked at in search of the smallest that completes a quorum.
const TRIES_MAX: usize = 20_000;
/// Such sets that are told.
const TOLD_MAX: usize = 6;

/// Do these nodes hold a quorum?
type IsThere = Box<dyn Fn(&BTreeSet<usize>) -> bool + Send>;

/// A quorum that a cluster needs.
pub struct Needed {
    /// Of whom, and what for.
    pub what: String,
    /// The nodes that can be in it, by index.
    nodes: Vec<usize>,
    /// Do these hold one?
    is_there: IsThere,
}

/// A quorum that is there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Of whom, and what for.
    pub what: String,
    /// Is it there?
    pub is_there: bool,
    /// If not: the smallest sets of silent nodes any of which would complete it, or some of them.
    pub needs: Vec<Vec<usize>>,
}

impl Needed {
    /// So many of these nodes.
    pub(super) fn some(what: impl Into<String>, least: usize, nodes: Vec<usize>) -> Self {
        let members: BTreeSet<usize> = nodes.iter().copied().collect();
        let is_there = move |present: &BTreeSet<usize>| members.intersection(present).count() >= least;
        Self { what: what.into(), nodes, is_there: Box::new(is_there) }
    }

    /// More than half of these nodes.
    pub(super) fn majority(what: impl Into<String>, nodes: Vec<usize>) -> Self {
        Self::some(what, nodes.len() / 2 + 1, nodes)
    }

    /// Any of these sets of nodes.
    pub(super) fn any_of(what: impl Into<String>, sets: Vec<(usize, Vec<usize>)>) -> Self {
        let nodes = sets.iter().flat_map(|(_, nodes)| nodes).copied().sorted().dedup().collect();
        let is_there = move |present: &BTreeSet<usize>| {
            sets.iter()
                .any(|(least, nodes)| nodes.iter().filter(|node| present.contains(node)).count() >= *least)
        };
        Self { what: what.into(), nodes, is_there: Box::new(is_there) }
    }

    /// A quorum of a system over nodes that it numbers from 0.
    fn of(
        what: String,
        system: Arc<dyn QuorumSystem>,
        nodes: &[usize],
        is_quorum: fn(&dyn QuorumSystem, NodeSet) -> bool,
    ) -> Self {
        let members = nodes.to_vec();
        let within = system.nodes().iter().filter_map(|number| nodes.get(number).copied()).collect();
        let is_there = move |present: &BTreeSet<usize>| {
            let numbers = members.iter().enumerate().filter(|(_, node)| present.contains(node));
            is_quorum(&*system, numbers.map(|(number, _)| number).collect())
        };
        Self { what, nodes: within, is_there: Box::new(is_there) }
    }

    /// Is it there if these nodes answer, and what would complete it?
    pub fn find(&self, present: &BTreeSet<usize>) -> Found {
        let is_there = (self.is_there)(present);
        let needs = if is_there { Vec::new() } else { self.completions(present) };
        Found { what: self.what.clone(), is_there, needs }
    }

    fn completions(&self, present: &BTreeSet<usize>) -> Vec<Vec<usize>> {
        let silent: Vec<usize> = self.nodes.iter().copied().filter(|node| !present.contains(node)).collect();
        let completes = |set: &Vec<usize>| {
            let all: BTreeSet<usize> = present.iter().chain(set).copied().collect();
            (self.is_there)(&all)
        };
        let mut left = TRIES_MAX;
        for size in 1..silent.len() {
            let sets = silent.iter().copied().combinations(size).take(left);
            let mut tried = 0;
            let found: Vec<_> = sets.inspect(|_| tried += 1).filter(completes).take(TOLD_MAX).collect();
            if !found.is_empty() {
                return found;
            }
            left -= tried;
        }
        vec![silent]
    }
}

/// The nodes with this role, by index.
pub(super) fn nodes_of(cluster: &Cluster, role: &str) -> Vec<usize> {
    let members = cluster.members.iter().enumerate();
    members.filter(|(_, member)| member.role == role).map(|(node, _)| node).collect()
}

/// What every protocol needs: the quorums of its file, and one node of each other role.
pub(super) fn needed<D: Deployable>(cluster: &Cluster) -> Vec<Needed> {
    let mut needed = Vec::new();
    for (role, groups) in [(D::VOTERS, &cluster.groups), (D::KEEPERS, &cluster.stores)] {
        let Some(role) = role else { continue };
        let nodes = nodes_of(cluster, role);
        for (number, group) in groups.iter().enumerate() {
            let number = if groups.len() > 1 { format!(" {number}") } else { String::new() };
            let what = |side: &str| format!("{side} quorum{number} of {role}s");
            let read = |system: &dyn QuorumSystem, nodes| system.is_read_quorum(nodes);
            let write = |system: &dyn QuorumSystem, nodes| system.is_write_quorum(nodes);
            needed.push(Needed::of(what("read"), group.system(), &nodes, read));
            needed.push(Needed::of(what("write"), group.system(), &nodes, write));
        }
    }
    let roles = D::ROLES.iter().chain(D::OPTIONAL_ROLES).chain(D::LATER_ROLES);
    for role in roles.filter(|role| ![D::VOTERS, D::KEEPERS].contains(&Some(**role))) {
        let nodes = nodes_of(cluster, role);
        let groups = if *role == "leader" { cluster.leader_groups } else { 1 };
        for group in (0..groups).filter(|_| !nodes.is_empty()) {
            let of = if groups > 1 { format!(" of leader group {group}") } else { String::new() };
            let nodes = nodes.iter().copied().skip(group).step_by(groups).collect();
            needed.push(Needed::some(format!("{role}{of}"), 1, nodes));
        }
    }
    needed
}

/// The quorums of a cluster, those included that its nodes know and its file does not.
pub fn quorums<D: Deployable>(cluster: &Cluster, standings: &BTreeMap<u64, Standing>) -> Vec<Found> {
    let nodes = |numbers: &[u64]| -> Vec<usize> {
        numbers.iter().filter_map(|node| usize::try_from(*node).ok()).collect()
    };
    let present: BTreeSet<usize> =
        nodes(&standings.keys().copied().collect::<Vec<_>>()).into_iter().collect();
    let mut known: BTreeMap<&str, &Quorum> = BTreeMap::new();
    // Of two that are equally new, that of the larger round.
    for standing in standings.values().sorted_by_key(|standing| standing.round) {
        for quorum in &standing.quorums {
            if known.get(quorum.what.as_str()).is_none_or(|other| other.version <= quorum.version) {
                known.insert(&quorum.what, quorum);
            }
        }
    }
    let told = known.values().map(|quorum| {
        let choice = |one: &Choice| (usize::try_from(one.least).unwrap_or(usize::MAX), nodes(&one.nodes));
        Needed::any_of(quorum.what.clone(), quorum.any_of.iter().map(choice).collect())
    });
    D::quorums(cluster).into_iter().chain(told).map(|needed| needed.find(&present)).collect()
}

/// What [`quorums`] finds missing, in words, for a health check.
pub(super) fn missing<D: Deployable>(cluster: &Cluster) -> MissingQuorums {
    let cluster = cluster.clone();
    Box::new(move |standings| {
        let found = quorums::<D>(&cluster, standings).into_iter().filter(|found| !found.is_there);
        found.map(|found| found.in_words(&cluster)).collect()
    })
}

impl Found {
    /// Who is needed, by name: `b, or c, or d and e`.
    pub fn who(&self, cluster: &Cluster) -> String {
        let name = |node: &usize| cluster.members.get(*node).map_or("?", |member| member.name.as_str());
        self.needs.iter().map(|set| set.iter().map(name).join(" and ")).join(", or ")
    }

    fn in_words(&self, cluster: &Cluster) -> String {
        format!("no {}: needs {}", self.what, self.who(cluster))
    }
}

/// A cluster as its nodes describe it.
#[derive(Debug)]
pub struct Surveyed {
    /// How each node stands that has answered, and after how long.
    pub answers: BTreeMap<u64, (Standing, Duration)>,
    /// The nodes that the protocol makes use of.
    pub nodes: usize,
    /// Its quorums.
    pub quorums: Vec<Found>,
    /// Datagrams that were refused, in words.
    pub refused: Vec<String>,
}

/// Asks all nodes of a running cluster how they stand.
///
/// # Errors
/// When the key or a socket cannot be used.
pub fn look(cluster: &Cluster, patience: Duration) -> Result<Surveyed, Error> {
    visit(&cluster.protocol, Look { cluster, patience })?
}

struct Look<'a> {
    cluster: &'a Cluster,
    patience: Duration,
}

impl Visit for Look<'_> {
    type Output = Result<Surveyed, Error>;

    fn visit<D: Deployable>(self) -> Self::Output {
        let Self { cluster, patience } = self;
        let nodes = D::servers(cluster.members.len());
        let expected = (0..nodes as u64).collect();
        let Survey { answers, refused } =
            survey(cluster.identity(), &cluster.keys()?, &cluster.book(), &expected, patience)?;
        let standings = answers.iter().map(|(node, (standing, _))| (*node, standing.clone())).collect();
        let quorums = quorums::<D>(cluster, &standings);
        let refused = refused.into_iter().map(|(why, count)| format!("{why}: {count}")).collect();
        Ok(Surveyed { answers, nodes, quorums, refused })
    }
}

impl Surveyed {
    /// The nodes that lead: those that say so, and know of the largest round among those of their leader group who do.
    pub fn leaders(&self, cluster: &Cluster) -> Vec<u64> {
        let leaders = nodes_of(cluster, "leader");
        let group = |node: u64| {
            let place = leaders.iter().position(|leader| *leader as u64 == node);
            place.map_or(0, |place| place % cluster.leader_groups)
        };
        let claims = self.answers.iter().filter(|(_, (standing, _))| standing.leads);
        let claims: Vec<_> =
            claims.map(|(node, (standing, _))| (group(*node), standing.round, *node)).collect();
        let is_largest = |claim: &&(usize, Option<[u64; 3]>, u64)| {
            claims.iter().all(|other| other.0 != claim.0 || other.1 <= claim.1)
        };
        claims.iter().filter(is_largest).map(|claim| claim.2).collect()
    }

    /// How many slots, vertices or writes the node that is furthest has executed.
    pub fn furthest(&self) -> Option<u64> {
        self.answers.values().filter_map(|(standing, _)| standing.executed).max()
    }
}

/// A round that is a plain number.
pub(super) fn plain(round: ids::Round) -> [u64; 3] {
    [round.0, 0, 0]
}

/// A round that is a triple.
pub(super) fn triple(round: matchmaking::Round) -> [u64; 3] {
    [round.term, round.proposer, round.step]
}

/// What a replica of a log says.
pub(super) fn of_replica<M: StateMachine>(replica: &ReplicaState<M>) -> Standing {
    Standing {
        executed: Some(replica.executed.0),
        lanes: Some(replica.sessions.len() as u64),
        log: Some(replica.log.len() as u64),
        ..Standing::default()
    }
}

/// What an acceptor of a log says.
pub(super) fn of_acceptor<C: Clone, R: Copy>(
    acceptor: &AcceptorState<C, R>,
    round: fn(R) -> [u64; 3],
) -> Standing {
    Standing {
        round: Some(round(acceptor.round)),
        log: Some(acceptor.votes.len() as u64),
        abstains: !acceptor.voting,
        ..Standing::default()
    }
}

/// The same where the log holds configurations, or is stored elsewhere.
pub(super) fn of_acceptor_node<C: Clone, R: Copy>(
    node: &AcceptorNode<C, R>,
    round: fn(R) -> [u64; 3],
) -> Standing {
    of_acceptor(&node.acceptor, round)
}

/// The two quorums of a configuration, whose acceptors these nodes are.
pub(super) fn of_configuration(
    configuration: &matchmaking::Configuration,
    version: u64,
    node: impl Fn(usize) -> Id,
) -> [Quorum; 2] {
    use matchmaking::Configuration::{Explicit, Majority, UnanimousWrites};
    let nodes = |set: NodeSet| set.iter().map(|number| usize::from(node(number)) as u64).collect::<Vec<_>>();
    let some = |set: NodeSet, least: usize| vec![Choice { nodes: nodes(set), least: least as u64 }];
    let all = |sets: &[NodeSet]| sets.iter().flat_map(|set| some(*set, set.len())).collect();
    let (reads, writes) = match configuration {
        Majority(set) => (some(*set, set.len() / 2 + 1), some(*set, set.len() / 2 + 1)),
        UnanimousWrites(set) => (some(*set, 1), some(*set, set.len())),
        Explicit { reads, writes } => (all(reads), all(writes)),
    };
    let quorum = |side: &str, any_of| Quorum { what: format!("{side} quorum of acceptors"), version, any_of };
    [quorum("read", reads), quorum("write", writes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::{Compartmentalized, Mencius, MultiPaxos};
    use std::path::Path;

    fn cluster(protocol: &str, hosts: u16, more: &str) -> Cluster {
        let text = Cluster::example(protocol, hosts, 7001).unwrap() + more;
        Cluster::read(Path::new("c/cluster.toml"), &text).unwrap()
    }

    fn present(nodes: &[u64]) -> BTreeMap<u64, Standing> {
        nodes.iter().map(|node| (*node, Standing::default())).collect()
    }

    fn lacking<D: Deployable>(cluster: &Cluster, nodes: &[u64]) -> Vec<String> {
        missing::<D>(cluster)(&present(nodes))
    }

    #[test]
    fn a_missing_majority_names_everybody_who_would_complete_it() {
        let cluster = cluster("multipaxos", 3, "");
        assert_eq!(lacking::<MultiPaxos>(&cluster, &[0, 2]), [""; 0]);
        assert_eq!(
            lacking::<MultiPaxos>(&cluster, &[1]),
            ["no read quorum of servers: needs a, or c", "no write quorum of servers: needs a, or c"]
        );
        assert_eq!(
            lacking::<MultiPaxos>(&cluster, &[])[0],
            "no read quorum of servers: needs a and b, or a and c, or b and c"
        );
    }

    #[test]
    fn a_quorum_system_of_the_file_is_asked_itself() {
        let cluster = cluster("multipaxos", 3, "\n[[quorums]]\nreads = 'a'\nwrites = 'a'\n");
        assert_eq!(lacking::<MultiPaxos>(&cluster, &[0]), [""; 0]);
        assert_eq!(lacking::<MultiPaxos>(&cluster, &[1, 2])[0], "no read quorum of servers: needs a");
    }

    #[test]
    fn roles_without_quorums_need_one_node_and_leader_groups_one_each() {
        let parts = cluster("compartmentalized", 3, "");
        let everybody: Vec<u64> = (0..parts.members.len() as u64).collect();
        assert_eq!(lacking::<Compartmentalized>(&parts, &everybody), [""; 0]);
        let others = (0..).zip(&parts.members).filter(|(_, member)| member.role != "proxy_leader");
        let others: Vec<u64> = others.map(|(node, _)| node).collect();
        let lacks = lacking::<Compartmentalized>(&parts, &others);
        assert!(lacks.len() == 1 && lacks[0].starts_with("no proxy_leader: needs "), "{lacks:?}");

        let groups = cluster("mencius", 1, "");
        let leaders = nodes_of(&groups, "leader");
        let without: Vec<u64> =
            (0..groups.members.len() as u64).filter(|node| *node != leaders[1] as u64).collect();
        let lacks = lacking::<Mencius>(&groups, &without);
        assert!(lacks.iter().any(|why| why.starts_with("no leader of leader group 1: ")), "{lacks:?}");
    }

    #[test]
    fn what_a_newer_configuration_says_replaces_the_older() {
        let cluster = cluster("horizontal", 3, "");
        let standing = |version, acceptors: &[usize]| Standing {
            quorums: of_configuration(
                &matchmaking::Configuration::UnanimousWrites(acceptors.iter().copied().collect()),
                version,
                Id::from,
            )
            .to_vec(),
            ..Standing::default()
        };
        let old = standing(1, &[3, 4]);
        let mut standings =
            BTreeMap::from([(0, old.clone()), (1, standing(2, &[5])), (5, Standing::default())]);
        let lacks = |standings: &_| missing::<crate::deploy::Horizontal>(&cluster)(standings);
        assert_eq!(lacks(&standings), [""; 0]);
        standings.insert(1, old);
        assert_eq!(lacks(&standings).len(), 2, "one of the old ones reads, and both write");
    }

    #[test]
    fn who_claims_to_lead_in_a_smaller_round_does_not() {
        let cluster = cluster("multipaxos", 3, "");
        let claim = |round| Standing { leads: true, round: Some([round, 0, 0]), ..Standing::default() };
        let answers = BTreeMap::from([(0, (claim(3), Duration::ZERO)), (2, (claim(5), Duration::ZERO))]);
        let surveyed = Surveyed { answers, nodes: 3, quorums: vec![], refused: vec![] };
        assert_eq!(surveyed.leaders(&cluster), [2]);
    }
}
