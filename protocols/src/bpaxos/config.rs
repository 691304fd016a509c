//! What all nodes know: who is who, the quorums, limits, times, and the rules that a mutant may break.

use super::fast::{Fast, FastRule};
use super::mutant::{Mutant, Rules};
use crate::compartmentalized::Group;
use crate::faults::{Correct, Faults, is_enough};
use crate::graph::VertexId;
use crate::ids::Round;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::ops::Range;
use std::time::Duration;

/// What all nodes know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// How many nodes there are of each role.
    pub layout: Layout,
    /// The quorum system of the dependency nodes. A set that contains a read quorum and a write quorum is a quorum of the
    /// dependency service: any two of those meet, whatever the system.
    pub dependencies: Group,
    /// The quorum system of the acceptors.
    pub acceptors: Group,
    /// How a vertex can be chosen in one round trip, if it can. Then there are no dependency nodes beside acceptors: each is
    /// both, and their quorum system is `dependencies`, too. Leaders propose themselves.
    pub fast: Option<Fast>,
    /// Of how many largest vertices a dependency node remembers each, for a key and a leader; none for all.
    pub compaction: Option<u64>,
    /// Vertices are collected when this many replicas have saved what they amount to: one more than may be lost.
    pub saves_needed: usize,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// What is bounded, and where.
    pub limits: Limits,
    /// How long to wait for what.
    pub timing: Timing,
    /// What a model leaves out.
    pub bounds: Bounds,
    /// Which rules are broken.
    pub faults: F,
}

/// What a node can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Numbers commands, and proposes them if there are no proposers.
    Leader,
    /// Says what conflicts with what.
    DependencyNode,
    /// Votes.
    Acceptor,
    /// Executes.
    Replica,
    /// Gets vertices chosen.
    Proposer,
    /// Is a leader, a dependency node, an acceptor and a replica.
    Server,
    /// Asks.
    Client,
}

impl Role {
    /// Its name in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Proposer => "proposer",
            Self::DependencyNode => "dependency service node",
            Self::Acceptor => "acceptor",
            Self::Replica => "replica",
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// How many nodes there are of each role. Logical indices are dealt in the order of the roles, clients last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Leaders, at least `f + 1`.
    pub leaders: usize,
    /// Dependency service nodes, `2f + 1` for majorities.
    pub dependency_nodes: usize,
    /// Acceptors, `2f + 1` for majorities.
    pub acceptors: usize,
    /// Replicas, at least `f + 1`.
    pub replicas: usize,
    /// Proposers, at least `f + 1`; without any, leaders propose themselves. Leaders turn to them in turn.
    pub proposers: usize,
    /// Whether the leader, the acceptor and the replica of one index are one server. Then servers are the nodes, and the logical
    /// indices of their parts are known to nobody else.
    pub coupled: bool,
}

impl Layout {
    /// Servers, each of which is a leader, an acceptor, a dependency node and a replica.
    pub const fn of_servers(servers: usize) -> Self {
        let (leaders, acceptors, replicas) = (servers, servers, servers);
        Self { leaders, dependency_nodes: 0, acceptors, replicas, proposers: 0, coupled: true }
    }

    const fn counts(self) -> [(Role, usize); 5] {
        [
            (Role::Leader, self.leaders),
            (Role::DependencyNode, self.dependency_nodes),
            (Role::Acceptor, self.acceptors),
            (Role::Replica, self.replicas),
            (Role::Proposer, self.proposers),
        ]
    }

    /// The number of nodes that are not clients.
    pub fn nodes(self) -> usize {
        if self.coupled { self.acceptors } else { self.counts().iter().map(|(_, count)| count).sum() }
    }

    /// What the node with this logical index is, and which one of those.
    pub fn node(self, id: Id) -> (Role, usize) {
        let index = usize::from(id);
        match self.coupled {
            true if index < self.acceptors => (Role::Server, index),
            true => (Role::Client, index - self.acceptors),
            false => self.role(id),
        }
    }

    /// The number of nodes or parts of a role; nobody counts clients.
    pub fn count(self, role: Role) -> usize {
        self.counts().iter().find(|(other, _)| *other == role).map_or(0, |(_, count)| *count)
    }

