//! A number that every command but a read adds to.

use super::{Part, StateMachine};
use serde::{Deserialize, Serialize};

/// A counter, initially 0. Its output shows how many commands came before, so a command executed twice is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counter(u64);

/// What can be asked of a [`Counter`]; the output is the value after the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CounterCommand {
    /// Add this much, wrapping around at 2^64.
    Add(u64),
    /// Ask for the value.
    Read,
}

impl StateMachine for Counter {
    type Command = CounterCommand;
    type Output = u64;
    /// There is one part.
    type Key = ();
    type Change = u64;
    type Cursor = ();

    fn apply(&mut self, command: &CounterCommand) -> u64 {
        if let CounterCommand::Add(amount) = command {
            self.0 = self.0.wrapping_add(*amount);
        }
        self.0
    }

    fn is_read(command: &CounterCommand) -> bool {
        matches!(command, CounterCommand::Read)
    }

    fn keys(_: &CounterCommand) -> impl Iterator<Item = ()> {
        std::iter::once(())
    }

    fn changes_since(&self, before: &Self) -> Vec<u64> {
        if self == before { vec![] } else { vec![self.0] }
    }

    fn patch(&mut self, changes: Vec<u64>) {
        if let Some(value) = changes.last() {
            self.0 = *value;
        }
    }

    fn export(&self, _: Option<&()>, _: usize) -> Part<Self> {
        Part::whole(vec![self.0])
    }

    fn command_bytes(_: &CounterCommand) -> usize {
        11
    }

    fn output_bytes(_: &u64) -> usize {
        10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_counter_keeps_the_laws() {
        super::super::laws::tests::hold::<Counter>(prop_oneof![
            any::<u64>().prop_map(CounterCommand::Add),
            Just(CounterCommand::Read)
        ]);
    }
}
