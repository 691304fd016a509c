//! The proposer: single-decree Paxos for each vertex, on behalf of its leader or of a replica that waits.
//!
//! Nothing precedes round zero of a vertex, so its owner needs no phase 1 in it: once. A proposer that was restarted does
//! not know what it proposed, and answers to what it asked may still be on their way: so it must begin nothing again in a
//! round that it has used. What it has saved tells it which numbers may have used up round zero, and a round that it never
//! went beyond for any vertex. (That a vertex is known to be chosen is no reason to forget its round. Answers in that round
//! from before the vote would hide what was chosen.)

use super::collection::Collection;
use super::config::Role;
use super::fast::{Answers, Promises, acceptance};
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::storage::{ProposerSaved, Storage};
use super::{Committed, Msg, Proposal, ProposalOf, Timer, Vote};
use crate::graph::{VertexId, VertexSet};
use crate::ids::Round;
use crate::state_machine::StateMachine;
use im::OrdMap;
use parthood_quorums::NodeSet;
use stateright::actor::Id;

/// A proposer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProposerState<C: Clone> {
    /// What it must not forget; saved.
    pub saved: ProposerSaved,
    /// Round zero was not used for its own leaders' numbers from here on, in any earlier life.
    pub fresh_from: u64,
    /// No later round than this was used, in any earlier life.
    pub used_before: Round,
    /// What is not known to be chosen.
    pub active: OrdMap<VertexId, Attempt<C>>,
    /// What is known to be chosen, until it is collected.
    pub chosen: OrdMap<VertexId, Proposal<C>>,
    /// What is collected.
    pub collection: Collection,
}

/// An attempt to get a vertex chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt<C: Clone> {
    /// The round; while it backs off, the one that overtook it.
    pub round: Round,
    /// What it proposes, unless phase 1 finds a vote.
    pub proposal: Proposal<C>,
    /// How far it is.
    pub stage: Stage<C>,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage<C: Clone> {
    /// It was overtaken and waits before it tries again.
    Backoff,
    /// Promises so far, each with the acceptor's last vote.
    Phase1(Promises<C>),
    /// With a fast path: what acceptors have pre-accepted it after, so far, and whether one of them is late.
    PreAccept(Answers, bool),
    /// With a fast path: the leader's own acceptor is to record what is as good as chosen.
    Record,
    /// Votes so far.
    Phase2(NodeSet),
}

/// Quorums take turns by vertices and rounds.
fn turn_of(vertex: VertexId, round: Round) -> u64 {
    vertex.id.wrapping_add(u64::from(vertex.leader)).wrapping_add(round.0)
}

impl<C: Clone> ProposerState<C> {
    /// A proposer that is no leader.
    pub(super) fn start<M: StateMachine<Command = C>>(storage: Option<&Storage<M>>) -> Self {
        let saved = match storage {
            Some(Storage::Proposer(saved)) => Some(saved),
            _ => None,
        };
        Self::restored(saved, 0)
    }

