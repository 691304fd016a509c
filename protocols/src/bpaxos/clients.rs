//! The client table where commands run out of order: every command takes effect at most once.
//!
//! A lane's client sends the next command when one was answered, which says that some replica has run it. Another replica
//! may run the next one first, if the two do not conflict. So the table keeps for each lane the *set* of numbers that have
//! run, which is nearly contiguous, and the output of the largest; nobody waits for an older one any more.
//!
//! The table has a limit. Which session is forgotten must not depend on the order in which commuting commands ran, so time
//! is counted in sessions opened: opening one conflicts with everything, and every command runs after the same openings
//! everywhere. The session that was used at the earliest such time goes. A session's number is the count at its opening.

use crate::command::{Command, CommandId, Operation};
use crate::durable::{Change, export_map, map_changes, patch_map};
use crate::graph::Ids;
use crate::sessions::{Answer, LaneKey, SESSION_LANES_MAX, Standing, forget, least_recently_used};
use crate::state_machine::StateMachine;
use im::OrdMap;
use serde::{Deserialize, Serialize};

/// The client table of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientTable<O: Clone> {
    lanes: OrdMap<LaneKey, Lane<O>>,
    /// How many sessions were opened.
    opened: u64,
}

/// What the table knows of one lane of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane<O> {
    /// The number of the session.
    session: u64,
    /// The numbers that have run.
    done: Ids,
    /// The largest of them, or 0.
    last: u64,
    /// Its output.
    output: Option<O>,
    /// How many sessions had been opened when it was used last.
    used: u64,
}

/// The most bytes that a lane takes in a message, its numbers and its output apart.
const LANE_BYTES: usize = 48;
/// The most bytes that a range of numbers takes.
const RANGE_BYTES: usize = 20;

/// A change of the table.
pub type LaneChange<O> = Change<LaneKey, Lane<O>>;

/// Rules that a mutant breaks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TableRules {
    /// Run everything, whether it has run or not.
    pub(super) anew: bool,
    /// Nothing below the largest number is new.
    pub(super) largest_only: bool,
}

impl<O: Clone> Default for ClientTable<O> {
    fn default() -> Self {
        Self { lanes: OrdMap::new(), opened: 0 }
    }
}

impl<O: Clone + PartialEq> ClientTable<O> {
    /// A table with one lane in session 0 for each of these clients, which then need not open one.
    pub fn with_clients(clients: impl IntoIterator<Item = u64>) -> Self {
        let lanes = clients.into_iter().map(|client| ((client, 0), Lane::open(0)));
        Self { lanes: lanes.collect(), opened: 0 }
    }

    /// Whether a command is new to this table, settled, or of no interest any more.
    pub fn standing(&self, id: &CommandId) -> Standing<O> {
        let lane = self.lanes.get(&(id.client, id.pseudonym));
        if id.seq == 0 {
            let opened = lane.map(|lane| Answer::Opened { session: lane.session });
            return opened.map_or(Standing::New, Standing::Settled);
        }
        match lane {
            Some(lane) if lane.session == id.session => match &lane.output {
                _ if !lane.done.contains(id.seq) => Standing::New,
                Some(output) if lane.last == id.seq => Standing::Settled(Answer::Output(output.clone())),
                _ => Standing::Old,
            },
            _ => Standing::Settled(Answer::Expired),
        }
    }

    /// Executes a command, unless the table settles it.
    pub(super) fn execute<M: StateMachine<Output = O>>(
        &mut self,
        machine: &mut M,
        command: &Command<M::Command>,
        lanes_max: usize,
        rules: TableRules,
    ) -> Option<Answer<O>> {
        let id = command.id;
        if !command.is_named_right() {
            return Some(Answer::Expired);
        }
        let operation = match &command.op {
            Operation::Open { lanes } => {
                return Some(match self.standing(&id) {
                    Standing::Settled(answer) => answer,
                    _ => self.open(id.client, *lanes, lanes_max),
                });
            }
            Operation::Apply(operation) => operation,
        };
        match self.standing(&id) {
            Standing::Settled(answer) if !rules.anew || answer == Answer::Expired => return Some(answer),
            Standing::Old if !rules.anew => return None,
            _ => {}
        }
        let opened = self.opened;
        let lane = self.lanes.get_mut(&(id.client, id.pseudonym))?;
        if rules.largest_only && id.seq < lane.last {
            return None;
        }
        let output = machine.apply(operation);
        lane.done.insert(id.seq);
        lane.used = opened;
        if id.seq >= lane.last {
            lane.last = id.seq;
            lane.output = Some(output.clone());
        }
        Some(Answer::Output(output))
    }

