//! What a key-value store is asked and answers, and how large that may be.

use super::{Bytes, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The most commands of a batch.
pub const MAX_BATCH_COMMANDS: usize = 1_000;
/// The most bytes of a batch. Every command that is not too large by itself fits one.
pub const MAX_BATCH_BYTES: usize = 2 * (MAX_KEY_BYTES + MAX_VALUE_BYTES);
/// The most bytes of an output, so that it fits one datagram.
pub const MAX_OUTPUT_BYTES: usize = 2 * MAX_VALUE_BYTES;
/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// What can be asked of a [`KeyValue`](super::KeyValue) store. `B` is what a batch holds: nothing within a batch, so that
/// batches do not nest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyValueCommand<B = Batch> {
    /// Set a key.
    Put(Bytes, Bytes),
    /// Ask for the value of a key.
    Get(Bytes),
    /// Remove a key.
    Delete(Bytes),
    /// Set a key to `new` if its value is `expected` (none: if it has no value).
    CompareAndSwap {
        /// The key.
        key: Bytes,
        /// What it must hold now.
        expected: Option<Bytes>,
        /// What it shall hold then.
        new: Bytes,
    },
    /// Add to the decimal number that a key holds (none counts as 0).
    Increment(Bytes, i64),
    /// Set a key on a condition.
    Set {
        /// The key.
        key: Bytes,
        /// What it shall hold.
        value: Bytes,
        /// The condition.
        when: When,
        /// Answer with the value before, whether the key is set or not.
        tell: bool,
    },
    /// Remove a key, and ask for the value that it had.
    Take(Bytes),
    /// Add to the end of the value of a key (none counts as empty), and ask for its length then.
    Append(Bytes, Bytes),
    /// Ask for the length of the value of a key (none counts as empty).
    Length(Bytes),
    /// Ask whether a key has a value.
    Exists(Bytes),
    /// Ask for keys, in their order.
    Page {
        /// The page begins behind this key.
        after: Option<Bytes>,
        /// Keys that do not match are left out; see [`matches`](super::page::matches).
        pattern: Option<Bytes>,
        /// Look at so many keys. It may be fewer, but never none if any is left.
        count: u32,
    },
    /// Ask for the number of keys.
    Count,
    /// Do all of these, one after the other with nothing between. One that leaves its key alone does not keep the others from
    /// being done.
    Batch(B),
}

/// On which condition a key is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// On none.
    Always,
    /// It has no value.
    Absent,
    /// It has a value.
    Present,
}

/// Nothing: a batch within a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Never {}

/// A command within a batch.
pub type BatchedCommand = KeyValueCommand<Never>;
/// The output of a command within a batch.
pub type BatchedOutput = KeyValueOutput<Never>;

/// Commands that are done together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Batch(Arc<[BatchedCommand]>);

impl Batch {
    /// The commands, in order.
    pub fn commands(&self) -> &[BatchedCommand] {
        &self.0
    }
}

impl FromIterator<BatchedCommand> for Batch {
    fn from_iter<I: IntoIterator<Item = BatchedCommand>>(commands: I) -> Self {
        Self(commands.into_iter().collect())
    }
}

impl<B> KeyValueCommand<B> {
    /// The one key that this command speaks of; none if it speaks of several, or of all.
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Self::Put(key, _)
            | Self::Get(key)
            | Self::Delete(key)
            | Self::CompareAndSwap { key, .. }
            | Self::Increment(key, _)
            | Self::Set { key, .. }
            | Self::Take(key)
            | Self::Append(key, _)
            | Self::Length(key)
            | Self::Exists(key) => Some(key),
            Self::Page { .. } | Self::Count | Self::Batch(_) => None,
        }
    }

    /// The values that it brings.
    fn values(&self) -> impl Iterator<Item = &Bytes> {
        let (value, expected) = match self {
            Self::Put(_, value) | Self::Set { value, .. } | Self::Append(_, value) => (Some(value), None),
            Self::CompareAndSwap { expected, new, .. } => (Some(new), expected.as_ref()),
            _ => (None, None),
        };
        value.into_iter().chain(expected)
    }

    /// Does something in it exceed its limit? What a batch holds is not looked at.
    pub fn is_too_large(&self) -> bool {
        let (after, pattern) = match self {
            Self::Page { after, pattern, .. } => (after.as_ref(), pattern.as_ref()),
            _ => (None, None),
        };
        let mut keys = self.key().into_iter().chain(after);
        keys.any(|key| key.len() > MAX_KEY_BYTES)
            || self.values().any(|value| value.len() > MAX_VALUE_BYTES)
            || pattern.is_some_and(|pattern| pattern.len() > MAX_PATTERN_BYTES)
    }

    /// Does it leave every store as it is? What a batch holds is not looked at.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Get(_) | Self::Length(_) | Self::Exists(_) | Self::Page { .. } | Self::Count)
    }

    /// About how many bytes it takes in a message. What a batch holds is not counted.
    pub fn bytes(&self) -> usize {
        let more = match self {
            Self::Increment(..) => 10,
            Self::Set { .. } => 2,
            Self::Page { after, pattern, .. } => {
                let bytes = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
                5 + bytes(after) + bytes(pattern)
            }
            _ => 0,
        };
        8 + self.key().map_or(0, Bytes::len) + self.values().map(Bytes::len).sum::<usize>() + more
    }
}

