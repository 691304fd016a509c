//! The stabilizer: stores batches, and passes those on to replicas whose ids were chosen.
//!
//! It stores a batch before it says so, and never another one under the same id. A batch is dropped when enough replicas
//! have saved all slots in which its id could stand for it: whoever comes later gets a snapshot from those.

use super::Msg;
use super::config::Role;
use super::ids::BatchId;
use super::mutant::Mutant;
use super::node::{Part, Turn};
use super::storage::{Body, Storage, Store};
use crate::command::Value;
use crate::compartmentalized::{self as parts, Timer};
use crate::faults::Faults;
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use im::{OrdMap, OrdSet};
use parthood_quorums::NodeSet;
use stateright::actor::Id;

/// A stabilizer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StabilizerState<C: Clone> {
    /// What it stores; saved.
    pub store: Store<C>,
    /// Whether it may store at all. One that lost its disk has forgotten what others count on.
    pub storing: bool,
    /// How far each replica has saved what the log amounts to. Not saved: replicas tell again.
    pub saves: OrdMap<usize, Slot>,
    /// Chosen ids whose batches it lacks, and the slots that wait for them.
    pub wanted: OrdSet<(BatchId, Slot)>,
}

impl<C: Clone> StabilizerState<C> {
    fn wants(&self, id: BatchId) -> impl Iterator<Item = Slot> + '_ {
        let waiting = self.wanted.range((id, Slot::ZERO)..).take_while(move |(wanted, _)| *wanted == id);
        waiting.map(|(_, slot)| *slot)
    }
}

