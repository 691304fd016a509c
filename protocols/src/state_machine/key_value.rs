//! A key-value store, the default of a deployed cluster.

mod bytes;
mod command;
mod page;
#[cfg(test)]
mod tests;

pub use bytes::Bytes;
pub use command::{
    Batch, BatchedCommand, BatchedOutput, KeyValueCommand, KeyValueOutput, MAX_BATCH_BYTES,
    MAX_BATCH_COMMANDS, MAX_OUTPUT_BYTES, MAX_PATTERN_BYTES, Never, Outputs, When,
};
pub use page::{MAX_PAGE_COUNT, matches};

use super::{Part, StateMachine};
use crate::durable::{Change, export_map, map_changes, patch_map};
use im::OrdMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The largest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// The largest value, in bytes; with a key and a few headers it fits one datagram.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// A map from keys to values, initially empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyValue(OrdMap<Bytes, Bytes>);

impl KeyValue {
    /// The value of a key.
    pub fn get(&self, key: &Bytes) -> Option<&Bytes> {
        self.0.get(key)
    }

    /// All keys with their values, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.0.iter()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Has it no key?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies a command, unless it is a batch.
    fn apply_one<'a, B, O>(&mut self, command: &'a KeyValueCommand<B>) -> Result<KeyValueOutput<O>, &'a B> {
        Ok(match command {
            _ if command.is_too_large() => KeyValueOutput::TooLarge,
            KeyValueCommand::Put(key, value) => {
                self.0.insert(key.clone(), value.clone());
                KeyValueOutput::Done
            }
            KeyValueCommand::Get(key) => KeyValueOutput::Value(self.0.get(key).cloned()),
            KeyValueCommand::Delete(key) => KeyValueOutput::Deleted(self.0.remove(key).is_some()),
            KeyValueCommand::CompareAndSwap { key, expected, new } => {
                let found = self.0.get(key);
                if found == expected.as_ref() {
                    self.0.insert(key.clone(), new.clone());
                    KeyValueOutput::Swapped
                } else {
                    KeyValueOutput::Differs(found.cloned())
                }
            }
            KeyValueCommand::Increment(key, by) => self.increment(key, *by),
            KeyValueCommand::Set { key, value, when, tell } => self.set(key, value, *when, *tell),
            KeyValueCommand::Take(key) => KeyValueOutput::Value(self.0.remove(key)),
            KeyValueCommand::Append(key, value) => self.append(key, value),
            KeyValueCommand::Length(key) => number_of(self.0.get(key).map_or(0, Bytes::len)),
            KeyValueCommand::Exists(key) => KeyValueOutput::Exists(self.0.contains_key(key)),
            KeyValueCommand::Page { after, pattern, count } => {
                let (keys, next) = page::page(&self.0, after.as_ref(), pattern.as_ref(), *count);
                KeyValueOutput::Page { keys: keys.into(), next }
            }
            KeyValueCommand::Count => number_of(self.0.len()),
            KeyValueCommand::Batch(batch) => return Err(batch),
        })
    }

    fn increment<O>(&mut self, key: &Bytes, by: i64) -> KeyValueOutput<O> {
        let Some(number) = number(self.0.get(key)) else { return KeyValueOutput::NotANumber };
        let Some(number) = number.checked_add(by) else { return KeyValueOutput::Overflow };
        self.0.insert(key.clone(), Bytes::from(&number.to_string()));
        KeyValueOutput::Number(number)
    }

    fn set<O>(&mut self, key: &Bytes, value: &Bytes, when: When, tell: bool) -> KeyValueOutput<O> {
        let is_met = match when {
            When::Always => true,
            When::Absent => !self.0.contains_key(key),
            When::Present => self.0.contains_key(key),
        };
        let before = if is_met {
            self.0.insert(key.clone(), value.clone())
        } else {
            self.0.get(key).filter(|_| tell).cloned()
        };
        match (tell, is_met) {
            (true, _) => KeyValueOutput::Value(before),
            (false, true) => KeyValueOutput::Done,
            (false, false) => KeyValueOutput::Unmet,
        }
    }

    fn append<O>(&mut self, key: &Bytes, more: &Bytes) -> KeyValueOutput<O> {
        let before = self.0.get(key).map_or(&[][..], Bytes::as_slice);
        let length = before.len() + more.len();
        if length > MAX_VALUE_BYTES {
            return KeyValueOutput::TooLarge;
        }
        let value = Bytes::from(&[before, more.as_slice()].concat());
        self.0.insert(key.clone(), value);
        number_of(length)
    }

    /// Applies all commands, or none if the outputs become too large.
    fn apply_batch(&mut self, batch: &Batch) -> KeyValueOutput {
        // A copy shares its nodes, so that every change makes new ones: only a batch that may fail pays for that.
        let most: usize = batch.commands().iter().map(KeyValueCommand::output_bytes_max).sum();
        let before = (most > MAX_OUTPUT_BYTES).then(|| self.clone());
        let mut outputs = Vec::with_capacity(batch.commands().len());
        let mut room = MAX_OUTPUT_BYTES;
        for command in batch.commands() {
            let output: BatchedOutput = self.apply_one(command).unwrap_or_else(|never| match *never {});
            let Some(left) = room.checked_sub(output.bytes()) else {
                if let Some(before) = before {
                    *self = before;
                }
                return KeyValueOutput::OutputTooLarge;
            };
            room = left;
            outputs.push(output);
        }
        KeyValueOutput::Batch(outputs.into_iter().collect())
    }
}