    /// The node or part of a role with this index.
    pub fn id(self, role: Role, index: usize) -> Id {
        let before =
            self.counts().iter().filter(|(other, _)| *other < role).map(|(_, count)| count).sum::<usize>();
        Id::from(before + index)
    }

    /// All nodes or parts of a role but clients.
    pub fn ids(self, role: Role) -> impl Iterator<Item = Id> {
        (0..self.count(role)).map(move |index| self.id(role, index))
    }

    /// The role of a node or part and its index in it.
    pub fn role(self, id: Id) -> (Role, usize) {
        let mut index = usize::from(id);
        for (role, count) in self.counts() {
            if index < count {
                return (role, index);
            }
            index -= count;
        }
        (Role::Client, index)
    }

    /// The role whose nodes propose.
    pub fn proposing(self) -> Role {
        if self.proposers > 0 { Role::Proposer } else { Role::Leader }
    }
}

/// Nothing is unbounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many vertices a leader may have waiting for dependencies.
    pub window_vertices: usize,
    /// The most commands in a vertex: what has arrived at a leader together, or piled up while its window was full.
    pub batch_commands: usize,
    /// About the most bytes in a vertex that holds more than one command.
    pub batch_bytes: usize,
    /// The most commands that wait at a leader; more are answered "busy".
    pub waiting_commands: usize,
    /// How many numbers a leader or proposer sets aside with one save.
    pub reserved_ids: u64,
    /// The most vertices of one leader that are not collected: it gives out no further numbers, and no proposer or acceptor
    /// takes part in any. One in sixteen is kept for snapshots, without which nothing would be collected.
    pub column_vertices: u64,
    /// A dependency node begins a new generation after this many vertices.
    pub generation_vertices: usize,
    /// And after vertices that touch this many parts of the state: batches may touch many each.
    pub generation_parts: usize,
    /// The most vertices that are sent again at once.
    pub resend_vertices: usize,
    /// The most vertices that a replica tries to get recovered at once.
    pub recovering_vertices: usize,
    /// The most vertices in a page.
    pub page_vertices: usize,
    /// About the most bytes in a page, or in a part of a snapshot.
    pub page_bytes: usize,
    /// The most ranges of vertices in a snapshot; one that has more is not taken.
    pub snapshot_ranges: usize,
    /// A snapshot is due when this many vertices were executed since the last.
    pub snapshot_vertices: u64,
    /// How many vertices before its snapshot a replica keeps for others.
    pub retained_vertices: usize,
    /// About how many bytes each may take: a snapshot is due earlier, and less is kept before it, where vertices are large.
    pub log_bytes: usize,
    /// The most lanes in the client table.
    pub lanes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_vertices: 1_024,
            batch_commands: 512,
            batch_bytes: 16 * 1024,
            waiting_commands: 65_536,
            reserved_ids: 1,
            column_vertices: 1024 * 1024,
            generation_vertices: 8_192,
            generation_parts: 128 * 1024,
            resend_vertices: 64,
            recovering_vertices: 256,
            page_vertices: 512,
            page_bytes: 24 * 1024,
            snapshot_ranges: 1_024,
            snapshot_vertices: 16_384,
            retained_vertices: 16_384,
            log_bytes: 32 << 20,
            lanes: 65_536,
        }
    }
}

/// How long to wait; no safety argument mentions these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// What was not answered is sent again after this.
    pub resend: Duration,
    /// A proposer that was overtaken waits a random time within.
    pub backoff: Range<Duration>,
    /// A replica that waits for a vertex asks for it after a random time within.
    pub recover: Range<Duration>,
    /// A replica asks the next one for what it lacks this often.
    pub catch_up: Duration,
    /// A leader gives one number to what arrives within this together; each command has its own at once if there is none. Where
    /// it is zero, nothing waits for what is not here yet.
    pub gather: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            resend: Duration::from_millis(50),
            backoff: Duration::from_millis(10)..Duration::from_millis(100),
            recover: Duration::from_millis(150)..Duration::from_millis(450),
            catch_up: Duration::from_millis(40),
            gather: Some(Duration::ZERO),
        }
    }
}

