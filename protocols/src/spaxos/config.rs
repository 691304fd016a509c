//! What all nodes know: who is who, where batches are stored, and how long an id may wait for its slot.

use super::ids::BatchId;
use super::mutant::{InParts, Mutant};
use crate::compartmentalized::{self as parts, Group};
use crate::faults::{Correct, Faults};
use crate::ids::remainder;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::sync::Arc;

/// What all nodes know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// What those know who execute commands, read and reply.
    pub parts: Arc<parts::Config<InParts<F>>>,
    /// What those know who order ids: the same, but that a slot holds one id.
    pub order: Arc<parts::Config<InParts<F>>>,
    /// How many nodes there are of each role.
    pub layout: Layout,
    /// The stabilizers' groups; ids are dealt to them in turn. A batch is stored by a write quorum and fetched from a read
    /// quorum.
    pub stores: Vec<Group>,
    /// In how many slots, from the last one that its disseminator has heard of, an id can be ordered.
    pub lifetime_slots: u64,
    /// Which rules are broken.
    pub faults: F,
}

/// What a node can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Numbers ids.
    Leader,
    /// Broadcasts proposals, counts votes, and has chosen batches passed on.
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
    /// Has batches stored, and then their ids ordered.
    Disseminator,
    /// Stores batches.
    Stabilizer,
    /// Asks.
    Client,
}

impl Role {
    /// Its name in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Disseminator => "disseminator",
            Self::Stabilizer => "stabilizer",
            Self::Leader => parts::Role::Leader.title(),
            Self::ProxyLeader => parts::Role::ProxyLeader.title(),
            Self::Acceptor => parts::Role::Acceptor.title(),
            Self::Replica => parts::Role::Replica.title(),
            Self::Batcher => parts::Role::Batcher.title(),
            Self::Unbatcher => parts::Role::Unbatcher.title(),
            Self::ReadBatcher => parts::Role::ReadBatcher.title(),
            Self::Client => parts::Role::Client.title(),
        }
    }
}

impl From<parts::Role> for Role {
    fn from(role: parts::Role) -> Self {
        match role {
            parts::Role::Leader => Self::Leader,
            parts::Role::ProxyLeader => Self::ProxyLeader,
            parts::Role::Acceptor => Self::Acceptor,
            parts::Role::Replica => Self::Replica,
            parts::Role::Batcher => Self::Batcher,
            parts::Role::Unbatcher => Self::Unbatcher,
            parts::Role::ReadBatcher => Self::ReadBatcher,
            parts::Role::Client => Self::Client,
        }
    }
}

/// How many nodes there are of each role. The parts that order and serve come first, then disseminators and stabilizers,
/// who are clients in the eyes of the parts, then clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Those who order and serve.
    pub parts: parts::Layout,
    /// Disseminators, at least `f + 1`.
    pub disseminators: usize,
    /// Stabilizers, in all groups together.
    pub stabilizers: usize,
}

impl Layout {
    /// The number of nodes that are not clients.
    pub fn nodes(self) -> usize {
        self.parts.nodes() + self.disseminators + self.stabilizers
    }

    /// A disseminator.
    pub fn disseminator(self, index: usize) -> Id {
        Id::from(self.parts.nodes() + index)
    }

    /// A stabilizer.
    pub fn stabilizer(self, index: usize) -> Id {
        self.disseminator(self.disseminators + index)
    }

    /// The role of a node and its index in it.
    pub fn role(self, id: Id) -> (Role, usize) {
        let (d, s) = (self.disseminators, self.stabilizers);
        match self.parts.role(id) {
            (parts::Role::Client, index) if index < d => (Role::Disseminator, index),
            (parts::Role::Client, index) if index < d + s => (Role::Stabilizer, index - d),
            (parts::Role::Client, index) => (Role::Client, index - d - s),
            (role, index) => (role.into(), index),
        }
    }

    /// The index of a node in a role, if it has that role.
    pub fn index_in(self, role: Role, id: Id) -> Option<usize> {
        let (actual, index) = self.role(id);
        (actual == role).then_some(index)
    }
}

impl<F: Faults<Mutant>> Config<F> {
    /// S-Paxos of these parts, with so many disseminators, and one stabilizer for each node of the groups.
    pub fn new(
        parts: parts::Config<InParts<F>>,
        disseminators: usize,
        stabilizers: usize,
        stores: Vec<Group>,
        lifetime_slots: u64,
    ) -> Self {
        // A slot holds one id, so nothing is gained by waiting for others.
        let limits = parts::Limits { batch_commands: 1, ..parts.limits };
        let timing = parts::Timing { gather: None, ..parts.timing.clone() };
        Self {
            layout: Layout { parts: parts.layout, disseminators, stabilizers },
            order: Arc::new(parts::Config { limits, timing, ..parts.clone() }),
            faults: parts.faults.0,
            parts: Arc::new(parts),
            stores,
            lifetime_slots,
        }
    }

    /// The stabilizers that store an id's batch.
    pub fn store(&self, id: BatchId) -> &Group {
        &self.stores[turn(id.number.wrapping_add(id.disseminator as u64), self.stores.len())]
    }

    /// Those that are asked first to store an id's batch.
    pub(super) fn first_to_store(&self, id: BatchId) -> NodeSet {
        let store = self.store(id);
        store.writes.pick(id.number / self.stores.len() as u64).unwrap_or(store.system.nodes())
    }

    /// Those that are asked first for an id's batch.
    pub(super) fn first_to_fetch(&self, id: BatchId) -> NodeSet {
        let store = self.store(id);
        store.reads.pick(id.number / self.stores.len() as u64).unwrap_or(store.system.nodes())
    }

    /// The stabilizer that passes a chosen batch on: of those that were asked first to store it, another one for every try.
    pub(super) fn passer(&self, id: BatchId, number: u64) -> Option<Id> {
        let stabilizers: Vec<usize> = self.first_to_store(id).iter().collect();
        (!stabilizers.is_empty())
            .then(|| self.layout.stabilizer(stabilizers[turn(number, stabilizers.len())]))
    }

    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.faults.breaks(rule)
    }
}

/// The index whose turn it is the `number`-th time.
pub(super) fn turn(number: u64, count: usize) -> usize {
    remainder(number, count.max(1))
}
