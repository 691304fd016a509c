//! What nodes save, and how that is written down as differences.

use crate::durable::{Durable, Mismatch};
use crate::ids::{Round, Slot};
use crate::log::{AcceptorState, Snapshot, SnapshotDelta, VotesDelta};
use crate::state_machine::StateMachine;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a node saves. Maps share structure with the node's state, so a copy is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Storage<M: StateMachine> {
    /// A leader: the last round that it used.
    Leader {
        /// The round.
        round: Round,
    },
    /// An acceptor: everything but what replicas will tell it again.
    Acceptor {
        /// Promise and votes.
        acceptor: AcceptorState<M::Command>,
        /// Votes for slots below are dropped.
        truncated: Slot,
    },
    /// A replica: what the log amounted to.
    Replica(Snapshot<M>),
    /// A read batcher.
    ReadBatcher {
        /// How often it was started before.
        incarnation: u64,
    },
}

/// What changed between two saves of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum StorageDelta<M: StateMachine> {
    /// A leader's new round.
    Leader(Round),
    /// An acceptor's new votes, and how far older ones are dropped.
    Acceptor(VotesDelta<M::Command>, Slot),
    /// A replica's newer snapshot.
    Replica(SnapshotDelta<M>),
    /// A read batcher was started again.
    ReadBatcher(u64),
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
        match (self, before) {
            (Self::Leader { round }, _) => StorageDelta::Leader(*round),
            (Self::Acceptor { acceptor, truncated }, Some(Self::Acceptor { acceptor: before, .. })) => {
                StorageDelta::Acceptor(acceptor.delta(before), *truncated)
            }
            (Self::Acceptor { acceptor, truncated }, _) => {
                StorageDelta::Acceptor(acceptor.delta(&AcceptorState::new(true)), *truncated)
            }
            (Self::Replica(snapshot), Some(Self::Replica(before))) => {
                StorageDelta::Replica(snapshot.delta(before))
            }
            (Self::Replica(snapshot), _) => StorageDelta::Replica(snapshot.delta(&Snapshot::default())),
            (Self::ReadBatcher { incarnation }, _) => StorageDelta::ReadBatcher(*incarnation),
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        Ok(match (delta, before) {
            (StorageDelta::Leader(round), None | Some(Self::Leader { .. })) => Self::Leader { round },
            (StorageDelta::Acceptor(votes, truncated), before @ (None | Some(Self::Acceptor { .. }))) => {
                let mut acceptor = match before {
                    Some(Self::Acceptor { acceptor, .. }) => acceptor,
                    _ => AcceptorState::new(true),
                };
                acceptor.patch(votes, truncated)?;
                Self::Acceptor { acceptor, truncated }
            }
            (StorageDelta::Replica(delta), before @ (None | Some(Self::Replica(_)))) => {
                let mut snapshot = match before {
                    Some(Self::Replica(snapshot)) => snapshot,
                    _ => Snapshot::default(),
                };
                snapshot.patch(delta);
                Self::Replica(snapshot)
            }
            (StorageDelta::ReadBatcher(incarnation), None | Some(Self::ReadBatcher { .. })) => {
                Self::ReadBatcher { incarnation }
            }
            _ => return Err(Mismatch),
        })
    }
}
