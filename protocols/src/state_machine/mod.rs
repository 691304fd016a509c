//! What is replicated: a deterministic state machine, a parameter of every protocol.
//!
//! The models use the smallest machines that cannot hide a fault: [`Register`] for reads that go back in time,
//! [`Counter`] and [`AppendLog`] for commands executed twice (a register would forget the first). The deployed default
//! is [`KeyValue`].

mod append_log;
mod counter;
mod key_value;
pub mod laws;
mod register;

pub use append_log::{AppendLog, AppendLogCommand, AppendLogOutput};
pub use counter::{Counter, CounterCommand};
pub use key_value::{
    Batch, BatchedCommand, BatchedOutput, Bytes, KeyValue, KeyValueCommand, KeyValueOutput, MAX_BATCH_BYTES,
    MAX_BATCH_COMMANDS, MAX_KEY_BYTES, MAX_OUTPUT_BYTES, MAX_PAGE_COUNT, MAX_PATTERN_BYTES, MAX_VALUE_BYTES,
    Never, Outputs, When, matches,
};
pub use register::{Register, RegisterCommand, RegisterOutput};

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use std::hash::Hash;

/// What a message must be able to do in every world.
pub trait Data:
    Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned + Send + Sync + 'static
{
}
impl<T: Clone + Debug + Eq + Ord + Hash + Serialize + DeserializeOwned + Send + Sync + 'static> Data for T {}

/// A deterministic state machine. Clones must be cheap: snapshots and the checker take many. (The order of states means
/// nothing; it lets messages that carry parts of states be sorted.) [`laws::try_laws`] tries what is asked of it here.
pub trait StateMachine: Clone + Debug + Default + Ord + Hash + Send + Sync + 'static {
    /// What can be asked of it.
    type Command: Data;
    /// What it answers.
    type Output: Data;
    /// Names a part of the state.
    type Key: Data;
    /// A piece of a state, or of the difference between two.
    type Change: Data;
    /// Where in an export to go on.
    type Cursor: Data;

    /// Applies a command. The same commands in the same order give the same outputs and the same state.
    fn apply(&mut self, command: &Self::Command) -> Self::Output;

    /// What is answered to a command that no log should hold, as when it is too large; none for any other. [`Self::apply`]
    /// says the same of it, and leaves every state as it is. Clients answer such a command themselves, and servers propose
    /// none.
    fn refusal(_: &Self::Command) -> Option<Self::Output> {
        None
    }

    /// Does the command leave every state as it is?
    fn is_read(command: &Self::Command) -> bool;

    /// The parts of the state that a command reads or writes; each once.
    fn keys(command: &Self::Command) -> impl Iterator<Item = Self::Key>;

    /// Does the command speak of the state as a whole, and not only of the parts that its keys name?
    fn touches_all(_: &Self::Command) -> bool {
        false
    }

    /// Can the order of the two commands matter, to the state or to an output? It can if one of them writes and they share
    /// a part of the state, which is how protocols find the commands that one conflicts with.
    fn conflicts(a: &Self::Command, b: &Self::Command) -> bool {
        let both_read = Self::is_read(a) && Self::is_read(b);
        let share = || Self::keys(a).any(|key| Self::keys(b).any(|other| other == key));
        !both_read && (Self::touches_all(a) || Self::touches_all(b) || share())
    }

    /// What turns `before` into this state; costs what the two do not share.
    fn changes_since(&self, before: &Self) -> Vec<Self::Change>;

    /// Applies changes.
    fn patch(&mut self, changes: Vec<Self::Change>);

    /// The next part of the whole state after `cursor`, of about `max_bytes` and at least one change if any is left. A
    /// default state patched with all parts equals this state.
    fn export(&self, cursor: Option<&Self::Cursor>, max_bytes: usize) -> Part<Self>;

    /// About how many bytes a command takes in a message.
    fn command_bytes(command: &Self::Command) -> usize;

    /// At most how many bytes an output takes in a message: client tables travel with the last output of each lane.
    fn output_bytes(output: &Self::Output) -> usize;
}

/// A part of an exported state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<M: StateMachine> {
    /// The changes of this part.
    pub changes: Vec<M::Change>,
    /// Where the next part begins; none after the last.
    pub next: Option<M::Cursor>,
}

impl<M: StateMachine> Part<M> {
    /// A whole state that is small enough for one part.
    pub fn whole(changes: Vec<M::Change>) -> Self {
        Self { changes, next: None }
    }
}
