//! The acceptor: promises and votes, in any number of configurations, with one promise for all of them.

use super::{Config, Msg, Mutant, Node, Storage};
use crate::faults::Faults;
use crate::matchmaking::Round;
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
    /// It knows that a value is chosen and stored by enough replicas, and votes no more.
    pub persisted: bool,
}

impl<V> Default for AcceptorState<V> {
    fn default() -> Self {
        Self { round: Round::ZERO, vote: None, persisted: false }
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
        match msg {
            Msg::Phase1a { round } => *round < state.round && !self.config.nack,
            Msg::Phase2a { round, .. } => self.refuses(state, *round) && !self.config.nack,
            Msg::Persisted { .. } => false,
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
            Msg::Persisted { round } => {
                if !state.persisted {
                    state.persisted = true;
                    self.save(state, out);
                }
                out.send(proposer, Msg::PersistedAck { round });
            }
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
        if round < state.round {
            out.send(proposer, Msg::Nack { round: state.round });
            return;
        }
        if round > state.round && !self.config.breaks(Mutant::NoPromise) {
            state.round = round;
            self.save(state, out);
        }
        let hides = |vote: &Vote<V>| self.config.breaks(Mutant::RelabelPending) && vote.vote_round == round;
        let vote = state.vote.clone().filter(|vote| !hides(vote));
        out.send(proposer, Msg::Phase1b { round, vote, persisted: state.persisted });
    }

    fn on_phase2a<V: Data>(
        &self,
        state: &mut AcceptorState<V>,
        proposer: Id,
        round: Round,
        value: V,
        out: &mut Out<Node<V, F>>,
    ) {
        if self.refuses(state, round) {
            out.send(proposer, Msg::Nack { round: state.round });
            return;
        }
        if state.persisted {
            out.send(proposer, Msg::Phase2b { round, persisted: true });
            return;
        }
        let vote = Some(Vote { vote_round: round, vote_value: value });
        if state.vote != vote {
            *state = AcceptorState { round, vote, persisted: false };
            self.save(state, out);
        }
        out.send(proposer, Msg::Phase2b { round, persisted: false });
    }

    fn refuses<V>(&self, state: &AcceptorState<V>, round: Round) -> bool {
        round < state.round && !self.config.breaks(Mutant::AcceptLowerRound)
    }

    fn save<V: Data>(&self, state: &AcceptorState<V>, out: &mut Out<Node<V, F>>) {
        if !self.config.breaks(Mutant::AcceptorForgets) {
            out.save(Storage::Acceptor(state.clone()));
        }
    }
}
