//! The proposer: matches a round, asks whom it must, and gets one value chosen.

use super::{Config, Garbage, Msg, Mutant, Node, Role, Storage, Timer, Vote};
use crate::faults::Faults;
use crate::matchmaking::{Age, Configuration, Matched, Matching, Round, read_everywhere};
use crate::state_machine::Data;
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// The most clients that a proposer keeps waiting; the others ask again.
const CLIENTS_WAITING_MAX: usize = 1024;

/// A proposer, as configured.
#[derive(Clone, Debug)]
pub struct Proposer<F> {
    /// Its number, from 0.
    pub index: usize,
    /// The configurations of its rounds, in turn; at least one.
    pub configurations: Vec<Configuration>,
    /// It uses no round of this age ([`Round::age`]) or above; a bound for models.
    pub rounds_max: u64,
    /// Whether it begins its first round when it starts, before any client has asked (*proactive matchmaking*).
    pub proactive: bool,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A proposer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProposerState<V> {
    /// The largest round that it has used; saved before it is used.
    pub used: Option<Round>,
    /// The largest round that it has heard of.
    pub heard: Option<Round>,
    /// The clients that wait for the chosen value, and what they proposed, in ascending order.
    pub clients: Vec<(Id, V)>,
    /// How often it has sent again in vain since it last got ahead.
    pub attempts: u32,
    /// Where it stands.
    pub phase: Phase<V>,
    /// How far the garbage collection of its present round is.
    pub garbage: Garbage,
}

/// What a proposer takes along from the predecessor of its round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Carried<V> {
    /// Nothing.
    Nothing,
    /// That nothing can be chosen below.
    Freedom,
    /// That nothing but this, its proposal, can be chosen below.
    Proposal(V),
}

/// Where a proposer stands in its present round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase<V> {
    /// It has no round.
    Idle,
    /// It collects answers of matchmakers.
    Matching {
        /// The answers so far.
        answers: Matching,
        /// What spares it phase 1.
        carried: Carried<V>,
    },
    /// It collects promises.
    Phase1 {
        /// The configurations to ask.
        earlier: Vec<Matched>,
        /// The acceptors that promised.
        promised: NodeSet,
        /// The reported vote with the highest round.
        best: Option<Vote<V>>,
    },
    /// Nothing can be chosen below its round, and it waits for a client.
    Free,
    /// It collects votes.
    Phase2 {
        /// The value proposed.
        value: V,
        /// The acceptors that voted.
        voted: NodeSet,
    },
    /// Some value is chosen, and it asks the replicas which.
    Fetching,
    /// It knows the chosen value and hands it to the replicas.
    Storing {
        /// The chosen value.
        value: V,
        /// The replicas that keep it.
        stored: NodeSet,
    },
    /// It tells the acceptors of its round that a value is chosen and stored.
    Persisting {
        /// The chosen value.
        value: V,
        /// The acceptors that noted it.
        noted: NodeSet,
    },
    /// It knows the chosen value, and there is nothing more to do about it.
    Done(V),
}

impl<V> Phase<V> {
    /// The chosen value, if the proposer knows it.
    pub fn chosen(&self) -> Option<&V> {
        match self {
            Self::Storing { value, .. } | Self::Persisting { value, .. } | Self::Done(value) => Some(value),
            _ => None,
        }
    }

    /// Does it try to get something chosen that nobody has chosen yet, as far as it knows?
    fn contends(&self) -> bool {
        matches!(self, Self::Matching { .. } | Self::Phase1 { .. } | Self::Phase2 { .. })
    }
}

impl<V> ProposerState<V> {
    /// The round below which every configuration is retired, as far as this proposer has seen to it.
    pub fn retired_below(&self) -> Option<Round> {
        self.used.filter(|_| self.garbage == Garbage::Done)
    }

    /// Will nothing happen when its time is up?
    pub(super) fn rests(&self) -> bool {
        let outstanding = !matches!(self.phase, Phase::Idle | Phase::Free | Phase::Done(_));
        !outstanding && !matches!(self.garbage, Garbage::Asked(_))
    }
}

