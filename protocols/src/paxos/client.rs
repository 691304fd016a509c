//! The client: asks for one value, and is told which was chosen.

use super::{Msg, Mutant, Node, State, Timer};
use crate::faults::Faults;
use crate::state_machine::Data;
use serde::{Deserialize, Serialize};
use stateright::actor::{Id, Out};
use std::borrow::Cow;
use std::ops::Range;
use std::time::Duration;

/// A client, as configured.
#[derive(Clone, Debug)]
pub struct PaxosClient<V> {
    /// The proposers it may ask, in the order in which it tries them.
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
pub struct PaxosClientState<V> {
    /// What it asked for.
    pub asked: Option<V>,
    /// How often it asked again.
    pub retries: u32,
    /// What was chosen.
    pub chosen: Option<V>,
}

impl<V: Data> PaxosClient<V> {
    pub(super) fn start<F: Faults<Mutant>>(&self, out: &mut Out<Node<V, F>>) -> PaxosClientState<V> {
        let state = PaxosClientState { asked: self.value.clone(), retries: 0, chosen: None };
        self.ask(&state, out);
        state
    }

    pub(super) fn ignores(&self, state: &PaxosClientState<V>, src: Id, msg: &Msg<V>) -> bool {
        match msg {
            Msg::Chosen(_) => state.chosen.is_some() || state.asked.is_none(),
            Msg::Invoke(_) => {
                self.application != Some(src) || (state.asked.is_some() && state.chosen.is_none())
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<F: Faults<Mutant>>(
        &self,
        state: &mut PaxosClientState<V>,
        msg: Msg<V>,
        out: &mut Out<Node<V, F>>,
    ) {
        match msg {
            Msg::Chosen(value) => {
                if let Some(application) = self.application {
                    out.send(application, Msg::Chosen(value.clone()));
                }
                if state.retries < self.retries_max {
                    out.cancel_timer(Timer::Retry);
                }
                state.chosen = Some(value);
            }
            Msg::Invoke(value) => {
                *state = PaxosClientState { asked: Some(value), retries: 0, chosen: None };
                self.ask(state, out);
            }
            _ => {}
        }
    }

    /// Asks the next proposer.
    pub(super) fn on_retry<F: Faults<Mutant>>(
        &self,
        state: &mut Cow<'_, State<V>>,
        out: &mut Out<Node<V, F>>,
    ) {
        let State::Client(now) = &**state else { return };
        if now.chosen.is_some() || now.retries >= self.retries_max {
            return;
        }
        let State::Client(state) = state.to_mut() else { return };
        state.retries = state.retries.wrapping_add(1);
        self.ask(state, out);
    }

    fn ask<F: Faults<Mutant>>(&self, state: &PaxosClientState<V>, out: &mut Out<Node<V, F>>) {
        let Some(value) = &state.asked else { return };
        let proposer = self.proposers[state.retries as usize % self.proposers.len()];
        out.send(proposer, Msg::Propose(value.clone()));
        if state.retries < self.retries_max {
            out.set_timer(Timer::Retry, self.retry_after.clone());
        }
    }
}
