//! One server and its clients: no fault tolerance, an upper bound for every protocol that has it.
//!
//! The server executes a command, saves, and replies. It survives a restart, since the save is durable before the reply
//! leaves; it does not survive the loss of its machine. Even here a client must be able to send again, for a reply may be
//! lost, and so the server needs the client table. (Compartmentalization paper, section 10.)

mod server;

pub use server::{Server, ServerState, Storage, StorageDelta};

use crate::client::{Client, ClientMsg, ClientState, RetryTimer};
use crate::faults::{Correct, Faults};
use crate::state_machine::StateMachine;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::hash::Hash;

/// What is said.
pub type Msg<M> = ClientMsg<<M as StateMachine>::Command, <M as StateMachine>::Output>;

/// The rules that a mutant may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutant {
    /// The server executes a command that it has executed before.
    NoClientTable,
    /// The server replies without saving.
    NoSave,
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// The server.
    Server(Server<F>),
    /// A client.
    Client(Client<M::Command>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// The server's.
    Server(ServerState<M>),
    /// A client's.
    Client(ClientState<M::Command>),
}

impl<M: StateMachine, F: Faults<Mutant>> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = RetryTimer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        match self {
            Self::Server(server) => State::Server(server.start(storage.as_ref())),
            Self::Client(client) => State::Client(client.start(id, out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        match (self, &**state) {
            (Self::Server(_), State::Server(_)) => {
                let (Self::Server(server), ClientMsg::Request(command)) = (self, msg) else { return };
                server.on_request(state, src, &command, out);
            }
            (Self::Client(client), State::Client(now)) if !client.ignores(now, src, &msg) => {
                let State::Client(state) = state.to_mut() else { return };
                client.on_msg::<M, _>(id, state, msg, out);
            }
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &RetryTimer, out: &mut Out<Self>) {
        if let (Self::Client(client), State::Client(state)) = (self, state.to_mut()) {
            client.on_timeout(id, state, *timer, out);
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Server(_) => "server".into(),
            Self::Client(_) => "client".into(),
        }
    }
}
