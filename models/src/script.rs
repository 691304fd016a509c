//! Runs of a space move by move, and as a [`Trace`], so that what is no system of actors can be drawn like one.

use crate::{Kind, Lane, Space, Trace, TraceCause, TraceStep};
use std::fmt::Debug;

/// A space whose moves can be told as what its participants do.
pub(crate) trait Told: Space<Move: Debug + PartialEq> {
    /// Who takes part.
    fn lanes(&self) -> Vec<Lane>;

    /// What a move is, as steps of those who take part.
    fn tell(&self, before: &Self::State, mv: Self::Move, after: &Self::State) -> Vec<Telling>;
}

/// That a message arrived, and what its receiver does then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    /// The lane that sent it.
    pub from: usize,
    /// The lane that hears it.
    pub to: usize,
    /// What it says.
    pub label: String,
    /// What its receiver does or knows then; may be empty.
    pub note: String,
}

/// A run so far.
#[derive(Clone, Debug)]
pub(crate) struct Script<S: Told> {
    space: S,
    state: S::State,
    trace: Trace,
    moves: usize,
}

impl<S: Told> Script<S> {
    /// Nothing has happened yet.
    pub(crate) fn new(space: S) -> Self {
        let trace = Trace { lanes: space.lanes(), ..Trace::default() };
        Self { state: space.initial(), space, trace, moves: 0 }
    }

    /// What a move leads to, if it can happen and does anything.
    fn after(&self, mv: S::Move) -> Option<S::State> {
        let mut moves = vec![];
        self.space.moves(&self.state, &mut moves);
        let mut next = self.state.clone();
        (moves.contains(&mv) && self.space.apply(&self.state, mv, &mut next)).then_some(next)
    }

    /// Can this not happen?
    pub(crate) fn refuses(&self, mv: S::Move) -> bool {
        self.after(mv).is_none()
    }

    /// Has these things happen, one after the other.
    ///
    /// # Errors
    /// The first that cannot happen, in words.
    pub(crate) fn follow(mut self, moves: &[S::Move]) -> Result<Self, String> {
        for mv in moves {
            let next = self.after(*mv).ok_or_else(|| format!("{mv:?} cannot happen in {:?}", self.moves))?;
            self.moves += 1;
            let number = self.moves;
            let told = self.space.tell(&self.state, *mv, &next).into_iter();
            self.trace.steps.extend(told.map(|Telling { from, to, label, note }| TraceStep {
                number,
                actor: to,
                cause: TraceCause::Deliver { from, label, sent: None },
                state: Some(note),
                saves: false,
                sends: vec![],
            }));
            self.state = next;
        }
        Ok(self)
    }

    /// Where it has come to.
    #[cfg(test)]
    pub(crate) fn state(&self) -> &S::State {
        &self.state
    }

    /// What does not hold. What must hold in the end counts when nothing more can happen.
    pub(crate) fn violated(&self) -> Vec<&'static str> {
        let mut moves = vec![];
        self.space.moves(&self.state, &mut moves);
        let over = moves.into_iter().all(|mv| self.refuses(mv));
        let counts = |kind| kind == Kind::Always || kind == Kind::AtTheEnd && over;
        let properties = self.space.properties().into_iter().enumerate();
        let fails = properties.filter(|(at, (_, kind))| counts(*kind) && !self.space.holds(*at, &self.state));
        fails.map(|(_, (name, _))| name).collect()
    }

    /// What has happened, under a title.
    pub(crate) fn trace(&self, title: &str) -> Trace {
        Trace { title: title.to_owned(), ..self.trace.clone() }
    }
}
