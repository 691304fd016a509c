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
use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

impl<O> Lane<O> {
    /// A lane whose last command was this one.
    fn after(id: CommandId, slot: Slot, output: O) -> Self {
        Self { session: id.session, seq: id.seq, slot, output: Some(output) }
    }
}

/// The most bytes that a lane takes in a message, its output apart.
const LANE_BYTES: usize = 48;

/// The most lanes of a session: one request must not fill a table and make everybody else forgotten.
pub const SESSION_LANES_MAX: u32 = 4096;

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
    /// A table, or a session, has no room for so many lanes.
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

/// What a lane says of a command, if the table has it.
fn standing<O: Clone>(lane: Option<&Lane<O>>, id: &CommandId) -> Standing<O> {
    match lane {
        None if id.seq == 0 => Standing::New,
        None => Standing::Settled(Answer::Expired),
        Some(Lane { session, .. }) if id.seq == 0 => Standing::Settled(Answer::Opened { session: *session }),
        Some(lane) if lane.session != id.session => Standing::Settled(Answer::Expired),
        Some(lane) if id.seq > lane.seq => Standing::New,
        Some(Lane { seq, output: Some(output), .. }) if id.seq == *seq => {
            Standing::Settled(Answer::Output(output.clone()))
        }
        Some(_) => Standing::Old,
    }
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
        standing(self.lanes.get(&(id.client, id.pseudonym)), id)
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
        if !command.is_named_right() {
            return Some(Answer::Expired);
        }
        let id = command.id;
        let mut lane = self.lanes.get_mut(&(id.client, id.pseudonym));
        match standing(lane.as_deref(), &id) {
            Standing::New => {}
            Standing::Settled(answer) => return Some(answer),
            Standing::Old => return None,
        }
        match (&command.op, &mut lane) {
            (Operation::Open { lanes }, _) => Some(self.open(id.client, *lanes, slot, lanes_max)),
            (Operation::Apply(operation), Some(lane)) => {
                let output = machine.apply(operation);
                **lane = Lane::after(id, slot, output.clone());
                Some(Answer::Output(output))
            }
            (Operation::Apply(_), None) => Some(Answer::Expired),
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
        self.lanes.insert((id.client, id.pseudonym), Lane::after(id, slot, output.clone()));
        output
    }

    /// Opens a session, and forgets the sessions that were used least recently if there is no room.
    fn open(&mut self, client: u64, lanes: u32, slot: Slot, lanes_max: usize) -> Answer<O> {
        let wanted = usize::try_from(lanes).unwrap_or(usize::MAX);
        if wanted == 0 || wanted > lanes_max || lanes > SESSION_LANES_MAX {
            return Answer::TooManyLanes;
        }
        let excess = (self.lanes.len() + wanted).saturating_sub(lanes_max);
        let uses = self.lanes.iter().map(|((client, _), lane)| (*client, lane.slot));
        for forgotten in least_recently_used(uses, excess) {
            forget(&mut self.lanes, forgotten);
        }
        let session = slot.0 + 1;
        for pseudonym in 0..lanes {
            self.lanes.insert((client, pseudonym), Lane { session, seq: 0, slot, output: None });
        }
        Answer::Opened { session }
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

/// The clients to forget so that at least `excess` lanes go, from the client and the last use of each lane in the order of
/// clients: those whose last use of any lane is the earliest; of several with the same, the one with the smallest number.
/// One pass over the table, only when it is full: an index kept up to date would cost every command.
pub(crate) fn least_recently_used<T: Ord + Copy>(
    uses: impl Iterator<Item = (u64, T)>,
    excess: usize,
) -> Vec<u64> {
    if excess == 0 {
        return vec![];
    }
    let mut uses = uses.peekable();
    let mut clients = vec![];
    while let Some((client, mut latest)) = uses.next() {
        let mut lanes = 1;
        while let Some((_, used)) = uses.next_if(|(other, _)| *other == client) {
            latest = latest.max(used);
            lanes += 1;
        }
        clients.push(Reverse((latest, client, lanes)));
    }
    let mut clients = BinaryHeap::from(clients);
    let (mut forgotten, mut freed) = (vec![], 0);
    while freed < excess
        && let Some(Reverse((_, client, lanes))) = clients.pop()
    {
        forgotten.push(client);
        freed += lanes;
    }
    forgotten
}

/// Removes all lanes of a client.
pub(crate) fn forget<L: Clone>(lanes: &mut OrdMap<LaneKey, L>, client: u64) {
    let keys: Vec<LaneKey> = lanes.range((client, 0)..=(client, u32::MAX)).map(|(key, _)| *key).collect();
    for key in keys {
        lanes.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::{Counter, CounterCommand};
    use proptest::prelude::*;

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

    #[test]
    fn a_command_that_names_no_number_is_executed_by_nobody() {
        let (mut table, mut machine) = (Sessions::with_clients([7]), Counter::default());
        for client in [7, 8] {
            for pseudonym in 0..3 {
                let unnumbered = add(CommandId { pseudonym, ..id(client, 0, 0) });
                assert_eq!(table.execute(&mut machine, Slot(4), &unnumbered, 1), Some(Answer::Expired));
            }
        }
        let numbered = Command { id: id(7, 0, 5), ..open(7) };
        assert_eq!(table.execute(&mut machine, Slot(5), &numbered, 1), Some(Answer::Expired));
        assert_eq!((table, machine), (Sessions::with_clients([7]), Counter::default()));
    }

    #[test]
    fn a_session_has_no_more_lanes_than_it_may() {
        let (mut table, mut machine) = (Sessions::<u64>::default(), Counter::default());
        for (client, lanes, fits) in [(1, SESSION_LANES_MAX + 1, false), (2, SESSION_LANES_MAX, true)] {
            let open = Command { id: id(client, 0, 0), op: Operation::Open { lanes } };
            let answer = table.execute(&mut machine, Slot(client), &open, usize::MAX);
            let expected = if fits { Answer::Opened { session: client + 1 } } else { Answer::TooManyLanes };
            assert_eq!(answer, Some(expected));
        }
        assert_eq!(table.len(), SESSION_LANES_MAX as usize);
    }

    /// The client whose last use is the earliest, and of several the first.
    fn stalest(uses: &[(u64, u8)]) -> Option<u64> {
        let latest = |client| uses.iter().filter(|(other, _)| *other == client).map(|(_, used)| *used).max();
        uses.iter().map(|(client, _)| (latest(*client), *client)).min().map(|(_, client)| client)
    }

    proptest! {
        #[test]
        fn one_pass_forgets_whom_one_pass_for_each_would(
            mut uses in proptest::collection::vec((0..9_u64, 0..5_u8), 0..30), excess in 0..30_usize
        ) {
            uses.sort_by_key(|(client, _)| *client);
            let mut visited = 0;
            let forgotten = least_recently_used(uses.iter().copied().inspect(|_| visited += 1), excess);
            prop_assert!(visited <= uses.len(), "{visited} visits");
            let (mut left, mut expected) = (uses.clone(), vec![]);
            while uses.len() - left.len() < excess && let Some(client) = stalest(&left) {
                expected.push(client);
                left.retain(|(other, _)| *other != client);
            }
            prop_assert_eq!(forgotten, expected);
        }
    }
}
