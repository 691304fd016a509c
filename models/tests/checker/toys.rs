//! The smallest systems that show a defect.

use parthood_models::{Cause, Fair, Kind, Property, Protocol, Space, Step};
use stateright::actor::{Actor, Id, Out};
use stateright::{Model, Property as StockProperty};
use std::borrow::Cow;
use std::time::Duration;

/// A number that grows by one up to `last`. Wrong from `wrong` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) last: u32,
    pub(crate) wrong: u32,
}

impl Space for Line {
    type State = u32;
    type Move = ();

    fn initial(&self) -> u32 {
        0
    }

    fn moves(&self, _: &u32, moves: &mut Vec<()>) {
        moves.clear();
        moves.push(());
    }

    fn apply(&self, state: &u32, (): (), next: &mut u32) -> bool {
        *next = state + 1;
        *next <= self.last
    }

    fn fingerprint(&self, state: &u32) -> u64 {
        u64::from(*state)
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![("right", Kind::Always), ("at the end, the last", Kind::AtTheEnd), ("beyond", Kind::Sometimes)]
    }

    fn holds(&self, property: usize, state: &u32) -> bool {
        match property {
            0 => *state < self.wrong,
            1 => *state == self.last,
            _ => *state > self.last,
        }
    }
}

/// The same for the library.
impl Model for Line {
    type State = u32;
    type Action = ();

    fn init_states(&self) -> Vec<u32> {
        vec![0]
    }

    fn actions(&self, _: &u32, actions: &mut Vec<()>) {
        actions.push(());
    }

    fn next_state(&self, state: &u32, (): ()) -> Option<u32> {
        (*state < self.last).then_some(state + 1)
    }

    fn properties(&self) -> Vec<StockProperty<Self>> {
        vec![
            StockProperty::always("right", |line: &Self, state| *state < line.wrong),
            StockProperty::sometimes("beyond", |line: &Self, state| *state > line.last),
        ]
    }
}

/// A finite graph by hand: edges from each state, all of them owed. State 0 comes first; the goal is odd.
#[derive(Clone, Debug)]
pub(crate) struct Graph(pub(crate) Vec<Vec<u8>>);

impl Space for Graph {
    type State = u8;
    type Move = u8;

    fn initial(&self) -> u8 {
        0
    }

    fn moves(&self, state: &u8, moves: &mut Vec<u8>) {
        moves.clone_from(&self.0[usize::from(*state)]);
    }

    fn apply(&self, _: &u8, mv: u8, next: &mut u8) -> bool {
        *next = mv;
        true
    }

    fn fingerprint(&self, state: &u8) -> u64 {
        u64::from(*state)
    }

    fn properties(&self) -> Vec<(&'static str, Kind)> {
        vec![]
    }

    fn holds(&self, _: usize, _: &u8) -> bool {
        true
    }
}

impl Fair for Graph {
    /// Each edge is a thing of its own, named by its target.
    fn owed(&self, _: &u8, mv: u8) -> Option<u64> {
        Some(u64::from(mv))
    }
}

impl Model for Graph {
    type State = u8;
    type Action = u8;

    fn init_states(&self) -> Vec<u8> {
        vec![0]
    }

    fn actions(&self, state: &u8, actions: &mut Vec<u8>) {
        actions.clone_from(&self.0[usize::from(*state)]);
    }

    fn next_state(&self, _: &u8, action: u8) -> Option<u8> {
        Some(action)
    }

    fn properties(&self) -> Vec<StockProperty<Self>> {
        vec![StockProperty::eventually("odd", |_, state| state % 2 == 1)]
    }
}

/// Actors that each set a timer, or are offered a choice, and do nothing when it comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idlers {
    pub(crate) count: usize,
    /// A choice of one instead of a timer.
    pub(crate) choose: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Idler {
    choose: bool,
}

impl Actor for Idler {
    type Msg = ();
    type Timer = ();
    type State = ();
    type Storage = ();
    type Random = u8;

    fn on_start(&self, _: Id, _: &Option<()>, out: &mut Out<Self>) {
        if self.choose {
            out.choose_random("dice", vec![6]);
        } else {
            out.set_timer((), Duration::ZERO..Duration::ZERO);
        }
    }
}

impl Protocol for Idlers {
    type Actor = Idler;
    type Ghost = ();

    fn actors(&self) -> Vec<Idler> {
        vec![Idler { choose: self.choose }; self.count]
    }

    fn ghost(&self) {}

    fn observe(&self, _: &mut Cow<'_, ()>, _: &Step<'_, Idler>) {}

    fn properties(&self) -> Vec<Property<Self>> {
        vec![]
    }
}

/// One actor sends numbers to another, which takes in what is larger than all before. The ghost notes what was taken.
#[derive(Clone, Debug)]
pub(crate) struct Climber {
    pub(crate) sends: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum ClimberActor {
    Sender(Vec<u8>),
    Taker,
}

impl Actor for ClimberActor {
    type Msg = u8;
    type Timer = ();
    type State = u8;
    type Storage = u8;
    type Random = ();

    fn on_start(&self, _: Id, storage: &Option<u8>, out: &mut Out<Self>) -> u8 {
        if let Self::Sender(sends) = self {
            for number in sends {
                out.send(1.into(), *number);
            }
        }
        storage.unwrap_or_default()
    }

    fn on_msg(&self, _: Id, state: &mut Cow<'_, u8>, _: Id, number: u8, _: &mut Out<Self>) {
        if number > **state {
            *state.to_mut() = number;
        }
    }
}

impl Protocol for Climber {
    type Actor = ClimberActor;
    type Ghost = Vec<u8>;

    fn actors(&self) -> Vec<ClimberActor> {
        vec![ClimberActor::Sender(self.sends.clone()), ClimberActor::Taker]
    }

    fn ghost(&self) -> Vec<u8> {
        vec![]
    }

    fn observe(&self, ghost: &mut Cow<'_, Vec<u8>>, step: &Step<'_, ClimberActor>) {
        if let Cause::Deliver { msg, .. } = step.cause
            && step.before != Some(step.after)
        {
            ghost.to_mut().push(*msg);
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what is taken in climbs", |view| view.ghost.is_sorted()),
            Property::at_the_end("the largest is taken in", |view| {
                view.states.get(1) == view.protocol.sends.iter().max()
            }),
        ]
    }

    fn may_restart(&self, id: Id) -> bool {
        id == 1.into()
    }
}
