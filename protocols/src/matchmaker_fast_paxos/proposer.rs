//! The proposer, as the coordinator of its rounds: makes sure that nothing was chosen below, and lets clients and acceptors
//! do the rest.

use super::{Config, Msg, Mutant, Node, Storage, Timer, Votes};
use crate::faults::Faults;
use crate::matchmaker_paxos::{Garbage, Msg as Paxos, Role, Vote};
use crate::matchmaking::{Age, Matched, Matching, Round, read_everywhere};
use crate::state_machine::Data;
use parthood_quorums::NodeSet;
use stateright::actor::{Id, Out};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most clients that a proposer keeps waiting; the others ask again.
const CLIENTS_WAITING_MAX: usize = 1024;

/// A proposer, as configured.
#[derive(Clone, Debug)]
pub struct FastProposer<F> {
    /// Its number, from 0.
    pub index: usize,
    /// It uses no round of this age ([`Round::age`]) or above; a bound for models.
    pub rounds_max: u64,
    /// Whether it begins its first round when it first starts, so that the first client is answered in two message delays. After
    /// a restart it waits to be asked: the round that it has used may still be at work.
    pub proactive: bool,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A proposer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FastState<V> {
    /// The largest round that it has used; saved before it is used.
    pub used: Option<Round>,
    /// The largest round that it has heard of.
    pub heard: Option<Round>,
    /// The clients that wait for the chosen value.
    pub clients: BTreeSet<Id>,
    /// How often it has sent again in vain since it last got ahead.
    pub attempts: u32,
    /// Where it stands.
    pub phase: FastPhase<V>,
    /// How far the garbage collection of its present round is.
    pub garbage: Garbage,
}

/// Where a proposer stands in its present round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FastPhase<V> {
    /// It has no round.
    Idle,
    /// It collects answers of matchmakers.
    Matching {
        /// The answers so far.
        answers: Matching,
        /// Whether it means to leave phase 1 out; never, but for a mutant.
        spared: bool,
    },
    /// It collects promises.
    Phase1 {
        /// The configurations to ask.
        earlier: Vec<Matched>,
        /// The acceptors that promised.
        promised: NodeSet,
        /// The values that were voted for in the largest round in which anybody reports a vote, and that round.
        best: Option<(Round, BTreeSet<V>)>,
    },
    /// It collects votes.
    Phase2 {
        /// The value proposed; none if it has said "any".
        value: Option<V>,
        /// The votes.
        votes: Votes<V>,
    },
    /// It knows the chosen value.
    Done(V),
}

impl<V> FastState<V> {
    /// The round below which every configuration is retired, as far as this proposer has seen to it.
    pub fn retired_below(&self) -> Option<Round> {
        self.used.filter(|_| self.garbage == Garbage::Done)
    }

    /// Does it wait for clients, having done all that it can before one comes?
    fn is_ready(&self) -> bool {
        match &self.phase {
            FastPhase::Phase2 { value: None, votes } => votes.0.is_empty() && self.clients.is_empty(),
            _ => false,
        }
    }

    /// Does it try to get something chosen that nobody has chosen yet, as far as it knows?
    fn contends(&self) -> bool {
        !matches!(self.phase, FastPhase::Idle | FastPhase::Done(_)) && !self.is_ready()
    }
}

type Say<'a, V, F> = &'a mut Out<Node<V, F>>;

impl<F: Faults<Mutant>> FastProposer<F> {
    /// The first state, or the one after a restart.
    pub(super) fn start<V: Data>(&self, used: Option<Round>, out: Say<'_, V, F>) -> FastState<V> {
        let mut state = FastState {
            used,
            heard: used,
            clients: BTreeSet::new(),
            attempts: 0,
            phase: FastPhase::Idle,
            garbage: Garbage::Idle,
        };
        if self.proactive && used.is_none() {
            self.begin_round(&mut state, out);
        }
        state
    }

    /// Will nothing happen when its time is up? Who waits for clients tells the acceptors so for a while, and then rests.
    pub(super) fn rests<V>(&self, state: &FastState<V>) -> bool {
        let waits = state.is_ready() && state.attempts >= self.config.paxos.patience;
        (waits || matches!(state.phase, FastPhase::Idle | FastPhase::Done(_)))
            && !matches!(state.garbage, Garbage::Asked(_))
    }

