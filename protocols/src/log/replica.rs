//! What a replica knows of the log, and how it gets what it lacks.

use super::{PageLimits, ReplicaLimits, Snapshot, SnapshotCursor, SnapshotPart, Transfer};
use crate::command::{CommandOf, Operation, ValueOf, value_bytes};
use crate::ids::Slot;
use crate::sessions::{Answer, Sessions};
use crate::state_machine::StateMachine;
use im::OrdMap;

/// How often a part of a snapshot is asked for before another replica is asked.
const ASKS_OF_A_SOURCE: u8 = 4;

/// What a replica knows; of this, the snapshot is saved.
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
    /// The index of the replica to ask next for what is missing.
    pub source: usize,
    /// The state machine.
    pub machine: M,
    /// The client table.
    pub sessions: Sessions<M::Output>,
    /// The last snapshot taken or received.
    pub snapshot: Snapshot<M>,
    /// About how many bytes the values take that were executed since.
    pub executed_bytes: usize,
    /// The snapshot that others are fetching: kept while newer ones are taken.
    pub lent: Option<Snapshot<M>>,
    /// The snapshot that is being fetched.
    pub transfer: Option<Transfer<M>>,
}

/// What a replica asks another one for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing<M: StateMachine> {
    /// Chosen values from this slot on.
    Log(Slot),
    /// The next part of a snapshot that has begun to arrive.
    Part {
        /// The snapshot's slot.
        slot: Slot,
        /// Where the part begins.
        cursor: SnapshotCursor<M>,
    },
}

/// What a replica gives to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lent<M: StateMachine> {
    /// Chosen values, from the slot on that it asked for.
    Values(Vec<ValueOf<M>>),
    /// The first part of a snapshot.
    Part(SnapshotPart<M>),
}

impl<M: StateMachine> ReplicaState<M> {
    /// A replica that has executed nothing.
    pub(crate) fn new(sessions: Sessions<M::Output>) -> Self {
        Self::at(Snapshot { slot: Slot::ZERO, machine: M::default(), sessions })
    }

    /// A replica that has executed what its snapshot covers.
    pub(crate) fn at(snapshot: Snapshot<M>) -> Self {
        Self {
            log: OrdMap::new(),
            log_start: snapshot.slot,
            executed: snapshot.slot,
            chosen_below: snapshot.slot,
            source: 0,
            machine: snapshot.machine.clone(),
            sessions: snapshot.sessions.clone(),
            snapshot,
            executed_bytes: 0,
            lent: None,
            transfer: None,
        }
    }

    /// Is this the part of a snapshot that it waits for, if it `lacks` anything?
    pub(crate) fn awaits_part(&self, part: &SnapshotPart<M>, lacks: bool) -> bool {
        lacks
            && part.slot > self.executed
            && match (&self.transfer, &part.at) {
                (Some(transfer), at) if transfer.slot == part.slot => transfer.cursor == *at,
                (Some(transfer), None) => part.slot > transfer.slot || transfer.retries >= ASKS_OF_A_SOURCE,
                (None, None) => true,
                (_, Some(_)) => false,
            }
    }

    /// Executes a command of a slot, unless the client table settles it; `anew` executes it all the same.
    pub(crate) fn execute_command(
        &mut self,
        slot: Slot,
        command: &CommandOf<M>,
        lanes: usize,
        anew: bool,
    ) -> Option<Answer<M::Output>> {
        match &command.op {
            Operation::Apply(operation) if anew => {
                Some(Answer::Output(self.sessions.apply(&mut self.machine, slot, command.id, operation)))
            }
            _ => self.sessions.execute(&mut self.machine, slot, command, lanes),
        }
    }

    /// Notes that the value of the next slot is executed.
    pub(crate) fn advance(&mut self, value: &ValueOf<M>) {
        self.executed = self.executed.next();
        self.executed_bytes += value_bytes::<M>(value);
    }

    /// Ends a run of executions: what lies below is known to be chosen, and an older snapshot is of no use any more.
    pub(crate) fn settle(&mut self) {
        self.chosen_below = self.chosen_below.max(self.executed);
        if self.transfer.as_ref().is_some_and(|transfer| transfer.slot <= self.executed) {
            self.transfer = None;
        }
    }

