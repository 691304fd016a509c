//! What the log holds, and the machine that it is applied to: that of the application, and the configurations.

use crate::command::{Command, Operation};
use crate::ids::Slot;
use crate::matchmaking::Configuration;
use crate::sessions::Answer;
use crate::state_machine::{Part, StateMachine};
use im::Vector;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};

/// What the log holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Entry<C> {
    /// A command of a client.
    Command(C),
    /// Other acceptors.
    Configuration(Numbered),
}

/// A configuration, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Numbered {
    /// How many configurations came before. One that does not follow the newest is void: it was proposed twice, or somebody
    /// else's came first.
    pub number: u64,
    /// The slot that it was proposed for.
    pub slot: Slot,
    /// The first slot that its acceptors vote for.
    pub first: Slot,
    /// The acceptors and their quorums.
    pub configuration: Configuration,
}

impl Numbered {
    /// The configuration before any that the log holds.
    pub fn initial(configuration: Configuration) -> Self {
        Self { number: 0, slot: Slot::ZERO, first: Slot::ZERO, configuration }
    }
}

/// A machine, and the configurations in the log as far as it has executed that. Snapshots hold both.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Configured<M> {
    /// The machine of the application.
    pub machine: M,
    /// The configurations that slots may need which are not executed, in ascending order; none before the first is chosen.
    pub configurations: Vector<Numbered>,
}

impl<M> Configured<M> {
    /// The configuration whose acceptors vote for a slot, if that is below the window; none for the initial one.
    pub fn governing(&self, slot: Slot) -> Option<&Numbered> {
        self.configurations.iter().rev().find(|numbered| numbered.first <= slot)
    }

    /// The newest configuration; none for the initial one.
    pub fn newest(&self) -> Option<&Numbered> {
        self.configurations.last()
    }

    /// Adds the next configuration, and drops those that only slots needed which are executed.
    fn add(&mut self, numbered: &Numbered) {
        if numbered.number != self.newest().map_or(0, |newest| newest.number) + 1 {
            return;
        }
        self.configurations.push_back(numbered.clone());
        while self.configurations.get(1).is_some_and(|second| second.first <= numbered.slot) {
            self.configurations.pop_front();
        }
    }
}

/// What changed between two states of a [`Configured`] machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConfiguredChange<C> {
    /// In the machine.
    Machine(C),
    /// These are the configurations now.
    Configurations(Vec<Numbered>),
}

impl<M: StateMachine> StateMachine for Configured<M> {
    type Command = Entry<M::Command>;
    /// A configuration has no output: whoever asked for it is no client.
    type Output = Option<M::Output>;
    /// None names the configurations.
    type Key = Option<M::Key>;
    type Change = ConfiguredChange<M::Change>;
    type Cursor = M::Cursor;

    fn apply(&mut self, entry: &Self::Command) -> Option<M::Output> {
        match entry {
            Entry::Command(command) => Some(self.machine.apply(command)),
            Entry::Configuration(numbered) => {
                self.add(numbered);
                None
            }
        }
    }

    fn refusal(entry: &Self::Command) -> Option<Option<M::Output>> {
        match entry {
            Entry::Command(command) => M::refusal(command).map(Some),
            Entry::Configuration(_) => None,
        }
    }

    fn is_read(entry: &Self::Command) -> bool {
        match entry {
            Entry::Command(command) => M::is_read(command),
            Entry::Configuration(_) => false,
        }
    }

    fn keys(entry: &Self::Command) -> impl Iterator<Item = Self::Key> {
        let (command, configurations) = match entry {
            Entry::Command(command) => (Some(command), None),
            Entry::Configuration(_) => (None, Some(None)),
        };
        command.into_iter().flat_map(|command| M::keys(command).map(Some)).chain(configurations)
    }

    fn touches_all(entry: &Self::Command) -> bool {
        match entry {
            Entry::Command(command) => M::touches_all(command),
            Entry::Configuration(_) => false,
        }
    }

