//! CRAQ, a chain with reads at every node: the comparison.
//!
//! Writes enter at the *head* and travel down the chain to the *tail*. A node keeps a write *pending* until it hears that
//! the tail has it; the tail executes it at once, answers the client, and its acknowledgement travels back up. A read
//! may be asked of any node. One whose answer no pending write can change is *clean* and is answered on the spot; a
//! *dirty* one is handed to the tail. (Compartmentalization paper, section 10; Terrace and Freedman, USENIX ATC 2009. The
//! original asks the tail for a version number; here the whole read is handed on.)
//!
//! # Why it is linearizable
//!
//! The order is that of the head's numbers, and a write takes effect when the tail executes it. By then every node has
//! received it, for each hands on only what it has received itself. A clean read therefore sees every write that took
//! effect before it and can change its answer: the node has received them all, and none is pending. And it sees no other,
//! since a node executes only what the tail has executed. A dirty read is answered by the tail itself.
//!
//! # What the sources leave out
//!
//! - **Numbers.** The sources assume links that keep messages in order. Here the head numbers the writes, a node accepts
//!   only the number that is next, and acknowledgements tell how far the tail has come; so loss, duplication and
//!   reordering are harmless, and what is not acknowledged is sent again.
//! - **Exactly-once.** Every node keeps the client table of [`crate::sessions`], which is part of what the writes change.
//!   The head drops a copy of what is pending and answers a copy of what is acknowledged.
//! - **Restarts.** A node saves what it has received and executed before it says so. Nobody repairs the chain while a node
//!   is down: writes wait for it. (In the paper a separate service, itself replicated, removes dead nodes.)

mod chain;
mod client;
mod storage;

pub use chain::{Chain, ChainState};
pub use client::{Reader, ReaderState};
pub use storage::{Storage, StorageDelta};

use crate::client::{ClientMsg, RetryTimer};
use crate::command::CommandOf;
use crate::faults::{Correct, Faults};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a node.
    Client(ClientMsg<M::Command, M::Output>),
    /// A node to its successor: the write of this number.
    Write {
        /// Its place in the order, from 1.
        number: u64,
        /// The write.
        command: CommandOf<M>,
    },
    /// A node to its predecessor: the tail has executed all writes up to this number.
    Ack {
        /// The number.
        committed: u64,
    },
    /// A node to the tail: a read that only you can answer.
    TailRead(CommandOf<M>),
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Client(msg)
    }
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A node sends its successor again what was not acknowledged.
    Resend,
    /// A client asks again.
    Retry(RetryTimer),
}

impl From<RetryTimer> for Timer {
    fn from(timer: RetryTimer) -> Self {
        Self::Retry(timer)
    }
}

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// A node answers a dirty read from what it has executed.
    AnswerDirty,
    /// A node answers a dirty read as if what is pending had been executed.
    AnswerPending,
    /// The head answers a write when it receives it.
    HeadReplies,
    /// A dirty read is handed to the head, which answers it.
    DirtyToHead,
    /// A node takes writes in the order in which they arrive.
    NoNumbers,
    /// A copy of a write is executed again.
    NoClientTable,
    /// A node acknowledges what it has received.
    AckOnReceive,
    /// A node does not save.
    NoSave,
    /// The head says that a session is unknown, although its opening may be under way.
    ExpireAtTheHead,
    /// The tail executes a write and does not answer.
    SilentTail,
}

/// What all nodes of the chain know.
#[derive(Clone, Debug)]
pub struct Config<F = Correct> {
    /// The number of nodes: node 0 is the head, the last one the tail.
    pub nodes: usize,
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// The most writes that are pending; the head answers more with "busy". A read looks at all of them.
    pub pending_max: usize,
    /// The most writes that are sent again at once.
    pub resend_max: usize,
    /// The most lanes in the client table.
    pub lanes_max: usize,
    /// After how long what was not acknowledged is sent again.
    pub resend_after: Range<Duration>,
    /// Which rules are broken.
    pub faults: F,
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// A node of the chain.
    Chain(Chain<F>),
    /// A client.
    Client(Reader<M::Command>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// A node's.
    Chain(Box<ChainState<M>>),
    /// A client's.
    Client(ReaderState<M::Command>),
}

impl<M: StateMachine, F: Faults<Mutant>> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = Timer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        match self {
            Self::Chain(chain) => State::Chain(Box::new(chain.start(storage.as_ref(), out))),
            Self::Client(reader) => State::Client(reader.start::<M, F>(id, out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        match (self, &**state) {
            (Self::Chain(chain), State::Chain(now)) if !chain.ignores(now, src, &msg) => {
                let State::Chain(state) = state.to_mut() else { return };
                chain.on_msg(state, msg, out);
            }
            (Self::Client(reader), State::Client(now)) => {
                let Msg::Client(msg) = msg else { return };
                if !reader.ignores(now, src, &msg) {
                    let State::Client(state) = state.to_mut() else { return };
                    reader.on_msg::<M, F>(id, state, msg, out);
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, timer, &mut *state) {
            (Self::Chain(chain), Timer::Resend, now) => {
                if let State::Chain(now) = &**now {
                    chain.on_resend(now, out);
                }
            }
            (Self::Client(reader), Timer::Retry(timer), state) => {
                let State::Client(state) = state.to_mut() else { return };
                reader.on_timeout::<M, F>(id, state, *timer, out);
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Chain(chain) => format!("node {}", chain.index),
            Self::Client(_) => "client".into(),
        }
    }
}
