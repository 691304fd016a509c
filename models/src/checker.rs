//! Breadth-first search, level by level.
//!
//! A state is kept as its fingerprint, the index of its predecessor and the index of the action between; whole states
//! only wait in the level at hand. Levels make the first violation one with the fewest moves. Workers expand pieces of a level side by
//! side, and their results are merged in order, so that neither counts nor paths depend on the number of threads.

use crate::report::{Reached, Report, Verdict, Why};
use crate::space::Space;
use crate::{Kind, Path};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::ControlFlow;
use std::panic::resume_unwind;

/// How far a check may go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At most so many different states.
    pub states: usize,
    /// At most so many moves from the initial state.
    pub depth: usize,
    /// How many threads expand states.
    pub threads: usize,
    /// Compare whole states instead of fingerprints: needs the memory for all of them, and no symmetry.
    pub exact: bool,
    /// Ignore all other properties. If this is one that should hold somewhere, it is violated where it nowhere does;
    /// otherwise such properties only show up in [`Report::reached`].
    pub only: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: 50_000_000, depth: usize::MAX, threads: 1, exact: false, only: None }
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

/// How many pieces each worker expands between two calls of the progress function.
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

/// A successor that was not known when it was made.
struct Candidate<T> {
    fingerprint: u64,
    state: T,
    action: u16,
    violated: Option<usize>,
    /// One bit for each property of `Search::properties` that was wanted and holds.
    reached: u64,
}

/// What came of expanding one state, besides candidates.
#[derive(Clone, Copy)]
struct Expansion {
    generated: u64,
    end: bool,
    violated_at_end: Option<usize>,
}

/// What a worker uses again and again.
struct Worker<S: Space> {
    moves: Vec<S::Move>,
    next: Option<S::State>,
    candidates: Vec<Candidate<S::State>>,
}

impl<S: Space> Default for Worker<S> {
    fn default() -> Self {
        Self { moves: Vec::new(), next: None, candidates: Vec::new() }
    }
}

impl<'a, S: Space> Search<'a, S> {
    fn new(space: &'a S, limits: &'a Limits) -> Self {
        let counts = |name: &str| limits.only.as_ref().is_none_or(|only| only == name);
        let properties = space.properties().into_iter().enumerate().filter(|(_, (name, _))| counts(name));
        let properties: Vec<_> = properties.map(|(number, (name, kind))| (number, name, kind)).collect();
        assert!(properties.len() <= 64, "a system has at most 64 properties");
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
        let initial = self.candidate(self.space.initial(), 0, self.wanted());
        self.generated = 1;
        let mut level = Level::new();
        if let Some(stop) = self.insert(u32::MAX, initial, &mut level) {
            return Some(stop);
        }
        while !level.is_empty() {
            if self.depth >= self.limits.depth {
                return Some(Stop::Early(Why::Depth(self.limits.depth)));
            }
            let mut next = Level::new();
            while !level.is_empty() {
                let pieces: Vec<_> =
                    level.drain(..level.len().min(PIECES * self.limits.threads.max(1))).collect();
                let stop = if self.limits.threads > 1 && pieces.len() > 1 {
                    self.expand_side_by_side(&pieces, &mut next)
                } else {
                    self.expand_in_turn(pieces, &mut next)
                };
                if stop.is_some() {
                    return stop;
                }
                let waiting = level.iter().map(Vec::len).sum();
                let (unique, generated) = (self.parents.len(), self.generated);
                if progress(&Progress { unique, generated, depth: self.depth, waiting }).is_break() {
                    return Some(Stop::Early(Why::Stopped));
                }
            }
            self.depth += usize::from(!next.is_empty());
            level = next;
        }
        None
    }

    /// The properties still to be reached, as bits.
    fn wanted(&self) -> u64 {
        let wanted = |at: &usize| self.properties[*at].2 == Kind::Sometimes && self.reached[*at].is_none();
        (0..self.properties.len()).filter(wanted).fold(0, |bits, at| bits | 1 << at)
    }

    fn expand_in_turn(
        &mut self,
        pieces: Vec<Vec<(S::State, u32)>>,
        next: &mut Level<S::State>,
    ) -> Option<Stop> {
        let mut worker = Worker::default();
        for (state, index) in pieces.into_iter().flatten() {
            let expansion = self.expand(&state, self.wanted(), &mut worker);
            if let Some(stop) = self.merge(index, expansion, &mut worker.candidates, next) {
                return Some(stop);
            }
        }
        None
    }

