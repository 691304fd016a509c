//! What participants save, and how that is written down as differences.

use super::{AcceptorNode, Configured, Entry};
use crate::durable::{Durable, Mismatch};
use crate::ids::Round;
use crate::log::{AcceptorDelta, Snapshot, SnapshotDelta};
use crate::state_machine::StateMachine;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a participant saves. Maps share structure with its state, so a copy is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Storage<M: StateMachine> {
    /// A server.
    Server {
        /// The largest round that it has used.
        used: Option<Round>,
        /// What the log amounted to, configurations included.
        snapshot: Snapshot<Configured<M>>,
    },
    /// All that an acceptor knows.
    Acceptor(AcceptorNode<M>),
}

/// What changed between two saves of one participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum StorageDelta<M: StateMachine> {
    /// The round that a server has used, and its newer snapshot if it has one.
    Server(Option<Round>, Option<SnapshotDelta<Configured<M>>>),
    /// An acceptor's new votes, and how far older ones are dropped.
    Acceptor(AcceptorDelta<Entry<M::Command>>),
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
            (Self::Server { used, snapshot }, Some(Self::Server { snapshot: before, .. })) => {
                let moved = snapshot.slot != before.slot;
                StorageDelta::Server(*used, moved.then(|| snapshot.delta(before)))
            }
            (Self::Server { used, snapshot }, _) => {
                StorageDelta::Server(*used, Some(snapshot.delta(&Snapshot::default())))
            }
            (Self::Acceptor(after), Some(Self::Acceptor(before))) => {
                StorageDelta::Acceptor(after.delta(Some(before)))
            }
            (Self::Acceptor(after), _) => StorageDelta::Acceptor(after.delta(None)),
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        Ok(match (delta, before) {
            (StorageDelta::Server(used, moved), before @ (None | Some(Self::Server { .. }))) => {
                let (last, mut snapshot) = match before {
                    Some(Self::Server { used, snapshot }) => (used, snapshot),
                    _ => (None, Snapshot::default()),
                };
                if used < last {
                    return Err(Mismatch);
                }
                if let Some(moved) = moved {
                    snapshot.patch(moved);
                }
                Self::Server { used, snapshot }
            }
            (StorageDelta::Acceptor(delta), None) => Self::Acceptor(AcceptorNode::<M>::patched(None, delta)?),
            (StorageDelta::Acceptor(delta), Some(Self::Acceptor(before))) => {
                Self::Acceptor(AcceptorNode::<M>::patched(Some(before), delta)?)
            }
            _ => return Err(Mismatch),
        })
    }
}