    /// Every so often remembers the state, so that older votes and log entries can go; true if it did.
    pub(crate) fn take_snapshot_if_due(&mut self, limits: ReplicaLimits, forget_clients: bool) -> bool {
        let slots = self.executed.0 - self.snapshot.slot.0;
        if slots < limits.snapshot_slots && self.executed_bytes < limits.log_bytes {
            return false;
        }
        self.executed_bytes = 0;
        self.snapshot = Snapshot {
            slot: self.executed,
            machine: self.machine.clone(),
            sessions: if forget_clients { Sessions::default() } else { self.sessions.clone() },
        };
        self.drop_covered(limits);
        true
    }

    /// Drops log entries well below the snapshot.
    pub(crate) fn drop_covered(&mut self, limits: ReplicaLimits) {
        let end = self.snapshot.slot;
        let mut bytes = 0;
        let fits = |(_, value): &(&Slot, &ValueOf<M>)| {
            bytes += value_bytes::<M>(value);
            bytes <= limits.log_bytes
        };
        let covered = self.log.range(end.minus(limits.retained_slots)..end);
        let start = covered.rev().take_while(fits).last().map_or(end, |(slot, _)| *slot);
        self.log_start = self.log_start.max(start);
        while self.log.get_min().is_some_and(|(slot, _)| *slot < self.log_start) {
            self.log = self.log.without_min().1;
        }
        if self.lent.as_ref().is_some_and(|lent| lent.slot < self.log_start) {
            self.lent = None;
        }
    }

    /// Whom to ask next, of `replicas` in turn but not `index` itself. A snapshot that has begun to arrive is asked for a few
    /// times more, and then goes on to arrive from the next one: replicas take snapshots at the same slots.
    pub(crate) fn next_source(&mut self, index: usize, replicas: usize) -> usize {
        let after = |source: usize| {
            let next = (source + 1) % replicas;
            if next == index { (next + 1) % replicas } else { next }
        };
        if let Some(transfer) = &mut self.transfer {
            transfer.retries += 1;
            if transfer.retries.is_multiple_of(ASKS_OF_A_SOURCE) {
                self.source = after(self.source);
            }
            // Beyond the first source all are alike, and the count need not grow.
            if transfer.retries == 3 * ASKS_OF_A_SOURCE {
                transfer.retries = ASKS_OF_A_SOURCE;
            }
            return self.source;
        }
        if self.source == index {
            self.source = after(self.source);
        }
        let source = self.source;
        self.source = after(source);
        source
    }

    /// Notes that slots below are chosen, and that a replica has them; true if it lacks one from now on. What was missing
    /// before is asked for in its time, however often it is heard of.
    pub(crate) fn expect_chosen(&mut self, chosen_below: Slot, source: Option<usize>, index: usize) -> bool {
        let lacked = self.chosen_below > self.executed;
        self.chosen_below = self.chosen_below.max(chosen_below).max(self.executed);
        let lacks = self.chosen_below > self.executed;
        if let Some(source) = source.filter(|source| lacks && *source != index) {
            self.source = source;
        }
        lacks && !lacked
    }

    /// What to ask for. A source that did not begin the snapshot that arrives may have none of that slot but the log, so it is
    /// asked for either in turn.
    pub(crate) fn missing(&self) -> Missing<M> {
        let elsewhere =
            |transfer: &&Transfer<M>| transfer.retries > ASKS_OF_A_SOURCE && transfer.retries % 2 == 1;
        let unfinished = self.transfer.as_ref().filter(|transfer| !elsewhere(transfer));
        match unfinished.and_then(|transfer| Some((transfer.slot, transfer.cursor.clone()?))) {
            Some((slot, cursor)) => Missing::Part { slot, cursor },
            None => Missing::Log(self.executed),
        }
    }

