//! Breadth-first search, level by level.
//!
//! A state is kept as its fingerprint, the index of its predecessor and the index of the action between; whole states
//! only wait in the level at hand. Levels make the first violation one with the fewest moves.
//!
//! A search has one thread. Two of them, with results merged in order so that counts and paths stay the same, took more
//! than three times the processor time (states are shared, and were allocated here and freed there): run several
//! searches side by side instead.

use crate::report::{Reached, Report, Verdict, Why};
use crate::space::Space;
use crate::{Kind, Path};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;

/// How far a check may go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most so many different states.
    pub states: usize,
    /// At most so many moves from the initial state.
    pub depth: usize,
    /// Compare whole states instead of fingerprints: needs the memory for all of them, and no symmetry.
    pub exact: bool,
    /// Ignore all other properties. If this is one that should hold somewhere, it is violated where it nowhere does;
    /// otherwise such properties only show up in [`Report::reached`].
    pub only: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: 50_000_000, depth: usize::MAX, exact: false, only: None }
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Different states so far.
    pub unique: usize,
    /// States generated so far.
    pub generated: u64,
    /// The level being expanded: moves from the initial state.
    pub depth: usize,
    /// States of this level that wait to be expanded.
    pub waiting: usize,
}

/// How many states wait in one piece of a level. Small enough that a piece is no large block to the allocator.
const PIECE: usize = 256;

/// How many pieces are expanded between two calls of the progress function.
const PIECES: usize = 16;

/// A level, in pieces, so that each can be freed when it is expanded.
type Level<T> = VecDeque<Vec<(T, u32)>>;

