//! The operator: asks for reconfigurations, and is told how far they are.
//!
//! It asks one server after the other until the leader answers, and goes on asking, which is harmless, until the
//! reconfiguration is done or refused. What it asks for comes from a script (models, simulations) or from the application
//! of its process (deployments).

use super::{Msg, Mutant, Node, Progress, Timer};
use crate::faults::Faults;
use crate::matchmaking::Configuration;
use crate::state_machine::StateMachine;
use parthood_quorums::NodeSet;
use serde::{Deserialize, Serialize};
use stateright::actor::{Id, Out};
use std::ops::Range;
use std::time::Duration;

/// What an operator may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Wanted {
    /// That these acceptors vote.
    Acceptors(Configuration),
    /// That these matchmakers serve.
    Matchmakers(NodeSet),
}

/// An operator, as configured.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The servers it may ask, in the order in which it tries them.
    pub contacts: Vec<Id>,
    /// Which of the contacts it asks first.
    pub first_contact: usize,
    /// What it asks for, one after the other.
    pub script: Vec<Wanted>,
    /// Whether it waits until the old acceptors are retired before it asks for the next, or only until the new ones are active.
    pub until_retired: bool,
    /// Who is told how far it is.
    pub application: Option<Id>,
    /// How often it may ask again in all.
    pub retries_max: u32,
    /// How long it waits for an answer.
    pub ask_after: Range<Duration>,
}

/// An operator's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperatorState {
    /// Which of the contacts is asked next.
    pub contact: usize,
    /// What it wants at present.
    pub wanted: Option<Wanted>,
    /// Under which number it has become active, as far as it was told.
    pub active: Option<u64>,
    /// What it was told of that, after what it was told before.
    pub progress: Option<Progress>,
    /// How much of its script is done or refused.
    pub done: usize,
    /// How often it asked again.
    pub retries: u32,
}

impl Operator {
    pub(super) fn start<M: StateMachine, F: Faults<Mutant>>(
        &self,
        out: &mut Out<Node<M, F>>,
    ) -> OperatorState {
        let contact = self.first_contact;
        let mut state =
            OperatorState { contact, wanted: None, active: None, progress: None, done: 0, retries: 0 };
        self.want(&mut state, self.script.first().cloned(), out);
        state
    }

    fn want<M: StateMachine, F: Faults<Mutant>>(
        &self,
        state: &mut OperatorState,
        wanted: Option<Wanted>,
        out: &mut Out<Node<M, F>>,
    ) {
        (state.wanted, state.active, state.progress) = (wanted, None, None);
        self.ask(state, out);
    }

    fn ask<M: StateMachine, F: Faults<Mutant>>(&self, state: &OperatorState, out: &mut Out<Node<M, F>>) {
        if let Some(wanted) = &state.wanted {
            let (wanted, active) = (wanted.clone(), state.active);
            out.send(self.contacts[state.contact], Msg::Reconfigure { wanted, active });
            if state.retries < self.retries_max {
                out.set_timer(Timer::Ask, self.ask_after.clone());
            }
        }
    }

    pub(super) fn ignores<M: StateMachine>(&self, state: &OperatorState, src: Id, msg: &Msg<M>) -> bool {
        match msg {
            Msg::Reconfigure { .. } => self.application != Some(src),
            Msg::Progress { wanted, progress } => {
                // An answer that was under way when a later one was sent says less than is known.
                state.wanted.as_ref() != Some(wanted) || Some(progress) <= state.progress.as_ref()
            }
            _ => true,
        }
    }

    pub(super) fn on_msg<M: StateMachine, F: Faults<Mutant>>(
        &self,
        state: &mut OperatorState,
        src: Id,
        msg: Msg<M>,
        out: &mut Out<Node<M, F>>,
    ) {
        match msg {
            Msg::Reconfigure { wanted, .. } => self.want(state, Some(wanted), out),
            Msg::Progress { progress: Progress::Elsewhere(leader), .. } => {
                let leader = self.contacts.iter().position(|contact| usize::from(*contact) as u64 == leader);
                if let Some(leader) = leader.filter(|leader| self.contacts[*leader] != src) {
                    state.contact = leader;
                    state.progress = Some(Progress::Elsewhere(u64::MAX));
                    self.ask(state, out);
                }
            }
            Msg::Progress { wanted, progress } => {
                if let Some(application) = self.application {
                    out.send(application, Msg::Progress { wanted, progress: progress.clone() });
                }
                if let Progress::Active(number) = &progress {
                    state.active = Some(*number);
                }
                let is_done = match &progress {
                    Progress::Refused(_) | Progress::Retired(_) | Progress::Superseded(_) => true,
                    Progress::Active(_) => !self.until_retired,
                    Progress::Elsewhere(_) | Progress::Waiting => false,
                };
                state.progress = Some(progress);
                if is_done {
                    state.done += 1;
                    if state.retries < self.retries_max {
                        out.cancel_timer(Timer::Ask);
                    }
                    self.want(state, self.script.get(state.done).cloned(), out);
                }
            }
            _ => {}
        }
    }

    /// Asks again: the next contact, if the last one has not answered.
    pub(super) fn on_timeout<M: StateMachine, F: Faults<Mutant>>(
        &self,
        state: &mut OperatorState,
        out: &mut Out<Node<M, F>>,
    ) {
        if state.wanted.is_none() || state.retries >= self.retries_max {
            return;
        }
        if self.retries_max < u32::MAX {
            state.retries += 1;
        }
        state.contact = (state.contact + 1) % self.contacts.len();
        state.progress = None;
        self.ask(state, out);
    }
}
