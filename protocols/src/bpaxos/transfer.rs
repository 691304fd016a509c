//! How a replica gets what it missed: vertices by pages, or a snapshot in parts.
//!
//! Snapshots conflict with everything but noops. So if the `n`-th snapshot vertex has not run here, everything that has run
//! here and is no noop had run wherever it did: the snapshot can be taken over as it is. And if it has run here, whatever
//! the snapshot stands for and has not run here can only be noops, and may be called executed.

use super::mutant::Rules;
use super::node::Turn;
use super::replica::ReplicaState;
use super::snapshot::{Snapshot, SnapshotPart, Transfer};
use super::{Action, Committed, Msg, Timer, proposal_bytes};
use crate::graph::{Outcome, VertexId, VertexSet, Vertices as _};
use crate::log::SnapshotCursor;
use crate::state_machine::StateMachine;
use im::OrdMap;
use stateright::actor::Id;

impl<M: StateMachine> ReplicaState<M> {
    /// Has it any use for this part of a snapshot?
    pub(super) fn awaits(&self, part: &SnapshotPart<M>) -> bool {
        if part.number <= self.snapshots {
            return part.at.is_none() && !part.executed.is_subset(self.executed());
        }
        match (&self.transfer, &part.at) {
            (Some(transfer), at) if transfer.snapshot.number == part.number => transfer.cursor == *at,
            (Some(transfer), None) => part.number > transfer.snapshot.number,
            (None, None) => true,
            (_, Some(_)) => false,
        }
    }

    /// What it knows to be chosen, perhaps without some that come late.
    fn known(&self, ranges: usize) -> VertexSet {
        let mut known = self.executed().clone();
        for (vertex, _) in self.executor.pending() {
            known.insert(vertex);
        }
        known.with_ranges(ranges)
    }

    /// The part of a snapshot that somebody asked for, or the first part of another one if that is gone.
    fn lend_part(&mut self, wanted: Option<(u64, SnapshotCursor<M>)>, max_bytes: usize) -> SnapshotPart<M> {
        let snapshot = &self.snapshot;
        let wanted_number = wanted.as_ref().map(|(number, _)| *number);
        let lent = match &mut self.lent {
            Some(lent) if Some(lent.number) == wanted_number => lent,
            lent => lent.insert(snapshot.clone()),
        };
        let number = lent.number;
        lent.part(wanted.filter(|(wanted, _)| *wanted == number).map(|(_, cursor)| cursor), max_bytes)
    }

    /// What has run and is kept, and is not among these, in the order in which it ran. Most often that is the last of it.
    fn unknown(&self, known: &VertexSet) -> impl Iterator<Item = VertexId> {
        let is_unknown = |vertex: &&VertexId| !known.contains(**vertex);
        let unknown = self.executed().outside(known).count();
        let mut first = self.history.len();
        let mut found = 0;
        while found < unknown && first > 0 {
            first -= 1;
            found += usize::from(self.history.get(first).is_some_and(|vertex| is_unknown(&vertex)));
        }
        (first..self.history.len()).filter_map(|at| self.history.get(at)).filter(is_unknown).copied()
    }

    /// Counts these as executed and kept elsewhere.
    fn install(&mut self, executed: &VertexSet) -> Outcome<VertexId> {
        let outcome = self.executor.install(executed);
        let bytes_of = |vertex: &VertexId| self.bytes_of(*vertex);
        let gone =
            self.history.iter().filter(|vertex| executed.contains(**vertex)).map(bytes_of).sum::<usize>();
        self.history_bytes -= gone;
        self.log = self.log.iter().filter(|(vertex, _)| !executed.contains(**vertex)).map(clone).collect();
        self.history.retain(|vertex| !executed.contains(*vertex));
        self.dropped.add_all(executed);
        outcome
    }
}

fn clone<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}

