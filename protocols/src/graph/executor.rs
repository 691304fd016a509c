//! The executor: Tarjan's algorithm that remembers why it stopped.
//!
//! A depth-first search from a committed vertex either ends, and then everything it met has run, or it meets a vertex that
//! is not committed: the *blocker*. Then every vertex on Tarjan's stack (not only on the present path) is blocked by it,
//! since each of them reaches the path. They are put down as waiting for the blocker and are not looked at again until it
//! is committed; a search that meets one of them stops at once, with the same blocker. So a vertex is visited once for
//! each blocker that it meets, whatever else is committed meanwhile. Algorithms that search again at every commit, or that
//! stop at the first blocker, either repeat their work for as long as a vertex is missing or let others wait for it.
//!
//! Where several dependencies of a vertex are missing it waits for the largest, or for what that one waits for. Missing vertices
//! tend to arrive in ascending order, as when a replica catches up: whoever waited for the smallest would be looked at again
//! for each of them.
//!
//! (A vertex waits for one blocker and not for the vertices in between: two that waited for each other would wait for ever. So
//! a chain whose vertices arrive in the order opposite to their dependencies takes time of its length squared.)
//!
//! A blocker is never committed, so nobody is put down as waiting for a vertex that has run; and a committed vertex that
//! is put down for nobody has run when a call returns. The search keeps its own stack: chains may be as long as memory
//! allows.

use super::Vertices;
use im::{OrdMap, OrdSet};
use std::collections::BTreeMap;

/// Knows what has run and what waits for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Executor<S: Vertices> {
    executed: S,
    /// Committed and not executed.
    pending: OrdMap<S::Vertex, Pending<S>>,
    /// By blocker, the vertices put down as waiting for it.
    waiters: OrdMap<S::Vertex, OrdSet<S::Vertex>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending<S: Vertices> {
    deps: S,
    /// Some uncommitted vertex that it reaches; none only while a call is going on.
    blocker: Option<S::Vertex>,
}

/// What a call has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<V> {
    /// What is to run now: component after component, each sorted.
    pub components: Vec<Vec<V>>,
    /// Vertices that are not committed and that somebody now waits for, who waited for nobody or somebody else.
    pub blockers: Vec<V>,
}

impl<V> Default for Outcome<V> {
    fn default() -> Self {
        Self { components: vec![], blockers: vec![] }
    }
}

impl<S: Vertices> Default for Executor<S> {
    fn default() -> Self {
        Self::at(S::default())
    }
}

impl<S: Vertices> Executor<S> {
    /// One for whom these vertices have run, and nothing else is known.
    pub fn at(executed: S) -> Self {
        Self { executed, pending: OrdMap::new(), waiters: OrdMap::new() }
    }

    /// The vertices that have run.
    pub fn executed(&self) -> &S {
        &self.executed
    }

    /// Is the vertex committed, as far as is known? What has run is.
    pub fn knows(&self, vertex: S::Vertex) -> bool {
        self.executed.contains(vertex) || self.pending.contains_key(&vertex)
    }

    /// What is committed and has not run, with its dependencies.
    pub fn pending(&self) -> impl Iterator<Item = (S::Vertex, &S)> {
        self.pending.iter().map(|(vertex, pending)| (*vertex, &pending.deps))
    }

    /// The uncommitted vertices that something waits for.
    pub fn blockers(&self) -> impl Iterator<Item = S::Vertex> {
        self.waiters.keys().copied()
    }

    /// Up to `limit` of the uncommitted vertices that a committed one depends on: beside the blockers those that searches
    /// would meet next, one after the other. Takes time of all that waits.
    pub fn missing(&self, limit: usize) -> Vec<S::Vertex> {
        let mut known = self.executed.clone();
        for vertex in self.pending.keys() {
            known.insert(*vertex);
        }
        let mut missing = vec![];
        for Pending { deps, .. } in self.pending.values() {
            let mut after = None;
            while missing.len() < limit
                && let Some(dep) = deps.next_outside(&known, after)
            {
                known.insert(dep);
                missing.push(dep);
                after = Some(dep);
            }
        }
        missing
    }

    /// Commits a vertex, unless it is known. A dependency of a vertex on itself says nothing.
    pub fn commit(&mut self, vertex: S::Vertex, deps: S) -> Outcome<S::Vertex> {
        let mut outcome = Outcome::default();
        if self.knows(vertex) {
            return outcome;
        }
        let woken = self.wake(vertex);
        if first_other(&deps, &self.executed, None, vertex).is_none() {
            self.executed.insert(vertex);
            outcome.components.push(vec![vertex]);
        } else {
            self.pending.insert(vertex, Pending { deps, blocker: None });
            self.search(vertex, &mut outcome);
        }
        for root in woken {
            self.search(root, &mut outcome);
        }
        outcome
    }

