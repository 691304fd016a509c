//! The acceptor: promises and votes, vertex by vertex, until enough replicas have saved what came of them.

use super::collection::Collection;
use super::config::Role;
use super::fast::{acceptance, is_pre_acceptance};
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::storage::Storage;
use super::{Msg, ProposalOf, Vote};
use crate::graph::{VertexId, VertexSet};
use crate::ids::Round;
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;

/// An acceptor's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcceptorState<C: Clone> {
    /// Promises and votes; saved.
    pub ballots: OrdMap<VertexId, Ballot<C>>,
    /// What is collected: saved.
    pub collection: Collection,
    /// Whether it takes part. One that lost its disk may not: it has forgotten its promises.
    pub voting: bool,
}

/// What an acceptor has promised and voted for one vertex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot<C> {
    /// It ignores smaller rounds.
    pub round: Round,
    /// Its last vote.
    pub vote: Option<Vote<C>>,
}

impl<C> Ballot<C> {
    const NONE: Self = Self { round: Round::ZERO, vote: None };
}

impl<F: Rules> Part<F> {
    pub(super) fn start_acceptor<M: StateMachine>(
        &self,
        storage: Option<&Storage<M>>,
    ) -> AcceptorState<M::Command> {
        let (ballots, collected, voting) = match storage {
            Some(Storage::Acceptor { ballots, collected, voting }) => {
                (ballots.clone(), collected.clone(), *voting)
            }
            _ => (OrdMap::new(), VertexSet::EMPTY, true),
        };
        let collection = Collection::of(collected);
        AcceptorState { ballots, collection, voting: voting && !self.lost_storage }
    }

    pub(super) fn acceptor_ignores<M: StateMachine>(
        &self,
        state: &AcceptorState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let config = &self.config;
        let (role, index) = config.layout.role(src);
        let from_proposer = role == config.layout.proposing();
        let is_over = |vertex: &VertexId, round: Round| {
            let promised = state.ballots.get(vertex).map_or(Round::ZERO, |ballot| ballot.round);
            round < promised && !config.bounds.nack
        };
        match msg {
            Msg::Phase1a { vertex, round } => {
                !state.voting || !from_proposer || !config.is_vertex(*vertex) || is_over(vertex, *round)
            }
            Msg::Phase2a { vertex, round, .. } | Msg::PreAccept { vertex, round, .. } => {
                let refused = is_over(vertex, *round) && !config.breaks(Mutant::AcceptLowerRound);
                !state.voting || !from_proposer || !config.is_vertex(*vertex) || refused
            }
            Msg::Saved(set) => role != Role::Replica || state.collection.has_heard(index, set),
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, AcceptorState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        match msg {
            Msg::Phase1a { vertex, round } => self.on_phase1a(src, vertex, round),
            Msg::Phase2a { vertex, round, proposal } => self.on_phase2a(src, vertex, round, proposal),
            Msg::Saved(set) => {
                let (_, replica) = self.layout().role(src);
                self.on_saved(replica, &set);
            }
            _ => {}
        }
    }

    pub(super) fn save(&mut self) {
        if !self.breaks(Mutant::ForgetVotes) {
            let AcceptorState { ballots, collection, voting } = self.state.clone();
            self.out.save(Storage::Acceptor { ballots, collected: collection.vertices, voting });
        }
    }

    /// What it knows of a vertex, unless it cannot take part in it: then the proposer learns why, if there is a reason
    /// that lasts.
    pub(super) fn ballot(
        &mut self,
        proposer: Id,
        vertex: VertexId,
        round: Round,
    ) -> Option<Ballot<M::Command>> {
        let AcceptorState { ballots, collection, .. } = &*self.state;
        if collection.contains(vertex) && !self.breaks(Mutant::AnswerCollected) {
            let collected = collection.vertices.clone();
            self.send(proposer, Msg::Collected(collected));
            return None;
        }
        if !collection.is_near(vertex, self.config.limits.column_vertices) {
            return None;
        }
        let ballot = ballots.get(&vertex).cloned().unwrap_or(Ballot::NONE);
        if round < ballot.round && !self.breaks(Mutant::AcceptLowerRound) {
            if self.config.bounds.nack {
                self.send(proposer, Msg::Nack { vertex, round: ballot.round });
            }
            return None;
        }
        Some(ballot)
    }

    /// Promises; a promise moves no vote.
    fn on_phase1a(&mut self, proposer: Id, vertex: VertexId, round: Round) {
        let Some(mut ballot) = self.ballot(proposer, vertex, round) else { return };
        if round > ballot.round {
            ballot.round = round;
            if let Some(vote) = ballot.vote.as_mut().filter(|_| self.config.breaks(Mutant::PromiseMovesVote))
            {
                vote.vote_round = if self.config.fast.is_some() && !is_pre_acceptance(vote.vote_round) {
                    acceptance(round)
                } else {
                    round
                };
            }
            self.state.ballots.insert(vertex, ballot.clone());
            self.save();
        }
        self.send(proposer, Msg::Phase1b { vertex, round, vote: ballot.vote });
    }

    /// Votes.
    fn on_phase2a(&mut self, proposer: Id, vertex: VertexId, round: Round, proposal: ProposalOf<M>) {
        let Some(ballot) = self.ballot(proposer, vertex, round) else { return };
        if ballot.vote.as_ref().is_none_or(|vote| vote.vote_round != round) {
            let vote = Some(Vote { vote_round: round, vote_value: proposal });
            self.state.ballots.insert(vertex, Ballot { round: round.max(ballot.round), vote });
            self.save();
        }
        self.send(proposer, Msg::Phase2b { vertex, round });
    }

    /// Forgets what enough replicas have saved the outcome of.
    fn on_saved(&mut self, replica: usize, set: &VertexSet) {
        let AcceptorState { ballots, collection, .. } = &mut *self.state;
        if collection.hear(replica, set, self.config.saves_needed) {
            collection.remove_from(ballots);
            self.save();
        }
    }
}