    fn changes_since(&self, before: &Self) -> Vec<Self::Change> {
        let changes = self.machine.changes_since(&before.machine).into_iter().map(ConfiguredChange::Machine);
        let moved = self.configurations != before.configurations;
        changes.chain(moved.then(|| self.all_configurations())).collect()
    }

    fn patch(&mut self, changes: Vec<Self::Change>) {
        let mut of_machine = Vec::new();
        for change in changes {
            match change {
                ConfiguredChange::Machine(change) => of_machine.push(change),
                ConfiguredChange::Configurations(all) => self.configurations = all.into(),
            }
        }
        self.machine.patch(of_machine);
    }

    fn export(&self, cursor: Option<&Self::Cursor>, max_bytes: usize) -> Part<Self> {
        let part = self.machine.export(cursor, max_bytes);
        let first = cursor.is_none().then(|| self.all_configurations());
        let changes = first.into_iter().chain(part.changes.into_iter().map(ConfiguredChange::Machine));
        Part { changes: changes.collect(), next: part.next }
    }

    fn command_bytes(entry: &Self::Command) -> usize {
        match entry {
            Entry::Command(command) => 1 + M::command_bytes(command),
            Entry::Configuration(Numbered { configuration, .. }) => {
                let sets = match configuration {
                    Configuration::Majority(_) | Configuration::UnanimousWrites(_) => 1,
                    Configuration::Explicit { reads, writes } => reads.len() + writes.len(),
                };
                32 + sets * size_of::<NodeSet>()
            }
        }
    }

    fn output_bytes(output: &Self::Output) -> usize {
        1 + output.as_ref().map_or(0, M::output_bytes)
    }
}

impl<M: StateMachine> Configured<M> {
    fn all_configurations(&self) -> ConfiguredChange<M::Change> {
        ConfiguredChange::Configurations(self.configurations.iter().cloned().collect())
    }
}

/// A client's command, as the log holds it.
pub(super) fn entry<C>(command: Command<C>) -> Command<Entry<C>> {
    let op = match command.op {
        Operation::Open { lanes } => Operation::Open { lanes },
        Operation::Apply(command) => Operation::Apply(Entry::Command(command)),
    };
    Command { id: command.id, op }
}

/// What a client is answered; nothing where no client asked.
pub(super) fn answer<O>(answer: Answer<Option<O>>) -> Option<Answer<O>> {
    Some(match answer {
        Answer::Opened { session } => Answer::Opened { session },
        Answer::Output(output) => Answer::Output(output?),
        Answer::Expired => Answer::Expired,
        Answer::TooManyLanes => Answer::TooManyLanes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state_machine::{Counter, CounterCommand, laws};
    use proptest::prelude::*;

    fn numbered(number: u64, slot: u64, first: u64) -> Numbered {
        Numbered { number, slot: Slot(slot), first: Slot(first), configuration: Configuration::single(0) }
    }

    #[test]
    fn a_configured_machine_keeps_the_laws() {
        laws::tests::hold::<Configured<Counter>>(prop_oneof![
            Just(Entry::Command(CounterCommand::Add(2))),
            Just(Entry::Command(CounterCommand::Read)),
            (1..4_u64, 0..9_u64).prop_map(|(number, slot)| Entry::Configuration(numbered(
                number,
                slot,
                slot + 3
            )))
        ]);
    }

    #[test]
    fn a_configuration_counts_once_and_stays_while_slots_need_it() {
        let mut machine = Configured::<Counter>::default();
        let mut numbers = |next: Numbered| {
            machine.apply(&Entry::Configuration(next));
            machine.configurations.iter().map(|one| one.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(numbered(1, 0, 4)), [1]);
        assert_eq!(numbers(numbered(1, 1, 5)), [1]);
        assert_eq!(numbers(numbered(3, 1, 5)), [1]);
        assert_eq!(numbers(numbered(2, 2, 6)), [1, 2]);
        assert_eq!(numbers(numbered(3, 6, 10)), [2, 3]);
        assert_eq!(machine.governing(Slot(9)).map(|one| one.number), Some(2));
        assert_eq!(machine.governing(Slot(10)).map(|one| one.number), Some(3));
    }
}