    /// Executed values from a slot on, as far as they fit a page.
    pub(crate) fn page(&self, from: Slot, limits: PageLimits) -> Vec<ValueOf<M>> {
        let (mut values, mut bytes) = (vec![], 0);
        for (_, value) in self.log.range(from..self.executed) {
            bytes += value_bytes::<M>(value);
            if values.len() == limits.slots || (bytes > limits.bytes && !values.is_empty()) {
                break;
            }
            values.push(value.clone());
        }
        values
    }

    /// What to give to a replica that lacks this slot: values, or a snapshot if they are gone.
    pub(crate) fn lend(&mut self, from: Slot, limits: PageLimits) -> Lent<M> {
        if from < self.log_start {
            Lent::Part(self.lend_part(None, limits.bytes))
        } else {
            Lent::Values(self.page(from, limits))
        }
    }

    /// The part of a snapshot that somebody asked for, or the first part of another one if that is gone. The snapshot
    /// that is being fetched already is lent on, as long as the log goes on from there; and what another replica has begun
    /// to lend is continued, if this one's last snapshot is of the same slot.
    pub(crate) fn lend_part(
        &mut self,
        wanted: Option<(Slot, &SnapshotCursor<M>)>,
        max_bytes: usize,
    ) -> SnapshotPart<M> {
        let log_start = self.log_start;
        let snapshot = &self.snapshot;
        let lent = match &mut self.lent {
            Some(lent) if lent.slot >= log_start => lent,
            lent => lent.insert(snapshot.clone()),
        };
        let continued = wanted.and_then(|(slot, cursor)| {
            let whole = [&*lent, snapshot].into_iter().find(|snapshot| snapshot.slot == slot)?;
            Some(whole.part(Some(cursor.clone()), max_bytes))
        });
        continued.unwrap_or_else(|| lent.part(None, max_bytes))
    }

    /// Adds chosen values.
    pub(crate) fn insert(&mut self, from: Slot, values: Vec<ValueOf<M>>) {
        for (slot, value) in (from.0..).map(Slot).zip(values) {
            if slot >= self.executed {
                self.log.insert(slot, value);
            }
        }
    }

    /// Adds a part of a snapshot; when it was the last, takes the whole over and says so.
    pub(crate) fn add_part(&mut self, source: usize, part: SnapshotPart<M>, limits: ReplicaLimits) -> bool {
        if part.at.is_none() {
            self.transfer = Some(Transfer::new(part.slot));
        }
        self.source = source;
        let Some(transfer) = &mut self.transfer else { return false };
        if !transfer.add(part) {
            return false;
        }
        let Some(transfer) = self.transfer.take() else { return false };
        let (log, lent) = (std::mem::take(&mut self.log), self.lent.take());
        let (chosen_below, source) = (self.chosen_below, self.source);
        *self = Self { log, chosen_below, source, lent, ..Self::at(transfer.into()) };
        self.drop_covered(limits);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, CommandId, Value};
    use crate::state_machine::{Bytes, KeyValue, KeyValueCommand};

    const LIMITS: ReplicaLimits =
        ReplicaLimits { lanes: 8, snapshot_slots: 6, retained_slots: 0, log_bytes: usize::MAX };
    /// One key for each part.
    const PAGE: PageLimits = PageLimits { slots: 100, bytes: 1 };

    /// A replica that has executed so many slots, each of which sets a key, and keeps what it is told to of the log.
    fn executed(slots: u64, limits: ReplicaLimits) -> ReplicaState<KeyValue> {
        let mut replica = ReplicaState::new(Sessions::with_clients([7]));
        for slot in (0..slots).map(Slot) {
            let id = CommandId { client: 7, session: 0, pseudonym: 0, seq: slot.0 + 1 };
            let put = KeyValueCommand::Put(Bytes::from(&slot.0.to_be_bytes()), Bytes::from("value"));
            let command = Command { id, op: Operation::Apply(put) };
            replica.execute_command(slot, &command, limits.lanes, false);
            let value = Value::Batch([command].into());
            replica.insert(slot, vec![value.clone()]);
            replica.advance(&value);
            replica.take_snapshot_if_due(limits, false);
        }
        replica.settle();
        replica
    }

