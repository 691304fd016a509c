//! Snapshots, and how they travel: in parts that fit a datagram.

use crate::ids::Slot;
use crate::sessions::{LaneKey, SessionChange, Sessions};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};

/// The state of a replica after all slots below one; it stands for the votes and log entries of these slots.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot<M: StateMachine> {
    /// The first slot that it does not cover.
    pub slot: Slot,
    /// The state machine.
    pub machine: M,
    /// The client table, without which a retry would be executed again.
    pub sessions: Sessions<M::Output>,
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SnapshotPart<M: StateMachine> {
    /// The snapshot's slot.
    pub slot: Slot,
    /// Where the part begins; none for the first.
    pub at: Option<SnapshotCursor<M>>,
    /// Its piece of the state machine.
    pub machine: Vec<M::Change>,
    /// Its piece of the client table.
    pub sessions: Vec<SessionChange<M::Output>>,
    /// Where the next part begins; none for the last.
    pub next: Option<SnapshotCursor<M>>,
}

/// A place in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum SnapshotCursor<M: StateMachine> {
    /// In the state machine, after this.
    Machine(M::Cursor),
    /// In the client table, after this lane or at its beginning.
    Clients(Option<LaneKey>),
}

impl<M: StateMachine> SnapshotCursor<M> {
    /// What a part of about `max_bytes` that begins at `at` holds of the machine and of the client table, which `clients` gives out
    /// after any lane, and where the next part begins. First comes the machine.
    pub(crate) fn pieces<T>(
        at: Option<&Self>,
        machine: &M,
        clients: impl FnOnce(Option<LaneKey>) -> (Vec<T>, Option<LaneKey>),
        max_bytes: usize,
    ) -> (Vec<M::Change>, Vec<T>, Option<Self>) {
        let after = match at {
            Some(Self::Clients(after)) => {
                let (changes, next) = clients(*after);
                return (vec![], changes, next.map(|lane| Self::Clients(Some(lane))));
            }
            Some(Self::Machine(after)) => Some(after),
            None => None,
        };
        let part = machine.export(after, max_bytes);
        (part.changes, vec![], Some(part.next.map_or(Self::Clients(None), Self::Machine)))
    }
}

/// A snapshot that has arrived in part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transfer<M: StateMachine> {
    /// The snapshot's slot.
    pub slot: Slot,
    /// The state machine so far.
    pub machine: M,
    /// The client table so far.
    pub sessions: Sessions<M::Output>,
    /// Where the next part begins.
    pub cursor: Option<SnapshotCursor<M>>,
    /// How often the next part was asked for again, as far as that matters.
    pub retries: u8,
}

impl<M: StateMachine> Snapshot<M> {
    /// The part that begins at `at`, of about `max_bytes`.
    pub fn part(&self, at: Option<SnapshotCursor<M>>, max_bytes: usize) -> SnapshotPart<M> {
        let clients = |after| self.sessions.export::<M>(after, max_bytes);
        let (machine, sessions, next) =
            SnapshotCursor::pieces(at.as_ref(), &self.machine, clients, max_bytes);
        SnapshotPart { slot: self.slot, at, machine, sessions, next }
    }
}

impl<M: StateMachine> Transfer<M> {
    /// Nothing of a snapshot yet.
    pub(crate) fn new(slot: Slot) -> Self {
        Self { slot, machine: M::default(), sessions: Sessions::default(), cursor: None, retries: 0 }
    }

    /// Adds the part that begins where the last one ended; true if it was the last.
    pub(crate) fn add(&mut self, part: SnapshotPart<M>) -> bool {
        self.machine.patch(part.machine);
        self.sessions.patch(part.sessions);
        self.cursor = part.next;
        self.retries = 0;
        self.cursor.is_none()
    }
}

impl<M: StateMachine> From<Transfer<M>> for Snapshot<M> {
    fn from(transfer: Transfer<M>) -> Self {
        Self { slot: transfer.slot, machine: transfer.machine, sessions: transfer.sessions }
    }
}

impl<M: StateMachine> Default for Snapshot<M> {
    fn default() -> Self {
        Self { slot: Slot::ZERO, machine: M::default(), sessions: Sessions::default() }
    }
}

/// What changed between two saved snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SnapshotDelta<M: StateMachine> {
    slot: Slot,
    machine: Vec<M::Change>,
    sessions: Vec<SessionChange<M::Output>>,
}

impl<M: StateMachine> Snapshot<M> {
    pub(crate) fn delta(&self, before: &Self) -> SnapshotDelta<M> {
        SnapshotDelta {
            slot: self.slot,
            machine: self.machine.changes_since(&before.machine),
            sessions: self.sessions.changes_since(&before.sessions),
        }
    }

    pub(crate) fn patch(&mut self, delta: SnapshotDelta<M>) {
        self.slot = delta.slot;
        self.machine.patch(delta.machine);
        self.sessions.patch(delta.sessions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, CommandId, Operation};
    use crate::state_machine::{Bytes, KeyValue, KeyValueCommand, MAX_VALUE_BYTES};
    use proptest::prelude::*;

    /// The most bytes of a part besides its pieces: a slot, two lanes for cursors, and two lengths.
    const PART_BYTES: usize = 64;

    proptest! {
        #[test]
        fn the_parts_of_a_snapshot_make_up_the_whole(keys in 0..60_u32, clients in 0..20_u64, max in 0..300_usize) {
            let mut machine = KeyValue::default();
            for key in 0..keys {
                machine.apply(&KeyValueCommand::Put(Bytes::from(&key.to_be_bytes()), Bytes::from("value")));
            }
            let snapshot = Snapshot { slot: Slot(9), machine, sessions: Sessions::with_clients(0..clients) };
            let mut transfer = Transfer::new(Slot(9));
            while !transfer.add(snapshot.part(transfer.cursor.clone(), max)) {}
            prop_assert_eq!(&transfer.machine, &snapshot.machine);
            prop_assert_eq!(&transfer.sessions, &snapshot.sessions);
        }

        #[test]
        fn a_part_keeps_to_its_bytes_whatever_clients_were_answered_last(
            values in proptest::collection::vec(0..MAX_VALUE_BYTES, 1..60), max in 1..32 * 1024_usize
        ) {
            let mut snapshot = Snapshot::<KeyValue> { slot: Slot(u64::MAX), ..Snapshot::default() };
            let lanes = u32::try_from(values.len()).unwrap();
            let id = |pseudonym, seq| CommandId { client: u64::MAX, session: u64::MAX, pseudonym, seq };
            let open = Command { id: id(0, 0), op: Operation::Open { lanes } };
            snapshot.sessions.execute(&mut snapshot.machine, Slot(u64::MAX - 1), &open, usize::MAX);
            for (pseudonym, bytes) in (0..).zip(&values) {
                let value = Bytes::from(&vec![7; *bytes]);
                snapshot.machine.apply(&KeyValueCommand::Put(Bytes::from("key"), value));
                let get = KeyValueCommand::Get(Bytes::from("key"));
                snapshot.sessions.apply(&mut snapshot.machine, Slot(u64::MAX), id(pseudonym, u64::MAX), &get);
            }
            let mut transfer = Transfer::new(snapshot.slot);
            loop {
                let part = snapshot.part(transfer.cursor.clone(), max);
                let one = part.machine.len() + part.sessions.len() <= 1;
                let bytes = postcard::to_stdvec(&part).unwrap().len();
                prop_assert!(one || bytes <= max + PART_BYTES, "{bytes} bytes in a part of {max}");
                if transfer.add(part) { break }
            }
            prop_assert_eq!(&transfer.sessions, &snapshot.sessions);
        }
    }
}