impl StateMachine for KeyValue {
    type Command = KeyValueCommand;
    type Output = KeyValueOutput;
    type Key = Bytes;
    type Change = Change<Bytes, Bytes>;
    type Cursor = Bytes;

    fn apply(&mut self, command: &KeyValueCommand) -> KeyValueOutput {
        if let Some(refusal) = Self::refusal(command) {
            return refusal;
        }
        self.apply_one(command).unwrap_or_else(|batch| self.apply_batch(batch))
    }

    fn refusal(command: &KeyValueCommand) -> Option<KeyValueOutput> {
        let too_large = match command {
            KeyValueCommand::Batch(batch) => {
                let commands = batch.commands();
                commands.len() > MAX_BATCH_COMMANDS || Self::command_bytes(command) > MAX_BATCH_BYTES
            }
            command => command.is_too_large(),
        };
        too_large.then_some(KeyValueOutput::TooLarge)
    }

    fn is_read(command: &KeyValueCommand) -> bool {
        match command {
            KeyValueCommand::Batch(batch) => batch.commands().iter().all(KeyValueCommand::is_read),
            command => command.is_read(),
        }
    }

    fn keys(command: &KeyValueCommand) -> impl Iterator<Item = Bytes> {
        let several: BTreeSet<_> = match command {
            KeyValueCommand::Batch(batch) => {
                batch.commands().iter().filter_map(KeyValueCommand::key).collect()
            }
            _ => BTreeSet::new(),
        };
        command.key().into_iter().chain(several).cloned()
    }

    fn touches_all(command: &KeyValueCommand) -> bool {
        fn is_of_all<B>(command: &KeyValueCommand<B>) -> bool {
            matches!(command, KeyValueCommand::Page { .. } | KeyValueCommand::Count)
        }
        match command {
            KeyValueCommand::Batch(batch) => batch.commands().iter().any(is_of_all),
            command => is_of_all(command),
        }
    }

    fn changes_since(&self, before: &Self) -> Vec<Self::Change> {
        map_changes(&before.0, &self.0)
    }

    fn patch(&mut self, changes: Vec<Self::Change>) {
        patch_map(&mut self.0, changes);
    }

    fn export(&self, cursor: Option<&Bytes>, max_bytes: usize) -> Part<Self> {
        let bytes = |key: &Bytes, value: &Bytes| 8 + key.len() + value.len();
        let (changes, next) = export_map(&self.0, cursor, max_bytes, bytes);
        Part { changes, next }
    }

    fn command_bytes(command: &KeyValueCommand) -> usize {
        let batched = match command {
            KeyValueCommand::Batch(batch) => batch.commands().iter().map(KeyValueCommand::bytes).sum(),
            _ => 0,
        };
        command.bytes() + batched
    }

    fn output_bytes(output: &KeyValueOutput) -> usize {
        let batched = match output {
            KeyValueOutput::Batch(outputs) => outputs.outputs().iter().map(KeyValueOutput::bytes).sum(),
            _ => 0,
        };
        output.bytes() + batched
    }
}

/// The decimal number in a value, as it would be written here; a missing value counts as 0.
fn number(value: Option<&Bytes>) -> Option<i64> {
    let Some(value) = value else { return Some(0) };
    let text = std::str::from_utf8(value.as_slice()).ok()?;
    let number: i64 = text.parse().ok()?;
    let is_plain =
        !text.starts_with('+') && !text.starts_with("-0") && (number == 0) == text.starts_with('0');
    is_plain.then_some(number)
}

fn number_of<O>(count: usize) -> KeyValueOutput<O> {
    KeyValueOutput::Number(i64::try_from(count).unwrap_or(i64::MAX))
}
