//! What a model file says about a protocol.
//!
//! The *ghost* is history that no actor needs but a property does: the votes ever cast, what was invoked and
//! returned. It sees every step in every world and is part of a state, so two states with different pasts stay
//! different. A property is a function of the actors' states and the ghost, never of the messages in flight: a
//! recorded run does not know those, and the reductions remove them. What a property needs to know of a message, the
//! ghost notes when it is sent.

use crate::symmetry::{Class, Parts};
use crate::{Hashed, index};
use stateright::actor::{Actor, Command, Id};
use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

/// The messages of a protocol.
pub type MsgOf<P> = <<P as Protocol>::Actor as Actor>::Msg;
/// The timers of a protocol.
pub type TimerOf<P> = <<P as Protocol>::Actor as Actor>::Timer;
/// The random choices of a protocol.
pub type RandomOf<P> = <<P as Protocol>::Actor as Actor>::Random;
/// The state of an actor of a protocol.
pub type StateOf<P> = <<P as Protocol>::Actor as Actor>::State;
/// What an actor of a protocol saves.
pub type StorageOf<P> = <<P as Protocol>::Actor as Actor>::Storage;
/// What an actor asks of its host.
pub type CommandOf<A> =
    Command<<A as Actor>::Msg, <A as Actor>::Timer, <A as Actor>::Random, <A as Actor>::Storage>;

/// A protocol in one configuration: its actors, what is to be true of them, and what the reductions may assume.
pub trait Protocol: Sized + Send + Sync + 'static {
    /// The actor; one type for all roles.
    type Actor: Actor<
            Msg: Ord + Send + Sync + 'static,
            Timer: Ord + Send + Sync + 'static,
            Random: Send + Sync + 'static,
            State: Send + Sync + 'static,
            Storage: Send + Sync + 'static,
        > + Send
        + Sync
        + 'static;
    /// History that properties need.
    type Ghost: Clone + Debug + PartialEq + Hash + Send + Sync + 'static;

    /// The actors; an actor's [`Id`] is its place in this list.
    fn actors(&self) -> Vec<Self::Actor>;

    /// The ghost before the first step.
    fn ghost(&self) -> Self::Ghost;

    /// Notes a step in the ghost. As with an actor's state, what is not touched by `to_mut` is taken for unchanged.
    fn observe(&self, ghost: &mut Cow<'_, Self::Ghost>, step: &Step<'_, Self::Actor>);

    /// What is to be true.
    fn properties(&self) -> Vec<Property<Self>>;

    /// Will the receiver, in this state, ignore this message now and for ever? Such messages are collected if
    /// [`crate::Reductions::collect`] asks for it. That it is ignored now is verified at each collection.
    fn dead(&self, dst: Id, state: &StateOf<Self>, src: Id, msg: &MsgOf<Self>) -> bool {
        let _ = (dst, state, src, msg);
        false
    }

    /// May this message be delivered within the step that sends it, if [`crate::Reductions::eager`] asks for it? Sound
    /// only where the receiver merely accumulates knowledge and what it sends in turn is eager as well.
    fn eager(&self, src: Id, dst: Id, msg: &MsgOf<Self>) -> bool {
        let _ = (src, dst, msg);
        false
    }

    /// May this actor crash and restart, within [`crate::Setup::restarts`]?
    fn may_restart(&self, id: Id) -> bool {
        let _ = id;
        true
    }

    /// How often this timer may fire.
    fn budget(&self, id: Id, timer: &TimerOf<Self>) -> Budget {
        let _ = (id, timer);
        Budget::Unlimited
    }

    /// Classes of actors that may change places without any rule noticing; used if [`crate::Reductions::symmetry`] asks
    /// for it. Members of a class must not refer to one another, nor members of two classes to each other.
    fn classes(&self) -> Vec<Class> {
        Vec::new()
    }

    /// Takes a state apart into what it says about nobody in particular and what it says about each member of a class.
    fn split_state(&self, id: Id, state: &Hashed<StateOf<Self>>, parts: &mut Parts<'_>) {
        let _ = id;
        parts.own(state);
    }

    /// The same for what an actor has saved.
    fn split_storage(&self, id: Id, storage: &Hashed<StorageOf<Self>>, parts: &mut Parts<'_>) {
        let _ = id;
        parts.own(storage);
    }

    /// The same for the ghost.
    fn split_ghost(&self, ghost: &Hashed<Self::Ghost>, parts: &mut Parts<'_>) {
        parts.own(ghost);
    }

    /// A short name for an actor, such as "acceptor 1".
    fn name(&self, id: Id) -> String {
        format!("actor {}", index(id))
    }

    /// The role of an actor, such as "acceptor"; drawings group lanes by it.
    fn role(&self, id: Id) -> &'static str {
        let _ = id;
        "actor"
    }

    /// A state in words.
    fn describe_state(state: &StateOf<Self>) -> String {
        format!("{state:?}")
    }

    /// A message in words, short enough for a label.
    fn describe_msg(msg: &MsgOf<Self>) -> String {
        format!("{msg:?}")
    }

    /// A timer in words.
    fn describe_timer(timer: &TimerOf<Self>) -> String {
        format!("{timer:?}")
    }

    /// A random choice in words.
    fn describe_random(random: &RandomOf<Self>) -> String {
        format!("{random:?}")
    }
}