    fn expand_side_by_side(
        &mut self,
        pieces: &[Vec<(S::State, u32)>],
        next: &mut Level<S::State>,
    ) -> Option<Stop> {
        let wanted = self.wanted();
        let work = |pieces: &[Vec<(S::State, u32)>]| {
            let mut worker = Worker::default();
            let mut expand = |(state, index): &(S::State, u32)| {
                let expansion = self.expand(state, wanted, &mut worker);
                (*index, expansion, std::mem::take(&mut worker.candidates))
            };
            pieces.iter().flatten().map(&mut expand).collect::<Vec<_>>()
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let shares = pieces.chunks(pieces.len().div_ceil(self.limits.threads));
            let workers: Vec<_> = shares.map(|share| scope.spawn(move || work(share))).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        let mut results = results.into_iter().flatten();
        results.find_map(|(index, expansion, mut candidates)| {
            self.merge(index, expansion, &mut candidates, next)
        })
    }

    fn expand(&self, state: &S::State, wanted: u64, worker: &mut Worker<S>) -> Expansion {
        let own = self.space.fingerprint(state);
        self.space.moves(state, &mut worker.moves);
        let next = worker.next.get_or_insert_with(|| state.clone());
        let mut expansion = Expansion { generated: 0, end: true, violated_at_end: None };
        for (action, &mv) in worker.moves.iter().enumerate() {
            if !self.space.apply(state, mv, next) {
                continue;
            }
            expansion.generated += 1;
            let fingerprint = self.space.fingerprint(next);
            expansion.end &= fingerprint == own;
            if !self.seen.knows(fingerprint, next) {
                let action = u16::try_from(action).expect("a state has fewer than 65,536 moves");
                worker.candidates.push(self.candidate(next.clone(), action, wanted));
            }
        }
        if expansion.end {
            expansion.violated_at_end = self.violated(state, Kind::AtTheEnd);
        }
        expansion
    }

    fn candidate(&self, state: S::State, action: u16, wanted: u64) -> Candidate<S::State> {
        let holds = |at: &usize| wanted & 1 << at != 0 && self.space.holds(self.properties[*at].0, &state);
        let reached = (0..self.properties.len()).filter(holds).fold(0, |bits, at| bits | 1 << at);
        let violated = self.violated(&state, Kind::Always);
        Candidate { fingerprint: self.space.fingerprint(&state), state, action, violated, reached }
    }

    fn violated(&self, state: &S::State, kind: Kind) -> Option<usize> {
        self.properties.iter().position(|&(number, _, of)| of == kind && !self.space.holds(number, state))
    }

    fn merge(
        &mut self,
        from: u32,
        expansion: Expansion,
        candidates: &mut Vec<Candidate<S::State>>,
        next: &mut Level<S::State>,
    ) -> Option<Stop> {
        self.generated += expansion.generated;
        self.ends += usize::from(expansion.end);
        if let Some(property) = expansion.violated_at_end {
            return Some(Stop::Violated(from, property));
        }
        candidates.drain(..).find_map(|candidate| self.insert(from, candidate, next))
    }

    fn insert(
        &mut self,
        from: u32,
        candidate: Candidate<S::State>,
        next: &mut Level<S::State>,
    ) -> Option<Stop> {
        if self.parents.len() >= self.limits.states.min(u32::MAX as usize) {
            let known = self.seen.knows(candidate.fingerprint, &candidate.state);
            return (!known).then_some(Stop::Early(Why::States(self.limits.states)));
        }
        if !self.seen.insert(candidate.fingerprint, &candidate.state) {
            return None;
        }
        let index = u32::try_from(self.parents.len()).expect("a search has fewer than 2³² states");
        self.parents.push(from);
        self.actions.push(candidate.action);
        for (at, reached) in self.reached.iter_mut().enumerate() {
            if candidate.reached & 1 << at != 0 && reached.is_none() {
                *reached = Some(index);
            }
        }
        match next.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push((candidate.state, index)),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push((candidate.state, index));
                next.push_back(piece);
            }
        }
        candidate.violated.map(|property| Stop::Violated(index, property))
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
