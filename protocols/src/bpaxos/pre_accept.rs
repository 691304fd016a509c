//! What a proposer does where a vertex can be chosen in one round trip: [`super::fast`] says why.

use super::fast::{Answers, Fast, FastRule, Outcome, Promises, acceptance, is_pre_acceptance};
use super::mutant::{Mutant, Rules};
use super::node::Turn;
use super::proposer::{Attempt, ProposerState, Stage};
use super::{Action, Proposal, ProposalOf};
use crate::graph::{VertexId, VertexSet, Vertices as _};
use crate::ids::Round;
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;

fn answerers(answers: &Answers) -> NodeSet {
    answers.keys().copied().collect()
}

/// What all of them name together.
fn union(answers: &Answers) -> VertexSet {
    let mut union = VertexSet::EMPTY;
    answers.values().for_each(|deps| union.add_all(deps));
    union
}

impl<M: StateMachine, F: Rules> Turn<'_, ProposerState<M::Command>, M, F> {
    /// As the leader that has numbered it: has a command pre-accepted in round zero, unless somebody asked for the vertex so
    /// early that it is being recovered.
    pub(super) fn propose_fast(&mut self, vertex: VertexId, action: Action<M::Command>) {
        if !self.knows(vertex) {
            self.begin(vertex, Round::ZERO, Proposal { action, deps: VertexSet::EMPTY });
        }
    }

    /// Has a command pre-accepted, by those that may choose it in round zero or else by a quorum.
    pub(super) fn pre_accept(&mut self, vertex: VertexId, round: Round, proposal: ProposalOf<M>) {
        let answers = Answers::new();
        let turn = vertex.id.wrapping_add(round.0);
        let quorum = || self.config.dependencies.readers(turn).union(self.config.dependencies.writers(turn));
        let fast = self.config.fast.filter(|_| round == Round::ZERO);
        let asked = fast.map_or_else(quorum, |fast| fast.asked(self.config, vertex, &answers));
        let stage = Stage::PreAccept(answers, false);
        self.state.active.insert(vertex, Attempt { round, proposal, stage });
        self.contact(vertex, asked);
    }

    pub(super) fn on_pre_accept_ok(&mut self, acceptor: usize, vertex: VertexId, deps: VertexSet) {
        let Some(fast) = self.config.fast else { return };
        let Some(attempt) = self.state.active.get_mut(&vertex) else { return };
        let Stage::PreAccept(answers, _) = &mut attempt.stage else { return };
        let before = answers.clone();
        answers.insert(acceptor, deps.clone());
        let answers = answers.clone();
        if attempt.round > Round::ZERO {
            if self.config.is_dependency_quorum(answerers(&answers)) {
                self.propose_union(vertex, &answers);
            }
            return;
        }
        let more = |answers: &Answers| fast.asked(self.config, vertex, answers);
        let more = more(&answers).difference(more(&before));
        if !more.is_empty() {
            // Those who are asked because of this answer are to add it to theirs.
            attempt.proposal.deps = deps;
            self.contact(vertex, more);
        }
        match fast.outcome(self.config, vertex, &answers) {
            Outcome::Open => {}
            Outcome::Slow => self.propose_union(vertex, &answers),
            Outcome::Fast(deps) => self.take_fast_path(vertex, deps),
        }
    }

    /// What the votes of round zero choose, or will have chosen when the leader's own acceptor has recorded it.
    fn take_fast_path(&mut self, vertex: VertexId, deps: VertexSet) {
        let Some(attempt) = self.state.active.get_mut(&vertex) else { return };
        attempt.proposal.deps = deps;
        let records = self.config.fast.is_some_and(Fast::records);
        if records && !self.config.breaks_fast(FastRule::NoRecord) {
            attempt.round = acceptance(attempt.round);
            attempt.stage = Stage::Record;
            self.contact(vertex, NodeSet::single(vertex.leader as usize));
        } else {
            self.choose(vertex);
        }
    }

    /// The slow path: what a quorum names together is a legal value, and the ballot is the proposer's own.
    fn propose_union(&mut self, vertex: VertexId, answers: &Answers) {
        let Some(Attempt { round, proposal, .. }) = self.state.active.get(&vertex).cloned() else { return };
        self.vote(vertex, round, Proposal { action: proposal.action, deps: union(answers) });
    }

    /// Somebody has not answered for a while: asks again, once. Then a quorum's answers have to do, or a higher ballot, since
    /// nobody else may be asked in round zero.
    pub(super) fn on_late_answers(&mut self, vertex: VertexId) {
        let Some(fast) = self.config.fast else { return };
        let Some(attempt) = self.state.active.get_mut(&vertex) else { return };
        let Stage::PreAccept(answers, late) = &mut attempt.stage else { return };
        let (answers, was_late, first) = (answers.clone(), *late, attempt.round == Round::ZERO);
        *late = true;
        if !first {
            let everyone = NodeSet::first(self.layout().acceptors);
            return self.contact(vertex, everyone.difference(answerers(&answers)));
        }
        if !was_late {
            let asked = fast.asked(self.config, vertex, &answers);
            return self.contact(vertex, asked.difference(answerers(&answers)));
        }
        if self.config.is_dependency_quorum(answerers(&answers)) {
            return self.propose_union(vertex, &answers);
        }
        let proposal = Proposal { action: attempt.proposal.action.clone(), deps: VertexSet::EMPTY };
        let round = self.config.round_of(self.index, vertex, Some(self.state.used_before));
        self.begin(vertex, round, proposal);
    }

    /// With a read quorum of promises: see [`super::fast`] on recovery.
    pub(super) fn end_phase1(&mut self, vertex: VertexId, promises: &Promises<M::Command>) {
        let Some(Attempt { round, proposal, .. }) = self.state.active.get(&vertex).cloned() else { return };
        let Some(fast) = self.config.fast else { return };
        let votes = promises.values().flatten().filter(|_| !self.breaks(Mutant::OwnValueOverVotes));
        let last = if self.breaks(Mutant::LowestVote) {
            votes.min_by_key(|vote| vote.vote_round)
        } else {
            votes.max_by_key(|vote| vote.vote_round)
        };
        let highest = last.map_or(Round::ZERO, |vote| vote.vote_round);
        let taken = match last {
            Some(vote) if !is_pre_acceptance(highest) => Some(&vote.vote_value),
            Some(_) if highest == Round::ZERO => fast.forced(self.config, vertex, promises),
            _ => None,
        };
        if let Some(value) = taken {
            return self.vote(vertex, round, value.clone());
        }
        let action = match proposal.action {
            Action::Noop => last.map_or(Action::Noop, |vote| vote.vote_value.action.clone()),
            action => action,
        };
        match action {
            Action::Noop => self.vote(vertex, round, Proposal::NOOP),
            action => self.pre_accept(vertex, round, Proposal { action, deps: VertexSet::EMPTY }),
        }
    }

    /// Is the vertex being chosen, or chosen, as far as it knows?
    fn knows(&self, vertex: VertexId) -> bool {
        let ProposerState { active, chosen, collection, .. } = &*self.state;
        active.contains_key(&vertex) || chosen.contains_key(&vertex) || collection.contains(vertex)
    }
}
