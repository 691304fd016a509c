//! Commands on their way through a log: who asked for what, and what a slot of the log holds.

use crate::state_machine::StateMachine;
use im::Vector;
use serde::{Deserialize, Serialize};
use stateright::actor::Id;
use std::fmt;
use std::sync::Arc;

/// Names a command for ever, however often it is sent and into however many slots it is put.
///
/// A client has one command outstanding per `pseudonym`; what it sends next under the same pseudonym has a larger
/// `seq`. (Compartmentalization paper: `(client, pseudonym, seq)`; `session` is what lets a full client table forget.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommandId {
    /// The client's logical index, where replies go. One incarnation of a client has one index, never used again.
    pub client: u64,
    /// The session that the client was given when it opened one; see [`crate::sessions`].
    pub session: u64,
    /// Which of the client's lanes.
    pub pseudonym: u32,
    /// The number of the command within its lane, from 1.
    pub seq: u64,
}

impl CommandId {
    /// Where replies go.
    pub fn client_id(&self) -> Id {
        Id::from(usize::try_from(self.client).expect("ids are machine words on every supported machine"))
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.client)?;
        if self.pseudonym > 0 {
            write!(f, ".{}", self.pseudonym)?;
        }
        write!(f, "#{}", self.seq)
    }
}

/// What a client asks of a replicated state machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation<C> {
    /// Open a session with this many lanes.
    Open {
        /// The number of lanes: commands that may be outstanding at once.
        lanes: u32,
    },
    /// Apply this to the state machine.
    Apply(C),
}

impl<C: fmt::Debug> fmt::Debug for Operation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { lanes } => write!(f, "open({lanes})"),
            Self::Apply(command) => command.fmt(f),
        }
    }
}

/// An operation with its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Command<C> {
    /// Its name.
    pub id: CommandId,
    /// What is asked.
    pub op: Operation<C>,
}

impl<C> Command<C> {
    /// Is it numbered as its operation must be: from 1, and 0 where it opens a session? Whatever else a client sends is
    /// executed by nobody.
    pub fn is_named_right(&self) -> bool {
        matches!(self.op, Operation::Open { .. }) == (self.id.seq == 0)
    }

    /// Is it a command of this client, and none that the machine refuses? Servers ignore whatever else they are asked.
    pub(crate) fn is_sound<M: StateMachine<Command = C>>(&self, client: Id) -> bool {
        let refused = match &self.op {
            Operation::Open { .. } => false,
            Operation::Apply(command) => M::refusal(command).is_some(),
        };
        self.id.client_id() == client && !refused
    }
}

impl<C: fmt::Debug> fmt::Debug for Command<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}={:?}", self.id, self.op)
    }
}

/// What a slot of the log holds. Shared, so that a vote, a proposal and the log hold one copy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value<C> {
    /// Nothing: fills a slot that a new leader found empty.
    Noop,
    /// Commands, executed in this order.
    Batch(Arc<[Command<C>]>),
}

impl<C> Value<C> {
    /// The commands of this value, in order.
    pub fn commands(&self) -> &[Command<C>] {
        match self {
            Self::Noop => &[],
            Self::Batch(commands) => commands,
        }
    }
}

impl<C: fmt::Debug> fmt::Debug for Value<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noop => f.write_str("noop"),
            Self::Batch(commands) if commands.len() == 1 => commands[0].fmt(f),
            Self::Batch(commands) => f.debug_list().entries(commands.iter()).finish(),
        }
    }
}

/// The commands, outputs and values of a state machine, by short names.
pub type CommandOf<M> = Command<<M as StateMachine>::Command>;
/// What a slot of this state machine's log holds.
pub type ValueOf<M> = Value<<M as StateMachine>::Command>;

/// About how many bytes a value takes in a message; used to keep pages and batches below the size of a datagram.
pub fn value_bytes<M: StateMachine>(value: &ValueOf<M>) -> usize {
    8 + value.commands().iter().map(command_bytes::<M>).sum::<usize>()
}

/// About how many bytes a command takes in a message.
pub fn command_bytes<M: StateMachine>(command: &CommandOf<M>) -> usize {
    const ID: usize = 24;
    ID + match &command.op {
        Operation::Open { .. } => 5,
        Operation::Apply(command) => M::command_bytes(command),
    }
}

/// The parts of a list, in order: each of at most `count` items and about `max_bytes`, but of at least one item.
pub(crate) fn parts<T>(
    items: impl IntoIterator<Item = T>,
    count: usize,
    max_bytes: usize,
    bytes: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = vec![];
    let mut size = 0_usize;
    for item in items {
        size = size.saturating_add(bytes(&item));
        if let Some(part) = parts.last_mut().filter(|part| part.len() < count && size <= max_bytes) {
            part.push(item);
        } else {
            size = bytes(&item);
            parts.push(vec![item]);
        }
    }
    parts
}

/// Takes from the front of a queue what fits one slot: at least one command, at most `commands` and about `bytes`.
pub(crate) fn take_batch<M: StateMachine>(
    queue: &mut Vector<CommandOf<M>>,
    commands: usize,
    bytes: usize,
) -> Vec<CommandOf<M>> {
    let (mut batch, mut size) = (vec![], 0);
    while let Some(command) = queue.front() {
        size += command_bytes::<M>(command);
        if batch.len() == commands || (size > bytes && !batch.is_empty()) {
            break;
        }
        batch.extend(queue.pop_front());
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_keep_to_both_limits_and_none_could_be_joined_to_the_next(
            items in proptest::collection::vec(0..40_usize, 0..60), count in 1..9_usize, max in 0..100_usize
        ) {
            let parts = parts(items.iter().copied(), count, max, |item| *item);
            prop_assert_eq!(parts.concat(), items);
            for part in &parts {
                prop_assert!(part.len() <= count && (part.len() == 1 || part.iter().sum::<usize>() <= max));
            }
            for pair in parts.windows(2) {
                let more = pair[0].iter().sum::<usize>() + pair[1][0];
                prop_assert!(pair[0].len() == count || more > max, "{pair:?}");
            }
        }
    }
}
