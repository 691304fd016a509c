//! How a replica gets what it missed: log entries by pages, or a snapshot in parts.

use super::server::Turn;
use super::{Msg, Timer};
use crate::command::ValueOf;
use crate::faults::Faults;
use crate::ids::Slot;
use crate::log::{Lent, Missing, SnapshotCursor, SnapshotPart};
use crate::multipaxos::Mutant;
use crate::state_machine::StateMachine;
use stateright::actor::Id;

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Asks one server for what is missing, and the next one if that does not help.
    pub(super) fn on_catch_up_timeout(&mut self) {
        let (index, servers) = (self.server.index, self.server.config.servers);
        let replica = &mut self.state.replica;
        if replica.chosen_below <= replica.executed || servers < 2 {
            return;
        }
        let source = replica.next_source(index, servers);
        self.ask_for_missing(Id::from(source));
        self.set_timer(Timer::CatchUp);
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
        self.propose_noop_for(from);
        let limits = self.server.config.limits.page();
        let answer = match self.state.replica.lend(from, limits) {
            Lent::Values(values) => Msg::Chosen { from, values },
            Lent::Part(part) => Msg::SnapshotPart(part),
        };
        self.send(replica, answer);
    }

    /// Adds chosen values, and asks for more while it gets some.
    pub(super) fn on_chosen(&mut self, source: Id, from: Slot, values: Vec<ValueOf<M>>) {
        let before = self.state.replica.executed;
        self.state.replica.insert(from, values);
        self.execute();
        self.forget_decided_proposals();
        let replica = &self.state.replica;
        if replica.executed > before && replica.executed < replica.chosen_below {
            self.ask_for_missing(source);
            self.set_timer(Timer::CatchUp);
        }
    }

    /// A leader that has caught up past its own proposals need not count their votes any more. (Where another leader's value has
    /// taken a slot, a quorum of servers has promised a round above. One that has answers this leader's next ping, and clients
    /// of what is dropped here are then told of that one.)
    fn forget_decided_proposals(&mut self) {
        let executed = self.state.replica.executed;
        if let Some(leader) = self.state.leadership.leader_mut() {
            while leader.outstanding.get_min().is_some_and(|(slot, _)| *slot < executed) {
                leader.outstanding = leader.outstanding.without_min().1;
            }
            leader.next_slot = leader.next_slot.max(executed);
            self.advance_recovery();
            self.propose_queue();
        }
    }

    /// Sends the next part of a snapshot, or the first part of another one if that is gone.
    pub(super) fn on_fetch_snapshot(&mut self, replica: Id, slot: Slot, cursor: &SnapshotCursor<M>) {
        let max_bytes = self.server.config.limits.page_bytes;
        let part = self.state.replica.lend_part(Some((slot, cursor)), max_bytes);
        self.send(replica, Msg::SnapshotPart(part));
    }

    /// Adds a part; asks for the next one, or goes on from the whole.
    pub(super) fn on_snapshot_part(&mut self, source: Id, part: SnapshotPart<M>) {
        let limits = self.server.config.limits.replica();
        if self.state.replica.add_part(usize::from(source), part, limits) {
            self.truncate_votes();
            self.execute();
            self.forget_decided_proposals();
        } else {
            self.ask_for_missing(source);
            self.set_timer(Timer::CatchUp);
        }
    }
}
