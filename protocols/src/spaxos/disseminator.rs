//! The disseminator: has batches stored, and then their ids ordered.
//!
//! It holds on to a batch until it hears in which slot the id was put; so a store, an acknowledgement or an id that gets
//! lost costs a resend and no more. An id that was put into a slot too late stands for nothing: its batch gets another.

use super::Msg;
use super::config::{Role, turn};
use super::ids::BatchId;
use super::mutant::Mutant;
use super::node::{Part, Turn};
use super::storage::{Body, Storage};
use crate::client::ClientMsg;
use crate::command::CommandId;
use crate::compartmentalized::{self as parts, Timer};
use crate::faults::{Faults, is_enough};
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use stateright::actor::{Id, Out};

/// A disseminator's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DisseminatorState<C: Clone> {
    /// How often it was started; saved.
    pub incarnation: u64,
    /// The number of the next id.
    pub next: u64,
    /// All slots that it has heard of are below.
    pub horizon: Slot,
    /// The index of the leader that probably leads.
    pub leader: usize,
    /// The batches whose ids were not ordered yet, as far as it knows, by number.
    pub pending: OrdMap<u64, Pending<C>>,
}

/// A batch whose id was not ordered yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending<C> {
    /// The id.
    pub id: BatchId,
    /// The commands.
    pub batch: Body<C>,
    /// Who has stored it.
    pub stored: NodeSet,
    /// The leader that was asked last to order the id; none while it is not stored by enough.
    pub asked: Option<usize>,
    /// Whether a leader has sent it on since it was sent by the clock; it follows once.
    pub redirected: bool,
}

impl<F: Faults<Mutant>> Part<F> {
    pub(super) fn start_disseminator<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
        out: &mut Out<super::Node<M, F>>,
    ) -> DisseminatorState<M::Command> {
        let incarnation = match storage {
            Some(Storage::Disseminator { incarnation }) => incarnation + 1,
            _ => 0,
        };
        let reuses = self.config.breaks(Mutant::ReuseIdAfterRestart);
        if !reuses && !self.config.breaks(Mutant::OverwriteBatch) && !self.lost_storage {
            out.save(Storage::Disseminator { incarnation });
        }
        DisseminatorState { incarnation, next: 0, horizon: Slot::ZERO, leader: 0, pending: OrdMap::new() }
    }

    pub(super) fn disseminator_ignores<M: StateMachine>(
        &self,
        state: &DisseminatorState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let (role, index) = self.config.layout.role(src);
        let pending = |id: &BatchId| state.pending.get(&id.number).filter(|pending| pending.id == *id);
        match msg {
            Msg::Serve(parts::Msg::Client(ClientMsg::Request(command))) => {
                self.lost_storage || !command.is_sound::<M>(src)
            }
            Msg::Serve(parts::Msg::Commands(_)) => self.lost_storage || role != Role::Batcher,
            Msg::StoreAck { id } => {
                role != Role::Stabilizer
                    || pending(id)
                        .is_none_or(|pending| pending.asked.is_some() || pending.stored.contains(index))
            }
            Msg::Order(parts::Msg::Client(ClientMsg::NotLeader { id, .. })) => {
                let asked = |pending: &Pending<_>| pending.asked == Some(index) && !pending.redirected;
                role != Role::Leader || !state.sent_by(id).is_some_and(asked)
            }
            Msg::Ordered { slot, id } => {
                let from_order = matches!(role, Role::Stabilizer | Role::ProxyLeader);
                !from_order || *slot < state.horizon && pending(id).is_none()
            }
            _ => true,
        }
    }
}

