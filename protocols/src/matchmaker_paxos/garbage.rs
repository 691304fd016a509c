//! What a proposer does about a chosen value and about retired configurations.

use super::{Msg, Mutant, Node, Phase, Proposer, ProposerState};
use crate::faults::Faults;
use crate::matchmaking::Round;
use crate::state_machine::Data;
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::Out;

/// How far the garbage collection of a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Garbage {
    /// Nothing allows it yet.
    Idle,
    /// The matchmakers are told; these have retired what is below.
    Asked(NodeSet),
    /// What is below is retired: its acceptors may be switched off.
    Done,
}

type Say<'a, V, F> = &'a mut Out<Node<V, F>>;

impl<F: Faults<Mutant>> Proposer<F> {
    /// Has the matchmakers forget what is below its round. Below the first round there is nothing.
    pub(super) fn collect<V: Data>(&self, state: &mut ProposerState<V>, out: Say<'_, V, F>) {
        if state.garbage != Garbage::Idle {
            return;
        }
        if state.used == Some(Round::ZERO) {
            state.garbage = Garbage::Done;
            return;
        }
        state.garbage = Garbage::Asked(NodeSet::EMPTY);
        self.ask_to_retire(state, out);
        self.set_timer(state, out);
    }

    /// Tells, or tells again, the matchmakers that have not confirmed.
    pub(super) fn ask_to_retire<V: Data>(&self, state: &ProposerState<V>, out: Say<'_, V, F>) {
        if let (Garbage::Asked(confirmed), Some(round)) = (state.garbage, state.used) {
            self.ask_matchmakers(confirmed, &Msg::GarbageA { round }, out);
        }
    }

    pub(super) fn on_garbage_b<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        matchmaker: usize,
        out: Say<'_, V, F>,
    ) {
        let Garbage::Asked(confirmed) = &mut state.garbage else { return };
        confirmed.insert(matchmaker);
        if self.config.is_enough(*confirmed, false) {
            state.garbage = Garbage::Done;
            if state.rests() {
                self.set_timer(state, out);
            }
        }
    }

    /// A value is chosen, in whatever round: tells the clients, and sees to it that it is kept.
    pub(super) fn learn<V: Data>(&self, state: &mut ProposerState<V>, value: V, out: Say<'_, V, F>) {
        for (client, _) in state.clients.drain(..) {
            if !self.config.breaks(Mutant::SilentProposer) {
                out.send(client, Msg::Chosen(value.clone()));
            }
        }
        if self.config.scenarios.persisted {
            self.enter(state, Phase::Storing { value, stored: NodeSet::EMPTY }, out);
        } else {
            self.enter(state, Phase::Done(value), out);
        }
    }

    pub(super) fn on_stored<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        replica: usize,
        out: Say<'_, V, F>,
    ) {
        let Phase::Storing { value, stored } = &mut state.phase else { return };
        stored.insert(replica);
        if self.config.is_enough(*stored, self.config.breaks(Mutant::PersistTooEarly)) {
            let value = value.clone();
            self.enter(state, Phase::Persisting { value, noted: NodeSet::EMPTY }, out);
            if self.config.breaks(Mutant::CollectBeforePersisted) {
                self.collect(state, out);
            }
        }
    }

    pub(super) fn on_persisted_ack<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        acceptor: usize,
        out: Say<'_, V, F>,
    ) {
        let (Phase::Persisting { value, noted }, Some(round)) = (&mut state.phase, state.used) else {
            return;
        };
        noted.insert(acceptor);
        if self.configuration(round).is_write_quorum(*noted) {
            let value = value.clone();
            self.collect(state, out);
            self.enter(state, Phase::Done(value), out);
        }
    }
}