type Say<'a, V, F> = &'a mut Out<Node<V, F>>;

impl<F: Faults<Mutant>> Proposer<F> {
    /// The first state, or the one after a restart: of what it used nothing is left but that it must not use it again.
    pub(super) fn start<V: Data>(&self, used: Option<Round>, out: Say<'_, V, F>) -> ProposerState<V> {
        let mut state = ProposerState {
            used,
            heard: used,
            clients: vec![],
            attempts: 0,
            phase: Phase::Idle,
            garbage: Garbage::Idle,
        };
        if self.proactive {
            self.begin_round(&mut state, out);
        }
        state
    }

    /// The configuration of one of its rounds.
    pub fn configuration(&self, round: Round) -> &Configuration {
        let turn = round.age() % self.configurations.len() as u64;
        &self.configurations[usize::try_from(turn).unwrap_or_default()]
    }

    pub(super) fn ignores<V: Data>(&self, state: &ProposerState<V>, src: Id, msg: &Msg<V>) -> bool {
        let current = |round: &Round| state.used == Some(*round);
        let role = self.config.role(src);
        match (msg, role) {
            (Msg::Propose(_), None) => {
                let waits = state.clients.iter().any(|(client, _)| *client == src);
                waits && state.phase.chosen().is_none()
            }
            (Msg::Reconfigure, None) => state.phase.chosen().is_some() || self.next_round(state).is_none(),
            (Msg::MatchB { round, .. }, Some(Role::Matchmaker(number))) => match &state.phase {
                Phase::Matching { answers, .. } => !current(round) || answers.replied.contains(number),
                _ => true,
            },
            (Msg::Phase1b { round, .. }, Some(Role::Acceptor(_))) => {
                !current(round) || !matches!(state.phase, Phase::Phase1 { .. })
            }
            (Msg::Phase2b { round, .. }, Some(Role::Acceptor(_))) => {
                !current(round) || !matches!(state.phase, Phase::Phase2 { .. })
            }
            (Msg::Stored, Some(Role::Replica(_))) => !matches!(state.phase, Phase::Storing { .. }),
            (Msg::Fetched(_), Some(Role::Replica(_))) => !matches!(state.phase, Phase::Fetching),
            (Msg::PersistedAck { round }, Some(Role::Acceptor(_))) => {
                !current(round) || !matches!(state.phase, Phase::Persisting { .. })
            }
            (Msg::GarbageB { watermark }, Some(Role::Matchmaker(_))) => {
                !matches!(state.garbage, Garbage::Asked(_)) || Some(*watermark) < state.used
            }
            (Msg::Nack { round }, Some(Role::Matchmaker(_) | Role::Acceptor(_))) => {
                Some(*round) <= state.heard || state.phase.chosen().is_some()
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        src: Id,
        msg: Msg<V>,
        out: Say<'_, V, F>,
    ) {
        match (msg, self.config.role(src)) {
            (Msg::Propose(value), _) => self.on_propose(state, src, value, out),
            (Msg::Reconfigure, _) => self.begin_round(state, out),
            (Msg::MatchB { watermark, earlier, .. }, Some(Role::Matchmaker(number))) => {
                self.on_match_b(state, number, watermark, earlier, out);
            }
            (Msg::Phase1b { vote, persisted, .. }, Some(Role::Acceptor(number))) => {
                self.on_phase1b(state, number, vote, persisted, out);
            }
            (Msg::Phase2b { persisted, .. }, Some(Role::Acceptor(number))) => {
                self.on_phase2b(state, number, persisted, out);
            }
            (Msg::Stored, Some(Role::Replica(number))) => self.on_stored(state, number, out),
            (Msg::Fetched(value), _) => self.learn(state, value, out),
            (Msg::PersistedAck { .. }, Some(Role::Acceptor(number))) => {
                self.on_persisted_ack(state, number, out);
            }
            (Msg::GarbageB { .. }, Some(Role::Matchmaker(number))) => self.on_garbage_b(state, number, out),
            (Msg::Nack { round }, _) => state.heard = Some(round),
            _ => {}
        }
    }

    fn on_propose<V: Data>(&self, state: &mut ProposerState<V>, client: Id, value: V, out: Say<'_, V, F>) {
        if let Some(chosen) = state.phase.chosen() {
            out.send(client, Msg::Chosen(chosen.clone()));
            return;
        }
        if let Err(at) = state.clients.binary_search_by_key(&client, |(client, _)| *client)
            && state.clients.len() < CLIENTS_WAITING_MAX
        {
            state.clients.insert(at, (client, value));
        }
        match state.phase {
            Phase::Idle => self.begin_round(state, out),
            Phase::Free => self.use_freedom(state, out),
            _ => {}
        }
    }

    /// The round that it would go on to, if the bound allows one more.
    fn next_round<V>(&self, state: &ProposerState<V>) -> Option<Round> {
        let round = Round::next_owned_by(self.index, state.heard);
        (round.age() < self.rounds_max).then_some(round)
    }

    /// Begins the smallest round of its own above all that it has heard of.
    fn begin_round<V: Data>(&self, state: &mut ProposerState<V>, out: Say<'_, V, F>) {
        let Some(round) = self.next_round(state) else { return };
        let carried = self.carried_to(round, state);
        if self.config.breaks(Mutant::RelabelPending)
            && let (Some(old), Phase::Phase2 { value, .. }) = (state.used, &state.phase)
        {
            self.ask_acceptors(self.configuration(old), &Msg::Phase2a { round, value: value.clone() }, out);
        }
        (state.used, state.heard) = (Some(round), Some(round));
        if !self.config.breaks(Mutant::ProposerForgets) {
            out.save(Storage::Proposer(round));
        }
        state.garbage = Garbage::Idle;
        self.enter(state, Phase::Matching { answers: Matching::default(), carried }, out);
    }

    /// What the present round allows the next one to take along. An unfinished matching passes nothing on.
    fn carried_to<V: Data>(&self, round: Round, state: &ProposerState<V>) -> Carried<V> {
        let Config { bypass, own_bypass, .. } = *self.config;
        let breaks = |rule| self.config.breaks(rule);
        let follows = state.used.map(Round::successor) == Some(round);
        let is_own = |value: &V| state.clients.iter().any(|(_, own)| own == value);
        match &state.phase {
            Phase::Free if breaks(Mutant::CollectByOlderFreedom) => Carried::Freedom,
            Phase::Free if bypass && (follows || breaks(Mutant::BypassFromAnyRound)) => Carried::Freedom,
            Phase::Phase2 { .. } if bypass && follows && breaks(Mutant::BypassAfterProposing) => {
                Carried::Freedom
            }
            Phase::Phase2 { value, .. }
                if bypass && follows && breaks(Mutant::BypassAfterVotes) && !is_own(value) =>
            {
                Carried::Freedom
            }
            Phase::Phase2 { value, .. }
                if own_bypass && (follows || breaks(Mutant::OwnBypassFromAnyRound)) =>
            {
                Carried::Proposal(value.clone())
            }
            _ => Carried::Nothing,
        }
    }

    /// Goes on to a phase, and says what there is to say in it.
    pub(super) fn enter<V: Data>(&self, state: &mut ProposerState<V>, phase: Phase<V>, out: Say<'_, V, F>) {
        state.phase = phase;
        state.attempts = 0;
        self.ask(state, out);
    }

    fn on_match_b<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        matchmaker: usize,
        watermark: Round,
        below: Vec<Matched>,
        out: Say<'_, V, F>,
    ) {
        let breaks = |rule| self.config.breaks(rule);
        let Phase::Matching { answers, carried } = &mut state.phase else { return };
        answers.add(matchmaker, watermark, Age::default(), below);
        if !self.config.is_enough(answers.replied, breaks(Mutant::MatchQuorumShort)) {
            return;
        }
        let earlier = self.returned(answers);
        let carried = std::mem::replace(carried, Carried::Nothing);
        let older_freedom = carried == Carried::Freedom && breaks(Mutant::CollectByOlderFreedom);
        if older_freedom || breaks(Mutant::CollectOnMatch) {
            self.collect(state, out);
        }
        match carried {
            Carried::Freedom if !older_freedom => self.use_freedom(state, out),
            Carried::Proposal(value) => self.propose(state, value, out),
            _ if earlier.is_empty() => self.use_freedom(state, out),
            _ => self.enter(state, Phase::Phase1 { earlier, promised: NodeSet::EMPTY, best: None }, out),
        }
    }

    /// The configurations that phase 1 must ask.
    fn returned(&self, answers: &Matching) -> Vec<Matched> {
        let breaks = |rule| self.config.breaks(rule);
        let mut returned = answers.returned();
        if breaks(Mutant::IgnoreWatermarks) {
            returned.clone_from(&answers.earlier);
        }
        if breaks(Mutant::PruneTooMuch) {
            returned.retain(|(round, _)| *round != answers.watermark || *round == Round::ZERO);
        }
        if breaks(Mutant::SkipOldestConfiguration) && returned.len() > 1 {
            returned.remove(0);
        }
        if breaks(Mutant::OnlyNewestConfiguration) {
            returned.drain(..returned.len().saturating_sub(1));
        }
        returned
    }

    fn on_phase1b<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        acceptor: usize,
        vote: Option<Vote<V>>,
        persisted: bool,
        out: Say<'_, V, F>,
    ) {
        let breaks = |rule| self.config.breaks(rule);
        let Phase::Phase1 { earlier, promised, best } = &mut state.phase else { return };
        if persisted && !breaks(Mutant::IgnorePersisted) {
            self.enter(state, Phase::Fetching, out);
            return;
        }
        promised.insert(acceptor);
        let better = match (&vote, &*best) {
            (Some(vote), Some(best)) if breaks(Mutant::LowestVote) => vote.vote_round < best.vote_round,
            (Some(vote), Some(best)) => vote.vote_round > best.vote_round,
            (vote, _) => vote.is_some(),
        };
        if better {
            *best = vote;
        }
        let configurations = || earlier.iter().map(|(_, configuration)| configuration);
        let any_suffices = breaks(Mutant::AnyConfigurationSuffices);
        if !(read_everywhere(configurations(), *promised)
            || any_suffices && configurations().any(|configuration| configuration.is_read_quorum(*promised)))
        {
            return;
        }
        // The hard step: what may already be chosen must be proposed again; only then is this proposer free.
        match best.take() {
            Some(vote) => self.propose(state, vote.vote_value, out),
            None => self.use_freedom(state, out),
        }
    }

