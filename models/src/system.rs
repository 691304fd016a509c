//! The transition system of a protocol's actors on a network.
//!
//! A move is a small index into a state, so listing the moves copies and sorts nothing. Time is left out: a timer
//! that is set may fire at any moment. A restart is one atomic move with a budget: an actor that is down is, to the
//! others, one whose messages are late.

use crate::network::Network;
use crate::protocol::{Budget, Kind, Property, Protocol, View};
use crate::state::State;
use crate::symmetry::Classes;
use crate::transition::Transition;
use crate::{Error, Path, Trace, index};
use serde::{Deserialize, Serialize};
use stateright::actor::Id;

/// What the world may do to the actors, and which reductions are on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Setup {
    /// What the network may do.
    pub network: Network,
    /// May the network also lose messages for good? Needless for properties of states, because a message may always
    /// be late for ever.
    pub lossy: bool,
    /// The names of the actors that are down from the beginning, for good: they do nothing, and what is sent to them is lost.
    pub down: Vec<String>,
    /// How many restarts there may be, of all actors together.
    pub restarts: u8,
    /// May a restart also tear a step that saves?
    pub torn: Torn,
    /// How often the timers of each [`Budget::Shared`] may fire; [`Setup::UNLIMITED`] for no bound. Firing without
    /// effect does not count.
    pub timers: Vec<u8>,
    /// Which reductions are on.
    pub reductions: Reductions,
}

impl Setup {
    /// A timer budget without a bound.
    pub const UNLIMITED: u8 = u8::MAX;

    /// The bound of a budget, if it has one.
    pub(crate) fn bound(&self, budget: Budget) -> Option<(usize, u8)> {
        let Budget::Shared(class) = budget else { return None };
        let class = usize::from(class);
        let most = self.timers.get(class).copied().unwrap_or(0);
        (most != Self::UNLIMITED).then_some((class, most))
    }
}

/// Ways to visit fewer states with the same answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reductions {
    /// Collect dead messages.
    pub collect: bool,
    /// Deliver within the sending step what the protocol calls eager.
    pub eager: bool,
    /// Take states for one that differ only in which member of a class is which.
    pub symmetry: bool,
}

impl Reductions {
    /// None of them.
    pub const NONE: Self = Self { collect: false, eager: false, symmetry: false };
    /// All of them.
    pub const ALL: Self = Self { collect: true, eager: true, symmetry: true };
}

/// A crash in the middle of a step that saves: the save is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Torn {
    /// Does not happen.
    #[default]
    Off,
    /// The step's sends were held back, as the runtime promises.
    Held,
    /// The step's sends were already out: a broken runtime.
    Released,
}

/// One thing that can happen in a state, as an index into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// An actor reacts.
    React(Input),
    /// An actor reacts, but crashes before what it saves is durable, and restarts.
    Tear(Input),
    /// A message is lost for good.
    Drop(u16),
    /// An actor crashes and restarts from what it saved.
    Restart(u16),
}

/// What an actor reacts to, as an index into a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A message in flight.
    Deliver(u16),
    /// A timer.
    Timeout(u16),
    /// A choice of an offer.
    Random {
        /// Which offer.
        offer: u16,
        /// Which of its choices.
        choice: u16,
    },
}

/// A protocol's actors on a network.
pub struct System<P: Protocol> {
    pub(crate) protocol: P,
    pub(crate) actors: Vec<P::Actor>,
    pub(crate) setup: Setup,
    /// Which actors are down.
    down: Vec<bool>,
    pub(crate) classes: Classes,
    pub(crate) properties: Vec<Property<P>>,
    pub(crate) draw: Option<fn(&Trace) -> String>,
}

/// The name of the property that guards [`Reductions::collect`].
pub(crate) const COLLECTED: &str = "a collected message would have been ignored";

impl<P: Protocol> System<P> {
    /// How many actors a system may have.
    pub const ACTORS_MAX: usize = 128;
    /// How many properties a system may have, the one that guards collection included: the library's properties are plain
    /// functions, and the table of them has a length.
    pub const PROPERTIES_MAX: usize = 52;

    /// The system of a protocol in a world.
    ///
    /// # Panics
    /// When there are more than [`System::ACTORS_MAX`] actors or [`System::PROPERTIES_MAX`] properties, or a class of the protocol names an actor twice or one
    /// that does not exist.
    pub fn new(protocol: P, setup: Setup) -> Self {
        let actors = protocol.actors();
        assert!(actors.len() <= Self::ACTORS_MAX, "{} actors are too many to check", actors.len());
        let names: Vec<String> = (0..actors.len()).map(|at| protocol.name(at.into())).collect();
        let down = names.iter().map(|name| setup.down.contains(name)).collect();
        let classes = if setup.reductions.symmetry {
            Classes::new(actors.len(), &protocol.classes())
        } else {
            Classes::default()
        };
        let mut properties = protocol.properties();
        if setup.reductions.collect {
            properties.push(Property::always(COLLECTED, |_| true));
        }
        assert!(properties.len() <= Self::PROPERTIES_MAX, "{} properties are too many", properties.len());
        Self { protocol, actors, setup, down, classes, properties, draw: None }
    }

