//! The acceptor: promises and votes, in any number of configurations, with one promise for all of them.

use super::{Config, Msg, Mutant, Node, Role, Storage};
use crate::command::ValueOf;
use crate::faults::Faults;
use crate::ids::Slot;
use crate::log::{self, Stale};
use crate::matchmaking::Round;
use crate::state_machine::StateMachine;
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// An acceptor, as configured.
#[derive(Clone, Debug)]
pub struct Acceptor<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// An acceptor's state, all of which it saves.
pub type AcceptorNode<C> = log::AcceptorNode<C, Round>;

impl<F: Faults<Mutant>> Acceptor<F> {
    /// Where stale rounds are not answered, nothing at all becomes of them.
    pub(super) fn ignores<M: StateMachine>(
        &self,
        state: &AcceptorNode<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let silent = !self.config.bounds.nack;
        let from_server = matches!(self.config.role(src), Some(Role::Server(_)));
        !from_server
            || match msg {
                Msg::Phase1a { round, .. } => silent && *round < state.acceptor.round,
                Msg::Phase2a { round, slot, .. } => {
                    silent && *slot >= state.persisted && self.refuses(state, *round)
                }
                Msg::Persisted(_) => false,
                _ => true,
            }
    }

    pub(super) fn on_msg<M: StateMachine>(
        &self,
        state: &mut AcceptorNode<M::Command>,
        leader: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        match msg {
            Msg::Phase1a { round, from } => self.on_phase1a(state, leader, round, from, out),
            Msg::Phase2a { round, slot, value } => self.on_phase2a(state, leader, round, slot, value, out),
            Msg::Persisted(below) => {
                if state.persist(below) {
                    self.save(state, out);
                }
                out.send(leader, Msg::PersistedAck(state.persisted));
            }
            _ => {}
        }
    }

    /// Promises, and reports a page of votes.
    fn on_phase1a<M: StateMachine>(
        &self,
        state: &mut AcceptorNode<M::Command>,
        leader: Id,
        round: Round,
        from: Slot,
        out: &mut Out<Node<M, F>>,
    ) {
        if round < state.acceptor.round {
            out.send(leader, Msg::Nack { round: state.acceptor.round });
            return;
        }
        if !self.config.breaks(Mutant::NoPromise) && state.promise(round) {
            self.save(state, out);
        }
        let report = state.report::<M>(from, self.config.limits.page());
        out.send(leader, Msg::Phase1b { round, from, report });
    }

    /// Votes, unless the round is stale or the slot is stored already. To another value of a round in which it has voted it says
    /// nothing: a round has one value in a slot.
    fn on_phase2a<M: StateMachine>(
        &self,
        state: &mut AcceptorNode<M::Command>,
        leader: Id,
        round: Round,
        slot: Slot,
        value: ValueOf<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        if state.has_voted_otherwise(round, slot, &value) {
            return;
        }
        match state.vote::<M>(round, slot, value, self.config.breaks(Mutant::AcceptLowerRound)) {
            Err(Stale::Slot(persisted)) => return out.send(leader, Msg::PersistedAck(persisted)),
            Err(Stale::Round(round)) => return out.send(leader, Msg::Nack { round }),
            Ok(true) => self.save(state, out),
            Ok(false) => {}
        }
        out.send(leader, Msg::Phase2b { round, slot });
    }

    fn refuses<C: Clone>(&self, state: &AcceptorNode<C>, round: Round) -> bool {
        round < state.acceptor.round && !self.config.breaks(Mutant::AcceptLowerRound)
    }

    fn save<M: StateMachine>(&self, state: &AcceptorNode<M::Command>, out: &mut Out<Node<M, F>>) {
        if !self.config.breaks(Mutant::AcceptorForgets) {
            out.save(Storage::Acceptor(state.clone()));
        }
    }
}
