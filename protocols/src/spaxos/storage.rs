//! What nodes save, and how that is written down as differences.

use super::ids::{BatchId, Ids};
use crate::command::Command;
use crate::compartmentalized as parts;
use crate::durable::{Change, Durable, Mismatch, map_changes, patch_map};
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

/// The commands that an id stands for.
pub type Body<C> = Arc<[Command<C>]>;

/// What a stabilizer stores.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store<C: Clone> {
    /// Batches by id, and so in the order in which they expire.
    pub batches: OrdMap<BatchId, Body<C>>,
    /// Enough replicas have saved all slots below: batches whose ids stand for them in no later slot are dropped.
    pub truncated: Slot,
}

impl<C: Clone> Default for Store<C> {
    fn default() -> Self {
        Self { batches: OrdMap::new(), truncated: Slot::ZERO }
    }
}

impl<C: Clone> Store<C> {
    /// Drops the batches whose ids have expired at a slot.
    pub(super) fn drop_expired(&mut self, slot: Slot) {
        while self.batches.get_min().is_some_and(|(id, _)| id.expires <= slot) {
            self.batches = self.batches.without_min().1;
        }
    }
}

/// What a node saves. Maps share structure with the node's state, so a copy is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Storage<M: StateMachine> {
    /// A leader or an acceptor.
    Order(parts::Storage<Ids>),
    /// A replica or a read batcher.
    Serve(parts::Storage<M>),
    /// A disseminator.
    Disseminator {
        /// How often it was started before.
        incarnation: u64,
    },
    /// A stabilizer.
    Stabilizer(Store<M::Command>),
}

/// What changed between two saves of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum StorageDelta<M: StateMachine> {
    /// Of a leader or an acceptor.
    Order(parts::StorageDelta<Ids>),
    /// Of a replica or a read batcher.
    Serve(parts::StorageDelta<M>),
    /// A disseminator was started again.
    Disseminator(u64),
    /// A stabilizer's new batches, and how far older ones are dropped.
    Stabilizer(Vec<(BatchId, Body<M::Command>)>, Slot),
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
            (Self::Order(storage), Some(Self::Order(before))) => {
                StorageDelta::Order(storage.delta(Some(before)))
            }
            (Self::Order(storage), _) => StorageDelta::Order(storage.delta(None)),
            (Self::Serve(storage), Some(Self::Serve(before))) => {
                StorageDelta::Serve(storage.delta(Some(before)))
            }
            (Self::Serve(storage), _) => StorageDelta::Serve(storage.delta(None)),
            (Self::Disseminator { incarnation }, _) => StorageDelta::Disseminator(*incarnation),
            (Self::Stabilizer(store), before) => {
                let nothing = OrdMap::new();
                let before = match before {
                    Some(Self::Stabilizer(before)) => &before.batches,
                    _ => &nothing,
                };
                let changes = map_changes(before, &store.batches).into_iter();
                let stored = changes.filter_map(|change| match change {
                    Change::Put(id, batch) => Some((id, batch)),
                    Change::Remove(_) => None,
                });
                StorageDelta::Stabilizer(stored.collect(), store.truncated)
            }
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        Ok(match (delta, before) {
            (StorageDelta::Order(delta), None) => Self::Order(parts::Storage::patched(None, delta)?),
            (StorageDelta::Order(delta), Some(Self::Order(before))) => {
                Self::Order(parts::Storage::patched(Some(before), delta)?)
            }
            (StorageDelta::Serve(delta), None) => Self::Serve(parts::Storage::patched(None, delta)?),
            (StorageDelta::Serve(delta), Some(Self::Serve(before))) => {
                Self::Serve(parts::Storage::patched(Some(before), delta)?)
            }
            (StorageDelta::Disseminator(incarnation), None | Some(Self::Disseminator { .. })) => {
                Self::Disseminator { incarnation }
            }
            (StorageDelta::Stabilizer(stored, truncated), before @ (None | Some(Self::Stabilizer(_)))) => {
                let mut store = match before {
                    Some(Self::Stabilizer(store)) => store,
                    _ => Store::default(),
                };
                if truncated < store.truncated {
                    return Err(Mismatch);
                }
                store.truncated = truncated;
                store.drop_expired(truncated);
                let stored = stored.into_iter().map(|(id, batch)| Change::Put(id, batch));
                patch_map(&mut store.batches, stored.collect());
                Self::Stabilizer(store)
            }
            _ => return Err(Mismatch),
        })
    }
}
