//! When a replica asks for a snapshot, takes one, and whom it tells.
//!
//! A snapshot is a vertex of its own, which every replica runs at the same place of the graph. Replicas take turns in asking for
//! one, and leaders give it a number however much else there is to do: as long as none is taken, everybody keeps everything.

use super::Msg;
use super::clients::ClientTable;
use super::config::Role;
use super::mutant::{Mutant, Rules};
use super::node::Turn;
use super::replica::ReplicaState;
use super::snapshot::Snapshot;
use super::storage::Storage;
use crate::graph::{VertexId, VertexSet};
use crate::state_machine::StateMachine;

impl<M: StateMachine, F: Rules> Turn<'_, ReplicaState<M>, M, F> {
    /// Takes the snapshot of what these vertices have made of the state.
    pub(super) fn take_snapshot(&mut self, executed: VertexSet) {
        let forget_clients = self.breaks(Mutant::SnapshotWithoutClients);
        let ReplicaState { snapshots, machine, clients, snapshot, .. } = self.state;
        *snapshots += 1;
        (self.state.since_snapshot, self.state.bytes_since_snapshot) = (0, 0);
        let holes: Vec<VertexId> =
            executed.filled().outside(&executed).take(self.config.limits.recovering_vertices).collect();
        if executed.ranges() <= self.config.limits.snapshot_ranges {
            let clients = if forget_clients { ClientTable::default() } else { clients.clone() };
            *snapshot = Snapshot { number: *snapshots, executed, machine: machine.clone(), clients };
            self.save();
        }
        for hole in holes {
            self.recover_later(hole);
        }
    }

    /// Saves the snapshot, and tells how far it stands for everything: others hear of it only once that is done.
    pub(super) fn save(&mut self) {
        self.out.save(Storage::Replica(self.state.snapshot.clone()));
        self.tell_saved();
    }

    pub(super) fn tell_saved(&mut self) {
        let mut saved = self.state.snapshot.executed.prefix();
        if self.breaks(Mutant::SavedAhead) {
            saved = VertexSet::below((0..saved.leaders()).map(|leader| saved.frontier(leader) + 1));
        }
        let layout = self.layout();
        for role in [Role::Leader, Role::Proposer, Role::Acceptor] {
            for node in layout.ids(role) {
                self.send(node, Msg::Saved(saved.clone()));
            }
        }
    }

    /// After how many vertices, or bytes of them, this replica asks for a snapshot: they take turns, and each waits for those
    /// before it.
    fn snapshot_due(&self) -> (u64, usize) {
        let (index, replicas) = (self.index as u64, self.layout().replicas as u64);
        let turn = 1 + (index + replicas - self.state.snapshots % replicas) % replicas;
        let limits = self.config.limits;
        let bytes = limits.log_bytes.saturating_mul(usize::try_from(turn).unwrap_or(usize::MAX));
        (limits.snapshot_vertices.saturating_mul(turn), bytes)
    }

    /// Asks when either is reached; it asks again, in its time, as long as none is taken.
    pub(super) fn request_snapshot_if_due(&mut self, before: (u64, usize)) {
        let (vertices, bytes) = self.snapshot_due();
        // A component may have several vertices.
        let reaches_vertices = before.0 < vertices && vertices <= self.state.since_snapshot;
        let reaches_bytes = before.1 < bytes && bytes <= self.state.bytes_since_snapshot;
        if reaches_vertices || reaches_bytes {
            self.request_snapshot();
        }
    }

    pub(super) fn snapshot_is_due(&self) -> bool {
        let (vertices, bytes) = self.snapshot_due();
        self.state.since_snapshot >= vertices || self.state.bytes_since_snapshot >= bytes
    }

    pub(super) fn request_snapshot(&mut self) {
        let leaders = self.layout().leaders as u64;
        let turn = self.state.snapshots.wrapping_add(self.state.turn) % leaders;
        let leader = self.layout().id(Role::Leader, usize::try_from(turn).unwrap_or(0));
        self.send(leader, Msg::SnapshotRequest);
    }
}
