//! The client table: every command takes effect at most once, however often it is sent and chosen.
//!
//! A client opens a *session* with a number of *lanes* (the paper's pseudonyms). Per lane it has one command outstanding,
//! and sequence numbers grow, so the largest number executed and its output are all that a replica must remember: a
//! retry of that command is answered from the table, an older one can only be a duplicate that nobody waits for.
//!
//! The papers let this table grow for ever. Here it has a limit, and forgetting must not revive an old command: the
//! number of a session is derived from the slot that opened it, every command carries the number, and a command whose
//! session is unknown is refused instead of executed. A duplicate of an `Open` after its session was forgotten gets a
//! session with another number, which no command carries.

use crate::command::{Command, CommandId, Operation};
use crate::durable::{Change, export_map, map_changes, patch_map};
use crate::ids::Slot;
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};

/// What the table knows of one lane of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane<O> {
    /// The number of the session.
    pub session: u64,
    /// The largest sequence number executed; 0 before the first.
    pub seq: u64,
    /// The slot that it was executed in, or that opened the session.
    pub slot: Slot,
    /// Its output; none before the first.
    pub output: Option<O>,
}

/// The most bytes that a lane takes in a message, its output apart.
const LANE_BYTES: usize = 48;

/// The client and its pseudonym.
pub type LaneKey = (u64, u32);

/// How one replica answers a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer<O> {
    /// The session was opened under this number.
    Opened {
        /// The number to put into every command.
        session: u64,
    },
    /// The command was executed with this output.
    Output(O),
    /// The session is not known (any more): no copy of the command will be executed from now on. Whether one was
    /// executed before the session was forgotten, nobody knows.
    Expired,
    /// The table has no room for so many lanes.
    TooManyLanes,
}

/// What the table says of a command before it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<O> {
    /// Not executed yet.
    New,
    /// Settled: this is the answer to every copy.
    Settled(Answer<O>),
    /// Older than what the client was last answered: nobody waits for it.
    Old,
}

/// The client table of a replica. (The order means nothing; it lets messages that carry tables be sorted.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sessions<O: Clone> {
    lanes: OrdMap<LaneKey, Lane<O>>,
}

impl<O: Clone> Default for Sessions<O> {
    fn default() -> Self {
        Self { lanes: OrdMap::new() }
    }
}

/// A change of the table.
pub type SessionChange<O> = Change<LaneKey, Lane<O>>;

impl<O: Clone + PartialEq> Sessions<O> {
    /// A table with one lane in session 0 for each of these clients, which then need not open one.
    pub fn with_clients(clients: impl IntoIterator<Item = u64>) -> Self {
        let lane = Lane { session: 0, seq: 0, slot: Slot::ZERO, output: None };
        Self { lanes: clients.into_iter().map(|client| ((client, 0), lane.clone())).collect() }
    }

    /// Whether a command is new to this table, settled, or of no interest any more.
    pub fn standing(&self, id: &CommandId) -> Standing<O> {
        let lane = self.lanes.get(&(id.client, id.pseudonym));
        if id.seq == 0 {
            let opened = lane.map(|lane| Answer::Opened { session: lane.session });
            return opened.map_or(Standing::New, Standing::Settled);
        }
        match lane {
            Some(lane) if lane.session != id.session => Standing::Settled(Answer::Expired),
            None => Standing::Settled(Answer::Expired),
            Some(lane) if id.seq > lane.seq => Standing::New,
            Some(Lane { seq, output: Some(output), .. }) if id.seq == *seq => {
                Standing::Settled(Answer::Output(output.clone()))
            }
            Some(_) => Standing::Old,
        }
    }

    /// The answer to a command that was executed before, as far as this table knows. A replica that lags behind knows
    /// less than the log says, so that it finds nothing proves nothing.
    pub fn known_answer(&self, id: &CommandId) -> Option<Answer<O>> {
        match self.standing(id) {
            Standing::Settled(answer @ (Answer::Opened { .. } | Answer::Output(_))) => Some(answer),
            _ => None,
        }
    }

    /// Executes a command that was chosen in `slot`, unless the table settles it.
    pub fn execute<M: StateMachine<Output = O>>(
        &mut self,
        machine: &mut M,
        slot: Slot,
        command: &Command<M::Command>,
        lanes_max: usize,
    ) -> Option<Answer<O>> {
        match self.standing(&command.id) {
            Standing::New => {}
            Standing::Settled(answer) => return Some(answer),
            Standing::Old => return None,
        }
        match &command.op {
            Operation::Open { lanes } => Some(self.open(command.id.client, *lanes, slot, lanes_max)),
            Operation::Apply(operation) => {
                Some(Answer::Output(self.apply(machine, slot, command.id, operation)))
            }
        }
    }

    /// Executes without asking whether the command was executed before.
    pub(crate) fn apply<M: StateMachine<Output = O>>(
        &mut self,
        machine: &mut M,
        slot: Slot,
        id: CommandId,
        operation: &M::Command,
    ) -> O {
        let output = machine.apply(operation);
        let lane = Lane { session: id.session, seq: id.seq, slot, output: Some(output.clone()) };
        self.lanes.insert((id.client, id.pseudonym), lane);
        output
    }