    /// Opens a session, and forgets the sessions that were used least recently if there is no room.
    fn open(&mut self, client: u64, lanes: u32, lanes_max: usize) -> Answer<O> {
        let wanted = usize::try_from(lanes).unwrap_or(usize::MAX);
        if wanted == 0 || wanted > lanes_max || lanes > SESSION_LANES_MAX {
            return Answer::TooManyLanes;
        }
        let excess = (self.lanes.len() + wanted).saturating_sub(lanes_max);
        let uses = self.lanes.iter().map(|((client, _), lane)| (*client, lane.used));
        for forgotten in least_recently_used(uses, excess) {
            forget(&mut self.lanes, forgotten);
        }
        self.opened += 1;
        let lane = Lane { used: self.opened, ..Lane::open(self.opened) };
        for pseudonym in 0..lanes {
            self.lanes.insert((client, pseudonym), lane.clone());
        }
        Answer::Opened { session: self.opened }
    }

    /// How many lanes it holds.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// How many sessions were opened.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// What turns `before` into this table.
    pub fn changes_since(&self, before: &Self) -> Vec<LaneChange<O>> {
        map_changes(&before.lanes, &self.lanes)
    }

    /// Applies changes; so many sessions were opened after them.
    pub fn patch(&mut self, changes: Vec<LaneChange<O>>, opened: u64) {
        patch_map(&mut self.lanes, changes);
        self.opened = opened;
    }

    /// The next lanes after `cursor`, of about `max_bytes` with their outputs and at least one if any is left; and where to
    /// go on.
    pub fn export<M: StateMachine<Output = O>>(
        &self,
        cursor: Option<LaneKey>,
        max_bytes: usize,
    ) -> (Vec<LaneChange<O>>, Option<LaneKey>) {
        let bytes = |_: &_, lane: &Lane<O>| {
            let output = lane.output.as_ref().map_or(0, M::output_bytes);
            LANE_BYTES + lane.done.ranges() * RANGE_BYTES + output
        };
        export_map(&self.lanes, cursor.as_ref(), max_bytes, bytes)
    }
}