    /// Draws paths with this function where an engine asks for a picture.
    #[must_use]
    pub fn draw_with(mut self, draw: fn(&Trace) -> String) -> Self {
        self.draw = Some(draw);
        self
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.protocol
    }

    /// What the world may do.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Is this actor down, from the beginning and for good?
    pub(crate) fn is_down(&self, id: Id) -> bool {
        self.down[index(id)]
    }

    /// What is to be true: the protocol's properties and, with [`Reductions::collect`], that collection is sound.
    pub fn all_properties(&self) -> &[Property<P>] {
        &self.properties
    }

    /// What a property sees of a state.
    pub fn view<'a>(&'a self, state: &'a State<P>) -> View<'a, P> {
        View { protocol: &self.protocol, states: state.actors(), ghost: state.ghost() }
    }

    /// Does a property hold in a state? One of [`Kind::AtTheEnd`] holds wherever something can still happen.
    pub fn holds(&self, property: &Property<P>, state: &State<P>) -> bool {
        self.holds_here(property, state) || (property.kind == Kind::AtTheEnd && !self.is_end(state))
    }

    /// The same, taking for granted that nothing more can happen.
    pub(crate) fn holds_here(&self, property: &Property<P>, state: &State<P>) -> bool {
        if property.name == COLLECTED { !state.collected_live } else { (property.holds)(&self.view(state)) }
    }

    /// Can nothing more happen? A move that leaves the state as it is does not count.
    pub fn is_end(&self, state: &State<P>) -> bool {
        let mut moves = Vec::new();
        self.moves(state, &mut moves);
        let changes =
            |&mv: &Move| self.apply(state, mv).is_some_and(|next| next.fingerprint != state.fingerprint);
        !moves.iter().any(changes)
    }

    /// The state in which every actor has started.
    pub fn initial(&self) -> State<P> {
        self.start(&mut |_| {})
    }

    /// Everything that can happen in a state, in a fixed order. Some of it may be ignored by the actors.
    pub fn moves(&self, state: &State<P>, moves: &mut Vec<Move>) {
        moves.clear();
        self.inputs(state, |input| moves.push(Move::React(input)));
        if self.setup.lossy {
            moves.extend(self.setup.network.deliverable(&state.flight).map(|at| Move::Drop(small(at))));
        }
        if state.restarts < self.setup.restarts {
            let restartable = (0..self.actors.len())
                .filter(|&at| self.protocol.may_restart(at.into()) && !self.is_down(at.into()));
            moves.extend(restartable.map(|at| Move::Restart(small(at))));
            if self.setup.torn != Torn::Off {
                self.inputs(state, |input| moves.push(Move::Tear(input)));
            }
        }
    }

    fn inputs(&self, state: &State<P>, mut each: impl FnMut(Input)) {
        for at in self.setup.network.deliverable(&state.flight) {
            each(Input::Deliver(small(at)));
        }
        for (at, (owner, timer)) in state.timers.iter().enumerate() {
            let bound = self.setup.bound(self.protocol.budget(*owner, timer));
            let left =
                bound.is_none_or(|(class, most)| state.fired.get(class).is_some_and(|&fired| fired < most));
            if left {
                each(Input::Timeout(small(at)));
            }
        }
        for (at, offer) in state.offers.iter().enumerate() {
            for choice in 0..offer.choices.len() {
                each(Input::Random { offer: small(at), choice: small(choice) });
            }
        }
    }

    /// What a move leads to; none if it is ignored.
    pub fn apply(&self, state: &State<P>, mv: Move) -> Option<State<P>> {
        let mut next = state.clone();
        self.apply_to(state, mv, &mut next).then_some(next)
    }

    /// The same, into a state that is there already; false, and `next` is of no use, if the move is ignored.
    pub(crate) fn apply_to(&self, state: &State<P>, mv: Move, next: &mut State<P>) -> bool {
        Transition::new(self, state, &mut |_| {}).make(mv, next)
    }

    /// Walks along a path, calling `each` with every state, the move taken there and the state it leads to.
    ///
    /// # Errors
    /// When the path does not fit the system.
    pub fn follow(
        &self,
        path: &Path,
        mut each: impl FnMut(&State<P>, Move, &State<P>),
    ) -> Result<State<P>, Error> {
        let mut state = self.initial();
        let mut moves = Vec::new();
        for (at, &index) in path.actions().iter().enumerate() {
            self.moves(&state, &mut moves);
            let available = moves.len();
            let mv = moves.get(usize::from(index)).ok_or(Error::NoSuchAction {
                step: at + 1,
                index,
                available,
            })?;
            let next = self.apply(&state, *mv).ok_or(Error::Ignored { step: at + 1, index })?;
            each(&state, *mv, &next);
            state = next;
        }
        Ok(state)
    }
}

/// An index into a part of a state.
fn small(at: usize) -> u16 {
    u16::try_from(at).expect("a state within reach of exhaustive search has fewer than 65,536 messages")
}
