//! The proposer: gets one value chosen, and tells its clients which.

use super::{Config, Msg, Mutant, Node, State, Storage, Timer, Vote};
use crate::faults::{Faults, is_enough};
use crate::ids::Round;
use crate::state_machine::Data;
use parthood_quorums::NodeSet;
use stateright::actor::{Id, Out};
use std::borrow::Cow;
use std::sync::Arc;

/// The most clients that a proposer keeps waiting; the others ask again.
const CLIENTS_WAITING_MAX: usize = 1024;

/// A proposer, as configured.
#[derive(Clone, Debug)]
pub struct Proposer<F> {
    /// Its number, from 0.
    pub index: usize,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A proposer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProposerState<V> {
    /// The largest round that it has used; saved before it is used.
    pub used: Option<Round>,
    /// The largest round that it has heard of.
    pub heard: Round,
    /// What it proposes if nothing else is proposed already.
    pub own_value: Option<V>,
    /// The clients that wait for the chosen value, in ascending order.
    pub clients: Vec<Id>,
    /// Where it stands.
    pub phase: Phase<V>,
}

/// Where a proposer stands in its present round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase<V> {
    /// Nothing was asked of it.
    Idle,
    /// It collects promises.
    Phase1 {
        /// The acceptors that promised.
        promised: NodeSet,
        /// The reported vote with the highest round.
        best: Option<Vote<V>>,
    },
    /// It collects votes.
    Phase2 {
        /// The value proposed.
        value: V,
        /// The acceptors that voted.
        voted: NodeSet,
    },
    /// It knows the chosen value.
    Done(V),
}

impl<V> ProposerState<V> {
    /// The first state, or the one after a restart.
    pub(super) fn after(used: Option<Round>) -> Self {
        let heard = used.unwrap_or(Round::ZERO);
        Self { used, heard, own_value: None, clients: vec![], phase: Phase::Idle }
    }
}

