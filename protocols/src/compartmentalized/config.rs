//! What all nodes know: who is who, the acceptors' layout, limits, times, and the rules that a mutant may break.

use super::mutant::{Mutant, Rules};
use crate::faults::Correct;
use crate::ids::{Round, Slot, SlotClass, remainder};
use crate::log::{PageLimits, ReplicaLimits};
use crate::mencius;
use crate::schedule::Schedule;
use parthood_quorums::{NodeSet, QuorumSystem, ReadWriteQuorumSystem};
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What all nodes know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// How many nodes there are of each role.
    pub layout: Layout,
    /// In how many groups leaders share the log: one but in [`mencius`]. Leaders, slots and acceptor groups are dealt to
    /// them in turn.
    pub leader_groups: usize,
    /// The acceptors' groups; slot `s` is decided by group `s mod groups`. Several leader groups have as many or a multiple
    /// of it, and no acceptor in common.
    pub groups: Vec<Group>,
    /// An acceptor drops votes when this many replicas have saved what they stand for: one more than may be lost.
    pub saves_needed: usize,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// How reads are batched, where there are read batchers.
    pub read_scheme: ReadScheme,
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
    /// Numbers commands.
    Leader,
    /// Broadcasts proposals and counts votes.
    ProxyLeader,
    /// Votes.
    Acceptor,
    /// Executes.
    Replica,
    /// Collects commands.
    Batcher,
    /// Deals out replies.
    Unbatcher,
    /// Collects reads.
    ReadBatcher,
    /// Asks.
    Client,
}

impl Role {
    /// Its name in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::ProxyLeader => "proxy leader",
            Self::Acceptor => "acceptor",
            Self::Replica => "replica",
            Self::Batcher => "batcher",
            Self::Unbatcher => "unbatcher",
            Self::ReadBatcher => "read batcher",
            Self::Client => "client",
        }
    }
}

/// How many nodes there are of each role. Logical indices are dealt in the order of the roles, clients last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Leaders, of which one in each leader group is active: `f + 1` times the leader groups.
    pub leaders: usize,
    /// Proxy leaders, at least `f + 1`.
    pub proxies: usize,
    /// Acceptors, in all groups together.
    pub acceptors: usize,
    /// Replicas, at least `f + 1`.
    pub replicas: usize,
    /// Batchers; without any, clients turn to leaders.
    pub batchers: usize,
    /// Unbatchers; without any, replicas reply to clients.
    pub unbatchers: usize,
    /// Read batchers; without any, clients read by themselves.
    pub read_batchers: usize,
}

impl Layout {
    /// Each role with the number of its nodes, in the order of their ids.
    pub const fn counts(self) -> [(Role, usize); 7] {
        [
            (Role::Leader, self.leaders),
            (Role::ProxyLeader, self.proxies),
            (Role::Acceptor, self.acceptors),
            (Role::Replica, self.replicas),
            (Role::Batcher, self.batchers),
            (Role::Unbatcher, self.unbatchers),
            (Role::ReadBatcher, self.read_batchers),
        ]
    }

    /// The number of nodes that are not clients.
    pub fn nodes(self) -> usize {
        self.counts().iter().map(|(_, count)| count).sum()
    }

    /// The number of nodes of a role; nobody counts clients.
    pub fn count(self, role: Role) -> usize {
        self.counts().iter().find(|(other, _)| *other == role).map_or(0, |(_, count)| *count)
    }

    /// The node of a role with this index.
    pub fn id(self, role: Role, index: usize) -> Id {
        let before =
            self.counts().iter().filter(|(other, _)| *other < role).map(|(_, count)| count).sum::<usize>();
        Id::from(before + index)
    }

    /// All nodes of a role but clients.
    pub fn ids(self, role: Role) -> impl Iterator<Item = Id> {
        (0..self.count(role)).map(move |index| self.id(role, index))
    }

    /// The role of a node and its index in it.
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

    /// The index of a node in a role, if it has that role.
    pub fn index_in(self, role: Role, id: Id) -> Option<usize> {
        let (actual, index) = self.role(id);
        (actual == role).then_some(index)
    }
}

