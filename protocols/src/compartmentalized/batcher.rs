//! The batcher: collects commands, so that the leader handles one message for many. It may forget everything.

use super::config::Role;
use super::mutant::Mutant;
use super::node::{Part, Turn};
use super::{Msg, Timer};
use crate::client::ClientMsg;
use crate::command::{Command, CommandOf, take_batch};
use crate::faults::Faults;
use crate::ids::Round;
use crate::state_machine::StateMachine;
use im::Vector;
use stateright::actor::Id;

/// A batcher's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatcherState<C: Clone> {
    /// The largest round that it has heard of; its owner probably leads.
    pub round: Round,
    /// The batch so far.
    pub open: Vector<Command<C>>,
}

impl<C: Clone> Default for BatcherState<C> {
    fn default() -> Self {
        Self { round: Round::ZERO, open: Vector::new() }
    }
}

impl<F: Faults<Mutant>> Part<F> {
    pub(super) fn batcher_ignores<M: StateMachine>(
        &self,
        state: &BatcherState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let (role, _) = self.config.layout.role(src);
        match msg {
            Msg::Client(ClientMsg::Request(command)) => command.id.client_id() != src,
            // From a leader that knows of no larger round: the clients ask again.
            Msg::NotLeader { round, .. } | Msg::Ping { round } => {
                role != Role::Leader || *round <= state.round
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Turn<'_, BatcherState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, msg: Msg<M>) {
        match msg {
            Msg::Client(ClientMsg::Request(command)) => {
                // The clock runs from the first command on; later ones do not put it back.
                if self.state.open.is_empty() {
                    self.set_timer(Timer::Batch);
                }
                self.state.open.push_back(command);
                self.send_batches(false);
            }
            Msg::NotLeader { round, commands } => {
                self.state.round = round;
                self.send_to_leader(commands);
            }
            Msg::Ping { round } => self.state.round = round,
            _ => {}
        }
    }

    /// Sends all full batches, and the last one too if it is `due`.
    pub(super) fn send_batches(&mut self, due: bool) {
        let limits = self.config.limits;
        while self.state.open.len() >= limits.batch_commands || due && !self.state.open.is_empty() {
            let batch = take_batch::<M>(&mut self.state.open, limits.batch_commands, limits.batch_bytes);
            self.send_to_leader(batch);
        }
        if self.state.open.is_empty() {
            self.cancel_timer(Timer::Batch);
        }
    }

    fn send_to_leader(&mut self, commands: Vec<CommandOf<M>>) {
        let leader = self.config.leader_of(self.state.round);
        self.send(leader, Msg::Commands(commands));
    }
}
