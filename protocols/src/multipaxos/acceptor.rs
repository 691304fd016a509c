//! The acceptor in a server: promises, votes, and reports of votes by pages.

use super::server::Turn;
use super::{Msg, Mutant};
use crate::command::ValueOf;
use crate::faults::Faults;
use crate::ids::{Round, Slot};
use crate::log::Report;
use crate::state_machine::StateMachine;
use stateright::actor::Id;

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Promises, and reports a page of votes.
    pub(super) fn on_phase1a(&mut self, leader: Id, round: Round, from: Slot) {
        if round < self.state.acceptor.round {
            self.nack(leader);
            return;
        }
        if !self.breaks(Mutant::NoPromise) {
            self.raise_round(round);
        }
        self.await_leader();
        let report = self.report(from);
        self.send(leader, Msg::Phase1b { round, from, report });
    }

    /// Votes, and learns what the leader says is chosen.
    pub(super) fn on_phase2a(
        &mut self,
        leader: Id,
        round: Round,
        slot: Slot,
        value: ValueOf<M>,
        chosen_below: Slot,
    ) {
        if round < self.state.acceptor.round && !self.breaks(Mutant::AcceptLowerRound) {
            self.nack(leader);
            return;
        }
        self.raise_round(round);
        self.vote(round, slot, value);
        self.send(leader, Msg::Phase2b { round, slot });
        self.learn(round, chosen_below);
    }

    /// Records a vote.
    pub(super) fn vote(&mut self, round: Round, slot: Slot, value: ValueOf<M>) {
        let truncated = self.state.replica.snapshot.slot;
        if self.state.acceptor.vote(round, slot, value, truncated) {
            self.save();
        }
    }

    /// Raises the promise, which ends this server's own leadership of a smaller round.
    pub(super) fn raise_round(&mut self, round: Round) {
        if round > self.state.acceptor.round {
            self.state.acceptor.round = round;
            self.save();
            self.step_down();
        }
    }

    /// The votes from a slot on, as far as they fit a page.
    pub(super) fn report(&self, from: Slot) -> Report<M::Command> {
        let limits = self.server.config.limits.page();
        self.state.acceptor.report::<M>(from, self.state.replica.snapshot.slot, limits)
    }

    /// Drops the votes that the snapshot covers.
    pub(super) fn truncate_votes(&mut self) {
        let end = self.state.replica.snapshot.slot;
        let one_too_many = self.breaks(Mutant::TruncateOneTooMany);
        self.state.acceptor.truncate(if one_too_many { end.next() } else { end });
        self.save();
    }

    pub(super) fn nack(&mut self, leader: Id) {
        if self.server.config.bounds.nack {
            let round = self.state.acceptor.round;
            self.send(leader, Msg::Nack { round });
        }
    }
}