impl<O> Lane<O> {
    fn open(session: u64) -> Self {
        Self { session, done: Ids::default(), last: 0, output: None, used: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::exhaust::exhaust;
    use super::*;
    use crate::state_machine::{Counter, CounterCommand};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn add(client: u64, session: u64, seq: u64) -> Command<CounterCommand> {
        let id = CommandId { client, session, pseudonym: 0, seq };
        Command { id, op: Operation::Apply(CounterCommand::Add(1)) }
    }

    fn open(client: u64) -> Command<CounterCommand> {
        let id = CommandId { client, session: 0, pseudonym: 0, seq: 0 };
        Command { id, op: Operation::Open { lanes: 1 } }
    }

    /// Runs a command as often as the rules have it; how often it took effect and what was answered.
    fn run(
        table: &mut ClientTable<u64>,
        machine: &mut Counter,
        command: &Command<CounterCommand>,
        rules: TableRules,
    ) -> Option<Answer<u64>> {
        table.execute(machine, command, 2, rules)
    }

    proptest! {
        /// Against the set of everything that ran (M29, M30: the same with a rule broken disagrees).
        #[test]
        fn each_number_takes_effect_once_in_any_order(seqs in proptest::collection::vec(1..9_u64, 0..30)) {
            let (mut table, mut machine) = (ClientTable::with_clients([7]), Counter::default());
            let mut seen = BTreeSet::new();
            for seq in seqs {
                let answer = run(&mut table, &mut machine, &add(7, 0, seq), TableRules::default());
                let first = seen.insert(seq);
                let largest = seen.last() == Some(&seq);
                prop_assert_eq!(answer.is_some(), first || largest, "only the largest is answered again");
                prop_assert_eq!(machine.clone().apply(&CounterCommand::Read), seen.len() as u64);
            }
        }
    }

    #[test]
    fn a_later_command_that_ran_first_does_not_hide_an_earlier_one() {
        let ran = |rules| {
            let (mut table, mut machine) = (ClientTable::with_clients([7]), Counter::default());
            for seq in [2, 1, 1] {
                run(&mut table, &mut machine, &add(7, 0, seq), rules);
            }
            machine.apply(&CounterCommand::Read)
        };
        assert_eq!(ran(TableRules::default()), 2);
        assert_eq!(ran(TableRules { largest_only: true, ..TableRules::default() }), 1, "R8");
        assert_eq!(ran(TableRules { anew: true, ..TableRules::default() }), 3);
    }

    #[test]
    fn a_forgotten_session_never_comes_back_to_life() {
        let (mut table, mut machine) = (ClientTable::default(), Counter::default());
        let mut run = |command: &_| run(&mut table, &mut machine, command, TableRules::default());
        assert_eq!(run(&open(1)), Some(Answer::Opened { session: 1 }));
        assert_eq!(run(&add(1, 1, 1)), Some(Answer::Output(1)));
        assert_eq!(run(&open(1)), Some(Answer::Opened { session: 1 }), "an open session is opened once");
        run(&open(2));
        assert_eq!(run(&open(3)), Some(Answer::Opened { session: 3 }));
        assert_eq!(run(&add(1, 1, 2)), Some(Answer::Expired), "client 1 was used least recently");
        assert_eq!(run(&open(1)), Some(Answer::Opened { session: 4 }));
        assert_eq!(run(&add(1, 1, 2)), Some(Answer::Expired), "which the old command does not name");
    }

    /// A table that runs commands, and what it has run: between two openings, of which session which number, how often.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Run {
        table: ClientTable<u64>,
        effects: Vec<BTreeMap<(u64, u64, u64), usize>>,
        openings: Vec<u64>,
        /// Was a command that had not run taken for one that had?
        lost: bool,
    }

    /// Every order, with repetitions, of the commands of two clients and the openings of two more, which have the table forget.
    fn every_order(rules: TableRules) -> Result<usize, Run> {
        let start = Run {
            table: ClientTable::with_clients([7, 8]),
            effects: vec![BTreeMap::new()],
            openings: vec![],
            lost: false,
        };
        let commands: Vec<_> = [add(7, 0, 1), add(7, 0, 2), add(7, 0, 3), add(8, 0, 1), add(8, 0, 2)]
            .into_iter()
            .chain([open(9), open(10), add(9, 1, 1), add(10, 1, 1), add(10, 2, 1), open(7), add(7, 3, 1)])
            .collect();
        let next = |run: &Run| {
            let after = |command: &Command<CounterCommand>| {
                let mut next = run.clone();
                let mut machine = Counter::default();
                let answer = next.table.execute(&mut machine, command, 2, rules);
                let CommandId { client, session, seq, .. } = command.id;
                let id = (client, session, seq);
                if machine != Counter::default() {
                    let effects = next.effects.last_mut().expect("there is always one");
                    *effects.entry(id).or_default() += 1;
                } else if matches!(answer, None | Some(Answer::Output(_))) {
                    next.lost |= !run.effects.iter().any(|effects| effects.contains_key(&id));
                }
                if matches!(answer, Some(Answer::Opened { session }) if session > run.table.opened()) {
                    next.openings.push(client);
                    next.effects.push(BTreeMap::new());
                }
                next
            };
            // A client that comes and goes would go on for ever.
            commands.iter().map(after).filter(|next| next.openings.len() <= 3).collect()
        };
        let mut tables = BTreeMap::new();
        exhaust(start, next, |run| {
            let mut all: BTreeMap<_, usize> = BTreeMap::new();
            for (id, times) in run.effects.iter().flatten() {
                *all.entry(id).or_default() += times;
            }
            let known = tables.entry((run.effects.clone(), run.openings.clone()));
            !run.lost
                && all.values().all(|times| *times == 1)
                && *known.or_insert_with(|| run.table.clone()) == run.table
        })
    }

    #[test]
    fn in_every_order_each_command_takes_effect_once_and_equal_sets_leave_equal_tables() {
        assert_eq!(every_order(TableRules::default()).map_err(drop), Ok(3_560));
        assert!(every_order(TableRules { anew: true, ..TableRules::default() }).is_err());
        assert!(every_order(TableRules { largest_only: true, ..TableRules::default() }).is_err());
    }

    #[test]
    fn a_request_for_too_many_lanes_or_with_a_wrong_number_changes_nothing() {
        let (mut table, mut machine) = (ClientTable::<u64>::with_clients([7]), Counter::default());
        let mut run = |seq, op| {
            let id = CommandId { client: 7 + seq, session: 0, pseudonym: 0, seq };
            table.execute(&mut machine, &Command { id, op }, usize::MAX, TableRules::default())
        };
        assert_eq!(run(5, Operation::Open { lanes: 1 }), Some(Answer::Expired));
        assert_eq!(run(0, Operation::Apply(CounterCommand::Add(1))), Some(Answer::Expired));
        let new = CommandId { client: 8, session: 0, pseudonym: 0, seq: 0 };
        for (lanes, fits) in [(SESSION_LANES_MAX + 1, false), (SESSION_LANES_MAX, true)] {
            let open = Command { id: new, op: Operation::Open { lanes } };
            let answer = table.execute(&mut machine, &open, usize::MAX, TableRules::default());
            let expected = if fits { Answer::Opened { session: 1 } } else { Answer::TooManyLanes };
            assert_eq!(answer, Some(expected));
        }
        assert_eq!(machine, Counter::default());
    }
}
