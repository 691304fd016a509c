//! A node of any role: its configuration, its state, and the dispatch of what happens to it.

use super::acceptor::AcceptorNode;
use super::batcher::BatcherState;
use super::client::{Reader, ReaderState};
use super::config::{Config, Layout, Role};
use super::leader::LeaderState;
use super::mutant::{Mutant, Rules};
use super::proxy_leader::ProxyState;
use super::read_batcher::ReadBatcherState;
use super::replica::ReplicaNode;
use super::storage::Storage;
use super::{Msg, Timer};
use crate::faults::Correct;
use crate::mencius;
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
    /// Whether it once had storage and lost it. A leader or acceptor that did takes no part any more: it would break
    /// promises that it does not remember. A read batcher leaves linearizable reads alone.
    pub lost_storage: bool,
    /// What all nodes know.
    pub config: Arc<Config<F>>,
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// Numbers commands.
    Leader(Part<F>),
    /// Broadcasts proposals and counts votes.
    ProxyLeader(Part<F>),
    /// Votes.
    Acceptor(Part<F>),
    /// Executes.
    Replica(Part<F>),
    /// Collects commands.
    Batcher(Part<F>),
    /// Deals out replies.
    Unbatcher(Part<F>),
    /// Collects reads.
    ReadBatcher(Part<F>),
    /// Asks.
    Client(Reader<M::Command, F>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// A leader's.
    Leader(LeaderState<M::Command>),
    /// A proxy leader's.
    ProxyLeader(ProxyState<M::Command>),
    /// An acceptor's.
    Acceptor(AcceptorNode<M::Command>),
    /// A replica's.
    Replica(Box<ReplicaNode<M>>),
    /// A batcher's.
    Batcher(BatcherState<M::Command>),
    /// An unbatcher has none.
    Unbatcher,
    /// A read batcher's.
    ReadBatcher(ReadBatcherState<M::Command>),
    /// A client's.
    Client(ReaderState<M::Command>),
}

/// One event being handled by a node with a state of type `S`: what a role does are methods of this.
pub(crate) struct Turn<'a, S, M: StateMachine, F: Rules> {
    pub(crate) index: usize,
    pub(crate) part: &'a Part<F>,
    pub(crate) config: &'a Config<F>,
    pub(crate) state: &'a mut S,
    pub(crate) out: &'a mut Out<Node<M, F>>,
}

impl<S, M: StateMachine, F: Rules> Turn<'_, S, M, F> {
    pub(crate) fn layout(&self) -> Layout {
        self.config.layout
    }

    pub(crate) fn breaks(&self, rule: Mutant) -> bool {
        self.config.breaks(rule)
    }

    pub(crate) fn breaks_mencius(&self, rule: mencius::Mutant) -> bool {
        self.config.breaks_mencius(rule)
    }

    pub(crate) fn send(&mut self, dst: Id, msg: Msg<M>) {
        self.out.send(dst, msg);
    }

    /// Sends to the leaders of one group but this one.
    pub(crate) fn send_to_leaders(&mut self, leader_group: usize, but: Option<usize>, msg: &Msg<M>) {
        for (index, id) in self.layout().ids(Role::Leader).enumerate() {
            if Some(index) != but && self.config.group_of_leader(index) == leader_group {
                self.out.send(id, msg.clone());
            }
        }
    }

    /// Sends to all nodes of a role but this one.
    pub(crate) fn send_to_all(&mut self, role: Role, but: Option<usize>, msg: &Msg<M>) {
        for (index, id) in self.layout().ids(role).enumerate() {
            if Some(index) != but {
                self.out.send(id, msg.clone());
            }
        }
    }

    pub(crate) fn set_timer(&mut self, timer: Timer) {
        let timing = &self.config.timing;
        let after = match timer {
            Timer::Election => timing.election.clone(),
            Timer::Ping if self.config.bounds.ping => timing.ping..timing.ping,
            Timer::Resend => timing.resend..timing.resend,
            Timer::CatchUp => timing.catch_up..timing.catch_up,
            Timer::Batch => timing.batch..timing.batch,
            Timer::Propose => timing.gather.map_or(Duration::ZERO..Duration::ZERO, |after| after..after),
            Timer::Ping | Timer::Retry(_) => return,
        };
        self.out.set_timer(timer, after);
    }

    pub(crate) fn cancel_timer(&mut self, timer: Timer) {
        self.out.cancel_timer(timer);
    }
}

