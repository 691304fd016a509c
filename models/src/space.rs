//! What the engines need to know of a transition system, and no more.

use crate::fingerprint::hash_of;
use crate::{Fair, Input, Kind, Move, Protocol, State, System};

/// A transition system with properties. Moves are listed in a fixed order; one may turn out to do nothing.
pub trait Space {
    /// A state.
    type State: Clone + PartialEq;
    /// Something that can happen in a state.
    type Move: Copy;

    /// The first state.
    fn initial(&self) -> Self::State;

    /// Replaces `moves` by all that can happen in a state.
    fn moves(&self, state: &Self::State, moves: &mut Vec<Self::Move>);

    /// Makes `next`, whatever it was, what a move leads to; false, and `next` is of no use, if the move does nothing.
    fn apply(&self, state: &Self::State, mv: Self::Move, next: &mut Self::State) -> bool;

    /// Stands for the state.
    fn fingerprint(&self, state: &Self::State) -> u64;

    /// The properties: name and how they are to hold.
    fn properties(&self) -> Vec<(&'static str, Kind)>;

    /// Does the property with this number hold in a state? One of [`Kind::AtTheEnd`] is asked for at ends only.
    fn holds(&self, property: usize, state: &Self::State) -> bool;
}

impl<P: Protocol> Space for System<P> {
    type State = State<P>;
    type Move = Move;

    fn initial(&self) -> State<P> {
        System::initial(self)
    }

    fn moves(&self, state: &State<P>, moves: &mut Vec<Move>) {
        System::moves(self, state, moves);
    }

    fn apply(&self, state: &State<P>, mv: Move, next: &mut State<P>) -> bool {
        self.apply_to(state, mv, next)
    }

    fn fingerprint(&self, state: &State<P>) -> u64 {
        state.fingerprint()
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        self.all_properties().iter().map(|property| (property.name, property.kind)).collect()
    }

    fn holds(&self, property: usize, state: &State<P>) -> bool {
        self.holds_here(&self.all_properties()[property], state)
    }
}

/// Deliveries, timers and choices are owed; losses and crashes are not.
impl<P: Protocol> Fair for System<P> {
    fn owed(&self, state: &State<P>, mv: Move) -> Option<u64> {
        let Move::React(input) = mv else { return None };
        Some(match input {
            Input::Deliver(at) => hash_of(&(0, state.flight.get(usize::from(at))?)),
            Input::Timeout(at) => hash_of(&(1, state.timers.get(usize::from(at))?)),
            Input::Random { offer, choice } => hash_of(&(2, state.offers.get(usize::from(offer))?, choice)),
        })
    }
}
