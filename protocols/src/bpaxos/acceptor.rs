//! The acceptor: promises and votes, vertex by vertex, until enough replicas have saved what came of them.

use super::config::Role;
use super::mutant::Mutant;
use super::node::{Part, Turn};
use super::storage::Storage;
use super::{Msg, ProposalOf, Vote};
use crate::faults::Faults;
use crate::graph::{VertexId, VertexSet, Vertices as _};
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
    /// These are chosen, saved by enough replicas, and forgotten: for each leader, all below a number. Saved.
    pub collected: VertexSet,
    /// How far each replica's snapshot stands for everything. Not saved: replicas tell again.
    pub saves: OrdMap<usize, VertexSet>,
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

/// What so many of these have all: for each leader, everything below a number.
pub(super) fn saved_by(saves: &OrdMap<usize, VertexSet>, needed: usize) -> VertexSet {
    let leaders = saves.values().map(VertexSet::leaders).max().unwrap_or(0);
    let end = |leader| {
        let mut ends: Vec<u64> = saves.values().map(|set| set.frontier(leader)).collect();
        ends.sort_unstable();
        ends.len().checked_sub(needed.max(1)).map_or(0, |at| ends[at])
    };
    VertexSet::below((0..leaders).map(end))
}

/// Removes the entries of these vertices, which are for each leader all below a number.
pub(super) fn remove_collected<V: Clone>(map: &mut OrdMap<VertexId, V>, collected: &VertexSet) {
    for leader in 0..collected.leaders() {
        let end = VertexId { leader, id: collected.frontier(leader) };
        let from = VertexId { leader, id: 0 };
        let gone: Vec<VertexId> = map.range(from..end).map(|(vertex, _)| *vertex).collect();
        for vertex in gone {
            map.remove(&vertex);
        }
    }
}

impl<F: Faults<Mutant>> Part<F> {
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
        AcceptorState { ballots, collected, saves: OrdMap::new(), voting: voting && !self.lost_storage }
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
            Msg::Phase2a { vertex, round, .. } => {
                let refused = is_over(vertex, *round) && !config.breaks(Mutant::AcceptLowerRound);
                !state.voting || !from_proposer || !config.is_vertex(*vertex) || refused
            }
            Msg::Saved(set) => {
                role != Role::Replica || state.saves.get(&index).is_some_and(|known| set.is_subset(known))
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, AcceptorState<M::Command>, M, F> {
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

    fn save(&mut self) {
        if !self.breaks(Mutant::ForgetVotes) {
            let AcceptorState { ballots, collected, voting, .. } = self.state.clone();
            self.out.save(Storage::Acceptor { ballots, collected, voting });
        }
    }

    /// What it knows of a vertex, unless it cannot take part in it: then the proposer learns why, if there is a reason
    /// that lasts.
    fn ballot(&mut self, proposer: Id, vertex: VertexId, round: Round) -> Option<Ballot<M::Command>> {
        if self.state.collected.contains(vertex) && !self.breaks(Mutant::AnswerCollected) {
            let collected = self.state.collected.clone();
            self.send(proposer, Msg::Collected(collected));
            return None;
        }
        let known = self.state.ballots.get(&vertex).cloned();
        if known.is_none() && self.state.ballots.len() >= self.config.limits.vertices {
            return None;
        }
        let ballot = known.unwrap_or(Ballot::NONE);
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
                vote.vote_round = round;
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
        let needed = self.config.saves_needed;
        let AcceptorState { ballots, collected, saves, .. } = self.state;
        saves.insert(replica, set.prefix());
        let saved = saved_by(saves, needed);
        if saved.is_subset(collected) {
            return;
        }
        collected.add_all(&saved);
        remove_collected(ballots, collected);
        self.save();
    }
}
