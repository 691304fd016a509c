//! A key-value store, the default of a deployed cluster.

use super::{Part, StateMachine};
use crate::durable::{Change, export_map, map_changes, patch_map};
use im::OrdMap;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The largest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// The largest value, in bytes; with a key and a few headers it fits one datagram.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// A byte string that is shared rather than copied.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(Arc<[u8]>);

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Bytes {
    fn from(bytes: &T) -> Self {
        Self(Arc::from(bytes.as_ref()))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 24;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "{}", shown.escape_ascii())?;
        if self.0.len() > SHOWN { write!(f, "..[{} bytes]", self.0.len()) } else { Ok(()) }
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&self.0.escape_ascii())
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string, or text with \\x escapes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::from(bytes))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                unescape(text).map(|bytes| Bytes::from(&bytes)).ok_or_else(|| E::custom("a broken \\ escape"))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

/// The inverse of `<[u8]>::escape_ascii`.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b't' => b'\t',
                b'r' => b'\r',
                b'n' => b'\n',
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                quoted @ (b'\\' | b'\'' | b'"') => quoted,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(plain)
}

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
}

/// What can be asked of a [`KeyValue`] store.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyValueCommand {
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
}

impl KeyValueCommand {
    /// The one key that this command speaks of.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Put(key, _)
            | Self::Get(key)
            | Self::Delete(key)
            | Self::CompareAndSwap { key, .. }
            | Self::Increment(key, _) => key,
        }
    }
}

impl fmt::Debug for KeyValueCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, value) => write!(f, "put {key:?} {value:?}"),
            Self::Get(key) => write!(f, "get {key:?}"),
            Self::Delete(key) => write!(f, "delete {key:?}"),
            Self::CompareAndSwap { key, expected, new } => write!(f, "cas {key:?} {expected:?} {new:?}"),
            Self::Increment(key, by) => write!(f, "incr {key:?} {by}"),
        }
    }
}

/// What a [`KeyValue`] store answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyValueOutput {
    /// The key was set.
    Done,
    /// The value of the key, if it has one.
    Value(Option<Bytes>),
    /// Whether the key existed before it was removed.
    Deleted(bool),
    /// The key was set as asked.
    Swapped,
    /// The key was left alone, for it holds this.
    Differs(Option<Bytes>),
    /// The number that the key holds now.
    Number(i64),
    /// The key was left alone, for it holds no number or the sum exceeds 64 bits.
    NotANumber,
    /// The key was left alone, for a key or value exceeds its limit.
    TooLarge,
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
        match command {
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
            KeyValueCommand::Increment(key, by) => {
                let Some(number) = number(self.0.get(key)).and_then(|number| number.checked_add(*by)) else {
                    return KeyValueOutput::NotANumber;
                };
                self.0.insert(key.clone(), Bytes::from(&number.to_string()));
                KeyValueOutput::Number(number)
            }
        }
    }

    fn refusal(command: &KeyValueCommand) -> Option<KeyValueOutput> {
        let (value, expected) = match command {
            KeyValueCommand::Put(_, value) => (Some(value), None),
            KeyValueCommand::CompareAndSwap { expected, new, .. } => (Some(new), expected.as_ref()),
            _ => (None, None),
        };
        let large = value.into_iter().chain(expected).any(|value| value.0.len() > MAX_VALUE_BYTES);
        (large || command.key().0.len() > MAX_KEY_BYTES).then_some(KeyValueOutput::TooLarge)
    }

    fn is_read(command: &KeyValueCommand) -> bool {
        matches!(command, KeyValueCommand::Get(_))
    }

    fn keys(command: &KeyValueCommand) -> impl Iterator<Item = Bytes> {
        std::iter::once(command.key().clone())
    }

    fn changes_since(&self, before: &Self) -> Vec<Self::Change> {
        map_changes(&before.0, &self.0)
    }

    fn patch(&mut self, changes: Vec<Self::Change>) {
        patch_map(&mut self.0, changes);
    }

    fn export(&self, cursor: Option<&Bytes>, max_bytes: usize) -> Part<Self> {
        let bytes = |key: &Bytes, value: &Bytes| 8 + key.0.len() + value.0.len();
        let (changes, next) = export_map(&self.0, cursor, max_bytes, bytes);
        Part { changes, next }
    }

    fn command_bytes(command: &KeyValueCommand) -> usize {
        let values = match command {
            KeyValueCommand::Put(_, value) => value.0.len(),
            KeyValueCommand::CompareAndSwap { expected, new, .. } => {
                expected.as_ref().map_or(0, |value| value.0.len()) + new.0.len()
            }
            KeyValueCommand::Increment(..) => 10,
            KeyValueCommand::Get(_) | KeyValueCommand::Delete(_) => 0,
        };
        8 + command.key().0.len() + values
    }

    fn output_bytes(output: &KeyValueOutput) -> usize {
        11 + match output {
            KeyValueOutput::Value(Some(value)) | KeyValueOutput::Differs(Some(value)) => value.0.len(),
            _ => 0,
        }
    }
}

