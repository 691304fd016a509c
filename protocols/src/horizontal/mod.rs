//! Horizontal `MultiPaxos`: a replicated log that says itself which acceptors decide it, a window of slots later.
//!
//! The way to exchange acceptors that Matchmaker `MultiPaxos` is compared with, and a baseline in this library, too.
//! (Lamport's, as the Matchmaker Paxos paper describes it in sections 1 and 8; why one value at most is chosen per slot and
//! configuration: [`crate::paxos`]; what phase 1 and replicas have in common with other logs: [`crate::log`].) Servers are
//! proposers and replicas; one of them leads. Acceptors hold the votes of slots that are not stored yet.
//!
//! # Reconfiguration
//!
//! A slot may hold a configuration: acceptors with their quorums, proposed and chosen like a command. One that is chosen in slot
//! `s` governs from slot `s + alpha` on ([`Config::alpha`]). So whoever knows all slots up to `n - alpha` knows who decides slot
//! `n`, and nobody proposes for it earlier. Which acceptors decide a slot is therefore a function of the log, and every proposer
//! of every round asks the same ones: each slot by itself is Paxos with one quorum system.
//!
//! The leader goes on with the old acceptors up to `s + alpha`, and meanwhile runs phase 1 of its round with the new ones, so
//! that the change costs nobody time as long as the window is wide enough for what arrives in a round trip. What is left of the
//! window it fills with noops if nothing waits. (The paper describes that; its implementation has not got it.) Else what arrives
//! at a leader together shares a slot, as in [`crate::multipaxos`]; what gathers while a window is filled is not waited for.
//!
//! Configurations are numbered, and one that does not follow the newest is void. So one that was proposed twice, or by two
//! leaders, takes effect once.
//!
//! # A change of leader
//!
//! A new leader runs phase 1 with the acceptors of its first unexecuted slot, proposes again what they report within the window,
//! and goes on as slots are chosen, with the acceptors of later configurations when the log brings it to these (`window.rs`).
//! It needs read *and* write quorums of the old configuration: a Matchmaker needs read quorums only.
//!
//! # Retiring the old acceptors
//!
//! The paper has no rule; ours: all slots below `s + alpha` are chosen, and `f + 1` of `2f + 1` servers have saved what they
//! amount to. A server that slept through it does not need the acceptors that are gone: if it stands for election it asks the
//! other servers as well, and jumps ahead by their log or snapshot.
//!
//! # What it does not have
//!
//! The window bounds how many slots are in flight, reconfiguration or not: that is the method's price, and `parthood figures
//! matchmaker` shows it. Nothing is sent to fewer acceptors than there are. `alpha` cannot change. Servers are fixed.
//! Acceptors are not told again how far they may drop votes; the next snapshot brings it.

mod acceptor;
mod config;
mod configured;
mod leader;
mod replica;
mod server;
mod storage;
mod window;

pub use acceptor::{Acceptor, AcceptorNode};
pub use config::{Config, Mutant, Role};
pub use configured::{Configured, ConfiguredChange, Entry, Numbered};
pub use leader::{Leading, Order, Proposal};
pub use server::{Server, ServerState};
pub use storage::{Storage, StorageDelta};
pub use window::Chunk;

use crate::client::{Client, ClientMsg, ClientState, RetryTimer};
use crate::command::ValueOf;
use crate::faults::{Correct, Faults};
use crate::ids::{Round, Slot};
use crate::log::{Report, SnapshotCursor, SnapshotPart};
use crate::operator::{AskTimer, Operator, OperatorMsg, OperatorState};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum Msg<M: StateMachine> {
    /// Between a client and a server.
    Client(ClientMsg<M::Command, M::Output>),
    /// Between an operator and a server.
    Operator(OperatorMsg),
    /// New leader to acceptor: promise to ignore smaller rounds, and report your votes.
    Phase1a {
        /// The leader's round.
        round: Round,
        /// The first slot of interest.
        from: Slot,
    },
    /// Acceptor to new leader: promised; a page of votes.
    Phase1b {
        /// The promised round.
        round: Round,
        /// The first slot of the page.
        from: Slot,
        /// What the page says.
        report: Report<Entry<M::Command>>,
    },
    /// Leader to acceptor: vote for this.
    Phase2a {
        /// The leader's round.
        round: Round,
        /// The slot.
        slot: Slot,
        /// The value.
        value: ValueOf<Configured<M>>,
    },
    /// Acceptor to leader: voted.
    Phase2b {
        /// The round voted in.
        round: Round,
        /// The slot voted for.
        slot: Slot,
    },
    /// Acceptor or server to leader: your round is too small.
    Nack {
        /// A round that it must go beyond.
        round: Round,
    },
    /// Leader to servers: I lead.
    Ping {
        /// The leader's round.
        round: Round,
        /// All slots below are chosen.
        chosen_below: Slot,
    },
    /// Leader to servers: see to it that what the slots below amount to is saved.
    Store(Slot),
    /// Server to leader: what the slots below amount to is saved.
    Stored(Slot),
    /// Leader to acceptor: slots below are chosen, and enough servers have saved what they amount to. Acceptor to leader:
    /// I was told so, and have dropped their votes.
    Persisted(Slot),
    /// Server to server: send me what is chosen.
    CatchUp {
        /// From this slot on.
        from: Slot,
    },
    /// Leader to servers, and server to server: these values are chosen.
    Chosen {
        /// The slot of the first value.
        from: Slot,
        /// The values of this slot and the following ones.
        values: Vec<ValueOf<Configured<M>>>,
    },
    /// Server to server: send me the next part of this snapshot.
    FetchSnapshot {
        /// The snapshot's slot.
        slot: Slot,
        /// Where to go on.
        cursor: SnapshotCursor<Configured<M>>,
    },
    /// Server to server: a part of a snapshot.
    SnapshotPart(SnapshotPart<Configured<M>>),
}

