//! A node of any role: its configuration, its state, and the dispatch of what happens to it.

use super::acceptor::AcceptorState;
use super::config::{Config, Layout, Role};
use super::dependencies::DependencyState;
use super::leader::LeaderState;
use super::mutant::{Mutant, Rules};
use super::proposer::ProposerState;
use super::replica::ReplicaState;
use super::server::ServerState;
use super::storage::Storage;
use super::{Msg, Timer};
use crate::client::{Client, ClientState};
use crate::faults::Correct;
use crate::state_machine::StateMachine;
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// A node that is no client, as configured.
#[derive(Clone, Debug)]
pub struct Part<F> {
    /// Its index in its role.
    pub index: usize,
    /// Whether it once had storage and lost it. A node that did takes no part any more, since it would break promises that
    /// it does not remember; a replica gets everything from the others.
    pub lost_storage: bool,
    /// What all nodes know.
    pub config: Arc<Config<F>>,
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// Numbers commands, and proposes them if there are no proposers.
    Leader(Part<F>),
    /// Gets them chosen.
    Proposer(Part<F>),
    /// Says what conflicts with what.
    DependencyNode(Part<F>),
    /// Votes.
    Acceptor(Part<F>),
    /// Executes.
    Replica(Part<F>),
    /// An acceptor that is a dependency node, too, and perhaps a leader and a replica.
    Server(Part<F>),
    /// Asks.
    Client(Client<M::Command>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// A leader's.
    Leader(LeaderState<M::Command>),
    /// A proposer's.
    Proposer(ProposerState<M::Command>),
    /// A dependency node's.
    DependencyNode(DependencyState<M::Key>),
    /// An acceptor's.
    Acceptor(AcceptorState<M::Command>),
    /// A replica's.
    Replica(Box<ReplicaState<M>>),
    /// A server's.
    Server(Box<ServerState<M>>),
    /// A client's.
    Client(ClientState<M::Command>),
}

/// One event being handled by a node with a state of type `S`: what a role does are methods of this.
pub(super) struct Turn<'a, S, M: StateMachine, F: Rules> {
    pub(super) index: usize,
    pub(super) part: &'a Part<F>,
    pub(super) config: &'a Config<F>,
    pub(super) state: &'a mut S,
    pub(super) out: &'a mut Out<Node<M, F>>,
    /// For a proposer that is a leader: the leader has saved that numbers below may have been given out.
    pub(super) numbers: Option<u64>,
}

impl<S, M: StateMachine, F: Rules> Turn<'_, S, M, F> {
    pub(super) fn layout(&self) -> Layout {
        self.config.layout
    }

    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.config.breaks(rule)
    }

    pub(super) fn send(&mut self, dst: Id, msg: Msg<M>) {
        self.out.send(dst, msg);
    }

    pub(super) fn set_timer(&mut self, timer: Timer) {
        let timing = &self.config.timing;
        let after = match timer {
            Timer::Ask | Timer::Resend => timing.resend..timing.resend,
            Timer::Number => timing.gather.map_or(Duration::ZERO..Duration::ZERO, |after| after..after),
            Timer::Backoff(_) => timing.backoff.clone(),
            Timer::Recover(_) => timing.recover.clone(),
            Timer::CatchUp if self.config.bounds.catch_up => timing.catch_up..timing.catch_up,
            Timer::CatchUp | Timer::Retry(_) => return,
        };
        self.out.set_timer(timer, after);
    }

    pub(super) fn cancel_timer(&mut self, timer: Timer) {
        self.out.cancel_timer(timer);
    }
}

impl<F: Rules> Part<F> {
    pub(super) fn turn<'a, S, M: StateMachine>(
        &'a self,
        state: &'a mut S,
        out: &'a mut Out<Node<M, F>>,
    ) -> Turn<'a, S, M, F> {
        Turn { index: self.index, part: self, config: &self.config, state, out, numbers: None }
    }
}