/// What a model leaves out, to stay finite; a deployment leaves out nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// No proposer goes beyond this round.
    pub round_max: Round,
    /// Whether stale rounds are answered.
    pub nack: bool,
    /// Whether replicas ask each other for what they lack, time and again.
    pub catch_up: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { round_max: Round(u64::MAX), nack: true, catch_up: true }
    }
}

impl<F: Faults<Mutant>> Config<F> {
    /// The number of nodes that propose.
    pub fn proposers(&self) -> usize {
        self.layout.count(self.layout.proposing())
    }

    /// The number of nodes that say what conflicts with what.
    fn dependency_nodes(&self) -> usize {
        if self.fast.is_some() { self.layout.acceptors } else { self.layout.dependency_nodes }
    }

    /// Is this set of dependency nodes enough for a leader?
    pub fn is_dependency_quorum(&self, nodes: NodeSet) -> bool {
        let system = &self.dependencies.system;
        is_enough(nodes, self.dependency_nodes(), self.breaks(Mutant::DependencyQuorumShort), |set| {
            system.is_read_quorum(set) && system.is_write_quorum(set)
        })
    }

    /// Whose answer is one of this node, after those of others? For a mutant, not its own if it has answered before.
    pub(super) fn answers_for(&self, node: usize, answered: NodeSet) -> usize {
        let other = || (0..NodeSet::CAPACITY).find(|other| !answered.contains(*other));
        let repeats = answered.contains(node) && self.breaks(Mutant::CountRepeats);
        if repeats { other().unwrap_or(node) } else { node }
    }

    /// Does this set of acceptors end phase 1?
    pub(super) fn ends_phase1(&self, acceptors: NodeSet) -> bool {
        is_enough(acceptors, self.layout.acceptors, self.breaks(Mutant::ReadQuorumShort), |set| {
            // A value that round zero may have chosen must be one that a quorum of the dependency service has named.
            self.acceptors.system.is_read_quorum(set)
                && (self.fast.is_none() || self.dependencies.system.is_write_quorum(set))
        })
    }

    /// Do these votes choose?
    pub(super) fn ends_phase2(&self, acceptors: NodeSet) -> bool {
        is_enough(acceptors, self.layout.acceptors, self.breaks(Mutant::WriteQuorumShort), |set| {
            self.acceptors.system.is_write_quorum(set)
        })
    }

    /// The proposer of a leader's vertices.
    pub(super) fn proposer_of(&self, leader: usize) -> usize {
        leader % self.proposers()
    }

    /// The smallest round of a vertex above `after`, or from zero on, that belongs to a proposer; with a fast path, the first
    /// of a pair.
    pub fn round_of(&self, proposer: usize, vertex: VertexId, after: Option<Round>) -> Round {
        let proposers = self.proposers();
        let rounds = if self.fast.is_some() { 2 } else { 1 };
        let place = (proposer + proposers - vertex.leader as usize % proposers) % proposers;
        let next = match after {
            None if place == 0 => Round::ZERO,
            after => Round(after.unwrap_or_default().0 / rounds).next_owned_by(place, proposers),
        };
        Round(next.0.saturating_mul(rounds))
    }

    /// The replica that answers what a vertex holds: with a part of every role on each server, that of its leader.
    pub(super) fn replier(&self, vertex: VertexId) -> usize {
        let turn = if self.layout.coupled { 0 } else { vertex.id };
        let turn = turn.wrapping_add(u64::from(vertex.leader)) % self.layout.replicas as u64;
        usize::try_from(turn).unwrap_or(0)
    }

    /// Is this a number that a leader of this cluster can have given out?
    pub(super) fn is_vertex(&self, vertex: VertexId) -> bool {
        (vertex.leader as usize) < self.layout.leaders
    }

    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }
}

impl<F: Rules> Config<F> {
    pub(crate) fn breaks_fast(&self, rule: FastRule) -> bool {
        Faults::<FastRule>::breaks(self.faults, rule)
    }
}
