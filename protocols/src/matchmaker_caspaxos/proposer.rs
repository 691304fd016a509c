//! The proposer: one round for each command.

use super::{Config, Machine, Msg, Mutant, Node, Register, Storage, Timer};
use crate::client::ClientMsg;
use crate::command::{CommandId, CommandOf};
use crate::faults::Faults;
use crate::matchmaker_paxos::{Garbage, Msg as Paxos, Role, Vote};
use crate::matchmaking::{Age, Configuration, Matched, Matching, Round, read_everywhere};
use crate::state_machine::StateMachine;
use parthood_quorums::{NodeSet, QuorumSystem};
use stateright::actor::{Id, Out};
use std::sync::Arc;

/// The most commands that wait; more are answered "busy".
const WAITING_MAX: usize = 64;

/// A proposer, as configured.
#[derive(Clone, Debug)]
pub struct CasProposer<F> {
    /// Its number, from 0.
    pub index: usize,
    /// The configurations of its rounds, in turn; at least one.
    pub configurations: Vec<Configuration>,
    /// It uses no round of this age ([`Round::age`]) or above; a bound for models.
    pub rounds_max: u64,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A proposer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CasState<M: StateMachine> {
    /// The largest round that it has used; saved before it is used.
    pub used: Option<Round>,
    /// The largest round that it has heard of.
    pub heard: Option<Round>,
    /// The commands that wait, in the order in which they came.
    pub waiting: Vec<CommandOf<M>>,
    /// What it has proposed in the round it has used last, if anything.
    pub last: Option<Register<M>>,
    /// How often it has sent again in vain since it last got ahead.
    pub attempts: u32,
    /// Where it stands.
    pub phase: CasPhase<M>,
    /// How far the garbage collection of its present round is.
    pub garbage: Garbage,
}

/// Where a proposer stands in its present round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CasPhase<M: StateMachine> {
    /// It has nothing to do.
    Idle,
    /// It collects answers of matchmakers.
    Matching {
        /// The answers so far.
        answers: Matching,
        /// Its proposal of the predecessor, which spares it phase 1.
        carried: Option<Register<M>>,
    },
    /// It collects promises.
    Phase1 {
        /// The configurations to ask.
        earlier: Vec<Matched>,
        /// The acceptors that promised.
        promised: NodeSet,
        /// The reported vote with the highest round.
        best: Option<Vote<Register<M>>>,
    },
    /// It collects votes for its last proposal, in which this command is applied.
    Phase2 {
        /// The command.
        command: CommandOf<M>,
        /// The acceptors that voted.
        voted: NodeSet,
    },
}

impl<M: Machine> CasState<M> {
    /// The first state, or the one after a restart.
    pub(super) fn after(storage: Option<&Storage<M>>) -> Self {
        let used = storage.and_then(|storage| match storage {
            Storage::Proposer(used) => Some(*used),
            _ => None,
        });
        Self {
            used,
            heard: used,
            waiting: vec![],
            last: None,
            attempts: 0,
            phase: CasPhase::Idle,
            garbage: Garbage::Idle,
        }
    }

    /// Will nothing happen when its time is up?
    pub(super) fn rests(&self) -> bool {
        self.phase == CasPhase::Idle && !matches!(self.garbage, Garbage::Asked(_))
    }

    fn awaits(&self, id: &CommandId) -> bool {
        self.waiting.iter().any(|command| command.id == *id)
    }
}

type Say<'a, M, F> = &'a mut Out<Node<M, F>>;

impl<F: Faults<Mutant>> CasProposer<F> {
    /// The configuration of one of its rounds.
    pub fn configuration(&self, round: Round) -> &Configuration {
        let turn = round.age() % self.configurations.len() as u64;
        &self.configurations[usize::try_from(turn).unwrap_or_default()]
    }

