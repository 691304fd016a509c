//! The batcher: collects commands, so that the leader handles one message for many. It may forget everything.

use super::config::Role;
use super::mutant::{Mutant, Rules};
use super::node::{Part, Turn};
use super::{Msg, Timer};
use crate::client::ClientMsg;
use crate::command::{Command, CommandOf, take_batch};
use crate::ids::Round;
use crate::state_machine::StateMachine;
use im::{OrdMap, Vector};
use stateright::actor::Id;

/// A batcher's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatcherState<C: Clone> {
    /// By leader group, the largest round that it has heard of; its owner probably leads.
    pub rounds: OrdMap<usize, Round>,
    /// The leader group whose turn it is.
    pub group: usize,
    /// The batch so far.
    pub open: Vector<Command<C>>,
}

impl<C: Clone> Default for BatcherState<C> {
    fn default() -> Self {
        Self { rounds: OrdMap::new(), group: 0, open: Vector::new() }
    }
}

impl<C: Clone> BatcherState<C> {
    fn round(&self, leader_group: usize) -> Round {
        self.rounds.get(&leader_group).copied().unwrap_or_default()
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn batcher_ignores<M: StateMachine>(
        &self,
        state: &BatcherState<M::Command>,
        src: Id,
        msg: &Msg<M>,
    ) -> bool {
        let (role, index) = self.config.layout.role(src);
        match msg {
            Msg::Client(ClientMsg::Request(command)) => !command.is_sound::<M>(src),
            // From a leader that knows of no larger round: the clients ask again.
            Msg::NotLeader { round, .. } | Msg::Ping { round } => {
                let group = self.config.group_of_leader(index);
                role != Role::Leader || *round <= state.round(group)
            }
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Turn<'_, BatcherState<M::Command>, M, F> {
    pub(super) fn on_msg(&mut self, src: Id, msg: Msg<M>) {
        let (_, index) = self.layout().role(src);
        let group = self.config.group_of_leader(index);
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
                self.state.rounds.insert(group, round);
                self.send_to_leader(group, commands);
            }
            Msg::Ping { round } => {
                self.state.rounds.insert(group, round);
            }
            _ => {}
        }
    }

    /// Sends all full batches, and the last one too if it is `due`.
    pub(super) fn send_batches(&mut self, due: bool) {
        let limits = self.config.limits;
        let due = due && !self.breaks(Mutant::WaitForFullBatch);
        while self.state.open.len() >= limits.batch_commands || due && !self.state.open.is_empty() {
            let batch = take_batch::<M>(&mut self.state.open, limits.batch_commands, limits.batch_bytes);
            let group = self.state.group;
            self.state.group = (group + 1) % self.config.leader_groups;
            self.send_to_leader(group, batch);
        }
        if self.state.open.is_empty() {
            self.cancel_timer(Timer::Batch);
        }
    }

    fn send_to_leader(&mut self, leader_group: usize, commands: Vec<CommandOf<M>>) {
        let leader = self.config.leader_of(leader_group, self.state.round(leader_group));
        self.send(leader, Msg::Commands(commands));
    }
}