    pub(super) fn ignores<V: Data>(&self, state: &FastState<V>, src: Id, msg: &Msg<V>) -> bool {
        let current = |round: &Round| state.used == Some(*round);
        match (msg, self.config.paxos.role(src)) {
            (Msg::Paxos(Paxos::Propose(_)), None) => {
                state.clients.contains(&src) && !matches!(state.phase, FastPhase::Done(_))
            }
            (Msg::Paxos(Paxos::MatchB { round, .. }), Some(Role::Matchmaker(number))) => match &state.phase {
                FastPhase::Matching { answers, .. } => !current(round) || answers.replied.contains(number),
                _ => true,
            },
            (Msg::Paxos(Paxos::Phase1b { round, .. }), Some(Role::Acceptor(_))) => {
                !current(round) || !matches!(state.phase, FastPhase::Phase1 { .. })
            }
            (Msg::Phase2b { round, value }, Some(Role::Acceptor(number))) => match &state.phase {
                FastPhase::Phase2 { votes, .. } => !current(round) || votes.contains(number, value),
                _ => true,
            },
            (Msg::Paxos(Paxos::GarbageB { watermark }), Some(Role::Matchmaker(_))) => {
                !matches!(state.garbage, Garbage::Asked(_)) || Some(*watermark) < state.used
            }
            (Msg::Paxos(Paxos::Nack { round }), Some(Role::Matchmaker(_) | Role::Acceptor(_))) => {
                Some(*round) <= state.heard
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<V: Data>(&self, state: &mut FastState<V>, src: Id, msg: Msg<V>, out: Say<'_, V, F>) {
        match (msg, self.config.paxos.role(src)) {
            (Msg::Paxos(Paxos::Propose(_)), _) => self.on_propose(state, src, out),
            (Msg::Paxos(Paxos::MatchB { watermark, earlier, .. }), Some(Role::Matchmaker(number))) => {
                self.on_match_b(state, number, watermark, earlier, out);
            }
            (Msg::Paxos(Paxos::Phase1b { vote, .. }), Some(Role::Acceptor(number))) => {
                self.on_phase1b(state, number, vote, out);
            }
            (Msg::Phase2b { value, .. }, Some(Role::Acceptor(number))) => {
                self.on_phase2b(state, number, value, out);
            }
            (Msg::Paxos(Paxos::GarbageB { .. }), Some(Role::Matchmaker(number))) => {
                let Garbage::Asked(confirmed) = &mut state.garbage else { return };
                confirmed.insert(number);
                if confirmed.len() >= self.config.paxos.f_plus_1() {
                    state.garbage = Garbage::Done;
                    self.set_timer(state, out);
                }
            }
            (Msg::Paxos(Paxos::Nack { round }), _) => state.heard = Some(round),
            _ => {}
        }
    }

    /// A client waits. Its value is the acceptors' affair.
    fn on_propose<V: Data>(&self, state: &mut FastState<V>, client: Id, out: Say<'_, V, F>) {
        if let FastPhase::Done(chosen) = &state.phase {
            out.send(client, Msg::Paxos(Paxos::Chosen(chosen.clone())));
            return;
        }
        if state.clients.len() < CLIENTS_WAITING_MAX {
            state.clients.insert(client);
        }
        match state.phase {
            FastPhase::Idle => self.begin_round(state, out),
            _ => self.set_timer(state, out),
        }
    }

    /// The round that it would go on to, if the bound allows one more.
    fn next_round<V>(&self, state: &FastState<V>) -> Option<Round> {
        let round = Round::next_owned_by(self.index, state.heard);
        (round.age() < self.rounds_max).then_some(round)
    }

    /// Begins the smallest round of its own above all that it has heard of.
    fn begin_round<V: Data>(&self, state: &mut FastState<V>, out: Say<'_, V, F>) {
        let Some(round) = self.next_round(state) else { return };
        let spared = self.config.breaks(Mutant::BypassFastRound)
            && state.used.map(Round::successor) == Some(round)
            && matches!(state.phase, FastPhase::Phase2 { value: None, .. });
        (state.used, state.heard) = (Some(round), Some(round));
        if !self.config.breaks(Mutant::ProposerForgets) {
            out.save(Storage::Proposer(round));
        }
        state.garbage = Garbage::Idle;
        self.enter(state, FastPhase::Matching { answers: Matching::default(), spared }, out);
    }

    fn enter<V: Data>(&self, state: &mut FastState<V>, phase: FastPhase<V>, out: Say<'_, V, F>) {
        state.phase = phase;
        state.attempts = 0;
        self.ask(state, out);
    }

    fn on_match_b<V: Data>(
        &self,
        state: &mut FastState<V>,
        matchmaker: usize,
        watermark: Round,
        below: Vec<Matched>,
        out: Say<'_, V, F>,
    ) {
        let FastPhase::Matching { answers, spared } = &mut state.phase else { return };
        answers.add(matchmaker, watermark, Age::default(), below);
        let one_short = usize::from(self.config.breaks(Mutant::MatchQuorumShort));
        if answers.replied.len() + one_short < self.config.paxos.f_plus_1() {
            return;
        }
        let mut earlier = answers.returned();
        if self.config.breaks(Mutant::OnlyNewestConfiguration) {
            earlier.drain(..earlier.len().saturating_sub(1));
        }
        if earlier.is_empty() || *spared {
            self.propose_any(state, out);
        } else {
            self.enter(state, FastPhase::Phase1 { earlier, promised: NodeSet::EMPTY, best: None }, out);
        }
    }

    fn on_phase1b<V: Data>(
        &self,
        state: &mut FastState<V>,
        acceptor: usize,
        vote: Option<Vote<V>>,
        out: Say<'_, V, F>,
    ) {
        let FastPhase::Phase1 { earlier, promised, best } = &mut state.phase else { return };
        promised.insert(acceptor);
        if let Some(Vote { vote_round, vote_value }) = vote {
            self.note_vote(best, vote_round, vote_value);
        }
        if !read_everywhere(earlier.iter().map(|(_, configuration)| configuration), *promised) {
            return;
        }
        let values = best.take().map(|(_, values)| values).unwrap_or_default();
        self.end_phase1(state, values, out);
    }

    /// Keeps the values of the largest vote round.
    fn note_vote<V: Data>(&self, best: &mut Option<(Round, BTreeSet<V>)>, round: Round, value: V) {
        let lowest = self.config.breaks(Mutant::LowestVote);
        match best {
            Some((of, values)) if *of == round => {
                values.insert(value);
            }
            Some((of, _)) if (*of > round) != lowest => {}
            _ => *best = Some((round, [value].into())),
        }
    }

    /// The hard step: one value that was voted for in the largest round may already be chosen, and must be proposed. With
    /// none, or with two, nothing was or will be chosen below this round.
    fn end_phase1<V: Data>(&self, state: &mut FastState<V>, mut values: BTreeSet<V>, out: Say<'_, V, F>) {
        let is_bound = values.len() == 1;
        if !is_bound && self.config.paxos.scenarios.free || self.config.breaks(Mutant::CollectAfterPhase1) {
            self.collect(state, out);
        }
        let settles = values.len() > 1 && self.config.settle;
        let named = is_bound && !self.config.breaks(Mutant::AnyAfterVote) || settles;
        let value = values.pop_first().filter(|_| named);
        self.enter(state, FastPhase::Phase2 { value, votes: Votes::default() }, out);
    }

    /// Nothing was or will be chosen below this round, and no phase 1 was needed to know.
    fn propose_any<V: Data>(&self, state: &mut FastState<V>, out: Say<'_, V, F>) {
        self.end_phase1(state, BTreeSet::new(), out);
    }

    fn on_phase2b<V: Data>(&self, state: &mut FastState<V>, acceptor: usize, value: V, out: Say<'_, V, F>) {
        let (FastPhase::Phase2 { votes, .. }, Some(round)) = (&mut state.phase, state.used) else { return };
        votes.add(acceptor, value);
        let without_one = self.config.breaks(Mutant::ChosenWithoutOne);
        let chosen = votes.chosen(self.config.acceptors(round), without_one).cloned();
        let are_divided = votes.are_divided();
        if chosen.is_some() && self.config.paxos.scenarios.chosen || self.config.breaks(Mutant::CollectOnVote)
        {
            self.collect(state, out);
        }
        match chosen {
            Some(value) => self.learn(state, value, out),
            None if are_divided && !self.config.breaks(Mutant::NoRecovery) => self.begin_round(state, out),
            None => self.set_timer(state, out),
        }
    }

    /// A value is chosen: tells the clients.
    fn learn<V: Data>(&self, state: &mut FastState<V>, value: V, out: Say<'_, V, F>) {
        for client in std::mem::take(&mut state.clients) {
            if !self.config.breaks(Mutant::SilentProposer) {
                out.send(client, Msg::Paxos(Paxos::Chosen(value.clone())));
            }
        }
        self.enter(state, FastPhase::Done(value), out);
    }

    /// Sends again; or begins a higher round, if another proposer has got ahead or its patience is at an end: an acceptor of
    /// its round may have failed, or of one that was retired after it had matched.
    pub(super) fn on_resend<V: Data>(&self, state: &mut FastState<V>, out: Say<'_, V, F>) {
        let patience = self.config.paxos.patience;
        let give_up = state.heard > state.used || state.attempts >= patience;
        if state.contends() && give_up && self.next_round(state).is_some() {
            self.begin_round(state, out);
            return;
        }
        state.attempts = state.attempts.saturating_add(1).min(patience);
        self.ask(state, out);
        self.ask_to_retire(state, out);
    }

    /// Has the matchmakers forget what is below its round. Below the first round there is nothing.
    fn collect<V: Data>(&self, state: &mut FastState<V>, out: Say<'_, V, F>) {
        if state.garbage == Garbage::Idle && state.used > Some(Round::ZERO) {
            state.garbage = Garbage::Asked(NodeSet::EMPTY);
            self.ask_to_retire(state, out);
            self.set_timer(state, out);
        }
    }

    fn ask_to_retire<V: Data>(&self, state: &FastState<V>, out: Say<'_, V, F>) {
        if let (Garbage::Asked(confirmed), Some(round)) = (state.garbage, state.used) {
            let all = NodeSet::first(self.config.paxos.matchmakers).difference(confirmed);
            self.send_all(all, Role::Matchmaker, &Msg::Paxos(Paxos::GarbageA { round }), out);
        }
    }

    /// Asks, or asks again, all that have not answered in this phase.
    fn ask<V: Data>(&self, state: &FastState<V>, out: Say<'_, V, F>) {
        let Some(round) = state.used else { return };
        match &state.phase {
            FastPhase::Idle | FastPhase::Done(_) => {}
            FastPhase::Matching { answers, .. } => {
                let all = NodeSet::first(self.config.paxos.matchmakers).difference(answers.replied);
                let configuration = self.config.configuration(round);
                self.send_all(
                    all,
                    Role::Matchmaker,
                    &Msg::Paxos(Paxos::MatchA { round, configuration }),
                    out,
                );
            }
            FastPhase::Phase1 { earlier, promised, .. } => {
                let sets = earlier.iter().map(|(_, configuration)| configuration.acceptors());
                let all = sets.fold(NodeSet::EMPTY, NodeSet::union).difference(*promised);
                self.send_all(all, Role::Acceptor, &Msg::Paxos(Paxos::Phase1a { round }), out);
            }
            FastPhase::Phase2 { value, votes } => {
                let msg = match value {
                    Some(value) => Msg::Paxos(Paxos::Phase2a { round, value: value.clone() }),
                    None => Msg::Any { round },
                };
                let all = self.config.acceptors(round).difference(votes.voters());
                self.send_all(all, Role::Acceptor, &msg, out);
            }
        }
        self.set_timer(state, out);
    }

    /// Wakes up again as long as something is outstanding.
    fn set_timer<V: Data>(&self, state: &FastState<V>, out: Say<'_, V, F>) {
        if !self.config.paxos.resend {
            return;
        }
        if self.rests(state) {
            out.cancel_timer(Timer::Resend);
        } else {
            out.set_timer(Timer::Resend, self.config.paxos.resend_after.clone());
        }
    }

    fn send_all<V: Data>(&self, numbers: NodeSet, role: fn(usize) -> Role, msg: &Msg<V>, out: Say<'_, V, F>) {
        for number in numbers.iter() {
            out.send(self.config.paxos.id(role(number)), msg.clone());
        }
    }
}
