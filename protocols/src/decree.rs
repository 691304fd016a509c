//! The client of a single decree: asks for one value, and is told which was chosen.
//!
//! It asks one proposer after the other until it is told. Its value comes from its configuration (models, simulations) or
//! from the application of its process (deployments); both go through the same code.

use crate::state_machine::Data;
use serde::{Deserialize, Serialize};
use stateright::actor::{Actor, Id, Out};
use std::ops::Range;
use std::time::Duration;

/// A protocol that chooses one value, as far as its clients see it.
pub trait Decree<V>: Actor {
    /// The timer after which a client asks again.
    const RETRY: Self::Timer;

    /// Client to proposer: please get this chosen.
    fn propose(value: V) -> Self::Msg;

    /// Application to client: please get this chosen.
    fn invoke(value: V) -> Self::Msg;

    /// Proposer to client, and client to application: this value is chosen.
    fn chosen(value: V) -> Self::Msg;

    /// What a message says to a client, if anything.
    fn heard(msg: &Self::Msg) -> Option<Heard<'_, V>>;
}

/// What a client hears.
#[derive(Debug)]
pub enum Heard<'a, V> {
    /// From a proposer: this value is chosen.
    Chosen(&'a V),
    /// From the application: please get this chosen.
    Invoke(&'a V),
}

/// A client, as configured.
#[derive(Clone, Debug)]
pub struct DecreeClient<V> {
    /// The proposers it may ask, in the order in which it tries them; if there are none it asks nobody.
    pub proposers: Vec<Id>,
    /// What it asks for; otherwise its application says so.
    pub value: Option<V>,
    /// Who is told the chosen value.
    pub application: Option<Id>,
    /// How often it may ask again.
    pub retries_max: u32,
    /// How long it waits for an answer.
    pub retry_after: Range<Duration>,
}

/// A client's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DecreeClientState<V> {
    /// What it asked for.
    pub asked: Option<V>,
    /// How often it asked again.
    pub retries: u32,
    /// What was chosen.
    pub chosen: Option<V>,
}

impl<V: Data> DecreeClient<V> {
    pub(crate) fn start<A: Decree<V>>(&self, out: &mut Out<A>) -> DecreeClientState<V> {
        let state = DecreeClientState { asked: self.value.clone(), retries: 0, chosen: None };
        self.ask(&state, out);
        state
    }

    pub(crate) fn ignores(&self, state: &DecreeClientState<V>, src: Id, heard: &Heard<'_, V>) -> bool {
        match heard {
            Heard::Chosen(_) => state.chosen.is_some() || state.asked.is_none(),
            Heard::Invoke(_) => {
                self.application != Some(src) || (state.asked.is_some() && state.chosen.is_none())
            }
        }
    }

    pub(crate) fn hear<A: Decree<V>>(
        &self,
        state: &mut DecreeClientState<V>,
        heard: &Heard<'_, V>,
        out: &mut Out<A>,
    ) {
        match heard {
            Heard::Chosen(value) => {
                if let Some(application) = self.application {
                    out.send(application, A::chosen((*value).clone()));
                }
                if state.retries < self.retries_max {
                    out.cancel_timer(A::RETRY);
                }
                state.chosen = Some((*value).clone());
            }
            Heard::Invoke(value) => {
                *state = DecreeClientState { asked: Some((*value).clone()), retries: 0, chosen: None };
                self.ask(state, out);
            }
        }
    }

    /// Will it do nothing when its time is up?
    pub(crate) fn rests(&self, state: &DecreeClientState<V>) -> bool {
        state.chosen.is_some() || state.retries >= self.retries_max
    }

    /// Asks the next proposer.
    pub(crate) fn on_retry<A: Decree<V>>(&self, state: &mut DecreeClientState<V>, out: &mut Out<A>) {
        state.retries = state.retries.wrapping_add(1);
        self.ask(state, out);
    }

    fn ask<A: Decree<V>>(&self, state: &DecreeClientState<V>, out: &mut Out<A>) {
        let Some(value) = &state.asked else { return };
        if let Some(turn) = (state.retries as usize).checked_rem(self.proposers.len()) {
            out.send(self.proposers[turn], A::propose(value.clone()));
        }
        if state.retries < self.retries_max {
            out.set_timer(A::RETRY, self.retry_after.clone());
        }
    }
}
