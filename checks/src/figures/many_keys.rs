//! What figures ask for: commands of one key, or requests for many keys at once, as the paper's clients form them for its
//! batched reads.

use super::systems::Workload;
use parthood_protocols::state_machine::{
    Bytes, KeyValue, KeyValueCommand, KeyValueOutput, Part, StateMachine,
};
use serde::{Deserialize, Serialize};

/// Keys are as in the paper's experiments.
pub(super) const KEYS: u32 = 10_000;
/// The keys of a request for many.
pub(super) const MANY: u32 = 50;

/// A machine that figures ask things of, and what its commands amount to.
pub(super) trait Asked: StateMachine {
    /// More than a client can get answered in a run.
    fn script(workload: &Workload, client: usize) -> Vec<Self::Command>;

    /// The bytes of the values that it brings.
    fn bytes(command: &Self::Command) -> usize;
}

impl Asked for KeyValue {
    fn script(workload: &Workload, client: usize) -> Vec<KeyValueCommand> {
        workload.script(client)
    }

    fn bytes(command: &KeyValueCommand) -> usize {
        match command {
            KeyValueCommand::Put(_, value) => value.as_slice().len(),
            _ => 0,
        }
    }
}

/// The key-value store, asked for [`MANY`] keys at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ManyKeys(KeyValue);

/// Gets or puts [`MANY`] keys, from one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Request {
    first: u32,
    /// The length of the values that are put; none if the keys are got.
    put: Option<u16>,
}

impl Request {
    fn keys(self) -> impl Iterator<Item = u32> {
        (self.first..self.first + MANY).map(|key| key % KEYS)
    }

    fn commands(self) -> impl Iterator<Item = KeyValueCommand> {
        let keys = self.keys().map(|key| Bytes::from(&key.to_be_bytes()));
        let value = self.put.map(|bytes| Bytes::from(&vec![b'v'; bytes.into()]));
        keys.map(move |key| match &value {
            Some(value) => KeyValueCommand::Put(key, value.clone()),
            None => KeyValueCommand::Get(key),
        })
    }
}

impl StateMachine for ManyKeys {
    type Command = Request;
    type Output = Vec<KeyValueOutput>;
    type Key = u32;
    type Change = <KeyValue as StateMachine>::Change;
    type Cursor = <KeyValue as StateMachine>::Cursor;

    fn apply(&mut self, request: &Request) -> Vec<KeyValueOutput> {
        request.commands().map(|command| self.0.apply(&command)).collect()
    }

    fn is_read(request: &Request) -> bool {
        request.put.is_none()
    }

    fn keys(request: &Request) -> impl Iterator<Item = u32> {
        request.keys()
    }

    fn changes_since(&self, before: &Self) -> Vec<Self::Change> {
        self.0.changes_since(&before.0)
    }

    fn patch(&mut self, changes: Vec<Self::Change>) {
        self.0.patch(changes);
    }

    fn export(&self, cursor: Option<&Self::Cursor>, max_bytes: usize) -> Part<Self> {
        let Part { changes, next } = self.0.export(cursor, max_bytes);
        Part { changes, next }
    }

    fn command_bytes(request: &Request) -> usize {
        request.commands().map(|command| KeyValue::command_bytes(&command)).sum()
    }

    fn output_bytes(outputs: &Vec<KeyValueOutput>) -> usize {
        10 + outputs.iter().map(KeyValue::output_bytes).sum::<usize>()
    }
}

impl Asked for ManyKeys {
    fn script(workload: &Workload, client: usize) -> Vec<Request> {
        let put = u16::try_from(workload.value_bytes).ok();
        let request = |(first, reads): (u32, bool)| Request { first, put: put.filter(|_| !reads) };
        workload.picks(client).map(request).collect()
    }

    fn bytes(request: &Request) -> usize {
        request.put.map_or(0, |bytes| usize::from(bytes) * MANY as usize)
    }
}