impl<M: StateMachine, F: Rules> Turn<'_, ReplicaState<M>, M, F> {
    /// Asks for the next part of a snapshot that has begun to arrive, or for whatever is missing.
    pub(super) fn ask_for_missing(&mut self, source: Id) {
        let unfinished = self.state.transfer.as_ref().filter(|t| t.snapshot.number > self.state.snapshots);
        let next = unfinished.and_then(|t| Some((t.snapshot.number, t.cursor.clone()?)));
        let question = if let Some((number, cursor)) = next {
            Msg::FetchSnapshot { number, cursor }
        } else {
            self.state.transfer = None;
            Msg::CatchUp { known: self.state.known(self.config.limits.snapshot_ranges) }
        };
        self.send(source, question);
    }

    /// A page has helped: asks for the next one.
    pub(super) fn ask_for_more(&mut self, source: Id) {
        if self.config.bounds.catch_up {
            self.ask_for_missing(source);
        }
    }

    /// Somebody waits for a vertex: sends it, or a snapshot that stands for it.
    pub(super) fn on_recover(&mut self, replica: Id, vertex: VertexId) {
        match self.state.log.get(&vertex).cloned() {
            Some(proposal) => self.send(replica, Msg::Commit(vec![Committed { vertex, proposal }])),
            None => self.send_snapshot(replica, None),
        }
    }

    /// Sends what has run here and the other does not know, as far as it fits a page; or a snapshot, if some of that is gone.
    /// A page is in the order in which it ran: so the other can run it as it comes, and waits for nothing that is in a later one.
    pub(super) fn on_catch_up(&mut self, replica: Id, known: &VertexSet) {
        if !self.state.dropped.is_subset(known) {
            return self.send_snapshot(replica, None);
        }
        let limits = self.config.limits;
        let (mut page, mut bytes) = (vec![], 0);
        for vertex in self.state.unknown(known) {
            let Some(proposal) = self.state.log.get(&vertex).cloned() else { continue };
            bytes += proposal_bytes::<M>(&proposal);
            if page.len() == limits.page_vertices || bytes > limits.page_bytes && !page.is_empty() {
                break;
            }
            page.push(Committed { vertex, proposal });
        }
        if !page.is_empty() {
            self.send(replica, Msg::Commit(page));
        }
    }

    pub(super) fn on_fetch_snapshot(&mut self, replica: Id, number: u64, cursor: SnapshotCursor<M>) {
        self.send_snapshot(replica, Some((number, cursor)));
    }

    fn send_snapshot(&mut self, replica: Id, wanted: Option<(u64, SnapshotCursor<M>)>) {
        let part = self.state.lend_part(wanted, self.config.limits.page_bytes);
        self.send(replica, Msg::SnapshotPart(part));
    }

    /// Adds a part; asks for the next one, or goes on from the whole.
    pub(super) fn on_snapshot_part(&mut self, source: Id, part: SnapshotPart<M>) {
        if part.number <= self.state.snapshots {
            let outcome = self.state.install(&part.executed);
            self.forget_recovered();
            return self.run(outcome);
        }
        let number = part.number;
        let transfer = match &mut self.state.transfer {
            Some(transfer) if transfer.snapshot.number == number => transfer,
            transfer => transfer.insert(Transfer::new(number)),
        };
        if transfer.add(part) {
            if let Some(Transfer { snapshot, .. }) = self.state.transfer.take() {
                self.take_over(snapshot);
            }
        } else {
            self.ask_for_missing(source);
        }
    }

    /// Goes on from a snapshot of somebody else. Were there anything but noops that it does not stand for, the dependency
    /// invariant would be broken; then it is left alone.
    fn take_over(&mut self, snapshot: Snapshot<M>) {
        let beyond = self.state.executed().outside(&snapshot.executed);
        let noop =
            |vertex| self.state.log.get(&vertex).is_some_and(|proposal| proposal.action == Action::Noop);
        if !beyond.into_iter().all(noop) {
            return;
        }
        self.state.machine = snapshot.machine.clone();
        self.state.clients = snapshot.clients.clone();
        self.state.snapshots = snapshot.number;
        (self.state.since_snapshot, self.state.bytes_since_snapshot) = (0, 0);
        let outcome = self.state.install(&snapshot.executed);
        self.state.snapshot = snapshot;
        self.save();
        self.forget_recovered();
        self.run(outcome);
    }

    /// Waits no longer for what is known.
    fn forget_recovered(&mut self) {
        let ReplicaState { recovering, executor, .. } = self.state;
        let (known, rest): (OrdMap<_, _>, OrdMap<_, _>) =
            recovering.iter().map(clone).partition(|(vertex, _): &(VertexId, u64)| executor.knows(*vertex));
        *recovering = rest;
        for vertex in known.keys() {
            self.cancel_timer(Timer::Recover(*vertex));
        }
    }
}
