//! A node of any role: its configuration, its state, and the dispatch of what happens to it.

use super::border;
use super::config::{Config, Role};
use super::disseminator::DisseminatorState;
use super::ids::Ids;
use super::mutant::{InParts, Mutant};
use super::stabilizer::StabilizerState;
use super::storage::Storage;
use super::{Msg, Timer};
use crate::compartmentalized as parts;
use crate::faults::{Correct, Faults};
use crate::state_machine::StateMachine;
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;
use std::sync::Arc;

/// A disseminator or a stabilizer, as configured.
#[derive(Clone, Debug)]
pub struct Part<F> {
    /// Its index in its role.
    pub index: usize,
    /// Whether it once had storage and lost it. It takes no part any more: a disseminator would use ids again, a
    /// stabilizer has forgotten what others count on.
    pub lost_storage: bool,
    /// What all nodes know.
    pub config: Arc<Config<F>>,
}

/// A part of `MultiPaxos` in parts, at work here: on ids, or on commands.
#[derive(Clone, Debug)]
pub struct Hosted<X: StateMachine, F> {
    /// The part.
    pub node: parts::Node<X, InParts<F>>,
    /// What all nodes know.
    pub config: Arc<Config<F>>,
}

/// A participant.
#[derive(Clone, Debug)]
pub enum Node<M: StateMachine, F = Correct> {
    /// Orders ids: a leader, a proxy leader or an acceptor.
    Order(Hosted<Ids, F>),
    /// Serves clients: a replica, a batcher, an unbatcher, a read batcher; or is a client.
    Serve(Hosted<M, F>),
    /// Has batches stored and their ids ordered.
    Disseminator(Part<F>),
    /// Stores batches.
    Stabilizer(Part<F>),
}

/// A participant's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State<M: StateMachine> {
    /// Of one that orders ids.
    Order(parts::State<Ids>),
    /// Of one that serves clients, or of a client.
    Serve(parts::State<M>),
    /// A disseminator's.
    Disseminator(DisseminatorState<M::Command>),
    /// A stabilizer's.
    Stabilizer(StabilizerState<M::Command>),
}

/// One event being handled by a node with a state of type `S`: what a role does are methods of this.
pub(super) struct Turn<'a, S, M: StateMachine, F: Faults<Mutant>> {
    pub(super) index: usize,
    pub(super) id: Id,
    pub(super) config: &'a Config<F>,
    pub(super) state: &'a mut S,
    pub(super) out: &'a mut Out<Node<M, F>>,
}

impl<S, M: StateMachine, F: Faults<Mutant>> Turn<'_, S, M, F> {
    pub(super) fn breaks(&self, rule: Mutant) -> bool {
        self.config.breaks(rule)
    }

    pub(super) fn send(&mut self, dst: Id, msg: Msg<M>) {
        self.out.send(dst, msg);
    }

    pub(super) fn set_timer(&mut self, timer: Timer) {
        let after = self.config.parts.timing.resend;
        self.out.set_timer(timer, after..after);
    }

    pub(super) fn cancel_timer(&mut self, timer: Timer) {
        self.out.cancel_timer(timer);
    }
}

impl<F: Faults<Mutant>> Part<F> {
    fn turn<'a, S, M: StateMachine>(
        &'a self,
        id: Id,
        state: &'a mut S,
        out: &'a mut Out<Node<M, F>>,
    ) -> Turn<'a, S, M, F> {
        Turn { index: self.index, id, config: &self.config, state, out }
    }
}

impl<M: StateMachine, F: Faults<Mutant>> Node<M, F> {
    /// A node of the cluster, by its id; none for a client, which is configured in its own way.
    pub fn of(config: &Arc<Config<F>>, id: Id, lost_storage: bool) -> Option<Self> {
        let (role, index) = config.layout.role(id);
        let part = || Part { index, lost_storage, config: config.clone() };
        let of_parts = |settings: &Arc<parts::Config<InParts<F>>>| parts::Part {
            index,
            lost_storage,
            config: settings.clone(),
        };
        let (inner, _) = config.layout.parts.role(id);
        match role {
            Role::Disseminator => Some(Self::Disseminator(part())),
            Role::Stabilizer => Some(Self::Stabilizer(part())),
            Role::Leader | Role::ProxyLeader | Role::Acceptor => {
                let node = parts::Node::of(inner, of_parts(&config.order))?;
                Some(Self::Order(Hosted { node, config: config.clone() }))
            }
            Role::Replica | Role::Batcher | Role::Unbatcher | Role::ReadBatcher => {
                let node = parts::Node::of(inner, of_parts(&config.parts))?;
                Some(Self::Serve(Hosted { node, config: config.clone() }))
            }
            Role::Client => None,
        }
    }

    /// A client.
    pub fn client(config: &Arc<Config<F>>, reader: parts::Reader<M::Command, InParts<F>>) -> Self {
        Self::Serve(Hosted { node: parts::Node::Client(reader), config: config.clone() })
    }

