//! What nodes save, and how that is written down as differences.

use super::Ballot;
use super::dependencies::Entry;
use super::snapshot::{Snapshot, SnapshotDelta};
use crate::durable::{Change, Durable, Mismatch, map_changes, patch_map};
use crate::graph::{VertexId, VertexSet};
use crate::ids::Round;
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a node saves. Maps share structure with the node's state, so a copy is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Storage<M: StateMachine> {
    /// A leader.
    Leader {
        /// Numbers below may have been given out.
        reserved: u64,
        /// What it saves as a proposer, if it is one.
        proposer: ProposerSaved,
    },
    /// A proposer.
    Proposer(ProposerSaved),
    /// A dependency node: what it answered.
    DependencyNode {
        /// How many generations were forgotten.
        forgotten: u64,
        /// What was forgotten, and everything below.
        collected: VertexSet,
        /// The older generation.
        old: OrdMap<VertexId, Entry<M::Key>>,
        /// The newer generation.
        new: OrdMap<VertexId, Entry<M::Key>>,
        /// Whether it takes part.
        serving: bool,
    },
    /// An acceptor: everything but what replicas will tell it again.
    Acceptor {
        /// Promises and votes.
        ballots: OrdMap<VertexId, Ballot<M::Command>>,
        /// Vertices of which it has forgotten them.
        collected: VertexSet,
        /// Whether it takes part.
        voting: bool,
    },
    /// A replica: what the graph amounted to.
    Replica(Snapshot<M>),
    /// A server: what each of its parts saves, in the order of its parts.
    Server(Vec<Self>),
}

/// What a proposer must not forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProposerSaved {
    /// Round zero may have been used for its own leaders' numbers below.
    pub reserved: u64,
    /// No later round than this was used, for any vertex.
    pub used: Round,
}

type Entries<K> = OrdMap<VertexId, Entry<K>>;
type EntryChanges<K> = Vec<Change<VertexId, Entry<K>>>;

/// What changed between two saves of a dependency node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyDelta<K> {
    forgotten: u64,
    collected: VertexSet,
    serving: bool,
    old: EntryChanges<K>,
    new: EntryChanges<K>,
}

/// The generations of a save as another one with so many forgotten generations would find them: the newer has become the
/// older, or both are gone.
fn aged<K: Ord + Clone>(
    before: Option<(u64, Entries<K>, Entries<K>)>,
    forgotten: u64,
) -> (Entries<K>, Entries<K>) {
    match before {
        Some((then, old, new)) if then == forgotten => (old, new),
        Some((then, _, new)) if then.checked_add(1) == Some(forgotten) => (new, OrdMap::new()),
        _ => (OrdMap::new(), OrdMap::new()),
    }
}

/// What changed between two saves of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum StorageDelta<M: StateMachine> {
    /// Of a leader: numbers given out, and what it saves as a proposer.
    Leader(u64, ProposerSaved),
    /// Of a proposer.
    Proposer(ProposerSaved),
    /// Of a dependency node.
    DependencyNode(DependencyDelta<M::Key>),
    /// Of an acceptor: votes, what is collected, and whether it takes part.
    Acceptor(Vec<Change<VertexId, Ballot<M::Command>>>, VertexSet, bool),
    /// Of a replica: its newer snapshot.
    Replica(SnapshotDelta<M>),
    /// Of a server: of each of its parts.
    Server(Vec<Self>),
}

/// Written as the difference from nothing: what a trace of a recovery holds.
impl<M: StateMachine> Serialize for Storage<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.delta(None).serialize(serializer)
    }
}

impl<'de, M: StateMachine> Deserialize<'de> for Storage<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::patched(None, StorageDelta::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<M: StateMachine> Durable for Storage<M> {
    type Delta = StorageDelta<M>;

    fn delta(&self, before: Option<&Self>) -> StorageDelta<M> {
        match self {
            Self::Leader { reserved, proposer } => StorageDelta::Leader(*reserved, *proposer),
            Self::Proposer(proposer) => StorageDelta::Proposer(*proposer),
            Self::DependencyNode { forgotten, collected, old, new, serving } => {
                let before = match before {
                    Some(Self::DependencyNode { forgotten, old, new, .. }) => {
                        Some((*forgotten, old.clone(), new.clone()))
                    }
                    _ => None,
                };
                let (old_before, new_before) = aged(before, *forgotten);
                StorageDelta::DependencyNode(DependencyDelta {
                    forgotten: *forgotten,
                    collected: collected.clone(),
                    serving: *serving,
                    old: map_changes(&old_before, old),
                    new: map_changes(&new_before, new),
                })
            }
            Self::Acceptor { ballots, collected, voting } => {
                let changes = match before {
                    Some(Self::Acceptor { ballots: before, .. }) => map_changes(before, ballots),
                    _ => map_changes(&OrdMap::new(), ballots),
                };
                StorageDelta::Acceptor(changes, collected.clone(), *voting)
            }
            Self::Replica(snapshot) => StorageDelta::Replica(match before {
                Some(Self::Replica(before)) => snapshot.delta(before),
                _ => snapshot.delta(&Snapshot::default()),
            }),
            Self::Server(parts) => {
                let before = match before {
                    Some(Self::Server(before)) => before.as_slice(),
                    _ => &[],
                };
                let of_part = |(at, part): (usize, &Self)| part.delta(before.get(at));
                StorageDelta::Server(parts.iter().enumerate().map(of_part).collect())
            }
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        Ok(match (delta, before) {
            (StorageDelta::Leader(reserved, proposer), None | Some(Self::Leader { .. })) => {
                Self::Leader { reserved, proposer }
            }
            (StorageDelta::Proposer(proposer), None | Some(Self::Proposer(_))) => Self::Proposer(proposer),
            (StorageDelta::DependencyNode(delta), before @ (None | Some(Self::DependencyNode { .. }))) => {
                let before = match before {
                    Some(Self::DependencyNode { forgotten, old, new, .. }) => Some((forgotten, old, new)),
                    _ => None,
                };
                let (mut old, mut new) = aged(before, delta.forgotten);
                let DependencyDelta { forgotten, collected, serving, old: old_changes, new: new_changes } =
                    delta;
                patch_map(&mut old, old_changes);
                patch_map(&mut new, new_changes);

                Self::DependencyNode { forgotten, collected, old, new, serving }
            }
            (
                StorageDelta::Acceptor(changes, collected, voting),
                before @ (None | Some(Self::Acceptor { .. })),
            ) => {
                let mut ballots = match before {
                    Some(Self::Acceptor { ballots, .. }) => ballots,
                    _ => OrdMap::new(),
                };
                patch_map(&mut ballots, changes);
                Self::Acceptor { ballots, collected, voting }
            }
            (StorageDelta::Replica(delta), before @ (None | Some(Self::Replica(_)))) => {
                let mut snapshot = match before {
                    Some(Self::Replica(snapshot)) => snapshot,
                    _ => Snapshot::default(),
                };
                snapshot.patch(delta);
                Self::Replica(snapshot)
            }
            (StorageDelta::Server(deltas), before @ (None | Some(Self::Server(_)))) => {
                let mut before = match before {
                    Some(Self::Server(before)) if before.len() != deltas.len() => return Err(Mismatch),
                    Some(Self::Server(before)) => before.into_iter().map(Some).collect(),
                    _ => vec![None; deltas.len()],
                };
                let parts = deltas.into_iter().zip(before.drain(..));
                Self::Server(
                    parts.map(|(delta, before)| Self::patched(before, delta)).collect::<Result<_, _>>()?,
                )
            }
            _ => return Err(Mismatch),
        })
    }
}
