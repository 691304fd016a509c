//! The proposer: matches rounds of its own, and retires what is below them.

use super::{Config, Matching, Msg, Mutant, Node, Noted, Role, Storage, Timer};
use crate::faults::Faults;
use crate::matchmaker_paxos::Garbage;
use crate::matchmaking::{Age, Ask, Epoch, Matched, Round, Said};
use parthood_quorums::NodeSet;
use stateright::actor::{Id, Out};
use std::sync::Arc;
use std::time::Duration;

/// A proposer, as configured.
#[derive(Clone, Debug)]
pub struct Proposer<F> {
    /// Its number, from 0.
    pub index: usize,
    /// It uses no round of this age ([`Round::age`]) or above; a bound for models.
    pub rounds_max: u64,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A proposer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProposerState {
    /// The largest round that it has used; saved before it is used.
    pub used: Option<Round>,
    /// The largest round that it has heard of.
    pub heard: Option<Round>,
    /// The newest epoch that it knows.
    pub epoch: Epoch,
    /// Where it stands.
    pub phase: Phase,
    /// How far the retirement of what is below its round is.
    pub garbage: Garbage,
}

/// Where a proposer stands in its round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nowhere: it was overtaken, or has just been restarted.
    Idle,
    /// It collects answers.
    Matching(Matching),
    /// It knows what came before.
    Matched(Vec<Matched<Noted>>),
}

impl<F: Faults<Mutant>> Proposer<F> {
    pub(super) fn start(&self, used: Option<Round>, out: &mut Out<Node<F>>) -> ProposerState {
        let (epoch, garbage) = (self.config.first, Garbage::Idle);
        let mut state = ProposerState { used, heard: used, epoch, phase: Phase::Idle, garbage };
        if used.is_none() {
            self.begin(&mut state, out);
        } else {
            self.await_turn(&state, out);
        }
        state
    }

    fn next_round(&self, state: &ProposerState) -> Option<Round> {
        let round = Round::next_owned_by(self.index, state.heard);
        (round.age() < self.rounds_max).then_some(round)
    }

    fn await_turn(&self, state: &ProposerState, out: &mut Out<Node<F>>) {
        if self.next_round(state).is_some() {
            let at_once = Duration::ZERO..Duration::ZERO;
            out.set_timer(Timer::Begin, self.config.resend.clone().unwrap_or(at_once));
        }
    }

    /// What is noted for a round: nothing else is ever noted for it.
    fn noted(&self, round: Round) -> Noted {
        round.age().saturating_mul(8).saturating_add(self.index as u64)
    }

    fn begin(&self, state: &mut ProposerState, out: &mut Out<Node<F>>) {
        let Some(round) = self.next_round(state) else { return };
        (state.used, state.heard) = (Some(round), Some(round));
        out.save(Storage::Proposer(round));
        (state.phase, state.garbage) = (Phase::Matching(Matching::default()), Garbage::Idle);
        self.ask(state, out);
        self.await_turn(state, out);
    }

    /// Asks, or asks again, those that have not answered.
    fn ask(&self, state: &ProposerState, out: &mut Out<Node<F>>) {
        let (epoch, Some(round)) = (state.epoch, state.used) else { return };
        if let Phase::Matching(answers) = &state.phase {
            let configuration = self.noted(round);
            let msg = Ask::MatchA { epoch, round, configuration };
            self.config.ask(epoch.members.difference(answers.replied), &msg, out);
            self.config.set_timer(Timer::Resend, out);
        }
        if let Garbage::Asked(confirmed) = state.garbage {
            self.config.ask(
                epoch.members.difference(confirmed),
                &Ask::GarbageA { epoch, round, age: Age::default() },
                out,
            );
            self.config.set_timer(Timer::Resend, out);
        }
    }

