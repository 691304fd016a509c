//! The host step: one event in, commands out. The simulator, the UDP driver and replay are three callers of it.

use serde::{Serialize, de::DeserializeOwned};
use stateright::actor::{Actor, Id, Out};
use std::borrow::Cow;

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
