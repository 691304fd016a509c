//! What a server saves: promises, votes and a snapshot; and how that is written down as differences.

use super::leader::Leadership;
use super::server::ServerState;
use crate::durable::{Durable, Mismatch};
use crate::log::{AcceptorState, ReplicaState, Snapshot, SnapshotDelta, VotesDelta};
use crate::state_machine::StateMachine;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a server saves. Its maps share structure with the server's state, so a copy is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Storage<M: StateMachine> {
    /// All that the acceptor knows.
    pub acceptor: AcceptorState<M::Command>,
    /// What the dropped votes were for.
    pub snapshot: Snapshot<M>,
}

impl<M: StateMachine> Storage<M> {
    /// What this state must not forget.
    pub(super) fn of(state: &ServerState<M>) -> Self {
        Self { acceptor: state.acceptor.clone(), snapshot: state.replica.snapshot.clone() }
    }

    /// The state after a restart.
    pub(super) fn restore(&self) -> ServerState<M> {
        ServerState {
            acceptor: self.acceptor.clone(),
            leadership: Leadership::Follower,
            replica: ReplicaState::at(self.snapshot.clone()),
        }
    }
}

/// What changed between two saves; dropped votes follow from the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct StorageDelta<M: StateMachine> {
    votes: VotesDelta<M::Command>,
    snapshot: Option<SnapshotDelta<M>>,
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

impl<M: StateMachine> Default for Storage<M> {
    fn default() -> Self {
        Self { acceptor: AcceptorState::new(true), snapshot: Snapshot::default() }
    }
}

impl<M: StateMachine> Durable for Storage<M> {
    type Delta = StorageDelta<M>;

    fn delta(&self, before: Option<&Self>) -> StorageDelta<M> {
        let empty = Self::default();
        let first = before.is_none();
        let before = before.unwrap_or(&empty);
        let moved = first || self.snapshot.slot != before.snapshot.slot;
        StorageDelta {
            votes: self.acceptor.delta(&before.acceptor),
            snapshot: moved.then(|| self.snapshot.delta(&before.snapshot)),
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        let mut storage = before.unwrap_or_default();
        if let Some(moved) = delta.snapshot {
            storage.snapshot.patch(moved);
        }
        storage.acceptor.patch(delta.votes, storage.snapshot.slot)?;
        Ok(storage)
    }
}