    /// One that has executed nothing and has begun to fetch the snapshot of replica 1.
    fn begun() -> ReplicaState<KeyValue> {
        let mut replica = ReplicaState::new(Sessions::with_clients([7]));
        replica.expect_chosen(Slot(6), Some(1), 0);
        let mut first = executed(6, LIMITS);
        for _ in 0..3 {
            let wanted = match replica.missing() {
                Missing::Part { slot, cursor } => Some((slot, cursor)),
                Missing::Log(_) => None,
            };
            let part = first.lend_part(wanted.as_ref().map(|(slot, cursor)| (*slot, cursor)), PAGE.bytes);
            assert!(replica.awaits_part(&part, true));
            replica.add_part(1, part, LIMITS);
        }
        replica
    }

    /// Asks at time-outs, of which replica 1 hears nothing and replica 2 all, until it has executed six slots; how many parts
    /// or pages that took.
    fn answers_needed(
        mut replica: ReplicaState<KeyValue>,
        mut other: ReplicaState<KeyValue>,
    ) -> Option<usize> {
        let mut answers = 0;
        for _ in 0..100 {
            let source = replica.next_source(0, 3);
            if source != 2 {
                continue;
            }
            let lent = match replica.missing() {
                Missing::Part { .. } if other.snapshot.slot == Slot::ZERO => continue,
                Missing::Part { slot, cursor } => {
                    Lent::Part(other.lend_part(Some((slot, &cursor)), PAGE.bytes))
                }
                Missing::Log(from) => other.lend(from, PAGE),
            };
            match lent {
                Lent::Part(part) if replica.awaits_part(&part, true) => {
                    answers += 1;
                    replica.add_part(source, part, LIMITS);
                }
                Lent::Part(_) => {}
                Lent::Values(values) => {
                    answers += 1;
                    replica.insert(replica.executed, values);
                    while let Some(value) = replica.log.get(&replica.executed).cloned() {
                        for command in value.commands() {
                            replica.execute_command(replica.executed, command, LIMITS.lanes, false);
                        }
                        replica.advance(&value);
                    }
                    replica.settle();
                }
            }
            if replica.executed == Slot(6) {
                assert_eq!((&replica.machine, &replica.transfer), (&other.machine, &None));
                return Some(answers);
            }
        }
        None
    }

    #[test]
    fn snapshots_are_taken_earlier_and_less_is_kept_where_values_are_large() {
        let wide = ReplicaLimits { snapshot_slots: 1_000, retained_slots: 1_000, ..LIMITS };
        let bytes = executed(1, wide).executed_bytes;
        for (slots_of_bytes, snapshot, start) in [(4, 8, 4), (3, 9, 6), (10, 10, 0), (11, 0, 0)] {
            let replica = executed(10, ReplicaLimits { log_bytes: slots_of_bytes * bytes, ..wide });
            assert_eq!((replica.snapshot.slot, replica.log_start), (Slot(snapshot), Slot(start)));
            assert_eq!(replica.executed_bytes, (10 - usize::try_from(snapshot).unwrap()) * bytes);
            assert_eq!(replica.log.get_min().map(|(slot, _)| *slot), Some(Slot(start)));
        }
    }

    #[test]
    fn a_snapshot_that_has_begun_to_arrive_goes_on_from_another_source() {
        // Six keys and the client table, of which three keys are here.
        assert_eq!(answers_needed(begun(), executed(6, LIMITS)), Some(4));
        let mut lending = executed(6, LIMITS);
        lending.lent = Some(executed(3, ReplicaLimits { snapshot_slots: 3, ..LIMITS }).snapshot);
        lending.log_start = Slot(3);
        assert_eq!(answers_needed(begun(), lending), Some(4), "it lends an older one to somebody else");
    }

    #[test]
    fn a_snapshot_that_nobody_can_continue_is_given_up() {
        let older = ReplicaLimits { snapshot_slots: 5, ..LIMITS };
        // Five keys and the client table from the beginning; and the rest of the log.
        assert_eq!(answers_needed(begun(), executed(6, older)), Some(7));
        let none = ReplicaLimits { snapshot_slots: 7, ..LIMITS };
        assert_eq!(answers_needed(begun(), executed(6, none)), Some(6), "there is the log");
    }
}
