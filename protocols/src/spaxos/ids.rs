//! The names of batches: what the log of S-Paxos holds, and a machine whose commands they are.

use crate::command::{Command, CommandId, Operation, Value};
use crate::ids::Slot;
use crate::state_machine::{Part, StateMachine};
use serde::{Deserialize, Serialize};
use stateright::actor::Id;

/// Stands for a batch of commands. No two batches ever have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchId {
    /// In the slots below it stands for its batch, from there on for nothing. (First, so that ids are sorted by it.)
    pub expires: Slot,
    /// The index of the disseminator that made it.
    pub disseminator: usize,
    /// How often that was started before.
    pub incarnation: u64,
    /// Its number among the ids of that life.
    pub number: u64,
}

impl BatchId {
    /// The id as a command of its disseminator, which is a client to those who order ids.
    pub(super) fn command(self, disseminator: Id) -> Command<Self> {
        let client = usize::from(disseminator) as u64;
        let id = CommandId { client, session: self.incarnation, pseudonym: 0, seq: self.number };
        Command { id, op: Operation::Apply(self) }
    }

    /// The id that a slot holds, expired or not; none in a slot that was filled.
    pub fn held_by(value: &Value<Self>) -> Option<Self> {
        value.commands().iter().find_map(|command| match command.op {
            Operation::Apply(id) => Some(id),
            Operation::Open { .. } => None,
        })
    }

    /// The id whose batch a slot stands for; none where it stands for nothing.
    pub fn meant_by(slot: Slot, value: &Value<Self>) -> Option<Self> {
        Self::held_by(value).filter(|id| slot < id.expires)
    }
}

/// A machine whose commands are ids. Nobody executes it: what an id does, its batch does, elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ids;

impl StateMachine for Ids {
    type Command = BatchId;
    type Output = ();
    /// Any two may be batches of conflicting commands.
    type Key = ();
    type Change = ();
    type Cursor = ();

    fn apply(&mut self, _: &BatchId) {}

    fn is_read(_: &BatchId) -> bool {
        false
    }

    fn keys(_: &BatchId) -> impl Iterator<Item = ()> {
        std::iter::once(())
    }

    fn changes_since(&self, _: &Self) -> Vec<()> {
        vec![]
    }

    fn patch(&mut self, _: Vec<()>) {}

    fn export(&self, _: Option<&()>, _: usize) -> Part<Self> {
        Part { changes: vec![], next: None }
    }

    fn command_bytes(_: &BatchId) -> usize {
        /// Four numbers, each in at most ten bytes, few of them large.
        const BYTES: usize = 24;
        BYTES
    }

    fn output_bytes((): &()) -> usize {
        0
    }
}
