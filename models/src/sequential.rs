//! State machines as sequential specifications: what a history of their clients has to be linearizable to.

use crate::linearizability::SequentialSpec;
use parthood_protocols::state_machine::{Bytes, KeyValue, KeyValueCommand, KeyValueOutput, StateMachine};
use std::marker::PhantomData;

/// Any state machine, as one object.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneObject<M>(PhantomData<M>);

impl<M: StateMachine> SequentialSpec for OneObject<M> {
    type Key = ();
    type State = M;
    type Op = M::Command;
    type Output = M::Output;

    fn key(&self, _: &M::Command) {}

    fn initial(&self, (): &()) -> M {
        M::default()
    }

    fn step(&self, state: &M, op: &M::Command, output: Option<&M::Output>) -> Option<M> {
        let mut next = state.clone();
        let answer = next.apply(op);
        output.is_none_or(|output| *output == answer).then_some(next)
    }

    fn preserves(&self, op: &M::Command, _: &M::Output) -> bool {
        M::is_read(op)
    }
}

/// A key-value store, each key an object of its own: for histories whose commands speak of one key each. A history with others
/// is of one object ([`OneObject`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct EachKey;

impl SequentialSpec for EachKey {
    type Key = Bytes;
    /// The value of the key; a command is applied to a store that holds nothing else.
    type State = Option<Bytes>;
    type Op = KeyValueCommand;
    type Output = KeyValueOutput;

    fn key(&self, op: &KeyValueCommand) -> Bytes {
        op.key().cloned().unwrap_or_else(|| Bytes::from(""))
    }

    fn initial(&self, _: &Bytes) -> Option<Bytes> {
        None
    }

    fn step(
        &self,
        state: &Option<Bytes>,
        op: &KeyValueCommand,
        output: Option<&KeyValueOutput>,
    ) -> Option<Option<Bytes>> {
        let mut store = KeyValue::default();
        if let Some(value) = state {
            store.apply(&KeyValueCommand::Put(self.key(op), value.clone()));
        }
        let answer = store.apply(op);
        output.is_none_or(|output| *output == answer).then(|| store.get(&self.key(op)).cloned())
    }

    fn preserves(&self, op: &KeyValueCommand, output: &KeyValueOutput) -> bool {
        KeyValue::is_read(op)
            || matches!(
                output,
                KeyValueOutput::Differs(_)
                    | KeyValueOutput::NotANumber
                    | KeyValueOutput::Overflow
                    | KeyValueOutput::Unmet
                    | KeyValueOutput::TooLarge
            )
    }

    fn overwrites(&self, op: &KeyValueCommand, output: &KeyValueOutput) -> bool {
        matches!((op, output), (KeyValueCommand::Put(..), KeyValueOutput::Done))
    }
}