    pub(super) fn ignores<M: Machine>(&self, state: &CasState<M>, src: Id, msg: &Msg<M>) -> bool {
        let current = |round: &Round| state.used == Some(*round);
        let role = self.config.paxos.role(src);
        match (msg, role) {
            (Msg::Client(ClientMsg::Request(command)), None) => {
                !command.is_sound::<M>(src) || state.awaits(&command.id)
            }
            (Msg::Paxos(Paxos::MatchB { round, .. }), Some(Role::Matchmaker(number))) => match &state.phase {
                CasPhase::Matching { answers, .. } => !current(round) || answers.replied.contains(number),
                _ => true,
            },
            (Msg::Paxos(Paxos::Phase1b { round, .. }), Some(Role::Acceptor(_))) => {
                !current(round) || !matches!(state.phase, CasPhase::Phase1 { .. })
            }
            (Msg::Paxos(Paxos::Phase2b { round, .. }), Some(Role::Acceptor(_))) => {
                !current(round) || !matches!(state.phase, CasPhase::Phase2 { .. })
            }
            (Msg::Paxos(Paxos::GarbageB { watermark }), Some(Role::Matchmaker(_))) => {
                !matches!(state.garbage, Garbage::Asked(_)) || Some(*watermark) < state.used
            }
            (Msg::Paxos(Paxos::Nack { round }), Some(Role::Matchmaker(_) | Role::Acceptor(_))) => {
                Some(*round) <= state.heard
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<M: Machine>(
        &self,
        state: &mut CasState<M>,
        src: Id,
        msg: Msg<M>,
        out: Say<'_, M, F>,
    ) {
        match (msg, self.config.paxos.role(src)) {
            (Msg::Client(ClientMsg::Request(command)), _) => self.on_request(state, command, out),
            (Msg::Paxos(Paxos::MatchB { watermark, earlier, .. }), Some(Role::Matchmaker(number))) => {
                self.on_match_b(state, number, watermark, earlier, out);
            }
            (Msg::Paxos(Paxos::Phase1b { vote, .. }), Some(Role::Acceptor(number))) => {
                self.on_phase1b(state, number, vote, out);
            }
            (Msg::Paxos(Paxos::Phase2b { .. }), Some(Role::Acceptor(number))) => {
                self.on_phase2b(state, number, out);
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

    fn on_request<M: Machine>(&self, state: &mut CasState<M>, command: CommandOf<M>, out: Say<'_, M, F>) {
        if state.waiting.len() >= WAITING_MAX {
            out.send(command.id.client_id(), ClientMsg::Busy { id: command.id }.into());
            return;
        }
        state.waiting.push(command);
        if state.phase == CasPhase::Idle {
            self.begin_round(state, out);
        }
    }

    /// The round that it would go on to, if the bound allows one more.
    fn next_round<M: StateMachine>(&self, state: &CasState<M>) -> Option<Round> {
        let round = Round::next_owned_by(self.index, state.heard);
        (round.age() < self.rounds_max).then_some(round)
    }

    fn begin_round<M: Machine>(&self, state: &mut CasState<M>, out: Say<'_, M, F>) {
        let Some(round) = self.next_round(state) else {
            state.phase = CasPhase::Idle;
            return self.set_timer(state, out);
        };
        let follows = state.used.map(Round::successor) == Some(round);
        let spared = self.config.paxos.own_bypass && (follows || self.breaks(Mutant::OwnBypassFromAnyRound));
        let carried = state.last.take().filter(|_| spared);
        (state.used, state.heard) = (Some(round), Some(round));
        if !self.breaks(Mutant::ProposerForgets) {
            out.save(Storage::Proposer(round));
        }
        state.garbage = Garbage::Idle;
        self.enter(state, CasPhase::Matching { answers: Matching::default(), carried }, out);
    }

    fn enter<M: Machine>(&self, state: &mut CasState<M>, phase: CasPhase<M>, out: Say<'_, M, F>) {
        state.phase = phase;
        state.attempts = 0;
        self.ask(state, out);
    }

    fn on_match_b<M: Machine>(
        &self,
        state: &mut CasState<M>,
        matchmaker: usize,
        watermark: Round,
        below: Vec<Matched>,
        out: Say<'_, M, F>,
    ) {
        let CasPhase::Matching { answers, carried } = &mut state.phase else { return };
        answers.add(matchmaker, watermark, Age::default(), below);
        if answers.replied.len() < self.config.paxos.f_plus_1() {
            return;
        }
        let earlier = answers.returned();
        match carried.take() {
            Some(register) => self.propose(state, register, out),
            None if earlier.is_empty() => self.propose_first(state, out),
            None => {
                self.enter(state, CasPhase::Phase1 { earlier, promised: NodeSet::EMPTY, best: None }, out);
            }
        }
    }

    fn on_phase1b<M: Machine>(
        &self,
        state: &mut CasState<M>,
        acceptor: usize,
        vote: Option<Vote<Register<M>>>,
        out: Say<'_, M, F>,
    ) {
        let CasPhase::Phase1 { earlier, promised, best } = &mut state.phase else { return };
        promised.insert(acceptor);
        let better = match (&vote, &*best) {
            (Some(vote), Some(best)) if self.breaks(Mutant::LowestVote) => vote.vote_round < best.vote_round,
            (Some(vote), Some(best)) => vote.vote_round > best.vote_round,
            (vote, _) => vote.is_some(),
        };
        if better {
            *best = vote;
        }
        if !read_everywhere(earlier.iter().map(|(_, configuration)| configuration), *promised) {
            return;
        }
        // The hard step: what may already be chosen must be an ancestor of what is proposed.
        match best.take().filter(|_| !self.breaks(Mutant::IgnoreVotes)) {
            Some(vote) => self.propose(state, vote.vote_value, out),
            None => self.propose_first(state, out),
        }
    }

    /// Nothing was or will be chosen below this round: collects, and begins with the initial state.
    fn propose_first<M: Machine>(&self, state: &mut CasState<M>, out: Say<'_, M, F>) {
        if self.config.paxos.scenarios.free {
            self.collect(state, out);
        }
        self.propose(state, Register::initial(self.config.known_clients.iter().copied()), out);
    }

    /// Applies the command whose turn it is, and proposes the result.
    fn propose<M: Machine>(&self, state: &mut CasState<M>, mut register: Register<M>, out: Say<'_, M, F>) {
        let Some(command) = state.waiting.first().cloned() else { return };
        register.apply(&command, self.config.lanes_max, self.breaks(Mutant::NoClientTable));
        if self.breaks(Mutant::AnswerProposal) {
            answer(&register, &command, out);
        }
        state.last = Some(register);
        self.enter(state, CasPhase::Phase2 { command, voted: NodeSet::EMPTY }, out);
    }

    fn on_phase2b<M: Machine>(&self, state: &mut CasState<M>, acceptor: usize, out: Say<'_, M, F>) {
        let (CasPhase::Phase2 { command, voted }, Some(round)) = (&mut state.phase, state.used) else {
            return;
        };
        voted.insert(acceptor);
        let command = command.clone();
        let is_chosen = self.configuration(round).is_write_quorum(*voted);
        if is_chosen && self.config.paxos.scenarios.chosen || self.breaks(Mutant::CollectOnVote) {
            self.collect(state, out);
        }
        if !is_chosen {
            return;
        }
        if let Some(register) = &state.last
            && !self.breaks(Mutant::SilentProposer)
        {
            answer(register, &command, out);
        }
        state.waiting.retain(|waiting| waiting.id != command.id);
        if state.waiting.is_empty() {
            self.enter(state, CasPhase::Idle, out);
        } else {
            self.begin_round(state, out);
        }
    }

    /// Sends again; or begins a higher round, if another proposer has got ahead or its patience is at an end.
    pub(super) fn on_resend<M: Machine>(&self, state: &mut CasState<M>, out: Say<'_, M, F>) {
        let contends = state.phase != CasPhase::Idle;
        let give_up = state.heard > state.used || state.attempts >= self.config.paxos.patience;
        if contends && give_up && self.next_round(state).is_some() {
            self.begin_round(state, out);
            return;
        }
        if contends && state.attempts < self.config.paxos.patience {
            state.attempts += 1;
        }
        self.ask(state, out);
        self.ask_to_retire(state, out);
    }

    /// Has the matchmakers forget what is below its round.
    fn collect<M: Machine>(&self, state: &mut CasState<M>, out: Say<'_, M, F>) {
        if state.garbage == Garbage::Idle && state.used > Some(Round::ZERO) {
            state.garbage = Garbage::Asked(NodeSet::EMPTY);
            self.ask_to_retire(state, out);
            self.set_timer(state, out);
        }
    }

    fn ask_to_retire<M: Machine>(&self, state: &CasState<M>, out: Say<'_, M, F>) {
        if let (Garbage::Asked(confirmed), Some(round)) = (state.garbage, state.used) {
            let all = NodeSet::first(self.config.paxos.matchmakers).difference(confirmed);
            self.send_all(all, Role::Matchmaker, &Paxos::GarbageA { round }, out);
        }
    }

    /// Asks, or asks again, all that have not answered in this phase.
    fn ask<M: Machine>(&self, state: &CasState<M>, out: Say<'_, M, F>) {
        let Some(round) = state.used else { return };
        let configuration = self.configuration(round);
        match &state.phase {
            CasPhase::Idle => {}
            CasPhase::Matching { answers, .. } => {
                let all = NodeSet::first(self.config.paxos.matchmakers).difference(answers.replied);
                let msg = Paxos::MatchA { round, configuration: configuration.clone() };
                self.send_all(all, Role::Matchmaker, &msg, out);
            }
            CasPhase::Phase1 { earlier, promised, .. } => {
                let sets = earlier.iter().map(|(_, configuration)| configuration.acceptors());
                let all = sets.fold(NodeSet::EMPTY, NodeSet::union).difference(*promised);
                self.send_all(all, Role::Acceptor, &Paxos::Phase1a { round }, out);
            }
            CasPhase::Phase2 { voted, .. } => {
                if let Some(register) = &state.last {
                    let all = configuration.acceptors().difference(*voted);
                    let msg = Paxos::Phase2a { round, value: register.clone() };
                    self.send_all(all, Role::Acceptor, &msg, out);
                }
            }
        }
        self.set_timer(state, out);
    }

    /// Wakes up again as long as something is outstanding.
    fn set_timer<M: Machine>(&self, state: &CasState<M>, out: Say<'_, M, F>) {
        if !self.config.paxos.resend {
            return;
        }
        if state.rests() {
            out.cancel_timer(Timer::Resend);
        } else {
            out.set_timer(Timer::Resend, self.config.paxos.resend_after.clone());
        }
    }

    fn send_all<M: Machine>(
        &self,
        numbers: NodeSet,
        role: fn(usize) -> Role,
        msg: &Paxos<Register<M>>,
        out: Say<'_, M, F>,
    ) {
        for number in numbers.iter() {
            out.send(self.config.paxos.id(role(number)), Msg::Paxos(msg.clone()));
        }
    }

    fn breaks(&self, rule: Mutant) -> bool {
        self.config.faults.breaks(rule)
    }
}

/// Tells the client what became of its command, if it still waits.
fn answer<M: Machine, F: Faults<Mutant>>(
    register: &Register<M>,
    command: &CommandOf<M>,
    out: &mut Out<Node<M, F>>,
) {
    if let Some(answer) = register.answer(command) {
        out.send(command.id.client_id(), ClientMsg::Reply { id: command.id, answer }.into());
    }
}