    /// Learns that these vertices have run elsewhere and need not run here. They must be closed: with each vertex all that
    /// it reaches.
    pub fn install(&mut self, executed: &S) -> Outcome<S::Vertex> {
        self.executed.add_all(executed);
        let Self { executed, pending, waiters } = self;
        let done: Vec<_> = pending.keys().filter(|vertex| executed.contains(**vertex)).copied().collect();
        for vertex in done {
            if let Some(Pending { blocker: Some(blocker), .. }) = pending.remove(&vertex)
                && let Some(waiting) = waiters.get_mut(&blocker)
            {
                waiting.remove(&vertex);
                if waiting.is_empty() {
                    waiters.remove(&blocker);
                }
            }
        }
        let over: Vec<_> = waiters.keys().filter(|blocker| executed.contains(**blocker)).copied().collect();
        let woken: Vec<_> = over.into_iter().flat_map(|blocker| self.wake(blocker)).collect();
        let mut outcome = Outcome::default();
        for root in woken {
            self.search(root, &mut outcome);
        }
        outcome
    }

    /// Takes down those who wait for a vertex.
    fn wake(&mut self, vertex: S::Vertex) -> Vec<S::Vertex> {
        let Some(waiting) = self.waiters.remove(&vertex) else { return vec![] };
        for waiter in &waiting {
            if let Some(pending) = self.pending.get_mut(waiter) {
                pending.blocker = None;
            }
        }
        waiting.into_iter().collect()
    }

    /// Searches from a vertex, unless it has run or waits for somebody.
    fn search(&mut self, root: S::Vertex, outcome: &mut Outcome<S::Vertex>) {
        if self.pending.get(&root).is_none_or(|pending| pending.blocker.is_some()) {
            return;
        }
        let mut search = Search::new(root);
        while let Some(frame) = search.path.last_mut() {
            let vertex = frame.vertex;
            let Some(Pending { deps, .. }) = self.pending.get(&vertex) else { return };
            match first_other(deps, &self.executed, frame.after, vertex) {
                Some(dep) => {
                    frame.after = Some(dep);
                    if let Some(place) = search.places.get(&dep) {
                        frame.low = frame.low.min(*place);
                        continue;
                    }
                    match self.pending.get(&dep) {
                        None => return self.block(&search.stack, self.last_blocker(vertex, dep), outcome),
                        Some(Pending { blocker: Some(blocker), .. }) => {
                            let blocker = self.last_blocker(vertex, *blocker);
                            return self.block(&search.stack, blocker, outcome);
                        }
                        Some(_) => search.enter(dep),
                    }
                }
                None => {
                    if let Some(component) = search.leave() {
                        for vertex in &component {
                            self.pending.remove(vertex);
                            self.executed.insert(*vertex);
                        }
                        outcome.components.push(component);
                    }
                }
            }
        }
    }

    /// What a vertex waits for that was found to reach `first`, which is missing: its largest dependency if that is missing, or
    /// what that one waits for.
    fn last_blocker(&self, vertex: S::Vertex, first: S::Vertex) -> S::Vertex {
        let deps = self.pending.get(&vertex).map(|pending| &pending.deps);
        let Some(last) = deps.and_then(|deps| deps.last_outside(&self.executed)) else { return first };
        match self.pending.get(&last) {
            None => last,
            Some(Pending { blocker, .. }) => blocker.unwrap_or(first),
        }
    }

    /// Puts down everything on the stack as waiting for a vertex that is not committed.
    fn block(&mut self, stack: &[S::Vertex], blocker: S::Vertex, outcome: &mut Outcome<S::Vertex>) {
        if !self.waiters.contains_key(&blocker) {
            outcome.blockers.push(blocker);
        }
        let waiting = self.waiters.entry(blocker).or_default();
        for vertex in stack {
            if let Some(pending) = self.pending.get_mut(vertex) {
                pending.blocker = Some(blocker);
            }
            waiting.insert(*vertex);
        }
    }
}

/// The first dependency above `after` that has not run and is not the vertex itself.
fn first_other<S: Vertices>(
    deps: &S,
    executed: &S,
    after: Option<S::Vertex>,
    vertex: S::Vertex,
) -> Option<S::Vertex> {
    match deps.next_outside(executed, after) {
        Some(dep) if dep == vertex => deps.next_outside(executed, Some(dep)),
        dep => dep,
    }
}

/// A depth-first search that is going on. A vertex on the stack has its place there for a number: only vertices on the
/// stack are compared, and they stand in the order in which they were entered.
struct Search<V> {
    path: Vec<Frame<V>>,
    stack: Vec<V>,
    places: BTreeMap<V, usize>,
}

struct Frame<V> {
    vertex: V,
    place: usize,
    /// The lowest place that it is known to reach.
    low: usize,
    /// The last dependency that was looked at.
    after: Option<V>,
}

impl<V: Copy + Ord> Search<V> {
    fn new(root: V) -> Self {
        let mut search = Self { path: vec![], stack: vec![], places: BTreeMap::new() };
        search.enter(root);
        search
    }

    fn enter(&mut self, vertex: V) {
        let place = self.stack.len();
        self.stack.push(vertex);
        self.places.insert(vertex, place);
        self.path.push(Frame { vertex, place, low: place, after: None });
    }

    /// Ends the visit of the last vertex of the path; the component that it closes, if it does.
    fn leave(&mut self) -> Option<Vec<V>> {
        let Frame { place, low, .. } = self.path.pop()?;
        if let Some(parent) = self.path.last_mut() {
            parent.low = parent.low.min(low);
        }
        if low < place {
            return None;
        }
        let mut component = self.stack.split_off(place);
        for vertex in &component {
            self.places.remove(vertex);
        }
        component.sort_unstable();
        Some(component)
    }
}

#[cfg(test)]
mod tests;