    /// Opens a session, and forgets the sessions that were used least recently if there is no room.
    fn open(&mut self, client: u64, lanes: u32, slot: Slot, lanes_max: usize) -> Answer<O> {
        let wanted = usize::try_from(lanes).unwrap_or(usize::MAX);
        if wanted == 0 || wanted > lanes_max {
            return Answer::TooManyLanes;
        }
        while self.lanes.len() + wanted > lanes_max {
            self.forget_least_recently_used();
        }
        let session = slot.0 + 1;
        for pseudonym in 0..lanes {
            self.lanes.insert((client, pseudonym), Lane { session, seq: 0, slot, output: None });
        }
        Answer::Opened { session }
    }

    fn forget_least_recently_used(&mut self) {
        // One pass over the table, only when it is full: an index kept up to date would cost every command.
        let mut last_use: Option<(Slot, u64)> = None;
        let mut lanes = self.lanes.iter().peekable();
        while let Some(((client, _), lane)) = lanes.next() {
            let mut latest = lane.slot;
            while let Some((_, lane)) = lanes.next_if(|((other, _), _)| other == client) {
                latest = latest.max(lane.slot);
            }
            last_use = Some(last_use.map_or((latest, *client), |found| found.min((latest, *client))));
        }
        let (_, client) = last_use.expect("a full table has a client");
        let forgotten: Vec<LaneKey> =
            self.lanes.range((client, 0)..=(client, u32::MAX)).map(|(key, _)| *key).collect();
        for key in forgotten {
            self.lanes.remove(&key);
        }
    }

    /// The number of lanes in the table.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Is no lane in the table?
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// What turns `before` into this table.
    pub fn changes_since(&self, before: &Self) -> Vec<SessionChange<O>> {
        map_changes(&before.lanes, &self.lanes)
    }

    /// Applies changes.
    pub fn patch(&mut self, changes: Vec<SessionChange<O>>) {
        patch_map(&mut self.lanes, changes);
    }

    /// The next lanes after `cursor`, of about `max_bytes` with their outputs and at least one if any is left; and where to
    /// go on.
    pub fn export<M: StateMachine<Output = O>>(
        &self,
        cursor: Option<LaneKey>,
        max_bytes: usize,
    ) -> (Vec<SessionChange<O>>, Option<LaneKey>) {
        let bytes = |_: &_, lane: &Lane<O>| LANE_BYTES + lane.output.as_ref().map_or(0, M::output_bytes);
        export_map(&self.lanes, cursor.as_ref(), max_bytes, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::{Counter, CounterCommand};

    fn id(client: u64, session: u64, seq: u64) -> CommandId {
        CommandId { client, session, pseudonym: 0, seq }
    }

    fn add(id: CommandId) -> Command<CounterCommand> {
        Command { id, op: Operation::Apply(CounterCommand::Add(1)) }
    }

    fn open(client: u64) -> Command<CounterCommand> {
        Command { id: id(client, 0, 0), op: Operation::Open { lanes: 1 } }
    }

    #[test]
    fn a_command_chosen_twice_takes_effect_once_and_is_answered_twice() {
        let (mut table, mut machine) = (Sessions::with_clients([7]), Counter::default());
        let first = table.execute(&mut machine, Slot(0), &add(id(7, 0, 1)), 8);
        let second = table.execute(&mut machine, Slot(1), &add(id(7, 0, 1)), 8);
        assert_eq!((first, second), (Some(Answer::Output(1)), Some(Answer::Output(1))));
        assert_eq!(machine.apply(&CounterCommand::Read), 1);
    }

    #[test]
    fn an_older_command_is_dropped_without_an_answer() {
        let (mut table, mut machine) = (Sessions::with_clients([7]), Counter::default());
        for seq in 1..=2 {
            table.execute(&mut machine, Slot(seq), &add(id(7, 0, seq)), 8);
        }
        assert_eq!(table.execute(&mut machine, Slot(3), &add(id(7, 0, 1)), 8), None);
        assert_eq!(machine.apply(&CounterCommand::Read), 2);
    }

    #[test]
    fn a_forgotten_session_never_comes_back_to_life() {
        let (mut table, mut machine) = (Sessions::default(), Counter::default());
        let mut execute = |slot, command: &_| table.execute(&mut machine, Slot(slot), command, 2);
        assert_eq!(execute(0, &open(1)), Some(Answer::Opened { session: 1 }));
        assert_eq!(execute(1, &add(id(1, 1, 1))), Some(Answer::Output(1)));
        assert_eq!(
            execute(2, &open(1)),
            Some(Answer::Opened { session: 1 }),
            "an open session is opened once"
        );
        execute(3, &open(2));
        execute(4, &open(3)); // client 1 was used least recently and is forgotten
        assert_eq!(execute(5, &add(id(1, 1, 1))), Some(Answer::Expired));
        assert_eq!(
            execute(6, &open(1)),
            Some(Answer::Opened { session: 7 }),
            "a late duplicate opens another session"
        );
        assert_eq!(
            execute(7, &add(id(1, 1, 1))),
            Some(Answer::Expired),
            "which the old command does not name"
        );
    }
}