    /// Nothing was or will be chosen below this round: collects, and proposes what a client wants.
    fn use_freedom<V: Data>(&self, state: &mut ProposerState<V>, out: Say<'_, V, F>) {
        if self.config.scenarios.free {
            self.collect(state, out);
        }
        let step = state.used.map_or(0, |round| round.step);
        let turn = step.checked_rem(state.clients.len() as u64).and_then(|turn| usize::try_from(turn).ok());
        match turn.and_then(|turn| state.clients.get(turn)) {
            Some((_, value)) => self.propose(state, value.clone(), out),
            None => self.enter(state, Phase::Free, out),
        }
    }

    /// Proposes the one value that it will ever propose in this round.
    fn propose<V: Data>(&self, state: &mut ProposerState<V>, value: V, out: Say<'_, V, F>) {
        self.enter(state, Phase::Phase2 { value, voted: NodeSet::EMPTY }, out);
        if self.config.breaks(Mutant::CollectInPhase2) {
            self.collect(state, out);
        }
    }

    fn on_phase2b<V: Data>(
        &self,
        state: &mut ProposerState<V>,
        acceptor: usize,
        persisted: bool,
        out: Say<'_, V, F>,
    ) {
        let breaks = |rule| self.config.breaks(rule);
        let (Phase::Phase2 { value, voted }, Some(round)) = (&mut state.phase, state.used) else { return };
        let value = value.clone();
        if persisted && !breaks(Mutant::PersistedIsChosenHere) {
            self.enter(state, Phase::Fetching, out);
            return;
        }
        voted.insert(acceptor);
        let quorums = self.configuration(round);
        let one_more = |node| quorums.is_write_quorum(voted.with(node));
        let short = breaks(Mutant::WriteQuorumShort) && (0..self.config.acceptors).any(one_more);
        let is_chosen = quorums.is_write_quorum(*voted) || short || persisted;
        if is_chosen && self.config.scenarios.chosen || breaks(Mutant::CollectOnVote) {
            self.collect(state, out);
        }
        if is_chosen {
            self.learn(state, value, out);
        }
    }

