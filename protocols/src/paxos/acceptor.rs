//! The acceptor: promises and votes, and saves both before it says so.

use super::{Config, Msg, Mutant, Node, Storage};
use crate::faults::Faults;
use crate::ids::Round;
use crate::state_machine::Data;
use serde::{Deserialize, Serialize};
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// An acceptor, as configured.
#[derive(Clone, Debug)]
pub struct Acceptor<F> {
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// An acceptor's state, all of which it saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AcceptorState<V> {
    /// It ignores smaller rounds.
    pub round: Round,
    /// Its last vote.
    pub vote: Option<Vote<V>>,
}

impl<V> Default for AcceptorState<V> {
    fn default() -> Self {
        Self { round: Round::ZERO, vote: None }
    }
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vote<V> {
    /// The round it was cast in.
    pub vote_round: Round,
    /// The value it was cast for.
    pub vote_value: V,
}

impl<F: Faults<Mutant>> Acceptor<F> {
    /// Where stale rounds are not answered, nothing at all becomes of them.
    pub(super) fn ignores<V: Data>(&self, state: &AcceptorState<V>, msg: &Msg<V>) -> bool {
        let Config { nack, faults, .. } = &*self.config;
        match msg {
            Msg::Phase1a { round } => {
                *round < state.round && !nack && !faults.breaks(Mutant::AnswerStalePhase1)
            }
            Msg::Phase2a { round, .. } => {
                *round < state.round && !nack && !faults.breaks(Mutant::AcceptLowerRound)
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<V: Data>(
        &self,
        state: &mut AcceptorState<V>,
        proposer: Id,
        msg: Msg<V>,
        out: &mut Out<Node<V, F>>,
    ) {
        match msg {
            Msg::Phase1a { round } => self.on_phase1a(state, proposer, round, out),
            Msg::Phase2a { round, value } => self.on_phase2a(state, proposer, round, value, out),
            _ => {}
        }
    }

    fn on_phase1a<V: Data>(
        &self,
        state: &mut AcceptorState<V>,
        proposer: Id,
        round: Round,
        out: &mut Out<Node<V, F>>,
    ) {
        let faults = self.config.faults;
        if round < state.round && !faults.breaks(Mutant::AnswerStalePhase1) {
            self.nack(state, proposer, out);
            return;
        }
        if round > state.round && !faults.breaks(Mutant::NoPromise) {
            state.round = round;
            self.save(state, out);
        }
        out.send(proposer, Msg::Phase1b { round, vote: state.vote.clone() });
    }

    fn on_phase2a<V: Data>(
        &self,
        state: &mut AcceptorState<V>,
        proposer: Id,
        round: Round,
        value: V,
        out: &mut Out<Node<V, F>>,
    ) {
        if round < state.round && !self.config.faults.breaks(Mutant::AcceptLowerRound) {
            self.nack(state, proposer, out);
            return;
        }
        let vote = Some(Vote { vote_round: round, vote_value: value });
        if state.vote != vote {
            *state = AcceptorState { round, vote };
            self.save(state, out);
        }
        out.send(proposer, Msg::Phase2b { round });
    }

    fn nack<V: Data>(&self, state: &AcceptorState<V>, proposer: Id, out: &mut Out<Node<V, F>>) {
        if self.config.nack {
            out.send(proposer, Msg::Nack { round: state.round });
        }
    }

    fn save<V: Data>(&self, state: &AcceptorState<V>, out: &mut Out<Node<V, F>>) {
        if !self.config.faults.breaks(Mutant::AcceptorForgets) {
            out.save(Storage::Acceptor(state.clone()));
        }
    }
}
