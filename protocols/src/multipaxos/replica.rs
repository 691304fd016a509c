//! The replica in a server: learns what is chosen and executes it in order.

use super::server::Turn;
use super::{Mutant, Timer};
use crate::command::{CommandOf, Value, ValueOf};
use crate::faults::Faults;
use crate::ids::{Round, Slot};
use crate::sessions::Answer;
use crate::state_machine::StateMachine;

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Learns from a leader that all slots below are chosen. What this server voted for in the leader's round is then
    /// the chosen value; what it did not vote for must be fetched.
    pub(super) fn learn(&mut self, round: Round, chosen_below: Slot) {
        let any_round = self.breaks(Mutant::LearnForeignVotes);
        let past_holes = self.breaks(Mutant::ExecutePastHole);
        let mut slot = self.state.replica.executed;
        while slot < chosen_below {
            if !self.state.replica.log.contains_key(&slot) {
                let vote = self.state.acceptor.votes.get(&slot);
                match vote.filter(|vote| vote.vote_round == round || any_round) {
                    Some(vote) => {
                        let value = vote.vote_value.clone();
                        self.state.replica.log.insert(slot, value);
                    }
                    None if past_holes => {}
                    None => break,
                }
            }
            slot = slot.next();
        }
        self.execute();
        let leader = round.owner(self.server.config.servers);
        self.expect_chosen(chosen_below, Some(leader));
    }

    /// Notes that slots below are chosen; sees to it that the missing ones are asked for.
    pub(super) fn expect_chosen(&mut self, chosen_below: Slot, source: Option<usize>) {
        let index = self.server.index;
        if self.state.replica.expect_chosen(chosen_below, source, index) {
            self.set_timer(Timer::CatchUp);
        }
    }

    /// A value is chosen: records it, executes what it can.
    pub(super) fn choose(&mut self, slot: Slot, value: ValueOf<M>) {
        if slot < self.state.replica.executed {
            return;
        }
        if self.breaks(Mutant::ReplyOnChosen) {
            self.reply_out_of_turn(&value);
        }
        self.state.replica.log.insert(slot, value);
        self.execute();
    }

    /// Executes the log as far as it has no hole.
    pub(super) fn execute(&mut self) {
        let past_holes = self.breaks(Mutant::ExecutePastHole);
        loop {
            let replica = &self.state.replica;
            let slot = replica.executed;
            let Some(value) = replica.log.get(&slot).cloned() else {
                let later = replica.log.get_max().is_some_and(|(last, _)| *last > slot);
                if past_holes && later {
                    self.state.replica.executed = slot.next();
                    continue;
                }
                break;
            };
            for command in value.commands() {
                let answer = self.execute_command(slot, command);
                self.answer(command, answer);
            }
            self.state.replica.advance(&value);
            let forget_clients = self.breaks(Mutant::SnapshotWithoutSessions);
            let limits = self.server.config.limits.replica();
            if self.state.replica.take_snapshot_if_due(limits, forget_clients) {
                self.truncate_votes();
            }
        }
        self.state.replica.settle();
    }

    fn execute_command(&mut self, slot: Slot, command: &CommandOf<M>) -> Option<Answer<M::Output>> {
        let anew = self.breaks(Mutant::NoClientTable)
            || self.breaks(Mutant::TableComparesUnequal)
                && self.state.replica.sessions.known_answer(&command.id).is_none();
        let lanes = self.server.config.limits.lanes;
        self.state.replica.execute_command(slot, command, lanes, anew)
    }

    /// For a mutant: replies with what the command would do to the present state, before its turn.
    fn reply_out_of_turn(&mut self, value: &Value<M::Command>) {
        let replica = &self.state.replica;
        let (mut machine, mut sessions) = (replica.machine.clone(), replica.sessions.clone());
        let (slot, lanes) = (replica.executed, self.server.config.limits.lanes);
        for command in value.commands() {
            let answer = sessions.execute(&mut machine, slot, command, lanes);
            self.answer(command, answer);
        }
    }
}