/// A group of acceptors: a quorum system, and in which order its quorums are contacted.
#[derive(Clone, Debug)]
pub struct Group {
    /// The quorum system, over the indices of acceptors.
    pub system: Arc<dyn QuorumSystem>,
    /// Whom phase 1 and reads contact first.
    pub reads: Schedule,
    /// Whom phase 2 contacts first.
    pub writes: Schedule,
}

impl Group {
    /// A grid of acceptors from `first` on: rows read, columns write, each in turn.
    ///
    /// # Panics
    /// When there is no row or no column.
    pub fn grid(first: usize, rows: usize, columns: usize) -> Self {
        let cell = |row, column| first + row * columns + column;
        let row = |row| (0..columns).map(|column| cell(row, column)).collect();
        let column = |column| (0..rows).map(|row| cell(row, column)).collect();
        let reads: Vec<NodeSet> = (0..rows).map(row).collect();
        let writes: Vec<NodeSet> = (0..columns).map(column).collect();
        let system = ReadWriteQuorumSystem::of_sets(&reads, &writes).expect("a row meets every column");
        Self {
            system: Arc::new(system),
            reads: Schedule::rotation(reads),
            writes: Schedule::rotation(writes),
        }
    }

    /// The acceptors to contact for the `number`-th read.
    pub(crate) fn readers(&self, number: u64) -> NodeSet {
        self.reads.pick(number).unwrap_or(self.system.nodes())
    }

    /// The acceptors to contact for the `number`-th write.
    pub(crate) fn writers(&self, number: u64) -> NodeSet {
        self.writes.pick(number).unwrap_or(self.system.nodes())
    }
}

/// How read batchers make batches of linearizable reads. (Reads of other kinds are batched by size and time.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadScheme {
    /// A batch is sealed when it is full or old enough.
    Timed,
    /// A batch is sealed when the one before has its index.
    Adaptive,
}

/// Nothing is unbounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many slots a leader may be ahead of what it knows to be chosen.
    pub window_slots: u64,
    /// The most commands in a slot: a batcher's batch, or what has piled up at a leader.
    pub batch_commands: usize,
    /// About the most bytes in a slot that holds more than one command.
    pub batch_bytes: usize,
    /// The most commands that wait at a leader; more are answered "busy".
    pub waiting_commands: usize,
    /// The most slots in a page of votes or chosen values.
    pub page_slots: usize,
    /// About the most bytes in a page, or in a part of a snapshot.
    pub page_bytes: usize,
    /// The most proposals that a proxy leader sends again at once.
    pub resend_slots: usize,
    /// The most slots that an acceptor remembers votes for; it votes for nothing further on.
    pub votes: u64,
    /// The most lanes in the client table.
    pub lanes: usize,
    /// A snapshot is taken when this many slots were executed since the last.
    pub snapshot_slots: u64,
    /// How many chosen slots before its snapshot a replica keeps for others.
    pub retained_slots: u64,
    /// About the most bytes of values between two snapshots, and of those kept before one.
    pub log_bytes: usize,
    /// Leaders are told how far everything is chosen after this many slots.
    pub watermark_slots: u64,
    /// A leader tells other leader groups how far it is after this many slots of its own.
    pub high_watermark_slots: u64,
    /// A leader that is this many slots behind another leader group, or more, skips its own.
    pub lag_slots: u64,
    /// The most reads that wait at a replica for their slot; more are dropped, and their clients ask again.
    pub deferred_reads: usize,
    /// The most reads in a batch.
    pub read_batch: usize,
    /// The most batches of a read batcher that wait for their index.
    pub pre_reads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_slots: 65_536,
            batch_commands: 512,
            batch_bytes: 16 * 1024,
            waiting_commands: 65_536,
            page_slots: 512,
            page_bytes: 24 * 1024,
            resend_slots: 64,
            votes: 4 * 1024 * 1024,
            lanes: 65_536,
            snapshot_slots: 65_536,
            retained_slots: 65_536,
            log_bytes: 32 << 20,
            watermark_slots: 256,
            high_watermark_slots: 1,
            lag_slots: 1,
            deferred_reads: 65_536,
            read_batch: 256,
            pre_reads: 64,
        }
    }
}

impl Limits {
    /// How much of a log fits one message.
    pub fn page(&self) -> PageLimits {
        PageLimits { slots: self.page_slots, bytes: self.page_bytes }
    }

