//! Snapshots, and how they travel: in parts that fit a datagram.

use super::clients::{ClientTable, LaneChange};
use crate::graph::VertexSet;
use crate::log::SnapshotCursor;
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};

/// What a set of vertices amounts to. The set is closed, and splits no component.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot<M: StateMachine> {
    /// How many snapshots there were before, and this one. The same everywhere, for snapshots conflict with each other.
    pub number: u64,
    /// The vertices that it stands for.
    pub executed: VertexSet,
    /// The state machine.
    pub machine: M,
    /// The client table, without which a retry would be executed again.
    pub clients: ClientTable<M::Output>,
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SnapshotPart<M: StateMachine> {
    /// The snapshot's number.
    pub number: u64,
    /// The vertices that it stands for.
    pub executed: VertexSet,
    /// How many sessions were opened.
    pub opened: u64,
    /// Where the part begins; none for the first.
    pub at: Option<SnapshotCursor<M>>,
    /// Its piece of the state machine.
    pub machine: Vec<M::Change>,
    /// Its piece of the client table.
    pub clients: Vec<LaneChange<M::Output>>,
    /// Where the next part begins; none for the last.
    pub next: Option<SnapshotCursor<M>>,
}

/// A snapshot that has arrived in part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transfer<M: StateMachine> {
    /// What has arrived.
    pub snapshot: Snapshot<M>,
    /// Where the next part begins.
    pub cursor: Option<SnapshotCursor<M>>,
}

impl<M: StateMachine> Default for Snapshot<M> {
    fn default() -> Self {
        let (machine, clients) = (M::default(), ClientTable::default());
        Self { number: 0, executed: VertexSet::EMPTY, machine, clients }
    }
}

impl<M: StateMachine> Snapshot<M> {
    /// The part that begins at `at`, of about `max_bytes` besides the set of vertices.
    pub fn part(&self, at: Option<SnapshotCursor<M>>, max_bytes: usize) -> SnapshotPart<M> {
        let table = |after| self.clients.export::<M>(after, max_bytes);
        let (machine, clients, next) = SnapshotCursor::pieces(at.as_ref(), &self.machine, table, max_bytes);
        let (executed, opened) = (self.executed.clone(), self.clients.opened());
        SnapshotPart { number: self.number, executed, opened, at, machine, clients, next }
    }
}

impl<M: StateMachine> Transfer<M> {
    /// Nothing of a snapshot yet.
    pub(super) fn new(number: u64) -> Self {
        Self { snapshot: Snapshot { number, ..Snapshot::default() }, cursor: None }
    }

    /// Adds the part that begins where the last one ended; true if it was the last.
    pub(super) fn add(&mut self, part: SnapshotPart<M>) -> bool {
        self.snapshot.executed = part.executed;
        self.snapshot.machine.patch(part.machine);
        self.snapshot.clients.patch(part.clients, part.opened);
        self.cursor = part.next;
        self.cursor.is_none()
    }
}

/// What changed between two saved snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SnapshotDelta<M: StateMachine> {
    number: u64,
    executed: VertexSet,
    opened: u64,
    machine: Vec<M::Change>,
    clients: Vec<LaneChange<M::Output>>,
}

impl<M: StateMachine> Snapshot<M> {
    pub(super) fn delta(&self, before: &Self) -> SnapshotDelta<M> {
        SnapshotDelta {
            number: self.number,
            executed: self.executed.clone(),
            opened: self.clients.opened(),
            machine: self.machine.changes_since(&before.machine),
            clients: self.clients.changes_since(&before.clients),
        }
    }

    pub(super) fn patch(&mut self, delta: SnapshotDelta<M>) {
        self.number = delta.number;
        self.executed = delta.executed;
        self.machine.patch(delta.machine);
        self.clients.patch(delta.clients, delta.opened);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpaxos::clients::TableRules;
    use crate::command::{Command, CommandId, Operation};
    use crate::state_machine::{Bytes, KeyValue, KeyValueCommand, MAX_VALUE_BYTES};
    use proptest::prelude::*;

    /// The most bytes of a part besides its pieces and the vertices: two counts, two lanes for cursors, and two lengths.
    const PART_BYTES: usize = 80;

    proptest! {
        #[test]
        fn the_parts_of_a_snapshot_make_up_the_whole(keys in 0..60_u32, clients in 0..20_u64, max in 0..300_usize) {
            let mut machine = KeyValue::default();
            for key in 0..keys {
                machine.apply(&KeyValueCommand::Put(Bytes::from(&key.to_be_bytes()), Bytes::from("value")));
            }
            let clients = ClientTable::with_clients(0..clients);
            let snapshot = Snapshot { number: 3, executed: VertexSet::below([4, 0, 7]), machine, clients };
            let mut transfer = Transfer::new(3);
            while !transfer.add(snapshot.part(transfer.cursor.clone(), max)) {}
            prop_assert_eq!(&transfer.snapshot, &snapshot);
            let mut patched = Snapshot::default();
            patched.patch(snapshot.delta(&Snapshot::default()));
            prop_assert_eq!(patched, snapshot);
        }

        #[test]
        fn a_part_keeps_to_its_bytes_whatever_clients_were_answered_last(
            lanes in proptest::collection::vec((0..MAX_VALUE_BYTES, 1..40_u64), 1..40), max in 1..32 * 1024_usize
        ) {
            let mut snapshot = Snapshot::<KeyValue> { number: u64::MAX, ..Snapshot::default() };
            let rules = TableRules::default();
            let count = u32::try_from(lanes.len()).unwrap();
            let id = |pseudonym, seq| CommandId { client: u64::MAX, session: 1, pseudonym, seq };
            let open = Command { id: id(0, 0), op: Operation::Open { lanes: count } };
            snapshot.clients.execute(&mut snapshot.machine, &open, usize::MAX, rules);
            for (pseudonym, (bytes, gaps)) in (0..).zip(&lanes) {
                let value = Bytes::from(&vec![7; *bytes]);
                snapshot.machine.apply(&KeyValueCommand::Put(Bytes::from("key"), value));
                for gap in (0..*gaps).rev() {
                    let get = Operation::Apply(KeyValueCommand::Get(Bytes::from("key")));
                    let get = Command { id: id(pseudonym, u64::MAX - 2 * gap - 1), op: get };
                    snapshot.clients.execute(&mut snapshot.machine, &get, usize::MAX, rules);
                }
            }
            let mut transfer = Transfer::new(snapshot.number);
            loop {
                let part = snapshot.part(transfer.cursor.clone(), max);
                let one = part.machine.len() + part.clients.len() <= 1;
                let bytes = postcard::to_stdvec(&part).unwrap().len();
                prop_assert!(one || bytes <= max + PART_BYTES, "{bytes} bytes in a part of {max}");
                if transfer.add(part) { break }
            }
            prop_assert_eq!(&transfer.snapshot.clients, &snapshot.clients);
        }
    }
}
