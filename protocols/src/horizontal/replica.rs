//! The replica in a server: executes what is chosen in order, gets what it lacks, and saves what the log amounts to.

use super::server::Turn;
use super::{Configured, Entry, Msg, Mutant, Role, Timer};
use crate::command::{CommandOf, Operation, ValueOf};
use crate::faults::Faults;
use crate::ids::Slot;
use crate::log::{Lent, Missing, ReplicaLimits, SnapshotCursor, SnapshotPart};
use crate::sessions::Answer;
use crate::state_machine::StateMachine;
use stateright::actor::Id;

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Notes that slots below are chosen; sees to it that the missing ones are asked for.
    pub(super) fn expect_chosen(&mut self, chosen_below: Slot, source: Option<usize>) {
        let index = self.server.index;
        if self.state.replica.expect_chosen(chosen_below, source, index) {
            self.set_timer(Timer::CatchUp);
        }
    }

    /// Learns what is chosen. Where a page of another server leaves something to ask for, it asks at once; so does whoever is
    /// about to lead, as it does not know how much it lacks.
    pub(super) fn on_chosen(&mut self, source: Id, from: Slot, values: Vec<ValueOf<Configured<M>>>) {
        let before = self.state.replica.executed;
        self.state.replica.insert(from, values);
        self.execute();
        self.go_on();
        let may_lack = self.leading().is_some_and(|leading| !leading.leads);
        let replica = &self.state.replica;
        if replica.executed > before && (may_lack || replica.executed < replica.chosen_below) {
            self.ask_for_missing(source);
            self.set_timer(Timer::CatchUp);
        }
    }

    /// Executes the log as far as it has no hole.
    pub(super) fn execute(&mut self) {
        let past_holes = self.breaks(Mutant::ExecutePastHole);
        let limits = self.server.config.limits.replica();
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
            self.take_snapshot(limits);
        }
        self.state.replica.settle();
        self.store_if_due();
    }

    /// Executes a command, unless its client's session says that it was. Configurations are numbered instead.
    fn execute_command(
        &mut self,
        slot: Slot,
        command: &CommandOf<Configured<M>>,
    ) -> Option<Answer<Option<M::Output>>> {
        let anew = self.breaks(Mutant::NoClientTable);
        let lanes = self.server.config.limits.lanes;
        let replica = &mut self.state.replica;
        match &command.op {
            Operation::Apply(entry @ Entry::Configuration(_)) => {
                replica.machine.apply(entry);
                None
            }
            _ => replica.execute_command(slot, command, lanes, anew),
        }
    }

    /// For a mutant: replies with what the command would do to the present state, before its turn.
    pub(super) fn reply_out_of_turn(&mut self, value: &ValueOf<Configured<M>>) {
        let replica = &self.state.replica;
        let (mut machine, mut sessions) = (replica.machine.clone(), replica.sessions.clone());
        let (slot, lanes) = (replica.executed, self.server.config.limits.lanes);
        for command in value.commands() {
            let answer = sessions.execute(&mut machine, slot, command, lanes);
            self.answer(command, answer);
        }
    }

    /// Takes a snapshot if one is due by these limits, saves it and tells the leader.
    fn take_snapshot(&mut self, limits: ReplicaLimits) {
        if self.state.replica.take_snapshot_if_due(limits, false) {
            self.save();
            self.report_stored();
        }
    }

    fn report_stored(&mut self) {
        let slot = self.state.replica.snapshot.slot;
        if self.state.leading.is_some() {
            self.persist();
        } else if let Some(round) = self.state.heard {
            let leader = self.server.config.id(Role::Server(round.owner(self.server.config.servers)));
            self.send(leader, Msg::Stored(slot));
        }
    }

    /// Saves what a leader wants saved, once it is executed.
    pub(super) fn store_if_due(&mut self) {
        let below = self.state.store_below;
        let replica = &self.state.replica;
        if replica.snapshot.slot < below && replica.executed >= below {
            let limits = ReplicaLimits { snapshot_slots: 1, ..self.server.config.limits.replica() };
            self.take_snapshot(limits);
        }
    }

    /// A leader wants slots saved, chosen already or not: says that they are, now or when they are executed.
    pub(super) fn on_store(&mut self, leader: Id, below: Slot) {
        let saved = self.state.replica.snapshot.slot;
        if saved >= below {
            self.send(leader, Msg::Stored(saved));
            return;
        }
        self.state.store_below = self.state.store_below.max(below);
        self.store_if_due();
    }

    /// Asks one server for what is missing, and the next one if that does not help.
    pub(super) fn on_catch_up_timeout(&mut self) {
        let (index, servers) = (self.server.index, self.server.config.servers);
        let replica = &mut self.state.replica;
        if replica.chosen_below > replica.executed && servers > 1 {
            let source = replica.next_source(index, servers);
            self.ask_for_missing(Id::from(source));
            self.set_timer(Timer::CatchUp);
        }
    }

    fn ask_for_missing(&mut self, source: Id) {
        let question = match self.state.replica.missing() {
            Missing::Part { slot, cursor } => Msg::FetchSnapshot { slot, cursor },
            Missing::Log(from) => Msg::CatchUp { from },
        };
        self.send(source, question);
    }

    /// Sends chosen values, or a snapshot if they are gone.
    pub(super) fn on_catch_up(&mut self, replica: Id, from: Slot) {
        let limits = self.server.config.limits.page();
        let answer = match self.state.replica.lend(from, limits) {
            Lent::Values(values) => Msg::Chosen { from, values },
            Lent::Part(part) => Msg::SnapshotPart(part),
        };
        self.send(replica, answer);
    }

    /// Sends the next part of a snapshot, or the first part of another one if that is gone.
    pub(super) fn on_fetch_snapshot(
        &mut self,
        replica: Id,
        slot: Slot,
        cursor: &SnapshotCursor<Configured<M>>,
    ) {
        let max_bytes = self.server.config.limits.page_bytes;
        let part = self.state.replica.lend_part(Some((slot, cursor)), max_bytes);
        self.send(replica, Msg::SnapshotPart(part));
    }

    /// Adds a part; asks for the next one, or goes on from the whole.
    pub(super) fn on_snapshot_part(&mut self, source: Id, part: SnapshotPart<Configured<M>>) {
        let limits = self.server.config.limits.replica();
        if self.state.replica.add_part(usize::from(source), part, limits) {
            self.save();
            self.report_stored();
            self.execute();
            self.go_on();
        } else {
            self.ask_for_missing(source);
            self.set_timer(Timer::CatchUp);
        }
    }
}
