//! What a replica knows of the log, and how it gets what it lacks.

use super::{PageLimits, ReplicaLimits, Snapshot, SnapshotCursor, SnapshotPart, Transfer};
use crate::command::{CommandOf, Operation, ValueOf, value_bytes};
use crate::ids::Slot;
use crate::sessions::{Answer, Sessions};
use crate::state_machine::StateMachine;
use im::OrdMap;

/// How often a part of a snapshot is asked for again before another replica is asked for another snapshot.
const TRANSFER_RETRIES: u8 = 3;

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
                (Some(transfer), None) => part.slot > transfer.slot,
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

    /// Ends a run of executions: what lies below is known to be chosen, and an older snapshot is of no use any more.
    pub(crate) fn settle(&mut self) {
        self.chosen_below = self.chosen_below.max(self.executed);
        if self.transfer.as_ref().is_some_and(|transfer| transfer.slot <= self.executed) {
            self.transfer = None;
        }
    }

    /// Every so often remembers the state, so that older votes and log entries can go; true if it did.
    pub(crate) fn take_snapshot_if_due(&mut self, limits: ReplicaLimits, forget_clients: bool) -> bool {
        if self.executed.0 - self.snapshot.slot.0 < limits.snapshot_slots {
            return false;
        }
        self.snapshot = Snapshot {
            slot: self.executed,
            machine: self.machine.clone(),
            sessions: if forget_clients { Sessions::default() } else { self.sessions.clone() },
        };
        self.drop_covered(limits.retained_slots);
        true
    }

    /// Drops log entries well below the snapshot.
    pub(crate) fn drop_covered(&mut self, retained_slots: u64) {
        self.log_start = self.log_start.max(self.snapshot.slot.minus(retained_slots));
        while self.log.get_min().is_some_and(|(slot, _)| *slot < self.log_start) {
            self.log = self.log.without_min().1;
        }
        if self.lent.as_ref().is_some_and(|lent| lent.slot < self.log_start) {
            self.lent = None;
        }
    }

    /// Whom to ask next, of `replicas` in turn but not `index` itself. A snapshot that has begun to arrive is asked for a
    /// few times more before it is given up for another one.
    pub(crate) fn next_source(&mut self, index: usize, replicas: usize) -> usize {
        let after = |source: usize| {
            let next = (source + 1) % replicas;
            if next == index { (next + 1) % replicas } else { next }
        };
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.retries < TRANSFER_RETRIES)
        {
            transfer.retries += 1;
            return self.source;
        }
        if self.transfer.take().is_some() || self.source == index {
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

    /// What to ask for.
    pub(crate) fn missing(&self) -> Missing<M> {
        let unfinished =
            self.transfer.as_ref().and_then(|transfer| Some((transfer.slot, transfer.cursor.clone()?)));
        match unfinished {
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
    /// that is being fetched already is lent on, as long as the log goes on from there.
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
        let at = wanted.filter(|(slot, _)| lent.slot == *slot).map(|(_, cursor)| cursor.clone());
        lent.part(at, max_bytes)
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
    pub(crate) fn add_part(&mut self, source: usize, part: SnapshotPart<M>, retained_slots: u64) -> bool {
        if part.at.is_none() {
            self.transfer = Some(Transfer::new(part.slot));
            self.source = source;
        }
        let Some(transfer) = &mut self.transfer else { return false };
        if !transfer.add(part) {
            return false;
        }
        let Some(transfer) = self.transfer.take() else { return false };
        let (log, lent) = (std::mem::take(&mut self.log), self.lent.take());
        let (chosen_below, source) = (self.chosen_below, self.source);
        *self = Self { log, chosen_below, source, lent, ..Self::at(transfer.into()) };
        self.drop_covered(retained_slots);
        true
    }
}
