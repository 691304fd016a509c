//! Eligible components from scratch, without memory: Tarjan's algorithm over all that is committed.

use super::Vertices;
use std::collections::BTreeMap;

/// The components that may run, given what is committed and what has run: each after all that it reaches, and sorted.
/// Takes time of the whole graph.
pub fn components<S: Vertices>(committed: &BTreeMap<S::Vertex, S>, executed: &S) -> Vec<Vec<S::Vertex>> {
    let mut scan = Scan { committed, executed, marks: BTreeMap::new(), stack: vec![], found: vec![] };
    for vertex in committed.keys() {
        if !executed.contains(*vertex) && !scan.marks.contains_key(vertex) {
            scan.search(*vertex);
        }
    }
    scan.found
}

/// What is known of a vertex that was visited.
#[derive(Clone, Copy)]
enum Mark {
    /// It is on the stack, with this number.
    Open(usize),
    /// Its component was found.
    Eligible,
    /// It reaches something that is not committed.
    Blocked,
}

struct Scan<'a, S: Vertices> {
    committed: &'a BTreeMap<S::Vertex, S>,
    executed: &'a S,
    marks: BTreeMap<S::Vertex, Mark>,
    stack: Vec<S::Vertex>,
    found: Vec<Vec<S::Vertex>>,
}

impl<S: Vertices> Scan<'_, S> {
    fn search(&mut self, root: S::Vertex) {
        // A vertex, its number, the lowest number that it reaches, and the last dependency that was looked at.
        let mut path = vec![(root, 0, 0, None)];
        let mut next = 1;
        self.open(root, 0);
        while let Some((vertex, number, low, after)) = path.last_mut() {
            let Some(dep) = self.committed[vertex].next_outside(self.executed, *after) else {
                let (vertex, number, low) = (*vertex, *number, *low);
                path.pop();
                if let Some((_, _, parent_low, _)) = path.last_mut() {
                    *parent_low = low.min(*parent_low);
                }
                if low == number {
                    self.close(vertex);
                }
                continue;
            };
            *after = Some(dep);
            match self.marks.get(&dep) {
                Some(Mark::Open(number)) => *low = (*low).min(*number),
                Some(Mark::Eligible) => {}
                None if self.committed.contains_key(&dep) => {
                    self.open(dep, next);
                    path.push((dep, next, next, None));
                    next += 1;
                }
                None | Some(Mark::Blocked) => {
                    for vertex in self.stack.drain(..) {
                        self.marks.insert(vertex, Mark::Blocked);
                    }
                    return;
                }
            }
        }
    }

    fn open(&mut self, vertex: S::Vertex, number: usize) {
        self.marks.insert(vertex, Mark::Open(number));
        self.stack.push(vertex);
    }

    /// Takes a component off the stack: everything down to the vertex that was entered first.
    fn close(&mut self, first: S::Vertex) {
        let from = self.stack.iter().rposition(|vertex| *vertex == first).unwrap_or(0);
        let mut component = self.stack.split_off(from);
        for vertex in &component {
            self.marks.insert(*vertex, Mark::Eligible);
        }
        component.sort_unstable();
        self.found.push(component);
    }
}
