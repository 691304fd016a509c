//! What a server saves: promises, votes and a snapshot; and how that is written down as differences.

use super::acceptor::{AcceptorState, Vote};
use super::leader::Leadership;
use super::replica::ReplicaState;
use super::server::ServerState;
use super::snapshot::{Snapshot, Transfer};
use crate::durable::{Change, Durable, Mismatch, map_changes, patch_map};
use crate::ids::{Round, Slot};
use crate::sessions::{SessionChange, Sessions};
use crate::state_machine::StateMachine;
use im::OrdMap;
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

impl<M: StateMachine> From<Transfer<M>> for Snapshot<M> {
    fn from(transfer: Transfer<M>) -> Self {
        Self { slot: transfer.slot, machine: transfer.machine, sessions: transfer.sessions }
    }
}

/// What changed between two saves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct StorageDelta<M: StateMachine> {
    round: Round,
    voting: bool,
    vote_watermark: Option<Slot>,
    /// New votes; dropped ones follow from the snapshot.
    votes: Vec<(Slot, Vote<M::Command>)>,
    snapshot: Option<SnapshotDelta<M>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
struct SnapshotDelta<M: StateMachine> {
    slot: Slot,
    machine: Vec<M::Change>,
    sessions: Vec<SessionChange<M::Output>>,
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
        Self {
            acceptor: AcceptorState {
                round: Round::ZERO,
                votes: OrdMap::new(),
                vote_watermark: None,
                voting: true,
            },
            snapshot: Snapshot { slot: Slot::ZERO, machine: M::default(), sessions: Sessions::default() },
        }
    }
}

impl<M: StateMachine> Durable for Storage<M> {
    type Delta = StorageDelta<M>;

    fn delta(&self, before: Option<&Self>) -> StorageDelta<M> {
        let empty = Self::default();
        let first = before.is_none();
        let before = before.unwrap_or(&empty);
        let votes = map_changes(&before.acceptor.votes, &self.acceptor.votes);
        let moved = first || self.snapshot.slot != before.snapshot.slot;
        StorageDelta {
            round: self.acceptor.round,
            voting: self.acceptor.voting,
            vote_watermark: self.acceptor.vote_watermark,
            votes: votes
                .into_iter()
                .filter_map(|change| match change {
                    Change::Put(slot, vote) => Some((slot, vote)),
                    Change::Remove(_) => None,
                })
                .collect(),
            snapshot: moved.then(|| SnapshotDelta {
                slot: self.snapshot.slot,
                machine: self.snapshot.machine.changes_since(&before.snapshot.machine),
                sessions: self.snapshot.sessions.changes_since(&before.snapshot.sessions),
            }),
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        let mut storage = before.unwrap_or_default();
        let AcceptorState { round, votes, vote_watermark, voting } = &mut storage.acceptor;
        if delta.round < *round || delta.vote_watermark < *vote_watermark {
            return Err(Mismatch);
        }
        *round = delta.round;
        *voting = delta.voting;
        *vote_watermark = delta.vote_watermark;
        if let Some(moved) = delta.snapshot {
            storage.snapshot.slot = moved.slot;
            storage.snapshot.machine.patch(moved.machine);
            storage.snapshot.sessions.patch(moved.sessions);
            while votes.get_min().is_some_and(|(slot, _)| *slot < moved.slot) {
                *votes = votes.without_min().1;
            }
        }
        patch_map(votes, delta.votes.into_iter().map(|(slot, vote)| Change::Put(slot, vote)).collect());
        Ok(storage)
    }
}
