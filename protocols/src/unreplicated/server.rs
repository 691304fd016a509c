//! The server: executes, saves, replies.

use super::{Mutant, Node, State};
use crate::client::ClientMsg;
use crate::command::{Command, Operation};
use crate::durable::{Durable, Mismatch};
use crate::faults::Faults;
use crate::ids::Slot;
use crate::sessions::{Answer, SessionChange, Sessions, Standing};
use crate::state_machine::StateMachine;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stateright::actor::{Id, Out};
use std::borrow::Cow;

/// The server, as configured.
#[derive(Clone, Debug)]
pub struct Server<F> {
    /// Clients whose session 0 is known from the start.
    pub known_clients: Vec<u64>,
    /// The most lanes that its client table holds.
    pub lanes_max: usize,
    /// Which rules are broken.
    pub faults: F,
}

/// The server's state, all of which it saves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerState<M: StateMachine> {
    /// The number of commands executed.
    pub executed: Slot,
    /// The state machine.
    pub machine: M,
    /// The client table.
    pub sessions: Sessions<M::Output>,
}

/// What the server saves: its whole state.
pub type Storage<M> = ServerState<M>;

/// What changed between two saves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct StorageDelta<M: StateMachine> {
    executed: Slot,
    machine: Vec<M::Change>,
    sessions: Vec<SessionChange<M::Output>>,
}

impl<M: StateMachine> Durable for Storage<M> {
    type Delta = StorageDelta<M>;

    fn delta(&self, before: Option<&Self>) -> StorageDelta<M> {
        let empty = Self::default();
        let before = before.unwrap_or(&empty);
        StorageDelta {
            executed: self.executed,
            machine: self.machine.changes_since(&before.machine),
            sessions: self.sessions.changes_since(&before.sessions),
        }
    }

    fn patched(before: Option<Self>, delta: StorageDelta<M>) -> Result<Self, Mismatch> {
        let mut storage = before.unwrap_or_default();
        if delta.executed < storage.executed {
            return Err(Mismatch);
        }
        storage.executed = delta.executed;
        storage.machine.patch(delta.machine);
        storage.sessions.patch(delta.sessions);
        Ok(storage)
    }
}

/// Written as the difference from nothing: what a trace of a recovery holds.
impl<M: StateMachine> Serialize for ServerState<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.delta(None).serialize(serializer)
    }
}

impl<'de, M: StateMachine> Deserialize<'de> for ServerState<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::patched(None, StorageDelta::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<M: StateMachine> Default for ServerState<M> {
    fn default() -> Self {
        Self { executed: Slot::ZERO, machine: M::default(), sessions: Sessions::default() }
    }
}

impl<F: Faults<Mutant>> Server<F> {
    /// The first state, or the saved one.
    pub(super) fn start<M: StateMachine>(&self, storage: Option<&Storage<M>>) -> ServerState<M> {
        let fresh = || ServerState {
            sessions: Sessions::with_clients(self.known_clients.iter().copied()),
            ..Default::default()
        };
        storage.cloned().unwrap_or_else(fresh)
    }

    /// Executes a new command; answers it and every copy of the last one.
    pub(super) fn on_request<M: StateMachine>(
        &self,
        state: &mut Cow<'_, State<M>>,
        client: Id,
        command: &Command<M::Command>,
        out: &mut Out<Node<M, F>>,
    ) {
        let State::Server(now) = &**state else { return };
        if !command.is_sound::<M>(client) {
            return;
        }
        let again = self.faults.breaks(Mutant::NoClientTable) && command.id.seq > 0;
        match now.sessions.standing(&command.id) {
            Standing::New => {}
            _ if again => {}
            Standing::Old => return,
            Standing::Settled(answer) => {
                out.send(client, ClientMsg::Reply { id: command.id, answer });
                return;
            }
        }
        let State::Server(state) = state.to_mut() else { return };
        let answer = match &command.op {
            Operation::Apply(operation) if again => Some(Answer::Output(state.sessions.apply(
                &mut state.machine,
                state.executed,
                command.id,
                operation,
            ))),
            _ => state.sessions.execute(&mut state.machine, state.executed, command, self.lanes_max),
        };
        state.executed = state.executed.next();
        if !self.faults.breaks(Mutant::NoSave) {
            out.save(state.clone());
        }
        if let Some(answer) = answer {
            out.send(client, ClientMsg::Reply { id: command.id, answer });
        }
    }
}