impl<F: Faults<Mutant>> Proposer<F> {
    pub(super) fn ignores<V: Data>(&self, state: &ProposerState<V>, src: Id, msg: &Msg<V>) -> bool {
        let current = |round: &Round| {
            state.used == Some(*round) || self.config.faults.breaks(Mutant::CountForeignVotes)
        };
        let acceptor = self.config.acceptor_index(src);
        match msg {
            Msg::Propose(_) => acceptor.is_some(),
            Msg::Phase1b { round, .. } => {
                acceptor.is_none()
                    || state.used != Some(*round)
                    || !matches!(state.phase, Phase::Phase1 { .. })
            }
            Msg::Phase2b { round } => {
                acceptor.is_none() || !current(round) || !matches!(state.phase, Phase::Phase2 { .. })
            }
            Msg::Nack { round } => {
                acceptor.is_none() || *round <= state.heard || matches!(state.phase, Phase::Done(_))
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        src: Id,
        msg: Msg<V>,
        out: &mut Out<Node<V, F>>,
    ) {
        let acceptor = self.config.acceptor_index(src);
        match (msg, acceptor) {
            (Msg::Propose(value), _) => self.on_propose(state, src, value, out),
            (Msg::Phase1b { vote, .. }, Some(acceptor)) => self.on_phase1b(state, acceptor, vote, out),
            (Msg::Phase2b { .. }, Some(acceptor)) => self.on_phase2b(state, acceptor, out),
            (Msg::Nack { round }, _) => state.heard = round,
            _ => {}
        }
    }

    fn on_propose<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        client: Id,
        value: V,
        out: &mut Out<Node<V, F>>,
    ) {
        if let Phase::Done(chosen) = &state.phase {
            out.send(client, Msg::Chosen(chosen.clone()));
            return;
        }
        if let Err(position) = state.clients.binary_search(&client)
            && state.clients.len() < CLIENTS_WAITING_MAX
        {
            state.clients.insert(position, client);
        }
        state.own_value.get_or_insert(value);
        if matches!(state.phase, Phase::Idle) {
            self.begin_round(state, out);
        }
    }

    /// Begins the next round that this proposer owns, if the bound allows one more.
    fn begin_round<V: Data>(&self, state: &mut ProposerState<V>, out: &mut Out<Node<V, F>>) {
        let Config { proposers, round_max, faults, .. } = *self.config;
        let round = match state.used {
            None if self.index == 0 && state.heard == Round::ZERO => Round::ZERO,
            _ if faults.breaks(Mutant::SharedRounds) => Round(state.heard.0 + 1),
            _ => state.heard.next_owned_by(self.index, proposers),
        };
        if round > round_max {
            return;
        }
        let fresh = round == Round::ZERO || faults.breaks(Mutant::AlwaysSkipPhase1) && self.index == 0;
        state.used = Some(round);
        state.heard = round;
        if !faults.breaks(Mutant::ProposerForgets) {
            out.save(Storage::Proposer(round));
        }
        state.phase = match &state.own_value {
            Some(value) if fresh => Phase::Phase2 { value: value.clone(), voted: NodeSet::EMPTY },
            _ => Phase::Phase1 { promised: NodeSet::EMPTY, best: None },
        };
        self.ask_acceptors(state, out);
    }

    /// Asks, or asks again, the acceptors that have not answered in this phase.
    fn ask_acceptors<V: Data>(&self, state: &ProposerState<V>, out: &mut Out<Node<V, F>>) {
        let Some(round) = state.used else { return };
        let (question, answered) = match &state.phase {
            Phase::Phase1 { promised, .. } => (Msg::Phase1a { round }, *promised),
            Phase::Phase2 { value, voted } => (Msg::Phase2a { round, value: value.clone() }, *voted),
            Phase::Idle | Phase::Done(_) => return,
        };
        for (index, acceptor) in self.config.acceptor_ids().enumerate() {
            if !answered.contains(index) {
                out.send(acceptor, question.clone());
            }
        }
        if self.config.resend {
            out.set_timer(Timer::Resend, self.config.resend_after.clone());
        }
    }

    fn on_phase1b<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        acceptor: usize,
        vote: Option<Vote<V>>,
        out: &mut Out<Node<V, F>>,
    ) {
        let faults = self.config.faults;
        let Phase::Phase1 { promised, best } = &mut state.phase else { return };
        promised.insert(acceptor);
        let better = match (&vote, &*best) {
            (Some(vote), Some(best)) if faults.breaks(Mutant::LowestVote) => {
                vote.vote_round < best.vote_round
            }
            (Some(vote), Some(best)) => vote.vote_round > best.vote_round,
            (vote, _) => vote.is_some(),
        };
        if better {
            *best = vote;
        }
        let enough =
            is_enough(*promised, self.config.acceptors, faults.breaks(Mutant::ReadQuorumShort), |set| {
                self.config.quorums.is_read_quorum(set)
            });
        if !enough {
            return;
        }
        // The hard step: what may already be chosen must be proposed again; only then is this proposer free.
        let reported = best.take().map(|vote| vote.vote_value).filter(|_| !faults.breaks(Mutant::OwnValue));
        if let Some(value) = reported.or_else(|| state.own_value.clone()) {
            state.phase = Phase::Phase2 { value, voted: NodeSet::EMPTY };
            self.ask_acceptors(state, out);
        }
    }

    fn on_phase2b<V: Data>(&self, state: &mut ProposerState<V>, acceptor: usize, out: &mut Out<Node<V, F>>) {
        let Phase::Phase2 { value, voted } = &mut state.phase else { return };
        voted.insert(acceptor);
        let one_short = self.config.faults.breaks(Mutant::WriteQuorumShort);
        let enough = is_enough(*voted, self.config.acceptors, one_short, |set| {
            self.config.quorums.is_write_quorum(set)
        });
        if enough {
            let value = value.clone();
            for client in state.clients.drain(..) {
                out.send(client, Msg::Chosen(value.clone()));
            }
            if self.config.resend {
                out.cancel_timer(Timer::Resend);
            }
            state.phase = Phase::Done(value);
        }
    }

    /// Sends again, or begins a higher round if another proposer has got ahead.
    pub(super) fn on_resend<V: Data>(&self, state: &mut Cow<'_, State<V>>, out: &mut Out<Node<V, F>>) {
        let State::Proposer(now) = &**state else { return };
        match now.phase {
            Phase::Idle | Phase::Done(_) => {}
            _ if Some(now.heard) > now.used => {
                let State::Proposer(state) = state.to_mut() else { return };
                self.begin_round(state, out);
            }
            _ => self.ask_acceptors(now, out),
        }
    }
}
