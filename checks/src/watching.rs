//! The properties of the models on runs outside the checker: in the simulator, and on a recorded deployment.
//!
//! The ghost sees every step; the properties are evaluated in between. Looking costs what the run has grown to, so the
//! looks grow rarer with it, and what the ghost has seen it does not forget: two values chosen for a slot are noticed
//! however late one looks. Nothing is looked at while an actor is down, for its last steps may be undone by its restart.

use parthood_models::{self as models, Protocol, StateOf, Watch};
use parthood_runtime::{Cause, Notice, Observer, Runnable, Step, Wants};
use std::collections::BTreeSet;
use std::time::Duration;

/// Watches a run.
pub struct Watching<P: Protocol> {
    watch: Watch<P>,
    /// The last states of the actors that must be known before anything can be said; of others nothing is claimed.
    states: Vec<Option<StateOf<P>>>,
    down: BTreeSet<usize>,
    steps: u64,
    next_look: u64,
    looks: u64,
    violated: Option<Violation>,
}

/// A property that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub property: &'static str,
    /// After how many steps it was noticed.
    pub steps: u64,
}

impl<P: Protocol> Watching<P> {
    /// Watches from before the first step of these many actors, the first of the run.
    pub fn new(model: P, actors: usize) -> Self {
        Self {
            watch: Watch::new(model),
            states: (0..actors).map(|_| None).collect(),
            down: BTreeSet::new(),
            steps: 0,
            next_look: 0,
            looks: 0,
            violated: None,
        }
    }

    /// How often all properties were evaluated.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// The first of the actors of which nothing was seen. Without it nothing can be said.
    pub fn unseen(&self) -> Option<usize> {
        self.states.iter().position(Option::is_none)
    }

    /// History.
    pub fn ghost(&self) -> &P::Ghost {
        self.watch.ghost()
    }

    /// What does not hold so far.
    pub fn violated(&self) -> Option<Violation> {
        self.violated
    }

    /// Evaluates all properties on what is known now, if that can be done.
    pub fn look(&mut self) {
        let states: Option<Vec<&StateOf<P>>> = self.states.iter().map(Option::as_ref).collect();
        let Some(states) = states.filter(|_| self.down.is_empty() && self.violated.is_none()) else { return };
        self.looks += 1;
        let steps = self.steps;
        self.violated = self.watch.violated(&states, false).map(|property| Violation { property, steps });
    }
}

impl<P> Observer<P::Actor> for Watching<P>
where
    P: Protocol<Actor: Runnable<State: 'static>>,
{
    fn wants(&self) -> Wants {
        Wants::Steps
    }

    fn on_step(&mut self, step: &Step<'_, P::Actor>) {
        const STEPS_BETWEEN_LOOKS: u64 = 64;
        let cause = match step.cause {
            Cause::Start(storage) => models::Cause::Start(storage),
            Cause::Deliver { src, msg } => models::Cause::Deliver { src, msg },
            Cause::Timeout(timer) => models::Cause::Timeout(timer),
            Cause::Random(random) => models::Cause::Random(random),
        };
        let Step { id, after, out, .. } = *step;
        let actor = usize::from(id);
        // A restart begins anew, but to the ghost it follows the state before the crash.
        let before = self.states.get(actor).and_then(Option::as_ref);
        self.watch.observe(&models::Step { id, cause, before, after, out });
        self.down.remove(&actor);
        if let Some(state) = self.states.get_mut(actor) {
            *state = Some(after.clone());
        }
        self.steps += 1;
        if self.steps >= self.next_look && self.down.is_empty() {
            self.look();
            self.next_look = self.steps + STEPS_BETWEEN_LOOKS.max(self.steps / 16);
        }
    }

    fn on_notice(&mut self, _: Duration, notice: &Notice) {
        if let Notice::Crash(id) | Notice::Wipe(id) = *notice {
            self.down.insert(usize::from(id));
        }
    }
}