    /// Is the message of no use to this node in this state, now and for as long as it does not crash?
    pub fn ignores(&self, id: Id, state: &State<M>, src: Id, msg: &Msg<M>) -> bool {
        match (self, state, msg) {
            (Self::Order(Hosted { node, config }), State::Order(state), Msg::Order(msg)) => {
                let from_client = matches!(msg, parts::Msg::Client(_));
                from_client && config.layout.index_in(Role::Disseminator, src).is_none()
                    || node.ignores(id, state, src, msg)
            }
            (Self::Serve(Hosted { node, config }), State::Serve(state), Msg::Serve(msg)) => {
                node.ignores(id, state, border::seen_by_parts(config, src), msg)
            }
            (Self::Disseminator(part), State::Disseminator(state), msg) => {
                part.disseminator_ignores(state, src, msg)
            }
            (Self::Stabilizer(part), State::Stabilizer(state), msg) => {
                part.stabilizer_ignores(state, src, msg)
            }
            _ => true,
        }
    }
}

/// Takes the state of a part out of its place, so that the part need not copy what it shares with nobody.
fn take<X: StateMachine>(state: &mut parts::State<X>) -> Cow<'static, parts::State<X>> {
    Cow::Owned(std::mem::replace(state, parts::State::Unbatcher))
}

impl<M: StateMachine, F: Faults<Mutant>> Actor for Node<M, F> {
    type Msg = Msg<M>;
    type Timer = Timer;
    type State = State<M>;
    type Storage = Storage<M>;
    type Random = ();

    fn on_start(&self, id: Id, storage: &Option<Storage<M>>, out: &mut Out<Self>) -> State<M> {
        match self {
            Self::Order(Hosted { node, config }) => {
                let saved = match storage {
                    Some(Storage::Order(saved)) => Some(saved.clone()),
                    _ => None,
                };
                let mut asked = Out::new();
                let state = node.on_start(id, &saved, &mut asked);
                border::from_order(config, id, &state, asked, out);
                State::Order(state)
            }
            Self::Serve(Hosted { node, config }) => {
                let saved = match storage {
                    Some(Storage::Serve(saved)) => Some(saved.clone()),
                    _ => None,
                };
                let mut asked = Out::new();
                let state = node.on_start(id, &saved, &mut asked);
                border::from_serve(config, asked, out);
                State::Serve(state)
            }
            Self::Disseminator(part) => State::Disseminator(part.start_disseminator(storage.as_ref(), out)),
            Self::Stabilizer(part) => State::Stabilizer(part.start_stabilizer(storage.as_ref())),
        }
    }

    fn on_msg(&self, id: Id, state: &mut Cow<'_, State<M>>, src: Id, msg: Msg<M>, out: &mut Out<Self>) {
        if self.ignores(id, state, src, &msg) {
            return;
        }
        match (self, state.to_mut(), msg) {
            (Self::Order(Hosted { node, config }), State::Order(state), Msg::Order(msg)) => {
                let (mut inner, mut asked) = (take(state), Out::new());
                node.on_msg(id, &mut inner, src, msg, &mut asked);
                *state = inner.into_owned();
                border::from_order(config, id, state, asked, out);
            }
            (Self::Serve(Hosted { node, config }), State::Serve(state), Msg::Serve(msg)) => {
                let (mut inner, mut asked) = (take(state), Out::new());
                node.on_msg(id, &mut inner, border::seen_by_parts(config, src), msg, &mut asked);
                *state = inner.into_owned();
                border::from_serve(config, asked, out);
            }
            (Self::Disseminator(part), State::Disseminator(state), msg) => {
                part.turn(id, state, out).on_msg(src, msg);
            }
            (Self::Stabilizer(part), State::Stabilizer(state), msg) => {
                part.turn(id, state, out).on_msg(src, msg);
            }
            _ => {}
        }
    }

    fn on_timeout(&self, id: Id, state: &mut Cow<'_, State<M>>, timer: &Timer, out: &mut Out<Self>) {
        match (self, state.to_mut()) {
            (Self::Order(Hosted { node, config }), State::Order(state)) => {
                let (mut inner, mut asked) = (take(state), Out::new());
                node.on_timeout(id, &mut inner, timer, &mut asked);
                *state = inner.into_owned();
                border::from_order(config, id, state, asked, out);
            }
            (Self::Serve(Hosted { node, config }), State::Serve(state)) => {
                let (mut inner, mut asked) = (take(state), Out::new());
                node.on_timeout(id, &mut inner, timer, &mut asked);
                *state = inner.into_owned();
                border::from_serve(config, asked, out);
            }
            (Self::Disseminator(part), State::Disseminator(state)) if *timer == Timer::Resend => {
                part.turn(id, state, out).on_resend_timeout();
            }
            (Self::Stabilizer(part), State::Stabilizer(state)) if *timer == Timer::Resend => {
                part.turn(id, state, out).on_resend_timeout();
            }
            _ => {}
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Order(Hosted { node, .. }) => node.name(),
            Self::Serve(Hosted { node, .. }) => node.name(),
            Self::Disseminator(part) => format!("disseminator {}", part.index),
            Self::Stabilizer(part) => format!("stabilizer {}", part.index),
        }
    }
}