impl<C: Clone> DisseminatorState<C> {
    /// The batch whose id a leader speaks of, in this life.
    fn sent_by(&self, id: &CommandId) -> Option<&Pending<C>> {
        self.pending.get(&id.seq).filter(|_| id.session == self.incarnation)
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, DisseminatorState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Serve(parts::Msg::Client(ClientMsg::Request(command))) => {
                if self.has_room() {
                    self.disseminate([command].into());
                } else {
                    let busy = ClientMsg::Busy { id: command.id };
                    self.send(src, Msg::Serve(parts::Msg::Client(busy)));
                }
            }
            // A batch for which there is no room is dropped: the clients ask again.
            Msg::Serve(parts::Msg::Commands(commands)) if self.has_room() => {
                self.disseminate(commands.into());
            }
            Msg::StoreAck { id } => {
                let (_, stabilizer) = self.config.layout.role(src);
                self.on_store_ack(stabilizer, id);
            }
            Msg::Order(parts::Msg::Client(ClientMsg::NotLeader { id, leader })) => {
                self.on_not_leader(&id, leader);
            }
            Msg::Ordered { slot, id } => self.on_ordered(slot, id),
            _ => {}
        }
    }

    /// Disseminators together have few enough ids outstanding that each finds a slot before it expires. With more, all would
    /// come too late for ever.
    fn has_room(&self) -> bool {
        let disseminators = self.config.layout.disseminators as u64;
        let share = (self.config.lifetime_slots / (2 * disseminators)).max(1);
        let limit = self.config.parts.limits.waiting_commands;
        self.state.pending.len() < usize::try_from(share).map_or(limit, |share| share.min(limit))
    }

    /// Has a batch stored under an id of its own.
    fn disseminate(&mut self, mut batch: Body<M::Command>) {
        if self.breaks(Mutant::RenumberCommands) {
            let renumbered = batch.iter().cloned().map(|mut command| {
                command.id.seq += 1;
                command
            });
            batch = renumbered.collect();
        }
        let id = BatchId {
            expires: self.state.horizon.plus(self.config.lifetime_slots),
            disseminator: self.index,
            incarnation: self.state.incarnation,
            number: self.state.next,
        };
        self.state.next += 1;
        self.store(id, &batch, self.config.first_to_store(id));
        if self.state.pending.is_empty() {
            self.set_timer(Timer::Resend);
        }
        let pending = Pending { id, batch, stored: NodeSet::EMPTY, asked: None, redirected: false };
        self.state.pending.insert(id.number, pending);
    }

    fn store(&mut self, id: BatchId, batch: &Body<M::Command>, stabilizers: NodeSet) {
        for stabilizer in stabilizers.iter() {
            let batch = batch.clone();
            self.send(self.config.layout.stabilizer(stabilizer), Msg::Store { id, batch });
        }
    }

    fn on_store_ack(&mut self, stabilizer: usize, id: BatchId) {
        let one = self.breaks(Mutant::ReadyAfterOneAck);
        let (config, leader) = (self.config, self.state.leader);
        let Some(pending) = self.state.pending.get_mut(&id.number) else { return };
        pending.stored.insert(stabilizer);
        let system = &config.store(id).system;
        let enough =
            is_enough(pending.stored, config.layout.stabilizers, false, |set| system.is_write_quorum(set));
        if enough || one {
            pending.asked = Some(leader);
            self.ask_to_order(id, leader);
        }
    }

    fn ask_to_order(&mut self, id: BatchId, leader: usize) {
        let leader = self.config.layout.parts.id(parts::Role::Leader, leader);
        let command = id.command(self.id);
        self.send(leader, Msg::Order(parts::Msg::Client(ClientMsg::Request(command))));
    }

    fn on_not_leader(&mut self, id: &CommandId, leader: u64) {
        let leader = usize::try_from(leader).map(Id::from).ok();
        let leader = leader.and_then(|leader| self.config.layout.index_in(Role::Leader, leader));
        let Some(pending) = self.state.pending.get_mut(&id.seq) else { return };
        pending.redirected = true;
        if let Some(leader) = leader.filter(|leader| pending.asked != Some(*leader)) {
            pending.asked = Some(leader);
            let id = pending.id;
            self.state.leader = leader;
            self.ask_to_order(id, leader);
        }
    }

    /// The id is in a slot: in time, or its batch needs another.
    fn on_ordered(&mut self, slot: Slot, id: BatchId) {
        self.state.horizon = self.state.horizon.max(slot.next());
        let known = self.state.pending.get(&id.number).is_some_and(|pending| pending.id == id);
        let Some(pending) = known.then(|| self.state.pending.remove(&id.number)).flatten() else { return };
        if slot >= id.expires && !self.breaks(Mutant::ForgetExpired) {
            self.disseminate(pending.batch);
        } else if self.state.pending.is_empty() {
            self.cancel_timer(Timer::Resend);
        }
    }

    /// Sends again what was not answered: a batch to all of its group, a stored one's id to the next leader.
    pub(super) fn on_resend_timeout(&mut self) {
        let leaders = self.config.layout.parts.leaders;
        let limit = self.config.parts.limits.resend_slots;
        let due: Vec<Pending<M::Command>> = self.state.pending.values().take(limit).cloned().collect();
        let unanswered = |pending: &Pending<_>| pending.asked == Some(self.state.leader);
        if due.iter().any(unanswered) {
            self.state.leader = turn(self.state.leader as u64 + 1, leaders);
        }
        let leader = self.state.leader;
        for pending in due {
            if pending.asked.is_some() {
                self.ask_to_order(pending.id, leader);
                let pending = Pending { asked: Some(leader), redirected: false, ..pending };
                self.state.pending.insert(pending.id.number, pending);
            } else {
                let group = self.config.store(pending.id).system.nodes();
                self.store(pending.id, &pending.batch, group.difference(pending.stored));
            }
        }
        if !self.state.pending.is_empty() {
            self.set_timer(Timer::Resend);
        }
    }
}
