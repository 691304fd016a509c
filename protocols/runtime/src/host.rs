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

/// The logical index that stands for the application of the local process: what an application injects into its nodes
/// comes from it, and what a node sends to it is handed to the application instead of a network. It is
/// `Id::from(LOCAL_APPLICATION)`; no actor has it.
pub const LOCAL_APPLICATION: usize = usize::MAX;

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

// Derived, it would ask for `A: Clone`.
impl<A: Actor> Clone for Event<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Deliver { src, msg } => Self::Deliver { src: *src, msg: msg.clone() },
            Self::Timeout(timer) => Self::Timeout(timer.clone()),
            Self::Random(random) => Self::Random(random.clone()),
        }
    }
}

impl<A: Actor> Event<A> {
    /// The event as a recorder or a property sees it.
    pub fn cause(&self) -> Cause<'_, A> {
        match self {
            Self::Deliver { src, msg } => Cause::Deliver { src: *src, msg },
            Self::Timeout(timer) => Cause::Timeout(timer),
            Self::Random(random) => Cause::Random(random),
        }
    }
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
    /// Its state before; none at a start, and where no observer wants it.
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

/// What can happen to actors and links besides steps. A simulator and a fault injector know; a crashed process cannot say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// The actor stopped and lost everything that was not durable. A start follows if it comes back.
    Crash(Id),
    /// The stopped actor lost what was durable, too: its disk was replaced.
    Wipe(Id),
    /// The actor stopped for a while and lost nothing.
    Pause(Id),
    /// The paused actor goes on.
    Resume(Id),
    /// Messages from the first to the second are lost from now on.
    Cut(Id, Id),
    /// The link from the first to the second works again.
    Heal(Id, Id),
}

/// How much of a run an observer has to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// No step at all.
    Nothing,
    /// Steps without [`Step::before`], which spares the host a copy of the state at each step.
    Steps,
    /// Steps with [`Step::before`].
    States,
}

/// Sees every step of a run: writes it down, or evaluates properties on it.
pub trait Observer<A: Actor> {
    /// How much it has to be shown; asked once, before the first step.
    fn wants(&self) -> Wants {
        Wants::States
    }

    /// Called after each step, before its saves are durable and its sends released.
    fn on_step(&mut self, step: &Step<'_, A>);

    /// Called when something happened that is no step.
    fn on_notice(&mut self, _at: Duration, _notice: &Notice) {}

    /// Called once for each batch of steps, before the batch's saves are made durable and its sends released. A recorder
    /// that hands its buffer to the operating system here has recorded every step whose effects can be seen after a kill.
    fn on_commit(&mut self) {}
}

/// Sees nothing.
impl<A: Actor> Observer<A> for () {
    fn wants(&self) -> Wants {
        Wants::Nothing
    }

    fn on_step(&mut self, _: &Step<'_, A>) {}
}

impl<A: Actor, O: Observer<A> + ?Sized> Observer<A> for &mut O {
    fn wants(&self) -> Wants {
        (**self).wants()
    }

    fn on_step(&mut self, step: &Step<'_, A>) {
        (**self).on_step(step);
    }

    fn on_notice(&mut self, at: Duration, notice: &Notice) {
        (**self).on_notice(at, notice);
    }

    fn on_commit(&mut self) {
        (**self).on_commit();
    }
}

/// Both see the run, the first one first.
impl<A: Actor, P: Observer<A>, Q: Observer<A>> Observer<A> for (P, Q) {
    fn wants(&self) -> Wants {
        self.0.wants().max(self.1.wants())
    }

    fn on_step(&mut self, step: &Step<'_, A>) {
        self.0.on_step(step);
        self.1.on_step(step);
    }

    fn on_notice(&mut self, at: Duration, notice: &Notice) {
        self.0.on_notice(at, notice);
        self.1.on_notice(at, notice);
    }

    fn on_commit(&mut self) {
        self.0.on_commit();
        self.1.on_commit();
    }
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

    /// Handles one event like [`Host::step`] and shows the step to `observer`, which has said before how much it wants.
    /// `out` must be empty: all of it is taken for the step's own commands.
    pub fn step_observed<O: Observer<A>>(
        &mut self,
        event: Event<A>,
        at: Duration,
        wants: Wants,
        observer: &mut O,
        out: &mut Out<A>,
    ) {
        if wants == Wants::Nothing {
            return self.step(event, out);
        }
        let before = (wants == Wants::States).then(|| self.state().clone());
        let kept = event.clone();
        self.step(event, out);
        let cause = kept.cause();
        let before = before.as_ref();
        observer.on_step(&Step { at, id: self.id, cause, before, after: self.state(), out });
    }

    /// Starts the actor like [`Host::start`] and shows the step to `observer`.
    pub fn start_observed<O: Observer<A>>(
        id: Id,
        actor: A,
        storage: &Option<A::Storage>,
        at: Duration,
        observer: &mut O,
        out: &mut Out<A>,
    ) -> Self {
        let host = Self::start(id, actor, storage, out);
        if observer.wants() != Wants::Nothing {
            let cause = Cause::Start(storage.as_ref());
            observer.on_step(&Step { at, id, cause, before: None, after: host.state(), out });
        }
        host
    }

    /// The logical index of the actor.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The actor.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// Ends this life of the actor, keeping the actor itself for the next start.
    pub fn into_actor(self) -> A {
        self.actor
    }

    /// The actor's state.
    pub fn state(&self) -> &A::State {
        &self.state
    }
}
