//! The other ways, as the reference code has them, with the data structures that suit each best.

use crate::Executes;
use parthood_protocols::graph::{VertexId, VertexSet, Vertices as _, components};
use std::collections::{BTreeMap, HashMap};

/// Tarjan's algorithm over everything that is committed, at every commit.
#[derive(Default)]
pub(crate) struct Rescan {
    committed: BTreeMap<VertexId, VertexSet>,
    executed: VertexSet,
}

impl Executes for Rescan {
    fn commit(&mut self, vertex: VertexId, deps: VertexSet) -> Vec<Vec<VertexId>> {
        self.committed.insert(vertex, deps);
        let found = components(&self.committed, &self.executed);
        for vertex in found.iter().flatten() {
            self.committed.remove(vertex);
            self.executed.insert(*vertex);
        }
        found
    }
}

/// Tarjan's algorithm from one root after the other, until the first search that meets a blocker.
#[derive(Default)]
pub(crate) struct EarlyStop {
    committed: BTreeMap<VertexId, VertexSet>,
    executed: VertexSet,
}

impl Executes for EarlyStop {
    fn commit(&mut self, vertex: VertexId, deps: VertexSet) -> Vec<Vec<VertexId>> {
        self.committed.insert(vertex, deps);
        let mut found = vec![];
        let mut last = None;
        while let Some(root) = next_root(&self.committed, last) {
            last = Some(root);
            let before = found.len();
            let ended = search(root, &self.executed, &mut found, |vertex| self.committed.get(&vertex));
            for vertex in found[before..].iter().flatten() {
                self.committed.remove(vertex);
                self.executed.insert(*vertex);
            }
            if !ended {
                break;
            }
        }
        found
    }
}

fn next_root(committed: &BTreeMap<VertexId, VertexSet>, last: Option<VertexId>) -> Option<VertexId> {
    let after = last.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    committed.range((after, std::ops::Bound::Unbounded)).next().map(|(vertex, _)| *vertex)
}

/// Roots in the order of numbers, round robin over the leaders' columns, from the first of each that has not run; a column
/// stops at its first vertex that cannot run. Vertices live in arrays.
#[derive(Default)]
pub(crate) struct Zigzag {
    columns: Vec<Vec<Option<VertexSet>>>,
    executed: VertexSet,
}

impl Zigzag {
    fn get(&self, vertex: VertexId) -> Option<&VertexSet> {
        self.columns.get(vertex.leader as usize)?.get(usize::try_from(vertex.id).ok()?)?.as_ref()
    }

    /// Runs what can run from the head of a column; false if that is nothing.
    fn advance(&mut self, leader: u32, found: &mut Vec<Vec<VertexId>>) -> bool {
        let vertex = VertexId { leader, id: self.executed.frontier(leader) };
        let Some(deps) = self.get(vertex) else { return false };
        // A vertex that waits for nothing is no search.
        if deps.next_outside(&self.executed, None).is_none() {
            self.executed.insert(vertex);
            found.push(vec![vertex]);
            return true;
        }
        let before = found.len();
        let ended = search(vertex, &self.executed, found, |vertex| self.get(vertex));
        for vertex in found[before..].iter().flatten() {
            self.executed.insert(*vertex);
        }
        ended
    }
}

impl Executes for Zigzag {
    fn commit(&mut self, vertex: VertexId, deps: VertexSet) -> Vec<Vec<VertexId>> {
        let (column, at) = (vertex.leader as usize, usize::try_from(vertex.id).expect("few vertices"));
        if self.columns.len() <= column {
            self.columns.resize(column + 1, vec![]);
        }
        if self.columns[column].len() <= at {
            self.columns[column].resize(at + 1, None);
        }
        self.columns[column][at] = Some(deps);
        let mut found = vec![];
        let mut running: Vec<u32> = (0..u32::try_from(self.columns.len()).expect("few leaders")).collect();
        while !running.is_empty() {
            running.retain(|leader| self.advance(*leader, &mut found));
        }
        found
    }
}

/// Tarjan's algorithm from one root; false if it met a vertex that is not committed.
fn search<'a>(
    root: VertexId,
    executed: &VertexSet,
    found: &mut Vec<Vec<VertexId>>,
    deps: impl Fn(VertexId) -> Option<&'a VertexSet>,
) -> bool {
    let mut places: HashMap<VertexId, Option<usize>> = HashMap::from([(root, Some(0))]);
    let mut stack = vec![root];
    let mut path = vec![(root, 0, 0, None)];
    while let Some((vertex, place, low, after)) = path.last_mut() {
        let next = deps(*vertex).and_then(|deps| deps.next_outside(executed, *after));
        let Some(dep) = next else {
            let (place, low) = (*place, *low);
            path.pop();
            if let Some((_, _, parent, _)) = path.last_mut() {
                *parent = low.min(*parent);
            }
            if low == place {
                let mut component = stack.split_off(place);
                for vertex in &component {
                    places.insert(*vertex, None);
                }
                component.sort_unstable();
                found.push(component);
            }
            continue;
        };
        *after = Some(dep);
        match places.get(&dep) {
            Some(Some(other)) => *low = (*low).min(*other),
            Some(None) => {}
            None if deps(dep).is_none() => return false,
            None => {
                let place = stack.len();
                places.insert(dep, Some(place));
                stack.push(dep);
                path.push((dep, place, place, None));
            }
        }
    }
    true
}
