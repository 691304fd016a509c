//! The register: the state that acceptors vote for.

use crate::command::CommandOf;
use crate::command::Operation;
use crate::ids::Slot;
use crate::sessions::{Answer, Sessions, Standing};
use crate::state_machine::StateMachine;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A state machine whose whole state can be sent.
pub trait Machine: StateMachine + Serialize + DeserializeOwned {}

impl<M: StateMachine + Serialize + DeserializeOwned> Machine for M {}

/// A state of the machine, with what clients were answered: one is never chosen without the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(bound = "M: Machine")]
pub struct Register<M: StateMachine> {
    /// How many commands made it.
    pub version: u64,
    /// The state of the machine.
    pub machine: M,
    /// The client table.
    pub sessions: Sessions<M::Output>,
}

impl<M: StateMachine> Register<M> {
    /// The state before the first command, in which these clients are known.
    pub fn initial(clients: impl IntoIterator<Item = u64>) -> Self {
        Self { version: 0, machine: M::default(), sessions: Sessions::with_clients(clients) }
    }

    /// Applies a command, unless it was applied before or its session is not known.
    pub(super) fn apply(&mut self, command: &CommandOf<M>, lanes_max: usize, again: bool) {
        let slot = Slot(self.version + 1);
        let is_new = self.sessions.standing(&command.id) == Standing::New;
        if is_new {
            self.sessions.execute(&mut self.machine, slot, command, lanes_max);
        } else if let (true, Operation::Apply(operation)) = (again, &command.op) {
            self.sessions.apply(&mut self.machine, slot, command.id, operation);
        }
        self.version += u64::from(is_new || again);
    }

    /// What is answered to a command, if somebody still waits for it.
    pub fn answer(&self, command: &CommandOf<M>) -> Option<Answer<M::Output>> {
        match self.sessions.standing(&command.id) {
            Standing::Settled(answer) => Some(answer),
            Standing::New | Standing::Old => None,
        }
    }
}
