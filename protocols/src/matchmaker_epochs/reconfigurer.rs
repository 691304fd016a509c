//! The reconfigurer: replaces the matchmakers by others, one change after the other.

use super::{Change, Config, Msg, Mutant, Node, Noted, Role, Storage, Timer};
use crate::faults::Faults;
use crate::matchmaking::{Ask, Changing, Epoch, Outcome, Round, Said};
use parthood_quorums::NodeSet;
use stateright::actor::Out;
use std::sync::Arc;

/// A reconfigurer, as configured.
#[derive(Clone, Debug)]
pub struct Reconfigurer<F> {
    /// Its number, from 0.
    pub index: usize,
    /// The sets that it would like to have serve, one after the other. Where somebody else's is chosen it goes on to its next.
    pub script: Vec<NodeSet>,
    /// It uses no ballot of this age or above; a bound for models.
    pub ballots_max: u64,
    /// What all participants know.
    pub config: Arc<Config<F>>,
}

/// A reconfigurer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReconfigurerState {
    /// The newest epoch that it knows.
    pub epoch: Epoch,
    /// The largest ballot that it has used or heard of; saved before it is used.
    pub ballot: Option<Round>,
    /// What it is doing.
    pub change: Option<Change>,
    /// How much of its script is over.
    pub done: usize,
}

impl<F: Faults<Mutant>> Reconfigurer<F> {
    pub(super) fn start(&self, ballot: Option<Round>, out: &mut Out<Node<F>>) -> ReconfigurerState {
        let mut state = ReconfigurerState { epoch: self.config.first, ballot, change: None, done: 0 };
        self.begin(&mut state, out);
        state
    }

    /// Begins what its script says next, in a ballot that is larger than all it has heard of.
    fn begin(&self, state: &mut ReconfigurerState, out: &mut Out<Node<F>>) {
        let Some(wanted) = self.script.get(state.done) else { return };
        let ballot = Round::next_owned_by(self.index, state.ballot);
        if ballot.age() >= self.ballots_max {
            return;
        }
        state.ballot = Some(ballot);
        if !self.config.breaks(Mutant::ReconfigurerForgets) {
            out.save(Storage::Reconfigurer(ballot));
        }
        let change = Change::new(state.epoch, ballot, *wanted);
        self.ask(&change, out);
        state.change = Some(change);
    }

    fn ask(&self, change: &Change, out: &mut Out<Node<F>>) {
        let (whom, question) = change.questions();
        self.config.ask(whom, &question, out);
        self.config.set_timer(Timer::Retry, out);
    }

    pub(super) fn ignores(state: &ReconfigurerState, from: usize, said: &Said<Noted>) -> bool {
        match said {
            Said::Over { newest, .. } => newest.number <= state.epoch.number,
            said => state.change.as_ref().is_none_or(|change| change.ignores(from, said)),
        }
    }

    pub(super) fn on_said(
        &self,
        state: &mut ReconfigurerState,
        from: usize,
        said: Said<Noted>,
        out: &mut Out<Node<F>>,
    ) {
        if let Said::Over { newest, .. } = said {
            self.go_on_from(state, newest, out);
            return;
        }
        let Some(change) = &mut state.change else { return };
        let outcome = change.on(from, said, self.config.rules());
        self.act(state, outcome, out);
    }

    fn act(&self, state: &mut ReconfigurerState, outcome: Outcome, out: &mut Out<Node<F>>) {
        let Some(change) = &state.change else { return };
        match outcome {
            Outcome::Waits => {}
            Outcome::Advances => {
                self.ask(change, out);
                if let Changing::Choosing { members, .. } = change.stage
                    && self.config.breaks(Mutant::AnnounceUnchosen)
                {
                    self.announce(change.epoch.followed_by(members), out);
                }
            }
            Outcome::Overtaken(ballot) => {
                state.ballot = state.ballot.max(Some(ballot));
                state.change = None;
                if Round::next_owned_by(self.index, state.ballot).age() < self.ballots_max {
                    self.config.set_timer(Timer::Retry, out);
                }
            }
            Outcome::Chosen(epoch) => {
                self.announce(epoch, out);
                self.go_on_from(state, epoch, out);
            }
        }
    }

    /// Tells everybody who needs matchmakers, and the new ones.
    fn announce(&self, epoch: Epoch, out: &mut Out<Node<F>>) {
        if self.config.breaks(Mutant::SilentReconfigurer) {
            return;
        }
        self.config.ask(epoch.members, &Ask::Learn(epoch), out);
        for proposer in 0..self.config.proposers {
            out.send(self.config.id(Role::Proposer(proposer)), Msg::Chosen(epoch));
        }
    }

    /// An epoch was chosen, by its own doing or not.
    fn go_on_from(&self, state: &mut ReconfigurerState, epoch: Epoch, out: &mut Out<Node<F>>) {
        (state.epoch, state.change) = (epoch, None);
        state.done += 1;
        self.begin(state, out);
    }

    /// Tries again; or asks again, after another member has been taken for one that does not answer.
    pub(super) fn on_timeout(&self, state: &mut ReconfigurerState, out: &mut Out<Node<F>>) {
        let Some(change) = &mut state.change else { return self.begin(state, out) };
        let stragglers = change.stragglers();
        match change.lose_patience(self.config.rules()) {
            Outcome::Waits => {
                self.ask(change, out);
                if let Some((whom, stop)) = stragglers {
                    self.config.ask(whom, &stop, out);
                }
            }
            outcome => self.act(state, outcome, out),
        }
    }
}
