//! What participants save, and how that is written down as differences.

use super::{AcceptorNode, Announced, MatchmakerNode};
use crate::durable::{Durable, Mismatch};
use crate::log::{AcceptorDelta, Snapshot, SnapshotDelta};
use crate::matchmaking::{Epoch, NodeDelta, Round};
use crate::state_machine::StateMachine;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a participant saves. Maps share structure with its state, so a copy is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Storage<M: StateMachine> {
    /// A server.
    Server {
        /// What it must know of rounds, acceptors and matchmakers.
        kept: Kept,
        /// What the log amounted to.
        snapshot: Snapshot<M>,
    },
    /// All that a matchmaker knows.
    Matchmaker(MatchmakerNode),
    /// All that an acceptor knows.
    Acceptor(AcceptorNode<M::Command>),
}

/// What a server must not forget besides the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Kept {
    /// The largest round that it has used.
    pub used: Option<Round>,
    /// The largest ballot that it has used, or heard of, on who follows the present matchmakers.
    pub ballot: Option<Round>,
    /// The newest configuration that it knows.
    pub known: Announced,
    /// The newest epoch that it knows to be chosen.
    pub epoch: Epoch,
}

/// What changed between two saves of one participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum StorageDelta<M: StateMachine> {
    /// What a server keeps, and its newer snapshot if it has one.
    Server(Kept, Option<SnapshotDelta<M>>),
    /// A matchmaker's epoch and log.
    Matchmaker(NodeDelta<Announced>),
    /// An acceptor's new votes, and how far older ones are dropped.
    Acceptor(AcceptorDelta<M::Command, Round>),
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
            (Self::Server { kept, snapshot }, Some(Self::Server { snapshot: before, .. })) => {
                let moved = snapshot.slot != before.slot;
                StorageDelta::Server(kept.clone(), moved.then(|| snapshot.delta(before)))
            }
            (Self::Server { kept, snapshot }, _) => {
                StorageDelta::Server(kept.clone(), Some(snapshot.delta(&Snapshot::default())))
            }
            (Self::Matchmaker(after), Some(Self::Matchmaker(before))) => {
                StorageDelta::Matchmaker(after.delta(Some(before)))
            }
            (Self::Matchmaker(after), _) => StorageDelta::Matchmaker(after.delta(None)),
            (Self::Acceptor(after), Some(Self::Acceptor(before))) => {
                StorageDelta::Acceptor(after.delta(Some(before)))
            }
            (Self::Acceptor(after), _) => StorageDelta::Acceptor(after.delta(None)),
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        Ok(match (delta, before) {
            (StorageDelta::Server(kept, moved), before @ (None | Some(Self::Server { .. }))) => {
                let (last, mut snapshot) = match before {
                    Some(Self::Server { kept, snapshot }) => (kept.used, snapshot),
                    _ => (None, Snapshot::default()),
                };
                if kept.used < last {
                    return Err(Mismatch);
                }
                if let Some(moved) = moved {
                    snapshot.patch(moved);
                }
                Self::Server { kept, snapshot }
            }
            (StorageDelta::Matchmaker(delta), None) => {
                Self::Matchmaker(MatchmakerNode::patched(None, delta)?)
            }
            (StorageDelta::Matchmaker(delta), Some(Self::Matchmaker(before))) => {
                Self::Matchmaker(MatchmakerNode::patched(Some(before), delta)?)
            }
            (StorageDelta::Acceptor(delta), None) => Self::Acceptor(AcceptorNode::patched(None, delta)?),
            (StorageDelta::Acceptor(delta), Some(Self::Acceptor(before))) => {
                Self::Acceptor(AcceptorNode::patched(Some(before), delta)?)
            }
            _ => return Err(Mismatch),
        })
    }
}
