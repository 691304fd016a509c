//! What handling costs: each node is one server that works off its queue in the order of arrival.

use crate::{Observer, Step, Wants};
use serde::{Deserialize, Serialize};
use stateright::actor::Actor;
use std::fmt;
use std::time::Duration;

/// The time a node's server is busy with one message. Messages to itself, and those from and to the application, are
/// free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// For a message it receives.
    pub receive: Duration,
    /// For a message it sends.
    pub send: Duration,
}

/// A caller's function: the time a step takes on top of its messages, such as that of the commands it executes.
pub type Work<A> = Box<dyn FnMut(&Step<'_, A>) -> Duration>;

/// Asks the caller's function about each step.
pub(crate) struct Meter<A: Actor> {
    pub(crate) work: Option<Work<A>>,
    pub(crate) last: Duration,
}

impl<A: Actor> Default for Meter<A> {
    fn default() -> Self {
        Self { work: None, last: Duration::ZERO }
    }
}

impl<A: Actor> fmt::Debug for Meter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("metered", &self.work.is_some()).finish_non_exhaustive()
    }
}

impl<A: Actor> Observer<A> for Meter<A> {
    fn wants(&self) -> Wants {
        if self.work.is_some() { Wants::Steps } else { Wants::Nothing }
    }

    fn on_step(&mut self, step: &Step<'_, A>) {
        if let Some(work) = &mut self.work {
            self.last = work(step);
        }
    }
}