impl<F> Part<F> {
    pub(super) fn turn<'a, S, M: StateMachine>(
        &'a self,
        state: &'a mut S,
        out: &'a mut Out<Node<M, F>>,
    ) -> Turn<'a, S, M, F>
    where
        F: Rules,
    {
        Turn { index: self.index, part: self, config: &self.config, state, out }
    }
}

impl<M: StateMachine, F: Rules> Node<M, F> {
    /// The node of a role; none for a client, which is configured in its own way.
    pub fn of(role: Role, part: Part<F>) -> Option<Self> {
        Some(match role {
            Role::Leader => Self::Leader(part),
            Role::ProxyLeader => Self::ProxyLeader(part),
            Role::Acceptor => Self::Acceptor(part),
            Role::Replica => Self::Replica(part),
            Role::Batcher => Self::Batcher(part),
            Role::Unbatcher => Self::Unbatcher(part),
            Role::ReadBatcher => Self::ReadBatcher(part),
            Role::Client => return None,
        })
    }

    /// Is the message of no use to this node in this state, now and for as long as it does not crash?
    pub fn ignores(&self, id: Id, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        match (self, state) {
            (Self::Leader(part), State::Leader(state)) => part.leader_ignores(state, src, msg),
            (Self::ProxyLeader(part), State::ProxyLeader(state)) => part.proxy_ignores(state, src, msg),
            (Self::Acceptor(part), State::Acceptor(state)) => part.acceptor_ignores(state, src, msg),
            (Self::Replica(part), State::Replica(state)) => part.replica_ignores(state, src, msg),
            (Self::Batcher(part), State::Batcher(state)) => part.batcher_ignores(state, src, msg),
            (Self::Unbatcher(_), State::Unbatcher) => !matches!(msg, Msg::Replies(_)),
            (Self::ReadBatcher(part), State::ReadBatcher(state)) => {
                part.read_batcher_ignores(state, src, msg)
            }
            (Self::Client(client), State::Client(state)) => client.ignores(id, state, src, msg),
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
            Self::Leader(part) => State::Leader(part.start_leader(storage, out)),
            Self::ProxyLeader(_) => State::ProxyLeader(ProxyState::default()),
            Self::Acceptor(part) => State::Acceptor(part.start_acceptor(storage)),
            Self::Replica(part) => State::Replica(Box::new(part.start_replica(storage))),
            Self::Batcher(_) => State::Batcher(BatcherState::default()),
            Self::Unbatcher(_) => State::Unbatcher,
            Self::ReadBatcher(part) => State::ReadBatcher(part.start_read_batcher(storage, out)),
            Self::Client(client) => State::Client(client.start(id, out)),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        if self.ignores(id, state, src, &msg) {
            return;
        }
        match (self, state.to_mut()) {
            (Self::Leader(part), State::Leader(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::ProxyLeader(part), State::ProxyLeader(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::Acceptor(part), State::Acceptor(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::Replica(part), State::Replica(state)) => part.turn(&mut **state, out).on_msg(src, msg),
            (Self::Batcher(part), State::Batcher(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::Unbatcher(part), State::Unbatcher) => part.turn(&mut (), out).on_msg(msg),
            (Self::ReadBatcher(part), State::ReadBatcher(state)) => part.turn(state, out).on_msg(src, msg),
            (Self::Client(client), State::Client(state)) => client.on_msg(id, state, src, msg, out),
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, state.to_mut(), *timer) {
            (Self::Leader(part), State::Leader(state), timer) => part.turn(state, out).on_timeout(timer),
            (Self::ProxyLeader(part), State::ProxyLeader(state), Timer::Resend) => {
                part.turn(state, out).on_resend_timeout();
            }
            (Self::Replica(part), State::Replica(state), Timer::CatchUp) => {
                part.turn(&mut **state, out).on_catch_up_timeout();
            }
            (Self::Batcher(part), State::Batcher(state), Timer::Batch) => {
                part.turn(state, out).send_batches(true);
            }
            (Self::ReadBatcher(part), State::ReadBatcher(state), timer) => {
                part.turn(state, out).on_timeout(timer);
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
            Self::ProxyLeader(part) => format!("proxy leader {}", part.index),
            Self::Acceptor(part) => format!("acceptor {}", part.index),
            Self::Replica(part) => format!("replica {}", part.index),
            Self::Batcher(part) => format!("batcher {}", part.index),
            Self::Unbatcher(part) => format!("unbatcher {}", part.index),
            Self::ReadBatcher(part) => format!("read batcher {}", part.index),
            Self::Client(_) => "client".into(),
        }
    }
}
