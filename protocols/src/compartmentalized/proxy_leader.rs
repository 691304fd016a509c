//! The proxy leader: broadcasts a proposal, counts votes, tells the replicas. It forgets a slot when it is chosen, and
//! everything when it restarts; what is lost with it is recovered.

use super::config::Role;
use super::mutant::Mutant;
use super::node::{Part, Turn};
use super::{Msg, Timer};
use crate::command::{Value, ValueOf};
use crate::faults::{Faults, is_enough};
use crate::ids::{Round, Slot};
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use stateright::actor::Id;

/// A proxy leader's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyState<C: Clone> {
    /// The round of all that it works on. What earlier rounds proposed, the leader of this one has proposed again, or found
    /// that it can never be chosen: it may be forgotten.
    pub round: Round,
    /// What is not known to be chosen.
    pub pending: OrdMap<Slot, Pending<C>>,
}

/// A value that is being voted on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pending<C> {
    /// The value.
    pub value: Value<C>,
    /// The acceptors that voted for it in the round.
    pub voted: NodeSet,
}

impl<C: Clone> Default for ProxyState<C> {
    fn default() -> Self {
        Self { round: Round::ZERO, pending: OrdMap::new() }
    }
}

impl<F: Faults<Mutant>> Part<F> {
    pub(super) fn proxy_ignores<M: StateMachine>(
        &self,
        state: &ProxyState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let config = &self.config;
        let (role, index) = config.layout.role(src);
        match msg {
            Msg::Phase2a { round, .. } => role != Role::Leader || *round < state.round && !config.bounds.nack,
            Msg::Phase2b { round, slot } => {
                let any_round = config.breaks(Mutant::MergeRounds);
                let pending = state.pending.get(slot);
                role != Role::Acceptor
                    || *round != state.round && !any_round
                    || pending.is_none_or(|pending| pending.voted.contains(index))
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, ProxyState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Phase2a { round, slot, value } => self.on_phase2a(src, round, slot, &value),
            Msg::Phase2b { slot, .. } => {
                let (_, acceptor) = self.layout().role(src);
                self.on_phase2b(acceptor, slot);
            }
            _ => {}
        }
    }

    fn on_phase2a(&mut self, leader: Id, round: Round, slot: Slot, value: &ValueOf<M>) {
        if round < self.state.round {
            let round = self.state.round;
            self.send(leader, Msg::Nack { round });
            return;
        }
        let mut voted = NodeSet::EMPTY;
        if round > self.state.round {
            if self.breaks(Mutant::MergeRounds) {
                voted = self.state.pending.remove(&slot).map_or(voted, |pending| pending.voted);
            } else {
                self.state.pending.clear();
            }
            self.state.round = round;
        }
        let limit = usize::try_from(self.config.limits.window_slots).unwrap_or(usize::MAX);
        if self.state.pending.contains_key(&slot) || self.state.pending.len() >= limit {
            return;
        }
        if self.state.pending.is_empty() {
            self.set_timer(Timer::Resend);
        }
        self.state.pending.insert(slot, Pending { value: value.clone(), voted });
        let writers = self.config.writers(slot, round);
        self.propose(writers, slot, value);
    }

    fn propose(&mut self, acceptors: NodeSet, slot: Slot, value: &ValueOf<M>) {
        let (round, layout) = (self.state.round, self.layout());
        for acceptor in acceptors.iter() {
            let value = value.clone();
            self.send(layout.id(Role::Acceptor, acceptor), Msg::Phase2a { round, slot, value });
        }
    }

    fn on_phase2b(&mut self, acceptor: usize, slot: Slot) {
        let one_short = self.breaks(Mutant::WriteQuorumShort);
        let config = self.config;
        let Some(pending) = self.state.pending.get_mut(&slot) else { return };
        pending.voted.insert(acceptor);
        let system = &config.group(slot).system;
        let enough =
            is_enough(pending.voted, config.layout.acceptors, one_short, |set| system.is_write_quorum(set));
        if let Some(pending) = enough.then(|| self.state.pending.remove(&slot)).flatten() {
            let chosen = Msg::Chosen { from: slot, values: vec![pending.value] };
            self.send_to_all(Role::Replica, None, &chosen);
            if self.state.pending.is_empty() {
                self.cancel_timer(Timer::Resend);
            }
        }
    }

    /// Proposes again to all acceptors of the group what was not answered.
    pub(super) fn on_resend_timeout(&mut self) {
        let limit = self.config.limits.resend_slots;
        for (slot, pending) in self.state.pending.clone().iter().take(limit) {
            let group = self.config.group(*slot).system.nodes();
            self.propose(group.difference(pending.voted), *slot, &pending.value);
        }
        if !self.state.pending.is_empty() {
            self.set_timer(Timer::Resend);
        }
    }
}