/// How often a timer may fire in one run. A bound that ends a run cleanly is better than a boundary that cuts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// As often as it is set.
    Unlimited,
    /// Together with all timers of the same number, [`crate::Setup::timers`]\[number\] times; 0 if the list is shorter.
    Shared(u8),
}

/// What the ghost sees of one step, in every world.
pub struct Step<'a, A: Actor> {
    /// The actor that stepped.
    pub id: Id,
    /// What it reacted to.
    pub cause: Cause<'a, A>,
    /// Its state before; none at the first start.
    pub before: Option<&'a A::State>,
    /// Its state after.
    pub after: &'a A::State,
    /// What it asked for, in order.
    pub out: &'a [CommandOf<A>],
}

/// What a step reacted to.
pub enum Cause<'a, A: Actor> {
    /// A first start or a restart, with what was saved last.
    Start(Option<&'a A::Storage>),
    /// A message.
    Deliver {
        /// Its sender.
        src: Id,
        /// Its content.
        msg: &'a A::Msg,
    },
    /// A timer.
    Timeout(&'a A::Timer),
    /// A random choice.
    Random(&'a A::Random),
}

impl<A: Actor> Clone for Cause<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Actor> Copy for Cause<'_, A> {}

/// A statement about a run, and how it is to hold.
pub struct Property<P: Protocol> {
    /// Its name in reports and manifests.
    pub name: &'static str,
    /// How it is to hold.
    pub kind: Kind,
    /// Does it hold here?
    pub holds: fn(&View<'_, P>) -> bool,
}

/// How a property is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In every reachable state.
    Always,
    /// In some reachable state: a guard against checking nothing.
    Sometimes,
    /// In every reachable state in which nothing more can happen.
    AtTheEnd,
}

impl<P: Protocol> Property<P> {
    /// A property of every reachable state.
    pub const fn always(name: &'static str, holds: fn(&View<'_, P>) -> bool) -> Self {
        Self { name, kind: Kind::Always, holds }
    }

    /// A property of some reachable state.
    pub const fn sometimes(name: &'static str, holds: fn(&View<'_, P>) -> bool) -> Self {
        Self { name, kind: Kind::Sometimes, holds }
    }

    /// A property of every reachable state in which nothing more can happen.
    pub const fn at_the_end(name: &'static str, holds: fn(&View<'_, P>) -> bool) -> Self {
        Self { name, kind: Kind::AtTheEnd, holds }
    }
}

impl<P: Protocol> Clone for Property<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Protocol> Copy for Property<P> {}

/// What a property sees: every actor's state, and the ghost.
pub struct View<'a, P: Protocol> {
    /// The protocol and its configuration.
    pub protocol: &'a P,
    /// The states, by actor.
    pub states: States<'a, StateOf<P>>,
    /// History.
    pub ghost: &'a P::Ghost,
}

/// The states of all actors, wherever they are kept.
#[derive(Debug)]
pub enum States<'a, S> {
    /// In a state of the checker.
    Shared(&'a [Hashed<S>]),
    /// Anywhere else.
    Borrowed(&'a [&'a S]),
}

impl<'a, S> States<'a, S> {
    /// How many actors there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(states) => states.len(),
            Self::Borrowed(states) => states.len(),
        }
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state of one actor, if there is such an actor.
    pub fn get(&self, at: usize) -> Option<&'a S> {
        match *self {
            Self::Shared(states) => states.get(at).map(|state| &**state),
            Self::Borrowed(states) => states.get(at).copied(),
        }
    }

    /// All states, in the order of the actors.
    pub fn iter(&self) -> impl Iterator<Item = &'a S> + use<'a, S> {
        let states = *self;
        (0..states.len()).filter_map(move |at| states.get(at))
    }
}

impl<S> Clone for States<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for States<'_, S> {}