    pub(super) fn ignores(&self, state: &ProposerState, src: Id, msg: &Msg) -> bool {
        match (msg, self.config.role(src)) {
            (Msg::Chosen(epoch), Some(Role::Reconfigurer(_))) => epoch.number <= state.epoch.number,
            (Msg::Said(said), Some(Role::Matchmaker(number))) => match said {
                Said::MatchB { epoch, round, .. } => match &state.phase {
                    Phase::Matching(answers) => {
                        let other = *epoch != state.epoch.number;
                        other && !self.config.breaks(Mutant::CombineEpochs)
                            || state.used != Some(*round)
                            || answers.replied.contains(number)
                    }
                    Phase::Idle | Phase::Matched(_) => true,
                },
                Said::GarbageB { epoch, watermark } => match state.garbage {
                    Garbage::Asked(confirmed) => {
                        let other = *epoch != state.epoch.number;
                        other && !self.config.breaks(Mutant::CombineConfirmations)
                            || Some(*watermark) < state.used
                            || confirmed.contains(number)
                    }
                    Garbage::Idle | Garbage::Done => true,
                },
                Said::Nack { round } => Some(*round) <= state.heard,
                Said::Over { newest, .. } => newest.number <= state.epoch.number,
                _ => true,
            },
            _ => true,
        }
    }

    pub(super) fn on_msg(&self, state: &mut ProposerState, src: Id, msg: Msg, out: &mut Out<Node<F>>) {
        match (msg, self.config.role(src)) {
            (Msg::Chosen(epoch), _) => self.move_on(state, epoch, out),
            (Msg::Said(said), Some(Role::Matchmaker(number))) => match said {
                Said::MatchB { watermark, earlier, .. } => {
                    self.on_match_b(state, number, watermark, earlier, out);
                }
                Said::GarbageB { .. } => {
                    let Garbage::Asked(confirmed) = &mut state.garbage else { return };
                    confirmed.insert(number);
                    if self.is_enough(state.epoch, *confirmed, Mutant::CombineConfirmations) {
                        state.garbage = Garbage::Done;
                    }
                }
                Said::Nack { round } => {
                    state.heard = Some(round);
                    if matches!(state.phase, Phase::Matching(_)) {
                        state.phase = Phase::Idle;
                    }
                    self.await_turn(state, out);
                }
                Said::Over { newest, .. } => self.move_on(state, newest, out),
                _ => {}
            },
            _ => {}
        }
    }

    /// Have so many answered that no other such set can be without one of them?
    fn is_enough(&self, epoch: Epoch, answered: NodeSet, combines: Mutant) -> bool {
        let of_any_epoch = self.config.breaks(combines) && 2 * answered.len() > epoch.members.len();
        of_any_epoch || epoch.is_quorum(answered)
    }

    fn on_match_b(
        &self,
        state: &mut ProposerState,
        number: usize,
        watermark: Round,
        earlier: Vec<Matched<Noted>>,
        out: &mut Out<Node<F>>,
    ) {
        let Phase::Matching(answers) = &mut state.phase else { return };
        answers.add(number, watermark, Age::default(), earlier);
        let replied = answers.replied;
        let one_short = self.config.breaks(Mutant::MatchQuorumShort);
        if !one_short && !self.is_enough(state.epoch, replied, Mutant::CombineEpochs) {
            return;
        }
        state.phase = Phase::Matched(answers.returned());
        if self.config.collect && state.used > Some(Round::ZERO) {
            state.garbage = Garbage::Asked(NodeSet::EMPTY);
            self.ask(state, out);
        }
    }

    /// Others serve now: asks them. What was answered before does not count together with what they answer.
    fn move_on(&self, state: &mut ProposerState, newest: Epoch, out: &mut Out<Node<F>>) {
        state.epoch = newest;
        if let Phase::Matching(answers) = &mut state.phase
            && !self.config.breaks(Mutant::CombineEpochs)
        {
            *answers = Matching::default();
        }
        if let Garbage::Asked(confirmed) = &mut state.garbage
            && !self.config.breaks(Mutant::CombineConfirmations)
        {
            *confirmed = NodeSet::EMPTY;
        }
        self.ask(state, out);
    }

    pub(super) fn on_timeout(&self, state: &mut ProposerState, timer: Timer, out: &mut Out<Node<F>>) {
        match timer {
            Timer::Begin => self.begin(state, out),
            Timer::Resend => self.ask(state, out),
            Timer::Retry => {}
        }
    }
}