impl<M: StateMachine> From<ClientMsg<M::Command, M::Output>> for Msg<M> {
    fn from(msg: ClientMsg<M::Command, M::Output>) -> Self {
        Self::Client(msg)
    }
}

impl<M: StateMachine> From<OperatorMsg> for Msg<M> {
    fn from(msg: OperatorMsg) -> Self {
        Self::Operator(msg)
    }
}

/// What sets a participant in motion when nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// A server has heard of no leader and stands for election.
    Election,
    /// A leader says that it leads.
    Ping,
    /// A leader proposes what has arrived together.
    Propose,
    /// A leader sends again what was not answered.
    Resend,
    /// A server asks for what it lacks.
    CatchUp,
    /// A client sends again.
    Retry(RetryTimer),
    /// An operator asks how far it is.
    Ask,
}

impl From<RetryTimer> for Timer {
    fn from(timer: RetryTimer) -> Self {
        Self::Retry(timer)
    }
}

impl From<AskTimer> for Timer {
    fn from(_: AskTimer) -> Self {
        Self::Ask
    }
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// A server: proposer and replica.
    Server(Server<F>),
    /// An acceptor.
    Acceptor(Acceptor<F>),
    /// A client.
    Client(Client<M::Command>),
    /// An operator.
    Operator(Operator),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// A server's.
    Server(Box<ServerState<M>>),
    /// An acceptor's.
    Acceptor(AcceptorNode<M>),
    /// A client's.
    Client(ClientState<M::Command>),
    /// An operator's.
    Operator(OperatorState),
}

impl<M: StateMachine, F: Faults<Mutant>> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = Timer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        let storage = storage.as_ref();
        match self {
            Self::Server(server) => State::Server(Box::new(server.start(storage, out))),
            Self::Acceptor(_) => State::Acceptor(match storage {
                Some(Storage::Acceptor(saved)) => saved.clone(),
                _ => AcceptorNode::<M>::new(),
            }),
            Self::Client(client) => State::Client(client.start(id, out)),
            Self::Operator(operator) => State::Operator(operator.start(out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        if self.ignores(state, src, &msg) {
            return;
        }
        match (self, state.to_mut(), msg) {
            (Self::Server(server), State::Server(state), msg) => server.on_msg(state, src, msg, out),
            (Self::Acceptor(acceptor), State::Acceptor(state), msg) => acceptor.on_msg(state, src, msg, out),
            (Self::Client(client), State::Client(state), Msg::Client(msg)) => {
                client.on_msg::<M, _>(id, state, msg, out);
            }
            (Self::Operator(operator), State::Operator(state), Msg::Operator(msg)) => {
                operator.on_msg(state, src, msg, out);
            }
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, state.to_mut(), timer) {
            (Self::Server(server), State::Server(state), timer) => server.on_timeout(state, *timer, out),
            (Self::Client(client), State::Client(state), Timer::Retry(timer)) => {
                client.on_timeout(id, state, *timer, out);
            }
            (Self::Operator(operator), State::Operator(state), Timer::Ask) => operator.on_timeout(state, out),
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Server(server) => format!("server {}", server.index),
            Self::Acceptor(_) => "acceptor".into(),
            Self::Client(_) => "client".into(),
            Self::Operator(_) => "operator".into(),
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Node<M, F> {
    /// Would the participant, in this state, do nothing about the message?
    fn ignores(&self, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        match (self, state, msg) {
            (Self::Server(server), State::Server(state), msg) => server.ignores(state, src, msg),
            (Self::Acceptor(acceptor), State::Acceptor(state), msg) => acceptor.ignores(state, src, msg),
            (Self::Client(client), State::Client(state), Msg::Client(msg)) => client.ignores(state, src, msg),
            (Self::Operator(operator), State::Operator(state), Msg::Operator(msg)) => {
                operator.ignores(state, src, msg)
            }
            _ => true,
        }
    }
}
