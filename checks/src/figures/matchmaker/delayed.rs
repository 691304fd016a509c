//! An actor some of whose messages are late: what is far away, where everything else is near.

use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Command, Id, Out};
use std::borrow::Cow;
use std::time::Duration;

/// An actor, and how late each message of its leaves.
#[derive(Clone, Debug)]
pub(super) struct Delayed<A: Actor> {
    pub(super) actor: A,
    pub(super) delay: fn(&A::Msg) -> Duration,
}

/// The state of the actor, and what has not left yet.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(super) struct Held<S, M> {
    pub(super) state: S,
    next: u64,
    late: Vec<(u64, Id, M)>,
}

/// A timer of the actor, or of a late message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum LateTimer<T> {
    Of(T),
    Release(u64),
}

impl<A: Actor> Delayed<A> {
    fn post(&self, held: &mut Cow<'_, Held<A::State, A::Msg>>, asked: Out<A>, out: &mut Out<Self>) {
        for command in asked {
            match command {
                Command::Send(to, msg) => match (self.delay)(&msg) {
                    Duration::ZERO => out.send(to, msg),
                    delay => {
                        let held = held.to_mut();
                        held.next += 1;
                        out.set_timer(LateTimer::Release(held.next), delay..delay);
                        held.late.push((held.next, to, msg));
                    }
                },
                Command::SetTimer(timer, after) => out.set_timer(LateTimer::Of(timer), after),
                Command::CancelTimer(timer) => out.cancel_timer(LateTimer::Of(timer)),
                Command::Save(storage) => out.save(storage),
                // Nothing is left to chance in these actors.
                Command::ChooseRandom(..) => {}
            }
        }
    }

    /// Has the actor do something.
    fn step(
        &self,
        held: &mut Cow<'_, Held<A::State, A::Msg>>,
        out: &mut Out<Self>,
        step: impl FnOnce(&A, &mut Cow<'_, A::State>, &mut Out<A>),
    ) {
        let mut asked = Out::new();
        let mut state = Cow::Borrowed(&held.state);
        step(&self.actor, &mut state, &mut asked);
        if let Cow::Owned(state) = state {
            held.to_mut().state = state;
        }
        self.post(held, asked, out);
    }
}

impl<A: Actor> Actor for Delayed<A> {
    type Msg = A::Msg;
    type Timer = LateTimer<A::Timer>;
    type State = Held<A::State, A::Msg>;
    type Storage = A::Storage;
    type Random = A::Random;

    fn on_start(&self, id: Id, storage: &Option<A::Storage>, out: &mut Out<Self>) -> Self::State {
        let mut asked = Out::new();
        let state = self.actor.on_start(id, storage, &mut asked);
        let mut held = Cow::Owned(Held { state, next: 0, late: Vec::new() });
        self.post(&mut held, asked, out);
        held.into_owned()
    }

    fn on_msg(&self, id: Id, held: &mut Cow<'_, Self::State>, src: Id, msg: A::Msg, out: &mut Out<Self>) {
        self.step(held, out, |actor, state, asked| actor.on_msg(id, state, src, msg, asked));
    }

    fn on_timeout(&self, id: Id, held: &mut Cow<'_, Self::State>, timer: &Self::Timer, out: &mut Out<Self>) {
        match timer {
            LateTimer::Of(timer) => {
                self.step(held, out, |actor, state, asked| actor.on_timeout(id, state, timer, asked));
            }
            LateTimer::Release(number) => {
                let late = &mut held.to_mut().late;
                if let Some(at) = late.iter().position(|(of, ..)| of == number) {
                    let (_, to, msg) = late.remove(at);
                    out.send(to, msg);
                }
            }
        }
    }
}
