//! A list that commands are appended to.

use super::{Part, StateMachine};
use im::Vector;
use serde::{Deserialize, Serialize};

/// A list, initially empty. Its answers show the whole history, so no lost, doubled or swapped command can hide.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppendLog(Vector<u8>);

/// What can be asked of an [`AppendLog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppendLogCommand {
    /// Append this entry.
    Append(u8),
    /// Ask for all entries.
    Read,
}

/// What an [`AppendLog`] answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AppendLogOutput {
    /// The entry went to this position.
    Appended(u64),
    /// All entries.
    Entries(Vec<u8>),
}

impl StateMachine for AppendLog {
    type Command = AppendLogCommand;
    type Output = AppendLogOutput;
    /// Every command concerns the whole list.
    type Key = ();
    /// The list is cut off at a position, and then has this entry there, if any.
    type Change = (u64, Option<u8>);
    type Cursor = u64;

    fn apply(&mut self, command: &AppendLogCommand) -> AppendLogOutput {
        match *command {
            AppendLogCommand::Append(entry) => {
                self.0.push_back(entry);
                AppendLogOutput::Appended(self.0.len() as u64 - 1)
            }
            AppendLogCommand::Read => AppendLogOutput::Entries(self.0.iter().copied().collect()),
        }
    }

    fn is_read(command: &AppendLogCommand) -> bool {
        matches!(command, AppendLogCommand::Read)
    }

    fn keys(_: &AppendLogCommand) -> impl Iterator<Item = ()> {
        std::iter::once(())
    }

    fn changes_since(&self, before: &Self) -> Vec<Self::Change> {
        let same = self.0.iter().zip(&before.0).take_while(|(a, b)| a == b).count();
        let added = (same as u64..).zip(self.0.iter().skip(same).map(|entry| Some(*entry)));
        if same == self.0.len() && same < before.0.len() {
            vec![(same as u64, None)]
        } else {
            added.collect()
        }
    }

    fn patch(&mut self, changes: Vec<Self::Change>) {
        for (position, entry) in changes {
            self.0.truncate(usize::try_from(position).unwrap_or(usize::MAX).min(self.0.len()));
            self.0.extend(entry);
        }
    }

    fn export(&self, cursor: Option<&u64>, max_bytes: usize) -> Part<Self> {
        const ENTRY_BYTES: usize = 8;
        let from = usize::try_from(cursor.copied().unwrap_or(0)).unwrap_or(usize::MAX);
        let count = (max_bytes / ENTRY_BYTES).max(1);
        let changes: Vec<_> =
            (from as u64..).zip(self.0.iter().skip(from).take(count).map(|entry| Some(*entry))).collect();
        let next = from.saturating_add(changes.len());
        Part { changes, next: (next < self.0.len()).then_some(next as u64) }
    }

    fn command_bytes(_: &AppendLogCommand) -> usize {
        2
    }

    fn output_bytes(output: &AppendLogOutput) -> usize {
        11 + match output {
            AppendLogOutput::Appended(_) => 0,
            AppendLogOutput::Entries(entries) => entries.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_append_log_keeps_the_laws() {
        super::super::laws::tests::hold::<AppendLog>(prop_oneof![
            (0..4_u8).prop_map(AppendLogCommand::Append),
            Just(AppendLogCommand::Read)
        ]);
    }
}