/// Visits every reachable state within the limits. `progress` is called after every few thousand states and may stop
/// the search.
pub fn check<S: Space>(
    space: &S,
    limits: &Limits,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Report {
    let mut search = Search::new(space, limits);
    let stop = search.run(progress);
    search.report(stop)
}

/// Visits every reachable state, without limits but those of [`Limits::default`].
pub fn exhaust<S: Space>(space: &S) -> Report {
    check(space, &Limits::default(), &mut |_| ControlFlow::Continue(()))
}

/// Why a search is over before every state is expanded.
enum Stop {
    /// State and property.
    Violated(u32, usize),
    Early(Why),
}

struct Search<'a, S: Space> {
    space: &'a S,
    limits: &'a Limits,
    /// Properties that count, with their numbers in the space.
    properties: Vec<(usize, &'static str, Kind)>,
    seen: Seen<S::State>,
    /// Predecessor and action by state.
    parents: Vec<u32>,
    actions: Vec<u16>,
    /// The first state where each property held that should hold somewhere.
    reached: Vec<Option<u32>>,
    generated: u64,
    depth: usize,
    ends: usize,
}

impl<'a, S: Space> Search<'a, S> {
    fn new(space: &'a S, limits: &'a Limits) -> Self {
        let counts = |name: &str| limits.only.as_ref().is_none_or(|only| only == name);
        let properties = space.properties().into_iter().enumerate().filter(|(_, (name, _))| counts(name));
        let properties: Vec<_> = properties.map(|(number, (name, kind))| (number, name, kind)).collect();
        let reached = vec![None; properties.len()];
        Self {
            space,
            limits,
            properties,
            seen: Seen::new(limits.exact),
            parents: Vec::new(),
            actions: Vec::new(),
            reached,
            generated: 0,
            depth: 0,
            ends: 0,
        }
    }

    fn run(&mut self, progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>) -> Option<Stop> {
        let initial = self.space.initial();
        let mut level = Level::new();
        self.generated = 1;
        if let Some(stop) = self.visit(&initial, u32::MAX, 0, &mut level) {
            return Some(stop);
        }
        let (mut moves, mut scratch) = (Vec::new(), initial);
        while !level.is_empty() {
            if self.depth >= self.limits.depth {
                return Some(Stop::Early(Why::Depth(self.limits.depth)));
            }
            let mut next = Level::new();
            for count in 1.. {
                let Some(piece) = level.pop_front() else { break };
                for (state, index) in piece {
                    let stop = self.expand(&state, index, &mut moves, &mut scratch, &mut next);
                    if stop.is_some() {
                        return stop;
                    }
                }
                if count % PIECES == 0 || level.is_empty() {
                    let waiting = level.iter().map(Vec::len).sum();
                    let (unique, generated) = (self.parents.len(), self.generated);
                    if progress(&Progress { unique, generated, depth: self.depth, waiting }).is_break() {
                        return Some(Stop::Early(Why::Stopped));
                    }
                }
            }
            self.depth += usize::from(!next.is_empty());
            level = next;
        }
        None
    }

    /// Visits the successors of a state. What `moves` and `scratch` hold is of no account; they save allocations.
    fn expand(
        &mut self,
        state: &S::State,
        index: u32,
        moves: &mut Vec<S::Move>,
        scratch: &mut S::State,
        next: &mut Level<S::State>,
    ) -> Option<Stop> {
        let own = self.space.fingerprint(state);
        let mut end = true;
        self.space.moves(state, moves);
        for (action, &mv) in moves.iter().enumerate() {
            if !self.space.apply(state, mv, scratch) {
                continue;
            }
            self.generated += 1;
            end &= self.space.fingerprint(scratch) == own;
            let action = u16::try_from(action).expect("a state has fewer than 65,536 moves");
            let stop = self.visit(scratch, index, action, next);
            if stop.is_some() {
                return stop;
            }
        }
        self.ends += usize::from(end);
        let violated = if end { self.violated(state, Kind::AtTheEnd) } else { None };
        violated.map(|property| Stop::Violated(index, property))
    }

    /// Notes a state, unless it is known, and evaluates the properties on it.
    fn visit(
        &mut self,
        state: &S::State,
        from: u32,
        action: u16,
        next: &mut Level<S::State>,
    ) -> Option<Stop> {
        let fingerprint = self.space.fingerprint(state);
        if self.parents.len() >= self.limits.states.min(u32::MAX as usize) {
            let known = self.seen.knows(fingerprint, state);
            return (!known).then_some(Stop::Early(Why::States(self.limits.states)));
        }
        if !self.seen.insert(fingerprint, state) {
            return None;
        }
        let index = u32::try_from(self.parents.len()).expect("a search has fewer than 2³² states");
        self.parents.push(from);
        self.actions.push(action);
        for at in 0..self.properties.len() {
            let (number, _, kind) = self.properties[at];
            if kind == Kind::Sometimes && self.reached[at].is_none() && self.space.holds(number, state) {
                self.reached[at] = Some(index);
            }
        }
        match next.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push((state.clone(), index)),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push((state.clone(), index));
                next.push_back(piece);
            }
        }
        self.violated(state, Kind::Always).map(|property| Stop::Violated(index, property))
    }

    fn violated(&self, state: &S::State, kind: Kind) -> Option<usize> {
        self.properties.iter().position(|&(number, _, of)| of == kind && !self.space.holds(number, state))
    }

    fn path(&self, mut index: u32) -> Path {
        let mut actions = Vec::new();
        while let Some(&parent) = self.parents.get(index as usize).filter(|&&parent| parent != u32::MAX) {
            actions.push(self.actions[index as usize]);
            index = parent;
        }
        actions.reverse();
        Path::new(actions)
    }

    fn report(self, stop: Option<Stop>) -> Report {
        let named =
            self.properties.iter().zip(&self.reached).filter(|((_, _, kind), _)| *kind == Kind::Sometimes);
        let reached: Vec<_> = named
            .map(|((_, property, _), index)| Reached { property, path: index.map(|index| self.path(index)) })
            .collect();
        let unreached = reached.iter().find(|reached| reached.path.is_none()).map(|reached| reached.property);
        let verdict = match (stop, unreached) {
            (Some(Stop::Violated(index, at)), _) => {
                Verdict::Violated { property: self.properties[at].1, path: Some(self.path(index)) }
            }
            (Some(Stop::Early(why)), _) => Verdict::Inconclusive(why),
            (None, Some(property)) if self.limits.only.is_some() => {
                Verdict::Violated { property, path: None }
            }
            (None, _) => Verdict::Holds,
        };
        let violation = match &verdict {
            Verdict::Violated { path: Some(path), .. } => path.actions().len(),
            _ => 0,
        };
        Report {
            verdict,
            unique: self.parents.len(),
            generated: self.generated,
            depth: self.depth.max(violation),
            ends: self.ends,
            reached,
            confused: self.seen.confused,
        }
    }
}

/// The states visited so far.
struct Seen<T> {
    fingerprints: HashSet<u64, BuildHasherDefault<Fingerprint>>,
    /// Whole states by fingerprint, if they are compared.
    states: Option<HashMap<u64, Vec<T>>>,
    confused: usize,
}

impl<T: Clone + PartialEq> Seen<T> {
    fn new(exact: bool) -> Self {
        Self { fingerprints: HashSet::default(), states: exact.then(HashMap::new), confused: 0 }
    }

    fn knows(&self, fingerprint: u64, state: &T) -> bool {
        match &self.states {
            None => self.fingerprints.contains(&fingerprint),
            Some(states) => states.get(&fingerprint).is_some_and(|states| states.contains(state)),
        }
    }

    /// Adds a state; false if it is known.
    fn insert(&mut self, fingerprint: u64, state: &T) -> bool {
        let Some(states) = &mut self.states else { return self.fingerprints.insert(fingerprint) };
        let same = states.entry(fingerprint).or_default();
        let new = !same.contains(state);
        if new {
            self.confused += usize::from(!same.is_empty());
            same.push(state.clone());
        }
        new
    }
}

/// A fingerprint is a hash already.
#[derive(Default)]
struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
