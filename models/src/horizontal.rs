//! What is claimed of [`parthood_protocols::horizontal`], and the configurations in which it is checked.
//!
//! In the checker the state machine is an append log. The ghost keeps the votes ever cast and goes through what they choose, slot
//! by slot: which acceptors decide a slot follows from the chosen slots a window below it, and "chosen" is a fact about votes of
//! just these acceptors and not what somebody believes. Some properties speak of a moment: the ghost judges them when it sees the
//! step.
//!
//! # Reductions
//! *Symmetry*: acceptors that no configuration tells apart. *Collection*: what its receiver has outgrown.
//!
//! Trusted: this file and its parts. Whoever doubts a verdict should read them first.

mod ghost;
mod params;
mod properties;

pub use ghost::Ghost;
pub use params::{OperatorParams, Params};

use crate::{Budget, Class, Hashed, Parts, Property, Protocol, Step, index};
use parthood_protocols::client::{Client, ClientMsg};
use parthood_protocols::faults::{Faults, Mutated};
use parthood_protocols::horizontal::{
    Acceptor, Config, Leading, Msg, Mutant, Node, Role, Server, ServerState, State, Timer,
};
use parthood_protocols::operator::Operator;
use parthood_protocols::state_machine::{AppendLog, StateMachine};
use stateright::actor::Id;
use std::borrow::Cow;
use std::sync::Arc;

/// Horizontal `MultiPaxos` in one configuration.
#[derive(Clone, Debug)]
pub struct Horizontal<M: StateMachine = AppendLog, F: Faults<Mutant> = Mutated<Mutant>> {
    config: Arc<Config<F>>,
    /// The clients, as far as they are part of the configuration.
    clients: Vec<Client<M::Command>>,
    operators: Vec<Operator>,
    /// Acceptors that no configuration tells apart.
    alike: Vec<Vec<usize>>,
    answers: bool,
    /// May a restart undo steps that nobody has heard of, as where a save takes its time?
    undone_steps: bool,
    properties: fn() -> Vec<Property<Self>>,
}

impl<M: StateMachine, F: Faults<Mutant>> Horizontal<M, F> {
    /// The protocol as it is deployed: with any state machine, and clients and operators that nobody knows beforehand.
    pub fn deployed(config: Arc<Config<F>>) -> Self {
        Self {
            config,
            clients: vec![],
            operators: vec![],
            alike: vec![],
            answers: false,
            undone_steps: true,
            properties: properties::of_any_machine,
        }
    }

    /// What all participants know.
    pub(crate) fn config(&self) -> &Config<F> {
        &self.config
    }

    /// The number of a client or operator among them.
    fn beyond(&self, id: Id) -> Option<usize> {
        index(id).checked_sub(self.config.nodes())
    }

    /// The client with this id, if it is part of the configuration.
    pub(crate) fn client(&self, id: u64) -> Option<&Client<M::Command>> {
        self.clients.get(usize::try_from(id).ok()?.checked_sub(self.config.nodes())?)
    }

    fn split_leading(&self, leading: &Leading<M::Command>, parts: &mut Parts<'_>) {
        let acceptor = |number: usize| self.config.id(Role::Acceptor(number));
        let Leading { round, chunks, leads, next_slot, outstanding, orders, told, .. } = leading;
        let Leading { stored, persisted, queue, waiting, .. } = leading;
        parts.rest(&(round, leads, next_slot, orders, told, stored, persisted, queue, waiting));
        for chunk in chunks {
            let recovery = chunk.phase1.as_ref();
            parts.rest(&(&chunk.numbered, recovery.map(|recovery| (recovery.from, recovery.asked))));
            for (number, report) in recovery.into_iter().flat_map(|recovery| &recovery.reports) {
                parts.about(acceptor(*number), &("report", chunk.numbered.number, report));
            }
        }
        for (slot, proposal) in outstanding {
            parts.rest(&(slot, &proposal.value));
            for number in proposal.voted.iter() {
                parts.about(acceptor(number), &("voted", slot));
            }
        }
    }