    /// A proposer that has saved this; as a leader it has given out numbers below `numbers`.
    pub(super) fn restored(saved: Option<&ProposerSaved>, numbers: u64) -> Self {
        let saved = saved.copied().unwrap_or_default();
        Self {
            fresh_from: saved.reserved.max(numbers),
            used_before: saved.used,
            saved,
            active: OrdMap::new(),
            chosen: OrdMap::new(),
            collection: Collection::of(VertexSet::EMPTY),
        }
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn proposer_ignores<M: StateMachine>(
        &self,
        state: &ProposerState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let config = &self.config;
        let (role, index) = config.layout.role(src);
        let acceptor = role == Role::Acceptor;
        let idle = |vertex: &VertexId| {
            let known = state.active.contains_key(vertex) || state.chosen.contains_key(vertex);
            !known && !state.collection.contains(*vertex)
        };
        let attempt = |vertex: &VertexId, round: &Round| {
            state.active.get(vertex).filter(|attempt| attempt.round == *round).map(|attempt| &attempt.stage)
        };
        match msg {
            _ if self.lost_storage => true,
            Msg::Propose(Committed { vertex, .. }) => {
                role != Role::Leader || vertex.leader as usize != index || !idle(vertex)
            }
            Msg::Phase1b { vertex, round, .. } => match attempt(vertex, round) {
                Some(Stage::Phase1(promises)) => !acceptor || promises.contains_key(&index),
                _ => true,
            },
            Msg::Phase2b { vertex, round } => match attempt(vertex, round) {
                Some(Stage::Phase2(voted)) => !acceptor || voted.contains(config.answers_for(index, *voted)),
                Some(Stage::Record) => !acceptor || index != vertex.leader as usize,
                _ => true,
            },
            Msg::PreAcceptOk { vertex, round, .. } => match attempt(vertex, round) {
                Some(Stage::PreAccept(answers, _)) => !acceptor || answers.contains_key(&index),
                _ => true,
            },
            Msg::Nack { vertex, round } => {
                !acceptor || state.active.get(vertex).is_none_or(|attempt| attempt.round >= *round)
            }
            Msg::Collected(set) => !acceptor || set.is_subset(&state.collection.vertices),
            Msg::Saved(set) => role != Role::Replica || state.collection.has_heard(index, set),
            Msg::Recover(vertex) => {
                role != Role::Replica
                    || !config.is_vertex(*vertex)
                    || !idle(vertex) && !state.chosen.contains_key(vertex)
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, ProposerState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        let (_, index) = self.layout().role(src);
        match msg {
            Msg::Propose(Committed { vertex, proposal }) => self.propose(vertex, proposal),
            Msg::Phase1b { vertex, vote, .. } => self.on_phase1b(index, vertex, vote),
            Msg::Phase2b { vertex, .. } => self.on_phase2b(index, vertex),
            Msg::PreAcceptOk { vertex, deps, .. } => self.on_pre_accept_ok(index, vertex, deps),
            Msg::Nack { vertex, round } => self.on_nack(vertex, round),
            Msg::Collected(set) => {
                let grows = self.state.collection.add(&set);
                self.forget_collected(grows);
            }
            Msg::Saved(set) => {
                let grows = self.state.collection.hear(index, &set, self.config.saves_needed);
                self.forget_collected(grows);
            }
            Msg::Recover(vertex) => self.on_recover(src, vertex),
            _ => {}
        }
    }

    pub(super) fn on_timeout(&mut self, timer: Timer) {
        match timer {
            Timer::Resend => self.on_resend_timeout(),
            Timer::Backoff(vertex) => {
                if let Some(Attempt { round, proposal, stage: Stage::Backoff }) =
                    self.state.active.get(&vertex).cloned()
                {
                    let round = self.config.round_of(self.index, vertex, Some(round));
                    self.begin(vertex, round, proposal);
                }
            }
            _ => {}
        }
    }

    fn save(&mut self) {
        if self.breaks(Mutant::ReuseRounds) {
            return;
        }
        let saved = self.state.saved;
        self.out.save(match self.numbers {
            Some(reserved) => Storage::Leader { reserved, proposer: saved },
            None => Storage::Proposer(saved),
        });
    }

    /// Begins to get a value chosen for a vertex of which nothing is known.
    pub(super) fn propose(&mut self, vertex: VertexId, proposal: ProposalOf<M>) {
        let ProposerState { fresh_from, used_before, active, chosen, collection, .. } = &*self.state;
        let known =
            active.contains_key(&vertex) || chosen.contains_key(&vertex) || collection.contains(vertex);
        if known || !collection.is_near(vertex, self.config.limits.column_vertices) {
            return;
        }
        let own = self.config.proposer_of(vertex.leader as usize) == self.index;
        let begun = !own || vertex.id < *fresh_from || self.config.fast.is_some();
        let round = self.config.round_of(self.index, vertex, begun.then_some(*used_before));
        self.begin(vertex, round, proposal);
    }

    /// Begins a round, which is noted down before anybody hears of it.
    pub(super) fn begin(&mut self, vertex: VertexId, round: Round, proposal: ProposalOf<M>) {
        if round > self.config.bounds.round_max {
            return;
        }
        if !self.state.active.iter().any(|(_, attempt)| !matches!(attempt.stage, Stage::Backoff)) {
            self.set_timer(Timer::Resend);
        }
        if round > self.state.saved.used {
            self.state.saved.used = round;
            self.save();
        } else if round == Round::ZERO
            && vertex.id >= self.state.saved.reserved.max(self.numbers.unwrap_or(0))
        {
            self.state.saved.reserved = vertex.id + self.config.limits.reserved_ids.max(1);
            self.save();
        }
        if round == Round::ZERO && self.config.fast.is_some() {
            self.pre_accept(vertex, round, proposal);
        } else if round == Round::ZERO || self.breaks(Mutant::SkipPhase1) {
            self.vote(vertex, round, proposal);
        } else {
            let acceptors = self.config.acceptors.readers(turn_of(vertex, round));
            let stage = Stage::Phase1(OrdMap::new());
            self.state.active.insert(vertex, Attempt { round, proposal, stage });
            self.contact(vertex, acceptors);
        }
    }

    /// Phase 2; with a fast path, in the second round of the ballot.
    pub(super) fn vote(&mut self, vertex: VertexId, round: Round, proposal: ProposalOf<M>) {
        let round = if self.config.fast.is_some() { acceptance(round) } else { round };
        let stage = Stage::Phase2(NodeSet::EMPTY);
        self.state.active.insert(vertex, Attempt { round, proposal, stage });
        self.contact(vertex, self.config.acceptors.writers(turn_of(vertex, round)));
    }

    /// Sends these acceptors what the attempt waits for.
    pub(super) fn contact(&mut self, vertex: VertexId, acceptors: NodeSet) {
        let Some(Attempt { round, proposal, stage }) = self.state.active.get(&vertex).cloned() else {
            return;
        };
        let layout = self.layout();
        for acceptor in acceptors.iter() {
            let msg = match stage {
                Stage::Backoff => return,
                Stage::Phase1(_) => Msg::Phase1a { vertex, round },
                Stage::PreAccept(..) => Msg::PreAccept { vertex, round, proposal: proposal.clone() },
                Stage::Phase2(_) | Stage::Record => {
                    Msg::Phase2a { vertex, round, proposal: proposal.clone() }
                }
            };
            self.send(layout.id(Role::Acceptor, acceptor), msg);
        }
    }

    /// With a read quorum of promises, proposes the vote of the highest round, or else its own value.
    fn on_phase1b(&mut self, acceptor: usize, vertex: VertexId, vote: Option<Vote<M::Command>>) {
        let lowest = self.breaks(Mutant::LowestVote);
        let Some(attempt) = self.state.active.get_mut(&vertex) else { return };
        let Stage::Phase1(promises) = &mut attempt.stage else { return };
        promises.insert(acceptor, vote);
        let reporters: NodeSet = promises.keys().copied().collect();
        if !self.config.ends_phase1(reporters) {
            return;
        }
        let round = attempt.round;
        if self.config.fast.is_some() {
            let promises = promises.clone();
            return self.end_phase1(vertex, &promises);
        }
        let votes = promises.values().flatten();
        let found = if lowest {
            votes.min_by_key(|vote| vote.vote_round)
        } else {
            votes.max_by_key(|vote| vote.vote_round)
        };
        let found = found.filter(|_| !self.config.breaks(Mutant::OwnValueOverVotes));
        let proposal = found.map_or_else(|| attempt.proposal.clone(), |vote| vote.vote_value.clone());
        self.vote(vertex, round, proposal);
    }

    fn on_phase2b(&mut self, acceptor: usize, vertex: VertexId) {
        let Some(attempt) = self.state.active.get_mut(&vertex) else { return };
        let is_chosen = match &mut attempt.stage {
            Stage::Phase2(voted) => {
                voted.insert(self.config.answers_for(acceptor, *voted));
                self.config.ends_phase2(*voted)
            }
            Stage::Record => true,
            _ => false,
        };
        if is_chosen {
            self.choose(vertex);
        }
    }

    /// What is proposed is chosen: tells replicas.
    pub(super) fn choose(&mut self, vertex: VertexId) {
        if let Some(Attempt { proposal, .. }) = self.state.active.remove(&vertex) {
            self.state.chosen.insert(vertex, proposal.clone());
            if self.breaks(Mutant::ForgetUsedRounds) && self.state.active.is_empty() {
                self.state.saved.used = Round::ZERO;
            }
            let layout = self.layout();
            for replica in layout.ids(Role::Replica) {
                self.send(replica, Msg::Commit(vec![Committed { vertex, proposal: proposal.clone() }]));
            }
            self.rest();
        }
    }

    /// Nothing to send again when nothing is under way.
    fn rest(&mut self) {
        if self.state.active.is_empty() {
            self.cancel_timer(Timer::Resend);
        }
    }

    /// Somebody else tries a higher round: waits a while before it does so too.
    fn on_nack(&mut self, vertex: VertexId, round: Round) {
        let Some(attempt) = self.state.active.get_mut(&vertex) else { return };
        attempt.round = round;
        attempt.stage = Stage::Backoff;
        if self.config.round_of(self.index, vertex, Some(round)) <= self.config.bounds.round_max {
            self.set_timer(Timer::Backoff(vertex));
        }
    }

    /// A replica waits for a vertex: tells it what was chosen, or proposes a noop if it knows nothing.
    fn on_recover(&mut self, replica: Id, vertex: VertexId) {
        match self.state.chosen.get(&vertex).cloned() {
            Some(proposal) => self.send(replica, Msg::Commit(vec![Committed { vertex, proposal }])),
            None => self.propose(vertex, Proposal::NOOP),
        }
    }

    /// Forgets what is collected, if that has become more.
    fn forget_collected(&mut self, grows: bool) {
        if !grows {
            return;
        }
        let ProposerState { active, chosen, collection, .. } = &mut *self.state;
        collection.remove_from(chosen);
        collection.remove_from(active);
        if self.breaks(Mutant::CollectStopsResend) {
            self.cancel_timer(Timer::Resend);
        }
        self.rest();
    }

    /// Asks again all acceptors that have not answered.
    fn on_resend_timeout(&mut self) {
        let everyone = NodeSet::first(self.layout().acceptors);
        let mut left = self.config.limits.resend_vertices;
        for (vertex, attempt) in &self.state.active.clone() {
            let silent = match &attempt.stage {
                Stage::Backoff => continue,
                Stage::Phase1(promises) => everyone.difference(promises.keys().copied().collect()),
                Stage::Phase2(voted) => everyone.difference(*voted),
                Stage::Record => NodeSet::single(vertex.leader as usize),
                Stage::PreAccept(..) => NodeSet::EMPTY,
            };
            if left == 0 {
                break;
            }
            left -= 1;
            self.contact(*vertex, silent);
            self.on_late_answers(*vertex);
        }
        if !self.state.active.is_empty() {
            self.set_timer(Timer::Resend);
        }
    }
}
