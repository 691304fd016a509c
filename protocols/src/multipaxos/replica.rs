//! The replica in a server: learns what is chosen, executes it in order, and takes snapshots.

use super::server::Turn;
use super::snapshot::{Snapshot, SnapshotPart, Transfer};
use super::{Mutant, Timer};
use crate::command::{CommandOf, Operation, Value, ValueOf};
use crate::faults::Faults;
use crate::ids::{Round, Slot};
use crate::sessions::{Answer, Sessions};
use crate::state_machine::StateMachine;
use im::OrdMap;

/// What the replica in a server knows; of this, the snapshot is saved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaState<M: StateMachine> {
    /// Values known to be chosen, from `log_start` on.
    pub log: OrdMap<Slot, ValueOf<M>>,
    /// Whoever lacks a slot below needs a snapshot.
    pub log_start: Slot,
    /// The first slot that was not executed; all slots below are chosen.
    pub executed: Slot,
    /// All slots below are known to be chosen, with whatever value.
    pub chosen_below: Slot,
    /// The server to ask next for what is missing.
    pub source: usize,
    /// The state machine.
    pub machine: M,
    /// The client table.
    pub sessions: Sessions<M::Output>,
    /// The last snapshot taken or received.
    pub snapshot: Snapshot<M>,
    /// The snapshot that others are fetching: kept while newer ones are taken.
    pub lent: Option<Snapshot<M>>,
    /// The snapshot that is being fetched.
    pub transfer: Option<Transfer<M>>,
}

impl<M: StateMachine> ReplicaState<M> {
    /// A replica that has executed nothing.
    pub(super) fn new(sessions: Sessions<M::Output>) -> Self {
        Self::at(Snapshot { slot: Slot::ZERO, machine: M::default(), sessions })
    }

    /// A replica that has executed what its snapshot covers.
    pub(super) fn at(snapshot: Snapshot<M>) -> Self {
        Self {
            log: OrdMap::new(),
            log_start: snapshot.slot,
            executed: snapshot.slot,
            chosen_below: snapshot.slot,
            source: 0,
            machine: snapshot.machine.clone(),
            sessions: snapshot.sessions.clone(),
            snapshot,
            lent: None,
            transfer: None,
        }
    }

    /// Is this the part of a snapshot that it waits for?
    pub(super) fn awaits_part(&self, part: &SnapshotPart<M>) -> bool {
        let useful = part.slot > self.executed && self.chosen_below > self.executed;
        useful
            && match (&self.transfer, &part.at) {
                (Some(transfer), at) if transfer.slot == part.slot => transfer.cursor == *at,
                (Some(transfer), None) => part.slot > transfer.slot,
                (None, None) => true,
                (_, Some(_)) => false,
            }
    }
}

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
        let replica = &mut self.state.replica;
        replica.chosen_below = replica.chosen_below.max(chosen_below).max(replica.executed);
        if replica.chosen_below > replica.executed {
            if let Some(source) = source.filter(|source| *source != index) {
                replica.source = source;
            }
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
            self.state.replica.executed = slot.next();
            self.take_snapshot_if_due();
        }
        let replica = &mut self.state.replica;
        replica.chosen_below = replica.chosen_below.max(replica.executed);
        if replica.transfer.as_ref().is_some_and(|transfer| transfer.slot <= replica.executed) {
            replica.transfer = None;
        }
    }

    fn execute_command(&mut self, slot: Slot, command: &CommandOf<M>) -> Option<Answer<M::Output>> {
        let anew = self.breaks(Mutant::NoClientTable)
            || self.breaks(Mutant::TableComparesUnequal)
                && self.state.replica.sessions.known_answer(&command.id).is_none();
        let lanes = self.server.config.limits.lanes;
        let replica = &mut self.state.replica;
        match &command.op {
            Operation::Apply(operation) if anew => {
                let output = replica.sessions.apply(&mut replica.machine, slot, command.id, operation);
                Some(Answer::Output(output))
            }
            _ => replica.sessions.execute(&mut replica.machine, slot, command, lanes),
        }
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

    /// Every so often: remembers the state, so that older votes and log entries can go.
    fn take_snapshot_if_due(&mut self) {
        let limits = self.server.config.limits;
        let forget_clients = self.breaks(Mutant::SnapshotWithoutSessions);
        let replica = &mut self.state.replica;
        if replica.executed.0 - replica.snapshot.slot.0 < limits.snapshot_slots {
            return;
        }
        replica.snapshot = Snapshot {
            slot: replica.executed,
            machine: replica.machine.clone(),
            sessions: if forget_clients { Sessions::default() } else { replica.sessions.clone() },
        };
        self.drop_what_the_snapshot_covers();
    }

    /// Drops votes below the snapshot, and log entries well below it.
    pub(super) fn drop_what_the_snapshot_covers(&mut self) {
        let retained = self.server.config.limits.retained_slots;
        let replica = &mut self.state.replica;
        replica.log_start = replica.log_start.max(replica.snapshot.slot.minus(retained));
        while replica.log.get_min().is_some_and(|(slot, _)| *slot < replica.log_start) {
            replica.log = replica.log.without_min().1;
        }
        if replica.lent.as_ref().is_some_and(|lent| lent.slot < replica.log_start) {
            replica.lent = None;
        }
        self.truncate_votes();
        self.save();
    }
}