impl<M: StateMachine, F: Rules> Node<M, F> {
    /// The node of a role; none for a client, which is configured in its own way.
    pub fn of(role: Role, part: Part<F>) -> Option<Self> {
        Some(match role {
            Role::Server => Self::Server(part),
            Role::Acceptor if part.config.fast.is_some() => Self::Server(part),
            Role::Leader => Self::Leader(part),
            Role::Proposer => Self::Proposer(part),
            Role::DependencyNode => Self::DependencyNode(part),
            Role::Acceptor => Self::Acceptor(part),
            Role::Replica => Self::Replica(part),
            Role::Client => return None,
        })
    }

    /// Is the message of no use to this node in this state?
    pub fn ignores(&self, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        match (self, state) {
            (Self::Leader(part), State::Leader(state)) => part.leader_ignores(state, src, msg),
            (Self::Proposer(part), State::Proposer(state)) => part.proposer_ignores(state, src, msg),
            (Self::DependencyNode(part), State::DependencyNode(state)) => {
                part.dependency_node_ignores(state, src, msg)
            }
            (Self::Acceptor(part), State::Acceptor(state)) => part.acceptor_ignores(state, src, msg),
            (Self::Replica(part), State::Replica(state)) => part.replica_ignores(state, src, msg),
            (Self::Server(part), State::Server(state)) => part.server_ignores(state, src, msg),
            (Self::Client(client), State::Client(state)) => match msg {
                Msg::Client(msg) => client.ignores(state, src, msg),
                _ => true,
            },
            _ => true,
        }
    }
}

impl<M: StateMachine, F: Rules> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = Timer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        let storage = storage.as_ref();
        match self {
            Self::Leader(part) => State::Leader(part.start_leader(storage)),
            Self::Proposer(_) => State::Proposer(ProposerState::start(storage)),
            Self::DependencyNode(part) => State::DependencyNode(part.start_dependency_node(storage)),
            Self::Acceptor(part) => State::Acceptor(part.start_acceptor(storage)),
            Self::Replica(part) => State::Replica(Box::new(part.start_replica(storage, out))),
            Self::Server(part) => State::Server(Box::new(part.start_server(storage, out))),
            Self::Client(client) => State::Client(client.start(id, out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        if self.ignores(state, src, &msg) {
            return;
        }
        match (self, state.to_mut()) {
            (Self::Leader(part), State::Leader(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::Proposer(part), State::Proposer(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::DependencyNode(part), State::DependencyNode(state)) => {
                part.turn(state, out).on_msg(src, msg);
            }
            (Self::Acceptor(part), State::Acceptor(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::Replica(part), State::Replica(state)) => part.turn(&mut **state, out).on_msg(src, msg),
            (Self::Server(part), State::Server(state)) => part.turn(&mut **state, out).on_msg(src, &msg),
            (Self::Client(client), State::Client(state)) => {
                if let Msg::Client(msg) = msg {
                    client.on_msg::<M, _>(id, state, msg, out);
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, state.to_mut(), *timer) {
            (Self::Leader(part), State::Leader(state), timer) => part.turn(state, out).on_timeout(timer),
            (Self::Proposer(part), State::Proposer(state), timer) => {
                part.turn(state, out).on_timeout(timer);
            }
            (Self::Replica(part), State::Replica(state), timer) => {
                part.turn(&mut **state, out).on_timeout(timer);
            }
            (Self::Server(part), State::Server(state), timer) => {
                part.turn(&mut **state, out).on_timeout(timer);
            }
            (Self::Client(client), State::Client(state), Timer::Retry(timer)) => {
                client.on_timeout(id, state, timer, out);
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Leader(part) => format!("leader {}", part.index),
            Self::Proposer(part) => format!("proposer {}", part.index),
            Self::DependencyNode(part) => format!("dependency service node {}", part.index),
            Self::Replica(part) => format!("replica {}", part.index),
            Self::Server(part) if part.config.layout.coupled => format!("server {}", part.index),
            Self::Acceptor(part) | Self::Server(part) => format!("acceptor {}", part.index),
            Self::Client(_) => "client".into(),
        }
    }
}