    /// Will a server ignore this message for ever? A round that it has left it never uses again, restarts included.
    fn dead_to_server(server: &ServerState<M>, msg: &Msg<M>) -> bool {
        let Some(used) = server.used else { return false };
        match msg {
            Msg::Phase1b { round, .. } => *round < used || server.leading.is_none() && *round <= used,
            Msg::Phase2b { round, slot } => {
                *round < used || server.leading.is_none() && *round <= used || *slot < server.replica.executed
            }
            Msg::Nack { round } => Some(*round) <= server.heard,
            Msg::Chosen { from, values } => from.plus(values.len() as u64) <= server.replica.executed,
            Msg::SnapshotPart(part) => part.slot <= server.replica.executed,
            _ => false,
        }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Protocol for Horizontal<M, F> {
    type Actor = Node<M, F>;
    type Ghost = Ghost<M>;

    fn actors(&self) -> Vec<Self::Actor> {
        let config = || self.config.clone();
        let servers = (0..self.config.servers).map(|index| Node::Server(Server { index, config: config() }));
        let acceptors = (0..self.config.acceptors).map(|_| Node::Acceptor(Acceptor { config: config() }));
        let clients = self.clients.iter().cloned().map(Node::Client);
        let operators = self.operators.iter().cloned().map(Node::Operator);
        servers.chain(acceptors).chain(clients).chain(operators).collect()
    }

    fn ghost(&self) -> Ghost<M> {
        Ghost::default()
    }

    fn observe(&self, ghost: &mut Cow<'_, Ghost<M>>, step: &Step<'_, Self::Actor>) {
        ghost::observe(self, ghost, step);
    }

    fn properties(&self) -> Vec<Property<Self>> {
        (self.properties)()
    }

    fn dead(&self, dst: Id, state: &State<M>, _: Id, msg: &Msg<M>) -> bool {
        let silent = !self.config.bounds.nack;
        match (state, msg) {
            (State::Acceptor(node), Msg::Phase1a { round, .. }) => silent && *round < node.acceptor.round,
            (State::Acceptor(node), Msg::Phase2a { round, slot, .. }) => {
                // Where votes are dropped somebody who is stale may still be told so.
                silent && *round < node.acceptor.round && *slot >= node.persisted && !self.config.retire
            }
            (State::Acceptor(node), Msg::Persisted(below)) => *below <= node.persisted,
            (State::Server(server), msg) => Self::dead_to_server(server, msg),
            (State::Client(client), Msg::Client(msg)) => match self.client(index(dst) as u64) {
                Some(config) => matches!(msg, ClientMsg::Reply { .. }) && config.ignores(client, dst, msg),
                None => false,
            },
            _ => false,
        }
    }

    /// A client or operator that restarts is another one.
    fn may_restart(&self, id: Id) -> bool {
        self.config.role(id).is_some()
    }

    /// Timers of one kind share a budget, in this order: election, ping, resend, catch-up, retry, ask. A leader proposes as often
    /// as there is something to propose.
    fn budget(&self, _: Id, timer: &Timer) -> Budget {
        match timer {
            Timer::Election => Budget::Shared(0),
            Timer::Ping => Budget::Shared(1),
            Timer::Resend => Budget::Shared(2),
            Timer::CatchUp => Budget::Shared(3),
            Timer::Retry(_) => Budget::Shared(4),
            Timer::Ask => Budget::Shared(5),
            Timer::Propose => Budget::Unlimited,
        }
    }

    fn classes(&self) -> Vec<Class> {
        let id = |number: &usize| vec![self.config.id(Role::Acceptor(*number))];
        self.alike.iter().map(|alike| alike.iter().map(id).collect()).collect()
    }

    fn split_state(&self, _: Id, state: &Hashed<State<M>>, parts: &mut Parts<'_>) {
        let State::Server(server) = &**state else { return parts.own(state) };
        let ServerState { used, heard, store_below, leading, replica } = &**server;
        parts.rest(&(used, heard, store_below, replica));
        match leading {
            Some(leading) => self.split_leading(leading, parts),
            None => parts.rest("follows"),
        }
    }

    fn split_ghost(&self, ghost: &Hashed<Ghost<M>>, parts: &mut Parts<'_>) {
        ghost::split(self, ghost, parts);
    }

    fn name(&self, id: Id) -> String {
        match (self.config.role(id), self.beyond(id)) {
            (Some(Role::Server(number)), _) => format!("server {number}"),
            (Some(Role::Acceptor(number)), _) => format!("acceptor {number}"),
            (None, Some(number)) if number < self.clients.len() => format!("client {number}"),
            (None, number) => {
                format!("operator {}", number.unwrap_or_default().saturating_sub(self.clients.len()))
            }
        }
    }

    fn role(&self, id: Id) -> &'static str {
        match (self.config.role(id), self.beyond(id)) {
            (Some(Role::Server(_)), _) => "server",
            (Some(Role::Acceptor(_)), _) => "acceptor",
            (None, Some(number)) if number < self.clients.len() => "client",
            (None, _) => "operator",
        }
    }
}
