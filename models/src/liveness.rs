//! Does every fair run reach a goal?
//!
//! A run is *fair* if nothing that could happen is put off for ever: a message in flight is delivered some time, a timer
//! that is set fires some time, unless it stops being possible. Losses and crashes are not owed to anybody. A finite
//! system has a fair run that never reaches the goal if and only if, among the states without the goal that are reachable
//! through such states, there is a strongly connected component in which each thing that is owed in *all* of its states
//! happens in one of them without leaving it. (A run may go round the whole component again and again; and a part of a
//! component that is not fair is not fair either.) A state in which nothing happens any more is such a component.
//!
//! The library's `eventually` drops every path that closes a cycle or joins one seen before, and so passes where it
//! should fail.

use crate::{Limits, Path, Space};
use std::collections::HashMap;

/// A space that knows what is owed in a state.
pub trait Fair: Space {
    /// What a move is, the same in every state where it is possible; none if it is owed to nobody.
    fn owed(&self, state: &Self::State, mv: Self::Move) -> Option<u64>;
}

/// What a search for unfair stagnation found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Every fair run reaches the goal.
    Reached {
        /// How many states without the goal there are.
        unique: usize,
    },
    /// A fair run can stay away from the goal for ever.
    Stuck {
        /// A shortest way into the states where it stays.
        path: Path,
        /// How many states it goes round.
        states: usize,
    },
    /// There are more states than the limit.
    Inconclusive(usize),
}

/// Looks for a fair run that never reaches a state where `goal` holds. Visits at most [`Limits::states`] states; each
/// of its moves is remembered, which takes about ten times the memory of [`crate::check`]. The system must not be
/// reduced by symmetry: a message to one acceptor is not a message to another.
pub fn live<S: Fair>(space: &S, goal: impl Fn(&S::State) -> bool, limits: &Limits) -> Liveness {
    let mut graph = Graph { edges: Vec::new(), parents: Vec::new() };
    if !graph.explore(space, goal, limits.states.min(u32::MAX as usize - 1)) {
        return Liveness::Inconclusive(limits.states);
    }
    let components = graph.components();
    let stuck = components.iter().filter(|component| graph.is_fair(component));
    let first = stuck.min_by_key(|component| component.iter().min());
    match first {
        None => Liveness::Reached { unique: graph.edges.len() },
        Some(component) => {
            let entry = component.iter().min().expect("a component has a state");
            Liveness::Stuck { path: graph.path(*entry), states: component.len() }
        }
    }
}

/// Stands for all states where the goal holds.
const GOAL: u32 = u32::MAX;

/// Something that can happen: what is owed by it, and where it leads.
type Edge = (Option<u64>, u32);

/// The states without the goal, in the order of their distance from the initial one.
struct Graph {
    edges: Vec<Vec<Edge>>,
    /// Predecessor and action of each state but the first.
    parents: Vec<(u32, u16)>,
}

impl Graph {
    /// Visits all states; false if there are too many.
    fn explore<S: Fair>(&mut self, space: &S, goal: impl Fn(&S::State) -> bool, most: usize) -> bool {
        let initial = space.initial();
        if goal(&initial) {
            return true;
        }
        let mut known = HashMap::from([(space.fingerprint(&initial), 0)]);
        let mut next = initial.clone();
        let mut waiting = std::collections::VecDeque::from([initial]);
        let mut moves = Vec::new();
        self.parents.push((0, 0));
        while let Some(state) = waiting.pop_front() {
            let from = u32::try_from(self.edges.len()).expect("states are limited");
            let mut edges = Vec::new();
            space.moves(&state, &mut moves);
            for (action, &mv) in moves.iter().enumerate() {
                let owed = space.owed(&state, mv);
                if !space.apply(&state, mv, &mut next) {
                    edges.push((owed, from));
                    continue;
                }
                if goal(&next) {
                    edges.push((owed, GOAL));
                    continue;
                }
                let fresh = u32::try_from(self.parents.len()).expect("states are limited");
                let to = *known.entry(space.fingerprint(&next)).or_insert(fresh);
                if to == fresh {
                    if self.parents.len() >= most {
                        return false;
                    }
                    self.parents
                        .push((from, u16::try_from(action).expect("a state has fewer than 65,536 moves")));
                    waiting.push_back(next.clone());
                }
                edges.push((owed, to));
            }
            self.edges.push(edges);
        }
        true
    }

    /// Does everything that is owed in all of these states happen in one of them without leaving them?
    fn is_fair(&self, component: &[u32]) -> bool {
        let inside = |state: u32| component.binary_search(&state).is_ok();
        let mut owed: HashMap<u64, (usize, bool)> = HashMap::new();
        for &state in component {
            let mut here: Vec<(u64, bool)> = self.edges[state as usize]
                .iter()
                .filter_map(|&(owed, to)| Some((owed?, inside(to))))
                .collect();
            here.sort_unstable();
            for same in here.chunk_by(|a, b| a.0 == b.0) {
                let entry = owed.entry(same[0].0).or_default();
                entry.0 += 1;
                entry.1 |= same.iter().any(|(_, inside)| *inside);
            }
        }
        owed.values().all(|&(states, happens)| happens || states < component.len())
    }

    /// The strongly connected components, each sorted. (Tarjan 1972, with the recursion on a stack of its own.)
    fn components(&self) -> Vec<Vec<u32>> {
        const NEW: u32 = u32::MAX;
        let count = self.edges.len();
        let (mut order, mut low) = (vec![NEW; count], vec![0_u32; count]);
        let (mut open, mut is_open) = (Vec::new(), vec![false; count]);
        let (mut components, mut clock) = (Vec::new(), 0);
        for root in 0..u32::try_from(count).expect("states are limited") {
            if order[root as usize] != NEW {
                continue;
            }
            let mut calls = vec![(root, 0_usize)];
            while let Some((state, edge)) = calls.last_mut() {
                let at = *state as usize;
                if *edge == 0 && order[at] == NEW {
                    (order[at], low[at]) = (clock, clock);
                    clock += 1;
                    open.push(*state);
                    is_open[at] = true;
                }
                if let Some(&(_, to)) = self.edges[at].get(*edge) {
                    *edge += 1;
                    if to == GOAL {
                        continue;
                    }
                    if order[to as usize] == NEW {
                        calls.push((to, 0));
                    } else if is_open[to as usize] {
                        low[at] = low[at].min(order[to as usize]);
                    }
                    continue;
                }
                let done = *state;
                calls.pop();
                if let Some((caller, _)) = calls.last() {
                    low[*caller as usize] = low[*caller as usize].min(low[at]);
                }
                if low[at] == order[at] {
                    let start =
                        open.iter().rposition(|state| *state == done).expect("an open state is on the stack");
                    let mut component = open.split_off(start);
                    for state in &component {
                        is_open[*state as usize] = false;
                    }
                    component.sort_unstable();
                    components.push(component);
                }
            }
        }
        components
    }

    fn path(&self, mut state: u32) -> Path {
        let mut actions = Vec::new();
        while state != 0 {
            let (from, action) = self.parents[state as usize];
            actions.push(action);
            state = from;
        }
        actions.reverse();
        Path::new(actions)
    }
}