impl<B> KeyValueCommand<B> {
    /// At most how many bytes its output takes in a message, whatever the store holds. What a batch holds is not counted.
    pub(super) fn output_bytes_max(&self) -> usize {
        match self {
            Self::Page { .. } => MAX_OUTPUT_BYTES,
            Self::Get(_) | Self::Take(_) | Self::CompareAndSwap { .. } | Self::Set { tell: true, .. } => {
                OUTPUT_BYTES + MAX_VALUE_BYTES
            }
            _ => OUTPUT_BYTES,
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for KeyValueCommand<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, value) => write!(f, "put {key:?} {value:?}"),
            Self::Get(key) => write!(f, "get {key:?}"),
            Self::Delete(key) => write!(f, "delete {key:?}"),
            Self::CompareAndSwap { key, expected, new } => write!(f, "cas {key:?} {expected:?} {new:?}"),
            Self::Increment(key, by) => write!(f, "incr {key:?} {by}"),
            Self::Set { key, value, when, tell } => {
                let tell = if *tell { " tell" } else { "" };
                write!(f, "set {key:?} {value:?} {when:?}{tell}")
            }
            Self::Take(key) => write!(f, "take {key:?}"),
            Self::Append(key, value) => write!(f, "append {key:?} {value:?}"),
            Self::Length(key) => write!(f, "length {key:?}"),
            Self::Exists(key) => write!(f, "exists {key:?}"),
            Self::Page { after, pattern, count } => write!(f, "page {after:?} {pattern:?} {count}"),
            Self::Count => f.write_str("count"),
            Self::Batch(batch) => batch.fmt(f),
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter()).finish()
    }
}

/// What a [`KeyValue`](super::KeyValue) store answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyValueOutput<B = Outputs> {
    /// The key was set.
    Done,
    /// The value of the key, if it has one; or that it had before it was set or removed.
    Value(Option<Bytes>),
    /// Whether the key existed before it was removed.
    Deleted(bool),
    /// The key was set as asked.
    Swapped,
    /// The key was left alone, for it holds this.
    Differs(Option<Bytes>),
    /// The number that the key holds now, the length of its value, or the number of keys.
    Number(i64),
    /// The key was left alone, for it holds no number.
    NotANumber,
    /// Nothing was done, for a key, a value or the whole exceeds its limit.
    TooLarge,
    /// The key was left alone, for the sum exceeds 64 bits.
    Overflow,
    /// The key was left alone, for the condition does not hold.
    Unmet,
    /// Whether the key has a value.
    Exists(bool),
    /// Keys.
    Page {
        /// Those that match, in order.
        keys: Arc<[Bytes]>,
        /// The last key that was looked at, if any is left behind it.
        next: Option<Bytes>,
    },
    /// Nothing was done, for the outputs of all commands exceed [`MAX_OUTPUT_BYTES`].
    OutputTooLarge,
    /// The outputs of a batch, in order.
    Batch(B),
}

/// The outputs of the commands of a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Outputs(Arc<[BatchedOutput]>);

impl Outputs {
    /// The outputs, in the order of their commands.
    pub fn outputs(&self) -> &[BatchedOutput] {
        &self.0
    }
}

impl FromIterator<BatchedOutput> for Outputs {
    fn from_iter<I: IntoIterator<Item = BatchedOutput>>(outputs: I) -> Self {
        Self(outputs.into_iter().collect())
    }
}

/// What an output takes in a message, besides byte strings.
const OUTPUT_BYTES: usize = 11;
/// What the length of a byte string takes.
const LENGTH_BYTES: usize = 3;

impl<B> KeyValueOutput<B> {
    /// At most how many bytes it takes in a message. What a batch holds is not counted.
    pub fn bytes(&self) -> usize {
        OUTPUT_BYTES
            + match self {
                Self::Value(Some(value)) | Self::Differs(Some(value)) => value.len(),
                Self::Page { keys, next } => keys.iter().chain(next).map(page_bytes).sum(),
                _ => 0,
            }
    }
}

/// What a key takes in a page.
pub(super) fn page_bytes(key: &Bytes) -> usize {
    LENGTH_BYTES + key.len()
}

/// What is left of a page for its keys.
pub(super) const PAGE_BYTES: usize = MAX_OUTPUT_BYTES - OUTPUT_BYTES - LENGTH_BYTES - MAX_KEY_BYTES;
