//! One value, written and read.

use super::{Part, StateMachine};
use serde::{Deserialize, Serialize};

/// A register, initially 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Register(u8);

/// What can be asked of a [`Register`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisterCommand {
    /// Replace the value.
    Write(u8),
    /// Ask for the value.
    Read,
}

/// What a [`Register`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RegisterOutput {
    /// The value was replaced.
    Written,
    /// The value.
    Value(u8),
}

impl StateMachine for Register {
    type Command = RegisterCommand;
    type Output = RegisterOutput;
    /// There is one part.
    type Key = ();
    type Change = u8;
    type Cursor = ();

    fn apply(&mut self, command: &RegisterCommand) -> RegisterOutput {
        match *command {
            RegisterCommand::Write(value) => {
                self.0 = value;
                RegisterOutput::Written
            }
            RegisterCommand::Read => RegisterOutput::Value(self.0),
        }
    }

    fn is_read(command: &RegisterCommand) -> bool {
        matches!(command, RegisterCommand::Read)
    }

    fn keys(_: &RegisterCommand) -> impl Iterator<Item = ()> {
        std::iter::once(())
    }

    fn changes_since(&self, before: &Self) -> Vec<u8> {
        if self == before { vec![] } else { vec![self.0] }
    }

    fn patch(&mut self, changes: Vec<u8>) {
        if let Some(value) = changes.last() {
            self.0 = *value;
        }
    }

    fn export(&self, _: Option<&()>, _: usize) -> Part<Self> {
        Part::whole(vec![self.0])
    }

    fn command_bytes(_: &RegisterCommand) -> usize {
        2
    }

    fn output_bytes(_: &RegisterOutput) -> usize {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_register_keeps_the_laws() {
        super::super::laws::tests::hold::<Register>(prop_oneof![
            (0..4_u8).prop_map(RegisterCommand::Write),
            Just(RegisterCommand::Read)
        ]);
    }
}
