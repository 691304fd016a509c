//! The host step: one event in, commands out. The simulator, the UDP driver and replay are three callers of it.

use serde::{Serialize, de::DeserializeOwned};
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::time::Duration;

/// An actor whose messages, timers, random choices and storage can be written down, and so sent, saved and replayed.
pub trait Runnable:
    Actor<
        Msg: Serialize + DeserializeOwned,
        Timer: Serialize + DeserializeOwned,
        Random: Serialize + DeserializeOwned,
        Storage: Serialize + DeserializeOwned,
    >
{
}

impl<A> Runnable for A where
    A: Actor<
            Msg: Serialize + DeserializeOwned,
            Timer: Serialize + DeserializeOwned,
            Random: Serialize + DeserializeOwned,
            Storage: Serialize + DeserializeOwned,
        >
{
}

/// What an actor asks of its host.
pub type CommandOf<A> =
    Command<<A as Actor>::Msg, <A as Actor>::Timer, <A as Actor>::Random, <A as Actor>::Storage>;

/// What can happen to a started actor.
#[derive(Debug)]
pub enum Event<A: Actor> {
    /// A message arrives.
    Deliver {
        /// Its sender.
        src: Id,
        /// Its content.
        msg: A::Msg,
    },
    /// A timer that was set fires. The host's owner has removed it before: a timer fires once for each time it is set.
    Timeout(A::Timer),
    /// One of the offered random choices is taken.
    Random(A::Random),
}

/// What a recorder or a property sees of one step, in every world.
#[derive(Debug)]
pub struct Step<'a, A: Actor> {
    /// Time since the run began: virtual in the simulator, monotonic in a deployment.
    pub at: Duration,
    /// The actor that stepped.
    pub id: Id,
    /// What it reacted to.
    pub cause: Cause<'a, A>,
    /// Its state before; none at a start.
    pub before: Option<&'a A::State>,
    /// Its state after.
    pub after: &'a A::State,
    /// What it asked for, in order.
    pub out: &'a [CommandOf<A>],
}

/// What a step reacted to.
#[derive(Debug)]
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

/// Sees every step of a run: writes it down, or evaluates properties on it.
pub trait Observer<A: Actor> {
    /// Called after each step, before its sends are released.
    fn on_step(&mut self, step: &Step<'_, A>);
}

/// Sees nothing.
impl<A: Actor> Observer<A> for () {
    fn on_step(&mut self, _: &Step<'_, A>) {}
}

/// One actor and its state.
#[derive(Debug)]
pub struct Host<A: Actor<State: 'static>> {
    id: Id,
    actor: A,
    /// Always `Cow::Owned`, so that `to_mut` in a handler changes the state in place instead of cloning it.
    state: Cow<'static, A::State>,
}

impl<A: Actor<State: 'static>> Host<A> {
    /// Starts the actor from what it saved last, if anything; its first commands go to `out`.
    pub fn start(id: Id, actor: A, storage: &Option<A::Storage>, out: &mut Out<A>) -> Self {
        let state = Cow::Owned(actor.on_start(id, storage, out));
        Self { id, actor, state }
    }

    /// Handles one event; the actor's commands go to `out`.
    pub fn step(&mut self, event: Event<A>, out: &mut Out<A>) {
        match event {
            Event::Deliver { src, msg } => self.actor.on_msg(self.id, &mut self.state, src, msg, out),
            Event::Timeout(timer) => self.actor.on_timeout(self.id, &mut self.state, &timer, out),
            Event::Random(random) => self.actor.on_random(self.id, &mut self.state, &random, out),
        }
    }

    /// The logical index of the actor.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The actor.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// The actor's state.
    pub fn state(&self) -> &A::State {
        &self.state
    }
}