    /// What a replica keeps.
    pub fn replica(&self) -> ReplicaLimits {
        ReplicaLimits {
            lanes: self.lanes,
            snapshot_slots: self.snapshot_slots,
            retained_slots: self.retained_slots,
            log_bytes: self.log_bytes,
        }
    }
}

/// How long to wait; no safety argument mentions these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A leader that hears nothing of an active one for a random time within stands for election.
    pub election: Range<Duration>,
    /// The active leader says so this often.
    pub ping: Duration,
    /// What was not answered is sent again after this.
    pub resend: Duration,
    /// What a replica lacks is asked for after this.
    pub catch_up: Duration,
    /// A batch that is not full is sent after this.
    pub batch: Duration,
    /// Without batchers, a leader proposes what arrives within this together; each command at once if there is none. Where it is
    /// zero, nothing waits for what is not here yet.
    pub gather: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            election: Duration::from_millis(300)..Duration::from_millis(600),
            ping: Duration::from_millis(50),
            resend: Duration::from_millis(50),
            catch_up: Duration::from_millis(20),
            batch: Duration::from_millis(1),
            gather: Some(Duration::ZERO),
        }
    }
}

/// What a model leaves out, to stay finite; a deployment leaves out nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// No leader goes beyond this round.
    pub round_max: Round,
    /// Whether leaders say so when idle.
    pub ping: bool,
    /// Whether stale rounds are answered.
    pub nack: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { round_max: Round(u64::MAX), ping: true, nack: true }
    }
}

impl<F: Rules> Config<F> {
    /// The group that decides a slot.
    pub fn group(&self, slot: Slot) -> &Group {
        &self.groups[remainder(slot.0, self.groups.len())]
    }

    /// The leader group that numbers a slot.
    pub fn leader_group(&self, slot: Slot) -> usize {
        remainder(slot.0, self.leader_groups)
    }

    /// The slots that a leader group numbers.
    pub fn slots_of(&self, leader_group: usize) -> SlotClass {
        SlotClass::dealt(leader_group, self.leader_groups)
    }

    /// The acceptor groups that decide a leader group's slots.
    pub fn groups_of(&self, leader_group: usize) -> impl Iterator<Item = &Group> {
        self.groups.iter().skip(leader_group).step_by(self.leader_groups)
    }

    /// The leader group that a leader belongs to.
    pub fn group_of_leader(&self, leader: usize) -> usize {
        leader % self.leader_groups
    }

    /// A leader's number in its group.
    pub(super) fn number_in_group(&self, leader: usize) -> usize {
        leader / self.leader_groups
    }

    /// How many leaders a group has.
    pub(super) fn leaders_in(&self, leader_group: usize) -> usize {
        self.layout.leaders.saturating_sub(leader_group).div_ceil(self.leader_groups)
    }

    /// The acceptors that vote on a slot in a round unless something is lost: quorums take turns from slot to slot, and a
    /// later round tries others.
    pub(crate) fn writers(&self, slot: Slot, round: Round) -> NodeSet {
        let turn = slot.0 / self.groups.len() as u64;
        self.group(slot).writers(turn.wrapping_add(round.0))
    }

    /// The leader of a leader group's round.
    pub fn leader_of(&self, leader_group: usize, round: Round) -> Id {
        let number = round.owner(self.leaders_in(leader_group));
        self.layout.id(Role::Leader, number * self.leader_groups + leader_group)
    }

    /// One node of a role, in turn.
    pub(crate) fn turn(&self, role: Role, number: u64) -> Option<Id> {
        let count = self.layout.count(role);
        (count > 0).then(|| self.layout.id(role, remainder(number, count)))
    }

    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }

    /// Is this rule of [`mencius`] broken?
    pub(crate) fn breaks_mencius(&self, rule: mencius::Mutant) -> bool {
        self.faults.breaks(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dealt_role_by_role_and_lead_back_to_them() {
        let layout = Layout {
            leaders: 2,
            proxies: 3,
            acceptors: 4,
            replicas: 2,
            batchers: 0,
            unbatchers: 1,
            read_batchers: 1,
        };
        assert_eq!(layout.id(Role::Acceptor, 1), Id::from(6));
        for (role, count) in layout.counts() {
            for index in 0..count {
                assert_eq!(layout.role(layout.id(role, index)), (role, index));
            }
        }
        assert_eq!(layout.role(Id::from(layout.nodes())), (Role::Client, 0));
    }
}