impl<F: Faults<Mutant>> Part<F> {
    pub(super) fn start_stabilizer<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
    ) -> StabilizerState<M::Command> {
        let store = match storage {
            Some(Storage::Stabilizer(store)) => store.clone(),
            _ => Store::default(),
        };
        StabilizerState { store, storing: !self.lost_storage, saves: OrdMap::new(), wanted: OrdSet::new() }
    }

    pub(super) fn stabilizer_ignores<M: StateMachine>(
        &self,
        state: &StabilizerState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let config = &self.config;
        let (role, index) = config.layout.role(src);
        let stored_here = |id: &BatchId| config.store(*id).system.nodes().contains(self.index);
        let dropped = |id: &BatchId| id.expires <= state.store.truncated;
        match msg {
            Msg::Store { id, .. } => {
                let own = role == Role::Disseminator && id.disseminator == index;
                let quiet = dropped(id) && config.breaks(Mutant::QuietAboutExpired);
                !own || !state.storing || !stored_here(id) || quiet
            }
            Msg::ChosenId { id, .. } => role != Role::ProxyLeader || dropped(id),
            Msg::Fetch { id } => role != Role::Stabilizer || !state.store.batches.contains_key(id),
            Msg::Fetched { id, .. } => role != Role::Stabilizer || state.wants(*id).next().is_none(),
            Msg::Serve(parts::Msg::Saved(slot)) => {
                role != Role::Replica || state.saves.get(&index).is_some_and(|known| known >= slot)
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, StabilizerState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Store { id, batch } => self.on_store(src, id, &batch),
            Msg::ChosenId { slot, id } => self.on_chosen_id(slot, id),
            Msg::Fetch { id } => {
                if let Some(batch) = self.state.store.batches.get(&id).cloned() {
                    self.send(src, Msg::Fetched { id, batch });
                }
            }
            Msg::Fetched { id, batch } => self.pass_on_wanted(id, &batch),
            Msg::Serve(parts::Msg::Saved(slot)) => {
                let (_, replica) = self.config.layout.role(src);
                self.on_saved(replica, slot);
            }
            _ => {}
        }
    }

    fn save(&mut self) {
        if !self.breaks(Mutant::NoStoreSave) {
            self.out.save(Storage::Stabilizer(self.state.store.clone()));
        }
    }

    /// Stores a batch, if there is room, and says so. One whose id came too late needs another, which a disseminator that
    /// has heard of no slot for long must be told.
    fn on_store(&mut self, disseminator: Id, id: BatchId, batch: &Body<M::Command>) {
        let slot = self.state.store.truncated;
        if id.expires <= slot {
            self.send(disseminator, Msg::Ordered { slot, id });
            return;
        }
        let limit = usize::try_from(self.config.parts.limits.votes).unwrap_or(usize::MAX);
        let known = self.state.store.batches.contains_key(&id);
        if !known || self.breaks(Mutant::OverwriteBatch) {
            if self.state.store.batches.len() >= limit {
                return;
            }
            self.state.store.batches.insert(id, batch.clone());
            self.save();
        }
        self.send(disseminator, Msg::StoreAck { id });
        self.pass_on_wanted(id, batch);
    }

    /// Passes a chosen batch on, or asks those for it who store it.
    fn on_chosen_id(&mut self, slot: Slot, id: BatchId) {
        let limit = usize::try_from(self.config.parts.limits.window_slots).unwrap_or(usize::MAX);
        if let Some(batch) = self.state.store.batches.get(&id).cloned() {
            self.pass_on(slot, id, &batch);
        } else if self.breaks(Mutant::NoopWithoutBatch) {
            self.tell_replicas(slot, &Value::Noop);
        } else if self.state.wanted.len() < limit && !self.breaks(Mutant::NoFetch) {
            if self.state.wanted.is_empty() {
                self.set_timer(Timer::Resend);
            }
            self.state.wanted.insert((id, slot));
            self.fetch(id, self.config.first_to_fetch(id));
        }
    }

    fn pass_on(&mut self, slot: Slot, id: BatchId, batch: &Body<M::Command>) {
        self.tell_replicas(slot, &Value::Batch(batch.clone()));
        self.send(self.config.layout.disseminator(id.disseminator), Msg::Ordered { slot, id });
    }

    fn tell_replicas(&mut self, slot: Slot, value: &Value<M::Command>) {
        for replica in self.config.layout.parts.ids(parts::Role::Replica) {
            let chosen = parts::Msg::Chosen { from: slot, values: vec![value.clone()] };
            self.send(replica, Msg::Serve(chosen));
        }
    }

    fn pass_on_wanted(&mut self, id: BatchId, batch: &Body<M::Command>) {
        let slots: Vec<Slot> = self.state.wants(id).collect();
        for slot in &slots {
            self.state.wanted.remove(&(id, *slot));
            self.pass_on(*slot, id, batch);
        }
        if !slots.is_empty() && self.state.wanted.is_empty() {
            self.cancel_timer(Timer::Resend);
        }
    }

    fn fetch(&mut self, id: BatchId, stabilizers: NodeSet) {
        for stabilizer in stabilizers.without(self.index).iter() {
            self.send(self.config.layout.stabilizer(stabilizer), Msg::Fetch { id });
        }
    }

    /// Asks all of the group for what did not come.
    pub(super) fn on_resend_timeout(&mut self) {
        let limit = self.config.parts.limits.resend_slots;
        for (id, _) in self.state.wanted.clone().iter().take(limit) {
            self.fetch(*id, self.config.store(*id).system.nodes());
        }
        if !self.state.wanted.is_empty() {
            self.set_timer(Timer::Resend);
        }
    }

    /// Drops the batches of ids that cannot stand for them any more in a slot that enough replicas have not saved.
    fn on_saved(&mut self, replica: usize, slot: Slot) {
        let needed = self.config.parts.saves_needed.max(1);
        self.state.saves.insert(replica, slot);
        let mut slots: Vec<Slot> = self.state.saves.values().copied().collect();
        slots.sort_unstable();
        let Some(end) = slots.len().checked_sub(needed).map(|at| slots[at]) else { return };
        if end <= self.state.store.truncated {
            return;
        }
        self.state.store.truncated = end;
        let early = if self.breaks(Mutant::DropUnexpired) { self.config.lifetime_slots } else { 0 };
        self.state.store.drop_expired(end.plus(early));
        while self.state.wanted.get_min().is_some_and(|(id, _)| id.expires <= end) {
            self.state.wanted = self.state.wanted.without_min().1;
        }
        self.save();
    }
}
