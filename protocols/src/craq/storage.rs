//! What a node saves: everything it knows, written as differences.

use super::ChainState;
use crate::command::CommandOf;
use crate::durable::{Change, Durable, Mismatch, map_changes, patch_map};
use crate::sessions::SessionChange;
use crate::state_machine::StateMachine;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a node saves: its whole state.
pub type Storage<M> = ChainState<M>;

/// What changed between two saves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct StorageDelta<M: StateMachine> {
    received: u64,
    committed: u64,
    pending: Vec<Change<u64, CommandOf<M>>>,
    machine: Vec<M::Change>,
    sessions: Vec<SessionChange<M::Output>>,
}

impl<M: StateMachine> Durable for ChainState<M> {
    type Delta = StorageDelta<M>;

    fn delta(&self, before: Option<&Self>) -> StorageDelta<M> {
        let empty = Self::default();
        let before = before.unwrap_or(&empty);
        StorageDelta {
            received: self.received,
            committed: self.committed,
            pending: map_changes(&before.pending, &self.pending),
            machine: self.machine.changes_since(&before.machine),
            sessions: self.sessions.changes_since(&before.sessions),
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        let mut storage = before.unwrap_or_default();
        if delta.received < storage.received || delta.committed < storage.committed {
            return Err(Mismatch);
        }
        (storage.received, storage.committed) = (delta.received, delta.committed);
        patch_map(&mut storage.pending, delta.pending);
        storage.machine.patch(delta.machine);
        storage.sessions.patch(delta.sessions);
        Ok(storage)
    }
}

/// Written as the difference from nothing: what a trace of a recovery holds.
impl<M: StateMachine> Serialize for ChainState<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.delta(None).serialize(serializer)
    }
}

impl<'de, M: StateMachine> Deserialize<'de> for ChainState<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::patched(None, StorageDelta::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