    /// Sends again; or begins a higher round, if another proposer has got ahead or its patience is at an end: it may wait
    /// for acceptors that were retired after it had matched.
    pub(super) fn on_resend<V: Data>(&self, state: &mut ProposerState<V>, out: Say<'_, V, F>) {
        let contends = state.phase.contends();
        let give_up = state.heard > state.used || state.attempts >= self.config.patience;
        if contends && give_up && self.next_round(state).is_some() {
            self.begin_round(state, out);
            return;
        }
        if contends && state.attempts < self.config.patience {
            state.attempts += 1;
        }
        self.ask(state, out);
        self.ask_to_retire(state, out);
    }

    /// Asks, or asks again, all that have not answered in this phase.
    fn ask<V: Data>(&self, state: &ProposerState<V>, out: Say<'_, V, F>) {
        let Some(round) = state.used else { return };
        let configuration = self.configuration(round);
        match &state.phase {
            Phase::Idle | Phase::Free | Phase::Done(_) => {}
            Phase::Matching { answers, .. } => {
                let configuration = configuration.clone();
                self.ask_matchmakers(answers.replied, &Msg::MatchA { round, configuration }, out);
            }
            Phase::Phase1 { earlier, promised, .. } => {
                let all = earlier
                    .iter()
                    .fold(NodeSet::EMPTY, |all, (_, configuration)| all.union(configuration.acceptors()));
                let all = if self.config.ask_everyone { NodeSet::first(self.config.acceptors) } else { all };
                self.send_all(all.difference(*promised), Role::Acceptor, &Msg::Phase1a { round }, out);
            }
            Phase::Phase2 { value, voted } => {
                let all = configuration.acceptors().difference(*voted);
                self.send_all(all, Role::Acceptor, &Msg::Phase2a { round, value: value.clone() }, out);
            }
            Phase::Fetching => {
                self.send_all(NodeSet::first(self.config.replicas), Role::Replica, &Msg::Fetch, out);
            }
            Phase::Storing { value, stored } => {
                let all = NodeSet::first(self.config.replicas).difference(*stored);
                self.send_all(all, Role::Replica, &Msg::Store(value.clone()), out);
            }
            Phase::Persisting { noted, .. } => {
                let all = configuration.acceptors().difference(*noted);
                self.send_all(all, Role::Acceptor, &Msg::Persisted { round }, out);
            }
        }
        self.set_timer(state, out);
    }

    /// Wakes up again as long as something is outstanding.
    pub(super) fn set_timer<V: Data>(&self, state: &ProposerState<V>, out: Say<'_, V, F>) {
        if !self.config.resend {
            return;
        }
        if state.rests() {
            out.cancel_timer(Timer::Resend);
        } else {
            out.set_timer(Timer::Resend, self.config.resend_after.clone());
        }
    }

    fn ask_acceptors<V: Data>(&self, configuration: &Configuration, msg: &Msg<V>, out: Say<'_, V, F>) {
        self.send_all(configuration.acceptors(), Role::Acceptor, msg, out);
    }

    pub(super) fn ask_matchmakers<V: Data>(&self, answered: NodeSet, msg: &Msg<V>, out: Say<'_, V, F>) {
        let all = NodeSet::first(self.config.matchmakers).difference(answered);
        self.send_all(all, Role::Matchmaker, msg, out);
    }

    fn send_all<V: Data>(&self, numbers: NodeSet, role: fn(usize) -> Role, msg: &Msg<V>, out: Say<'_, V, F>) {
        for number in numbers.iter() {
            out.send(self.config.id(role(number)), msg.clone());
        }
    }
}