/// The decimal number in a value; a missing value counts as 0.
fn number(value: Option<&Bytes>) -> Option<i64> {
    value.map_or(Some(0), |value| std::str::from_utf8(&value.0).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> + Clone {
        prop_oneof![Just("a"), Just("b"), Just("7"), Just("9223372036854775807")].prop_map(Bytes::from)
    }

    /// Few of many bytes, and few of them too many.
    fn large(max: usize) -> impl Strategy<Value = Bytes> + Clone {
        prop_oneof![20 => bytes(), 1 => (max - 1..max + 2).prop_map(|length| Bytes::from(&vec![b'7'; length]))]
    }

    fn command() -> impl Strategy<Value = KeyValueCommand> + Clone {
        let (key, value) = (large(MAX_KEY_BYTES), large(MAX_VALUE_BYTES));
        prop_oneof![
            (key.clone(), value.clone()).prop_map(|(key, value)| KeyValueCommand::Put(key, value)),
            key.clone().prop_map(KeyValueCommand::Get),
            key.clone().prop_map(KeyValueCommand::Delete),
            (key.clone(), proptest::option::of(value.clone()), value)
                .prop_map(|(key, expected, new)| KeyValueCommand::CompareAndSwap { key, expected, new }),
            (key, -2..3_i64).prop_map(|(key, by)| KeyValueCommand::Increment(key, by)),
        ]
    }

    #[test]
    fn a_key_value_store_keeps_the_laws() {
        super::super::laws::tests::hold::<KeyValue>(command());
    }

    #[test]
    fn what_exceeds_a_limit_is_refused_before_and_when_it_is_executed() {
        let of = |bytes: usize| Bytes::from(&vec![b'7'; bytes]);
        let swap =
            |key, expected, new| KeyValueCommand::CompareAndSwap { key, expected: Some(expected), new };
        let (key, value) = (of(MAX_KEY_BYTES), of(MAX_VALUE_BYTES));
        let (long_key, long_value) = (of(MAX_KEY_BYTES + 1), of(MAX_VALUE_BYTES + 1));
        let fitting = [
            KeyValueCommand::Put(key.clone(), value.clone()),
            swap(key.clone(), value.clone(), value.clone()),
        ];
        assert!(fitting.iter().all(|command| KeyValue::refusal(command).is_none()));
        let refused = [
            KeyValueCommand::Put(key.clone(), long_value.clone()),
            KeyValueCommand::Put(long_key.clone(), value.clone()),
            KeyValueCommand::Get(long_key.clone()),
            KeyValueCommand::Delete(long_key.clone()),
            KeyValueCommand::Increment(long_key.clone(), 1),
            swap(long_key, value.clone(), value.clone()),
            swap(key.clone(), long_value.clone(), value.clone()),
            swap(key, value, long_value),
        ];
        let mut store = KeyValue::default();
        for command in refused {
            assert_eq!(KeyValue::refusal(&command), Some(KeyValueOutput::TooLarge), "{command:?}");
            assert_eq!(store.apply(&command), KeyValueOutput::TooLarge, "{command:?}");
        }
        assert!(store.is_empty());
    }

    proptest! {
        #[test]
        fn bytes_survive_the_escapes_of_their_readable_form(bytes: Vec<u8>) {
            prop_assert_eq!(unescape(&bytes.escape_ascii().to_string()), Some(bytes));
        }
    }
}
