//! How a replica gets what it missed: log entries by pages, or a snapshot in parts.

use super::server::Turn;
use super::snapshot::{SnapshotCursor, SnapshotPart, Transfer};
use super::{Msg, Mutant, ReplicaState, Timer};
use crate::command::{ValueOf, value_bytes};
use crate::faults::Faults;
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use stateright::actor::Id;

/// How often a part of a snapshot is asked for again before another server is asked for another snapshot.
const TRANSFER_RETRIES: u8 = 3;

/// The server after this one, leaving out the one that asks.
fn next_source(source: usize, index: usize, servers: usize) -> usize {
    let next = (source + 1) % servers;
    if next == index { (next + 1) % servers } else { next }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, M, F> {
    /// Asks one server for what is missing, and the next one if that does not help. A snapshot that has begun to arrive
    /// is asked for a few times more before it is given up for another one.
    pub(super) fn on_catch_up_timeout(&mut self) {
        let (index, servers) = (self.server.index, self.server.config.servers);
        let replica = &mut self.state.replica;
        if replica.chosen_below <= replica.executed || servers < 2 {
            return;
        }
        match &mut replica.transfer {
            Some(transfer) if transfer.retries < TRANSFER_RETRIES => {
                transfer.retries += 1;
                let source = replica.source;
                self.ask_for_missing(Id::from(source));
            }
            transfer => {
                if transfer.take().is_some() || replica.source == index {
                    replica.source = next_source(replica.source, index, servers);
                }
                let source = replica.source;
                replica.source = next_source(source, index, servers);
                self.ask_for_missing(Id::from(source));
            }
        }
        self.set_timer(Timer::CatchUp);
    }

    fn ask_for_missing(&mut self, source: Id) {
        let replica = &self.state.replica;
        let unfinished =
            replica.transfer.as_ref().and_then(|transfer| Some((transfer.slot, transfer.cursor.clone()?)));
        let question = match unfinished {
            Some((slot, cursor)) => Msg::FetchSnapshot { slot, cursor },
            None => Msg::CatchUp { from: replica.executed },
        };
        self.send(source, question);
    }

    /// Sends chosen values, or a snapshot if they are gone.
    pub(super) fn on_catch_up(&mut self, replica: Id, from: Slot) {
        self.propose_noop_for(from);
        if from < self.state.replica.log_start {
            self.lend_snapshot();
            self.send_part(replica, None);
        } else {
            let values = self.page_of_log(from);
            self.send(replica, Msg::Chosen { from, values });
        }
    }

    /// Chooses the snapshot that is sent: the one that is being fetched already, as long as the log goes on from there.
    fn lend_snapshot(&mut self) {
        let ReplicaState { lent, snapshot, log_start, .. } = &mut self.state.replica;
        if lent.as_ref().is_none_or(|lent| lent.slot < *log_start) {
            *lent = Some(snapshot.clone());
        }
    }

    fn page_of_log(&self, from: Slot) -> Vec<ValueOf<M>> {
        let limits = &self.server.config.limits;
        let (mut values, mut bytes) = (vec![], 0);
        for (_, value) in self.state.replica.log.range(from..self.state.replica.executed) {
            bytes += value_bytes::<M>(value);
            if values.len() == limits.page_slots || (bytes > limits.page_bytes && !values.is_empty()) {
                break;
            }
            values.push(value.clone());
        }
        values
    }

    /// Adds chosen values, and asks for more while it gets some.
    pub(super) fn on_chosen(&mut self, source: Id, from: Slot, values: Vec<ValueOf<M>>) {
        let before = self.state.replica.executed;
        for (slot, value) in (from.0..).map(Slot).zip(values) {
            if slot >= before {
                self.state.replica.log.insert(slot, value);
            }
        }
        self.execute();
        self.forget_decided_proposals();
        let replica = &self.state.replica;
        if replica.executed > before && replica.executed < replica.chosen_below {
            self.ask_for_missing(source);
            self.set_timer(Timer::CatchUp);
        }
    }

    /// A leader that has caught up past its own proposals need not count their votes any more.
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
        self.lend_snapshot();
        let same = self.state.replica.lent.as_ref().is_some_and(|lent| lent.slot == slot);
        self.send_part(replica, same.then(|| cursor.clone()));
    }

    fn send_part(&mut self, replica: Id, at: Option<SnapshotCursor<M>>) {
        let max_bytes = self.server.config.limits.page_bytes;
        if let Some(lent) = &self.state.replica.lent {
            let part = lent.part(at, max_bytes);
            self.send(replica, Msg::SnapshotPart(part));
        }
    }

    /// Adds a part; asks for the next one, or takes over the whole.
    pub(super) fn on_snapshot_part(&mut self, source: Id, part: SnapshotPart<M>) {
        let replica = &mut self.state.replica;
        if part.at.is_none() {
            replica.transfer = Some(Transfer::new(part.slot));
            replica.source = usize::from(source);
        }
        let Some(transfer) = &mut replica.transfer else { return };
        if transfer.add(part) {
            self.install_snapshot();
        } else {
            self.ask_for_missing(source);
            self.set_timer(Timer::CatchUp);
        }
    }

    fn install_snapshot(&mut self) {
        let replica = &mut self.state.replica;
        let Some(transfer) = replica.transfer.take() else { return };
        let (log, lent) = (replica.log.clone(), replica.lent.take());
        let (chosen_below, source) = (replica.chosen_below, replica.source);
        *replica = ReplicaState { chosen_below, source, lent, ..ReplicaState::at(transfer.into()) };
        replica.log = log;
        self.drop_what_the_snapshot_covers();
        self.execute();
        self.forget_decided_proposals();
    }
}
