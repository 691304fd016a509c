//! A system as a [`stateright::Model`]: for the library's Explorer, and for its engines as a second opinion.
//!
//! The library shows an action without the state it belongs to, so an action here carries its text. A property is a
//! plain function there, so the n-th property becomes the n-th instance of a generic one.

use crate::protocol::{Kind, Protocol};
use crate::replay::Trace;
use crate::state::State;
use crate::system::{Move, System};
use crate::{Path, transition::Transition};
use stateright::{Expectation, Model};
use std::fmt;
use std::sync::Arc;

/// A move and what it does, in words.
#[derive(Clone, PartialEq, Eq)]
pub struct Action {
    /// The move.
    pub mv: Move,
    text: Arc<str>,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<P: Protocol> Model for System<P> {
    type State = State<P>;
    type Action = Action;

    fn init_states(&self) -> Vec<State<P>> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State<P>, actions: &mut Vec<Action>) {
        let mut moves = Vec::new();
        self.moves(state, &mut moves);
        actions.extend(moves.into_iter().map(|mv| Action { mv, text: self.describe(state, mv).into() }));
    }

    fn next_state(&self, state: &State<P>, action: Action) -> Option<State<P>> {
        self.apply(state, action.mv)
    }

    fn format_action(&self, action: &Action) -> String {
        action.text.to_string()
    }

    fn format_step(&self, state: &State<P>, action: Action) -> Option<String> {
        let mut trace = self.empty_trace();
        let mut next = state.clone();
        let happens =
            Transition::new(self, state, &mut |step| trace.push::<P>(0, step)).make(action.mv, &mut next);
        happens.then(|| trace.to_string())
    }

    fn as_svg(&self, path: stateright::Path<State<P>, Action>) -> Option<String> {
        let draw = self.draw?;
        let mut taken = Vec::new();
        let mut moves = Vec::new();
        for (state, action) in path.into_vec() {
            let Some(action) = action else { break };
            self.moves(&state, &mut moves);
            taken.push(u16::try_from(moves.iter().position(|mv| *mv == action.mv)?).ok()?);
        }
        let trace: Trace = self.trace(&Path::new(taken)).ok()?;
        Some(draw(&trace))
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        let properties = self.all_properties().iter().zip(conditions::<P>());
        properties
            .map(|(property, condition)| stateright::Property {
                expectation: match property.kind {
                    Kind::Always | Kind::AtTheEnd => Expectation::Always,
                    Kind::Sometimes => Expectation::Sometimes,
                },
                name: property.name,
                condition,
            })
            .collect()
    }
}

type Condition<P> = fn(&System<P>, &State<P>) -> bool;

fn nth<P: Protocol, const N: usize>(system: &System<P>, state: &State<P>) -> bool {
    system.all_properties().get(N).is_none_or(|property| system.holds(property, state))
}

/// One function for each of the properties that a system can have.
fn conditions<P: Protocol>() -> [Condition<P>; 52] {
    macro_rules! table {
        ($($n:literal)*) => { [$(nth::<P, $n>),*] };
    }
    table!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39
        40 41 42 43 44 45 46 47 48 49 50 51
    )
}
